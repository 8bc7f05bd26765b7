"""A derivative rule given by the user: for functions that leave NumPy, or whose own rule is better."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import tree
from .node import Node, apply
from .primitive import NoForwardRuleError, Primitive, match

__all__ = ["custom_vjp"]


_BY_KEYWORD_ONLY = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)


class custom_vjp:
    """Give a function its own reverse rule.

    >>> import node_core as nc
    >>> @nc.custom_vjp
    ... def cube(x):
    ...     return x**3
    >>> cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))
    >>> float(nc.grad(cube)(2.0))
    12.0

    ``forward(*args) -> (out, residuals)`` and ``backward(residuals, cotangent) -> tuple`` with one cotangent
    (or None for zero) for each argument, nested like it. Both run on plain arrays, or on traced values when
    derivatives of a higher order are asked; write them in NumPy and those follow. Forward mode raises
    TypeError: a reverse rule does not give it. Arguments given by keyword come in their places; of a method
    `self` is the first argument, with cotangent None.
    """

    def __init__(self, fun: Callable) -> None:
        self.fun = fun
        self.forward: Callable | None = None
        self.backward: Callable | None = None
        functools.update_wrapper(self, fun)

    def defvjp(self, forward: Callable, backward: Callable) -> None:
        """Set the rule; see the class."""
        self.forward, self.backward = forward, backward

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """On a method: bound to its object, as a function is."""
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            args = self._by_position(args, kwargs)
        leaves, treedef = tree.flatten(args)
        if not any(type(leaf) is Node for leaf in leaves):
            return self.fun(*args)
        rule = _CustomPrimitive(self, treedef)
        flat = apply(rule, tuple(leaves), {})
        return rule.unravel(flat)  # which apply has set

    def _by_position(self, args: tuple, kwargs: dict) -> tuple:
        """All arguments in their places, up to the last one given; those left out between hold their defaults."""
        name = f"custom_vjp {getattr(self, '__name__', 'function')}"
        try:
            signature = inspect.signature(self.fun)
        except ValueError:
            raise TypeError(f"{name}: its signature is not known; give every argument by its place") from None
        bound = signature.bind(*args, **kwargs)
        named = [key for key in bound.arguments if signature.parameters[key].kind in _BY_KEYWORD_ONLY]
        if named:
            raise TypeError(
                f"{name}: {', '.join(named)} goes by keyword only, but the rule takes arguments by their place; "
                "declare it without * or **"
            )
        last = max(list(signature.parameters).index(key) for key in bound.arguments)
        bound.apply_defaults()
        return bound.args[: last + 1]


class _CustomPrimitive(Primitive):
    """One call of a custom_vjp function: leaves in, one flat vector out."""

    def __init__(self, owner: custom_vjp, treedef: tree.TreeDef) -> None:
        name = getattr(owner, "__name__", "function")
        super().__init__(f"custom_vjp {name}", self._evaluate, vjps=())
        self.owner, self.treedef = owner, treedef
        self.unravel: Callable = lambda flat: flat

    def _flat(self, out: Any) -> Any:
        flat, self.unravel = tree.ravel(out)
        return flat

    def _evaluate(self, *leaves: Any) -> Any:
        return self._flat(self.owner.fun(*tree.unflatten(self.treedef, leaves)))

    def forward(self, operands: Sequence, params: dict) -> tuple[Any, Any]:
        if self.owner.forward is None:
            raise TypeError(f"{self.name}: give its rule with .defvjp(forward, backward) before differentiating")
        both = self.owner.forward(*tree.unflatten(self.treedef, operands))
        if not isinstance(both, tuple) or len(both) != 2:
            raise TypeError(f"{self.name}: forward must return (out, residuals), got {type(both).__name__}")
        out, residuals = both
        return self._flat(out), (residuals, operands)

    def pullback(self, g: Any, saved: Any, wanted: Sequence[bool]) -> list:
        residuals, operands = saved
        grads = self.owner.backward(residuals, self.unravel(g))
        n_args = len(self.treedef.children)
        if not isinstance(grads, tuple) or len(grads) != n_args:
            raise TypeError(f"{self.name}: backward must return a tuple of {n_args} cotangents, got {grads!r}")
        found: list = []
        for child, cotangent in zip(self.treedef.children, grads, strict=True):
            count = _leaves(child)
            found += [None] * count if cotangent is None else tree._leaves_like(child, cotangent)
        return [
            self._matched(g, x) if want and g is not None else None
            for g, x, want in zip(found, operands, wanted, strict=True)
        ]

    def _matched(self, g: Any, x: Any) -> Any:
        if np.shape(g) != np.shape(x):
            raise ValueError(
                f"{self.name}: backward returned a cotangent of shape {np.shape(g)} for an argument of shape "
                f"{np.shape(x)}"
            )
        return match(g, x)

    def pushforward(self, tangents: Sequence, out: Any, operands: Sequence, params: dict) -> Any:
        raise NoForwardRuleError(f"{self.name} has a reverse rule only; forward mode (jvp) cannot differentiate it")


def _leaves(treedef: tree.TreeDef) -> int:
    """How many leaves a structure has."""
    return 1 if treedef.kind is tree.LEAF else sum(_leaves(child) for child in treedef.children)
