"""How the time of one field evaluation grows with the work: ``python -m node_core.bench.scaling``.

The field is tanh(y W1 + b1) W2 + b2 as a Program, in C; its cost a floating-point operation is constant as far as the
straight line goes. Where it is higher, at the small end the instructions themselves weigh, at the large end memory.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from ..checks import takes_no_arguments
from ..program import Field

__all__ = ["evaluation_time", "main"]


def _net(t: Any, y: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    return np.tanh(y @ W1 + b1) @ W2 + b2


def evaluation_time(batch: int, width: int, dtype: Any = np.float64, states: int = 8) -> tuple[float, int]:
    """Median seconds of one evaluation and its floating-point operations (a tanh counts as one)."""
    rng = np.random.default_rng(0)
    shapes = [(states, width), (width,), (width, states), (states,)]
    args = tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y = rng.standard_normal((batch, states)).astype(dtype)
    run = Field(_net, y, args).compiled(0.0, y.ravel())
    flat = y.ravel()
    once = _seconds(lambda: run.evaluate(0.0, flat), 3)
    return _seconds(lambda: run.evaluate(0.0, flat), int(np.clip(0.05 / once, 5, 5000))), (
        4 * batch * states * width + batch * (width + states) + batch * width
    )


def _seconds(run: Any, repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return median(taken)


def main() -> None:
    """Print both tables."""
    print(f"{'batch':>7} {'width':>6} {'us':>10} {'GFLOP/s':>9}")
    for batch, width in [(b, 64) for b in (1, 10, 100, 1000, 10_000)] + [
        (100, w) for w in (8, 16, 32, 64, 128, 256, 512)
    ]:
        seconds, flops = evaluation_time(batch, width)
        print(f"{batch:7} {width:6} {seconds * 1e6:10.2f} {flops / seconds / 1e9:9.2f}")


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
