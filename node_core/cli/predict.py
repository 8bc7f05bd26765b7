"""``node-core predict``: solve a fitted model; writes CSV and, asked, a plot."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from ..fit import Model
from ..series import digits
from ..storage import load, write_aside
from .values import positive_number

NAME = "predict"
HELP = "solve a fitted model to a later time"
DESCRIPTION = """Solve a model that `node-core fit` wrote, from its first time to --until, and write CSV.

The times are the model's first one and then every --step (by default the median spacing of the fitted rows)."""
EPILOG = """examples:
  node-core predict fit/model.npz --until 1930
  node-core predict fit/model.npz --until 1930 --step 0.1 --out curve.csv --plot curve.png"""


def add(parser: argparse.ArgumentParser) -> None:
    """The options of predict."""
    parser.add_argument("model", metavar="MODEL", help="model.npz of a fit")
    parser.add_argument("--until", type=float, required=True, metavar="T", help="the last time")
    parser.add_argument("--step", type=positive_number, metavar="H", help="spacing of the times")
    parser.add_argument("--out", metavar="FILE", help="CSV file to write (default: predict.csv in the model's folder)")
    parser.add_argument("--plot", metavar="FILE", help="also draw a PNG picture (needs the plot extra)")


def run(arguments: argparse.Namespace) -> int:
    """Load, solve, write."""
    model = Model.from_tree(load(arguments.model))
    t = _times(model, arguments.until, arguments.step)
    y = model.predict(t)
    out = Path(arguments.out) if arguments.out else Path(arguments.model).parent / "predict.csv"
    write_aside(out, lambda path: _write_csv(path, model, t, y))
    print(f"wrote {len(t)} rows, {model.time} from {digits(t[0])} to {digits(t[-1])}, to {out}")
    if arguments.plot:
        try:
            from .plot import plot_prediction
        except ImportError:
            raise RuntimeError('--plot needs matplotlib (pip install "node-core[plot]")') from None
        write_aside(arguments.plot, lambda path: plot_prediction(path, model, t, y))
        print(f"wrote {arguments.plot}")
    return 0


def _times(model: Model, until: float, step: float | None) -> np.ndarray:
    """From the model's first time to `until`, which is included."""
    step = model.t_step if step is None else step
    if not model.t0 < until < np.inf:
        raise ValueError(
            f"--until must be later than the model's first {model.time}, {digits(model.t0)}, got {digits(until)}"
        )
    if (until - model.t0) / step > 1e7:
        raise ValueError(f"--until {digits(until)} with --step {digits(step)} asks for over 10,000,000 rows")
    t = model.t0 + step * np.arange(int((until - model.t0) / step + 1e-9) + 1)
    if not np.all(np.diff(t) > 0):
        raise ValueError(f"--step {digits(step)} is too small to tell two times near {digits(until)} apart")
    places = 12 - int(np.floor(np.log10(step)))  # the rounding errors of step * k are no digits of a time
    t = np.array([model.t0, *(round(x, places) for x in t[1:].tolist())])
    return np.append(t, until) if until - t[-1] > 1e-9 * step else t


def _write_csv(path: str, model: Model, t: np.ndarray, y: np.ndarray) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([model.time, *model.columns])
        writer.writerows([digits(x), *(f"{value:.10g}" for value in row)] for x, row in zip(t, y, strict=True))
