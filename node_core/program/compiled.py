"""nc.compile: a function that keeps its Programs from call to call."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff import tree
from ..autodiff.node import Node
from .field_program import refusal
from .reachable import reachable_arrays
from .roles import NotLowered, Roles
from .trace import Graph, line_of, trace

if TYPE_CHECKING:
    from .program import Program

__all__ = ["Compiled", "compile", "keep", "signature"]

MOST_KEPT = 256  # Programs of one function


def signature(leaf: Any) -> Any:
    """What a kept Program depends on in a leaf: shape and dtype of an array, the value of anything else."""
    if type(leaf) is Node or isinstance(leaf, np.ndarray):
        if leaf.dtype.kind in "fc":
            return leaf.shape, leaf.dtype
        return leaf.shape, leaf.dtype, b"" if type(leaf) is Node else leaf.tobytes()
    if isinstance(leaf, np.generic) and leaf.dtype.kind in "fc":
        return (), leaf.dtype
    return type(leaf), leaf if isinstance(leaf, (int, float, complex, str, bytes, type(None))) else repr(leaf)


def keep(kept: dict, key: Any, value: Any) -> None:
    """Remember a value; a function that is called with ever new numbers must not fill the memory."""
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[key] = value


class Compiled:
    """``nc.compile(fun)``: computes what fun computes, by Programs that are kept.

    Programs are kept by the nesting, shapes and dtypes of the arguments and by the values of what is not an
    array. Arrays that fun closes over are read at every call, numbers it closes over are constants. A function
    that has no Program is called itself, and one warning says why. Traced arguments (within `nc.grad`, say) go
    through fun itself. Given to `odeint`, the Programs of its right-hand side are kept likewise.

    >>> import numpy as np
    >>> import node_core as nc
    >>> f = nc.compile(lambda x: np.tanh(x) ** 2)
    >>> float(f(np.array([0.5]))[0]) == float(np.tanh(0.5) ** 2)
    True
    """

    def __init__(self, fun: Callable) -> None:
        if not callable(fun):
            raise TypeError(f"compile: fun must be callable, got {type(fun).__name__}")
        self.fun = fun
        self._plain: dict[Any, _Kept | None] = {}
        self._fields: dict[Any, dict] = {}
        self.calls: dict[Any, tuple] = {}  # what `odeint` has checked
        functools.update_wrapper(self, fun)

    def __call__(self, *args: Any) -> Any:
        leaves, treedef = tree.flatten(args)
        if any(type(leaf) is Node for leaf in leaves):
            return self.fun(*args)
        kept = self._kept(args, leaves, treedef)
        return self.fun(*args) if kept is None else kept(leaves)

    def listing(self, *args: Any) -> str:
        """The Program for these arguments as text. Raises TypeError, saying why, if there is none."""
        leaves, treedef = tree.flatten(args)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = self._kept(args, leaves, treedef)
        if kept is None:
            raise TypeError(f"this function has no Program: {self._reason}")
        return kept.program.listing()

    def _kept(self, args: tuple, leaves: list, treedef: Any) -> _Kept | None:
        key = (treedef, tuple(map(signature, leaves)))
        kept = self._plain.get(key)
        if key not in self._plain or (kept is not None and kept.is_stale()):
            kept = self._made(args)
            keep(self._plain, key, kept)
        return kept

    def _made(self, args: tuple) -> _Kept | None:
        try:
            live = reachable_arrays(self.fun)
            return _Kept(trace(self.fun, *args, live=live), live)
        except Exception as error:
            self.fun(*args)  # what fails uncompiled, too, is the user's to see
            self._reason = refusal(error, line_of)
            warnings.warn(f"compile: the function is called itself: {self._reason}", RuntimeWarning, stacklevel=4)
            return None

    def fields(self, key: Any) -> dict:
        """Where the Programs of right-hand sides of this signature are kept."""
        if key not in self._fields:
            keep(self._fields, key, {})
        return self._fields[key]


class _Kept:
    """One Program of a plain function and how to call it."""

    def __init__(self, graph: Graph, live: Callable) -> None:
        from .program import build  # see `field_program`

        inputs = [i for i in graph.inputs if graph.values[i].dtype.kind == "f"]
        self.positions = [k for k, i in enumerate(graph.inputs) if i in inputs]
        self.readers = [live(x) for x in graph.captured.values()]
        self.shapes = [graph.values[i].shape for i in graph.captured]
        roles = {number: k for k, number in enumerate([*inputs, *graph.captured])}
        dtypes = {graph.values[i].dtype for i in roles if not graph.values[i].weak}
        self.real = np.dtype(dtypes.pop()) if len(dtypes) == 1 else np.dtype(float)
        if dtypes or self.real not in (np.float32, np.float64):
            raise NotLowered(f"the arguments mix {', '.join(sorted(map(str, dtypes | {self.real})))}")
        self.out_def, self.values = graph.out_def, [graph.values[i] for i in graph.outputs]
        if any(v.dtype != self.real and not v.weak for v in self.values):
            raise NotLowered("results that are not floating have no compiled form yet")
        order = list(range(len(self.values)))
        self.program: Program = build(graph, Roles(roles, order, plain=True), self.real, len(roles))

    def is_stale(self) -> bool:
        """Whether an array that fun closes over has been replaced by one of another shape."""
        return any(np.shape(read()) != shape for read, shape in zip(self.readers, self.shapes, strict=True))

    def __call__(self, leaves: list) -> Any:
        arguments = [leaves[k] for k in self.positions] + [read() for read in self.readers]
        results = [np.empty(v.shape, self.real) for v in self.values]
        self.program.run(arguments, results).forward()
        return tree.unflatten(
            self.out_def, [x if v.shape else x[()] for x, v in zip(results, self.values, strict=True)]
        )


def compile(fun: Callable) -> Compiled:
    """Keep a function's Programs from call to call; see `Compiled`."""
    return Compiled(fun)
