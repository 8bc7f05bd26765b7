"""The arguments of solve_ivp, checked and as the solvers want them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .options import CALLBACKS, check_names, checked_norm, equal_steps, half_of
from .program.trace import user_stacklevel
from .solvers import Control, Tableau, tableau
from .solvers.events import Event

__all__ = [
    "CONTROLS", "TOLD", "args_of", "callbacks_of", "function_of", "ivp_control", "listed", "method_of", "span_of",
    "state_vector", "times_of", "with_args",
]  # fmt: skip

Array = np.ndarray
SCIPYS = ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA")
TOLD = ("rtol", "atol", "first_step", "max_step")  # SciPy's; its others are for implicit methods
CONTROLS = (
    "max_num_steps", "safety", "min_factor", "max_factor", "norm", "controller", "step_size", "max_order", "min_step",
    "on_min_step", "max_seconds",
)  # fmt: skip
LEAST_RTOL = 100 * float(np.finfo(float).eps)


def method_of(method: Any) -> Tableau:
    """A method by name, SciPy's class of that name, or a Tableau."""
    if isinstance(method, type):  # SciPy's, or one made from it
        own = (c.__name__ for c in method.__mro__ if c.__module__.startswith("scipy.") and c.__name__ in SCIPYS)
        method = next(own, method)
    if isinstance(method, str) and method in ("Radau", "BDF", "LSODA"):
        raise NotImplementedError(f"method {method!r} comes with the stiff solvers; there are RK23, RK45 and DOP853, "
                                  "implicit_adams, and all of nc.methods()")  # fmt: skip
    return tableau(method)


def callbacks_of(options: dict) -> dict[str, Callable]:
    """on_step, on_accept and on_reject, taken out of the options."""
    found = {name: options.pop(name) for name in CALLBACKS if options.get(name) is not None}
    for name, value in found.items():
        if not callable(value):
            raise TypeError(f"{name} must be callable as {name}(t, y, h), got {value!r}")
    return found


def span_of(t_span: Any) -> tuple[float, float]:
    """(start, end) as floats, the first finite."""
    try:
        start, end = map(float, t_span)
    except (TypeError, ValueError):
        raise ValueError(f"t_span must be (start, end), two numbers, got {t_span!r}") from None
    if not math.isfinite(start) or math.isnan(end):
        raise ValueError(f"t_span must start at a finite time and end at a number, got {t_span!r}")
    return start, end


def args_of(args: Any) -> tuple:
    """args as a tuple."""
    if args is None:
        return ()
    try:
        return tuple(args)
    except TypeError:
        raise TypeError(f"Supplied 'args' cannot be unpacked. Please supply `args` as a tuple (e.g. `args=({args},)`)"
                        ) from None  # fmt: skip


def times_of(t_eval: Any, start: float, end: float) -> Array:
    """t_eval (m,), within the span and in its order."""
    times = np.asarray(t_eval)
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise ValueError(f"`t_eval` must be 1-dimensional and real, got shape {times.shape} of {times.dtype}")
    times = times.astype(float)
    outside = times[~((times >= min(start, end)) & (times <= max(start, end)))]
    if outside.size:
        raise ValueError(f"Values in `t_eval` are not within `t_span`: {outside[0]} is outside of {(start, end)}")
    steps = np.diff(times) * (1.0 if end >= start else -1.0)
    if np.any(steps <= 0):
        k = int(np.argmax(steps <= 0))
        raise ValueError(f"Values in `t_eval` are not properly sorted: {times[k]} comes before {times[k + 1]}")
    return times


def listed(events: Any) -> Sequence:
    """Events as a sequence."""
    if events is None:
        return ()
    return (events,) if callable(events) else tuple(events)


def with_args(event: Event, args: tuple) -> Event:
    """An event of (t, y) from one of (t, y, *args)."""
    if not args:
        return event
    func, reset = event.func, event.reset
    with_args = None if reset is None else lambda t, y: reset(t, y, *args)
    return Event(lambda t, y: func(t, y, *args), event.direction, event.terminal, with_args)


def function_of(fun: Any, vectorized: bool, shape: tuple) -> Callable:
    """fun as ``fun(t, y (n,), *args)`` that returns (n,)."""
    if not callable(fun):
        raise TypeError(f"fun must be callable as fun(t, y), got {type(fun).__name__}")
    if vectorized:
        return lambda t, y, *args: np.reshape(fun(t, y[:, None], *args), shape)
    if shape == (1,):  # SciPy takes a number for a state of one
        return lambda t, y, *args: np.reshape(fun(t, y, *args), shape)
    return fun


def state_vector(y0: Any) -> Array:
    """y0 (n,) of float64 or complex128, finite."""
    y0 = np.asarray(y0)
    if y0.dtype.kind not in "biufc":
        raise TypeError(f"`y0` must hold numbers, got {y0.dtype}")
    if y0.ndim != 1:
        raise ValueError(f"`y0` must be 1-dimensional, got shape {y0.shape}")
    y0 = y0.astype(complex if y0.dtype.kind == "c" else float)
    if not np.all(np.isfinite(y0)):
        k = int(np.argmin(np.isfinite(y0)))
        raise ValueError(f"All components of the initial state `y0` must be finite. y0[{k}] is {y0[k]}")
    return y0


def ivp_control(rule: Tableau, options: dict, y0: Array, span: float) -> Control:
    """SciPy's options, with its defaults, and ours."""
    without = [name for name in options if name not in (*CONTROLS, *TOLD)]
    if without:
        told = ", ".join(f"`{name}`" for name in without)
        message = f"The following arguments have no effect for a chosen solver: {told}."
        warnings.warn(message, UserWarning, stacklevel=user_stacklevel())
    given = {name: options[name] for name in CONTROLS if options.get(name) is not None}
    check_names(rule, given)
    if "rtol" in options and rule.adaptive and equal_steps(rule, given):
        raise ValueError(f"rtol does not go with {rule.name} and equal steps of step_size")
    rtol, atol = np.asarray(options.get("rtol", 1e-3), float), np.asarray(options.get("atol", 1e-6), float)
    if np.any(rtol < LEAST_RTOL):
        message = f"At least one element of `rtol` is too small. Setting `rtol = np.maximum(rtol, {LEAST_RTOL})`."
        warnings.warn(message, UserWarning, stacklevel=user_stacklevel())
        rtol = np.maximum(rtol, LEAST_RTOL)
    if atol.ndim and atol.shape != y0.shape:
        raise ValueError(f"`atol` has wrong shape: wanted a number or {y0.shape}, got {atol.shape}")
    if np.any(atol < 0):
        raise ValueError(f"`atol` must be positive, got {atol}")
    max_step, first_step = options.get("max_step", math.inf), options.get("first_step")
    if not max_step > 0:
        raise ValueError(f"`max_step` must be positive, got {max_step!r}")
    if first_step is not None and not first_step > 0:
        raise ValueError(f"`first_step` must be positive, got {first_step!r}")
    if first_step is not None and first_step > span:
        raise ValueError(f"`first_step` exceeds bounds: {first_step!r} is more than the length of t_span, {span}")
    if not rule.adaptive and "step_size" not in given:
        raise ValueError(f"{rule.name} takes fixed steps; give step_size")
    if "norm" in given:
        given["norm"] = checked_norm(given["norm"])
    if rule.as_scipy:
        given = {"controller": "I", "as_scipy": True, **given}
    given = {"max_num_steps": 2**62, **given, **({"split": half_of(rule, y0)} if rule.split else {})}
    return Control(rtol=rtol if rtol.ndim else float(rtol), atol=atol if atol.ndim else float(atol), max_step=max_step,
                   first_step=first_step, **given)  # fmt: skip
