"""Contestants on one problem, in turn in one process: medians, ratios pair by pair, and the error of each result."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

__all__ = ["Contestant", "Row", "contest", "one_thread"]

# Read by the libraries when they are imported, so set before that.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def one_thread() -> None:
    """Let every library that is imported from now on use one thread."""
    os.environ.update(ONE_THREAD)


@dataclass(frozen=True)
class Contestant:
    """``run()`` does the whole job once; ``answer()`` gives the numbers that are compared with the reference."""

    name: str
    run: Callable[[], Any]
    answer: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One contestant on one workload: median seconds, its time over ours (pair by pair), its relative error."""

    workload: str
    contestant: str
    seconds: float
    ratio: float
    error: float
    first_call: float | None = None


def contest(
    workload: str, contestants: Sequence[Contestant], reference: np.ndarray, repeats: int, budget: float
) -> list:
    """Race them: each `repeats` times, A B C A B C ..., after one uncounted round; the first is the one compared with.

    budget: seconds that one contestant's turn may take; fast ones run several times a turn, and the mean counts.
    """
    errors = [relative_error(c.answer(), reference) for c in contestants]
    counts = []
    for c in contestants:
        c.run()
        start = time.perf_counter()
        c.run()
        counts.append(int(np.clip(budget / max(time.perf_counter() - start, 1e-7), 1, 2000)))
    taken: list[list[float]] = [[] for _ in contestants]
    for _ in range(repeats):
        for c, count, seconds in zip(contestants, counts, taken, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                c.run()
            seconds.append((time.perf_counter() - start) / count)
    return [
        Row(workload, c.name, median(s), median(b / a for a, b in zip(taken[0], s, strict=True)), error)
        for c, s, error in zip(contestants, taken, errors, strict=True)
    ]


def relative_error(found: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference over the largest entry."""
    found = np.asarray(found, np.float64).ravel()
    return float(np.max(np.abs(found - reference.ravel())) / np.max(np.abs(reference)))
