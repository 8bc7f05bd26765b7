"""Layers as pure functions of their parameters, and NeuralODE, the layer that is a differential equation.

A layer holds sizes only: ``params = layer.init(rng)`` makes its parameters, a tree of arrays, and
``layer(params, x)`` applies it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .program import compile
from .solve import odeint

__all__ = ["MLP", "Layer", "Linear", "NeuralODE"]

Rng = Any  # a NumPy Generator or an int; naming np.random here would import it with the package


class Layer:
    """``params = layer.init(rng)``; ``layer(params, x) -> y``."""

    def init(self, rng: Rng) -> Any:
        """Fresh parameters; rng is a NumPy Generator or a seed."""
        raise NotImplementedError

    def __call__(self, params: Any, x: Any) -> Any:
        """The layer applied to x."""
        raise NotImplementedError


class Linear(Layer):
    """``x @ W + b`` with W (n_in, n_out) and b (n_out,).

    Glorot-uniform weights, +-sqrt(6 / (n_in + n_out)) (Glorot and Bengio 2010), and zero biases.
    """

    def __init__(self, n_in: int, n_out: int, dtype: Any = np.float64) -> None:
        for name, n in (("n_in", n_in), ("n_out", n_out)):
            if not isinstance(n, (int, np.integer)) or n < 1:
                raise ValueError(f"Linear: {name} must be a positive int, got {n!r}")
        self.n_in, self.n_out, self.dtype = int(n_in), int(n_out), np.dtype(dtype)

    def init(self, rng: Rng) -> dict[str, np.ndarray]:
        """``{"W": (n_in, n_out), "b": (n_out,)}``."""
        bound = np.sqrt(6.0 / (self.n_in + self.n_out))
        W = np.random.default_rng(rng).uniform(-bound, bound, (self.n_in, self.n_out))
        return {"W": W.astype(self.dtype), "b": np.zeros(self.n_out, self.dtype)}

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


class NeuralODE:
    """The layer dy/dt = field(params, t, y): ``ode(params, y0, t)`` gives the trajectory (Chen et al. 2018).

    field:    ``field(params, t, y)``, or a Layer, which is then the autonomous field ``layer(params, y)``.
    init:     what makes the parameters, ``init(rng)``; by default that of the field, if it has one.
    gradient: "adjoint", as in the paper, or "discrete"; it and the further keywords (method, rtol, atol,
              step_size, ...) go to `odeint`.

    The field's Programs are kept as `nc.compile` keeps them: it must be pure.

    >>> import numpy as np
    >>> import node_core as nc
    >>> ode = nc.NeuralODE(nc.nn.MLP([2, 16, 2]))
    >>> params = ode.init(0)
    >>> ode(params, np.array([1.0, 0.0]), [0.0, 0.5, 1.0]).shape
    (3, 2)
    """

    def __init__(
        self, field: Callable, *, init: Callable | None = None, gradient: str = "adjoint", **keywords: Any
    ) -> None:
        if not callable(field):
            raise TypeError(f"NeuralODE: field must be callable, got {type(field).__name__}")
        self.field = field
        self._init = init if init is not None else getattr(field, "init", None)
        self.keywords = {"gradient": gradient, **keywords}
        self._compiled = compile(self.func)  # keeps the Programs of the field

    def init(self, rng: Rng) -> Any:
        """Fresh parameters; rng is a NumPy Generator or a seed."""
        if self._init is None:
            raise TypeError("NeuralODE: the field has no init; give NeuralODE(field, init=layer.init)")
        return self._init(rng)

    def func(self, t: Any, y: Any, params: Any) -> Any:
        """The right-hand side in `odeint`'s order of arguments."""
        return self.field(params, y) if isinstance(self.field, Layer) else self.field(params, t, y)

    def __call__(self, params: Any, y0: Any, t: Any, **keywords: Any) -> Any:
        """The trajectory from y0 at the times t: (len(t), *y0.shape); keywords override the layer's."""
        return odeint(self._compiled, y0, t, args=(params,), **{**self.keywords, **keywords})
