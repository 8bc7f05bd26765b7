"""Race the compiled against the Python steppers on one problem, over methods and sizes.

The problem is n independent decays, dy/dt = -rates y, whose solution is known and whose function is one
multiplication, so that the stepping weighs. Both steppers are given the same NumPy function (compiled once, its
Program kept; the Python stepper calls it), take the same steps and run in turn; the error of both results stands
beside the ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..program import compile
from ..solve import odeint
from ..solvers import Stats, tableau
from .turns import compiled_against_python

__all__ = ["Result", "race"]


@dataclass(frozen=True)
class Result:
    """Medians of one method at one size; seconds a solve, errors against the exact solution (max norm)."""

    method: str
    size: int
    nfev: int
    compiled: float
    python: float
    ratio: float
    error_compiled: float
    error_python: float


def race(methods: Sequence[str], sizes: Sequence[int], repeats: int = 7) -> Iterator[Result]:
    """One Result for every method and size, as it is measured."""
    for method in methods:
        for size in sizes:
            yield _race_one(method, size, repeats)


def _problem(size: int) -> tuple[Callable, np.ndarray, Callable]:
    """(func, y0 (size,), the exact solution at t)."""
    rates, y0 = np.linspace(-2.0, -0.5, size), np.ones(size)

    def func(t: float, y: np.ndarray) -> np.ndarray:
        return rates * y

    def exact(t: float) -> np.ndarray:
        return np.exp(rates * t)

    return compile(func), y0, exact


def _race_one(method: str, size: int, repeats: int) -> Result:
    func, y0, exact = _problem(size)
    t = np.linspace(0.0, 10.0, 11)
    keywords = {"rtol": 1e-6, "atol": 1e-9} if tableau(method).adaptive else {"step_size": 0.02}

    def solve(backend: str) -> tuple[np.ndarray, Stats]:
        return odeint(func, y0, t, method=method, backend=backend, full_output=True, **keywords)

    compiled, python, ratio, (y_compiled, stats), (y_python, _) = compiled_against_python(solve, repeats)
    errors = [float(np.max(np.abs(y[-1] - exact(t[-1])))) for y in (y_compiled, y_python)]
    return Result(method, size, stats.nfev, compiled, python, ratio, *errors)
