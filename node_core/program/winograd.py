"""Convolutions of 3 by 3 kernels and stride 1 with fewer multiplications; csrc/nc_winograd.inc says how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .operations import CODES, Address, Buffer, Operation, View, reference

if TYPE_CHECKING:
    from .lower import Lowering
    from .trace import Instruction

__all__ = ["Winograd", "WinogradKernel", "WinogradWeight", "fits", "winograd", "winograd_weight"]

SIDES = (2, 3)  # of a tile of outputs
NEAR = 160_000  # reals of the transformed inputs and outputs that are there at once
COLUMNS = CODES["conv_columns"]
FEWEST = 8  # channels, below which the transforms cost more than they save


def _padded(n: int) -> int:
    return -(-n // COLUMNS) * COLUMNS


def _elements(side: int) -> int:
    """How many elements a transformed tile has."""
    return (side + 2) ** 2


def _apart(side: int, rows: int, columns: int) -> int:
    """The size of all elements, each (rows, columns) and a few unused reals."""
    return _elements(side) * (rows * columns + COLUMNS)


def _tiles(side: int, size: tuple[int, int]) -> tuple[int, int]:
    """How many tiles cover an image, down and across."""
    return -(-size[0] // side), -(-size[1] // side)


def _side(size: tuple[int, int]) -> int:
    """That of the tiles which cover an output image with the fewest multiplications."""
    return min(SIDES, key=lambda side: _elements(side) * math.prod(_tiles(side, size)))


def fits(kernel: tuple, stride: tuple, padding: tuple, channels: int, n: int) -> bool:
    """Whether a convolution is of the form that this is for, and wide enough to gain."""
    return kernel == (3, 3) and stride == (1, 1) and max(padding) <= 2 and min(channels, n) >= FEWEST


@dataclass(eq=False)
class Winograd(Operation):
    """out (images, n, height, width) from x (images, channels, ...) and transformed kernels, `weights`."""

    x: View = None  # type: ignore[assignment]
    margin: tuple[int, int] = (0, 0)  # zeros above and left of an image
    n: int = 0
    size: tuple[int, int] = (0, 0)  # of an output image
    out: tuple[Buffer, int] = None  # type: ignore[assignment]
    weights: tuple[Buffer, int] = None  # type: ignore[assignment]
    accumulate: bool = False

    def __post_init__(self) -> None:
        self.side = _side(self.size)
        self.tiles = _tiles(self.side, self.size)
        images, channels = self.x.shape[:2]
        self.deep, self.wide = _padded(channels), _padded(self.n)
        tiles = math.prod(self.tiles)
        each = _elements(self.side) * tiles * (self.deep + self.wide)
        self.block = max(1, min(images, NEAR // max(1, each)))
        frame = self.block * math.prod(self.side * n + 2 for n in self.tiles) * self.deep
        sizes = {
            "frame": frame,
            "inputs": _apart(self.side, self.block * tiles, self.deep),
            "outputs": _apart(self.side, self.block * tiles, self.wide) + self.behind(),
            "image": self.side**2 * tiles * self.wide,
        }
        self.scratch = [Buffer(name, size, self.level) for name, size in sizes.items()]

    def behind(self) -> int:
        """Reals of `outputs` behind those of the tiles."""
        return 0

    def reads(self) -> list[Buffer]:
        return [self.x.buffer, self.weights[0]]

    def writes(self) -> list[Buffer]:
        return [self.out[0], *self.scratch]

    def fields(self, address: Address) -> list[int]:
        x = reference(address, self.x.buffer, self.x.offset)
        words = [*self.x.shape, self.block, *x, *self.x.strides, *self.margin]
        words += [self.side, *self.tiles, self.n, *self.size, self.deep, self.wide, int(self.accumulate)]
        words += [*reference(address, *self.out), *reference(address, *self.weights)]
        return words + [word for b in self.scratch for word in reference(address, b)]

    def _shape(self) -> str:
        tiles = f"{self.x.shape[0]} x {self.tiles[0]} x {self.tiles[1]} tiles"
        return f"{tiles}, {_elements(self.side)} x ({self.x.shape[1]}, {self.n})"

    def text(self) -> str:
        return f"{self.out[0].name} = winograd({self.x}, {self.weights[0].name})    {self._shape()}"

    def cost(self) -> tuple[int, int]:
        channels, kernels = self.x.shape[1], _elements(self.side) * self.x.shape[1] * self.n
        places = self.x.shape[0] * math.prod(self.tiles)
        return 2 * kernels * places, self.x.size + kernels + self.side**2 * places * (self.n + channels)


@dataclass(eq=False)
class WinogradWeight(Winograd):
    """out (n, channels, 3, 3) = or += weight x the gradient of the kernels; `weights` is the cotangent."""

    def behind(self) -> int:
        return _apart(self.side, self.deep, self.wide)

    def text(self) -> str:
        sign = "+=" if self.accumulate else "="
        return f"{self.out[0].name} {sign} winograd_weight({self.x}, {self.weights[0].name})    {self._shape()}"


@dataclass(eq=False)
class WinogradKernel(Operation):
    """out (elements, deep, wide) = the transformed kernels w (channels, n, 3, 3)."""

    out: Buffer = None  # type: ignore[assignment]
    w: View = None  # type: ignore[assignment]
    side: int = 0

    def reads(self) -> list[Buffer]:
        return [self.w.buffer]

    def writes(self) -> list[Buffer]:
        return [self.out]

    def fields(self, address: Address) -> list[int]:
        channels, n = self.w.shape[:2]
        words = [channels, n, self.side, _padded(channels), _padded(n), *reference(address, self.out)]
        return [*words, *reference(address, self.w.buffer, self.w.offset), *self.w.strides]

    def text(self) -> str:
        return f"{self.out.name} = winograd_kernel({self.w})    {self.w.shape}"

    def cost(self) -> tuple[int, int]:
        return 4 * self.w.size, self.w.size + self.out.size


def _rows_together(low: Lowering, x: View, level: int) -> View:
    return x if x.strides[3] == 1 or x.shape[3] == 1 else low.copied(x, level)


def winograd(low: Lowering, step: Instruction, x: View, w: View, margin: tuple[int, int]) -> None:
    """The convolution of x (N, C, H, W) between `margin` zeros with w (C, n, 3, 3)."""
    level, out = low.level[step.out], low.fresh(step.out)
    kernel_level = low.once_or(w, level)
    side = _side(out.shape[2:])
    key = ("winograd", id(w.buffer), w.offset, w.shape, w.strides, side, kernel_level)
    if key not in low.packs:
        size = _apart(side, _padded(w.shape[0]), _padded(w.shape[1]))
        low.packs[key] = Buffer(f"kernel_{w.buffer.name}", size, kernel_level)
        low.add(WinogradKernel(kernel_level, step.line, low.packs[key], w, side))
    x = _rows_together(low, x, level)
    weights = (low.packs[key], 0)
    low.add(Winograd(level, step.line, x, margin, out.shape[1], out.shape[2:], (out.buffer, 0), weights))


def winograd_weight(low: Lowering, step: Instruction, x: View, g: View) -> None:
    """The gradient of the kernels of that convolution, from x and a contiguous cotangent g (N, n, Ho, Wo)."""
    level = low.level[step.out]
    x = _rows_together(low, x, level)
    out = (low.fresh(step.out).buffer, 0)
    low.add(
        WinogradWeight(level, step.line, x, step.params["padding"], g.shape[1], g.shape[2:], out, (g.buffer, g.offset))
    )
