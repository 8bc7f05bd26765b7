"""The steps of one solve by a Runge-Kutta method, as the loops ask for them; `adams.AdamsSteps` answers likewise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import control as ctl
from .control import Control
from .stepper import rk_step, weighted_sum
from .tableau import Tableau

__all__ = ["RungeKuttaSteps"]

Array = np.ndarray


class RungeKuttaSteps:
    """One step after another; K (dense_stages, n) is the loop's, its first row the slope at the present time.

    fills: whether K's other rows are for `fill` to make, where somebody looks at the step.
    previous: the norms of the errors of the step before and of the one before that. taken: no order.
    """

    fills, taken = False, 0

    def __init__(self, tableau: Tableau, control: Control) -> None:
        self.tableau, self.control = tableau, control
        self.previous = (control.previous_norm,) * 2

    def arrived(self, t: float, f: Array) -> None:
        """The present time is t, with slope f: all of it is in K."""

    def step(self, slope: Callable, t: float, y: Array, h: float, K: Array) -> Array:
        """y_new (n,)."""
        return rk_step(slope, t, y, K[0], h, self.tableau, K, self.control.split)

    def error(self, y: Array, y_new: Array, h: float, K: Array) -> tuple[float, int]:
        """The norm of the step's error, and the component with the largest."""
        scaled = ctl.scale_error(weighted_sum(K, self.tableau.e, h), y, y_new, self.control)
        component = int(np.argmax(np.abs(scaled))) if scaled.size else -1
        norm = ctl.error_norm(scaled, self.control)
        if self.tableau.e_low is not None:
            low = ctl.scale_error(weighted_sum(K, self.tableau.e_low, h), y, y_new, self.control)
            norm = ctl.joined_norm(norm, ctl.error_norm(low, self.control))
        return norm, component

    def fill(self, slope: Callable, t: float, y: Array, h: float, y_new: Array, K: Array) -> None:
        """Nothing: K is what the step has left there."""

    def rejected(self, norm: float) -> float:
        """The factor of h after a step whose error has that norm, infinite if it is not finite."""
        return ctl.reject_factor(norm, self.control, self.tableau.error_order)

    def accepted(self, norm: float, y: Array, y_new: Array, h: float, K: Array) -> float:
        """The same after a good step."""
        factor = ctl.accept_factor(norm, self.previous, self.control, self.tableau.error_order)
        self.previous = max(norm, ctl.SMALLEST_PREVIOUS_NORM), self.previous[0]
        return factor
