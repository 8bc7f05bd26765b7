"""Gradients through solve_ivp: its outputs, events and resets again, by `odeint` from event to event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .autodiff import stop_gradient, tree
from .autodiff.node import concrete, depth, lift
from .autodiff.primitive import is_traced
from .event import moving
from .ivp_arguments import CONTROLS, TOLD, ivp_control, state_vector
from .options import CALLBACKS, equal_steps
from .program import Field
from .solve import odeint
from .solvers import SolverError, Tableau
from .solvers.events import Event

__all__ = ["Differentiable", "plain_of"]

Array = np.ndarray


class _Occurrence(NamedTuple):
    """Event number `event` at time t in state y (n,), all plain."""

    t: float
    event: int
    y: Array


def plain_of(values: Any) -> Any:
    """The same tree without traces."""
    return tree.map(lambda leaf: concrete(leaf) if is_traced(leaf) else leaf, values)


class Differentiable:
    """One call of solve_ivp with a traced y0 or args; a failed solve is a SolverError."""

    def __init__(
        self, fun: Callable, y0: Any, rule: Tableau, args: tuple, backend: str, gradient: str, options: dict,
        span: tuple[float, float],
    ) -> None:  # fmt: skip
        self.y0, self.args, self.span = lift(y0), args, span
        told = {name: options.pop(name) for name in (*CALLBACKS, "progress") if name in options}
        start = state_vector(concrete(self.y0))
        control = ivp_control(rule, options, start, abs(span[1] - span[0]))
        options = {name: value for name, value in options.items() if name in (*CONTROLS, *TOLD)}
        if not equal_steps(rule, options):
            options = {"atol": 1e-6, **options, "rtol": control.rtol}
        self.field = Field(fun, start, plain_of(args))
        self.solve = lambda y, t, **more: odeint(
            fun, y, t, args=args, method=rule, gradient=gradient, backend=backend, **{**options, **more}
        )
        self.told = told

    def outputs(self, times: Array) -> tuple[None, None, Any]:
        """(no events, none, y (m, n) at these times)."""
        if not len(times):
            raise ValueError("solve_ivp: `t_eval` is empty; there is nothing to differentiate")
        start, end = self.span
        if start == end:
            return None, None, self.y0[None]
        grid = np.array([start, *(s for s in times if s not in self.span), end])
        rows = np.flatnonzero(np.isin(grid, times))
        return None, None, self.solve(self.y0, grid, **self.told)[rows[0] : rows[-1] + 1]

    def with_events(self, events: Sequence[Event], plain: Any) -> tuple[list, list, Any]:
        """(t_events, y_events, y (m, n) at plain.t) with the values of `plain`, the result without traces."""
        if plain.status < 0:
            raise SolverError(plain.message, float(self.span[0]), 0.0, concrete(self.y0), "failed")
        sign = 1.0 if self.span[1] >= self.span[0] else -1.0
        found = [_Occurrence(float(t), i, y) for i, times in enumerate(plain.t_events)
                 for t, y in zip(times, plain.y_events[i], strict=True)]  # fmt: skip
        found.sort(key=lambda occurrence: sign * occurrence.t)
        t_events: list[list] = [[] for _ in events]
        y_events: list[list] = [[] for _ in events]
        time, y, outputs, segment = np.float64(self.span[0]), self.y0, [], []
        at_start = [s for s in plain.t if s == self.span[0]]
        outputs += [y] * len(at_start)
        for occurrence in [*found, None]:
            ended = occurrence is None or events[occurrence.event].reset is not None
            segment += [] if occurrence is None else [occurrence]
            if not ended:
                continue
            stop = segment[-1].t if occurrence is not None else float(plain.t[-1]) if len(plain.t) else time
            moved, ys = self._segment(time, y, segment, stop, plain, events, sign)
            outputs += ys
            for one, (t_event, y_event) in zip(segment, moved, strict=True):
                t_events[one.event].append(t_event)
                y_events[one.event].append(y_event)
            if occurrence is not None:
                time, y = moved[-1]
                y = lift(events[occurrence.event].reset(time, y, *self.args))
            segment = []
        n = self.field.size
        stacked = [np.stack(ts) if ts else np.zeros(0) for ts in t_events]
        states = [np.stack(ys) if ys else np.zeros((0, n)) for ys in y_events]
        return stacked, states, np.stack(outputs) if outputs else np.zeros((0, n))

    def _segment(
        self,
        time: Any,
        y: Any,
        segment: list[_Occurrence],
        stop: float,
        plain: Any,
        events: Sequence[Event],
        sign: float,
    ) -> tuple[list[tuple[Any, Any]], list]:
        """From (time, y) to stop: each of its events' (time, state), and the outputs after `time`."""
        start = float(concrete(time))
        inside = [k for k, s in enumerate(plain.t) if sign * (s - start) > 0 and sign * (s - stop) <= 0]
        ends = sorted({*(float(plain.t[k]) for k in inside), *(one.t for one in segment)}, key=lambda s: sign * s)
        ends = [s for s in ends if sign * (s - start) > 0]
        if not ends:  # an event where the segment begins
            return [(np.float64(one.t), y) for one in segment], []
        moved: list[tuple[Any, Any]] = [(np.float64(one.t), one.y) for one in segment]
        levels = max((depth(leaf) for leaf in tree.flatten((time, y, self.args))[0]), default=0)
        ys: Any = None
        for _ in range(max(levels, 1)):
            at = {one.t: t for one, (t, _) in zip(segment, moved, strict=True)}
            ys = self.solve(y, np.stack([lift(time), *(at.get(s, np.float64(s)) for s in ends)]))
            moved = [self._moved(one, events[one.event], at[one.t], ys[1 + ends.index(one.t)])
                     if one.t in ends else (np.float64(one.t), y) for one in segment]  # fmt: skip
        return moved, [self._valued(plain.y[:, k], ys[1 + ends.index(float(plain.t[k]))]) for k in inside]

    def _moved(self, one: _Occurrence, event: Event, time: Any, y: Any) -> tuple[Any, Any]:
        return moving(self.field, event.func, one.t, time, self._valued(one.y, y), self.args, plain_of(self.args))

    @staticmethod
    def _valued(value: Array, x: Any) -> Any:
        """x with that value: from event to event the steps are others than those of one solve."""
        return value + (x - stop_gradient(x))
