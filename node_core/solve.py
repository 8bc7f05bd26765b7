"""odeint and odeint_adjoint: the public solvers, and every check of what a user passes to them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .adjoint import GRADIENTS, Solve
from .autodiff import tree
from .autodiff.node import Node, concrete, lift
from .program import ClosedOverError, Compiled, Field
from .program.compiled import keep, signature
from .program.trace import TraceError, is_recorded, user_stacklevel
from .solvers import Control, Stats, Tableau, checked_times, tableau
from .solvers.times import is_monotone
from .solvers.watched import Watch, rk

__all__ = ["checked_backend", "checked_norm", "checked_options", "checked_problem", "odeint", "odeint_adjoint"]

# The defaults are these very objects, so that `rtol is RTOL` tells a default from a value that was given.
RTOL, ATOL = float("1e-6"), float("1e-8")

ADAPTIVE_OPTIONS = (
    "first_step", "max_step", "min_step", "on_min_step", "max_num_steps", "safety", "min_factor", "max_factor", "norm",
    "controller", "step_t",
)  # fmt: skip
FIXED_OPTIONS = ("step_size", "max_num_steps")
EITHER_OPTIONS = ("jump_t", "on_step", "on_accept", "on_reject", "max_seconds", "progress")
CALLBACKS = {"on_step": "attempts", "on_accept": "acceptances", "on_reject": "rejections"}
KEYWORDS = ("args", "method", "rtol", "atol", "gradient", "backend", "full_output")  # odeint's own
LAYERS_MAY_SET = KEYWORDS[1:]
MAY_BE_NONE = ("first_step", "step_size")  # None stands for the automatic choice
BACKENDS = ("compiled", "callback", "python")
LATER_GRADIENTS = ("interpolated", "forward", "auto")


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
    gradient:  "discrete", the derivative of the computed outputs through the recorded steps, or "adjoint",
               Algorithm 2 of Chen et al. (2018), whose memory does not grow with the number of steps.
    backend:   "compiled": func is traced and lowered to a Program, and all runs in C; where that cannot be, func
               is called back, and a warning says why. "callback": C steps, but always calls func, which may then
               have effects. "python": the readable twin. All take the same steps.
    full_output: also return the statistics: nfev, naccepted, nrejected, ..., nfev_backward after a gradient.
    options:   adaptive methods: first_step, max_step, min_step, max_num_steps (100,000), safety (0.9),
               min_factor (0.2), max_factor (10), norm ("rms", "max" or a function of the scaled error vector,
               (n,)), controller ("PI"; also "I", "PI33", "PI34", "PI42", "H211PI", "PID"), on_min_step ("error", or
               "force": a step of min_step is taken whatever its error), step_t (times that steps end at). Fixed-step
               methods: step_size (without it, one step an interval of t), max_num_steps (no limit). Both: jump_t
               (times at which func jumps: the solve stops there and starts anew), max_seconds, progress (True: a
               bar), and ``on_step(t, y, h)`` before a step is tried, ``on_accept(t, y, h)`` with the state it ended
               in, ``on_reject(t, y, h)``: a true answer ends the solve, with the outputs until then.

    Returns an array (m, *y0.shape), or one such an array at every leaf of y0. Gradients reach y0, the
    floating leaves of args, traced values that func closes over, and t: t[0] and t[-1] through the ends of
    the interval, the others through the slope of the solution; a fixed-step method without step_size steps
    from t to t and moves with all of them.
    Raises SolverError if the solution cannot be continued, ValueError or TypeError for what cannot be meant.

    >>> y = odeint(lambda t, y: -y, np.array([1.0]), [0.0, 1.0], rtol=1e-9, atol=1e-9)
    >>> round(float(y[-1, 0]), 8)
    0.36787944
    """
    if "jump_t" in options:
        given = {"args": args, "method": method, "rtol": rtol, "atol": atol, "gradient": gradient, "backend": backend}
        return _across_jumps(func, y0, t, options.pop("jump_t"), full_output, {**given, **options})
    rows = bar = None
    if not is_monotone(t):  # the usual case, at a glance
        t, rows = _distinct(t)
        t = checked_times(t)
    if options:
        bar = options.pop("progress", False)
        if "step_t" in options:
            options["step_t"] = times_within("step_t", options["step_t"], t)
    field, rule, control, y0 = _prepared(func, y0, args, method, rtol, atol, gradient, backend, options)
    flat = _flat(field, y0)
    if not bar:
        found = _solved(field, rule, control, backend, gradient, flat, t, full_output)
    else:
        from .progress import TimeBar  # few solves have one

        values = concrete(t)
        with TimeBar(float(values[0]), float(values[-1])) as shown:
            control = replace(control, progress=shown)
            found = _solved(field, rule, control, backend, gradient, flat, t, full_output)
    return found if rows is None else _repeated(found, rows, full_output)


def _solved(
    field: Field, rule: Tableau, control: Control, backend: str, gradient: str, flat: Any, t: Any, full_output: bool
) -> Any:
    """The outputs, and with full_output the statistics, of a call that has been checked."""
    solve = Solve(field, rule, control, backend, gradient, with_t=type(t) is Node)
    try:
        ys = solve(flat, t, *field.parameters)
    except ClosedOverError:
        solve, closed_over = _closing_over(solve, field, flat, t)
        ys = solve(flat, t, *field.parameters, *closed_over)
    except BaseException as error:
        if full_output and hasattr(error, "partial"):  # of a callback: what there is until then
            error.partial = (_outputs(field, solve._shaped(error.partial[0])), error.partial[1])
        raise
    out = _outputs(field, ys)
    if control.watch is not None and is_recorded(ys):
        raise TraceError("a callback may end a solve anywhere, and has effects; a graph of odeint has no callbacks")
    if full_output and is_recorded(ys):
        raise TraceError("the statistics of a solve (full_output=True) are those of one call; a graph has many")
    return (out, solve.stats) if full_output else out


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


def _distinct(t: Any) -> tuple[Any, Any]:
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


def _repeated(found: Any, rows: np.ndarray, full_output: bool) -> Any:
    """What `_solved` gives, with the outputs at these rows."""
    out = tree.map(lambda ys: ys[rows], found[0] if full_output else found)
    return (out, found[1]) if full_output else out


def times_within(name: str, times: Any, t: Any) -> np.ndarray:
    """Times (k,) strictly within t's span, in t's order; ValueError for any that is not."""
    values, found = np.asarray(concrete(lift(t)), float), np.unique(np.asarray(times, float).ravel())
    low, high = min(values[0], values[-1]), max(values[0], values[-1])
    outside = found[~((found >= low) & (found <= high))]
    if len(outside):
        raise ValueError(f"{name} must lie within t, from {low} to {high}, got {outside[0]}")
    inside = found[(found > low) & (found < high)]
    return inside if values[-1] > values[0] else inside[::-1]


def _across_jumps(func: Callable, y0: Any, t: Any, jumps: Any, full_output: bool, keywords: dict) -> Any:
    """Solves from jump to jump, which end just before a jump and begin just after it: func is not asked at it."""
    t, rows = _distinct(t)
    t = checked_times(t)
    values = np.asarray(concrete(t))
    jumps, sign = times_within("jump_t", jumps, t), 1.0 if values[-1] > values[0] else -1.0
    y = tree.map(lift, y0 if not _is_numbers(y0) else np.asarray(y0, float))
    outputs, total, ends = [tree.map(lambda x: x[None], y)], Stats(), [*jumps, None]
    place = 1  # in t, of the first time that there is no output for yet
    for k, end in enumerate(ends):
        until = len(t) if end is None else int(np.sum(sign * (values - end) <= 0))
        start = t[:1] if k == 0 else np.array([np.nextafter(jumps[k - 1], sign * np.inf)])
        at_end = end is not None and until > place and values[until - 1] == end
        inside = t[place : until - at_end]
        grid = [start, inside] if end is None else [start, inside, np.array([np.nextafter(end, -sign * np.inf)])]
        ys, stats = odeint(func, y, np.concatenate(grid), full_output=True, **keywords)
        last = len(inside) + 1 if end is None or not at_end else len(inside) + 2
        outputs.append(tree.map(lambda x, last=last: x[1:last], ys))
        y = tree.map(lambda x: x[-1], ys)
        for name in ("nfev", "naccepted", "nrejected"):
            setattr(total, name, getattr(total, name) + getattr(stats, name))
        total.stopped_at, place = stats.stopped_at, until
        if stats.stopped_at is not None:
            break
    out = tree.map(lambda *parts: np.concatenate(parts), *outputs)
    out = out if rows is None else tree.map(lambda ys: ys[rows], out)
    return (out, total) if full_output else out


def checked_options(owner: str, options: dict[str, Any]) -> dict[str, Any]:
    """Keywords that `owner` will give to `odeint`: an error now, not at the first solve, for what it does not have."""
    settings = {"method": "dopri5", "gradient": "discrete", "backend": "compiled", **options}
    try:
        rule = tableau(settings["method"])
        _check_gradient_of(rule, settings["gradient"])
        _choice("gradient", settings["gradient"], GRADIENTS, LATER_GRADIENTS)
        _choice("backend", settings["backend"], BACKENDS)
        _check_names(rule, {name: value for name, value in options.items() if name not in LAYERS_MAY_SET})
        for name in ("rtol", "atol"):
            value = options.get(name, 1.0)
            if (isinstance(value, (int, float)) and not 0 <= value < float("inf")) or (name, value) == ("rtol", 0):
                wanted = "a positive" if name == "rtol" else "a non-negative"
                raise ValueError(f"{name} must be {wanted} float, got {value!r}")
    except (TypeError, ValueError, NotImplementedError) as error:
        raise type(error)(f"{owner}: {error}") from None
    return options


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
        return field.called_with(arg_leaves), rule, control, _state_leaf(y0)
    return _checked(func, y0, args, method, rtol, atol, gradient, backend, options)


def _checked(
    func: Any, y0: Any, args: Any, method: Any, rtol: Any, atol: Any, gradient: Any, backend: Any, options: dict
) -> tuple[Field, Tableau, Control, Any]:
    """The same by every check there is."""
    if not callable(func):
        raise TypeError(f"func must be callable as func(t, y, *args), got {type(func).__name__}")
    rule = tableau(method)
    _check_gradient_of(rule, gradient)
    y0 = _state(y0)
    if type(args) is not tuple:
        raise TypeError(f"args must be a tuple, got {type(args).__name__}: write args=(p,)")
    field = Field(func, y0, args)
    _flat(field, y0)
    control = _control(rule, y0, field, rtol, atol, options)
    _choice("gradient", gradient, GRADIENTS, LATER_GRADIENTS)
    _choice("backend", backend, BACKENDS)
    return field, rule, control, y0


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


# --- checks ---


def _choice(name: str, value: Any, known: Any, later: tuple = ()) -> None:
    if isinstance(value, str) and value in later:
        raise NotImplementedError(f"{name}={value!r} does not exist yet; there is {', '.join(known)}")
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def checked_problem(
    func: Any, y0: Any, args: Any, method: Any, rtol: Any, atol: Any, backend: Any, options: dict
) -> tuple[Field, Tableau, Control, Any]:
    """(field, method, control, y0) of a call of `odeint`, checked but for the values of y0."""
    return _checked(func, y0, args, method, rtol, atol, "discrete", backend, options)


def checked_backend(backend: Any) -> None:
    """ValueError unless there is such a backend."""
    _choice("backend", backend, BACKENDS)


def _state(y0: Any) -> Any:
    """y0 with arrays at its leaves: a list or tuple of numbers is an array, ints become floats."""
    if type(y0) in (list, tuple) and all(_is_numbers(x) for x in y0):
        try:
            y0 = lift(list(y0))
        except ValueError as error:  # a ragged list
            raise ValueError(f"y0 must be an array, or nested numbers of one length, got {y0!r}") from error
    y0 = tree.map(_state_leaf, y0)
    dtypes = {str(leaf.dtype) for leaf in tree.flatten(y0)[0]}
    if len(dtypes) > 1:
        raise TypeError(f"the leaves of y0 must share one dtype, got {', '.join(sorted(dtypes))}")
    return y0


def _is_numbers(x: Any) -> bool:
    """Whether x is a number, traced or not, or a list or tuple of such."""
    if type(x) in (list, tuple):
        return all(_is_numbers(item) for item in x)
    return isinstance(x, (bool, int, float, complex, np.number)) or (
        isinstance(x, (np.ndarray, Node)) and x.shape == ()
    )


def _state_leaf(leaf: Any) -> Any:
    if type(leaf) is not Node:
        try:
            leaf = np.asarray(leaf)
        except ValueError as error:
            raise ValueError(f"y0 must hold floating arrays: {error}") from error
        leaf = lift(leaf)
    if leaf.dtype.kind in "iub":
        leaf = leaf.astype(float)
    if leaf.dtype not in (np.float32, np.float64, np.complex64, np.complex128):
        raise TypeError(f"y0 must be of dtype float32, float64, complex64 or complex128, got {leaf.dtype}")
    return leaf


def _check_names(rule: Tableau, options: dict) -> None:
    """TypeError or ValueError for options that odeint, or the method, does not have."""
    allowed = (*(ADAPTIVE_OPTIONS if rule.adaptive else FIXED_OPTIONS), *EITHER_OPTIONS)
    kind = "adaptive" if rule.adaptive else "fixed-step"
    for name in options:
        if name in ADAPTIVE_OPTIONS + FIXED_OPTIONS and name not in allowed:
            raise ValueError(f"{name} does not go with {rule.name}, which is {kind}; see nc.methods()")
        if name not in allowed:
            raise TypeError(_unknown_option(name, rule, allowed))


def _control(rule: Tableau, y0: Any, field: Field, rtol: Any, atol: Any, options: dict) -> Control:
    _check_names(rule, options)
    if not rule.adaptive and (rtol is not RTOL or atol is not ATOL):
        raise ValueError(f"rtol and atol do not go with {rule.name}, which is fixed-step; give step_size")
    for name, value in options.items():
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if name in CALLBACKS and not callable(value):
            raise TypeError(f"{name} must be callable as {name}(t, y, h), got {value!r}")
        if name in ("controller", "on_min_step", "step_t", *CALLBACKS):
            continue  # Control looks at them
        if name != "norm" and not number and not (value is None and name in MAY_BE_NONE):
            raise TypeError(f"{name} must be a number, got {value!r}")
    least = 10 * float(np.finfo(field.dtype).eps)
    if rtol is RTOL:
        rtol = max(RTOL, least)  # a default that float32 could not meet would be no mistake of the user
    rtol = _tolerance("rtol", rtol, y0, positive=True)
    if rule.adaptive and np.min(rtol, initial=1.0) < least:
        message = f"rtol below 10 eps of {field.dtype} ({least:.1e}) cannot be met; raise rtol, or give y0 in float64"
        warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())
    if not rule.adaptive:
        options = {"max_num_steps": 2**62, **options}  # the grid is the user's own
    if "norm" in options:
        options = {**options, "norm": checked_norm(options["norm"])}
    if any(name in CALLBACKS for name in options):
        options = _with_watch(options, field)
    if rule.split:
        options = {**options, "split": half_of(rule, y0)}
    if rule.as_scipy:
        options = {"controller": "I", "as_scipy": True, **options}
    return Control(rtol=rtol, atol=_tolerance("atol", atol, y0, positive=False), **options)


def _check_gradient_of(rule: Tableau, gradient: Any) -> None:
    if rule.split and gradient == "adjoint":
        raise NotImplementedError(
            f"{rule.name} has no adjoint gradient: y and its adjoint are no split system; give gradient='discrete'"
        )


def half_of(rule: Tableau, y0: Any) -> int:
    """The component of the flat state that p begins with, of y0 = (q, p) or an array whose halves they are."""
    leaves, y_def = tree.flatten(y0)
    if y_def.kind is tree.LEAF:
        leaves = [y0[: len(y0) // 2], y0[len(y0) // 2 :]] if np.ndim(y0) and len(y0) % 2 == 0 else [y0]
    shapes = [np.shape(leaf) for leaf in leaves]
    if len(shapes) != 2 or shapes[0] != shapes[1]:
        got = f"shape {np.shape(y0)}" if y_def.kind is tree.LEAF else f"{len(shapes)} leaves of {shapes}"
        raise ValueError(
            f"{rule.name} is for split systems: y0 must be (q, p), two arrays of one shape, or one array whose first "
            f"half is q and second p, got {got}"
        )
    return int(np.prod(shapes[0]))


def _with_watch(options: dict, field: Field) -> dict:
    """The options with the callbacks among them as one watcher, who is told states in the user's nesting."""
    told = {rk.MOMENTS[moment]: options.get(name) for moment, name in
            (("attempt", "on_step"), ("acceptance", "on_accept"), ("rejection", "on_reject"))}  # fmt: skip

    def call(moment: int, t: float, h: float, y: np.ndarray, *accepted: Any) -> Any:
        if accepted:
            t, y = accepted[0], accepted[1]
        return told[moment](t, field.unravel(y), h)

    watch = Watch(call, **{moment: options[name] is not None for name, moment in CALLBACKS.items() if name in options})
    return {**{k: v for k, v in options.items() if k not in CALLBACKS}, "watch": watch}


def _unknown_option(name: str, rule: Tableau, allowed: tuple) -> str:
    import difflib  # for this message only

    known = [key for key in (*allowed, *KEYWORDS) if rule.adaptive or key not in ("rtol", "atol")]
    near = difflib.get_close_matches(name.lower(), known, 3, 0.6)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"odeint has no option {name!r}; {hint}"


def checked_norm(norm: Any) -> Any:
    """The norm as Control has it; a function with its result checked: neither backend could name what is wrong."""
    if norm is None or (isinstance(norm, str) and norm in ("rms", "max")):
        return None if norm == "rms" else norm
    if not callable(norm):
        raise TypeError(f'norm must be "rms", "max", or a function from a vector (n,) to a float, got {norm!r}')

    def checked(scaled: np.ndarray) -> float:
        value = norm(scaled)
        if np.shape(value) != () or np.asarray(value).dtype.kind not in "fiu":
            raise TypeError(f"norm must return one real number for a vector ({len(scaled)},), got {value!r}")
        return float(value)

    return checked


def _tolerance(name: str, value: Any, y0: Any, positive: bool) -> Any:
    """A float, or a vector (n,) from one nested and shaped like y0."""
    leaves, y_def = tree.flatten(y0)
    wanted = f"{name} must be a {'positive' if positive else 'non-negative'} float"
    shapes = [np.shape(leaf) for leaf in leaves]
    like = f" or an array shaped like y0 {shapes[0]}" if len(shapes) == 1 else " or nested like y0"
    try:
        if y_def.kind is tree.LEAF or tree.flatten(value)[1].kind is tree.LEAF:
            parts = [np.asarray(value, float)]
        else:
            parts = [np.asarray(part, float) for part in tree._leaves_like(y_def, value)]
    except (TypeError, ValueError) as error:
        raise TypeError(f"{wanted}{like}, got {value!r}") from error
    scalar = len(parts) == 1 and parts[0].shape == ()
    if len(parts) > 1:  # nested like y0: a number stands for all of its leaf
        parts = [np.broadcast_to(p, shape) if p.shape == () else p for p, shape in zip(parts, shapes, strict=True)]
    if not scalar and [p.shape for p in parts] != shapes:
        raise ValueError(f"{wanted}{like}, got shape {', '.join(str(p.shape) for p in parts)}")
    for part in parts:
        if not np.all(np.isfinite(part)) or np.any(part <= 0 if positive else part < 0):
            raise ValueError(f"{wanted}{like}, got {value!r}")
    return float(parts[0]) if scalar else np.concatenate([p.ravel() for p in parts])
