"""Losses and log-likelihoods, written so that no large number overflows on the way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autodiff import stop_gradient, tree

__all__ = [
    "bernoulli_log_likelihood",
    "gaussian_log_likelihood",
    "poisson_log_likelihood",
    "softmax_cross_entropy",
]


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """-log softmax(logits)[label] of every sample: logits (..., k), labels (...) of ints 0 .. k-1 -> (...).

    labels may also be probabilities p (..., k), floating or traced, such as a one in each row: -sum p log softmax. Take
    the mean for a loss. ValueError where the shapes do not fit or a label is out of range, TypeError where labels (...)
    are not integers.

    >>> import numpy as np
    >>> import node_core as nc
    >>> nc.nn.softmax_cross_entropy(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.array([0, 1])).round(4).tolist()
    [0.6931, 1000.0]
    """
    shape = np.shape(logits)
    if tree.is_floating(labels) and shape and np.shape(labels) == shape:
        log_sum, z = _log_sum_exp(logits)
        return np.sum(labels * (log_sum[..., None] - z), axis=-1)
    labels = np.asarray(labels)
    if not shape or labels.shape != shape[:-1]:
        raise ValueError(
            f"softmax_cross_entropy: labels must be ints shaped like logits without the last axis, {shape[:-1]}, or "
            f"floating and shaped like logits, {shape}; got {labels.dtype} of {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"softmax_cross_entropy: labels must be integers, got {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() < shape[-1]:
        raise ValueError(
            f"softmax_cross_entropy: labels must be from 0 to {shape[-1] - 1}, got {labels.min()} to {labels.max()}"
        )
    log_sum, z = _log_sum_exp(logits)
    chosen = np.arange(shape[-1]) == labels[..., None]  # a mask rather than an index: each row has one
    return log_sum - np.sum(np.where(chosen, z, 0), axis=-1)


def _log_sum_exp(logits: Any) -> tuple[Any, Any]:
    """``(log sum exp z (...), z (..., k))`` of z = logits less their largest: none positive, a zero in every row."""
    z = logits - stop_gradient(np.max(logits, axis=-1, keepdims=True))  # no result depends on it
    return np.log(np.sum(np.exp(z), axis=-1)), z


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
