"""Losses and log-likelihoods against their formulas and SciPy, and what they refuse."""

import numpy as np
import pytest

import node_core as nc


def test_softmax_cross_entropy_is_minus_the_log_of_the_softmax():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((4, 5, 3)), rng.integers(0, 3, (4, 5))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    wanted = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    np.testing.assert_allclose(nc.nn.softmax_cross_entropy(logits, labels), wanted, rtol=1e-12)
    gradient = nc.grad(lambda x: np.sum(nc.nn.softmax_cross_entropy(x, labels)))(logits)
    np.testing.assert_allclose(gradient, p - np.eye(3)[labels], rtol=1e-12, atol=1e-14)
    nc.check_grads(lambda x: nc.nn.softmax_cross_entropy(x, labels), (logits,), order=2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_softmax_cross_entropy_of_probabilities(dtype):
    rng, tight = np.random.default_rng(0), 1e-12 if dtype == np.float64 else 1e-5
    logits, p = rng.standard_normal((5, 3)).astype(dtype), rng.random((5, 3)).astype(dtype)
    wanted = -np.sum(p * np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)), axis=-1)
    got = nc.nn.softmax_cross_entropy(logits, p)
    np.testing.assert_allclose(got, wanted, rtol=tight)
    assert got.dtype == dtype
    one_hot = np.eye(3, dtype=dtype)
    labels = rng.integers(0, 3, 5)
    np.testing.assert_allclose(
        nc.nn.softmax_cross_entropy(logits, one_hot[labels]), nc.nn.softmax_cross_entropy(logits, labels), rtol=tight
    )
    if dtype == np.float64:
        nc.check_grads(nc.nn.softmax_cross_entropy, (logits, p), order=2)
    compiled = nc.compile(nc.nn.softmax_cross_entropy)  # the probabilities are an argument, and may change
    compiled(logits, one_hot[labels])
    np.testing.assert_allclose(compiled(logits, p), wanted, rtol=tight)


def test_softmax_cross_entropy_survives_large_logits_and_ties():
    logits = np.array([[1e4, 0.0], [1e4, 0.0], [0.0, 0.0]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        value = nc.nn.softmax_cross_entropy(logits, np.array([0, 1, 1]))
        gradient = nc.grad(lambda x: np.sum(nc.nn.softmax_cross_entropy(x, np.array([0, 1, 1]))))(logits)
    np.testing.assert_allclose(value, [0, 1e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0, 0], [1, -1], [0.5, -0.5]], atol=1e-7)
    assert (value.dtype, gradient.dtype) == (np.float32, np.float32)


def test_softmax_cross_entropy_names_wrong_labels():
    logits = np.zeros((4, 3))
    with pytest.raises(
        ValueError,
        match=r"labels must be ints shaped like logits without the last axis, \(4,\), or floating and "
        r"shaped like logits, \(4, 3\); got int64 of \(4, 1\)",
    ):
        nc.nn.softmax_cross_entropy(logits, np.zeros((4, 1), int))
    with pytest.raises(ValueError, match=r"shaped like logits, \(4, 3\); got float64 of \(4, 2\)"):
        nc.nn.softmax_cross_entropy(logits, np.zeros((4, 2)))
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        nc.nn.softmax_cross_entropy(logits, np.zeros(4))
    with pytest.raises(ValueError, match="labels must be from 0 to 2, got 0 to 3"):
        nc.nn.softmax_cross_entropy(logits, np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="labels must be from 0 to 2, got -1 to 0"):
        nc.nn.softmax_cross_entropy(logits, np.array([0, -1, 0, 0]))
    assert nc.nn.softmax_cross_entropy(logits[:0], np.zeros(0, int)).shape == (0,)


def test_gaussian_log_likelihood_of_a_plain_deviation_keeps_float32():
    x = np.ones(3, np.float32)
    assert nc.nn.gaussian_log_likelihood(x, 0.5 * x, -1.5).dtype == np.float32
    assert nc.nn.gaussian_log_likelihood(x, 0.5 * x, 2).dtype == np.float32


def test_log_likelihoods_equal_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 5, 2))
    counts = rng.integers(0, 9, (5, 2))
    np.testing.assert_allclose(nc.nn.gaussian_log_likelihood(a, b, c), stats.norm.logpdf(a, b, np.exp(c)), rtol=1e-12)
    np.testing.assert_allclose(
        nc.nn.poisson_log_likelihood(counts, a), stats.poisson.logpmf(counts, np.exp(a)), rtol=1e-11
    )
    bits = counts % 2
    np.testing.assert_allclose(
        nc.nn.bernoulli_log_likelihood(bits, a), stats.bernoulli.logpmf(bits, 1 / (1 + np.exp(-a))), rtol=1e-12
    )
    np.testing.assert_allclose(
        nc.nn.gaussian_log_likelihood(a, b, -1.5), stats.norm.logpdf(a, b, np.exp(-1.5)), rtol=1e-12
    )
    nc.check_grads(nc.nn.gaussian_log_likelihood, (a, b, c), order=2)
    nc.check_grads(lambda x: nc.nn.poisson_log_likelihood(counts, x), (a,), order=2)
    nc.check_grads(lambda x: nc.nn.bernoulli_log_likelihood(bits, x), (a,), order=2)


def test_log_likelihoods_at_their_edges():
    with np.errstate(over="raise", invalid="raise"):
        edge = nc.nn.bernoulli_log_likelihood(np.array([1.0, 0.0, 1.0]), np.array([800.0, 800.0, -800.0]))
    np.testing.assert_allclose(edge, [0, -800, -800])
    assert nc.grad(lambda x: nc.nn.bernoulli_log_likelihood(1.0, x))(0.0) == 0.5
    assert nc.nn.poisson_log_likelihood(np.array([0]), np.zeros(1, np.float32)).dtype == np.float32
    for counts in (np.array([-1]), np.array([1.5]), np.array([np.nan])):
        with pytest.raises(ValueError, match="counts must be non-negative integers"):
            nc.nn.poisson_log_likelihood(counts, 0.0)
