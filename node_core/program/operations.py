"""The instructions of a Program as Python objects: what each reads and writes, its words for C, its line in a listing.

The C side is csrc/nc_program.h (the structs) and csrc/nc_execute.inc (what they do).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._kernels import rk

__all__ = [
    "BACKWARD",
    "FORWARD",
    "ONCE",
    "PARAMETERS",
    "Buffer",
    "Copy",
    "Cumsum",
    "Gather",
    "Loop",
    "Matmul",
    "Operation",
    "Pack",
    "Reduce",
    "View",
    "contiguous",
]

ONCE, FORWARD, BACKWARD, PARAMETERS = range(4)  # the segments of a Program
CODES = rk.program_codes()
BINARY, UNARY = rk.binary_codes(), rk.unary_codes()
MAX_AXES, MAX_REGISTERS = CODES["copy_axes"], CODES["loop_registers"]
KINDS = {"unary": 0, "binary": 1, "where": 2}
REDUCTIONS = {"sum": 0, "max": 1, "min": 2}


@dataclass(eq=False)
class Buffer:
    """Memory of one value: `size` reals in a base that the plan chooses, or one given from outside."""

    name: str
    size: int
    level: int  # the segment that fills it
    base: int = -1
    offset: int = 0


@dataclass(frozen=True)
class View:
    """An array within a buffer; strides in reals, 0 along a broadcast axis."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        return self.size == 0 or all(
            s == w for s, w, n in zip(self.strides, contiguous(self.shape), self.shape, strict=True) if n != 1
        )

    def dummy(self) -> np.ndarray:
        """An array of bytes with this shape and these strides; only to index it, its memory is never read."""
        return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), self.shape, self.strides, writeable=False)

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> View:
        """The view that NumPy's own `move` (an index, a transpose, a broadcast) makes of it."""
        before = self.dummy()
        after = move(before)
        if not isinstance(after, np.ndarray):  # a number that NumPy has read, and not a view
            raise AssertionError("a move must give an array: index with an Ellipsis behind")
        start = before.__array_interface__["data"][0]
        shift = after.__array_interface__["data"][0] - start if after.size else 0
        return View(self.buffer, self.offset + shift, after.shape, after.strides)

    def indexed(self, index: tuple) -> View:
        """The view that a basic index makes; an Ellipsis behind it keeps one element an array without axes."""
        index = index if any(item is Ellipsis for item in index) else (*index, Ellipsis)
        return self.moved(lambda x: x[index])

    def offsets(self) -> np.ndarray:
        """The place of every element in the buffer, shaped like the view."""
        places = np.full(self.shape, self.offset, np.int64)
        for axis, (n, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            places += np.reshape(np.arange(n) * stride, (n,) + (1,) * (len(self.shape) - axis - 1))
        return places

    def __str__(self) -> str:
        where = "" if self.is_contiguous and self.size == self.buffer.size else f"+{self.offset}{list(self.strides)}"
        return f"{self.buffer.name}{where}"


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a C-contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


Address = Callable[[Buffer], tuple[int, int]]  # buffer -> (base, offset)


def reference(address: Address, buffer: Buffer, offset: int = 0) -> list[int]:
    base, start = address(buffer)
    return [base, start + offset]


@dataclass(eq=False)
class Operation(abc.ABC):
    """One instruction. `level` is its segment, `line` the user's code it comes from."""

    level: int
    line: str = ""

    @abc.abstractmethod
    def reads(self) -> list[Buffer]:
        """The buffers it reads."""

    @abc.abstractmethod
    def writes(self) -> list[Buffer]:
        """The buffers it fills."""

    @abc.abstractmethod
    def fields(self, address: Address) -> list[int]:
        """Its words after the code and the length."""

    def words(self, address: Address) -> list[int]:
        """Its words for C."""
        fields = self.fields(address)
        return [CODES[type(self).__name__.lower()], len(fields) + 2, *fields]

    @abc.abstractmethod
    def text(self) -> str:
        """What it does, for a reader."""

    @abc.abstractmethod
    def cost(self) -> tuple[int, int]:
        """Floating-point operations, and reals read and written."""


@dataclass(eq=False)
class Micro:
    """One elementwise operation of a chain; registers are numbers into inputs, outputs, temporaries."""

    kind: str
    operation: str
    dst: int
    operands: tuple[int, ...]


@dataclass(eq=False)
class Loop(Operation):
    """A chain of elementwise operations over (rows, inner)."""

    rows: int = 1
    inner: int = 1
    inputs: list[tuple[Buffer, int, int, int]] = field(default_factory=list)  # offset, row step, column step
    outputs: list[Buffer] = field(default_factory=list)
    temporaries: int = 0
    micros: list[Micro] = field(default_factory=list)

    def reads(self) -> list[Buffer]:
        return [x[0] for x in self.inputs]

    def writes(self) -> list[Buffer]:
        return self.outputs

    def fields(self, address: Address) -> list[int]:
        words = [self.rows, self.inner, len(self.inputs), len(self.outputs), self.temporaries, len(self.micros)]
        for buffer, offset, row, column in self.inputs:
            words += [*reference(address, buffer, offset), row, column]
        for buffer in self.outputs:
            words += reference(address, buffer)
        for micro in self.micros:
            a, b, c = (*micro.operands, 0, 0, 0)[:3]
            code = {"unary": UNARY, "binary": BINARY, "where": {"where": 0}}[micro.kind][micro.operation]
            words += [KINDS[micro.kind], code, micro.dst, a, b, c]
        return words

    def text(self) -> str:
        names = [x[0].name for x in self.inputs] + [b.name for b in self.outputs]
        names += [f"r{i}" for i in range(self.temporaries)]
        parts = [f"{names[m.dst]} = {m.operation}({', '.join(names[i] for i in m.operands)})" for m in self.micros]
        return f"loop[{self.rows} x {self.inner}] " + "; ".join(parts)

    def cost(self) -> tuple[int, int]:
        n = self.rows * self.inner
        return n * len(self.micros), n * (len(self.outputs) + sum(1 for x in self.inputs if x[3] or x[2]))


@dataclass(eq=False)
class Matmul(Operation):
    """out (m, n) = a (m, k) b (k, n) [+ bias], or out += weight x that; `batches` of them."""

    m: int = 0
    k: int = 0
    n: int = 0
    batches: int = 1
    out: tuple[Buffer, int, int, int] = None  # type: ignore[assignment] # buffer, offset, row step, column step
    a: tuple[Buffer, int, int, int] = None  # type: ignore[assignment]
    b: tuple[Buffer, int, int, int] = None  # type: ignore[assignment]
    batch_steps: tuple[int, int, int] = (0, 0, 0)
    packed: bool = False
    bias: tuple[Buffer, int] | None = None
    accumulate: bool = False
    fused: bool = False

    def reads(self) -> list[Buffer]:
        return [self.a[0], self.b[0]] + ([self.bias[0]] if self.bias else [])

    def writes(self) -> list[Buffer]:
        return [self.out[0]]

    def fields(self, address: Address) -> list[int]:
        words = [self.m, self.k, self.n, self.batches, self.packed, self.accumulate, self.bias is not None, self.fused]
        for buffer, offset, row, column in (self.out, self.a, self.b):
            words += [*reference(address, buffer, offset), row, column]
        return [*map(int, words), *self.batch_steps, *(reference(address, *self.bias) if self.bias else [0, 0])]

    def text(self) -> str:
        sign = "+=" if self.accumulate else "="
        bias = f" + {self.bias[0].name}" if self.bias else ""
        many = f"{self.batches} x " if self.batches != 1 else ""
        shape = f"{many}({self.m}, {self.k}) @ ({self.k}, {self.n})"
        packed = " packed" if self.packed else ""
        tail = "  then, rows at a time:" if self.fused else ""
        return f"{self.out[0].name} {sign} {self.a[0].name} @ {self.b[0].name}{bias}    {shape}{packed}{tail}"

    def cost(self) -> tuple[int, int]:
        m, k, n = self.m, self.k, self.n
        return 2 * self.batches * m * k * n, self.batches * (m * k + k * n + m * n)


@dataclass(eq=False)
class Pack(Operation):
    """b (k, n) in the order in which the matmul kernels read it."""

    k: int = 0
    n: int = 0
    out: Buffer = None  # type: ignore[assignment]
    b: tuple[Buffer, int, int, int] = None  # type: ignore[assignment]

    def reads(self) -> list[Buffer]:
        return [self.b[0]]

    def writes(self) -> list[Buffer]:
        return [self.out]

    def fields(self, address: Address) -> list[int]:
        buffer, offset, row, column = self.b
        return [self.k, self.n, *reference(address, self.out), *reference(address, buffer, offset), row, column]

    def text(self) -> str:
        return f"{self.out.name} = pack({self.b[0].name})    ({self.k}, {self.n})"

    def cost(self) -> tuple[int, int]:
        return 0, 2 * self.k * self.n


@dataclass(eq=False)
class Reduce(Operation):
    """out (outer, inner) = or += weight x the sum (max, min) over the middle axis of x (outer, middle, inner)."""

    kind: str = "sum"
    shape: tuple[int, int, int] = (1, 1, 1)
    steps: tuple[int, int, int] = (0, 0, 0)
    out: tuple[Buffer, int] = None  # type: ignore[assignment]
    x: tuple[Buffer, int] = None  # type: ignore[assignment]
    accumulate: bool = False

    def reads(self) -> list[Buffer]:
        return [self.x[0]]

    def writes(self) -> list[Buffer]:
        return [self.out[0]]

    def fields(self, address: Address) -> list[int]:
        head = [REDUCTIONS[self.kind], int(self.accumulate), *self.shape, *self.steps]
        return [*head, *reference(address, *self.out), *reference(address, *self.x)]

    def text(self) -> str:
        outer, middle, inner = self.shape
        sign = "+=" if self.accumulate else "="
        return f"{self.out[0].name} {sign} {self.kind}({self.x[0].name})    ({outer}, [{middle}], {inner})"

    def cost(self) -> tuple[int, int]:
        n = math.prod(self.shape)
        return n, n + self.shape[0] * self.shape[2]


@dataclass(eq=False)
class Copy(Operation):
    """out[...] = or += weight x x[...], both views of one shape."""

    out: View = None  # type: ignore[assignment]
    x: View = None  # type: ignore[assignment]
    accumulate: bool = False

    def reads(self) -> list[Buffer]:
        return [self.x.buffer]

    def writes(self) -> list[Buffer]:
        return [self.out.buffer]

    def fields(self, address: Address) -> list[int]:
        shape, steps = collapsed(self.out.shape, [self.out.strides, self.x.strides])
        axes = len(shape)
        pad = [0] * (MAX_AXES - axes)
        words = [axes, int(self.accumulate)]
        words += reference(address, self.out.buffer, self.out.offset) + reference(address, self.x.buffer, self.x.offset)
        return [*words, *shape, *pad, *steps[0], *pad, *steps[1], *pad]

    def text(self) -> str:
        return f"{self.out} {'+=' if self.accumulate else '='} {self.x}    {self.out.shape}"

    def cost(self) -> tuple[int, int]:
        return 0, 2 * self.out.size


@dataclass(eq=False)
class Gather(Operation):
    """out[i] = x[index[i]]; `scatter`: out[index[i]] += x[i], into what the buffer holds."""

    out: tuple[Buffer, int] = None  # type: ignore[assignment]
    x: tuple[Buffer, int] = None  # type: ignore[assignment]
    index: np.ndarray = None  # type: ignore[assignment]
    scatter: bool = False

    def reads(self) -> list[Buffer]:
        return [self.x[0], *([self.out[0]] if self.scatter else [])]

    def writes(self) -> list[Buffer]:
        return [self.out[0]]

    def fields(self, address: Address) -> list[int]:
        return [
            self.index.size,
            *reference(address, *self.out),
            *reference(address, *self.x),
            *self.index.ravel().tolist(),
        ]

    def words(self, address: Address) -> list[int]:
        fields = self.fields(address)
        return [CODES["scatter" if self.scatter else "gather"], len(fields) + 2, *fields]

    def text(self) -> str:
        if self.scatter:
            return f"{self.out[0].name}[index] += {self.x[0].name}    ({self.index.size},)"
        return f"{self.out[0].name} = {self.x[0].name}[index]    ({self.index.size},)"

    def cost(self) -> tuple[int, int]:
        return self.index.size if self.scatter else 0, 3 * self.index.size


@dataclass(eq=False)
class Cumsum(Operation):
    """Running sums along the middle axis of x (outer, middle, inner)."""

    shape: tuple[int, int, int] = (1, 1, 1)
    out: tuple[Buffer, int] = None  # type: ignore[assignment]
    x: tuple[Buffer, int] = None  # type: ignore[assignment]

    def reads(self) -> list[Buffer]:
        return [self.x[0]]

    def writes(self) -> list[Buffer]:
        return [self.out[0]]

    def fields(self, address: Address) -> list[int]:
        return [*self.shape, *reference(address, *self.out), *reference(address, *self.x)]

    def text(self) -> str:
        outer, middle, inner = self.shape
        return f"{self.out[0].name} = cumsum({self.x[0].name})    ({outer}, [{middle}], {inner})"

    def cost(self) -> tuple[int, int]:
        n = math.prod(self.shape)
        return n, 2 * n


def collapsed(shape: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[list[int], list[list[int]]]:
    """Axes that all strides can walk as one are joined; axes of length 1 go. At least one axis stays."""
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        if lengths and all(s[-1] == st[axis] * n for s, st in zip(steps, strides, strict=True)):
            lengths[-1] *= n
            for s, st in zip(steps, strides, strict=True):
                s[-1] = st[axis]
        else:
            lengths.append(n)
            for s, st in zip(steps, strides, strict=True):
                s.append(st[axis])
    if not lengths:
        lengths, steps = [1], [[0] for _ in strides]
    return lengths, steps


def describe(x: Any) -> str:
    """A shape and dtype, for a listing."""
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"
