"""Sums, maxima, minima and running sums in Programs: each is one axis in the middle of three."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .operations import Buffer, Cumsum, Reduce, View, contiguous
from .roles import NotLowered

if TYPE_CHECKING:
    from .lower import Lowering
    from .trace import Instruction

__all__ = ["cumsum", "reduce"]


def reduce(low: Lowering, step: Instruction) -> None:
    """sum, max or min over axes."""
    x = low.view(step.operands[0])
    axis = step.params["axis"]
    axes = tuple(range(len(x.shape))) if axis is None else axis
    level = low.level[step.out]
    if step.primitive.name != "sum" and math.prod(x.shape[i] for i in axes) == 0:
        raise NotLowered(f"{step.line}: {step.primitive.name} of nothing")
    x, axes = _first_axes_reduced(low, step, x, axes)
    shape, steps = _three_axes(x, axes)
    if shape is None:
        kept = [i for i in range(len(x.shape)) if i not in axes]
        x = low.copied(x.moved(lambda v: np.transpose(v, [*kept, *axes])), level)
        middle = math.prod(x.shape[len(kept) :])
        shape, steps = (math.prod(x.shape[: len(kept)]), middle, 1), (middle, 1, 0)
    out = low.fresh(step.out)
    low.add(Reduce(level, step.line, step.primitive.name, shape, steps, (out.buffer, 0), (x.buffer, x.offset)))


def _first_axes_reduced(
    low: Lowering, step: Instruction, x: View, axes: tuple[int, ...]
) -> tuple[View, tuple[int, ...]]:
    """What is left to reduce of a contiguous x after its first axes, where others lie between those and the rest.

    A sum over images and places, but not over the channels between, runs along the memory twice.
    """
    first = next((k for k in range(len(x.shape)) if k not in axes), 0)
    if not x.is_contiguous or math.prod(x.shape[:first]) < 2 or _three_axes(x, axes)[0] is not None:
        return x, axes
    level, rest = low.level[step.out], x.shape[first:]
    inner = math.prod(rest)
    out = Buffer(f"partial_{x.buffer.name}", inner, level)
    shape, steps = (1, math.prod(x.shape[:first]), inner), (0, inner, 1)
    low.add(Reduce(level, step.line, step.primitive.name, shape, steps, (out, 0), (x.buffer, x.offset)))
    return View(out, 0, rest, contiguous(rest)), tuple(a - first for a in axes if a >= first)


def _three_axes(x: View, axes: tuple[int, ...]) -> tuple:
    """x as (outer, middle, inner) with the reduced axes in the middle, or (None, None)."""
    runs: list[list] = []  # [reduced?, length, step]
    for axis, (n, step) in enumerate(zip(x.shape, x.strides, strict=True)):
        reduced = axis in axes
        if n == 1:
            continue
        if runs and runs[-1][0] == reduced and runs[-1][2] == step * n:
            runs[-1] = [reduced, runs[-1][1] * n, step]
        else:
            runs.append([reduced, n, step])
    pattern = "".join("r" if r[0] else "k" for r in runs)
    if pattern not in ("", "r", "k", "kr", "rk", "krk"):
        return None, None
    outer = runs[0][1:] if pattern[:1] == "k" and pattern != "k" else [1, 0]
    middle = next((r[1:] for r in runs if r[0]), [1, 0])
    inner = runs[-1][1:] if pattern[-1:] == "k" else [1, 0]
    return (outer[0], middle[0], inner[0]), (outer[1], middle[1], inner[1])


def cumsum(low: Lowering, step: Instruction) -> None:
    """Running sums along one axis."""
    x, axis, level = low.view(step.operands[0]), step.params["axis"], low.level[step.out]
    if not x.is_contiguous:
        x = low.copied(x, level)
    shape = (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
    low.add(Cumsum(level, step.line, shape, (low.fresh(step.out).buffer, 0), (x.buffer, x.offset)))
