"""Runge-Kutta methods: tableaus, the stepper, step control, dense output and the loops.

Reading order: tableau, tableaus, stepper, control, interpolation, loop, integrate.
"""

from .._kernels import rk
from .adams import Adams
from .control import Control
from .errors import Failure, SolverError, solver_error
from .integrate import Run, adjoint_backward, discrete_backward, integrate
from .solution import Record, Solution, Stats
from .tableau import Tableau
from .tableaus import METHODS, Method, methods, tableau
from .times import checked_times

__all__ = [
    "METHODS",
    "Adams",
    "Control",
    "Failure",
    "Method",
    "Record",
    "Run",
    "Solution",
    "SolverError",
    "Stats",
    "Tableau",
    "adjoint_backward",
    "checked_times",
    "discrete_backward",
    "integrate",
    "methods",
    "rk",
    "solver_error",
    "tableau",
]
