"""Reverse mode: record the operations on a tape, then go over the tape backward once (Wengert 1964).

The tape is a plain list, so a graph of 100,000 nodes needs no recursion. Going backward, the cotangent of
a value is complete when its entry is reached, because whatever used it was recorded after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .node import Node, Trace, apply, recorded, run
from .primitive import match

__all__ = ["ReverseTrace", "vjp"]


class ReverseTrace(Trace):
    """Records every differentiable operation as ``(primitive, saved, parents, wanted)``.

    parents[i] is the tape place of operand i, -1 where it is a constant and not wanted. A leaf is None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple | None] = []

    def leaf(self, value: Any) -> Node:
        """A new variable of this trace."""
        self.tape.append(None)
        return Node(value, self, len(self.tape) - 1)

    def process(self, primitive: Any, operands: tuple, params: dict) -> Any:
        values = [x.value if type(x) is Node and x.owner is self else x for x in operands]
        if primitive.vjps is None:
            return apply(primitive, tuple(values), params)
        if primitive.plain and Node not in map(type, values):  # the innermost level of a primitive of the table
            out = primitive.evaluate(*values, **params)
            saved = (out, values, params)
        else:
            out, saved = primitive.forward(tuple(values), params)
        if type(out) is Node and out.owner is self:
            raise TypeError(
                f"{primitive.name} closes over a traced value, whose gradient its own rule cannot give; pass the value "
                "as an argument"
            )
        parents = [x.slot if type(x) is Node and x.owner is self else -1 for x in operands]
        self.tape.append((primitive, saved, parents, [parent >= 0 for parent in parents]))
        return Node(out, self, len(self.tape) - 1)

    def pull(self, cotangents: dict[int, Any]) -> dict[int, Any]:
        """Carry cotangents, by tape place, back to the leaves; returns those of the leaves, by place."""
        pending: list[Any] = [None] * (max(cotangents) + 1)
        for place, g in cotangents.items():
            pending[place] = g
        leaves = {}
        for place in range(len(pending) - 1, -1, -1):
            g, pending[place] = pending[place], None  # dropped as soon as used: memory
            if g is None:
                continue
            entry = self.tape[place]
            if entry is None:
                leaves[place] = g
                continue
            primitive, saved, parents, wanted = entry
            found = primitive.pullback(g, saved, wanted)
            for parent, term in zip(parents, found, strict=True):
                if parent >= 0 and term is not None:
                    before = pending[parent]
                    pending[parent] = term if before is None else before + term
        return leaves


def vjp(fun: Callable, *primals: Any) -> tuple[Any, Callable]:
    """``fun(*primals)`` and its pullback, the transposed Jacobian as a function.

    Returns ``(out, pullback)``; ``pullback(cotangent) -> tuple`` takes a cotangent nested and shaped like
    out and gives one nested like each primal: zeros where out does not depend on it, None at leaves that
    are not floating (ints, strings: they are constants). It may be called more than once.

    >>> import numpy as np
    >>> import node_core as nc
    >>> out, pullback = nc.vjp(np.sin, 0.0)
    >>> float(pullback(1.0)[0])
    1.0
    """
    trace = ReverseTrace()
    leaves, treedef = tree.flatten(primals)
    boxed = [trace.leaf(leaf) if tree.is_floating(leaf) else leaf for leaf in leaves]
    out_leaves, out_def = tree.flatten(run(trace, fun, tree.unflatten(treedef, boxed)))
    places = [x.slot if type(x) is Node and x.owner is trace else None for x in out_leaves]
    values = [x.value if place is not None else x for x, place in zip(out_leaves, places, strict=True)]

    def pullback(cotangent: Any) -> tuple:
        given = tree._leaves_like(out_def, cotangent)
        seeds: dict[int, Any] = {}
        for place, value, g in zip(places, values, given, strict=True):
            if np.shape(g) != np.shape(value):
                raise ValueError(
                    f"pullback: the cotangent must be shaped like the output, {np.shape(value)}, got {np.shape(g)}"
                )
            if place is not None:
                g = match(g, value)
                if type(value) is Node:
                    g = recorded(g, value)
                seeds[place] = g if place not in seeds else seeds[place] + g
        found = trace.pull(seeds) if seeds else {}
        grads = [
            (found[box.slot] if box.slot in found else np.zeros_like(leaf)[()])
            if type(box) is Node and box.owner is trace
            else None
            for box, leaf in zip(boxed, leaves, strict=True)
        ]
        return tree.unflatten(treedef, _own(grads, given))

    return tree.unflatten(out_def, _own(values, values)), pullback


def _own(arrays: list, others: list) -> list:
    """The arrays, copied where they are read-only, views, or shared with each other or with `others`.

    What a user is given he may change in place: neither the tape nor another result must change with it.
    """
    taken = {id(x) for x in others}
    owned = []
    for x in arrays:
        if type(x) is np.ndarray:
            if id(x) in taken or x.base is not None or not x.flags.writeable:
                x = x.copy()
            taken.add(id(x))
        owned.append(x)
    return owned
