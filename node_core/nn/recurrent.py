"""Recurrent cells: one step of a recurrent net, ``h_new = cell(params, h, x)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import whole_number
from .layers import Module, Rng, glorot, sigmoid

__all__ = ["GRUCell", "RNNCell"]


class _Cell(Module):
    """What both cells share: x (..., n_in) and h (..., n_hidden), and `gates` blocks of n_hidden columns."""

    gates = 1

    def __init__(self, n_in: int, n_hidden: int, dtype: Any = np.float64) -> None:
        name = type(self).__name__
        self.n_in, self.n_hidden = whole_number(name, "n_in", n_in), whole_number(name, "n_hidden", n_hidden)
        self.dtype = np.dtype(dtype)

    def init(self, rng: Rng) -> dict[str, np.ndarray]:
        """``{"W": (n_in, gates n_hidden), "U": (n_hidden, gates n_hidden), "b": (gates n_hidden,)}``."""
        rng = np.random.default_rng(rng)
        n = self.n_hidden
        W, U = (
            np.concatenate([glorot(rng, (m, n), m, n, self.dtype) for _ in range(self.gates)], axis=1)
            for m in (self.n_in, n)
        )
        return {"W": W, "U": U, "b": np.zeros(self.gates * n, self.dtype)}

    def start(self, *batch: int) -> np.ndarray:
        """h before the first step: zeros (*batch, n_hidden)."""
        return np.zeros((*batch, self.n_hidden), self.dtype)

    def _check(self, h: Any, x: Any) -> None:
        for name, value, n in (("h", h, self.n_hidden), ("x", x, self.n_in)):
            if np.shape(value)[-1:] != (n,):
                raise ValueError(
                    f"{type(self).__name__}: {name} must end in an axis of length {n}, got shape {np.shape(value)}"
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in}, {self.n_hidden})"


class RNNCell(_Cell):
    """tanh(x W + h U + b) (Elman 1990): ``cell(params, h, x)`` with h (..., n_hidden), x (..., n_in).

    >>> import numpy as np
    >>> import node_core as nc
    >>> cell = nc.nn.RNNCell(2, 25)
    >>> params, h = cell.init(0), cell.start(8)
    >>> for x in np.zeros((100, 8, 2)):
    ...     h = cell(params, h, x)
    >>> h.shape
    (8, 25)
    """

    def __init__(self, n_in: int, n_hidden: int, activation: Callable = np.tanh, dtype: Any = np.float64) -> None:
        super().__init__(n_in, n_hidden, dtype)
        if not callable(activation):
            raise TypeError(f"RNNCell: activation must be a function such as np.tanh, got {activation!r}")
        self.activation = activation

    def __call__(self, params: dict, h: Any, x: Any) -> Any:
        """h after seeing x."""
        self._check(h, x)
        return self.activation(x @ params["W"] + h @ params["U"] + params["b"])


class GRUCell(_Cell):
    """The gated recurrent unit (Cho et al. 2014): ``cell(params, h, x)`` with h (..., n_hidden), x (..., n_in).

    r, z = sigmoid(x W + h U + b) of the first two blocks of columns, n = tanh(x W + (r h) U + b) of the third;
    the result is (1 - z) n + z h.
    """

    gates = 3

    def __call__(self, params: dict, h: Any, x: Any) -> Any:
        """h after seeing x."""
        self._check(h, x)
        n, U = self.n_hidden, params["U"]
        seen = x @ params["W"] + params["b"]  # (..., 3 n_hidden)
        gates = sigmoid(seen[..., : 2 * n] + h @ U[:, : 2 * n])
        reset, keep = gates[..., :n], gates[..., n:]
        new = np.tanh(seen[..., 2 * n :] + (reset * h) @ U[:, 2 * n :])
        return new + keep * (h - new)
