"""odeint and odeint_adjoint: the public solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .adjoint import GRADIENTS, Solve
from .autodiff import tree
from .autodiff.node import Node, concrete
from .options import (
    ATOL,
    BACKENDS,
    RTOL,
    check_gradient_of,
    choice,
    control_of,
    resolved,
    state_leaf,
    state_of,
)
from .pieces import across_jumps, distinct, expanded, times_within
from .program import ClosedOverError, Compiled, Field
from .program.compiled import keep, signature
from .program.trace import TraceError, is_recorded
from .solvers import Control, Stats, Tableau, checked_times, tableau
from .solvers.times import is_monotone

__all__ = ["checked_problem", "odeint", "odeint_adjoint"]


def odeint(
    func: Callable,
    y0: Any,
    t: Any,
    *,
    args: tuple = (),
    method: str | Tableau = "dopri5",
    rtol: Any = RTOL,
    atol: Any = ATOL,
    gradient: str = "discrete",
    backend: str = "compiled",
    full_output: bool = False,
    **options: Any,
) -> Any:
    """Solve dy/dt = func(t, y, *args), y(t[0]) = y0, and give y at every t; differentiable.

    func:      ``func(t, y, *args)``, pure, in plain NumPy; t is a float, y a read-only array. It returns an
               array, or a list or tuple of numbers, shaped like y0 (for a nested y0 the same nesting).
    y0:        a floating array, or any nesting of such of one dtype (float32, float64 or complex). A list or
               tuple of numbers is taken as an array.
    t:         (m,), m >= 2, increasing or decreasing; y0 holds at t[0]. Times may be repeated.
    args:      a tuple of further arguments of func: arrays, scalars or nestings of them.
    method:    a name from `nc.methods()`, or an `nc.Tableau` of your own, whose order conditions are checked.
    rtol, atol: the error a step may make is atol + rtol |y|, RMS over the components; numbers, arrays shaped
               like y0, or either in y0's nesting. Adaptive methods only. An rtol below 10 eps of the state's
               dtype cannot be met and warns; the default is raised to it (1.2e-6 for float32).
    gradient:  "discrete", the derivative of the computed outputs through the recorded steps; "adjoint",
               Algorithm 2 of Chen et al. (2018), whose memory does not grow with the number of steps; "interpolated",
               the adjoint with y from the recorded steps' dense output in place of a reconstruction; "forward", the
               sensitivities integrated beside the state: for few parameters, with nothing kept; or "auto": "discrete"
               with checkpoints="auto", and "interpolated" for Adams methods.
    backend:   "compiled": func is traced and lowered to a Program, and all runs in C; where that cannot be, func
               is called back, and a warning says why. "callback": C steps, but always calls func, which may then
               have effects. "python": the readable twin. All take the same steps.
    full_output: also return the statistics: nfev, naccepted, nrejected, ..., nfev_backward after a gradient.
    options:   adaptive methods: first_step, max_step, min_step, max_num_steps (100,000), safety (0.9),
               min_factor (0.2), max_factor (10), norm ("rms", "max" or a function of the scaled error vector,
               (n,)), controller ("PI"; also "I", "PI33", "PI34", "PI42", "H211PI", "PID"), on_min_step ("error", or
               "force": a step of min_step is taken whatever its error), step_t (times that steps end at). Fixed-step
               methods: step_size (without it, one step an interval of t), max_num_steps (no limit). Adams methods:
               max_order, and either of these, the latter if step_size is given. With gradient="discrete" or
               "interpolated": checkpoints, None for all steps kept; an int for their times alone, 16 bytes a step, from
               which the gradient takes them again with so many states kept meanwhile; "auto" for the first up to 256 MB
               and then the second. With gradient="adjoint" or "interpolated": adjoint_rtol, adjoint_atol and
               adjoint_method, of the backward solve. With gradient="forward": sensitivities_in_norm (False). All:
               jump_t (times at which func jumps: the solve stops there and starts anew), max_seconds (the way back of a
               gradient has as many), progress (True: a bar), and ``on_step(t, y, h)`` before a step is tried,
               ``on_accept(t, y, h)`` with the state it ended in, ``on_reject(t, y, h)``: a true answer ends the solve,
               with the outputs until then.

    Returns an array (m, *y0.shape), or one such an array at every leaf of y0. Gradients reach y0, the
    floating leaves of args, traced values that func closes over, and t: t[0] and t[-1] through the ends of
    the interval, the others through the slope of the solution; a fixed-step method without step_size steps
    from t to t and moves with all of them.
    Raises SolverError if the solution cannot be continued, ValueError or TypeError for what cannot be meant.

    >>> y = odeint(lambda t, y: -y, np.array([1.0]), [0.0, 1.0], rtol=1e-9, atol=1e-9)
    >>> round(float(y[-1, 0]), 8)
    0.36787944
    """
    if not is_monotone(t):  # the usual case, at a glance
        return _at_other_times(func, y0, t, (args, method, rtol, atol, gradient, backend), full_output, options)
    if "jump_t" in options or "step_t" in options:
        return _at_other_times(func, y0, t, (args, method, rtol, atol, gradient, backend), full_output, options)
    out, stats = _solved(func, y0, t, (args, method, rtol, atol, gradient, backend), options)
    return _told(out, stats, full_output)


def _told(out: Any, stats: Stats, full_output: bool) -> Any:
    """What odeint returns."""
    if not full_output:
        return out
    if any(is_recorded(leaf) for leaf in tree.flatten(out)[0]):
        raise TraceError("the statistics of a solve (full_output=True) are those of one call; a graph has many")
    return out, stats


def _at_other_times(func: Callable, y0: Any, t: Any, settings: tuple, full_output: bool, options: dict) -> Any:
    """odeint at times that may be repeated, with jumps, or with times to step to."""
    t, rows = distinct(t)
    t, jumps = checked_times(t), options.pop("jump_t", None)
    if options.get("step_t") is None:
        options.pop("step_t", None)
    else:
        options["step_t"] = concrete(times_within("step_t", options["step_t"], t))
    try:
        if jumps is None:
            out, stats = _solved(func, y0, t, settings, options)
        else:
            if tableau(settings[1]).adaptive:
                options.setdefault("max_num_steps", Control.max_num_steps)
            out, stats = across_jumps(
                lambda y, grid, limited: _solved(func, y, grid, settings, limited),
                state_of(y0), t, times_within("jump_t", jumps, t), options,
            )  # fmt: skip
    except BaseException as error:
        if hasattr(error, "partial"):
            error.partial = (expanded(error.partial[0], rows), error.partial[1])
        raise
    return _told(expanded(out, rows), stats, full_output)


def _solved(func: Callable, y0: Any, t: Any, settings: tuple, options: dict) -> tuple[Any, Stats]:
    """One solve at checked times, and its statistics; settings: (args, method, rtol, atol, gradient, backend)."""
    args, method, rtol, atol, gradient, backend = settings
    gradient, options = resolved(gradient, method, options)
    bar = options.pop("progress", False) if options else False
    field, rule, control, y0 = _prepared(func, y0, args, method, rtol, atol, gradient, backend, options)
    flat = _flat(field, y0)
    if not bar:
        return _run(field, rule, control, backend, gradient, flat, t)
    from .progress import TimeBar  # few solves have one

    values = concrete(t)
    with TimeBar(float(values[0]), float(values[-1])) as shown:
        return _run(field, rule, replace(control, progress=shown), backend, gradient, flat, t)


def _run(
    field: Field, rule: Tableau, control: Control, backend: str, gradient: str, flat: Any, t: Any
) -> tuple[Any, Stats]:
    """The outputs and the statistics of a call that has been checked."""
    solve, closed_over = Solve(field, rule, control, backend, gradient, with_t=type(t) is Node), []
    try:
        try:
            ys = solve(flat, t, *field.parameters)
        except ClosedOverError:
            solve, closed_over = _closing_over(solve, field, flat, t)
            ys = solve(flat, t, *field.parameters, *closed_over)
    except BaseException as error:
        if hasattr(error, "partial"):  # of a callback: what there is until then
            error.partial = (_outputs(field, solve._shaped(error.partial[0])), error.partial[1])
        raise
    if control.watch is not None and is_recorded(ys):
        raise TraceError("a callback may end a solve anywhere, and has effects; a graph of odeint has no callbacks")
    return _outputs(field, ys), solve.stats


def odeint_adjoint(
    func: Callable,
    y0: Any,
    t: Any,
    *,
    args: tuple = (),
    method: str | Tableau = "dopri5",
    rtol: Any = RTOL,
    atol: Any = ATOL,
    backend: str = "compiled",
    full_output: bool = False,
    **options: Any,
) -> Any:
    """`odeint` with gradient="adjoint", the paper's method: memory constant in the number of steps."""
    if "gradient" in options:
        raise TypeError("odeint_adjoint: gradient is 'adjoint' here; use odeint to choose another")
    return odeint(
        func,
        y0,
        t,
        args=args,
        method=method,
        rtol=rtol,
        atol=atol,
        gradient="adjoint",
        backend=backend,
        full_output=full_output,
        **options,
    )


def _prepared(
    func: Any, y0: Any, args: Any, method: Any, rtol: Any, atol: Any, gradient: Any, backend: Any, options: dict
) -> tuple[Field, Tableau, Control, Any]:
    """(field, method, control, y0) of a call, all checked but for the values of y0.

    A compiled func keeps what it was asked before: a call that differs in the values of arrays only, such as the next
    step of a training, is not checked again.
    """
    if type(func) is Compiled and type(y0) in (np.ndarray, Node) and type(args) is tuple:
        arg_leaves, arg_def = tree.flatten(args)
        try:
            key = (
                y0.shape, y0.dtype, arg_def, tuple([signature(leaf) for leaf in arg_leaves]), method, rtol, atol,
                rtol is RTOL, atol is ATOL, gradient, backend, tuple(options.items()),
            )  # fmt: skip
            known = func.calls.get(key)
        except TypeError:  # a tolerance that is an array, say
            return _checked(func, y0, args, method, rtol, atol, gradient, backend, options)
        if known is None:
            field, rule, control, _ = _checked(func, y0, args, method, rtol, atol, gradient, backend, options)
            known = (field.with_leaves([concrete(leaf) for leaf in arg_leaves]), rule, control)  # no trace is kept
            keep(func.calls, key, known)
        field, rule, control = known
        return field.called_with(arg_leaves), rule, control, state_leaf(y0)
    return _checked(func, y0, args, method, rtol, atol, gradient, backend, options)


def _checked(
    func: Any, y0: Any, args: Any, method: Any, rtol: Any, atol: Any, gradient: Any, backend: Any, options: dict
) -> tuple[Field, Tableau, Control, Any]:
    """The same by every check there is."""
    if not callable(func):
        raise TypeError(f"func must be callable as func(t, y, *args), got {type(func).__name__}")
    rule = tableau(method)
    choice("gradient", gradient, (*GRADIENTS, "auto"))
    check_gradient_of(rule, gradient, options)
    y0 = state_of(y0)
    if type(args) is not tuple:
        raise TypeError(f"args must be a tuple, got {type(args).__name__}: write args=(p,)")
    field = Field(func, y0, args)
    _flat(field, y0)
    control = control_of(rule, y0, field, rtol, atol, options)
    choice("backend", backend, BACKENDS)
    return field, rule, control, y0


def checked_problem(
    func: Any, y0: Any, args: Any, method: Any, rtol: Any, atol: Any, gradient: Any, backend: Any, options: dict
) -> tuple[Field, Tableau, Control, Any]:
    """(field, method, control, y0) of a call of `odeint`, checked but for the values of y0."""
    gradient, options = resolved(gradient, method, options)
    return _checked(func, y0, args, method, rtol, atol, gradient, backend, options)


def _closing_over(solve: Solve, field: Field, flat: Any, t: Any) -> tuple[Solve, list]:
    """The same solve with the traced values func closes over as further operands, and those values."""
    wider, values = field.with_closed_over(float(concrete(t)[0]), concrete(flat))
    return Solve(
        wider, solve.tableau, solve.control, solve.backend, solve.gradient, with_t=solve.with_t, told=field
    ), values


def _flat(field: Field, y0: Any) -> Any:
    """The state as a vector (n,), checked to be finite."""
    flat = y0.reshape(-1) if field.single else tree.ravel(y0)[0]
    field.check_finite(np.ascontiguousarray(concrete(flat)))
    return flat


def _outputs(field: Field, ys: Any) -> Any:
    """ys (m, n) of a nested y0 in its nesting, every leaf (m, *shape)."""
    if field.single:
        return ys
    m = ys.shape[0]
    parts, start = [], 0
    for shape in field.shapes:
        size = int(np.prod(shape))
        parts.append(np.reshape(ys[:, start : start + size], (m, *shape)))
        start += size
    return tree.unflatten(field.y_def, parts)
