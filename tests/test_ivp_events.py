"""Events of solve_ivp: found where they are, also two in a step or at once after a reset; directions and counts."""

import math
import warnings

import numpy as np
import pytest

import node_core as nc

THREE = pytest.mark.parametrize("method", ["RK23", "RK45", "DOP853"])
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])


def oscillator(t, y):
    return [y[1], -y[0]]


def ball(restitution, bounces, g=9.81):
    def fall(t, y):
        return [y[1], -g]

    def ground(t, y):
        return y[0]

    ground.direction, ground.terminal = -1, bounces
    ground.reset = lambda t, y: [0.0, -restitution * y[1]]
    first = math.sqrt(2 / g)
    flights = 2 * first * restitution ** np.arange(1, bounces)
    return fall, ground, first + np.concatenate([[0.0], np.cumsum(flights)])


@THREE
def test_a_thousand_bounces_are_found_to_1e_9(method):
    fall, ground, times = ball(0.99, 1000)
    found = nc.solve_ivp(fall, (0, np.inf), [1.0, 0.0], method=method, events=ground, rtol=1e-9, atol=1e-12)
    assert found.status == 1
    assert found.message == "A termination event occurred."
    np.testing.assert_allclose(found.t_events[0], times, rtol=0, atol=1e-9)
    assert np.all(found.y[0] > -1e-9)


@BACKENDS
def test_a_reset_changes_the_state_and_the_solution_goes_on_from_it(backend):
    fall, ground, times = ball(0.5, 3)
    found = nc.solve_ivp(fall, (0, 1.2), [1.0, 0.0], events=ground, dense_output=True, rtol=1e-8, atol=1e-10,
                         backend=backend)  # fmt: skip
    assert found.t[-1] == times[-1] or abs(found.t[-1] - times[-1]) < 1e-9
    at = np.flatnonzero(np.diff(found.t) == 0)  # the state before and after it jumps
    assert len(at) == 2
    np.testing.assert_allclose(found.y[1, at + 1], -0.5 * found.y[1, at], rtol=1e-12)
    middle = 0.5 * (times[0] + times[1])
    v = 0.5 * 9.81 * times[0]
    np.testing.assert_allclose(found.sol(middle), [0.5 * v**2 / 9.81, 0.0], atol=1e-7)
    again = nc.solve_ivp(
        fall, (0, 1.2), [1.0, 0.0], events=ground, t_eval=[0.1, times[0], middle, 0.9], backend=backend
    )
    np.testing.assert_allclose(again.y[:, 2], found.sol(middle), atol=1e-3)
    assert again.t.tolist() == [0.1, times[0], middle, 0.9]


@BACKENDS
@pytest.mark.parametrize("gap", [1e-2, 1e-4])
def test_an_event_that_comes_again_at_once_is_not_lost_in_a_long_step(backend, gap):
    def threshold(t, y):
        return y[0] - 1.0

    threshold.reset = lambda t, y: [1.0 - gap]
    found = nc.solve_ivp(
        lambda t, y: [1.0], (0, 0.5 + 12.5 * gap), [0.5], events=threshold, first_step=0.4, backend=backend
    )
    np.testing.assert_allclose(found.t_events[0], 0.5 + gap * np.arange(13), rtol=1e-10)
    assert found.y[0].max() < 1.0 + 1e-12


@pytest.mark.parametrize("options", [{"first_step": 0.5}, {"method": "DOP853"}, {"method": "rk4", "step_size": 0.5}])
def test_a_ball_does_not_fall_through_the_floor_in_a_long_step(options):
    fall, ground, times = ball(0.5, 20)
    found = nc.solve_ivp(fall, (0, 3), [1.0, 0.0], events=ground, rtol=1e-8, atol=1e-10, **options)
    np.testing.assert_allclose(found.t_events[0], times, atol=1e-8)


def test_an_event_that_stays_at_zero_is_one_event():
    found = nc.solve_ivp(lambda t, y: -y, (0, 3), [1.0], events=lambda t, y: max(0.0, 0.5 - y[0]) * (y[0] < 0.4))
    assert len(found.t_events[0]) == 0
    found = nc.solve_ivp(lambda t, y: -y, (0, 3), [1.0], events=lambda t, y: max(0.0, y[0] - 0.5), rtol=1e-8, atol=1e-9)
    assert len(found.t_events[0]) == 1
    assert np.log(2) - 1e-9 < found.t_events[0][0] < np.log(2) + 0.02  # a point of the stretch


@BACKENDS
@THREE
@pytest.mark.parametrize("width", [0.04, 0.1, 0.15])
def test_two_roots_near_the_start_of_a_long_step_are_found(method, backend, width):
    found = nc.solve_ivp(lambda t, y: 0 * y, (0, 10), [1.0], method=method, backend=backend,
                         events=lambda t, y: (t - 1.5) ** 2 - width)  # fmt: skip
    np.testing.assert_allclose(found.t_events[0], 1.5 + np.sqrt(width) * np.array([-1, 1]), rtol=1e-12)


@pytest.mark.parametrize("by_reset", [True, False])
def test_what_an_event_changes_is_seen_by_a_fun_that_reads_it(by_reset):
    mode = {"slope": 1.0}

    def switch(t, y):
        if not by_reset and y[0] > 0.5:
            mode["slope"] = -1.0
        return y[0] - 0.5 if by_reset else t - 99.0

    def turn(t, y):
        mode["slope"] = -1.0
        return y

    if by_reset:
        switch.reset = turn
    ends = []
    for backend in ("compiled", "callback"):
        mode["slope"] = 1.0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = nc.solve_ivp(
                lambda t, y: [mode["slope"]], (0, 2), [0.0], events=switch, backend=backend, max_step=0.1
            )
        assert any("something that an event changes" in str(w.message) for w in caught) == (backend == "compiled")
        ends.append(found.y[0, -1])
    np.testing.assert_allclose(ends, -1.0 if by_reset else ends[1], atol=0.11)
    assert ends[0] < 0


@BACKENDS
@pytest.mark.parametrize("end", [np.inf, 1e18])
def test_fixed_steps_to_a_far_end_give_every_output(backend, end):
    def stop(t, y):
        return y[0] - 0.1

    stop.terminal = True
    times = [0.1, 0.4, 0.5, 2.0]
    found = nc.solve_ivp(lambda t, y: -y, (0, end), [1.0], method="rk4", step_size=0.3, events=stop, t_eval=times,
                         backend=backend)  # fmt: skip
    np.testing.assert_allclose(found.y[0], np.exp(-np.array(times)), rtol=1e-3)
    assert found.status == 1


@BACKENDS
@THREE
def test_two_roots_within_one_step_are_found(method, backend):
    def twice(t, y):
        return (y[0] - 5.0) ** 2 - 1e-4

    found = nc.solve_ivp(lambda t, y: [1.0], (0, 10), [0.0], method=method, events=twice, backend=backend)
    steps = np.searchsorted(found.t, found.t_events[0])
    np.testing.assert_allclose(found.t_events[0], [4.99, 5.01], rtol=1e-12)
    assert steps[0] == steps[1]


def test_a_root_at_the_end_of_a_step_is_one_event():
    found = nc.solve_ivp(lambda t, y: [1.0], (0, 4), [0.0], events=lambda t, y: y[0] - 2.0, method="rk4", step_size=0.5)
    np.testing.assert_array_equal(found.t_events[0], [2.0])


@BACKENDS
def test_a_zero_counts_where_it_is_reached_and_at_the_very_start_and_once(backend):
    options = {"method": "rk4", "step_size": 0.5, "backend": backend}
    for zero, end in ((2.0, 4), (2.0, 2), (0.0, 2)):
        found = nc.solve_ivp(lambda t, y: y, (0, end), [1.0], events=lambda t, y, zero=zero: t - zero, **options)
        assert found.t_events[0].tolist() == [zero]


def test_directions_counts_and_several_events_in_order():
    def up(t, y):
        return y[0]

    def down(t, y):
        return y[0]

    def third(t, y):
        return y[1]

    up.direction, down.direction, third.terminal = 1, -1, 3
    found = nc.solve_ivp(oscillator, (0, 50), [1.0, 0.0], events=[up, down, third], rtol=1e-8, atol=1e-10)
    pi = np.pi
    for times, wanted in zip(found.t_events, ([1.5 * pi], [0.5 * pi], [0.0, pi, 2 * pi]), strict=True):
        np.testing.assert_allclose(times, wanted, atol=1e-6)
    assert found.status == 1
    np.testing.assert_allclose(found.t[-1], 2 * pi, rtol=1e-7)
    assert [len(s) for s in found.y_events] == [1, 1, 3]


def test_a_terminal_event_ends_all_outputs():
    def stop(t, y):
        return t - 1.25

    stop.terminal = True
    found = nc.solve_ivp(oscillator, (0, 5), [1.0, 0.0], events=stop, t_eval=np.arange(0, 5.1, 0.5), dense_output=True)
    assert found.t.tolist() == [0.0, 0.5, 1.0]
    assert found.sol.t_max == 1.25
    early = nc.solve_ivp(oscillator, (0, 5), [1.0, 0.0], events=stop, t_eval=[3.0, 4.0])
    assert early.t == []
    assert early.y == []
