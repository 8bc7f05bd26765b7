"""Events: where a function of time and state passes through zero, found while a solve runs.

In every accepted step the event functions are looked at where it ends and at four points within it, on the dense
output; and where three neighbours suggest that the function turns round before it gets to zero, at that turning point,
too. So most pairs of roots in one step are found; not those in the first or the last part of a long step. Between two
points of different signs the root is found to 4 eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .interpolation import dense_output
from .roots import bracketed_root
from .stepper import extra_stages, weighted_sum
from .tableau import Tableau, hermite_weights

__all__ = ["Event", "Events", "checked_event"]

Array = np.ndarray
WITHIN = (0.2, 0.4, 0.6, 0.8)  # of a step
JUST_AFTER = 1e-3  # of a step: where the sign of an event that has just been reset is looked at


@dataclass(frozen=True)
class Event:
    """``func(t, y)``, a number, is an event where it passes through zero.

    direction: only upward (above 0), only downward (below 0), or both (0).
    terminal:  the solve ends at that occurrence, counted from 1; math.inf: never.
    reset:     ``reset(t, y)``: the state with which the solve goes on from there; None: it goes on as it is.
    """

    func: Callable[[float, Array], Any]
    direction: float = 0.0
    terminal: float = math.inf
    reset: Callable[[float, Array], Any] | None = None


def checked_event(func: Any, index: int) -> Event:
    """An event function with SciPy's attributes `terminal` and `direction`, and `reset`."""
    if not callable(func):
        raise TypeError(f"events: each must be callable as event(t, y), number {index} is {type(func).__name__}")
    terminal, direction = getattr(func, "terminal", None), getattr(func, "direction", 0)
    if terminal is None or terminal == 0:
        terminal = math.inf
    elif not (int(terminal) == terminal and terminal > 0):
        raise ValueError(
            f"The `terminal` attribute of each event must be a boolean or positive integer; that of event {index} is "
            f"{terminal!r}"
        )
    reset = getattr(func, "reset", None)
    if reset is not None and not callable(reset):
        raise TypeError(f"events: the `reset` of event {index} must be callable as reset(t, y), got {reset!r}")
    return Event(func, float(direction), float(terminal), reset)


class Events:
    """Looks for events of one solve, or of several that follow one another.

    times, states: for each event, those of its occurrences.
    ended:         None, or the index of the event that ends the solve, or resets it, with its time and state.
    """

    def __init__(
        self, events: Sequence[Event], tableau: Tableau, fun: Callable[[float, Array], Array], split: int | None = None
    ) -> None:
        self.events, self.tableau, self.fun, self.split = events, tableau, fun, split
        self.times: list[list[float]] = [[] for _ in events]
        self.states: list[list[Array]] = [[] for _ in events]
        self.ended: tuple[int, float, Array] | None = None
        self.nfev = 0  # evaluations of fun for the dense output

    def begin(self, t: float, y: Array) -> None:
        """A solve begins at (t, y); an event that has just been reset is not one there again."""
        fired = None if self.ended is None else self.ended[0]
        self.values: list[float | None] = [
            None if i == fired else self._value(i, t, y) for i in range(len(self.events))
        ]
        self.ended = None

    def look(
        self, moment: int, t: float, h: float, y: Array, t_new: float, y_new: Array, K: Array, evaluated: int
    ) -> bool:
        """An accepted step, as a watcher gets it: whether the solve ends within it."""
        step = _Step(self, t, h, y, t_new, y_new, K, self.tableau.extra > 0 and evaluated < 2)
        found = [(step.theta_of(root), i, root) for i in range(len(self.events)) for root in step.roots(i)]
        for _, i, root in sorted(found):
            state = step.state_at(root)
            self.times[i].append(root)
            self.states[i].append(state)
            event = self.events[i]
            if len(self.times[i]) >= event.terminal or event.reset is not None:
                self.ended = (i, root, state)
                return True
        self.values = step.ends
        return False

    def is_terminal(self) -> bool:
        """Whether the event that ended the solve ends it for good."""
        return self.ended is not None and len(self.times[self.ended[0]]) >= self.events[self.ended[0]].terminal

    def _value(self, i: int, t: float, y: Array) -> float:
        """That of event i, checked: one finite real number."""
        value = np.asarray(self.events[i].func(t, y))
        if value.size != 1 or value.dtype.kind not in "fiub":
            raise ValueError(
                f"event {i} must return one real number, got shape {value.shape} of {value.dtype} at t = {t:.17g}"
            )
        number = float(value.reshape(()))
        if math.isnan(number):
            raise ValueError(f"event {i} is nan at t = {t:.17g}, where y is {y}")
        return number


class _Step:
    """One accepted step: its dense output, and the values of the events on it.

    K lacks the extra stages of the dense output if `bare`. Then the cubic Hermite interpolant, which needs none, says
    whether there is something to look for, and only if there is are they evaluated.
    """

    def __init__(
        self, of: Events, t: float, h: float, y: Array, t_new: float, y_new: Array, K: Array, bare: bool
    ) -> None:
        self.of, self.t, self.h, self.y, self.t_new, self.y_new = of, t, h, y, t_new, y_new
        self.K, self.bare = K, bare
        indices = range(len(of.events))
        self.ends: list[float | None] = [of._value(i, t_new, y_new) for i in indices]
        self.cubic = hermite_weights(of.tableau.dense_b, np.eye(of.tableau.dense_stages)[of.tableau.rows - 1])
        self.samples = [self._samples(i) for i in indices]
        if bare and any(self._crossings(i) for i in indices):
            self._evaluate_extra()
            self.samples = [self._samples(i) for i in indices]

    def _evaluate_extra(self) -> None:
        tableau, self.K, self.bare = self.of.tableau, self.K.copy(), False
        extra_stages(self.of.fun, self.t, self.y, self.h, tableau, self.K)
        self.of.nfev += tableau.extra

    def state(self, theta: float) -> Array:
        if theta == 1.0:
            return self.y_new
        if self.bare:
            return self.y + weighted_sum(self.K, self.cubic @ theta ** np.arange(1.0, 4.0), self.h)
        return dense_output(self.y, self.K, self.h, self.of.tableau, theta, self.of.split)

    def theta_of(self, t: float) -> float:
        return 1.0 if t == self.t_new else (t - self.t) / self.h

    def state_at(self, t: float) -> Array:
        return self.state(self.theta_of(t))

    def _samples(self, i: int) -> list[tuple[float, float]]:
        """(theta, value) of event i, in order, the step's ends included."""
        start = self.of.values[i]
        first = (JUST_AFTER, self._at(i, JUST_AFTER)) if start is None else (0.0, start)
        samples = [first, *((theta, self._at(i, theta)) for theta in WITHIN), (1.0, self.ends[i])]
        turning = [self._turning_point(*samples[k : k + 3]) for k in range(len(samples) - 2)]
        samples += [(theta, self._at(i, theta)) for theta in turning if theta is not None]
        return sorted(samples)

    def _at(self, i: int, theta: float) -> float:
        return self.of._value(i, self.t + theta * self.h, self.state(theta))

    @staticmethod
    def _turning_point(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float | None:
        """Where the parabola through three points of one sign is nearest to zero, if that is among them."""
        (x0, f0), (x1, f1), (x2, f2) = a, b, c
        if not (f0 > 0) == (f1 > 0) == (f2 > 0) or not abs(f1) <= min(abs(f0), abs(f2)):
            return None
        left, right = (f1 - f0) / (x1 - x0), (f2 - f1) / (x2 - x1)
        if left == right:
            return None
        theta = 0.5 * (x0 + x1) - 0.5 * left * (x2 - x0) / (right - left)
        return theta if x0 < theta < x2 and theta != x1 else None

    def _crossings(self, i: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """Neighbouring samples of event i between which it passes through zero in its direction."""
        direction = self.of.events[i].direction
        found = []
        for a, b in zip(self.samples[i], self.samples[i][1:], strict=False):
            up, down = a[1] <= 0 <= b[1], a[1] >= 0 >= b[1]
            if (up and direction >= 0) or (down and direction <= 0):
                found.append((a, b))
        return found

    def roots(self, i: int) -> list[float]:
        """The times of event i in the step, each once."""
        found: list[float] = []
        before = self.of.times[i][-1] if self.of.times[i] else None
        for (x0, f0), (x1, f1) in self._crossings(i):
            ends = [self.t_new if x == 1.0 else self.t + x * self.h for x in (x0, x1)]
            root = float(bracketed_root(lambda t: self.of._value(i, t, self.state_at(t)), *ends, f0, f1))
            near = 8.0 * np.spacing(abs(root))
            if all(other is None or abs(root - other) > near for other in (before, *found)):
                found.append(root)
        return found
