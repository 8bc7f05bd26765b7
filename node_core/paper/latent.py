"""Latent ODEs on spirals seen at irregular times, and an intensity learned from event times: section 5 of the paper.

latent-spiral: 1000 spirals of 100 points, noise 0.3, of which 30, 50 or 100 are kept; the error on the 100 points
               beyond the window, beside recurrent nets of 25 units that are told the time gaps or not. Adam 0.01. The
               latent ODE learns with `consistency`, and z0 is refined from what the recognition net gives. The rows
               "ELBO alone" and "not refined" leave out one of them each, and tell what they bring.
poisson:       about 500 events of a known intensity, several draws of them (figure 7).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

import numpy as np

from ..models import (
    LatentODE,
    PoissonProcess,
    RNNPredictor,
    Spirals,
    Trained,
    draw_events,
    fit_events,
    fit_series,
    rmse,
    spirals,
)
from ..models.training import ThenDecay
from ..optim import Adam, falling
from .experiment import Experiment, Row, Training

__all__ = ["LATENT", "POISSON"]

KEPT = (30, 50, 100)
STARTS = (100, 300)  # of the windows that are tested: what follows them is part of the whole spiral
LATENT_ODE, ELBO_ALONE = "latent ODE", "latent ODE, ELBO alone"
KINDS = (LATENT_ODE, ELBO_ALONE, "RNN", "RNN without gaps")
SETTLES = 0.003  # the rate of a latent ODE that sees all 100 points: at 0.01 it does not settle
CONSISTENCY, REFINED = 3.0, 50  # weight of the agreement; steps
PRINTED = {("latent ODE", 30): 0.1642, ("latent ODE", 50): 0.1502, ("latent ODE", 100): 0.1346,
           ("RNN", 30): 0.3937, ("RNN", 50): 0.3202, ("RNN", 100): 0.1813}  # fmt: skip
SPAN, MEAN_RATE, DRAWS = (0.0, 10.0), 50.0, {True: 2, False: 8}


# --- spirals ---


def _model(kind: str) -> Any:
    if kind in (LATENT_ODE, ELBO_ALONE):
        consistency = CONSISTENCY if kind == LATENT_ODE else 0.0
        return LatentODE(2, gradient="discrete", rtol=1e-4, atol=1e-4, consistency=consistency)
    return RNNPredictor(2, gaps=kind == "RNN")


def _held_out(kept: int) -> Spirals:
    return spirals(10_000 + kept, 1000, kept=kept, starts=STARTS)


def _extrapolated(model: Any, params: Any, data: Spirals, **keywords: Any) -> np.ndarray:
    """(100, N, 2) beyond the window."""
    return model.extrapolate(params, data.t, data.x, data.mask, data.future, **keywords)


def _spiral_trainings(quick: bool) -> list[Training]:
    kinds = [kind for kind in KINDS if not (quick and kind == ELBO_ALONE)]
    return [_spiral_training(kind, kept, quick) for kept in KEPT for kind in kinds]


def _spiral_training(kind: str, kept: int, quick: bool) -> Training:
    model, data = _model(kind), spirals(kept, 200 if quick else 1000, kept=kept)
    steps = 700 if quick else 20_000
    rate = SETTLES if kept == max(KEPT) and kind in (LATENT_ODE, ELBO_ALONE) and not quick else 0.01
    optimizer = Adam(falling(rate, steps))

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        return fit_series(
            model, params, data.t, data.x, data.mask, steps=steps, batch=50 if quick else 100, optimizer=optimizer,
            rng=rng, state=state, callback=callback,
        )  # fmt: skip

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        seen = _held_out(kept)
        at_once = rmse(_extrapolated(model, params, seen), seen.beyond)
        if kind not in (LATENT_ODE, ELBO_ALONE):
            return {"RMSE": at_once}
        refined = rmse(_extrapolated(model, params, seen, refine=REFINED), seen.beyond)
        return {"RMSE": refined, "RMSE, not refined": at_once}

    return Training(_key(kind, kept), steps, model.init, go, measure)


def _key(kind: str, kept: int) -> str:
    return f"{kind}, {kept}/100"


def _spiral_rows(figures: dict[str, dict]) -> list[Row]:
    """Of the latent ODEs refined; what the recognition net gives by itself comes last."""
    rows = [
        Row(f"RMSE beyond the window, {_key(kind, kept)}", PRINTED.get((kind, kept)), figures[_key(kind, kept)]["RMSE"])
        for kind in KINDS for kept in KEPT if _key(kind, kept) in figures
    ]  # fmt: skip
    return rows + [
        Row(f"RMSE beyond the window, not refined, {key}", None, found["RMSE, not refined"])
        for key, found in figures.items() if "RMSE, not refined" in found
    ]  # fmt: skip


def _spiral_pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    return {
        "extrapolation.png": lambda figure: _draw_extrapolation(figure, params),
        "latent_space.png": lambda figure: _draw_latent_space(figure, params),
    }


def _draw_extrapolation(figure: Any, params: dict[str, Any]) -> None:
    """One row a model: four spirals with what was seen, the truth, reconstruction and extrapolation (figures 8, 10)."""
    data = _held_out(30)
    axes = figure.subplots(2, 4, squeeze=False)
    for row, kind in zip(axes, (LATENT_ODE, "RNN"), strict=True):
        model, mine = _model(kind), params[_key(kind, 30)]
        inside, more = None, {}
        if kind == LATENT_ODE:
            more = {"refine": REFINED}
            inside = model.reconstruct(mine, data.t, data.x, data.mask, **more)
        beyond = _extrapolated(model, mine, data, **more)
        for n, axis in enumerate(row):
            seen = data.mask[:, n] > 0
            axis.plot(*data.true[:, n].T, color="0.7")
            axis.plot(*data.x[seen, n].T, ".", color="k", ms=3)
            if inside is not None:
                axis.plot(*inside[:, n].T, color="C0")
            axis.plot(*beyond[:, n].T, color="C3")
            axis.set(xticks=[], yticks=[], aspect="equal", title=kind if n == 0 else None)


def _draw_latent_space(figure: Any, params: dict[str, Any]) -> None:
    """Latent paths of both directions, their first two components (figure 9)."""
    data, axis = _held_out(100), figure.subplots()
    model, mine = _model(LATENT_ODE), params[_key(LATENT_ODE, 100)]
    z0, _ = model.encode(mine, data.t, data.x, data.mask)
    z = model.path(mine, z0, data.t)  # (T, N, latent)
    for n in range(60):
        axis.plot(z[:, n, 0], z[:, n, 1], color="C0" if data.clockwise[n] else "C1", lw=0.8)
    axis.set(xlabel="z0", ylabel="z1", title="Latent paths: clockwise blue, counter-clockwise orange")


# --- Poisson ---


def _intensity(t: np.ndarray) -> np.ndarray:
    return MEAN_RATE * (1 + 0.7 * np.sin(0.2 * np.pi * t))


def _process() -> PoissonProcess:
    return PoissonProcess(SPAN, gradient="discrete", rtol=1e-4, atol=1e-4)


def _events(draw: int) -> np.ndarray:
    return draw_events(draw, _intensity, SPAN, most=1.7 * MEAN_RATE)


def _poisson_trainings(quick: bool) -> list[Training]:
    return [_poisson_training(draw, 500 if quick else 1000) for draw in range(DRAWS[quick])]


def _poisson_training(draw: int, steps: int) -> Training:
    process, events = _process(), _events(draw)
    optimizer = ThenDecay(steps)

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        return fit_events(process, params, events, steps=steps, optimizer=optimizer, state=state, callback=callback)

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        t = np.linspace(*SPAN, 2001)
        error = np.abs(process.intensity(params, t) - _intensity(t))
        return {"L1": float(np.sum(error) / np.sum(_intensity(t))), "events": len(events)}

    def start(rng: np.random.Generator) -> Any:
        return process.init(rng, rate=len(events) / (SPAN[1] - SPAN[0]))

    return Training(f"intensity, draw {draw}", steps, start, go, measure)


def _poisson_rows(figures: dict[str, dict]) -> list[Row]:
    errors, events = ([found[name] for found in figures.values()] for name in ("L1", "events"))
    return [
        Row(f"relative L1 error of the intensity, mean of {len(errors)} draws", None, 100 * mean(errors), " %"),
        Row("the largest of them", None, 100 * max(errors), " %"),
        Row("events, mean", None, mean(events)),
    ]


def _poisson_pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def draw(figure: Any) -> None:
        t, axis = np.linspace(*SPAN, 400), figure.subplots()
        axis.plot(t, _intensity(t), color="0.6", lw=3, label="known")
        for k, mine in enumerate(params.values()):
            label = "learned" if k == 0 else None
            axis.plot(t, _process().intensity(mine, t), color="C0", alpha=1.0 if k == 0 else 0.3, label=label)
        axis.plot(_events(0), np.zeros(len(_events(0))), "|", color="k", ms=8, label="events of the first draw")
        axis.set(xlabel="t", title="Intensity from the times of events")
        axis.legend(fontsize="small")

    return {"intensity.png": draw}


LATENT = Experiment(
    "latent-spiral", "Latent ODEs extrapolate spirals seen at irregular times (table 2, figures 8 to 10)",
    _spiral_trainings, _spiral_rows, _spiral_pictures,
)  # fmt: skip
POISSON = Experiment(
    "poisson", "An intensity from the times of events (figure 7)", _poisson_trainings, _poisson_rows, _poisson_pictures
)
