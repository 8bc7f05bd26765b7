"""Latent ODEs extrapolate spirals seen at irregular times: section 5 of the paper, table 2 and figures 8 to 10.

1000 spirals of 100 points, noise 0.3, of which 30, 50 or 100 are kept; the error on the 100 points beyond the window,
beside recurrent nets of 25 units that are told the time gaps or not. The latent ODE learns with `consistency`, and z0
is refined from what the recognition net gives. The rows "ELBO alone" and "not refined" leave out one of them each, and
tell what they bring.

Every model is trained by Adam at two rates, from the same weights and batches; which of them counts is told by the
error on further spirals, seen to their end, that neither training nor test has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..models import LatentODE, RNNPredictor, Spirals, Trained, fit_series, rmse, spirals
from ..optim import Adam, falling
from .experiment import Experiment, Row, Training

__all__ = ["LATENT"]

KEPT = (30, 50, 100)
STARTS = (100, 300)  # of the windows that are tested: what follows them is part of the whole spiral
LATENT_ODE, ELBO_ALONE = "latent ODE", "latent ODE, ELBO alone"
KINDS = (LATENT_ODE, ELBO_ALONE, "RNN", "RNN without gaps")
RATES = {True: (0.01,), False: (0.01, 0.003)}  # by quick
CONSISTENCY, REFINED = 3.0, 50  # weight of the agreement; steps
PRINTED = {("latent ODE", 30): 0.1642, ("latent ODE", 50): 0.1502, ("latent ODE", 100): 0.1346,
           ("RNN", 30): 0.3937, ("RNN", 50): 0.3202, ("RNN", 100): 0.1813}  # fmt: skip


def _model(kind: str) -> Any:
    if kind in (LATENT_ODE, ELBO_ALONE):
        consistency = CONSISTENCY if kind == LATENT_ODE else 0.0
        return LatentODE(2, gradient="discrete", rtol=1e-4, atol=1e-4, consistency=consistency)
    return RNNPredictor(2, gaps=kind == "RNN")


def _spirals(first_seed: int, n: int, kept: int) -> Spirals:
    """Not those to learn from, and windows that the whole spiral goes on behind."""
    return spirals(first_seed + kept, n, kept=kept, starts=STARTS)


def _held_out(kept: int) -> Spirals:
    return _spirals(10_000, 1000, kept)


def _validation(kept: int) -> Spirals:
    return _spirals(20_000, 200, kept)


def _extrapolated(model: Any, params: Any, data: Spirals, **keywords: Any) -> np.ndarray:
    """(100, N, 2) beyond the window."""
    return model.extrapolate(params, data.t, data.x, data.mask, data.future, **keywords)


def _error(model: Any, params: Any, data: Spirals, **keywords: Any) -> float:
    """The RMSE beyond the window."""
    return rmse(_extrapolated(model, params, data, **keywords), data.beyond)


def _trainings(quick: bool) -> list[Training]:
    kinds = [kind for kind in KINDS if not (quick and kind == ELBO_ALONE)]
    return [_training(kind, kept, rate, quick) for kept in KEPT for kind in kinds for rate in RATES[quick]]


def _training(kind: str, kept: int, rate: float, quick: bool) -> Training:
    model, data = _model(kind), spirals(kept, 200 if quick else 1000, kept=kept)
    steps = 700 if quick else 20_000
    optimizer = Adam(falling(rate, steps))

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        return fit_series(
            model, params, data.t, data.x, data.mask, steps=steps, batch=50 if quick else 100, optimizer=optimizer,
            rng=rng, state=state, callback=callback,
        )  # fmt: skip

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        more = {"refine": REFINED} if isinstance(model, LatentODE) else {}
        found = {"validation": _error(model, params, _validation(kept), **more),
                 "RMSE": _error(model, params, _held_out(kept), **more)}  # fmt: skip
        return {**found, "RMSE, not refined": _error(model, params, _held_out(kept))} if more else found

    return Training(f"{_name(kind, kept)}, rate {rate:g}", steps, model.init, go, measure, stream=_name(kind, kept))


def _name(kind: str, kept: int) -> str:
    return f"{kind}, {kept}/100"


def _chosen(figures: dict[str, dict], kind: str, kept: int) -> str | None:
    """The key of the training at the better rate, by the validation spirals; None if there is none."""
    keys = [key for key in figures if key.startswith(f"{_name(kind, kept)}, rate ")]
    return min(keys, key=lambda key: np.nan_to_num(figures[key]["validation"], nan=np.inf), default=None)


def _rows(figures: dict[str, dict]) -> list[Row]:
    """Of the latent ODEs refined; what the recognition net gives by itself comes last."""
    found = [(kind, kept, _chosen(figures, kind, kept)) for kind in KINDS for kept in KEPT]
    rows = [
        Row(f"RMSE beyond the window, {key}", PRINTED.get((kind, kept)), figures[key]["RMSE"])
        for kind, kept, key in found if key is not None
    ]  # fmt: skip
    return rows + [
        Row(f"RMSE beyond the window, not refined, {key}", None, figures[key]["RMSE, not refined"])
        for _, _, key in found if key is not None and "RMSE, not refined" in figures[key]
    ]  # fmt: skip


def _pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def mine(kind: str, kept: int) -> Any:
        return params[_chosen(figures, kind, kept)]

    return {
        "extrapolation.png": lambda figure: _draw_extrapolation(figure, mine),
        "latent_space.png": lambda figure: _draw_latent_space(figure, mine),
    }


def _draw_extrapolation(figure: Any, mine: Callable[[str, int], Any]) -> None:
    """One row a model: four spirals with what was seen, the truth, reconstruction and extrapolation (figures 8, 10)."""
    data = _held_out(30)
    axes = figure.subplots(2, 4, squeeze=False)
    for row, kind in zip(axes, (LATENT_ODE, "RNN"), strict=True):
        model, params = _model(kind), mine(kind, 30)
        inside, more = None, {}
        if kind == LATENT_ODE:
            more = {"refine": REFINED}
            inside = model.reconstruct(params, data.t, data.x, data.mask, **more)
        beyond = _extrapolated(model, params, data, **more)
        for n, axis in enumerate(row):
            seen = data.mask[:, n] > 0
            axis.plot(*data.true[:, n].T, color="0.7")
            axis.plot(*data.x[seen, n].T, ".", color="k", ms=3)
            if inside is not None:
                axis.plot(*inside[:, n].T, color="C0")
            axis.plot(*beyond[:, n].T, color="C3")
            axis.set(xticks=[], yticks=[], aspect="equal", title=kind if n == 0 else None)


def _draw_latent_space(figure: Any, mine: Callable[[str, int], Any]) -> None:
    """Latent paths of both directions, their first two components (figure 9)."""
    data, axis = _held_out(100), figure.subplots()
    model, params = _model(LATENT_ODE), mine(LATENT_ODE, 100)
    z0, _ = model.encode(params, data.t, data.x, data.mask)
    z = model.path(params, z0, data.t)  # (T, N, latent)
    for n in range(60):
        axis.plot(z[:, n, 0], z[:, n, 1], color="C0" if data.clockwise[n] else "C1", lw=0.8)
    axis.set(xlabel="z0", ylabel="z1", title="Latent paths: clockwise blue, counter-clockwise orange")


LATENT = Experiment(
    "latent-spiral", "Latent ODEs extrapolate spirals seen at irregular times (table 2, figures 8 to 10)",
    _trainings, _rows, _pictures,
    settings="Adam, the better of two rates by validation; dopri5 at 1e-4, discrete gradient; consistency 3, and 50 "
             "steps of refine where not told otherwise; windows start at 100 to 400, those of the test at 100 to 300",
)  # fmt: skip
