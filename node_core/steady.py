"""Steady states, and how they move with what the right-hand side depends on.

The state is followed to rest by implicit Euler steps whose length grows as the residual falls, pseudo-transient
continuation: it follows the flow at first, and ends as Newton's method (Kelley, Keyes, SIAM J. Numer. Anal. 35 (1998)
508). By the implicit function theorem f(y, args) = 0 gives dy = -J^-1 df, J = df/dy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .autodiff import jacobian, stop_gradient, tree
from .autodiff.node import concrete, depth
from .options import state_of
from .program import Field
from .solvers import SolverError

__all__ = ["steady_state"]

Array = np.ndarray
TINY = 1e-300


def steady_state(
    func: Callable, y0: Any, args: tuple = (), *, t: float = 0.0, tol: float = 1e-10, max_steps: int = 200
) -> Any:
    """A state y near y0 at which func(t, y, *args) is 0, shaped and nested like y0; differentiable by args.

    tol:       the steady state is reached when a Newton step is below tol (1 + |y|), RMS over the components.
    max_steps: before a SolverError; each costs a Jacobian and a linear system of n unknowns.

    y follows the flow at first, so that a stable state of the basin that y0 lies in is found where there is one. The
    gradient is that of the implicit function theorem, of every order, forward or reverse; y0 has none (zeros). A
    singular Jacobian is a SolverError: there the state does not move with args as a function.

    >>> y = steady_state(lambda t, y, a: y * (a - y), np.array([0.5]), (2.0,))
    >>> round(float(y[0]), 9)
    2.0
    """
    if type(args) is not tuple:
        raise TypeError(f"args must be a tuple, got {type(args).__name__}: write args=(p,)")
    if not tol > 0.0:
        raise ValueError(f"tol must be positive, got {tol!r}")
    y0 = state_of(y0)
    start = tree.map(concrete, y0)
    field = Field(func, start, args)
    if field.dtype.kind == "c":
        raise TypeError("steady_state is for real states, got a complex y0")
    if field.size == 0:
        return y0
    plain = field.with_args([concrete(p) for p in field.parameters])
    y, J = _at_rest(plain, np.ascontiguousarray(tree.ravel(start)[0]), float(t), tol, max_steps)
    levels = max((depth(leaf) for leaf in tree.flatten((y0, args))[0]), default=0)
    moving = y + 0.0 * tree.ravel(y0)[0] if levels else y  # y0 has a gradient, of zeros
    inverse = np.linalg.inv(J)
    for _ in range(levels):  # a Newton step with a fixed Jacobian: each makes derivatives of one order more right
        f = field.flat(float(t), moving, field.parameters)
        moving = moving - inverse @ (f - stop_gradient(f))
    return field.unravel(moving)


def _at_rest(field: Field, y: Array, t: float, tol: float, max_steps: int) -> tuple[Array, Array]:
    """(y (n,), J (n, n)) at rest."""

    def fail(why: str) -> SolverError:
        return SolverError(f"steady_state: {why}", t, 0.0, field.unravel(y), "no steady state")

    parameters, n = field.parameters, len(y)
    slopes = jacobian(lambda y: field.flat(t, y, parameters))
    f, before, step = field(t, y), None, 0.0
    for _ in range(max_steps):
        if not np.all(np.isfinite(f)):
            raise fail("func is not finite on the way")
        J, size = slopes(y), max(float(np.sqrt(np.mean(f**2))), TINY)
        newton = _solved(J, -f)
        if newton is not None and np.sqrt(np.mean((newton / (1.0 + np.abs(y))) ** 2)) <= tol:
            return y + newton, J
        if size == TINY:
            raise fail(f"at y = {y} the Jacobian is singular: a steady state there is not alone")
        if before is None:
            step = 0.1 / max(np.abs(J).sum(axis=1).max(), TINY)
        elif size <= before:  # away from an unstable state it grows, and the flow is followed closely
            step *= max(before / size, 2.0)
        move = newton if step > 1e12 else _solved(np.eye(n, dtype=y.dtype) / step - J, f)
        before = size
        if move is None:  # not with another length
            before, step = size, 0.7 * step
            continue
        y = y + move
        f = field(t, y)
    raise fail(f"no state at rest after {max_steps} steps (max_steps); at y = {y} func is {f}")


def _solved(A: Array, b: Array) -> Array | None:
    """x of A x = b; None if A is singular."""
    try:
        return np.linalg.solve(A, b)
    except np.linalg.LinAlgError:
        return None
