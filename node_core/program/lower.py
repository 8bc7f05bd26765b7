"""From an optimised graph to the operations of a Program.

Moves (reshape, transpose, basic indexing, broadcasting) are views and cost nothing. Elementwise primitives of
one shape that can run together become one Loop. What depends on args alone goes to the segment `once`; what
only a later segment needs is computed there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autodiff.table import ArraySlot
from .convolution import conv2d, conv2d_input, conv2d_weight
from .operations import (
    BINARY,
    MAX_AXES,
    MAX_REGISTERS,
    UNARY,
    Buffer,
    Copy,
    Cumsum,
    Gather,
    Loop,
    Matmul,
    Micro,
    Operation,
    Pack,
    Reduce,
    View,
    collapsed,
    contiguous,
)
from .roles import NotLowered, Roles
from .trace import Graph, Instruction

__all__ = ["BACKWARD", "FORWARD", "ONCE", "PARAMETERS", "Lowering", "levels"]

ONCE, FORWARD, BACKWARD, PARAMETERS = range(4)

# Primitives whose name is that of their kernel, and others that are one.
SYNONYMS = {
    "invert": "logical_not", "bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_xor": "logical_xor",
}  # fmt: skip
TRUTH = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
    "logical_not", "isnan", "isinf", "isfinite", "signbit",
}  # fmt: skip
VIEWS = ("reshape", "transpose", "broadcast_to", "real", "conjugate", "astype", "stop_gradient")
WORTH_PACKING = 2048  # multiplications below which a matmul reads b in place
MOST_MICROS = 24  # of one Loop


def kernel_of(primitive_name: str) -> tuple[str, str] | None:
    """(kind, kernel) of an elementwise primitive."""
    name = SYNONYMS.get(primitive_name, primitive_name)
    if name in UNARY:
        return "unary", name
    if name in BINARY:
        return "binary", name
    return ("where", "where") if name == "where" else None


def is_view(graph: Graph, step: Instruction) -> bool:
    """Whether a primitive only moves: its result is a view of its operand."""
    if step.primitive.name == "getitem":
        return len(step.operands) == 1
    return step.primitive.name in VIEWS


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
    known = kernel_of(name) or is_view(graph, step) or name in HANDLERS or name == "cumsum"
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
        movable = kernel_of(step.primitive.name) or is_view(graph, step) or level[step.out] == BACKWARD
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
                self.views[number] = self._constant(x)
        for level, _, steps in self._schedule():
            if kernel_of(steps[0].primitive.name):
                self._loops(level, steps)
            else:
                for step in steps:
                    HANDLERS[step.primitive.name](self, step)
        for segment in self.operations:
            _bring_together(segment)

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
            kind = kernel_of(step.primitive.name) and (level, self.graph.values[step.out].shape)
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

    def view(self, number: int) -> View:
        """The view of a value; moves are made when they are first asked for."""
        if number not in self.views:
            step = self._maker()[number]
            self.views[number] = self._moved(step)
        return self.views[number]

    def _maker(self) -> dict[int, Instruction]:
        if not hasattr(self, "_makers"):
            self._makers = {step.out: step for step in self.graph.instructions}
        return self._makers

    def _moved(self, step: Instruction) -> View:
        name, shape = step.primitive.name, self.graph.values[step.out].shape
        source = self.view(step.operands[0])
        if name == "reshape":
            return reshaped(source, shape) or reshaped(self.copied(source, self.level[step.out]), shape)
        if name == "transpose":
            return source.moved(lambda x: np.transpose(x, step.params["axes"]))
        if name == "broadcast_to":
            return source.moved(lambda x: np.broadcast_to(x, shape))
        if name == "getitem":
            return source.indexed(step.params["index"])
        return source

    # --- values ---

    def _constant(self, x: Any) -> View:
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

    # --- elementwise ---

    def _loops(self, level: int, steps: list[Instruction]) -> None:
        """One Loop for these instructions, or several where they need too many registers."""
        start = 0
        while start < len(steps):
            stop = min(start + MOST_MICROS, len(steps))
            while not self._fits(steps[start:stop]):
                stop -= 1
            self._loop(level, steps[start:stop])
            start = stop

    def _fits(self, steps: list[Instruction]) -> bool:
        operands = {i for step in steps for i in step.operands} | {step.out for step in steps}
        return len(steps) == 1 or len(operands) <= MAX_REGISTERS

    def _loop(self, level: int, steps: list[Instruction]) -> None:
        shape = self.graph.values[steps[0].out].shape
        made = [step.out for step in steps]
        kept = [number for number in made if self._used_elsewhere(number, set(made))]
        inputs: dict[int, View] = {}
        for step in steps:
            for i in step.operands:
                if i not in made and i not in inputs:
                    view = self.view(i)
                    inputs[i] = view.moved(lambda x: np.broadcast_to(x, shape)) if view.shape != shape else view
        rows, inner, walks = self._walks(list(inputs.values()), shape, level)
        register = {i: k for k, i in enumerate(inputs)}
        outputs = [self.fresh(number).buffer for number in kept]
        register.update({number: len(inputs) + k for k, number in enumerate(kept)})
        loop = Loop(level, steps[0].line, rows, inner, walks, outputs)
        self._write_micros(loop, steps, register)
        self.add(loop)

    def _write_micros(self, loop: Loop, steps: list[Instruction], register: dict[int, int]) -> None:
        """The chain itself; a temporary's register is free again after its last use."""
        last = {i: k for k, step in enumerate(steps) for i in step.operands}
        first = len(loop.inputs) + len(loop.outputs)
        free: list[int] = []
        for k, step in enumerate(steps):
            operands = tuple([register[i] for i in step.operands])
            if step.out not in register:
                if not free:
                    free.append(first + loop.temporaries)
                    loop.temporaries += 1
                register[step.out] = free.pop()
            kind, name = kernel_of(step.primitive.name)  # type: ignore[misc]
            loop.micros.append(Micro(kind, name, register[step.out], operands))
            for i in set(step.operands):
                if register[i] >= first and last[i] == k:
                    free.append(register[i])

    def _used_elsewhere(self, number: int, inside: set[int]) -> bool:
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

    def _walks(self, views: list[View], shape: tuple, level: int) -> tuple[int, int, list]:
        """(rows, inner) and every view as (buffer, offset, row step, column step) over them.

        Views that no common split into two axes serves are copied.
        """
        full = contiguous(shape)
        while True:
            lengths, steps = collapsed(shape, [full, *[v.strides for v in views]])
            if len(lengths) <= 2:
                break
            worst = max(range(len(views)), key=lambda k: len(collapsed(shape, [full, views[k].strides])[0]))
            if len(collapsed(shape, [full, views[worst].strides])[0]) <= 2:  # each alone would do, not together
                worst = next(k for k in range(len(views)) if len(collapsed(shape, [full, views[k].strides])[0]) == 2)
            views[worst] = self._copied_once(views[worst], level)
        rows, inner = (1, lengths[0]) if len(lengths) == 1 else lengths
        walks = []
        for view, step in zip(views, steps[1:], strict=True):
            if len(lengths) == 1:  # one row; a whole walk is row step = inner, one number 0
                row, column = (step[0] * inner, step[0])
            else:
                row, column = step
            walks.append((view.buffer, view.offset, row, column))
        return rows, inner, walks

    def _copied_once(self, view: View, level: int) -> View:
        """A copy that repeats along the first axes as the view does: contiguous behind them."""
        repeated = next((k for k, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)) if n > 1 and s), 0)
        core = view.moved(lambda x: x[(0,) * repeated + (Ellipsis,)])
        if core.is_contiguous:  # no gain: repeat it in memory
            return self.copied(view, level)
        return self.copied(core, level).moved(lambda x: np.broadcast_to(x, view.shape))

    # --- matrix products ---

    def matmul(self, step: Instruction) -> None:
        """a @ b, 1-D operands as NumPy takes them; leading axes of a are rows where b is a matrix."""
        a, b = self.view(step.operands[0]), self.view(step.operands[1])
        level = self.level[step.out]
        out = self.fresh(step.out)
        if len(a.shape) == 1:
            a = a.moved(lambda x: x[None, :])
        if len(b.shape) == 1:
            b = b.moved(lambda x: x[:, None])
        n = b.shape[-1]
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if len(b.shape) == 2 and len(a.shape) > 2:
            a = self._rows(a, level)
            batch = ()
        (m, k), batches = a.shape[-2:], math.prod(batch)
        if batch:
            a, b = self._batched(a, batch, level), self._batched(b, batch, level)
        operation = Matmul(
            level, step.line, m=m, k=k, n=n, batches=batches, out=(out.buffer, 0, n, 1), a=_matrix(a), b=_matrix(b),
            batch_steps=(m * n, a.strides[0], b.strides[0]) if batch else (0, 0, 0),
        )  # fmt: skip
        if len(step.operands) == 3:
            operation.bias = self._bias(step.operands[2], n, level)
        self._pack(operation, b, bool(batch))
        self.add(operation)

    def _rows(self, a: View, level: int) -> View:
        """(..., m, k) as a matrix."""
        shape = (math.prod(a.shape[:-1]), a.shape[-1])
        lengths, steps = collapsed(a.shape[:-1], [a.strides[:-1]])
        if len(lengths) > 1:
            a = self.copied(a, level)
            return View(a.buffer, a.offset, shape, contiguous(shape))
        return View(a.buffer, a.offset, shape, (steps[0][0], a.strides[-1]))

    def _batched(self, x: View, batch: tuple, level: int) -> View:
        """(*batch, r, c) with the batch as one axis."""
        x = x.moved(lambda v: np.broadcast_to(v, batch + v.shape[-2:]))
        lengths, steps = collapsed(batch, [x.strides[:-2]])
        if len(lengths) > 1:
            x = self.copied(x, level)
            lengths, steps = collapsed(batch, [x.strides[:-2]])
        return View(x.buffer, x.offset, (math.prod(batch), *x.shape[-2:]), (steps[0][0], *x.strides[-2:]))

    def _bias(self, number: int, n: int, level: int) -> tuple[Buffer, int]:
        bias = self.view(number)
        bias = bias.moved(lambda x: np.reshape(x, (n,)) if x.ndim == 1 else x[0])
        if bias.strides != (1,) and n != 1:
            bias = self.copied(bias, level)
        return bias.buffer, bias.offset

    def _pack(self, operation: Matmul, b: View, batched: bool) -> None:
        """Give the kernel b in its own order, where that pays: once a solve if b depends on args alone."""
        m, k, n = operation.m, operation.k, operation.n
        constant = b.buffer.level == ONCE
        if batched or n < 8 or k < 4 or not (constant or (m >= 32 and m * k * n >= WORTH_PACKING)):
            return
        level = ONCE if constant else operation.level
        key = (id(b.buffer), b.offset, b.shape, b.strides, level)
        if key not in self.packs:
            from .._kernels import rk

            size = rk.matmul_packed_size(k, n, self.real)
            self.packs[key] = Buffer(f"packed_{b.buffer.name}", size, level)
            self.add(Pack(level, operation.line, k=k, n=n, out=self.packs[key], b=_matrix(b)))
        operation.b, operation.packed = (self.packs[key], 0, 0, 0), True

    # --- reductions ---

    def reduce(self, step: Instruction) -> None:
        """sum, max or min over axes."""
        x = self.view(step.operands[0])
        axis = step.params["axis"]
        axes = tuple(range(len(x.shape))) if axis is None else axis
        level = self.level[step.out]
        if step.primitive.name != "sum" and math.prod(x.shape[i] for i in axes) == 0:
            raise NotLowered(f"{step.line}: {step.primitive.name} of nothing")
        x, axes = self._first_axes_reduced(step, x, axes)
        shape, steps = _three_axes(x, axes)
        if shape is None:
            kept = [i for i in range(len(x.shape)) if i not in axes]
            x = self.copied(x.moved(lambda v: np.transpose(v, [*kept, *axes])), level)
            middle = math.prod(x.shape[len(kept) :])
            shape, steps = (math.prod(x.shape[: len(kept)]), middle, 1), (middle, 1, 0)
        out = self.fresh(step.out)
        self.add(Reduce(level, step.line, step.primitive.name, shape, steps, (out.buffer, 0), (x.buffer, x.offset)))

    def _first_axes_reduced(self, step: Instruction, x: View, axes: tuple[int, ...]) -> tuple[View, tuple[int, ...]]:
        """What is left to reduce of a contiguous x after its first axes, where others lie between those and the rest.

        A sum over images and places, but not over the channels between, runs along the memory twice.
        """
        first = next((k for k in range(len(x.shape)) if k not in axes), 0)
        if not x.is_contiguous or math.prod(x.shape[:first]) < 2 or _three_axes(x, axes)[0] is not None:
            return x, axes
        level, rest = self.level[step.out], x.shape[first:]
        inner = math.prod(rest)
        out = Buffer(f"partial_{x.buffer.name}", inner, level)
        shape, steps = (1, math.prod(x.shape[:first]), inner), (0, inner, 1)
        self.add(Reduce(level, step.line, step.primitive.name, shape, steps, (out, 0), (x.buffer, x.offset)))
        return View(out, 0, rest, contiguous(rest)), tuple(a - first for a in axes if a >= first)

    def cumsum(self, step: Instruction) -> None:
        """Running sums along one axis."""
        x, axis, level = self.view(step.operands[0]), step.params["axis"], self.level[step.out]
        if not x.is_contiguous:
            x = self.copied(x, level)
        shape = (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
        self.add(Cumsum(level, step.line, shape, (self.fresh(step.out).buffer, 0), (x.buffer, x.offset)))

    # --- moving ---

    def concatenate(self, step: Instruction) -> None:
        """Each part is copied to its place."""
        out, axis, start = self.fresh(step.out), step.params["axis"], 0
        for i in step.operands:
            x = self.view(i)
            place = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
            if x.size:
                self.add(Copy(self.level[step.out], step.line, out=out.moved(lambda v, p=place: v[p]), x=x))
            start += x.shape[axis]

    def _index(self, step: Instruction, arrays: Sequence[int]) -> tuple:
        """The index with its arrays filled in; they must be constants."""
        found = []
        for i in arrays:
            if i not in self.graph.constants:
                raise NotLowered(f"{step.line}: an index that is computed has no compiled form yet")
            found.append(np.asarray(self.graph.constants[i]))
        return tuple([found[item] if type(item) is ArraySlot else item for item in step.params["index"]])

    def getitem(self, step: Instruction) -> None:
        """Advanced indexing: every element's place is known now."""
        x = self.view(step.operands[0])
        places = x.offsets()[self._index(step, step.operands[1:])]
        out = self.fresh(step.out)
        self.add(Gather(self.level[step.out], step.line, (out.buffer, 0), (x.buffer, 0), places))

    def scatter(self, step: Instruction) -> None:
        """Zeros with x added at an index."""
        x, out, level = self.view(step.operands[0]), self.fresh(step.out), self.level[step.out]
        zero = self._constant(0.0).moved(lambda v: np.broadcast_to(v, out.shape))
        if x.size < out.size or len(step.operands) > 1:
            self.add(Copy(level, step.line, out=out, x=zero))
        index = self._index(step, step.operands[1:])
        if len(step.operands) == 1:
            self.add(Copy(level, step.line, out=out.indexed(index), x=x))
            return
        places = out.offsets()[index]
        x = x if x.shape == places.shape else x.moved(lambda v: np.broadcast_to(v, places.shape))
        x = x if x.is_contiguous else self.copied(x, level)
        self.add(Gather(level, step.line, (out.buffer, 0), (x.buffer, x.offset), places, scatter=True))


HANDLERS: dict[str, Callable[[Lowering, Instruction], None]] = {
    "matmul": Lowering.matmul,
    "matmul_bias": Lowering.matmul,
    "sum": Lowering.reduce,
    "max": Lowering.reduce,
    "min": Lowering.reduce,
    "cumsum": Lowering.cumsum,
    "concatenate": Lowering.concatenate,
    "getitem": Lowering.getitem,
    "scatter": Lowering.scatter,
    "conv2d": conv2d,
    "conv2d_input": conv2d_input,
    "conv2d_weight": conv2d_weight,
}


def _matrix(view: View) -> tuple[Buffer, int, int, int]:
    return view.buffer, view.offset, view.strides[-2], view.strides[-1]


def reshaped(view: View, shape: tuple[int, ...]) -> View | None:
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


def _bring_together(segment: list[Operation]) -> None:
    """Move a Loop that works on a matmul's rows right behind it, and run it block by block of those rows."""
    for loop in [x for x in segment if isinstance(x, Loop)]:
        place = segment.index(loop)
        for back in range(place - 1, -1, -1):
            product = segment[back]
            between = segment[back + 1 : place]
            if any(b in loop.reads() for other in between for b in other.writes()):
                break
            if isinstance(product, Matmul) and product.out[0] in loop.reads():
                if _rows_only(product, loop):
                    segment.insert(back + 1, segment.pop(place))
                    product.fused = True
                break


def _rows_only(product: Matmul, loop: Loop) -> bool:
    """Whether the chain reads the product element by element in its own order."""
    flat = all(
        (offset, row, column) == (0, loop.inner, 1)
        for buffer, offset, row, column in loop.inputs
        if buffer is product.out[0]
    )
    return flat and product.batches == 1 and not product.fused and loop.rows * loop.inner == product.m * product.n
