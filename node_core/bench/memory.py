"""What a gradient keeps in memory, of a whole process: ``python -m node_core.bench.memory``.

Bytes by which the largest size of a fresh process grows in one value and gradient (what C keeps is not seen from
Python). Before it, one over ten steps has brought in all that is made once; of a million parameters a solve alone, so
that their gradient counts. Beside checkpoints stand the steps taken again for each step, and the fewest that any
schedule needs with as many states and windows (Griewank and Walther).
"""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import tree, value_and_grad
from ..checks import takes_no_arguments
from ..solve import odeint
from ..solvers import rk

__all__ = ["growth", "main", "optimum"]

MODES = {  # gradient, checkpoints
    "discrete": ("discrete", None),
    "discrete, 32 checkpoints": ("discrete", 32),
    "discrete, auto": ("discrete", "auto"),
    "adjoint": ("adjoint", None),
    "interpolated": ("interpolated", None),
    "interpolated, 32": ("interpolated", 32),
    "forward": ("forward", None),
}
STEPS = (100, 1000, 10_000, 100_000, 1_000_000)


def growth(problem: str, mode: str, steps: int) -> dict[str, float]:
    """Of ``small`` or ``million``: bytes, seconds, retaken steps a step, and bytes of the parameters."""
    command = [sys.executable, "-c", f"from node_core.bench.memory import _grow; _grow({problem!r}, {mode!r}, {steps})"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _grow(problem: str, mode: str, steps: int) -> None:
    import resource  # on Unix only

    run, parameters, solve = _small(mode) if problem == "small" else _million(mode)
    _ = run(10) if problem == "small" else solve(10)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    stats = run(steps)
    seconds = time.perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found = {"bytes": grown * (1 if sys.platform == "darwin" else 1024), "seconds": seconds,
             "retaken": stats.nretaken / stats.naccepted, "parameters": parameters}  # fmt: skip
    print(json.dumps(found))


def _of(field: Callable, y0: Any, params: Any, mode: str) -> tuple[Callable, int, Callable]:
    """(``run(steps)``, a value and gradient by params through so many steps of rk4; bytes of the parameters; the value
    alone)."""
    gradient, checkpoints = MODES[mode]

    def loss(params: Any, steps: int, kept: list) -> Any:
        more = {} if checkpoints is None else {"checkpoints": checkpoints}
        ys, stats = odeint(field, y0, [0.0, 1.0], args=(params,), method="rk4", step_size=1.0 / steps,
                           gradient=gradient, full_output=True, **more)  # fmt: skip
        kept.append(stats)
        return np.sum(ys[-1] ** 2)

    def run(steps: int) -> Any:
        kept: list = []
        value_and_grad(loss)(params, steps, kept)
        return kept[0]

    return run, sum(x.nbytes for x in tree.flatten(params)[0]), lambda steps: loss(params, steps, [])


def _small(mode: str) -> tuple[Callable, int, Callable]:
    """Ten linear states, rates as parameters: steps of microseconds, of which there can be a million."""
    rng = np.random.default_rng(0)
    return _of(lambda t, y, k: -k * y + np.sin(y), rng.standard_normal(10), np.abs(rng.standard_normal(10)), mode)


def _million(mode: str) -> tuple[Callable, int, Callable]:
    """64-512-1024-512-64 on 64 states: 1.1 million parameters."""
    rng, sizes = np.random.default_rng(0), [64, 512, 1024, 512, 64]
    params = [(rng.standard_normal((n, m)) / np.sqrt(n), np.zeros(m)) for n, m in itertools.pairwise(sizes)]

    def field(t: Any, y: Any, params: Any) -> Any:
        for W, b in params[:-1]:
            y = np.tanh(y @ W + b)
        return y @ params[-1][0] + params[-1][1]

    return _of(field, rng.standard_normal((64, 64)), params, mode)


@functools.cache
def _beta(c: int, r: int) -> int:
    return 1 if r == 0 or c == 0 else _beta(c, r - 1) * (c + r) // r


def optimum(steps: int, checkpoints: int) -> float:
    """The fewest retaken steps a step, in windows, with the first state beside the checkpoints."""
    windows, c, r = -(-steps // rk.WINDOW), checkpoints + 1, 0
    while _beta(c, r) < windows:
        r += 1
    moves = r * windows - (_beta(c + 1, r - 1) if r else 0)
    return (moves + windows) * rk.WINDOW / steps


def main() -> None:
    """Print both tables."""
    print("10 states, 10 parameters, rk4: MB grown (seconds; steps taken again a step, optimum) by the number of steps")
    for mode in MODES:
        line = f"{mode:25}"
        for steps in STEPS:
            found = growth("small", mode, steps)
            again = f"; {found['retaken']:.2f}, {optimum(steps, 32):.2f}" if MODES[mode][1] == 32 else ""
            line += f"  {steps:>7,}: {found['bytes'] / 1e6:7.1f} ({found['seconds']:.2g} s{again})"
        print(line, flush=True)
    print("64-512-1024-512-64, 64 states of 64: MB grown over a solve alone (seconds) by the number of rk4 steps")
    for mode in list(MODES)[:-1]:
        line = f"{mode:25}"
        for steps in (20, 200):
            found = growth("million", mode, steps)
            line += f"  {steps}: {found['bytes'] / 1e6:7.1f} ({found['seconds']:.2g} s)"
        print(f"{line}  parameters {found['parameters'] / 1e6:.1f}", flush=True)


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
