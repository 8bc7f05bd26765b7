"""Matrix products in Programs: leading axes as rows or as a batch, and b in the kernel's own order where that pays.

csrc/nc_matmul.inc says what that order is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .._kernels import rk
from .operations import ONCE, Buffer, Matmul, Pack, View, collapsed, contiguous

if TYPE_CHECKING:
    from .lower import Lowering
    from .trace import Instruction

__all__ = ["matmul"]

WORTH_PACKING = 2048  # multiplications below which a matmul reads b in place


def matmul(low: Lowering, step: Instruction) -> None:
    """a @ b, 1-D operands as NumPy takes them; leading axes of a are rows where b is a matrix."""
    a, b = low.view(step.operands[0]), low.view(step.operands[1])
    level = low.level[step.out]
    out = low.fresh(step.out)
    if len(a.shape) == 1:
        a = a.moved(lambda x: x[None, :])
    if len(b.shape) == 1:
        b = b.moved(lambda x: x[:, None])
    n = b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if len(b.shape) == 2 and len(a.shape) > 2:
        a = _rows(low, a, level)
        batch = ()
    (m, k), batches = a.shape[-2:], math.prod(batch)
    if batch:
        a, b = _batched(low, a, batch, level), _batched(low, b, batch, level)
    operation = Matmul(
        level, step.line, m=m, k=k, n=n, batches=batches, out=(out.buffer, 0, n, 1), a=_matrix(a), b=_matrix(b),
        batch_steps=(m * n, a.strides[0], b.strides[0]) if batch else (0, 0, 0),
    )  # fmt: skip
    if len(step.operands) == 3:
        operation.bias = _bias(low, step.operands[2], n, level)
    _pack(low, operation, b, bool(batch))
    low.add(operation)


def _rows(low: Lowering, a: View, level: int) -> View:
    """(..., m, k) as a matrix."""
    shape = (math.prod(a.shape[:-1]), a.shape[-1])
    lengths, steps = collapsed(a.shape[:-1], [a.strides[:-1]])
    if len(lengths) > 1:
        a = low.copied(a, level)
        return View(a.buffer, a.offset, shape, contiguous(shape))
    return View(a.buffer, a.offset, shape, (steps[0][0], a.strides[-1]))


def _batched(low: Lowering, x: View, batch: tuple, level: int) -> View:
    """(*batch, r, c) with the batch as one axis."""
    x = x.moved(lambda v: np.broadcast_to(v, batch + v.shape[-2:]))
    lengths, steps = collapsed(batch, [x.strides[:-2]])
    if len(lengths) > 1:
        x = low.copied(x, level)
        lengths, steps = collapsed(batch, [x.strides[:-2]])
    return View(x.buffer, x.offset, (math.prod(batch), *x.shape[-2:]), (steps[0][0], *x.strides[-2:]))


def _bias(low: Lowering, number: int, n: int, level: int) -> tuple[Buffer, int]:
    bias = low.view(number)
    bias = bias.moved(lambda x: np.reshape(x, (n,)) if x.ndim == 1 else x[0])
    if bias.strides != (1,) and n != 1:
        bias = low.copied(bias, level)
    return bias.buffer, bias.offset


def _pack(low: Lowering, operation: Matmul, b: View, batched: bool) -> None:
    """Give the kernel b in its own order, where that pays: once a solve if b depends on args alone."""
    m, k, n = operation.m, operation.k, operation.n
    constant = b.buffer.level == ONCE
    if batched or n < 8 or k < 4 or not (constant or (m >= 32 and m * k * n >= WORTH_PACKING)):
        return
    level = ONCE if constant else operation.level
    key = (id(b.buffer), b.offset, b.shape, b.strides, level)
    if key not in low.packs:
        size = rk.matmul_packed_size(k, n, low.real)
        low.packs[key] = Buffer(f"packed_{b.buffer.name}", size, level)
        low.add(Pack(level, operation.line, k=k, n=n, out=low.packs[key], b=_matrix(b)))
    operation.b, operation.packed = (low.packs[key], 0, 0, 0), True


def _matrix(view: View) -> tuple[Buffer, int, int, int]:
    return view.buffer, view.offset, view.strides[-2], view.strides[-1]
