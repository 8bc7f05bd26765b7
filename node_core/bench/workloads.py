"""The problems of the comparison with other packages, as plain data: the same numbers for every contestant.

spiral   the paper's toy as one training step: net 2-50-tanh-2 on y^3, 20 states, ten times over [0, 0.2252], dopri5
         at rtol 1e-7 and atol 1e-9, loss mean |y - target|, all 252 gradients, an RMSprop update. After 20 steps it
         starts again from the first weights: a trained field takes three times the steps, and the fastest contestant
         would train furthest.
gemm     net 64-256-256-64 on 512 states, 20 classical Runge-Kutta steps over [0, 1], loss sum y(1)^2, all gradients.
lorenz   (10, 28, 8/3) from (1, 0, 0) over [0, 20], 100 outputs, rtol = atol = 1e-8.
conv     the block of the ODE-Net in float32: GroupNorm(32)-ReLU-conv 3 by 3 (65 to 64 channels, t the first)-
         GroupNorm-ReLU-conv-GroupNorm on (128, 64, 6, 6). One evaluation; one evaluation with its VJP by y and by all
         parameters; and the gradient of sum y(1)^2 / 128 by both through a solve over [0, 1], dopri5 at 1e-3, discrete
         or adjoint.
cnf      one training step of a continuous normalizing flow on two circles: 64 gated planar units whose weights a
         hypernetwork 1-32-32-448 gives (15,904 parameters), t from 10 to 0, base N(0, 0.1 I), 512 samples, dopri5 at
         rtol = atol = 1e-5, adjoint, Adam 1e-3. It starts again after 5 steps, as the spiral does after 20.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CNF", "Conv", "Gemm", "Lorenz", "Spiral"]


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


@dataclass
class Conv:
    """The ODE-Net's block: field, VJP and whole gradient; float32.

    weights: scale, shift, W, b, scale, shift, W, b, scale, shift, in the order of use. The last scale is near 1/2: the
    solve then takes four steps, 26 evaluations.
    """

    batch: int = 128
    width: int = 64
    groups: int = 32
    side: int = 6
    rtol: float = 1e-3
    atol: float = 1e-3
    at: float = 0.5  # the time of the single evaluations

    def __post_init__(self) -> None:
        rng, width, fan = np.random.default_rng(0), self.width, 9 * (self.width + 1)

        def norm(scale: float) -> list[np.ndarray]:
            return [scale + 0.1 * rng.standard_normal(width), 0.1 * rng.standard_normal(width)]

        def conv() -> list[np.ndarray]:
            W = rng.standard_normal((width, width + 1, 3, 3)) / math.sqrt(fan)
            return [W, 0.1 * rng.standard_normal(width)]

        weights = [*norm(1.0), *conv(), *norm(1.0), *conv(), *norm(0.5)]
        self.weights = [w.astype(np.float32) for w in weights]
        shape = (self.batch, width, self.side, self.side)
        self.y0, self.cotangent = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        self.t = np.array([0.0, 1.0], np.float32)


@dataclass
class CNF:
    """One training step of the usual continuous normalizing flow.

    weights: W, b of the hypernetwork's layers, uniform as torch draws them; its outputs are w, u, the gates and b of
    the units one after another.
    """

    dtype: Any = np.float32
    samples: int = 512
    units: int = 64
    hidden: int = 32
    span: tuple[float, float] = (0.0, 10.0)  # times of the base and of the data
    std: float = math.sqrt(0.1)  # of the base
    rtol: float = 1e-5
    atol: float = 1e-5
    rate: float = 1e-3
    restart: int = 5  # training steps

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = []
        for n, m in itertools.pairwise([1, self.hidden, self.hidden, 7 * self.units]):
            most = 1.0 / math.sqrt(n)
            self.weights += [rng.uniform(-most, most, (n, m)), rng.uniform(-most, most, m)]
        self.weights = [w.astype(self.dtype) for w in self.weights]
        angle = 2.0 * np.pi * np.arange(self.samples) / (self.samples // 2)
        radius = np.where(np.arange(self.samples) < self.samples // 2, 1.0, 0.5)
        circles = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self.x = (circles + 0.06 * rng.standard_normal((self.samples, 2))).astype(self.dtype)
