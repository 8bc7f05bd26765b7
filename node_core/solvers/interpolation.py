"""Dense output: the solution between the ends of a step, from the slopes that the step left."""

from __future__ import annotations

import numpy as np

from .stepper import halves_sum
from .tableau import Tableau

__all__ = ["dense_output", "dense_slopes", "dense_weights"]

Array = np.ndarray


def dense_weights(tableau: Tableau, theta: float, second: bool = False) -> Array:
    """b_i(theta) = sum_k p[i, k] theta^(k+1), (dense_stages,), by Horner's rule; second: of the state's second half."""
    weights = np.zeros(tableau.dense_stages)
    for column in (tableau.p_p if second else tableau.p).T[::-1]:
        weights = (weights + column) * theta
    return weights


def dense_slopes(tableau: Tableau, theta: float, second: bool = False) -> Array:
    """The derivatives of the weights by theta, sum_k (k+1) p[i, k] theta^k, (dense_stages,), by Horner's rule."""
    p, slopes = tableau.p_p if second else tableau.p, np.zeros(tableau.dense_stages)
    for k in range(p.shape[1], 0, -1):
        slopes = slopes * theta + k * p[:, k - 1]
    return slopes


def dense_output(y: Array, K: Array, h: float, tableau: Tableau, theta: float, split: int | None = None) -> Array:
    """y(t + theta h) (n,) in the step of length h from y (n,), with slopes K (dense_stages, n); split as in rk_step."""
    weights = dense_weights(tableau, theta)
    return y + halves_sum(K, weights, weights if split is None else dense_weights(tableau, theta, True), h, split)
