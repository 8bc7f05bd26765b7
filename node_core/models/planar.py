"""The discrete planar flow (Rezende and Mohamed 2015, section 4.1), to compare continuous ones with.

    y = x + u tanh(w . x + b),    log |det dy/dx| = log(1 + (w . u) (1 - tanh^2))

is invertible where w . u > -1; its appendix A.1 gives the u that always is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autodiff import stop_gradient
from ..checks import whole_number
from .flow import Flow

__all__ = ["PlanarFlow"]

WAYS = ("data", "base")
BISECTIONS = 40  # the bracket, 2 |w . u| wide, shrinks by 1e-12; one step of Newton's does the rest


class PlanarFlow(Flow):
    """K planar layers after one another, on R^d.

    toward: where the layers lead: "data" (from the base, as in density matching: draws and their log densities are
            cheap) or "base" (from the data, for maximum likelihood: log_prob of given points is cheap). The other way
            inverts layer by layer: a root of a monotone function of one number, by bisection.
    std:    of the base, N(0, std^2 I).

    >>> from node_core.models import PlanarFlow
    >>> flow = PlanarFlow(2, 8)
    >>> x, log_q = flow.sample_and_log_prob(flow.init(0), 0, 5)
    >>> x.shape, log_q.shape
    ((5, 2), (5,))
    """

    def __init__(self, d: int, layers: int, *, toward: str = "data", std: float = 1.0, dtype: Any = np.float64) -> None:
        super().__init__(d, std)
        self.layers, self.dtype = whole_number("PlanarFlow", "layers", layers), np.dtype(dtype)
        if toward not in WAYS:
            raise ValueError(f"PlanarFlow: toward must be one of {', '.join(WAYS)}, got {toward!r}")
        self.toward = toward

    def init(self, rng: Any) -> dict[str, np.ndarray]:
        """``{"u": (K, d), "w": (K, d), "b": (K,)}``: directions at random, and each layer nearly the identity."""
        rng, shape = np.random.default_rng(rng), (self.layers, self.d)
        w, u = rng.standard_normal(shape) / np.sqrt(self.d), 0.1 * rng.standard_normal(shape)
        params = {"u": u, "w": w, "b": 0.1 * rng.standard_normal(self.layers)}
        return {name: x.astype(self.dtype) for name, x in params.items()}

    def to_data(self, params: Any, z: Any, noise: Any = None) -> tuple[Any, Any]:
        """Points of the base to ``(x, log q(x))``: (N, d) -> (N, d), (N,)."""
        z = self._points("z", z, params)
        if self.toward == "data":
            x, logdet = _through(params, z)
            return x, self.base_log_density(z) - logdet
        x, logdet = _back(params, z)
        return x, self.base_log_density(z) + logdet

    def to_base(self, params: Any, x: Any, noise: Any = None) -> tuple[Any, Any]:
        """Data to ``(z, log q(x))``: (N, d) -> (N, d), (N,)."""
        x = self._points("x", x, params)
        if self.toward == "base":
            z, logdet = _through(params, x)
            return z, self.base_log_density(z) + logdet
        z, logdet = _back(params, x)
        return z, self.base_log_density(z) - logdet

    def __repr__(self) -> str:
        return f"PlanarFlow({self.d}, {self.layers}, toward={self.toward!r})"


def _invertible(params: Any) -> tuple[Any, Any]:
    """``(u_hat (K, d), w . u_hat (K,))``: u moved along w so that w . u_hat = log(1 + e^(w . u)) - 1 > -1."""
    u, w = params["u"], params["w"]
    product = np.sum(w * u, axis=1)
    square = np.sum(w * w, axis=1)
    allowed = np.where(square > 0, np.logaddexp(product, 0.0) - 1.0, 0.0)  # w = 0: the layer is a translation
    return u + ((allowed - product) / np.where(square > 0, square, 1.0))[:, None] * w, allowed


def _through(params: Any, x: Any) -> tuple[Any, Any]:
    """All layers: (N, d) -> (N, d), and log |det| (N,)."""
    u, c = _invertible(params)
    logdet = np.zeros(np.shape(x)[0], x.dtype)
    for k in range(len(c)):
        h = np.tanh(x @ params["w"][k] + params["b"][k])  # (N,)
        x = x + h[:, None] * u[k]
        logdet = logdet + np.log1p(c[k] * (1.0 - h * h))
    return x, logdet


def _back(params: Any, y: Any) -> tuple[Any, Any]:
    """The inverse of all layers, (N, d) -> (N, d), and log |det| (N,) of the way that `_through` takes."""
    u, c = _invertible(params)
    logdet = np.zeros(np.shape(y)[0], y.dtype)
    for k in reversed(range(len(c))):
        h = np.tanh(_root(c[k], params["b"][k], y @ params["w"][k]) + params["b"][k])
        y = y - h[:, None] * u[k]
        logdet = logdet + np.log1p(c[k] * (1.0 - h * h))
    return y, logdet


def _root(c: Any, b: Any, target: Any) -> Any:
    """a (N,) with a + c tanh(a + b) = target, for c > -1: then the left side grows with a.

    Only the last step, one of Newton's, is differentiated: at a root its derivative is the implicit function's.
    """
    c0, b0, target0 = stop_gradient(c), stop_gradient(b), stop_gradient(target)
    low, high = target0 - np.abs(c0), target0 + np.abs(c0)  # |tanh| < 1
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        below = middle + c0 * np.tanh(middle + b0) < target0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    a = stop_gradient(0.5 * (low + high))
    h = np.tanh(a + b)
    return a - (a + c * h - target) / (1.0 + c * (1.0 - h * h))
