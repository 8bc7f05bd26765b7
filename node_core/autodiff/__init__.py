"""Automatic differentiation of plain NumPy code. Imports nothing but NumPy.

Reading order: node (a traced value), primitive (value and rules), table and convolution (all primitives), functions
(NumPy in terms of them), reverse and forward (the two modes), columns (many tangents at once), transforms (what users
call). Beside it: calls (how a call of NumPy is read) and advice (what to write instead).
"""

from . import convolution, functions, methods, tree  # noqa: F401 - entering NumPy's functions and the Node's methods
from .check import check_grads
from .checkpoint import checkpoint
from .columns import jvp_many
from .custom import custom_vjp
from .forward import jvp
from .reverse import vjp
from .transforms import grad, hessian, jacobian, stop_gradient, value_and_grad

__all__ = [
    "check_grads",
    "checkpoint",
    "custom_vjp",
    "grad",
    "hessian",
    "jacobian",
    "jvp",
    "jvp_many",
    "stop_gradient",
    "tree",
    "value_and_grad",
    "vjp",
]
