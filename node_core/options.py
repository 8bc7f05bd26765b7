"""The options of odeint, and every check of what a user passes to it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .adjoint import GRADIENTS
from .autodiff import tree
from .autodiff.node import Node, lift
from .program import Field
from .program.trace import user_stacklevel
from .solvers import Adams, Control, Tableau, tableau
from .solvers.watched import Watch, rk

__all__ = [
    "ATOL",
    "BACKENDS",
    "RTOL",
    "check_gradient_of",
    "check_names",
    "checked_norm",
    "checked_options",
    "choice",
    "control_of",
    "equal_steps",
    "half_of",
    "resolved",
    "state_leaf",
    "state_of",
]

# The defaults are these very objects, so that `rtol is RTOL` tells a default from a value that was given.
RTOL, ATOL = float("1e-6"), float("1e-8")

ADAPTIVE_OPTIONS = (
    "first_step", "max_step", "min_step", "on_min_step", "max_num_steps", "safety", "min_factor", "max_factor", "norm",
    "controller", "step_t",
)  # fmt: skip
FIXED_OPTIONS = ("step_size", "max_num_steps")
ADAMS_OPTIONS = ("max_order", "step_size")
ADJOINT_OPTIONS = ("adjoint_rtol", "adjoint_atol", "adjoint_method")  # of the backward solve
OF_SOME_GRADIENTS = {  # options, and the modes that they go with
    **dict.fromkeys(ADJOINT_OPTIONS, ("adjoint", "interpolated")),
    "checkpoints": ("discrete", "interpolated"),
    "sensitivities_in_norm": ("forward",),
}
EITHER_OPTIONS = (
    *OF_SOME_GRADIENTS,
    "jump_t",
    "on_step",
    "on_accept",
    "on_reject",
    "max_seconds",
    "progress",
)
CALLBACKS = {"on_step": "attempts", "on_accept": "acceptances", "on_reject": "rejections"}
KEYWORDS = ("args", "method", "rtol", "atol", "gradient", "backend", "full_output")  # odeint's own
LAYERS_MAY_SET = KEYWORDS[1:]
LOOKED_AT = ("controller", "on_min_step", "max_seconds", "max_order", "checkpoints")  # by Control, whatever the state
OF_BOTH_SOLVES = ("max_step", "min_step", "on_min_step", "max_num_steps", "safety", "min_factor", "max_factor", "norm",
                  "max_seconds")  # fmt: skip
MAY_BE_NONE = ("first_step", "step_size", "max_order")  # None stands for the automatic choice
BACKENDS = ("compiled", "callback", "python")


def checked_options(owner: str, options: dict[str, Any]) -> dict[str, Any]:
    """Keywords that `owner` will give to `odeint`: an error now, not at the first solve, for what it does not have."""
    settings = {"method": "dopri5", "gradient": "discrete", "backend": "compiled", **options}
    try:
        rule = tableau(settings["method"])
        check_gradient_of(rule, resolved(settings["gradient"], rule, {})[0], options)
        choice("gradient", settings["gradient"], (*GRADIENTS, "auto"))
        choice("backend", settings["backend"], BACKENDS)
        check_names(rule, {name: value for name, value in options.items() if name not in LAYERS_MAY_SET})
        if options.get("norm") is not None:
            checked_norm(options["norm"])
        Control(**{name: options[name] for name in LOOKED_AT if name in options})
        for name in ("rtol", "atol"):
            value = options.get(name, 1.0)
            if (isinstance(value, (int, float)) and not 0 <= value < float("inf")) or (name, value) == ("rtol", 0):
                wanted = "a positive" if name == "rtol" else "a non-negative"
                raise ValueError(f"{name} must be {wanted} float, got {value!r}")
    except (TypeError, ValueError, NotImplementedError) as error:
        raise type(error)(f"{owner}: {error}") from None
    return options


def resolved(gradient: Any, method: Any, options: dict) -> tuple[Any, dict]:
    """The mode that "auto" stands for, with its options: "discrete", of steps that take no more than a bounded memory;
    of a method without that "interpolated"."""
    if not isinstance(gradient, str) or gradient != "auto":
        return gradient, options
    if isinstance(tableau(method), Adams):
        return "interpolated", options
    return "discrete", {
        **options,
        "checkpoints": "auto" if options.get("checkpoints") is None else options["checkpoints"],
    }


def choice(name: str, value: Any, known: Any) -> None:
    """ValueError unless the value is one of those known."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def state_of(y0: Any) -> Any:
    """y0 with arrays at its leaves: a list or tuple of numbers is an array, ints become floats."""
    if type(y0) in (list, tuple) and all(is_numbers(x) for x in y0):
        try:
            y0 = lift(list(y0))
        except ValueError as error:  # a ragged list
            raise ValueError(f"y0 must be an array, or nested numbers of one length, got {y0!r}") from error
    y0 = tree.map(state_leaf, y0)
    dtypes = {str(leaf.dtype) for leaf in tree.flatten(y0)[0]}
    if len(dtypes) > 1:
        raise TypeError(f"the leaves of y0 must share one dtype, got {', '.join(sorted(dtypes))}")
    return y0


def is_numbers(x: Any) -> bool:
    """Whether x is a number, traced or not, or a list or tuple of such."""
    if type(x) in (list, tuple):
        return all(is_numbers(item) for item in x)
    return isinstance(x, (bool, int, float, complex, np.number)) or (
        isinstance(x, (np.ndarray, Node)) and x.shape == ()
    )


def state_leaf(leaf: Any) -> Any:
    """One leaf of y0 as a floating array."""
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


def equal_steps(rule: Tableau | Adams, options: dict) -> bool:
    """Whether steps are given in advance: an Adams method takes such where it is given step_size."""
    return not rule.adaptive or (isinstance(rule, Adams) and options.get("step_size") is not None)


def check_names(rule: Tableau | Adams, options: dict) -> None:
    """TypeError or ValueError for options that odeint, or the method, does not have."""
    adaptive, multistep = not equal_steps(rule, options), isinstance(rule, Adams)
    allowed = (*(ADAPTIVE_OPTIONS if adaptive else FIXED_OPTIONS), *EITHER_OPTIONS)
    kind = "adaptive" if rule.adaptive else "fixed-step"
    if multistep:
        allowed = (*(name for name in allowed if name != "controller"), *ADAMS_OPTIONS)
        kind = "a family of Adams methods" + ("" if adaptive else " and takes equal steps here")
    for name in options:
        if name in ADAPTIVE_OPTIONS + FIXED_OPTIONS + ADAMS_OPTIONS and name not in allowed:
            raise ValueError(f"{name} does not go with {rule.name}, which is {kind}; see nc.methods()")
        if name not in allowed:
            raise TypeError(_unknown_option(name, rule, allowed))


def control_of(rule: Tableau | Adams, y0: Any, field: Field, rtol: Any, atol: Any, options: dict) -> Control:
    """What the solve obeys, of tolerances and options that are all checked."""
    check_names(rule, options)
    options, backward = _backward(rule, y0, rtol, atol, options)
    equal = equal_steps(rule, options)
    if equal and (rtol is not RTOL or atol is not ATOL):
        what = "equal steps of" if rule.adaptive else "which is fixed-step; give"
        raise ValueError(f"rtol and atol do not go with {rule.name}, {what} step_size")
    for name, value in options.items():
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if name in CALLBACKS and not callable(value):
            raise TypeError(f"{name} must be callable as {name}(t, y, h), got {value!r}")
        if name in ("controller", "on_min_step", "step_t", *CALLBACKS, *OF_SOME_GRADIENTS):
            continue  # Control, or _backward, looks at them
        if name != "norm" and not number and not (value is None and name in MAY_BE_NONE):
            raise TypeError(f"{name} must be a number, got {value!r}")
    least = 10 * float(np.finfo(field.dtype).eps)
    if rtol is RTOL:
        rtol = max(RTOL, least)  # a default that float32 could not meet would be no mistake of the user
    rtol = _tolerance("rtol", rtol, y0, positive=True)
    if not equal and np.min(rtol, initial=1.0) < least:
        message = f"rtol below 10 eps of {field.dtype} ({least:.1e}) cannot be met; raise rtol, or give y0 in float64"
        warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())
    if equal:
        options = {"max_num_steps": 2**62, **options}  # the grid is the user's own
    if "norm" in options:
        options = {**options, "norm": checked_norm(options["norm"])}
    if any(name in CALLBACKS for name in options):
        options = _with_watch(options, field)
    if rule.split:
        options = {**options, "split": half_of(rule, y0)}
    if rule.as_scipy:
        options = {"controller": "I", "as_scipy": True, **options}
    atol = _tolerance("atol", atol, y0, positive=False)
    if backward is not None:
        method, rtol_back, atol_back = backward
        back = {name: value for name, value in options.items() if name in OF_BOTH_SOLVES}
        if method.as_scipy:
            back = {"controller": "I", "as_scipy": True, **back}
        rtol_back, atol_back = rtol if rtol_back is None else rtol_back, atol if atol_back is None else atol_back
        options = {**options, "backward": (method, Control(rtol=rtol_back, atol=atol_back, **back))}
    return Control(rtol=rtol, atol=atol, **options)


def _backward(
    rule: Tableau | Adams, y0: Any, rtol: Any, atol: Any, options: dict
) -> tuple[dict, tuple[Tableau | Adams, Any, Any] | None]:
    """The options without those of the adjoint's backward solve, and its (method, rtol, atol), None as forward."""
    given = {name: options[name] for name in ADJOINT_OPTIONS if options.get(name) is not None}
    options = {name: value for name, value in options.items() if name not in ADJOINT_OPTIONS}
    if not given:
        return options, None
    method = tableau(given.get("adjoint_method", rule))
    if not method.adaptive or (method is rule and equal_steps(rule, options)):
        raise ValueError(f"adjoint_method must be adaptive, got {method.name}; it obeys adjoint_rtol and adjoint_atol")
    tolerances = (_tolerance(name, given[name], y0, positive=name == "adjoint_rtol") if name in given else None
                  for name in ("adjoint_rtol", "adjoint_atol"))  # fmt: skip
    return options, (method, *tolerances)


def check_gradient_of(rule: Tableau | Adams, gradient: Any, options: dict) -> None:
    """NotImplementedError for a gradient that the method does not have, ValueError for options of another."""
    for name, wanted in OF_SOME_GRADIENTS.items():
        if options.get(name) is not None and gradient not in wanted:
            raise ValueError(f"{name} goes with gradient={' or '.join(map(repr, wanted))}, got {gradient!r}")
    if rule.split and gradient != "discrete":
        raise NotImplementedError(
            f"{rule.name} has no {gradient} gradient: what it solves beside y is no split system; give "
            "gradient='discrete'"
        )
    if rule.multistep and options.get("checkpoints") is not None:
        raise NotImplementedError(f"{rule.name} has no checkpoints: its steps cannot be taken again one by one")


def half_of(rule: Tableau | Adams, y0: Any) -> int:
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


def _unknown_option(name: str, rule: Tableau | Adams, allowed: tuple) -> str:
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
