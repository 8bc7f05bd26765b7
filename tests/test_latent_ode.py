"""Latent ODEs: data, encoder, ELBO, gradients, extrapolation, baselines, short trainings."""

import math

import numpy as np
import pytest

import node_core as nc
from node_core.models import (
    LatentODE,
    RNNPredictor,
    events_on_grid,
    fit_series,
    spirals,
)
from tests.cases import irregular
from tests.oracles import worst

TIGHT = {"rtol": 1e-10, "atol": 1e-11}
SMOOTH = (np.tanh, np.tanh)  # a difference across a kink would be neither slope


def small(**keywords):
    """A model of two-dimensional series, and its parameters."""
    model = LatentODE(2, **{"latent": 3, "hidden": 5, "rnn": 4, "decoder": 5, **keywords})
    return model, model.init(0)


# --- the encoder ---


def test_encoder_does_not_depend_on_what_was_not_seen():
    model, params = small()
    _, _, (t, x, mask) = irregular()
    wanted = model.encode(params, t, x, mask)
    rubbish = np.where(mask[..., None] > 0, x, np.nan)
    assert worst(model.encode(params, t, rubbish, mask), wanted) == 0.0
    assert worst(model.encode(params, t, x, mask > 0), wanted) == 0.0
    between, after = 0.5 * (t[1] + t[2]), t[-1] + 1.0  # two times at which nobody is seen
    wider = np.sort(np.append(t, [between, after]))
    rows = np.searchsorted(wider, t)
    padded, wide = np.ones((len(wider), *x.shape[1:])), np.zeros((len(wider), *mask.shape[1:]))
    padded[rows], wide[rows] = x, mask
    assert worst(model.encode(params, wider, padded, wide), wanted) < 1e-14


def test_encoder_reads_a_series_alone_as_in_a_batch_and_minds_the_times():
    model, params = small()
    times, values, (t, x, mask) = irregular()
    mean, log_std = model.encode(params, t, x, mask)
    i = int(np.argmin([own[0] for own in times]))  # its first time is that of the grid
    alone = model.encode(params, times[i], values[i][:, None])
    assert worst(alone, (mean[i : i + 1], log_std[i : i + 1])) < 1e-14
    later = times[i] + np.linspace(0.0, 0.1, len(times[i]))
    assert worst(model.encode(params, later, values[i][:, None]), alone) > 1e-4


# --- the ELBO ---


def linear_gaussian():
    """x = c z0 exp(a t) + noise 0.5 at 3 times, q(z0) set to N(m, s^2): a model whose evidence is known."""
    model = LatentODE(1, latent=1, noise=0.5, **TIGHT)
    model.parts.update(field=nc.nn.Linear(1, 1), decoder=nc.nn.Linear(1, 1))
    params, t, x = model.init(0), np.array([0.0, 0.5, 1.5]), np.array([0.8, 1.9, -0.3])
    params["field"]["W"], params["decoder"]["W"] = np.array([[-0.7]]), np.array([[1.3]])

    def with_q(m, s):
        head = {"W": np.zeros_like(params["head"]["W"]), "b": np.array([m, math.log(s)])}
        return {**params, "head": head}

    return model, with_q, t, x, 1.3 * np.exp(-0.7 * t)


def expected_elbo(model, params, t, x):
    """Over noise: +-1 have the moments of N(0, 1) that a quadratic asks for."""
    return np.mean([model.elbo(params, t, x[:, None, None], None, np.array([[e]]))[0] for e in (-1.0, 1.0)])


def test_elbo_of_a_linear_gaussian_model_is_the_evidence_less_the_divergence_from_the_posterior():
    model, with_q, t, x, v = linear_gaussian()
    cov = 0.25 * np.eye(3) + np.outer(v, v)
    evidence = -0.5 * (x @ np.linalg.solve(cov, x) + np.linalg.slogdet(cov)[1] + 3 * math.log(2 * math.pi))
    var = 1 / (1 + v @ v / 0.25)
    mean = var * (v @ x) / 0.25
    assert expected_elbo(model, with_q(mean, math.sqrt(var)), t, x) == pytest.approx(evidence, abs=1e-8)
    m, s = 0.4, 0.6
    divergence = math.log(math.sqrt(var) / s) + (s * s + (m - mean) ** 2) / (2 * var) - 0.5
    assert expected_elbo(model, with_q(m, s), t, x) == pytest.approx(evidence - divergence, abs=1e-8)


def test_elbo_counts_what_was_seen_only():
    model, with_q, t, x, _ = linear_gaussian()
    params, noise = with_q(0.4, 0.6), np.array([[0.3]])
    mask = np.array([[1.0], [0.0], [1.0]])
    hidden = model.elbo(params, t, np.where(mask[..., None] > 0, x[:, None, None], np.nan), mask, noise)
    without = model.elbo(params, t[::2], x[::2, None, None], None, noise)
    np.testing.assert_allclose(hidden, without, rtol=1e-9)


def test_events_in_the_elbo_add_their_log_likelihood():
    model, params = small(events=True, **TIGHT)
    params["rate"][-1] = {"W": np.zeros((5, 1)), "b": np.array([math.log(3.0)])}
    _, _, batch = irregular(3)
    t, _, mask = batch
    times = [[0.5 * (t[0] + t[1]), t[2], t[2]], [], [t[-1]]]
    wider, x, mask, counts = events_on_grid(*batch, times)
    assert counts.sum(axis=0).tolist() == [3, 0, 1]
    noise = model.noise(0, 3)
    gain = model.elbo(params, wider, x, mask, noise, counts) - model.elbo(params, *batch, noise)
    np.testing.assert_allclose(gain, np.array([3, 0, 1]) * math.log(3.0) - 3.0 * (t[-1] - t[0]), rtol=1e-7)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_gradients_of_the_elbo_equal_central_differences(gradient):
    model, params = small(gradient=gradient, events=True, activations=SMOOTH, rtol=1e-9, atol=1e-10)
    _, _, batch = irregular(3)
    t, x, mask, counts = events_on_grid(*batch, [[batch[0][2]], [], [batch[0][1]]])
    noise = model.noise(0, 3)
    nc.check_grads(lambda params, x: np.mean(model.elbo(params, t, x, mask, noise, counts)), (params, x))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_compiled_value_and_gradient_equal_the_uncompiled(gradient):
    model, params = small(gradient=gradient)
    _, _, (t, x, mask) = irregular()
    compiled = nc.compile(nc.value_and_grad(model.loss))
    for seed in range(2):
        args = params, t, x + seed, mask, model.noise(seed, 4)
        value, grads = compiled(*args)
        wanted, wanted_grads = nc.value_and_grad(model.loss)(*args)
        assert value == pytest.approx(wanted, rel=1e-12)
        assert worst(grads, wanted_grads) < 1e-10  # rounding moves the length of a step


def test_float32_stays_float32():
    model, _ = small(dtype=np.float32)
    params, (_, _, (t, x, mask)) = model.init(0), irregular()
    assert model.elbo(params, t, x, mask, model.noise(0, 4)).dtype == np.float32
    assert model.extrapolate(params, t, x, mask, [3.0, 4.0]).dtype == np.float32


# --- the recognition net and the path ---


def test_agreement_is_the_likelihood_of_the_path_by_the_codes_of_the_rest():
    """Against the encoder asked anew for the rest of each series alone, from every time on."""
    model, params = small()
    _, _, (t, x, mask) = irregular()
    noise = model.noise(1, x.shape[1])
    mean, log_std = model.encode(params, t, x, mask)
    z = model.path(params, mean + np.exp(log_std) * noise, t)
    wanted = []
    for n in range(x.shape[1]):
        each = []
        for k in range(1, len(t)):
            if np.any(mask[k:, n]):
                one = slice(n, n + 1)
                m, s = model.encode(params, t[k:], x[k:, one], mask[k:, one])
                each.append(np.sum(nc.nn.gaussian_log_likelihood(z[k, n], m[0], s[0])))
        wanted.append(np.mean(each))
    np.testing.assert_allclose(model.agreement(params, t, x, mask, noise), wanted, rtol=1e-10)


@pytest.mark.filterwarnings("error")
def test_agreement_with_one_time_to_come():
    model, params = small()
    x, noise = np.random.default_rng(0).standard_normal((2, 3, 2)), model.noise(1, 3)
    mean, log_std = model.encode(params, [0.0, 0.5], x)
    z1 = model.path(params, mean + np.exp(log_std) * noise, [0.0, 0.5])[1]
    wanted = np.sum(nc.nn.gaussian_log_likelihood(z1, *model.encode(params, [0.5], x[1:])), axis=1)
    np.testing.assert_allclose(model.agreement(params, [0.0, 0.5], x, None, noise), wanted, rtol=1e-10)


def test_the_recognition_net_reads_values_and_gaps_backward():
    """By hand: one series seen at 0, 1 and 4, on a grid that also has 2; then one that is not seen at t[0]."""
    model, params = small()
    values = np.random.default_rng(0).standard_normal((3, 2))
    t, x = np.array([0.0, 1.0, 2.0, 4.0]), np.zeros((4, 1, 2))
    x[[0, 1, 3], 0] = values
    cell, head = model.parts["cell"], model.parts["head"]

    def by_hand(seen, left):
        h = cell.start(1)
        for value, gap in seen:
            h = cell(params["cell"], h, np.append(value, gap)[None])
        both = head(params["head"], np.append(h, left)[None])
        return both[:, :3], both[:, 3:]

    whole = model.encode(params, t, x, np.array([[1.0], [1.0], [0.0], [1.0]]))
    np.testing.assert_allclose(whole, by_hand([(values[2], 0.0), (values[1], 3.0), (values[0], 1.0)], 0.0), rtol=1e-12)
    late = model.encode(params, t, x, np.array([[0.0], [1.0], [0.0], [1.0]]))
    np.testing.assert_allclose(late, by_hand([(values[2], 0.0), (values[1], 3.0)], 1.0), rtol=1e-12)


def test_consistency_adds_the_agreement_to_the_loss_compiled_or_not():
    model, params = small(gradient="discrete", activations=SMOOTH, **TIGHT)
    both, _ = small(gradient="discrete", activations=SMOOTH, consistency=0.7, **TIGHT)
    _, _, (t, x, mask) = irregular()
    noise = model.noise(1, x.shape[1])
    alone, agreement = model.loss(params, t, x, mask, noise), model.agreement(params, t, x, mask, noise)
    assert both.loss(params, t, x, mask, noise) == pytest.approx(alone - 0.7 * np.mean(agreement), rel=1e-12)
    nc.check_grads(lambda p: both.loss(p, t, x, mask, noise), (params,))
    value, grads = nc.compile(nc.value_and_grad(lambda p, x, mask: both.loss(p, t, x, mask, noise)))(params, x, mask)
    wanted, wanted_grads = nc.value_and_grad(lambda p: both.loss(p, t, x, mask, noise))(params)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert worst(grads, wanted_grads) < 1e-11


def test_a_series_of_one_time_has_nothing_to_agree_with():
    model, params = small(consistency=1.0)
    x, noise = np.ones((1, 3, 2)), model.noise(0, 3)
    np.testing.assert_array_equal(model.agreement(params, [0.0], x, None, noise), np.zeros(3))
    assert np.isfinite(model.loss(params, [0.0], x, None, noise))


@pytest.mark.filterwarnings("error")
def test_refining_finds_the_mode_of_a_linear_gaussian_model():
    """Of which the posterior of z0 is known: the ridge regression of x on the columns of the solution."""
    model, with_q, t, _, _ = linear_gaussian()
    params = with_q(0.4, 1.0)
    x = np.random.default_rng(3).standard_normal((len(t), 4, model.d))
    zero = model.decode(params, np.zeros((1, model.latent)), t)[:, 0]  # (T, d)
    units = model.decode(params, np.eye(model.latent), t) - zero[:, None]  # (T, latent, d)
    columns = np.moveaxis(units, 1, 2).reshape(-1, model.latent) / math.exp(model.log_std)
    right = (x - zero[:, None]).transpose(0, 2, 1).reshape(-1, 4) / math.exp(model.log_std)
    wanted = np.linalg.solve(columns.T @ columns + np.eye(model.latent), columns.T @ right).T  # (4, latent)
    start = model.encode(params, t, x)[0]
    found = model.refine(params, t, x, steps=400)
    assert np.max(np.abs(found - wanted)) < 2e-3 < 0.1 * np.max(np.abs(start - wanted))
    np.testing.assert_array_equal(model.refine(params, t, x, steps=0), start)
    np.testing.assert_array_equal(model.refine(params, list(t), x, steps=400), found)
    slopes = nc.grad(lambda p: np.sum(model.reconstruct(p, t, x, refine=400) ** 2))(params)
    wanted = nc.grad(lambda p: np.sum(model.decode(p, found, t) ** 2))(params)
    assert worst(slopes, wanted) < 1e-12
    np.testing.assert_array_equal(model.reconstruct(params, t, x, refine=400), model.decode(params, found, t))
    at = t[-1] + np.array([0.5, 1.0])
    np.testing.assert_array_equal(model.extrapolate(params, t, x, None, at, refine=400),
                                  model.decode(params, found, at, t[0]))  # fmt: skip


def test_the_recognition_net_may_be_gated():
    model, params = small(cell=nc.nn.GRUCell, gradient="discrete", activations=SMOOTH, **TIGHT)
    _, _, (t, x, mask) = irregular()
    assert params["cell"]["W"].shape == (3, 3 * 4)
    nc.check_grads(lambda p: model.elbo(p, t, x, mask, model.noise(0, x.shape[1])), (params,))


# --- reconstruction and extrapolation ---


def test_one_solve_on_the_union_grid_equals_a_solve_for_each_series():
    model, params = small(rtol=1e-9, atol=1e-10)
    times, _, (t, x, mask) = irregular()
    mean, _ = model.encode(params, t, x, mask)
    own = [np.append(each[each > t[0]], [2.5 + i, 9.0]) for i, each in enumerate(times)]  # each has its own future
    union = np.unique(np.concatenate(own))
    together = model.reconstruct(params, t, x, mask, at=union)
    for i, at in enumerate(own):
        alone = model.decode(params, mean[i : i + 1], at, t[0])[:, 0]
        np.testing.assert_allclose(together[np.searchsorted(union, at), i], alone, atol=1e-7)


def test_extrapolation_goes_on_from_the_reconstruction_both_ways():
    model, params = small(rtol=1e-9, atol=1e-10)
    _, _, (t, x, mask) = irregular()
    noise = model.noise(1, 4)
    inside, both = model.reconstruct(params, t, x, mask, noise), np.append(t, [3.0, 4.0])
    whole = model.reconstruct(params, t, x, mask, noise, at=both)
    np.testing.assert_allclose(whole[: len(t)], inside, atol=1e-7)
    np.testing.assert_allclose(model.extrapolate(params, t, x, mask, [3.0, 4.0], noise), whole[-2:], atol=1e-7)
    back = model.extrapolate(params, t, x, mask, [t[0] - 1e-6, -1.0], noise)
    np.testing.assert_allclose(back[0], inside[0], atol=1e-4)
    np.testing.assert_array_equal(model.decode(params, np.ones((4, 3)), [0.0]).shape, (1, 4, 2))


# --- training ---


def test_a_short_training_lowers_the_loss_by_two_thirds():
    data = spirals(0, 32, kept=15, points=40)
    model = LatentODE(2, gradient="discrete", rtol=1e-4, atol=1e-4)
    result = fit_series(model, model.init(0), data.t, data.x, data.mask, steps=100, batch=16)
    assert np.mean(result.losses[-10:]) < np.mean(result.losses[:10]) / 3
    assert result.stopped is None


def test_a_model_with_events_learns_from_both():
    """Series of one bump each, whose events come where it is high: both likelihoods grow."""
    rng, t = np.random.default_rng(0), np.linspace(0.0, 1.0, 6)
    phase = rng.uniform(0.0, 1.0, 20)
    x = np.sin(np.pi * (t[:, None] + phase))[..., None] + 0.1 * rng.standard_normal((6, 20, 1))
    events = [np.sort(rng.uniform(0.0, 1.0, rng.poisson(3.0))) for _ in range(20)]
    grid = events_on_grid(t, x, np.ones((6, 20)), events)
    model = LatentODE(1, latent=2, noise=0.1, events=True, gradient="discrete", consistency=0.5)
    before = model.init(0)
    result = fit_series(model, before, *grid[:3], events=grid[3], steps=40, batch=10, optimizer=nc.optim.Adam(0.01))
    assert (result.stopped, len(result.losses)) == (None, 40)
    after, noise = result.params, model.noise(0, 20)
    elbos = [np.mean(model.elbo(params, *grid[:3], noise, grid[3])) for params in (before, after)]
    assert elbos[1] > elbos[0] + 1.0
    assert nc.tree.ravel(after["rate"])[0].tolist() != nc.tree.ravel(before["rate"])[0].tolist()
    with pytest.raises(TypeError, match="fit_series: RNNPredictor has no events"):
        fit_series(RNNPredictor(1), RNNPredictor(1).init(0), *grid[:3], events=grid[3])
    with pytest.raises(ValueError, match=r"events must be counts of shape .*, got float64 \(2, 20\)"):
        fit_series(model, before, *grid[:3], events=grid[3][:2])
    with pytest.raises(ValueError, match=r"events must be counts; at time 3, series 0 it is -1.0"):
        fit_series(model, before, *grid[:3], events=np.where(np.arange(len(grid[0]))[:, None] == 3, -1.0, grid[3]))
    with pytest.raises(ValueError, match=r"learns its intensity from events; give events=counts"):
        fit_series(model, before, *grid[:3])


def test_times_that_are_seconds_are_warned_of():
    model, params = small()
    t, x = 86400.0 * np.arange(3), np.zeros((3, 2, 2))
    with pytest.warns(RuntimeWarning) as caught:
        fit_series(model, params, t, x, steps=1)
    message = "fit_series: the series span 1.73e+05 units of time, of which a net's slope is one; rescale t"
    assert str(caught[0].message) == message


def test_events_on_one_time_alone_have_no_integral():
    model, x, noise = LatentODE(2, events=True), np.ones((1, 3, 2)), np.zeros((3, 4))
    params, events = model.init(0), np.array([[0.0, 1.0, 2.0]])
    plain = model.elbo(params, [0.5], x, None, noise)
    mean, _ = model.encode(params, [0.5], x)
    np.testing.assert_allclose(
        model.elbo(params, [0.5], x, None, noise, events) - plain,
        events[0] * model.log_intensity(params, mean), rtol=1e-12, atol=1e-14,
    )  # fmt: skip


def test_a_large_gradient_is_scaled_down():
    model, params = small()
    _, _, (t, x, mask) = irregular()
    made = [
        fit_series(model, params, t, x, mask, steps=1, optimizer=nc.optim.SGD(1.0), max_norm=norm).params
        for norm in (1e-3, 1e9)
    ]
    short, whole = (nc.tree.ravel(p)[0] - nc.tree.ravel(params)[0] for p in made)
    assert np.linalg.norm(short) == pytest.approx(1e-3, rel=1e-9)
    np.testing.assert_allclose(short / 1e-3, whole / np.linalg.norm(whole), atol=1e-9)


# --- what is refused ---


MODEL, PARAMS = small()
OTHER = LatentODE(2).init(0)
T, X = np.array([0.0, 1.0, 2.0]), np.zeros((3, 2, 2))
GAP = np.array([[1, 0], [1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LatentODE(0), "LatentODE: d must be a positive int, got 0"),
        (lambda: MODEL.encode(PARAMS, T[[0, 2, 1]], X), "LatentODE: t must increase, but 2.0 comes before 1.0"),
        (lambda: MODEL.encode(PARAMS, T[[0, 0, 1]], X), "LatentODE: t must increase, but 0.0 comes before 0.0"),
        (lambda: MODEL.encode(PARAMS, [0.0, np.nan, 1.0], X), "LatentODE: t must increase, but 0.0 comes before nan"),
        (lambda: MODEL.encode(PARAMS, [0.0, 1.0, np.inf], X), "LatentODE: t must be finite, got inf"),
        (lambda: MODEL.extrapolate(PARAMS, T, X, None, []), r"rising times after t\[-1\] = 2.0, .* got shape \(0,\)"),
        (lambda: MODEL.encode(PARAMS, T, X[:, :0]), r"x must hold a series and a time at least, got shape \(3, 0, 2\)"),
        (lambda: LatentODE(2, consistency=-1.0), "consistency must be a number of at least 0, got -1.0"),
        (lambda: MODEL.reconstruct(PARAMS, T, X, noise=np.ones((2, 3)), refine=5), "give one of the two"),
        (lambda: MODEL.refine(PARAMS, T, X, steps=-1), "refine: steps must be an int of at least 0, got -1"),
        (lambda: MODEL.reconstruct(PARAMS, T, X, refine=-3), "refine must be an int of at least 0, got -3"),
        (lambda: fit_series(MODEL, OTHER, T, X), r"LatentODE\(2, latent=3\): wanted .*\(4, 4\), .*, got "),
        (lambda: fit_series(MODEL, {"w": X}, T, X), r"not those of LatentODE.*got \['w'\] \(3, 2, 2\)"),
        (lambda: fit_series(MODEL, PARAMS, T, X, steps=0), "fit_series: steps must be a positive int, got 0"),
        (lambda: LatentODE(2, noise=0.0), "noise, of an observation, must be a positive number, got 0.0"),
        (lambda: MODEL.encode(PARAMS, T, X[:2]), r"x must be \(T, N, 2\) with T = 3 times, got shape \(2, 2, 2\)"),
        (lambda: MODEL.encode(PARAMS, T, X, np.ones((3, 1))), r"mask must be \(T, N\) = \(3, 2\), got shape \(3, 1\)"),
        (lambda: MODEL.encode(PARAMS, T, X, np.full((3, 2), 0.5)), "mask must hold 0 and 1 only"),
        (lambda: MODEL.encode(PARAMS, T, X, GAP), "series 1 is nowhere seen"),
        (lambda: MODEL.encode(PARAMS, T, X * np.nan), r"at time 0, series 0 it is \[nan nan\]"),
        (lambda: MODEL.elbo(PARAMS, T, X, None, np.ones(3)), r"noise must be of shape \(2, 3\), got \(3,\)"),
        (lambda: MODEL.elbo(PARAMS, T, X, None, np.ones((2, 3)), 0 * X[..., 0]), "events need an intensity; give"),
        (lambda: MODEL.elbo(PARAMS, T, X, None, np.ones((2, 3)), X), r"events must be \(3, 2\), got shape \(3, 2, 2\)"),
        (lambda: MODEL.log_intensity(PARAMS, np.ones(3)), "events need an intensity; give"),
        (lambda: MODEL.decode(PARAMS, np.ones((2, 4)), T), "z0 must end in an axis of length 3, got shape"),
        (
            lambda: MODEL.extrapolate(PARAMS, T, X, None, [1.5, 3.0]),
            r"times after t\[-1\] = 2.0, or .* before t\[0\] = 0.0, got 1.5 to 3",
        ),
        (lambda: MODEL.extrapolate(PARAMS, T, X, None, [4.0, 3.0]), r"rising times after t\[-1\] = 2.0, or falling"),
        (lambda: MODEL.extrapolate(PARAMS, T, X, None, 4.0), r"at must be an array \(F,\) of .* got shape \(\)"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
