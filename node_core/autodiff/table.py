"""The primitives: every operation that has a derivative rule of its own, in one flat table.

Elementwise functions give their partial derivatives; both modes follow from those. The others give a VJP
rule and, beside it, a JVP rule. All that NumPy offers beyond these is written with them in `functions/`.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .primitive import conj, elementwise, match, nondifferentiable, primitive

LN2, LN10, DEGREE = float(np.log(2.0)), float(np.log(10.0)), float(np.pi / 180)


# --- helpers of the rules ---


def _where_zero(x: Any, instead: float) -> Any:
    """x with its zeros replaced, for a divisor or the argument of a logarithm."""
    return np.where(x == 0, np.asarray(instead, dtype=x.dtype if hasattr(x, "dtype") else None), x)


def _inverse(y: Any) -> Any:
    """1 / y; of a Python number a Python number, which takes the precision of what it meets."""
    return float(np.divide(1, y)) if type(y) in (int, float) else np.divide(1, y)


def _power_dx(out: Any, x: Any, y: Any) -> Any:
    """y x^(y-1), and 0 where y = 0 (there 0 * 0^-1 would be NaN)."""
    if isinstance(y, (int, float)):
        return 0.0 * x if y == 0 else (2.0 * x if y == 2 else y * x ** (y - 1))
    return y * x ** np.where(y == 0, 1, y - 1)


def _power_dy(out: Any, x: Any, y: Any) -> Any:
    """out log x, and 0 where x = 0."""
    return out * np.log(_where_zero(x + 0.0, 1.0))


def _share(wins: Any, ties: Any) -> Any:
    """Weight 1 where an operand wins, 1/2 where the two tie."""
    return wins + 0.5 * ties


def _arccosh_dx(out: Any, x: Any) -> Any:
    return 1 / (np.sqrt(x - 1) * np.sqrt(x + 1))  # this split has the right branch for complex x


def _logaddexp_dx(x: Any, out: Any) -> Any:
    """exp(x - out); where both arguments are -inf they share equally."""
    both = np.isneginf(out)
    return np.where(both, 0.5, np.exp(np.where(both, 0, x - np.where(both, 0, out))))


def _direction(x: Any, r: Any) -> Any:
    """x / |x|, and 0 at 0: the derivative of abs by convention."""
    return x / _where_zero(r, 1.0)


def _phase(x: Any, r: Any) -> Any:
    """The derivative of r = abs(x): its sign, or x / r of a complex x."""
    return _direction(x, r) if np.iscomplexobj(x) else np.sign(x)


def _keepdims(value: Any, x: Any, axis: tuple | None) -> Any:
    """A reduction's result with the reduced axes back, of length 1."""
    shape = np.shape(x)
    axes = range(len(shape)) if axis is None else axis
    return np.reshape(value, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _H(a: Any) -> Any:
    """The conjugate transpose of the last two axes."""
    return conj(np.swapaxes(a, -1, -2))


# --- arithmetic: on two Python scalars Python's own operators, so that they stay weakly typed ---

ADD = elementwise("add", operator.add, 1, 1)
SUBTRACT = elementwise("subtract", operator.sub, 1, -1)
MULTIPLY = elementwise("multiply", operator.mul, lambda out, x, y: y, lambda out, x, y: x)
DIVIDE = elementwise("divide", operator.truediv, lambda out, x, y: _inverse(y), lambda out, x, y: np.divide(-out, y))
POWER = elementwise("power", operator.pow, _power_dx, _power_dy)
NEGATIVE = elementwise("negative", operator.neg, -1)
REMAINDER = elementwise("remainder", operator.mod, 1, lambda out, x, y: -np.floor(x / y))
FMOD = elementwise("fmod", np.fmod, 1, lambda out, x, y: -np.trunc(x / y))

# --- exponentials and logarithms ---

EXP = elementwise("exp", np.exp, lambda out, x: out)
EXP2 = elementwise("exp2", np.exp2, lambda out, x: out * LN2)
EXPM1 = elementwise("expm1", np.expm1, lambda out, x: out + 1)
LOG = elementwise("log", np.log, lambda out, x: np.divide(1, x))
LOG2 = elementwise("log2", np.log2, lambda out, x: np.divide(1, x * LN2))
LOG10 = elementwise("log10", np.log10, lambda out, x: np.divide(1, x * LN10))
LOG1P = elementwise("log1p", np.log1p, lambda out, x: np.divide(1, x + 1))
LOGADDEXP = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda out, x, y: _logaddexp_dx(x, out),
    lambda out, x, y: _logaddexp_dx(y, out),
)
SQRT = elementwise("sqrt", np.sqrt, lambda out, x: 0.5 / out)
CBRT = elementwise("cbrt", np.cbrt, lambda out, x: 1 / (3 * out * out))
SQUARE = elementwise("square", np.square, lambda out, x: 2 * x)
RECIPROCAL = elementwise("reciprocal", np.reciprocal, lambda out, x: -out * out)

# --- trigonometric and hyperbolic ---

SIN = elementwise("sin", np.sin, lambda out, x: np.cos(x))
COS = elementwise("cos", np.cos, lambda out, x: -np.sin(x))
TAN = elementwise("tan", np.tan, lambda out, x: 1 + out * out)
ARCSIN = elementwise("arcsin", np.arcsin, lambda out, x: 1 / np.sqrt(1 - x * x))
ARCCOS = elementwise("arccos", np.arccos, lambda out, x: -1 / np.sqrt(1 - x * x))
ARCTAN = elementwise("arctan", np.arctan, lambda out, x: 1 / (1 + x * x))
ARCTAN2 = elementwise(
    "arctan2", np.arctan2, lambda out, y, x: np.divide(x, x * x + y * y), lambda out, y, x: np.divide(-y, x * x + y * y)
)
HYPOT = elementwise("hypot", np.hypot, lambda out, x, y: _direction(x, out), lambda out, x, y: _direction(y, out))
SINH = elementwise("sinh", np.sinh, lambda out, x: np.cosh(x))
COSH = elementwise("cosh", np.cosh, lambda out, x: np.sinh(x))
TANH = elementwise("tanh", np.tanh, lambda out, x: 1 - out * out)
ARCSINH = elementwise("arcsinh", np.arcsinh, lambda out, x: 1 / np.sqrt(x * x + 1))
ARCCOSH = elementwise("arccosh", np.arccosh, _arccosh_dx)
ARCTANH = elementwise("arctanh", np.arctanh, lambda out, x: np.divide(1, 1 - x * x))
DEG2RAD = elementwise("deg2rad", np.deg2rad, DEGREE)
RAD2DEG = elementwise("rad2deg", np.rad2deg, 1 / DEGREE)

# --- choosing: ties share equally ---

MAXIMUM = elementwise(
    "maximum", np.maximum, lambda out, x, y: _share(x > y, x == y), lambda out, x, y: _share(y > x, x == y)
)
MINIMUM = elementwise(
    "minimum", np.minimum, lambda out, x, y: _share(x < y, x == y), lambda out, x, y: _share(y < x, x == y)
)
FMAX = elementwise(
    "fmax",
    np.fmax,
    lambda out, x, y: _share((x > y) | np.isnan(y), x == y),
    lambda out, x, y: _share((y > x) | np.isnan(x), x == y),
)
FMIN = elementwise(
    "fmin",
    np.fmin,
    lambda out, x, y: _share((x < y) | np.isnan(y), x == y),
    lambda out, x, y: _share((y < x) | np.isnan(x), x == y),
)
WHERE = primitive(
    "where",
    np.where,
    vjp=(
        None,
        lambda g, out, c, x, y: match(np.where(c, g, 0), x),
        lambda g, out, c, x, y: match(np.where(c, 0, g), y),
    ),
    jvp=(None, lambda t, out, c, x, y: np.where(c, t, 0), lambda t, out, c, x, y: np.where(c, 0, t)),
)

# --- complex numbers; the cotangent of z is dL/dx + i dL/dy ---

ABS = primitive(
    "absolute",
    np.absolute,
    vjp=lambda g, out, x: match(g * _phase(x, out), x),
    jvp=lambda t, out, x: np.real(t * conj(_phase(x, out))),
)
REAL = primitive("real", np.real, vjp=lambda g, out, x: match(g, x), jvp=lambda t, out, x: np.real(t))
IMAG = primitive("imag", np.imag, vjp=lambda g, out, x: match(1j * g, x), jvp=lambda t, out, x: np.imag(t))
CONJ = primitive(
    "conjugate", np.conjugate, vjp=lambda g, out, x: match(np.conj(g), x), jvp=lambda t, out, x: np.conj(t)
)
CAST = primitive(
    "astype",
    lambda x, dtype: np.asarray(x).astype(dtype)[()],
    vjp=lambda g, out, x, dtype: match(g, x),
    jvp=lambda t, out, x, dtype: CAST(t, dtype=dtype),
)

# --- reductions: axis is None or a tuple of non-negative ints ---


def _share_max(out: Any, x: Any, axis: tuple | None) -> Any:
    """Where a maximum (minimum) over axes is attained, divided by how often."""
    hit = x == _keepdims(out, x, axis)
    return match(hit / _keepdims(np.sum(hit, axis=axis), x, axis), x)


def _max_vjp(g: Any, out: Any, x: Any, axis: tuple | None) -> Any:
    return _keepdims(g, x, axis) * _share_max(out, x, axis)


def _max_jvp(t: Any, out: Any, x: Any, axis: tuple | None) -> Any:
    return np.sum(t * _share_max(out, x, axis), axis=axis)


def _sum_vjp(g: Any, out: Any, x: Any, axis: tuple | None) -> Any:
    if axis is None and isinstance(g, np.floating) and type(x) is np.ndarray and x.dtype == g.dtype:
        return np.full(x.shape, g)  # a loss's last sum, in one call
    return match(_keepdims(g, x, axis), x, spread=True)


SUM = primitive(
    "sum",
    np.sum,
    vjp=_sum_vjp,
    jvp=lambda t, out, x, axis: np.sum(t, axis=axis),
)
MAX = primitive("max", np.max, vjp=_max_vjp, jvp=_max_jvp)
MIN = primitive("min", np.min, vjp=_max_vjp, jvp=_max_jvp)
CUMSUM = primitive(
    "cumsum",
    np.cumsum,
    vjp=lambda g, out, x, axis: np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis),
    jvp=lambda t, out, x, axis: np.cumsum(t, axis=axis),
)

# --- shape ---

RESHAPE = primitive(
    "reshape",
    lambda x, shape: np.reshape(x, shape),
    vjp=lambda g, out, x, shape: np.reshape(g, np.shape(x)),
    jvp=lambda t, out, x, shape: np.reshape(t, shape),
)
TRANSPOSE = primitive(
    "transpose",
    np.transpose,
    vjp=lambda g, out, x, axes: np.transpose(g, tuple(np.argsort(axes))),
    jvp=lambda t, out, x, axes: np.transpose(t, axes),
)
BROADCAST = primitive(
    "broadcast_to",
    lambda x, shape: np.broadcast_to(x, shape),
    vjp=lambda g, out, x, shape: match(g, x),
    jvp=lambda t, out, x, shape: np.broadcast_to(t, shape),
)


def _concatenate_vjp(position: int, g: Any, out: Any, *xs: Any, axis: int) -> Any:
    start = sum(np.shape(x)[axis] for x in xs[:position])
    stop = start + np.shape(xs[position])[axis]
    return match(g[(slice(None),) * axis + (slice(start, stop),)], xs[position])


def _concatenate_jvp(position: int, t: Any, out: Any, *xs: Any, axis: int) -> Any:
    parts = [t if i == position else np.zeros(np.shape(x), t.dtype) for i, x in enumerate(xs)]
    return np.concatenate(parts, axis=axis)


CONCATENATE = primitive(
    "concatenate", lambda *xs, axis: np.concatenate(xs, axis=axis), vjp=_concatenate_vjp, jvp=_concatenate_jvp
)

# --- indexing: `index` is a tuple in which ArraySlot(k) stands for the k-th operand after x ---


class ArraySlot(int):
    """The place of an index array within an index tuple."""


def _fill(index: tuple, arrays: tuple) -> tuple:
    return tuple([arrays[i] if type(i) is ArraySlot else i for i in index]) if arrays else index


def _scatter(g: Any, *arrays: Any, index: tuple, shape: tuple) -> np.ndarray:
    """Zeros of `shape` with g added at `index`; an element that was taken twice gets the sum."""
    x = np.zeros(shape, np.asarray(g).dtype)
    if arrays:
        np.add.at(x, _fill(index, arrays), g)
    else:
        x[index] = g
    return x


GETITEM = primitive(
    "getitem",
    lambda x, *arrays, index: np.asarray(x)[_fill(index, arrays)],
    vjp=lambda g, out, x, *arrays, index: SCATTER(g, *arrays, index=index, shape=np.shape(x)),
    jvp=lambda t, out, x, *arrays, index: GETITEM(t, *arrays, index=index),
)
SCATTER = primitive(
    "scatter",
    _scatter,
    vjp=lambda g, out, x, *arrays, index, shape: GETITEM(g, *arrays, index=index),
    jvp=lambda t, out, x, *arrays, index, shape: SCATTER(t, *arrays, index=index, shape=shape),
)

# --- linear algebra (Giles 2008; cholesky: Murray 2016) ---


def _matmul_dx(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(y) == 1:
        return match(g[..., None] * conj(y), x)
    if np.ndim(x) == 1:
        return match(conj(y) @ g if np.ndim(y) == 2 else (conj(y) @ g[..., :, None])[..., 0], x)
    return match(g @ _H(y), x)


def _matmul_dy(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(x) == 1:
        if np.ndim(y) == 2:
            return match(np.reshape(conj(x), (-1, 1)) * g, y)
        return match(conj(x)[:, None] * g[..., None, :], y) if np.ndim(y) > 1 else match(conj(x) * g, y)
    if np.ndim(y) == 1:
        return match(_H(x) @ g if np.ndim(x) == 2 else (_H(x) @ g[..., :, None])[..., 0], y)
    return match(_H(x) @ g, y)


def _einsum_vjp(position: int, g: Any, out: Any, *xs: Any, subscripts: str) -> Any:
    """The cotangent of one operand is an einsum of g with the others; see `functions.products.einsum` for the form."""
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    others = [i for i in range(len(xs)) if i != position]
    spec = ",".join([output] + [terms[i] for i in others]) + "->" + terms[position]
    return match(np.einsum(spec, g, *[conj(xs[i]) for i in others]), xs[position])


def _einsum_jvp(position: int, t: Any, out: Any, *xs: Any, subscripts: str) -> Any:
    return np.einsum(subscripts, *xs[:position], t, *xs[position + 1 :])


def _cholesky_jvp(t: Any, L: Any) -> Any:
    """L phi(L^-1 A' L^-H), phi the lower triangle with its diagonal halved."""
    middle = np.linalg.solve(L, _H(np.linalg.solve(L, _H((t + _H(t)) / 2))))
    return L @ (np.tril(middle) * _halved(L))


def _cholesky_vjp(g: Any, L: Any) -> Any:
    middle = np.tril(_H(L) @ g) * _halved(L)
    S = np.linalg.solve(_H(L), _H(np.linalg.solve(_H(L), _H(middle))))
    return (S + _H(S)) / 2


def _halved(L: Any) -> np.ndarray:
    n = np.shape(L)[-1]
    return np.ones((n, n), L.dtype) - 0.5 * np.eye(n, dtype=L.dtype)


def _solve(A: Any, r: Any, b: Any) -> Any:
    """A^-1 r, where r is a vector (or a stack of vectors) exactly if the primal right-hand side b was one."""
    return np.linalg.solve(A, r[..., None])[..., 0] if np.ndim(b) == 1 else np.linalg.solve(A, r)


def _solve_dA(g: Any, out: Any, A: Any, b: Any) -> Any:
    gb = _solve(_H(A), g, b)
    return match(-gb[..., :, None] * conj(out)[..., None, :] if np.ndim(b) == 1 else -gb @ _H(out), A)


def _solve_tA(t: Any, out: Any, A: Any, b: Any) -> Any:
    return -_solve(A, (t @ out[..., None])[..., 0] if np.ndim(b) == 1 else t @ out, b)


def _trace_with(inverse: Any, t: Any) -> Any:
    """tr(A^-1 A')."""
    return np.sum(inverse * np.swapaxes(t, -1, -2), axis=(-2, -1))


def _adjugate(A: Any) -> Any:
    """adj A, the transposed cofactors, also where A is singular: det(U) det(V^H) V adj(S) U^H from A = U S V^H."""
    U, s, Vh = np.linalg.svd(A)  # s (..., n)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(axis=-1)  # (..., n): all singular values but one
    sign = np.linalg.det(U) * np.linalg.det(Vh)
    return (sign[..., None, None] * (_H(Vh) * others[..., None, :])) @ _H(U)


def _adjugate_vjp(g: Any, out: Any, A: Any) -> Any:
    """From d adj = tr(adj A') A^-1 - A^-1 A' adj; unlike adj itself it needs A regular."""
    inverse = np.linalg.inv(A)
    along = np.sum(g * conj(inverse), axis=(-2, -1))
    return match(along[..., None, None] * _H(out) - _H(inverse) @ g @ _H(out), A)


def _adjugate_jvp(t: Any, out: Any, A: Any) -> Any:
    inverse = np.linalg.inv(A)
    return _trace_with(out, t)[..., None, None] * inverse - inverse @ t @ out


def _phase_rate(t: Any, A: Any) -> Any:
    return 1j * np.imag(_trace_with(np.linalg.inv(A), t))


MATMUL = primitive(
    "matmul",
    np.matmul,
    vjp=(_matmul_dx, _matmul_dy),
    jvp=(lambda t, out, x, y: t @ y, lambda t, out, x, y: x @ t),
)
EINSUM = primitive("einsum", lambda *xs, subscripts: np.einsum(subscripts, *xs), vjp=_einsum_vjp, jvp=_einsum_jvp)
SOLVE = primitive(
    "linalg.solve",
    np.linalg.solve,
    vjp=(_solve_dA, lambda g, out, A, b: match(_solve(_H(A), g, b), b)),
    jvp=(_solve_tA, lambda t, out, A, b: np.linalg.solve(A, t)),
)
INV = primitive(
    "linalg.inv",
    np.linalg.inv,
    vjp=lambda g, out, A: -_H(out) @ g @ _H(out),
    jvp=lambda t, out, A: -out @ t @ out,
)
ADJUGATE = primitive("linalg.adjugate", _adjugate, vjp=_adjugate_vjp, jvp=_adjugate_jvp)
DET = primitive(
    "linalg.det",
    np.linalg.det,
    vjp=lambda g, out, A: np.reshape(g, (*np.shape(g), 1, 1)) * _H(ADJUGATE(A)),
    jvp=lambda t, out, A: _trace_with(ADJUGATE(A), t),
)
LOGABSDET = primitive(
    "linalg.logabsdet",
    lambda A: np.linalg.slogdet(A)[1],
    vjp=lambda g, out, A: g[..., None, None] * _H(np.linalg.inv(A)),
    jvp=lambda t, out, A: np.real(_trace_with(np.linalg.inv(A), t)),
)
SIGNDET = primitive(
    "linalg.signdet",
    lambda A: np.linalg.slogdet(A)[0],
    vjp=lambda g, out, A: match(1j * np.imag(g * conj(out))[..., None, None] * _H(np.linalg.inv(A)), A),
    jvp=lambda t, out, A: match(out * _phase_rate(t, A), out),
)
CHOLESKY = primitive(
    "linalg.cholesky",
    np.linalg.cholesky,
    vjp=lambda g, out, A: _cholesky_vjp(g, out),
    jvp=lambda t, out, A: _cholesky_jvp(t, out),
)

# --- piecewise constant: derivative zero; a graph still records them ---

for _ufunc in (
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.logical_and, np.logical_or,
    np.logical_not, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.isnan, np.isinf,
    np.isfinite, np.signbit, np.floor, np.ceil, np.rint, np.trunc, np.floor_divide, np.sign,
):  # fmt: skip
    nondifferentiable(_ufunc.__name__, _ufunc)
for _function in (np.argmax, np.argmin, np.argsort, np.any, np.all, np.count_nonzero, np.searchsorted, np.round,
                  np.isneginf, np.isposinf, np.isclose, np.allclose, np.array_equal, np.nonzero):  # fmt: skip
    nondifferentiable(_function.__name__, _function)
nondifferentiable("integer_cast", lambda x, dtype: np.asarray(x).astype(dtype)[()])
STOP = nondifferentiable("stop_gradient", lambda x: x)
