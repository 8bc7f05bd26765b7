"""integrate: steps, outputs, records, counts and failures, on both backends."""

import dataclasses

import numpy as np
import pytest

from node_core.solvers import METHODS, Control, Tableau, integrate, tableau
from node_core.solvers.interpolation import dense_output

ALL = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "python"])
DOPRI5, RK4, EULER = tableau("dopri5"), tableau("rk4"), tableau("euler")
# Adaptive but not FSAL: Heun's method with Euler's inside.
HEUN21 = Tableau("heun21", 2, a=[[0, 0], [1, 0]], b=[0.5, 0.5], c=[0, 1], e=[-0.5, 0.5, 0.0], embedded_order=1)
Y0 = np.array([1.0, 0.3])
T = np.linspace(0.0, 5.0, 23)


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0]) + 0.5 * np.cos(2.0 * t)], y.dtype)


def recorded(fun):
    calls = []

    def wrapped(t, y):
        calls.append((t, y))
        return fun(t, y)

    return wrapped, calls


def both(fun, y0, t, method, control, record=True):
    return [integrate(fun, y0, t, method, control, backend=b, record=record) for b in ("compiled", "python")]


CONTROLS = {
    "adaptive": Control(rtol=1e-6, atol=1e-8),
    "loose": Control(rtol=1e-2, atol=1e-3),
    "first and max": Control(first_step=0.05, max_step=0.11),
    "fixed": Control(step_size=0.3),
    "fixed, hitting outputs": Control(step_size=5.0 / 44.0),
    "arrays": Control(rtol=np.array([1e-4, 1e-6]), atol=np.array([1e-3, 1e-9])),
    "leading": Control(n_norm=1),
    "maximum": Control(norm=lambda scaled: np.abs(scaled).max()),
}


WITH_HEUN21 = pytest.mark.parametrize("method", [*METHODS.values(), HEUN21], ids=lambda m: m.name)
CONTROL = pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
SIGN = pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])


@WITH_HEUN21
@CONTROL
@SIGN
def test_both_backends_make_the_same_decisions_and_outputs(method, control, sign):
    c, p = both(pendulum, Y0, sign * T, method, control)
    assert c.stats == p.stats
    np.testing.assert_allclose(c.y, p.y, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(c.record.last_stage, p.record.last_stage)
    np.testing.assert_array_equal(c.record.output_step, p.record.output_step)


@WITH_HEUN21
@CONTROL
@SIGN
def test_both_backends_record_the_same_steps(method, control, sign):
    """From a first step of 0.3, or 1.5 from order 7 on: after Hairer's, of 1e-4, the error estimate is a sum of stages
    that cancel to rounding, and the next step would be a function of that rounding alone. Of the error of
    these orders, which slopes of size one add up to 1e-8, seven digits are left."""
    control = dataclasses.replace(control, first_step=min(0.3 if method.order < 7 else 1.5, control.max_step))
    c, p = both(pendulum, Y0, sign * T, method, control)
    for name in ("t", "h", "y", "K"):
        near = 1e-7 if method.order >= 7 else 1e-9
        np.testing.assert_allclose(getattr(c.record, name), getattr(p.record, name), rtol=near, atol=near)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
@pytest.mark.parametrize("n", [0, 1, 3, 9])
def test_both_backends_agree_in_every_dtype_and_keep_it(dtype, n):
    y0 = (np.arange(n) / 3 + (1j if np.issubdtype(dtype, np.complexfloating) else 0)).astype(dtype)
    factor = np.asarray(-0.5 + 2j if np.issubdtype(dtype, np.complexfloating) else -0.5, dtype)
    for method in (DOPRI5, RK4):
        c, p = both(lambda t, y: factor * y, y0, T, method, Control(rtol=1e-4, atol=1e-6))
        assert c.y.dtype == p.y.dtype == c.record.K.dtype == dtype
        assert c.stats == p.stats
        np.testing.assert_allclose(c.y, p.y, rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(c.y[-1], y0 * np.exp(factor * 5.0), rtol=0, atol=2e-3)


@BACKENDS
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_solution_of_a_linear_system_is_its_closed_form(backend, sign):
    t = sign * T
    y = integrate(
        lambda t, y: np.array([y[1], -y[0]]),
        np.array([0.0, 1.0]),
        t,
        DOPRI5,
        Control(1e-11, 1e-12),
        backend=backend,
    ).y
    np.testing.assert_allclose(y, np.stack([np.sin(t), np.cos(t)], 1), atol=1e-9)


@BACKENDS
@ALL
@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_the_record_replays_every_output(backend, method, control):
    s = integrate(pendulum, Y0, T, method, control, backend=backend, record=True)
    r = s.record
    np.testing.assert_array_equal(s.y[0], Y0)
    assert r.output_step[0] == 0
    assert r.output_step[-1] == len(r.t) - 1 == s.stats.naccepted - 1
    for i in range(len(T)):
        k = r.output_step[i]
        theta = (T[i] - r.t[k]) / r.h[k]
        np.testing.assert_allclose(
            s.y[i],
            dense_output(r.y[k], r.K[k], r.h[k], method, theta),
            rtol=0,
            atol=1e-12 if method.order < 9 else 1e-11,
        )
        assert -1e-12 <= theta <= 1.0 + 1e-12
    np.testing.assert_allclose(r.t[1:], r.t[:-1] + r.h[:-1], rtol=1e-15)
    ends = np.stack([dense_output(*step, method, 1.0) for step in zip(r.y, r.K, r.h, strict=True)])
    rounding = {"DOP853": 1e-12, "vern7": 1e-12, "vern9": 1e-11}.get(method.name, 1e-13)  # of weights up to 10,658
    np.testing.assert_allclose(np.append(r.y[1:], s.y[-1:], axis=0), ends, rtol=0, atol=rounding)


@BACKENDS
@pytest.mark.parametrize(("name", "stages"), [("euler", 1), ("midpoint", 2), ("heun2", 2), ("rk4", 4)])
def test_a_fixed_method_takes_one_step_an_interval_and_wastes_no_evaluation(backend, name, stages):
    s = integrate(pendulum, Y0, T, tableau(name), Control(), backend=backend, record=True)
    assert s.stats.nfev == stages * (len(T) - 1)
    assert s.stats.naccepted == len(T) - 1
    np.testing.assert_array_equal(s.record.t, T[:-1])
    np.testing.assert_array_equal(s.record.last_stage, [True] * (len(T) - 2) + [False])


@BACKENDS
def test_an_fsal_method_costs_its_stages_less_one_an_attempt(backend):
    s = integrate(pendulum, Y0, T, DOPRI5, Control(rtol=1e-3, first_step=2.0), backend=backend)
    assert s.stats.nrejected > 0
    assert s.stats.nfev == 1 + 6 * (s.stats.naccepted + s.stats.nrejected)
    automatic = integrate(pendulum, Y0, T, DOPRI5, Control(), backend=backend).stats
    assert automatic.nfev == 2 + 6 * (automatic.naccepted + automatic.nrejected)


@BACKENDS
def test_euler_is_a_residual_network(backend):
    t, y = np.arange(4.0), Y0
    s = integrate(pendulum, Y0, t, EULER, Control(), backend=backend)
    for k in range(3):
        y = y + pendulum(t[k], y)
        np.testing.assert_allclose(s.y[k + 1], y, rtol=1e-15)


@BACKENDS
def test_stage_times_and_states_are_those_of_the_tableau(backend):
    fun, calls = recorded(pendulum)
    s = integrate(fun, Y0, np.array([1.0, 0.5]), DOPRI5, Control(step_size=0.5), backend=backend, record=True)
    np.testing.assert_allclose([t for t, _ in calls], 1.0 - 0.5 * DOPRI5.c, rtol=1e-15)
    for i, (_, y) in enumerate(calls):
        np.testing.assert_allclose(y, Y0 - 0.5 * DOPRI5.a[i] @ s.record.K[0], rtol=1e-14)


@BACKENDS
def test_func_gets_a_python_float_and_a_read_only_array_of_its_own(backend):
    fun, calls = recorded(pendulum)
    integrate(fun, Y0, T, RK4, Control(), backend=backend)
    assert {type(t) for t, _ in calls} == {float}
    assert all(type(y) is np.ndarray and not y.flags.writeable for _, y in calls)
    assert len({y.ctypes.data for _, y in calls}) == len(calls)
    np.testing.assert_array_equal(Y0, [1.0, 0.3])


@BACKENDS
def test_func_may_return_the_same_buffer_each_time(backend):
    buffer = np.empty(2)

    def fun(t, y):
        buffer[:] = pendulum(t, y)
        return buffer

    expected = integrate(pendulum, Y0, T, DOPRI5, Control(), backend=backend).y
    np.testing.assert_array_equal(integrate(fun, Y0, T, DOPRI5, Control(), backend=backend).y, expected)


@BACKENDS
def test_an_output_at_a_grid_point_is_the_grid_value(backend):
    t, size = np.array([0.0, 0.3, 0.55, 0.7, 1.1]), 0.1
    s = integrate(pendulum, Y0, t, RK4, Control(step_size=size), backend=backend, record=True)
    assert s.stats.naccepted == 11  # and no twelfth of 2e-16, although 1.1 / 0.1 > 11
    np.testing.assert_array_equal(s.record.t, np.arange(11) * size)
    for i, k in ((1, 3), (3, 7)):
        np.testing.assert_array_equal(s.y[i], s.record.y[k])


@BACKENDS
def test_the_last_fixed_step_is_shortened(backend):
    t = np.array([0.0, -1.0])
    s = integrate(pendulum, Y0, t, RK4, Control(step_size=0.3), backend=backend, record=True)
    np.testing.assert_allclose(s.record.h, [-0.3, -0.3, -0.3, -0.1])


@BACKENDS
def test_the_last_step_is_stretched_by_a_percent_instead_of_leaving_a_sliver(backend):
    c = Control(rtol=1e3, first_step=1.0, max_factor=1.0)
    s = integrate(pendulum, Y0, np.array([0.0, 3.02]), DOPRI5, c, backend=backend, record=True)
    assert s.stats.naccepted == 4
    s = integrate(pendulum, Y0, np.array([0.0, 3.009]), DOPRI5, c, backend=backend, record=True)
    np.testing.assert_allclose(s.record.h, [1.0, 1.0, 1.009], rtol=1e-12)


@BACKENDS
def test_max_step_and_first_step_are_obeyed(backend):
    c = Control(rtol=1.0, atol=1.0, first_step=1e-3, max_step=0.1)
    h = integrate(pendulum, Y0, np.array([0.0, 1.0]), DOPRI5, c, backend=backend, record=True).record.h
    assert h[0] == 1e-3
    assert h.max() <= 0.1 * (1 + 1e-12)
    c = Control(rtol=1.0, atol=1.0, first_step=0.1, max_step=0.1)
    s = integrate(pendulum, Y0, np.array([0.0, 1.0]), DOPRI5, c, backend=backend)
    assert s.stats.naccepted == 10  # no sliver from adding 0.1 ten times


@BACKENDS
def test_growth_and_shrinking_stay_within_their_factors(backend):
    c = Control(first_step=1e-6, max_factor=3.0)
    h = integrate(pendulum, Y0, T, DOPRI5, c, backend=backend, record=True).record.h
    ratio = h[1:-1] / h[:-2]
    assert ratio.max() == pytest.approx(3.0, rel=1e-12)


@BACKENDS
def test_the_step_does_not_grow_right_after_a_rejection(backend):
    times = []

    def norm(scaled):  # the first attempt is bad, all others perfect
        times.append(scaled)
        return 2.0 if len(times) == 1 else 1e-9

    c = Control(first_step=0.1, norm=norm)
    h = integrate(pendulum, Y0, np.array([0.0, 10.0]), DOPRI5, c, backend=backend, record=True).record.h
    assert h[0] < 0.1
    assert h[1] == pytest.approx(h[0])
    assert h[2] == pytest.approx(10 * h[1])


@BACKENDS
def test_components_out_of_the_norm_do_not_steer_the_steps(backend):
    def fun(t, y):
        return np.append(pendulum(t, y[:2]), 1e6 * np.sin(1e3 * t))

    y0 = np.append(Y0, 0.0)
    alone = integrate(pendulum, Y0, T, DOPRI5, Control(), backend=backend)
    s = integrate(fun, y0, T, DOPRI5, Control(n_norm=2), backend=backend)
    assert s.stats == alone.stats
    np.testing.assert_allclose(s.y[:, :2], alone.y, rtol=1e-13)


@BACKENDS
def test_a_custom_norm_gets_the_scaled_vector_of_the_leading_components(backend):
    seen = []
    c = Control(norm=lambda scaled: seen.append(scaled) or np.sqrt(np.mean(scaled**2)), n_norm=1)
    s = integrate(pendulum, Y0, T, DOPRI5, c, backend=backend)
    assert {x.shape for x in seen} == {(1,)}
    np.testing.assert_allclose(
        s.y, integrate(pendulum, Y0, T, DOPRI5, Control(n_norm=1), backend=backend).y, rtol=1e-10
    )


@BACKENDS
def test_an_adaptive_method_without_fsal_evaluates_the_end_only_if_needed(backend):
    t = np.array([0.0, 0.01])
    c = Control(rtol=1.0, atol=1.0, first_step=0.01)
    assert integrate(pendulum, Y0, t, HEUN21, c, backend=backend).stats.nfev == 2
    between = np.array([0.0, 0.004, 0.01])
    s = integrate(pendulum, Y0, between, HEUN21, c, backend=backend, record=True)
    assert s.stats.nfev == 3
    assert s.record.last_stage.tolist() == [True]


@BACKENDS
def test_an_empty_state_is_solved(backend):
    s = integrate(lambda t, y: y.copy(), np.zeros(0), T, DOPRI5, Control(), backend=backend, record=True)
    assert s.y.shape == (len(T), 0)
    assert s.record.K.shape == (s.stats.naccepted, 7, 0)


@BACKENDS
def test_integrate_can_be_called_from_func(backend):
    def outer(t, y):
        inner = integrate(lambda s, z: -z, y, np.array([0.0, 1.0]), DOPRI5, Control(), backend=backend)
        return inner.y[-1].copy()

    y = integrate(outer, np.array([1.0]), np.array([0.0, 1.0]), DOPRI5, Control(), backend=backend).y
    assert y[-1, 0] == pytest.approx(np.exp(np.exp(-1.0)), rel=1e-5)
