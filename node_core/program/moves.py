"""What only moves, in Programs: a view where strides can say it, else a copy or a table of places.

Reshapes, transposes, broadcasts and basic indices are views and cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..autodiff.table import ArraySlot
from .operations import Copy, Gather, View, contiguous
from .roles import NotLowered

if TYPE_CHECKING:
    from .lower import Lowering
    from .trace import Graph, Instruction

__all__ = ["VIEWS", "concatenate", "getitem", "is_view", "moved", "scatter"]

VIEWS = ("reshape", "transpose", "broadcast_to", "real", "conjugate", "astype", "stop_gradient")


def is_view(graph: Graph, step: Instruction) -> bool:
    """Whether a primitive only moves: its result is a view of its operand."""
    if step.primitive.name == "getitem":
        return len(step.operands) == 1
    return step.primitive.name in VIEWS


def moved(low: Lowering, step: Instruction) -> View:
    """The result of a primitive that is_view."""
    name, shape = step.primitive.name, low.graph.values[step.out].shape
    source = low.view(step.operands[0])
    if name == "reshape":
        return _reshaped(source, shape) or _reshaped(low.copied(source, low.level[step.out]), shape)
    if name == "transpose":
        return source.moved(lambda x: np.transpose(x, step.params["axes"]))
    if name == "broadcast_to":
        return source.moved(lambda x: np.broadcast_to(x, shape))
    if name == "getitem":
        return source.indexed(step.params["index"])
    return source


def _reshaped(view: View, shape: tuple[int, ...]) -> View | None:
    """The same elements in another shape, or None where that needs a copy."""
    if view.is_contiguous:
        return View(view.buffer, view.offset, shape, contiguous(shape))
    if all(s == 0 for s, n in zip(view.strides, view.shape, strict=True) if n != 1):
        return View(view.buffer, view.offset, shape, (0,) * len(shape))
    kept = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n != 1]
    if [n for n, _ in kept] != [n for n in shape if n != 1]:
        return None
    strides = iter(s for _, s in kept)
    return View(view.buffer, view.offset, shape, tuple(next(strides) if n != 1 else 0 for n in shape))


def concatenate(low: Lowering, step: Instruction) -> None:
    """Each part is copied to its place."""
    out, axis, start = low.fresh(step.out), step.params["axis"], 0
    for i in step.operands:
        x = low.view(i)
        place = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
        if x.size:
            low.add(Copy(low.level[step.out], step.line, out=out.moved(lambda v, p=place: v[p]), x=x))
        start += x.shape[axis]


def _index(low: Lowering, step: Instruction, arrays: Sequence[int]) -> tuple:
    """The index with its arrays filled in; they must be constants."""
    found = []
    for i in arrays:
        if i not in low.graph.constants:
            raise NotLowered(f"{step.line}: an index that is computed has no compiled form yet")
        found.append(np.asarray(low.graph.constants[i]))
    return tuple([found[item] if type(item) is ArraySlot else item for item in step.params["index"]])


def getitem(low: Lowering, step: Instruction) -> None:
    """Advanced indexing: every element's place is known now."""
    x = low.view(step.operands[0])
    places = x.offsets()[_index(low, step, step.operands[1:])]
    out = low.fresh(step.out)
    low.add(Gather(low.level[step.out], step.line, (out.buffer, 0), (x.buffer, 0), places))


def scatter(low: Lowering, step: Instruction) -> None:
    """Zeros with x added at an index."""
    x, out, level = low.view(step.operands[0]), low.fresh(step.out), low.level[step.out]
    zero = low.constant(0.0).moved(lambda v: np.broadcast_to(v, out.shape))
    if x.size < out.size or len(step.operands) > 1:
        low.add(Copy(level, step.line, out=out, x=zero))
    index = _index(low, step, step.operands[1:])
    if len(step.operands) == 1:
        low.add(Copy(level, step.line, out=out.indexed(index), x=x))
        return
    places = out.offsets()[index]
    x = x if x.shape == places.shape else x.moved(lambda v: np.broadcast_to(v, places.shape))
    x = x if x.is_contiguous else low.copied(x, level)
    low.add(Gather(level, step.line, (out.buffer, 0), (x.buffer, x.offset), places, scatter=True))
