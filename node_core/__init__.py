"""node_core: neural ordinary differential equations on a CPU, with nothing but NumPy to install.

import numpy as np
import node_core as nc

def f(t, y, A):
    return y**3 @ A

def loss(A):
    y = nc.odeint(f, np.array([2.0, 0.0]), np.linspace(0, 1, 10), args=(A,))
    return np.mean(y**2)

value, gradient = nc.value_and_grad(loss)(np.array([[-0.1, 2.0], [-2.0, -0.1]]))
"""

from . import nn, optim
from ._version import __version__
from .autodiff import (
    check_grads,
    checkpoint,
    custom_vjp,
    grad,
    hessian,
    jacobian,
    jvp,
    stop_gradient,
    tree,
    value_and_grad,
    vjp,
)
from .config import show_config
from .doctor import check_odeint
from .event import odeint_event
from .ivp import solve_ivp
from .nn import NeuralODE
from .program import Graph, TraceError, compile, trace
from .running import integrate_loss
from .solve import odeint, odeint_adjoint
from .solvers import SolverError, Tableau, methods
from .steady import steady_state
from .storage import load, save

__all__ = [
    "Graph",
    "NeuralODE",
    "SolverError",
    "Tableau",
    "TraceError",
    "__version__",
    "check_grads",
    "check_odeint",
    "checkpoint",
    "compile",
    "custom_vjp",
    "grad",
    "hessian",
    "integrate_loss",
    "jacobian",
    "jvp",
    "load",
    "methods",
    "nn",
    "odeint",
    "odeint_adjoint",
    "odeint_event",
    "optim",
    "save",
    "show_config",
    "solve_ivp",
    "steady_state",
    "stop_gradient",
    "trace",
    "tree",
    "value_and_grad",
    "vjp",
]
