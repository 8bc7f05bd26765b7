"""The comparison with other packages: workloads, contestants, references; ``node-core bench --suite``."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from . import ours, peers
from .contest import Row, contest, one_thread
from .workloads import Gemm, Lorenz, Spiral

__all__ = ["SUITES", "cold_start", "run_suite"]

SUITES = {
    "small": ("spiral discrete", "spiral adjoint"),
    "gemm": ("gemm float32", "gemm float64"),
    "lorenz": ("lorenz",),
}
SUITES["all"] = tuple(name for names in SUITES.values() for name in names)
BUDGET = 0.3  # seconds of one contestant's turn


def _entry(name: str) -> tuple[str, Any, tuple]:
    """(kind, workload, further arguments) of a workload's name."""
    if name.startswith("spiral"):
        return "spiral", Spiral(), (name.endswith("adjoint"),)
    if name.startswith("gemm"):
        return "gemm", Gemm(np.float32 if name.endswith("32") else np.float64), ()
    return "lorenz", Lorenz(), ()


def _ours(kind: str, workload: Any, arguments: tuple) -> list:
    if kind == "spiral":
        gradient = "adjoint" if arguments[0] else "discrete"
        return [ours.spiral(workload, gradient, eager) for eager in (False, True)]
    return [ours.gemm(workload) if kind == "gemm" else ours.lorenz(workload)]


def run_suite(suite: str, against: Sequence[str], repeats: int = 7) -> Iterator[Row | str]:
    """A Row for every contestant of every workload, and a line for each peer that is absent; one thread."""
    one_thread()
    cold: dict[str, float | None] = {}
    for name in SUITES[suite]:
        kind, workload, arguments = _entry(name)
        rivals, absent = peers.contestants(kind, list(against), workload, *arguments)
        for line in absent:
            yield f"{name}: {line}"
        reference = ours.reference(workload)
        for row in contest(name, [*_ours(kind, workload, arguments), *rivals], reference, repeats, BUDGET):
            if kind != "spiral":
                yield row
                continue
            key = f"{row.contestant}:{arguments[0]}"
            if key not in cold:
                cold[key] = cold_start(row.contestant, arguments[0])
            yield dataclasses.replace(row, first_call=cold[key])


def cold_start(contestant: str, adjoint: bool, repeats: int = 3) -> float:
    """Median seconds of a fresh process that imports, compiles and computes the spiral's first gradient."""
    seconds = []
    for _ in range(repeats):
        command = [sys.executable, "-m", "node_core.bench.suite", contestant, str(int(adjoint))]
        start = time.perf_counter()
        subprocess.run(command, check=True, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def first_gradient(contestant: str, adjoint: bool) -> None:
    """What `cold_start` times, in this process."""
    one_thread()
    if contestant in (ours.NAME, ours.EAGER):
        ours.spiral(Spiral(), "adjoint" if adjoint else "discrete", contestant == ours.EAGER).answer()
    else:
        peers.PEERS[contestant.split()[0]]["spiral"](Spiral(), adjoint).answer()


if __name__ == "__main__":
    first_gradient(sys.argv[1], sys.argv[2] == "1")
