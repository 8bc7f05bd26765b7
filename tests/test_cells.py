"""Recurrent cells and hypernetworks."""

import numpy as np
import pytest

import node_core as nc
from tests.cases import random_like

T, Y0 = np.array([0.0, 0.3, 1.0]), np.array([1.0, -0.5])


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
    ode = nc.NeuralODE(hyper, rtol=1e-9, atol=1e-9)
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
