"""The adaptive and the fixed-step loop in plain Python: the twin of csrc/nc_loop.inc."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._kernels import rk
from . import control as ctl
from .control import Control
from .errors import Failure, SolverError, solver_error
from .output import Outputs
from .solution import Stats
from .stepper import extra_stages, rk_step, weighted_sum
from .tableau import Tableau

__all__ = ["adaptive_loop", "fixed_loop"]

Array = np.ndarray


class NonFinite(ArithmeticError):
    """A NaN or infinity, seen first in `what` ("func", "state" or "norm")."""

    def __init__(self, what: str, t: float, component: int) -> None:
        super().__init__(what, t, component)
        self.what, self.t, self.component = what, t, component


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


def check_finite(what: str, t: float, x: Array) -> Array:
    finite = np.isfinite(x)
    if not finite.all():
        raise NonFinite(what, t, int(np.argmin(finite)))
    return x


@np.errstate(all="ignore")
def adaptive_loop(
    fun: Callable, y0: Array, t: Array, tableau: Tableau, control: Control, outputs: Outputs, stats: Stats
) -> float:
    """Steps whose error estimate passes the tolerances, from t[0] to t[-1]; fills outputs and stats.

    Returns the length of the step that the controller would take next.

    Raises SolverError. y0 (n,), t (m,) strictly monotone in either direction.
    """
    slope = Slope(fun, stats, np.geterr())
    K = np.zeros((tableau.dense_stages, len(y0)), y0.dtype)
    order, t_end = tableau.error_order, float(t[-1])
    now, y, h, component = float(t[0]), y0, 0.0, -1
    bad: NonFinite | None = None  # the last one that is still ahead

    def stop(reason: str) -> SolverError:
        return _stop(reason, now, h, y, stats, bad, component)

    try:
        K[0] = slope(now, y)
    except NonFinite as error:
        bad = error
        raise stop("non-finite") from None
    h = control.first_step or ctl.first_step(slope.or_none, t, y, K[0], control, order)
    previous, after_rejection, last = (control.previous_norm,) * 2, False, False
    while not last:
        h, last = ctl.step_clip(now, h, t_end, control, not after_rejection)
        reason = _refusal(now, h, last, stats, control)
        if reason:
            raise stop(reason)
        t_new = t_end if last else now + h
        try:
            y_new, norm, component = _attempt(slope, now, y, h, tableau, control, K)
            needed = norm <= 1.0 and not tableau.fsal and (not last or outputs.inside(t_new))
            if needed:
                K[tableau.rows - 1] = slope(now + h, y_new)
            factor = 0.0 if norm <= 1.0 else ctl.reject_factor(norm, control, order)
        except NonFinite as error:
            bad, factor = error, control.min_factor
        if factor:
            stats.nrejected += 1
            h, after_rejection, last = h * factor, True, False
            continue
        try:
            _accept(slope, outputs, tableau, now, h, y, K, t_new, y_new, last, tableau.fsal or needed)
        except NonFinite as error:
            bad = error
            raise stop("non-finite") from None
        stats.naccepted += 1
        if bad is not None and math.copysign(1.0, h) * (t_new - bad.t) >= 0.0:
            bad = None
        factor = ctl.accept_factor(norm, previous, control, order)
        h *= min(factor, 1.0) if after_rejection else factor
        previous, after_rejection = (max(norm, ctl.SMALLEST_PREVIOUS_NORM), previous[0]), False
        now, y = t_new, y_new
        K[0] = K[tableau.rows - 1]
    return max(abs(h), control.min_step)


def _attempt(
    slope: Slope, t: float, y: Array, h: float, tableau: Tableau, control: Control, K: Array
) -> tuple[Array, float, int]:
    """One step from K[0]: y_new (n,), the norm of its error, and the component with the largest."""
    y_new = _checked_step(slope, t, y, h, tableau, K)
    scaled = ctl.scale_error(weighted_sum(K, tableau.e, h), y, y_new, control)
    component = int(np.argmax(np.abs(scaled))) if scaled.size else -1
    norm = ctl.error_norm(scaled, control)
    if tableau.e_low is not None:
        low = ctl.scale_error(weighted_sum(K, tableau.e_low, h), y, y_new, control)
        norm = ctl.joined_norm(norm, ctl.error_norm(low, control))
    if not 0.0 <= norm < math.inf:
        raise NonFinite("norm", t + h, component)
    return y_new, norm, component


def _checked_step(slope: Slope, t: float, y: Array, h: float, tableau: Tableau, K: Array) -> Array:
    y_new = check_finite("state", t + h, rk_step(slope, t, y, K[0], h, tableau, K))
    if tableau.fsal:
        K[tableau.rows - 1] = slope(t + h, y_new)
    return y_new


def _accept(
    slope: Slope, outputs: Outputs, tableau: Tableau, t: float, h: float, y: Array, K: Array, t_new: float,
    y_new: Array, last: bool, last_stage: bool,
) -> None:  # fmt: skip
    """Hand an accepted step to the outputs, with the extra stages of its dense output where one lies inside."""
    extra = bool(tableau.extra) and last_stage and outputs.inside(t_new)
    if extra:
        extra_stages(slope, t, y, h, tableau, K)
    outputs.step(t, h, y, K, t_new, y_new, last, last_stage, extra)


def _refusal(t: float, h: float, last: bool, stats: Stats, control: Control) -> str | None:
    """Why another attempt of length h is not allowed; the last step may be as short as what remains."""
    if stats.naccepted + stats.nrejected >= control.max_num_steps:
        return "too many steps"
    if not last and abs(h) < 10.0 * np.spacing(abs(t)):
        return "step underflow"
    if not last and abs(h) < control.min_step:
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
    fun: Callable, y0: Array, t: Array, tableau: Tableau, control: Control, outputs: Outputs, stats: Stats
) -> float:
    """Steps on a grid given in advance: t itself, or equal ones of control.step_size, the last shortened."""
    slope = Slope(fun, stats, np.geterr())
    K = np.zeros((tableau.dense_stages, len(y0)), y0.dtype)
    time, steps = fixed_grid(t, control.step_size)
    now, y, h = float(t[0]), y0, 0.0
    try:
        K[0] = slope(now, y)
        for k in range(1, steps + 1):
            if k > control.max_num_steps:
                raise _stop("too many steps", now, h, y, stats, None, -1)
            t_new, last = time(k), k == steps
            h = t_new - now
            y_new = _checked_step(slope, now, y, h, tableau, K)
            needed = not last or outputs.inside(t_new)
            if needed and not tableau.fsal:
                K[tableau.rows - 1] = slope(now + h, y_new)
            _accept(slope, outputs, tableau, now, h, y, K, t_new, y_new, last, tableau.fsal or needed)
            stats.naccepted += 1
            now, y = t_new, y_new
            K[0] = K[tableau.rows - 1]
    except NonFinite as bad:
        raise _stop("non-finite", now, h, y, stats, bad, -1) from None
    return 0.0


def fixed_grid(t: Array, step_size: float | None) -> tuple[Callable[[int], float], int]:
    """The grid's k-th time, computed as a product and not a sum, and the number of steps.

    Times closer than a few ulp are the same point, so that rounding in step_size makes no sliver of a step.
    """
    start, end, eps = float(t[0]), float(t[-1]), np.finfo(np.float64).eps
    if step_size is None:
        return lambda k: float(t[k]), len(t) - 1
    ratio = abs(end - start) / step_size
    slack = same_time_slack(t)
    steps = ratio - 4.0 * eps * ratio - slack / step_size
    count = max(1, math.ceil(steps)) if steps < 9e18 else 2**63 - 1
    signed = math.copysign(step_size, end - start)
    return lambda k: end if k == count else start + k * signed, count


def same_time_slack(t: Array) -> float:
    """Times closer than this are one point to the fixed-step grid."""
    return 4.0 * float(np.finfo(np.float64).eps) * max(abs(float(t[0])), abs(float(t[-1])))
