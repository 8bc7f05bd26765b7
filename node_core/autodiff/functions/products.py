"""Products: dot, tensordot, einsum, and linear algebra."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import table as T
from ..node import lift
from ..primitive import conj
from .indexing import diagonal
from .reductions import largest, smallest, total
from .registry import normal_axis, numpy_name

__all__: list[str] = []


@numpy_name(np.dot)
def dot(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return T.MULTIPLY(a, b)
    if np.ndim(b) <= 2:
        return T.MATMUL(a, b)
    return tensordot(a, b, ([np.ndim(a) - 1], [np.ndim(b) - 2]))


@numpy_name(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    return T.MATMUL(conj(np.ravel(lift(a))), np.ravel(lift(b)))


@numpy_name(np.inner)
def inner(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return T.MULTIPLY(a, b)
    return tensordot(a, b, ([np.ndim(a) - 1], [np.ndim(b) - 1]))


@numpy_name(np.outer)
def outer(a: Any, b: Any) -> Any:
    return np.ravel(lift(a))[:, None] * np.ravel(lift(b))


@numpy_name(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = lift(a), lift(b)
    if isinstance(axes, (int, np.integer)):
        axes = (range(np.ndim(a) - int(axes), np.ndim(a)), range(int(axes)))
    summed_a, summed_b = (
        [normal_axis(i, ndim) for i in (ax if hasattr(ax, "__iter__") else [ax])]
        for ax, ndim in zip(axes, (np.ndim(a), np.ndim(b)), strict=True)
    )
    rest_a = [i for i in range(np.ndim(a)) if i not in summed_a]
    rest_b = [i for i in range(np.ndim(b)) if i not in summed_b]
    shape = tuple(a.shape[i] for i in rest_a) + tuple(b.shape[i] for i in rest_b)
    k = math.prod(a.shape[i] for i in summed_a)
    left = np.reshape(np.transpose(a, rest_a + summed_a), (math.prod(a.shape[i] for i in rest_a), k))
    right = np.reshape(np.transpose(b, summed_b + rest_b), (k, math.prod(b.shape[i] for i in rest_b)))
    return np.reshape(T.MATMUL(left, right), shape)


@numpy_name(np.kron)
def kron(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    ndim = max(np.ndim(a), np.ndim(b))
    sa, sb = ((1,) * (ndim - np.ndim(x)) + np.shape(x) for x in (a, b))
    wide = np.reshape(a, [n for s in sa for n in (s, 1)]) * np.reshape(b, [n for s in sb for n in (1, s)])
    return np.reshape(wide, [m * n for m, n in zip(sa, sb, strict=True)])


@numpy_name(np.einsum)
def einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Any:
    """Brought to the form the primitive's rules want, then handed to it.

    In that form the output is explicit, no operand repeats a letter, and each letter of an operand also
    occurs in another operand or in the output.
    """
    if not isinstance(subscripts, str):
        raise TypeError("np.einsum: give the subscripts as a string on a traced value")
    xs = [lift(x) for x in operands]
    terms, output = _einsum_terms(subscripts.replace(" ", ""), [np.ndim(x) for x in xs])
    for i, term in enumerate(terms):
        while len(set(term)) < len(term):  # a repeated letter: its diagonal
            letter = next(c for c in term if term.count(c) > 1)
            first, second = (p for p, c in enumerate(term) if c == letter and p in _first_two(term, letter))
            xs[i] = diagonal(xs[i], 0, first, second)
            term = "".join(c for p, c in enumerate(term) if p not in (first, second)) + letter
        others = set(output).union(*(terms[:i] + terms[i + 1 :]))
        alone = tuple(p for p, c in enumerate(term) if c not in others)
        if alone:  # summed over in this operand only
            xs[i] = total(xs[i], axis=alone)
            term = "".join(c for p, c in enumerate(term) if p not in alone)
        terms[i] = term
    return T.EINSUM(*xs, subscripts=",".join(terms) + "->" + output)


def _first_two(term: str, letter: str) -> list[int]:
    return [p for p, c in enumerate(term) if c == letter][:2]


def _einsum_terms(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Terms and output with every ellipsis spelled out in capital letters not used elsewhere."""
    inputs, arrow, output = subscripts.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"np.einsum: {len(terms)} terms in {subscripts!r} for {len(ndims)} operands")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts]
    spans = [n - len(t) + 3 if "..." in t else 0 for t, n in zip(terms, ndims, strict=True)]
    dots = "".join(free[: max(spans, default=0)])
    letters = [c for c in sorted(set(inputs)) if c.isalpha()]
    terms = [t.replace("...", dots[len(dots) - s :]) for t, s in zip(terms, spans, strict=True)]
    for term, ndim in zip(terms, ndims, strict=True):
        if len(term) != ndim:
            raise ValueError(f"np.einsum: term {term!r} of {subscripts!r} for an operand of {ndim} axes")
    if not arrow:
        once = "".join(c for c in letters if inputs.count(c) == 1)
        return terms, dots + once
    return terms, output.replace("...", dots)


@numpy_name(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    return T.SOLVE(lift(a), lift(b))


@numpy_name(np.linalg.inv)
def inv(a: Any) -> Any:
    return T.INV(a)


@numpy_name(np.linalg.det)
def det(a: Any) -> Any:
    return T.DET(a)


@numpy_name(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    return type(np.linalg.slogdet(np.eye(1)))(T.SIGNDET(a), T.LOGABSDET(a))


@numpy_name(np.linalg.cholesky)
def cholesky(a: Any) -> Any:
    """The lower factor; the gradient is the symmetric one, as if a were written (a + a^H) / 2."""
    return T.CHOLESKY(a)


@numpy_name(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, *, keepdims: Any = False) -> Any:
    """Vector norms of every order, and of matrices 'fro', 1, -1, inf and -inf. The derivative at 0 is 0."""
    x = lift(x)
    if axis is None and ord is not None and np.ndim(x) not in (1, 2):
        raise ValueError(f"np.linalg.norm: with ord={ord!r} and no axis, x must be 1-D or 2-D, got {np.ndim(x)}-D")
    if axis is None and (ord is None or np.ndim(x) == 1):
        axes: tuple = tuple(range(np.ndim(x)))
    else:
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,) if axis is not None else (0, 1)
    if len(axes) == 1 and ord is not None and ord != 2:
        out = _vector_norm(np.abs(x), ord, axes)
    elif ord in (None, "fro") or (ord == 2 and len(axes) == 1):
        squares = T.REAL(conj(x) * x) if np.iscomplexobj(x) else x * x
        out = _root(total(squares, axes, keepdims=True), 0.5)
    elif len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        rows, columns = axes if abs(ord) == 1 else axes[::-1]
        extreme = largest if ord > 0 else smallest
        out = extreme(total(np.abs(x), rows, keepdims=True), columns, keepdims=True)
    else:
        raise TypeError(
            f"np.linalg.norm: ord={ord!r} over axes {axes} is not supported on a traced value; of a matrix there are "
            "'fro', 1, -1, np.inf and -np.inf, of a vector all numbers"
        )
    return out if keepdims else np.squeeze(out, axes)


def _vector_norm(r: Any, ord: Any, axes: tuple) -> Any:
    if ord in (np.inf, -np.inf):
        return (largest if ord > 0 else smallest)(r, axes, keepdims=True)
    if ord == 0:
        return total(1.0 * (r != 0), axes, keepdims=True)
    return total(r, axes, keepdims=True) if ord == 1 else _root(total(r**ord, axes, keepdims=True), 1.0 / ord)


def _root(x: Any, power: float) -> Any:
    """x^power with derivative 0 at 0."""
    inside = np.where(x == 0, 1, x)
    return np.where(x == 0, 0, T.SQRT(inside) if power == 0.5 else inside**power)
