"""Layers for images, channels first (N, C, H, W): convolution, group normalisation, pooling, a residual block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autodiff.convolution import CONV2D, output_size
from ..autodiff.node import lift
from ..checks import whole_number
from .layers import Layer, Module, Rng, glorot, relu

__all__ = ["AvgPool2d", "Conv2d", "GroupNorm", "ResidualBlock", "TimeConv2d", "conv2d"]

Pair = tuple[int, int]


def _pair(what: str, n: Any, least: int) -> Pair:
    """One int for both axes, or a pair of them."""
    pair = tuple(n) if isinstance(n, (tuple, list)) else (n, n)
    ints = all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) for k in pair)
    if len(pair) != 2 or not ints or min(pair) < least:
        raise ValueError(f"{what} must be an int of at least {least} or a pair of them, got {n!r}")
    return int(pair[0]), int(pair[1])


def _images(name: str, x: Any, channels: int) -> tuple[int, int, int, int]:
    """The shape of x if it is (N, channels, H, W)."""
    shape = np.shape(x)
    if len(shape) != 4 or shape[1] != channels:
        raise ValueError(f"{name}: x must be (N, {channels}, H, W), got shape {shape}")
    return shape


def conv2d(x: Any, w: Any, *, stride: int | Pair = 1, padding: int | Pair = 0) -> Any:
    """The cross-correlation of images with kernels, as torch has it: differentiable, to any order, in both.

    x (N, C, H, W), w (O, C, kh, kw) -> (N, O, Ho, Wo) with Ho = (H + 2 padding - kh) // stride + 1. ValueError if the
    shapes do not fit, or if the kernel is larger than the padded image.

    >>> import numpy as np
    >>> import node_core as nc
    >>> nc.nn.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=1)[0, 0].astype(int)
    array([[4, 6, 4],
           [6, 9, 6],
           [4, 6, 4]])
    """
    x, w = lift(x), lift(w)
    stride, padding = _pair("conv2d: stride", stride, 1), _pair("conv2d: padding", padding, 0)
    shape = np.shape(w)
    if len(shape) != 4 or 0 in shape[2:]:
        raise ValueError(f"conv2d: w must be (O, C, kh, kw) with a kernel of at least 1 by 1, got shape {shape}")
    _, _, height, width = _images("conv2d", x, shape[1])
    if min(output_size((height, width), shape[2:], stride, padding)) < 1:
        raise ValueError(
            f"conv2d: a kernel {shape[2:]} is larger than the image {(height, width)} with padding {padding}"
        )
    return CONV2D(x, w, stride=stride, padding=padding)


class _Convolution(Module):
    """What both convolutions share: sizes, and parameters for `extra` channels beside those of x."""

    extra = 0

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        dtype: Any = np.float64,
    ) -> None:
        name = type(self).__name__
        self.n_in, self.n_out = whole_number(name, "n_in", n_in), whole_number(name, "n_out", n_out)
        self.kernel = _pair(f"{name}: kernel", kernel, 1)
        self.stride, self.padding = _pair(f"{name}: stride", stride, 1), _pair(f"{name}: padding", padding, 0)
        self.bias, self.dtype = bool(bias), np.dtype(dtype)

    def init(self, rng: Rng) -> dict[str, np.ndarray]:
        """``{"W": (n_out, extra + n_in, *kernel), "b": (n_out,)}``."""
        n_in, size = self.extra + self.n_in, math.prod(self.kernel)
        W = glorot(rng, (self.n_out, n_in, *self.kernel), n_in * size, self.n_out * size, self.dtype)
        return {"W": W, **({"b": np.zeros(self.n_out, self.dtype)} if self.bias else {})}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in}, {self.n_out}, {self.kernel})"


class Conv2d(_Convolution, Layer):
    """Convolution with a bias: x (N, n_in, H, W) -> (N, n_out, Ho, Wo), see `conv2d`.

    kernel, stride and padding are an int or a pair (rows, columns). Glorot-uniform weights, a kernel's size
    counted in both fans, and zero biases; bias=False leaves these out.
    """

    def __call__(self, params: dict, x: Any) -> Any:
        """x (N, n_in, H, W) -> (N, n_out, Ho, Wo)."""
        _images(type(self).__name__, x, self.n_in)
        y = conv2d(x, params["W"], stride=self.stride, padding=self.padding)
        return y + params["b"][:, None, None] if self.bias else y


class TimeConv2d(_Convolution):
    """Convolution of x and of one more channel, the first, that holds t everywhere: ``layer(params, t, x)``, a field.

    That channel's part is t times a map that depends on the weights alone, so it is convolved once and not for
    every image.
    """

    extra = 1

    def __call__(self, params: dict, t: Any, x: Any) -> Any:
        """t a number, x (N, n_in, H, W) -> (N, n_out, Ho, Wo)."""
        _, _, height, width = _images("TimeConv2d", x, self.n_in)
        W, ones = params["W"], np.ones((1, 1, height, width), self.dtype)
        by_time = conv2d(ones, W[:, :1], stride=self.stride, padding=self.padding)  # (1, n_out, Ho, Wo)
        offset = t * by_time
        if self.bias:
            offset = offset + params["b"][:, None, None]
        return conv2d(x, W[:, 1:], stride=self.stride, padding=self.padding) + offset


class GroupNorm(Layer):
    """Channels in `groups`, each group of one image to mean 0 and variance 1, then a scale and a shift a channel.

    x (N, channels, ...) of any further axes keeps its shape (Wu and He 2018). The variance is that of the
    numbers at hand (not n - 1), plus eps.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        self.groups = whole_number("GroupNorm", "groups", groups)
        self.channels = whole_number("GroupNorm", "channels", channels)
        if self.channels % self.groups:
            raise ValueError(f"GroupNorm: {channels} channels do not divide into {groups} groups")
        if not eps > 0:
            raise ValueError(f"GroupNorm: eps must be positive, got {eps!r}")
        self.eps, self.dtype = float(eps), np.dtype(dtype)

    def init(self, rng: Rng) -> dict[str, np.ndarray]:
        """``{"scale": ones (channels,), "shift": zeros (channels,)}``."""
        return {"scale": np.ones(self.channels, self.dtype), "shift": np.zeros(self.channels, self.dtype)}

    def __call__(self, params: dict, x: Any) -> Any:
        """x (N, channels, ...) normalised."""
        shape = np.shape(x)
        if len(shape) < 2 or shape[1] != self.channels:
            raise ValueError(f"GroupNorm: x must be (N, {self.channels}, ...), got shape {shape}")
        n, each, size = shape[0], self.channels // self.groups, math.prod(shape[2:])
        if each * size == 0:
            raise ValueError(f"GroupNorm: x must have a number in every group, got shape {shape}")
        grouped = np.reshape(x, (n, self.groups, each * size))
        mean = np.mean(grouped, axis=2, keepdims=True)  # (N, groups, 1)
        inverse = 1 / np.sqrt(np.mean((grouped - mean) ** 2, axis=2, keepdims=True) + self.eps)
        scale, shift = (np.reshape(params[name], (self.groups, each)) for name in ("scale", "shift"))
        factor = inverse * scale  # (N, groups, each): one pass over x with these two, and not four
        term = shift - mean * factor
        per_channel = (n, self.channels, *(1,) * (len(shape) - 2))
        return x * np.reshape(factor, per_channel) + np.reshape(term, per_channel)

    def __repr__(self) -> str:
        return f"GroupNorm({self.groups}, {self.channels})"


class AvgPool2d(Layer):
    """The mean over windows `size` by `size` (an int or a pair) side by side; size=None: over each whole image.

    x (N, C, H, W) -> (N, C, H // size, W // size); what does not fill a window at the end is left out, as in torch.
    With size=None -> (N, C). It has no parameters.
    """

    def __init__(self, size: int | Pair | None = None) -> None:
        self.size = None if size is None else _pair("AvgPool2d: size", size, 1)

    def init(self, rng: Rng) -> dict:
        """None to make: ``{}``."""
        return {}

    def __call__(self, params: dict, x: Any) -> Any:
        """The means."""
        shape = np.shape(x)
        if len(shape) != 4:
            raise ValueError(f"AvgPool2d: x must be (N, C, H, W), got shape {shape}")
        n, channels, height, width = shape
        if self.size is None:
            return np.mean(x, axis=(2, 3))
        h, w = self.size
        rows, columns = height // h, width // w
        if min(rows, columns) == 0:
            raise ValueError(f"AvgPool2d: a window {self.size} is larger than the image {(height, width)}")
        whole = x[:, :, : rows * h, : columns * w]
        return np.mean(np.reshape(whole, (n, channels, rows, h, columns, w)), axis=(3, 5))

    def __repr__(self) -> str:
        return f"AvgPool2d({self.size})"


class ResidualBlock(Layer):
    """x + conv(relu(norm(conv(relu(norm(x)))))), 3 by 3 kernels (He et al. 2016, "identity mappings"), no dropout.

    Where n_out differs from n_in or the stride is not 1, the first sum's x is a 1 by 1 convolution of relu(norm(x)).
    The groups of the two norms are the greatest common divisors of `groups` and their channels. bias=False leaves
    out the biases of the convolutions.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int | None = None,
        *,
        stride: int | Pair = 1,
        groups: int = 32,
        bias: bool = True,
        dtype: Any = np.float64,
    ) -> None:
        n_in = whole_number("ResidualBlock", "n_in", n_in)
        n_out = n_in if n_out is None else whole_number("ResidualBlock", "n_out", n_out)
        groups = whole_number("ResidualBlock", "groups", groups)
        self.norms = [GroupNorm(math.gcd(groups, n), n, dtype=dtype) for n in (n_in, n_out)]
        self.convs = [
            Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=bias, dtype=dtype),
            Conv2d(n_out, n_out, 3, padding=1, bias=bias, dtype=dtype),
        ]
        plain = n_in == n_out and self.convs[0].stride == (1, 1)
        self.shortcut = None if plain else Conv2d(n_in, n_out, 1, stride=stride, bias=False, dtype=dtype)

    def init(self, rng: Rng) -> dict[str, Any]:
        """``{"norms": [2], "convs": [2], "shortcut": ...}``, the last only where there is one."""
        rng = np.random.default_rng(rng)
        params = {name: [part.init(rng) for part in getattr(self, name)] for name in ("norms", "convs")}
        return params if self.shortcut is None else {**params, "shortcut": self.shortcut.init(rng)}

    def __call__(self, params: dict, x: Any) -> Any:
        """x (N, n_in, H, W) -> (N, n_out, Ho, Wo)."""
        h = relu(self.norms[0](params["norms"][0], x))
        kept = x if self.shortcut is None else self.shortcut(params["shortcut"], h)
        h = self.convs[0](params["convs"][0], h)
        h = relu(self.norms[1](params["norms"][1], h))
        return kept + self.convs[1](params["convs"][1], h)

    def __repr__(self) -> str:
        return f"ResidualBlock({self.convs[0].n_in}, {self.convs[0].n_out})"
