"""Forward mode: every value carries its tangent along (dual numbers)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .node import Node, Trace, apply, recorded, run
from .primitive import is_traced, match

__all__ = ["ForwardTrace", "jvp"]


class ForwardTrace(Trace):
    """The slot of a Node of this trace is its tangent."""

    def process(self, primitive: Any, operands: tuple, params: dict) -> Any:
        values = tuple(self.unwrap(operands))
        out = apply(primitive, values, params)
        if not primitive.differentiable:
            return out
        tangents = [x.slot if type(x) is Node and x.owner is self else None for x in operands]
        return Node(out, self, primitive.pushforward(tangents, out, values, params))


def jvp(fun: Callable, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """``(fun(*primals), its derivative along tangents)``; tangents are nested and shaped like primals.

    >>> import numpy as np
    >>> import node_core as nc
    >>> out, tangent = nc.jvp(np.sin, (0.0,), (2.0,))
    >>> float(tangent)
    2.0
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise TypeError(
            f"jvp: primals and tangents must be tuples of the arguments, got {type(primals).__name__} "
            f"and {type(tangents).__name__}; write jvp(fun, (x,), (v,))"
        )
    trace = ForwardTrace()
    leaves, treedef = tree.flatten(primals)
    directions = tree._leaves_like(treedef, tangents)
    boxed = []
    for place, (leaf, t) in enumerate(zip(leaves, directions, strict=True)):
        if not tree.is_floating(leaf):
            if t is not None and not is_traced(t) and np.any(t):
                what = f"{tree.paths(primals, 'primals')[place]} is {tree.kind(leaf)}"
                raise TypeError(f"jvp: {what}, which does not move: its tangent must be 0 or None, got {t!r}; pass a "
                                "float or a floating array")  # fmt: skip
            boxed.append(leaf)
            continue
        if np.shape(t) != np.shape(leaf):
            raise ValueError(f"jvp: a tangent must be shaped like its primal, {np.shape(leaf)}, got {np.shape(t)}")
        boxed.append(Node(leaf, trace, recorded(match(t, leaf), leaf)))
    out_leaves, out_def = tree.flatten(run(trace, fun, tree.unflatten(treedef, boxed)))
    mine = [is_traced(x) and x.owner is trace for x in out_leaves]
    values = [x.value if own else x for x, own in zip(out_leaves, mine, strict=True)]
    found = [x.slot if own else np.zeros_like(x)[()] for x, own in zip(out_leaves, mine, strict=True)]
    return tree.unflatten(out_def, values), tree.unflatten(out_def, found)
