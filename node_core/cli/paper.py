"""``node-core paper``: the experiments of the paper, their reports, and one table of all."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ..paper import CHECKPOINT, EXPERIMENTS, Experiment, finished, reports, table
from ..paper import run as run_experiment
from ..storage import load, write_aside
from .values import folder, natural

NAME = "paper"
HELP = "reproduce an experiment of Chen et al. (2018)"
DESCRIPTION = """Run an experiment of the paper and write report.json, model.npz and pictures to a folder. In its table
"printed" is the figure in the paper, where it prints one.

An interrupted run goes on from its checkpoint when it is started again with the same options."""
EPILOG = """examples:
  node-core paper list
  node-core paper spiral --quick
  node-core paper cnf-density --out paper/cnf-density
  node-core paper odenet --data mnist --out paper/mnist
  node-core paper table --out paper"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=["list", "table", *EXPERIMENTS], metavar="WHAT",
                        help=f"list, table, or an experiment: {', '.join(EXPERIMENTS)}")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: each ends within a minute")
    parser.add_argument("--seed", type=natural, metavar="N", help="of weights and batches (0)")
    parser.add_argument(
        "--out", type=folder, metavar="DIR", help="folder of the results (paper/WHAT; for table: paper)"
    )
    parser.add_argument("--data", type=folder, metavar="DIR",
                        help="folder of the four IDX files of MNIST, for odenet and error-control (scikit-learn's "
                             "digits)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")


def run(arguments: argparse.Namespace) -> int:
    """List, run or collect."""
    _check_options(arguments)
    if arguments.what == "list":
        for experiment in EXPERIMENTS.values():
            print(f"{experiment.name:16} {experiment.title}")
        return 0
    if arguments.what == "table":
        left_out: list[str] = []
        print(table(reports(arguments.out or Path("paper"), left_out.append)))
        for why in left_out:
            print(f"left out: {why}", file=sys.stderr)
        return 1 if left_out else 0
    experiment = EXPERIMENTS[arguments.what]
    if arguments.data is not None:
        if experiment.on is None:
            raise ValueError(f"--data is for experiments on images, and {experiment.name} is not one")
        experiment = experiment.on(arguments.data)
    out = arguments.out or Path("paper") / experiment.name
    settings = {"quick": arguments.quick, "seed": arguments.seed or 0}
    written = [] if finished(experiment, out, **settings) is not None else ["report.json", "model.npz"]
    if not written:
        print(f"{out} holds this run already; remove it to train anew", file=sys.stderr)
    try:
        with Progress(arguments.quiet) as progress:
            report = run_experiment(experiment, out, **settings, report=progress.report)
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {out / CHECKPOINT}", file=sys.stderr)
        return 1
    written += _draw(experiment, out, report)
    print(table([report]))
    print(f"wrote {', '.join(str(out / name) for name in written) or 'nothing'}")
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Raises ValueError for options that `list` and `table` would not heed."""
    ignored = {"list": ("quick", "seed", "data", "out"), "table": ("quick", "seed", "data")}.get(arguments.what, ())
    for name in ignored:
        if getattr(arguments, name) is not None and getattr(arguments, name) is not False:  # 0 is given, too
            raise ValueError(f"--{name} is for experiments; `paper {arguments.what}` does not take it")


def _draw(experiment: Experiment, out: Path, report: dict) -> list[str]:
    """Draw the pictures; without matplotlib a line that says why not."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print('no pictures: matplotlib is not installed (pip install "node-core[plot]")', file=sys.stderr)
        return []
    params = load(out / "model.npz")["params"]
    pictures = experiment.pictures(params, report["figures"])
    for name, draw in pictures.items():
        figure = Figure(figsize=getattr(draw, "size", (9, 6)), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        write_aside(out / name, lambda path, figure=figure: figure.savefig(path, dpi=120, format="png"))
    return list(pictures)


class Progress:
    """A bar for each training: tqdm's, or a line every second with the time that is left."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.key = quiet, ""
        self.bar: Any = None
        self.start = self.shown = self.began = time.perf_counter()
        self.first, self.share_before = 0, -1.0

    def __enter__(self) -> Progress:
        return self

    def report(self, key: str, step: int, steps: int, loss: float, share: float) -> None:
        """After every step of a training; share is how much of all trainings' steps is done."""
        if self.quiet:
            return
        now = time.perf_counter()
        if self.share_before < 0:  # of a run that goes on, what was done before
            self.began, self.share_before = now, share
        if key != self.key:
            self._begin(key, step, steps, now)
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(f"loss {loss:.4g}; of the run {self._of_the_run(share, now)}", refresh=False)
        elif now - self.shown > 1:
            self.shown = now
            left = (now - self.start) / max(step - self.first, 1) * (steps - step)
            line = f"{key}: step {step}/{steps}, loss {loss:.4g}, {left:.0f} s left; of the run "
            print(line + self._of_the_run(share, now), file=sys.stderr, flush=True)

    def _of_the_run(self, share: float, now: float) -> str:
        """How much is done, and how long the rest takes at the pace so far; steps of other trainings cost otherwise."""
        done = share - self.share_before
        left = f", about {(now - self.began) / done * (1 - share) / 60:.0f} min left" if done > 0 else ""
        return f"{100 * share:.0f} %{left}"

    def _begin(self, key: str, step: int, steps: int, now: float) -> None:
        self.key, self.start, self.first = key, now, step
        self._close()
        try:
            from tqdm import tqdm

            self.bar = tqdm(total=steps, initial=step - 1, desc=key, unit="step", dynamic_ncols=True)
        except ImportError:
            self.bar = None

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def __exit__(self, *_: Any) -> None:
        self._close()
