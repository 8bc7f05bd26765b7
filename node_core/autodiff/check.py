"""check_grads: do forward mode, reverse mode and central differences agree?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .forward import jvp
from .node import concrete
from .primitive import NoForwardRuleError
from .reverse import vjp

__all__ = ["check_grads"]


def check_grads(
    fun: Callable,
    args: tuple,
    order: int = 1,
    *,
    modes: tuple[str, ...] | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Compare the derivatives of `fun` at `args` with central differences, leaf by leaf of every argument.

    For random u and v it compares ``<u, J v>`` by a central difference, by jvp and by vjp (Griewank and
    Walther 2008, section 3): one number a leaf, and almost surely different if any entry is wrong.
    order 2 checks the gradient's own derivative as well. modes: "forward", "reverse" or both; by default
    both, but reverse alone where fun has no forward rule (odeint, custom_vjp). rtol defaults to 1e-6 in
    float64, 2e-2 in float32. Raises AssertionError naming the argument, the leaf and the mode, and
    TypeError if no argument holds a floating number.

    >>> import numpy as np
    >>> import node_core as nc
    >>> nc.check_grads(lambda p: np.sin(p["a"]) * p["b"], ({"a": 1.0, "b": np.ones(2)},), order=2)
    """
    if not isinstance(args, tuple):
        raise TypeError(f"check_grads: args must be the tuple of arguments, got {type(args).__name__}")
    leaves, treedef = tree.flatten(args)
    floating = [i for i, leaf in enumerate(leaves) if tree.is_floating(leaf)]
    if not floating:
        kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves})) or "nothing"
        raise TypeError(
            f"check_grads: no argument holds a floating number to differentiate by, only {kinds}; pass a float or a "
            "floating array (1.0 instead of 1)"
        )
    rng = np.random.default_rng(seed)
    names = [path for i, arg in enumerate(args) for path in tree.paths(arg, f"argument {i}")]
    for i in floating:

        def of_leaf(x: Any, i: int = i) -> Any:
            return fun(*tree.unflatten(treedef, [*leaves[:i], x, *leaves[i + 1 :]]))

        _check_argument(of_leaf, leaves[i], order, modes, rtol, rng, names[i])
    for i, arg in enumerate(args if order > 1 else ()):  # the second derivatives between the leaves of a tree
        if sum(tree.is_floating(leaf) for leaf in tree.flatten(arg)[0]) > 1:

            def of_one(x: Any, i: int = i) -> Any:
                return fun(*args[:i], x, *args[i + 1 :])

            _check_argument(of_one, arg, order, modes, rtol, rng, f"argument {i}")


def _check_argument(
    fun: Callable, x: Any, order: int, modes: tuple[str, ...] | None, rtol: float | None, rng: Any, where: str
) -> None:
    v = tree.map(lambda leaf: _random_like(leaf, rng), x)
    out, pullback = vjp(fun, x)
    u = tree.map(lambda leaf: _random_like(leaf, rng), out)
    single = any(np.asarray(leaf).dtype in (np.float32, np.complex64) for leaf in tree.flatten(x)[0])
    rtol = (2e-2 if single else 1e-6) if rtol is None else rtol
    wanted = _inner(u, _central_difference(fun, x, v, 1e-2 if single else 6e-6))
    found = {}
    if modes is None or "forward" in modes:
        try:
            found["forward"] = _inner(u, jvp(fun, (x,), (v,))[1])
        except NoForwardRuleError:
            if modes is not None:
                raise
    if modes is None or "reverse" in modes:
        found["reverse"] = _inner(pullback(u)[0], v)
    for mode, value in found.items():
        if not abs(value - wanted) <= rtol * (1.0 + abs(wanted)):
            raise AssertionError(
                f"check_grads, {where}: {mode} mode gives <u, J v> = {value:.12g}, the central difference {wanted:.12g}"
            )
    if order > 1:

        def gradient(x: Any) -> Any:
            return vjp(fun, x)[1](u)[0]

        _check_argument(gradient, x, order - 1, modes, rtol, rng, f"gradient by {where}")


def _random_like(leaf: Any, rng: Any) -> Any:
    """A random direction; None-like zero for constants."""
    if not tree.is_floating(leaf):
        return leaf
    dtype, shape = np.asarray(leaf).dtype, np.shape(leaf)
    v = rng.standard_normal(shape)
    if dtype.kind == "c":
        v = v + 1j * rng.standard_normal(shape)
    return np.asarray(v).astype(dtype)[()]


def _inner(a: Any, b: Any) -> float:
    """The real inner product of two trees: Re sum conj(a) b."""
    total = 0.0
    for x, y in zip(tree.flatten(a)[0], tree.flatten(b)[0], strict=True):
        if x is not None and tree.is_floating(x):
            total += float(np.real(np.sum(np.conj(np.asarray(x, complex)) * np.asarray(y, complex))))
    return total


def _central_difference(fun: Callable, x: Any, v: Any, eps: float) -> Any:
    """(f(x + eps v) - f(x - eps v)) / 2 eps, leaf by leaf."""

    def moved(sign: float) -> Any:
        return fun(tree.map(lambda a, d: a + sign * eps * d if tree.is_floating(a) else a, x, v))

    def slope(a: Any, b: Any) -> Any:
        a, b = np.asarray(concrete(a)), np.asarray(concrete(b))
        return (a - b) / (2 * eps) if a.dtype.kind in "fc" else a

    return tree.map(slope, moved(1.0), moved(-1.0))
