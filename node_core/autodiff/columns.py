"""All columns of a Jacobian at once: forward mode with many tangents, which lie along a new first axis.

A tangent only ever meets operations that are linear in it, so that there are few rules: where does the axis of the
columns go, and how do operands without it line up? A column Node shows its logical shape, without that axis, to the
rules that handle it as if it were one tangent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import tree
from .forward import jvp
from .node import Node, Trace, apply, concrete, recorded
from .table import BROADCAST, EINSUM, MATMUL, RESHAPE, TRANSPOSE, ArraySlot

__all__ = ["ColumnsTrace", "NoColumnRuleError", "at_once", "is_columns", "jvp_many", "one_by_one"]


class NoColumnRuleError(NotImplementedError):
    """A primitive that has no rule here: the columns are then computed one by one."""


class ColumnsTrace(Trace):
    """The value of a Node of this trace has one axis more than it shows, the first: `count` columns."""

    leading = 1

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def columns(self, values: Any) -> Node:
        """values (count, *shape) as one Node of `shape`."""
        return Node(values, self, None)

    def stacked(self, x: Any) -> Any:
        """The columns (count, *shape) of a derivative; zeros if it is no Node of this trace: it did not move."""
        if type(x) is Node and x.owner is self:
            return x.value
        return None if x is None else np.zeros((self.count, *np.shape(x)), np.asarray(concrete(x)).dtype)

    def process(self, primitive: Any, operands: tuple, params: dict) -> Any:
        rule = LINEAR if primitive.name in ELEMENTWISE else RULES.get(primitive.name)
        if rule is None:
            raise NoColumnRuleError(f"{primitive.name} has no rule for all columns of a Jacobian at once")
        many = [type(x) is Node and x.owner is self for x in operands]
        return self.columns(rule(self.count, primitive, self.unwrap(operands), many, params))


def is_columns(x: Any) -> bool:
    """Whether a tangent is all columns at once."""
    return type(x) is Node and isinstance(x.owner, ColumnsTrace)


def jvp_many(fun: Callable, primals: tuple, tangents: Sequence) -> tuple[Any, Any]:
    """``(fun(*primals), its derivatives along k tangents)``, at once, or one by one where a primitive has no rule.

    tangents holds for every leaf of primals, of some shape, an array (k, *shape), or None where it does not move. The
    leaves of the second result are (k, *shape) for one of the first.
    """
    try:
        return at_once(fun, primals, tangents)
    except NoColumnRuleError:
        return one_by_one(fun, primals, tangents)


def _count(tangents: Sequence) -> int:
    counts = {len(t) for t in tangents if t is not None}
    if len(counts) != 1:
        raise ValueError(f"jvp_many: the tangents must be as many for every leaf that moves, got {sorted(counts)}")
    return counts.pop()


def _still(x: Any) -> np.ndarray:
    """The tangent of a leaf that does not move."""
    return np.zeros(np.shape(x), np.asarray(concrete(x)).dtype)[()]


def at_once(fun: Callable, primals: tuple, tangents: Sequence) -> tuple[Any, Any]:
    """See `jvp_many`. Raises NoColumnRuleError, naming the primitive, where one has no rule."""
    leaves, treedef = tree.flatten(primals)
    trace = ColumnsTrace(_count(tangents))
    seeds = [_still(x) if t is None else trace.columns(recorded(t, x)) for x, t in zip(leaves, tangents, strict=True)]
    try:
        out, found = jvp(fun, primals, tree.unflatten(treedef, seeds))
    finally:
        trace.close()
    return out, tree.map(trace.stacked, found)


def one_by_one(fun: Callable, primals: tuple, tangents: Sequence) -> tuple[Any, Any]:
    """See `jvp_many`: the same by k calls of `jvp`."""
    leaves, treedef = tree.flatten(primals)
    count, found = _count(tangents), []
    for i in range(max(count, 1)):
        moves = [_still(x) if t is None or not count else t[i] for x, t in zip(leaves, tangents, strict=True)]
        out, derivative = jvp(fun, primals, tree.unflatten(treedef, moves))
        found.append(tree.flatten(derivative)[0])
    stacked = [None if parts[0] is None else np.stack(parts)[:count] for parts in zip(*found, strict=True)]
    return out, tree.unflatten(tree.flatten(out)[1], stacked)


def _lined_up(n: int, x: Any, rank: int) -> Any:
    """x (n, *shape) with axes of length 1 before its shape, so that it has `rank` axes behind the first."""
    shape = np.shape(x)[1:]
    return x if len(shape) >= rank else apply(RESHAPE, (x,), {"shape": (n, *(1,) * (rank - len(shape)), *shape)})


def _elementwise(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    rank = max(np.ndim(x) - has for x, has in zip(values, many, strict=True))
    values = [_lined_up(n, x, rank) if has else x for x, has in zip(values, many, strict=True)]
    return apply(primitive, tuple(values), params)


def _reduced(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    """sum and cumsum: their axes are one further."""
    axis = params["axis"]
    if axis is None:
        axis = tuple(range(np.ndim(values[0]) - 1))
    shifted = axis + 1 if isinstance(axis, int) else tuple(i + 1 for i in axis)
    return apply(primitive, tuple(values), {"axis": shifted})


def _reshape(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    return apply(primitive, tuple(values), {"shape": (n, *params["shape"])})


def _broadcast(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    shape = params["shape"]
    return apply(primitive, (_lined_up(n, values[0], len(shape)),), {"shape": (n, *shape)})


def _transpose(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    return apply(primitive, tuple(values), {"axes": (0, *(i + 1 for i in params["axes"]))})


def _concatenate(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    values = [
        x if has else apply(BROADCAST, (x,), {"shape": (n, *np.shape(x))}) for x, has in zip(values, many, strict=True)
    ]
    return apply(primitive, tuple(values), {"axis": params["axis"] + 1})


def _indexed(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    """getitem and scatter: a full slice in front. With index arrays on both sides of a slice NumPy moves axes."""
    index = params["index"]
    advanced = [k for k, item in enumerate(index) if type(item) is ArraySlot]
    if advanced:
        advanced = [k for k, item in enumerate(index) if isinstance(item, (int, np.integer))]  # ints count then, too
        if any(many[1:]) or advanced[-1] - advanced[0] != len(advanced) - 1:
            raise NoColumnRuleError(f"{primitive.name} with this index has no rule for all columns at once")
    changed = {"index": (slice(None), *index)}
    if "shape" in params:
        changed["shape"] = (n, *params["shape"])
    return apply(primitive, tuple(values), changed)


def _matmul(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    (x, y), (of_x, of_y) = values, many
    rank_x, rank_y = np.ndim(x) - of_x, np.ndim(y) - of_y
    if of_x and not of_y and (rank_y <= 2 or rank_x == rank_y):
        return apply(MATMUL, (x, y), {})  # (n, k) @ (k, m) is the columns' own product
    if of_y and not of_x and (rank_x, rank_y) == (2, 1):  # x @ y_i for every column: Y @ x^T
        return apply(MATMUL, (y, apply(TRANSPOSE, (x,), {"axes": (1, 0)})), {})
    rank = max(rank_x, rank_y, 2)
    x = _matrix(n, x, of_x, 0 if rank_x == 1 else None, rank)
    y = _matrix(n, y, of_y, 1 if rank_y == 1 else None, rank)
    out = apply(MATMUL, (x, y), {})
    shape = list(np.shape(out))
    if rank_y == 1:
        del shape[-1]
    if rank_x == 1:
        del shape[-1 if rank_y == 1 else -2]
    return apply(RESHAPE, (out,), {"shape": tuple(shape)})


def _matrix(n: int, x: Any, many: bool, as_row: int | None, rank: int) -> Any:
    """An operand of matmul with `rank` axes (behind that of the columns): a vector is a row (0) or a column (1)."""
    if as_row is not None:
        shape = np.shape(x)
        x = apply(RESHAPE, (x,), {"shape": (*shape[:-1], 1, shape[-1]) if as_row == 0 else (*shape, 1)})
    return _lined_up(n, x, rank) if many else x


def _einsum(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    inputs, output = params["subscripts"].split("->")
    letter = next(c for c in "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in params["subscripts"])
    terms = [letter + term if has else term for term, has in zip(inputs.split(","), many, strict=True)]
    return apply(EINSUM, tuple(values), {"subscripts": f"{','.join(terms)}->{letter}{output}"})


def _solve(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    """A^-1 B_i: vectors become the columns of one right-hand side."""
    A, b = values
    if many[0] or np.ndim(A) != 2:
        raise NoColumnRuleError("linalg.solve with a matrix of tangents has no rule for all columns at once")
    if np.ndim(b) > 2:
        return apply(primitive, (A, b), {})
    swap = {"axes": (1, 0)}
    return apply(TRANSPOSE, (apply(primitive, (A, apply(TRANSPOSE, (b,), swap)), {}),), swap)


def _joined(n: int, x: Any, axis: int) -> Any:
    """x (n, *shape) with its columns side by side along an axis of the shape: that axis becomes n times as long."""
    shape = np.shape(x)[1:]
    order = (*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1))
    x = apply(TRANSPOSE, (x,), {"axes": order})
    return apply(RESHAPE, (x,), {"shape": (*shape[:axis], n * shape[axis], *shape[axis + 1 :])})


def _parted(n: int, x: Any, axis: int) -> Any:
    """The reverse of `_joined`."""
    shape = np.shape(x)
    x = apply(RESHAPE, (x,), {"shape": (*shape[:axis], n, shape[axis] // n, *shape[axis + 1 :])})
    return apply(TRANSPOSE, (x,), {"axes": (axis, *(i for i in range(len(shape) + 1) if i != axis))})


def _convolved(n: int, primitive: Any, values: Sequence, many: Sequence[bool], params: dict) -> Any:
    """The columns are further images or channels: of the operand that has them, and so of the result."""
    axis, result = CONVOLVED[primitive.name][many[1]]
    values = [_joined(n, x, axis) if has else x for x, has in zip(values, many, strict=True)]
    return _parted(n, apply(primitive, tuple(values), params), result)


# primitive -> for columns of the first and of the second operand: their axis in it, and in the result
CONVOLVED = {
    "conv2d": ((0, 0), (0, 1)),
    "conv2d_input": ((0, 0), (1, 1)),
    "conv2d_weight": ((1, 1), (1, 0)),
}

LINEAR = _elementwise
ELEMENTWISE = {
    "add", "subtract", "multiply", "divide", "negative", "where", "real", "imag", "conjugate", "astype", "deg2rad",
    "rad2deg",
}  # fmt: skip
RULES: dict[str, Callable] = {
    "sum": _reduced,
    "cumsum": _reduced,
    "reshape": _reshape,
    "broadcast_to": _broadcast,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "getitem": _indexed,
    "scatter": _indexed,
    "matmul": _matmul,
    "einsum": _einsum,
    "linalg.solve": _solve,
    "conv2d": _convolved,
    "conv2d_input": _convolved,
    "conv2d_weight": _convolved,
}
