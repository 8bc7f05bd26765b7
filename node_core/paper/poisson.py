"""An intensity learned from event times, in several draws of about 500 events of a known one: figure 7 of the paper."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

import numpy as np

from ..models import PoissonProcess, Trained, draw_events, fit_events
from ..models.training import ThenDecay
from .experiment import Experiment, Row, Training

__all__ = ["POISSON"]

SPAN, MEAN_RATE, DRAWS = (0.0, 10.0), 50.0, {True: 2, False: 8}  # DRAWS by quick


def _intensity(t: np.ndarray) -> np.ndarray:
    return MEAN_RATE * (1 + 0.7 * np.sin(0.2 * np.pi * t))


def _process() -> PoissonProcess:
    return PoissonProcess(SPAN, gradient="discrete", rtol=1e-4, atol=1e-4)


def _events(draw: int) -> np.ndarray:
    return draw_events(draw, _intensity, SPAN, most=1.7 * MEAN_RATE)


def _trainings(quick: bool) -> list[Training]:
    return [_training(draw, 500 if quick else 1000) for draw in range(DRAWS[quick])]


def _training(draw: int, steps: int) -> Training:
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


def _rows(figures: dict[str, dict]) -> list[Row]:
    errors, events = ([found[name] for found in figures.values()] for name in ("L1", "events"))
    return [
        Row(f"relative L1 error of the intensity, mean of {len(errors)} draws", None, 100 * mean(errors), " %"),
        Row("the largest of them", None, 100 * max(errors), " %"),
        Row("events, mean", None, mean(events)),
    ]


def _pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
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


POISSON = Experiment("poisson", "An intensity from the times of events (figure 7)", _trainings, _rows, _pictures,
                     settings="Adam, then AdamW with decay 0.3; dopri5 at 1e-4, discrete gradient")  # fmt: skip
