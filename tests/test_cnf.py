"""Normalizing flows: densities, their traces, both directions, and gradients."""

import warnings

import numpy as np
import pytest

import node_core as nc
from node_core.autodiff import jvp_many
from node_core.models import CNF, TARGETS, Planar, PlanarFlow, log_normalizer
from node_core.models.densities import ring, two_circles, two_moons
from node_core.models.trace import probes, with_exact_trace, with_hutchinson_trace
from tests.oracles import worst

TIGHT = {"rtol": 1e-11, "atol": 1e-12}
MLP = nc.nn.MLP([3, 12, 2])


def field(params, t, z):
    """A net of (z, t)."""
    return MLP(params, np.concatenate([z, t * np.ones((len(z), 1))], axis=1))


def larger(params, factor):
    return nc.tree.map(lambda x: factor * x, params)


def points(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 2))


def grid(half_width, n):
    """The centres (n^2, 2) of n^2 squares, and the area of one."""
    side = (np.arange(n) + 0.5) * (2 * half_width / n) - half_width
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2), (2 * half_width / n) ** 2


def continuous(**keywords):
    """A planar flow that moves mass about, and its parameters."""
    flow = CNF(Planar(2, 8), 2, **keywords)
    return flow, larger(flow.init(0), 3.0)


def net_flow(**keywords):
    flow = CNF(field, 2, init=MLP.init, **keywords)
    return flow, larger(flow.init(1), 1.5)


def discrete(**keywords):
    flow = PlanarFlow(2, 4, **keywords)
    params = flow.init(0)
    return flow, {**params, "u": 10.0 * params["u"]}


FLOWS = {
    "planar": lambda: continuous(**TIGHT),
    "net": lambda: net_flow(**TIGHT, span=(2.0, -0.5), std=0.7),
    "layers to data": discrete,
    "layers to base": lambda: discrete(toward="base", std=1.3),
}
EVERY_FLOW = pytest.mark.parametrize("made", FLOWS.values(), ids=FLOWS)


# --- densities ---


def test_a_planar_layer_without_a_direction_is_a_translation():
    flow = PlanarFlow(2, 1)
    params = {"u": np.array([[1.0, 2.0]]), "w": np.zeros((1, 2)), "b": np.array([0.5])}
    z = np.array([[0.3, -0.2], [1.0, 1.0]])
    x, log_q = flow.to_data(params, z)
    np.testing.assert_allclose(x, z + np.tanh(0.5) * params["u"], rtol=1e-15)
    np.testing.assert_allclose(log_q, flow.base_log_density(z), rtol=1e-15)
    np.testing.assert_allclose(flow.to_base(params, x)[0], z, rtol=1e-14)


@pytest.mark.parametrize(
    "made", [lambda: continuous(), lambda: net_flow(std=0.7), discrete, lambda: discrete(toward="base")]
)
def test_densities_integrate_to_one(made):
    flow, params = made()
    x, area = grid(9.0, 180)
    assert abs(np.sum(np.exp(flow.log_prob(params, x))) * area - 1.0) < 1e-3


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_log_prob_of_a_linear_field_equals_the_closed_form(trace):
    """dz/dt = cos(t) A z + c has z(T) = e^(A sin T) z(0) + ...; here A is symmetric with known eigenvectors."""
    angle, rates, end, std = 0.4, np.array([0.6, -1.1]), 2.0, 0.8
    Q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    A = Q @ np.diag(rates) @ Q.T
    x, options = points(7), {"span": (0.0, end), "std": std, "rtol": 1e-12, "atol": 1e-13}
    flow = CNF(lambda A, t, z: np.cos(t) * (z @ A.T), 2, trace=trace, probes=2, **options)
    noise = np.sqrt(2.0) * np.ones((7, 1)) * np.eye(2)[:, None]  # (2, 7, 2): the unit vectors as probes are exact
    z = x @ (Q @ np.diag(np.exp(-rates * np.sin(end))) @ Q.T).T
    wanted = -0.5 * np.sum(z**2, axis=1) / std**2 - np.log(2 * np.pi * std**2) - np.sum(rates) * np.sin(end)
    np.testing.assert_allclose(flow.log_prob(A, x, noise), wanted, rtol=0, atol=1e-9)


@EVERY_FLOW
def test_sample_and_log_prob_invert_each_other(made):
    flow, params = made()
    x, log_q = flow.sample_and_log_prob(params, 3, 40)
    z, again = flow.to_base(params, x)
    np.testing.assert_allclose(again, log_q, rtol=0, atol=1e-6)
    np.testing.assert_allclose(z, flow.base(3, 40), rtol=0, atol=1e-6)
    np.testing.assert_allclose(flow.to_data(params, z)[0], x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(flow.sample(params, 3, 40), x, rtol=0, atol=1e-6)
    assert np.max(np.abs(x - z)) > 0.3  # it is not the identity


@pytest.mark.parametrize("name", TARGETS)
def test_targets_have_a_normalizer_and_slopes(name):
    z = 2.5 * points(6)
    nc.check_grads(lambda z: np.sum(TARGETS[name](z)), (z,))
    assert np.isfinite(nc.grad(lambda z: np.sum(TARGETS[name](z)))(np.zeros((1, 2)))).all()
    assert log_normalizer(TARGETS[name]) == pytest.approx(log_normalizer(TARGETS[name], 8.0, 1000), abs=1e-5)


def test_targets_are_the_printed_energies_within_the_walls():
    z = np.array([[1.2, -0.7]])
    w1, w2 = np.sin(2 * np.pi * 1.2 / 4), 3 * np.exp(-0.5 * ((1.2 - 1) / 0.6) ** 2)
    sides = np.log(np.exp(-0.5 * ((1.2 - 2) / 0.6) ** 2) + np.exp(-0.5 * ((1.2 + 2) / 0.6) ** 2))
    wanted = {
        "ring": sides - 0.5 * ((np.hypot(1.2, 0.7) - 2) / 0.4) ** 2,
        "wave": -0.5 * ((-0.7 - w1) / 0.4) ** 2,
        "split": np.log(np.exp(-0.5 * ((-0.7 - w1) / 0.35) ** 2) + np.exp(-0.5 * ((-0.7 - w1 + w2) / 0.35) ** 2)),
    }
    for name, target in TARGETS.items():
        np.testing.assert_allclose(target(z), [wanted[name]], rtol=1e-12)


def test_circles_and_moons_lie_where_they_should():
    x = two_circles(0, 501, noise=0.0)
    assert x.shape == (501, 2)
    np.testing.assert_array_equal(np.unique(np.round(np.hypot(*x.T), 12), return_counts=True), [[0.5, 1], [251, 250]])
    x = two_moons(np.random.default_rng(0), 400, noise=0.0)
    upper = np.isclose(np.hypot(x[:, 0], x[:, 1]), 1) & (x[:, 1] >= 0)
    lower = np.isclose(np.hypot(x[:, 0] - 1, x[:, 1] - 0.5), 1) & (x[:, 1] <= 0.5)
    assert (np.sum(upper), np.sum(lower), np.sum(upper | lower)) == (200, 200, 400)
    assert np.std(two_moons(0, 4000, noise=0.1) - two_moons(0, 4000, noise=0.0)) == pytest.approx(0.1, rel=0.05)


# --- traces ---


@pytest.mark.parametrize("gates", ["unit", "component"])
def test_planar_closed_trace_equals_the_exact_one_and_the_jacobian(gates):
    planar, z = Planar(2, 7, gates=gates), points(5)
    params = larger(planar.init(0), 3.0)
    dz, trace = planar.with_trace(params, 0.6, z)
    same, exact = with_exact_trace(lambda z: planar(params, 0.6, z), z)
    np.testing.assert_allclose(same, dz, rtol=1e-14)
    np.testing.assert_allclose(exact, trace, rtol=1e-12)
    jacobian = nc.jacobian(lambda z: planar(params, 0.6, z[None])[0])
    np.testing.assert_allclose([np.trace(jacobian(x)) for x in z], trace, rtol=1e-12)
    closed, forward = (CNF(planar, 2, trace=how, **TIGHT).log_prob(params, z) for how in ("closed", "exact"))
    np.testing.assert_allclose(closed, forward, rtol=1e-12)


def test_planar_of_the_usual_set_up_has_its_parameters():
    assert nc.tree.ravel(Planar(2, 64).init(0))[0].shape == (15904,)
    w, b, v = Planar(3, 5, gates="unit").weights(Planar(3, 5, gates="unit").init(0), 0.1)
    assert (w.shape, b.shape, v.shape) == ((5, 3), (5,), (5, 3))


def test_a_field_with_no_rule_for_many_tangents_takes_them_one_by_one():
    z, A = points(4), np.array([[2.0, 0.3], [0.1, 1.0]])

    def fun(z):  # a tangent within the matrix of a solve
        return np.linalg.solve(z[:, :1, None] * A + np.eye(2), z[:, :, None])[..., 0]

    wanted = [np.trace(nc.jacobian(lambda x: fun(x[None])[0])(x)) for x in z]
    np.testing.assert_allclose(with_exact_trace(fun, z)[1], wanted, rtol=1e-12)


def test_a_constant_field_has_no_trace():
    dz, columns = jvp_many(lambda z: np.ones((4, 2)), (points(4),), [np.ones((3, 4, 2))])
    np.testing.assert_array_equal(dz, np.ones((4, 2)))
    np.testing.assert_array_equal(columns, np.zeros((3, 4, 2)))


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(kind):
    """The mean over k probes lies within 4 standard errors of the exact trace, for every sample."""
    params, z, k = larger(MLP.init(1), 1.5), points(6), 4000
    exact = with_exact_trace(lambda z: field(params, 0.3, z), z)[1]
    noise = probes(kind, 0, (k, 6, 2))
    dz, mean = with_hutchinson_trace(lambda z: field(params, 0.3, z), z, noise)
    each = np.sum(jvp_many(lambda z: field(params, 0.3, z), (z,), [noise])[1] * noise, axis=2)  # (k, 6)
    np.testing.assert_allclose(dz, field(params, 0.3, z), rtol=1e-13)
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-10)
    assert np.all(np.abs(mean - exact) < 4 * np.std(each, axis=0) / np.sqrt(k))
    assert np.max(np.abs(mean - exact)) < 0.1 * np.max(np.abs(exact))


def test_mean_of_estimated_log_probs_over_noise_is_the_exact_one():
    flow, params = net_flow(trace="hutchinson", probes=400)
    exact, x = net_flow()[0], points(6)
    rough = flow.log_prob(params, x, flow.noise(0, 6)) - exact.log_prob(params, x)
    assert np.max(np.abs(rough)) < 0.1
    one = CNF(field, 2, trace="hutchinson").log_prob(params, x, probes("rademacher", 0, (1, 6, 2)))
    assert np.max(np.abs(one - exact.log_prob(params, x))) > 2 * np.max(np.abs(rough))


# --- gradients ---


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
@pytest.mark.parametrize("trace", ["closed", "exact", "hutchinson"])
def test_gradients_of_log_prob_equal_central_differences(trace, gradient):
    made = continuous if trace == "closed" else net_flow
    flow, params = made(trace=trace, gradient=gradient, rtol=1e-9, atol=1e-10)
    x, noise = points(4), flow.noise(0, 4)
    nc.check_grads(lambda params, x: np.mean(flow.log_prob(params, x, noise)), (params, x))


@pytest.mark.parametrize("toward", ["data", "base"])
def test_gradients_of_the_discrete_flow_equal_central_differences_in_both_directions(toward):
    flow, params = discrete(toward=toward)
    x = points(4)
    nc.check_grads(lambda params, x: np.mean(flow.log_prob(params, x)), (params, x))
    nc.check_grads(lambda params, z: np.mean(np.sin(flow.to_data(params, z)[0])), (params, x))


def test_samples_are_differentiable():
    flow, params = continuous(rtol=1e-9, atol=1e-10)
    nc.check_grads(lambda params: np.mean(np.sin(flow.sample(params, 0, 5))), (params,))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
@pytest.mark.parametrize("trace", ["closed", "exact", "hutchinson"])
def test_compiled_value_and_gradient_equal_the_uncompiled(trace, gradient):
    flow, params = (continuous if trace == "closed" else net_flow)(trace=trace, gradient=gradient)
    rng = np.random.default_rng(0)

    def loss(params, x, z, noise):
        y, log_q = flow.to_data(params, z, noise)
        return np.mean(log_q - ring(y)) - np.mean(flow.log_prob(params, x, noise))

    compiled = nc.compile(nc.value_and_grad(loss))
    for seed in range(2):
        batch = points(9, seed), flow.base(rng, 9), flow.noise(rng, 9)
        value, grads = compiled(params, *batch)
        wanted, wanted_grads = nc.value_and_grad(loss)(params, *batch)
        assert value == pytest.approx(wanted, rel=1e-12)
        assert worst(grads, wanted_grads) < 1e-12


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("toward", ["data", "base"])
def test_compiled_discrete_flow_equals_the_uncompiled(toward):
    flow, params = discrete(toward=toward)

    def loss(params, x):
        return np.mean(flow.log_prob(params, x)) + np.mean(flow.to_data(params, x)[1])

    value, grads = nc.compile(nc.value_and_grad(loss))(params, points(9))
    wanted, wanted_grads = nc.value_and_grad(loss)(params, points(9))
    assert value == pytest.approx(wanted, rel=1e-12)
    assert worst(grads, wanted_grads) < 1e-12


@pytest.mark.parametrize("backend", ["callback", "python"])
def test_options_go_to_odeint(backend):
    flow, params = continuous()
    fixed = {"method": "rk4", "step_size": 0.25}
    same = flow.to_base(params, points(3), backend=backend, **fixed)
    np.testing.assert_allclose(same[1], CNF(flow.field, 2, **fixed).log_prob(params, points(3)), rtol=1e-12)
    assert not np.array_equal(same[1], flow.log_prob(params, points(3)))
    one, two = (flow.sample_and_log_prob(params, 0, 3, **fixed), flow.sample(params, 0, 3, **fixed))
    np.testing.assert_allclose(one[0], two, rtol=1e-12)
    np.testing.assert_allclose(flow.log_prob(params, one[0], **fixed), one[1], atol=1e-4)


def test_float32_stays_float32():
    for flow in (CNF(Planar(2, 4, dtype=np.float32), 2), PlanarFlow(2, 3, dtype=np.float32)):
        params = flow.init(0)
        x, log_q = flow.sample_and_log_prob(params, 0, 5)
        assert {x.dtype, log_q.dtype, flow.log_prob(params, x).dtype} == {np.dtype(np.float32)}
        np.testing.assert_allclose(flow.log_prob(params, x), log_q, atol=1e-4)


@pytest.mark.filterwarnings("error")  # a field of two dtypes would be called back
def test_points_and_noise_are_taken_in_the_dtype_of_the_parameters():
    rough, params = net_flow(trace="hutchinson")
    one = rough.log_prob(params, points(5).astype(np.float32), rough.noise(0, 5).astype(np.float32))
    assert one.dtype == np.float64
    flow = CNF(Planar(2, 4, dtype=np.float32), 2)
    assert flow.log_prob(flow.init(0), points(5)).dtype == np.float32
    still = CNF(lambda params, t, z: z * 0, 2)  # without parameters the points decide
    assert still.log_prob(None, points(5).astype(np.float32)).dtype == np.float32


def test_a_layer_is_an_autonomous_field():
    layer = nc.nn.MLP([2, 5, 2])
    flow, params = CNF(layer, 2), layer.init(0)
    other = CNF(lambda params, t, z: layer(params, z), 2)
    np.testing.assert_array_equal(flow.log_prob(params, points(3)), other.log_prob(params, points(3)))
    assert nc.tree.ravel(flow.init(0))[0].shape == nc.tree.ravel(params)[0].shape


# --- what is refused ---


class NotPlanar:
    d = 3

    def __call__(self, params, t, z):
        return z


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CNF(3, 2), TypeError, "CNF: field must be callable, got int"),
        (lambda: CNF(field, 0), ValueError, "CNF: d must be a positive int, got 0"),
        (lambda: CNF(NotPlanar(), 2), ValueError, "CNF: d is 2, but the field's is 3"),
        (lambda: CNF(field, 2, trace="closed"), ValueError, r"needs a field with with_trace\(params, t, z\)"),
        (lambda: CNF(field, 2, trace="mean"), ValueError, "trace must be one of closed, exact, hutchinson, got 'mean'"),
        (lambda: CNF(field, 2, noise="white"), ValueError, "noise must be one of rademacher, gaussian, got 'white'"),
        (lambda: CNF(field, 2, probes=0), ValueError, "CNF: probes must be a positive int, got 0"),
        (lambda: CNF(field, 2, std=-1.0), ValueError, "CNF: std, of the base, must be a positive number, got -1.0"),
        (lambda: CNF(field, 2, span=(1.0, 1.0)), ValueError, r"two different finite times, got \(1.0, 1.0\)"),
        (lambda: CNF(field, 2, span=3.0), ValueError, r"span must be \(time of the base, time of the data\), got 3.0"),
        (lambda: CNF(field, 2).init(0), TypeError, r"the field has no init; give CNF\(field, d, init=...\)"),
        (lambda: CNF(field, 2, tol=1), TypeError, "CNF: odeint has no option 'tol'"),
        (lambda: Planar(2, 0), ValueError, "Planar: units must be a positive int, got 0"),
        (lambda: Planar(2, 4, gates="all"), ValueError, "gates must be one of component, unit, got 'all'"),
        (lambda: PlanarFlow(2, 0), ValueError, "PlanarFlow: layers must be a positive int, got 0"),
        (lambda: PlanarFlow(2, 3, toward="x"), ValueError, "toward must be one of data, base, got 'x'"),
        (lambda: two_moons(0, 0), ValueError, "two_moons: n must be a positive int, got 0"),
    ],
)
def test_a_wrong_setting_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_wrong_points_and_noise_are_named():
    flow, params = continuous()
    with pytest.raises(ValueError, match=r"CNF: x must be of shape \(N, 2\), got \(3,\)"):
        flow.log_prob(params, np.ones(3))
    with pytest.raises(ValueError, match=r"CNF: x must be finite, row 1 is \[nan  1.\]"):
        flow.log_prob(params, np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(TypeError, match="CNF: x must hold real numbers, got complex128"):
        flow.log_prob(params, np.ones((3, 2), complex))
    with pytest.raises(ValueError, match=r"PlanarFlow: z must be of shape \(N, 2\), got \(3, 4\)"):
        PlanarFlow(2, 1).to_data(PlanarFlow(2, 1).init(0), np.ones((3, 4)))
    with pytest.raises(ValueError, match="CNF: n must be a positive int, got 0"):
        flow.sample(params, 0, 0)
    rough, params = net_flow(trace="hutchinson", probes=2)
    with pytest.raises(ValueError, match=r"needs noise \(2, 3, 2\): give flow.noise\(rng, 3\)"):
        rough.log_prob(params, np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"CNF: noise must be of shape \(2, 3, 2\), got \(1, 3, 2\)"):
        rough.log_prob(params, np.ones((3, 2)), np.ones((1, 3, 2)))


def test_lists_and_whole_numbers_are_points():
    flow, params = continuous()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = flow.log_prob(params, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(found, flow.log_prob(params, np.array([[0.0, 1.0], [1.0, 0.0]])))
