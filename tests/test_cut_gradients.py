"""What would cut a gradient silently is an error that names the replacement, in every kind of trace."""

import copy
import math
import pickle

import numpy as np
import pytest

import node_core as nc

Y = np.array([1.0, 2.0, 3.0])
W = np.arange(9.0).reshape(3, 3)
CONSTANT = "for a constant take nc.stop_gradient"


def transpose_gradient(f):
    nc.vjp(f, Y)


def forward_tangent(f):
    nc.jvp(f, (Y,), (Y,))


def graph(f):
    nc.trace(f, Y)


@pytest.fixture(params=[transpose_gradient, forward_tangent, graph], ids=["vjp", "jvp", "trace"])
def differentiate(request):
    return request.param


# --- conversions into plain arrays ---


@pytest.mark.parametrize(
    "f",
    [
        lambda y: np.asarray(y),
        lambda y: np.array(y, dtype=float),
        lambda y: np.array([y, y]),
        lambda y: np.array([y, 2.0 * Y]),
        lambda y: W.dot(y),
        lambda y: np.r_[y, y],
        lambda y: np.vectorize(abs)(y),
        lambda y: np.ones(3)[np.asarray(y) > 0],
    ],
    ids=["asarray", "array", "array of arrays", "mixed", "W.dot", "r_", "vectorize", "comparison"],
)
def test_turning_an_array_into_a_plain_one_names_stack_and_matmul(differentiate, f):
    with pytest.raises(TypeError, match=r"shape \(3,\) into a plain array .*np.stack\(\[...\]\), W @ y.*" + CONSTANT):
        differentiate(f)


def test_the_replacements_for_plain_arrays_work():
    by_matmul = nc.vjp(lambda y: W @ y, Y)[1](np.ones(3))[0]
    np.testing.assert_array_equal(by_matmul, W.sum(axis=0))
    stacked, pullback = nc.vjp(lambda y: np.stack([y, 2 * y]), Y)
    np.testing.assert_array_equal(stacked, [Y, 2 * Y])
    np.testing.assert_array_equal(pullback(np.ones((2, 3)))[0], np.full(3, 3.0))


def test_np_array_of_scalars_is_stacked():
    def f(y):
        return np.array([y[1], -y[0]])

    out, pullback = nc.vjp(f, Y)
    assert (type(out), out.dtype) == (np.ndarray, np.float64)
    np.testing.assert_array_equal(out, [2.0, -1.0])
    np.testing.assert_array_equal(pullback(np.array([1.0, 10.0]))[0], [-10.0, 1.0, 0.0])
    np.testing.assert_array_equal(nc.jvp(f, (Y,), (Y,))[1], [2.0, -1.0])
    np.testing.assert_array_equal(nc.trace(f, Y)(2 * Y), [4.0, -2.0])
    np.testing.assert_array_equal(nc.vjp(lambda y: np.array([[y[1], 7.0], [0, y[2]]]), Y)[0], [[2, 7], [0, 3]])


def test_np_array_of_scalars_takes_part_in_arithmetic():
    def f(y):
        return np.sum(W[:2, :2] @ np.array([y[1], -y[0]]) ** 2)

    np.testing.assert_array_equal(nc.grad(f)(Y), [2 * (1 + 4) * Y[0], 2 * (0 + 3) * Y[1], 0])


def test_function_of_an_object_array_of_traced_values_names_stack(differentiate):
    with pytest.raises(TypeError, match=r"np.array\(\[...\]\) of traced values is an object array.*np.stack"):
        differentiate(lambda y: np.tanh(np.array([y[1], -y[0]])))
    np.testing.assert_allclose(nc.vjp(lambda y: np.tanh(np.stack([y[1], -y[0]])), Y)[0], np.tanh([2.0, -1.0]))


@pytest.mark.parametrize(
    "f",
    [
        lambda v: np.isfinite(v),
        lambda v: np.logaddexp(v, 0.0),
        lambda v: np.fft.fft(v),
        lambda v: np.linalg.inv(np.array([[v[0], 1.0], [0.0, v[1]]])),
        lambda v: np.linalg.solve(np.array([[v[0], 1.0], [0.0, v[1]]]), np.ones(2)),
        lambda v: np.add(v, 1.0, out=np.zeros(2)),
        lambda v: np.interp(v, [0.0, 1.0], [1.0, 2.0]),
        lambda v: np.mean(v),
        lambda v: np.sinc(v),
        lambda v: v.astype(float),
    ],
    ids=["isfinite", "logaddexp", "fft", "inv", "solve", "out", "interp", "mean", "sinc", "astype"],
)
def test_whatever_numpy_says_of_an_object_array_of_traced_values_names_stack(differentiate, f):
    with pytest.raises(TypeError, match=r"write np\.stack\(|np\.stack\(\[\.\.\.\]\)|np\.where\(condition, x, y\)"):
        differentiate(lambda y: f(np.array([y[1], -y[0]])))
    with pytest.raises(AttributeError, match=r"np\.hypot of np\.array\(\[\.\.\.\]\) of traced.*Write np\.stack"):
        differentiate(lambda y: np.hypot(np.array([y[1], -y[0]]), 1.0))


def test_a_failure_that_numpy_has_without_traced_values_keeps_its_own_words():
    with pytest.raises(
        TypeError, match=r"^ufunc 'isfinite' not supported.*If that is np\.array\(\[\.\.\.\]\) of traced"
    ):
        nc.grad(lambda y: np.isfinite("a"))(1.0)
    with pytest.raises(TypeError, match=r"^unsupported operand type"):
        nc.grad(lambda y: "a" - 1)(1.0)


def test_extremes_of_an_object_array_go_by_pythons_comparisons_and_of_a_stack_share_ties():
    y = np.array([1.0, 1.0])
    np.testing.assert_array_equal(nc.grad(lambda y: np.max(np.stack([y[0], y[1]])))(y), [0.5, 0.5])
    assert sorted(nc.grad(lambda y: np.max(np.array([y[0], y[1]])))(y)) == [0.0, 1.0]  # as the README's limits say
    with pytest.raises(nc.TraceError, match="a branch"):
        nc.trace(lambda y: np.max(np.array([y[0], y[1]])), y)


def test_object_array_of_traced_arrays_names_stack_and_concatenate(differentiate):
    def f(y):
        out = np.empty(2, dtype=object)
        out[0], out[1] = y[0], (y[:1] * 2)
        return out

    with pytest.raises(
        TypeError, match=r"(object array holds a traced value of shape \(1,\)|shape \(1,\) into a plain)"
    ):
        differentiate(f)


# --- conversions into plain numbers ---


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda y: float(y[0]), r"float\(y\).* Write y itself, np.sin\(y\)"),
        (lambda y: math.sin(y[0]), r"math.sin\(y\).*np.sin\(y\)"),
        (lambda y: np.float64(y[0]), r"float\(y\).* Write y itself"),
        (lambda y: math.floor(y[0]), r"math.sin\(y\).*np.sin\(y\)"),
        (lambda y: int(y[0]), r"int\(y\).* Write np.floor\(y\)"),
        (lambda y: complex(y[0]), r"complex\(y\).* Write y itself, or y \+ 0j"),
        (lambda y: [1, 2, 3][y[0]], r"using y as an index.* Write np.take"),
        (lambda y: y[0].item(), r"y.item\(\).* Write y itself or y\[i\]"),
        (lambda y: y.tolist(), r"y.tolist\(\).* Write list\(y\)"),
    ],
    ids=["float", "math.sin", "np.float64", "math.floor", "int", "complex", "index", "item", "tolist"],
)
def test_turning_a_value_into_a_plain_number_names_the_replacement(differentiate, f, message):
    with pytest.raises(TypeError, match=message + ".*" + CONSTANT):
        differentiate(f)


def test_list_of_a_traced_array_keeps_its_gradient():
    first, *rest = nc.grad(lambda y: sum(list(y)) + next(iter(y)) ** 2)(Y)
    assert (first, rest) == (3.0, [1.0, 1.0])


# --- writing into arrays ---


def into_plain_element(y):
    out = np.zeros(3)
    out[0] = y[0]
    return out


def into_plain_slice(y):
    out = np.zeros(3)
    out[:] = y
    return out


def into_traced(y):
    y[0] = 1.0
    return y


def add_in_place(y):
    a = np.zeros(3)
    a += y
    return a


def test_writing_an_element_into_a_plain_array_names_stack(differentiate):
    with pytest.raises(
        TypeError, match=r"out\[i\] = y\[i\] into a plain array.*np.stack\(\[...\]\) for the whole of out"
    ):
        differentiate(into_plain_element)


def test_writing_an_array_into_a_plain_array_names_concatenate(differentiate):
    with pytest.raises(
        TypeError, match=r"instead of out\[i\] = y\[i\] build the result with np.stack or np.concatenate"
    ):
        differentiate(into_plain_slice)


def test_writing_into_a_traced_array_names_where(differentiate):
    with pytest.raises(TypeError, match=r"y\[i\] = ... on a traced value.*np.stack, np.concatenate or np.where"):
        differentiate(into_traced)


def test_adding_in_place_to_a_plain_array_says_to_write_a_sum(differentiate):
    with pytest.raises(TypeError, match=r"np.add: the result would be written into a plain array.*write a = a \+ y"):
        differentiate(add_in_place)


def test_adding_in_place_to_a_traced_value_makes_a_new_one():
    def f(y):
        a = y
        a += y  # not the caller's y
        return np.sum(a * y)

    np.testing.assert_array_equal(nc.grad(f)(Y), 4 * Y)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda y: np.add(y, 1.0, out=np.zeros(3)), "np.add: the result would be written into a plain array"),
        (lambda y: np.sum(y, out=np.zeros(())), "np.sum: the argument out= is not supported"),
        (lambda y: np.copyto(np.zeros(3), y), "np.copyto has no derivative rule"),
        (lambda y: np.put(np.zeros(3), [0, 1, 2], y), "np.put has no derivative rule"),
        (lambda y: np.zeros(3).fill(y[0]), r"out\[i\] = y\[i\] into a plain array"),
    ],
    ids=["ufunc", "sum", "copyto", "put", "fill"],
)
def test_writing_by_out_or_a_function_is_an_error(differentiate, f, message):
    with pytest.raises(TypeError, match=message):
        differentiate(f)


# --- what NumPy offers and we do not ---


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda y: np.fft.fft(y), r"np\.fft\.fft"),
        (lambda y: np.median(y), r"np\.median"),
        (lambda y: np.linalg.eigh(np.outer(y, y)), r"np\.linalg\.eigh"),
        (lambda y: np.nextafter(y, 1.0), r"np\.nextafter"),
        (lambda y: np.multiply.outer(y, y), r"np\.multiply\.outer"),
        (lambda y: np.add.at(np.zeros(3), [0, 1, 2], y), r"np\.add\.at"),
    ],
)
def test_function_without_a_rule_is_named_with_custom_vjp(differentiate, f, name):
    with pytest.raises(TypeError, match=rf"^{name} has no derivative rule here.*@nc.custom_vjp.*\.defvjp\("):
        differentiate(f)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda y: np.add(y, 1.0, where=Y > 1), r"np.add: where is not supported .*np.where\(mask, y, other\)"),
        (lambda y: np.exp(y, dtype=np.float32), r"np.exp: dtype is not supported .*write y.astype\(dtype\)"),
        (lambda y: np.sum(y, dtype=int), r"np.sum: dtype=int64 has no derivative; write np.sum\(y\).astype\(dtype\)"),
        (lambda y: np.sum(y, out=np.zeros(())), "np.sum: the argument out= is not .*use what the call returns"),
        (lambda y: np.sum(y, 0, None, np.zeros(())), "np.sum: the argument out= is not .*use what the call returns"),
        (lambda y: np.var(y, correction=1), "np.var: the argument correction= is not .*write ddof= instead"),
        (lambda y: np.std(y, dtype=np.float32), r"np.std: the argument dtype= is not .*write y.astype\(dtype\)"),
        (
            lambda y: np.var(y, where=Y > 1),
            r"np.var: the argument where= is not .*np.where\(mask, y, other\), or y\[mask\]",
        ),
        (lambda y: np.sort(y, kind="stable"), "np.sort: the argument kind= is not .*every algorithm gives the same"),
        (
            lambda y: np.interp(y, [0.0, 1.0], [1.0, 2.0], period=2.0),
            "np.interp: the argument period= is not .*x % period",
        ),
        (
            lambda y: np.concatenate([y, y], dtype=np.float32),
            r"np.concatenate: the argument dtype= is not .*y.astype\(",
        ),
        (lambda y: np.stack([y, y], casting="unsafe"), r"np.stack: the argument casting= is not .*y.astype\(dtype\)"),
        (lambda y: np.diff(y, prepend=0.0), "np.diff: the argument prepend= is not .*np.concatenate first"),
        (
            lambda y: np.linalg.cholesky(np.outer(y, y), upper=True),
            "np.linalg.cholesky: the argument upper= .*take L.mT",
        ),
        (lambda y: np.average(y, returned=True), r"np.average: the argument returned= is not .*np.sum\(weights\)"),
        (
            lambda y: np.pad(y, 1, mode="linear_ramp", end_values=1.0),
            "np.pad: the argument end_values= is not supported",
        ),
        (
            lambda y: np.pad(y, 1, mode="linear_ramp"),
            "np.pad: mode 'linear_ramp' is not supported .* there are 'constant'",
        ),
        (
            lambda y: np.linalg.norm(y[:, None] * y, "nuc"),
            "np.linalg.norm: ord='nuc' over axes .* is not supported .*'fro'",
        ),
        (lambda y: np.linalg.norm(y[:, None] * y, 2), "np.linalg.norm: ord=2 over axes .* is not supported .*'fro'"),
        (
            lambda y: np.reshape(y, (3, 1), order="F"),
            r"np.reshape: only order='C' is supported .*np.reshape\(y.T, shape",
        ),
        (lambda y: y.reshape(3, 1, order="F"), "np.reshape: only order='C' is supported"),
        (lambda y: (y[:, None] * y).ravel("F"), "np.reshape: only order='C' is supported"),
        (lambda y: np.einsum(y, [0], y, [0]), "np.einsum: give the subscripts as a string"),
        (lambda y: np.einsum("i->", y, dtype=float), "np.einsum: the argument dtype= is not supported"),
        (lambda y: (y + 0j).astype(float), r"astype from complex to real .* write np.real\(y\)"),
        (lambda y: np.sum(y, rows=1), "unexpected keyword argument 'rows'"),
        (lambda y: np.sum(y, 0, axis=0), "multiple values for argument 'axis'"),
    ],
)
def test_argument_or_mode_that_is_not_supported_is_named(differentiate, f, message):
    with pytest.raises(TypeError, match=message):
        differentiate(f)


@pytest.mark.parametrize(
    "f",
    [
        lambda y: np.sum(y, dtype=None, out=None),
        lambda y: np.sum(y, 0, None, None),
        lambda y: np.sum(np.mean(y, 0, None, None, True)) * 3.0,
        lambda y: y.sum(0, None),
        lambda y: y.mean(0, None, None, False, where=True) * 3.0,
        lambda y: np.sum(np.sort(y, -1, None, None)),
        lambda y: np.sum(np.concatenate([y], 0, None, dtype=None, casting="same_kind")),
        lambda y: np.sum(np.stack([y], casting="same_kind", dtype=None)),
        lambda y: np.sum(np.copy(y, "C", False)),
        lambda y: np.sum(np.clip(y, -9.0, 9.0, None)),
        lambda y: np.sum(y.clip(min=-9.0, max=9.0)),
        lambda y: np.dot(y, np.ones(3), None),
        lambda y: np.sum(np.take(y, [0, 1, 2], 0, None, "raise")),
        lambda y: np.sum(y, keepdims=np.False_),
        lambda y: np.sum(np.sum(y, keepdims=1) ** 2 / 12.0),
        lambda y: np.sum(np.add(y, 1.0, where=True, casting="same_kind", order="K", subok=True, dtype=None)),
    ],
)
def test_arguments_that_say_nothing_are_no_error_by_position_or_name(f):
    np.testing.assert_allclose(nc.grad(f)(Y), np.ones(3))


def test_keepdims_of_any_truth_keeps_the_axes():
    for keepdims in (True, 1, np.True_):
        assert nc.vjp(lambda y, k=keepdims: np.sum(y, keepdims=k), Y)[0].shape == (1,)
        assert nc.vjp(lambda y, k=keepdims: np.linalg.norm(y, keepdims=k), Y)[0].shape == (1,)


def test_a_mask_without_an_initial_value_is_refused_as_numpy_does():
    with pytest.raises(ValueError, match=r"np\.max: where= needs initial="):
        nc.grad(lambda y: np.max(y, where=Y > 1))(Y)


# --- attributes of an array that a traced value does not have ---


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda y: y.sort(), r"y\.sort does not exist on a traced value.* Write np\.sort\(y\)"),
        (lambda y: y.cumprod(), r"y\.cumprod does not exist .* Write np\.exp\(np\.cumsum\(np\.log\(y\)\)\)"),
        (lambda y: y.view(np.int64), r"y\.view does not exist .* Write y\.astype\(dtype\)"),
        (lambda y: y.fill(1.0), r"y\.fill does not exist .* Write np\.full_like"),
        (lambda y: y.strides, r"y\.strides does not exist .* take nc\.stop_gradient\(y\)\.strides"),
        (lambda y: y.tanh(), r"np\.tanh of np\.array\(\[\.\.\.\]\) of traced values.*Write np\.stack"),
        (lambda y: y.numpy(), r"a traced value has no attribute 'numpy', nor has a NumPy array"),
    ],
)
def test_an_attribute_that_is_not_there_is_an_attribute_error_with_advice(differentiate, f, message):
    with pytest.raises(AttributeError, match=message):
        differentiate(f)


def test_hasattr_copy_and_numpys_protocols_find_what_is_there_and_nothing_else():
    def f(y):
        assert not any(hasattr(y, name) for name in ("sort", "__array_interface__", "__array_struct__", "__dict__"))
        assert hasattr(y, "sum")
        assert copy.copy(y) is y
        assert copy.deepcopy([y])[0] is y
        with pytest.raises(TypeError, match="pickling y on a traced value"):
            pickle.dumps(y)
        return np.sum(y)

    np.testing.assert_array_equal(nc.grad(f)(Y), np.ones(3))


def test_round_gives_an_int_of_a_number_and_divmod_both_parts():
    seen = []

    def f(y):
        q, r = divmod(y, 0.75)
        p, s = divmod(2.5, y)
        seen.append((round(y[1]), round(y), round(y[0], 1), q, p))
        return np.sum(r * round(y[1]) + s * q)

    y = np.array([0.5, 2.0, 0.9])
    np.testing.assert_allclose(nc.grad(f)(y), 2.0 - (2.5 // y) * (y // 0.75))
    number, array, *rest = seen[0]
    assert (number, isinstance(number, (int, np.integer))) == (2, True)
    np.testing.assert_array_equal(array, [0.0, 2.0, 1.0])
    np.testing.assert_array_equal(rest[1], y // 0.75)
    np.testing.assert_array_equal(rest[2], 2.5 // y)


def test_index_array_of_floats_is_an_error(differentiate):
    with pytest.raises(IndexError, match="an index array must hold integers or booleans, got float64"):
        differentiate(lambda y: y[y])
