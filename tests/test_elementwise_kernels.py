"""Every elementwise kernel against NumPy and longer arithmetic: values, special values, sizes, in blocks."""

import numpy as np
import pytest

from node_core._kernels import rk

DTYPES = [np.float32, np.float64]
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 512, 513]
# Ours, written to vectorise; the rest is one operation or libm's.
OURS = ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tanh", "sigmoid", "softplus", "sqrt"]
LIBM = ["cbrt", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "arccosh", "arctanh"]
EXACT = ["negative", "absolute", "sign", "square", "reciprocal", "floor", "ceil", "rint", "trunc", "isnan", "isinf",
         "isfinite", "signbit", "logical_not"]  # fmt: skip
EXACT_PAIRS = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "fmin", "remainder", "fmod",
               "floor_divide", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
               "logical_or", "logical_xor"]  # fmt: skip
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, np.inf, -np.inf, np.nan, 1e-30, -1e30, 700.0, -745.0, 1e5, 1e9]


def longer(name, x):
    """The function in longer arithmetic: float64 for float32, long double for float64."""
    with np.errstate(all="ignore"):
        x = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
        if name == "sigmoid":
            return np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x)))
        if name == "softplus":
            return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        return getattr(np, name)(x)


def in_ulp(got, want, dtype):
    """The largest error in units in the last place of the result; infinite where NaN or infinity differ."""
    with np.errstate(all="ignore"):
        rounded = want.astype(dtype)
        special = ~np.isfinite(rounded) | ~np.isfinite(got)
        differ = special & ~((got == rounded) | (np.isnan(got) & np.isnan(rounded)))
        # one past the largest number is infinite: within an ulp of it both are right
        near = np.isinf(rounded) ^ np.isinf(got)
        largest = np.finfo(dtype).max
        differ &= ~(near & (np.where(np.isinf(rounded), np.abs(got), np.abs(rounded)) > largest * 0.999999))
        ulp = np.spacing(np.abs(np.where(special, 1, rounded))).astype(want.dtype)
        error = np.where(special, 0, np.abs(got.astype(want.dtype) - want) / ulp)
    return np.inf if differ.any() else float(error.max(initial=0))


def samples(dtype):
    """Every magnitude there is, and the ranges where these functions are hard."""
    rng = np.random.default_rng(0)
    bits = np.uint32 if dtype == np.float32 else np.uint64
    anything = rng.integers(0, np.iinfo(bits).max, 20_000, dtype=bits, endpoint=True).view(dtype)
    edges = np.concatenate([np.linspace(a, b, 2000) for a, b in ((-110, -80), (80, 95), (-760, -690), (690, 715))])
    near_one = 1 + rng.standard_normal(4000) * 10.0 ** rng.uniform(-15, -0.3, 4000)
    tiny = rng.standard_normal(4000) * 10.0 ** rng.uniform(-300, 0, 4000)
    with np.errstate(all="ignore"):
        parts = [
            rng.uniform(-30, 30, 20_000),
            rng.uniform(-3, 3, 20_000),
            edges,
            near_one,
            -near_one,
            tiny,
            np.pi * np.arange(-200, 200) / 2,
        ]
        return np.concatenate([anything, *[p.astype(dtype) for p in parts]])


def test_the_tables_hold_every_name_that_is_tested():
    assert {*OURS, *LIBM, *EXACT, "cube", "tanh_slope"} == set(rk.unary_codes())
    assert {*EXACT_PAIRS, "power", "arctan2", "hypot", "logaddexp"} == set(rk.binary_codes())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OURS + LIBM)
def test_functions_are_within_four_ulp_over_the_whole_range(name, dtype):
    x = samples(dtype)
    assert in_ulp(rk.unary(name, x), longer(name, x), dtype) <= 4.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OURS + LIBM)
def test_special_values_are_numpys_with_the_sign_of_zero(name, dtype):
    x = np.array(SPECIAL, dtype)
    with np.errstate(all="ignore"):
        want = longer(name, x).astype(dtype)
    got = rk.unary(name, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
    zero = want == 0
    np.testing.assert_array_equal(got[zero], 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_exact_operations_equal_numpy(name, dtype):
    x = np.concatenate([np.array(SPECIAL, dtype), samples(dtype)[::7]])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(rk.unary(name, x), getattr(np, name)(x).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT_PAIRS)
def test_exact_operations_of_two_equal_numpy(name, dtype):
    special = np.array(SPECIAL, dtype)
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    rng = np.random.default_rng(1)
    x, y = (
        np.concatenate([x, rng.uniform(-9, 9, 999).astype(dtype)]),
        np.concatenate([y, rng.uniform(-9, 9, 999).astype(dtype)]),
    )
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y).astype(dtype)
    np.testing.assert_array_equal(rk.binary(name, x, y), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["power", "arctan2", "hypot", "logaddexp"])
def test_functions_of_two_are_within_four_ulp_and_treat_special_values_as_numpy(name, dtype):
    special = np.array(SPECIAL, dtype)
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    rng = np.random.default_rng(1)
    x = np.concatenate([x, np.exp(rng.uniform(-20, 20, 5000)), rng.uniform(0.99, 1.01, 5000)]).astype(dtype)
    y = np.concatenate([y, rng.uniform(-20, 20, 10_000)]).astype(dtype)
    wide = np.float64 if dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x.astype(wide), y.astype(wide))
    got = rk.binary(name, x, y)
    if name == "logaddexp":  # where the sum of its two terms cancels, an error of their rounding is left
        small = np.abs(want) < np.maximum(np.abs(x), np.abs(y))
        eps = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(got[small], want[small], rtol=eps, atol=20 * eps)
        got, want = got[~small], want[~small]
    assert in_ulp(got, want, dtype) <= 4.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_every_size_gives_the_values_of_single_elements(n, dtype):
    rng = np.random.default_rng(n)
    x, y = rng.uniform(0.1, 0.9, (2, n)).astype(dtype)
    for name in rk.unary_codes():
        each = [rk.unary(name, x[i : i + 1])[0] for i in range(n)]
        np.testing.assert_allclose(rk.unary(name, x), each, rtol=4 * np.finfo(dtype).eps)
    for name in rk.binary_codes():
        for a, b in ((x, y), (x, y[:1]), (x[:1], y)):
            if n:
                each = [rk.binary(name, a[min(i, len(a) - 1)][None], b[min(i, len(b) - 1)][None])[0] for i in range(n)]
                np.testing.assert_allclose(rk.binary(name, a, b), each, rtol=8 * np.finfo(dtype).eps)


def test_a_pair_of_two_dtypes_is_refused():
    with pytest.raises(TypeError, match="x and y must share one dtype, got float64 and float32"):
        rk.binary("add", np.ones(2), np.ones(2, np.float32))
