"""The arrays a function reads from outside its arguments, and how to read them again at the next call."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["reachable_arrays"]

Reader = Callable[[], Any]
MOST = 10_000  # objects looked at


def reachable_arrays(fun: Callable) -> Callable[[np.ndarray], Reader | None]:
    """A function from an array to its reader: ``reader()`` gives what stands in its place now.

    Looked through: closures, globals that the code names, defaults, bound methods, partials, attributes of
    objects, and containers. A view of such an array is read as itself: it shows what the array holds. Of any
    other array (made within the function) the answer is None.
    """
    readers: dict[int, Reader] = {}
    seen: set[int] = set()
    pending: list[tuple[Any, Reader]] = [(fun, lambda: fun)]
    while pending and len(seen) < MOST:
        value, read = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) is np.ndarray:
            readers[id(value)] = read
        else:
            pending += [(item, (lambda r=read, get=get: get(r()))) for item, get in _parts(value)]

    def reader_of(array: np.ndarray) -> Reader | None:
        if id(array) in readers:
            return readers[id(array)]
        base = array.base
        while base is not None:
            if id(base) in readers:
                return lambda: array
            base = getattr(base, "base", None)
        return None

    return reader_of


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
        for name, item in vars(value).items():
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
    for name in _names(fun.__code__):
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
