"""The user's ``func(t, y, *args)`` as the solvers see it: flat vectors in and out, checked, with its VJP.

The VJP is traced once into a graph and run from there; a function whose course depends on values cannot be
traced, and its VJP is then recorded anew at every evaluation.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._kernels.rk import nonfinite_find
from ..autodiff import tree, vjp
from ..autodiff.node import Node, concrete, lift
from ..autodiff.primitive import is_traced
from .compiled import Compiled, objects_among, signature
from .field_program import FieldProgram, field_program, refusal
from .purity import close
from .reachable import Reachable
from .trace import Graph, TraceError, line_of, trace, user_stacklevel

__all__ = ["ClosedOverError", "Field", "closed_over_names"]


class ClosedOverError(TypeError):
    """func returned a traced value on plain arguments: it uses one from outside itself."""


class Field:
    """``field(t, y) -> dy`` on vectors of shape (n,), for one func and one nesting of the state.

    func:   ``func(t, y, *args)``, pure.
    y0:     an example of the state: any nesting of floating arrays of one dtype.
    args:   the tuple of further arguments.
    wanted: which floating leaves of args are differentiated by; by default those that are traced.

    `parameters` are the floating arrays among the leaves of args and those wanted; the rest of args is constant.
    """

    def __init__(self, func: Callable, y0: Any, args: tuple, wanted: Callable[[Any], bool] = is_traced) -> None:
        self.func = func
        leaves, self.y_def = tree.flatten(y0)
        self.single = self.y_def.kind is tree.LEAF
        self.shapes = [np.shape(leaf) for leaf in leaves]
        self.paths = tree.paths(y0, "y")
        self.dtype = np.result_type(*leaves) if leaves else np.dtype(float)
        self.size = sum(int(np.prod(shape)) for shape in self.shapes)
        self.arg_leaves, self.arg_def = tree.flatten(args)
        self._choose(wanted)
        self._graphs: dict[bool, Graph | None] = {}
        self._checks: dict[bool, int] = {}
        self._debug = os.environ.get("NODE_CORE_DEBUG") == "1"
        self._debugged: Graph | None = None
        self._programs: dict[tuple, FieldProgram | None] = {}
        self._warned: set[str] = set()
        self._keeps = isinstance(func, Compiled)
        if isinstance(func, Compiled):
            key = (self.y_def, tuple(self.shapes), self.dtype, self.arg_def, tuple(map(signature, self.arg_leaves)))
            self.func, self._programs = func.fun, func.fields(key)

    def _choose(self, wanted: Callable[[Any], bool]) -> None:
        leaves, self._rule = self.arg_leaves, wanted
        self.floating = [
            i for i, x in enumerate(leaves) if tree.is_floating(x) and (type(x) not in (float, complex) or wanted(x))
        ]
        self.wanted = [wanted(leaves[i]) for i in self.floating]

    @property
    def args(self) -> tuple:
        """The further arguments of func."""
        return tree.unflatten(self.arg_def, self.arg_leaves)

    def called_with(self, arg_leaves: list) -> Field:
        """The same field, Programs and all, with other leaves of args of the same signature."""
        other = self.with_leaves(arg_leaves)
        other.wanted = [self._rule(arg_leaves[i]) for i in self.floating]
        return other

    def with_leaves(self, arg_leaves: list) -> Field:
        """The same field with these leaves of args; the Programs serve other values as well."""
        other = object.__new__(Field)
        other.__dict__.update(self.__dict__)
        other.arg_leaves, other._graphs, other._checks = arg_leaves, {}, {}
        return other

    def with_args(self, floating_leaves: Sequence) -> Field:
        """The same field with other values of its parameters."""
        leaves = list(self.arg_leaves)
        for i, leaf in zip(self.floating, floating_leaves, strict=True):
            leaves[i] = leaf
        return self.with_leaves(leaves)

    def wanting(self, wanted: Sequence[bool]) -> Field:
        """The same field, differentiated by these parameters only."""
        other = self.with_leaves(self.arg_leaves)
        other.wanted = list(wanted)
        return other

    def lasting(self) -> Field:
        """The same field for calls to come: its Programs read arrays that func closes over at every call."""
        other = self.with_leaves(self.arg_leaves)
        if not self._keeps:
            other._keeps, other._programs = True, {}
        return other

    @property
    def parameters(self) -> list:
        """The floating arrays of args, and its traced numbers."""
        return [self.arg_leaves[i] for i in self.floating]

    @property
    def differentiated(self) -> list:
        """Those parameters whose cotangents are wanted."""
        return [p for p, want in zip(self.parameters, self.wanted, strict=True) if want]

    # --- evaluation ---

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
        if self._debugged is not None:
            self._debugged.run_checked([t, y, *self.parameters])
        dy = self.func(t, self.unravel(y), *self.args)
        if type(dy) is np.ndarray and self.single and dy.dtype == self.dtype and dy.shape == self.shapes[0]:
            return dy.ravel()  # the usual case: nothing to convert, a copy only if not contiguous
        return self._converted(dy, t)

    def unravel(self, y: Any) -> Any:
        """A vector (n,) in the nesting of the state."""
        if self.single:
            return y if self.shapes[0] == (self.size,) else np.reshape(y, self.shapes[0])
        parts, start = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            parts.append(np.reshape(y[start : start + size], shape))
            start += size
        return tree.unflatten(self.y_def, parts)

    def check_finite(self, flat: np.ndarray) -> None:
        """ValueError, with the user's name for the entry, if a state (n,) is not finite."""
        if self.size == 0 or nonfinite_find(flat) < 0:
            return
        for leaf, path in zip(tree.flatten(self.unravel(flat))[0], self.paths, strict=True):
            bad = np.argwhere(~np.isfinite(leaf))
            if len(bad):
                index = tuple(int(i) for i in bad[0])
                where = f"{path}{list(index) if index else ''}".replace("y", "y0", 1)
                raise ValueError(f"y0 must be finite, got {leaf[index]} at {where}")

    def nonfinite_argument(self) -> str | None:
        """``args[0]['W'][2, 1] is nan`` of the first floating argument that is not finite."""
        paths = tree.paths(self.args, "args")
        for i in self.floating:
            x = np.asarray(concrete(self.arg_leaves[i]))
            bad = np.argwhere(~np.isfinite(x))
            if len(bad):
                index = tuple(int(k) for k in bad[0])
                return f"{paths[i]}{list(index) if index else ''} is {x[index]}"
        return None

    def split(self, flat: np.ndarray) -> list:
        """A vector (p,) as one array for every parameter that is differentiated by."""
        parts, start = [], 0
        for leaf in self.differentiated:
            shape = leaf.shape if hasattr(leaf, "shape") else ()
            stop = start + math.prod(shape)
            parts.append(flat[start:stop].reshape(shape))
            start = stop
        return parts

    def _converted(self, dy: Any, t: float) -> np.ndarray:
        """What func returned as a plain vector (n,) of the state's dtype."""
        flat = self.ravel(dy, t)
        if type(flat) is Node:
            raise ClosedOverError(closed_over_names(self.func))
        return np.ascontiguousarray(flat)

    def ravel(self, dy: Any, t: Any) -> Any:
        """What func returned as one vector, plain or traced: from an array, a list or tuple of scalars."""
        if self.single:
            return np.reshape(self._leaf(dy, 0, t), (-1,))
        try:
            leaves = tree._leaves_like(self.y_def, dy)
        except ValueError:
            raise TypeError(
                f"func must return the nesting of y0, {self.y_def}, got {tree.flatten(dy)[1]} at t = {t}"
            ) from None
        parts = [np.reshape(self._leaf(leaf, i, t), (-1,)) for i, leaf in enumerate(leaves)]
        return np.concatenate(parts) if parts else np.zeros(0, self.dtype)

    def _leaf(self, dy: Any, i: int, t: Any) -> Any:
        """One leaf of what func returned, with the shape and dtype of that leaf of the state."""
        where = f"func must return {'an array' if self.single else 'for ' + self.paths[i] + ' an array'}"
        if dy is None:
            raise TypeError(f"{where} shaped like y0, {self.shapes[i]}, got None at t = {t}: is a return missing?")
        try:
            dy = lift(dy)
            dtype = dy.dtype if hasattr(dy, "dtype") else np.asarray(dy).dtype
        except ValueError as error:  # a ragged list
            raise ValueError(f"{where} shaped like y0, {self.shapes[i]}, at t = {t}: {error}") from error
        if dtype.kind not in "fciub" or (dtype.kind == "c" and self.dtype.kind != "c"):
            raise TypeError(f"{where} of y0's dtype, {self.dtype}, got {dtype} at t = {t}")
        if np.shape(dy) != self.shapes[i]:
            raise ValueError(f"{where} of y0's shape {self.shapes[i]}, got shape {np.shape(dy)} at t = {t}")
        return dy if dtype == self.dtype and hasattr(dy, "dtype") else _cast(dy, self.dtype)

    def with_closed_over(self, t: float, y: np.ndarray) -> tuple[Field, list[Node]]:
        """This field with the traced values func closes over as further args, and those values.

        func itself cannot be given other values for what it closes over; its graph can. The new field's
        state is the flat vector, its floating leaves those of this field and then the closed-over ones.
        Raises ClosedOverError, naming the values, where func cannot be traced.
        """
        try:
            graph = trace(self.flat, t, y, [concrete(p) for p in self.parameters])
        except TypeError as error:  # a TraceError, or a conversion such as math.sin(t) of what is traced here
            names = closed_over_names(self.func)
            raise ClosedOverError(f"{names} (func cannot be traced: {error})") from error
        captured = list(graph.captured.values())
        own = concrete(self.ravel(self.func(t, self.unravel(y), *self.args), t))
        if not close(graph.run([t, y, *self.parameters], [concrete(x) for x in captured])[0], own):
            raise ClosedOverError(f"{closed_over_names(self.func)} (traced, func computes something else: is it pure?)")

        def func(t: Any, y: Any, parameters: list, values: list) -> Any:
            return graph.run([t, y, *parameters], values)[0]

        return Field(func, y, (self.parameters, captured), self._rule), captured

    def flat(self, t: Any, y: Any, parameters: Sequence) -> Any:
        """func as a function of vectors and of the floating leaves of args, plain or traced."""
        return self.ravel(self.func(t, self.unravel(y), *self.with_args(parameters).args), t)

    def closed_over(self) -> None:
        """Raise the ClosedOverError that names what func reads from outside."""
        raise ClosedOverError(closed_over_names(self.func))

    # --- Programs ---

    def compiled(self, t: float, y: np.ndarray, *, gradient: bool = False, with_t: bool = False) -> Any:
        """A Run of this field's Program with its present arguments; None where there is none.

        gradient: the Program has the VJP, too, with_t also by t. A func that cannot be traced or lowered has
        no Program, and one warning says why; what fails without one, too, comes through unchanged. Complex
        and empty states, and complex parameters, have none. Raises ClosedOverError as `__call__` does.

        With NODE_CORE_DEBUG=1 there are no Programs: every result of the traced graph is looked at, and the first
        that is not finite is named with the user's line (FloatingPointError).
        """
        if self._debug:
            try:
                self._debugged = trace(self.flat, t, y, [concrete(p) for p in self.parameters])
            except TypeError:  # it cannot be traced; func itself is called
                self._debugged = None
            return None
        key = (gradient, with_t, *(self.wanted if gradient else ()))
        found = self._programs.get(key)
        if found is None and (self.dtype.kind != "f" or self.size == 0 or any(map(np.iscomplexobj, self.parameters))):
            return None
        captured = found.captured.read() if found is not None else None
        if key not in self._programs or (found is not None and captured is None):
            before = found
            found = self._programs[key] = self._lowered(t, y, gradient, with_t)
            if found is not None and before is not None:
                found.succeed(before)
            captured = found.captured.settled() if found is not None else None
        return None if found is None else found.run(self.parameters, captured)

    def _lowered(self, t: float, y: np.ndarray, gradient: bool, with_t: bool) -> FieldProgram | None:
        try:
            live = Reachable(self.func, objects_among(self.arg_leaves)) if self._keeps else None
            return field_program(self, t, y, gradient=gradient, with_t=with_t, live=live)
        except ClosedOverError:
            raise
        except Exception as error:
            own = y.copy()
            own.flags.writeable = False
            self(t, own)  # what fails without a Program, too, is the user's to see
            self._warn("trace", f"func is called back from Python at every stage: {refusal(error, line_of)}")
            return None

    def _warn(self, topic: str, message: str) -> None:
        """Once for a field, however many reasons there are."""
        if topic not in self._warned:
            self._warned.add(topic)
            _warn(message)

    # --- the vector-Jacobian product ---

    def vjp(self, t: float, y: np.ndarray, a: np.ndarray, with_t: bool = False) -> tuple:
        """``(f, a.f_y, [a.f_p for every parameter p that is wanted], a.f_t or None)`` at (t, y)."""
        graph = self._graph(t, y, with_t)
        if graph is None:
            found = self._pulled(t, y, self.parameters, a, with_t)
        else:
            found = graph.run([t, y, *self.parameters, a])
            if not self._agrees(found[0], t, y, with_t):
                found = self._pulled(t, y, self.parameters, a, with_t)
        f, y_bar, *p_bars = found
        if type(f) is Node:
            raise ClosedOverError(closed_over_names(self.func))
        return f, y_bar, p_bars[: sum(self.wanted)], p_bars[-1] if with_t else None

    def _pulled(self, t: Any, y: Any, parameters: Sequence, a: Any, with_t: bool) -> list:
        """f and its VJP by recording func, as a flat list: f, y's, the wanted parameters', t's (if asked)."""
        moving = [p for p, want in zip(parameters, self.wanted, strict=True) if want]

        def flat(t: Any, y: Any, *moved: Any) -> Any:
            values = iter(moved)
            return self.flat(t, y, [next(values) if w else p for p, w in zip(parameters, self.wanted, strict=True)])

        if with_t:
            out, pullback = vjp(flat, t, y, *moving)
            t_bar, *bars = pullback(a)
            return [out, *bars, t_bar]
        out, pullback = vjp(lambda y, *p: flat(t, y, *p), y, *moving)
        return [out, *pullback(a)]

    def _graph(self, t: float, y: np.ndarray, with_t: bool) -> Graph | None:
        """The traced VJP, or None (with one warning) where func cannot be traced.

        What fails without a graph too comes through unchanged.
        """
        if with_t not in self._graphs:
            try:
                self._graphs[with_t] = self._traced(t, y, with_t)
            except ClosedOverError:
                self._graphs[with_t] = None
            except Exception as error:
                self._graphs[with_t] = None
                if not isinstance(error, TraceError):
                    self._pulled(t, y, self.parameters, np.ones_like(y), with_t)
                reason = str(error) if isinstance(error, TraceError) else f"{line_of(error)}: {error}"
                self._warn("trace", f"func is not traced ({reason}); its VJP is recorded anew at every step")
        return self._graphs[with_t]

    def _traced(self, t: float, y: np.ndarray, with_t: bool) -> Graph | None:
        def pulled(t: Any, y: Any, parameters: list, a: Any) -> list:
            return self._pulled(t, y, parameters, a, with_t)

        graph = trace(pulled, t, y, self.parameters, np.ones_like(y))
        if graph.captured:
            raise ClosedOverError(closed_over_names(self.func))
        return graph

    def _agrees(self, f: np.ndarray, t: float, y: np.ndarray, with_t: bool) -> bool:
        """Whether a graph's f is func's own; asked at the first two points that occur.

        An impure func, or one that reads t or y in a way that tracing does not see, differs; it is then
        recorded anew at every step, with a warning.
        """
        if self._checks.get(with_t, 0) >= 2:
            return True
        self._checks[with_t] = self._checks.get(with_t, 0) + 1
        own = self(t, y)
        if close(f, own):
            return True
        if close(own, self(t, y)):  # pure, then: the gradient would be another function's
            raise TypeError(
                "func computes something else on a traced y than on a plain array; it must not depend on the type of "
                "its arguments (isinstance, or a try around float(y))"
            )
        what = "func gave two answers for the same arguments: it is not pure"
        self._warn("trace", f"{what}, and is recorded at every step")
        self._graphs[with_t] = None
        return False


def _cast(x: Any, dtype: np.dtype) -> Any:
    return x.astype(dtype) if hasattr(x, "astype") else np.asarray(x, dtype)


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())


def closed_over_names(func: Any) -> str:
    """An explanation that names the traced values func reads from outside its arguments."""
    outside: dict[str, Any] = {}
    code = getattr(func, "__code__", None)
    if code is not None:
        outside.update({k: func.__globals__.get(k) for k in code.co_names})
        for name, cell in zip(code.co_freevars, func.__closure__ or (), strict=True):
            try:
                outside[name] = cell.cell_contents
            except ValueError:  # a cell not filled yet
                continue
    for holder in (getattr(func, "__self__", None), func):  # a bound method's object; a callable object, a partial
        outside.update(getattr(holder, "__dict__", {}))
        outside.update(enumerate(getattr(holder, "args", ())), **getattr(holder, "keywords", {}))
    names = [str(k) for k, v in outside.items() if any(type(leaf) is Node for leaf in tree.flatten(v)[0])]
    what = f"the traced value {', '.join(names)}" if names else "a traced value"
    return (
        f"func uses {what} from outside its arguments, whose gradient cannot be delivered on this path; pass it in args"
    )
