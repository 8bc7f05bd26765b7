"""Step-size control: tolerances, the error norm, the PI controller and the first step.

The twin of csrc/nc_control.h and the norms of csrc/nc_vector.inc. Source: Hairer, Norsett, Wanner, Solving
Ordinary Differential Equations I, II.4, and their code DOPRI5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Control",
    "accept_factor",
    "error_norm",
    "first_step",
    "reject_factor",
    "rms",
    "scale_error",
    "step_clip",
]

Array = np.ndarray

PI_BETA = 0.04
SMALLEST_PREVIOUS_NORM = 1e-4


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
    norm : callable or None
        Of the scaled error (n,), to a float; None is the root mean square.
    n_norm : int or None
        Only the first n_norm components are in the norm. The adjoint leaves the parameters out with it.
    step_size : float or None
        Fixed steps of this length; None is one step an interval of t. Given, an adaptive method steps so too.
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
    norm: Callable[[Array], float] | None = None
    n_norm: int | None = None
    step_size: float | None = None

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
    """The norm of scaled (n_norm,): the root mean square or the caller's own."""
    return rms(scaled) if control.norm is None else float(control.norm(scaled))


def accept_factor(norm: float, previous_norm: float, control: Control, embedded_order: int) -> float:
    """h_new / h after an accepted step: the PI controller, safety previous_norm^beta / norm^alpha."""
    if norm == 0.0:
        return control.max_factor
    exponent = PI_BETA * math.log(previous_norm) - _pi_alpha(embedded_order) * math.log(norm)
    return min(control.max_factor, max(control.min_factor, control.safety * math.exp(exponent)))


def reject_factor(norm: float, control: Control, embedded_order: int) -> float:
    """h_new / h after a rejected step; without the integral part, as in DOPRI5."""
    return max(control.min_factor, control.safety / norm ** _pi_alpha(embedded_order))


def _pi_alpha(embedded_order: int) -> float:
    return 1.0 / (embedded_order + 1) - 0.75 * PI_BETA


def first_step(slope: Callable, t: Array, y: Array, f: Array, control: Control, embedded_order: int) -> float:
    """Length (positive) of the first step: Hairer, Norsett, Wanner I, II.4, "Starting Step Size".

    One Euler step of a careful length estimates the second derivative. `slope(t, y)` is the right-hand side,
    which returns None where it is not finite; f (n,) is its value at (t[0], y). Whatever is not finite here
    only means that the careful guess is kept.
    """
    span = float(t[-1] - t[0])
    limit = min(abs(span), control.max_step)

    def norm(value: Array) -> float:
        return error_norm(scale_error(value, y, y, control), control)

    d0, d1 = norm(y), norm(f)
    h0 = 0.01 * d0 / d1 if 1e-5 <= d0 < math.inf and 1e-5 <= d1 < math.inf else 1e-6
    h0 = min(h0, limit)
    signed = math.copysign(h0, span)
    f1 = slope(float(t[0]) + signed, y + np.asarray(signed, y.real.dtype) * f)
    guess = h0
    if f1 is not None:
        d2 = norm(f1 - f) / h0
        largest = d2 if d2 > d1 else d1
        if largest <= 1e-15:
            h1 = max(1e-6, h0 * 1e-3)
        else:
            h1 = (0.01 / largest) ** (1.0 / (embedded_order + 1))
        guess = min(100.0 * h0, h1)
        if not guess > 0.0:
            guess = h0
    return max(min(guess, limit), control.min_step)


def step_clip(t: float, h: float, t_end: float, max_step: float) -> tuple[float, bool]:
    """The next h (signed) from the controller's, and whether it reaches t_end.

    At most max_step, clipped to t_end, and stretched by up to 1 % to spare a sliver of a last step.
    """
    remaining = t_end - t
    length = min(abs(h), max_step)
    last = abs(remaining) <= min(1.01 * length, max_step * (1.0 + 1e-12))
    return (remaining if last else math.copysign(length, remaining)), last
