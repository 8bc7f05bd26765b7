"""A solve as one primitive of the autodiff graph: y0, t and the floating leaves of args in, outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff.node import Node, apply
from ..autodiff.primitive import NoForwardRuleError, Primitive, match
from ..program import Field
from ..solvers import Control, Stats, Tableau, integrate
from . import backsolve, discrete

__all__ = ["GRADIENTS", "Solve"]

# Gradient modes, and whether the forward solve has to record its steps for them.
GRADIENTS = {"discrete": True, "adjoint": False}


class Solve(Primitive):
    """``Solve(...)(y0, t, *parameters) -> ys (m, n)``: one call of odeint.

    y0 (n,) and t (m,) are vectors, parameters the floating leaves of the field's args. The statistics of
    the solve, and of its backward solve, are left in `stats`.
    """

    def __init__(self, field: Field, tableau: Tableau, control: Control, backend: str, gradient: str) -> None:
        super().__init__("odeint", self._evaluate, vjps=())
        self.field, self.tableau, self.control = field, tableau, control
        self.backend, self.gradient = backend, gradient
        self.stats = Stats()

    def _evaluate(self, y0: Any, t: Any, *parameters: Any) -> np.ndarray:
        return self._integrate(y0, t, parameters, record=False)[1].y

    def _integrate(self, y0: Any, t: Any, parameters: Sequence, record: bool) -> tuple:
        field = self.field.with_args(parameters)
        y0 = np.ascontiguousarray(y0)
        solution = integrate(field, y0, t, self.tableau, self.control, backend=self.backend, record=record)
        self.stats.__dict__.update(solution.stats.__dict__)
        return field, solution

    def forward(self, operands: Sequence, params: dict) -> tuple[Any, Any]:
        if any(type(x) is Node for x in operands):  # a derivative of a derivative
            return apply(self, tuple(operands), params), None
        y0, t, *parameters = operands
        field, solution = self._integrate(y0, t, parameters, record=GRADIENTS[self.gradient])
        return solution.y, (field, solution, t, operands)

    def pullback(self, g: Any, saved: Any, wanted: Sequence[bool]) -> list:
        if saved is None or type(g) is Node:
            raise NotImplementedError("second derivatives through odeint do not exist yet")
        field, solution, t, operands = saved
        if self.gradient == "discrete":
            grid_is_t = not self.tableau.adaptive and self.control.step_size is None
            y0_bar, parameter_bars, t_bar, nfev = discrete.pull_back(
                field, self.tableau, solution.record, t, g, grid_is_t=grid_is_t, with_t=wanted[1]
            )
        else:
            y0_bar, parameter_bars, t_bar, nfev = backsolve.solve_backward(
                field, self.tableau, self.control, self.backend, t, solution.y, g, with_t=wanted[1]
            )
        self.stats.nfev_backward += nfev
        found = [y0_bar, t_bar, *parameter_bars]
        return [match(bar, x) if want else None for bar, x, want in zip(found, operands, wanted, strict=True)]

    def pushforward(self, tangents: Sequence, out: Any, operands: Sequence, params: dict) -> Any:
        raise NoForwardRuleError("forward mode (jvp) through odeint does not exist yet; use grad or vjp")
