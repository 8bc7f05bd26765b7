"""NumPy's functions on traced values, each with NumPy's signature and written with the primitives.

This is what NumPy's protocols look up. A function that is a primitive is entered as it is; all others are
compositions, whose derivatives of every order follow from those of the primitives.
"""

from . import elementwise, indexing, plain, products, reductions, shape
from .registry import WITHOUT_DERIVATIVE

__all__ = ["WITHOUT_DERIVATIVE", "elementwise", "indexing", "plain", "products", "reductions", "shape"]
