"""SolverError: a solve that could not go on, said in full."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Failure", "SolverError", "solver_error"]

_ADVICE = {
    "non-finite": "Check func near there (a division by zero, a log or root of a negative number, overflow), "
    "or start with a smaller first_step or step_size.",
    "step underflow": "The problem may be singular or stiff there, or func discontinuous; "
    "try a looser rtol and atol, an atol above 0, or end before that time.",
    "min_step": "Lower min_step, or loosen rtol and atol.",
    "max_seconds": "Raise max_seconds, loosen rtol and atol, or check whether the problem is stiff.",
    "too many steps": "Raise max_num_steps, loosen rtol and atol, or check whether the problem is stiff.",
}
_HAPPENED = {
    "step underflow": "the step size fell below 10 ulp of t",
    "min_step": "the error test needs a step below min_step",
    "too many steps": "max_num_steps attempts were not enough",
    "max_seconds": "the time that was allowed is over",
}
_CAUSE = {
    "func": "func returned a non-finite value in component {component} at t = {t:.17g}",
    "state": "the new state is not finite in component {component} at t = {t:.17g} (overflow)",
    "norm": "the norm of the scaled error is not a finite non-negative number at t = {t:.17g} "
    "(component {component} is the largest)",
}


class SolverError(RuntimeError):
    """A solve stopped before its last output time.

    Attributes
    ----------
    t : float
        The time reached.
    h : float
        The step that was tried (signed), 0 before the first.
    y : ndarray (n,)
        The last good state, at t.
    reason : str
        "non-finite", "step underflow", "min_step", "too many steps" or "max_seconds"; of a gradient also "stopped" (a
        callback ended the solve) and "no slope" (of an event), of `odeint_event` "no event", of a traced `solve_ivp`
        with events "failed".
    """

    def __init__(self, message: str, t: float, h: float, y: np.ndarray, reason: str) -> None:
        super().__init__(message)
        self.t, self.h, self.y, self.reason = t, h, y, reason

    def __reduce__(self):
        return type(self), (self.args[0], self.t, self.h, self.y, self.reason)


@dataclass(frozen=True)
class Failure:
    """Where and why a loop stopped, the same from both backends."""

    reason: str
    t: float
    h: float
    component: int  # largest in the scaled error of the last attempt, -1 if there is none
    naccepted: int
    nrejected: int
    cause: str | None = None  # "func", "state", "norm": what was not finite, if anything
    cause_t: float = 0.0
    cause_component: int = -1


def solver_error(failure: Failure, y: np.ndarray) -> SolverError:
    """The error to raise for a failure; y (n,) is the last good state."""
    reason, parts = failure.reason, []
    if failure.cause is not None:
        parts.append(_CAUSE[failure.cause].format(component=failure.cause_component, t=failure.cause_t))
        reason = "non-finite"
    if failure.reason in _HAPPENED:
        parts.append(_HAPPENED[failure.reason])
    where = f"at t = {failure.t:.17g} with h = {failure.h:.3g}"
    if failure.cause is None and failure.component >= 0:
        where += f", component {failure.component} of y having the largest error"
    counts = f"{failure.naccepted} steps accepted, {failure.nrejected} rejected"
    message = f"{reason}: {'; '.join(parts)}. Stopped {where} ({counts}). {_ADVICE[reason]}"
    return SolverError(message, failure.t, failure.h, y, reason)
