"""The steps of a solve for a way back: as they were kept, or taken again, window by window, from checkpoints.

Of a record of times alone (t and h, 16 bytes a step) the way back takes every step again, with its slopes, when its
turn comes, from states that are kept meanwhile: the checkpoints. Where they lie is the optimal schedule of Griewank and
Walther (Algorithm 799: Revolve, ACM TOMS 26, 2000). With c checkpoints and at most r passes over any window of steps

    beta(c, r) = (c + r)! / (c! r!)

windows can be reversed, and no schedule does more: 10,000 windows with 32 checkpoints and 3 passes. The twin of
csrc/nc_history.inc.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..program import Field
from ..solvers import Control, Record, SolverError, Tableau, rk
from ..solvers.interpolation import dense_output
from ..solvers.stepper import extra_stages, rk_step

__all__ = ["History", "Step"]

Array = np.ndarray
WINDOW = rk.WINDOW  # steps that are taken again together
SLACK = 1e-6  # of a step: so far a window reaches beyond its ends, as times there and back are rounded


class Step(NamedTuple):
    """One step: y (n,) at its start, its slopes K (dense_stages, n), and which of their last rows there are."""

    y: Array
    K: Array
    last_stage: bool
    extra: bool


@dataclass
class _Checkpoint:
    """A state: y (n,) and its slope, where step `at` begins."""

    at: int
    y: Array
    f: Array


class History:
    """``history.at(n)``: step n of the record; those asked for go backward, or most of them.

    evaluations, retaken: of func, and steps, that this took. dense: steps are asked for by time, as ``value(t)``, and
    have all slopes.
    """

    def __init__(
        self, field: Field, tableau: Tableau, control: Control, record: Record, t: Array, y0: Array, dense: bool = False
    ) -> None:
        self.field, self.tableau, self.split, self.record, self.t = field, tableau, control.split, record, t
        self.dense, self.sign = dense, 1.0 if t[-1] > t[0] else -1.0
        self.y0, self.evaluations, self.retaken = y0, 0, 0
        self.deadline, self.max_seconds = time.monotonic() + control.max_seconds, control.max_seconds
        self.first, self.window = 0, []
        if record.bare:
            self.most = 1 + min(checkpoints_of(control, y0), len(record.t))
            self.kept = [_Checkpoint(0, y0, self._slope(float(t[0]), y0))]

    def at(self, n: int) -> Step:
        if time.monotonic() > self.deadline:
            raise too_long(self.max_seconds, float(self.record.t[n]), self.field.unravel(self.y0))
        record = self.record
        if not record.bare:
            return Step(record.y[n], record.K[n], bool(record.last_stage[n]), bool(record.extra[n]))
        if not 0 <= n - self.first < len(self.window):
            self._seek(n)
        return self.window[n - self.first]

    def value(self, t: float) -> Array:
        """The solution at time t, (n,)."""
        n = self._step_of(t)
        step = self.at(n)
        h = float(self.record.h[n])
        return dense_output(step.y, step.K, h, self.tableau, (t - float(self.record.t[n])) / h, self.split)

    def _step_of(self, t: float) -> int:
        """The step that t lies in; of a bare record one of the window, which is moved there if need be."""
        starts, count = self.sign * self.record.t, len(self.record.t)
        n = int(np.searchsorted(starts, self.sign * t, side="right")) - 1
        if not self.record.bare:
            return max(n, 0)
        if not self.window:
            self._seek(count - 1)
        slack = SLACK * abs(float(self.record.h[self.first]))
        while self.first > 0 and self.sign * t < starts[self.first] - slack:
            self._seek(self.first - 1)
        while self.first + len(self.window) < count and self.sign * t > starts[self.first + len(self.window)] + slack:
            self._seek(self.first + len(self.window))
        return min(max(n, self.first), self.first + len(self.window) - 1)

    def window_starts(self) -> Array:
        """Where the windows of a bare record begin, the latest first: a step of the adjoint that looked into two of
        them would have both taken again at every stage."""
        return self.record.t[::-1][WINDOW - 1 : -1 : WINDOW] if self.record.bare else self.record.t[:0]

    def _seek(self, n: int) -> None:
        """The window that ends with step n, by way of further checkpoints where there is room for them."""
        while self.kept[-1].at > n:
            self.kept.pop()
        state = self.kept[-1]
        while True:
            windows, left = (n - state.at) // WINDOW + 1, self.most - len(self.kept)
            if windows == 1:
                break
            state = self._advanced(state, n + 1 - WINDOW * (windows - checkpoint_after(windows, left + 1)))
            if left > 0:
                self.kept.append(state)
        self.first, self.window = state.at, []
        y, f = state.y, state.f
        for step in range(state.at, n + 1):
            inside = self.dense or self._looked_at(step)
            last = self.tableau.fsal or inside or step + 1 < len(self.record.t)
            extra = inside and bool(self.tableau.extra)
            y_new, K = self._again(step, y, f, last, extra)
            self.window.append(Step(y, K, last, extra))
            y, f = y_new, K[self.tableau.rows - 1]

    def _advanced(self, state: _Checkpoint, to: int) -> _Checkpoint:
        y, f = state.y, state.f
        for step in range(state.at, to):
            y, K = self._again(step, y, f, True, False)
            f = K[self.tableau.rows - 1]
        return _Checkpoint(to, y, f)

    def _again(self, step: int, y: Array, f: Array, last: bool, extra: bool) -> tuple[Array, Array]:
        """(y_new (n,), K (dense_stages, n)) of that step from y with slope f; rows that nobody wants are 0."""
        t, h = float(self.record.t[step]), float(self.record.h[step])
        K = np.zeros((self.tableau.dense_stages, len(y)), y.dtype)
        with np.errstate(all="ignore"):
            y_new = rk_step(self._slope, t, y, f, h, self.tableau, K, self.split)
            if last:
                K[self.tableau.rows - 1] = self._slope(t + h, y_new)
            if extra:
                extra_stages(self._slope, t, y, h, self.tableau, K)
        self.retaken += 1
        return y_new, K

    def _slope(self, t: float, y: Array) -> Array:
        y = y.copy()
        y.flags.writeable = False
        self.evaluations += 1
        return self.field(t, y)

    def _looked_at(self, step: int) -> bool:
        """Whether an output lies inside the step."""
        t = self.record.t
        end = t[step + 1] if step + 1 < len(t) else self.t[-1]
        i = 1 + int(np.searchsorted(self.record.output_step[1:-1], step))
        return i < len(self.t) - 1 and self.record.output_step[i] == step and self.t[i] != end


def checkpoints_of(control: Control, y0: Array) -> int:
    """How many a bare record has; of "auto", for whose steps there was no memory, as many as that memory holds."""
    if control.checkpoints == "auto":
        return max(1, rk.tape_bytes() // max(1, 2 * y0.nbytes))
    return control.checkpoints or 1


def checkpoint_after(windows: int, free: int) -> int:
    """After how many of so many windows, two or more, the next checkpoint comes best, with `free` of them left.

    With r the fewest passes that windows <= beta(c, r) allows: so far that what lies behind it is done with c - 1 and
    r, what lies before it with c and r - 1.
    """
    if free == 1:  # no other is left
        return windows - 1
    c, before, beta, r = min(free, 1 << 20), 1, 1, 0  # beta(c, r - 1), beta(c, r)
    while beta < windows:
        r += 1
        before, beta = beta, beta * (c + r) // r
    return min(before, windows - before * c // (c + r - 1))


def too_long(max_seconds: float, t: float, y: Array) -> SolverError:
    """The error of a way back that lasted longer than it might."""
    message = f"max_seconds: the way back of the gradient took more than {max_seconds:g} s; it had come to t = {t:.17g}"
    return SolverError(message, t, 0.0, y, "max_seconds")
