"""odeint_event: the time and the state of an event, and their gradients against closed forms."""

import math

import numpy as np
import pytest

import node_core as nc

from .oracles import differences, worst

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
GRADIENTS = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
TIGHT = {"rtol": 1e-11, "atol": 1e-12}
G = 9.81


def fall(t, y, g):
    return [y[1], -g]


def height(t, y, g):
    return y[0]


def ground(y0, t0, g, **options):
    return nc.odeint_event(fall, y0, t0, event_fn=height, args=(g,), **{**TIGHT, **options})


@BACKENDS
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3", "DOP853", "RK45"])
def test_the_time_and_the_state_of_an_event(backend, method):
    t, y = ground(np.array([1.0, 0.0]), 2.0, G, backend=backend, method=method)
    assert t == pytest.approx(2.0 + math.sqrt(2 / G), abs=1e-9)
    np.testing.assert_allclose(y, [0.0, -math.sqrt(2 * G)], atol=1e-8)


@BACKENDS
@GRADIENTS
def test_gradients_of_time_and_state_are_those_of_the_closed_form(backend, gradient):
    """t = (v + w) / g and the speed -w, with w = sqrt(v^2 + 2 g h)."""
    h, v = 1.3, 0.7
    w = math.sqrt(v * v + 2 * G * h)
    options = {"backend": backend, "gradient": gradient}
    found = nc.grad(lambda *x: ground(*x, **options)[0], (0, 1, 2))(np.array([h, v]), 0.5, G)
    np.testing.assert_allclose(found[0], [1 / w, (1 + v / w) / G], rtol=1e-8)
    assert found[1] == pytest.approx(1.0, rel=1e-8)
    assert found[2] == pytest.approx(h / (G * w) - (v + w) / G**2, rel=1e-8)
    speed = nc.grad(lambda *x: ground(*x, **options)[1][1], (0, 1, 2))(np.array([h, v]), 0.5, G)
    np.testing.assert_allclose(speed[0], [-G / w, -v / w], rtol=1e-8)
    assert abs(speed[1]) < 1e-8
    assert speed[2] == pytest.approx(-h / w, rel=1e-8)


def test_gradients_go_through_bounces_to_the_restitution():
    """The n-th bounce is at t_1 (1 + 2 (e + ... + e^(n-1))); a loop of events with what the ball keeps between them."""

    def third(e, h):
        t, y = 0.0, np.stack([h, 0.0 * h])
        for _ in range(3):
            t, y = ground(y, t, G)
            y = np.stack([0.0 * y[0], -e * y[1]])
        return t

    e, h = 0.8, 1.0
    first = math.sqrt(2 * h / G)
    assert third(e, h) == pytest.approx(first * (1 + 2 * e + 2 * e**2), abs=1e-9)
    slopes = nc.grad(third, (0, 1))(e, h)
    np.testing.assert_allclose(slopes, [first * (2 + 4 * e), first * (1 + 2 * e + 2 * e**2) / (2 * h)], rtol=1e-8)


def crossing(t, y, k):
    return y["x"][0] - k["level"]


crossing.direction = -1


@GRADIENTS
def test_a_nested_state_with_arguments_that_both_functions_use(gradient):
    def both(y0, k):
        t, y = nc.odeint_event(lambda t, y, k: {"x": k["rate"] * y["v"], "v": -k["rate"] * y["x"]}, y0, 0.0,
                               event_fn=crossing, args=(k,), gradient=gradient, **TIGHT)  # fmt: skip
        return t + 2.0 * y["v"][1] - y["x"][1] * y["v"][0]

    y0, k = {"x": np.array([1.0, 0.3]), "v": np.array([0.2, -0.4])}, {"rate": 1.5, "level": 0.4}
    found = nc.grad(both, (0, 1))(y0, k)
    flat, unravel = nc.tree.ravel((y0, k))
    assert worst(found, unravel(differences(lambda x: both(*unravel(x)), flat))) < 1e-7


def test_backward_in_time_and_from_a_zero_at_the_start():
    t, y = nc.odeint_event(lambda t, y: [y[1], -y[0]], np.array([0.0, 1.0]), 0.0, event_fn=lambda t, y: y[0],
                           reverse_time=True, **TIGHT)  # fmt: skip
    assert t == pytest.approx(-np.pi, abs=1e-9)
    assert y[1] == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_other_dtypes(dtype):
    t, y = nc.odeint_event(lambda t, y: -y, np.ones(2, dtype), 0.0, event_fn=lambda t, y: y[0].real - 0.5)
    assert y.dtype == dtype
    assert t == pytest.approx(np.log(2), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"t_max": 0.1}, nc.SolverError, "no event was found: there is none until t_max = 0.1"),
        ({"max_num_steps": 3}, nc.SolverError, "no event was found: too many steps"),
        ({"t_max": -1.0}, ValueError, "t_max must lie after t0 = 0.0, got -1.0"),
        ({"t0": np.inf}, ValueError, "t0 must be finite"),
        ({"method": "rk4", "step_size": 0.1}, ValueError, "rk4 takes fixed steps; give an adaptive method"),
        ({"event_fn": 3}, TypeError, "must be callable"),
        ({"event_fn": lambda t, y: y}, ValueError, r"event 0 must return one real number, got shape \(2,\)"),
        ({"event_fn": lambda t, y: np.nan}, ValueError, "event 0 is nan at t = 0"),
        ({"y0": np.array([1.0, np.nan])}, ValueError, "y0 must be finite"),
        ({"method": "dopri"}, ValueError, "did you mean"),
        ({"frst_step": 1}, TypeError, "did you mean first_step"),
    ],
)
def test_what_cannot_be_meant_or_found_is_told(changes, error, message):
    given = {"y0": np.array([1.0, 0.0]), "t0": 0.0, "event_fn": lambda t, y: y[0], **changes}
    with pytest.raises(error, match=message):
        nc.odeint_event(lambda t, y: [y[1], -G], given.pop("y0"), given.pop("t0"), **given)


def test_a_sign_that_changes_without_a_slope_has_no_derivative():
    def sign(t, y):
        return np.where(y[0] < 1, -1.0, 1.0)

    def loss(y0):
        return nc.odeint_event(lambda t, y: 1.0 + 0.0 * y, y0, 0.0, event_fn=sign)[0]

    assert loss(np.zeros(1)) == pytest.approx(1.0)
    with pytest.raises(nc.SolverError, match="passes zero without a slope; its time has no derivative"):
        nc.grad(loss)(np.zeros(1))


def test_within_a_compiled_function_the_event_is_sought_at_every_call():
    compiled = nc.compile(lambda h: ground(np.stack([h, 0.0 * h]), 0.0, G)[0])
    with pytest.warns(RuntimeWarning, match="when an event comes is a matter of values"):
        first = compiled(np.float64(1.0))
    assert first == pytest.approx(math.sqrt(2 / G))
    assert compiled(np.float64(4.0)) == pytest.approx(math.sqrt(8 / G))


@pytest.mark.parametrize("name", ["jump_t", "step_t", "on_step", "on_accept", "on_reject", "progress", "full_output"])
def test_options_of_odeint_alone_are_refused(name):
    with pytest.raises(TypeError, match=f"odeint_event has no option '{name}'; it is of odeint alone"):
        ground(np.array([1.0, 0.0]), 0.0, G, **{name: [0.1]})


def test_a_gradient_that_does_not_exist_is_refused_though_none_is_taken():
    with pytest.raises(
        ValueError, match="gradient must be one of discrete, adjoint, interpolated, forward, auto, got 'x'"
    ):
        ground(np.array([1.0, 0.0]), 0.0, G, gradient="x")


def test_values_are_the_same_whether_gradients_are_taken_or_not():
    def both(y0):
        t, y = nc.odeint_event(lambda t, y: -y, y0, 0.0, event_fn=lambda t, y: y[0] - 0.5, rtol=1e-3, atol=1e-3)
        return t + np.sum(y)

    y0 = np.array([1.0, 3.0])
    assert nc.value_and_grad(both)(y0)[0] == both(y0)


def test_an_event_function_may_return_an_array_of_one():
    def loss(y0, reshape):
        def event(t, y):
            return y[:1] if reshape else y[0]

        return nc.odeint_event(lambda t, y: [y[1], -G], y0, 0.0, event_fn=event, **TIGHT)[0]

    slopes = [nc.grad(lambda y0, r=r: loss(y0, r))(np.array([1.0, 0.3])) for r in (True, False)]
    np.testing.assert_array_equal(*slopes)
