"""Where the loops put what they find: the outputs at the times asked for, and the record of the steps."""

from __future__ import annotations

import math

import numpy as np

from .._kernels import rk
from .interpolation import dense_output
from .solution import Record
from .tableau import Tableau

__all__ = ["Outputs"]

Array = np.ndarray


class Outputs:
    """Fills y (m, n) from the steps as they come; keeps the steps too if record is true.

    An output closer than `slack` to the end of a step is that end.
    """

    def __init__(
        self, y0: Array, t: Array, tableau: Tableau, record: bool, slack: float = 0.0, split: int | None = None,
        checkpoints: int | str | None = None, dense: bool = False,
    ) -> None:  # fmt: skip
        self.t, self.tableau, self.slack, self.split = t, tableau, slack, split
        self.y = np.empty((len(t), len(y0)), y0.dtype)
        self.y[0] = y0
        self.output_step = np.zeros(len(t), np.int64)
        self.steps: list[tuple] | None = [] if record else None
        self.slopes = rk.SLOPES["all" if dense else "stages"]  # that every step has at least
        self.bare = isinstance(checkpoints, int)  # of steps times alone are kept
        self.limit = rk.tape_bytes() if checkpoints == "auto" else math.inf  # bytes of y and K
        self.reached = float(t[0])  # the end of the last accepted step
        self._next = 1
        self._step = 0

    @property
    def written(self) -> int:
        """How many of the outputs there are."""
        return self._next

    def inside(self, t_new: float) -> bool:
        """Whether the next output lies strictly inside the step that ends at t_new."""
        if self._next >= len(self.t) - 1 or self._at_end(t_new):
            return False
        return (self.t[self._next] < t_new) == (self.t[0] < t_new)

    def step(
        self, t: float, h: float, y: Array, K: Array, t_new: float, y_new: Array, last: bool, last_stage: bool,
        extra: bool, order: int = 0,
    ) -> None:  # fmt: skip
        """One accepted step from (t, y) to (t_new, y_new) with slopes K (dense_stages, n).

        last_stage, extra: whether the slope at t_new, and the extra stages, were evaluated. order: see Record.
        """
        if self.steps is not None:
            if not last_stage:
                K[self.tableau.rows - 1] = 0.0
            if not extra:
                K[self.tableau.rows :] = 0.0
            if not self.bare and (len(self.steps) + 1) * (y.nbytes + K.nbytes) > self.limit:
                self.bare, self.steps = True, [(t, h) for t, h, *_ in self.steps]
            self.steps.append((t, h) if self.bare else (t, h, y, K.copy(), last_stage, extra, order))
        while self.inside(t_new):
            theta = (float(self.t[self._next]) - t) / h
            self._write(y_new if theta == 1.0 else dense_output(y, K, h, self.tableau, theta, self.split))
        while self._next < len(self.t) and (last or self._at_end(t_new)):
            self._write(y_new)
        self.reached = t_new
        self._step += 1

    def _at_end(self, t_new: float) -> bool:
        return abs(self.t[self._next] - t_new) <= self.slack

    def _write(self, y: Array) -> None:
        self.y[self._next] = y
        self.output_step[self._next] = self._step
        self._next += 1

    def record(self) -> Record | None:
        if self.steps is None:
            return None
        if self.bare or not self.steps:
            t, h = np.reshape(self.steps, (-1, 2)).T if self.steps else np.zeros((2, 0))
            none, n = np.zeros(0), self.y.shape[1]
            K = np.zeros((0, self.tableau.dense_stages, n), self.y.dtype)
            return Record(t, h, K[:, 0], K, *[none.astype(bool)] * 2, none.astype(np.uint8), self.output_step)
        t, h, y, K, last_stage, extra, order = zip(*self.steps, strict=True)
        return Record(
            np.array(t),
            np.array(h),
            np.stack(y),
            np.stack(K),
            np.array(last_stage, np.bool_),
            np.array(extra, np.bool_),
            np.array(order, np.uint8),
            self.output_step,
        )
