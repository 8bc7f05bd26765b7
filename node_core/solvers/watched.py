"""Solves that are looked at while they run, and that may end before their time: for events, callbacks and solve_ivp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._kernels import rk
from .control import Control
from .errors import Failure, SolverError, solver_error
from .loop import adaptive_loop, fixed_loop, same_time_slack
from .output import Outputs
from .solution import Record, Stats
from .tableau import Tableau

__all__ = ["Trajectory", "Watch", "watched"]

Array = np.ndarray


@dataclass(frozen=True)
class Watch:
    """Who looks, at what.

    call:      ``call(moment, t, h, y)`` before an attempt and at a rejection, ``call(moment, t, h, y, t_new, y_new, K,
               evaluated)`` at an acceptance; a true answer ends the solve: at t, or at t_new. Arrays are the caller's
               to keep. K (dense_stages, n) has the rows that `evaluated`, one of rk.SLOPES, says.
    attempts, rejections, acceptances: which of the moments.
    slopes:    "stages", "end" or "all": what every accepted step has at least; "end" is the slope at its end, "all"
               that and the extra stages of the dense output.
    """

    call: Callable | None = None
    attempts: bool = False
    rejections: bool = False
    acceptances: bool = False
    slopes: str = "stages"

    @property
    def moments(self) -> int:
        """Those asked for, as C adds them up."""
        asked = {"attempt": self.attempts, "rejection": self.rejections, "acceptance": self.acceptances}
        return sum(rk.MOMENTS[name] for name, wanted in asked.items() if wanted)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What there is of a solve: y (written, n) at the first times, and where and why it ended.

    t, y_end: the last accepted state. stopped: whether the watcher ended it. error: None, or the SolverError that a
    solve without a watcher would raise. record: the steps, if they were kept (K may be empty then).
    """

    y: Array
    t: float
    y_end: Array
    stats: Stats
    stopped: bool = False
    error: SolverError | None = None
    record: Record | None = None


def watched(
    fun: Any,
    y0: Array,
    t: Array,
    tableau: Tableau,
    control: Control,
    watch: Watch,
    *,
    backend: str = "compiled",
    keep: str | None = None,
) -> Trajectory:
    """`integrate` with a watcher; it returns what there is where that raises.

    t may end at infinity. keep: "states" or "slopes", what to record of the steps. Whatever fun or the watcher raises
    comes through.
    """
    adaptive = tableau.adaptive and control.step_size is None
    if backend == "compiled":
        y, written, end, y_end, counts, stopped, failure, steps = rk.watched_solve(
            fun, y0, t, tableau, control, adaptive, watch.call, watch.moments, watch.slopes, keep
        )
        error = None if failure is None else solver_error(Failure(**failure), y_end)
        record = None if steps is None else Record(**steps)
        return Trajectory(y[:written], end, y_end, Stats(**counts), stopped, error, record)
    control.check_size(len(y0))
    slack = 0.0 if adaptive else same_time_slack(t, control.step_size)
    outputs, stats = Outputs(y0, t, tableau, keep is not None, slack, control.split), Stats()
    loop = adaptive_loop if adaptive else fixed_loop
    try:
        end = loop(fun, y0.copy(), t, tableau, control, outputs, stats, watch)
    except SolverError as error:
        return Trajectory(outputs.y[: outputs.written], error.t, error.y, stats, False, error, outputs.record())
    return Trajectory(outputs.y[: outputs.written], end.t, end.y, stats, end.stopped, None, outputs.record())
