"""This package in the comparison: what a user writes, with `nc.compile` around the gradient, Programs kept.

"node_core eager" is the same without it: the loss is recorded anew at every step, the field's Programs are kept.
A reference is the same answer from the Python steppers at tight tolerances, in float64. `ours_models` has the workloads
of the paper's models, which a first gradient (`first`) need not import.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import optim
from ..autodiff import tree, value_and_grad
from ..nn import NeuralODE
from ..program import compile
from ..solve import odeint
from .contest import Contestant
from .workloads import Gemm, Lorenz, Spiral

__all__ = [
    "gemm", "gemm_reference", "lorenz", "lorenz_reference", "spiral", "spiral_field", "spiral_reference", "spiral_step",
]  # fmt: skip

NAME, EAGER = "node_core", "node_core eager"


def spiral_step(w: Spiral, adjoint: bool, eager: bool = False) -> Any:
    """value_and_grad of the loss through a NeuralODE, compiled or not: a function of the weights."""
    ode = NeuralODE(spiral_field, gradient="adjoint" if adjoint else "discrete", rtol=w.rtol, atol=w.atol)
    step = value_and_grad(lambda params: np.mean(np.abs(ode(params, w.y0, w.t) - w.target)))
    return step if eager else compile(step)


def spiral(w: Spiral, adjoint: bool, eager: bool = False) -> Contestant:
    """That, and then RMSprop."""
    step, opt = spiral_step(w, adjoint, eager), optim.RMSprop(w.rate)
    params, state, turns = w.weights, opt.init(w.weights), itertools.count(1)

    def run() -> None:
        nonlocal params, state
        if next(turns) % w.restart == 0:
            params, state = w.weights, opt.init(w.weights)
        _, grads = step(params)
        params, state = opt.update(params, grads, state)

    return Contestant(EAGER if eager else NAME, run, lambda: tree.ravel(step(w.weights)[1])[0])


def spiral_field(params: Any, t: Any, y: Any) -> Any:
    """tanh(y^3 W1 + b1) W2 + b2, (N, 2) -> (N, 2)."""
    W1, b1, W2, b2 = params
    return np.tanh(y**3 @ W1 + b1) @ W2 + b2


def _net(params: Any, t: Any, y: Any) -> Any:
    W1, b1, W2, b2, W3, b3 = params
    return np.tanh(np.tanh(y @ W1 + b1) @ W2 + b2) @ W3 + b3


def gemm(w: Gemm) -> Contestant:
    """The compiled value_and_grad of a NeuralODE with fixed steps, discrete."""
    ode = NeuralODE(_net, gradient="discrete", method="rk4", step_size=1.0 / w.steps)

    def loss(params: Any) -> Any:
        return np.sum(ode(params, w.y0, np.array([0.0, 1.0]))[-1] ** 2)

    step = compile(value_and_grad(loss))
    return Contestant(NAME, lambda: step(w.weights), lambda: tree.ravel(step(w.weights)[1])[0])


def _lorenz(t: Any, y: Any, s: Any, r: Any, b: Any) -> Any:
    return [s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]]


def lorenz(w: Lorenz) -> Contestant:
    """odeint of a compiled function."""
    func = compile(_lorenz)

    def run() -> np.ndarray:
        return odeint(func, w.y0, w.t, args=w.constants, rtol=w.rtol, atol=w.atol)

    return Contestant(NAME, run, lambda: run()[:60])


def spiral_reference(w: Spiral, adjoint: bool) -> np.ndarray:
    """The exact gradient, which both forms approximate."""
    ode = NeuralODE(spiral_field, gradient="discrete", backend="python", rtol=1e-12, atol=1e-13)
    return tree.ravel(value_and_grad(lambda p: np.mean(np.abs(ode(p, w.y0, w.t) - w.target)))(w.weights)[1])[0]


def gemm_reference(w: Gemm) -> np.ndarray:
    """The gradient through the same fixed steps."""
    ode = NeuralODE(_net, gradient="discrete", method="rk4", step_size=1.0 / w.steps, backend="python")
    weights, y0 = [x.astype(np.float64) for x in w.weights], w.y0.astype(np.float64)
    return tree.ravel(value_and_grad(lambda p: np.sum(ode(p, y0, np.array([0.0, 1.0]))[-1] ** 2))(weights)[1])[0]


def lorenz_reference(w: Lorenz) -> np.ndarray:
    """The first 60 outputs; later ones depend on the rounding."""
    return odeint(compile(_lorenz), w.y0, w.t, args=w.constants, rtol=1e-13, atol=1e-13)[:60]
