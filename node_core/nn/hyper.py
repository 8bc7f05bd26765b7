"""Hypernetwork: a small net of the time that makes another layer's weights (Ha et al. 2017; FFJORD, CNF)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import tree
from .layers import MLP, Layer, Module, Rng

__all__ = ["Hypernetwork"]


class Hypernetwork(Module):
    """A layer whose parameters are an MLP of t: ``hyper(params, t, x) = layer(weights(params, t), x)``, a field.

    layer:  the layer whose weights are made.
    hidden: the widths between t and the weights.

    The last bias starts as layer.init(rng), and the last weights a tenth as large as Glorot's, so that the layer
    begins as it would alone, and turns with t but a little.

    >>> import numpy as np
    >>> import node_core as nc
    >>> hyper = nc.nn.Hypernetwork(nc.nn.Linear(2, 3), [16])
    >>> hyper(hyper.init(0), 0.5, np.ones((4, 2))).shape
    (4, 3)
    >>> ode = nc.NeuralODE(nc.nn.Hypernetwork(nc.nn.MLP([2, 16, 2]), [16]))  # a field that changes with t
    >>> ode(ode.init(0), np.ones((4, 2)), [0.0, 1.0]).shape
    (2, 4, 2)
    """

    def __init__(
        self, layer: Layer, hidden: Sequence[int] = (16,), activation: Callable = np.tanh, dtype: Any = np.float64
    ) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"Hypernetwork: layer must be a Layer, got {type(layer).__name__}")
        leaves, self.structure = tree.flatten(layer.init(0))
        self.shapes = [np.shape(leaf) for leaf in leaves]
        self.layer, self.dtype = layer, np.dtype(dtype)
        size = sum(math.prod(shape) for shape in self.shapes)
        if size == 0:
            raise ValueError(f"Hypernetwork: {layer!r} has no parameters")
        self.mlp = MLP([1, *hidden, size], activation, dtype)

    def init(self, rng: Rng) -> list[dict[str, np.ndarray]]:
        """The MLP's parameters."""
        rng = np.random.default_rng(rng)
        params = self.mlp.init(rng)
        start = np.concatenate([np.ravel(leaf) for leaf in tree.flatten(self.layer.init(rng))[0]])
        params[-1] = {"W": (0.1 * params[-1]["W"]).astype(self.dtype), "b": start.astype(self.dtype)}
        return params

    def weights(self, params: Sequence[dict], t: Any) -> Any:
        """The layer's parameters at the time t, a number."""
        if np.shape(t) != ():
            raise ValueError(f"Hypernetwork: t must be a number, got shape {np.shape(t)}")
        flat = self.mlp(params, t * np.ones(1, self.dtype))  # (size,)
        leaves, start = [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            leaves.append(np.reshape(flat[start:stop], shape))
            start = stop
        return tree.unflatten(self.structure, leaves)

    def __call__(self, params: Sequence[dict], t: Any, x: Any) -> Any:
        """The layer with the weights of time t, applied to x."""
        return self.layer(self.weights(params, t), x)

    def __repr__(self) -> str:
        return f"Hypernetwork({self.layer!r}, {[layer.n_out for layer in self.mlp.layers[:-1]]})"
