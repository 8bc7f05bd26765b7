"""The toy of the paper's code: dy/dt = y^3 A, learned from windows of one trajectory.

A net 2-50-tanh-2 on y^3, batches of 20 windows of 10 times, L1 loss, RMSprop 1e-3, 2000 steps, the adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..models import Trained
from ..models.training import descend
from ..nn import MLP, NeuralODE
from ..optim import RMSprop
from ..solve import odeint
from .experiment import Experiment, Row, Training

__all__ = ["SPIRAL"]

A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
T = np.linspace(0.0, 25.0, 1000)
WINDOW, BATCH = 10, 20
KEY = "spiral"


def _truth() -> np.ndarray:
    """The trajectory, (1000, 2)."""
    return odeint(lambda t, y: y**3 @ A, np.array([2.0, 0.0]), T, rtol=1e-9, atol=1e-9)


def _ode() -> NeuralODE:
    mlp = MLP([2, 50, 2])
    return NeuralODE(lambda params, t, y: mlp(params, y**3), init=mlp.init, rtol=1e-7, atol=1e-9)


def _trainings(quick: bool) -> list[Training]:
    y, ode = _truth(), _ode()

    def start(rng: np.random.Generator) -> Any:
        return [
            {"W": 0.1 * rng.standard_normal(layer["W"].shape), "b": np.zeros_like(layer["b"])}
            for layer in ode.init(rng)
        ]

    def loss(params: Any, y0: Any, target: Any) -> Any:
        return np.mean(np.abs(ode(params, y0, T[:WINDOW]) - target))

    def batches(rng: np.random.Generator) -> Iterator[tuple]:
        while True:
            first = rng.choice(len(T) - WINDOW, BATCH, replace=False)
            yield y[first], np.stack([y[first + i] for i in range(WINDOW)])

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        return descend(loss, params, batches(rng), steps=steps, optimizer=RMSprop(1e-3), state=state, callback=callback)

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        return {"L1": float(np.mean(np.abs(ode(params, y[0], T) - y)))}

    return [Training(KEY, 500 if quick else 2000, start, go, measure)]


def _rows(figures: dict[str, dict]) -> list[Row]:
    return [Row("mean absolute error over the whole trajectory", None, figures[KEY]["L1"])]


def _pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def draw(figure: Any) -> None:
        truth, found = _truth(), _ode()(params[KEY], np.array([2.0, 0.0]), T)
        left, right = figure.subplots(1, 2)
        for i in range(2):
            left.plot(T, truth[:, i], color=f"C{i}", label=f"y{i}")
            left.plot(T, found[:, i], "--", color=f"C{i}", label=f"y{i}, learned")
        right.plot(*truth.T, label="truth")
        right.plot(*found.T, "--", label="learned")
        left.set(xlabel="t", title="Trajectories")
        right.set(xlabel="y0", ylabel="y1", title="Phase portrait")
        left.legend(fontsize="small")

    return {"spiral.png": draw}


SPIRAL = Experiment("spiral", "A spiral learned from windows of one trajectory (toy)", _trainings, _rows, _pictures,
                    settings="RMSprop 1e-3; dopri5 at 1e-7, adjoint")  # fmt: skip
