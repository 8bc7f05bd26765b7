"""Losses and log-likelihoods, written so that no large number overflows on the way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autodiff import stop_gradient

__all__ = [
    "bernoulli_log_likelihood",
    "gaussian_log_likelihood",
    "poisson_log_likelihood",
    "softmax_cross_entropy",
]


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """-log softmax(logits)[label] of every sample: logits (..., k), labels (...) of ints 0 .. k-1 -> (...).

    Take its mean for a loss. ValueError where the shapes do not fit or a label is out of range, TypeError where
    labels are not integers.

    >>> import numpy as np
    >>> import node_core as nc
    >>> nc.nn.softmax_cross_entropy(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.array([0, 1])).round(4).tolist()
    [0.6931, 1000.0]
    """
    labels = np.asarray(labels)
    shape = np.shape(logits)
    if not shape or labels.shape != shape[:-1]:
        raise ValueError(
            f"softmax_cross_entropy: labels must be shaped like logits without the last axis, {shape[:-1]}, "
            f"got {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"softmax_cross_entropy: labels must be integers, got {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() < shape[-1]:
        raise ValueError(
            f"softmax_cross_entropy: labels must be from 0 to {shape[-1] - 1}, got {labels.min()} to {labels.max()}"
        )
    largest = stop_gradient(np.max(logits, axis=-1, keepdims=True))  # the result does not depend on it
    z = logits - largest  # no positive number, and a zero in every row
    chosen = np.arange(shape[-1]) == labels[..., None]  # a mask rather than an index: each row has one
    return np.log(np.sum(np.exp(z), axis=-1)) - np.sum(np.where(chosen, z, 0), axis=-1)


def gaussian_log_likelihood(x: Any, mean: Any, log_std: Any) -> Any:
    """log N(x; mean, exp(log_std)^2) elementwise; the three broadcast."""
    # np.exp of a Python number is a float64, which would make everything else one
    inverse = math.exp(-log_std) if isinstance(log_std, (int, float)) else np.exp(-log_std)
    z = (x - mean) * inverse
    return -0.5 * z * z - log_std - 0.5 * math.log(2 * math.pi)


def bernoulli_log_likelihood(x: Any, logits: Any) -> Any:
    """log P(x) of x in {0, 1} (or a probability) where P(1) = sigmoid(logits); elementwise, the two broadcast.

    It is x l - log(1 + e^l), written with e^-|l|, which cannot overflow.
    """
    return x * logits - np.maximum(logits, 0) - np.log1p(np.exp(-np.abs(logits)))


def poisson_log_likelihood(counts: Any, log_rate: Any) -> Any:
    """log P(counts) of a Poisson variable of rate exp(log_rate); elementwise, the two broadcast.

    counts are plain non-negative integers (of any dtype); ValueError otherwise.
    """
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iuf" or np.any(counts < 0) or np.any(counts != np.floor(counts)):
        raise ValueError("poisson_log_likelihood: counts must be non-negative integers")
    factorials = np.array([math.lgamma(float(n) + 1) for n in counts.ravel()]).reshape(counts.shape)
    dtype = getattr(log_rate, "dtype", np.dtype(float))
    return counts.astype(dtype) * log_rate - np.exp(log_rate) - factorials.astype(dtype)
