"""What a solve returns: outputs, counts, and (asked for) the record of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Record", "Solution", "Stats"]

Array = np.ndarray


@dataclass
class Stats:
    """Counts of one solve; nfev_backward is filled in by a gradient, as is nretaken, the steps that it took again from
    checkpoints; stopped_at where a callback ended the solve."""

    nfev: int = 0
    njev: int = 0
    nlu: int = 0
    naccepted: int = 0
    nrejected: int = 0
    nfev_backward: int = 0
    nretaken: int = 0
    stopped_at: float | None = None


@dataclass(frozen=True, eq=False)
class Record:
    """Every accepted step, enough to replay each output.

    Step s goes from t[s], y[s] with length h[s] and slopes K[s]; it ends in y[s + 1], the last one in the
    solution's last output. Output i is the dense output of step output_step[i] at theta = (t_out[i] - t) / h,
    or the step's end itself where it coincides with it (so is the last output; output 0 is y0). A bare record has t, h
    and output_step alone; the others are empty.
    """

    t: Array  # (N,) float64
    h: Array  # (N,) float64, signed
    y: Array  # (N, n)
    K: Array  # (N, dense_stages, n); rows that were not evaluated are 0
    last_stage: Array  # (N,) bool, whether the slope at the step's end was evaluated; always for FSAL methods
    extra: Array  # (N,) bool, whether the extra stages of the dense output were
    order: Array  # (N,) uint8, of a step by an Adams method; 0: by a Runge-Kutta method
    output_step: Array  # (m,) int64

    @property
    def bare(self) -> bool:
        return len(self.y) < len(self.t)


@dataclass(frozen=True, eq=False)
class Solution:
    """y (m, n) at the m times asked for; h_next is the length of the step that would follow, 0 for fixed steps.

    If control.watch ended the solve (stats.stopped_at), y has only the outputs until there.
    """

    y: Array
    stats: Stats
    record: Any = None  # a Record; of a Program's Run what `rk.discrete_backward` takes
    h_next: float = 0.0
