"""Events: where a function of time and state passes through zero, found while a solve runs.

In every accepted step the event functions are looked at where it ends and at four points within it, on the dense
output; and wherever a parabola through three neighbours turns round towards zero, at its turning point, too. So two
roots in one step are found as one is, unless the function dips between all of these points. Between two points of
different signs the root is found to 4 eps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._kernels import rk
from .interpolation import dense_output
from .roots import bracketed_root
from .stepper import extra_stages, weighted_sum
from .tableau import Tableau, hermite_weights

__all__ = ["Event", "Events", "checked_event"]

Array = np.ndarray
WITHIN = (0.2, 0.4, 0.6, 0.8)  # of a step
ROUNDS = 2  # of looking for turning points
SOON = 1e-12  # of a step: where the sign of an event that has just been reset is first looked at
EPS = float(np.finfo(float).eps)
Sample = tuple[float, float]  # (theta, value)


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
        self.cubic = hermite_weights(tableau.dense_b, np.eye(tableau.dense_stages)[tableau.rows - 1])
        self.times: list[list[float]] = [[] for _ in events]
        self.states: list[list[Array]] = [[] for _ in events]
        self.values: list[float] = []  # at the start of the step to come
        self.ended: tuple[int, float, Array] | None = None
        self.zero_counts = True  # a zero at the start of the first solve is an event
        self.noise: dict[int, float] = {}  # of an event just reset: what may be a rounded zero
        self.nfev = 0  # evaluations of fun for the dense output

    def begin(self, t: float, y: Array) -> None:
        """A solve begins at (t, y)."""
        self.values = [self._value(i, t, y) for i in range(len(self.events))]
        self.ended = None

    def look(
        self, moment: int, t: float, h: float, y: Array, t_new: float, y_new: Array, K: Array, evaluated: int
    ) -> bool:
        """An accepted step, as a watcher gets it: whether the solve ends within it."""
        step = _Step(self, t, h, y, t_new, y_new, K, self.tableau.extra > 0 and evaluated != rk.SLOPES["all"])
        found = [(step.theta_of(root), i, root) for i in range(len(self.events)) for root in step.roots(i)]
        self.zero_counts, self.noise = False, {}
        for _, i, root in sorted(found):
            state = step.state_at(root)
            self.times[i].append(root)
            self.states[i].append(state)
            event = self.events[i]
            if len(self.times[i]) >= event.terminal or event.reset is not None:
                self.ended = (i, root, state)
                self.noise = {i: step.noise(i, root)}
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
        self.ends = [of._value(i, t_new, y_new) for i in indices]
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
            return self.y + weighted_sum(self.K, self.of.cubic @ theta ** np.arange(1.0, 4.0), self.h)
        return dense_output(self.y, self.K, self.h, self.of.tableau, theta, self.of.split)

    def theta_of(self, t: float) -> float:
        return 1.0 if t == self.t_new else (t - self.t) / self.h

    def state_at(self, t: float) -> Array:
        return self.state(self.theta_of(t))

    def _samples(self, i: int) -> list[Sample]:
        """(theta, value) of event i, in order, the step's ends included."""
        samples = [self._start(i), *((theta, self._at(i, theta)) for theta in WITHIN), (1.0, self.ends[i])]
        for _ in range(ROUNDS):
            triples = zip(samples, samples[1:], samples[2:], strict=False)
            turning = {theta for theta in itertools.starmap(_turning_point, triples) if theta is not None}
            samples = sorted([*samples, *((theta, self._at(i, theta)) for theta in turning)])
        return samples

    def _start(self, i: int) -> Sample:
        """The first sample of event i; where it has just been reset to a rounded zero, the first one that is not."""
        theta, value, noise = 0.0, self.of.values[i], self.of.noise.get(i, -1.0)
        while abs(value) <= noise and theta < WITHIN[0] / 8:
            theta = 8.0 * theta or SOON
            value = self._at(i, theta)
        return theta, value

    def noise(self, i: int, root: float) -> float:
        """How far from zero rounding may leave event i where it is zero: at its root, and of its values about it."""
        left = abs(self.of._value(i, root, self.state_at(root)))
        return 8.0 * (left + EPS * max(abs(value) for _, value in self.samples[i]))

    def _at(self, i: int, theta: float) -> float:
        return self.of._value(i, self.t + theta * self.h, self.state(theta))

    def _crossings(self, i: int) -> list[tuple[Sample, Sample]]:
        """Neighbouring samples of event i between which it passes through zero, or gets there, in its direction."""
        direction, found = self.of.events[i].direction, []
        for k, (a, b) in enumerate(itertools.pairwise(self.samples[i])):
            begins = k == 0 and self.of.zero_counts and a[1] == 0.0
            up = b[1] > 0.0 if begins else a[1] < 0.0 <= b[1]
            down = b[1] < 0.0 if begins else a[1] > 0.0 >= b[1]
            if (up and direction >= 0) or (down and direction <= 0):
                found.append((a, b))
        return found

    def roots(self, i: int) -> list[float]:
        """The times of event i in the step."""
        return [self._root(i, a, b) for a, b in self._crossings(i)]

    def _root(self, i: int, a: Sample, b: Sample) -> float:
        """That between two samples."""
        times = [self.t_new if theta == 1.0 else self.t + theta * self.h for theta, _ in (a, b)]
        return float(bracketed_root(lambda t: self.of._value(i, t, self.state_at(t)), *times, a[1], b[1]))


def _turning_point(a: Sample, b: Sample, c: Sample) -> float | None:
    """Where the parabola through three points of one sign turns round towards zero, if that is among them."""
    (x0, f0), (x1, f1), (x2, f2) = a, b, c
    if min(f0, f1, f2) <= 0.0 <= max(f0, f1, f2):
        return None
    left, right = (f1 - f0) / (x1 - x0), (f2 - f1) / (x2 - x1)
    if not (right - left) * f1 > 0.0:  # it turns away from zero, or is a line
        return None
    theta = 0.5 * (x0 + x1) - 0.5 * left * (x2 - x0) / (right - left)
    return theta if x0 < theta < x2 and theta != x1 else None
