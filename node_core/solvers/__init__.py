"""Runge-Kutta methods: tableaus, the stepper, step control, dense output and the loops.

Reading order: tableau, tableaus, stepper, control, interpolation, loop, integrate.
"""

from .control import Control
from .errors import SolverError
from .integrate import integrate
from .solution import Record, Solution, Stats
from .tableau import Tableau
from .tableaus import METHODS, Method, methods, tableau

__all__ = [
    "METHODS",
    "Control",
    "Method",
    "Record",
    "Solution",
    "SolverError",
    "Stats",
    "Tableau",
    "integrate",
    "methods",
    "tableau",
]
