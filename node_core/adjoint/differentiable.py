"""A solve as one primitive of the autodiff graph: y0, t and the floating leaves of args in, outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff.node import Node, apply, concrete
from ..autodiff.primitive import NoForwardRuleError, Primitive, match
from ..program import Field
from ..solvers import Control, Stats, Tableau, discrete_backward, integrate
from . import backsolve, discrete

__all__ = ["GRADIENTS", "Solve"]

# Gradient modes, and whether the forward solve has to record its steps for them.
GRADIENTS = {"discrete": True, "adjoint": False}


class Solve(Primitive):
    """``Solve(...)(y0, t, *parameters) -> ys (m, *shape)``: one call of odeint.

    y0 (n,) and t (m,) are vectors, parameters those of the field; shape is the state's, or (n,) of a nested one.
    The statistics of the solve, and of its backward solve, are left in `stats`.
    """

    def __init__(
        self, field: Field, tableau: Tableau, control: Control, backend: str, gradient: str, *, with_t: bool = False
    ) -> None:
        super().__init__("odeint", type(self).evaluate, vjps=())
        del self.evaluate  # the method below serves; a bound one kept here would be a cycle
        # without its traced values: the tape that holds this primitive would hold itself through them
        self.field = field.with_args([concrete(p) for p in field.parameters])
        self.tableau, self.control = tableau, control
        self.backend, self.gradient = backend, gradient
        self.stepper = "python" if backend == "python" else "compiled"
        self.with_t = with_t  # t is traced: its cotangent may be asked for
        self.stats = Stats()

    def evaluate(self, y0: Any, t: Any, *parameters: Any) -> np.ndarray:
        return self._shaped(self._integrate(y0, t, parameters, gradient=False)[2].y)

    def _shaped(self, ys: np.ndarray) -> np.ndarray:
        return ys.reshape(len(ys), *self.field.shapes[0]) if self.field.single else ys

    def _integrate(self, y0: Any, t: Any, parameters: Sequence, gradient: bool) -> tuple:
        """(field, its Program's Run or None, the solution); recorded if the gradient wants it."""
        field = self.field.with_args(parameters)
        y0 = np.ascontiguousarray(y0)
        discrete = gradient and GRADIENTS[self.gradient]
        run = None
        if self.backend == "compiled":
            run = field.compiled(float(t[0]), y0, gradient=gradient, with_t=discrete and self.with_t)
        fun = field if run is None else run
        solution = integrate(fun, y0, t, self.tableau, self.control, backend=self.stepper, record=discrete)
        self.stats.__dict__.update(solution.stats.__dict__)
        return field, run, solution

    def forward(self, operands: Sequence, params: dict) -> tuple[Any, Any]:
        if any(type(x) is Node for x in operands):  # a derivative of a derivative
            return apply(self, tuple(operands), params), None
        y0, t, *parameters = operands
        field, run, solution = self._integrate(y0, t, parameters, gradient=True)
        return self._shaped(solution.y), (field, run, solution, t, operands)

    def pullback(self, g: Any, saved: Any, wanted: Sequence[bool]) -> list:
        if saved is None or type(g) is Node:
            raise NotImplementedError("second derivatives through odeint do not exist yet")
        field, run, solution, t, operands = saved
        g, with_t = np.reshape(g, solution.y.shape), wanted[1]
        if self.gradient == "discrete":
            grid_is_t = not self.tableau.adaptive and self.control.step_size is None
            if run is not None:
                y0_bar, flat, t_bar, nfev = discrete_backward(solution.record, g, grid_is_t, with_t)
                parameter_bars = field.split(flat)
            else:
                y0_bar, parameter_bars, t_bar, nfev = discrete.pull_back(
                    field, self.tableau, solution.record, t, g, grid_is_t=grid_is_t, with_t=with_t
                )
        else:
            y0_bar, parameter_bars, t_bar, nfev = backsolve.solve_backward(
                field, run, self.tableau, self.control, self.stepper, t, solution.y, g, with_t=with_t
            )
        self.stats.nfev_backward += nfev
        bars = iter(parameter_bars)
        found = [y0_bar, t_bar, *[next(bars) if want else None for want in field.wanted]]
        return [match(bar, x) if want else None for bar, x, want in zip(found, operands, wanted, strict=True)]

    def pushforward(self, tangents: Sequence, out: Any, operands: Sequence, params: dict) -> Any:
        raise NoForwardRuleError("forward mode (jvp) through odeint does not exist yet; use grad or vjp")
