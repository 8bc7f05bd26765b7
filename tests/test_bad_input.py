"""What odeint says to input that cannot be meant: which, what came, what is wanted."""

import inspect
import warnings
from typing import NamedTuple

import numpy as np
import pytest

import node_core as nc

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
CALLED = pytest.mark.parametrize("backend", ["callback", "python"])  # every evaluation calls func
T = [0.0, 1.0, 2.0]
Y0 = [1.0, 2.0]


class P(NamedTuple):
    a: float


def decay(t, y):
    return -y


def refused(kind, message, func=decay, y0=Y0, t=T, **keywords):
    with pytest.raises(kind, match=message) as caught:
        nc.odeint(func, y0, t, **keywords)
    assert type(caught.value) is kind
    return caught.value


# --- func ---


@pytest.mark.parametrize(("func", "got"), [(5, "int"), (None, "NoneType"), ("f", "str")])
def test_func_must_be_callable(func, got):
    refused(TypeError, rf"func must be callable as func\(t, y, \*args\), got {got}", func)


@BACKENDS
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (np.zeros(3), ValueError, r"an array of y0's shape \(2,\), got shape \(3,\) at t = 0\.0"),
        (np.zeros((2, 1)), ValueError, r"an array of y0's shape \(2,\), got shape \(2, 1\) at t = 0\.0"),
        ([1.0, 2.0, 3.0], ValueError, r"an array of y0's shape \(2,\), got shape \(3,\)"),
        (1.0, ValueError, r"an array of y0's shape \(2,\), got shape \(\)"),
        ((), ValueError, r"an array of y0's shape \(2,\), got shape \(0,\)"),
        ([1.0, [2.0]], ValueError, r"an array shaped like y0, \(2,\), at t = 0\.0: "),
        (None, TypeError, r"an array shaped like y0, \(2,\), got None at t = 0\.0: is a return missing\?"),
        ([1j, 2.0], TypeError, "an array of y0's dtype, float64, got complex128 at t = 0"),
        (np.array(["a", "b"]), TypeError, "an array of y0's dtype, float64, got <U1"),
        (np.array([1, None]), TypeError, "an array of y0's dtype, float64, got object"),
        ({"a": 1.0}, TypeError, "an array of y0's dtype, float64, got object"),
    ],
)
def test_a_wrong_result_of_func_is_named_with_what_is_wanted_and_the_time(result, kind, message, method, backend):
    refused(kind, f"func must return {message}", lambda t, y: result, method=method, backend=backend)


def test_a_result_that_goes_wrong_later_names_that_time():
    refused(ValueError, r"got shape \(1,\) at t = 1\.5", lambda t, y: -y if t < 1.2 else -y[:1], t=[0, 0.5, 1, 1.5, 2],
            method="euler", backend="callback")  # fmt: skip


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (np.zeros(3), TypeError, r"the nesting of y0, \{'a': \*, 'b': \*\}, got \* at t = 0\.0"),
        ({"a": np.ones(2)}, TypeError, r"the nesting of y0, \{'a': \*, 'b': \*\}, got \{'a': \*\}"),
        ({"a": np.ones(2), "b": 1.0, "c": 1.0}, TypeError, r"the nesting of y0.*got \{'a': \*, 'b': \*, 'c': \*\}"),
        ({"a": np.ones(3), "b": 1.0}, ValueError, r"for y\['a'\] an array of y0's shape \(2,\), got shape \(3,\)"),
        ({"a": np.ones(2), "b": None}, TypeError, r"for y\['b'\] an array .*got None"),
        ({"a": np.ones(2) * 1j, "b": 1.0}, TypeError, r"for y\['a'\] an array of y0's dtype, float64, got complex128"),
    ],
)
def test_a_wrong_nesting_or_leaf_of_func_is_named(result, kind, message):
    refused(kind, f"func must return {message}", lambda t, y: result, {"a": np.ones(2), "b": 1.0})


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_a_wrong_result_of_func_is_named_under_differentiation_too(gradient):
    def loss(p):
        return np.sum(nc.odeint(lambda t, y, p: p * y[:1], Y0, T, args=(p,), gradient=gradient))

    with pytest.raises(ValueError, match=r"func must return an array of y0's shape \(2,\), got shape \(1,\)"):
        nc.grad(loss)(np.asarray(1.0))


# --- y0 ---


@pytest.mark.parametrize(
    ("y0", "kind", "message"),
    [
        ("abc", TypeError, "y0 must be of dtype float32, float64, complex64 or complex128, got <U3"),
        (["a", "b"], TypeError, "y0 must be of dtype .*got <U1"),
        (None, TypeError, "y0 must be of dtype .*got object"),
        (object(), TypeError, "y0 must be of dtype .*got object"),
        (np.array([1, "a"], object), TypeError, "y0 must be of dtype .*got object"),
        (np.float16(1.0), TypeError, "y0 must be of dtype .*got float16"),
        ({"a": np.ones(1), "b": np.ones(1, "f4")}, TypeError, "the leaves of y0 must share one dtype, got float32, fl"),
        ({"a": np.ones(1), "b": np.ones(1) + 0j}, TypeError, "must share one dtype, got complex128, float64"),
        ([1, [2, 3]], ValueError, r"y0 must be an array, or nested numbers of one length, got \[1, \[2, 3\]\]"),
        ([1.0, np.nan], ValueError, r"y0 must be finite, got nan at y0\[1\]"),
        (np.array([[1.0, 2.0], [-np.inf, 0.0]]), ValueError, r"y0 must be finite, got -inf at y0\[1, 0\]"),
        ([1.0, complex(0, np.inf)], ValueError, r"y0 must be finite, got .*infj at y0\[1\]"),
        (np.nan, ValueError, r"y0 must be finite, got nan at y0$"),
        ({"p": {"q": np.array([0.0, np.nan])}}, ValueError, r"finite, got nan at y0\['p'\]\['q'\]\[1\]"),
    ],
)
def test_a_state_that_cannot_be_meant_is_refused(y0, kind, message):
    refused(kind, message, y0=y0)


# --- t ---


@pytest.mark.parametrize(
    ("t", "kind", "message"),
    [
        (
            [0, 1, 1, 0.5],
            ValueError,
            r"must increase or decrease \(times may be repeated, but not all\), got t\[1\] = 1.0, t\[2\] = 0.5",
        ),
        (
            [1, 1],
            ValueError,
            r"must increase or decrease \(times may be repeated, but not all\), got t\[0\] = 1, t\[1\] = 1",
        ),
        ([0, 2, 1], ValueError, r"t\[1\] = 2, t\[2\] = 1"),
        ([2, 1, 1.5], ValueError, r"t\[1\] = 1\.0, t\[2\] = 1\.5"),
        ([0, 0], ValueError, r"t\[0\] = 0, t\[1\] = 0"),
        ([0, np.nan], ValueError, r"t must be finite, got nan at t\[1\]"),
        ([-np.inf, 0], ValueError, r"t must be finite, got -inf at t\[0\]"),
        ([-1e308, 1e308], ValueError, r"t must span a finite time, got -1e\+308 to 1e\+308"),
        ([[0, 1]], ValueError, r"t must be 1-D with at least two points, got shape \(1, 2\)"),
        ([0, [1, 2]], ValueError, r"t must be 1-D with at least two points, got \[0, \[1, 2\]\]"),
        ([1.0], ValueError, r"at least two points, got shape \(1,\)"),
        ([], ValueError, r"at least two points, got shape \(0,\)"),
        (5.0, ValueError, r"at least two points, got shape \(\)"),
        ("abc", TypeError, "t must hold real numbers, got dtype <U3"),
        (["0", "1"], TypeError, "t must hold real numbers, got dtype <U1"),
        ([0, 1j], TypeError, "t must hold real numbers, got dtype complex128"),
        ([0, None], TypeError, "t must hold real numbers, got dtype object"),
        (None, TypeError, "t must hold real numbers, got dtype object"),
        ([False, True], TypeError, "t must hold real numbers, got dtype bool"),
    ],
)
def test_times_that_cannot_be_meant_are_refused(t, kind, message):
    refused(kind, message, t=t)


# --- args, method, modes ---


@pytest.mark.parametrize("args", [[1.0], 1.0, np.ones(2), {"p": 1.0}, None, P(1.0)])
def test_args_that_are_no_plain_tuple_are_refused_with_what_to_write(args):
    refused(TypeError, rf"args must be a tuple, got {type(args).__name__}: write args=\(p,\)", args=args)


@pytest.mark.parametrize(
    ("method", "near"),
    [("dopri", "'dopri5'"), ("Dopri5", "'dopri5'"), ("tsit", "'tsit5'"), ("rk5", "'rk4'"), ("RK4", r"'rk4'\? There")],
)
def test_an_unknown_method_is_refused_with_the_nearest_names(method, near):
    refused(ValueError, rf"method '{method}' is not known; did you mean .*{near}", method=method)


@pytest.mark.parametrize("method", [None, 5, ["dopri5"]])
def test_a_method_that_is_no_name_is_refused(method):
    refused(
        TypeError,
        r"method must be a name, one of euler, .*DOP853, .*implicit_adams, or a Tableau, got \w+",
        method=method,
    )


@pytest.mark.parametrize(
    "method",
    ["Radau", "BDF", "LSODA"],
)  # fmt: skip
def test_a_method_to_come_says_that_it_does_not_exist_yet_in_whatever_case(method):
    for name in (method.lower(), method.upper()):
        refused(NotImplementedError, f"method '{name}' does not exist yet; there are euler", method=name)
    refused(NotImplementedError, rf"method '{method}' does not exist yet; there are euler, .*tsit5", method=method)
    assert method not in {m.name for m in nc.methods()}


def test_a_name_near_one_to_come_is_told_so():
    refused(ValueError, r"'radau5' is not known; Planned, but not there yet: 'Radau'\. There are", method="radau5")
    refused(ValueError, r"did you mean .*'RK45'", method="rk5")


@pytest.mark.parametrize("value", ["fast", None, ["python"], 1])
def test_an_unknown_gradient_or_backend_is_refused_with_those_there(value):
    refused(ValueError, "gradient must be one of discrete, adjoint, interpolated, forward, auto, got", gradient=value)
    refused(ValueError, "backend must be one of compiled, callback, python, got", backend=value)


def test_odeint_adjoint_takes_no_other_gradient():
    with pytest.raises(TypeError, match="odeint_adjoint: gradient is 'adjoint' here"):
        nc.odeint_adjoint(decay, Y0, T, gradient="discrete")


def test_odeint_adjoint_has_the_signature_of_odeint_without_gradient():
    wanted = inspect.signature(nc.odeint)
    parameters = [p for p in wanted.parameters.values() if p.name != "gradient"]
    assert inspect.signature(nc.odeint_adjoint) == wanted.replace(parameters=parameters)
    y, stats = nc.odeint_adjoint(
        lambda t, y, p: -p * y, Y0, T, args=(1.0,), method="rk4", step_size=0.5, backend="python", full_output=True
    )
    assert (y.shape, stats.naccepted) == ((3, 2), 4)


# --- tolerances and options ---


@pytest.mark.parametrize(
    ("keywords", "kind", "message"),
    [
        ({"rtol": 0}, ValueError, r"rtol must be a positive float or an array shaped like y0 \(2,\), got 0"),
        ({"rtol": -1e-3}, ValueError, "rtol must be a positive float .*got -0.001"),
        ({"rtol": np.nan}, ValueError, "rtol must be a positive float .*got nan"),
        ({"rtol": [1e-3, 0.0]}, ValueError, "rtol must be a positive float .*got"),
        ({"rtol": None}, ValueError, "rtol must be a positive float .*got None"),
        ({"rtol": {"a": 1e-3}}, TypeError, "rtol must be a positive float .*got {'a'"),
        ({"atol": -1e-9}, ValueError, "atol must be a non-negative float .*got -1e-09"),
        ({"atol": np.inf}, ValueError, "atol must be a non-negative float .*got inf"),
        ({"atol": [1e-9]}, ValueError, r"atol must be .*shaped like y0 \(2,\), got shape \(1,\)"),
        ({"atol": np.ones((2, 1))}, ValueError, r"atol must be .*shaped like y0 \(2,\), got shape \(2, 1\)"),
        ({"atol": "small"}, TypeError, "atol must be a non-negative float .*got 'small'"),
        ({"max_steps": 10}, TypeError, r"odeint has no option 'max_steps'; did you mean .*max_num_steps"),
        ({"frst_step": 1}, TypeError, r"odeint has no option 'frst_step'; did you mean first_step"),
        (
            {"qqq": 1},
            TypeError,
            r"no option 'qqq'; there are first_step, .*controller, step_t, .*jump_t, .*progress, args, .*output",
        ),
        ({"rtoll": 1e-3}, TypeError, r"no option 'rtoll'; did you mean rtol, atol\?"),
        ({"tol": 1e-3}, TypeError, r"no option 'tol'; did you mean rtol, atol\?"),
        ({"metod": "rk4"}, TypeError, r"no option 'metod'; did you mean method\?"),
        ({"grad": "adjoint"}, TypeError, r"no option 'grad'; did you mean gradient\?"),
        ({"argss": ()}, TypeError, r"no option 'argss'; did you mean args, "),
        (
            {"method": "rk4", "tol": 1e-3},
            TypeError,
            "no option 'tol'; there are step_size, max_num_steps, .*jump_t, .*progress, args, method, g",
        ),
        ({"step_size": 0.1}, ValueError, "step_size does not go with dopri5, which is adaptive"),
        ({"method": "rk4", "rtol": 1e-6}, ValueError, "rtol and atol do not go with rk4, which is fixed-step"),
        ({"method": "rk4", "atol": 1e-9}, ValueError, "rtol and atol do not go with rk4, which is fixed-step"),
        ({"method": "rk4", "first_step": 0.1}, ValueError, "first_step does not go with rk4, which is fixed-step"),
        ({"method": "rk4", "stepsize": 0.1}, TypeError, r"no option 'stepsize'; did you mean step_size\?"),
        ({"method": "rk4", "step_size": 0.0}, ValueError, "step_size must be a positive finite float or None, got 0"),
        ({"method": "rk4", "step_size": np.nan}, ValueError, "step_size must be a positive finite float"),
        ({"method": "rk4", "step_size": "a"}, TypeError, "step_size must be a number, got 'a'"),
        ({"first_step": -1.0}, ValueError, "first_step must be a positive finite float or None, got -1.0"),
        ({"max_step": 0}, ValueError, "max_step must be positive, got 0"),
        ({"max_step": None}, TypeError, "max_step must be a number, got None"),
        ({"min_step": 1.0, "max_step": 0.5}, ValueError, "min_step must be finite, at least 0 and at most max_step 0"),
        ({"max_num_steps": 2.5}, ValueError, "max_num_steps must be an integer of at least 1, got 2.5"),
        ({"max_num_steps": np.nan}, ValueError, "max_num_steps must be an integer of at least 1, got nan"),
        ({"max_num_steps": np.inf}, ValueError, "max_num_steps must be an integer of at least 1, got inf"),
        ({"safety": True}, TypeError, "safety must be a number, got True"),
        ({"safety": 1.5}, ValueError, r"safety must be in \(0, 1\], got 1.5"),
        ({"min_factor": 1.0}, ValueError, r"min_factor must be in \(0, 1\), got 1.0"),
        ({"max_factor": 0.5}, ValueError, "max_factor must be finite and at least 1, got 0.5"),
        (
            {"norm": 3},
            TypeError,
            r"norm must be \"rms\", \"max\", or a function from a vector \(n,\) to a float, got 3",
        ),
    ],
)
def test_tolerances_and_options_that_make_no_sense_are_refused(keywords, kind, message):
    refused(kind, message, **keywords)


@BACKENDS
@pytest.mark.parametrize(
    ("value", "got"), [("a", "'a'"), (None, "None"), (1j, "1j"), (np.ones(1), r"array\(\[1\.\]\)")]
)
def test_a_norm_that_gives_no_real_number_is_named_with_what_it_gave(value, got, backend):
    message = rf"norm must return one real number for a vector \(2,\), got {got}"
    refused(TypeError, message, norm=lambda scaled: value, backend=backend)


def test_nested_tolerances_must_be_nested_and_shaped_like_the_state():
    y0 = {"a": np.ones(2), "b": 1.0}
    same = lambda t, y: y  # noqa: E731
    for atol, kind, got in [
        ({"a": np.ones(2)}, TypeError, "got {'a'"),
        ({"a": np.ones(2), "b": np.ones(2)}, ValueError, r"got shape \(2,\), \(2,\)"),
        (np.ones(3), ValueError, r"got shape \(3,\)"),
    ]:
        refused(kind, f"atol must be a non-negative float or nested like y0, {got}", same, y0, atol=atol)


def test_an_rtol_below_ten_eps_warns_and_the_default_never_does():
    with pytest.warns(RuntimeWarning, match=r"rtol below 10 eps of float64 \(2\.2e-15\) cannot be met"):
        nc.odeint(decay, Y0, [0.0, 1e-3], rtol=1e-15)
    with pytest.warns(RuntimeWarning, match=r"rtol below 10 eps of float32 \(1\.2e-06\) cannot be met"):
        nc.odeint(decay, np.float32(Y0), [0.0, 1e-3], rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nc.odeint(decay, np.float32(Y0), T)


def test_the_default_rtol_is_one_that_the_dtype_can_meet():
    func, times = (lambda t, y: np.cos(3 * t) * y), np.linspace(0.0, 5.0, 7)
    for dtype, rtol in ((np.float32, 10 * float(np.finfo(np.float32).eps)), (np.float64, float("1e-6"))):
        y0 = np.array(Y0, dtype)
        y = nc.odeint(func, y0, times, atol=0.0)
        np.testing.assert_array_equal(y, nc.odeint(func, y0, times, rtol=rtol, atol=0.0))


@pytest.mark.parametrize(
    "solve",
    [
        lambda: nc.odeint(decay, Y0, T, rtol=1e-15, atol=1e-3),
        lambda: nc.odeint_adjoint(decay, Y0, T, rtol=1e-15, atol=1e-3),
        lambda: nc.NeuralODE(lambda p, t, y: p * y, rtol=1e-15, atol=1e-3)(1.0, Y0, T),
        lambda: nc.grad(lambda p: nc.odeint(lambda t, y: p * y, Y0, T, rtol=1e-15, atol=1e-3)[-1, 0])(1.0),
    ],
    ids=["odeint", "odeint_adjoint", "NeuralODE", "grad"],
)
def test_the_warning_of_a_small_rtol_points_at_the_users_line(solve):
    with pytest.warns(RuntimeWarning, match="cannot be met; raise rtol") as caught:
        solve()
    assert {warning.filename for warning in caught} == {__file__}
    assert {warning.lineno for warning in caught} == {solve.__code__.co_firstlineno}


# --- solves that cannot go on ---


@BACKENDS
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_field_that_is_not_finite_at_once_is_an_error_with_time_and_component(bad, backend):
    error = refused(nc.SolverError, r"func returned a non-finite value in component 1 at t = 3\b.*\(0 steps accepted",
                    lambda t, y: np.array([1.0, bad]), t=[3.0, 4.0], backend=backend)  # fmt: skip
    assert (error.reason, error.t, error.h) == ("non-finite", 3.0, 0.0)
    np.testing.assert_array_equal(error.y, Y0)


@CALLED
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_a_field_that_turns_nan_after_some_steps_is_an_error_there_with_the_last_good_state(method, backend):
    options = {"step_size": 0.01} if method == "rk4" else {}
    error = refused(
        nc.SolverError, r"non-finite value in component 3 at t = 1\.\d+.*Stopped at t = \d.*[1-9]\d* steps accepted",
        lambda t, s: {"a": -s["a"], "b": np.array([[0.0, np.nan if t > 1.0 else 0.0]])},
        {"a": np.ones(2), "b": np.ones((1, 2))}, method=method, backend=backend, **options,
    )  # fmt: skip
    assert error.reason == "non-finite"
    assert 0.98 < error.t <= 1.0
    assert error.h > 0
    np.testing.assert_allclose(error.y["a"], np.exp(-error.t) * np.ones(2), rtol=1e-5)
    assert error.y["b"].shape == (1, 2)


@BACKENDS
def test_a_singularity_is_a_step_underflow_that_tells_time_step_and_rejections(backend):
    message = r"Stopped at t = (1\.0|0\.99).* with h = \S+.* \([1-9]\d* steps accepted, [1-9]\d* rejected\)"
    error = refused(nc.SolverError, message, lambda t, y: y**2, [1.0], backend=backend)
    assert error.reason in ("step underflow", "non-finite")
    assert error.t == pytest.approx(1.0, abs=1e-5)
    assert error.y[0] > 1e4
    error = refused(nc.SolverError, "step underflow: the step size fell below 10 ulp of t.*discontinuous",
                    norm=lambda scaled: 2.0, backend=backend)  # fmt: skip
    assert error.reason == "step underflow"


@BACKENDS
def test_too_many_steps_tells_the_time_reached_the_step_and_the_rejections(backend):
    message = r"too many steps: max_num_steps attempts.*at t = 0\.\d+ with h = .*\(\d+ steps accepted, [1-9]\d* rej"
    error = refused(nc.SolverError, message, lambda t, y: -1e4 * (y - np.cos(t)), max_num_steps=60, backend=backend)
    assert error.reason == "too many steps"
    assert 0.0 < error.t < 1.0
    assert error.h > 0
    np.testing.assert_allclose(error.y, np.cos(error.t), atol=1e-2)
