"""What users call: grad, value_and_grad, jacobian, hessian, stop_gradient; all built on vjp and jvp."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .columns import jvp_many
from .forward import ForwardTrace
from .node import Node, concrete
from .primitive import NoForwardRuleError
from .reverse import ReverseTrace, vjp
from .table import STOP

__all__ = ["grad", "hessian", "jacobian", "stop_gradient", "value_and_grad"]

Argnums = int | tuple[int, ...]
AT_ONCE = 64  # columns of a Jacobian: every intermediate value is held that many times


def _selected(name: str, args: tuple, argnums: Argnums) -> tuple[int, ...]:
    """The positions to differentiate, checked against the arguments that came."""
    positions = argnums if isinstance(argnums, tuple) else (argnums,)
    if type(argnums) is not int and not all(
        isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in positions
    ):
        hint = f"; write argnums={tuple(argnums)}" if isinstance(argnums, list) else ""
        raise TypeError(f"{name}: argnums must be an int or a tuple of ints, got {argnums!r}{hint}")
    for i in positions:
        if not -len(args) <= i < len(args):
            raise ValueError(f"{name}: argnums={argnums} but the function was called with {len(args)} arguments")
        if tree.is_floating(args[i]):
            continue
        leaves = tree.flatten(args[i])[0]
        if not (leaves and tree.is_floating(leaves[0])) and not any(map(tree.is_floating, leaves)):
            places = tree.paths(args[i])
            found = [f"{at}{' is ' * bool(at)}{tree.kind(x)}" for at, x in zip(places, leaves, strict=True)]
            what = ", ".join([*found[:3], *["..."] * (len(found) > 3)]) or "nothing"
            raise TypeError(
                f"{name}: argument {i} holds no floating number to differentiate by, but {what}; "
                "pass a float or a floating array (1.0 instead of 1)"
            )
    return tuple(i % len(args) for i in positions)


def _partial(fun: Callable, args: tuple, positions: tuple[int, ...], kwargs: dict) -> Callable:
    """`fun` as a function of the selected arguments alone."""

    def of_selected(*chosen: Any) -> Any:
        full = list(args)
        for i, value in zip(positions, chosen, strict=True):
            full[i] = value
        return fun(*full, **kwargs)

    return of_selected


def value_and_grad(fun: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """A function that gives ``(fun(...), gradient)``; fun must return one real number.

    argnums: which argument (an int) or arguments (a tuple: then the gradient is a tuple). has_aux: fun
    returns ``(value, aux)`` and the result is ``((value, aux), gradient)``. The gradient is nested like the
    argument; of a complex z = x + iy it is dL/dx + i dL/dy; of leaves that are not floating it is None.
    Raises TypeError if fun's value is not a real scalar or if an argument holds no floating number.
    """

    @functools.wraps(fun)
    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = _selected("grad", args, argnums)
        aux = None

        def scalar(*chosen: Any) -> Any:
            nonlocal aux
            out = _partial(fun, args, positions, kwargs)(*chosen)
            if has_aux:
                out, aux = out
            return out

        value, pullback = vjp(scalar, *(args[i] for i in positions))
        if type(value) is np.float64 or type(value) is np.float32:  # the usual case
            grads = pullback(type(value)(1.0))
            gradient = grads if isinstance(argnums, tuple) else grads[0]
            return ((value, tree.map(_of_this_call, aux)), gradient) if has_aux else (value, gradient)
        if isinstance(value, (dict, list, tuple)) or np.shape(value) != ():
            got = f"shape {np.shape(value)}" if hasattr(value, "shape") else type(value).__name__
            raise TypeError(f"grad: the function must return one number, got {got}; sum it, or use nc.jacobian")
        if not tree.is_floating(value) or np.iscomplexobj(value):
            raise TypeError(
                f"grad: the function must return a real floating number, got {np.asarray(concrete(value)).dtype}"
            )
        grads = pullback(np.ones_like(value)[()])
        gradient = grads if isinstance(argnums, tuple) else grads[0]
        return ((value, tree.map(_of_this_call, aux)), gradient) if has_aux else (value, gradient)

    return value_and_gradient


def _of_this_call(leaf: Any) -> Any:
    """A leaf of aux without the level that has just ended; outer levels still differentiate it."""
    while type(leaf) is Node and not leaf.owner.open:
        leaf = leaf.value
    return leaf


def grad(fun: Callable, argnums: Argnums = 0) -> Callable:
    """The gradient of a real-valued function, as a function; see `value_and_grad`.

    >>> import node_core as nc
    >>> float(nc.grad(lambda x: x**3)(2.0))
    12.0
    """
    both = value_and_grad(fun, argnums)

    @functools.wraps(fun)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def jacobian(fun: Callable, argnums: Argnums = 0) -> Callable:
    """The Jacobian, shaped ``out.shape + argument.shape`` for each output and argument leaf.

    Nested like the output and, inside, like the argument; None at leaves of either that hold no number to
    differentiate. Runs in forward mode, all columns of an argument leaf at once, or row by row in reverse mode if
    there are fewer rows than columns. Of a real function of a complex z = x + iy it gives dL/dx + i dL/dy, as `grad`
    does; of a complex function df/dx, which is f'(z) where f is holomorphic.
    """

    @functools.wraps(fun)
    def jac(*args: Any, **kwargs: Any) -> Any:
        positions = _selected("jacobian", args, argnums)
        single = not isinstance(argnums, tuple)
        inner = _partial(fun, args, positions, kwargs)
        primals = tuple(args[i] for i in positions)
        out, pullback = vjp(inner, *primals)
        out_leaves, out_def = tree.flatten(out)
        in_leaves, in_def = tree.flatten(primals)
        n_out, n_in = (sum(int(np.size(x)) for x in xs) for xs in (out_leaves, in_leaves))
        complex_in, complex_out = (any(np.iscomplexobj(x) for x in xs) for xs in (in_leaves, out_leaves))
        by_columns = complex_out or (n_in <= n_out and not complex_in)
        try:
            blocks = _by_columns(inner, in_leaves, in_def, out_leaves) if by_columns else None
        except NoForwardRuleError:
            if complex_out:
                raise
            blocks = None
        if blocks is None:
            blocks = _by_rows(pullback, out_leaves, out_def, in_leaves)
        nested = [tree.unflatten(in_def, row) for row in blocks]
        return tree.unflatten(out_def, [row[0] if single else row for row in nested])

    return jac


def _units(leaves: list, k: int) -> Any:
    """For every entry of leaf k the list of leaves that is 1 there and 0 elsewhere."""
    for i in range(int(np.size(leaves[k]))):
        units = [np.zeros(np.shape(x), np.asarray(concrete(x)).dtype) for x in leaves]
        units[k].reshape(-1)[i] = 1
        yield [u[()] for u in units]


def _by_rows(pullback: Callable, out_leaves: list, out_def: Any, in_leaves: list) -> list[list]:
    """blocks[output leaf][input leaf], one pullback for every output entry."""
    blocks = []
    for k, out in enumerate(out_leaves):
        rows = [tree.flatten(pullback(tree.unflatten(out_def, unit)))[0] for unit in _units(out_leaves, k)]
        blocks.append([
            None if out is None or not tree.is_floating(x) else
            _assemble([row[j] for row in rows], np.shape(out) + np.shape(x), x)
            for j, x in enumerate(in_leaves)
        ])  # fmt: skip
    return blocks


def _by_columns(fun: Callable, in_leaves: list, in_def: Any, out_leaves: list) -> list[list]:
    """blocks[output leaf][input leaf]: all columns of an input leaf at once, or one by one where that has no rule."""
    blocks: list[list] = [[] for _ in out_leaves]
    for j, x in enumerate(in_leaves):
        found = _columns(fun, in_leaves, in_def, j) if tree.is_floating(x) else [None] * len(out_leaves)
        for block, columns, out in zip(blocks, found, out_leaves, strict=True):
            empty = out is None or columns is None
            block.append(None if empty else np.reshape(columns, np.shape(out) + np.shape(x)))
    return blocks


def _columns(fun: Callable, in_leaves: list, in_def: Any, j: int) -> list:
    """For every output leaf (*shape, n): its derivatives by the n entries of input leaf j, AT_ONCE by AT_ONCE."""
    n = int(np.size(in_leaves[j]))
    blocks = [_some_columns(fun, in_leaves, in_def, j, k, min(k + AT_ONCE, n)) for k in range(0, max(n, 1), AT_ONCE)]
    if len(blocks) == 1:
        return blocks[0]
    return [None if parts[0] is None else np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True)]


def _some_columns(fun: Callable, in_leaves: list, in_def: Any, j: int, start: int, stop: int) -> list:
    """The columns from start to stop."""
    leaf = in_leaves[j]
    units = np.eye(stop - start, int(np.size(leaf)), start, np.asarray(concrete(leaf)).dtype)
    tangents: list = [None] * len(in_leaves)
    tangents[j] = np.reshape(units, (stop - start, *np.shape(leaf)))
    found = jvp_many(fun, tree.unflatten(in_def, in_leaves), tangents)[1]
    return [None if t is None else np.moveaxis(t, 0, -1) for t in tree.flatten(found)[0]]


def _assemble(rows: list, shape: tuple, like: Any) -> Any:
    return np.reshape(np.stack(rows), shape) if rows else np.zeros(shape, np.asarray(concrete(like)).dtype)


def hessian(fun: Callable, argnums: Argnums = 0) -> Callable:
    """The second derivatives of a real-valued function, shaped ``argument.shape + argument.shape``.

    >>> import numpy as np
    >>> import node_core as nc
    >>> nc.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(fun, argnums), argnums)


def stop_gradient(x: Any) -> Any:
    """x as a constant: a plain array in eager mode, at every level of nesting; a node under `nc.trace`."""
    return tree.map(_stop, x)


def _stop(leaf: Any) -> Any:
    traced = type(leaf) is Node
    while type(leaf) is Node and isinstance(leaf.owner, (ReverseTrace, ForwardTrace)):
        leaf = leaf.value
    if type(leaf) is Node:
        return STOP(leaf)
    return leaf.copy() if traced and isinstance(leaf, np.ndarray) else leaf  # the tape may hold this very array
