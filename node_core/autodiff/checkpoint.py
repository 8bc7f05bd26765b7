"""Memory for time: a function whose intermediate values are computed again on the way back, not kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import tree
from .custom import custom_vjp
from .node import Node
from .reverse import ReverseTrace, vjp

__all__ = ["checkpoint"]


def checkpoint(fun: Callable) -> Callable:
    """fun, of which reverse mode keeps the arguments alone: it is evaluated once more on the way back.

    For long unrolled code: of 100 layers, each checkpointed, memory holds the states between them and what one of them
    needs. Everything differentiable must be an argument; a traced value that fun closes over is a TypeError. Forward
    mode goes through fun as it is.

    >>> import numpy as np
    >>> import node_core as nc
    >>> layer = nc.checkpoint(lambda x: np.sin(np.exp(x)))
    >>> round(float(nc.grad(lambda x: layer(layer(x)))(0.0)), 6), round(float(nc.grad(layer)(0.0)), 6)
    (-0.853417, 0.540302)
    """
    rule = custom_vjp(fun)

    @functools.wraps(fun)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        owner = _latest((args, kwargs))
        return rule(*args, **kwargs) if isinstance(owner, ReverseTrace) else fun(*args, **kwargs)

    def forward(*args: Any) -> tuple[Any, Any]:
        out = checkpointed(*args)  # an outer derivative's tape keeps the arguments alone, too
        allowed, found = _latest(args), _latest(out)
        if found is not None and (allowed is None or found.level > allowed.level):
            name = getattr(fun, "__name__", "function")
            raise TypeError(f"checkpoint: {name} closes over a traced value, whose gradient would be lost; pass it as "
                            "an argument")  # fmt: skip
        return out, args

    rule.defvjp(forward, lambda args, g: vjp(fun, *args)[1](g))
    return checkpointed


def _latest(values: Any) -> Any:
    """The latest trace among the leaves, or None."""
    owners = [leaf.owner for leaf in tree.flatten(values)[0] if type(leaf) is Node]
    return max(owners, key=lambda owner: owner.level, default=None)
