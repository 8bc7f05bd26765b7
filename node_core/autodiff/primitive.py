"""What a primitive is: a value, and beside it the two rules that differentiate it.

VJP rule   ``(g, out, *operands, **params) -> cotangent of one operand``   (reverse mode)
JVP rule   ``(t, out, *operands, **params) -> tangent of out``             (forward mode)

Rules are plain NumPy code on the level below, so that a derivative can be differentiated again. The
cotangent of a complex z = x + iy is dL/dx + i dL/dy; a holomorphic derivative d therefore acts as ``t * d``
forward and as ``g * conj(d)`` backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .node import Node, apply

__all__ = ["NoForwardRuleError", "Primitive", "elementwise", "match", "nondifferentiable", "primitive"]

Rule = Callable[..., Any]


class NoForwardRuleError(NotImplementedError, TypeError):
    """Forward mode met an operation that has a reverse rule only."""


class Primitive:
    """A differentiable operation: ``evaluate(*operands, **params)`` on plain arrays, and its rules.

    vjps, jvps: one rule an operand, or one for all of them that takes the operand's position first
    (concatenate, einsum). None for both: a piecewise constant function, which ends a derivative.
    whole: it is no arithmetic but a computation of its own (a solve), which the passes leave as it is.
    """

    whole = False

    def __init__(
        self,
        name: str,
        evaluate: Callable,
        vjps: Sequence[Rule] | Rule | None = None,
        jvps: Sequence[Rule] | Rule | None = None,
    ) -> None:
        self.name = name
        self.evaluate = evaluate
        self.vjps = vjps
        self.jvps = jvps
        self.plain = type(self) is Primitive  # evaluates and differentiates by its rules, nothing else

    def __call__(self, *operands: Any, **params: Any) -> Any:
        return apply(self, operands, params)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    @property
    def differentiable(self) -> bool:
        return self.vjps is not None

    def forward(self, operands: Sequence, params: dict) -> tuple[Any, Any]:
        """(out, what the pullback will need), one level down; `operands` are unwrapped."""
        out = apply(self, operands, params)
        return out, (out, operands, params)

    def pullback(self, g: Any, saved: Any, wanted: Sequence[bool]) -> list:
        """The cotangent of every wanted operand, None for the others; g is that of the output."""
        out, operands, params = saved
        rules = self.vjps
        if callable(rules):
            return [rules(i, g, out, *operands, **params) if want else None for i, want in enumerate(wanted)]
        return [rules[i](g, out, *operands, **params) if want else None for i, want in enumerate(wanted)]

    def pushforward(self, tangents: Sequence, out: Any, operands: Sequence, params: dict) -> Any:
        """The tangent of `out`: the sum over the operands that have one (the others hold None)."""
        total = None
        for i, t in enumerate(tangents):
            if t is None:
                continue
            if callable(self.jvps):
                term = self.jvps(i, t, out, *operands, **params)
            else:
                term = self.jvps[i](t, out, *operands, **params)
            total = term if total is None else total + term
        return match(total, out, spread=True)


def match(g: Any, x: Any, spread: bool = False) -> Any:
    """Bring a (co)tangent to the shape, the field and the precision of the value x it belongs to.

    What broadcasting spread out is summed up again (with `spread`, what it would have spread is spread),
    the imaginary part a real x has no use for is dropped, and float32 stays float32.
    """
    if type(g) is np.ndarray and type(x) is np.ndarray and g.shape == x.shape and g.dtype == x.dtype:
        return g
    shape = x.shape if hasattr(x, "shape") else np.shape(x)
    g_shape = g.shape if hasattr(g, "shape") else np.shape(g)
    if g_shape != shape:
        if spread:
            g = np.broadcast_to(g, shape)
        else:
            extra = len(g_shape) - len(shape)
            axes = tuple(range(extra)) + tuple(
                i + extra for i, n in enumerate(shape) if n == 1 and g_shape[i + extra] != 1
            )
            g = np.reshape(np.sum(g, axis=axes), shape) if axes else np.broadcast_to(g, shape)
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if dtype.kind == "f" and getattr(g, "dtype", None) is dtype:
        return g
    if dtype.kind != "c" and np.iscomplexobj(g):
        g = np.real(g)
    if isinstance(x, (float, complex)) and not isinstance(x, np.generic):
        return g  # a Python scalar has no precision of its own
    if dtype.kind in "fc" and (not hasattr(g, "dtype") or g.dtype != dtype):
        g = g.astype(dtype) if hasattr(g, "dtype") else dtype.type(g)
    return g


def conj(d: Any) -> Any:
    """The complex conjugate; of a real value the value itself, without a copy."""
    if getattr(d, "dtype", _FLOAT64) is _FLOAT64 and type(d) is not complex:
        return d  # a Python number or float64: no need to ask NumPy
    return np.conj(d) if np.iscomplexobj(d) else d


_FLOAT64 = np.dtype(np.float64)


ALL: dict[str, Primitive] = {}


def primitive(name: str, evaluate: Callable, vjp: Any, jvp: Any) -> Primitive:
    """Enter a primitive into the table. A single rule is that of the only differentiable operand, the first."""
    vjps = (vjp,) if callable(vjp) and not _takes_position(vjp) else vjp
    jvps = (jvp,) if callable(jvp) and not _takes_position(jvp) else jvp
    ALL[name] = Primitive(name, evaluate, vjps, jvps)
    return ALL[name]


def _takes_position(rule: Callable) -> bool:
    return rule.__code__.co_varnames[:1] == ("position",)


def elementwise(name: str, evaluate: Callable, *partials: Any) -> Primitive:
    """A holomorphic elementwise function from one partial derivative per operand.

    A partial is a function ``(out, *operands)`` or a constant; both rules follow from it, so that forward
    and reverse mode cannot disagree.
    """
    vjps = [_elementwise_vjp(d, i) for i, d in enumerate(partials)]
    jvps = [_elementwise_jvp(d) for d in partials]
    ALL[name] = Primitive(name, evaluate, vjps, jvps)
    return ALL[name]


def _elementwise_vjp(partial: Any, i: int) -> Rule:
    if callable(partial):
        return lambda g, out, *operands: match(g * conj(partial(out, *operands)), operands[i])
    if partial == 1:
        return lambda g, out, *operands: match(g, operands[i])
    return lambda g, out, *operands: match(g * partial, operands[i])


def _elementwise_jvp(partial: Any) -> Rule:
    if callable(partial):
        return lambda t, out, *operands: t * partial(out, *operands)
    if partial == 1:
        return lambda t, out, *operands: t
    return lambda t, out, *operands: t * partial


def nondifferentiable(name: str, evaluate: Callable) -> Primitive:
    """A function with derivative zero wherever it has one: comparisons, rounding, argmax."""
    ALL[name] = Primitive(name, evaluate)
    return ALL[name]


def is_traced(x: Any) -> bool:
    """Whether x is a traced value."""
    return type(x) is Node
