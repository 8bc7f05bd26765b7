"""Race the compiled against the Python steppers on one problem, over methods and sizes.

The problem is a ring of n damped rotations, dy/dt = (-0.1 + i omega) y written in real pairs, whose
solution is known. Both steppers call the same NumPy function, take the same steps and run in turn, so the
ratio is that of the stepping alone; the error of both results stands beside it.
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

DAMPING = -0.1


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
    """One Result for every method and size (even ints), as it is measured."""
    for method in methods:
        for size in sizes:
            yield _race_one(method, size, repeats)


def _problem(size: int) -> tuple[Callable, np.ndarray, Callable]:
    """(func, y0 (size,), the exact solution at t); y holds the real parts first."""
    half = size // 2
    omega = np.linspace(1.0, 2.0, half)
    rates = np.concatenate([-omega, omega])
    y0 = np.concatenate([np.ones(half), np.zeros(half)])

    def func(t: float, y: np.ndarray) -> np.ndarray:
        return DAMPING * y + rates * np.roll(y, half)

    def exact(t: float) -> np.ndarray:
        return np.exp(DAMPING * t) * np.concatenate([np.cos(omega * t), np.sin(omega * t)])

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
