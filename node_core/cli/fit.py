"""``node-core fit``: learn an ODE from a CSV file; leaves a model, a report and a plot."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..fit import Model, Settings, fit_series
from ..series import Series, digits, read_series
from ..solve import odeint
from ..solvers import SolverError
from ..storage import save
from .progress import Progress
from .values import folder, fraction, natural, positive_ints

NAME = "fit"
HELP = "learn an ODE from a CSV file"
DESCRIPTION = """Learn an autonomous neural ODE, dz/dt = MLP(z) on z-scored states, from one trajectory.

FILE is a CSV file with a header, one column of increasing times and one or more of states. The last part
of the rows is held out and forecast. Written to the output folder: model.npz (for `node-core predict`),
report.json (settings, seed, errors beside two simple forecasts, function evaluations, seconds) and fit.png
(with the `plot` extra)."""
EPILOG = """examples:
  node-core fit examples/data/hudson_bay.csv --time year --out fit
  node-core fit examples/data/hudson_bay.csv --time year --holdout 0 --seed 1 --out fit
  node-core fit data.csv --time t --columns x,y --hidden 32,32 --out fit"""


def add(parser: argparse.ArgumentParser) -> None:
    """The options of fit."""
    parser.add_argument("file", metavar="FILE", help="CSV file with a header line")
    parser.add_argument("--time", required=True, metavar="NAME", help="the time column")
    parser.add_argument("--columns", metavar="A,B", help="the state columns (default: all others)")
    parser.add_argument(
        "--out", type=folder, default="fit", metavar="FOLDER", help="output folder (default: %(default)s)"
    )
    parser.add_argument(
        "--holdout", type=fraction, default=0.15, metavar="F",
        help="fraction of rows, the last ones, to hold out (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="random seed (default: %(default)s)")
    parser.add_argument(
        "--hidden",
        type=positive_ints,
        default=(32,),
        metavar="N,M",
        help="units of the hidden layers (default: 32)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> int:
    """Read, fit, report; nothing is written before all of it has succeeded."""
    columns = [name.strip() for name in arguments.columns.split(",")] if arguments.columns else None
    series = read_series(arguments.file, arguments.time, columns)
    print(f"{arguments.file}: {series}")
    out = _writable(arguments.out)
    _check_no_others(out)
    held_out = round(len(series.t) * arguments.holdout)
    fitted = series.head(len(series.t) - held_out)
    print(f"fitting {len(fitted.t)} rows, holding out the last {held_out}")
    settings = Settings(seed=arguments.seed, hidden=arguments.hidden)
    try:
        start = time.perf_counter()
        with Progress(settings, quiet=arguments.quiet) as progress:
            model = fit_series(fitted, settings, progress.report)
        seconds = time.perf_counter() - start
        report = make_report(series, len(fitted.t), model, settings, seconds)
        _print_errors(report)
        written, removed = _write(out, series, len(fitted.t), model, report)
    except SolverError as error:
        message = f"{error} Nothing was written. Try another --seed, or other --hidden units."
        raise SolverError(message, error.t, error.h, error.y, error.reason) from error
    print(f"wrote {', '.join(written)} to {out}{os.sep}")
    if removed:
        print(f"removed {', '.join(removed)} of an earlier fit")
    print(f"next: node-core predict {shlex.quote(str(out / 'model.npz'))} --until {_round_up(series)}")
    return 0


def _writable(path: Path) -> Path:
    """The output folder, made if need be. Raises OSError before any work if it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(f"the output folder {path} is not writable: {error.strerror or error}") from error
    return path


def _check_no_others(out: Path) -> None:
    """Raises ValueError if the folder holds a model or a report that no earlier fit has left."""
    names = [name for name in ("checkpoint.npz", "model.npz", "report.json") if (out / name).exists()]
    if not names:
        return
    try:
        report = json.loads((out / "report.json").read_text())
    except (OSError, ValueError):
        report = None
    if names[0] == "checkpoint.npz" or not isinstance(report, dict) or not {"rmse", "settings"} <= set(report):
        what = f"a run of `node-core paper {report['experiment']}`" if _names_experiment(report) else "no earlier fit"
        raise ValueError(
            f"{out} holds {' and '.join(names)} of {what}, which the fit would overwrite; choose another --out"
        )


def _names_experiment(report: Any) -> bool:
    return isinstance(report, dict) and isinstance(report.get("experiment"), str)


def _round_up(series: Series) -> str:
    """A time about half the series' length past its end, rounded."""
    span, last = float(series.t[-1] - series.t[0]), float(series.t[-1])
    power = int(np.floor(np.log10(span / 2)))
    rounded = round(np.ceil((last + span / 4) / 10.0**power) * 10.0**power, -power)
    return digits(rounded if rounded > last else last + span)  # a few ulp of span leave nothing to round


def make_report(series: Series, rows: int, model: Model, settings: Settings, seconds: float) -> dict[str, Any]:
    """What report.json holds; rows is the number of fitted rows."""
    predicted = model.predict(series.t)
    before = np.vstack([series.y[:1], series.y[:-1]])  # of the fitted part: the row before
    before[rows:] = series.y[rows - 1]  # of the held-out part: the last row seen
    mean = np.broadcast_to(model.mean, series.y.shape)
    tau = (series.t - model.t0) / model.t_std
    with model.errors_in_units_of_the_data():
        _, stats = odeint(
            lambda t, z: model.field(model.params, t, z), model.z0, tau,
            method=model.method, rtol=model.rtol, atol=model.atol, full_output=True,
        )  # fmt: skip
    return {
        "settings": asdict(settings),
        "seed": settings.seed,
        "rows": {"fitted": rows, "held_out": len(series.t) - rows},
        "rmse": _errors(series, rows, predicted),
        "persistence": _errors(series, rows, before),
        "mean": _errors(series, rows, mean),
        "nfe": {
            "solution": stats.nfev,
            "training": model.nfev_forward,
            "training_backward": model.nfev_backward,
        },
        "seconds": round(seconds, 3),
    }


def _errors(series: Series, rows: int, forecast: np.ndarray) -> dict[str, dict[str, float]]:
    """Root mean square errors by part and column; a part without rows is empty."""

    def part(where: slice) -> dict[str, float]:
        errors = (forecast - series.y)[where]
        if not len(errors):
            return {}
        return dict(zip(series.columns, np.sqrt(np.mean(errors**2, axis=0)).tolist(), strict=True))

    return {"fitted": part(slice(0, rows)), "held_out": part(slice(rows, None))}


def _print_errors(report: dict[str, Any]) -> None:
    print(f"{'RMSE':24}{'this fit':>12}{'persistence':>14}{'mean':>12}")
    for part in ("fitted", "held_out"):
        for column, error in report["rmse"][part].items():
            rest = [report[name][part][column] for name in ("persistence", "mean")]
            label = f"{column}, {part.replace('_', ' ')}"
            print(f"{label:24}{error:12.4g}{rest[0]:14.4g}{rest[1]:12.4g}")
    held_out = report["rmse"]["held_out"]
    worse = [
        c for c, error in held_out.items() if error > min(report[n]["held_out"][c] for n in ("persistence", "mean"))
    ]
    if worse:
        print(f"held out, {', '.join(worse)} is forecast no better than by the last value or the mean")


FILES = ("model.npz", "report.json", "fit.png")


def _write(out: Path, series: Series, rows: int, model: Model, report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Make all files aside and move them only when they are whole, so that they belong together.

    Returns the names of those written, and of those an earlier fit left that have no successor: they go.
    """
    with tempfile.TemporaryDirectory(prefix=".fit-", dir=out) as folder:
        aside = Path(folder)
        save(aside / "model.npz", model.to_tree())
        (aside / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        _plot(aside / "fit.png", series, rows, model)
        written = [name for name in FILES if (aside / name).exists()]
        stale = [name for name in FILES if name not in written and (out / name).exists()]
        for name in written:
            os.replace(aside / name, out / name)
    for name in stale:
        (out / name).unlink()
    return written, stale


def _plot(path: Path, series: Series, rows: int, model: Model) -> None:
    """Draw fit.png; without matplotlib a line that says why not."""
    try:
        from .plot import plot_fit
    except ImportError:
        print('fit.png is not drawn: matplotlib is not installed (pip install "node-core[plot]")')
        return
    plot_fit(path, series, rows, model)
