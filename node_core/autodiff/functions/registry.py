"""How NumPy's functions find ours, and what they share in reading axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..node import FUNCTIONS

__all__ = ["WITHOUT_DERIVATIVE", "count", "normal_axes", "normal_axis", "numpy_name", "take_along"]

# NumPy functions of the values, the shape or the dtype alone: no derivative passes through them.
WITHOUT_DERIVATIVE: set[Any] = set()


def numpy_name(*functions: Any) -> Callable:
    """Enter a function as ours for the given NumPy functions."""

    def enter(ours: Callable) -> Callable:
        for function in functions:
            FUNCTIONS[function] = ours
        return ours

    return enter


def normal_axes(axis: Any, ndim: int) -> tuple | None:
    """None, or a tuple of distinct non-negative axes."""
    if axis is None:
        return None
    axes = tuple(int(a) for a in axis) if isinstance(axis, (tuple, list)) else (int(axis),)
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim)
    return tuple(sorted(a % ndim for a in axes))


def normal_axis(axis: int, ndim: int) -> int:
    axes = normal_axes(axis, ndim)
    return axes[0] if axes is not None else 0


def count(shape: tuple, axes: tuple | None) -> int:
    return math.prod(shape if axes is None else (shape[a] for a in axes))


def take_along(a: Any, index: Any, axis: int) -> Any:
    """a[..., index, ...] with the index at `axis`."""
    return a[(slice(None),) * axis + (index,)]
