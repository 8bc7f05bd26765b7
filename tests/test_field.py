"""Field: the user's func on flat vectors, what it may return, its VJP traced or recorded, what it refuses."""

import inspect
import re
import warnings

import numpy as np
import pytest

import node_core as nc
from node_core.program import ClosedOverError, Field

Y = np.array([1.0, 2.0])
A = np.array([1.0, 10.0])
NESTED = {"a": np.array([1.0, 2.0]), "b": (np.array([[3.0]]),)}


def evaluate(func, y=Y, t=0.5):
    flat = nc.tree.ravel(y)[0] if isinstance(y, (dict, list, tuple)) else np.ravel(y)
    return Field(func, y, ())(t, flat)


# --- what func may return ---


@pytest.mark.parametrize(
    "func",
    [
        lambda t, y: np.stack([y[1], -y[0]]),
        lambda t, y: [y[1], -y[0]],
        lambda t, y: (y[1], -y[0]),
        lambda t, y: np.array([y[1], -y[0]]),
        lambda t, y: [2, -1.0],
        lambda t, y: np.array([2, -1]),
        lambda t, y: np.array([2, -1], np.float32),
        lambda t, y: np.array([2.0, 9.0, -1.0, 9.0])[::2],
    ],
    ids=["stack", "list", "tuple", "np.array", "constants", "ints", "float32", "strided"],
)
def test_what_func_returns_becomes_a_contiguous_vector_of_the_states_dtype(func):
    dy = evaluate(func)
    assert (type(dy), dy.dtype, dy.flags.c_contiguous) == (np.ndarray, np.float64, True)
    np.testing.assert_array_equal(dy, [2.0, -1.0])


@pytest.mark.parametrize("func", [lambda t, y: [y[1], -y[0]], lambda t, y: np.array([y[1], -y[0]])])
def test_list_and_object_array_of_traced_scalars_have_their_vjp(func):
    f, y_bar, _, _ = Field(func, Y, ()).vjp(0.0, Y, A)
    np.testing.assert_array_equal(f, [2.0, -1.0])
    np.testing.assert_array_equal(y_bar, [-10.0, 1.0])


def test_float64_result_for_a_float32_state_is_cast_and_its_vjp_stays_float32():
    y = Y.astype(np.float32)
    field = Field(lambda t, y, k: np.ones(2) * k * y, y, (3.0,), nc.tree.is_floating)
    assert field(0.0, y).dtype == np.float32
    f, y_bar, (k_bar,), t_bar = field.vjp(0.0, y, A.astype(np.float32), with_t=True)
    assert f.dtype == y_bar.dtype == np.float32
    np.testing.assert_array_equal(y_bar, 3 * A)
    assert (k_bar, t_bar) == (A @ Y, 0.0)


def test_scalar_state_and_matrix_state_are_vectors_for_the_solver():
    np.testing.assert_array_equal(evaluate(lambda t, y: -3.0 * y, np.array(2.0)), [-6.0])
    np.testing.assert_array_equal(evaluate(lambda t, y: y.T, np.arange(4.0).reshape(2, 2)), [0, 2, 1, 3])


def test_nested_state_comes_and_goes_in_its_nesting():
    dy = evaluate(lambda t, y: {"b": (y["b"][0] * 2,), "a": y["a"][::-1]}, NESTED)
    np.testing.assert_array_equal(dy, [2.0, 1.0, 6.0])


def test_real_result_for_a_complex_state_is_cast():
    dy = evaluate(lambda t, y: np.ones(2), Y + 0j)
    assert dy.dtype == np.complex128


@pytest.mark.parametrize(
    ("func", "error", "message"),
    [
        (lambda t, y: None, TypeError, r"shaped like y0, \(2,\), got None at t = 0.5: is a return missing\?"),
        (lambda t, y: y[:1], ValueError, r"of y0's shape \(2,\), got shape \(1,\) at t = 0.5"),
        (lambda t, y: 1.0, ValueError, r"of y0's shape \(2,\), got shape \(\) at t = 0.5"),
        (lambda t, y: y * 1j, TypeError, "of y0's dtype, float64, got complex128 at t = 0.5"),
        (lambda t, y: ["a", "b"], TypeError, "of y0's dtype, float64, got <U1 at t = 0.5"),
        (lambda t, y: np.array([1.0, 2.0], object), TypeError, "of y0's dtype, float64, got object at t = 0.5"),
        (lambda t, y: {"a": y}, TypeError, "of y0's dtype, float64, got object at t = 0.5"),
        (lambda t, y: [1.0, [2.0, 3.0]], ValueError, r"shaped like y0, \(2,\), at t = 0.5: "),
    ],
    ids=["None", "shape", "scalar", "complex", "strings", "object", "dict", "ragged"],
)
def test_wrong_result_says_what_came_what_is_wanted_and_when(func, error, message):
    with pytest.raises(error, match="func must return an array " + message):
        evaluate(func)


@pytest.mark.parametrize(
    ("func", "error", "message"),
    [
        (lambda t, y: {"a": y["a"]}, TypeError, r"the nesting of y0, \{'a': \*, 'b': \(\*,\)\}, got \{'a': \*\} at t"),
        (lambda t, y: {**y, "b": (None,)}, TypeError, r"for y\['b'\]\[0\] an array shaped like y0, \(1, 1\), got None"),
        (lambda t, y: {**y, "a": Y[:1]}, ValueError, r"for y\['a'\] an array of y0's shape \(2,\), got shape \(1,\)"),
        (lambda t, y: {**y, "a": Y * 1j}, TypeError, r"for y\['a'\] an array of y0's dtype, float64, got complex128"),
    ],
    ids=["nesting", "None", "shape", "complex"],
)
def test_wrong_result_for_a_nested_state_names_the_leaf(func, error, message):
    with pytest.raises(error, match="func must return " + message):
        evaluate(func, NESTED)


def test_exception_of_func_comes_through_unchanged():
    def func(t, y):
        raise LookupError("mine")

    with pytest.raises(LookupError, match=r"^'?mine'?$"):
        evaluate(func)
    with pytest.raises(LookupError, match=r"^'?mine'?$"):
        Field(func, Y, ()).vjp(0.0, Y, A)


# --- the vector-Jacobian product ---


def test_traced_vjp_equals_the_recorded_one_and_the_closed_form():
    def func(t, y, p, name):
        return np.sin(t) * (p["W"] @ y["a"])[::-1], y["b"] * p["k"] * t

    def nested(t, y, p, name):
        a, b = func(t, y, p, name)
        return {"a": a, "b": b}

    rng = np.random.default_rng(0)
    y0 = {"a": rng.standard_normal(2), "b": rng.standard_normal((1, 2))}
    args = ({"W": rng.standard_normal((2, 2)), "k": 3.0}, "constant")
    field = Field(nested, y0, args, nc.tree.is_floating)
    y, a, t = rng.standard_normal(4), rng.standard_normal(4), 0.7
    f, y_bar, p_bars, t_bar = field.vjp(t, y, a, with_t=True)
    assert field._graphs[True] is not None
    recorded = field._pulled(t, y, field.parameters, a, True)
    for got, wanted in zip([f, y_bar, *p_bars, t_bar], recorded, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-14)
    W, k = args[0]["W"], args[0]["k"]
    np.testing.assert_allclose(f, field(t, y), rtol=1e-14)
    np.testing.assert_allclose(y_bar, [*(np.sin(t) * a[1::-1] @ W), *(a[2:] * k * t)], rtol=1e-14)
    np.testing.assert_allclose(p_bars[0], np.sin(t) * np.outer(a[1::-1], y[:2]), rtol=1e-14)
    np.testing.assert_allclose(p_bars[1], t * a[2:] @ y[2:], rtol=1e-14)
    np.testing.assert_allclose(t_bar, np.cos(t) * a[1::-1] @ W @ y[:2] + k * a[2:] @ y[2:], rtol=1e-13)


def test_graph_of_the_vjp_is_used_again_at_other_points_and_parameters():
    calls = []

    def func(t, y, k):
        calls.append(t)
        return k * y**2

    field = Field(func, Y, (3.0,), nc.tree.is_floating)
    field.vjp(0.0, Y, A)
    field.vjp(0.0, Y, A)  # at the first two points the graph is compared with func
    before = len(calls)
    f, y_bar, (k_bar,), t_bar = field.vjp(0.0, 2 * Y, A)
    assert len(calls) == before
    np.testing.assert_array_equal(f, 12 * Y**2)
    np.testing.assert_array_equal(y_bar, 12 * Y * A)
    assert (k_bar, t_bar) == (A @ (4 * Y**2), None)
    _, y_bar, (k_bar,), _ = field.with_args([5.0]).vjp(0.0, 2 * Y, A)
    np.testing.assert_array_equal(y_bar, 20 * Y * A)


def branching(t, y):
    if y[0] > 0:  # here
        return 2 * y
    return -y


def counting(t, y):
    return y * (2 * int(np.sum(y > 0)) - 2)  # here; eagerly a comparison is a plain array


@pytest.mark.parametrize("func", [branching, counting])
def test_func_that_depends_on_values_falls_back_with_one_warning_that_names_the_line(func):
    field = Field(func, Y, ())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for y, factor in ((Y, 2.0), (np.array([-1.0, 2.0]), -1.0 if func is branching else 0.0), (Y, 2.0)):
            f, y_bar, _, _ = field.vjp(0.0, y, A)
            np.testing.assert_array_equal(f, factor * y)
            np.testing.assert_array_equal(y_bar, factor * A)
    (warning,) = caught
    assert warning.category is RuntimeWarning
    source, start = inspect.getsourcelines(func)
    here = start + next(i for i, line in enumerate(source) if "# here" in line)
    assert re.match(rf"func is not traced \({re.escape(__file__)}:{here}: .*recorded anew", str(warning.message))


def test_func_that_would_cut_a_gradient_is_an_error_and_no_fallback():
    with pytest.raises(TypeError, match=r"float\(y\).*would cut its gradient silently"):
        Field(lambda t, y: y * float(y[0]), Y, ()).vjp(0.0, Y, A)


def test_impure_function_is_refused_with_a_warning_and_recorded_each_time():
    rate = [1.0]

    def func(t, y):
        rate[0] += 1.0
        return rate[0] * y

    field = Field(func, Y, ())
    with pytest.warns(RuntimeWarning, match="func gave two answers for the same arguments: it is not pure"):
        field.vjp(0.0, Y, A)
    first, second = (field.vjp(0.0, Y, A)[0] for _ in range(2))
    np.testing.assert_array_equal(second - first, Y)


# --- values from outside ---

OUTSIDE = {"k": None}


def test_closed_over_traced_values_are_named():
    def loss(rate, weight, evaluate):
        return np.sum(evaluate(Field(lambda t, y: rate * weight * y, Y, ())))

    for evaluate in (lambda field: field(0.0, Y), lambda field: field.vjp(0.0, Y, A)[0]):
        with pytest.raises(
            ClosedOverError, match=r"func uses the traced value rate, weight from outside its arguments"
        ):
            nc.grad(loss, (0, 1))(2.0, 3.0, evaluate)
        with pytest.raises(ClosedOverError, match=r"func uses the traced value rate from outside .*; pass it in args"):
            nc.grad(loss)(2.0, 3.0, evaluate)


def test_traced_value_in_a_global_container_is_named(monkeypatch):
    def loss(k):
        monkeypatch.setitem(OUTSIDE, "k", k)
        return np.sum(Field(lambda t, y: OUTSIDE["k"] * y, Y, ())(0.0, Y))

    with pytest.raises(ClosedOverError, match=r"func uses the traced value OUTSIDE from outside"):
        nc.grad(loss)(2.0)


def test_with_closed_over_makes_parameters_of_what_func_closes_over():
    def loss(k):
        field, values = Field(lambda t, y, m: k * m * y, Y, (3.0,), nc.tree.is_floating).with_closed_over(0.0, Y)
        assert len(values) == 1
        assert values[0] is k
        plain = field.with_args([3.0, 2.0])
        f, y_bar, (m_bar, k_bar), _ = plain.vjp(0.0, Y, A)
        np.testing.assert_array_equal(f, 6 * Y)
        np.testing.assert_array_equal(y_bar, 6 * A)
        assert (m_bar, k_bar) == (2 * A @ Y, 3 * A @ Y)
        return k

    assert nc.grad(loss)(2.0) == 1.0


def test_closed_over_value_of_a_function_that_cannot_be_traced_is_an_error_with_both_reasons():
    def loss(k):
        def func(t, y):
            return k * y if y[0] > 0 else y

        Field(func, Y, ()).with_closed_over(0.0, Y)

    with pytest.raises(ClosedOverError, match=r"traced value k .*func cannot be traced: .*test_field.py:.* a branch"):
        nc.grad(loss)(2.0)
