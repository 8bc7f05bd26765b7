"""The problems of the comparison with other packages, as plain data: the same numbers for every contestant.

spiral   the paper's toy as one training step: net 2-50-tanh-2 on y^3, 20 states, ten times over [0, 0.2252], dopri5
         at rtol 1e-7 and atol 1e-9, loss mean |y - target|, all 252 gradients, an RMSprop update. After 20 steps it
         starts again from the first weights: a trained field takes three times the steps, and the fastest contestant
         would train furthest.
gemm     net 64-256-256-64 on 512 states, 20 classical Runge-Kutta steps over [0, 1], loss sum y(1)^2, all gradients.
lorenz   (10, 28, 8/3) from (1, 0, 0) over [0, 20], 100 outputs, rtol = atol = 1e-8.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Gemm", "Lorenz", "Spiral"]


@dataclass
class Spiral:
    """One training step of the toy spiral."""

    rtol: float = 1e-7
    atol: float = 1e-9
    rate: float = 1e-3
    restart: int = 20  # training steps

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = [
            0.1 * rng.standard_normal((2, 50)),
            np.zeros(50),
            0.1 * rng.standard_normal((50, 2)),
            np.zeros(2),
        ]
        self.y0 = rng.uniform(-2.0, 2.0, (20, 2))
        self.t = np.linspace(0.0, 0.2252, 10)
        self.target = self.y0 + 0.1 * rng.standard_normal((10, 20, 2))


@dataclass
class Gemm:
    """The gradient of a wide net through 20 steps of the classical Runge-Kutta method."""

    dtype: Any = np.float64
    steps: int = 20

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        sizes = [64, 256, 256, 64]
        self.weights = []
        for n, m in itertools.pairwise(sizes):
            self.weights += [rng.standard_normal((n, m)) / np.sqrt(n), np.zeros(m)]
        self.weights = [w.astype(self.dtype) for w in self.weights]
        self.y0 = rng.standard_normal((512, 64)).astype(self.dtype)


@dataclass
class Lorenz:
    """A solve from plain Python code."""

    rtol: float = 1e-8
    atol: float = 1e-8

    def __post_init__(self) -> None:
        self.y0, self.t = np.array([1.0, 0.0, 0.0]), np.linspace(0.0, 20.0, 100)
        self.constants = (10.0, 28.0, 8.0 / 3.0)
