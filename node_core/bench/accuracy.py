"""How exact the gradients of a linear system are: ``python -m node_core.bench.accuracy``.

A linear system dy/dt = A y has the solution exp(A (t - t0)) y0, whose derivatives are known in closed form.
"""

from __future__ import annotations

import numpy as np

from ..autodiff import value_and_grad
from ..checks import takes_no_arguments
from ..solve import odeint

__all__ = ["gradient_errors", "linear_gradient", "main"]


def _exp_and_derivative(A: np.ndarray, E: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray]:
    """exp(s A) and its derivative along s E, the corner of the exponential of a block triangle (Van Loan 1978)."""
    n = len(A)
    block = s * np.block([[A, E], [np.zeros_like(A), A]])
    squarings = max(0, int(np.ceil(np.log2(max(np.abs(block).sum(axis=1).max(), 1.0)))) + 4)
    block = block / 2**squarings
    total = term = np.eye(2 * n)
    for k in range(1, 20):  # Taylor; the scaled norm is below 1/16
        term = term @ block / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total[:n, :n], total[:n, n:]


def linear_gradient(A: np.ndarray, y0: np.ndarray, t: np.ndarray, G: np.ndarray) -> dict[str, np.ndarray]:
    """That of sum G * y(t) for dy/dt = A y, by y0, A and t, in closed form."""
    n, exact_y0, exact_A, exact_t = len(A), np.zeros(len(A)), np.zeros_like(A), np.zeros(len(t))
    for g, s, i in zip(G, t - t[0], range(len(t)), strict=True):
        for index in np.ndindex(n, n):
            E = np.zeros((n, n))
            E[index] = 1.0
            power, derivative = _exp_and_derivative(A, E, s)
            exact_A[index] += g @ derivative @ y0
        exact_y0 += g @ power
        slope = g @ A @ power @ y0
        if i > 0:
            exact_t[i] += slope
            exact_t[0] -= slope
    return {"y0": exact_y0, "A": exact_A, "t": exact_t}


def gradient_errors(mode: str) -> dict[str, float]:
    """Errors of the gradient of sum G * y(t), relative to its largest entry, by input."""
    rng = np.random.default_rng(0)
    n, t = 3, np.array([0.0, 0.3, 0.7, 1.1, 1.5])
    A, y0, G = rng.standard_normal((n, n)), rng.standard_normal(n), rng.standard_normal((len(t), n))

    def loss(y0: np.ndarray, A: np.ndarray, t: np.ndarray) -> float:
        return np.sum(G * odeint(lambda t, y, A: A @ y, y0, t, args=(A,), rtol=1e-12, atol=1e-14, gradient=mode))

    found = value_and_grad(loss, (0, 1, 2))(y0, A, t)[1]
    return {
        name: float(np.max(np.abs(got - wanted)) / np.max(np.abs(wanted)))
        for (name, wanted), got in zip(linear_gradient(A, y0, t, G).items(), found, strict=True)
    }


def main() -> None:
    """Print the table."""
    print("gradient error, linear system, rtol 1e-12, relative to the largest entry")
    for mode in ("discrete", "adjoint", "interpolated", "forward"):
        errors = gradient_errors(mode)
        print(f"  {mode:9}" + "".join(f"  {name} {error:.1e}" for name, error in errors.items()))


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
