"""The adaptive and the fixed-step loop in plain Python: the twin of csrc/nc_loop.inc."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._kernels import rk
from . import control as ctl
from .adams import Adams, AdamsSteps
from .control import Control
from .errors import Failure, SolverError, solver_error
from .output import Outputs
from .runge_kutta import RungeKuttaSteps
from .solution import Stats
from .stepper import NonFinite, check_finite, extra_stages
from .tableau import Tableau

__all__ = ["End", "adaptive_loop", "fixed_loop"]

Array = np.ndarray


class End(NamedTuple):
    """Where a loop ended: at its last time, or where its watcher asked it to.

    h_next: the length of the step that would follow, 0 for fixed steps.
    """

    t: float
    y: Array
    h_next: float
    stopped: bool = False


class Slope:
    """fun with its evaluations counted, y handed over as a read-only copy, and the result checked.

    The loops silence NumPy's floating-point warnings, since an overflow is a rejected step; fun runs under
    the caller's own settings.
    """

    def __init__(self, fun: Callable[[float, Array], Array], stats: Stats, warnings: dict[str, str]) -> None:
        self.fun, self.stats, self.warnings = fun, stats, warnings

    def __call__(self, t: float, y: Array) -> Array:
        own = y.copy()
        own.flags.writeable = False
        self.stats.nfev += 1
        with np.errstate(**self.warnings):
            dy = self.fun(float(t), own)
        check_slope(dy, y)
        return check_finite("func", float(t), dy)

    def or_none(self, t: float, y: Array) -> Array | None:
        try:
            return self(t, y)
        except NonFinite:
            return None


def check_slope(dy: Array, y: Array) -> None:
    """TypeError unless fun's result is a plain array like y (n,)."""
    if type(dy) is not np.ndarray or dy.dtype != y.dtype or dy.shape != y.shape:
        raise TypeError(rk.slope_mismatch(dy, y.dtype, len(y)))


@np.errstate(all="ignore")
def adaptive_loop(
    fun: Callable, y0: Array, t: Array, tableau: Tableau, control: Control, outputs: Outputs, stats: Stats,
    watch: Any = None,
) -> End:  # fmt: skip
    """Steps whose error estimate passes the tolerances, from t[0] to t[-1]; fills outputs and stats.

    watch: a `watched.Watch`, or None.
    Raises SolverError. y0 (n,), t (m,) strictly monotone in either direction.
    """
    slope = Slope(fun, stats, np.geterr())
    K = np.zeros((tableau.dense_stages, len(y0)), y0.dtype)
    steps, t_end = steps_of(tableau, control, y0), float(t[-1])
    now, y, h, component = float(t[0]), y0, 0.0, -1
    bad: NonFinite | None = None  # the last one that is still ahead

    def stop(reason: str) -> SolverError:
        return _stop(reason, now, h, y, stats, bad, component)

    try:
        K[0] = slope(now, y)
    except NonFinite as error:
        bad = error
        raise stop("non-finite") from None
    h = control.first_step or ctl.first_step(slope.or_none, t, y, K[0], control, tableau.error_order)
    after_rejection, last, deadline = False, False, time.monotonic() + control.max_seconds
    steps.arrived(now, K[0])
    while not last:
        wanted, norm = h, math.inf
        h, t_new, last, at_stop = ctl.step_plan(now, h, t_end, control, not after_rejection)
        reason = _refusal(now, h, last or at_stop, stats, control, deadline)
        if reason:
            raise stop(reason)
        if control.progress is not None:
            control.progress(now)
        if _asks_to_stop(watch, "attempt", now, h, y):
            return End(now, y, abs(h), True)
        forced = ctl.is_forced(h, control)
        needed = not last or _looked_at(outputs, t_new, watch, steps)
        try:
            y_new, norm, component = _attempt(slope, now, y, h, tableau, K, steps)
            good = norm <= 1.0 or forced
            if good and needed and not tableau.fsal:
                K[tableau.rows - 1] = slope(now + h, y_new)
        except NonFinite as error:
            bad, good, norm = error, False, math.inf
            if forced:
                raise stop("non-finite") from None
        if not good:
            stats.nrejected += 1
            if _asks_to_stop(watch, "rejection", now, h, y):
                return End(now, y, abs(h), True)
            h, after_rejection, last = h * steps.rejected(norm), True, False
            continue
        try:
            stopped = _accept(slope, outputs, tableau, steps, now, h, y, K, t_new, y_new, last, needed, watch, stats)
        except NonFinite as error:
            bad = error
            raise stop("non-finite") from None
        if bad is not None and math.copysign(1.0, h) * (t_new - bad.t) >= 0.0:
            bad = None
        factor = steps.accepted(norm, y, y_new, h, K)
        h *= min(factor, 1.0) if after_rejection else factor
        if at_stop:
            h = math.copysign(max(abs(h), abs(wanted)), h)  # cut short for the stop alone
        h = math.copysign(max(abs(h), control.min_step), h)  # until an attempt of that length fails
        now, y, after_rejection = t_new, y_new, False
        if stopped:
            break
        K[0] = K[tableau.rows - 1]
        steps.arrived(now, K[0])
    return End(now, y, max(abs(h), control.min_step), stopped)


def steps_of(tableau: Tableau | Adams, control: Control, y0: Array) -> RungeKuttaSteps | AdamsSteps:
    """How a solve by that method steps."""
    return AdamsSteps(tableau, control, y0) if tableau.multistep else RungeKuttaSteps(tableau, control)


def _attempt(
    slope: Slope, t: float, y: Array, h: float, tableau: Tableau, K: Array, steps: RungeKuttaSteps | AdamsSteps
) -> tuple[Array, float, int]:
    """One step from K[0]: y_new (n,), the norm of its error, and the component with the largest."""
    y_new = _checked_step(slope, t, y, h, tableau, K, steps)
    norm, component = steps.error(y, y_new, h, K)
    if not 0.0 <= norm < math.inf:
        raise NonFinite("norm", t + h, component)
    return y_new, norm, component


def _checked_step(
    slope: Slope, t: float, y: Array, h: float, tableau: Tableau, K: Array, steps: RungeKuttaSteps | AdamsSteps
) -> Array:
    y_new = check_finite("state", t + h, steps.step(slope, t, y, h, K))
    if tableau.fsal:
        K[tableau.rows - 1] = slope(t + h, y_new)
    return y_new


def _looked_at(outputs: Outputs, t_new: float, watch: Any, steps: RungeKuttaSteps | AdamsSteps) -> bool:
    """Whether anybody wants the slope at the end of the step that ends at t_new, or what `fill` makes with it."""
    if steps.fills and (outputs.steps is not None or (watch is not None and watch.acceptances)):
        return True
    return bool(_slopes(watch, outputs)) or outputs.inside(t_new)


def _accept(
    slope: Slope, outputs: Outputs, tableau: Tableau, steps: RungeKuttaSteps | AdamsSteps, t: float, h: float, y: Array,
    K: Array, t_new: float, y_new: Array, last: bool, needed: bool, watch: Any, stats: Stats,
) -> bool:  # fmt: skip
    """Hand an accepted step to the outputs, with the extra stages of its dense output where one lies inside, and to the
    watcher: whether he ends the solve. needed: whether the slope at its end was."""
    last_stage = tableau.fsal or needed
    if steps.fills and _looked_at(outputs, t_new, watch, steps):
        steps.fill(slope, t, y, h, y_new, K)
    extra = (
        bool(tableau.extra) and last_stage and (_slopes(watch, outputs) == rk.SLOPES["all"] or outputs.inside(t_new))
    )
    if extra:
        extra_stages(slope, t, y, h, tableau, K)
    outputs.step(t, h, y, K, t_new, y_new, last, last_stage, extra, steps.taken)
    stats.naccepted += 1
    evaluated = rk.SLOPES["all" if extra else "end" if last_stage else "stages"]
    return _asks_to_stop(watch, "acceptance", t, h, y, t_new, y_new, K, evaluated)


def _slopes(watch: Any, outputs: Outputs) -> int:
    """What every accepted step has at least, one of rk.SLOPES."""
    return outputs.slopes if watch is None else max(outputs.slopes, rk.SLOPES[watch.slopes])


def _asks_to_stop(watch: Any, moment: str, t: float, h: float, y: Array, *accepted: Any) -> bool:
    """Tell the watcher, if it looks at this moment; accepted: (t_new, y_new, K, evaluated)."""
    which = rk.MOMENTS[moment]
    if watch is None or not watch.moments & which:
        return False
    given = [x.copy() if isinstance(x, np.ndarray) else x for x in accepted]
    return bool(watch.call(which, t, h, y.copy(), *given))


def _refusal(t: float, h: float, bound: bool, stats: Stats, control: Control, deadline: float) -> str | None:
    """Why another attempt of length h is not allowed; one that ends where it must may be as short as what remains."""
    if time.monotonic() > deadline:
        return "max_seconds"
    if stats.naccepted + stats.nrejected >= control.max_num_steps:
        return "too many steps"
    if not bound and abs(h) < 10.0 * np.spacing(abs(t)):
        return "step underflow"
    if not bound and abs(h) < control.min_step:
        return "min_step"
    return None


def _stop(
    reason: str, t: float, h: float, y: Array, stats: Stats, bad: NonFinite | None, component: int
) -> SolverError:
    cause = (bad.what, bad.t, bad.component) if bad is not None else ()
    failure = Failure(reason, t, h, component, stats.naccepted, stats.nrejected, *cause)
    return solver_error(failure, y.copy())


@np.errstate(all="ignore")
def fixed_loop(
    fun: Callable, y0: Array, t: Array, tableau: Tableau, control: Control, outputs: Outputs, stats: Stats,
    watch: Any = None,
) -> End:  # fmt: skip
    """Steps on a grid given in advance: t itself, or equal ones of control.step_size, the last shortened."""
    slope = Slope(fun, stats, np.geterr())
    K = np.zeros((tableau.dense_stages, len(y0)), y0.dtype)
    steps = steps_of(tableau, control, y0)
    grid_time, count = fixed_grid(t, control.step_size)
    deadline = time.monotonic() + control.max_seconds
    now, y, h = float(t[0]), y0, 0.0
    try:
        K[0] = slope(now, y)
        steps.arrived(now, K[0])
        for k in range(1, count + 1):
            if k > control.max_num_steps:
                raise _stop("too many steps", now, h, y, stats, None, -1)
            if time.monotonic() > deadline:
                raise _stop("max_seconds", now, h, y, stats, None, -1)
            if control.progress is not None:
                control.progress(now)
            t_new, last = grid_time(k), k == count
            h = t_new - now
            if _asks_to_stop(watch, "attempt", now, h, y):
                return End(now, y, 0.0, True)
            y_new = _checked_step(slope, now, y, h, tableau, K, steps)
            needed = not last or _looked_at(outputs, t_new, watch, steps)
            if needed and not tableau.fsal:
                K[tableau.rows - 1] = slope(now + h, y_new)
            stopped = _accept(slope, outputs, tableau, steps, now, h, y, K, t_new, y_new, last, needed, watch, stats)
            now, y = t_new, y_new
            if stopped:
                return End(now, y, 0.0, True)
            K[0] = K[tableau.rows - 1]
            steps.arrived(now, K[0])
    except NonFinite as bad:
        raise _stop("non-finite", now, h, y, stats, bad, -1) from None
    return End(now, y, 0.0)


def fixed_grid(t: Array, step_size: float | None) -> tuple[Callable[[int], float], int]:
    """The grid's k-th time, computed as a product and not a sum, and the number of steps.

    Times closer than a few ulp are the same point, so that rounding in step_size makes no sliver of a step.
    """
    start, end, eps = float(t[0]), float(t[-1]), np.finfo(np.float64).eps
    if step_size is None:
        return lambda k: float(t[k]), len(t) - 1
    ratio = abs(end - start) / step_size
    slack = same_time_slack(t, step_size)
    steps = ratio - 4.0 * eps * ratio - slack / step_size
    count = max(1, math.ceil(steps)) if steps < 9e18 else 2**63 - 1
    signed = math.copysign(step_size, end - start)
    return lambda k: end if k == count else start + k * signed, count


def same_time_slack(t: Array, step_size: float | None) -> float:
    """Times closer than this are one point to the fixed-step grid; 0 where that is t itself."""
    if step_size is None:
        return 0.0
    rounding = 4.0 * float(np.finfo(np.float64).eps) * max(abs(float(t[0])), abs(float(t[-1])))
    return min(rounding, 1e-3 * step_size)  # to a far end t is rounded by more than a step
