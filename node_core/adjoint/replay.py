"""The steps of a solve as plain NumPy code: what derivatives of any order, and forward mode, go through.

Like the discrete gradient this is the derivative of the computed outputs with the accepted step grid held fixed: t[0]
and t[-1] act through the first and the last step (all of t where it is the grid), the other times through the slope of
the dense output. Every operation goes through the autodiff graph, so a derivative of it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff.node import Node, concrete
from ..program import Field
from ..program.trace import TraceError, is_recorded
from ..solvers import Control, Tableau
from ..solvers.watched import Watch, watched

__all__ = ["Replay"]

Array = np.ndarray


class Replay:
    """``replay(y0, t, *parameters) -> ys (m, n)``, of plain or traced values, by the steps of one solve.

    y0 (n,), t (m,), and the parameters of the field. `operands` are those of the solve whose steps these are.
    """

    def __init__(self, field: Field, tableau: Tableau, control: Control, operands: Sequence, backend: str) -> None:
        if any(is_recorded(x) for x in operands):
            raise TraceError("second derivatives through odeint follow the steps of one solve; a graph has none")
        y0, t, *parameters = (concrete(x) for x in operands)
        self.field, self.tableau, self.split = field, tableau, control.split
        self.real = np.dtype(y0.real.dtype)
        plain = field.with_args(parameters)
        y0, t = np.ascontiguousarray(y0), np.ascontiguousarray(t, np.float64)
        run = plain.compiled(float(t[0]), y0) if backend == "compiled" else None
        found = watched(plain if run is None else run, y0, t, tableau, control, Watch(), keep="states",
                        backend="python" if backend == "python" else "compiled")  # fmt: skip
        if found.error is not None:
            raise found.error
        self.starts = np.append(found.record.t, t[-1])  # (steps + 1,) the grid
        steps, sign = len(self.starts) - 1, np.sign(t[-1] - t[0])
        self.grid_is_t = not tableau.adaptive and control.step_size is None
        if self.grid_is_t:
            self.step_of = np.arange(len(t)) - 1
        else:  # the step within which, or at whose end, each output lies
            self.step_of = np.searchsorted(sign * self.starts[:-1], sign * t, side="left") - 1
            self.step_of[-1] = steps - 1

    def __call__(self, y0: Any, t: Any, *parameters: Any) -> Any:
        def slope(time: Any, y: Any) -> Any:
            return self.field.flat(time, y, parameters)

        grid, m = self._grid(t), len(self.step_of)
        y, f = y0, slope(grid[0], y0)
        blocks, done = [y0[None]], 1  # of outputs, each (k, n)
        for n in range(len(grid) - 1):
            h, last = grid[n + 1] - grid[n], n == len(grid) - 2
            stop = m if last else int(np.searchsorted(self.step_of, n, side="right"))
            at_end = self.grid_is_t or last  # the last output of this step is its end
            inside = max(stop - done - at_end, 0)
            y_new, K = self._step(slope, grid[n], y, f, h, inside > 0, last)
            if inside:
                blocks.append(self._dense(y, K, h, (t[done : done + inside] - grid[n]) / h))
            if stop > done + inside:
                blocks.append(y_new[None])
            done, y, f = stop, y_new, K[-1]
        return np.concatenate(blocks)

    def _grid(self, t: Any) -> list:
        """The times of the grid: floats, and traced where they move with a traced t."""
        if type(t) is not Node:
            return self.starts.tolist()
        if self.grid_is_t:
            return [t[i] for i in range(len(self.starts))]
        return [t[0], *self.starts[1:-1].tolist(), t[len(self.step_of) - 1]]

    def _step(self, slope: Any, time: Any, y: Any, f: Any, h: Any, inside: bool, last: bool) -> tuple[Any, list]:
        """(y_new, K): the slopes of the step; of a last step without an output inside K lacks what it does not need."""
        rule, K = self.tableau, [f]
        for i in range(1, rule.rows - 1):
            K.append(slope(time + rule.dense_c[i] * h, self._moved(y, K, h, i)))
        y_new = self._moved(y, K, h, rule.rows - 1)
        if not last or inside:
            K.append(slope(time + h, y_new))
        if inside and rule.extra:
            for i in range(rule.rows, rule.dense_stages):
                K.append(slope(time + rule.dense_c[i] * h, self._moved(y, K, h, i)))
            return y_new, [*K, K[rule.rows - 1]]  # where the next step looks
        return y_new, K

    def _moved(self, y: Any, K: list, h: Any, i: int) -> Any:
        """y + h sum_j a_ij K_j."""
        return self._sum(y, K, self.tableau.dense_a[i, : len(K)], self.tableau.dense_a_p[i, : len(K)], h)

    def _dense(self, y: Any, K: list, h: Any, theta: Any) -> Any:
        """y(theta) = y + h sum_i sum_k p_ik theta^(k+1) K_i, (k, n), at thetas (k,)."""
        rule = self.tableau
        powers = np.stack([theta ** (k + 1) for k in range(rule.p.shape[1])], axis=1)  # (k, degree)
        K = K[: rule.dense_stages]
        return self._sum(y, K, powers @ rule.p[: len(K)].T, powers @ rule.p_p[: len(K)].T, h)

    def _sum(self, y: Any, K: list, weights: Any, weights_p: Any, h: Any) -> Any:
        """y + h sum_i weights_i K_i, from component `split` on by weights_p; in the state's precision."""
        K = np.stack(K)
        if self.split is None:
            return y + self._rounded(h * weights) @ K
        first, second = self._rounded(h * weights), self._rounded(h * weights_p)
        return y + np.concatenate([first @ K[:, : self.split], second @ K[:, self.split :]], axis=-1)

    def _rounded(self, weights: Any) -> Any:
        return weights if weights.dtype == self.real else weights.astype(self.real)
