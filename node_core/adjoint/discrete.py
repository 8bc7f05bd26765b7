"""gradient="discrete": the derivative of the computed outputs, by going back through the recorded steps.

The accepted step grid is held fixed, as torchdiffeq and diffrax do. One step is

    Y_i = y + h sum_j a_ij K_j      K_i = f(t + c_i h, Y_i)      y_new = y + h sum_i b_i K_i

and the reverse pass runs over its stages in reverse. Every method is treated as first-same-as-last: the
last row of K is f(t + h, y_new), which is the first stage of the next step, so its cotangent is handed back
from step to step (see `solvers.tableau`).

The grid points that are entries of t move with them: t[0] and t[-1], and, for a fixed-step method without
step_size, all of t. The other entries act through the slope of the interpolant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..program import Field
from ..solvers import Control, Record, Tableau
from ..solvers.interpolation import dense_slopes, dense_weights
from .history import History
from .nonfinite import Arose, check_parts

__all__ = ["dot", "pull_back"]


def dot(a: Any, b: Any) -> float:
    """The real inner product, Re sum conj(a) b."""
    return float(np.real(np.vdot(a, b)))


class _Pass:
    """One reverse pass over a record: the cotangents that add up along the way."""

    def __init__(self, history: History, with_t: bool, check: bool) -> None:
        field, tableau, record = history.field, history.tableau, history.record
        self.history, self.field, self.record, self.with_t, self.check = history, field, record, with_t, check
        self.real = np.dtype(record.K.real.dtype)  # float32 states are handled in float32
        kept = (tableau.dense_a, tableau.dense_a_p, tableau.dense_c)
        self.a, self.a_p, self.c = (x.astype(self.real) for x in kept)
        self.split = history.split
        self.tableau = tableau
        self.grid_bar = np.zeros(len(record.t) + 1)  # of the grid points t_0 ... t_N
        self.parameter_bars = [np.zeros_like(p) for p in field.differentiated]
        self.nfev = 0

    def vjp(self, t: float, y: np.ndarray, k_bar: np.ndarray) -> tuple[np.ndarray, float]:
        """Cotangents of (y, t) from that of f(t, y); those of the parameters are added up."""
        _, y_bar, p_bars, t_bar = self.field.vjp(t, y, k_bar, self.with_t)
        for i, p_bar in enumerate(p_bars):
            self.parameter_bars[i] = self.parameter_bars[i] + p_bar
        self.nfev += 1
        time_bar = float(np.real(t_bar)) if self.with_t else 0.0
        if self.check:
            check_parts(t, y_bar, self.parameter_bars, time_bar)
        return y_bar, time_bar

    def weights(self, theta: float, derivative: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The dense-output weights of the stages at theta, (stages,), or their derivative by theta, of both halves."""
        of = dense_slopes if derivative else dense_weights
        first = of(self.tableau, theta).astype(self.real)
        return first, first if self.split is None else of(self.tableau, theta, True).astype(self.real)

    def mix(self, weights: tuple[np.ndarray, np.ndarray], K: np.ndarray) -> np.ndarray:
        """sum_i weights_i K_i, (n,), the weights being those of either half of the state."""
        out = weights[0] @ K
        if self.split is not None:
            out[self.split :] = weights[1] @ K[:, self.split :]
        return out

    def spread(self, weights: tuple[np.ndarray, np.ndarray], bar: np.ndarray) -> np.ndarray:
        """The cotangents of K from that of `mix`, (stages, n)."""
        out = weights[0][:, None] * bar
        if self.split is not None:
            out[:, self.split :] = weights[1][:, None] * bar[self.split :]
        return out

    def step(self, n: int, y_new_bar: np.ndarray, K_bar: np.ndarray, outputs: list) -> np.ndarray:
        """Back through step n; returns the cotangent of y_n and leaves that of K_0 in K_bar[0].

        y_new_bar: (n,), of y at the end of the step.
        K_bar:     (stages, n), with what the following step has put into the last row.
        outputs:   (theta, g) of every output that this step's interpolant gave.
        """
        t, h = float(self.record.t[n]), float(self.record.h[n])
        y, K, last_stage, extra = self.history.at(n)  # (n,), (stages, n)
        last = self.tableau.rows - 1
        b = self.a[last], self.a_p[last]
        y_bar, t_bar, h_bar = np.zeros_like(y), 0.0, 0.0
        for theta, g in outputs:  # y(theta) = y + h sum_i w_i(theta) K_i, and theta = (t_out - t) / h
            w = self.weights(theta)
            y_bar += g
            K_bar += h * self.spread(w, g)
            if self.with_t:
                slope = self.mix(self.weights(theta, derivative=True), K)
                h_bar += dot(g, self.mix(w, K) - theta * slope)
                t_bar -= dot(g, slope)
        if extra:  # the dense output's own stages, the last ones of all
            for i in range(len(self.c) - 1, last, -1):
                y_bar, t_bar, h_bar = self.stage(i, t, h, y, K, K_bar, y_bar, t_bar, h_bar)
        if last_stage:  # K_last = f(t + h, y_new)
            Y_bar, time_bar = self.vjp(t + h, y + h * self.mix(b, K), K_bar[last])  # b is 0 from there on
            y_new_bar = y_new_bar + Y_bar
            t_bar, h_bar = t_bar + time_bar, h_bar + time_bar
        y_bar += y_new_bar
        K_bar += h * self.spread(b, y_new_bar)
        h_bar += self.along(y_new_bar, b, K)
        for i in range(last - 1, 0, -1):
            y_bar, t_bar, h_bar = self.stage(i, t, h, y, K, K_bar, y_bar, t_bar, h_bar)
        self.grid_bar[n] += t_bar - h_bar
        self.grid_bar[n + 1] += h_bar
        return y_bar

    def stage(
        self, i: int, t: float, h: float, y: np.ndarray, K: np.ndarray, K_bar: np.ndarray, y_bar: np.ndarray,
        t_bar: float, h_bar: float,
    ) -> tuple[np.ndarray, float, float]:  # fmt: skip
        """Back through K_i = f(t + c_i h, y + h sum_j a_ij K_j): what it adds to K_bar, and to the three returned."""
        c, a = float(self.c[i]), (self.a[i, :i], self.a_p[i, :i])
        Y_bar, time_bar = self.vjp(t + c * h, y + h * self.mix(a, K[:i]), K_bar[i])
        K_bar[:i] += h * self.spread(a, Y_bar)
        return y_bar + Y_bar, t_bar + time_bar, h_bar + c * time_bar + self.along(Y_bar, a, K[:i])

    def along(self, Y_bar: np.ndarray, weights: tuple[np.ndarray, np.ndarray], K: np.ndarray) -> float:
        """What h gets of Y_bar for Y = y + h sum_i weights_i K_i; only t wants it."""
        return dot(Y_bar, self.mix(weights, K)) if self.with_t else 0.0


def pull_back(
    field: Field,
    tableau: Tableau,
    control: Control,
    record: Record,
    t: np.ndarray,
    y0: np.ndarray,
    g: np.ndarray,
    *,
    grid_is_t: bool,
    with_t: bool,
    check: bool = False,
) -> tuple[np.ndarray, list, np.ndarray, int, int]:
    """From the cotangents g (m, n) of the outputs at t (m,) to those of what went in.

    grid_is_t: every entry of t is a grid point (a fixed-step method without step_size).
    with_t:    whether t's cotangent is wanted; it costs df/dt at every stage.
    check:     look at every cotangent on the way. A result that is not finite has another pass do so: Arose.
    Returns ``(y0_bar (n,), [one for every wanted parameter], t_bar (m,), evaluations of func and its VJP, steps that
    were taken again)``.
    """
    history = History(field, tableau, control, record, t, y0)
    run = _Pass(history, with_t, check)
    steps, m = len(record.t), len(t)
    moving = {i: i for i in range(m)} if grid_is_t else {0: 0, steps: m - 1}  # grid point -> entry of t
    at_end = set(moving.values())
    t_bar = np.zeros(m)
    y_bar, carry = np.zeros_like(y0), np.zeros_like(y0)
    i = m - 1  # the output that comes next, going backward
    for n in range(steps - 1, -1, -1):
        K = history.at(n).K
        K_bar = np.zeros_like(K)
        K_bar[tableau.rows - 1] = carry
        inside = []
        while i > 0 and record.output_step[i] == n:
            if i in at_end:
                y_bar = y_bar + g[i]
            else:
                theta = (t[i] - record.t[n]) / record.h[n]
                inside.append((theta, g[i]))
                t_bar[i] = dot(g[i], run.mix(run.weights(theta, derivative=True), K))
            i -= 1
        y_bar = run.step(n, y_bar, K_bar, inside)
        carry = K_bar[0]
    Y_bar, time_bar = run.vjp(float(t[0]), y0, carry)  # K_0 = f(t_0, y_0)
    run.grid_bar[0] += time_bar
    for point, entry in moving.items():
        t_bar[entry] += run.grid_bar[point]
    y0_bar = y_bar + Y_bar + g[0]
    try:
        check_parts(None, y0_bar, run.parameter_bars, t_bar)
    except Arose:
        if check:
            raise
        return pull_back(field, tableau, control, record, t, y0, g, grid_is_t=grid_is_t, with_t=with_t, check=True)
    return y0_bar, run.parameter_bars, t_bar, run.nfev + history.evaluations, history.retaken
