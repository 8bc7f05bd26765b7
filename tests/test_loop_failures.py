"""integrate: what cannot be solved, and what func and the user may do to it, on both backends."""

import os
import pickle
import re
import signal
import sys
import traceback
import weakref

import numpy as np
import pytest

from node_core.solvers import Control, SolverError, integrate, tableau

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "python"])
DOPRI5, RK4, EULER = tableau("dopri5"), tableau("rk4"), tableau("euler")
Y0 = np.array([1.0, 0.3])
T = np.linspace(0.0, 5.0, 23)


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0]) + 0.5 * np.cos(2.0 * t)], y.dtype)


@BACKENDS
@pytest.mark.parametrize("method", [DOPRI5, RK4], ids=["dopri5", "rk4"])
def test_a_non_finite_slope_at_the_start_is_an_error_at_once(backend, method):
    with pytest.raises(SolverError, match=r"non-finite value in component 1 at t = 2\b") as caught:
        integrate(lambda t, y: np.array([0.0, np.nan]), Y0, T + 2, method, Control(), backend=backend)
    assert (caught.value.reason, caught.value.t) == ("non-finite", 2.0)
    np.testing.assert_array_equal(caught.value.y, Y0)


@BACKENDS
def test_a_wall_of_nan_is_an_underflow_that_names_it(backend):
    def fun(t, y):
        return np.array([1.0, np.inf if t > 1.0 else 0.0])

    message = r"func returned a non-finite value in component 1 at t = 1\.0.*fell below 10 ulp"
    with pytest.raises(SolverError, match=message) as caught:
        integrate(fun, Y0, T, DOPRI5, Control(), backend=backend)
    assert caught.value.reason == "non-finite"
    assert caught.value.t == pytest.approx(1.0, abs=1e-12)
    assert caught.value.y[0] == pytest.approx(2.0, abs=1e-12)


@BACKENDS
def test_a_single_nan_is_stepped_around(backend):
    calls = []

    def fun(t, y):
        calls.append(t)
        return pendulum(t, y) * (np.nan if len(calls) == 9 else 1.0)

    s = integrate(fun, Y0, T, DOPRI5, Control(), backend=backend)
    assert s.stats.nrejected >= 1
    np.testing.assert_allclose(s.y, integrate(pendulum, Y0, T, DOPRI5, Control()).y, atol=1e-4)


@BACKENDS
def test_a_nan_out_of_the_norm_is_still_seen(backend):
    def fun(t, y):
        return np.array([0.0, np.nan if t > 1.0 else 0.0])

    with pytest.raises(SolverError, match="non-finite value in component 1"):
        integrate(fun, Y0, T, DOPRI5, Control(n_norm=1), backend=backend)


@BACKENDS
@pytest.mark.parametrize("method", [EULER, RK4], ids=["euler", "rk4"])
def test_a_fixed_method_stops_at_the_first_non_finite_number(backend, method):
    def fun(t, y):
        return np.array([1.0, np.nan if t > 1.05 else 0.0])

    with pytest.raises(SolverError, match=r"component 1 at t = 1\.[01].*Stopped at t = 1\b") as caught:
        integrate(fun, Y0, np.linspace(0, 2, 21), method, Control(), backend=backend)
    assert (caught.value.reason, caught.value.h) == ("non-finite", pytest.approx(0.1))
    assert caught.value.y[0] == pytest.approx(2.0)


@BACKENDS
def test_an_overflow_of_the_state_is_told_apart_from_func(backend):
    fun = lambda t, y: np.full(2, 1e308)  # noqa: E731
    with pytest.raises(SolverError, match=r"new state is not finite in component 0 at t = 10 \(overflow\)"):
        integrate(fun, Y0, np.array([0.0, 10.0]), EULER, Control(), backend=backend)


@BACKENDS
def test_a_norm_that_is_nan_is_an_error_that_says_so(backend):
    with pytest.raises(SolverError, match="norm of the scaled error is not a finite"):
        integrate(pendulum, Y0, T, DOPRI5, Control(norm=lambda s: np.nan), backend=backend)


@BACKENDS
def test_a_singularity_is_a_step_underflow_with_the_last_good_state(backend):
    with pytest.raises(SolverError, match=r"step underflow.*steps accepted, \d+ rejected.*Stopped|below 10 ulp") as c:
        integrate(lambda t, y: y**2, np.array([0.1, 1.0]), T, DOPRI5, Control(), backend=backend)
    error = c.value
    assert error.reason in ("step underflow", "non-finite")
    assert error.t == pytest.approx(1.0, abs=1e-6)
    assert error.y[1] > 1e6
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.t, copy.h, copy.reason) == (str(error), error.t, error.h, error.reason)


@BACKENDS
def test_a_discontinuity_that_no_step_passes_is_a_step_underflow_naming_the_component(backend):
    def norm(scaled):
        return 2.0

    with pytest.raises(SolverError, match=r"step underflow.*component [01] of y.*\(0 steps") as caught:
        integrate(pendulum, Y0, T + 1.0, DOPRI5, Control(norm=norm), backend=backend)
    assert caught.value.reason == "step underflow"
    assert abs(caught.value.h) < 10 * np.spacing(1.0)


@BACKENDS
def test_too_many_steps_is_an_error_that_counts_the_attempts(backend):
    with pytest.raises(SolverError, match=r"max_num_steps attempts were not enough") as caught:
        integrate(pendulum, Y0, T, DOPRI5, Control(max_num_steps=7), backend=backend)
    assert caught.value.reason == "too many steps"
    assert 0.0 < caught.value.t < 5.0
    integrate(pendulum, Y0, T, RK4, Control(max_num_steps=22), backend=backend)
    with pytest.raises(SolverError, match=r"too many steps.*\(21 steps accepted, 0 rejected\)"):
        integrate(pendulum, Y0, T, RK4, Control(max_num_steps=21), backend=backend)


@BACKENDS
def test_min_step_is_an_error_where_the_error_test_needs_less(backend):
    with pytest.raises(SolverError, match="needs a step below min_step") as caught:
        integrate(pendulum, Y0, T, DOPRI5, Control(rtol=1e-12, atol=1e-14, min_step=0.2), backend=backend)
    assert caught.value.reason == "min_step"
    integrate(pendulum, Y0, T, DOPRI5, Control(rtol=1e-2, min_step=1e-3), backend=backend)


def test_both_backends_fail_with_the_same_message():
    def message(fun, control, backend):
        with pytest.raises(SolverError, match="Stopped at") as caught:
            integrate(fun, Y0, T, DOPRI5, control, backend=backend)
        return re.sub(r"\d\.\d+(e-\d+)?", "number", str(caught.value))  # the step sizes differ in rounding

    for fun, control in [
        (lambda t, y: np.array([np.nan, 0.0]), Control()),
        (pendulum, Control(max_num_steps=3)),
        (pendulum, Control(min_step=0.5, first_step=0.6, rtol=1e-9)),
    ]:
        assert message(fun, control, "compiled") == message(fun, control, "python")


@BACKENDS
@pytest.mark.parametrize(
    ("result", "got"),
    [
        ([1.0, 2.0], "list"),
        (None, "NoneType"),
        (np.zeros(3), r"dtype float64 and shape \(3,\)"),
        (np.zeros((2, 1)), r"shape \(2, 1\)"),
        (np.zeros(2, np.float32), "dtype float32"),
        (np.zeros(2, ">f8"), "dtype >f8"),
        (np.ma.zeros(2), "MaskedArray"),
    ],
)
def test_a_result_of_the_wrong_kind_is_a_type_error_and_not_a_crash(backend, result, got):
    with pytest.raises(TypeError, match=rf"func must return a C-contiguous float64 .*\(2,\), got.*{got}"):
        integrate(lambda t, y: result, Y0, T, DOPRI5, Control(), backend=backend)


def test_a_strided_result_is_refused_by_the_compiled_kernel():
    with pytest.raises(TypeError, match="not C-contiguous"):
        integrate(lambda t, y: np.zeros(4)[::2], Y0, T, DOPRI5, Control())


@BACKENDS
@pytest.mark.parametrize("where", ["func", "norm"])
def test_an_exception_comes_through_unchanged_with_the_users_frame_and_no_leak(backend, where):
    class Mine(Exception):
        pass

    error = Mine("boom")

    def users_function(*args):
        if len(calls) == 10:
            raise error
        calls.append(args)
        return pendulum(*args) if where == "func" else 0.5

    calls = []
    control = Control(norm=users_function) if where == "norm" else Control(rtol=1e-9)
    fun = users_function if where == "func" else pendulum
    with pytest.raises(Mine, match="boom") as caught:
        integrate(fun, Y0, np.array([0.0, 1e4]), DOPRI5, control, backend=backend, record=True)
    assert caught.value is error
    assert "users_function" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    error.__traceback__ = None
    del caught
    if hasattr(sys, "getrefcount"):
        alone = Mine("alone")
        assert sys.getrefcount(error) <= sys.getrefcount(alone) + 1  # + users_function's cell


def test_func_and_its_arguments_are_released_after_the_solve():
    class Fun:
        def __call__(self, t, y):
            self.last = y
            return pendulum(t, y)

    fun = Fun()
    integrate(fun, Y0, T, DOPRI5, Control(), record=True)
    seen, last, alone = weakref.ref(fun), fun.last, np.zeros(1)
    holder = [alone]  # as fun holds last
    assert sys.getrefcount(last) == sys.getrefcount(alone)
    assert holder
    del fun
    assert seen() is None


@BACKENDS
def test_ctrl_c_ends_a_long_loop(backend):
    calls = []

    def fun(t, y):
        calls.append(t)
        if len(calls) == 1000:
            signal.raise_signal(signal.SIGINT)
        return -y

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            integrate(fun, Y0, np.array([0.0, 1e9]), DOPRI5, Control(max_step=1.0), backend=backend)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert len(calls) <= 1001


@pytest.mark.skipif(os.name != "posix", reason="needs setitimer")
def test_ctrl_c_ends_the_compiled_loop_even_if_func_runs_no_python_code():
    def interrupt(*_):
        raise KeyboardInterrupt

    control = Control(step_size=1e-7, max_num_steps=10**8)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt) as caught:
            integrate(np.multiply, Y0, np.array([0.0, 1.0]), EULER, control)  # dy/dt = t y, a builtin
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    # raised within the loop, not when it came back (Cython may give `evaluate`, which _rhs calls, the name of another
    # function that has raised from the same line of its own file)
    assert any("_rhs" in frame.name for frame in traceback.extract_tb(caught.tb))


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match='backend must be "compiled" or "python", got \'fast\''):
        integrate(pendulum, Y0, T, DOPRI5, Control(), backend="fast")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rtol": 0.0}, "rtol must be a positive finite float"),
        ({"rtol": np.nan}, "rtol must be a positive finite float"),
        ({"atol": -1.0}, "atol must be a non-negative finite float"),
        ({"atol": np.ones((2, 2))}, "atol must be a non-negative finite float or an array"),
        ({"first_step": 0.0}, "first_step must be a positive finite float or None"),
        ({"step_size": -0.1}, "step_size must be a positive finite float or None"),
        ({"max_step": 0.0}, "max_step must be positive"),
        ({"min_step": 2.0, "max_step": 1.0}, "min_step must be finite, at least 0 and at most max_step"),
        ({"max_num_steps": 0}, "max_num_steps must be an integer of at least 1"),
        ({"safety": 1.5}, r"safety must be in \(0, 1\]"),
        ({"min_factor": 1.0}, r"min_factor must be in \(0, 1\)"),
        ({"max_factor": 0.5}, "max_factor must be finite and at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Control(**settings)


@BACKENDS
def test_tolerances_of_the_wrong_length_are_refused(backend):
    with pytest.raises(ValueError, match=r"atol must be a float or an array \(2,\) .*got shape \(3,\)"):
        integrate(pendulum, Y0, T, DOPRI5, Control(atol=np.ones(3)), backend=backend)
    with pytest.raises(ValueError, match="n_norm must be between 0 and y0's size 2, got 3"):
        integrate(pendulum, Y0, T, DOPRI5, Control(n_norm=3), backend=backend)
