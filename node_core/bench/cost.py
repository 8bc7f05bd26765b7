"""What a gradient costs beside the solve alone, and the adjoint with and without theta in its norm:
``python -m node_core.bench.cost``.

Times are of compiled functions, medians of turns that take each other's place. The adjoint's evaluations are those of
its backward solve, of the same augmented state [y, a, theta] in three norms: the largest root mean square of the three
parts, that of all of it together, and that of [y, a] alone (Kidger, Chen and Lyons 2021), which is the package's.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from ..adjoint.backsolve import Augmented
from ..autodiff import value_and_grad
from ..checks import takes_no_arguments
from ..nn import NeuralODE
from ..program import Field, compile
from ..solve import odeint
from ..solvers import Control, integrate, tableau
from ..solvers.control import rms
from .ours import _lorenz, _net, spiral_field
from .workloads import Gemm, Lorenz, Spiral

__all__ = ["backward_evaluations", "main", "ratios"]

MODES = ("discrete", "adjoint", "interpolated")
REPEATS = 41


def _workloads() -> dict[str, tuple[Callable, Any]]:
    """name -> (``loss(params, gradient)``, params)."""
    spiral, gemm, lorenz = Spiral(), Gemm(), Lorenz()

    def of_spiral(params: Any, gradient: str) -> Any:
        ode = NeuralODE(spiral_field, gradient=gradient, rtol=spiral.rtol, atol=spiral.atol)
        return np.mean(np.abs(ode(params, spiral.y0, spiral.t) - spiral.target))

    def of_gemm(params: Any, gradient: str) -> Any:
        ode = NeuralODE(_net, gradient=gradient, method="rk4", step_size=1.0 / gemm.steps)
        return np.sum(ode(params, gemm.y0, np.array([0.0, 1.0]))[-1] ** 2)

    def of_lorenz(params: Any, gradient: str) -> Any:
        y0, s, r, b = params
        t = lorenz.t[:26]  # to t = 5: beyond, a gradient is that of chaos
        ys = odeint(_lorenz, y0, t, args=(s, r, b), rtol=lorenz.rtol, atol=lorenz.atol, gradient=gradient)
        return np.sum(ys[-1])

    return {"W1, spiral": (of_spiral, spiral.weights), "W3, 64-256-256-64": (of_gemm, gemm.weights),
            "Lorenz, 26 outputs": (of_lorenz, (lorenz.y0, *lorenz.constants))}  # fmt: skip


def ratios(loss: Callable, params: Any, repeats: int = REPEATS) -> dict[str, float]:
    """Seconds of a solve, and of value and gradient by each mode over that."""
    runs = {"solve": compile(lambda p: loss(p, "discrete"))}
    runs |= {mode: compile(value_and_grad(lambda p, mode=mode: loss(p, mode))) for mode in MODES}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run(params)
            if turn > 1:
                taken[name].append(time.perf_counter() - start)
    solve = median(taken["solve"])
    return {"solve": solve, **{mode: median(taken[mode]) / solve for mode in MODES}}


def backward_evaluations(width: int, states: int, batch: int, seed: int, tolerance: float) -> tuple[int, int, int]:
    """Of the adjoint of a random net's solve over [0, 5], by norm: (largest of the parts, all together, [y, a])."""
    rng = np.random.default_rng(seed)
    shapes = [(states, width), (width,), (width, states), (states,)]
    weights = [rng.standard_normal(s) / np.sqrt(s[0] if len(s) == 2 else 1.0) for s in shapes]
    y0 = rng.standard_normal((batch, states))

    def net(t: Any, y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        return np.tanh(y @ W1 + b1) @ W2 + b2

    field = Field(net, y0, tuple(weights)).wanting([True] * len(weights))
    augmented, rule, t = Augmented(field), tableau("dopri5"), np.array([0.0, 5.0])
    control, n = Control(rtol=tolerance, atol=tolerance), field.size
    y1 = integrate(field, y0.ravel(), t, rule, control).y[-1]
    s = np.concatenate([y1, 2.0 * y1, np.zeros(augmented.p)])  # of the sum of |y|^2 at the end

    def largest(x: np.ndarray) -> float:
        return max(rms(part) for part in np.split(x, [n, 2 * n]))

    norms = replace(control, norm=largest), control, replace(control, n_norm=2 * n)
    return tuple(integrate(augmented, s, t[::-1].copy(), rule, c).stats.nfev for c in norms)


def main() -> None:
    """Print both tables."""
    print("value and gradient, compiled, over the solve alone")
    for name, (loss, params) in _workloads().items():
        found = ratios(loss, params)
        cells = "".join(f"  {mode} {found[mode]:.2f} x" for mode in MODES)
        print(f"  {name:20} solve {found['solve'] * 1e6:8.1f} us{cells}", flush=True)
    print("evaluations of the adjoint's backward solve, dopri5, random nets: norm of the parts, of all, of [y, a]")
    fewer = []
    for width, states, batch in ((50, 2, 20), (20, 4, 1), (64, 8, 32), (128, 16, 64)):
        for tolerance, seed in itertools.product((1e-3, 1e-5, 1e-7), range(3)):
            parts, together, seminorm = backward_evaluations(width, states, batch, seed, tolerance)
            fewer.append((1.0 - seminorm / parts, 1.0 - seminorm / together))
            if seed == 0:
                print(f"  {states}-{width}-{states}, batch {batch}, {tolerance:.0e}: {parts}, {together}, {seminorm}")
    for name, found in zip(("parts", "all"), zip(*fewer, strict=True), strict=True):
        print(f"  [y, a] instead of {name}: median of {len(found)} {100 * median(found):.0f} % fewer "
              f"(from {100 * min(found):.0f} to {100 * max(found):.0f} %)")  # fmt: skip


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
