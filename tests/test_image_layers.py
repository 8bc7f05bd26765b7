"""Layers for images: convolutions, group normalisation, pooling, blocks, and a classifier of them."""

import numpy as np
import pytest

import node_core as nc
from tests.cases import random_like


def test_conv2d_layer_is_conv2d_plus_a_bias_a_channel():
    layer, rng = nc.nn.Conv2d(3, 5, (3, 2), stride=2, padding=1), np.random.default_rng(0)
    params, x = random_like(layer.init(0)), rng.standard_normal((2, 3, 5, 4))
    assert {k: v.shape for k, v in params.items()} == {"W": (5, 3, 3, 2), "b": (5,)}
    wanted = nc.nn.conv2d(x, params["W"], stride=2, padding=1) + params["b"].reshape(1, 5, 1, 1)
    np.testing.assert_allclose(layer(params, x), wanted, rtol=1e-14)
    assert list(nc.nn.Conv2d(3, 5, 3, bias=False).init(0)) == ["W"]


def test_conv2d_weights_are_glorot_uniform_with_the_kernel_in_both_fans():
    params = nc.nn.Conv2d(20, 40, 3, dtype=np.float32).init(0)
    bound = np.sqrt(6 / (9 * 60))
    assert params["W"].dtype == np.float32
    assert 0.99 * bound < np.max(np.abs(params["W"])) <= bound
    assert np.std(params["W"]) == pytest.approx(bound / np.sqrt(3), rel=0.03)
    np.testing.assert_array_equal(params["b"], 0)


def test_time_convolution_equals_convolution_with_a_channel_of_t():
    timed, plain = nc.nn.TimeConv2d(3, 4, 3, padding=1, stride=2), nc.nn.Conv2d(4, 4, 3, padding=1, stride=2)
    params, x = random_like(timed.init(0)), np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    with_t = np.concatenate([np.full((2, 1, 5, 6), 0.7), x], axis=1)
    np.testing.assert_allclose(timed(params, 0.7, x), plain(params, with_t), rtol=1e-12, atol=1e-13)
    nc.check_grads(lambda p, t, x: np.tanh(timed(p, t, x)), (params, 0.7, x))


def test_group_norm_gives_mean_zero_and_variance_one_in_every_group_of_every_image():
    layer, rng = nc.nn.GroupNorm(2, 6, eps=1e-12), np.random.default_rng(0)
    x = 3 + 2 * rng.standard_normal((4, 6, 5, 3))
    groups = layer(layer.init(0), x).reshape(4, 2, -1)
    np.testing.assert_allclose(groups.mean(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(groups.var(axis=2), 1, rtol=1e-10)


def test_group_norm_scales_and_shifts_each_channel():
    layer, rng = nc.nn.GroupNorm(3, 6, eps=0.1), np.random.default_rng(1)
    params, x = random_like(layer.init(0)), rng.standard_normal((2, 6, 4))
    grouped = x.reshape(2, 3, 8)
    normal = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 0.1)
    wanted = normal.reshape(x.shape) * params["scale"][:, None] + params["shift"][:, None]
    np.testing.assert_allclose(layer(params, x), wanted, rtol=1e-12, atol=1e-13)
    nc.check_grads(layer, (params, x), order=2)


def test_average_pooling_takes_the_mean_of_whole_windows():
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    wanted = [[[[x[n, c, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].mean() for j in range(2)] for i in range(2)]
               for c in range(3)] for n in range(2)]  # fmt: skip
    pool = nc.nn.AvgPool2d((2, 3))
    np.testing.assert_allclose(pool(pool.init(0), x), wanted, rtol=1e-13)
    np.testing.assert_allclose(nc.nn.AvgPool2d()({}, x), x.mean(axis=(2, 3)), rtol=1e-13)
    nc.check_grads(lambda x: pool({}, x) ** 2, (x,))


def test_residual_block_is_the_sum_that_it_says():
    block = nc.nn.ResidualBlock(4, groups=2)
    params, x = random_like(block.init(0)), np.random.default_rng(0).standard_normal((2, 4, 5, 5))
    h = x
    for k in range(2):
        h = nc.nn.relu(nc.nn.GroupNorm(2, 4)(params["norms"][k], h))
        h = nc.nn.Conv2d(4, 4, 3, padding=1)(params["convs"][k], h)
    np.testing.assert_allclose(block(params, x), x + h, rtol=1e-13)


def test_residual_block_of_another_width_or_stride_has_a_shortcut():
    block, x = nc.nn.ResidualBlock(4, 6, stride=2, groups=4), np.random.default_rng(0).standard_normal((2, 4, 5, 5))
    params = random_like(block.init(0))
    assert block(params, x).shape == (2, 6, 3, 3)
    assert [norm.groups for norm in block.norms] == [4, 2]
    without = {**params, "convs": nc.tree.map(np.zeros_like, params["convs"])}
    h = nc.nn.relu(block.norms[0](params["norms"][0], x))
    np.testing.assert_allclose(block(without, x), nc.nn.conv2d(h, params["shortcut"]["W"], stride=2), rtol=1e-13)
    nc.check_grads(block, (params, x))


def test_sequential_and_flatten_make_a_classifier_that_learns():
    net = nc.nn.Sequential(
        nc.nn.Conv2d(1, 4, 3),
        nc.nn.GroupNorm(2, 4),
        nc.nn.relu,
        nc.nn.AvgPool2d(2),
        nc.nn.Flatten(),
        nc.nn.Linear(4, 3),
    )
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((12, 1, 4, 4)), np.arange(12) % 3
    params, opt = net.init(0), nc.optim.Adam(0.05)
    assert [len(p) for p in params] == [2, 2, 0, 0, 0, 2]
    assert np.all(np.asarray(net(params, x[:5])) == np.asarray(net(params, x))[:5])
    loss = nc.value_and_grad(lambda p: np.mean(nc.nn.softmax_cross_entropy(net(p, x), labels)))
    state, first = opt.init(params), loss(params)[0]
    for _ in range(60):
        params, state = opt.update(params, loss(params)[1], state)
    assert loss(params)[0] < 0.3 * first
    assert repr(net).startswith("Sequential(Conv2d(1, 4, (3, 3)), GroupNorm(2, 4), relu, AvgPool2d((2, 2)), Flatten()")


def test_image_layers_name_what_came_and_what_is_wanted():
    x = np.ones((2, 4, 5, 5))
    for make, message in [
        (lambda: nc.nn.Conv2d(0, 2, 3), "Conv2d: n_in must be a positive int, got 0"),
        (lambda: nc.nn.TimeConv2d(2, -1, 3), "TimeConv2d: n_out must be a positive int, got -1"),
        (lambda: nc.nn.Conv2d(1, 2, (3, 0)), r"Conv2d: kernel must be an int of at least 1 or a pair .* got \(3, 0\)"),
        (lambda: nc.nn.Conv2d(1, 2, (3, 3, 3)), r"a pair of them, got \(3, 3, 3\)"),
        (lambda: nc.nn.GroupNorm(3, 4), "GroupNorm: 4 channels do not divide into 3 groups"),
        (lambda: nc.nn.GroupNorm(2, 4, eps=0), "GroupNorm: eps must be positive, got 0"),
        (lambda: nc.nn.AvgPool2d(0), "AvgPool2d: size must be an int of at least 1"),
        (lambda: nc.nn.Conv2d(3, 2, 3)({}, x), r"Conv2d: x must be \(N, 3, H, W\), got shape \(2, 4, 5, 5\)"),
        (lambda: nc.nn.TimeConv2d(3, 2, 3)({}, 0.0, x), r"TimeConv2d: x must be \(N, 3, H, W\), got"),
        (lambda: nc.nn.GroupNorm(2, 6)({}, x), r"GroupNorm: x must be \(N, 6, ...\), got shape \(2, 4, 5, 5\)"),
        (lambda: nc.nn.GroupNorm(2, 4)({}, x[:, :, :0]), r"a number in every group, got shape \(2, 4, 0, 5\)"),
        (lambda: nc.nn.AvgPool2d(6)({}, x), r"AvgPool2d: a window \(6, 6\) is larger than the image \(5, 5\)"),
        (lambda: nc.nn.AvgPool2d(2)({}, x[0]), r"AvgPool2d: x must be \(N, C, H, W\), got shape \(4, 5, 5\)"),
        (lambda: nc.nn.Flatten()({}, 1.0), r"Flatten: x must have a first axis.* got shape \(\)"),
        (lambda: nc.nn.Sequential(np.tanh)([], x), r"one entry for each of 1 parts, got 0"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="Sequential: part 1 must be a Layer or a function of one array, got 3"):
        nc.nn.Sequential(np.tanh, 3)
