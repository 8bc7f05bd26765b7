"""How a call of a NumPy function on traced values is read: by NumPy's signature, handed on to our function.

Ours take what can be differentiated. Of the other arguments those that say nothing, None or NumPy's default,
are left out; the rest is an error that names the argument and what to write instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["UFUNC_DEFAULTS", "call", "numpy_name_of", "says_nothing", "what_instead"]

_NO_VALUE = inspect.signature(np.sum).parameters["keepdims"].default  # what NumPy means by "not given"

# Before NumPy 2.4 these are builtins that do not tell their signature.
_TOLD_HERE: dict[Any, Callable] = {
    np.concatenate: lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    np.dot: lambda a, b, out=None: None,
}

UFUNC_DEFAULTS = {"where": True, "casting": "same_kind", "order": "K", "dtype": None, "subok": True, "signature": None}

_INSTEAD = {
    "out": "leave it out and use what the call returns",
    "dtype": "leave it out and write y.astype(dtype)",
    "where": "leave it out and choose with np.where(mask, y, other), or y[mask]",
    "order": "leave it out: values are in C order",
    "casting": "leave it out and write y.astype(dtype)",
    "signature": "leave it out and write y.astype(dtype)",
    "subok": "leave it out: a traced value is of no subclass",
    "copy": "leave it out: a traced value is never changed in place",
    "kind": "leave it out: every algorithm gives the same values",
    "stable": "leave it out: every algorithm gives the same values",
    "period": "bring x into one period by x % period, and repeat the first node after the last",
    "correction": "write ddof= instead",
    "mean": "leave it out: the mean is computed again",
    "returned": "leave it out and take np.sum(weights)",
    "prepend": "join it to y with np.concatenate first",
    "append": "join it to y with np.concatenate first",
    "upper": "take L.mT of the lower factor",
    "shape": "write np.broadcast_to",
}


@dataclass(frozen=True)
class _Reading:
    """What of our function agrees with NumPy's.

    leading: so many positional arguments mean the same in both. names: the keywords ours takes, None if any.
    signature: NumPy's, None where it takes any number of operands.
    """

    leading: int
    names: frozenset[str] | None
    signature: inspect.Signature | None


_READINGS: dict[Any, _Reading] = {}


def call(function: Any, ours: Callable, args: tuple, kwargs: dict) -> Any:
    """``function(*args, **kwargs)``, carried out by our function of a signature that is NumPy's or a part of it."""
    reading = _READINGS.get(function)
    if reading is None:
        reading = _READINGS[function] = _read(function, ours)
    if reading.names is None:
        return ours(*args, **kwargs)
    if (
        len(args) <= reading.leading
        and reading.names.issuperset(kwargs)
        and not any(value is _NO_VALUE for value in kwargs.values())
    ):
        return ours(*args, **kwargs)
    if reading.signature is None:
        return ours(*args, **_taken(function, reading.names, kwargs, {}))
    try:
        bound = reading.signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{numpy_name_of(function)}: {error}") from None
    defaults = {name: parameter.default for name, parameter in reading.signature.parameters.items()}
    bound.update(bound.pop("kwargs", {}))  # of np.clip and np.pad
    return ours(**_taken(function, reading.names, bound, defaults))


def _read(function: Any, ours: Callable) -> _Reading:
    kinds = inspect.Parameter
    own = inspect.signature(ours).parameters.values()
    if any(p.kind is kinds.VAR_KEYWORD for p in own):
        return _Reading(0, None, None)
    names = frozenset(p.name for p in own if p.kind is not kinds.VAR_POSITIONAL)
    if any(p.kind is kinds.VAR_POSITIONAL for p in own):
        return _Reading(2**31, names, None)
    try:
        signature = inspect.signature(_TOLD_HERE.get(function, function))
    except ValueError:
        signature = inspect.signature(ours)
    positional = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    pairs = zip(
        [p.name for p in own if p.kind in positional],
        [p.name for p in signature.parameters.values() if p.kind in positional],
        strict=False,
    )
    leading = 0
    for our_name, name in pairs:
        if our_name != name:
            break
        leading += 1
    return _Reading(leading, names, signature)


def _taken(function: Any, names: frozenset[str], given: dict, defaults: dict) -> dict:
    """The arguments our function takes; those that say nothing are dropped, the others refused."""
    taken = {}
    for name, value in given.items():
        if value is _NO_VALUE:
            continue
        if name in names:
            taken[name] = value
        elif not says_nothing(value, True if name == "where" else defaults.get(name)):
            raise TypeError(
                f"{numpy_name_of(function)}: the argument {name}= is not supported on a traced value; "
                f"{what_instead(name)}"
            )
    return taken


def says_nothing(value: Any, default: Any) -> bool:
    """Whether an argument is as good as not given."""
    return value is None or (isinstance(value, (bool, int, str)) and type(value) is type(default) and value == default)


def numpy_name_of(function: Any) -> str:
    """np.linalg.norm and the like; a ufunc has no module of its own."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{function.__name__}"


def what_instead(argument: str) -> str:
    """What to write instead of an argument that is not taken."""
    return _INSTEAD.get(argument, "leave it out")
