"""odeint_event: solve until a function of time and state is zero; differentiable in the time and in the state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .autodiff import jvp, stop_gradient, tree
from .autodiff.node import concrete, depth, lift
from .autodiff.primitive import is_traced
from .options import ATOL, RTOL
from .program import Field
from .program.trace import TraceError, is_recorded
from .solve import checked_problem, odeint
from .solvers import Control, SolverError, Tableau
from .solvers.events import Events, checked_event
from .solvers.watched import Watch, watched

__all__ = ["moving", "odeint_event"]


def odeint_event(
    func: Callable,
    y0: Any,
    t0: Any,
    *,
    event_fn: Callable,
    args: tuple = (),
    t_max: float | None = None,
    reverse_time: bool = False,
    method: str | Tableau = "dopri5",
    rtol: Any = RTOL,
    atol: Any = ATOL,
    gradient: str = "discrete",
    backend: str = "compiled",
    **options: Any,
) -> tuple[Any, Any]:
    """Solve dy/dt = func(t, y, *args), y(t0) = y0, until event_fn(t, y, *args) is zero: ``(t_event, y)``.

    event_fn:     gives one real number; the solve ends where it first passes through zero after t0 (a zero at t0
                  itself does not count). Its attribute `direction`, above or below 0, takes only upward or downward
                  ones; `terminal` and `reset` say nothing here.
    t_max:        where the solve ends without an event, with a SolverError; without it, after max_num_steps.
    reverse_time: backward from t0.
    The others are as of `odeint`, but for jump_t, step_t, callbacks and progress; adaptive methods only.

    Gradients reach y0, t0 and the floating leaves of args, those that event_fn uses, too, through both results (by the
    implicit function theorem; Chen, Amos, Nickel 2021), of every order.

    >>> fall, ground = (lambda t, y: [y[1], -9.81]), (lambda t, y: y[0])
    >>> t, y = odeint_event(fall, np.array([1.0, 0.0]), 0.0, event_fn=ground, rtol=1e-9, atol=1e-9)
    >>> round(t, 6), round(float(y[1]), 6)
    (0.451524, -4.429447)
    """
    if any(is_recorded(leaf) for leaf in tree.flatten((y0, t0, args))[0]):
        raise TraceError("when an event comes is a matter of values; odeint_event cannot be recorded in a graph")
    for name in options:
        if name in NOT_HERE:
            raise TypeError(f"odeint_event has no option {name!r}; it is of odeint alone")
    start = float(concrete(t0))
    end = _end(start, t_max, reverse_time)
    plain = tree.map(_plain, (y0, args))
    checked = checked_problem(func, plain[0], plain[1], method, rtol, atol, gradient, backend, options)
    t_event, y_event = _found(*checked, plain[1], start, end, event_fn, backend)
    solved = {"args": args, "method": method, "rtol": rtol, "atol": atol, "gradient": gradient, "backend": backend}
    levels = max((depth(leaf) for leaf in tree.flatten((y0, t0, args))[0]), default=0)
    if levels == 0:
        return t_event, y_event
    t, y = np.float64(t_event), y_event
    for _ in range(levels):
        ys = odeint(func, y0, np.stack([lift(t0), t]), **solved, **options)
        y = tree.map(
            lambda value, x: value + (x[-1] - stop_gradient(x[-1])), y_event, ys
        )  # as the untraced call has it
        t, y = moving(checked[0], event_fn, t_event, t, y, args, plain[1])
    return t, y


NOT_HERE = ("jump_t", "step_t", "on_step", "on_accept", "on_reject", "progress", "full_output")


def _plain(leaf: Any) -> Any:
    return concrete(leaf) if is_traced(leaf) else leaf


def _end(start: float, t_max: float | None, reverse_time: bool) -> float:
    sign = -1.0 if reverse_time else 1.0
    if not math.isfinite(start):
        raise ValueError(f"odeint_event: t0 must be finite, got {start}")
    if t_max is None:
        return sign * math.inf
    t_max = float(concrete(t_max))
    if not sign * (t_max - start) > 0:
        where = "before" if reverse_time else "after"
        raise ValueError(f"odeint_event: t_max must lie {where} t0 = {start}, got {t_max}")
    return t_max


def _found(
    field: Field, rule: Tableau, control: Control, y0: Any, args: tuple, start: float, end: float, event_fn: Callable,
    backend: str,
) -> tuple[float, Any]:  # fmt: skip
    """The time of the event and the state there, of plain values."""
    if not rule.adaptive or control.step_size is not None:
        raise ValueError(f"odeint_event: {rule.name} takes fixed steps; give an adaptive method")
    event = checked_event(event_fn, 0)
    told = _Told(event.func, field, args)
    events = Events([type(event)(told, event.direction, 1.0)], rule, field)
    flat = np.ascontiguousarray(tree.ravel(y0)[0])
    field.check_finite(flat)
    events.begin(start, flat)
    events.zero_counts = False
    run = field.compiled(start, flat) if backend == "compiled" else None
    found = watched(
        field if run is None else run, flat, np.array([start, end]), rule, control,
        Watch(events.look, acceptances=True, slopes="end"), backend="python" if backend == "python" else "compiled",
    )  # fmt: skip
    if events.ended is None:
        reason = "no event" if found.error is None else found.error.reason
        why = f"there is none until t_max = {end}" if found.error is None else str(found.error)
        raise SolverError(f"odeint_event: no event was found: {why}", found.t, 0.0, field.unravel(found.y_end), reason)
    _, t_event, state = events.ended
    return t_event, field.unravel(np.ascontiguousarray(state))


class _Told:
    """event_fn(t, y, *args) of a flat y."""

    def __init__(self, event_fn: Callable, field: Field, args: tuple) -> None:
        self.event_fn, self.field, self.args = event_fn, field, args

    def __call__(self, t: float, y: np.ndarray) -> Any:
        return _value(self.event_fn, t, self.field.unravel(y), self.args)


def _value(event_fn: Callable, t: Any, y: Any, args: tuple) -> Any:
    """What event_fn gives, a number also where that is an array of one; plain or traced."""
    value = event_fn(t, y, *args)
    return np.reshape(value, ()) if np.size(value) == 1 else value


def moving(
    field: Field, event_fn: Callable, t: float, time: Any, y: Any, args: tuple, plain_args: tuple
) -> tuple[Any, Any]:
    """The time of the event, whose value is t, and y there, as they move with what y and args hang on.

    y is traced, at `time`. With g the event function and g' = dg/dt its slope along the solution, dt = -dg / g', and y
    moves by f dt more: a step of Newton's iteration, with a slope that is fixed. Each makes derivatives of one order
    more right.
    """
    at = tree.map(_plain, y)
    slope = field.unravel(field(t, np.ascontiguousarray(tree.ravel(at)[0])))
    g, along = jvp(lambda t, y: _value(event_fn, t, y, plain_args), (np.float64(t), at), (np.float64(1.0), slope))
    if along == 0.0:
        raise SolverError(
            f"odeint_event: at t = {t:.17g} event_fn passes zero without a slope; its time has no derivative", t, 0.0,
            at, "no slope",
        )  # fmt: skip
    g = _value(event_fn, time, y, args)
    step = -(g - stop_gradient(g)) / along
    return time + step, tree.map(lambda x, f: x + f * step, y, slope)
