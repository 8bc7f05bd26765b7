"""integrate: the one seam between what solves need (odeint, the adjoint) and how they are stepped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._kernels import rk
from .._kernels.rk import Run, adjoint_backward, discrete_backward
from .control import Control
from .errors import Failure, solver_error
from .loop import adaptive_loop, fixed_loop, same_time_slack
from .output import Outputs
from .solution import Record, Solution, Stats
from .tableau import Tableau

__all__ = ["Run", "adjoint_backward", "discrete_backward", "integrate"]

Array = np.ndarray


def integrate(
    fun: Callable[[float, Array], Array],
    y0: Array,
    t: Array,
    tableau: Tableau,
    control: Control,
    *,
    backend: str = "compiled",
    record: bool = False,
    dense: bool = False,
) -> Solution:
    """Solve dy/dt = fun(t, y), y(t[0]) = y0, at the times t.

    Parameters
    ----------
    fun
        Called with a float and a read-only array (n,) of its own; returns (n,) of y0's dtype, C-contiguous. Or the
        Run of a Program (backend "compiled" only): then no Python runs between the steps.
    y0 : (n,) C-contiguous float32, float64, complex64 or complex128; n may be 0
    t : (m,) float64, m >= 2, strictly increasing or strictly decreasing
    tableau, control
        An adaptive method with control.step_size None chooses its steps; anything else takes fixed ones.
    backend
        "compiled" is csrc/, "python" its readable twin; both take the same steps.
    record
        Keep every accepted step (memory grows with their number), or what control.checkpoints says.
    dense
        Of what is kept, all that the dense output needs.

    Returns
    -------
    Solution
        y (m, n), stats and, asked for, the record. y[0] is y0 and y[-1] the last step's end.

    Raises
    ------
    SolverError
        If a step cannot be taken; it holds the time reached and the last good state.
    ValueError, TypeError
        If y0, t, a tolerance or what fun returns has the wrong type or shape.
    Exception
        Whatever fun or control.norm raises, unchanged.
    """
    if backend == "compiled":
        return _compiled(fun, y0, t, tableau, control, record, dense)
    if backend == "python":
        return _python(fun, y0, t, tableau, control, record, dense)
    raise ValueError(f'backend must be "compiled" or "python", got {backend!r}')


def _is_adaptive(tableau: Tableau, control: Control) -> bool:
    return tableau.adaptive and control.step_size is None


def _python(fun, y0, t, tableau, control, record, dense) -> Solution:
    control.check_size(len(y0))
    adaptive, stats = _is_adaptive(tableau, control), Stats()
    slack = 0.0 if adaptive else same_time_slack(t, control.step_size)
    outputs = Outputs(y0, t, tableau, record, slack, control.split, control.checkpoints, dense)
    loop = adaptive_loop if adaptive else fixed_loop
    try:
        end = loop(fun, y0.copy(), t, tableau, control, outputs, stats, control.watch)
    except BaseException as error:
        if control.watch is not None:
            rk.keep_partial(error, outputs.y[: outputs.written], outputs.reached)
        raise
    if end.stopped:
        stats.stopped_at = end.t
        return Solution(outputs.y[: outputs.written], stats, None, 0.0)
    return Solution(outputs.y, stats, outputs.record(), end.h_next)


def _compiled(fun, y0, t, tableau, control, record, dense) -> Solution:
    y, y_last, counts, failure, steps, h_next, stopped_at = rk.solve(
        fun, y0, t, tableau, control, _is_adaptive(tableau, control), record, dense
    )
    if failure is not None:
        raise solver_error(Failure(**failure), y_last)
    stats = Stats(**counts, stopped_at=stopped_at)
    return Solution(y, stats, Record(**steps) if type(steps) is dict else steps, h_next)
