"""solve_ivp: SciPy's front door to the same kernels. Arguments, result and meaning are SciPy's."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .autodiff import tree
from .autodiff.primitive import is_traced
from .ivp_arguments import (
    args_of,
    callbacks_of,
    function_of,
    ivp_control,
    listed,
    method_of,
    span_of,
    state_vector,
    times_of,
    with_args,
)  # fmt: skip
from .ivp_gradient import Differentiable, plain_of
from .options import BACKENDS, CALLBACKS, choice
from .program import Field
from .program.purity import close
from .program.trace import TraceError, is_recorded, user_stacklevel
from .solvers import Control, Run, SolverError, Stats, Tableau
from .solvers.dense import DenseSolution
from .solvers.events import Event, Events, checked_event
from .solvers.watched import Trajectory, Watch, rk, watched

__all__ = ["OdeResult", "solve_ivp"]

Array = np.ndarray
MESSAGES = {
    0: "The solver successfully reached the end of the integration interval.",
    1: "A termination event occurred.",
    2: "A callback ended the solve.",
}


class OdeResult(dict):
    """What `solve_ivp` returns: its entries are attributes, too.

    t (m,), y (n, m); sol: the solution as a function, or None; t_events, y_events: for each event an array (k,) of
    times and one (k, n) of states, or None; nfev, njev, nlu; status: 0 reached the end, 1 a terminal event or a
    callback ended it, -1 failed; message; success.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the result has no {name}; it has {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = (f"{name:>{width}}: {value!r}".replace("\n", "\n" + " " * (width + 2)) for name, value in self.items())
        return "\n".join(lines)


def solve_ivp(
    fun: Callable,
    t_span: Sequence[float],
    y0: Any,
    method: Any = "RK45",
    t_eval: Any = None,
    dense_output: bool = False,
    events: Any = None,
    vectorized: bool = False,
    args: Any = None,
    *,
    backend: str = "compiled",
    gradient: str = "discrete",
    **options: Any,
) -> OdeResult:
    """Solve dy/dt = fun(t, y, *args), y(t_span[0]) = y0, over t_span, as scipy.integrate.solve_ivp does.

    fun:          ``fun(t, y, *args)`` in plain NumPy, y (n,); with vectorized=True it is given y (n, 1).
    t_span:       (start, end); end may be before start, or infinite if an event ends the solve.
    y0:           (n,), real or complex.
    method:       "RK23", "RK45" or "DOP853", with SciPy's steps, or any other of `nc.methods()` or an `nc.Tableau`.
                  Radau, BDF and LSODA come with the stiff solvers.
    t_eval:       times at which y is wanted; without, it is given at the end of every step.
    dense_output: also give sol, the solution as a function of time.
    events:       ``event(t, y, *args)``, a number whose zeros are looked for, or several. Attributes of it: terminal
                  (True, or after how many), direction (above or below 0: only upward, only downward), and, beyond
                  SciPy, reset: ``reset(t, y, *args)`` gives the state with which the solve goes on from the event.
    backend:      as of `odeint`.
    gradient:     as of `odeint`: with traced y0 or args, and t_eval, the result's y, t_events and y_events are
                  differentiable, through the resets of events, too.
    options:      rtol (1e-3) and atol (1e-6), numbers or arrays (n,); first_step; max_step; and of `odeint`
                  max_num_steps (no limit), safety, min_factor, max_factor, norm, controller, min_step, on_min_step,
                  max_seconds, progress, on_step, on_accept and on_reject (which may end the solve: status 1); step_size
                  of a fixed-step method; max_order of Adams methods. SciPy's others have no effect, as there, and a
                  warning says so.

    Returns an OdeResult. A failed solve is status -1 with its message, and what there is of it; with traced values it
    is a SolverError, and nfev is None.
    Raises ValueError or TypeError for what cannot be meant; what fun or an event raises comes through.

    >>> sol = solve_ivp(lambda t, y: -0.5 * y, (0, 10), [2, 4], rtol=1e-8, atol=1e-8, t_eval=[0, 10])
    >>> sol.y.shape, round(float(sol.y[0, -1]), 6)
    ((2, 2), 0.013476)
    """
    rule = method_of(method)
    start, end = span_of(t_span)
    args = args_of(args)
    choice("backend", backend, BACKENDS)
    times = None if t_eval is None else times_of(t_eval, start, end)
    own_events = [checked_event(event, i) for i, event in enumerate(listed(events))]
    found = [with_args(event, args) for event in own_events]
    callbacks, bar = callbacks_of(options), options.pop("progress", False)
    if any(map(is_traced, tree.flatten((y0, args))[0])):
        if times is None or dense_output:
            raise NotImplementedError("solve_ivp is differentiable at the times of t_eval and of events, not without "
                                      "t_eval or in dense_output, yet")  # fmt: skip
        told = {**options, **callbacks, "progress": bar}
        moving = Differentiable(function_of(fun, vectorized, np.shape(y0)), y0, rule, args, backend, gradient, told,
                                (start, end))  # fmt: skip
        if events is None:
            return _of_moving(moving.outputs(times), t=times)
        if any(map(is_recorded, tree.flatten((y0, args))[0])):
            raise TraceError("when an event comes is a matter of values; a graph of solve_ivp has no events")
        plain = solve_ivp(fun, (start, end), plain_of(y0), rule, times, False, events, vectorized, plain_of(args),
                          backend=backend, **told)  # fmt: skip
        return _of_moving(moving.with_events(own_events, plain), **plain)
    y0 = state_vector(y0)
    control = ivp_control(rule, options, y0, abs(end - start))
    field = Field(function_of(fun, vectorized, y0.shape), y0, args)

    def solved(control: Control) -> OdeResult:
        problem = _Problem(field, rule, control, backend, found, times, dense_output, callbacks)
        return problem.solve(start, end, y0, events is not None)

    if not bar:
        return solved(control)
    from .progress import TimeBar  # few solves have one

    with TimeBar(start, end) as shown:
        return solved(replace(control, progress=shown))


def _of_moving(found: tuple, **plain: Any) -> OdeResult:
    """The result whose (t_events, y_events, y (m, n)) are differentiable; plain: its other entries, if unusual."""
    t_events, y_events, ys = found
    usual = {"sol": None, "njev": 0, "nlu": 0, "status": 0, "message": MESSAGES[0], "success": True}
    return OdeResult({**usual, **plain, "y": ys.T, "t_events": t_events, "y_events": y_events, "nfev": None})


class _Problem:
    """One call: solves that follow one another, from event to event that resets the state."""

    def __init__(
        self, field: Field, rule: Tableau, control: Control, backend: str, events: list[Event], times: Array | None,
        dense: bool, callbacks: dict[str, Callable],
    ) -> None:  # fmt: skip
        self.field, self.rule, self.control, self.backend = field, rule, control, backend
        self.events, self.times, self.dense = Events(events, rule, field, control.split), times, dense
        self.stats, self.t, self.y = Stats(), [], []
        self.run: Run | None = None  # of the present solve: what stands for field in C
        self.stale = False  # whether it gave another answer than field itself
        self.callbacks, self.called_off = callbacks, False
        self.deadline = time.monotonic() + control.max_seconds
        slopes = "all" if dense else "end" if events else "stages"
        told = {moment: name in callbacks for name, moment in CALLBACKS.items()}
        told["acceptances"] = told["acceptances"] or bool(events)
        self.watch = Watch(self._look if any(told.values()) else None, slopes=slopes, **told)

    def solve(self, start: float, end: float, y0: Array, with_events: bool) -> OdeResult:
        """From start to end, or to a terminal event."""
        sol = None
        if self.dense:
            sol = DenseSolution(self.rule, y0.dtype, len(y0), start, y0, extrapolate=True, split=self.control.split)
        t, y, status, message = start, y0, 0, MESSAGES[0]
        if self.times is None:
            self._put([start], [y0])
        else:
            self._put([s for s in self.times if s == start], [y0])
        if start == end or len(y0) == 0:  # nothing to integrate
            self._end_without_steps(start, end, y0, sol)
            return self._result(status, message, sol, with_events)
        while True:
            found = self._one_solve(t, end, y)
            ended = self.events.ended
            stop, y = (found.t, found.y_end) if ended is None else ended[1:]
            self._keep(found, t, stop, end, y)
            if sol is not None:
                sol.extend(found.record, stop, y)
            t = stop
            if found.error is not None:
                status, message = -1, _failed(found.error)
                break
            if self.called_off:
                status, message = 1, MESSAGES[2]
                break
            if ended is None:
                if self.stale and t != end:
                    continue
                break
            if self.events.is_terminal():
                status, message = 1, MESSAGES[1]
                break
            y = self._reset(ended[0], t, y)
            if sol is not None:
                sol.y_end = y
            if t == end:
                break
        self.stats.nfev += self.events.nfev
        return self._result(status, message, sol, with_events)

    def _one_solve(self, t: float, end: float, y: Array) -> Trajectory:
        """From (t, y) until the end, a failure, or an event that ends it or resets the state."""
        self.events.begin(t, y)
        grid = [t, end] if self.times is None else [t, *self._between(t, end), end]
        fun = self._fun(t, y)
        keep = "slopes" if self.dense else "states" if self.times is None else None
        control = self.control
        if control.max_seconds < math.inf:  # of all solves together
            control = replace(control, max_seconds=max(self.deadline - time.monotonic(), 1e-9))
        found = watched(
            fun, y, np.array(grid), self.rule, control, self.watch,
            backend="python" if self.backend == "python" else "compiled", keep=keep,
        )  # fmt: skip
        for name in ("nfev", "naccepted", "nrejected"):
            setattr(self.stats, name, getattr(self.stats, name) + getattr(found.stats, name))
        return found

    def _fun(self, t: float, y: Array) -> Any:
        """What the loop evaluates: a Run of the field's Program, or the field."""
        if self.backend != "compiled":
            return self.field
        self.run = None if self.stale else self.field.compiled(t, y)
        if self.run is not None and self.events.events and not self._agrees(t, y):
            self.run, self.stale = None, True
        if self.stale:
            warnings.warn(
                f"fun reads something that an event changes (at t = {t:.6g} it is another function than before); it is "
                'called back from there on; give backend="callback", or put what changes into the state',
                RuntimeWarning, stacklevel=user_stacklevel(),
            )  # fmt: skip
            self.backend = "callback"
        return self.field if self.run is None else self.run

    def _look(self, moment: int, t: float, h: float, y: Array, *accepted: Any) -> bool:
        """Whether the solve ends here: by an event, a callback, or because fun has become another function.

        accepted: (t_new, y_new, K, evaluated), at an acceptance.
        """
        if not accepted:
            return self._call("on_step" if moment == rk.MOMENTS["attempt"] else "on_reject", t, y, h)
        t_new, y_new = accepted[:2]
        if self.events.events:
            if self.events.look(moment, t, h, y, *accepted):
                _, t_event, y_event = self.events.ended  # where the step ends now
                self._call("on_accept", t_event, y_event, h)
                return True
            self.stale = self.run is not None and not self._agrees(t_new, y_new)
        return self._call("on_accept", t_new, y_new, h) or self.stale

    def _call(self, name: str, t: float, y: Array, h: float) -> bool:
        """Tell the user's callback, if there is one: whether it ends the solve."""
        if name in self.callbacks:
            own = y.copy()
            own.flags.writeable = False
            self.called_off = bool(self.callbacks[name](t, own, h))
        return self.called_off

    def _agrees(self, t: float, y: Array) -> bool:
        """Whether the Program's slope is what fun itself gives: events may have effects that fun reads."""
        own = y.copy()
        own.flags.writeable = False
        return close(self.run.evaluate(t, np.ascontiguousarray(y)), self.field(t, own))

    def _between(self, t: float, end: float) -> list[float]:
        """The times of t_eval strictly between."""
        low, high = min(t, end), max(t, end)
        return self.times[(self.times > low) & (self.times < high)].tolist()

    def _keep(self, found: Trajectory, t: float, stop: float, end: float, y: Array) -> None:
        """The outputs of a solve from t to stop, where the state is y."""
        if self.times is None:
            record = found.record
            if len(record.t):  # a solve may fail at its first step
                self._put([*record.t[1:], stop], [*record.y[1:], y])
            return
        sign = 1.0 if end > t else -1.0
        between = [s for s in self._between(t, end) if sign * (s - stop) < 0]
        self._put(between, list(found.y[1 : 1 + len(between)]))
        if stop in self.times:
            self._put([stop], [y])

    def _put(self, t: list, y: list) -> None:
        self.t += t
        self.y += y[: len(t)]

    def _end_without_steps(self, t: float, end: float, y: Array, sol: DenseSolution | None) -> None:
        if self.times is None:
            self._put([end], [y])
        else:
            later = [s for s in self.times if s != t]
            self._put(later, [y] * len(later))
        if sol is not None:
            sol.t_end = end

    def _reset(self, i: int, t: float, y: Array) -> Array:
        """The state that event i's reset gives, checked."""
        new = np.asarray(self.events.events[i].reset(t, y.copy()))
        if new.shape != y.shape or not np.can_cast(new.dtype, y.dtype, "same_kind"):
            raise ValueError(
                f"the reset of event {i} must return a state {y.shape} of {y.dtype}, got {new.shape} of {new.dtype} "
                f"at t = {t:.17g}"
            )
        if not np.all(np.isfinite(new)):
            raise ValueError(f"the reset of event {i} must return a finite state, got {new} at t = {t:.17g}")
        if self.times is None:  # the state jumps there
            self._put([t], [new])
        return np.ascontiguousarray(new.astype(y.dtype))

    def _result(self, status: int, message: str, sol: DenseSolution | None, with_events: bool) -> OdeResult:
        t_events = y_events = None
        if with_events:
            t_events = [np.asarray(times) for times in self.events.times]
            y_events = [np.asarray(states) for states in self.events.states]
        t: Any = np.array(self.t) if self.t or self.times is None else []  # as SciPy has it
        y: Any = np.array(self.y).T if self.t or self.times is None else []
        return OdeResult(
            t=t, y=y, sol=sol, t_events=t_events, y_events=y_events, nfev=self.stats.nfev, njev=0, nlu=0, status=status,
            message=message, success=status >= 0,
        )  # fmt: skip


def _failed(error: SolverError) -> str:
    if error.reason == "step underflow":
        return f"Required step size is less than spacing between numbers. ({error})"
    return str(error)
