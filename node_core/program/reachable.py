"""The arrays a function reads from outside its arguments, and how to read them again at the next call."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .._kernels.rk import same_bits
from .trace import is_users

__all__ = ["Captured", "Reachable"]

Reader = Callable[[], Any]
MOST = 10_000  # objects looked at


class Reachable:
    """The arrays that `fun` can read from outside its arguments; calling it gives an array's reader.

    ``reachable(array)()`` gives what stands in the array's place now. Looked through: closures, globals that a user's
    code names, defaults, bound methods, partials, attributes of objects, and containers. A view of such an array is
    read as itself: it shows what the array holds. Of any other array (made within the function) the answer is None.
    """

    def __init__(self, fun: Callable) -> None:
        self.readers: dict[int, Reader] = {}
        seen: set[int] = set()
        pending: list[tuple[Any, Reader]] = [(fun, lambda: fun)]
        while pending and len(seen) < MOST:
            value, read = pending.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if type(value) is np.ndarray:
                self.readers[id(value)] = read
            else:
                pending += [(item, (lambda r=read, get=get: get(r()))) for item, get in _parts(value)]

    def __call__(self, array: np.ndarray) -> Reader | None:
        if id(array) in self.readers:
            return self.readers[id(array)]
        base = array.base
        while base is not None:
            if id(base) in self.readers:
                return lambda: array
            base = getattr(base, "base", None)
        return None


class Captured:
    """The arrays that a Program reads from outside its arguments: `read` gives them as they are now.

    arrays: those that are inputs of its graph. With `others` the graph also has constants that may have been computed
    from any array in reach, as `np.outer(w, w)` of a closed-over w: then all of these are watched.
    """

    def __init__(self, reachable: Reachable | None, arrays: Iterable[np.ndarray], others: bool) -> None:
        arrays = list(arrays)
        self.readers = [reachable(x) for x in arrays] if reachable is not None else []
        self.like = [(x.shape, x.dtype) for x in arrays]
        self.watched: list[tuple[Reader, np.ndarray]] = []
        if others and reachable is not None:
            self.watched = [(read, read().copy()) for read in reachable.readers.values()]

    def __len__(self) -> int:
        return len(self.readers)

    def read(self) -> list | None:
        """The arrays; None if the graph no longer stands for the function: another shape, or other constants."""
        found = [read() for read in self.readers]
        for x, (shape, dtype) in zip(found, self.like, strict=True):
            if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype:
                return None
        for read, before in self.watched:
            if not same_bits(read(), before):
                return None
        return found


def _parts(value: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    """What an object holds: each part, and the function that takes it from the object."""
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield value.__func__, lambda m: m.__func__
        yield value.__self__, lambda m: m.__self__
    elif isinstance(value, functools.partial):
        yield value.func, lambda p: p.func
        yield value.args, lambda p: p.args
        yield value.keywords, lambda p: p.keywords
    elif isinstance(value, dict):
        for key, item in value.items():
            yield item, lambda d, key=key: d[key]
    elif isinstance(value, (list, tuple)):
        for k, item in enumerate(value):
            yield item, lambda x, k=k: x[k]
    elif hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType)):
        only = getattr(type(value), "only_reads", None)  # what it keeps beside these is no part of what it computes
        for name, item in vars(value).items():
            if only is None or name in only:
                yield item, lambda x, name=name: getattr(x, name)
        call = vars(type(value)).get("__call__")
        if isinstance(call, types.FunctionType):
            yield call, lambda x: type(x).__call__


def _function_parts(fun: types.FunctionType) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    for k, cell in enumerate(fun.__closure__ or ()):
        try:
            yield cell.cell_contents, lambda f, k=k: f.__closure__[k].cell_contents
        except ValueError:  # a cell not filled yet
            continue
    for name in _names(fun.__code__) if is_users(fun.__code__.co_filename) else ():
        if name in fun.__globals__:
            item = fun.__globals__[name]
            if isinstance(item, types.ModuleType):
                continue
            yield item, lambda f, name=name: f.__globals__[name]
    yield fun.__defaults__ or (), lambda f: f.__defaults__
    yield fun.__kwdefaults__ or {}, lambda f: f.__kwdefaults__


def _names(code: types.CodeType) -> set[str]:
    """The global names that code uses, in functions inside it, too."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found
