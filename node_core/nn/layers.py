"""Layers as pure functions of their parameters: Linear, MLP, Flatten, several one after another; activations.

A layer holds sizes only: ``params = layer.init(rng)`` makes its parameters, a tree of arrays, and
``layer(params, x)`` applies it.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import whole_number

__all__ = ["MLP", "Flatten", "Layer", "Linear", "Module", "Sequential", "elu", "glorot", "relu", "sigmoid"]

Rng = Any  # a NumPy Generator or an int; naming np.random here would import it with the package


def glorot(rng: Rng, shape: tuple[int, ...], fan_in: int, fan_out: int, dtype: Any) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16); rng is a Generator or a seed."""
    bound = np.sqrt(6.0 / (fan_in + fan_out))
    return np.random.default_rng(rng).uniform(-bound, bound, shape).astype(dtype)


class Module(abc.ABC):
    """What has parameters: ``params = module.init(rng)``, and takes them first where it is called."""

    @abc.abstractmethod
    def init(self, rng: Rng) -> Any:
        """Fresh parameters; rng is a NumPy Generator or a seed."""


class Layer(Module):
    """A Module that is a function of one array: ``layer(params, x) -> y``.

    Others need more than x: the time (`TimeConv2d`, `Hypernetwork`), or the state before (`RNNCell`, `GRUCell`).
    """

    @abc.abstractmethod
    def __call__(self, params: Any, x: Any) -> Any:
        """The layer applied to x."""


class Linear(Layer):
    """``x @ W + b`` with W (n_in, n_out) and b (n_out,).

    Glorot-uniform weights and zero biases.
    """

    def __init__(self, n_in: int, n_out: int, dtype: Any = np.float64) -> None:
        self.n_in, self.n_out = whole_number("Linear", "n_in", n_in), whole_number("Linear", "n_out", n_out)
        self.dtype = np.dtype(dtype)

    def init(self, rng: Rng) -> dict[str, np.ndarray]:
        """``{"W": (n_in, n_out), "b": (n_out,)}``."""
        W = glorot(rng, (self.n_in, self.n_out), self.n_in, self.n_out, self.dtype)
        return {"W": W, "b": np.zeros(self.n_out, self.dtype)}

    def __call__(self, params: dict, x: Any) -> Any:
        """x (..., n_in) -> (..., n_out)."""
        if np.shape(x)[-1:] != (self.n_in,):
            raise ValueError(f"Linear: x must end in an axis of length {self.n_in}, got shape {np.shape(x)}")
        return x @ params["W"] + params["b"]

    def __repr__(self) -> str:
        return f"Linear({self.n_in}, {self.n_out})"


class MLP(Layer):
    """Linear layers with an activation between them: ``MLP([2, 50, 2])`` is 2 -> 50 -> tanh -> 2."""

    def __init__(self, sizes: Sequence[int], activation: Callable = np.tanh, dtype: Any = np.float64) -> None:
        if isinstance(sizes, int):
            raise TypeError(f"MLP: sizes must be a list such as [2, 50, 2], got {sizes!r}; write MLP([...])")
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must name at least input and output, got {list(sizes)}")
        if not callable(activation):
            raise TypeError(f"MLP: activation must be a function such as np.tanh, got {activation!r}")
        self.layers = [Linear(n, m, dtype) for n, m in itertools.pairwise(sizes)]
        self.activation = activation

    def init(self, rng: Rng) -> list[dict[str, np.ndarray]]:
        """One ``{"W", "b"}`` a layer."""
        rng = np.random.default_rng(rng)
        return [layer.init(rng) for layer in self.layers]

    def __call__(self, params: Sequence[dict], x: Any) -> Any:
        """x (..., sizes[0]) -> (..., sizes[-1])."""
        for layer, p in zip(self.layers[:-1], params[:-1], strict=True):
            x = self.activation(layer(p, x))
        return self.layers[-1](params[-1], x)

    def __repr__(self) -> str:
        sizes = [layer.n_in for layer in self.layers] + [self.layers[-1].n_out]
        return f"MLP({sizes}, {getattr(self.activation, '__name__', self.activation)})"


class Flatten(Layer):
    """(N, ...) -> (N, the rest as one axis); it has no parameters."""

    def init(self, rng: Rng) -> dict:
        """None to make: ``{}``."""
        return {}

    def __call__(self, params: dict, x: Any) -> Any:
        """x (N, ...) -> (N, n)."""
        shape = np.shape(x)
        if not shape:
            raise ValueError("Flatten: x must have a first axis, that of the samples, got shape ()")
        return np.reshape(x, (shape[0], math.prod(shape[1:])))

    def __repr__(self) -> str:
        return "Flatten()"


class Sequential(Layer):
    """Layers, and functions of one array such as np.tanh, one after another.

    >>> import numpy as np
    >>> import node_core as nc
    >>> net = nc.nn.Sequential(nc.nn.Conv2d(1, 4, 3), nc.nn.relu, nc.nn.Flatten(), nc.nn.Linear(16, 10))
    >>> net(net.init(0), np.ones((5, 1, 4, 4))).shape
    (5, 10)
    """

    def __init__(self, *parts: Callable) -> None:
        for k, part in enumerate(parts):
            if not callable(part) or (isinstance(part, Module) and not isinstance(part, Layer)):
                raise TypeError(f"Sequential: part {k} must be a Layer or a function of one array, got {part!r}")
        self.parts = parts

    def init(self, rng: Rng) -> list:
        """The parameters of each part; ``{}`` for a function."""
        rng = np.random.default_rng(rng)
        return [part.init(rng) if isinstance(part, Layer) else {} for part in self.parts]

    def __call__(self, params: Sequence, x: Any) -> Any:
        """The last part's result."""
        if len(params) != len(self.parts):
            raise ValueError(
                f"Sequential: params must hold one entry for each of {len(self.parts)} parts, got {len(params)}"
            )
        for part, p in zip(self.parts, params, strict=True):
            x = part(p, x) if isinstance(part, Layer) else part(x)
        return x

    def __repr__(self) -> str:
        return f"Sequential({', '.join(getattr(part, '__name__', repr(part)) for part in self.parts)})"


def relu(x: Any) -> Any:
    """max(x, 0), elementwise; its derivative is 0 at 0. NaN stays NaN."""
    return np.where(x <= 0, 0, x)


def elu(x: Any) -> Any:
    """x where it is positive, and else exp(x) - 1, elementwise (Clevert et al. 2016); not bounded above.

    >>> import numpy as np
    >>> elu(np.array([-1.0, 0.0, 2.0])).round(4).tolist()
    [-0.6321, 0.0, 2.0]
    """
    return np.where(x <= 0, np.expm1(np.minimum(x, 0)), x)


def sigmoid(x: Any) -> Any:
    """The logistic function 1 / (1 + exp(-x)), elementwise, written so that no exp can overflow.

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1.0])).round(4).tolist()
    [0.0, 0.5, 0.7311]
    """
    return 0.5 + 0.5 * np.tanh(0.5 * x)
