"""The steps of a solve as plain NumPy code: what derivatives of any order, and forward mode, go through.

Like the discrete gradient this is the derivative of the computed outputs with the accepted step grid held fixed: t[0]
and t[-1] act through the first and the last step (all of t where it is the grid), the other times through the slope of
the dense output. Every operation goes through the autodiff graph, so a derivative of it can be differentiated again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import vjp
from ..autodiff.node import Node, concrete
from ..program import Field
from ..program.trace import TraceError, is_recorded
from ..solvers import Control, Tableau
from ..solvers.watched import Watch, watched
from .again import again
from .history import too_long

__all__ = ["Replay", "Unrolled"]

Array = np.ndarray


class Replay:
    """``replay(y0, t, *parameters) -> ys (m, n)``, of plain or traced values, by the steps of one solve.

    y0 (n,), t (m,), and the parameters of the field. `operands` are those of the solve whose steps these are; y (m, n)
    and stats are that solve's.
    """

    def __init__(self, field: Field, tableau: Tableau, control: Control, operands: Sequence, backend: str) -> None:
        if any(is_recorded(x) for x in operands):
            raise TraceError("second derivatives through odeint follow the steps of one solve; a graph has none")
        y0, t, *parameters = (concrete(x) for x in operands)
        self.field, self.tableau, self.control = field, tableau, control
        self.real, self.evaluations = np.dtype(y0.real.dtype), 0  # of func, by calls
        plain = field.with_args(parameters)
        y0, t = np.ascontiguousarray(y0), np.ascontiguousarray(t, np.float64)
        run = plain.compiled(float(t[0]), y0) if backend == "compiled" else None
        found = watched(plain if run is None else run, y0, t, tableau, control, Watch(), keep="states",
                        backend="python" if backend == "python" else "compiled")  # fmt: skip
        if found.error is not None:
            raise found.error
        self.y, self.stats, self.orders = found.y, found.stats, found.record.order
        self.starts = np.append(found.record.t, t[-1])  # (steps + 1,) the grid
        steps, sign = len(self.starts) - 1, np.sign(t[-1] - t[0])
        self.grid_is_t = not tableau.adaptive and control.step_size is None
        if self.grid_is_t:
            self.step_of = np.arange(len(t)) - 1
        else:  # the step within which, or at whose end, each output lies
            self.step_of = np.searchsorted(sign * self.starts[:-1], sign * t, side="left") - 1
            self.step_of[-1] = steps - 1

    def __call__(self, y0: Any, t: Any, *parameters: Any) -> Any:
        def slope(t: Any, y: Any) -> Any:
            self.evaluations += 1
            return self.field.flat(t, y, parameters)

        grid, m = self._grid(t), len(self.step_of)
        steps = again(self.tableau, self.control, self.real, self.orders)
        y, f = y0, slope(grid[0], y0)
        blocks, done = [y0[None]], 1  # of outputs, each (k, n)
        deadline = time.monotonic() + self.control.max_seconds
        for n in range(len(grid) - 1):
            if time.monotonic() > deadline:
                raise too_long(self.control.max_seconds, float(self.starts[n]), concrete(y))
            h, last = grid[n + 1] - grid[n], n == len(grid) - 2
            stop = m if last else int(np.searchsorted(self.step_of, n, side="right"))
            at_end = self.grid_is_t or last  # the last output of this step is its end
            inside = max(stop - done - at_end, 0)
            y_new, K = steps.step(slope, n, grid[n], y, f, h, inside > 0, last)
            if inside:
                blocks.append(steps.dense(y, K, h, (t[done : done + inside] - grid[n]) / h))
            if stop > done + inside:
                blocks.append(y_new[None])
            done, y, f = stop, y_new, K[-1] if K else None
        return np.concatenate(blocks)

    def _grid(self, t: Any) -> list:
        """The times of the grid: floats, and traced where they move with a traced t."""
        if type(t) is not Node:
            return self.starts.tolist()
        if self.grid_is_t:
            return [t[i] for i in range(len(self.starts))]
        return [t[0], *self.starts[1:-1].tolist(), t[len(self.step_of) - 1]]

    def of_wanted(self, operands: Sequence, wanted: Sequence[bool]) -> tuple[Callable, list]:
        """(the replay as a function of the wanted operands alone, these)."""

        def ys(*moved: Any) -> Any:
            values = iter(moved)
            return self(*(next(values) if want else x for x, want in zip(operands, wanted, strict=True)))

        return ys, [x for x, want in zip(operands, wanted, strict=True) if want]


class Unrolled:
    """The discrete gradient through a replay: of a method whose steps hang on those before them.

    y (m, n), t (m,): of the solve. evaluations: of func, with its VJP.
    """

    def __init__(self, replay: Replay, operands: Sequence, wanted: Sequence[bool], y: Array) -> None:
        ys, moving = replay.of_wanted(operands, wanted)
        self.pull, self.with_t, self.y, self.t = vjp(ys, *moving)[1], wanted[1], y, concrete(operands[1])
        self.evaluations = replay.evaluations

    def pulled(self, g: Array, with_t: bool) -> tuple[Array, list, Array]:
        """From the cotangents g (m, n) of the outputs: (y0_bar (n,), [one for every wanted parameter], t_bar (m,))."""
        y0_bar, *bars = self.pull(g)
        t_bar = bars.pop(0) if self.with_t else np.zeros(len(self.t))
        return y0_bar, bars, t_bar
