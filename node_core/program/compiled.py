"""nc.compile: a function that keeps its Programs from call to call."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import tree
from ..autodiff.node import Node
from .field_program import refusal
from .purity import ImpureError, check, copies
from .reachable import NUMBERS, Captured, Reachable
from .roles import NotLowered
from .trace import computes_the_same, line_of, trace, user_stacklevel

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
    if isinstance(leaf, (float, complex)):
        return type(leaf), repr(leaf)  # tells -0.0 from 0.0, and finds NaN again
    try:
        hash(leaf)
    except TypeError:
        return _ById(leaf)
    return type(leaf), leaf


class _ById:
    """An object that cannot be hashed, as the key that only itself is; it is kept alive, so that its id is."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __hash__(self) -> int:
        return id(self.x)

    def __eq__(self, other: object) -> bool:
        return type(other) is _ById and other.x is self.x


def objects_among(leaves: list) -> list:
    """Those leaves of the arguments that are neither arrays nor numbers: functions and objects, which may change."""
    return [x for x in leaves if not isinstance(x, (Node, np.ndarray, *NUMBERS))]


def keep(kept: dict, key: Any, value: Any) -> None:
    """Remember a value; a function that is called with ever new numbers must not fill the memory."""
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[key] = value


class Compiled:
    """``nc.compile(fun)``: computes what fun computes, by Programs that are kept.

    Programs are kept by the nesting, shapes and dtypes of the arguments and by the values of what is not an
    array. Arrays that fun closes over are read at every call; when a number it closes over has changed it is recorded
    again (`Captured`). A function that has no Program is called itself, and one warning says why. Traced arguments
    (within `nc.grad`, say) go through fun itself. Given to `odeint`, the Programs of its right-hand side are kept
    likewise. fun must be pure; it is run three times to be recorded, once on made-up values.

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
        functools.update_wrapper(self, fun, updated=())  # not its __dict__: fun may be compiled itself
        self.fun = fun
        self._by_keywords: dict[tuple, Compiled] = {}
        self._warned: set[str] = set()
        self._plain: dict[Any, _Kept | None] = {}
        self._last: _Kept | None = None
        self._fields: dict[Any, dict] = {}
        self.calls: dict[Any, tuple] = {}  # what `odeint` has checked

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: the object is the first argument."""
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> tuple:
        """A copy starts without Programs."""
        return Compiled, (self.fun,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            return self._of_keywords(tuple(kwargs), len(args))(*args, *kwargs.values())
        leaves, treedef = tree.flatten(args)
        if any(type(leaf) is Node for leaf in leaves):
            return self.fun(*args)
        last = self._last  # one attribute read: another thread may put its own there
        if last is not None and last.fits(leaves, treedef):  # a loop calls with one signature: no key is made
            captured = last.captured.read()
            if captured is not None:
                return last(leaves, captured)
        kept = self._kept(args, leaves, treedef)
        captured = None if kept is None else kept.captured.read()
        if captured is None:  # or changed meanwhile, by another thread
            return self.fun(*args)
        self._last = kept if kept.positions == list(range(len(leaves))) else None
        return kept(leaves, captured)

    def _of_keywords(self, names: tuple, count: int) -> Compiled:
        """The same function with the keyword arguments of these names behind `count` positional ones."""
        if (names, count) not in self._by_keywords:
            fun = self.fun

            def of_all(*args: Any) -> Any:
                return fun(*args[:count], **dict(zip(names, args[count:], strict=True)))

            self._by_keywords[names, count] = Compiled(functools.update_wrapper(of_all, fun, updated=()))
        return self._by_keywords[names, count]

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
        stale = kept is not None and kept.captured.read() is None
        if key not in self._plain or stale:
            before = kept
            kept = self._made(args)
            keep(self._plain, key, kept)
            if stale and kept is not None and computes_the_same(before.graph, kept.graph):
                kept.captured.forget(before.captured.changed())
            if len(self._plain) == MANY:
                self._warn(
                    f"compile: {MANY} Programs were made of this function, one for each shape of its arguments and "
                    "each value of those that are no floating arrays; give numbers that change as np.float64(x)"
                )
        return kept

    def _made(self, args: tuple) -> _Kept | None:
        try:
            return _Kept(self.fun, args, tree.flatten(args)[0])
        except Exception as error:
            reason = refusal(error, line_of)
            with np.errstate(all="ignore"):
                self.fun(*tree.unflatten(tree.flatten(args)[1], copies(tree.flatten(args)[0])))  # is it the user's?
            self._reason = reason
            self._warn(f"compile: the function is called itself: {reason}")
            return None

    def _warn(self, message: str) -> None:
        """Once for a function and a reason."""
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())

    def fields(self, key: Any) -> dict:
        """Where the Programs of right-hand sides of this signature are kept."""
        if key not in self._fields:
            keep(self._fields, key, {})
        return self._fields[key]


class _Kept:
    """What one signature of a plain function became: Programs, and solves between them."""

    def __init__(self, fun: Callable, args: tuple, leaves: list) -> None:
        from .sequence import Sequence  # with the first Program: see `field_program`

        _check_types(leaves)
        live = Reachable(fun, objects_among(leaves))
        with np.errstate(all="ignore"):  # as Programs have it
            graph = trace(fun, *args, live=live, arrays_only=True)
        self.positions = [k for k, leaf in enumerate(leaves) if is_input(leaf)]
        graph.inputs = [graph.inputs[k] for k in self.positions]
        self.captured = Captured(live, graph.captured.values())
        self.graph, self.sequence = graph, Sequence(graph)
        self.in_def, self.out_def = tree.flatten(args)[1], graph.out_def
        self.signature = [(leaf.shape, leaf.dtype) if is_input(leaf) else (None, None) for leaf in leaves]
        self.debug = False
        self._check(fun, leaves)
        self.debug = os.environ.get("NODE_CORE_DEBUG") == "1"

    def _check(self, fun: Callable, leaves: list) -> None:
        """Compare with fun here and at a point nearby; see `purity.check`."""

        def own(leaves: list) -> list:
            return tree.flatten(fun(*tree.unflatten(self.in_def, leaves)))[0]

        def program(leaves: list) -> list:
            captured = self.captured.settled()
            if captured is None:
                raise ImpureError("what the function reads from outside its arguments changed while it was recorded")
            return tree.flatten(self(leaves, captured))[0]

        moved = [x + 1e-3 * (1 + np.abs(x)).astype(x.dtype) if is_input(x) else x for x in leaves]
        check("the function", own, program, leaves, moved)

    def fits(self, leaves: list, treedef: Any) -> bool:
        """Whether these arguments, all arrays, have the signature of this one."""
        if treedef != self.in_def:
            return False
        for leaf, (shape, dtype) in zip(leaves, self.signature, strict=True):
            if type(leaf) is not np.ndarray or leaf.shape != shape or leaf.dtype is not dtype:
                return False
        return True

    def __call__(self, leaves: list, captured: list) -> Any:
        inputs = [leaves[k] for k in self.positions]
        if self.debug:
            self.graph.run_checked(inputs, captured)
        results = self.sequence(inputs, captured)
        return tree.unflatten(self.out_def, [x[()] if type(x) is np.ndarray and x.ndim == 0 else x for x in results])


def _check_types(leaves: list) -> None:
    for x in leaves:
        if isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap):
            raise NotLowered(f"an argument of type {type(x).__name__} has no compiled form")


def is_input(leaf: Any) -> bool:
    """Whether a Program takes a leaf of the arguments as an input; all others are constants of it."""
    return isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "fc"


def compile(fun: Callable) -> Compiled:
    """Keep a function's Programs from call to call; see `Compiled`."""
    return Compiled(fun)
