"""Convolutions in Programs: their two instructions, and how the three primitives become one of them.

csrc/nc_convolution.inc says what they do: images are copied into frames of zeros, a few at a time, and two tables
of offsets into a frame stand for the matrix of all windows. All is in reals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .operations import CODES, Address, Buffer, Copy, Operation, View, contiguous, reference
from .winograd import fits, winograd, winograd_weight

if TYPE_CHECKING:
    from .lower import Lowering
    from .trace import Instruction

__all__ = ["Conv", "ConvWeight", "conv2d", "conv2d_input", "conv2d_weight"]

NEAR = 1 << 15  # of the frames that are there at once, and of their product: they stay in the second-level cache
NEAR_PACKED = 3 << 12  # of the cotangents: they are read once for each few weights
COLUMNS, SPARE_ROWS = CODES["conv_columns"], CODES["conv_rows"]


@dataclass(eq=False)
class Frame:
    """x (images, channels, height, width) with element (c, h, w) at start + c plane + h row + w column of `size`."""

    x: View
    size: int
    start: int
    plane: int
    row: int
    column: int
    block: int = 1  # images at once
    buffer: Buffer = None  # type: ignore[assignment] # (block, size)

    def fields(self, address: Address) -> list[int]:
        """The words of a nc_frame."""
        x = reference(address, self.x.buffer, self.x.offset)
        head = [*self.x.shape, self.block, *x, *self.x.strides, *reference(address, self.buffer)]
        return [*head, self.size, self.start, self.plane, self.row, self.column]

    def taken(self, block: int, level: int) -> None:
        """Its memory, for so many images at once."""
        self.block = block
        self.buffer = Buffer(f"frame_{self.x.buffer.name}", block * self.size, level)


@dataclass(eq=False)
class Conv(Operation):
    """out (images, n, places) = the sum over k of frame[places[i] + depths[k]] weights (depth, columns)."""

    frame: Frame = None  # type: ignore[assignment]
    n: int = 0
    columns: int = 0
    places: np.ndarray = None  # type: ignore[assignment]
    depths: np.ndarray = None  # type: ignore[assignment]
    out: Buffer = None  # type: ignore[assignment]
    weights: Buffer = None  # type: ignore[assignment]
    product: Buffer = None  # type: ignore[assignment]

    def reads(self) -> list[Buffer]:
        return [self.frame.x.buffer, self.weights]

    def writes(self) -> list[Buffer]:
        return [self.out, self.frame.buffer, self.product]

    def fields(self, address: Address) -> list[int]:
        sizes = [self.n, self.places.size, self.depths.size, self.columns]
        operands = [word for b in (self.out, self.weights, self.product) for word in reference(address, b)]
        return [*self.frame.fields(address), *sizes, *operands, *self.places.tolist(), *self.depths.tolist()]

    def text(self) -> str:
        shape = f"{self.frame.x.shape[0]} x {self.places.size} places, ({self.depths.size}, {self.n})"
        return f"{self.out.name} = conv({self.frame.x}, {self.weights.name})    {shape}"

    def cost(self) -> tuple[int, int]:
        images = self.frame.x.shape[0]
        flops = 2 * images * self.places.size * self.depths.size * self.n
        return flops, self.frame.x.size + self.depths.size * self.n + images * self.places.size * self.n


@dataclass(eq=False)
class ConvWeight(Operation):
    """out (n, taps) = or += weight x the sum over images and places of frame[taps[i] + depths[k]] g (.., n, places)."""

    frame: Frame = None  # type: ignore[assignment]
    n: int = 0
    places: int = 0
    columns: int = 0
    taps: np.ndarray = None  # type: ignore[assignment]
    depths: np.ndarray = None  # type: ignore[assignment]
    out: tuple[Buffer, int] = None  # type: ignore[assignment]
    g: View = None  # type: ignore[assignment]
    product: Buffer = None  # type: ignore[assignment]
    packed: Buffer = None  # type: ignore[assignment]
    accumulate: bool = False

    def reads(self) -> list[Buffer]:
        return [self.frame.x.buffer, self.g.buffer]

    def writes(self) -> list[Buffer]:
        return [self.out[0], self.frame.buffer, self.product, self.packed]

    def fields(self, address: Address) -> list[int]:
        sizes = [self.n, self.places, self.taps.size, self.columns, int(self.accumulate)]
        operands = [*reference(address, *self.out), *reference(address, self.g.buffer, self.g.offset)]
        operands += [*reference(address, self.product), *reference(address, self.packed)]
        return [*self.frame.fields(address), *sizes, *operands, *self.taps.tolist(), *self.depths.tolist()]

    def text(self) -> str:
        sign = "+=" if self.accumulate else "="
        shape = f"({self.taps.size}, {self.frame.x.shape[0]} x {self.places} places) @ (.., {self.n})"
        return f"{self.out[0].name} {sign} conv_weight({self.frame.x}, {self.g})    {shape}"

    def cost(self) -> tuple[int, int]:
        flops = 2 * self.frame.x.shape[0] * self.places * self.taps.size * self.n
        return flops, self.frame.x.size + self.taps.size * self.n + self.g.size


def _grid(*axes: tuple[Any, int]) -> np.ndarray:
    """Offsets of a grid, in C order: one (indices or their count, step) for each axis."""
    table = np.zeros(1, np.int64)
    for indices, step in axes:
        indices = np.arange(indices) if isinstance(indices, int) else indices
        table = np.add.outer(table, indices * step)
    return table.ravel()


def _padded(x: View, padding: tuple[int, int]) -> Frame:
    """x between `padding` zeros."""
    (_, channels, height, width), (ph, pw) = x.shape, padding
    row = width + 2 * pw
    plane = (height + 2 * ph) * row
    return Frame(x, channels * plane, ph * row + pw, plane, row, 1)


def _columns(n: int) -> int:
    return -(-n // COLUMNS) * COLUMNS


def _weights(low: Lowering, w: View, axes: tuple[int, ...], level: int) -> Buffer:
    """w with its axes in another order as (depth, columns), once a solve if it depends on args alone."""
    level = low.once_or(w, level)
    key = ("conv", id(w.buffer), w.offset, w.shape, w.strides, axes, level)
    if key not in low.packs:
        x = w.moved(lambda v: np.transpose(v, axes))
        shape = (*x.shape[:-1], _columns(x.shape[-1]))
        buffer = Buffer(f"kernel_{w.buffer.name}", math.prod(shape), level)
        out = View(buffer, 0, shape, contiguous(shape))
        if shape != x.shape:  # numbers that nobody reads, but that cost time where they happen to be subnormal
            low.add(Copy(level, out=out, x=low.constant(0.0).moved(lambda v: np.broadcast_to(v, shape))))
        if x.size:
            low.add(Copy(level, out=out.moved(lambda v: v[..., : x.shape[-1]]), x=x))
        low.packs[key] = buffer
    return low.packs[key]


def _add_conv(low: Lowering, step: Instruction, frame: Frame, places: np.ndarray, depths: np.ndarray, w: tuple) -> None:
    """The instruction, with its memory; w is (view, order of its axes)."""
    level, out = low.level[step.out], low.fresh(step.out)
    n = out.shape[1]
    columns = _columns(n)
    weights = _weights(low, *w, level)
    frame.taken(_block(frame, places.size * columns, NEAR), level)
    product = Buffer("product", (frame.block * places.size + SPARE_ROWS) * columns, level)
    low.add(Conv(level, step.line, frame, n, columns, places, depths, out.buffer, weights, product))


def _block(frame: Frame, other: int, near: int) -> int:
    """How many images at once: frames within NEAR, what else is made of each within `near`; at least one."""
    return max(1, min(frame.x.shape[0], NEAR // max(1, frame.size), near // max(1, other)))


def conv2d(low: Lowering, step: Instruction) -> None:
    """x (N, C, H, W) with w (O, C, kh, kw)."""
    x, w = (low.view(i) for i in step.operands)
    if fits(w.shape[2:], step.params["stride"], step.params["padding"], x.shape[1], w.shape[0]):
        winograd(low, step, x, w.moved(lambda v: np.swapaxes(v, 0, 1)), step.params["padding"])
        return
    (sh, sw), (kh, kw), (rows, columns) = step.params["stride"], w.shape[2:], low.graph.values[step.out].shape[2:]
    frame = _padded(x, step.params["padding"])
    places = _grid((rows, sh * frame.row), (columns, sw))
    depths = _grid((x.shape[1], frame.plane), (kh, frame.row), (kw, 1))
    _add_conv(low, step, frame, places, depths, (w, (1, 2, 3, 0)))


def conv2d_input(low: Lowering, step: Instruction) -> None:
    """g (N, O, Ho, Wo) with w (O, C, kh, kw) turned around: g lies `stride` apart between zeros.

    x[u] is the sum over i of g[(u + ph - i) / sh] w[i]; the margin before g holds what u + ph - i < 0 asks for.
    """
    g, w = (low.view(i) for i in step.operands)
    if fits(w.shape[2:], step.params["stride"], step.params["padding"], g.shape[1], w.shape[1]):
        ph, pw = step.params["padding"]
        winograd(low, step, g, w.moved(lambda v: np.flip(v, (2, 3))), (2 - ph, 2 - pw))
        return
    origin, margin, length = [], [], []
    for axis in (0, 1):
        n, size, k = g.shape[axis + 2], step.params["size"][axis], w.shape[axis + 2]
        s, p = step.params["stride"][axis], step.params["padding"][axis]
        margin.append(max(0, k - 1 - p))
        origin.append(margin[-1] + p - (k - 1))
        length.append(margin[-1] + max((n - 1) * s, size - 1 + p, 0) + 1)
    (sh, sw), (rows, columns), (kh, kw), row = step.params["stride"], step.params["size"], w.shape[2:], length[1]
    plane = length[0] * row
    frame = Frame(g, g.shape[1] * plane, margin[0] * row + margin[1], plane, sh * row, sw)
    places = _grid((rows, row), (columns, 1)) + origin[0] * row + origin[1]
    depths = _grid((g.shape[1], plane), (np.arange(kh)[::-1], row), (np.arange(kw)[::-1], 1))
    _add_conv(low, step, frame, places, depths, (w, (0, 2, 3, 1)))


def conv2d_weight(low: Lowering, step: Instruction) -> None:
    """x (N, C, H, W) with g (N, O, Ho, Wo)."""
    x, g = (low.view(i) for i in step.operands)
    level = low.level[step.out]
    g = g if g.is_contiguous else low.copied(g, level)
    if fits(step.params["kernel"], step.params["stride"], step.params["padding"], x.shape[1], g.shape[1]):
        winograd_weight(low, step, x, g)
        return
    (sh, sw), (kh, kw) = step.params["stride"], step.params["kernel"]
    frame, columns = _padded(x, step.params["padding"]), _columns(g.shape[1])
    places = _grid((g.shape[2], sh * frame.row), (g.shape[3], sw))
    frame.taken(_block(frame, places.size * columns, NEAR_PACKED), level)
    taps = _grid((x.shape[1], frame.plane), (kh, frame.row), (kw, 1))
    depths = _grid((frame.block, frame.size), (places, 1))
    product = Buffer("product", (taps.size + SPARE_ROWS) * columns, level)
    packed = Buffer(f"packed_{g.buffer.name}", frame.block * places.size * columns, level)
    out = (low.fresh(step.out).buffer, 0)
    low.add(
        ConvWeight(level, step.line, frame, g.shape[1], places.size, columns, taps, depths, out, g, product, packed)
    )
