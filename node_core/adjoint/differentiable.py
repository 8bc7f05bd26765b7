"""A solve as one primitive of the autodiff graph, and the way back through it as another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import jvp, vjp
from ..autodiff.columns import is_columns
from ..autodiff.node import Node, apply, concrete
from ..autodiff.primitive import NoForwardRuleError, Primitive, match
from ..program import Field
from ..program.trace import is_recorded
from ..solvers import Control, SolverError, Stats, Tableau, checked_times, discrete_backward, integrate
from . import discrete
from .backsolve import Backward
from .history import checkpoints_of, too_long
from .nonfinite import Arose, check_cotangent, check_parts, nonfinite_gradient
from .replay import Replay, Unrolled
from .sensitivity import Sensitivities, solve_forward

__all__ = ["GRADIENTS", "Solve"]

# Gradient modes, and whether the forward solve has to record its steps for them.
GRADIENTS = {"discrete": True, "adjoint": False, "interpolated": True, "forward": False}
# Outputs (all numbers of them) from which a Jacobian's columns, all at once in NumPy, cost less than its rows, one by
# one in C: of Lorenz's 300, rows took 22 ms and columns 660.
ROWS_BEFORE_COLUMNS = 9000


class Solve(Primitive):
    """``Solve(...)(y0, t, *parameters) -> ys (m, *shape)``: one call of odeint.

    y0 (n,) and t (m,) are vectors, parameters those of the field; shape is the state's, or (n,) of a nested one.
    The statistics of the solve, and of its backward solve, are left in `stats`.
    told: the field in whose shapes the user knows the state, if it is not this one.
    """

    whole = True

    def __init__(
        self,
        field: Field,
        tableau: Tableau,
        control: Control,
        backend: str,
        gradient: str,
        *,
        with_t: bool = False,
        told: Field | None = None,
    ) -> None:
        super().__init__("odeint", type(self).evaluate, vjps=())
        del self.evaluate  # the method below serves; a bound one kept here would be a cycle
        # without its traced values: the tape that holds this primitive would hold itself through them
        self.field = field.with_args([concrete(p) for p in field.parameters])
        self.told = self.field if told is None else told.with_args([concrete(p) for p in told.parameters])
        self.tableau, self.control = tableau, control
        self.backend, self.gradient = backend, gradient
        self.stepper = "python" if backend == "python" else "compiled"
        self.with_t = with_t  # t is traced: its cotangent may be asked for
        self.stats = Stats()
        self.checks = False  # odeint has looked at y0 and t

    def evaluate(self, y0: Any, t: Any, *parameters: Any) -> np.ndarray:
        return self._shaped(self._integrate(y0, t, parameters, gradient=False)[2].y)

    def _shaped(self, ys: np.ndarray) -> np.ndarray:
        return ys.reshape(len(ys), *self.told.shapes[0]) if self.told.single else ys

    def _integrate(self, y0: Any, t: Any, parameters: Sequence, gradient: bool) -> tuple:
        """(field, its Program's Run or None, the solution); recorded if the gradient wants it."""
        field = self.field.with_args(parameters)
        y0 = np.ascontiguousarray(y0)
        if self.checks:
            t = checked_times(t)
            self.told.check_finite(y0)
        discrete = gradient and self.gradient == "discrete"
        recorded = gradient and GRADIENTS[self.gradient]
        run = None
        try:
            if self.backend == "compiled":
                run = field.compiled(float(t[0]), y0, gradient=gradient, with_t=discrete and self.with_t)
            fun = field if run is None else run
            solution = integrate(
                fun,
                y0,
                t,
                self.tableau,
                self.control,
                backend=self.stepper,
                record=recorded,
                dense=recorded and not discrete,
            )
        except SolverError as error:
            error.y = self.told.unravel(error.y)
            bad = field.nonfinite_argument() if error.reason == "non-finite" else None
            if bad is not None:
                error.args = (f"{bad}. {error.args[0]}",)
            raise
        self.stats.__dict__.update(solution.stats.__dict__)
        if gradient:
            self._check_whole(solution.y[-1])
        return field, run, solution

    def _check_whole(self, last: np.ndarray) -> None:
        """SolverError if a callback ended the solve; last (n,) is its last output."""
        stopped_at = self.stats.stopped_at
        if stopped_at is not None:
            message = f"a callback ended the solve at t = {stopped_at:.17g}; what is left has no gradient"
            raise SolverError(message, stopped_at, 0.0, self.told.unravel(last), "stopped")

    # --- reverse mode ---

    def forward(self, operands: Sequence, params: dict) -> tuple[Any, Any]:
        if any(type(x) is Node for x in operands):  # of an outer trace: the way back is a primitive of it, too
            return apply(self, tuple(operands), params), (operands, None)
        out, kept = self.recorded(operands)
        return out, (operands, kept)

    def recorded(self, operands: Sequence) -> tuple[np.ndarray, tuple]:
        """ys, and what the way back needs."""
        y0, t, *parameters = operands
        t = t.copy()  # the user may change his
        if self.gradient == "forward":
            return self._with_sensitivities(y0, t, parameters)
        if self.gradient == "discrete" and self.tableau.multistep:
            return self._unrolled(y0, t, parameters)
        field, run, solution = self._integrate(y0, t, parameters, gradient=True)
        return self._shaped(solution.y), (field, run, solution, t)

    def _with_sensitivities(self, y0: np.ndarray, t: np.ndarray, parameters: Sequence) -> tuple[np.ndarray, tuple]:
        field = self.field.with_args(parameters)
        y0 = np.ascontiguousarray(y0)
        if self.checks:
            t = checked_times(t)
            self.told.check_finite(y0)
        try:
            solution, found = solve_forward(field, self.tableau, self.control, self.backend, self.stepper, y0, t)
        except SolverError as error:
            message = f"in the solve of gradient='forward', whose state is y and then its sensitivities: {error}"
            y = self.told.unravel(error.y[: field.size])
            raise SolverError(message, error.t, error.h, y, error.reason) from error
        self.stats.__dict__.update(solution.stats.__dict__)
        return self._shaped(solution.y), (field, None, found, t)

    def _unrolled(self, y0: np.ndarray, t: np.ndarray, parameters: Sequence) -> tuple[np.ndarray, tuple]:
        """Of a method whose steps hang on those before them: through their code, in Python."""
        field, _, solution = self._integrate(y0, t, parameters, gradient=False)
        self._check_whole(solution.y[-1])
        operands = y0, t, *parameters
        found = Unrolled(self.replay(operands), operands, [True, self.with_t, *field.wanted], solution.y)
        return self._shaped(solution.y), (field, None, found, t)

    def pullback(self, g: Any, saved: Any, wanted: Sequence[bool]) -> list:
        operands, kept = saved
        if kept is None or type(g) is Node:
            flat = WayBack(self, wanted)(g, *operands)
            bars = _parts_like(flat, operands, wanted)
        else:
            y0_bar, parameter_bars, t_bar = self.pulled(g, kept, wanted[1])
            if type(parameter_bars) is np.ndarray:
                parameter_bars = kept[0].split(parameter_bars)
            each = iter(parameter_bars)
            bars = [y0_bar, t_bar, *[next(each) if want else None for want in kept[0].wanted]]
        return [match(bar, x) if want else None for bar, x, want in zip(bars, operands, wanted, strict=True)]

    def pulled(self, g: Any, kept: tuple, with_t: bool) -> tuple:
        """(y0_bar (n,), the parameters' cotangents one after another (p,) or as a list, t_bar (m,))."""
        field, run, solution, t = kept
        g = np.reshape(g, solution.y.shape)
        way = self._along_steps if self.gradient == "discrete" else self._by_adjoint
        if isinstance(solution, (Sensitivities, Unrolled)):
            way = self._at_hand
        try:
            y0_bar, bars, t_bar, nfev, retaken = way(field, run, solution, t, g, with_t)
        except Arose as arose:
            check_cotangent(g, t)
            raise nonfinite_gradient(field, self.told, arose, self.told.unravel(solution.y[0])) from None
        self.stats.nfev_backward += nfev
        self.stats.nretaken += retaken
        return y0_bar, bars, t_bar

    def _along_steps(
        self, field: Field, run: Any, solution: Any, t: np.ndarray, g: np.ndarray, with_t: bool
    ) -> tuple[np.ndarray, Any, np.ndarray, int, int]:
        """The discrete gradient; see `discrete.pull_back`."""
        control, y0 = self.control, solution.y[0]
        grid_is_t = not self.tableau.adaptive and control.step_size is None
        if run is None:
            return discrete.pull_back(
                field, self.tableau, control, solution.record, t, y0, g, grid_is_t=grid_is_t, with_t=with_t
            )
        *found, failure = discrete_backward(solution.record, g, grid_is_t, with_t, checkpoints_of(control, y0))
        if failure is None:
            return tuple(found)
        late, t_reached, part, place = failure
        if late:
            raise too_long(control.max_seconds, t_reached, self.told.unravel(y0))
        if part is None:
            message = (
                f"non-finite: the step from t = {t_reached:.17g} could not be taken again; has an argument changed?"
            )
            raise SolverError(message, t_reached, 0.0, self.told.unravel(y0), "non-finite")
        raise Arose(None if np.isnan(t_reached) else t_reached, part, place)

    def _at_hand(
        self, field: Field, run: Any, found: Any, t: np.ndarray, g: np.ndarray, with_t: bool
    ) -> tuple[np.ndarray, Any, np.ndarray, int, int]:
        """The same of what the forward solve has made already."""
        y0_bar, bars, t_bar = found.pulled(g, with_t)
        check_parts(None, y0_bar, bars, t_bar)
        return y0_bar, bars, t_bar, found.evaluations, 0

    def _by_adjoint(
        self, field: Field, run: Any, solution: Any, t: np.ndarray, g: np.ndarray, with_t: bool
    ) -> tuple[np.ndarray, Any, np.ndarray, int, int]:
        """The same by a solve backward in time."""
        check_cotangent(g, t)
        back = Backward(field, run, self.tableau, self.control, self.stepper, t, solution.y, solution.record)
        return *back.pulled(g, with_t), back.evaluations, back.retaken

    # --- forward mode, and derivatives of a higher order ---

    def pushforward(self, tangents: Sequence, out: Any, operands: Sequence, params: dict) -> Any:
        if any(is_recorded(x) for x in operands):
            raise NoForwardRuleError("forward mode through odeint follows the steps of one solve; a graph has none")
        self._check_whole(np.reshape(concrete(out)[-1], (-1,)))
        if any(is_columns(x) for x in tangents) and np.size(out) < ROWS_BEFORE_COLUMNS:
            raise NoForwardRuleError("odeint with so few outputs, whose Jacobian goes by rows, by the way back in C")
        tangents = [
            zeros_like(x) if tangent is None else tangent for x, tangent in zip(operands, tangents, strict=True)
        ]
        return np.reshape(jvp(self.replay(operands), tuple(operands), tuple(tangents))[1], np.shape(out))

    def replay(self, operands: Sequence) -> Replay:
        """The solve of these operands, step by step, as differentiable code."""
        return Replay(self.field, self.tableau, unwatched(self.control), operands, self.backend)

    # --- within a compiled function ---

    def like(self, **changes: Any) -> Solve:
        """The same solve with some attributes changed."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, stats=Stats(), **changes)
        return other

    def lasting(self) -> Solve:
        """The same solve for any number of calls: it keeps its Programs, and looks at y0 and t itself."""
        return self.like(field=self.field.lasting(), checks=True)


def unwatched(control: Control) -> Control:
    """Without callbacks and bar: for a solve that they have seen before."""
    if control.watch is None and control.progress is None:
        return control
    return dataclasses.replace(control, watch=None, progress=None)


def zeros_like(x: Any) -> Any:
    """A tangent that does not move x."""
    return np.zeros(np.shape(x), np.result_type(concrete(x)))[()]


def _parts_like(flat: Any, operands: Sequence, wanted: Sequence[bool]) -> list:
    """A vector as one array shaped like every wanted operand, None for the others."""
    parts, start = [], 0
    for x, want in zip(operands, wanted, strict=True):
        if not want:
            parts.append(None)
            continue
        stop = start + int(np.size(concrete(x)))
        parts.append(np.reshape(flat[start:stop], np.shape(x)))
        start = stop
    return parts


class WayBack(Primitive):
    """``WayBack(solve, wanted)(g, y0, t, *parameters)``: the wanted cotangents one after another, a vector.

    g (m, *shape) is that of the solve's result. Alone it solves again; who runs the solve before it by `recorded`
    saves that.
    """

    whole = True

    def __init__(self, solve: Solve, wanted: Sequence[bool]) -> None:
        super().__init__("odeint_vjp", type(self).evaluate, vjps=())
        del self.evaluate  # as above
        self.of = solve
        self.wanted = list(wanted)
        self.solve = solve.like(
            field=solve.field.wanting(self.wanted[2:]), with_t=self.wanted[1], control=unwatched(solve.control)
        )

    def evaluate(self, g: Any, *operands: Any) -> np.ndarray:
        return self.pulled(g, self.recorded(operands)[1])

    def recorded(self, operands: Sequence) -> tuple[np.ndarray, tuple]:
        """The solve's result, and what `pulled` needs."""
        return self.solve.recorded(operands)

    def pulled(self, g: Any, kept: tuple) -> np.ndarray:
        """The wanted cotangents."""
        y0_bar, bars, t_bar = self.solve.pulled(g, kept, self.wanted[1])
        parts = [bar for bar, want in zip((y0_bar, t_bar), self.wanted, strict=False) if want]
        parts += [bars] if type(bars) is np.ndarray else [np.ravel(bar) for bar in bars]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def lasting(self) -> WayBack:
        """The same for any number of calls; see `Solve.lasting`."""
        other = object.__new__(WayBack)
        other.__dict__.update(self.__dict__, solve=self.solve.lasting())
        return other

    # --- derivatives of a higher order ---

    def forward(self, operands: Sequence, params: dict) -> tuple[Any, Any]:
        return vjp(self._replayed(operands), *operands)

    def pullback(self, g: Any, saved: Any, wanted: Sequence[bool]) -> list:
        return [bar if want else None for bar, want in zip(saved(g), wanted, strict=True)]

    def pushforward(self, tangents: Sequence, out: Any, operands: Sequence, params: dict) -> Any:
        tangents = [
            zeros_like(x) if tangent is None else tangent for x, tangent in zip(operands, tangents, strict=True)
        ]
        return jvp(self._replayed(operands), tuple(operands), tuple(tangents))[1]

    def _replayed(self, operands: Sequence) -> Callable:
        """The wanted cotangents as differentiable code, whose own derivatives are second derivatives of the solve."""
        replay = self.solve.replay(operands[1:])

        def cotangents(g: Any, *solved: Any) -> Any:
            ys, moving = replay.of_wanted(solved, self.wanted)
            out, pull = vjp(ys, *moving)
            parts = [np.reshape(bar, (-1,)) for bar in pull(np.reshape(g, out.shape))]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return cotangents
