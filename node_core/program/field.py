"""The user's ``func(t, y, *args)`` as the solvers see it: flat vectors in and out, checked, with its VJP.

The VJP is traced once into a graph and run from there; a function whose course depends on values cannot be
traced, and its VJP is then recorded anew at every evaluation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import tree, vjp
from ..autodiff.node import Node, concrete, lift
from .trace import Graph, TraceError, is_users, trace

__all__ = ["ClosedOverError", "Field", "closed_over_names"]


class ClosedOverError(TypeError):
    """func returned a traced value on plain arguments: it uses one from outside itself."""


class Field:
    """``field(t, y) -> dy`` on vectors of shape (n,), for one func and one nesting of the state.

    func:   ``func(t, y, *args)``, pure.
    y0:     an example of the state: any nesting of floating arrays of one dtype.
    args:   the tuple of further arguments; their floating leaves can be differentiated by.
    """

    def __init__(self, func: Callable, y0: Any, args: tuple) -> None:
        self.func = func
        leaves, self.y_def = tree.flatten(y0)
        self.single = self.y_def.kind is tree.LEAF
        self.shapes = [np.shape(leaf) for leaf in leaves]
        self.paths = tree.paths(y0, "y")
        self.dtype = np.result_type(*leaves) if leaves else np.dtype(float)
        self.size = sum(int(np.prod(shape)) for shape in self.shapes)
        self.arg_leaves, self.arg_def = tree.flatten(args)
        self.floating = [i for i, leaf in enumerate(self.arg_leaves) if tree.is_floating(leaf)]
        self.args = args
        self._graphs: dict[bool, Graph | None] = {}
        self._checks: dict[bool, int] = {}

    def with_args(self, floating_leaves: Sequence) -> Field:
        """The same field with other values at the floating leaves of args."""
        leaves = list(self.arg_leaves)
        for i, leaf in zip(self.floating, floating_leaves, strict=True):
            leaves[i] = leaf
        other = object.__new__(Field)
        other.__dict__.update(self.__dict__)
        other.arg_leaves, other.args = leaves, tree.unflatten(self.arg_def, leaves)
        other._graphs, other._checks = {}, {}
        return other

    @property
    def parameters(self) -> list:
        """The floating leaves of args."""
        return [self.arg_leaves[i] for i in self.floating]

    # --- evaluation ---

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
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

        def flat(t: Any, y: Any, parameters: list) -> Any:
            return self.ravel(self.func(t, self.unravel(y), *self.with_args(parameters).args), t)

        try:
            graph = trace(flat, t, y, [concrete(p) for p in self.parameters])
        except TraceError as error:
            names = closed_over_names(self.func)
            raise ClosedOverError(f"{names} (func cannot be traced: {error})") from error
        captured = list(graph.captured.values())
        own = concrete(self.ravel(self.func(t, self.unravel(y), *self.args), t))
        if not _close(graph.run([t, y, *self.parameters], [concrete(x) for x in captured])[0], own):
            raise ClosedOverError(f"{closed_over_names(self.func)} (traced, func computes something else: is it pure?)")

        def func(t: Any, y: Any, parameters: list, values: list) -> Any:
            return graph.run([t, y, *parameters], values)[0]

        return Field(func, y, (self.parameters, captured)), captured

    # --- the vector-Jacobian product ---

    def vjp(self, t: float, y: np.ndarray, a: np.ndarray, with_t: bool = False) -> tuple:
        """``(f, a.f_y, [a.f_p for every floating leaf p of args], a.f_t or None)`` at (t, y)."""
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
        return f, y_bar, p_bars[: len(self.floating)], p_bars[-1] if with_t else None

    def _pulled(self, t: Any, y: Any, parameters: Sequence, a: Any, with_t: bool) -> list:
        """f and its VJP by recording func, as a flat list: f, y's, the parameters', t's (if asked)."""

        def flat(t: Any, y: Any, *parameters: Any) -> Any:
            args = self.with_args(parameters).args
            return self.ravel(self.func(t, self.unravel(y), *args), t)

        if with_t:
            out, pullback = vjp(flat, t, y, *parameters)
            t_bar, *bars = pullback(a)
            return [out, *bars, t_bar]
        out, pullback = vjp(lambda y, *p: flat(t, y, *p), y, *parameters)
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
                reason = str(error) if isinstance(error, TraceError) else f"{_line_of(error)}: {error}"
                _warn(f"func is not traced ({reason}); its VJP is recorded anew at every step, which is slower")
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
        if _close(f, self(t, y)):
            return True
        _warn("func gave two answers for one (t, y): it is not pure, and is recorded at every step")
        self._graphs[with_t] = None
        return False


def _close(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal to rounding of the state's precision, with room for another order of summation."""
    scale = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
    return np.allclose(got, wanted, rtol=1e-4, atol=1e-4 * scale, equal_nan=True)


def _cast(x: Any, dtype: np.dtype) -> Any:
    return x.astype(dtype) if hasattr(x, "astype") else np.asarray(x, dtype)


def _line_of(error: Exception) -> str:
    """``file:line`` of the user's code in which an error arose."""
    import traceback  # for this message only

    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if is_users(f.filename)), "func")


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


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
