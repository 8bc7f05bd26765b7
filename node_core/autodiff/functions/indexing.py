"""Indexing, taking, sorting, diagonals and interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import table as T
from ..node import Node, concrete, lift
from .reductions import total
from .registry import normal_axis, numpy_name

__all__ = ["diagonal", "getitem"]


def getitem(x: Any, index: Any) -> Any:
    """x[index]; index arrays become operands, so that a graph may compute them."""
    items = index if type(index) is tuple else (index,)
    arrays, slots = [], []
    for item in items:
        item = lift(item) if isinstance(item, list) else item
        if type(item) is Node or isinstance(item, np.ndarray):
            if item.dtype == bool and type(item) is Node:
                item.owner.truth(item)  # a mask's count is a value: a graph trace refuses
                item = concrete(item)
            if item.dtype.kind not in "biu":
                raise IndexError(f"an index array must hold integers or booleans, got {item.dtype}")
            slots.append(T.ArraySlot(len(arrays)))
            arrays.append(item)
        else:
            slots.append(item)
    return T.GETITEM(x, *arrays, index=tuple(slots))


@numpy_name(np.take)
def take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    a = np.ravel(a) if axis is None else lift(a)
    axis = normal_axis(axis or 0, np.ndim(a))
    if mode != "raise":
        n = np.shape(a)[axis]
        indices = np.asarray(indices) % n if mode == "wrap" else np.clip(indices, 0, n - 1)
    indices = indices if isinstance(indices, Node) else np.asarray(indices)
    return getitem(a, (slice(None),) * axis + (indices,))


@numpy_name(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None:
        return np.ravel(arr)[indices]
    axis = normal_axis(axis, np.ndim(arr))
    grid = list(np.ogrid[tuple(slice(n) for n in np.shape(arr))])
    grid[axis] = indices
    return getitem(arr, tuple(grid))


@numpy_name(np.sort)
def sort(a: Any, axis: Any = -1) -> Any:
    a, axis = (np.ravel(a), 0) if axis is None else (a, axis)
    return take_along_axis(a, np.argsort(a, axis=axis), axis)


@numpy_name(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    a = np.moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = _diagonal_indices(np.shape(a)[-2:], offset)
    return getitem(a, (Ellipsis, rows, columns))


def _diagonal_indices(shape: tuple, offset: int) -> tuple[np.ndarray, np.ndarray]:
    i = np.arange(max(0, min(shape[0] + min(offset, 0), shape[1] - max(offset, 0))))
    return i + max(-offset, 0), i + max(offset, 0)


@numpy_name(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    if np.ndim(v) != 1:
        return diagonal(v, k)
    n = np.shape(v)[0] + abs(k)
    rows, columns = _diagonal_indices((n, n), k)
    return T.SCATTER(v, rows, columns, index=(T.ArraySlot(0), T.ArraySlot(1)), shape=(n, n))


@numpy_name(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return total(diagonal(a, offset, axis1, axis2), axis=-1)


@numpy_name(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return np.where(np.triu(np.ones(np.shape(m)[-2:], bool), k), m, 0)


@numpy_name(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return np.where(np.tril(np.ones(np.shape(m)[-2:], bool), k), m, 0)


@numpy_name(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """Piecewise linear, constant outside; differentiable in x, in the nodes xp and in the values fp."""
    x, xp, fp = lift(x), lift(xp), lift(fp)
    n = np.shape(xp)[0]
    i = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, max(n - 2, 0))
    j = np.minimum(i + 1, n - 1)
    x0, x1, f0, f1 = (getitem(v, k) for v in (xp, fp) for k in (i, j))
    width = np.where(x1 == x0, 1.0, x1 - x0)
    y = f0 + (f1 - f0) * ((x - x0) / width)
    y = np.where(x < xp[0], fp[0] if left is None else left, y)
    y = np.where(x >= xp[-1], fp[-1], y)
    return y if right is None else np.where(x > xp[-1], right, y)
