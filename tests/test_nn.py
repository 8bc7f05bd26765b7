"""Layers and NeuralODE: shapes, initial values, gradients, what they refuse."""

import numpy as np
import pytest

import node_core as nc
from node_core.nn import MLP, Layer, Linear, NeuralODE


def same(a, b):
    equal = nc.tree.map(lambda x, y: x.dtype == y.dtype and np.array_equal(x, y), a, b)
    return all(nc.tree.flatten(equal)[0])


# --- Linear ---


def test_linear_is_x_times_W_plus_b_over_leading_axes():
    layer, rng = Linear(3, 2), np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}
    x = rng.standard_normal((4, 5, 3))
    wanted = np.einsum("abi,ij->abj", x, params["W"]) + params["b"]
    np.testing.assert_allclose(layer(params, x), wanted, rtol=1e-14)
    np.testing.assert_allclose(layer(params, x[0, 0]), wanted[0, 0], rtol=1e-14)


def test_linear_weights_are_glorot_uniform_and_biases_zero():
    params = Linear(60, 90).init(0)
    bound = np.sqrt(6 / 150)
    assert params["W"].shape == (60, 90)
    assert np.all(np.abs(params["W"]) <= bound)
    assert np.max(params["W"]) > 0.99 * bound
    assert np.min(params["W"]) < -0.99 * bound
    assert np.std(params["W"]) == pytest.approx(bound / np.sqrt(3), rel=0.03)
    np.testing.assert_array_equal(params["b"], np.zeros(90))


def test_same_seed_gives_the_same_parameters_and_another_gives_others():
    mlp = MLP([2, 8, 8, 2])
    assert same(mlp.init(3), mlp.init(3))
    assert same(mlp.init(3), mlp.init(np.random.default_rng(3)))
    assert not same(mlp.init(3), mlp.init(4))
    assert not np.array_equal(mlp.init(3)[0]["W"].ravel()[:4], mlp.init(3)[1]["W"].ravel()[:4])


def test_a_generator_moves_on_between_two_inits():
    rng = np.random.default_rng(0)
    assert not same(Linear(2, 2).init(rng), Linear(2, 2).init(rng))


def test_float32_parameters_keep_float32_through_the_layer_and_its_gradient():
    mlp = MLP([2, 4, 1], dtype=np.float32)
    params, x = mlp.init(0), np.ones((3, 2), np.float32)
    assert mlp(params, x).dtype == np.float32
    gradient = nc.grad(lambda p: np.mean(mlp(p, x) ** 2))(params)
    assert {leaf.dtype for leaf in nc.tree.flatten(gradient)[0]} == {np.dtype(np.float32)}


def test_linear_names_a_wrong_size_or_input():
    with pytest.raises(ValueError, match="Linear: n_in must be a positive int, got 0"):
        Linear(0, 2)
    with pytest.raises(ValueError, match=r"Linear: n_out must be a positive int, got 2.0"):
        Linear(2, 2.0)
    layer = Linear(3, 2)
    with pytest.raises(ValueError, match=r"Linear: x must end in an axis of length 3, got shape \(3, 2\)"):
        layer(layer.init(0), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"got shape \(\)"):
        layer(layer.init(0), 1.0)


# --- MLP ---


def test_mlp_has_an_activation_between_its_layers_and_none_after_the_last():
    mlp = MLP([2, 5, 4, 3], activation=np.sin)
    params, x = mlp.init(1), np.array([0.3, -2.0])
    h = np.sin(np.sin(x @ params[0]["W"] + params[0]["b"]) @ params[1]["W"] + params[1]["b"])
    np.testing.assert_allclose(mlp(params, x), h @ params[2]["W"] + params[2]["b"], rtol=1e-14)
    assert MLP([2, 3]).activation is np.tanh
    assert len(MLP([2, 3]).init(0)) == 1


def test_gradients_of_an_mlp_equal_central_differences():
    mlp, x = MLP([2, 6, 2]), np.random.default_rng(0).standard_normal((5, 2))
    nc.check_grads(lambda params, x: np.mean(mlp(params, x) ** 2), (mlp.init(0), x), order=2)


def test_mlp_of_one_size_is_an_error():
    with pytest.raises(ValueError, match=r"MLP: sizes must name at least input and output, got \[2\]"):
        MLP([2])


def test_layers_print_their_sizes():
    assert repr(Linear(2, 3)) == "Linear(2, 3)"
    assert repr(MLP([2, 50, 2])) == "MLP([2, 50, 2], tanh)"


# --- NeuralODE ---

T = np.array([0.0, 0.3, 1.0])
Y0 = np.array([1.0, -0.5])


def linear_field(params, t, y):
    return params["A"] @ y


def test_neural_ode_is_odeint_of_its_field():
    params = {"A": np.array([[0.0, 1.0], [-1.0, 0.0]])}
    ys = NeuralODE(linear_field, rtol=1e-10, atol=1e-10)(params, Y0, T)
    wanted = np.stack([[np.cos(t) * 1.0 - 0.5 * np.sin(t), -np.sin(t) - 0.5 * np.cos(t)] for t in T])
    np.testing.assert_allclose(ys, wanted, atol=1e-8)


def test_a_layer_is_an_autonomous_field_and_brings_its_init():
    mlp = MLP([2, 8, 2])
    ode = NeuralODE(mlp)
    params = ode.init(5)
    assert same(params, mlp.init(5))
    np.testing.assert_array_equal(ode(params, Y0, T), NeuralODE(lambda p, t, y: mlp(p, y))(params, Y0, T))


def test_neural_ode_solves_a_batch_as_one_state():
    ode = NeuralODE(MLP([2, 8, 2]), method="rk4", step_size=0.1)
    params, batch = ode.init(0), np.random.default_rng(0).standard_normal((4, 2))
    ys = ode(params, batch, T)
    assert ys.shape == (3, 4, 2)
    for i in range(4):
        np.testing.assert_allclose(ys[:, i], ode(params, batch[i], T), rtol=1e-12)


@pytest.mark.parametrize(("keywords", "mode"), [({}, "adjoint"), ({"gradient": "discrete"}, "discrete")])
def test_gradient_is_the_adjoint_by_default_and_discrete_when_asked(keywords, mode):
    """The adjoint evaluates the field backward in time; the discrete gradient replays the forward steps."""
    mlp = MLP([2, 8, 2])
    ode, params = NeuralODE(mlp, rtol=1e-9, atol=1e-9, **keywords), mlp.init(0)

    def loss(solve):
        return lambda params: np.sum(solve(params) ** 2)

    def solver(gradient):
        return lambda p: nc.odeint(lambda t, y, p: mlp(p, y), Y0, T, args=(p,), rtol=1e-9, atol=1e-9, gradient=gradient)

    got = nc.tree.ravel(nc.grad(loss(lambda p: ode(p, Y0, T)))(params))[0]
    wanted = {g: nc.tree.ravel(nc.grad(loss(solver(g)))(params))[0] for g in ("adjoint", "discrete")}
    np.testing.assert_array_equal(got, wanted[mode])
    assert not np.array_equal(wanted["adjoint"], wanted["discrete"])
    np.testing.assert_allclose(wanted["adjoint"], wanted["discrete"], rtol=1e-6, atol=1e-8)


def test_keywords_of_the_call_override_those_of_the_layer():
    ode = NeuralODE(linear_field, method="dopri5", rtol=1e-3)
    params = {"A": -np.eye(2)}
    ys, stats = ode(params, Y0, T, rtol=1e-10, atol=1e-12, full_output=True)
    np.testing.assert_allclose(ys[-1], Y0 * np.exp(-1), rtol=1e-9)
    assert stats.nfev > ode(params, Y0, T, full_output=True)[1].nfev


def test_field_without_init_says_how_to_give_one():
    with pytest.raises(TypeError, match=r"the field has no init; give NeuralODE\(field, init=layer.init\)"):
        NeuralODE(linear_field).init(0)
    mlp = MLP([3, 2])
    assert same(NeuralODE(linear_field, init=mlp.init).init(2), mlp.init(2))


def test_field_that_cannot_be_called_is_an_error():
    with pytest.raises(TypeError, match="NeuralODE: field must be callable, got dict"):
        NeuralODE({"A": 1})


def test_a_layer_of_ones_own_needs_init_and_call():
    class Doubling(Layer):
        def __call__(self, params, x):
            return 2.0 * x

    with pytest.raises(NotImplementedError):
        Doubling().init(0)
    np.testing.assert_allclose(NeuralODE(Doubling(), rtol=1e-9)(None, Y0, [0.0, 0.5])[-1], Y0 * np.e, rtol=1e-8)


def test_three_steps_of_adam_through_the_adjoint_lower_the_loss():
    ode, opt = NeuralODE(MLP([2, 8, 2])), nc.optim.Adam(0.02)
    target = np.stack([Y0 * np.exp(-t) for t in T])
    value_and_grad = nc.value_and_grad(lambda p: np.mean((ode(p, Y0, T) - target) ** 2))
    params = ode.init(0)
    state, losses = opt.init(params), []
    for _ in range(4):
        loss, grads = value_and_grad(params)
        losses.append(loss)
        params, state = opt.update(params, grads, state)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_an_activation_that_is_no_function_is_refused_when_the_net_is_made():
    with pytest.raises(TypeError, match=r"activation must be a function such as np\.tanh, got 'relu'"):
        nc.nn.MLP([2, 3, 2], activation="relu")


# --- images ---


def random_like(params, seed=0):
    """Parameters that hide no factor: random where init gives zeros and ones."""
    rng = np.random.default_rng(seed)
    return nc.tree.map(lambda x: rng.standard_normal(x.shape).astype(x.dtype), params)


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


def test_relu_is_zero_below_zero_and_keeps_nan():
    np.testing.assert_array_equal(nc.nn.relu(np.array([-1.0, 0.0, 2.0, np.nan])), [0, 0, 2, np.nan])
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(nc.nn.relu(x)))(np.array([-1.0, 0.0, 2.0])), [0, 0, 1])
    assert nc.nn.relu(np.ones(2, np.float32)).dtype == np.float32


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


# --- recurrent cells and hypernetworks ---


def test_rnn_cell_is_tanh_of_both_products():
    cell, rng = nc.nn.RNNCell(3, 4), np.random.default_rng(0)
    params, h, x = random_like(cell.init(0)), rng.standard_normal((2, 4)), rng.standard_normal((2, 3))
    wanted = np.tanh(x @ params["W"] + h @ params["U"] + params["b"])
    np.testing.assert_allclose(cell(params, h, x), wanted, rtol=1e-14)
    np.testing.assert_allclose(cell(params, h[0], x[0]), wanted[0], rtol=1e-13)
    assert cell.start(5).shape == (5, 4)
    nc.check_grads(cell, (params, h, x), order=2)


def test_gru_cell_keeps_and_resets_by_its_gates():
    cell, rng = nc.nn.GRUCell(3, 4), np.random.default_rng(0)
    params, h, x = random_like(cell.init(0)), rng.standard_normal((2, 4)), rng.standard_normal((2, 3))
    W, U, b = (np.split(params[name], 3, axis=-1) for name in ("W", "U", "b"))
    reset, keep = (1 / (1 + np.exp(-(x @ W[k] + h @ U[k] + b[k]))) for k in (0, 1))
    new = np.tanh(x @ W[2] + (reset * h) @ U[2] + b[2])
    np.testing.assert_allclose(cell(params, h, x), (1 - keep) * new + keep * h, rtol=1e-12, atol=1e-13)
    nc.check_grads(cell, (params, h, x), order=2)


def test_gru_cell_survives_large_inputs():
    cell = nc.nn.GRUCell(1, 2)
    with np.errstate(all="raise"):
        assert np.all(np.isfinite(cell(cell.init(0), np.zeros(2), np.array([1e6]))))


@pytest.mark.parametrize(("cell", "gates"), [(nc.nn.RNNCell(30, 20), 1), (nc.nn.GRUCell(30, 20), 3)])
def test_cells_have_glorot_weights_gate_by_gate_and_zero_biases(cell, gates):
    params = cell.init(0)
    assert {k: v.shape for k, v in params.items()} == {
        "W": (30, 20 * gates), "U": (20, 20 * gates), "b": (20 * gates,)
    }  # fmt: skip
    for name, fans in (("W", 50), ("U", 40)):
        for block in np.split(params[name], gates, axis=1):
            assert 0.97 * np.sqrt(6 / fans) < np.max(np.abs(block)) <= np.sqrt(6 / fans)
    assert not params["b"].any()


def test_cells_name_a_wrong_shape():
    cell = nc.nn.GRUCell(3, 4)
    with pytest.raises(ValueError, match=r"GRUCell: h must end in an axis of length 4, got shape \(3,\)"):
        cell(cell.init(0), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"RNNCell: x must end in an axis of length 3, got shape \(\)"):
        nc.nn.RNNCell(3, 4)({}, np.ones(4), 1.0)
    with pytest.raises(TypeError, match=r"RNNCell: activation must be a function"):
        nc.nn.RNNCell(3, 4, activation="tanh")


def test_hypernetwork_makes_the_weights_of_its_layer_from_t():
    layer = nc.nn.MLP([2, 5, 3])
    hyper, x = nc.nn.Hypernetwork(layer, [7]), np.random.default_rng(0).standard_normal((4, 2))
    params = random_like(hyper.init(0))
    flat = np.tanh(0.3 * params[0]["W"][0] + params[0]["b"]) @ params[1]["W"] + params[1]["b"]
    wanted = nc.tree.ravel(layer.init(0))[1](flat)
    np.testing.assert_allclose(hyper(params, 0.3, x), layer(wanted, x), rtol=1e-12)
    assert not np.allclose(hyper(params, 0.3, x), hyper(params, 0.4, x))
    nc.check_grads(hyper, (params, 0.3, x))


def test_hypernetwork_starts_near_its_layer_and_trains_as_a_field():
    layer = nc.nn.Linear(2, 2)
    hyper = nc.nn.Hypernetwork(layer, [4])
    params = hyper.init(1)
    at_rest = [params[0], {"W": 0 * params[1]["W"], "b": params[1]["b"]}]
    bound = np.sqrt(6 / 4)
    assert np.all(np.abs(hyper.weights(at_rest, 0.0)["W"]) <= bound)
    ode = NeuralODE(hyper.__call__, init=hyper.init, rtol=1e-9, atol=1e-9)
    for gradient in ("adjoint", "discrete"):
        grads = nc.grad(lambda p, g=gradient: np.sum(ode(p, Y0, T, gradient=g) ** 2))(params)
        wanted = nc.grad(lambda p: np.sum(nc.odeint(lambda t, y, p: hyper(p, t, y), Y0, T, args=(p,), rtol=1e-9,
                                                    atol=1e-9, backend="callback") ** 2))(params)  # fmt: skip
        nc.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), grads, wanted)


def test_hypernetwork_refuses_what_has_no_weights_and_a_time_that_is_no_number():
    with pytest.raises(TypeError, match="Hypernetwork: layer must be a Layer, got ufunc"):
        nc.nn.Hypernetwork(np.tanh)
    with pytest.raises(ValueError, match=r"Hypernetwork: Flatten\(\) has no parameters"):
        nc.nn.Hypernetwork(nc.nn.Flatten())
    hyper = nc.nn.Hypernetwork(nc.nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"Hypernetwork: t must be a number, got shape \(2,\)"):
        hyper(hyper.init(0), np.ones(2), np.ones(1))


# --- losses ---


def test_softmax_cross_entropy_is_minus_the_log_of_the_softmax():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((4, 5, 3)), rng.integers(0, 3, (4, 5))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    wanted = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    np.testing.assert_allclose(nc.nn.softmax_cross_entropy(logits, labels), wanted, rtol=1e-12)
    gradient = nc.grad(lambda x: np.sum(nc.nn.softmax_cross_entropy(x, labels)))(logits)
    np.testing.assert_allclose(gradient, p - np.eye(3)[labels], rtol=1e-12, atol=1e-14)
    nc.check_grads(lambda x: nc.nn.softmax_cross_entropy(x, labels), (logits,), order=2)


def test_softmax_cross_entropy_survives_large_logits_and_ties():
    logits = np.array([[1e4, 0.0], [1e4, 0.0], [0.0, 0.0]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        value = nc.nn.softmax_cross_entropy(logits, np.array([0, 1, 1]))
        gradient = nc.grad(lambda x: np.sum(nc.nn.softmax_cross_entropy(x, np.array([0, 1, 1]))))(logits)
    np.testing.assert_allclose(value, [0, 1e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0, 0], [1, -1], [0.5, -0.5]], atol=1e-7)
    assert (value.dtype, gradient.dtype) == (np.float32, np.float32)


def test_elu_and_its_gradient_at_both_sides_and_far_out():
    x = np.array([-1e4, -1.0, 0.0, 2.0, 1e4])
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(nc.nn.elu(x), [-1.0, np.expm1(-1.0), 0.0, 2.0, 1e4], rtol=1e-15)
        gradient = nc.grad(lambda x: np.sum(nc.nn.elu(x)))(x)
    np.testing.assert_allclose(gradient[[0, 1, 3, 4]], [0.0, np.exp(-1.0), 1.0, 1.0], rtol=1e-15)
    assert nc.nn.elu(np.ones(2, np.float32)).dtype == np.float32


def test_softmax_cross_entropy_names_wrong_labels():
    logits = np.zeros((4, 3))
    with pytest.raises(
        ValueError, match=r"labels must be shaped like logits without the last axis, \(4,\), got \(4, 1\)"
    ):
        nc.nn.softmax_cross_entropy(logits, np.zeros((4, 1), int))
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
