"""What the elementwise kernels cost and how exact they are: ``python -m node_core.bench.elementwise``.

For exp, tanh and their kin: ns a number in a block that stays in the cache, by these kernels and by NumPy, and the
largest error of both in units in the last place, against the next longer type, at numbers uniform in [-5, 5].
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from .._kernels import rk
from ..checks import takes_no_arguments
from .contest import one_thread

__all__ = ["main"]

BLOCK, SAMPLES = 2048, 1_000_000
FUNCTIONS: dict[str, Any] = {
    "tanh": np.tanh, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2,
    "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.log1p(np.exp(x)),
}  # fmt: skip


def _nanoseconds(run: Any, turns: int = 30, calls: int = 400) -> float:
    taken = []
    for _ in range(turns):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        taken.append((time.perf_counter() - start) / calls)
    return median(taken) / BLOCK * 1e9


def _ulps(got: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(got - exact) / np.spacing(np.abs(exact).astype(got.dtype))))


def _row(name: str, function: Any, dtype: Any) -> str:
    x = np.random.default_rng(0).uniform(-5, 5, SAMPLES).astype(dtype)
    x = np.abs(x) if name.startswith("log") else x
    exact = function(x.astype(np.float64 if dtype == np.float32 else np.longdouble))
    block, out = x[:BLOCK].copy(), np.empty(BLOCK, dtype)
    ours, numpys = _nanoseconds(lambda: rk.unary(name, block, out)), _nanoseconds(lambda: function(block))
    errors = _ulps(rk.unary(name, x), exact), _ulps(function(x), exact)
    return f"{name:9} {np.dtype(dtype).name:8} {ours:8.2f} {numpys:8.2f} {errors[0]:10.1f} {errors[1]:10.1f}"


def main() -> None:
    """Print one row a function and dtype; ns include the call of one kernel."""
    one_thread()
    print(f"{'':9} {'':8} {'ns':>8} {'NumPy':>8} {'ulp':>10} {'NumPy':>10}")
    for name, function in FUNCTIONS.items():
        for dtype in (np.float32, np.float64):
            print(_row(name, function, dtype), flush=True)


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
