"""The trace of a field's Jacobian for a batch of samples: exactly, or by Hutchinson's estimator.

The samples z (N, d) do not act on one another, so that their Jacobians are N blocks of (d, d). A tangent that is the
same unit vector for every sample gives one column of all the blocks: d tangents, whatever N is, and all of them at
once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import jvp_many

__all__ = ["NOISES", "probes", "with_exact_trace", "with_hutchinson_trace"]


def with_exact_trace(fun: Callable, z: Any) -> tuple[Any, Any]:
    """``(fun(z), the trace of its Jacobian for every sample)``: (N, d) and (N,), by d tangents at once.

    fun maps (N, d) to (N, d), each sample by itself. Differentiable.
    """
    n, d = np.shape(z)
    units = np.broadcast_to(np.eye(d, dtype=z.dtype)[:, None], (d, n, d)).copy()  # (d, N, d)
    dz, columns = jvp_many(fun, (z,), [units])
    return dz, np.sum(columns * np.eye(d, dtype=z.dtype)[:, None], axis=(0, 2))


def with_hutchinson_trace(fun: Callable, z: Any, noise: Any) -> tuple[Any, Any]:
    """``(fun(z), an unbiased estimate of the trace)``: the mean over probes of e . (J e), e of covariance I.

    noise (k, N, d): k probes for every sample; see `probes`. Costs k tangents, whatever d is (Hutchinson 1990;
    Grathwohl et al. 2019).
    """
    dz, columns = jvp_many(fun, (z,), [noise])
    return dz, np.sum(columns * noise, axis=(0, 2)) / len(noise)


def _rademacher(rng: np.random.Generator, shape: tuple) -> np.ndarray:
    return 2.0 * rng.integers(0, 2, shape) - 1.0


def _gaussian(rng: np.random.Generator, shape: tuple) -> np.ndarray:
    return rng.standard_normal(shape)


NOISES = {"rademacher": _rademacher, "gaussian": _gaussian}


def probes(kind: str, rng: Any, shape: tuple, dtype: Any = np.float64) -> np.ndarray:
    """Noise (k, N, d) for `with_hutchinson_trace`: entries +-1 ("rademacher") or normal ("gaussian").

    Rademacher's has the smaller variance: it is exact in the diagonal of the Jacobian.
    """
    return NOISES[kind](np.random.default_rng(rng), shape).astype(dtype)
