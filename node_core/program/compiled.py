"""nc.compile: a function that keeps its Programs from call to call."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import tree
from ..autodiff.node import Node
from .field_program import ImpureError, close, refusal
from .reachable import Captured, Reachable
from .trace import Graph, line_of, trace

__all__ = ["Compiled", "compile", "keep", "signature"]

MOST_KEPT = 256  # Programs of one function
MANY = 32  # of them call for a word


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

    only_reads = ("fun",)

    def __init__(self, fun: Callable) -> None:
        if not callable(fun):
            raise TypeError(f"compile: fun must be callable, got {type(fun).__name__}")
        self.fun = fun
        self._plain: dict[Any, _Kept | None] = {}
        self._last: _Kept | None = None
        self._fields: dict[Any, dict] = {}
        self.calls: dict[Any, tuple] = {}  # what `odeint` has checked
        functools.update_wrapper(self, fun)

    def __call__(self, *args: Any) -> Any:
        leaves, treedef = tree.flatten(args)
        if any(type(leaf) is Node for leaf in leaves):
            return self.fun(*args)
        last = self._last  # one attribute read: another thread may put its own there
        if last is not None and last.fits(leaves, treedef):  # a loop calls with one signature: no key is made
            captured = last.captured.read()
            if captured is not None:
                return last(leaves, captured)
        kept = self._kept(args, leaves, treedef)
        if kept is None:
            return self.fun(*args)
        self._last = kept if kept.positions == list(range(len(leaves))) else None
        return kept(leaves, kept.captured.read())

    def listing(self, *args: Any) -> str:
        """The Program for these arguments as text. Raises TypeError, saying why, if there is none."""
        leaves, treedef = tree.flatten(args)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = self._kept(args, leaves, treedef)
        if kept is None:
            raise TypeError(f"this function has no Program: {self._reason}")
        return kept.sequence.listing()

    def _kept(self, args: tuple, leaves: list, treedef: Any) -> _Kept | None:
        key = (treedef, tuple(map(signature, leaves)))
        kept = self._plain.get(key)
        if key not in self._plain or (kept is not None and kept.captured.read() is None):
            kept = self._made(args)
            keep(self._plain, key, kept)
            if len(self._plain) == MANY:
                warnings.warn(
                    f"compile: {MANY} Programs were made of this function, one for each shape of its arguments and "
                    "each value of those that are no floating arrays; give numbers that change as np.float64(x)",
                    RuntimeWarning,
                    stacklevel=3,
                )
        return kept

    def _made(self, args: tuple) -> _Kept | None:
        try:
            return _Kept(self.fun, args, tree.flatten(args)[0])
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
    """What one signature of a plain function became: Programs, and solves between them."""

    def __init__(self, fun: Callable, args: tuple, leaves: list) -> None:
        from .sequence import Sequence  # with the first Program: see `field_program`

        live = Reachable(fun)
        graph = trace(fun, *args, live=live, arrays_only=True)
        self.positions = [k for k, leaf in enumerate(leaves) if is_input(leaf)]
        graph.inputs = [graph.inputs[k] for k in self.positions]
        self.captured = Captured(live, graph.captured.values(), graph.made_arrays or _reads_others(graph, live))
        self.sequence = Sequence(graph)
        self.in_def, self.out_def = tree.flatten(args)[1], graph.out_def
        self.signature = [(leaf.shape, leaf.dtype) if is_input(leaf) else (None, None) for leaf in leaves]
        self._check(fun, leaves)

    def _check(self, fun: Callable, leaves: list) -> None:
        """Compare with fun at two points. The second is made up: if fun refuses it, it proves nothing."""
        for moved in (False, True):
            if moved:
                leaves = [x + 1e-3 * (1 + np.abs(x)).astype(x.dtype) if is_input(x) else x for x in leaves]
            try:
                wanted = tree.flatten(fun(*tree.unflatten(self.in_def, leaves)))[0]
            except Exception:
                if moved:
                    return
                raise
            for got, x in zip(tree.flatten(self(leaves, self.captured.read()))[0], wanted, strict=True):
                if tree.is_floating(x) and not close(np.asarray(got), np.asarray(x)):
                    raise ImpureError("the function gave two answers for the same arguments: it is not pure")

    def fits(self, leaves: list, treedef: Any) -> bool:
        """Whether these arguments, all arrays, have the signature of this one."""
        if treedef != self.in_def:
            return False
        for leaf, (shape, dtype) in zip(leaves, self.signature, strict=True):
            if type(leaf) is not np.ndarray or leaf.shape != shape or leaf.dtype is not dtype:
                return False
        return True

    def __call__(self, leaves: list, captured: list) -> Any:
        results = self.sequence([leaves[k] for k in self.positions], captured)
        return tree.unflatten(self.out_def, [x[()] if type(x) is np.ndarray and x.ndim == 0 else x for x in results])


def _reads_others(graph: Graph, live: Reachable) -> bool:
    """Whether a solve's func reads arrays that are not in reach of the function that solves: it made them itself."""
    for step in graph.instructions:
        if step.primitive.whole and not Reachable(step.primitive.func).readers.keys() <= live.readers.keys():
            return True
    return False


def is_input(leaf: Any) -> bool:
    """Whether a Program takes a leaf of the arguments as an input; all others are constants of it."""
    return isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "fc"


def compile(fun: Callable) -> Compiled:
    """Keep a function's Programs from call to call; see `Compiled`."""
    return Compiled(fun)
