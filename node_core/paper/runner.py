"""Run an experiment: its trainings one after the other, a checkpoint as they go, and at the end its report.

The folder holds checkpoint.npz while the experiment runs, afterwards report.json, model.npz and the pictures. An
interrupted run goes on where it was: parameters, the optimiser's state and the generator's are in the checkpoint, and
the last parameters whose loss was finite, to fall back to. A run that has ended is not run again.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models import Trained
from ..storage import load, save, write_aside
from .experiment import Experiment, Training

__all__ = ["CHECKPOINT", "ForeignFolderError", "finished", "reports", "run", "table"]

CHECKPOINT, REPORT, MODEL = "checkpoint.npz", "report.json", "model.npz"
SAVE_EVERY = 20.0  # seconds

Report = Callable[[str, int, int, float, float], Any]  # training, step, of how many, loss, share of the run's steps


class ForeignFolderError(ValueError):
    """The output folder holds the checkpoint or the report of another experiment, or of other settings."""


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

    report(training, step, steps, loss, share) is called after every step; share is how much of the run's steps is done.
    Ctrl-C is obeyed when a step is done and the
    checkpoint is written; before the first step, and the second time, at once. Raises ForeignFolderError before
    anything is computed, and RuntimeError if a training stops at a value that is not finite: its last good state is
    kept.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; the results need a folder")
    ended = finished(experiment, out, quick=quick, seed=seed)
    if ended is not None:
        return ended
    done = _resumed(out, _settings(experiment, quick, seed))
    _check_model(out, experiment)
    trainings = experiment.trainings(quick)  # makes the data: what is wrong with them leaves no folder behind
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"the output folder {out} cannot be made: {error.strerror or error}") from error
    with _asked_to_stop() as stop:
        for k, training in enumerate(trainings):
            if training.key not in done["figures"]:
                before = sum(each.steps for each in trainings[:k])
                _finish(training, done, out, _with_share(report, before, trainings), save_every, stop)
    found = {
        **_settings(experiment, quick, seed),
        "settings": experiment.settings,
        "steps": sorted({training.steps for training in trainings}),
        "seconds": round(done["seconds"], 1),
        "rows": [asdict(row) for row in experiment.rows(done["figures"])],
        "figures": done["figures"],
    }
    save(out / MODEL, {"experiment": experiment.name, "params": done["params"]})
    text = json.dumps(found, indent=2) + "\n"
    write_aside(out / REPORT, lambda path: Path(path).write_text(text))
    (out / CHECKPOINT).unlink(missing_ok=True)
    return found


def _with_share(report: Report, before: int, trainings: list[Training]) -> Callable[[str, int, int, float], Any]:
    """report with the share of the steps of all trainings, of which so many come before this one's."""
    total = sum(training.steps for training in trainings)
    return lambda key, step, steps, loss: report(key, step, steps, loss, (before + step) / total)


def finished(experiment: Experiment, out: Path, *, quick: bool = False, seed: int = 0) -> dict[str, Any] | None:
    """The report of a run with these settings that has ended in the folder, or None.

    Raises ForeignFolderError if the folder holds that of another experiment or of other settings.
    """
    path, mine = out / REPORT, _settings(experiment, quick, seed)
    if not path.exists() or (out / CHECKPOINT).exists():
        return None
    found = _read(path)
    theirs = {name: found[name] for name in ("experiment", "quick", "seed", "data") if name in found}
    theirs = theirs if "experiment" in found else {}  # a fit's, say
    if theirs != mine:
        raise ForeignFolderError(
            f"{path} is the report of {_told(theirs)}, not of {_told(mine)}; choose another --out, or remove it"
        )
    return found if (out / MODEL).exists() else None


def _check_model(out: Path, experiment: Experiment) -> None:
    """Raises ForeignFolderError if the folder holds a model that no run of this experiment has left."""
    path = out / MODEL
    if not path.exists():
        return
    try:
        found = load(path)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("experiment") != experiment.name:
        raise ForeignFolderError(f"{path} is not a model of {experiment.name}; choose another --out, or remove it")


def _settings(experiment: Experiment, quick: bool, seed: int) -> dict[str, Any]:
    """What tells one run from another; data is there if the experiment has a choice."""
    data = {"data": experiment.data} if experiment.data else {}
    return {"experiment": experiment.name, "quick": quick, "seed": seed, **data}


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "something else, such as a fit"


def _resumed(out: Path, mine: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint in the folder, or the start."""
    start = {"of": mine, "figures": {}, "params": {}, "present": None, "seconds": 0.0}
    path = out / CHECKPOINT
    if not path.exists():
        return start
    try:
        found = load(path)
    except ValueError as error:
        raise ValueError(f"{error}; remove it to start anew, or choose another --out") from None
    whole = isinstance(found, dict) and set(found) == set(start) and isinstance(found["of"], dict)
    if not whole or found["of"] != mine:
        theirs = _told(found["of"]) if whole else "something else"
        raise ForeignFolderError(
            f"{path} is the checkpoint of {theirs}, not of {_told(mine)}; choose another --out, or remove it"
        )
    return found


@dataclass
class _Stop:
    """Whether the user asked to stop, and whether a step has been done since the start."""

    asked: bool = False
    begun: bool = False


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[_Stop]:
    """What Ctrl-C asks; the second time, and while there is no step to lose, it interrupts as it does elsewhere."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, frame: Any) -> None:
        if stop.asked or not stop.begun:
            raise KeyboardInterrupt
        stop.asked = True

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _finish(training: Training, done: dict, out: Path, report: Report, save_every: float, stop: _Stop) -> None:
    """Train to the last step, with a checkpoint now and then, and measure."""
    began = time.perf_counter()
    present = done["present"]
    if present is None or present["key"] != training.key:
        stream = training.key if training.stream is None else training.stream
        rng = np.random.default_rng([done["of"]["seed"], *stream.encode()])  # of its own, whatever ran before
        present = {"key": training.key, "step": 0, "params": training.start(rng), "state": None, "good": None,
                   "rng": _state(rng)}  # fmt: skip
    rng = _generator(present["rng"])

    def checkpoint() -> None:
        nonlocal began
        now = time.perf_counter()
        done["seconds"], began = done["seconds"] + now - began, now
        save(out / CHECKPOINT, done)
        if stop.asked:
            raise KeyboardInterrupt

    while present["step"] < training.steps:
        trained, paused = _piece(training, present, rng, report, save_every, stop)
        failed = trained.stopped is not None and not paused
        good = trained.good or present["good"]
        params, state = good if failed and good is not None else (trained.params, trained.state)
        present = {"key": training.key, "step": 0 if state is None else state["step"], "params": params, "state": state,
                   "good": good, "rng": _state(rng)}  # fmt: skip
        done["present"] = present
        checkpoint()
        if failed:
            what = "the last good ones" if good is not None else "the first: none had a finite loss"
            where = f"{out / CHECKPOINT} holds the parameters of step {present['step'] + 1}, {what}."
            raise RuntimeError(f"{training.key}: stopped at {trained.stopped} {where}")
    done["figures"][training.key] = training.measure(present["params"], np.random.default_rng(1))
    done["params"][training.key], done["present"] = present["params"], None
    checkpoint()


def _piece(
    training: Training, present: dict, rng: np.random.Generator, report: Report, save_every: float,
    stop: _Stop,
) -> tuple[Trained, bool]:  # fmt: skip
    """The next steps, until the last or until it is time for a checkpoint: then the second is true."""
    until, first, paused = time.perf_counter() + save_every, present["step"], False

    def callback(step: int, loss: float, params: Any) -> bool:
        nonlocal paused
        stop.begun = True
        report(training.key, step, training.steps, loss)
        paused = (stop.asked or time.perf_counter() > until) and step < training.steps
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
        raise ValueError(f"{path} is damaged: {error}; remove it and run its experiment again") from None
    return found if isinstance(found, dict) else {}


def reports(folder: Path, left_out: Callable[[str], Any]) -> list[dict]:
    """The reports in a folder and in its folders, by name of the experiment. Raises ValueError if there is none.

    left_out(why) is called for each file that cannot be read: one damaged report does not hide the others.
    """
    found = []
    for path in (folder / REPORT, *sorted(folder.glob(f"*/{REPORT}"))):
        try:
            report = _read(path) if path.exists() else {}
        except ValueError as error:
            left_out(str(error))
            continue
        if "experiment" not in report:  # a fit's, say
            continue
        missing = {"quick", "seed", "steps", "rows", "seconds"} - set(report)
        if missing:
            left_out(f"{path} is damaged: it has no {' and no '.join(sorted(missing))}; run its experiment again")
        else:
            found.append(report)
    if not found:
        raise ValueError(f"{folder} holds no report of a `node-core paper` run")
    return sorted(found, key=lambda report: report["experiment"])


def table(found: list[dict]) -> str:
    """Reports as one Markdown table: printed figure, ours, settings (how it trains in the first line), seconds."""
    lines = ["| experiment | figure | printed | ours | settings | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    for report in found:
        settings = f"{'quick, ' if report['quick'] else ''}seed {report['seed']}"
        if "data" in report:
            settings += f", {report['data']}"
        settings += f", {' or '.join(map(str, report['steps']))} steps"
        for k, row in enumerate(report["rows"]):
            printed = "" if row["printed"] is None else row["printed"]
            printed = printed if isinstance(printed, str) else f"{printed:g}{row['unit']}"
            lines.append(
                f"| {report['experiment']} | {row['label']} | {printed} | {row['ours']:.4g}{row['unit']} | {settings}"
                f"{'; ' + report['settings'] if k == 0 and report.get('settings') else ''} | {report['seconds']:g} |"
            )
    return "\n".join(lines)
