"""Several series in one batch: their times on one union grid, with a mask; and spirals to learn from.

Time comes first, as in what `odeint` returns: values (T, N, d) and mask (T, N) of N series at T times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import whole_number
from .poisson import checked_events

__all__ = ["Spirals", "checked_series", "events_on_grid", "gaps", "rmse", "spirals", "union_grid"]

TOTAL, STEP, SLOPE = 500, 6.0 * np.pi / 499, 0.3  # a whole spiral: its points, the angle between two, radius / angle


def union_grid(times: Sequence[Any], values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series seen each at its own times, as one batch: ``(t (T,), x (T, N, d), mask (T, N))``.

    times[i] (n_i,), strictly increasing, and values[i] (n_i, d). t holds every time that occurs; mask is 1.0 where a
    series was seen and else 0.0, as x is there. ValueError, naming the series, for times or values that do not fit.

    >>> t, x, mask = union_grid([[0.0, 2.0], [1.0]], [[[5.0], [6.0]], [[7.0]]])
    >>> t.tolist(), mask.T.tolist()
    ([0.0, 1.0, 2.0], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    """
    if len(times) != len(values) or len(times) == 0:
        raise ValueError(f"union_grid: one array of values for each of times, got {len(values)} and {len(times)}")
    series = [_one(i, *pair) for i, pair in enumerate(zip(times, values, strict=True))]
    widths = {x.shape[1] for _, x in series}
    if len(widths) > 1:
        raise ValueError(f"union_grid: all values must have as many columns, got {sorted(widths)}")
    t = np.unique(np.concatenate([own for own, _ in series]))
    x, mask = np.zeros((len(t), len(series), *widths)), np.zeros((len(t), len(series)))
    for i, (own, seen) in enumerate(series):
        rows = np.searchsorted(t, own)
        x[rows, i], mask[rows, i] = seen, 1.0
    return t, x, mask


def _one(i: int, times: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Series i, checked."""
    t, x = np.asarray(times), np.asarray(values)
    for name, array in (("times", t), ("values", x)):
        if array.dtype.kind not in "iufb" and array.size:
            hint = ": subtract a start and divide by a unit, (t - t0) / np.timedelta64(1, 'h')"
            hint = hint if array.dtype.kind in "mM" else ""
            raise TypeError(f"union_grid: {name} of series {i} must be real numbers, got {array.dtype}{hint}")
    t, x = t.astype(float), x.astype(float)
    if t.ndim != 1 or x.shape[:1] != t.shape or x.ndim != 2:
        hint = "; for one component give values[:, None]" if x.ndim == 1 and x.shape == t.shape else ""
        raise ValueError(
            f"union_grid: series {i} must have times (n,) and values (n, d), got {t.shape} and {x.shape}{hint}"
        )
    if len(t) == 0:
        raise ValueError(f"union_grid: series {i} is empty; leave it out")
    for name, bad in (("time", ~np.isfinite(t)), ("value", ~np.all(np.isfinite(x), axis=1))):
        if np.any(bad):
            k = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"union_grid: series {i} has a {name} that is not finite, at {k}: {(t, x)[name != 'time'][k]}"
            )
    late = np.flatnonzero(np.diff(t) <= 0)
    if len(late):
        raise ValueError(
            f"union_grid: series {i} must have increasing times, but {t[late[0]]} comes before {t[late[0] + 1]}"
        )
    return t, x


def events_on_grid(
    t: Any, x: Any, mask: Any, events: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A batch as `union_grid` makes it, its grid made to hold events too: ``(t, x, mask, counts (T, N))``.

    t (T,), x (T, N, d), mask (T, N) or None for ones: checked as `LatentODE` does.
    events[i] (K_i,), in order, are those of series i. ValueError, naming series and event, for any that are not finite,
    out of order, negative though t[0] is not, or outside of [t[0], t[-1]].
    """
    t, x = np.asarray(t, float), np.asarray(x)
    if t.ndim != 1 or x.ndim != 3:
        raise ValueError(f"events_on_grid: t must be (T,) and x (T, N, d), got {t.shape} and {x.shape}")
    x, mask = checked_series("events_on_grid", x.shape[2], t, x, mask, x.dtype if x.dtype.kind == "f" else float)
    if len(events) != mask.shape[1]:
        raise ValueError(f"events_on_grid: one array of events for each of {mask.shape[1]} series, got {len(events)}")
    own = [checked_events(each, (t[0], t[-1]), f"series {i}: event") for i, each in enumerate(events)]
    grid = np.unique(np.concatenate([t, *own]))
    rows, shape = np.searchsorted(grid, t), (len(grid), *mask.shape[1:])
    wider, seen, counts = np.zeros((*shape, x.shape[2]), x.dtype), np.zeros(shape), np.zeros(shape)
    wider[rows], seen[rows] = x, mask
    for i, each in enumerate(own):
        np.add.at(counts[:, i], np.searchsorted(grid, each), 1.0)
    return grid, wider, seen, counts


def checked_series(owner: str, d: int, t: Any, x: Any, mask: Any, dtype: Any) -> tuple[Any, Any]:
    """``(x (T, N, d), mask (T, N))`` in dtype, zeros where the mask is 0; mask None stands for ones.

    ValueError for shapes that do not fit, times that do not increase, values seen that are not finite, and for a series
    never seen.
    """
    x = x if hasattr(x, "dtype") else np.asarray(x)
    shape = np.shape(x)
    if len(shape) != 3 or shape[2] != d or shape[0] != len(t):
        raise ValueError(f"{owner}: x must be (T, N, {d}) with T = {len(t)} times, got shape {shape}")
    if shape[0] * shape[1] == 0:
        raise ValueError(f"{owner}: x must hold a series and a time at least, got shape {shape}")
    if isinstance(t, (np.ndarray, list, tuple)):  # traced values cannot be looked at
        _checked_times(owner, np.asarray(t, float))
    mask = np.ones(shape[:2]) if mask is None else mask if hasattr(mask, "dtype") else np.asarray(mask)
    if np.shape(mask) != shape[:2]:
        raise ValueError(f"{owner}: mask must be (T, N) = {shape[:2]}, got shape {np.shape(mask)}")
    if isinstance(mask, np.ndarray) and isinstance(x, np.ndarray):  # traced values cannot be looked at
        _checked_values(owner, x, mask)
    mask = mask if mask.dtype == dtype else mask.astype(dtype)
    x = x if x.dtype == dtype else x.astype(dtype)
    return np.where(mask[..., None] > 0, x, 0), mask


def _checked_times(owner: str, t: np.ndarray) -> None:
    late = np.flatnonzero(~(np.diff(t) > 0))
    if len(late):
        raise ValueError(f"{owner}: t must increase, but {t[late[0]]} comes before {t[late[0] + 1]}")
    if not np.all(np.isfinite(t)):
        raise ValueError(f"{owner}: t must be finite, got {t[~np.isfinite(t)][0]}")


def _checked_values(owner: str, x: np.ndarray, mask: np.ndarray) -> None:
    if not np.all((mask == 0) | (mask == 1)):
        raise ValueError(f"{owner}: mask must hold 0 and 1 only")
    unseen = np.flatnonzero(~np.any(mask, axis=0))
    if len(unseen):
        raise ValueError(f"{owner}: series {unseen[0]} is nowhere seen")
    bad = np.argwhere((mask > 0) & ~np.all(np.isfinite(x), axis=2))
    if len(bad):
        k, i = bad[0]
        raise ValueError(f"{owner}: x must be finite where the mask is 1; at time {k}, series {i} it is {x[k, i]}")


def gaps(t: Any, mask: Any) -> tuple[Any, Any]:
    """Times since the last sight: ``(before each grid time (T, N), after the last one (N,))``.

    t (T,) may run backward; a gap counts from the last time before that the series was seen at, and is 0 if there was
    none. The second is what is left from the last sight to t[-1].
    """
    since, seen, rows = 0.0 * mask[0], 0.0 * mask[0], []
    for k in range(len(t)):
        if k > 0:
            since = since + seen * np.abs(t[k] - t[k - 1])
        rows.append(since)
        since, seen = since * (1.0 - mask[k]), np.maximum(seen, mask[k])
    return np.stack(rows), since


def rmse(predicted: Any, true: Any) -> float:
    """The root of the mean, over times, series and components, of the squared differences."""
    return float(np.sqrt(np.mean((np.asarray(predicted) - np.asarray(true)) ** 2)))


@dataclass
class Spirals:
    """N spirals as seen in a window, and as they truly go on.

    t (T,) and future (F,) are the times of the window and beyond it. x (T, N, 2) is seen, with noise, where mask
    (T, N) is 1. true (T + F, N, 2) has no noise. clockwise (N,) is boolean.
    """

    t: np.ndarray
    future: np.ndarray
    x: np.ndarray
    mask: np.ndarray
    true: np.ndarray
    clockwise: np.ndarray

    @property
    def beyond(self) -> np.ndarray:
        """The true points (F, N, 2) at the times of `future`."""
        return self.true[len(self.t) :]


def spirals(
    rng: Any, n: int, kept: int = 100, noise: float = 0.3, points: int = 100, starts: tuple[int, int] = (100, 400)
) -> Spirals:
    """n spirals in the plane, every other one clockwise, from different starts (Chen et al. 2018, section 5.1).

    kept:   how many of the `points` of the window each spiral is seen at, at random without replacement.
    noise:  the standard deviation of what is added to each coordinate.
    starts: where windows begin, from the first to below the second.
    rng:    a NumPy Generator or a seed.

    A whole spiral has three turns, 500 points and the radius 0.3 times the angle; the time is the angle from the start
    on, and the clockwise ones are mirrored. As many points as the window has follow it. By default windows start where
    they do in the authors' published example (whose clockwise spirals are hyperbolic, though, and leave the picture
    after the window), and cover the whole spiral but for its first fifth. With starts=(100, 300) what follows is within
    the whole spiral, too: those are the ones to test extrapolation on.
    """
    n, points, kept = (whole_number("spirals", *pair) for pair in (("n", n), ("points", points), ("kept", kept)))
    if kept > points:
        raise ValueError(f"spirals: of {points} points one cannot keep {kept}")
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"spirals: noise must be a non-negative number, got {noise!r}")
    if not 0 <= starts[0] < starts[1] <= TOTAL:
        raise ValueError(f"spirals: starts must be (first, end) within 0 and {TOTAL}, got {starts!r}")
    rng = np.random.default_rng(rng)
    clockwise, t = np.arange(n) % 2 == 1, STEP * np.arange(2 * points)
    theta = STEP * rng.integers(*starts, n) + t[:, None]  # (2 points, n)
    radius, sign = SLOPE * theta, np.where(clockwise, -1.0, 1.0)
    true = np.stack([radius * np.cos(theta), sign * radius * np.sin(theta)], axis=-1)
    order = np.argsort(rng.random((points, n)), axis=0)  # each column a permutation of the times
    mask = (order < kept).astype(float)
    seen = true[:points] + noise * rng.standard_normal((points, n, 2))
    return Spirals(t[:points], t[points:], seen * mask[..., None], mask, true, clockwise)
