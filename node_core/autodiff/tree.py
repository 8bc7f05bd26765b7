"""Nested containers ("trees"): take one apart into leaves, and put it together again.

A tree is any nesting of dict, list, tuple, namedtuple and dataclass; everything else, None included, is a
leaf. Gradients, optimiser states and parameters all travel as trees of one structure.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["TreeDef", "flatten", "is_floating", "map", "paths", "ravel", "unflatten"]

LEAF = "leaf"


class TreeDef(NamedTuple):
    """The structure of a tree without its leaves; equal structures compare and hash equal.

    kind is the container's class (or LEAF), keys the dict keys or field names, children one TreeDef each. A
    tuple, so that making, comparing and hashing one costs little: every call of `grad` does.
    """

    kind: Any = LEAF
    keys: tuple = ()
    children: tuple = ()

    def __str__(self) -> str:
        if self.kind is LEAF:
            return "*"
        inner = [str(child) for child in self.children]
        if self.kind is dict:
            return "{" + ", ".join(f"{key!r}: {s}" for key, s in zip(self.keys, inner, strict=True)) + "}"
        if self.kind is list:
            return "[" + ", ".join(inner) + "]"
        if self.kind is tuple:
            return "(" + ", ".join(inner) + ("," if len(inner) == 1 else "") + ")"
        fields = ", ".join(f"{key}={s}" for key, s in zip(self.keys, inner, strict=True))
        return f"{self.kind.__name__}({fields})"


_LEAF = TreeDef()
_SURE_LEAVES = {np.ndarray, float, int, bool, complex, str, type(None), np.float64, np.float32}  # and Node


def _children(tree: Any) -> tuple[Any, tuple, Any] | None:
    """(kind, keys, children) of a container, or None for a leaf."""
    kind = type(tree)
    if kind in _SURE_LEAVES:
        return None
    if kind is list or kind is tuple:
        return kind, (), tree
    if kind is dict:
        return kind, tuple(tree), tree.values()
    if isinstance(tree, dict):  # a defaultdict and its like come back as plain dicts
        return (OrderedDict if kind is OrderedDict else dict), tuple(tree), list(tree.values())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a namedtuple
        return kind, tree._fields, list(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple(f.name for f in dataclasses.fields(tree) if f.init)
        return kind, names, [getattr(tree, name) for name in names]
    return None


def flatten(tree: Any) -> tuple[list, TreeDef]:
    """The leaves of `tree`, in order, and its structure."""
    leaves: list = []
    return leaves, _flatten_into(tree, leaves)


def _flatten_into(tree: Any, leaves: list) -> TreeDef:
    if type(tree) in _SURE_LEAVES:  # looked at here and below, so that a leaf costs no call
        leaves.append(tree)
        return _LEAF
    split = _children(tree)
    if split is None:
        leaves.append(tree)
        return _LEAF
    kind, keys, children = split
    parts = []
    for child in children:
        if type(child) in _SURE_LEAVES:
            leaves.append(child)
            parts.append(_LEAF)
        else:
            parts.append(_flatten_into(child, leaves))
    return TreeDef(kind, keys, tuple(parts))


def unflatten(treedef: TreeDef, leaves: Any) -> Any:
    """The tree of structure `treedef` with these leaves; the inverse of `flatten`."""
    return _unflatten_from(treedef, iter(leaves))


def _unflatten_from(treedef: TreeDef, leaves: Any) -> Any:
    kind, keys, parts = treedef
    if kind is LEAF:
        return next(leaves)
    children = [next(leaves) if part is _LEAF else _unflatten_from(part, leaves) for part in parts]
    if kind is list:
        return children
    if kind is tuple:
        return tuple(children)
    if issubclass(kind, dict):
        return kind(zip(keys, children, strict=True))
    if issubclass(kind, tuple):
        return kind(*children)
    return kind(**dict(zip(keys, children, strict=True)))


def map(fun: Callable, tree: Any, *rest: Any) -> Any:
    """`fun` applied to every leaf of `tree` (and to the matching leaves of `rest`), in the same nesting.

    Raises ValueError, with both structures, if one of `rest` is nested differently. Dicts match by key.

    >>> import node_core as nc
    >>> nc.tree.map(lambda p, g: p - 0.1 * g, {"w": 1.0}, {"w": 2.0})
    {'w': 0.8}
    """
    leaves, treedef = flatten(tree)
    others = [_leaves_like(treedef, other) for other in rest]
    return unflatten(treedef, [fun(*group) for group in zip(leaves, *others, strict=True)])


def _leaves_like(treedef: TreeDef, tree: Any) -> list:
    """The leaves of `tree` in the order of `treedef` (dicts may list their keys in another order)."""
    leaves: list = []
    if not _collect_like(treedef, tree, leaves):
        raise ValueError(f"the trees differ in structure: {treedef} and {flatten(tree)[1]}")
    return leaves


def _collect_like(treedef: TreeDef, tree: Any, leaves: list) -> bool:
    if treedef is _LEAF and type(tree) in _SURE_LEAVES:
        leaves.append(tree)
        return True
    split = _children(tree)
    if treedef.kind is LEAF:
        leaves.append(tree)
        return split is None
    if split is None or split[0] is not treedef.kind or len(split[2]) != len(treedef.children):
        return False
    _, keys, children = split
    if keys != treedef.keys:
        if set(keys) != set(treedef.keys):
            return False
        children = [tree[key] for key in treedef.keys]
    return all(_collect_like(sub, child, leaves) for sub, child in zip(treedef.children, children, strict=True))


def kind(leaf: Any) -> str:
    """What a leaf is, for a message: ``an int``, ``an int64 array``."""
    name = f"{leaf.dtype} array" if isinstance(leaf, np.ndarray) else type(leaf).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def paths(tree: Any, prefix: str = "") -> list[str]:
    """A name for every leaf, as a user would index it: ``["['W']", "['b'][0]"]``."""
    split = _children(tree)
    if split is None:
        return [prefix]
    kind, keys, children = split
    if issubclass(kind, dict):
        names = [f"[{key!r}]" for key in keys]
    elif keys:
        names = [f".{key}" for key in keys]
    else:
        names = [f"[{i}]" for i in range(len(children))]
    found: list[str] = []
    for name, child in zip(names, children, strict=True):
        found += paths(child, prefix + name)
    return found


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is a real or complex floating number or array: what one can differentiate by."""
    if isinstance(leaf, (bool, int, str, bytes)) or leaf is None:
        return False
    if isinstance(leaf, (float, complex)):
        return True
    dtype = getattr(leaf, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind in "fc"


def ravel(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All leaves in one flat vector, and the function that brings a vector back into the nesting.

    Returns ``(flat, unravel)``: flat has shape (n,) and the common dtype of the leaves; ``unravel(flat)``
    restores shapes and dtypes. Both directions are differentiable.
    """
    leaves, treedef = flatten(tree)
    shapes = [np.shape(leaf) for leaf in leaves]
    dtypes = [leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype for leaf in leaves]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if len(leaves) == 1 and len(shapes[0]) == 1:
        flat = leaves[0] if hasattr(leaves[0], "dtype") else np.asarray(leaves[0])
    elif leaves:
        flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
    else:
        flat = np.zeros(0)
    ends = np.cumsum(sizes)

    def unravel(vector: Any) -> Any:
        if np.shape(vector) != (sum(sizes),):
            raise ValueError(f"unravel: wanted a vector of shape ({sum(sizes)},), got {np.shape(vector)}")
        parts = []
        for end, size, shape, dtype in zip(ends, sizes, shapes, dtypes, strict=True):
            part = np.reshape(vector[end - size : end], shape)
            # An unravelled gradient may be complex where the leaf was real; only the precision is restored.
            same_kind = np.can_cast(part.dtype, dtype, "same_kind")
            parts.append(part.astype(dtype) if part.dtype != dtype and same_kind else part)
        return unflatten(treedef, parts)

    return flat, unravel
