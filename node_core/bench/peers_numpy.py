"""SciPy, numbalsoda and autograd on the workloads, as their own users write it; imported only when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contest import Contestant
from .workloads import Lorenz, Spiral

__all__ = ["autograd_spiral", "numbalsoda_lorenz", "scipy_lorenz"]


def _lorenz(t: Any, y: Any, s: Any, r: Any, b: Any) -> Any:
    return [s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]]


def scipy_lorenz(w: Lorenz) -> Contestant:
    from scipy.integrate import solve_ivp

    def run() -> np.ndarray:
        span, keywords = (w.t[0], w.t[-1]), {"t_eval": w.t, "args": w.constants, "rtol": w.rtol, "atol": w.atol}
        return solve_ivp(_lorenz, span, w.y0, "RK45", **keywords).y.T

    return Contestant("scipy RK45", run, lambda: run()[:60])


def numbalsoda_lorenz(w: Lorenz) -> Contestant:
    import numba
    import numbalsoda

    s, r, b = w.constants

    @numba.cfunc(numbalsoda.lsoda_sig)
    def native(t: float, y: Any, dy: Any, p: Any) -> None:
        dy[0] = s * (y[1] - y[0])
        dy[1] = y[0] * (r - y[2]) - y[1]
        dy[2] = y[0] * y[1] - b * y[2]

    def run() -> np.ndarray:
        return numbalsoda.dop853(native.address, w.y0, w.t, rtol=w.rtol, atol=w.atol)[0]

    return Contestant("numbalsoda dop853", run, lambda: run()[:60])


def autograd_spiral(w: Spiral, adjoint: bool) -> Contestant | None:
    """It has the adjoint alone."""
    if not adjoint:
        return None
    import autograd
    import autograd.numpy as anp
    from autograd.builtins import tuple as atuple
    from autograd.scipy.integrate import odeint

    def field(y: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        y = anp.reshape(y, (20, 2)) ** 3
        return anp.ravel(anp.dot(anp.tanh(anp.dot(y, W1) + b1), W2) + b2)

    def loss(p: Any) -> Any:
        ys = odeint(field, w.y0.ravel(), w.t, atuple(tuple(p)), rtol=w.rtol, atol=w.atol)
        return anp.mean(anp.abs(anp.reshape(ys, (10, 20, 2)) - w.target))

    step = autograd.value_and_grad(loss)

    def answer() -> np.ndarray:
        return np.concatenate([np.ravel(g) for g in step(list(w.weights))[1]])

    return Contestant("autograd", lambda: step(list(w.weights)), answer)
