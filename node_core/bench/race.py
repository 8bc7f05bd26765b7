"""Race the compiled against the Python steppers on one problem, over methods and sizes.

The problem is n independent decays, dy/dt = -rates y, whose solution is known and whose function is one
multiplication, so that the stepping weighs. Both steppers call the same NumPy function, take the same
steps and run in turn; the error of both results stands beside the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from ..solve import odeint
from ..solvers import tableau

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

    return func, y0, exact


def _race_one(method: str, size: int, repeats: int) -> Result:
    func, y0, exact = _problem(size)
    t = np.linspace(0.0, 10.0, 11)
    keywords = {"rtol": 1e-6, "atol": 1e-9} if tableau(method).adaptive else {"step_size": 0.02}

    def solve(backend: str) -> tuple[float, np.ndarray, int]:
        start = time.perf_counter()
        y, stats = odeint(func, y0, t, method=method, backend=backend, full_output=True, **keywords)
        return time.perf_counter() - start, y, stats.nfev

    seconds: dict[str, list[float]] = {"compiled": [], "python": []}
    error, nfev = {}, 0
    for _ in range(repeats):
        for backend, taken in seconds.items():
            second, y, nfev = solve(backend)
            taken.append(second)
            error[backend] = float(np.max(np.abs(y[-1] - exact(t[-1]))))
    ratio = median(p / c for p, c in zip(seconds["python"], seconds["compiled"], strict=True))
    return Result(
        method, size, nfev, median(seconds["compiled"]), median(seconds["python"]), ratio,
        error["compiled"], error["python"],
    )  # fmt: skip
