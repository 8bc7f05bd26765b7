"""One explicit Runge-Kutta step in plain NumPy: the twin of csrc/nc_step.inc, operation for operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .tableau import Tableau

__all__ = ["NonFinite", "check_finite", "extra_stages", "halves_sum", "rk_step", "weighted_sum"]

Array = np.ndarray


class NonFinite(ArithmeticError):
    """A NaN or infinity, seen first in `what` ("func", "state" or "norm")."""

    def __init__(self, what: str, t: float, component: int) -> None:
        super().__init__(what, t, component)
        self.what, self.t, self.component = what, t, component


def check_finite(what: str, t: float, x: Array) -> Array:
    """x (n,), if all of it is finite; else NonFinite."""
    finite = np.isfinite(x)
    if not finite.all():
        raise NonFinite(what, t, int(np.argmin(finite)))
    return x


def rk_step(
    fun: Callable[[float, Array], Array],
    t: float,
    y: Array,
    f: Array,
    h: float,
    tableau: Tableau,
    K: Array,
    split: int | None = None,
) -> Array:
    """One step from (t, y) with slope f = fun(t, y); returns y_new (n,).

    K (dense_stages, n) is the caller's storage for the slopes; all rows of the step but the last are filled here. The
    last, fun(t + h, y_new), is left to the caller: an FSAL method needs it for the error, the others only if
    another step or an output follows, and neither if y_new is not finite. split: where the second half of the state
    begins, for a method that treats it by a tableau of its own.
    """
    a, a_p, c, inner = tableau.dense_a, tableau.dense_a_p, tableau.dense_c, tableau.rows - 1
    K[0] = f
    for i in range(1, inner):
        K[i] = fun(t + c[i] * h, y + halves_sum(K[:i], a[i, :i], a_p[i, :i], h, split))
    return y + halves_sum(K[:inner], a[inner, :inner], a_p[inner, :inner], h, split)


def halves_sum(K: Array, weights: Array, weights_p: Array, h: float, split: int | None) -> Array:
    """`weighted_sum`, from component `split` on by weights_p."""
    if split is None:
        return weighted_sum(K, weights, h)
    return np.concatenate([weighted_sum(K[:, :split], weights, h), weighted_sum(K[:, split:], weights_p, h)])


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
