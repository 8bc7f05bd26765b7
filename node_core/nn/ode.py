"""NeuralODE, the layer that is a differential equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..options import checked_options
from ..program import compile
from ..solve import odeint
from .layers import Layer, Rng

__all__ = ["NeuralODE"]


class NeuralODE:
    """The layer dy/dt = field(params, t, y): ``ode(params, y0, t)`` gives the trajectory (Chen et al. 2018).

    field:    ``field(params, t, y)``, or a Layer, which is then the autonomous field ``layer(params, y)``.
    init:     what makes the parameters, ``init(rng)``; by default that of the field, if it has one.
    gradient: "adjoint", as in the paper, or another of `odeint`'s; it and the further keywords (method, rtol, atol,
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
        self.keywords = checked_options("NeuralODE", {"gradient": gradient, **keywords})
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
