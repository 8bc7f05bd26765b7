"""Linear layers, activations and NeuralODE: shapes, initial values, gradients, what they refuse."""

import numpy as np
import pytest

import node_core as nc
from node_core.nn import MLP, Layer, Linear, NeuralODE
from tests.cases import random_like


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

    with pytest.raises(TypeError, match="abstract method init"):
        Doubling()
    Doubling = type("Doubling", (Doubling,), {"init": lambda self, rng: {}})
    np.testing.assert_allclose(NeuralODE(Doubling(), rtol=1e-9)({}, Y0, [0.0, 0.5])[-1], Y0 * np.e, rtol=1e-8)


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


# --- activations ---


def test_relu_is_zero_below_zero_and_keeps_nan():
    np.testing.assert_array_equal(nc.nn.relu(np.array([-1.0, 0.0, 2.0, np.nan])), [0, 0, 2, np.nan])
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(nc.nn.relu(x)))(np.array([-1.0, 0.0, 2.0])), [0, 0, 1])
    assert nc.nn.relu(np.ones(2, np.float32)).dtype == np.float32


def test_elu_and_its_gradient_at_both_sides_and_far_out():
    x = np.array([-1e4, -1.0, 0.0, 2.0, 1e4])
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(nc.nn.elu(x), [-1.0, np.expm1(-1.0), 0.0, 2.0, 1e4], rtol=1e-15)
        gradient = nc.grad(lambda x: np.sum(nc.nn.elu(x)))(x)
    np.testing.assert_allclose(gradient[[0, 1, 3, 4]], [0.0, np.exp(-1.0), 1.0, 1.0], rtol=1e-15)
    assert nc.nn.elu(np.ones(2, np.float32)).dtype == np.float32


def test_sigmoid_and_its_gradient_at_both_sides_and_far_out():
    x = np.array([-1e4, -1.0, 0.0, 2.0, 1e4])
    wanted = np.array([0.0, 1 / (1 + np.e), 0.5, 1 / (1 + np.exp(-2.0)), 1.0])
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(nc.nn.sigmoid(x), wanted, rtol=1e-15)
        gradient = nc.grad(lambda x: np.sum(nc.nn.sigmoid(x)))(x)
    np.testing.assert_allclose(gradient, wanted * (1 - wanted), rtol=1e-14)
    assert nc.nn.sigmoid(np.ones(2, np.float32)).dtype == np.float32


# --- layers and what is none ---


@pytest.mark.parametrize("gradient", ["adjoint", "discrete"])
@pytest.mark.parametrize(
    "field", [nc.nn.TimeConv2d(2, 2, 3, padding=1), nc.nn.Hypernetwork(nc.nn.Conv2d(2, 2, 1), [4])]
)
def test_a_module_that_takes_the_time_is_a_field_that_depends_on_it(field, gradient):
    params, y0 = random_like(field.init(0)), np.random.default_rng(1).standard_normal((3, 2, 4, 4))
    keywords = {"rtol": 1e-9, "atol": 1e-9, "gradient": gradient}
    ode = NeuralODE(field, **keywords)

    def by_hand(p):
        return nc.odeint(lambda t, y, p: field(p, t, y), y0, T, args=(p,), **keywords)

    np.testing.assert_array_equal(ode(params, y0, T), by_hand(params))
    assert not np.allclose(ode(params, y0, T)[-1], ode(params, y0, T + 1.0)[-1])
    got, wanted = (nc.grad(lambda p, f=f: np.sum(f(p)[-1] ** 2))(params) for f in (lambda p: ode(p, y0, T), by_hand))
    nc.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), got, wanted)


@pytest.mark.parametrize(
    "part", [nc.nn.TimeConv2d(1, 1, 3), nc.nn.RNNCell(2, 3), nc.nn.Hypernetwork(nc.nn.Linear(1, 1))]
)
def test_sequential_refuses_what_needs_more_than_one_array(part):
    with pytest.raises(
        TypeError, match=f"Sequential: part 1 must be a Layer or a function of one array, got {type(part).__name__}"
    ):
        nc.nn.Sequential(np.tanh, part)


@pytest.mark.parametrize(
    ("keywords", "kind", "message"),
    [
        ({"rtoll": 1e-3}, TypeError, "odeint has no option 'rtoll'; did you mean rtol"),
        ({"method": "rk5"}, ValueError, "rk5"),
        (
            {"gradient": "exact"},
            ValueError,
            "gradient must be one of discrete, adjoint, interpolated, forward, auto, got 'exact'",
        ),
        ({"backend": "c"}, ValueError, "backend must be one of compiled, callback, python, got 'c'"),
        ({"method": "rk4", "first_step": 0.1}, ValueError, "first_step does not go with rk4"),
        ({"args": ()}, TypeError, "odeint has no option 'args'"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda **k: nc.NeuralODE(nc.nn.MLP([2, 2]), **k),
        lambda **k: nc.models.LatentODE(2, **k),
        lambda **k: nc.models.CNF(nc.models.Planar(2, 2), 2, **k),
        lambda **k: nc.models.PoissonProcess((0.0, 1.0), **k),
    ],
)
def test_options_of_the_solver_are_checked_where_a_model_is_made(make, keywords, kind, message):
    with pytest.raises(kind, match=message) as caught:
        make(**keywords)
    assert str(caught.value).startswith(("NeuralODE: ", "LatentODE: ", "CNF: ", "PoissonProcess: "))
