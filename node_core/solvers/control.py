"""Step-size control: tolerances, the error norm, the controllers and the first step.

The twin of csrc/nc_control.h and the norms of csrc/nc_vector.inc. Sources: Hairer, Norsett, Wanner, Solving
Ordinary Differential Equations I, II.4, and their code DOPRI5; Soderlind, Digital filters in adaptive time-stepping,
ACM TOMS 29 (2003); SciPy's documentation of solve_ivp for what its methods do otherwise.

After an accepted step whose error has the norm r_n, a method whose error falls as h^k takes next

    h_new = h safety r_n^-(x_0) r_{n-1}^-(x_1) r_{n-2}^-(x_2)

and a controller is these three exponents; after a rejected step it is h safety r_n^-(x_0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "CONTROLLERS",
    "Control",
    "Controller",
    "accept_factor",
    "error_norm",
    "first_step",
    "is_forced",
    "joined_norm",
    "reject_factor",
    "rms",
    "scale_error",
    "step_clip",
    "step_plan",
]

Array = np.ndarray

SMALLEST_PREVIOUS_NORM = 1e-4  # a step that was good by accident does not count for more


@dataclass(frozen=True)
class Controller:
    """The exponents x_i = by_order[i] / k + fixed[i] for a method whose error falls as h^k.

    previous: what stands for the norms before the first.
    """

    by_order: tuple[float, float, float]
    fixed: tuple[float, float, float] = (0.0, 0.0, 0.0)
    previous: float = 1.0

    def exponents(self, k: int) -> tuple[float, float, float]:
        """(x_0, x_1, x_2)."""
        return tuple(scaled / k + fixed for scaled, fixed in zip(self.by_order, self.fixed, strict=True))


CONTROLLERS = {
    "I": Controller((1.0, 0.0, 0.0)),
    "PI": Controller((1.0, 0.0, 0.0), (-0.75 * 0.04, -0.04, 0.0), SMALLEST_PREVIOUS_NORM),  # DOPRI5, beta = 0.04
    "PI33": Controller((2 / 3, -1 / 3, 0.0)),  # this and the rest: Soderlind 2003, tables 2 and 3
    "PI34": Controller((0.7, -0.4, 0.0)),
    "PI42": Controller((0.6, -0.2, 0.0)),
    "H211PI": Controller((1 / 6, 1 / 6, 0.0)),
    "PID": Controller((1 / 18, 1 / 9, 1 / 18)),  # H312PID
}


@dataclass(frozen=True)
class Control:
    """What an adaptive or a fixed-step solve obeys.

    rtol, atol : float or (n,)
        A step is good if the norm of error / (atol + rtol max(|y|, |y_new|)) is at most 1.
    first_step : float or None
        Length of the first step; None is Hairer's automatic choice, which costs one evaluation.
    max_step, min_step : float
        Longest and shortest step; only the last may be shorter. Below min_step the solve fails.
    max_num_steps : int
        Attempts, accepted and rejected, before the solve fails.
    safety, min_factor, max_factor : float
        Of the controller: the new step is at most max_factor and at least min_factor times the old one.
    on_min_step : str
        What becomes of a step that should be shorter than min_step: "error", the solve fails; "force", one of min_step
        is taken whatever its error.
    step_t : (k,)
        Times that steps end at, in the order of t; adaptive steps only.
    norm : callable, "max" or None
        Of the scaled error (n,), to a float; None is the root mean square, "max" the largest modulus.
    n_norm : int or None
        Only the first n_norm components are in the norm. The adjoint leaves the parameters out with it.
    step_size : float or None
        Fixed steps of this length; None is one step an interval of t. Given, an adaptive method steps so too.
    controller : str
        One of CONTROLLERS; "PI", that of DOPRI5, by default.
    split : int or None
        The component with which the second half of the state begins, for a method with a tableau for each half.
    max_order : int or None
        Of an Adams method: the highest order, or that of equal steps.
    backward : (method, Control) or None
        Of the adjoint's backward solve, where they are not the forward solve's.
    checkpoints : int, "auto" or None
        What is kept of the steps for the way back: None, everything; an int, their times alone, and so many states on
        the way back; "auto", everything as long as there is room.
    sensitivities_in_norm : bool
        Whether those of gradient="forward" have a say in the steps.
    watch : watched.Watch or None
        Who looks at the steps.
    progress : callable or None
        ``progress(t)``, now and then.
    max_seconds : float
        Of the whole solve, before it fails.
    as_scipy : bool
        Steps as SciPy's solve_ivp chooses them: t + h is rounded first and h is what lies between, no last step is
        stretched, a step that begins below 10 ulp of t is raised to that, and the first step's careful guess is
        bounded by the interval alone.
    """

    rtol: float | Array = 1e-6
    atol: float | Array = 1e-8
    first_step: float | None = None
    max_step: float = math.inf
    min_step: float = 0.0
    max_num_steps: int = 100_000
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0
    norm: Callable[[Array], float] | str | None = None
    n_norm: int | None = None
    step_size: float | None = None
    controller: str = "PI"
    as_scipy: bool = False
    on_min_step: str = "error"
    step_t: Array | tuple = ()
    split: int | None = None
    max_order: int | None = None
    backward: tuple[Any, Control] | None = None
    checkpoints: int | str | None = None
    sensitivities_in_norm: bool = False
    watch: Any = None
    progress: Callable[[float], Any] | None = None
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        for name, positive in (("rtol", True), ("atol", False)):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            good = np.isfinite(value) & ((value > 0) if positive else (value >= 0))
            if value.ndim > 1 or not good.all():
                sign = "positive" if positive else "non-negative"
                raise ValueError(f"{name} must be a {sign} finite float or an array (n,) of them, got {value}")
        for name in ("first_step", "step_size"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name} must be a positive finite float or None, got {value!r}")
        if not self.max_step > 0.0:
            raise ValueError(f"max_step must be positive, got {self.max_step!r}")
        if not 0.0 <= self.min_step <= self.max_step or self.min_step == math.inf:
            raise ValueError(
                f"min_step must be finite, at least 0 and at most max_step {self.max_step}, got {self.min_step!r}"
            )
        if not 1 <= self.max_num_steps < 2**63 or int(self.max_num_steps) != self.max_num_steps:
            raise ValueError(f"max_num_steps must be an integer of at least 1, got {self.max_num_steps!r}")
        if not 0.0 < self.safety <= 1.0:
            raise ValueError(f"safety must be in (0, 1], got {self.safety!r}")
        if not 0.0 < self.min_factor < 1.0:
            raise ValueError(f"min_factor must be in (0, 1), got {self.min_factor!r}")
        if not 1.0 <= self.max_factor < math.inf:
            raise ValueError(f"max_factor must be finite and at least 1, got {self.max_factor!r}")
        if self.on_min_step not in ("error", "force"):
            raise ValueError(f'on_min_step must be "error" or "force", got {self.on_min_step!r}')
        if isinstance(self.max_order, np.integer):
            object.__setattr__(self, "max_order", int(self.max_order))
        if self.max_order is not None and (type(self.max_order) is not int or not 1 <= self.max_order <= 12):
            raise ValueError(f"max_order must be an int from 1 to 12, got {self.max_order!r}")
        if isinstance(self.checkpoints, np.integer):
            object.__setattr__(self, "checkpoints", int(self.checkpoints))
        kept = self.checkpoints
        automatic = kept is None or (isinstance(kept, str) and kept == "auto")
        if not automatic and (type(kept) is not int or not 1 <= kept < 2**62):
            raise ValueError(f'checkpoints must be an int of at least 1, "auto" or None, got {self.checkpoints!r}')
        if not self.max_seconds > 0.0:
            raise ValueError(f"max_seconds must be positive, got {self.max_seconds!r}")
        if not isinstance(self.controller, str) or self.controller not in CONTROLLERS:
            raise ValueError(f"controller must be one of {', '.join(CONTROLLERS)}, got {self.controller!r}")

    def exponents(self, error_order: int) -> tuple[float, float, float]:
        """Those of the controller, for an error of that order."""
        return CONTROLLERS[self.controller].exponents(error_order + 1)

    @property
    def previous_norm(self) -> float:
        """What stands for the norms before the first step."""
        return CONTROLLERS[self.controller].previous

    def check_size(self, n: int) -> None:
        """ValueError if an array tolerance or n_norm does not fit a state of n components."""
        for name in ("rtol", "atol"):
            shape = np.shape(getattr(self, name))
            if shape not in ((), (n,)):
                raise ValueError(f"{name} must be a float or an array ({n},) like y0, got shape {shape}")
        if self.n_norm is not None and not 0 <= self.n_norm <= n:
            raise ValueError(f"n_norm must be between 0 and y0's size {n}, got {self.n_norm}")


def rms(scaled: Array) -> float:
    """Root mean square of the moduli of scaled (n,), summed in float64; 0 for n = 0."""
    if scaled.size == 0:
        return 0.0
    reals = scaled.view(scaled.real.dtype).astype(np.float64)
    return math.sqrt(float(np.dot(reals, reals)) / scaled.size)


def scale_error(error: Array, y: Array, y_new: Array, control: Control) -> Array:
    """error / (atol + rtol max(|y|, |y_new|)) of the components in the norm, in the state's dtype.

    An error of exactly 0 is 0 even where the scale is (atol = 0 and y = 0).
    """
    m = len(y) if control.n_norm is None else control.n_norm
    largest = np.maximum(np.abs(y[:m]), np.abs(y_new[:m])).astype(np.float64)
    scale = _leading(control.atol, m) + _leading(control.rtol, m) * largest
    scaled = np.zeros(m, error.dtype)
    np.divide(error[:m], scale, out=scaled, where=error[:m] != 0, casting="same_kind")
    return scaled


def _leading(tolerance: float | Array, m: int) -> Array:
    tolerance = np.asarray(tolerance, dtype=np.float64)
    return tolerance if tolerance.ndim == 0 else tolerance[:m]


def error_norm(scaled: Array, control: Control) -> float:
    """The norm of scaled (n_norm,): the root mean square, the largest modulus, or the caller's own."""
    if control.norm == "max":
        return float(np.max(np.abs(scaled), initial=0.0))
    return rms(scaled) if control.norm is None else float(control.norm(scaled))


def joined_norm(norm: float, low: float) -> float:
    """The norm of an error that two embedded methods estimate (Hairer, Norsett, Wanner I, II.10: DOP853)."""
    both = math.hypot(norm, 0.1 * low)
    return norm * (norm / both) if both > 0.0 else both


def accept_factor(norm: float, previous: tuple[float, float], control: Control, error_order: int) -> float:
    """h_new / h after an accepted step; previous holds the norms of the step before and of the one before that."""
    if norm == 0.0:
        return control.max_factor
    x0, x1, x2 = control.exponents(error_order)
    exponent = -(x1 * math.log(previous[0])) - x0 * math.log(norm) - x2 * math.log(previous[1])
    return min(control.max_factor, max(control.min_factor, control.safety * math.exp(exponent)))


def reject_factor(norm: float, control: Control, error_order: int) -> float:
    """h_new / h after a rejected step, by its norm alone, as in DOPRI5."""
    return max(control.min_factor, control.safety / norm ** control.exponents(error_order)[0])


def first_step(slope: Callable, t: Array, y: Array, f: Array, control: Control, error_order: int) -> float:
    """Length (positive) of the first step: Hairer, Norsett, Wanner I, II.4, "Starting Step Size".

    One Euler step of a careful length estimates the second derivative. `slope(t, y)` is the right-hand side,
    which returns None where it is not finite; f (n,) is its value at (t[0], y). Whatever is not finite here
    only means that the careful guess is kept.
    """
    span = float(t[-1] - t[0])
    limit = min(abs(span), control.max_step)
    if y.size == 0:
        return max(limit, control.min_step)

    def norm(value: Array) -> float:
        return error_norm(scale_error(value, y, y, control), control)

    d0, d1 = norm(y), norm(f)
    h0 = 0.01 * d0 / d1 if 1e-5 <= d0 < math.inf and 1e-5 <= d1 < math.inf else 1e-6
    h0 = min(h0, abs(span) if control.as_scipy else limit)
    signed = math.copysign(h0, span)
    f1 = slope(float(t[0]) + signed, y + np.asarray(signed, y.real.dtype) * f)
    guess = h0
    if f1 is not None:
        d2 = norm(f1 - f) / h0
        largest = d2 if d2 > d1 else d1
        if largest <= 1e-15:
            h1 = max(1e-6, h0 * 1e-3)
        else:
            h1 = (0.01 / largest) ** (1.0 / (error_order + 1))
        guess = min(100.0 * h0, h1)
        if not guess > 0.0:
            guess = h0
    return max(min(guess, limit), control.min_step)


def is_forced(h: float, control: Control) -> bool:
    """Whether a step of length h is taken whatever its error."""
    return control.on_min_step == "force" and abs(h) <= control.min_step * (1.0 + 1e-12)


def step_clip(t: float, h: float, t_end: float, control: Control, begins: bool = True) -> tuple[float, bool]:
    """The next h (signed) from the controller's, and whether it reaches t_end.

    At most max_step, clipped to t_end, and stretched by up to 1 % to spare a sliver of a last step. As SciPy it is not
    stretched, but raised to 10 ulp of t where a step begins, that is not after a rejection.
    """
    remaining, max_step = t_end - t, control.max_step
    length = min(abs(h), max_step)
    if control.on_min_step == "force":
        length = max(length, control.min_step)
    if control.as_scipy:
        length = max(length, 10.0 * np.spacing(abs(t))) if begins else length
        signed = (t + math.copysign(length, remaining)) - t
        last = abs(signed) >= abs(remaining)
        return (remaining if last else signed), last
    last = abs(remaining) <= min(1.01 * length, max_step * (1.0 + 1e-12))
    return (remaining if last else math.copysign(length, remaining)), last


class Plan(NamedTuple):
    """The next step: its signed length and end; whether that is t_end, or one of step_t."""

    h: float
    t_new: float
    last: bool
    at_stop: bool


def step_plan(t: float, h: float, t_end: float, control: Control, begins: bool) -> Plan:
    """The next step from t, of the length h that the controller wants or less."""
    ahead = (float(stop) for stop in control.step_t if abs(stop - t_end) < abs(t - t_end))
    target = next(ahead, t_end)
    h, reaches = step_clip(t, h, target, control, begins)
    at_stop = reaches and target != t_end
    return Plan(h, target if reaches else t + h, reaches and not at_stop, at_stop)
