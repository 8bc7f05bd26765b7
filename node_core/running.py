"""Running losses: an integral along the solution, as one more state of the solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .autodiff import tree
from .autodiff.node import concrete
from .options import state_of
from .solve import odeint

__all__ = ["integrate_loss"]


def integrate_loss(
    func: Callable, running: Callable, y0: Any, t: Any, *, args: tuple = (), full_output: bool = False, **options: Any
) -> Any:
    """``(ys, losses)``: the solution as `odeint` gives it, and the integral of running(t, y, *args) up to each t.

    func:      ``func(t, y, *args)``, and y0, t, args: as of `odeint`.
    running:   ``running(t, y, *args)`` gives a real number, or an array of them, each with an integral of its own.
    options:   every keyword of `odeint`. The integral is in the norm like a component of the state, and so as exact;
               of an rtol or atol shaped or nested like y0 it gets the smallest.

    losses is (m,), or (m, *shape); losses[-1] is the whole integral. Gradients, of every mode and order, are
    `odeint`'s. With full_output the statistics come third.

    >>> ys, losses = integrate_loss(lambda t, y: -y, lambda t, y: y[0] ** 2, np.array([1.0]), [0.0, 1.0], rtol=1e-9)
    >>> round(float(losses[-1]), 6), round(float((1 - np.exp(-2)) / 2), 6)
    (0.432332, 0.432332)
    """
    for name, given in (("func", func), ("running", running)):
        if not callable(given):
            raise TypeError(f"{name} must be callable as {name}(t, y, *args), got {type(given).__name__}")
    y0 = state_of(y0)
    dtype = np.result_type(*tree.flatten(y0)[0], np.float32) if tree.flatten(y0)[0] else np.dtype(float)
    start = float(np.ravel(concrete(t))[0])
    shape = np.shape(running(start, y0, *args))

    def both(t: Any, state: Any, *args: Any) -> Any:
        y, _ = state
        loss = running(t, y, *args)
        if np.shape(loss) != shape:
            raise TypeError(f"running must return one shape, {shape} at t[0], got {np.shape(loss)} at t = {t}")
        return func(t, y, *args), loss + np.zeros(shape, dtype)

    for name in ("rtol", "atol"):
        value = options.get(name)
        if value is not None and not np.isscalar(value):
            options[name] = (value, float(min(np.min(leaf) for leaf in tree.flatten(value)[0])))
    found = odeint(both, (y0, np.zeros(shape, dtype)), t, args=args, full_output=full_output, **options)
    (ys, losses), *stats = found if full_output else (found,)
    return (ys, np.real(losses), *stats)
