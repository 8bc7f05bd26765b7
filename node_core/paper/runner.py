"""Run an experiment: its trainings one after the other, a checkpoint as they go, and at the end its report.

The folder holds checkpoint.npz while the experiment runs, afterwards report.json, model.npz and the pictures. An
interrupted run goes on where it was: parameters, the optimiser's state and the generator's are in the checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..models import Trained
from ..storage import load, save, write_aside
from .experiment import Experiment, Training

__all__ = ["CHECKPOINT", "ForeignFolderError", "reports", "run", "table"]

CHECKPOINT, REPORT, MODEL = "checkpoint.npz", "report.json", "model.npz"
SAVE_EVERY = 20.0  # seconds

Report = Callable[[str, int, int, float], Any]  # training, step, of how many, loss


class ForeignFolderError(ValueError):
    """The output folder holds the checkpoint of another experiment, or of other settings."""


def run(
    experiment: Experiment,
    out: Path,
    *,
    quick: bool = False,
    seed: int = 0,
    report: Report = lambda *_: None,
    save_every: float = SAVE_EVERY,
) -> dict[str, Any]:
    """Run or resume an experiment in the folder `out`, and return its report, which is also written there.

    report(training, step, steps, loss) is called after every step. Raises ForeignFolderError before anything is
    computed, and RuntimeError if a training stops at a value that is not finite: its last good state is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    done = _resumed(experiment, out, quick, seed)
    for training in experiment.trainings(quick):
        if training.key not in done["figures"]:
            _finish(training, done, out, report, save_every)
    found = {
        "experiment": experiment.name,
        "quick": quick,
        "seed": seed,
        **_data(experiment),
        "seconds": round(done["seconds"], 1),
        "rows": [asdict(row) for row in experiment.rows(done["figures"])],
        "figures": done["figures"],
    }
    save(out / MODEL, {"experiment": experiment.name, "params": done["params"]})
    text = json.dumps(found, indent=2) + "\n"
    write_aside(out / REPORT, lambda path: Path(path).write_text(text))
    (out / CHECKPOINT).unlink(missing_ok=True)
    return found


def _resumed(experiment: Experiment, out: Path, quick: bool, seed: int) -> dict[str, Any]:
    """The checkpoint in the folder, or the start."""
    mine = {"experiment": experiment.name, "quick": quick, "seed": seed, **_data(experiment)}
    path = out / CHECKPOINT
    if not path.exists():
        report = out / REPORT
        if report.exists() and _read(report).get("experiment") != experiment.name:
            raise ForeignFolderError(f"{out} holds the report of another experiment; choose another --out")
        return {"of": mine, "figures": {}, "params": {}, "present": None, "seconds": 0.0}
    found = load(path)
    of = found.get("of") if isinstance(found, dict) else None
    if of != mine:
        theirs = ", ".join(f"{k} {v}" for k, v in of.items()) if isinstance(of, dict) else "something else"
        raise ForeignFolderError(
            f"{path} is the checkpoint of {theirs}, not of {', '.join(f'{k} {v}' for k, v in mine.items())}; "
            "choose another --out, or remove it"
        )
    return found


def _data(experiment: Experiment) -> dict[str, str]:
    """What it is trained on, of an experiment that has a choice."""
    return {"data": experiment.data} if experiment.data else {}


def _finish(training: Training, done: dict, out: Path, report: Report, save_every: float) -> None:
    """Train to the last step, with a checkpoint now and then, and measure."""
    began = time.perf_counter()
    present = done["present"]
    if present is None or present["key"] != training.key:
        rng = np.random.default_rng([done["of"]["seed"], *training.key.encode()])  # of its own, whatever ran before
        present = {"key": training.key, "step": 0, "params": training.start(rng), "state": None, "rng": _state(rng)}
    rng = _generator(present["rng"])
    while present["step"] < training.steps:
        trained, paused = _piece(training, present, rng, report, save_every)
        taken = len(trained.losses)
        present = {
            "key": training.key, "step": present["step"] + taken, "params": trained.params, "state": trained.state,
            "rng": _state(rng),
        }  # fmt: skip
        now = time.perf_counter()
        done["present"], done["seconds"], began = present, done["seconds"] + now - began, now
        save(out / CHECKPOINT, done)
        if trained.stopped is not None and not paused:
            raise RuntimeError(f"{training.key}: stopped at {trained.stopped} It is in {out / CHECKPOINT}.")
    done["figures"][training.key] = training.measure(present["params"], np.random.default_rng(1))
    done["params"][training.key] = present["params"]
    done["present"], done["seconds"] = None, done["seconds"] + time.perf_counter() - began
    save(out / CHECKPOINT, done)


def _piece(
    training: Training, present: dict, rng: np.random.Generator, report: Report, save_every: float
) -> tuple[Trained, bool]:
    """The next steps, until the last or until it is time for a checkpoint: then the second is true."""
    until, first, paused = time.perf_counter() + save_every, present["step"], False

    def callback(step: int, loss: float, params: Any) -> bool:
        nonlocal paused
        report(training.key, step, training.steps, loss)
        paused = time.perf_counter() > until and step < training.steps
        return paused

    return training.go(present["params"], present["state"], training.steps - first, rng, callback), paused


def _state(rng: np.random.Generator) -> str:
    return json.dumps(rng.bit_generator.state)


def _generator(state: str) -> np.random.Generator:
    rng = np.random.default_rng(0)
    rng.bit_generator.state = json.loads(state)
    return rng


def _read(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return found if isinstance(found, dict) else {}


def reports(folder: Path) -> list[dict]:
    """The reports in a folder and in its folders, by name of the experiment. Raises ValueError if there is none."""
    paths = [path for path in (folder / REPORT, *sorted(folder.glob(f"*/{REPORT}"))) if path.exists()]
    found = [report for report in map(_read, paths) if "rows" in report and "experiment" in report]
    if not found:
        raise ValueError(f"{folder} holds no report of a `node-core paper` run")
    return sorted(found, key=lambda report: report["experiment"])


def table(found: list[dict]) -> str:
    """Reports as one Markdown table: printed figure, ours, settings, seconds."""
    lines = ["| experiment | figure | printed | ours | settings | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    for report in found:
        settings = f"{'quick, ' if report['quick'] else ''}seed {report['seed']}"
        if "data" in report:
            settings += f", {report['data']}"
        for row in report["rows"]:
            printed = "" if row["printed"] is None else f"{row['printed']:g}{row['unit']}"
            lines.append(
                f"| {report['experiment']} | {row['label']} | {printed} | {row['ours']:.4g}{row['unit']} | {settings} "
                f"| {report['seconds']:g} |"
            )
    return "\n".join(lines)
