"""The natural cubic smoothing spline: a curve near the data whose derivative can be matched."""

from __future__ import annotations

import numpy as np

__all__ = ["SmoothingSpline"]


class SmoothingSpline:
    """Minimises ``sum (y_i - g(t_i))^2 + smoothing * integral g''^2`` (Green and Silverman 1994, section 2.3).

    t (m,) strictly increasing, m >= 2; y (m, d). ``spline(x)`` gives (values, derivatives), each (len(x), d).
    """

    def __init__(self, t: np.ndarray, y: np.ndarray, smoothing: float) -> None:
        m = len(t)
        h = np.diff(t)
        Q = np.zeros((m, m - 2))  # second differences
        R = np.zeros((m - 2, m - 2))  # the integral of g''^2 is gamma R gamma
        for j in range(m - 2):
            Q[j : j + 3, j] = 1 / h[j], -1 / h[j] - 1 / h[j + 1], 1 / h[j + 1]
            R[j, j] = (h[j] + h[j + 1]) / 3
            if j + 1 < m - 2:
                R[j, j + 1] = R[j + 1, j] = h[j + 1] / 6
        gamma = np.linalg.solve(R + smoothing * Q.T @ Q, Q.T @ y)  # g'' at the inner knots
        self.t = t
        self.g = y - smoothing * Q @ gamma
        self.gamma = np.vstack([np.zeros((1, y.shape[1])), gamma, np.zeros((1, y.shape[1]))])

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        i = np.clip(np.searchsorted(self.t, x, side="right") - 1, 0, len(self.t) - 2)
        h = (self.t[i + 1] - self.t[i])[:, None]
        left, right = x[:, None] - self.t[i, None], self.t[i + 1, None] - x[:, None]
        g0, g1, c0, c1 = self.g[i], self.g[i + 1], self.gamma[i], self.gamma[i + 1]
        bend = (1 + left / h) * c1 + (1 + right / h) * c0
        values = (left * g1 + right * g0) / h - left * right / 6 * bend
        slopes = (g1 - g0) / h - ((right - left) * bend + left * right * (c1 - c0) / h) / 6
        return values, slopes
