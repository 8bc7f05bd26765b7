"""The output times of a solve, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._kernels.rk import is_monotone
from ..autodiff.node import Node, concrete, lift

__all__ = ["checked_times"]


def checked_times(t: Any) -> Any:
    """t as a float64 vector, traced if it was; t itself if it is one."""
    if is_monotone(t):  # the usual case, at a glance
        return t
    try:
        t = lift(t)
        values = np.asarray(concrete(t))
    except ValueError as error:  # a ragged list
        raise ValueError(f"t must be 1-D with at least two points, got {t!r}") from error
    if values.dtype.kind not in "fiu":
        raise TypeError(f"t must hold real numbers, got dtype {values.dtype}")
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"t must be 1-D with at least two points, got shape {values.shape}")
    if not np.all(np.isfinite(values)):
        i = int(np.argmax(~np.isfinite(values)))
        raise ValueError(f"t must be finite, got {values[i]} at t[{i}]")
    if not np.isfinite(float(values[-1]) - float(values[0])):
        raise ValueError(f"t must span a finite time, got {values[0]} to {values[-1]}")
    direction = 1.0 if values[1] > values[0] else -1.0
    steps = np.diff(values.astype(float)) * direction
    if not np.all(steps > 0):
        i = int(np.argmax(~(steps > 0)))
        raise ValueError(
            f"t must increase or decrease (times may be repeated, but not all), got t[{i}] = {values[i]}, "
            f"t[{i + 1}] = {values[i + 1]}"
        )
    return t.astype(float) if type(t) is Node else np.array(t, float)  # of no subclass
