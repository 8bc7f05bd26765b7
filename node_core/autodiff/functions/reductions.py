"""Sums, extremes, products and moments over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import table as T
from ..node import concrete, lift
from ..primitive import conj
from .registry import count, normal_axes, normal_axis, numpy_name

__all__ = ["largest", "smallest", "total"]


def _converted(a: Any, dtype: Any, name: str) -> Any:
    """The operand in the dtype in which a reduction is asked to work."""
    if dtype is None:
        return lift(a)
    if np.dtype(dtype).kind not in "fc":
        raise TypeError(f"np.{name}: dtype={np.dtype(dtype)} has no derivative; write np.{name}(y).astype(dtype)")
    a = lift(a)
    return (a if hasattr(a, "astype") else np.asarray(a)).astype(dtype)


def _masked(a: Any, where: Any, instead: float) -> Any:
    return a if where is True else np.where(where, a, instead)


@numpy_name(np.sum)
def total(
    a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    a = _masked(_converted(a, dtype, "sum"), where, 0)
    axes = normal_axes(axis, np.ndim(a))
    out = T.SUM(a, axis=axes)
    out = T._keepdims(out, a, axes) if keepdims else out
    return out if initial is None else out + initial


def _extreme(primitive: Any, choose: Callable, worst: float) -> Callable:
    def reduce(a: Any, axis: Any = None, *, keepdims: Any = False, initial: Any = None, where: Any = True) -> Any:
        if where is not True and initial is None:
            raise ValueError(f"np.{primitive.name}: where= needs initial=, the result where the mask is all False")
        a = _masked(lift(a), where, worst)
        axes = normal_axes(axis, np.ndim(a))
        if initial is not None and not count(np.shape(a), axes):
            out = total(a, axes) + worst  # of nothing
        else:
            out = primitive(a, axis=axes)
        out = T._keepdims(out, a, axes) if keepdims else out
        return out if initial is None else choose(out, lift(initial))

    return reduce


largest = numpy_name(np.max, np.amax)(_extreme(T.MAX, T.MAXIMUM, -np.inf))
smallest = numpy_name(np.min, np.amin)(_extreme(T.MIN, T.MINIMUM, np.inf))


@numpy_name(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False, where: Any = True) -> Any:
    a = _converted(a, dtype, "mean")
    if where is True:
        return total(a, axis, keepdims=keepdims) / count(np.shape(a), normal_axes(axis, np.ndim(a)))
    taken = np.where(where, np.ones(np.shape(a), np.asarray(concrete(a)).real.dtype), 0)
    return total(a, axis, keepdims=keepdims, where=where) / total(taken, axis, keepdims=keepdims)


@numpy_name(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, *, keepdims: Any = False) -> Any:
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    a, weights = lift(a), lift(weights)
    if np.shape(weights) != np.shape(a):
        weights = np.reshape(weights, [n if i == normal_axis(axis, a.ndim) else 1 for i, n in enumerate(a.shape)])
    weights = np.broadcast_to(weights, np.shape(a))
    return total(a * weights, axis, keepdims=keepdims) / total(weights, axis, keepdims=keepdims)


@numpy_name(np.var)
def var(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False) -> Any:
    a = lift(a)
    d = a - mean(a, axis, keepdims=True)
    squares = T.REAL(conj(d) * d) if np.iscomplexobj(a) else d * d
    return total(squares, axis, keepdims=keepdims) / (count(np.shape(a), normal_axes(axis, np.ndim(a))) - ddof)


@numpy_name(np.std)
def std(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: Any = False) -> Any:
    """Its derivative where all values are equal is 0, as that of a norm at 0."""
    v = var(a, axis, ddof=ddof, keepdims=keepdims)
    return np.where(v == 0, v, T.SQRT(np.where(v == 0, 1, v)))


@numpy_name(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return largest(a, axis, keepdims=keepdims) - smallest(a, axis, keepdims=keepdims)


@numpy_name(np.prod)
def prod(
    a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False, initial: Any = None, where: Any = True
) -> Any:
    """Multiplied pair by pair, so that the derivative holds where factors are zero (out / x would not)."""
    a = _masked(_converted(a, dtype, "prod"), where, 1)
    axes = normal_axes(axis, np.ndim(a))
    axes = tuple(range(np.ndim(a))) if axes is None else axes
    rest = tuple(i for i in range(np.ndim(a)) if i not in axes)
    x = np.reshape(np.transpose(a, axes + rest), (-1, *(a.shape[i] for i in rest)))
    while x.shape[0] > 1:
        half = x.shape[0] // 2
        pairs = x[:half] * x[half : 2 * half]
        x = pairs if x.shape[0] % 2 == 0 else np.concatenate([pairs, x[2 * half :]])
    out = x[0] if x.shape[0] else np.ones(x.shape[1:], a.dtype)
    out = T._keepdims(out, a, axes) if keepdims else out
    return out if initial is None else out * initial


@numpy_name(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    a = _converted(a, dtype, "cumsum")
    a = np.ravel(a) if axis is None else a
    return T.CUMSUM(a, axis=normal_axis(axis or 0, np.ndim(a)))


@numpy_name(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    axis = normal_axis(axis, np.ndim(a))
    for _ in range(n):
        a = a[(slice(None),) * axis + (slice(1, None),)] - a[(slice(None),) * axis + (slice(None, -1),)]
    return a


@numpy_name(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    y = np.moveaxis(lift(y), axis, -1)
    if x is not None:
        x = lift(x)
        dx = np.diff(x if np.ndim(x) == 1 else np.moveaxis(x, axis, -1))
    return total(dx * (y[..., 1:] + y[..., :-1]) / 2, axis=-1)
