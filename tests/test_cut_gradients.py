"""What would cut a gradient silently is an error that names the replacement, in every kind of trace."""

import math

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
        (lambda y: np.add(y, 1.0, where=Y > 1), "np.add: where is not supported"),
        (lambda y: np.exp(y, dtype=np.float32), "np.exp: dtype is not supported"),
        (lambda y: np.sum(y, where=Y > 1), "np.sum: the argument where= is not supported"),
        (lambda y: np.mean(y, dtype=np.float32), "np.mean: the argument dtype= is not supported"),
        (lambda y: np.max(y, initial=0.0), "np.max: the argument initial= is not supported"),
        (lambda y: y.sum(dtype=np.float32), "np.sum: the argument dtype= is not supported"),
        (lambda y: np.pad(y, 1, mode="linear_ramp"), "np.pad: mode 'linear_ramp' is not supported"),
        (lambda y: np.linalg.norm(y[:, None] * y, "nuc"), "np.linalg.norm: ord='nuc' over axes .* is not supported"),
        (lambda y: np.linalg.norm(y[:, None] * y, 2), "np.linalg.norm: ord=2 over axes .* is not supported"),
        (lambda y: np.reshape(y, (3, 1), order="F"), "np.reshape: only order='C' is supported"),
        (lambda y: y.reshape(3, 1, order="F"), "np.reshape: only order='C' is supported"),
        (lambda y: (y[:, None] * y).ravel("F"), "np.reshape: only order='C' is supported"),
        (lambda y: np.einsum(y, [0], y, [0]), "np.einsum: give the subscripts as a string"),
        (lambda y: (y + 0j).astype(float), r"astype from complex to real .* write np.real\(y\)"),
    ],
)
def test_argument_or_mode_that_is_not_supported_is_named(differentiate, f, message):
    with pytest.raises(TypeError, match=message):
        differentiate(f)


def test_argument_given_as_its_default_none_is_no_error():
    np.testing.assert_array_equal(nc.grad(lambda y: np.sum(y, dtype=None, out=None))(Y), np.ones(3))


def test_index_array_of_floats_is_an_error(differentiate):
    with pytest.raises(IndexError, match="an index array must hold integers or booleans, got float64"):
        differentiate(lambda y: y[y])
