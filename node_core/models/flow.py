"""What continuous and discrete flows share: a Gaussian base, and two ways between it and the data."""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np

from ..autodiff import tree
from ..checks import whole_number
from .params import like_init

__all__ = ["Flow", "dtype_of"]


class Flow(abc.ABC):
    """A density on R^d: the image of z ~ N(0, std^2 I) under an invertible map with parameters.

    A flow says what the map is by `init`, `to_data` and `to_base`. All of it is differentiable, in the parameters and
    in the points. Within `nc.compile`, draw outside and hand in arrays: what is drawn inside would be a constant.
    """

    def __init__(self, d: int, std: float) -> None:
        self.d = whole_number(type(self).__name__, "d", d)
        if not (isinstance(std, (int, float, np.number)) and math.isfinite(std) and std > 0):
            raise ValueError(f"{type(self).__name__}: std, of the base, must be a positive number, got {std!r}")
        self.std = float(std)

    @abc.abstractmethod
    def init(self, rng: Any) -> Any:
        """Fresh parameters; rng is a NumPy Generator or a seed."""

    @abc.abstractmethod
    def to_data(self, params: Any, z: Any, noise: Any = None) -> tuple[Any, Any]:
        """Points of the base to ``(x, log q(x))``: (N, d) -> (N, d), (N,)."""

    @abc.abstractmethod
    def to_base(self, params: Any, x: Any, noise: Any = None) -> tuple[Any, Any]:
        """Data to ``(z, log q(x))``: (N, d) -> (N, d), (N,)."""

    def noise(self, rng: Any, n: int, dtype: Any = np.float64) -> Any:
        """What `to_data` and `to_base` of n points need beside them: None, but of a CNF with an estimated trace."""
        return None

    def base(self, rng: Any, n: int, dtype: Any = np.float64) -> np.ndarray:
        """n draws of the base, (n, d)."""
        n = whole_number(type(self).__name__, "n", n)
        return (self.std * np.random.default_rng(rng).standard_normal((n, self.d))).astype(dtype)

    def base_log_density(self, z: Any) -> Any:
        """log N(z; 0, std^2 I), (N, d) -> (N,)."""
        norm = 0.5 * self.d * math.log(2.0 * math.pi * self.std**2)
        return -0.5 / self.std**2 * np.sum(z * z, axis=-1) - norm

    def log_prob(self, params: Any, x: Any, noise: Any = None, **keywords: Any) -> Any:
        """log q(x) of points (N, d), shape (N,); the keywords are those of `to_base`."""
        return self.to_base(params, x, noise, **keywords)[1]

    def sample(self, params: Any, rng: Any, n: int, **keywords: Any) -> Any:
        """n draws, (n, d); rng is a NumPy Generator or a seed, the keywords are those of `to_data`."""
        return self.sample_and_log_prob(params, rng, n, **keywords)[0]

    def sample_and_log_prob(self, params: Any, rng: Any, n: int, **keywords: Any) -> tuple[Any, Any]:
        """n draws and their log densities, (n, d) and (n,); likewise."""
        rng, dtype = np.random.default_rng(rng), dtype_of(params)
        z = self.base(rng, n, dtype)
        return self.to_data(params, z, self.noise(rng, n, dtype), **keywords)

    def _points(self, name: str, x: Any, params: Any) -> Any:
        """x (N, d) in the dtype of params (its own if they have none), both checked; lists and ints become arrays."""
        like_init(type(self).__name__, self, params)
        x = x if hasattr(x, "dtype") else np.asarray(x)
        if np.ndim(x) != 2 or np.shape(x)[1] != self.d:
            raise ValueError(f"{type(self).__name__}: {name} must be of shape (N, {self.d}), got {np.shape(x)}")
        if x.dtype.kind not in "iuf":
            raise TypeError(f"{type(self).__name__}: {name} must hold real numbers, got {x.dtype}")
        if isinstance(x, np.ndarray) and not np.all(np.isfinite(x)):
            bad = np.flatnonzero(~np.all(np.isfinite(x), axis=1))[0]
            raise ValueError(f"{type(self).__name__}: {name} must be finite, row {bad} is {x[bad]}")
        dtype = dtype_of(params, x.dtype if x.dtype.kind == "f" else np.float64)
        return x if x.dtype == dtype else x.astype(dtype)


def dtype_of(params: Any, default: Any = np.float64) -> np.dtype:
    """The dtype of the first real floating array of params, or the default."""
    leaves = [leaf for leaf in tree.flatten(params)[0] if hasattr(leaf, "dtype") and leaf.dtype.kind == "f"]
    return leaves[0].dtype if leaves else np.dtype(default)
