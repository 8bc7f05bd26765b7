"""What a user is told to write instead, where a traced value cannot stand for a NumPy array."""

from __future__ import annotations

import numpy as np

__all__ = ["CUTS", "absent_attribute", "advice_on_objects", "leaves_graph", "no_rule"]

CUTS = (
    "would cut its gradient silently. Instead of np.asarray(y), np.array([...]) of arrays or a plain array's "
    "W.dot(y), write y itself, np.stack([...]), W @ y; instead of out[i] = y[i] build the result with "
    "np.stack or np.concatenate; for a constant take nc.stop_gradient(y)"
)


def advice_on_objects(message: str) -> str | None:
    """What to write, if NumPy failed on an object array, as np.array([...]) of traced scalars is one."""
    if "np.stack" in message:  # said already, by a trace within this one
        return None
    if "of type Node which has no callable" in message:
        return (
            f"np.array([...]) of traced values is an object array, on which NumPy says: {message}. "
            "Write np.stack([...]) instead"
        )
    if "dtype('O')" in message or "not supported for the input types" in message:
        return (
            f"{message}. If that is np.array([...]) of traced values, an object array on which NumPy acts before we "
            "can stack it: write np.stack([...]) instead"
        )
    return None


def leaves_graph(what: str, instead: str) -> str:
    """What is said of a conversion into a plain number."""
    return (
        f"{what} on a traced value gives a plain number and would cut its gradient silently. Write {instead}; "
        "for a constant take nc.stop_gradient(y)"
    )


_INSTEAD_OF_METHOD = {
    "argpartition": "np.argsort(y)",
    "base": "y itself: values share no memory",
    "choose": "np.where",
    "compress": "y[condition]",
    "cumprod": "np.exp(np.cumsum(np.log(y))) for positive y",
    "fill": "np.full_like(y, value)",
    "partition": "np.sort(y)",
    "put": "np.where",
    "resize": "np.reshape or np.pad",
    "sort": "np.sort(y), which gives a new value",
    "view": "y.astype(dtype), y.real or np.reshape(y, shape)",
}


def absent_attribute(name: str) -> str:
    """What is said of an attribute that a Node does not have."""
    if hasattr(np.ndarray, name):
        instead = _INSTEAD_OF_METHOD.get(name, "it with functions of NumPy that have a derivative rule")
        return (
            f"y.{name} does not exist on a traced value: values are never changed in place and share no memory. "
            f"Write {instead}; for a constant take nc.stop_gradient(y).{name}"
        )
    if isinstance(getattr(np, name, None), np.ufunc):  # NumPy asks it of every entry of an object array
        return (
            f"np.{name} of np.array([...]) of traced values, an object array, is carried out by NumPy before we can "
            "stack it. Write np.stack([...]) instead"
        )
    return f"a traced value has no attribute {name!r}, nor has a NumPy array"


def no_rule(name: str) -> str:
    """What is said of a function of NumPy that has no derivative rule."""
    return (
        f"{name} has no derivative rule here. Write it with functions that have one, or give it a rule: put "
        "@nc.custom_vjp on a function that calls it on plain arrays and add .defvjp(forward, backward)"
    )
