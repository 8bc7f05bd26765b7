"""Convolution in two dimensions and its two transposes: three primitives that are each other's derivatives.

All are one trilinear form, the sum over g * conv2d(x, w): with x (N, C, H, W), w (O, C, kh, kw) and g (N, O, Ho, Wo),

    y[n, o, p, q] = sum over c, i, j of  frame[n, c, p sh + i, q sw + j] w[o, c, i, j]

where frame is x with ``padding`` = (ph, pw) zeros on each side, ``stride`` = (sh, sw), and
Ho = (H + 2 ph - kh) // sh + 1. Holding two of the three and differentiating by the third gives the derivative of
every one of them, of any order. Shapes are checked where users call: see `node_core.nn.conv2d`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .primitive import conj, match, primitive

__all__ = ["CONV2D", "CONV2D_INPUT", "CONV2D_WEIGHT", "output_size"]

Pair = tuple[int, int]


def output_size(size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """(Ho, Wo) of an image (H, W); below 1 where the kernel is larger than the padded image."""
    rows, columns = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding, strict=True))
    return rows, columns


def _windows(x: Any, kernel: Pair, stride: Pair, padding: Pair) -> np.ndarray:
    """What the kernel sees at every place: a view (N, C, Ho, Wo, kh, kw) of the framed x."""
    (ph, pw), (sh, sw) = padding, stride
    frame = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))) if ph or pw else x
    return np.lib.stride_tricks.sliding_window_view(frame, kernel, axis=(2, 3))[:, :, ::sh, ::sw]


def _conv2d(x: Any, w: Any, stride: Pair, padding: Pair) -> np.ndarray:
    """y (N, O, Ho, Wo): the windows as the rows of a matrix (im2col), times the weights."""
    windows = _windows(x, np.shape(w)[2:], stride, padding)
    y = np.tensordot(windows, w, axes=((1, 4, 5), (1, 2, 3)))  # (N, Ho, Wo, O)
    return np.ascontiguousarray(np.moveaxis(y, 3, 1))


def _conv2d_input(g: Any, w: Any, stride: Pair, padding: Pair, size: Pair) -> np.ndarray:
    """x (N, C, *size): every g adds its share to all that its window saw (the transposed convolution)."""
    (n, _, rows, columns), (_, channels, kh, kw) = np.shape(g), np.shape(w)
    (ph, pw), (sh, sw) = padding, stride
    shares = np.tensordot(w, g, axes=(0, 1))  # (C, kh, kw, N, Ho, Wo)
    frame = np.zeros((channels, n, size[0] + 2 * ph, size[1] + 2 * pw), shares.dtype)
    for i in range(kh):
        for j in range(kw):
            frame[:, :, i : i + sh * rows : sh, j : j + sw * columns : sw] += shares[:, i, j]
    inside = frame[:, :, ph : ph + size[0], pw : pw + size[1]]
    return np.ascontiguousarray(np.swapaxes(inside, 0, 1))


def _conv2d_weight(x: Any, g: Any, stride: Pair, padding: Pair, kernel: Pair) -> np.ndarray:
    """w (O, C, *kernel): every window times the g that it leads to."""
    windows = _windows(x, kernel, stride, padding)
    return np.tensordot(g, windows, axes=((0, 2, 3), (0, 2, 3)))


def _by_input(g: Any, w: Any, x: Any, stride: Pair, padding: Pair) -> Any:
    return match(CONV2D_INPUT(g, w, stride=stride, padding=padding, size=np.shape(x)[2:]), x)


def _by_weight(x: Any, g: Any, w: Any, stride: Pair, padding: Pair) -> Any:
    return match(CONV2D_WEIGHT(x, g, stride=stride, padding=padding, kernel=np.shape(w)[2:]), w)


def _by_output(x: Any, w: Any, y: Any, stride: Pair, padding: Pair) -> Any:
    return match(CONV2D(x, w, stride=stride, padding=padding), y)


CONV2D = primitive(
    "conv2d",
    _conv2d,
    vjp=(
        lambda g, out, x, w, **p: _by_input(g, conj(w), x, **p),
        lambda g, out, x, w, **p: _by_weight(conj(x), g, w, **p),
    ),
    jvp=(lambda t, out, x, w, **p: CONV2D(t, w, **p), lambda t, out, x, w, **p: CONV2D(x, t, **p)),
)
CONV2D_INPUT = primitive(
    "conv2d_input",
    _conv2d_input,
    vjp=(
        lambda h, out, g, w, stride, padding, size: _by_output(h, conj(w), g, stride, padding),
        lambda h, out, g, w, stride, padding, size: _by_weight(h, conj(g), w, stride, padding),
    ),
    jvp=(lambda t, out, g, w, **p: CONV2D_INPUT(t, w, **p), lambda t, out, g, w, **p: CONV2D_INPUT(g, t, **p)),
)
CONV2D_WEIGHT = primitive(
    "conv2d_weight",
    _conv2d_weight,
    vjp=(
        lambda h, out, x, g, stride, padding, kernel: _by_input(conj(g), h, x, stride, padding),
        lambda h, out, x, g, stride, padding, kernel: _by_output(conj(x), h, g, stride, padding),
    ),
    jvp=(lambda t, out, x, g, **p: CONV2D_WEIGHT(t, g, **p), lambda t, out, x, g, **p: CONV2D_WEIGHT(x, t, **p)),
)
