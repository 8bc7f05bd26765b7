"""The paper's toy spiral, solved and differentiated by both steppers: the same answers, and the times.

The set-up is the usual one: net 2-50-tanh-2 on y^3 (252 parameters), a batch of 20 states, ten times over
[0, 0.2252], dopri5 at rtol 1e-7 and atol 1e-9, loss mean |y|, weights N(0, 0.1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..autodiff import tree, value_and_grad
from ..nn import MLP, NeuralODE

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
    seconds: dict[str, list[float]] = {"compiled": [], "python": []}
    found = {}
    for _ in range(repeats):
        for backend, taken in seconds.items():
            start = time.perf_counter()
            found[backend] = run(backend)
            taken.append(time.perf_counter() - start)
    difference = np.max(np.abs(found["compiled"] - found["python"])) / np.max(np.abs(found["python"]))
    ratio = median(p / c for p, c in zip(seconds["python"], seconds["compiled"], strict=True))
    return SpiralResult(what, median(seconds["compiled"]), median(seconds["python"]), ratio, float(difference))
