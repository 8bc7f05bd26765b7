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
from ..series import Series, read_series
from ..solve import odeint
from ..storage import save
from .progress import Progress

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
    parser.add_argument("--out", default="fit", metavar="FOLDER", help="output folder (default: %(default)s)")
    parser.add_argument(
        "--holdout", type=_fraction, default=0.15, metavar="F",
        help="fraction of rows, the last ones, to hold out (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=_natural, default=0, metavar="N", help="random seed (default: %(default)s)")
    parser.add_argument(
        "--hidden",
        type=_widths,
        default=(32,),
        metavar="N,M",
        help="units of the hidden layers (default: 32)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1, got {text}")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text}")
    return value


def _widths(text: str) -> tuple[int, ...]:
    widths = tuple(int(part) if part.strip().isdigit() else 0 for part in text.split(","))
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"must be positive ints separated by commas, got {text}")
    return widths


def run(arguments: argparse.Namespace) -> int:
    """Read, fit, report; nothing is written before all of it has succeeded."""
    columns = arguments.columns.split(",") if arguments.columns else None
    series = read_series(arguments.file, arguments.time, columns)
    print(f"{arguments.file}: {series}")
    out = _writable(arguments.out)
    held_out = round(len(series.t) * arguments.holdout)
    fitted = series.head(len(series.t) - held_out)
    print(f"fitting {len(fitted.t)} rows, holding out the last {held_out}")
    settings = Settings(seed=arguments.seed, hidden=arguments.hidden)
    start = time.perf_counter()
    with Progress(settings, quiet=arguments.quiet) as progress:
        model = fit_series(fitted, settings, progress.report)
    seconds = time.perf_counter() - start
    report = make_report(series, len(fitted.t), model, settings, seconds)
    _print_errors(report)
    written = _write(out, series, len(fitted.t), model, report)
    print(f"wrote {', '.join(written)} to {out}{os.sep}")
    print(f"next: node-core predict {shlex.quote(str(out / 'model.npz'))} --until {_round_up(series)}")
    return 0


def _writable(folder: str) -> Path:
    """The output folder, made if need be. Raises OSError before any work if it cannot be written to."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(f"the output folder {folder} is not writable: {error.strerror or error}") from error
    return path


def _round_up(series: Series) -> str:
    """A time about half the series' length past its end, rounded."""
    span = series.t[-1] - series.t[0]
    unit = 10.0 ** np.floor(np.log10(span / 2))
    return f"{np.ceil((series.t[-1] + span / 4) / unit) * unit:g}"


def make_report(series: Series, rows: int, model: Model, settings: Settings, seconds: float) -> dict[str, Any]:
    """What report.json holds; rows is the number of fitted rows."""
    predicted = model.predict(series.t)
    before = np.vstack([series.y[:1], series.y[:-1]])  # of the fitted part: the row before
    before[rows:] = series.y[rows - 1]  # of the held-out part: the last row seen
    mean = np.broadcast_to(model.mean, series.y.shape)
    tau = (series.t - model.t0) / model.t_std
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


def _write(out: Path, series: Series, rows: int, model: Model, report: dict[str, Any]) -> list[str]:
    """Make all files aside and move them only when they are whole, so that they belong together; their names."""
    with tempfile.TemporaryDirectory(prefix=".fit-", dir=out) as folder:
        aside = Path(folder)
        save(aside / "model.npz", model.to_tree())
        (aside / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        _plot(aside / "fit.png", series, rows, model)
        names = [name for name in ("model.npz", "report.json", "fit.png") if (aside / name).exists()]
        for name in names:
            os.replace(aside / name, out / name)
    return names


def _plot(path: Path, series: Series, rows: int, model: Model) -> None:
    """Draw fit.png; without matplotlib a line that says why not."""
    try:
        from .plot import plot_fit
    except ImportError:
        print('fit.png is not drawn: matplotlib is not installed (pip install "node-core[plot]")')
        return
    plot_fit(path, series, rows, model)
