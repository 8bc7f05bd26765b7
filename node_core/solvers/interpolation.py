"""Dense output: the solution between the ends of a step, from the slopes that the step left."""

from __future__ import annotations

import numpy as np

from .stepper import weighted_sum
from .tableau import Tableau

__all__ = ["dense_output", "dense_slopes", "dense_weights"]

Array = np.ndarray


def dense_weights(tableau: Tableau, theta: float) -> Array:
    """b_i(theta) = sum_k p[i, k] theta^(k+1), (dense_stages,), by Horner's rule."""
    weights = np.zeros(tableau.dense_stages)
    for column in tableau.p.T[::-1]:
        weights = (weights + column) * theta
    return weights


def dense_slopes(tableau: Tableau, theta: float) -> Array:
    """The derivatives of the weights by theta, sum_k (k+1) p[i, k] theta^k, (dense_stages,), by Horner's rule."""
    slopes = np.zeros(tableau.dense_stages)
    for k in range(tableau.p.shape[1], 0, -1):
        slopes = slopes * theta + k * tableau.p[:, k - 1]
    return slopes


def dense_output(y: Array, K: Array, h: float, tableau: Tableau, theta: float) -> Array:
    """y(t + theta h) (n,) in the step of length h from y (n,), with slopes K (dense_stages, n)."""
    return y + weighted_sum(K, dense_weights(tableau, theta), h)
