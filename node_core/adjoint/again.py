"""One step after another as plain NumPy code, of plain or traced values: how `replay.Replay` takes the steps of a solve
again, by Runge-Kutta and by Adams methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..solvers import Adams, Control, Tableau
from ..solvers.adams import MOST_PAST, Newton

__all__ = ["AdamsAgain", "RungeKuttaAgain", "again"]

Array = np.ndarray


def again(method: Tableau | Adams, control: Control, real: np.dtype, orders: Array) -> RungeKuttaAgain | AdamsAgain:
    """What takes the steps of a solve by that method again; orders (steps,): see `Record`."""
    return (
        AdamsAgain(method, control, real, orders) if method.multistep else RungeKuttaAgain(method, real, control.split)
    )


class RungeKuttaAgain:
    """``step(slope, n, time, y, f, h, inside, last) -> (y_new, K)`` from y with slope f; ``dense(y, K, h, theta)``.

    n: which step. inside: whether an output lies in it. last: whether none follows. K: its slopes, the last one that of
    the next step's start; of a last step without an output inside it lacks what it does not need.
    """

    def __init__(self, rule: Tableau, real: np.dtype, split: int | None = None) -> None:
        self.rule, self.real, self.split = rule, real, split

    def step(
        self, slope: Callable, n: int, time: Any, y: Any, f: Any, h: Any, inside: bool, last: bool
    ) -> tuple[Any, list]:
        rule, K = self.rule, [f]
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
        return self._sum(y, K, self.rule.dense_a[i, : len(K)], self.rule.dense_a_p[i, : len(K)], h)

    def dense(self, y: Any, K: list, h: Any, theta: Any) -> Any:
        """y(theta) = y + h sum_i sum_k p_ik theta^(k+1) K_i, (k, n), at thetas (k,)."""
        rule = self.rule
        powers = _powers(theta, rule.p.shape[1])
        K = K[: rule.dense_stages]
        return self._sum(y, K, powers @ rule.p[: len(K)].T, powers @ rule.p_p[: len(K)].T, h)

    def _sum(self, y: Any, K: list, weights: Any, weights_p: Any, h: Any) -> Any:
        """y + h sum_i weights_i K_i, from component `split` on by weights_p; in the state's precision."""
        K = np.stack(K)
        if self.split is None:
            return y + rounded(h * weights, self.real) @ K
        first, second = rounded(h * weights, self.real), rounded(h * weights_p, self.real)
        return y + np.concatenate([first @ K[:, : self.split], second @ K[:, self.split :]], axis=-1)


class AdamsAgain:
    """The same by past slopes; K is then the slope at the new point alone, if there is one. See `solvers.adams`."""

    def __init__(self, family: Adams, control: Control, real: np.dtype, orders: Array) -> None:
        self.family, self.real, self.orders = family, real, orders
        self.equal = control.step_size is not None
        self.starter = RungeKuttaAgain(family.starter(family.highest_order(control)), real)
        self.past: list[tuple[Any, Any]] = []  # (time, slope), the newest first
        self.present: tuple | None = None  # of the present step: (polynomial, its terms, y_new); None: the starter's

    def step(
        self, slope: Callable, n: int, time: Any, y: Any, f: Any, h: Any, inside: bool, last: bool
    ) -> tuple[Any, list]:
        self.past, order = [(time, f), *self.past[: MOST_PAST - 1]], int(self.orders[n])
        if order == 0:
            self.present = None
            return self.starter.step(slope, n, time, y, f, h, inside, last)
        older = np.stack([(t - time) / h for t, _ in self.past[: order + 1]])
        moulton = Newton(np.append(np.ones(1), older))
        y_new = self._sum(y, self._slopes(order), Newton(older).weights(order), h)
        terms = order + (self.family.corrected and not self.equal)
        if self.family.corrected:
            y_new = self._sum(y, [slope(time + h, y_new), *self._slopes(terms - 1)], moulton.weights(terms), h)
        self.present = moulton, terms, y_new
        return y_new, [slope(time + h, y_new)] if not last or inside else []

    def dense(self, y: Any, K: list, h: Any, theta: Any) -> Any:
        """y + h sum_k theta^(k+1) P_k, (k, n), at thetas (k,): the polynomial's powers, made to end in y_new."""
        if self.present is None:
            return self.starter.dense(y, K, h, theta)
        moulton, terms, y_new = self.present
        P = rounded(moulton.powers(terms).T, self.real) @ np.stack([K[-1], *self._slopes(terms - 1)])  # (terms, n)
        missing = (y_new - y) / rounded(h, self.real) - np.sum(P, axis=0)
        powers = rounded(h * _powers(theta, max(terms, 3)), self.real)
        return y + powers[:, :terms] @ P + (3 * powers[:, 1:2] - 2 * powers[:, 2:3]) * missing

    def _slopes(self, count: int) -> list:
        return [f for _, f in self.past[:count]]

    def _sum(self, y: Any, slopes: list, weights: Any, h: Any) -> Any:
        return y + rounded(h * weights, self.real) @ np.stack(slopes)


def _powers(theta: Any, degree: int) -> Any:
    """theta^(k+1), (k, degree), of thetas (k,)."""
    return np.stack([theta ** (k + 1) for k in range(degree)], axis=1)


def rounded(x: Any, real: np.dtype) -> Any:
    """In the state's precision."""
    x = x if hasattr(x, "dtype") else np.float64(x)
    return x if x.dtype == real else x.astype(real)
