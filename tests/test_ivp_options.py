"""solve_ivp beyond SciPy: callbacks, a limit of time, and options that belong to some methods alone."""

import time

import numpy as np
import pytest

import node_core as nc


@pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
def test_callbacks_see_every_step_and_may_end_the_solve(backend):
    def circle(t, y):
        return np.stack([y[1], -y[0]])

    told = {"on_step": [], "on_accept": [], "on_reject": []}
    callbacks = {name: (lambda t, y, h, seen=seen: seen.append((t, y, h))) for name, seen in told.items()}
    whole = nc.solve_ivp(circle, (0, 9), [0.0, 1.0], first_step=2.0, backend=backend, **callbacks)
    assert len(told["on_accept"]) == len(whole.t) - 1
    assert len(told["on_reject"]) >= 1
    assert len(told["on_step"]) == len(told["on_accept"]) + len(told["on_reject"])
    np.testing.assert_array_equal([t for t, _, _ in told["on_accept"]], whole.t[1:])
    np.testing.assert_array_equal(np.transpose([y for _, y, _ in told["on_accept"]]), whole.y[:, 1:])
    ended = nc.solve_ivp(circle, (0, 9), [0.0, 1.0], first_step=2.0, backend=backend, dense_output=True,
                      events=lambda t, y: y[0], on_accept=lambda t, y, h: t > 4.0)  # fmt: skip
    assert (ended.status, ended.message) == (1, "A callback ended the solve.")
    np.testing.assert_array_equal(ended.t, whole.t[: len(ended.t)])
    assert ended.t[-2] <= 4.0 < ended.t[-1] == ended.sol.t_max
    assert len(ended.t_events[0]) == 2
    at = nc.solve_ivp(circle, (0, 9), [0.0, 1.0], t_eval=np.linspace(0, 9, 19), backend=backend,
                   on_step=lambda t, y, h: t > 4.0)  # fmt: skip
    assert 4.0 <= at.t[-1] < 6.0
    assert at.y.shape == (2, len(at.t))
    seen = []
    ball = lambda t, y: y[0]  # noqa: E731
    ball.terminal = 1
    at_event = nc.solve_ivp(circle, (0, 9), [0.0, 1.0], events=ball, backend=backend,
                            on_accept=lambda t, y, h: seen.append((t, *y)))  # fmt: skip
    np.testing.assert_array_equal(np.transpose(seen)[0], at_event.t[1:])  # the event's own, at last
    np.testing.assert_array_equal(np.transpose(seen)[1:], at_event.y[:, 1:])
    with pytest.raises(TypeError, match=r"on_accept must be callable as on_accept\(t, y, h\), got 3"):
        nc.solve_ivp(circle, (0, 9), [0.0, 1.0], on_accept=3)


def test_max_seconds_is_of_all_solves_between_events_together():
    def slow(t, y):
        time.sleep(0.002)
        return np.ones(1)

    def wall(t, y):
        return y[0] - 0.01

    wall.terminal, wall.reset = 10**6, lambda t, y: np.zeros(1)
    r = nc.solve_ivp(slow, (0, 1e3), [0.0], events=wall, backend="callback", max_seconds=0.2)
    assert r.status == -1
    assert "max_seconds" in r.message
    assert len(r.t_events[0]) >= 1


def test_a_traced_solve_has_callbacks_and_equal_steps_too():
    seen = []

    def end(y0, **options):
        return nc.solve_ivp(lambda t, y: -y, (0.0, 1.0), y0, t_eval=[1.0], **options).y[0, -1]

    given = {"on_accept": lambda t, y, h: seen.append(t)}
    assert abs(nc.grad(lambda y0: end(y0, rtol=1e-8, **given))(np.ones(1))[0] - np.exp(-1)) < 1e-6
    assert seen[-1] == 1.0
    adams = {"method": "implicit_adams", "step_size": 0.01, "gradient": "adjoint"}
    for options in ({"method": "rk4", "step_size": 0.01}, adams):
        assert abs(nc.grad(lambda y0, o=options: end(y0, **o))(np.ones(1))[0] - np.exp(-1)) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_order": 3}, "max_order does not go with RK45"),
        ({"method": "implicit_adams", "controller": "PID"}, "controller does not go with implicit_adams"),
        (
            {"method": "implicit_adams", "step_size": 0.1, "rtol": 1e-9},
            "rtol does not go with implicit_adams and equal",
        ),
        ({"method": "rk4", "step_size": 0.1, "safety": 0.5}, "safety does not go with rk4, which is fixed-step"),
        ({"step_size": 0.1}, "step_size does not go with RK45, which is adaptive"),
    ],
)
def test_options_of_other_methods_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nc.solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], **options)
