"""Times that one solve does not take as they are: repeated ones, and jumps of func from which a new solve goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .autodiff import tree
from .autodiff.node import Node, concrete, lift
from .program.trace import TraceError, is_recorded
from .solvers import Stats

__all__ = ["across_jumps", "distinct", "expanded", "times_within"]

# ``solve(y, t, options) -> (outputs, Stats)``: one solve from y at the times t. What a callback raises has `partial`,
# the outputs until then and the time reached.
Solver = Callable[[Any, Any, dict], tuple[Any, Stats]]


def distinct(t: Any) -> tuple[Any, np.ndarray | None]:
    """t without repetitions, and the place there of each of its times; None if there are no repetitions."""
    try:
        values = np.asarray(concrete(lift(t)))
    except ValueError:  # a ragged list
        return t, None
    if values.ndim != 1 or values.dtype.kind not in "fiu" or len(values) < 2:
        return t, None  # checked_times says what is wrong
    new = np.append(True, values[1:] != values[:-1])
    if new.all() or new.sum() == 1:
        return t, None
    if is_recorded(t):
        raise TraceError("which times are repeated is a matter of values; a graph of odeint is for times that differ")
    return (t if hasattr(t, "dtype") else np.asarray(t, float))[np.flatnonzero(new)], np.cumsum(new) - 1


def expanded(out: Any, rows: np.ndarray | None) -> Any:
    """Outputs at distinct times as those at all times; of a solve that ended early those that there are."""
    if rows is None:
        return out
    there = len(tree.flatten(out)[0][0])
    return tree.map(lambda ys: ys[rows[rows < there]], out)


def times_within(name: str, times: Any, t: Any) -> Any:
    """Times (k,) strictly within t's span, in t's order, traced if they were; ValueError for any that is not."""
    times = lift(times)
    if type(times) is not Node:
        times = np.asarray(times, float)
    times = np.reshape(times, (-1,))
    values, (found, places) = np.asarray(concrete(t)), np.unique(concrete(times), return_index=True)
    low, high = min(values[0], values[-1]), max(values[0], values[-1])
    outside = found[~((found >= low) & (found <= high))]
    if len(outside):
        raise ValueError(f"{name} must lie within t, from {low} to {high}, got {outside[0]}")
    inside = places[(found > low) & (found < high)]
    return times[inside if values[-1] > values[0] else inside[::-1]]


def _between(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Those strictly between, in the order from start to end."""
    inside = np.sort(times[(times > min(start, end)) & (times < max(start, end))])
    return inside if end > start else inside[::-1]


@dataclass
class _Progress:
    """What the solves so far came to: outputs (a tree for each, time first), the state, what they took."""

    outputs: list[Any]
    y: Any
    stats: Stats = field(default_factory=Stats)

    def stay(self, n: int) -> None:
        """n outputs of the state as it is."""
        if n:
            self.outputs.append(tree.map(lambda x: np.stack([x] * n), self.y))

    def add(self, ys: Any, stats: Stats, n: int) -> None:
        """A further solve, of whose outputs n from the second on were asked for."""
        if n:
            self.outputs.append(_from_second(ys, n))
        self.y = tree.map(lambda x: x[-1], ys)
        for name in ("nfev", "naccepted", "nrejected"):
            setattr(self.stats, name, getattr(self.stats, name) + getattr(stats, name))
        self.stats.stopped_at = stats.stopped_at

    @property
    def recorded(self) -> bool:
        """Whether the state is a value of a graph that is being traced: then counts are those of one call."""
        return any(is_recorded(leaf) for leaf in tree.flatten(self.y)[0])

    def together(self, *more: Any) -> Any:
        """All outputs."""
        return tree.map(lambda *parts: np.concatenate(parts), *self.outputs, *more)


def _from_second(ys: Any, n: int) -> Any:
    return tree.map(lambda x: x[1 : 1 + n], ys)


def across_jumps(solve: Solver, y0: Any, t: Any, jumps: Any, options: dict) -> tuple[Any, Stats]:
    """``solve`` from jump to jump: just before one it ends, just after it it begins, so that func is not asked there.

    y0 and t are checked, jumps (k,) strictly within t. A first_step is for the first solve; max_num_steps and
    max_seconds hold for all of them together. Where jumps are traced, the ends of the solves before and after one move
    with it: the state gains (f before - f after) dt, the saltation.
    """
    values = np.asarray(concrete(t))
    if is_recorded(t) or is_recorded(jumps):
        raise TraceError("on which side of a jump a time lies is a matter of values; a graph needs fixed times")
    sign, began = (1.0 if values[-1] > values[0] else -1.0), time.monotonic()
    done = _Progress([tree.map(lambda x: x[None], y0)], y0)
    bounds = np.array([values[0], *concrete(jumps), values[-1]])
    for k in range(len(bounds) - 1):
        first, last = k == 0, k == len(bounds) - 2
        start = bounds[k] if first else np.nextafter(bounds[k], sign * np.inf)
        end = bounds[k + 1] if last else np.nextafter(bounds[k + 1], -sign * np.inf)
        asked = np.flatnonzero((sign * (values - bounds[k]) > 0) & (sign * (values - bounds[k + 1]) <= 0))
        inside = asked[sign * (values[asked] - end) < 0]
        if not sign * (end - start) > 0:  # jumps that are next to each other, or to an end
            done.stay(len(asked))
            continue
        ends = [
            t[:1] if first else jumps[k - 1 : k] + (start - bounds[k]),
            t[inside],
            t[-1:] if last else jumps[k : k + 1] + (end - bounds[k + 1]),
        ]
        limited = _limits(options, k, done.stats, time.monotonic() - began, (start, end), done.recorded)
        try:
            ys, stats = solve(done.y, np.concatenate(ends), limited)
        except BaseException as error:
            if hasattr(error, "partial"):
                error.partial = (done.together(_from_second(error.partial[0], len(asked))), error.partial[1])
            raise
        if len(asked) and not last and values[asked[-1]] == bounds[k + 1] and type(jumps) is Node:
            # the state moves with the jump; an output at its time is one before it, which does not
            there = t[asked[-1:]] + (end - bounds[k + 1])
            still = solve(done.y, np.concatenate([*ends[:2], there]), limited)[0]
            done.outputs += [_from_second(ys, len(asked) - 1), tree.map(lambda y: y[-1:], still)]
            asked = asked[:0]
        done.add(ys, stats, len(asked))
        if stats.stopped_at is not None:
            break
    return done.together(), done.stats


def _limits(
    options: dict, k: int, stats: Stats, seconds: float, span: tuple[float, float], recorded: bool
) -> dict:  # fmt: skip
    """The options of solve number k: what is left of the limits, and the times within its span."""
    options = dict(options)
    if k > 0:
        options.pop("first_step", None)
        if "max_seconds" in options:
            options["max_seconds"] = max(options["max_seconds"] - seconds, 1e-9)
        if "max_num_steps" in options and not recorded:
            options["max_num_steps"] = max(options["max_num_steps"] - stats.naccepted - stats.nrejected, 1)
    if "step_t" in options:
        options["step_t"] = _between(np.asarray(options["step_t"]), *span)
    return options
