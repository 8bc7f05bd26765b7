"""Shapes: reshape, transpose, broadcast, join, split, repeat, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import table as T
from ..node import lift
from .registry import normal_axes, normal_axis, numpy_name, take_along

__all__: list[str] = []


@numpy_name(np.reshape)
def reshape(a: Any, shape: Any, order: str = "C") -> Any:
    if order != "C":
        raise TypeError(
            "np.reshape: only order='C' is supported on a traced value; for order='F' write "
            "np.reshape(y.T, shape[::-1]).T"
        )
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return T.RESHAPE(lift(a), shape=shape)


@numpy_name(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    return a if np.ndim(a) == 1 and order == "C" else reshape(a, (-1,), order)


@numpy_name(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    a = lift(a)
    ndim = np.ndim(a)
    axes = tuple(range(ndim))[::-1] if axes is None else tuple(normal_axis(i, ndim) for i in axes)
    return T.TRANSPOSE(a, axes=axes)


@numpy_name(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(np.ndim(a)))
    i, j = normal_axis(axis1, np.ndim(a)), normal_axis(axis2, np.ndim(a))
    order[i], order[j] = j, i
    return T.TRANSPOSE(a, axes=tuple(order))


@numpy_name(np.matrix_transpose)
def matrix_transpose(x: Any) -> Any:
    return swapaxes(x, -1, -2)


@numpy_name(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    ndim = np.ndim(a)
    sources, goals = (
        [normal_axis(i, ndim) for i in (axis if isinstance(axis, (list, tuple)) else [axis])]
        for axis in (source, destination)
    )
    order = [i for i in range(ndim) if i not in sources]
    for goal, start in sorted(zip(goals, sources, strict=True)):
        order.insert(goal, start)
    return T.TRANSPOSE(a, axes=tuple(order))


@numpy_name(np.broadcast_to)
def broadcast_to(array: Any, shape: Any) -> Any:
    return T.BROADCAST(array, shape=(shape,) if isinstance(shape, int) else tuple(shape))


@numpy_name(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = np.ndim(a) + len(axes)
    new = {normal_axis(i, ndim) for i in axes}
    old = iter(np.shape(a))
    return T.RESHAPE(a, shape=tuple(1 if i in new else next(old) for i in range(ndim)))


@numpy_name(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    shape = np.shape(a)
    gone = normal_axes(axis, len(shape)) if axis is not None else [i for i, n in enumerate(shape) if n == 1]
    if any(shape[i] != 1 for i in gone or ()):
        raise ValueError(f"np.squeeze: axis {axis} of shape {shape} does not have length 1")
    return T.RESHAPE(a, shape=tuple(n for i, n in enumerate(shape) if i not in (gone or ())))


@numpy_name(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    out = tuple(np.reshape(a, (1,)) if np.ndim(a) == 0 else a for a in arrays)
    return out[0] if len(out) == 1 else out


@numpy_name(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    out = tuple(np.reshape(a, (1, -1)) if np.ndim(a) < 2 else a for a in arrays)
    return out[0] if len(out) == 1 else out


@numpy_name(np.copy)
def copy(a: Any, order: str = "K") -> Any:
    return a  # values are never changed in place


@numpy_name(np.concatenate)
def concatenate(arrays: Sequence, axis: Any = 0) -> Any:
    parts = [lift(a) for a in arrays]
    if axis is None:
        parts, axis = [np.ravel(a) for a in parts], 0
    return T.CONCATENATE(*parts, axis=normal_axis(axis, np.ndim(parts[0])))


@numpy_name(np.stack)
def stack(arrays: Sequence, axis: int = 0) -> Any:
    parts = [lift(a) for a in arrays]
    shapes = {np.shape(a) for a in parts}
    if len(shapes) != 1:
        raise ValueError(f"np.stack: all arrays must have one shape, got {sorted(shapes)}")
    return concatenate([expand_dims(a, axis) for a in parts], normal_axis(axis, np.ndim(parts[0]) + 1))


@numpy_name(np.hstack)
def hstack(tup: Sequence) -> Any:
    parts = [np.atleast_1d(lift(a)) for a in tup]
    return concatenate(parts, 0 if np.ndim(parts[0]) == 1 else 1)


@numpy_name(np.vstack)
def vstack(tup: Sequence) -> Any:
    return concatenate([np.atleast_2d(lift(a)) for a in tup], 0)


@numpy_name(np.column_stack)
def column_stack(tup: Sequence) -> Any:
    parts = [lift(a) for a in tup]
    return concatenate([np.reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in parts], 1)


@numpy_name(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate([arr, values], axis)


@numpy_name(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list:
    n = np.shape(ary)[normal_axis(axis, np.ndim(ary))]
    if np.ndim(indices_or_sections) == 0 and n % int(indices_or_sections):
        raise ValueError(f"np.split: {n} entries do not divide into {indices_or_sections} equal parts")
    return array_split(ary, indices_or_sections, axis)


@numpy_name(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list:
    axis = normal_axis(axis, np.ndim(ary))
    pieces = np.array_split(np.arange(np.shape(ary)[axis]), indices_or_sections)
    ends = np.cumsum([len(piece) for piece in pieces])
    return [ary[(slice(None),) * axis + (slice(end - len(p), end),)] for p, end in zip(pieces, ends, strict=True)]


@numpy_name(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    axes = normal_axes(axis, np.ndim(m))
    return m[tuple(slice(None, None, -1) if axes is None or i in axes else slice(None) for i in range(m.ndim))]


@numpy_name(np.flipud)
def flipud(m: Any) -> Any:
    return flip(m, 0)


@numpy_name(np.fliplr)
def fliplr(m: Any) -> Any:
    return flip(m, 1)


@numpy_name(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), np.shape(a))
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,) * len(shifts)
    for s, ax in zip(shifts, axes, strict=True):
        ax = normal_axis(ax, np.ndim(a))
        a = take_along(a, np.roll(np.arange(np.shape(a)[ax]), s), ax)
    return a


@numpy_name(np.tile)
def tile(A: Any, reps: Any) -> Any:
    A = lift(A)
    reps = (reps,) if isinstance(reps, (int, np.integer)) else tuple(reps)
    ndim = max(np.ndim(A), len(reps))
    shape = (1,) * (ndim - np.ndim(A)) + np.shape(A)
    reps = (1,) * (ndim - len(reps)) + reps
    pairs = [n for s in shape for n in (1, s)]
    spread = [n for r, s in zip(reps, shape, strict=True) for n in (r, s)]
    final = tuple(r * s for r, s in zip(reps, shape, strict=True))
    return np.reshape(np.broadcast_to(np.reshape(A, pairs), spread), final)


@numpy_name(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    a = np.ravel(a) if axis is None else a
    axis = normal_axis(axis or 0, np.ndim(a))
    return take_along(a, np.repeat(np.arange(np.shape(a)[axis]), repeats), axis)


@numpy_name(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Any:
    shape = np.shape(array)
    widths = np.broadcast_to(np.asarray(pad_width), (len(shape), 2))
    if mode == "constant":
        frame = np.pad(np.zeros(shape, array.dtype), widths, constant_values=constant_values)
        inside = tuple(slice(int(w[0]), int(w[0]) + n) for w, n in zip(widths, shape, strict=True))
        return frame + T.SCATTER(array, index=inside, shape=frame.shape)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise TypeError(
            f"np.pad: mode {mode!r} is not supported on a traced value; there are 'constant', 'edge', 'reflect', "
            "'symmetric' and 'wrap', or join the margins to it with np.concatenate"
        )
    for axis, width in enumerate(widths):
        array = take_along(array, np.pad(np.arange(shape[axis]), width, mode=mode), axis)
    return array
