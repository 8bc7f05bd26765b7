"""Poisson processes whose intensity follows an ODE (Chen et al. 2018, section 5.2).

    log p(t_1, .., t_K) = sum_i log lambda(z(t_i)) - integral of lambda(z(t)) dt

The integral is one more state of the solve that gives z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import whole_number
from ..nn import MLP, Layer
from ..options import checked_options
from ..program import compile
from ..solve import odeint
from .params import like_init

__all__ = ["PoissonProcess", "checked_events", "draw_events", "event_log_likelihood", "with_integral"]

LENGTH = 5.0  # of the window, in the time of the learned field: whatever unit t has, a fresh field moves z likewise


def with_integral(dynamics: Callable, log_rate: Callable) -> Callable:
    """``func(t, (z, integral), *args)``: dynamics(t, z, *args) for z, and lambda = exp(log_rate(z, *args)) beside it.

    z (..., latent) and integral (...).
    """

    def joint(t: Any, state: tuple, *args: Any) -> tuple[Any, Any]:
        z, _ = state
        return dynamics(t, z, *args), np.exp(log_rate(z, *args))

    return joint


def event_log_likelihood(log_rates: Any, counts: Any, integral: Any) -> Any:
    """sum over times of counts log lambda, less the integral of lambda: (T, ...), (T, ...), (...) -> (...)."""
    return np.sum(counts * log_rates, axis=0) - integral


def checked_events(events: Any, span: tuple[float, float], name: str = "event") -> np.ndarray:
    """events (K,), which must be finite, in order and within span; simultaneous ones may be. ValueError names them."""
    events = np.asarray(events)
    if events.ndim != 1 or events.dtype.kind not in "iuf":
        raise ValueError(f"{name}s must be one array (K,) of real numbers, got {events.dtype} {events.shape}")
    events, (start, end) = events.astype(float), span
    wrong = [
        ("not a finite number", ~np.isfinite(events)),
        ("negative", (events < 0) & (start >= 0)),
        (f"outside of the window [{start:g}, {end:g}]", (events < start) | (events > end)),
    ]
    for what, bad in wrong:
        if np.any(bad):
            k = np.flatnonzero(bad)
            raise ValueError(f"{name} {k[0]} is {what}: {events[k[0]]:g}{_others(len(k) - 1)}")
    late = np.flatnonzero(np.diff(events) < 0)
    if len(late):
        k = late[0]
        raise ValueError(
            f"{name}s are out of order: {name} {k} is {events[k]:g}, {name} {k + 1} is {events[k + 1]:g}"
            f"{_others(len(late) - 1)}; sort them"
        )
    return events


def _others(n: int) -> str:
    return f" (and {n} more)" if n else ""


class PoissonProcess:
    """Events in a window, with log lambda = log_rate(z(t)) and dz/dt = field(t, z) from a learned z(start).

    span:     (start, end) of the window.
    latent, hidden: of z, and of the one hidden layer of both nets.
    field:    ``field(params, t, z)``, (latent,) -> (latent,), or a Layer of z; by default an MLP, with time counted so
              that the window has the length 5.
    log_rate: ``log_rate(params, z)``, (..., latent) -> (...); by default an MLP.
    start:    z(start) (latent,), if it is not to be learned.
    Further keywords go to `odeint`; gradient is "adjoint" unless given.

    >>> process = PoissonProcess((0.0, 10.0))
    >>> params = process.init(0, rate=3.0)
    >>> process.log_prob(params, [0.5, 2.0, 7.25]).shape, process.intensity(params, [0.0, 5.0]).shape
    ((), (2,))
    """

    def __init__(
        self,
        span: Sequence[float],
        *,
        latent: int = 2,
        hidden: int = 20,
        field: Callable | None = None,
        log_rate: Callable | None = None,
        start: Any = None,
        gradient: str = "adjoint",
        **keywords: Any,
    ) -> None:
        self.span = _checked_span(span)
        self.latent, hidden = (
            whole_number("PoissonProcess", "latent", latent),
            whole_number("PoissonProcess", "hidden", hidden),
        )
        self.scale = LENGTH / (self.span[1] - self.span[0]) if field is None else 1.0
        self.field = MLP([latent, hidden, latent]) if field is None else field
        self.log_rate = MLP([latent, hidden, 1]) if log_rate is None else log_rate
        self.start = None if start is None else np.asarray(start, float)
        if start is not None and (self.start.shape != (self.latent,) or not np.all(np.isfinite(self.start))):
            wanted = f"an array ({self.latent},) of finite numbers, as latent is {self.latent}"
            raise ValueError(f"PoissonProcess: start must be {wanted}, got {start!r}")
        self.keywords = checked_options("PoissonProcess", {"gradient": gradient, **keywords})
        self._joint = compile(with_integral(self._dynamics, self._log_rate))  # keeps its Programs

    def init(self, rng: Any, rate: float = 1.0) -> dict[str, Any]:
        """``{"start": (latent,), "field": ..., "rate": ...}``; a net's intensity begins near `rate`, events a time."""
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"PoissonProcess: rate must be a positive number, got {rate!r}")
        rng = np.random.default_rng(rng)
        field, log_rate = (part.init(rng) if hasattr(part, "init") else {} for part in (self.field, self.log_rate))
        if type(self.log_rate) is MLP:
            log_rate[-1]["b"] = log_rate[-1]["b"] + math.log(rate)
        return {"start": rng.standard_normal(self.latent), "field": field, "rate": log_rate}

    def log_prob(self, params: Any, events: Any) -> Any:
        """The log-likelihood, a number, of one set of events (K,) in the window.

        ValueError names events that are out of order, not finite, negative or outside of the window.
        """
        return self.log_prob_on(params, *self.grid(events))

    def grid(self, events: Any) -> tuple[np.ndarray, np.ndarray]:
        """The window's ends and the events, each time once: times (T,), and how many events there are at each."""
        events = checked_events(events, self.span)
        t, counts = np.unique(np.concatenate([self.span, events]), return_counts=True)
        return t, counts - np.isin(t, self.span).astype(float)

    def log_prob_on(self, params: Any, t: Any, counts: Any) -> Any:
        """The same with events as `grid` gives them: for `nc.compile`, and for sums over several sets of events."""
        z, integral = self._solve(params, t)
        return event_log_likelihood(self._log_rate(z, params), counts, integral[-1])

    def intensity(self, params: Any, t: Any) -> Any:
        """lambda at times t (T,) of the window, in order."""
        grid, rows = self._times(t)
        return np.exp(self._log_rate(self._solve(params, grid)[0][rows], params))

    def integral(self, params: Any, t: Any) -> Any:
        """The integral of lambda from the start of the window to each of the times t (T,), in order."""
        grid, rows = self._times(t)
        return self._solve(params, grid)[1][rows]

    def _times(self, t: Any) -> tuple[np.ndarray, np.ndarray]:
        """A grid over the window that holds t, and where."""
        t = checked_events(t, self.span, "time")
        grid = np.unique(np.concatenate([self.span, t]))
        return grid, np.searchsorted(grid, t)

    def _solve(self, params: Any, t: Any) -> tuple[Any, Any]:
        """z (T, latent) and the integral (T,), from t[0], which is the start of the window."""
        if all(hasattr(part, "init") for part in (self.field, self.log_rate)):  # else the user's own
            like_init("PoissonProcess", self, params)
        start = params["start"] if self.start is None else self.start
        return odeint(self._joint, (start, np.zeros(())), t, args=(params,), **self.keywords)

    def _dynamics(self, t: Any, z: Any, params: Any) -> Any:
        if isinstance(self.field, Layer):
            return self.scale * self.field(params["field"], z)
        return self.field(params["field"], t, z)

    def _log_rate(self, z: Any, params: Any) -> Any:
        if isinstance(self.log_rate, Layer):
            return self.log_rate(params["rate"], z)[..., 0]
        return self.log_rate(params["rate"], z)

    def __repr__(self) -> str:
        return f"PoissonProcess({self.span}, latent={self.latent})"


def draw_events(rng: Any, intensity: Callable, span: Sequence[float], most: float) -> np.ndarray:
    """Events (K,) of a process of intensity(t) <= most, (n,) -> (n,), by thinning (Lewis and Shedler 1979).

    ValueError where the intensity is found above `most` or below 0. rng is a NumPy Generator or a seed.
    """
    rng, (start, end) = np.random.default_rng(rng), _checked_span(span)
    if not (math.isfinite(most) and most >= 0):
        raise ValueError(f"draw_events: most must be a finite rate of at least 0, got {most!r}")
    t = np.sort(rng.uniform(start, end, rng.poisson(most * (end - start))))
    rates = np.asarray(intensity(t), float)
    allowed = (rates >= 0) & (rates <= most)
    if not np.all(allowed):
        bad = np.flatnonzero(~allowed)[0]
        raise ValueError(
            f"draw_events: the intensity must lie within 0 and {most:g}, at t = {t[bad]:g} it is {rates[bad]:g}"
        )
    return t[rng.uniform(0.0, most, len(t)) < rates]


def _checked_span(span: Any) -> tuple[float, float]:
    try:
        start, end = (float(t) for t in span)
    except (TypeError, ValueError):
        raise ValueError(f"span must be (start, end) of the window, got {span!r}") from None
    if not (math.isfinite(start) and math.isfinite(end)) or start >= end:
        raise ValueError(f"span must be two finite times, the first before the second, got {span!r}")
    return start, end
