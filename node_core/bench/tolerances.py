"""The error of every gradient mode against the tolerance of its solve: ``python -m node_core.bench.tolerances``.

Errors are relative to the largest entry of each input's gradient, the worst of y0 and the parameters. "!" marks a mode
that warned, a dash one that gave up. The loss is a weighted sum of the outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..adjoint import GRADIENTS
from ..autodiff import value_and_grad
from ..checks import takes_no_arguments
from ..program import compile
from ..solve import odeint
from ..solvers import SolverError
from .accuracy import linear_gradient

__all__ = ["PROBLEMS", "Problem", "error", "main"]

TOLERANCES = [10.0**-k for k in range(3, 13)]


@dataclass(frozen=True)
class Problem:
    """dy/dt = func(t, y, p), outputs at t, and their weights G (m, n) in the loss."""

    name: str
    func: Callable
    y0: np.ndarray
    p: np.ndarray
    t: np.ndarray

    @property
    def G(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((len(self.t), len(self.y0)))

    def gradient(self, mode: str, method: str, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """By y0 and by p."""

        def loss(y0: Any, p: Any) -> Any:
            ys = odeint(compiled, y0, self.t, args=(p,), method=method, rtol=tolerance, atol=tolerance, gradient=mode,
                        max_num_steps=10**6)  # fmt: skip
            return np.sum(self.G * ys)

        compiled = compile(self.func)
        return value_and_grad(loss, (0, 1))(self.y0, self.p)[1]

    def exact(self) -> tuple[np.ndarray, np.ndarray]:
        """In closed form of the linear systems; else through vern9's steps at 1e-13."""
        if self.name == "linear":
            found = linear_gradient(self.p, self.y0, self.t, self.G)
            return found["y0"], found["A"]
        return self.gradient("discrete", "vern9", 1e-13)


def lotka_volterra(t: Any, y: Any, p: Any) -> Any:
    """Prey and predators."""
    return np.stack([p[0] * y[0] - p[1] * y[0] * y[1], p[2] * y[0] * y[1] - p[3] * y[1]])


def van_der_pol(t: Any, y: Any, p: Any) -> Any:
    """The oscillator, p = (mu,)."""
    return np.stack([y[1], p[0] * (1.0 - y[0] ** 2) * y[1] - y[0]])


def contracting(t: Any, y: Any, p: Any) -> Any:
    """-p (y - sin t): backward it grows as exp(p t)."""
    return -p[0] * (y - np.sin(t))


_A = np.array([[-0.5, 1.0, 0.3], [-1.2, -0.1, 0.4], [0.2, -0.6, -0.3]])
PROBLEMS = [
    Problem("linear", lambda t, y, A: A @ y, np.array([1.0, -0.5, 0.3]), _A, np.linspace(0.0, 4.0, 5)),
    Problem("Lotka-Volterra", lotka_volterra, np.array([1.0, 1.0]), np.array([1.5, 1.0, 1.0, 3.0]),
            np.linspace(0.0, 10.0, 5)),
    Problem("Van der Pol, mu = 10", van_der_pol, np.array([2.0, 0.0]), np.array([10.0]), np.linspace(0.0, 20.0, 5)),
    Problem("-100 (y - sin t)", contracting, np.array([0.5]), np.array([100.0]), np.linspace(0.0, 2.0, 3)),
]  # fmt: skip


def error(problem: Problem, mode: str, tolerance: float, exact: tuple, method: str = "dopri5") -> tuple[float, bool]:
    """(the error, whether the mode warned); NaN where it gave up."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = problem.gradient(mode, method, tolerance)
        except SolverError:
            return float("nan"), True
    worst = max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(found, exact, strict=True))
    return worst, any("reconstructed" in str(w.message) for w in told)


def main() -> None:
    """Print a table for every problem."""
    for problem in PROBLEMS:
        exact = problem.exact()
        print(f"{problem.name:21}" + "".join(f"  {tolerance:7.0e}" for tolerance in TOLERANCES))
        for mode in GRADIENTS:
            cells = [error(problem, mode, tolerance, exact) for tolerance in TOLERANCES]
            print(f"  {mode:19}" + "".join(f"  {_cell(*cell)}" for cell in cells), flush=True)


def _cell(value: float, warned: bool) -> str:
    return f"{'-' if np.isnan(value) else f'{value:.0e}':>6}{'!' if warned else ' '}"


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
