"""From an optimised graph to the operations of a Program: what is refused, in which segment and order the rest is done.

What depends on args alone goes to the segment `once`; what only a later segment needs is computed there. How each
primitive is done stands by subject: elementwise, moves, products, reductions, convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .convolution import conv2d, conv2d_input, conv2d_weight
from .elementwise import KERNELS, SYNONYMS, bring_together, loops
from .moves import concatenate, getitem, is_view, moved, scatter
from .operations import (
    BACKWARD,
    FORWARD,
    MAX_AXES,
    ONCE,
    PARAMETERS,
    Buffer,
    Copy,
    Operation,
    View,
    collapsed,
    contiguous,
)
from .products import matmul
from .reductions import cumsum, reduce
from .roles import NotLowered, Roles
from .trace import Graph, Instruction

__all__ = ["HANDLERS", "Lowering", "check", "levels", "true_doubles"]

TRUTH = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
    "logical_not", "isnan", "isinf", "isfinite", "signbit",
}  # fmt: skip
HANDLERS: dict[str, Callable[[Lowering, Instruction], None]] = {
    "matmul": matmul,
    "matmul_bias": matmul,
    "sum": reduce,
    "max": reduce,
    "min": reduce,
    "cumsum": cumsum,
    "concatenate": concatenate,
    "getitem": getitem,
    "scatter": scatter,
    "conv2d": conv2d,
    "conv2d_input": conv2d_input,
    "conv2d_weight": conv2d_weight,
}


def true_doubles(graph: Graph, real: np.dtype) -> set[int]:
    """In a float32 Program, the values that NumPy computes in float64 because the user's numbers are.

    A float64 that only comes of truth values, integers and exact constants (``0.5 * (x == y)``) is none: it is
    rounded to float32 where it meets the state, and float32 holds it as well.
    """
    if real != np.float32:
        return set()
    found = {i for i in [*graph.inputs, *graph.captured] if graph.values[i].dtype.kind == "f"}
    found = {i for i in found if graph.values[i].dtype != real}
    for number, x in graph.constants.items():
        x = np.asarray(x)
        if x.dtype == np.float64 and not graph.values[number].weak and not np.array_equal(x.astype(real), x):
            found.add(number)
    for step in graph.instructions:
        value = graph.values[step.out]
        if value.dtype == np.float64 and not value.weak and any(i in found for i in step.operands):
            found.add(step.out)
    return found


def check(graph: Graph, step: Instruction, real: np.dtype, doubles: set[int]) -> None:
    """NotLowered if an instruction's primitive or type has no place in a Program of `real` numbers."""
    name, value = step.primitive.name, graph.values[step.out]
    known = name in KERNELS or is_view(graph, step) or name in HANDLERS or name == "cumsum"
    if not known:
        raise NotLowered(f"{step.line}: {name} has no compiled form yet")
    kind = value.dtype.kind
    if kind == "f" and value.dtype != real and not value.weak and (step.out in doubles or real == np.float64):
        raise NotLowered(f"{step.line}: {name} computes in {value.dtype}, the state is {real}")
    if kind not in "fbiu":
        raise NotLowered(f"{step.line}: {name} computes in {value.dtype}")
    moves = is_view(graph, step) or name in ("concatenate", "where")
    if kind == "b" and not moves and SYNONYMS.get(name, name) not in TRUTH | {"multiply"}:
        raise NotLowered(f"{step.line}: {name} of truth values has no compiled form yet")
    if kind in "iu" and not moves and name not in ("sum", "add", "subtract", "multiply"):
        raise NotLowered(f"{step.line}: {name} computes in {value.dtype}")
    if name == "astype" and kind == "f":
        source = graph.values[step.operands[0]].dtype
        if source != real and source.kind == "f" and (step.operands[0] in doubles or real == np.float64):
            raise NotLowered(f"{step.line}: astype from {source} to {value.dtype}")


def levels(graph: Graph, roles: Roles) -> dict[int, int]:
    """The segment of every value: the first that can compute it, or a later one if only that needs it."""
    first = {"t": FORWARD, "y": FORWARD, "cotangent": BACKWARD}
    level = dict.fromkeys(range(len(graph.values)), ONCE)
    for number, role in roles.inputs.items():
        level[number] = first.get(role, ONCE) if not roles.plain else FORWARD
    for step in graph.instructions:
        level[step.out] = max((level[i] for i in step.operands), default=ONCE)
    needed_at: dict[int, int] = {}  # the earliest segment that needs a value
    where = {"dy": FORWARD, "y_bar": BACKWARD, "t_bar": BACKWARD}
    for number, role in zip(graph.outputs, roles.outputs, strict=True):
        at = FORWARD if roles.plain else where.get(role, PARAMETERS)
        needed_at[number] = min(at, needed_at.get(number, PARAMETERS))
    for step in reversed(graph.instructions):
        movable = step.primitive.name in KERNELS or is_view(graph, step) or level[step.out] == BACKWARD
        if level[step.out] > ONCE and movable:
            level[step.out] = max(level[step.out], needed_at[step.out])
        for i in step.operands:
            needed_at[i] = min(level[step.out], needed_at.get(i, PARAMETERS))
    return level


@dataclass
class Lowering:
    """One graph on its way to operations; `operations` holds them by segment, in order."""

    graph: Graph
    roles: Roles
    real: np.dtype
    operations: list[list[Operation]] = field(default_factory=lambda: [[], [], [], []])
    views: dict[int, View] = field(default_factory=dict)
    constants: list[float] = field(default_factory=list)
    copies: dict[tuple, View] = field(default_factory=dict)
    packs: dict[tuple, Buffer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.graph
        doubles = true_doubles(graph, self.real)
        for step in graph.instructions:
            check(graph, step, self.real, doubles)
        self.level = levels(graph, self.roles)
        self.constant_buffer = Buffer("const", 0, ONCE)
        self._scalars: dict[str, int] = {}
        self.inputs: dict[Any, Buffer] = {}
        for number, role in self.roles.inputs.items():
            value = graph.values[number]
            self.inputs[role] = Buffer(value.name, math.prod(value.shape), self.level[number])
            self.views[number] = View(self.inputs[role], 0, value.shape, contiguous(value.shape))
        for number, x in graph.constants.items():
            if np.asarray(x).dtype.kind in "fbiu":
                self.views[number] = self.constant(x)
        for level, _, steps in self._schedule():
            if steps[0].primitive.name in KERNELS:
                loops(self, level, steps)
            else:
                for step in steps:
                    HANDLERS[step.primitive.name](self, step)
        for segment in self.operations:
            bring_together(segment)

    # --- order ---

    def _schedule(self) -> list[tuple[int, int, list[Instruction]]]:
        """Instructions by segment and depth; elementwise ones of one shape, segment and depth together.

        A result is deeper than its operands unless both are elementwise, of one shape and segment: then they
        may share a Loop. So every Loop only needs what is made before it.
        """
        depth: dict[int, int] = {}
        kinds: dict[int, tuple] = {}  # number -> the Loop it may be in
        groups: dict[tuple, list[Instruction]] = {}
        for step in self.graph.instructions:
            if is_view(self.graph, step):
                self._pending_view(step, depth)
                continue
            level = self.level[step.out]
            kind = (level, self.graph.values[step.out].shape) if step.primitive.name in KERNELS else None
            here = 0
            for i in step.operands:
                if i in depth:
                    together = kind is not None and kinds.get(i) == kind
                    here = max(here, depth[i] + (0 if together else 1))
            depth[step.out] = here
            if kind is not None:
                kinds[step.out] = kind
        self._as_late(depth, kinds)
        for place, step in enumerate(self.graph.instructions):
            if not is_view(self.graph, step):
                kind = kinds.get(step.out)
                key = (self.level[step.out], depth[step.out], int(kind is not None), kind or place)
                groups.setdefault(key, []).append(step)
        ordered = sorted(groups.items(), key=lambda item: (*item[0][:3], item[1][0].out))
        return [(key[0], key[1], steps) for key, steps in ordered]

    def _pending_view(self, step: Instruction, depth: dict) -> None:
        source = step.operands[0]
        if source in depth:
            depth[step.out] = depth[source]  # its own shape: no Loop is shared through it

    def _as_late(self, depth: dict[int, int], kinds: dict[int, tuple]) -> None:
        """An elementwise result that only one Loop's depth needs is made there, not stored before."""
        users, outputs = self._users(), self._outputs()
        for step in reversed(self.graph.instructions):
            kind, mine = kinds.get(step.out), users.get(step.out, [])
            if kind is not None and mine and step.out not in outputs and all(kinds.get(u) == kind for u in mine):
                depth[step.out] = min(depth[u] for u in mine)

    # --- who needs a value ---

    def used_elsewhere(self, number: int, inside: set[int]) -> bool:
        """Whether a value is an output, or an operand of an instruction whose result is not among `inside`."""
        return number in self._outputs() or any(user not in inside for user in self._users().get(number, ()))

    def _users(self) -> dict[int, list[int]]:
        if not hasattr(self, "_user_table"):
            self._user_table: dict[int, list[int]] = {}
            for step in self.graph.instructions:
                for i in step.operands:
                    self._user_table.setdefault(i, []).append(step.out)
        return self._user_table

    def _outputs(self) -> set[int]:
        return set(self.graph.outputs)

    # --- values ---

    def view(self, number: int) -> View:
        """The view of a value; moves are made when they are first asked for."""
        if number not in self.views:
            step = self._maker()[number]
            self.views[number] = moved(self, step)
        return self.views[number]

    def _maker(self) -> dict[int, Instruction]:
        if not hasattr(self, "_makers"):
            self._makers = {step.out: step for step in self.graph.instructions}
        return self._makers

    def constant(self, x: Any) -> View:
        """The view of a number or an array that the Program holds; what is one number all over is held once."""
        x = np.asarray(x)
        if x.ndim == 0 or (x.size and x.ndim and np.all(x == x.flat[0])):
            value = float(x.flat[0])
            key = repr(value)  # tells -0.0 from 0.0, and finds NaN again
            if key not in self._scalars:
                self._scalars[key] = len(self.constants)
                self.constants.append(value)
            start, strides = self._scalars[key], (0,) * x.ndim
        else:
            start, strides = len(self.constants), contiguous(x.shape)
            self.constants += x.astype(float).ravel().tolist()
        self.constant_buffer.size = len(self.constants)
        return View(self.constant_buffer, start, x.shape, strides)

    def fresh(self, number: int) -> View:
        """A new buffer for the result of an instruction."""
        value = self.graph.values[number]
        buffer = Buffer(value.name, math.prod(value.shape), self.level[number])
        self.views[number] = View(buffer, 0, value.shape, contiguous(value.shape))
        return self.views[number]

    def add(self, operation: Operation) -> None:
        """Append an operation to its segment."""
        self.operations[operation.level].append(operation)

    def once_or(self, view: View, level: int) -> int:
        """The segment in which to bring a view into another form: once a solve if it depends on args alone."""
        return ONCE if view.buffer.level == ONCE else level

    def copied(self, view: View, level: int) -> View:
        """A contiguous copy, made once; of what depends on args alone, once a solve."""
        level = self.once_or(view, level)
        key = (id(view.buffer), view.offset, view.shape, view.strides, level)
        if key not in self.copies:
            if len(collapsed(view.shape, [view.strides, contiguous(view.shape)])[0]) > MAX_AXES:
                raise NotLowered(f"an array of {len(view.shape)} axes is more than Programs can walk")
            buffer = Buffer(f"copy_of_{view.buffer.name}", view.size, level)
            copy = View(buffer, 0, view.shape, contiguous(view.shape))
            self.add(Copy(level, out=copy, x=view))
            self.copies[key] = copy
        return self.copies[key]
