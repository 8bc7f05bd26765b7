"""odeint as a user meets it: every form of input and output, both backends, options and interruptions."""

import signal
import traceback
from typing import NamedTuple

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import METHODS

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
CALLED = pytest.mark.parametrize("backend", ["callback", "python"])  # every evaluation calls func
ALL = pytest.mark.parametrize("method", METHODS)
T = np.linspace(0.0, 2.0, 9)
ROTATION = np.array([[-0.1, 2.0], [-2.0, -0.1]])


class State(NamedTuple):
    x: np.ndarray
    v: np.ndarray


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0]) + 0.5 * np.cos(2.0 * t)])


def options_of(method):
    return {"rtol": 1e-7, "atol": 1e-9} if METHODS[method].adaptive else {"step_size": 0.01}


# --- methods, backends, directions, dtypes ---


@ALL
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_both_backends_give_the_same_trajectory_and_statistics(method, sign):
    found = [
        nc.odeint(pendulum, [1.0, 0.3], sign * T, method=method, backend=b, full_output=True, **options_of(method))
        for b in ("compiled", "python")
    ]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9, atol=1e-9)
    assert found[0][1] == found[1][1]


@ALL
@BACKENDS
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_every_method_solves_a_linear_system_to_its_order(method, sign, backend):
    y = nc.odeint(lambda t, y: ROTATION @ y, [2.0, 0.0], sign * T, method=method, backend=backend, **options_of(method))
    exact = 2.0 * np.exp(-0.1 * sign * T)[:, None] * np.stack([np.cos(2 * T), -sign * np.sin(2 * T)], 1)
    bound = {1: 0.2, 2: 1e-3}.get(METHODS[method].order, 3e-6)
    bound = {"heun3": 6e-5, "ssprk3": 6e-5}.get(method, bound)  # order 3 at h = 0.01
    bound = {"fehlberg45": 6e-6, "cash_karp": 6e-6}.get(method, bound)  # their cubic is less accurate than their steps
    assert np.abs(y - exact).max() < bound
    np.testing.assert_array_equal(y[0], [2.0, 0.0])


@ALL
@CALLED
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_the_dtype_of_the_state_is_kept_and_time_is_a_float(method, dtype, backend):
    seen = set()

    def field(t, y):
        seen.add((type(t), y.dtype))
        return -t * y

    single = np.finfo(dtype).eps > 1e-10
    options = {"rtol": 1e-4, "atol": 1e-5} if METHODS[method].adaptive and single else options_of(method)
    y0 = np.array([1.0, 0.5 + (0.25j if np.iscomplexobj(dtype()) else 0)], dtype)
    y = nc.odeint(field, y0, T, method=method, backend=backend, **options)
    assert y.dtype == dtype
    assert seen == {(float, np.dtype(dtype))}
    bound = 2e-2 if method == "euler" else 1e-3 if single else 1e-4
    if single:
        bound = {"fehlberg2": 6e-3}.get(method, bound)  # its steps near rtol are long and its line is straight
    np.testing.assert_allclose(y, y0 * np.exp(-(T[:, None] ** 2) / 2), atol=bound)


# --- forms of the state ---


def test_a_list_or_tuple_of_numbers_is_an_array():
    wanted = nc.odeint(pendulum, np.array([1.0, 0.0]), T)
    for y0 in ([1, 0], (1.0, 0), [np.float64(1.0), np.int64(0)], np.array([1, 0]), np.array([True, False])):
        y = nc.odeint(pendulum, y0, T)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, wanted)
    matrix = nc.odeint(lambda t, y: y @ ROTATION, [[1, 0], (0, 1)], T)
    np.testing.assert_array_equal(matrix, nc.odeint(lambda t, y: y @ ROTATION, np.eye(2), T))


@pytest.mark.parametrize("y0", [1.0, 1, np.float64(1.0), np.array(1.0), np.array([[[1.0]]])])
def test_the_outputs_have_the_shape_of_the_state_behind_the_times(y0):
    shapes = []
    y = nc.odeint(lambda t, y: shapes.append(np.shape(y)) or -y, y0, T, rtol=1e-9, atol=1e-9)
    assert y.shape == (len(T), *np.shape(y0))
    assert set(shapes) == {np.shape(y0)}
    np.testing.assert_allclose(y.ravel(), np.exp(-T), rtol=1e-7)


@BACKENDS
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_an_empty_state_gives_empty_outputs(shape, method, backend):
    y = nc.odeint(lambda t, y: 2.0 * y, np.zeros(shape), T, method=method, backend=backend)
    assert y.shape == (len(T), *shape)


@BACKENDS
def test_a_nested_state_is_solved_as_its_parts_in_the_same_nesting(backend):
    A = ROTATION / 2

    def nested(t, s):
        assert type(s["body"]) is State
        assert s["m"][0].shape == (2, 3)
        body = State(x=s["body"].v, v=-s["body"].x)
        return {"m": [A @ s["m"][0], -s["m"][1]], "body": body}  # the keys in another order

    y0 = {"body": State(np.array([1.0, 2.0]), np.array([0.0, -1.0])), "m": [np.arange(6.0).reshape(2, 3), 5.0]}
    y = nc.odeint(nested, y0, T, rtol=1e-10, atol=1e-12, backend=backend)
    assert list(y) == ["body", "m"]
    assert type(y["body"]) is State
    assert y["m"][0].shape == (len(T), 2, 3)
    x = np.outer(np.cos(T), [1.0, 2.0]) + np.outer(np.sin(T), [0.0, -1.0])
    np.testing.assert_allclose(y["body"].x, x, atol=1e-8)
    np.testing.assert_allclose(y["m"][1], 5.0 * np.exp(-T), atol=1e-8)
    alone = nc.odeint(lambda t, m: A @ m, y0["m"][0], T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(y["m"][0], alone, atol=1e-8)


@pytest.mark.parametrize("pack", [list, tuple, np.array, lambda parts: np.array(parts).astype(int)])
def test_func_may_return_scipys_forms(pack):
    y = nc.odeint(lambda t, y: pack([y[1] * 0 + 2, -1]), [1.0, 3.0], T, backend="callback")
    np.testing.assert_allclose(y, np.stack([1.0 + 2.0 * T, 3.0 - T], 1), rtol=1e-12)


@pytest.mark.parametrize("pack", [list, tuple, np.array])
def test_scipys_forms_are_differentiated(pack):
    grad = nc.grad(lambda y0: nc.odeint(lambda t, y: pack([y[1], -y[0]]), y0, T, rtol=1e-10, atol=1e-12)[-1, 0])
    np.testing.assert_allclose(grad(np.array([1.0, 0.5])), [np.cos(2.0), np.sin(2.0)], atol=1e-8)


@CALLED
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_func_gets_a_state_of_its_own_that_it_may_keep_but_not_change(method, backend):
    kept = []

    def field(t, y):
        kept.append((y, y.copy()))
        with pytest.raises(ValueError, match="read-only"):
            y[0] = 5.0
        return -y

    y0 = np.array([1.0, 2.0])
    y = nc.odeint(field, y0, T, method=method, backend=backend)
    assert all(np.array_equal(then, now) for now, then in kept)
    np.testing.assert_array_equal(y0, [1.0, 2.0])
    y[:] = np.nan
    assert all(np.isfinite(now).all() for now, _ in kept)


@CALLED
def test_the_result_of_func_is_copied(backend):
    buffer = np.empty(2)

    def field(t, y):
        buffer[:] = -y
        return buffer

    y = nc.odeint(field, [1.0, 2.0], T, backend=backend)
    np.testing.assert_array_equal(y, nc.odeint(lambda t, y: -y, [1.0, 2.0], T, backend=backend))


def test_args_reach_func_in_their_nesting_and_type():
    def field(t, y, p, k, label):
        assert (type(p), type(k), label) == (dict, int, "x")
        return -p["rate"][0] * y * k

    y = nc.odeint(field, [1.0], T, args=({"rate": [0.5]}, 2, "x"), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(y[:, 0], np.exp(-T), rtol=1e-7)


# --- steps and outputs ---


@BACKENDS
@pytest.mark.parametrize(("method", "stages"), [("euler", 1), ("midpoint", 2), ("heun2", 2), ("rk4", 4)])
def test_without_step_size_a_fixed_method_takes_one_step_an_interval(method, stages, backend):
    t = np.array([0.0, 0.1, 0.5, 0.6])
    y, stats = nc.odeint(pendulum, [1.0, 0.3], t, method=method, backend=backend, full_output=True)
    assert (stats.naccepted, stats.nrejected, stats.nfev) == (3, 0, 3 * stages)
    for i in range(3):  # each interval is a solve of its own
        one = nc.odeint(pendulum, y[i], t[i : i + 2], method=method, backend=backend)
        np.testing.assert_allclose(y[i + 1], one[1], rtol=1e-15)


@BACKENDS
def test_step_size_makes_equal_steps_the_last_shortened_and_hermite_between(backend):
    t = np.array([0.0, 0.25, 0.5, 0.55])
    y, stats = nc.odeint(pendulum, [1.0, 0.3], t, method="rk4", step_size=0.2, backend=backend, full_output=True)
    grid = nc.odeint(pendulum, [1.0, 0.3], [0.0, 0.2, 0.4, 0.55], method="rk4", backend=backend)
    assert stats.naccepted == 3
    np.testing.assert_allclose(y[-1], grid[-1], rtol=1e-14)
    for i, k, left, right in ((1, 1, 0.2, 0.4), (2, 2, 0.4, 0.55)):
        h = right - left
        s = (t[i] - left) / h
        hermite = (
            (1 + 2 * s) * (1 - s) ** 2 * grid[k] + s**2 * (3 - 2 * s) * grid[k + 1]
            + h * s * (1 - s) ** 2 * pendulum(left, grid[k]) - h * s**2 * (1 - s) * pendulum(right, grid[k + 1])
        )  # fmt: skip
        np.testing.assert_allclose(y[i], hermite, rtol=1e-13)


@BACKENDS
def test_outputs_that_coincide_with_the_grid_are_the_grid_values_and_cost_nothing(backend):
    t = np.arange(11) * 0.1
    y, stats = nc.odeint(pendulum, [1.0, 0.3], t, method="rk4", step_size=0.1, backend=backend, full_output=True)
    assert (stats.naccepted, stats.nfev) == (10, 40)
    np.testing.assert_allclose(y, nc.odeint(pendulum, [1.0, 0.3], t, method="rk4", backend=backend), rtol=1e-14)


@BACKENDS
def test_more_output_times_do_not_change_the_steps_of_an_adaptive_method(backend):
    few, at_few = nc.odeint(pendulum, [1.0, 0.3], [0.0, 2.0], backend=backend, full_output=True)
    many, at_many = nc.odeint(pendulum, [1.0, 0.3], np.linspace(0, 2, 501), backend=backend, full_output=True)
    assert at_few == at_many
    np.testing.assert_array_equal(few[-1], many[-1])


def test_the_statistics_count_what_func_was_asked():
    calls = []
    _, stats = nc.odeint(lambda t, y: calls.append(t) or -y, [1.0], T, full_output=True, backend="callback")
    assert stats.nfev == len(calls) == 2 + 6 * (stats.naccepted + stats.nrejected)
    assert (stats.njev, stats.nlu, stats.nfev_backward) == (0, 0, 0)


@BACKENDS
def test_tolerances_may_be_arrays_or_nested_like_the_state(backend):
    def solve(**tolerances):
        return nc.odeint(pendulum, [1.0, 0.3], T, backend=backend, **tolerances)

    np.testing.assert_array_equal(solve(rtol=[1e-6, 1e-6], atol=np.full(2, 1e-8)), solve())
    loose, tight = solve(rtol=1e-3, atol=[1e-2, 1e-2]), solve(rtol=1e-9, atol=[1e-10, 1e-10])
    assert np.abs(loose - tight).max() > 1e-5

    def nested(t, s):
        return {"x": s["v"], "v": -np.sin(s["x"]) + 0.5 * np.cos(2.0 * t)}

    y = nc.odeint(nested, {"x": 1.0, "v": 0.3}, T, backend=backend, rtol={"v": 1e-6, "x": 1e-6}, atol=1e-8)
    np.testing.assert_array_equal(np.stack([y["x"], y["v"]], 1), solve())
    one_sided = nc.odeint(nested, {"x": 1.0, "v": 0.3}, T, backend=backend, rtol=1e-9, atol={"x": 1e-10, "v": 1e3},
                          full_output=True)[1]  # fmt: skip
    assert one_sided.nfev < nc.odeint(nested, {"x": 1.0, "v": 0.3}, T, rtol=1e-9, atol=1e-10, full_output=True)[1].nfev


@BACKENDS
def test_options_reach_the_steps(backend):
    def count(**options):
        return nc.odeint(pendulum, [1.0, 0.3], [0.0, 10.0], backend=backend, full_output=True, **options)[1]

    plain = count()
    assert 1000 <= count(max_step=0.01).naccepted <= 1002  # the first is shorter
    assert count(first_step=1e-9).naccepted > plain.naccepted
    assert count(first_step=5.0).nrejected > 0
    assert count(safety=0.5).naccepted > plain.naccepted
    assert count(first_step=1e-9, max_factor=1.5).naccepted > count(first_step=1e-9).naccepted
    assert count(first_step=5.0, min_factor=0.9).nrejected > count(first_step=5.0).nrejected
    assert count(max_num_steps=plain.naccepted + plain.nrejected) == plain
    with pytest.raises(nc.SolverError, match="too many steps"):
        count(max_num_steps=plain.naccepted + plain.nrejected - 1)
    with pytest.raises(nc.SolverError, match="min_step"):
        count(min_step=1.0)


@BACKENDS
def test_a_custom_norm_receives_the_scaled_error_of_the_ravelled_state(backend):
    seen = []

    def norm(scaled):
        seen.append(scaled.shape)
        return float(np.sqrt(np.mean(scaled**2)))

    y0 = {"a": np.ones((2, 2)), "b": np.ones(3)}
    y = nc.odeint(lambda t, s: {"a": -s["a"], "b": np.cos(t) * s["b"]}, y0, T, norm=norm, backend=backend)
    assert set(seen) == {(7,)}
    plain = nc.odeint(lambda t, s: {"a": -s["a"], "b": np.cos(t) * s["b"]}, y0, T, backend=backend)
    np.testing.assert_allclose(y["a"], plain["a"], rtol=1e-12)
    strict = nc.odeint(pendulum, [1.0, 0.3], T, norm=lambda s: 100 * np.abs(s).max(), full_output=True)[1]
    assert strict.nfev > nc.odeint(pendulum, [1.0, 0.3], T, full_output=True)[1].nfev


# --- odeint within odeint, errors and interruptions ---


@CALLED
def test_odeint_may_be_called_within_func_and_differentiated_there(backend):
    def outer(t, y, p):
        return nc.odeint(lambda s, z, p: -p * z, y, [0.0, 1.0], args=(p,), backend=backend, rtol=1e-9, atol=1e-11)[-1]

    y = nc.odeint(outer, [1.0], [0.0, 1.0], args=(1.0,), backend=backend, rtol=1e-9, atol=1e-11)
    assert y[-1, 0] == pytest.approx(np.exp(np.exp(-1.0)), rel=1e-7)


@CALLED
def test_an_exception_of_func_comes_through_as_the_same_object_with_its_traceback(backend):
    error = LookupError("mine")

    def users_function(t, y):
        if t > 1.0:
            raise error
        return -y

    with pytest.raises(LookupError, match="mine") as caught:
        nc.odeint(users_function, [1.0], T, backend=backend)
    assert caught.value is error
    assert error.__cause__ is None
    assert traceback.extract_tb(caught.tb)[-1].name == "users_function"


@CALLED
def test_ctrl_c_raised_within_func_ends_a_long_solve(backend):
    calls = []

    def field(t, y):
        calls.append(t)
        if len(calls) == 500:
            signal.raise_signal(signal.SIGINT)
        return -y

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            nc.odeint(field, [1.0], [0.0, 1e9], backend=backend, max_step=1.0, max_num_steps=10**9)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert len(calls) <= 501


@BACKENDS
def test_ctrl_c_from_a_timer_ends_a_long_solve(backend):
    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            nc.odeint(lambda t, y: -y, [1.0], [0.0, 1e9], backend=backend, max_step=1.0, max_num_steps=10**9)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def test_a_number_in_a_nested_tolerance_stands_for_its_whole_leaf():
    def func(t, y):
        return {"a": -y["a"], "b": y["a"][0] - y["b"]}

    y0 = {"a": np.ones(2), "b": np.zeros(())}
    by_number = nc.odeint(func, y0, [0.0, 1.0], atol={"a": 1e-3, "b": 1e-9})
    by_array = nc.odeint(func, y0, [0.0, 1.0], atol={"a": np.full(2, 1e-3), "b": np.asarray(1e-9)})
    other = nc.odeint(func, y0, [0.0, 1.0], atol=1e-9)
    np.testing.assert_array_equal(by_number["a"], by_array["a"])
    assert not np.array_equal(by_number["a"], other["a"])


def test_an_argument_that_is_not_finite_is_named_and_not_func():
    for backend in ("compiled", "python"):
        with pytest.raises(nc.SolverError, match=r"^args\[0\]\['k'\]\[1\] is nan\. non-finite: "):
            nc.odeint(lambda t, y, p: -p["k"] * y, np.ones(2), [0.0, 1.0], args=({"k": np.array([1.0, np.nan])},),
                      backend=backend)  # fmt: skip


def test_a_loss_whose_gradient_is_not_finite_is_named_and_not_func():
    target = np.array([[0.0, 0.0], [1.0, np.nan]])

    def loss(y0):
        return np.sum((nc.odeint_adjoint(lambda t, y: -y, y0, [0.0, 1.0]) - target) ** 2)

    with pytest.raises(
        nc.SolverError, match=r"the gradient of the loss by component 1 of y\(t\[1\]\), t\[1\] = 1, is nan"
    ):
        nc.grad(loss)(np.ones(2))
