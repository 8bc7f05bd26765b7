"""gradient="adjoint": Algorithm 2 of Chen et al. (2018), the augmented state solved backward in time; and
gradient="interpolated": the same with y from the dense output of the forward solve.

With a(t) = dL/dy(t), the augmented state s = [y, a, theta_bar] obeys

    dy/dt = f        da/dt = -a . df/dy        d theta_bar/dt = -a . df/dtheta

and goes backward through the same kernels, one solve an interval between output times. At each output time
y is set back to the stored value and the cotangent of that output is added to a. theta_bar feeds back into
nothing, so it is kept out of the error norm (`Control.n_norm`; Kidger, Chen and Lyons 2021): the steps are
those that y and a need.

Where the dynamics contract, y is unstable backward in time. The dense output of the recorded steps (or of those that
were taken again, see `history`) has it without that: then s = [a, theta_bar], and only tolerances err.

The paper also integrates dL/dt0; here it is read off: dL/dt_i = g_i . f(t_i, y_i), and since moving t_0
moves the start of the solution, dL/dt_0 = -a(t_0) . f(t_0, y_0), a taken before g_0 is added. (The paper's
Eq. 52 has another sign; Algorithm 2 agrees with this one.)
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from typing import Any

import numpy as np

from ..program import Field
from ..program.trace import user_stacklevel
from ..solvers import Control, Failure, Run, SolverError, Tableau, adjoint_backward, integrate, solver_error
from ..solvers.control import rms, scale_error
from .discrete import dot
from .history import History, checkpoints_of
from .nonfinite import Arose

__all__ = ["Backward"]

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


class Interpolated(Augmented):
    """The right-hand side of s = [a, theta_bar], (n + p,), with y from a `History`."""

    def __init__(self, field: Field, history: History) -> None:
        super().__init__(field)
        self.history = history

    def __call__(self, t: float, s: np.ndarray) -> np.ndarray:
        return super().__call__(t, np.concatenate([self.history.value(t), s]))[self.n :]


def _control(control: Control, n: int, p: int, alone: bool) -> Control:
    """The forward control for [y, a] or, alone, a, each (n,), and theta: the latter out of the norm."""
    parts = 1 if alone else 2

    def repeated(tolerance: Any) -> Any:
        if np.ndim(tolerance) == 0:
            return tolerance
        return np.concatenate([*[tolerance] * parts, np.ones(p)])

    norm = control.norm
    if callable(norm) and not alone:  # the user's norm knows vectors of the state's length
        own = norm

        def norm(s: np.ndarray) -> float:
            return max(own(s[:n]), own(s[n:]))

    return dataclasses.replace(
        control, rtol=repeated(control.rtol), atol=repeated(control.atol), norm=norm, n_norm=parts * n, step_t=(),
        watch=None, progress=None,
    )  # fmt: skip


class Backward:
    """The way back of one solve by the augmented state.

    run:    the field's Program with its VJP: then all of it happens in C (csrc/nc_backsolve.inc), with the same steps.
    steps:  what the forward solve recorded (of a Run, what `rk.adjoint_backward` takes), or None: y is reconstructed.
    evaluations, retaken: of func or its VJP, and recorded steps that were taken again.
    """

    def __init__(
        self, field: Field, run: Run | None, tableau: Tableau, control: Control, backend: str, t: np.ndarray,
        y: np.ndarray, steps: Any = None,
    ) -> None:  # fmt: skip
        self.field, self.run, self.backend, self.t, self.y, self.steps = field, run, backend, t, y, steps
        self.forward = tableau, control
        self.tableau, self.control = (tableau, control) if control.backward is None else control.backward
        self.adaptive = self.tableau.adaptive and self.control.step_size is None
        self.evaluations = self.retaken = 0

    def pulled(self, g: np.ndarray, with_t: bool) -> tuple[np.ndarray, Any, np.ndarray]:
        """From the cotangents g (m, n) of the outputs y (m, n) at t (m,) to those of what went in.

        with_t: whether t's cotangent is wanted; it costs f at every output.
        Returns ``(y0_bar (n,), [one for every wanted parameter], t_bar (m,))``; of a Run the parameters' is one vector.
        """
        return self._in_python(g, with_t) if self.run is None else self._in_c(g, with_t)

    def _in_python(self, g: np.ndarray, with_t: bool) -> tuple[np.ndarray, list, np.ndarray]:
        field, t, y, history = self.field, self.t, self.y, None
        if self.steps is not None:
            history = History(field, *self.forward, self.steps, t, y[0], dense=True)
        augmented = Augmented(field) if history is None else Interpolated(field, history)
        n, begin = augmented.n, augmented.n if history is None else 0  # where a begins
        control, drift = _control(self.control, n, augmented.p, begin == 0), (0.0, 0)
        deadline = time.monotonic() + self.control.max_seconds
        s, t_bar = np.zeros(begin + n + augmented.p, y.dtype), np.zeros(len(t))
        for i in range(len(t) - 1, 0, -1):
            s[:begin] = y[i, :begin]
            s[begin : begin + n] += g[i]
            if with_t:
                t_bar[i] = dot(g[i], field(float(t[i]), _read_only(y[i])))
            if history is not None and self.adaptive:
                control = dataclasses.replace(control, step_t=_between(history.window_starts(), t[i], t[i - 1]))
            if deadline < math.inf:  # of all intervals together
                control = dataclasses.replace(control, max_seconds=max(deadline - time.monotonic(), 1e-9))
            try:
                solution = integrate(augmented, s, t[[i, i - 1]], self.tableau, control, backend=self.backend)
            except SolverError as error:
                raise self._explained(error) from error
            s = solution.y[-1]
            if self.adaptive and history is None:
                missed = scale_error(s[:n] - y[i - 1], y[i - 1], y[i - 1], _all_of(self.control))
                drift = max(drift, (rms(missed), i - 1))
            self.evaluations += solution.stats.nfev
            if self.adaptive and self.control.first_step is None:
                # the next interval goes on with this one's step; a careful first step would cost as much as it
                control = dataclasses.replace(control, first_step=solution.h_next)
        a = s[begin : begin + n]
        if with_t:
            t_bar[0] = -dot(a, field(float(t[0]), _read_only(y[0])))
            self.evaluations += len(t)
        if history is not None:
            self.evaluations, self.retaken = self.evaluations + history.evaluations, history.retaken
        _warn_of(drift, t)
        return a + g[0], augmented.parameters(s[begin + n :]), t_bar

    def _in_c(self, g: np.ndarray, with_t: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        alone, n = self.steps is not None, self.field.size
        kept = self.control.__dict__.setdefault("_augmented", {})  # a training asks for the same one at every step
        if (n, alone) not in kept:
            kept[n, alone] = _control(self.control, n, 0, alone)
        checkpoints = checkpoints_of(self.forward[1], self.y[0]) if alone else 1
        y0_bar, flat, t_bar, self.evaluations, self.retaken, failure, last, drift, bad = adjoint_backward(
            self.run, self.y, self.t, self.tableau, kept[n, alone], self.adaptive, g, with_t, self.steps, checkpoints
        )
        if failure is not None:
            raise self._explained(solver_error(Failure(**failure), last))
        if bad[0] is not None:
            raise Arose(None, *bad)
        _warn_of(drift, self.t)
        return y0_bar, flat, t_bar

    def _explained(self, error: SolverError) -> SolverError:
        """The same failure, said to be the backward solve's, with y in the user's nesting."""
        state = "is y and then a" if self.steps is None else "is a"
        message = f"in the adjoint's backward solve, whose state {state}: {error}"
        return SolverError(message, error.t, error.h, self.field.unravel(error.y[: self.field.size]), error.reason)


def _between(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Those strictly between."""
    return times[(times < max(start, end)) & (times > min(start, end))]


def _all_of(control: Control) -> Control:
    """With all components in the norm."""
    return dataclasses.replace(control, n_norm=None)


def _warn_of(drift: tuple[float, int], t: np.ndarray) -> None:
    """RuntimeWarning if y, reconstructed backward, missed the stored outputs by far more than steps may err."""
    if drift[0] > MOST_DRIFT:
        message = (
            f"adjoint: y(t[{drift[1]}]), at t = {t[drift[1]]:.6g}, was reconstructed backward with an error of "
            f"{drift[0]:.2g} times the tolerances, so this gradient may be as wrong; give gradient='interpolated' or "
            "'discrete', or output times closer together"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())


def _read_only(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y.flags.writeable = False
    return y
