"""The paper's toy spiral, solved and differentiated by both steppers: the same answers, and the times.

The set-up is the usual one: net 2-50-tanh-2 on y^3 (252 parameters), a batch of 20 states, ten times over
[0, 0.2252], dopri5 at rtol 1e-7 and atol 1e-9, loss mean |y|, weights N(0, 0.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autodiff import tree, value_and_grad
from ..nn import MLP, NeuralODE
from .turns import compiled_against_python

__all__ = ["SpiralResult", "race_spiral"]


@dataclass(frozen=True)
class SpiralResult:
    """Medians in seconds, and the largest difference of the two results relative to the largest entry."""

    what: str
    compiled: float
    python: float
    ratio: float
    difference: float


def race_spiral(repeats: int = 7) -> list[SpiralResult]:
    """The solve, its discrete and its adjoint gradient with respect to all 252 parameters."""
    rng = np.random.default_rng(0)
    mlp = MLP([2, 50, 2])
    params = tree.map(lambda w: 0.1 * rng.standard_normal(w.shape) if w.ndim == 2 else w, mlp.init(rng))
    y0, t = rng.uniform(-2.0, 2.0, (20, 2)), np.linspace(0.0, 0.2252, 10)
    ode = NeuralODE(lambda params, t, y: mlp(params, y**3), rtol=1e-7, atol=1e-9)

    def trajectory(backend: str) -> np.ndarray:
        return ode(params, y0, t, backend=backend)

    def gradient(mode: str) -> Callable[[str], np.ndarray]:
        def of_backend(backend: str) -> np.ndarray:
            def loss(params: Any) -> Any:
                return np.mean(np.abs(ode(params, y0, t, backend=backend, gradient=mode)))

            return tree.ravel(value_and_grad(loss)(params)[1])[0]

        return of_backend

    return [
        _race("trajectory", trajectory, repeats),
        _race("discrete gradient", gradient("discrete"), repeats),
        _race("adjoint gradient", gradient("adjoint"), repeats),
    ]


def _race(what: str, run: Callable[[str], np.ndarray], repeats: int) -> SpiralResult:
    compiled, python, ratio, by_compiled, by_python = compiled_against_python(run, repeats)
    difference = float(np.max(np.abs(by_compiled - by_python)) / np.max(np.abs(by_python)))
    return SpiralResult(what, compiled, python, ratio, difference)
