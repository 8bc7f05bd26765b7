"""Training a model of this package; it stops at the first value that is not finite."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autodiff import tree, value_and_grad
from ..checks import whole_number
from ..optim import LBFGS, Adam, AdamW
from ..program import compile
from ..solvers import SolverError
from .flow import Flow, dtype_of
from .params import described, like_init
from .poisson import PoissonProcess
from .series import checked_series

__all__ = ["Trained", "descend", "fit_events", "fit_likelihood", "fit_series", "match_density"]

LONG = 1e4  # times that are no longer of order one: seconds of a day, days of a life
Callback = Callable[[int, float, Any], Any]


@dataclass
class Trained:
    """What a training came to.

    params:  those after the last step; where it was stopped by a value that is not finite, the last good ones.
    losses:  one for every step that succeeded.
    stopped: None, or why it ended before its last step.
    state:   the optimiser's; given to the next call, the training goes on as if it had not been interrupted (if that
             call is also given the same Generator).
    good:    (params, state) of the last step whose loss and gradient were finite, before what it changed; None if there
             was none. Where the callback stopped, nobody has looked at the loss of `params` yet.
    """

    params: Any
    losses: list[float] = field(default_factory=list)
    stopped: str | None = None
    state: Any = None
    good: tuple[Any, Any] | None = None


def match_density(
    flow: Flow,
    params: Any,
    log_target: Callable,
    *,
    steps: int = 1000,
    samples: int = 512,
    optimizer: Any = None,
    rng: Any = 0,
    state: Any = None,
    callback: Callback | None = None,
) -> Trained:
    """Minimise KL(q || p) = E_q[log q - log p] over draws of the flow; p may lack its normalisation.

    log_target: (N, d) -> (N,), differentiable. samples: new draws a step. optimizer: Adam(1e-3) by default.
    callback:   ``callback(step, loss, params)`` after every step, which counts from 1; a true answer stops.
    state:      of the optimiser, to go on with an earlier training (`Trained.state`).
    Without the normalisation the loss is KL less its logarithm; see `densities.log_normalizer`.
    Raises ValueError if log_target gives another shape than (N,).
    """
    samples, rng = whole_number("match_density", "samples", samples), np.random.default_rng(rng)
    dtype, steps = dtype_of(like_init("match_density", flow, params)), whole_number("match_density", "steps", steps)

    def loss(params: Any, z: Any, noise: Any) -> Any:
        x, log_q = flow.to_data(params, z, noise)
        log_p = log_target(x)
        if np.shape(log_p) != np.shape(log_q):
            wanted = f"{np.shape(x)} to {np.shape(log_q)}, one number a point"
            raise ValueError(f"match_density: log_target must take {wanted}, got shape {np.shape(log_p)}")
        return np.mean(log_q - log_p)

    def draws() -> Iterator[tuple]:
        while True:
            yield flow.base(rng, samples, dtype), flow.noise(rng, samples, dtype)

    return descend(loss, params, draws(), steps=steps, optimizer=optimizer, state=state, callback=callback)


def fit_likelihood(
    flow: Flow,
    params: Any,
    data: Any,
    *,
    steps: int = 1000,
    batch: int | None = 512,
    optimizer: Any = None,
    rng: Any = 0,
    state: Any = None,
    callback: Callback | None = None,
) -> Trained:
    """Maximise the likelihood of data: minimise the mean of -log q(x).

    data:     (n, d), of which each step takes `batch` rows at random (all, if None or more than there are); or a
              function ``data(rng, batch)`` that makes new ones.
    callback: ``callback(step, loss, params)`` after every step, which counts from 1; a true answer stops.
    state:    of the optimiser, to go on with an earlier training (`Trained.state`).
    Raises ValueError for data of another shape, or with values that are not finite.
    """
    rng, dtype = np.random.default_rng(rng), dtype_of(like_init("fit_likelihood", flow, params))
    steps = whole_number("fit_likelihood", "steps", steps)
    rows = _checked_maker(flow, data) if callable(data) else _sampler(_checked_data(flow, data))
    batch = whole_number("fit_likelihood", "batch", batch) if batch is not None else len(_given(data))

    def loss(params: Any, x: Any, noise: Any) -> Any:
        return -np.mean(flow.log_prob(params, x, noise))

    def batches() -> Iterator[tuple]:
        while True:
            x = np.asarray(rows(rng, batch), dtype)
            yield x, flow.noise(rng, len(x), dtype)

    return descend(loss, params, batches(), steps=steps, optimizer=optimizer, state=state, callback=callback)


def fit_series(
    model: Any,
    params: Any,
    t: Any,
    x: Any,
    mask: Any = None,
    *,
    events: Any = None,
    steps: int = 1000,
    batch: int | None = None,
    optimizer: Any = None,
    max_norm: float = 100.0,
    rng: Any = 0,
    state: Any = None,
    callback: Callback | None = None,
) -> Trained:
    """Minimise ``model.loss`` over series: minus the ELBO of a `LatentODE`, the squared error of an `RNNPredictor`.

    t (T,), x (T, N, d), mask (T, N) or None: see `union_grid`. events: counts (T, N) as `events_on_grid` makes them,
    for a LatentODE(..., events=True). batch: series a step, at random (all, if None).
    optimizer: Adam(1e-2) by default; callback and state as in `fit_likelihood`. max_norm: a larger gradient is scaled
    down to it, without which one step out of thousands can undo what a recurrent net has learned.
    """
    t, rng, dtype = np.asarray(t, float), np.random.default_rng(rng), dtype_of(like_init("fit_series", model, params))
    x, mask = checked_series("fit_series", model.d, t, x, mask, dtype)
    steps = whole_number("fit_series", "steps", steps)
    if t[-1] - t[0] > LONG:
        message = f"the series span {t[-1] - t[0]:.3g} units of time, of which a net's slope is one; rescale t"
        warnings.warn(f"fit_series: {message}", RuntimeWarning, stacklevel=2)
    n = x.shape[1]
    batch = n if batch is None else min(n, whole_number("fit_series", "batch", batch))

    counts = [] if events is None else [_checked_counts(model, events, mask.shape).astype(dtype)]
    if events is None and getattr(model, "events", False):
        raise ValueError("fit_series: LatentODE(..., events=True) learns its intensity from events; give events=counts")

    def loss(params: Any, x: Any, mask: Any, noise: Any, *counts: Any) -> Any:
        return model.loss(params, t, x, mask, noise, *counts)

    def batches() -> Iterator[tuple]:
        while True:
            some = slice(None) if batch == n else rng.choice(n, batch, replace=False)
            yield x[:, some], mask[:, some], model.noise(rng, batch, dtype), *(each[:, some] for each in counts)

    optimizer = Adam(1e-2) if optimizer is None else optimizer
    more = {"optimizer": optimizer, "state": state, "callback": callback, "max_norm": max_norm}
    return descend(loss, params, batches(), steps=steps, **more)


def fit_events(
    process: PoissonProcess,
    params: Any,
    events: Any,
    *,
    steps: int = 500,
    optimizer: Any = None,
    state: Any = None,
    callback: Callback | None = None,
) -> Trained:
    """Maximise the likelihood of events (K,) in the process's window: minimise -log p / K.

    optimizer: by default Adam(0.02) for two fifths of the steps, until the shape is there, and then AdamW with weight
               decay 0.3 and a falling rate, which smooths it: a net without decay comes to follow single events.
    callback and state as in `fit_likelihood`. ValueError names events that are out of order, not finite, negative or
    outside of the window.
    """
    t, counts = process.grid(events)
    steps = whole_number("fit_events", "steps", steps)

    def loss(params: Any) -> Any:
        return -process.log_prob_on(params, t, counts) / max(len(events), 1)

    optimizer = ThenDecay(steps) if optimizer is None else optimizer
    return descend(loss, params, itertools.repeat(()), steps=steps, optimizer=optimizer, state=state, callback=callback)


class ThenDecay:
    """Adam, and from two fifths of the steps on AdamW, whose rate falls to 0 over the last two fifths."""

    def __init__(self, steps: int) -> None:
        self.first, self.alone = Adam(0.02), 2 * steps // 5
        self.second = AdamW(lambda step: 0.02 * min(1.0, 2.5 * max(steps + 1 - step, 0) / steps), weight_decay=0.3)
        self.init = self.first.init

    def update(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        optimizer = self.first if state["step"] < self.alone else self.second
        return optimizer.update(params, grads, state)


def descend(
    loss: Callable,
    params: Any,
    inputs: Iterator[tuple],
    *,
    steps: int,
    optimizer: Any = None,
    state: Any = None,
    callback: Callback | None = None,
    max_norm: float = math.inf,
    step_of: Callable | None = None,
) -> Trained:
    """Steps of an optimiser down ``loss(params, *next(inputs))``, compiled.

    A gradient of a larger Euclidean norm than max_norm is scaled down to it (Pascanu et al. 2013).
    step_of: ``compile(value_and_grad(loss))`` of an earlier call, whose Programs serve again.
    A step whose loss or gradient is not finite, or whose solve fails, is not taken: the training ends with the last
    parameters that had finite ones, a RuntimeWarning, and the step and the norms in `stopped`.
    """
    steps = whole_number("descend", "steps", steps)
    optimizer = _checked_optimizer(Adam(1e-3) if optimizer is None else optimizer)
    state = optimizer.init(params) if state is None else _checked_state(optimizer, params, state)
    step_of = compile(value_and_grad(loss)) if step_of is None else step_of
    start, good, losses, first = (params, state), None, [], state["step"] + 1
    for step in range(first, first + steps):
        value, grads, failure = _attempted(step_of, params, next(inputs))
        if failure is not None:
            which = f"Those of step {step - 1} are kept." if losses else "They have not had a finite loss."
            stopped = f"step {step}: {failure}; the parameters' norm is {_norm(params):.3g}. {which}"
            warnings.warn(f"the training stopped at {stopped}", RuntimeWarning, stacklevel=3)
            kept, its_state = good or start
            return Trained(kept, losses, stopped, its_state, good)
        good = params, state
        losses.append(value)
        params, state = optimizer.update(params, _clipped(grads, max_norm), state)
        if callback is not None and callback(step, value, params):
            return Trained(params, losses, f"step {step}: the callback asked for it", state, good)
    return Trained(params, losses, None, state, good)


def _checked_optimizer(optimizer: Any) -> Any:
    if isinstance(optimizer, type) or not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        hint = f"; make one: {optimizer.__name__}()" if isinstance(optimizer, type) else ""
        if isinstance(optimizer, LBFGS):
            hint = "; LBFGS minimises a function itself, by its method minimize"
        raise TypeError(
            f"optimizer must have init(params) and update(params, grads, state), as optim.Adam(1e-3) has, "
            f"got {optimizer!r}{hint}"
        )
    return optimizer


def _checked_state(optimizer: Any, params: Any, state: Any) -> Any:
    if not isinstance(state, dict) or described(state) != described(optimizer.init(params)):
        told = type(state).__name__ if not isinstance(state, dict) else f"one of {', '.join(map(str, state))}"
        raise ValueError(
            f"state must be what {type(optimizer).__name__} keeps for these params (the .state of a training with it), "
            f"got {told}"
        )
    return state


def _attempted(step_of: Callable, params: Any, inputs: tuple) -> tuple[float, Any, str | None]:
    """(loss, gradients, None), or what is wrong in the third place."""
    try:
        with np.errstate(all="ignore"):  # what NumPy would warn of is looked for here
            value, grads = step_of(params, *inputs)
    except SolverError as error:
        return math.nan, None, f"the solve failed ({error.reason} at t = {error.t:.6g})"
    value, norm = float(value), _norm(grads)
    if math.isfinite(value) and math.isfinite(norm):
        return value, grads, None
    return value, grads, f"the loss is {value:.6g} and the gradient's norm {norm:.3g}"


def _clipped(grads: Any, max_norm: float) -> Any:
    """The gradients, scaled down to max_norm if theirs is larger."""
    if max_norm == math.inf or (norm := _norm(grads)) <= max_norm:
        return grads
    return tree.map(lambda g: (max_norm / norm * g).astype(g.dtype), grads)


def _norm(trees: Any) -> float:
    """The Euclidean norm of all floating leaves."""
    leaves = [np.asarray(x, float) for x in tree.flatten(trees)[0] if tree.is_floating(x)]
    with np.errstate(over="ignore"):
        return math.sqrt(sum(float(np.sum(x * x)) for x in leaves))


def _given(data: Any) -> Any:
    if callable(data):
        raise ValueError("fit_likelihood: with a function that makes data, batch must be an int, got None")
    return data


def _checked_counts(model: Any, events: Any, shape: tuple) -> np.ndarray:
    events = np.asarray(events)
    if not hasattr(model, "log_intensity"):
        raise TypeError(f"fit_series: {type(model).__name__} has no events; they are for a LatentODE(..., events=True)")
    if events.shape != shape or events.dtype.kind not in "iuf":
        raise ValueError(f"fit_series: events must be counts of shape {shape}, got {events.dtype} {events.shape}")
    bad = np.argwhere(~((events >= 0) & (events == np.floor(events))))
    if len(bad):
        k, i = bad[0]
        raise ValueError(f"fit_series: events must be counts; at time {k}, series {i} it is {events[k, i]}")
    return events


def _checked_data(flow: Flow, data: Any) -> np.ndarray:
    data = np.asarray(data)
    if data.ndim != 2 or data.shape[1] != flow.d or len(data) == 0:
        raise ValueError(f"fit_likelihood: data must be of shape (n, {flow.d}) with n >= 1, got {data.shape}")
    if data.dtype.kind not in "iuf" or not np.all(np.isfinite(data)):
        bad = np.flatnonzero(~np.all(np.isfinite(data), axis=1)) if data.dtype.kind in "iuf" else []
        where = f"row {bad[0]} is {data[bad[0]]}" if len(bad) else f"dtype {data.dtype}"
        raise ValueError(f"fit_likelihood: data must hold finite real numbers; {where}")
    return data


def _checked_maker(flow: Flow, data: Callable) -> Callable:
    """data with what it makes checked."""
    return lambda rng, n: _checked_data(flow, data(rng, n))


def _sampler(data: np.ndarray) -> Callable:
    """``rows(rng, n)``: n different rows at random, or all of them."""

    def rows(rng: np.random.Generator, n: int) -> np.ndarray:
        return data if n >= len(data) else data[rng.choice(len(data), n, replace=False)]

    return rows
