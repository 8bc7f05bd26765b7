"""Continuous normalizing flows against discrete ones of equal width and depth: figures 4 and 5 of the paper.

cnf-density:    minimise KL(q || p) to three targets, M units against K = M layers, M in {2, 8, 32}; CNF with Adam,
                10,000 steps, the discrete flow with RMSprop, 500,000.
cnf-likelihood: maximum likelihood on two circles and two moons, 64 units against 64 layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..models import (
    CNF,
    TARGETS,
    Planar,
    PlanarFlow,
    Trained,
    fit_likelihood,
    log_normalizer,
    match_density,
    two_circles,
    two_moons,
)
from ..optim import Adam, RMSprop, falling
from .experiment import Experiment, Row, Training

__all__ = ["DENSITY", "LIKELIHOOD"]

WIDTHS = (2, 8, 32)
DATA = {"two circles": two_circles, "two moons": two_moons}
UNITS, HELD_OUT, DRAWN = 64, 2000, 20_000


def _flow(kind: str, units: int, toward: str) -> Any:
    if kind == "CNF":
        return CNF(Planar(2, units), 2, gradient="discrete", rtol=1e-5, atol=1e-5)
    return PlanarFlow(2, units, toward=toward)


def _optimizer(kind: str, rate: float, steps: int) -> Any:
    """The paper's choice."""
    return (Adam if kind == "CNF" else RMSprop)(falling(rate, steps))


# --- figure 4 ---


def _density_trainings(quick: bool) -> list[Training]:
    return [
        _density_training(target, kind, units, quick)
        for target in TARGETS for units in WIDTHS for kind in ("CNF", "NF")
    ]  # fmt: skip


def _density_training(target: str, kind: str, units: int, quick: bool) -> Training:
    flow, log_target = _flow(kind, units, "data"), TARGETS[target]
    steps = {("CNF", False): 10_000, ("NF", False): 500_000, ("CNF", True): 800, ("NF", True): 4000}[kind, quick]
    samples = 128 if quick else 512
    rate = {("CNF", False): 3e-3, ("CNF", True): 1e-2}.get((kind, quick), 1e-3)
    optimizer = _optimizer(kind, rate, steps)

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        return match_density(
            flow, params, log_target, steps=steps, samples=samples, optimizer=optimizer, rng=rng, state=state,
            callback=callback,
        )  # fmt: skip

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        x, log_q = flow.sample_and_log_prob(params, rng, DRAWN)
        return {"KL": float(np.mean(log_q - log_target(x)) + log_normalizer(log_target))}

    return Training(f"{target}, {kind}, {units}", steps, flow.init, go, measure)


def _density_rows(figures: dict[str, dict]) -> list[Row]:
    return [Row(f"KL, {key}", None, found["KL"], " nats") for key, found in figures.items()]


def _density_pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(2 * len(TARGETS), 1 + len(WIDTHS), squeeze=False)
        for i, target in enumerate(TARGETS):
            for j, kind in enumerate(("CNF", "NF")):
                row = axes[2 * i + j]
                _density(row[0], lambda x, target=target: TARGETS[target](x) - log_normalizer(TARGETS[target]))
                row[0].set(ylabel=kind, title="target" if i == j == 0 else None)
                for k, units in enumerate(WIDTHS):
                    key = f"{target}, {kind}, {units}"
                    flow = _flow(kind, units, "data")
                    _points(row[k + 1], flow.sample(params[key], 0, 4000), 4.0)
                    row[k + 1].set_title(f"{units}: KL {figures[key]['KL']:.2f}", fontsize="small")

    draw.size = (8, 12)
    return {"densities.png": draw}


# --- figure 5 ---


def _likelihood_trainings(quick: bool) -> list[Training]:
    return [_likelihood_training(data, kind, quick) for data in DATA for kind in ("CNF", "NF")]


def _likelihood_training(data: str, kind: str, quick: bool) -> Training:
    flow, make = _flow(kind, UNITS, "base"), DATA[data]
    steps = {("CNF", True): 800, ("NF", True): 4000}.get((kind, quick), 10_000)
    optimizer = _optimizer(kind, 5e-3 if kind == "CNF" else 1e-3, steps)
    held_out = make(np.random.default_rng(12345), HELD_OUT)

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        return fit_likelihood(
            flow, params, make, steps=steps, batch=128 if quick else 512, optimizer=optimizer, rng=rng, state=state,
            callback=callback,
        )  # fmt: skip

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        return {"log-likelihood": float(np.mean(flow.log_prob(params, held_out)))}

    return Training(f"{data}, {kind}", steps, flow.init, go, measure)


def _likelihood_rows(figures: dict[str, dict]) -> list[Row]:
    return [
        Row(f"held-out log-likelihood, {key}", None, found["log-likelihood"], " nats")
        for key, found in figures.items()
    ]  # fmt: skip


def _likelihood_pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(len(DATA), 3, squeeze=False)
        for row, (data, make) in zip(axes, DATA.items(), strict=True):
            _points(row[0], make(np.random.default_rng(0), 4000), 2.5)
            row[0].set(title=data)
            for axis, kind in zip(row[1:], ("CNF", "NF"), strict=True):
                key = f"{data}, {kind}"
                flow = _flow(kind, UNITS, "base")
                _density(axis, lambda x, flow=flow, key=key: flow.log_prob(params[key], x), 2.5)
                axis.set_title(f"{kind}: {figures[key]['log-likelihood']:.3f}", fontsize="small")

    return {"likelihood.png": draw}


# --- drawing ---


def _density(axis: Any, log_density: Callable, half_width: float = 4.0, n: int = 120) -> None:
    edges = np.linspace(-half_width, half_width, n)
    grid = np.stack(np.meshgrid(edges, edges), axis=-1).reshape(-1, 2)
    values = np.exp(log_density(grid)).reshape(n, n)
    axis.imshow(values, origin="lower", extent=(-half_width, half_width) * 2, cmap="magma")
    axis.set(xticks=[], yticks=[])


def _points(axis: Any, x: np.ndarray, half_width: float) -> None:
    axis.hist2d(*x.T, bins=80, range=[(-half_width, half_width)] * 2, cmap="magma")
    axis.set(xticks=[], yticks=[], aspect="equal")


DENSITY = Experiment(
    "cnf-density", "Densities matched by continuous and by discrete flows (figure 4)", _density_trainings,
    _density_rows, _density_pictures,
    settings="continuous: Adam, dopri5 at 1e-5, discrete gradient; discrete: RMSprop; both rates fall",
)  # fmt: skip
LIKELIHOOD = Experiment(
    "cnf-likelihood", "Two circles and two moons by maximum likelihood (figure 5)", _likelihood_trainings,
    _likelihood_rows, _likelihood_pictures,
    settings="continuous: Adam, dopri5 at 1e-5, discrete gradient; discrete: RMSprop; both rates fall",
)  # fmt: skip
