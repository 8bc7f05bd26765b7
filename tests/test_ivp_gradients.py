"""Gradients through solve_ivp's events: their times and states, their parameters, and the states that resets give."""

import numpy as np
import pytest

import node_core as nc

from .oracles import differences

MODES = pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated", "forward", "auto"])
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
G = 9.81
T_EVAL = np.array([0.1, 0.3, 1.0, 1.7, 2.5])


def fall(t, y, e):
    return np.stack([y[1], -G + 0.0 * y[0]])


def bouncing(v0, e, sign=1.0, **options):
    """A ball from height 1 with restitution e; with sign -1 the same in mirrored time."""

    def ground(t, y, e):
        return y[0]

    ground.direction = -1
    ground.reset = lambda t, y, e: np.stack([0.0 * y[0], -e * y[1]])
    options = {"rtol": 1e-9, "atol": 1e-9, "t_eval": sign * T_EVAL, **options}
    return nc.solve_ivp(lambda t, y, e: sign * fall(t, y, e), (0.0, 2.5 * sign), np.stack([1.0 + 0.0 * v0, v0]),
                        events=ground, args=(e,), **options)  # fmt: skip


def closed(v0, e):
    """(times of the bounces, heights and velocities at T_EVAL, velocities before the bounces)."""
    speed = np.sqrt(v0**2 + 2 * G)
    times, before = [(v0 + speed) / G], [-speed]
    while times[-1] + 2 * e * -before[-1] / G < 2.5:
        times.append(times[-1] + 2 * e * -before[-1] / G)
        before.append(e * before[-1])
    states = []
    for t in T_EVAL:
        last = [k for k, at in enumerate(times) if at < t]
        x, v, s = (0.0, -e * before[last[-1]], t - times[last[-1]]) if last else (1.0, v0, t)
        states.append((x + v * s - G * s * s / 2, v - G * s))
    return np.array(times), np.array(states).T, np.array(before)


@MODES
@BACKENDS
def test_times_states_and_outputs_of_a_bouncing_ball_have_their_closed_gradient(gradient, backend):
    rng = np.random.default_rng(0)
    v0, e = 0.3, 0.8
    times, states, before = closed(v0, e)
    a, b, c = rng.standard_normal(len(times)), rng.standard_normal(states.shape), rng.standard_normal(len(before))

    def loss(v0, e):
        found = bouncing(v0, e, gradient=gradient, backend=backend)
        return np.sum(a * found.t_events[0]) + np.sum(b * found.y) + np.sum(c * found.y_events[0][:, 1])

    def wanted(v0, e):
        times, states, before = closed(v0, e)
        return np.sum(a * times) + np.sum(b * states) + np.sum(c * before)

    value, found = nc.value_and_grad(loss, (0, 1))(v0, e)
    assert value == pytest.approx(wanted(v0, e), abs=1e-10)
    assert abs(found[0] - differences(lambda v: wanted(v, e), v0)) < 1e-8
    assert abs(found[1] - differences(lambda e: wanted(v0, e), e)) < 1e-8


def test_time_may_run_backward():
    def loss(v0, e, sign):
        found = bouncing(v0, e, sign)
        return sign * np.sum(found.t_events[0]) + np.sum(found.y)

    for i in (0, 1):
        ahead, back = (nc.grad(loss, i)(0.3, 0.8, sign) for sign in (1.0, -1.0))
        assert abs(ahead - back) < 1e-9 * abs(ahead)


def test_second_derivatives_through_bounces():
    def second(v0, e):
        return bouncing(v0, e).t_events[0][1]

    found = nc.hessian(lambda x: second(x[0], x[1]))(np.array([0.3, 0.8]))
    wanted = np.array([[differences(lambda v: differences(lambda w: closed(w, 0.8)[0][1], v), 0.3),
                        differences(lambda e: differences(lambda v: closed(v, e)[0][1], 0.3), 0.8)],
                       [0.0, differences(lambda e: differences(lambda d: closed(0.3, d)[0][1], e), 0.8)]])  # fmt: skip
    wanted[1, 0] = wanted[0, 1]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@MODES
def test_events_that_end_or_only_watch_have_gradients_by_what_they_hang_on(gradient):
    """y = y0 exp(-k t) passes `a` at log(y0 / a) / k and ends at `b`."""

    def passed(t, y, k, a, b):
        return y[0] - a

    def ended(t, y, k, a, b):
        return y[0] - b

    ended.terminal = True

    def result(y0, k, a, b):
        return nc.solve_ivp(lambda t, y, k, a, b: -k * y, (0.0, 10.0), y0, events=[passed, ended], args=(k, a, b),
                            t_eval=[0.5, 1.0, 9.0], rtol=1e-10, atol=1e-10, gradient=gradient)  # fmt: skip

    def loss(y0, k, a, b):
        found = result(y0, k, a, b)
        assert (found.status, found.success, len(found.t)) == (1, True, 2)
        assert [len(times) for times in found.t_events] == [1, 1]
        return found.t_events[0][0] + 2.0 * found.t_events[1][0] + found.y_events[1][0, 0] + np.sum(found.y)

    y0, k, a, b = np.array([1.5]), 0.7, 0.9, 0.4
    found = nc.grad(loss, (0, 1, 2, 3))(y0, k, a, b)
    decayed = np.exp(-k * np.array([0.5, 1.0]))
    wanted = (
        3.0 / (k * y0) + np.sum(decayed),
        -(np.log(y0 / a) + 2.0 * np.log(y0 / b)) / k**2 - np.sum(np.array([0.5, 1.0]) * y0 * decayed),
        -1.0 / (k * a),
        -2.0 / (k * b) + 1.0,
    )
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, np.reshape(want, np.shape(got)), rtol=1e-7)


def test_the_values_are_those_without_traces_and_callbacks_see_one_solve():
    seen = []

    def loss(v0):
        found = bouncing(v0, 0.8, on_accept=lambda t, y, h: seen.append(t))
        loss.found = found
        return np.sum(found.y)

    value = nc.value_and_grad(loss)(0.3)[0]
    once = list(seen)
    plain = bouncing(0.3, 0.8)
    assert value == np.sum(plain.y)
    assert once == sorted(once)
    np.testing.assert_array_equal(nc.stop_gradient(loss.found.t), plain.t)
    assert [len(times) for times in loss.found.t_events] == [len(times) for times in plain.t_events]


def test_outputs_at_an_event_and_at_the_start_and_no_outputs_at_all():
    first = closed(0.3, 0.8)[0][0]
    at = bouncing(0.3, 0.8).t_events[0][0]
    assert at == pytest.approx(first)

    def loss(e):
        found = bouncing(0.3, e, t_eval=[0.0, at, 2.5])
        return found.y[1, 1] + found.y[0, 0] + found.y[1, 2]  # before the reset: e has no part in the first two

    assert nc.grad(loss)(0.8) == pytest.approx(differences(lambda e: closed(0.3, e)[1][1, -1], 0.8), abs=1e-7)
    none = nc.grad(lambda v: bouncing(v, 0.8, t_eval=[]).t_events[0][0])(0.3)
    assert none == pytest.approx(differences(lambda v: closed(v, 0.8)[0][0], 0.3), abs=1e-9)
    idle = nc.grad(
        lambda v: (
            np.sum(bouncing(v, 0.8, t_eval=[0.1]).y)
            + np.sum(
                nc.solve_ivp(
                    fall, (0.0, 0.1), np.stack([1.0, v]), events=lambda t, y, e: y[0] - 5.0, t_eval=[0.1], args=(1.0,)
                ).y_events[0]
            )
        )
    )
    assert idle(0.3) == pytest.approx(1.1, abs=1e-6)


def test_what_is_not_differentiable_is_said():
    for options in ({"t_eval": None}, {"dense_output": True}):
        with pytest.raises(NotImplementedError, match="differentiable at the times of t_eval and of events, not"):
            nc.grad(lambda v, o=options: np.sum(bouncing(v, 0.8, **o).y))(0.3)
    with pytest.raises(nc.SolverError, match="max_num_steps"):
        nc.grad(lambda v: np.sum(bouncing(v, 0.8, max_num_steps=3).y))(0.3)
    with pytest.warns(RuntimeWarning, match="a graph of solve_ivp has no events"):
        nc.compile(nc.grad(lambda v: bouncing(v, 0.8).t_events[0][0]))(np.array(0.3))
