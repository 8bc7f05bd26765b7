"""Time contestants in turn, so that a machine whose speed drifts is fair to both."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

__all__ = ["compiled_against_python"]


def compiled_against_python(run: Callable[[str], Any], repeats: int) -> tuple[float, float, float, Any, Any]:
    """``run(backend)`` with both backends, A B A B ...

    Returns the median seconds of "compiled" and of "python", the median of the ratios pair by pair, and what
    each returned.
    """
    seconds: dict[str, list[float]] = {"compiled": [], "python": []}
    found = {}
    for _ in range(repeats):
        for backend, taken in seconds.items():
            start = time.perf_counter()
            found[backend] = run(backend)
            taken.append(time.perf_counter() - start)
    compiled, python = seconds["compiled"], seconds["python"]
    ratio = median(p / c for p, c in zip(python, compiled, strict=True))
    return median(compiled), median(python), ratio, found["compiled"], found["python"]
