"""Elementwise primitives in Programs: those of one shape that can run together are one Loop, a chain over blocks.

A Loop over the rows of a product runs behind it, block by block of those rows, while they are near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .operations import BINARY, MAX_REGISTERS, UNARY, Loop, Matmul, Micro, Operation, View, collapsed, contiguous

if TYPE_CHECKING:
    from .lower import Lowering
    from .trace import Instruction

__all__ = ["KERNELS", "SYNONYMS", "bring_together", "loops"]

# Primitives whose name is that of their kernel, and others that are one.
SYNONYMS = {
    "invert": "logical_not", "bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_xor": "logical_xor",
}  # fmt: skip
MOST_MICROS = 24  # of one Loop


KERNELS: dict[str, tuple[str, str]] = {  # of an elementwise primitive, its kind and its kernel
    **{name: ("unary", name) for name in UNARY},
    **{name: ("binary", name) for name in BINARY},
    "where": ("where", "where"),
}
KERNELS |= {name: KERNELS[kernel] for name, kernel in SYNONYMS.items()}


def loops(low: Lowering, level: int, steps: list[Instruction]) -> None:
    """One Loop for these instructions, or several where they need too many registers."""
    start = 0
    while start < len(steps):
        stop = min(start + MOST_MICROS, len(steps))
        while not _fits(low, steps[start:stop]):
            stop -= 1
        _loop(low, level, steps[start:stop])
        start = stop


def _fits(low: Lowering, steps: list[Instruction]) -> bool:
    operands = {i for step in steps for i in step.operands} | {step.out for step in steps}
    return len(steps) == 1 or len(operands) <= MAX_REGISTERS


def _loop(low: Lowering, level: int, steps: list[Instruction]) -> None:
    shape = low.graph.values[steps[0].out].shape
    made = [step.out for step in steps]
    kept = [number for number in made if low.used_elsewhere(number, set(made))]
    inputs: dict[int, View] = {}
    for step in steps:
        for i in step.operands:
            if i not in made and i not in inputs:
                view = low.view(i)
                inputs[i] = view.moved(lambda x: np.broadcast_to(x, shape)) if view.shape != shape else view
    rows, inner, walks = _walks(low, list(inputs.values()), shape, level)
    register = {i: k for k, i in enumerate(inputs)}
    outputs = [low.fresh(number).buffer for number in kept]
    register.update({number: len(inputs) + k for k, number in enumerate(kept)})
    loop = Loop(level, steps[0].line, rows, inner, walks, outputs)
    _write_micros(low, loop, steps, register)
    low.add(loop)


def _write_micros(low: Lowering, loop: Loop, steps: list[Instruction], register: dict[int, int]) -> None:
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
        kind, name = KERNELS[step.primitive.name]
        loop.micros.append(Micro(kind, name, register[step.out], operands))
        for i in set(step.operands):
            if register[i] >= first and last[i] == k:
                free.append(register[i])


def _walks(low: Lowering, views: list[View], shape: tuple, level: int) -> tuple[int, int, list]:
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
        views[worst] = _copied_once(low, views[worst], level)
    rows, inner = (1, lengths[0]) if len(lengths) == 1 else lengths
    walks = []
    for view, step in zip(views, steps[1:], strict=True):
        if len(lengths) == 1:  # one row; a whole walk is row step = inner, one number 0
            row, column = (step[0] * inner, step[0])
        else:
            row, column = step
        walks.append((view.buffer, view.offset, row, column))
    return rows, inner, walks


def _copied_once(low: Lowering, view: View, level: int) -> View:
    """A copy that repeats along the first axes as the view does: contiguous behind them."""
    repeated = next((k for k, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)) if n > 1 and s), 0)
    core = view.moved(lambda x: x[(0,) * repeated + (Ellipsis,)])
    if core.is_contiguous:  # no gain: repeat it in memory
        return low.copied(view, level)
    return low.copied(core, level).moved(lambda x: np.broadcast_to(x, view.shape))


def bring_together(segment: list[Operation]) -> None:
    """Move a Loop that works on a matmul's rows right behind it, and run it block by block of those rows.

    It may, where the matmul is the last of those that write what it reads.
    """
    written: dict[int, tuple[float, Operation]] = {}  # of a buffer's id: place and operation
    behind: dict[int, Operation] = {}  # of a matmul's id
    for place, operation in enumerate(segment):
        at: float = place
        if isinstance(operation, Loop):
            writers = [written[id(buffer)] for buffer in operation.reads() if id(buffer) in written]
            before, last = max(writers, key=lambda found: found[0], default=(0, None))
            if isinstance(last, Matmul) and _rows_only(last, operation):
                last.fused, behind[id(last)], at = True, operation, before + 0.5
        written.update((id(buffer), (at, operation)) for buffer in operation.writes())
    moved = {id(loop) for loop in behind.values()}
    stayed = [operation for operation in segment if id(operation) not in moved]
    segment[:] = [each for x in stayed for each in ([x, behind[id(x)]] if id(x) in behind else [x])]


def _rows_only(product: Matmul, loop: Loop) -> bool:
    """Whether the chain reads the product element by element in its own order."""
    flat = all(
        (offset, row, column) == (0, loop.inner, 1)
        for buffer, offset, row, column in loop.inputs
        if buffer is product.out[0]
    )
    return flat and product.batches == 1 and not product.fused and loop.rows * loop.inner == product.m * product.n
