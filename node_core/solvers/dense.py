"""The solution as a function of time, put together from the recorded steps of one or several solves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .solution import Record
from .tableau import Tableau

__all__ = ["DenseSolution"]

Array = np.ndarray
CHUNK = 1 << 20  # numbers of K that are gathered at once


class DenseSolution:
    """``sol(t)``: y between t_min and t_max, from the method's own dense output.

    A number t gives (n,), an array (q,) gives (n, q), as SciPy's OdeSolution does. nu: that derivative by t in place of
    the value. extrapolate: whether times outside of the range are answered, with the polynomial of the nearest step;
    else they are a ValueError. Where one solve ends and the next begins (after a reset, say) t belongs to the next.

    Attributes: ts (N + 1,), the ends of the steps; t_min, t_max; n_segments, N.
    """

    def __init__(
        self, tableau: Tableau, dtype: Any, n: int, t0: float, y0: Array, extrapolate: bool = False,
        split: int | None = None,
    ) -> None:  # fmt: skip
        self.tableau, self.extrapolate, self.split = tableau, extrapolate, split
        self._t, self._h = np.zeros(0), np.zeros(0)
        self._y, self._K = np.zeros((0, n), dtype), np.zeros((0, tableau.dense_stages, n), dtype)
        self.t_end, self.y_end = t0, y0

    def extend(self, record: Record, t_end: float, y_end: Array) -> None:
        """The steps of a further solve, which ended in (t_end, y_end), at the end of its last step or within it."""
        self._t, self._h = np.append(self._t, record.t), np.append(self._h, record.h)
        self._y, self._K = np.concatenate([self._y, record.y]), np.concatenate([self._K, record.K])
        self.t_end, self.y_end = t_end, y_end

    @property
    def ts(self) -> Array:
        """The ends of the steps, (N + 1,)."""
        return np.append(self._t, self.t_end)

    @property
    def n_segments(self) -> int:
        return len(self._t)

    @property
    def t_min(self) -> float:
        return min(float(self.ts[0]), self.t_end)

    @property
    def t_max(self) -> float:
        return max(float(self.ts[0]), self.t_end)

    def __call__(self, t: Any, nu: int = 0, extrapolate: bool | None = None) -> Array:
        times = np.asarray(t, float)
        if times.ndim > 1:
            raise ValueError(f"sol: t must be a number or an array (q,), got shape {times.shape}")
        if not isinstance(nu, (int, np.integer)) or nu < 0:
            raise ValueError(f"sol: nu, the derivative, must be an int of at least 0, got {nu!r}")
        if not (self.extrapolate if extrapolate is None else extrapolate):
            outside = times[~((times >= self.t_min) & (times <= self.t_max))]
            if outside.size:
                raise ValueError(f"sol: t = {outside.flat[0]} is outside of [{self.t_min}, {self.t_max}]; "
                                 "give extrapolate=True if you mean it")  # fmt: skip
        flat = times.reshape(-1)
        out = np.empty((len(flat), self._y.shape[1]), self._y.dtype)
        size = max(1, CHUNK // max(1, self._K[0].size if len(self._K) else 1))
        for k in range(0, len(flat), size):
            out[k : k + size] = self._values(flat[k : k + size], nu)
        return out[0] if times.ndim == 0 else np.ascontiguousarray(out.T)

    def _values(self, t: Array, nu: int) -> Array:
        """(q, n) at the times t (q,)."""
        if not len(self._t):  # no step was taken
            return np.broadcast_to(self.y_end if nu == 0 else 0.0 * self.y_end, (len(t), len(self.y_end)))
        sign = 1.0 if self.t_end > self._t[0] else -1.0
        step = np.clip(np.searchsorted(sign * self._t, sign * t, side="right") - 1, 0, None)
        h = self._h[step]
        with np.errstate(invalid="ignore"):  # a step to infinity
            theta = np.where(np.isinf(h), 0.0, (t - self._t[step]) / h)
        powers = theta[:, None] ** np.arange(self.tableau.p.shape[1] + 1 - nu)  # (q, degree + 1 - nu)
        moved = self._weighted(powers @ _coefficients(self.tableau.p, nu), self._K[step])
        if self.split is not None:
            second = self._K[step][:, :, self.split :]
            moved[:, self.split :] = self._weighted(powers @ _coefficients(self.tableau.p_p, nu), second)
        if nu:
            return h[:, None] ** (1 - nu) * moved
        out = self._y[step] + h[:, None] * moved if not np.isinf(h).any() else self._y[step]
        out[t == self.t_end] = self.y_end
        return out

    def _weighted(self, weights: Array, K: Array) -> Array:
        """The stages K (q, rows, n) by weights (q, rows), summed: (q, n)."""
        return np.einsum("qr,qrn->qn", weights.astype(self._y.real.dtype), K)

    def __repr__(self) -> str:
        return f"DenseSolution of {self.n_segments} steps of {self.tableau.name} on [{self.t_min:g}, {self.t_max:g}]"


def _coefficients(p: Array, nu: int) -> Array:
    """Those of the weights p (rows, degree), differentiated nu times, by power of theta: (degree + 1 - nu, rows)."""
    by_power = np.vstack([np.zeros(len(p)), p.T])  # powers 0 to degree
    falling = [math.perm(k, nu) for k in range(nu, len(by_power))]
    return np.array(falling, float)[:, None] * by_power[nu:]
