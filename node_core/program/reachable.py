"""What a function reads from outside its arguments, and whether it is still what it was when it was traced.

A Program stands for the function as long as the numbers in reach are those that were seen, and the arrays in reach that
are no inputs of it hold what they held.
"""

from __future__ import annotations

import operator
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .._kernels.rk import all_same, follow
from .trace import is_users

__all__ = ["Captured", "Reachable"]

MOST = 10_000  # objects looked at
MOST_WATCHED = 100  # numbers, and as many arrays
MOST_BYTES = 1 << 18  # of the arrays that are watched, which are compared at every call
NUMBERS = (bool, int, float, complex, str, bytes, type(None), np.generic)

Getter = Callable[[Any], Any]


class Reachable:
    """The arrays and numbers that `fun` can read from outside its array arguments, each with its place.

    objects: arguments that are no arrays or numbers; what they hold is in reach, too.
    Place 0 is (fun, *objects); place k + 1 is ``getter(value of place parent)``, with ``(parent, getter) = steps[k]``.
    Looked through: closures, globals that a user's code names (those of his modules as well), defaults, bound methods,
    partials, attributes of objects and of their classes, methods, and containers. `exhausted`: there was more than can
    be looked at.
    """

    def __init__(self, fun: Callable, objects: Iterable = ()) -> None:
        self.steps: list[tuple[int, Getter]] = []
        self.values: list[Any] = [(fun, *objects)]
        self.arrays: dict[int, list[int]] = {}  # id -> places
        self.numbers: list[int] = []
        seen: set[int] = set()
        place = 0
        while place < len(self.values) < MOST:
            for item, getter in _parts(self.values[place]):
                array, number = isinstance(item, np.ndarray), isinstance(item, NUMBERS)
                if not (array or number):
                    if id(item) in seen:
                        continue
                    seen.add(id(item))
                self.steps.append((place, getter))
                self.values.append(item)
                if array:
                    self.arrays.setdefault(id(item), []).append(len(self.values) - 1)
                elif number and not _is_our_function(self._owner(place)):
                    self.numbers.append(len(self.values) - 1)
            place += 1
        self.exhausted = place < len(self.values)

    def _owner(self, place: int) -> Any:
        """The function that a cell belongs to, through its tuple of cells; None of anything else."""
        if not isinstance(self.values[place], types.CellType):
            return None
        parent = self.steps[place - 1][0]
        return self.values[self.steps[parent - 1][0]] if parent else None

    def place_of(self, array: np.ndarray) -> int | None:
        """The place of an array, or of the one that it is a view of."""
        x: Any = array
        while x is not None:
            if id(x) in self.arrays:
                return self.arrays[id(x)][0]
            x = getattr(x, "base", None)
        return None


class Captured:
    """What one graph reads from outside its arguments: `read` gives the arrays that are inputs of it, as they are now.

    arrays: those inputs. Beside them the numbers in reach are watched, and the arrays, smallest first, as far as it
    takes no time: the graph may hold constants computed from them, or have taken its course by them.
    """

    def __init__(self, reachable: Reachable | None, arrays: Iterable[np.ndarray]) -> None:
        self.arrays = list(arrays) if reachable is not None else []
        self.steps: list[tuple[int, Getter]] = []
        self.root: Any = None
        self.places: list[int] = []  # of the arrays
        self.bases: list[Any] = []  # what was there: the array, or what it is a view of
        self.watched: dict[int, Any] = {}  # place in reach -> what was there
        self.alike: list[tuple[int, int]] = []  # places that held one array
        if reachable is not None:
            self.root = reachable.values[0]
            self.places = [reachable.place_of(x) for x in self.arrays]  # type: ignore[misc]
            self._watch(reachable)
            self._keep_steps(reachable)

    def __len__(self) -> int:
        return len(self.arrays)

    def _watch(self, reachable: Reachable) -> None:
        self.bases = [reachable.values[place] for place in self.places]
        for place in reachable.numbers[:MOST_WATCHED]:
            self.watched[place] = reachable.values[place]
        total = 0
        for places in sorted(reachable.arrays.values(), key=lambda places: reachable.values[places[0]].nbytes):
            x = reachable.values[places[0]]
            total += x.nbytes
            if total <= MOST_BYTES and not x.dtype.hasobject and len(self.watched) < 2 * MOST_WATCHED:
                self.watched[places[0]] = np.array(x)
            self.alike += [(places[0], other) for other in places[1:]]

    def _keep_steps(self, reachable: Reachable) -> None:
        """Only the steps that lead to what is read or watched, and the places numbered by them."""
        needed = set(self.places) | set(self.watched) | {place for pair in self.alike for place in pair}
        for place in range(len(reachable.values) - 1, 0, -1):
            if place in needed:
                needed.add(reachable.steps[place - 1][0])
        new = {place: k for k, place in enumerate(sorted(needed | {0}))}
        self.steps = [(new[parent], getter) for parent, getter in (reachable.steps[p - 1] for p in new if p)]
        self.places = [new[place] for place in self.places]
        self.watched = {new[place]: x for place, x in self.watched.items()}
        self.alike = [(new[a], new[b]) for a, b in self.alike]

    def _values(self) -> list | None:
        """What stands at every place now; None if a place is gone."""
        try:
            return follow(self.root, self.steps)
        except (AttributeError, LookupError, TypeError, ValueError):
            return None

    def read(self) -> list | None:
        """The arrays as they are now; None if the graph may no longer stand for the function."""
        values = self._values()
        if values is None:
            return None
        found = []
        for place, base, array in zip(self.places, self.bases, self.arrays, strict=True):
            x = values[place]
            if x is base:
                x = array  # a view shows what its base holds
            elif base is not array or type(x) is not type(array) or x.shape != array.shape or x.dtype != array.dtype:
                return None
            found.append(x)
        if not all_same(values, self.watched):
            return None
        for a, b in self.alike:
            if values[a] is not values[b]:
                return None
        return found

    def changed(self) -> list[int]:
        """The watched places that have changed."""
        values = self._values()
        return [] if values is None else [k for k, before in self.watched.items() if not all_same(values, {k: before})]

    def settled(self) -> list | None:
        """`read`, while the function is being recorded: what it changes itself, a counter, is watched no longer."""
        self.forget(self.changed())
        return self.read()

    def forget(self, places: Iterable[int]) -> None:
        """Watch these no longer: they changed, and the graph did not."""
        for place in places:
            self.watched.pop(place, None)


# --- the parts of an object, each with the function that takes it from the object ---

Parts = Iterator[tuple[Any, Getter]]


def _parts(value: Any) -> Parts:
    if isinstance(value, (*NUMBERS, np.ndarray)):
        return
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.CellType):
        try:
            yield value.cell_contents, operator.attrgetter("cell_contents")
        except ValueError:  # a cell not filled yet
            return
    elif isinstance(value, (staticmethod, classmethod)):
        yield value.__func__, operator.attrgetter("__func__")
    elif isinstance(value, Mapping):
        yield len(value), len
        for key in list(value):
            yield value[key], operator.itemgetter(key)
    elif isinstance(value, (list, tuple, deque)):
        if type(value) is not tuple:
            yield len(value), len
        for k, item in enumerate(value):
            yield item, operator.itemgetter(k)
    elif isinstance(value, type):
        yield from _class_parts(value)
    elif not isinstance(value, types.ModuleType):
        yield from _object_parts(value)


def _object_parts(value: Any) -> Parts:
    only = getattr(type(value), "only_reads", None)  # what it keeps beside these is no part of what it computes
    names = [*getattr(value, "__dict__", ()), *_slots(type(value)), "func", "args", "keywords", "__func__", "__self__"]
    for name in dict.fromkeys(names):
        if only is None or name in only:
            try:
                yield getattr(value, name), operator.attrgetter(name)
            except Exception:  # not there, or a property that fails
                continue
    if _is_users_class(type(value)) or isinstance(vars(type(value)).get("__call__"), types.FunctionType):
        yield type(value), operator.attrgetter("__class__")


def _slots(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _class_parts(cls: type) -> Parts:
    for name, item in list(vars(cls).items()):
        plain = isinstance(
            item, (types.FunctionType, staticmethod, classmethod, np.ndarray, list, dict, tuple, *NUMBERS)
        )
        if plain and (not name.startswith("__") or name == "__call__"):
            yield item, lambda c, name=name: c.__dict__[name]
    if _is_users_class(cls):
        for k, base in enumerate(cls.__bases__):
            if _is_users_class(base):
                yield base, lambda c, k=k: c.__bases__[k]


def _is_our_function(value: Any) -> bool:
    """Whether value is a function of this package, whose cells hold what it was made with and nothing that changes."""
    return isinstance(value, types.FunctionType) and not is_users(value.__code__.co_filename)


def _is_users_class(cls: type) -> bool:
    return _is_users_module(sys.modules.get(cls.__module__))


def _is_users_module(module: Any) -> bool:
    name = getattr(module, "__name__", "builtins").partition(".")[0]
    if name == "__main__":
        return True
    file = getattr(module, "__file__", None)
    return file is not None and name not in sys.stdlib_module_names and is_users(file)


def _function_parts(fun: types.FunctionType) -> Parts:
    for name in ("__closure__", "__defaults__", "__kwdefaults__"):
        item = getattr(fun, name)
        if item:
            yield item, operator.attrgetter(name)
    if not is_users(fun.__code__.co_filename):
        return
    names = _names(fun.__code__)
    for name in names:
        if name not in fun.__globals__:
            continue
        item = fun.__globals__[name]
        if not isinstance(item, types.ModuleType):
            yield item, lambda f, name=name: f.__globals__[name]
        elif _is_users_module(item):
            for part in names:
                if part in vars(item):
                    yield vars(item)[part], lambda f, name=name, part=part: getattr(f.__globals__[name], part)


def _names(code: types.CodeType) -> dict[str, None]:
    """The global names and attributes that code uses, in functions inside it, too; in the order of the code."""
    found = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(_names(constant))
    return found
