"""The elementwise kernels against NumPy: exactly, or to 4 units in the last place of longer arithmetic."""

import numpy as np
import pytest

from node_core._kernels import rk

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 512, 513]
LONG = np.finfo(np.longdouble).nmant > 60  # else nothing is longer than float64


def sigmoid(x):
    return np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def of_numpy(names):
    return {name: getattr(np, name) for name in names.split()}


# One rounding, as NumPy has it, or none.
EXACT_UNARY = {
    **of_numpy("negative absolute sign square reciprocal sqrt floor ceil rint trunc"),
    **of_numpy("isnan isinf isfinite signbit logical_not"),
    "cube": lambda x: x * x * x,
}
# Ours, written to vectorise, and libm's.
CLOSE_UNARY = {
    **of_numpy("exp exp2 expm1 log log2 log10 log1p sin cos tanh"),
    "sigmoid": sigmoid,
    "softplus": softplus,
    "tanh_slope": lambda x: 1 - x * x,
    **of_numpy("cbrt tan arcsin arccos arctan sinh cosh arcsinh arccosh arctanh"),
}
EXACT_BINARY = {
    **of_numpy("add subtract multiply divide maximum minimum fmax fmin remainder fmod floor_divide"),
    **of_numpy("equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor"),
}
CLOSE_BINARY = {**of_numpy("power arctan2 hypot logaddexp"), "tanh_back": lambda x, y: x * (1 - y * y)}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, 2.5, -1.5, 1e300, np.inf, -np.inf, np.nan, 5e-324, 7.0,
           -3.0, 1e-30, -1e30, 700.0, -745.0, 1e5, 1e9]  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def bit_patterns(dtype, n, seed=0):
    """Reals of all magnitudes alike: subnormal, infinite and NaN ones among them."""
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(unsigned).max, n, unsigned, endpoint=True).view(dtype)


def samples(dtype, n=12000):
    """All magnitudes, usual ones, around 0, 1 and multiples of pi/2, and where exp over- and underflows."""
    info, rng = np.finfo(dtype), np.random.default_rng(1)
    signs, scales = rng.uniform(-1, 1, n), 2.0 ** rng.integers(-info.nmant - 2, 0, n)
    edges = np.array([info.max, info.tiny, info.smallest_subnormal, 1 + info.eps, 1 - info.epsneg, 1e5, 708, 87.4, 745])
    limit = np.log(info.max) * 1.05
    parts = [
        bit_patterns(dtype, 4 * n),
        rng.uniform(-30, 30, n),
        rng.uniform(-1, 1, n),
        signs * scales,
        1 + signs * scales,
        np.round(rng.uniform(-1000, 1000, n)) * (np.pi / 2),
        rng.uniform(-limit, limit, n),
        rng.uniform(-1, 1, n) * info.tiny,
        *[np.linspace(*ends, 2000) for ends in ((-110, -80), (80, 95), (-760, -690), (690, 715))],
        np.concatenate([edges, -edges, SPECIAL]),
    ]
    return np.concatenate([part.astype(dtype) for part in parts])


def ulps(got, want):
    """The error in units in the last place of got's type at want; a subnormal's unit is the smallest subnormal."""
    info = np.finfo(got.dtype)
    want, found = want.astype(np.longdouble), got.astype(np.longdouble)
    beyond = np.ldexp(np.longdouble(1), info.maxexp)  # what infinity stands for beside a finite number
    found = np.where(np.isinf(found), np.copysign(beyond, found), found)
    bounded = np.where(np.abs(want) > beyond, np.copysign(beyond, want), want)
    exponent = np.frexp(np.maximum(np.abs(bounded), info.tiny))[1] - 1
    error = np.abs(found - bounded) / np.ldexp(np.longdouble(1), np.minimum(exponent, info.maxexp - 1) - info.nmant)
    return np.where(np.isnan(got) & np.isnan(want), 0, np.where(np.isnan(error), np.inf, error)).astype(float)


def assert_close(got, want, inputs, bound=4):
    error = ulps(got, want)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]:.2f} ulp at {[x[worst] for x in inputs]}: {got[worst]!r}"


def assert_same(got, want, zeros=True):
    """The same numbers, NaN where NaN is wanted and, with zeros, the same sign of 0."""
    np.testing.assert_array_equal(got, np.asarray(want, got.dtype))
    if zeros:
        number = ~np.isnan(got)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(np.asarray(want, got.dtype)[number]))


def longer(dtype):
    return np.float64 if dtype == np.float32 else np.longdouble


def pairs(dtype, n=6000):
    """x and y: all magnitudes, usual ones, whole and half y, and every pair of special values."""
    rng = np.random.default_rng(2)
    special = np.array(SPECIAL)
    x = [bit_patterns(dtype, n), rng.uniform(0, 10, n), rng.uniform(-10, 10, n), 1 + rng.uniform(-0.1, 0.1, n)]
    y = [
        bit_patterns(dtype, n, 1),
        rng.uniform(-30, 30, n),
        np.round(rng.uniform(-30, 30, n)),
        rng.uniform(-3e3, 3e3, n),
    ]
    x += [rng.uniform(-5, 5, n), np.repeat(special, len(special))]
    y += [np.round(rng.uniform(-9, 9, n)) / 2, np.tile(special, len(special))]
    return tuple(np.concatenate([part.astype(dtype) for part in parts]) for parts in (x, y))


def test_every_kernel_is_compared_with_numpy():
    assert sorted(rk.unary_codes()) == sorted([*EXACT_UNARY, *CLOSE_UNARY])
    assert sorted(rk.binary_codes()) == sorted([*EXACT_BINARY, *CLOSE_BINARY])


@DTYPES
@pytest.mark.parametrize("name", EXACT_UNARY)
def test_an_unary_kernel_of_one_rounding_equals_numpys(name, dtype):
    x = samples(dtype)
    assert_same(rk.unary(name, x), EXACT_UNARY[name](x))


@DTYPES
@pytest.mark.parametrize("name", CLOSE_UNARY)
def test_an_unary_kernel_is_within_4_ulp_over_the_whole_range(name, dtype):
    if dtype == np.float64 and not LONG:
        pytest.skip("needs a long double longer than double")
    x = samples(dtype)
    if name == "tanh_slope":  # 1 - x * x loses digits where x is 1, however it is rounded
        x = x[np.abs(np.abs(x) - 1) > 0.1]
    assert_close(rk.unary(name, x), CLOSE_UNARY[name](x.astype(longer(dtype))), [x])


@DTYPES
def test_sin_and_cos_stay_between_minus_one_and_one(dtype):
    tops = (np.arange(-2000, 2000) * np.pi / 2).astype(dtype)
    near = np.concatenate(
        [np.nextafter(tops, np.inf, dtype=dtype), tops, np.geomspace(1e-12, 1e-2, 200_001).astype(dtype)]
    )
    for name in ("sin", "cos"):
        assert np.abs(rk.unary(name, near)).max() == 1
        assert max(abs(rk.unary(name, x.reshape(1))[0]) for x in near[::97]) <= 1


@DTYPES
@pytest.mark.parametrize("name", [name for name in CLOSE_UNARY if hasattr(np, name)])
def test_an_unary_kernel_equals_numpys_at_zeros_infinities_and_nan(name, dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    want = getattr(np, name)(x)
    exact = np.isnan(want) | np.isinf(want) | (want == 0) | (np.abs(want) == 1)
    assert_same(rk.unary(name, x)[exact], want[exact])


@DTYPES
@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("log", [1.0, -1.0, -np.inf], [0.0, np.nan, np.nan]),
        ("log1p", [-1.0, -1.5], [-np.inf, np.nan]),
        ("log2", [0.125, 1.0, 1024.0], [-3.0, 0.0, 10.0]),
        ("exp2", [-3.0, 0.0, 10.0], [0.125, 1.0, 1024.0]),
        ("exp", [-1e4, 1e4], [0.0, np.inf]),
        ("expm1", [-1e4, 1e4], [-1.0, np.inf]),
        ("tanh", [-1e4, 1e4, 40.0], [-1.0, 1.0, 1.0]),
        ("sigmoid", [0.0, -np.inf, np.inf, -1e4, 1e4, np.nan], [0.5, 0.0, 1.0, 0.0, 1.0, np.nan]),
        ("softplus", [-np.inf, np.inf, -1e4, 1e4, np.nan], [0.0, np.inf, 0.0, 1e4, np.nan]),
        ("arccosh", [1.0, 0.5], [0.0, np.nan]),
        ("arctanh", [1.0, -1.0, 1.5], [np.inf, -np.inf, np.nan]),
        ("tanh_slope", [1.0, 0.0, np.nan], [0.0, 1.0, np.nan]),
    ],
)
def test_a_kernel_is_exact_where_its_function_is_simple(name, x, y, dtype):
    assert_same(rk.unary(name, np.array(x, dtype)), np.array(y, dtype))


@DTYPES
@pytest.mark.parametrize("name", [*EXACT_UNARY, *CLOSE_UNARY])
def test_an_unary_kernel_gives_the_same_bits_in_any_block_and_in_place(name, dtype):
    x = np.random.default_rng(3).uniform(0.1, 0.9, max(SIZES)).astype(dtype)
    whole = rk.unary(name, x)
    for n in SIZES:
        assert_same(rk.unary(name, x[:n].copy()), whole[:n])
        kept = x[:n].copy()
        assert rk.unary(name, kept, out=kept) is kept
        assert_same(kept, whole[:n])


@DTYPES
@pytest.mark.parametrize("name", [*EXACT_UNARY, *CLOSE_UNARY])
def test_an_unary_kernel_gives_one_number_the_bits_that_it_has_in_a_block(name, dtype):
    """Programs of few elements run element by element; the others in blocks."""
    x = samples(dtype)[::31].copy()
    assert_same(np.concatenate([rk.unary(name, one) for one in x[:, None]]), rk.unary(name, x))


@DTYPES
@pytest.mark.parametrize("name", [*EXACT_BINARY, *CLOSE_BINARY])
def test_a_binary_kernel_gives_one_pair_the_bits_that_it_has_in_a_block(name, dtype):
    x, y = (part[::17].copy() for part in pairs(dtype))
    each = np.concatenate([rk.binary(name, a, b) for a, b in zip(x[:, None], y[:, None], strict=True)])
    assert_same(each, rk.binary(name, x, y))
    each = np.concatenate([rk.binary(name, np.array(a), np.array(b)) for a, b in zip(x, y, strict=True)])
    assert_same(each, rk.binary(name, x, y))


@DTYPES
def test_a_power_has_the_same_bits_with_one_exponent_for_all(dtype):
    x = np.abs(samples(dtype, 300))
    for exponent in (2, 3, -1, 0.5, 0, 1, -2, 1.7, np.nan, np.inf):
        y = np.array(exponent, dtype)
        assert_same(rk.binary("power", x, y), rk.binary("power", x, np.full_like(x, y)))
        assert_same(rk.binary("power", y, x), rk.binary("power", np.full_like(x, y), x))


@DTYPES
@pytest.mark.parametrize("name", CLOSE_UNARY)
@pytest.mark.parametrize("hard", [np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30, 1e-40])
def test_a_hard_number_does_not_change_a_bit_of_the_others(name, hard, dtype):
    x = np.random.default_rng(4).uniform(0.1, 0.9, 1100).astype(dtype)
    alone = rk.unary(name, x)
    at = [5, 600, 1099]
    x[at] = hard
    got = rk.unary(name, x)
    assert_close(got, CLOSE_UNARY[name](x.astype(np.longdouble)), [x], 4 if LONG else 8)
    assert_same(np.delete(got, at), np.delete(alone, at))
    assert_same(rk.unary(name, x, out=x), got)


@DTYPES
@pytest.mark.parametrize("name", EXACT_BINARY)
def test_a_binary_kernel_of_one_rounding_equals_numpys(name, dtype):
    x, y = pairs(dtype)
    zeros = name not in ("maximum", "minimum", "fmax", "fmin")  # NumPy takes either of two zeros
    assert_same(rk.binary(name, x, y), EXACT_BINARY[name](x, y), zeros)


@DTYPES
@pytest.mark.parametrize("name", ["power", "arctan2", "hypot", "tanh_back"])
def test_a_binary_kernel_is_within_4_ulp_over_the_whole_range(name, dtype):
    if dtype == np.float64 and not LONG:
        pytest.skip("needs a long double longer than double")
    x, y = pairs(dtype)
    if name == "tanh_back":  # as tanh_slope; and y * y overflows where NumPy's longer numbers do not
        kept = (np.abs(np.abs(y) - 1) > 0.1) & ~(np.abs(y) > 1e3)
        x, y = x[kept], y[kept]
    want = CLOSE_BINARY[name](x.astype(longer(dtype)), y.astype(longer(dtype)))
    assert_close(rk.binary(name, x, y), want, [x, y])


@DTYPES
def test_logaddexp_is_within_4_ulp_of_its_larger_part(dtype):
    """Where the sum of the exponentials is near 1 its logarithm is near 0, and only absolutely exact."""
    x, y = pairs(dtype)
    got, want = rk.binary("logaddexp", x, y), np.logaddexp(x.astype(longer(dtype)), y.astype(longer(dtype)))
    finite = np.isfinite(want) & (np.abs(want) < np.finfo(dtype).max)
    error = np.abs(got[finite] - want[finite]) / np.maximum(np.maximum(x, y), np.abs(want).astype(dtype))[finite].clip(
        0.5
    )
    assert error.max() <= 4 * np.finfo(dtype).eps
    assert_same(got[~finite], want[~finite])


@DTYPES
def test_power_equals_numpys_at_special_values(dtype):
    special = np.array([s for s in SPECIAL if s != 1e300], dtype)
    x, y = np.repeat(special, len(special)), np.tile(special, len(special))
    got, want = rk.binary("power", x, y), np.power(x, y)
    exact = ~np.isfinite(want) | (want == 0) | (np.abs(want) == 1)
    assert_same(got[exact], want[exact])
    for exponent in special:
        one = rk.binary("power", special, np.array(exponent))
        want = np.power(special, np.full_like(special, exponent))
        np.testing.assert_allclose(one, want, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(np.signbit(one[~np.isnan(want)]), np.signbit(want[~np.isnan(want)]))


@DTYPES
@pytest.mark.parametrize("name", [*EXACT_BINARY, *CLOSE_BINARY])
def test_a_binary_kernel_gives_the_same_bits_in_any_block_with_steps_and_in_place(name, dtype):
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0.1, 3.0, (2, max(SIZES))).astype(dtype)
    whole = rk.binary(name, x, y)
    for n in SIZES:
        a, b = x[:n].copy(), y[:n].copy()
        assert_same(rk.binary(name, a, b), whole[:n])
        assert_same(rk.binary(name, a, b, out=a), whole[:n])
        assert_same(rk.binary(name, x[:n].copy(), b, out=b), whole[:n])
        one = np.array(x[1])
        assert_same(rk.binary(name, x[:n].copy(), one), rk.binary(name, x[:n].copy(), np.full(n, one)))
        assert_same(rk.binary(name, one, y[:n].copy()), rk.binary(name, np.full(n, one), y[:n].copy()))


@DTYPES
def test_where_chooses_as_numpy_does_with_every_step(dtype):
    rng = np.random.default_rng(6)
    for n in SIZES:
        c = np.array([0.0, -0.0, 1.0, np.nan, -2.0], dtype)[rng.integers(0, 5, n)]
        x, y = rng.normal(size=(2, n)).astype(dtype)
        one, two = np.array(3.0, dtype), np.array(-4.0, dtype)
        for a in (x, one):
            for b in (y, two):
                assert_same(rk.where(c, a, b), np.where(c, a, b).astype(dtype))
                for choice in (0.0, 1.0):
                    want = np.broadcast_to(a if choice else b, n if a is x or b is y else 1)
                    assert_same(rk.where(np.array(choice, dtype), a, b), want)
        for out in (c, x, y):
            want = np.where(c, x, y)
            assert_same(rk.where(c.copy(), x.copy(), y.copy()), want)
            copies = {id(array): array.copy() for array in (c, x, y)}
            target = copies[id(out)]
            assert_same(rk.where(copies[id(c)], copies[id(x)], copies[id(y)], out=target), want)


def test_what_a_kernel_cannot_do_is_refused():
    x, single = np.ones(2), np.ones(2, np.float32)
    with pytest.raises(TypeError, match="x must be a C-contiguous array of 1 dimensions, got ndarray"):
        rk.unary("exp", np.ones(6)[::2])
    with pytest.raises(TypeError, match="x and y must share one dtype, got float64 and float32"):
        rk.binary("add", x, single)
    with pytest.raises(TypeError, match="c, x and y must share one dtype, got float64, float64 and float32"):
        rk.where(x, x, single)
    with pytest.raises(TypeError, match="arrays must have at most one dimension, got 2"):
        rk.binary("add", x, np.ones((2, 2)))
    with pytest.raises(TypeError, match="out must be a C-contiguous float64 array"):
        rk.unary("exp", x, out=np.ones(4))


def test_the_bench_of_kernels_measures_errors_of_both(monkeypatch, capsys):
    from node_core.bench import elementwise

    monkeypatch.setattr(elementwise, "SAMPLES", 3000)
    monkeypatch.setattr(elementwise, "_nanoseconds", lambda run: run() is not None)
    elementwise.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows[::2]] == list(elementwise.FUNCTIONS)
    assert all(0 < float(error) < 8 for row in rows for error in row[4:])
