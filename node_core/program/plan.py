"""Where every buffer of a Program lies: results in place where they can be, the rest planned by liveness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .convolution import ConvWeight
from .lower import Lowering
from .operations import (
    BACKWARD,
    CODES,
    FORWARD,
    ONCE,
    PARAMETERS,
    Buffer,
    Copy,
    Matmul,
    Operation,
    Reduce,
    View,
    contiguous,
)
from .winograd import WinogradWeight

__all__ = ["Plan"]

ALIGNMENT = 16  # reals: a cache line of float32
BASES = {
    "once": 0, "saved": 1, "carry": 2, "scratch": 3, "t": 4, "y": 5, "cotangent": 6, "dy": 7, "y_bar": 8, "t_bar": 9,
    "parameters": 10,
}  # fmt: skip
PARAMETER_BASE, FREE = BASES["parameters"], CODES["base_free"]
OUTPUT_LEVEL = {"dy": FORWARD, "y_bar": BACKWARD, "t_bar": BACKWARD}


@dataclass
class Plan:
    """The memory of one lowered graph: sizes of the three blocks, and `words` for C.

    arguments: how many arguments; results: of a plain function. Bases: the fixed ones, the constants, the
    arguments, the results.
    """

    lowered: Lowering
    arguments: int
    once: int = 0
    saved: int = 0
    carry: int = 0
    scratch: int = 0
    parameters: int = 0
    late: dict[tuple[int, int], Buffer] = field(default_factory=dict)  # (input, segment) -> its saved copy

    def __post_init__(self) -> None:
        lowered = self.lowered
        lowered.constant_buffer.base = FREE
        for role, buffer in lowered.inputs.items():
            buffer.base = BASES[role] if isinstance(role, str) else FREE + 1 + role
        self._made = {b: op for ops in lowered.operations for op in ops for b in op.writes()}
        self._outputs()
        self._keep_inputs()
        self._place()

    # --- results ---

    def _outputs(self) -> None:
        """Let each result be written where it belongs, or copy it there."""
        lowered, graph = self.lowered, self.lowered.graph
        placed: set[Buffer] = set()
        parameter_buffer = Buffer("parameters", 0, PARAMETERS, PARAMETER_BASE)
        self._times = {n: graph.outputs.count(n) for n in graph.outputs}
        for number, role in zip(graph.outputs, lowered.roles.outputs, strict=True):
            view = lowered.view(number)
            if isinstance(role, str) or lowered.roles.plain:
                level = OUTPUT_LEVEL.get(role, FORWARD)
                base = BASES[role] if isinstance(role, str) else FREE + 1 + self.arguments + role
                self._result(view, level, base, placed, str(role))
            else:
                target = View(parameter_buffer, self.parameters, view.shape, contiguous(view.shape))
                self._accumulated(number, view, target)
                self.parameters += view.size
        parameter_buffer.size = self.parameters

    def _result(self, view: View, level: int, base: int, placed: set[Buffer], name: str) -> None:
        buffer = view.buffer
        whole = view.is_contiguous and view.offset == 0 and view.size == buffer.size
        later = any(buffer in op.reads() for ops in self.lowered.operations[level + 1 :] for op in ops)
        if buffer in self._made and buffer.level == level and whole and not later and buffer not in placed:
            buffer.base = base
            placed.add(buffer)
            return
        out = Buffer(name, view.size, level, base)
        self.lowered.add(Copy(level, out=View(out, 0, view.shape, contiguous(view.shape)), x=view))

    def _accumulated(self, number: int, view: View, target: View) -> None:
        """target += weight x view; the product or the sum that makes it adds it up itself where it can."""
        lowered, buffer = self.lowered, view.buffer
        if buffer is lowered.constant_buffer and self._all_zero(view):
            return
        maker = self._made.get(buffer)
        alone = self._times[number] == 1 and not any(buffer in op.reads() for ops in lowered.operations for op in ops)
        if alone and buffer.level == PARAMETERS and view.size == buffer.size and view.offset == 0:
            if isinstance(maker, Matmul) and maker.batches == 1 and not maker.accumulate:
                steps = (maker.n, 1) if view.is_contiguous else (1, maker.m) if _is_transposed(view, maker) else None
                if steps is not None:
                    maker.out, maker.accumulate = (target.buffer, target.offset, *steps), True
                    return
            if isinstance(maker, (Reduce, ConvWeight, WinogradWeight)) and view.is_contiguous and not maker.accumulate:
                maker.out, maker.accumulate = (target.buffer, target.offset), True
                return
        lowered.add(Copy(PARAMETERS, out=target, x=view, accumulate=True))

    def _all_zero(self, view: View) -> bool:
        return not np.any(np.asarray(self.lowered.constants)[view.offsets()])

    # --- what later segments need of the inputs ---

    def _keep_inputs(self) -> None:
        """t, y and the cotangent are gone when a later segment runs: it reads a copy in the saved block."""
        operations = self.lowered.operations
        for role, level in (("t", FORWARD), ("y", FORWARD), ("cotangent", BACKWARD)):
            buffer = self.lowered.inputs.get(role)
            if buffer is None:
                continue
            late = [k for k in range(level + 1, 4) if any(buffer in op.reads() for op in operations[k])]
            if not late:
                continue
            kept = Buffer(f"kept_{buffer.name}", buffer.size, level)
            flat = (buffer.size,)
            copy = Copy(level, out=View(kept, 0, flat, (1,)), x=View(buffer, 0, flat, (1,)))
            operations[level].insert(0, copy)
            for k in late:
                self.late[id(buffer), k] = kept

    def _seen(self, buffer: Buffer, level: int) -> Buffer:
        return self.late.get((id(buffer), level), buffer)

    # --- memory ---

    def _place(self) -> None:
        operations = self.lowered.operations
        last: dict[Buffer, int] = {}  # the last segment that reads a buffer
        order: list[Buffer] = []
        for level, ops in enumerate(operations):
            for op in ops:
                empty = [b for b in op.reads() if b.size == 0]  # nobody writes it, and yet it is looked up
                order += [b for b in (*op.writes(), *empty) if b.base < 0 and b not in order]
                for b in op.reads():
                    last[self._seen(b, level)] = level
        inside: list[list[Buffer]] = [[], [], [], []]
        for buffer in order:
            if buffer.level == ONCE:
                buffer.base, buffer.offset = BASES["once"], self.once
                self.once += _rounded(buffer.size)
            elif last.get(buffer, buffer.level) > buffer.level:
                block = "saved" if buffer.level == FORWARD else "carry"
                buffer.base, buffer.offset = BASES[block], getattr(self, block)
                setattr(self, block, buffer.offset + _rounded(buffer.size))
            else:
                inside[buffer.level].append(buffer)
        for ops, buffers in zip(operations, inside, strict=True):
            self.scratch = max(self.scratch, _by_liveness(ops, buffers))

    def words(self, level: int) -> np.ndarray:
        """A segment as int64 words."""

        def address(buffer: Buffer) -> tuple[int, int]:
            buffer = self._seen(buffer, level)
            return buffer.base, buffer.offset

        found: list[int] = []
        for op in self.lowered.operations[level]:
            found += op.words(address)
        return np.array(found, np.int64)


def _is_transposed(view: View, maker: Matmul) -> bool:
    return view.shape == (maker.n, maker.m) and view.strides == (1, maker.n)


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _by_liveness(operations: Sequence[Operation], buffers: list[Buffer]) -> int:
    """Offsets in the scratch block: a buffer's place is free again after its last use. Returns the size.

    A product and the chain fused to it run interleaved, so they are one moment.
    """
    moment, born, dies = 0, {}, {}
    for op in operations:
        for b in (*op.reads(), *op.writes()):
            born.setdefault(b, moment)
            dies[b] = moment
        moment += 0 if isinstance(op, Matmul) and op.fused else 1
    taken: list[tuple[int, int, Buffer]] = []  # (offset, end, buffer)
    size = 0
    for buffer in sorted(buffers, key=lambda b: (born[b], -b.size)):
        taken = sorted((t for t in taken if dies[t[2]] >= born[buffer]), key=lambda t: t[0])
        offset, need = 0, _rounded(buffer.size)
        for start, end, _ in taken:
            if start - offset >= need:
                break
            offset = max(offset, end)
        buffer.base, buffer.offset = BASES["scratch"], offset
        taken.append((offset, offset + need, buffer))
        size = max(size, offset + need)
    return size


def bases_of(arguments: int, results: int) -> int:
    """How many bases a run has."""
    return FREE + 1 + arguments + results


def base_name(base: int) -> Any:
    """A base for a reader."""
    return next((name for name, number in BASES.items() if number == base), base)
