"""The matrix products of csrc/nc_matmul*.inc against NumPy in long double, over shape, layout and dtype."""

import itertools

import numpy as np
import pytest

from node_core._kernels import rk

SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 33, 47, 48, 49, 64, 100, 257)
LAYOUTS = ("C", "transposed", "strided", "reversed", "gaps")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
PACKED = pytest.mark.parametrize("packed", [False, True])


def laid_out(x, layout):
    """x's values in an array of that layout, every element around them NaN."""
    m, n = x.shape
    if layout == "C":
        view = np.empty((m, n), x.dtype)
    elif layout == "transposed":
        view = np.empty((n, m), x.dtype).T
    elif layout == "strided":
        view = np.full((2 * m, 3 * n), np.nan, x.dtype)[::2, 1::3]
    elif layout == "reversed":
        view = np.empty((m, n), x.dtype)[::-1, ::-1]
    else:
        view = np.full((m + 1, n + 5), np.nan, x.dtype)[:m, 2 : n + 2]
    view[...] = x
    return view


def operands(rng, dtype, m, k, n):
    return [rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (n,), (m, n))]


def assert_product(A, B, bias=None, alpha=1.0, C=None, packed=None, layout="C"):
    """rk.matmul equals the same in long double, to a bound on the rounding of sums of k terms."""
    k, dtype = A.shape[1], A.dtype
    wide = [np.asarray(x, np.longdouble) for x in (A, B)]
    expected = alpha * (wide[0] @ wide[1])
    bound = abs(alpha) * (abs(wide[0]) @ abs(wide[1]))
    for addend in (bias, C):
        if addend is not None:
            expected, bound = expected + addend, bound + abs(addend)
    out = laid_out(np.full(expected.shape, np.nan, dtype) if C is None else C, layout)
    returned = rk.matmul(A, B, bias, alpha, out, C is not None, packed)
    assert returned is out
    assert (abs(out - expected) <= (k + 4) * np.finfo(dtype).eps * bound).all()


def sampled_shapes():
    """Every size along every axis beside sizes of each kind, and random triples: some 400 of 12 167."""
    rng = np.random.default_rng(0)
    few = ((1, 2, 3), (2, 20, 50), (9, 5, 17), (20, 50, 2), (25, 33, 40))
    shapes = {tuple(s if i == axis else x for i, x in enumerate(t)) for t in few for axis in range(3) for s in SIZES}
    shapes |= {tuple(int(x) for x in rng.choice(SIZES, 3)) for _ in range(100)}
    return sorted(shapes)


@DTYPES
@PACKED
def test_products_equal_long_double_for_every_size_and_any_layout(dtype, packed):
    rng = np.random.default_rng(1)
    for m, k, n in sampled_shapes():
        A, B, bias, C = operands(rng, dtype, m, k, n)
        a, b, c = rng.choice(LAYOUTS, 3)
        A, B = laid_out(A, a), laid_out(B, b)
        alpha = rng.choice([1.0, -0.75])
        assert_product(A, B, packed=packed)
        assert_product(A, B, bias if rng.random() < 0.5 else None, alpha, C if rng.random() < 0.5 else None, packed, c)


@DTYPES
@PACKED
@pytest.mark.parametrize("shape", [(7, 9, 50), (50, 2, 20), (20, 50, 2), (2, 20, 50), (13, 3, 5), (1, 64, 64)], ids=str)
def test_products_are_right_in_every_combination_of_layouts(dtype, packed, shape):
    A, B, bias, C = operands(np.random.default_rng(2), dtype, *shape)
    for a, b, c in itertools.product(LAYOUTS, repeat=3):
        assert_product(laid_out(A, a), laid_out(B, b), bias, 0.5, C, packed, c)
        assert_product(laid_out(A, a), laid_out(B, b), None, 1.0, None, packed, c)


@DTYPES
@PACKED
@pytest.mark.parametrize(
    "shape", [(300, 700, 80), (257, 1030, 3), (3, 1030, 257), (530, 3, 49), (33, 512, 256)], ids=str
)
def test_products_are_right_across_blocks_of_rows_and_of_k(dtype, packed, shape):
    A, B, bias, C = operands(np.random.default_rng(3), dtype, *shape)
    for a, b, c in (("C", "C", "C"), ("transposed", "C", "C"), ("strided", "transposed", "transposed")):
        assert_product(laid_out(A, a), laid_out(B, b), bias, -1.5, C, packed, c)


@DTYPES
@PACKED
@pytest.mark.parametrize("k", [191, 193, 194, 196, 197, 255, 257, 259, 261, 385, 513])
def test_products_are_right_for_every_rest_of_the_last_block_of_k(dtype, packed, k):
    """The blocks are 192 or 256 deep; a rest of 1..4 has a form of its own in some panels and not in others."""
    for m, n in ((1, 64), (2, 50), (2, 100), (3, 64), (1, 257), (64, 2), (130, 24)):
        A, B, bias, C = operands(np.random.default_rng(k), dtype, m, k, n)
        assert_product(A, B, bias, 0.5, C, packed)
        assert_product(laid_out(A, "transposed"), B, packed=packed)


@DTYPES
@PACKED
@pytest.mark.parametrize("layout", ["C", "transposed"])
def test_nothing_is_written_outside_the_result(dtype, packed, layout):
    rng = np.random.default_rng(4)
    for m, k, n in sampled_shapes()[::3]:
        A, B, bias, _ = operands(rng, dtype, m, k, n)
        frame = np.full((m + 40, n + 40) if layout == "C" else (n + 40, m + 40), 77, dtype)
        out = (frame if layout == "C" else frame.T)[20 : m + 20, 20 : n + 20]
        rk.matmul(A, B, bias, 1.0, out, False, packed)
        out[...] = 77
        assert (frame == 77).all()


@DTYPES
@pytest.mark.parametrize("layout", LAYOUTS)
def test_packing_fills_its_array_and_writes_nothing_outside_it(dtype, layout):
    rng = np.random.default_rng(5)
    for k, n in itertools.product(SIZES[::2], SIZES):
        frame = np.full(k * n + 128, np.nan, dtype)
        B = rng.normal(size=(k, n)).astype(dtype)
        packed = rk.matmul_pack(laid_out(B, layout), frame[64 : k * n + 64])
        assert np.array_equal(np.sort(packed), np.sort(B, axis=None))
        assert np.isnan(frame[:64]).all()
        assert np.isnan(frame[k * n + 64 :]).all()


@DTYPES
@PACKED
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_non_finite_element_reaches_its_row_or_column_and_nothing_else(dtype, packed, bad, transposed):
    rng = np.random.default_rng(6)
    layout = "transposed" if transposed else "C"
    for m, k, n in ((20, 50, 2), (2, 20, 50), (20, 2, 50), (5, 7, 3), (9, 13, 33), (1, 33, 9), (8, 5, 6), (3, 11, 1)):
        for _ in range(5):
            A, B = (abs(x) for x in operands(rng, dtype, m, k, n)[:2])
            i, p, j = rng.integers(m), rng.integers(k), rng.integers(n)
            hit = np.zeros((m, n), bool)
            A[i, p], hit[i] = bad, True
            result = rk.matmul(laid_out(A, layout), B, packed=packed)
            assert np.array_equal(result[hit], np.full(n, bad, dtype), equal_nan=True)
            assert np.isfinite(result[~hit]).all()
            A, hit = np.ones_like(A), np.zeros((m, n), bool)
            B[p, j], hit[:, j] = bad, True
            result = rk.matmul(laid_out(A, layout), laid_out(B, layout), packed=packed)
            assert np.array_equal(result[hit], np.full(m, bad, dtype), equal_nan=True)
            assert np.isfinite(result[~hit]).all()


@DTYPES
@PACKED
def test_old_contents_matter_only_when_accumulating(dtype, packed):
    A, B, bias, _ = operands(np.random.default_rng(7), dtype, 9, 13, 21)
    out = np.full((9, 21), np.nan, dtype)
    assert np.isfinite(rk.matmul(A, B, bias, 1.0, out, False, packed)).all()
    out[3, 4] = np.nan
    rk.matmul(A, B, bias, 1.0, out, True, packed)
    assert np.argwhere(np.isnan(out)).tolist() == [[3, 4]]


@DTYPES
def test_a_sum_of_no_terms_is_the_bias_or_zero_or_what_was_there(dtype):
    A, B, bias, C = operands(np.random.default_rng(8), dtype, 5, 0, 6)
    for packed in (False, True):
        assert (rk.matmul(A, B, packed=packed) == 0).all()
        assert (rk.matmul(A, B, bias, packed=packed) == bias).all()
        assert (rk.matmul(A, B, out=C.copy(), accumulate=True, packed=packed) == C).all()


@DTYPES
def test_repeated_products_have_the_same_bits_wherever_the_arrays_lie(dtype):
    rng = np.random.default_rng(9)
    for m, k, n in ((20, 50, 2), (2, 20, 50), (50, 20, 2), (33, 65, 70), (300, 300, 50)):
        A, B, bias, _ = operands(rng, dtype, m, k, n)
        for packed in (False, True):
            first = rk.matmul(A, B, bias, 0.3, packed=packed)
            for layout in ("C", "gaps", "gaps"):
                again = laid_out(np.zeros((m, n), dtype), layout)
                rk.matmul(A.copy(), B.copy(), bias.copy(), 0.3, again, False, packed)
                assert again.tobytes() == first.tobytes()


@DTYPES
def test_a_packed_operand_can_be_used_again(dtype):
    A, B, bias, _ = operands(np.random.default_rng(10), dtype, 6, 40, 70)
    packed = rk.matmul_pack(B)
    assert packed.ctypes.data % 64 == 0
    for rows in (6, 1, 3):
        expected = rk.matmul(A[:rows], B, bias, packed=True)
        assert rk.matmul(A[:rows], B, bias, packed=packed).tobytes() == expected.tobytes()


A, B = np.ones((3, 4)), np.ones((4, 5))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"A": [[1.0]]}, TypeError, "A must be a float32 or float64 array of 2 dimensions, got list"),
        ({"A": np.ones(4)}, TypeError, "A must be a float32 or float64 array of 2 dimensions, got ndarray"),
        ({"A": np.ones((3, 4), complex)}, TypeError, "A must be a float32 or float64 array .* complex128"),
        ({"A": np.ones((3, 4), ">f8")}, TypeError, "A must be a float32 or float64 array"),
        ({"B": np.ones((4, 5), np.float32)}, TypeError, "B must be float64 like A, got float32"),
        ({"B": np.ones((5, 4))}, ValueError, "B must have 4 rows"),
        ({"bias": np.ones(4)}, TypeError, "bias must be a C-contiguous float64 array"),
        ({"bias": np.ones(10)[::2]}, TypeError, "bias must be a C-contiguous float64 array"),
        ({"accumulate": True}, ValueError, "accumulate needs out"),
        ({"out": np.ones((5, 3))}, ValueError, r"out must have shape \(3, 5\), got \(5, 3\)"),
        ({"out": np.ones((3, 5), np.float32)}, TypeError, "out must be float64 like A"),
        ({"out": np.broadcast_to(1.0, (3, 5))}, ValueError, "out must be writeable"),
        ({"out": np.lib.stride_tricks.as_strided(np.ones(5), (3, 5), (0, 8))}, ValueError, "out must not repeat"),
        ({"A": A, "out": np.ones((4, 5))[:3], "B": None}, ValueError, "out must not share memory"),
        ({"packed": np.ones(19)}, TypeError, r"packed must be a C-contiguous float64 array \(20,\)"),
        ({"packed": 1}, TypeError, "packed must be a C-contiguous float64 array"),
        ({"A": np.ones(25, "f4")[1:].view("f8").reshape(3, 4)}, ValueError, "A must be aligned"),
    ],
)
def test_products_refuse_what_they_cannot_compute(arguments, error, match):
    arguments = {"A": A, "B": B, **arguments}
    if arguments["B"] is None:
        arguments["B"] = arguments["out"].base
    with pytest.raises(error, match=match):
        rk.matmul(**arguments)


@DTYPES
def test_packing_refuses_a_shape_of_more_bytes_than_an_address_counts(dtype):
    most = np.iinfo(np.intp).max // np.dtype(dtype).itemsize
    assert rk.matmul_packed_size(most, 1, dtype) == most
    assert rk.matmul_packed_size(2**62, 0, dtype) == rk.matmul_packed_size(0, 2**62, dtype) == 0
    for k, n in ((most + 1, 1), (1, most + 1), (2**32, 2**32), (2**62, 4), (-1, 1), (1, -1), (-1, -1)):
        with pytest.raises(ValueError, match="is too large to pack"):
            rk.matmul_packed_size(k, n, dtype)
