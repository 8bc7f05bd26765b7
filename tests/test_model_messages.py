"""What a model says of parameters that are not its own, of data in another form, and of how it is asked to learn."""

import re

import numpy as np
import pytest

import node_core as nc
from node_core.models import (
    CNF,
    LatentODE,
    ODENet,
    Planar,
    PlanarFlow,
    PoissonProcess,
    RNNPredictor,
    draw_events,
    events_on_grid,
    fit_events,
    fit_likelihood,
    fit_series,
    match_density,
    union_grid,
)

RNG = np.random.default_rng(0)
POINTS, T, X = RNG.standard_normal((4, 2)), np.array([0.0, 0.5, 1.0]), RNG.standard_normal((3, 2, 2))
IMAGES = RNG.random((3, 1, 8, 8)).astype(np.float32)
FLOW, CONTINUOUS, LATENT = PlanarFlow(2, 4), CNF(Planar(2, 4), 2), LatentODE(2)
PREDICTOR, PROCESS, NET = RNNPredictor(2), PoissonProcess((0.0, 1.0)), ODENet((1, 8, 8), width=4, downsamplings=1)

CALLS = {
    "PlanarFlow": (FLOW, PlanarFlow(2, 3), lambda p: FLOW.log_prob(p, POINTS)),
    "PlanarFlow, sample": (FLOW, PlanarFlow(3, 4), lambda p: FLOW.sample(p, 0, 3)),
    "CNF": (CONTINUOUS, CNF(Planar(2, 3), 2), lambda p: CONTINUOUS.log_prob(p, POINTS)),
    "CNF, sample": (CONTINUOUS, CNF(Planar(2, 3), 2), lambda p: CONTINUOUS.sample(p, 0, 3)),
    "fit_likelihood": (FLOW, PlanarFlow(2, 3), lambda p: fit_likelihood(FLOW, p, POINTS, steps=1)),
    "match_density": (FLOW, PlanarFlow(2, 3), lambda p: match_density(FLOW, p, lambda x: x[:, 0], steps=1)),
    "LatentODE": (LATENT, LatentODE(2, rnn=3), lambda p: LATENT.encode(p, T, X)),
    "LatentODE, decode": (LATENT, LatentODE(2, hidden=3), lambda p: LATENT.decode(p, np.zeros((2, 4)), T)),
    "LatentODE, ahead": (LATENT, LatentODE(2, decoder=3), lambda p: LATENT.extrapolate(p, T, X, None, [2.0])),
    "fit_series": (LATENT, LatentODE(2, rnn=3), lambda p: fit_series(LATENT, p, T, X, steps=1)),
    "RNNPredictor": (PREDICTOR, RNNPredictor(2, gaps=False), lambda p: PREDICTOR.predict(p, T, X)),
    "PoissonProcess": (PROCESS, PoissonProcess((0.0, 1.0), hidden=3), lambda p: PROCESS.log_prob(p, [0.5])),
    "fit_events": (PROCESS, PoissonProcess((0.0, 1.0), hidden=3), lambda p: fit_events(PROCESS, p, [0.5], steps=1)),
    "ODENet": (NET, ODENet((1, 8, 8), width=6, downsamplings=1), lambda p: NET(p, IMAGES)),
    "ODENet, error": (NET, ODENet((1, 8, 8), width=6, downsamplings=1), lambda p: NET.error(p, IMAGES, [1, 2, 3])),
}


@pytest.mark.parametrize(("model", "other", "call"), CALLS.values(), ids=CALLS)
def test_parameters_of_another_model_are_told_with_the_first_leaves_that_differ(model, other, call):
    call(model.init(0))
    told = rf"params are not those of {re.escape(repr(model))}: wanted \[.*\), got \[.*; see its init"
    with pytest.raises(ValueError, match=told):
        call(other.init(0))


def test_what_a_training_returns_is_told_from_parameters():
    trained = fit_likelihood(FLOW, FLOW.init(0), POINTS, steps=1)
    with pytest.raises(ValueError, match=r"PlanarFlow: params are a Trained; give its \.params"):
        FLOW.log_prob(trained, POINTS)


def test_a_model_whose_field_has_no_init_takes_the_parameters_that_it_is_given():
    flow = CNF(lambda p, t, z: p * z, 2)
    assert flow.log_prob(0.5, POINTS).shape == (4,)
    process = PoissonProcess((0.0, 1.0), field=lambda p, t, z: -p * z)
    assert process.intensity({**process.init(0), "field": 0.5}, [0.5]).shape == (1,)


@pytest.mark.filterwarnings("error")  # no falling back to the function that is called
def test_images_of_another_dtype_are_taken_in_the_networks():
    params = NET.init(0)
    np.testing.assert_array_equal(NET(params, IMAGES.astype(float)), NET(params, IMAGES))
    np.testing.assert_array_equal(NET(params, IMAGES.tolist()), NET(params, IMAGES))
    bad = IMAGES.copy()
    bad[1, 0, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"ODENet: x must be finite, but image 1 has nan at \(0, 2, 3\)"):
        NET(params, bad)
    with pytest.raises(ValueError, match=r"ODENet: x must hold real numbers, got complex64"):
        NET(params, IMAGES.astype(np.complex64))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"optimizer": nc.optim.Adam}, TypeError, r"optimizer must have init.* got <class .*; make one: Adam\(\)"),
        ({"optimizer": "adam"}, TypeError, r"as optim.Adam\(1e-3\) has, got 'adam'$"),
        ({"optimizer": nc.optim.LBFGS()}, TypeError, r"LBFGS minimises a function itself"),
        ({"state": {"step": 3}}, ValueError, r"state must be what Adam keeps .* got one of step"),
        ({"state": 3}, ValueError, r"state must be what Adam keeps for these params .* got int"),
        (
            {"state": nc.optim.SGD(0.1, momentum=0.5).init(FLOW.init(0))},
            ValueError,
            r"state must be what Adam keeps .* got one of ",
        ),
    ],
)
def test_an_optimizer_or_state_that_is_none_is_told(changes, error, message):
    with pytest.raises(error, match=message):
        fit_likelihood(FLOW, FLOW.init(0), POINTS, steps=1, **changes)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LatentODE(2, cell="gru"), TypeError, "cell must be a class of cells, such as nn.GRUCell, got 'gru'"),
        (lambda: ODENet((1, 8, 8), 1), ValueError, "classes must be an int of at least 2, got 1"),
        (lambda: PoissonProcess((0, 1), start=[np.nan, 1.0]), ValueError, r"start must be an array \(2,\) of finite"),
        (lambda: PoissonProcess((0, 1), start=[1.0]), ValueError, r"start must be an array \(2,\) .* got \[1.0\]"),
        (lambda: CNF(Planar(2, 4), 2, rtol=-1), ValueError, "CNF: rtol must be a positive float, got -1"),
        (lambda: CNF(Planar(2, 4), 2, rtol=0), ValueError, "CNF: rtol must be a positive float, got 0"),
        (lambda: CNF(Planar(2, 4), 2, atol=-1e-9), ValueError, "CNF: atol must be a non-negative float, got -1e-09"),
        (lambda: CNF(lambda p, t, z: z[:, :1], 2).log_prob(None, POINTS), ValueError, r"shape \(4, 2\), .* \(4, 1\)"),
        (lambda: CNF(lambda p, t, z: z[:, 0], 2).sample(None, 0, 4), ValueError, r"field must return dz/dt of shape"),
    ],
)
def test_a_setting_that_cannot_be_is_told_where_the_model_is_made_or_first_solved(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("batch", [0, -1, 2.0])
def test_a_batch_that_is_none_is_told(batch):
    with pytest.raises(ValueError, match=r"ODENet: batch must be a positive int, got"):
        NET.error(NET.init(0), IMAGES, [1, 2, 3], batch=batch)


def test_an_odenet_takes_the_options_of_the_solver():
    fixed = ODENet((1, 8, 8), width=4, downsamplings=1, method="rk4", step_size=0.5, backend="callback")
    assert fixed(fixed.init(0), IMAGES).shape == (3, 10)
    assert fixed.ode.keywords == {"gradient": "adjoint", "method": "rk4", "step_size": 0.5, "backend": "callback"}
    assert NET.ode.keywords == {"gradient": "adjoint", "rtol": 1e-3, "atol": 1e-3}
    with pytest.raises(TypeError, match="has no option 'blocks'"):
        ODENet((1, 8, 8), blocks=3)


def test_a_tolerance_of_zero_beside_one_that_is_not_is_allowed():
    assert CNF(Planar(2, 4), 2, atol=0.0).log_prob(CONTINUOUS.init(0), POINTS).shape == (4,)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: events_on_grid(T[::-1], X, None, [[], []]), ValueError, "events_on_grid: t must increase"),
        (lambda: events_on_grid(T, X[0], None, [[], []]), ValueError, r"t must be \(T,\) and x \(T, N, d\), got"),
        (lambda: events_on_grid(T, X, np.ones((3, 1)), [[], []]), ValueError, r"mask must be \(T, N\) = \(3, 2\)"),
        (lambda: events_on_grid(T, X, 2 * np.ones((3, 2)), [[], []]), ValueError, "mask must hold 0 and 1 only"),
        (
            lambda: union_grid([np.array(["2026-01-01", "2026-01-02"], "M8[D]")], [np.ones((2, 1))]),
            TypeError,
            r"times of series 0 must be real numbers, got datetime64\[D\]: subtract a start",
        ),
        (lambda: draw_events(0, np.ones_like, (0, 1), np.nan), ValueError, "most must be a finite rate .* got nan"),
        (lambda: PREDICTOR.extrapolate(PREDICTOR.init(0), T, X, None, []), ValueError, "at must hold increasing times"),
        (lambda: union_grid([[0.0]], [[["a"]]]), TypeError, "values of series 0 must be real numbers, got <U1"),
    ],
)
def test_series_in_a_form_that_cannot_be_are_told(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_events_on_a_grid_without_a_mask_are_those_of_series_seen_everywhere():
    found, wanted = (events_on_grid(T, X, mask, [[0.25], []]) for mask in (None, np.ones((3, 2))))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[3].sum() == 1
