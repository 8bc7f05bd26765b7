"""One explicit Runge-Kutta step in plain NumPy: the twin of csrc/nc_step.inc, operation for operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .tableau import Tableau

__all__ = ["extra_stages", "rk_step", "weighted_sum"]

Array = np.ndarray


def rk_step(
    fun: Callable[[float, Array], Array],
    t: float,
    y: Array,
    f: Array,
    h: float,
    tableau: Tableau,
    K: Array,
) -> Array:
    """One step from (t, y) with slope f = fun(t, y); returns y_new (n,).

    K (dense_stages, n) is the caller's storage for the slopes; all rows of the step but the last are filled here. The
    last, fun(t + h, y_new), is left to the caller: an FSAL method needs it for the error, the others only if
    another step or an output follows, and neither if y_new is not finite.
    """
    a, b, c, inner = tableau.a, tableau.b, tableau.c, tableau.rows - 1
    K[0] = f
    for i in range(1, inner):
        K[i] = fun(t + c[i] * h, y + weighted_sum(K[:i], a[i, :i], h))
    return y + weighted_sum(K[:inner], b[:inner], h)


def weighted_sum(K: Array, weights: Array, h: float) -> Array:
    """h sum_i weights[i] K[i], (n,), in K's precision; rows of weight 0 are not read.

    K is (rows, n), weights (rows,). The factors h weights[i] are float64 and rounded once.
    """
    factors = (h * weights).astype(K.real.dtype)
    total = np.zeros(K.shape[1:], K.dtype)
    for weight, factor, slope in zip(weights, factors, K, strict=True):
        if weight != 0.0:
            total += factor * slope
    return total


def extra_stages(
    fun: Callable[[float, Array], Array], t: float, y: Array, h: float, tableau: Tableau, K: Array
) -> None:
    """The stages that the dense output alone needs, into the last rows of K (dense_stages, n)."""
    a, c = tableau.dense_a, tableau.dense_c
    for i in range(tableau.rows, tableau.dense_stages):
        K[i] = fun(t + c[i] * h, y + weighted_sum(K[:i], a[i, :i], h))
