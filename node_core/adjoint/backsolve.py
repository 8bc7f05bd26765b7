"""gradient="adjoint": Algorithm 2 of Chen et al. (2018), the augmented state solved backward in time.

With a(t) = dL/dy(t), the augmented state s = [y, a, theta_bar] obeys

    dy/dt = f        da/dt = -a . df/dy        d theta_bar/dt = -a . df/dtheta

and goes backward through the same kernels, one solve an interval between output times. At each output time
y is set back to the stored value and the cotangent of that output is added to a. theta_bar feeds back into
nothing, so it is kept out of the error norm (`Control.n_norm`; Kidger, Chen and Lyons 2021): the steps are
those that y and a need.

The paper also integrates dL/dt0; here it is read off: dL/dt_i = g_i . f(t_i, y_i), and since moving t_0
moves the start of the solution, dL/dt_0 = -a(t_0) . f(t_0, y_0), a taken before g_0 is added. (The paper's
Eq. 52 has another sign; Algorithm 2 agrees with this one.)
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np

from ..program import Field
from ..program.trace import user_stacklevel
from ..solvers import Control, Failure, Run, SolverError, Tableau, adjoint_backward, integrate, solver_error
from ..solvers.control import rms, scale_error
from .discrete import dot

__all__ = ["solve_backward"]

# Of y at an output, in tolerances: the error of a sound solve, above all by an Adams method, is some hundreds, and what
# it has become on the way back may be ten times that.
MOST_DRIFT = 1e4


class Augmented:
    """The right-hand side of s = [y, a, theta_bar], a vector of shape (2n + p,) of the state's dtype."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.n = field.size
        self.split = field.dtype.kind != "c"  # a complex parameter of a real state takes two places
        self.p = sum(self._places(leaf) for leaf in field.differentiated)

    def _places(self, leaf: Any) -> int:
        return math.prod(np.shape(leaf)) * (2 if self.split and np.iscomplexobj(leaf) else 1)

    def __call__(self, t: float, s: np.ndarray) -> np.ndarray:
        n = self.n
        f, y_bar, parameter_bars, _ = self.field.vjp(t, s[:n], s[n : 2 * n])
        ds = np.empty_like(s)
        ds[:n] = f
        np.negative(y_bar, out=ds[n : 2 * n])
        start = 2 * n
        for bar in parameter_bars:
            flat = np.ravel(bar)
            if self.split and np.iscomplexobj(flat):
                flat = np.ascontiguousarray(flat).view(flat.real.dtype)
            np.negative(flat, out=ds[start : start + flat.size], casting="same_kind")
            start += flat.size
        return ds

    def parameters(self, theta_bar: np.ndarray) -> list:
        """theta_bar (p,) as one array for every wanted parameter."""
        parts, start = [], 0
        for leaf in self.field.differentiated:
            stop = start + self._places(leaf)
            part = theta_bar[start:stop]
            if self.split and np.iscomplexobj(leaf):
                part = part[0::2] + 1j * part[1::2]
            elif not np.iscomplexobj(leaf):
                part = part.real
            parts.append(np.reshape(part, np.shape(leaf)))
            start = stop
        return parts


def _control(control: Control, n: int, p: int) -> Control:
    """The forward control for the augmented state: tolerances repeated for a, theta out of the norm."""

    def repeated(tolerance: Any) -> Any:
        if np.ndim(tolerance) == 0:
            return tolerance
        return np.concatenate([tolerance, tolerance, np.ones(p)])

    norm = control.norm
    if callable(norm):  # the user's norm knows vectors of the state's length
        own = norm

        def norm(s: np.ndarray) -> float:
            return max(own(s[:n]), own(s[n:]))

    return dataclasses.replace(
        control, rtol=repeated(control.rtol), atol=repeated(control.atol), norm=norm, n_norm=2 * n, step_t=(),
        watch=None, progress=None,
    )  # fmt: skip


def solve_backward(
    field: Field,
    run: Run | None,
    tableau: Tableau,
    control: Control,
    backend: str,
    t: np.ndarray,
    y: np.ndarray,
    g: np.ndarray,
    *,
    with_t: bool,
) -> tuple[np.ndarray, list, np.ndarray, int]:
    """From the cotangents g (m, n) of the outputs y (m, n) at t (m,) to those of what went in.

    run: the field's Program with its VJP: then all of this happens in C (csrc/nc_backsolve.inc), with the same
    steps. with_t: whether t's cotangent is wanted; it costs f at every output.
    Returns ``(y0_bar (n,), [one for every wanted parameter], t_bar (m,), evaluations)``. Memory does
    not depend on the number of steps.
    """
    if control.backward is not None:
        tableau, control = control.backward
    if run is not None:
        return _solve_compiled(field, run, tableau, control, t, y, g, with_t)
    augmented = Augmented(field)
    n = augmented.n
    told, drift = control, (0.0, 0)
    control = _control(control, n, augmented.p)
    adaptive, carried = tableau.adaptive and control.step_size is None, False
    s = np.zeros(2 * n + augmented.p, y.dtype)
    t_bar = np.zeros(len(t))
    nfev = 0
    for i in range(len(t) - 1, 0, -1):
        s[:n] = y[i]
        s[n : 2 * n] += g[i]
        if with_t:
            t_bar[i] = dot(g[i], field(float(t[i]), _read_only(y[i])))
        try:
            solution = integrate(augmented, s, t[[i, i - 1]], tableau, control, backend=backend)
        except SolverError as error:
            raise _explained(error, field) from error
        s = solution.y[-1]
        if adaptive:
            drift = max(drift, (rms(scale_error(s[:n] - y[i - 1], y[i - 1], s[:n], _all_of(told))), i - 1))
        nfev += solution.stats.nfev
        if (adaptive and control.first_step is None) or carried:
            # the next interval goes on with this one's step; a careful first step would cost as much as it
            control, carried = dataclasses.replace(control, first_step=solution.h_next), True
    a = s[n : 2 * n]
    if with_t:
        t_bar[0] = -dot(a, field(float(t[0]), _read_only(y[0])))
        nfev += len(t)
    _warn_of(drift, t)
    return a + g[0], augmented.parameters(s[2 * n :]), t_bar, nfev


def _solve_compiled(
    field: Field, run: Run, tableau: Tableau, control: Control, t: np.ndarray, y: np.ndarray, g: Any, with_t: bool
) -> tuple[np.ndarray, list, np.ndarray, int]:
    adaptive = tableau.adaptive and control.step_size is None
    kept = control.__dict__.setdefault("_augmented", {})  # a training asks for the same one at every step
    if field.size not in kept:
        kept[field.size] = _control(control, field.size, 0)
    control = kept[field.size]
    y0_bar, flat, t_bar, nfev, failure, last, drift = adjoint_backward(run, y, t, tableau, control, adaptive, g, with_t)
    if failure is not None:
        raise _explained(solver_error(Failure(**failure), last), field)
    _warn_of(drift, t)
    return y0_bar, field.split(flat), t_bar, nfev


def _all_of(control: Control) -> Control:
    """With all components in the norm."""
    return dataclasses.replace(control, n_norm=None)


def _warn_of(drift: tuple[float, int], t: np.ndarray) -> None:
    """RuntimeWarning if y, reconstructed backward, missed the stored outputs by far more than steps may err."""
    if drift[0] > MOST_DRIFT:
        message = (
            f"adjoint: y(t[{drift[1]}]), at t = {t[drift[1]]:.6g}, was reconstructed backward with an error of "
            f"{drift[0]:.2g} times the tolerances, so this gradient may be as wrong; give gradient='discrete', or "
            "output times closer together"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())


def _explained(error: SolverError, field: Field) -> SolverError:
    """The same failure, said to be the backward solve's, with y in the user's nesting."""
    message = f"in the adjoint's backward solve, whose state is y and then a: {error}"
    return SolverError(message, error.t, error.h, field.unravel(error.y[: field.size]), error.reason)


def _read_only(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y.flags.writeable = False
    return y
