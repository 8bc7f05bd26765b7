"""The comparison with other packages: workloads, contestants, references; ``node-core bench --suite``."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from . import ours, ours_models, peers
from .contest import Contestant, Row, contest, one_thread
from .workloads import CNF, Conv, Gemm, Lorenz, Spiral

__all__ = ["SUITES", "cold_start", "run_suite"]

SUITES = {
    "small": ("spiral discrete", "spiral adjoint"),
    "gemm": ("gemm float32", "gemm float64"),
    "lorenz": ("lorenz",),
    "conv": ("conv evaluation", "conv vjp", "conv discrete", "conv adjoint"),
    "cnf": ("cnf float32", "cnf float64"),
}
SUITES["all"] = tuple(name for names in SUITES.values() for name in names)
# By name: the kind of workload, what makes it, and which part or form of it is meant.
WORKLOADS: dict[str, tuple[str, Callable[[], Any], tuple]] = {
    "spiral discrete": ("spiral", Spiral, (False,)),
    "spiral adjoint": ("spiral", Spiral, (True,)),
    "gemm float32": ("gemm", lambda: Gemm(np.float32), ()),
    "gemm float64": ("gemm", lambda: Gemm(np.float64), ()),
    "lorenz": ("lorenz", Lorenz, ()),
    "conv evaluation": ("conv", Conv, ("evaluation",)),
    "conv vjp": ("conv", Conv, ("vjp",)),
    "conv discrete": ("conv", Conv, ("discrete",)),
    "conv adjoint": ("conv", Conv, ("adjoint",)),
    "cnf float32": ("cnf", lambda: CNF(np.float32), ()),
    "cnf float64": ("cnf", lambda: CNF(np.float64), ()),
}
# By kind: this package's contestant, the last arguments it is made with, and the reference.
OURS: dict[str, tuple[Callable[..., Contestant], tuple, Callable[..., np.ndarray]]] = {
    "spiral": (ours.spiral, ((False,), (True,)), ours.spiral_reference),
    "gemm": (ours.gemm, ((),), ours.gemm_reference),
    "lorenz": (ours.lorenz, ((),), ours.lorenz_reference),
    "conv": (ours_models.conv, ((),), ours_models.conv_reference),
    "cnf": (ours_models.cnf, (("closed",), ("exact",)), ours_models.cnf_reference),
}
BUDGET = 0.3  # seconds of one contestant's turn


def run_suite(suite: str, against: Sequence[str], repeats: int = 7) -> Iterator[Row | str]:
    """A Row for every contestant of every workload, and a line for each peer that is absent; one thread."""
    one_thread()
    cold: dict[str, float | None] = {}
    for name in SUITES[suite]:
        kind, make, arguments = WORKLOADS[name]
        workload = make()
        rivals, absent = peers.contestants(kind, list(against), workload, *arguments)
        for line in absent:
            yield f"{name}: {line}"
        contestant, variants, reference = OURS[kind]
        mine, exact = [contestant(workload, *arguments, *v) for v in variants], reference(workload, *arguments)
        for row in contest(name, [*mine, *rivals], exact, repeats, BUDGET):
            if kind != "spiral":
                yield row
                continue
            key = f"{row.contestant}:{arguments[0]}"
            if key not in cold:
                try:
                    cold[key] = cold_start(row.contestant, arguments[0])
                except RuntimeError as error:
                    cold[key] = None
                    yield f"{name}: {error}"
            yield dataclasses.replace(row, first_call=cold[key])


def cold_start(contestant: str, adjoint: bool, repeats: int = 3) -> float:
    """Median seconds of a fresh process that imports, compiles and computes the spiral's first gradient.

    RuntimeError, with the last line it printed, if it fails.
    """
    seconds = []
    for _ in range(repeats):
        command = [sys.executable, "-m", "node_core.bench.first", contestant, str(int(adjoint))]
        start = time.perf_counter()
        ran = subprocess.run(command, check=False, env=dict(os.environ), capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or ["no word"])[-1]
            raise RuntimeError(f"{contestant} failed in a fresh process: {last}")
    return median(seconds)
