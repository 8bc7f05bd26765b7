"""Adams methods: the integral of the polynomial through past slopes. The twin of csrc/nc_adams.h.

With s = (time - t_n) / h, nodes x_i (0 for f_n, negative for older slopes, 1 for the new one) and slopes F_i, Newton's
interpolation polynomial of the slopes, integrated over the step, is

    y_new = y + h sum_j G_j D_j      G_j = int_0^1 (s - x_0) ... (s - x_{j-1}) ds      D_j = F[x_0, ..., x_j]

with D_j the divided difference sum_i d_ij F_i. Bashforth's formula of order q takes the q newest past slopes, Moulton's
q - 1 of them and, first, the new one: an implicit formula, which here is corrected once (predict, evaluate, correct,
evaluate: PECE). With x_0, x_1, ... = 1, 0, ... the term that Moulton's formula of order q + 1 adds to that of order q
is its error, to leading order; that of Bashforth's has the same D_q and its own G_q. So the errors of neighbouring
orders are at hand, too, and order and step are those that promise the longest step, as in VODE (Brown, Byrne,
Hindmarsh, SIAM J. Sci. Stat. Comput. 10 (1989) 1038), from order 1 on. Sources: Hairer, Norsett, Wanner I, III.1 and
III.5; Shampine, Gordon, Computer Solution of Ordinary Differential Equations, 1975.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from . import control as ctl
from .control import Control
from .embedded_pairs import TSIT5
from .stepper import check_finite, extra_stages, rk_step, weighted_sum
from .tableau import Tableau, frozen
from .verner import VERN7, VERN9

__all__ = ["ADAMS_METHODS", "MOST_PAST", "Adams", "AdamsSteps", "Newton"]

Array = np.ndarray
MOST_PAST = 12  # past slopes that a step looks at
EQUAL_STEPS_ORDER = 4  # unless another is asked for; of higher orders ever shorter steps are stable
MOST_GROWTH, LEAST_GROWTH = 2.0, 1.2  # of a step that becomes longer
BIAS = 6.0  # the error aimed at is so many times smaller than that allowed, as VODE's: steps add theirs up
NEGLIGIBLE = 1e-3  # errors of a smaller norm are not looked at closely


class Newton:
    """Newton's interpolation on growing nodes x_0, x_1, ..., in s; nodes may be traced.

    d[j]:  (j + 1,), the divided difference D_j as a sum over the slopes, j < len(nodes).
    N[j]:  (j + 1,), the coefficients of N_j(s) = (s - x_0) ... (s - x_{j-1}), its constant first, j <= len(nodes).
    """

    def __init__(self, nodes: Array) -> None:
        one = np.ones(1, nodes.dtype)  # float64; the tests look at orders above 8 in long double
        self.d, self.N = [], [one]
        for j in range(len(nodes)):
            x, gaps = nodes[j], nodes[j] - nodes[:j]
            self.d.append(np.append(self.d[-1] / -gaps, 1.0 / np.prod(gaps)) if j else one)
            self.N.append(np.append(0 * one, self.N[-1]) - x * np.append(self.N[-1], 0 * one))

    def integral(self, j: int) -> float:
        """G_j."""
        return np.sum(self.N[j] / np.arange(1, j + 2))

    def weights(self, count: int) -> Array:
        """Those of the slopes at the first `count` nodes, (count,): sum_j G_j d[j]."""
        return sum(self._filled(self.integral(j) * self.d[j], count) for j in range(count))

    def powers(self, count: int) -> Array:
        """(count, count): int_0^theta of the polynomial is sum_i sum_k powers[i, k] theta^(k+1) F_i."""
        by_d = np.stack([self._filled(self.d[j], count) for j in range(count)])
        return by_d.T @ np.stack([self._filled(self.N[j] / np.arange(1, j + 2), count) for j in range(count)])

    def _filled(self, x: Array, count: int) -> Array:
        """x and zeros, (count,)."""
        return np.append(x, np.zeros(count - len(x), self.N[0].dtype))


@dataclass(frozen=True, eq=False)
class Adams:
    """A family of Adams methods of orders 1 to 12, with variable steps and order or with equal steps of one order.

    corrected: Adams-Moulton, predicted by Bashforth's formula and corrected once; else Adams-Bashforth.

    Its steps have K as a Tableau's have, so that outputs, events and records know no difference: K's last row is the
    slope at the new point, and the rows before it are the powers of the step's dense output,

        y(t + theta h) = y + h sum_k theta^(k+1) K[k]
    """

    name: str
    corrected: bool
    description: str
    source: str = "Hairer, Norsett, Wanner I, III.1, III.5 and III.7"

    order: ClassVar[int] = MOST_PAST  # the highest
    multistep: ClassVar[bool] = True
    adaptive: ClassVar[bool] = True
    split: ClassVar[bool] = False
    as_scipy: ClassVar[bool] = False
    rows: ClassVar[int] = MOST_PAST + 2
    dense_stages: ClassVar[int] = MOST_PAST + 2
    extra: ClassVar[int] = 0
    dense_order: ClassVar[int] = MOST_PAST
    error_order: ClassVar[int] = 1  # of the first step

    @property
    def stages(self) -> int:
        """Evaluations a step."""
        return 2 if self.corrected else 1

    @property
    def fsal(self) -> bool:
        """Whether the slope at the new point is evaluated for the error."""
        return not self.corrected

    @cached_property
    def p(self) -> Array:
        """(rows, MOST_PAST + 1)."""
        return frozen(np.eye(self.rows, MOST_PAST + 1))

    @cached_property
    def dense_b(self) -> Array:
        """(rows,): the step is the sum of its powers."""
        return frozen(self.p.sum(axis=1))

    def highest_order(self, control: Control) -> int:
        """Or that of equal steps."""
        return control.max_order or (MOST_PAST if control.step_size is None else EQUAL_STEPS_ORDER)

    def starter(self, order: int) -> Tableau:
        """Of equal steps the first have no past: the Runge-Kutta method that takes them."""
        return TSIT5 if order <= 5 else VERN7 if order <= 7 else VERN9


class AdamsSteps:
    """The steps of one solve, as `runge_kutta.RungeKuttaSteps` has them: past slopes, order, and how both go on.

    times, slopes: the newest first, (len(times), n); slopes[0] is that at the present time.
    order: of the next step. taken: of the present one; 0: it is the starting method's. since: steps taken with it.
    growing: whether every step may still raise it.
    """

    fills = True

    def __init__(self, family: Adams, control: Control, y0: Array) -> None:
        self.family, self.control = family, control
        self.equal = control.step_size is not None
        self.most = family.highest_order(control)
        self.order, self.since, self.growing, self.failures = self.most if self.equal else 1, 0, True, 0
        self.taken = 0
        self.times, self.slopes = [], np.zeros((0, len(y0)), y0.dtype)
        self.start: tuple[Tableau, Array] | None = None  # the starting method and its K, of the present step
        self.moulton: Newton | None = None  # of the present step, with the new slope's node first
        self.errors: list[float] = []  # G_j of the present step
        self.predicted: Array | None = None  # (n,) the slope at the predicted point

    @property
    def terms(self) -> int:
        """Of Moulton's formula. With variable order it is the one above that whose error is known."""
        return self.order + (self.family.corrected and not self.equal)

    def arrived(self, t: float, f: Array) -> None:
        """The present time is t, with slope f."""
        self.times = [t, *self.times[: MOST_PAST - 1]]
        self.slopes = np.concatenate([f[None], self.slopes[: MOST_PAST - 1]])

    def step(self, slope: Callable, t: float, y: Array, h: float, K: Array) -> Array:
        """y_new (n,)."""
        self.taken = 0 if self.equal and len(self.times) < self.order else self.order
        if self.taken == 0:
            return self._started(slope, t, y, h)
        q, known = self.order, min(self.order + 1, len(self.times))
        older = (np.array(self.times[:known]) - t) / h
        bashforth, self.moulton = Newton(older), Newton(np.append(1.0, older))
        self.start = None
        y_new = y + weighted_sum(self.slopes[:q], bashforth.weights(q), h)
        if self.family.corrected:
            self.predicted = slope(t + h, check_finite("state", t + h, y_new))
            known_slopes = np.concatenate([self.predicted[None], self.slopes[: self.terms - 1]])
            y_new = y + weighted_sum(known_slopes, self.moulton.weights(self.terms), h)
        of = self.moulton if self.family.corrected else bashforth
        self.errors = [of.integral(j) for j in range(known + 1)]
        return y_new

    def error(self, y: Array, y_new: Array, h: float, K: Array) -> tuple[float, int]:
        """The norm of the step's error, and the component with the largest."""
        scaled = self._scaled(self.order, y, y_new, h, K)
        return ctl.error_norm(scaled, self.control), int(np.argmax(np.abs(scaled))) if scaled.size else -1

    def _scaled(self, order: int, y: Array, y_new: Array, h: float, K: Array) -> Array:
        """The error that the formula of that order has to leading order, scaled."""
        new = self.predicted if self.family.corrected else K[-1]
        known_slopes = np.concatenate([new[None], self.slopes[:order]])
        error = weighted_sum(known_slopes, self.errors[order] * self.moulton.d[order], h)
        return ctl.scale_error(error, y, y_new, self.control)

    def fill(self, slope: Callable, t: float, y: Array, h: float, y_new: Array, K: Array) -> None:
        """The powers of the step's dense output into K's first rows; its last is the slope at the new point.

        The polynomial through the new slope and the past ones is corrected by a cubic, of the size of the step's error,
        to end in y_new.
        """
        K[:-1] = 0.0
        if self.start is not None:
            method, own = self.start
            own[method.rows - 1] = K[-1]
            if method.extra:
                extra_stages(slope, t, y, h, method, own)
            powers, rows = method.p, own
        else:
            powers = self.moulton.powers(self.terms)
            rows = np.concatenate([K[-1:], self.slopes[: self.terms - 1]])
        for k in range(powers.shape[1]):
            K[k] = weighted_sum(rows, powers[:, k], 1.0)
        if self.start is None:
            missing = (y_new - y) / np.asarray(h, y.real.dtype) - K[:-1].sum(axis=0)
            K[1] += 3 * missing
            K[2] -= 2 * missing

    def _started(self, slope: Callable, t: float, y: Array, h: float) -> Array:
        """A step by the starting method."""
        method = self.family.starter(self.order)
        own = np.zeros((method.dense_stages, len(y)), y.dtype)
        self.start = method, own
        return rk_step(slope, t, y, self.slopes[0], h, method, own)

    def rejected(self, norm: float) -> float:
        """The factor of h after a step whose error has that norm, infinite if it is not finite."""
        self.growing, self.failures = False, self.failures + 1
        least = self.control.min_factor
        factor = max(least, self._factor(norm, self.order)) if norm < math.inf else least
        if self.failures > 1 and self.order > 1:
            self.order, self.since = self.order - 1, 0
        return factor

    def accepted(self, norm: float, y: Array, y_new: Array, h: float, K: Array) -> float:
        """The same after a good step.

        The order becomes that which promises the longest step; a higher one only after as many steps as it has terms,
        or while every order so far was better than the one before. An error that is negligible tells no order from
        another, and after steps that doubled and doubled those of high orders are rounding.
        """

        def norm_of(order: int) -> float:
            return ctl.error_norm(self._scaled(order, y, y_new, h, K), self.control)

        q, self.failures, self.since = self.order, 0, self.since + 1
        factors = {q: self._factor(norm, q)}
        if norm >= NEGLIGIBLE:
            if q > 1:
                lower = norm_of(q - 1)
                factors[q - 1] = self._factor(lower, q - 1)
                self.growing = self.growing and lower > norm
            if q < self.most and len(self.times) > q and (self.growing or self.since > q):
                factors[q + 1] = self._factor(norm_of(q + 1), q + 1)
        best = max(factors, key=lambda order: (factors[order], -order))
        if self.growing and q + 1 in factors:
            best = q + 1
        if best != q:
            self.order, self.since = best, 0
        factor = factors[best]
        if 1.0 <= factor < LEAST_GROWTH:
            factor = 1.0
        return min(max(factor, self.control.min_factor), self.control.max_factor, MOST_GROWTH)

    def _factor(self, norm: float, order: int) -> float:
        """What h may be multiplied by."""
        return MOST_GROWTH if norm == 0.0 else self.control.safety * (BIAS * norm) ** (-1.0 / (order + 1))


ADAMS_METHODS = {
    method.name: method
    for method in (
        Adams("explicit_adams", False, "Adams-Bashforth: one evaluation a step; for smooth, costly right-hand sides"),
        Adams("implicit_adams", True, "Adams-Bashforth-Moulton (PECE): two evaluations a step; for tight tolerances"),
    )
}
