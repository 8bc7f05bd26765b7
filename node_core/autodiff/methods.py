"""The array methods and operators of a Node, each the NumPy function of the same meaning."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import table
from .functions import indexing, shape
from .node import Node, apply, lift
from .primitive import ALL

__all__: list[str] = []


def _binary(primitive: Any) -> tuple:
    def forward(self: Node, other: Any) -> Any:
        return apply(primitive, (self, lift(other)), {})

    def reflected(self: Node, other: Any) -> Any:
        return apply(primitive, (lift(other), self), {})

    return forward, reflected


for _name, _primitive in {
    "add": table.ADD, "sub": table.SUBTRACT, "mul": table.MULTIPLY, "truediv": table.DIVIDE, "pow": table.POWER,
    "mod": table.REMAINDER, "matmul": table.MATMUL, "floordiv": ALL["floor_divide"], "and": ALL["bitwise_and"],
    "or": ALL["bitwise_or"], "xor": ALL["bitwise_xor"],
}.items():  # fmt: skip
    _forward, _reflected = _binary(_primitive)
    setattr(Node, f"__{_name}__", _forward)
    setattr(Node, f"__r{_name}__", _reflected)

for _name, _primitive in {
    "lt": ALL["less"], "le": ALL["less_equal"], "gt": ALL["greater"], "ge": ALL["greater_equal"],
    "eq": ALL["equal"], "ne": ALL["not_equal"],
}.items():  # fmt: skip
    setattr(Node, f"__{_name}__", _binary(_primitive)[0])

for _name in (
    "sum", "mean", "var", "std", "prod", "max", "min", "cumsum", "ptp", "dot", "ravel", "squeeze", "swapaxes", "repeat",
    "take", "diagonal", "trace", "clip", "argmax", "argmin", "argsort", "any", "all", "round", "nonzero", "copy",
    "searchsorted",
):  # fmt: skip
    _function = getattr(np, _name)

    def _method(self: Node, *args: Any, _function: Any = _function, **kwargs: Any) -> Any:
        return _function(self, *args, **kwargs)

    _method.__name__ = _name
    _method.__doc__ = f"np.{_name} of this value."
    setattr(Node, _name, _method)


def _shape_argument(args: tuple) -> tuple:
    """Lengths or axes given one by one or as one tuple."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


def _astype(self: Node, dtype: Any, *_: Any, **__: Any) -> Any:
    """This value in another dtype; differentiable between floating ones."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f" and np.iscomplexobj(self):
        raise TypeError("astype from complex to real would drop the imaginary part; write np.real(y)")
    if dtype.kind in "fc":
        return table.CAST(self, dtype=dtype)
    return ALL["integer_cast"](self, dtype=dtype)


def _reshape(self: Node, *lengths: Any, order: str = "C") -> Any:
    """np.reshape of this value; y.reshape(2, 3) as well as y.reshape((2, 3))."""
    return shape.reshape(self, _shape_argument(lengths), order)


def _transpose(self: Node, *axes: Any) -> Any:
    """np.transpose of this value; y.transpose(1, 0) as well as y.transpose((1, 0))."""
    return shape.transpose(self, _shape_argument(axes) or None)


def _round(self: Node, ndigits: int | None = None) -> Any:
    """round(y): an int for a number, as round(1.5) is, else np.round."""
    rounded = np.round(self, ndigits or 0)
    return ALL["integer_cast"](rounded, dtype=int) if ndigits is None and self.shape == () else rounded


for _name, _attribute in {
    "__divmod__": lambda self, other: (self // other, self % other),
    "__rdivmod__": lambda self, other: (other // self, other % self),
    "__round__": _round,
    "__neg__": lambda self: table.NEGATIVE(self),
    "__pos__": lambda self: self,
    "__abs__": lambda self: table.ABS(self),
    "__invert__": lambda self: ALL["invert"](self),
    "__getitem__": indexing.getitem,
    "astype": _astype,
    "reshape": _reshape,
    "transpose": _transpose,
    "flatten": shape.ravel,
    "conj": lambda self: table.CONJ(self),
    "conjugate": lambda self: table.CONJ(self),
    "T": property(shape.transpose),
    "mT": property(shape.matrix_transpose),
    "real": property(lambda self: table.REAL(self)),
    "imag": property(lambda self: table.IMAG(self)),
    "flat": property(lambda self: iter(shape.ravel(self))),
}.items():
    setattr(Node, _name, _attribute)
