"""Each optimiser against its published formula written out; what they leave alone; L-BFGS on known minima."""

import dataclasses

import numpy as np
import pytest

import node_core as nc
from node_core import optim

P = np.array([1.0, -2.0, 0.5])
GRADIENTS = [np.array([0.5, -1.0, 2.0]), np.array([0.1, 3.0, -1.0]), np.array([-0.7, 0.2, 0.0])]


def three_steps(optimizer, p=P, gradients=GRADIENTS):
    state = optimizer.init(p)
    for g in gradients:
        p, state = optimizer.update(p, g, state)
    assert state["step"] == 3
    return p


# --- the kernels and their twins ---

RULES = [
    optim.SGD(0.1),
    optim.SGD(0.1, momentum=0.9),
    optim.SGD(0.1, momentum=0.9, nesterov=True),
    optim.RMSprop(0.01),
    optim.Adam(0.02),
    optim.AdamW(0.02, weight_decay=0.1),
]


@pytest.mark.parametrize("optimizer", RULES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_and_twin_agree(optimizer, dtype):
    rng = np.random.default_rng(5)
    shapes = [(), (0,), (1,), (7,), (3, 5), (2, 1, 33)]
    p = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    state = optimizer.init(p)
    for step in (1, 2, 3):
        g = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
        olds = [state[name] for name in optimizer.moments]
        wanted, moments = optimizer._update_each(p, g, olds, step, optimizer.lr)
        before = [x.copy() for x in p]
        p_new, state = optimizer.update(p, g, state)
        for got, like in zip(
            [*p_new, *(x for name in optimizer.moments for x in state[name])],
            [*wanted, *(x for moment in moments for x in moment)],
            strict=True,
        ):
            assert (got.dtype, got.shape) == (like.dtype, like.shape)
            np.testing.assert_allclose(got, like, rtol=8 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
        for x, same in zip(p, before, strict=True):
            np.testing.assert_array_equal(x, same)
        p = p_new


def test_gradients_of_any_layout_are_taken():
    p, g = np.ones((3, 4)), np.arange(12.0).reshape(4, 3).T
    found, _ = optim.SGD(0.1).update(p, g, optim.SGD(0.1).init(p))
    np.testing.assert_allclose(found, p - 0.1 * g, rtol=1e-15)


# --- formulas ---


def test_sgd_is_gradient_descent():
    np.testing.assert_allclose(three_steps(optim.SGD(0.1)), P - 0.1 * sum(GRADIENTS), rtol=1e-15)


def test_sgd_with_momentum_sums_decaying_gradients():
    g1, g2, g3 = GRADIENTS
    wanted = P - 0.1 * (g1 + (g2 + 0.9 * g1) + (g3 + 0.9 * g2 + 0.81 * g1))
    np.testing.assert_allclose(three_steps(optim.SGD(0.1, momentum=0.9)), wanted, rtol=1e-14)


def test_sgd_with_nesterov_looks_one_step_ahead():
    g1, g2, g3 = GRADIENTS
    v1, v2, v3 = g1, g2 + 0.9 * g1, g3 + 0.9 * g2 + 0.81 * g1
    wanted = P - 0.1 * ((g1 + 0.9 * v1) + (g2 + 0.9 * v2) + (g3 + 0.9 * v3))
    np.testing.assert_allclose(three_steps(optim.SGD(0.1, momentum=0.9, nesterov=True)), wanted, rtol=1e-14)


def test_rmsprop_divides_by_the_running_rms():
    p, s = P.copy(), np.zeros(3)
    for g in GRADIENTS:
        s = 0.8 * s + 0.2 * g**2
        p = p - 0.1 * g / (np.sqrt(s) + 1e-6)
    np.testing.assert_allclose(three_steps(optim.RMSprop(0.1, decay=0.8, eps=1e-6)), p, rtol=1e-14)


def adam_reference(weight_decay=0.0, b1=0.9, b2=0.99, lr=0.1, eps=1e-7):
    """Kingma and Ba 2015, algorithm 1, with the sums of its moments written out; decay as in algorithm 2 of L&H."""
    p = P.copy()
    for t in range(1, 4):
        m = sum((1 - b1) * b1 ** (t - i) * GRADIENTS[i - 1] for i in range(1, t + 1))
        v = sum((1 - b2) * b2 ** (t - i) * GRADIENTS[i - 1] ** 2 for i in range(1, t + 1))
        p = p - lr * ((m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps) + weight_decay * p)
    return p


def test_adam_equals_algorithm_1_of_kingma_and_ba():
    np.testing.assert_allclose(three_steps(optim.Adam(0.1, 0.9, 0.99, 1e-7)), adam_reference(), rtol=1e-13)


def test_adam_moves_by_lr_at_the_first_step_whatever_the_gradient():
    opt = optim.Adam(0.25)
    p, _ = opt.update(P, 1e3 * GRADIENTS[0], opt.init(P))
    np.testing.assert_allclose(p, P - 0.25 * np.sign(GRADIENTS[0]), rtol=1e-9)


def test_adamw_decays_the_weights_and_not_the_gradient():
    got = three_steps(optim.AdamW(0.1, 0.9, 0.99, 1e-7, weight_decay=0.3))
    np.testing.assert_allclose(got, adam_reference(weight_decay=0.3), rtol=1e-13)
    opt = optim.AdamW(0.1, weight_decay=0.3)
    np.testing.assert_allclose(opt.update(P, np.zeros(3), opt.init(P))[0], P * (1 - 0.1 * 0.3), rtol=1e-15)


def test_learning_rate_may_be_a_function_of_the_step():
    got = three_steps(optim.SGD(lambda step: np.float64(1.0) / step))
    np.testing.assert_allclose(got, P - GRADIENTS[0] - GRADIENTS[1] / 2 - GRADIENTS[2] / 3, rtol=1e-15)


# --- trees, precision, constants ---

ALL = [optim.SGD(0.1, momentum=0.5), optim.RMSprop(0.1), optim.Adam(0.1), optim.AdamW(0.1)]
EACH = pytest.mark.parametrize("opt", ALL, ids=lambda opt: type(opt).__name__)


@dataclasses.dataclass(frozen=True)
class Params:
    W: np.ndarray
    steps: int
    scale: float


@EACH
def test_leaves_without_gradient_are_left_and_the_nesting_is_kept(opt):
    params = {"p": Params(np.ones((2, 2)), 5, 2.0), "name": "field", "list": [P, None]}
    grads = nc.grad(lambda q: np.sum(q["p"].W) * q["p"].scale + np.sum(q["list"][0]))(params)
    new, state = opt.update(params, grads, opt.init(params))
    assert (new["p"].steps, new["name"], new["list"][1]) == (5, "field", None)
    assert np.all(new["p"].W < 1.0)
    assert new["p"].scale < 2.0
    assert np.all(new["list"][0] < P)
    assert np.all(params["p"].W == 1.0)  # nothing changed in place
    newer, _ = opt.update(new, grads, state)
    assert np.all(newer["p"].W < new["p"].W)


@EACH
def test_gradients_may_list_dict_keys_in_another_order(opt):
    params = {"a": 1.0, "b": 1.0}
    new, _ = opt.update(params, {"b": -1.0, "a": 1.0}, opt.init(params))
    assert new["a"] < 1.0 < new["b"]


@EACH
def test_a_leaf_without_gradient_at_one_step_keeps_its_moments(opt):
    params = {"a": np.ones(2)}
    _, state = opt.update(params, {"a": np.ones(2)}, opt.init(params))
    new, after = opt.update(params, {"a": None}, state)
    np.testing.assert_array_equal(new["a"], params["a"])
    for name in opt.moments:
        np.testing.assert_array_equal(after[name]["a"], state[name]["a"])


@EACH
def test_float32_stays_float32_with_a_float64_rate(opt):
    single = type(opt)(lambda step: np.float64(0.1) / step)
    p = P.astype(np.float32)
    state = single.init(p)
    for g in GRADIENTS:
        p, state = single.update(p, g.astype(np.float32), state)
    assert p.dtype == np.float32
    assert all(state[name].dtype == np.float32 for name in single.moments)


@EACH
def test_complex_parameters_step_by_the_modulus_and_reach_the_minimum(opt):
    target = np.array([1 + 2j, -0.5j])
    gradient = nc.grad(lambda z: np.sum(np.abs(z - target) ** 2))
    z, slower = np.zeros(2, complex), type(opt)(0.05)
    state = slower.init(z)
    for _ in range(300):
        z, state = slower.update(z, gradient(z), state)
    np.testing.assert_allclose(z, target, atol=0.06)
    turned = np.exp(0.3j)  # a rotation of the plane turns the step and changes nothing else
    step = opt.update(z, gradient(z), opt.init(z))[0] - z
    decay = getattr(opt, "weight_decay", 0.0) * 0.1 * z
    rotated = opt.update(z, turned * gradient(z), opt.init(z))[0] - z
    np.testing.assert_allclose(rotated + decay, turned * (step + decay), rtol=1e-9, atol=1e-12)


# --- errors ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(0.0), "SGD: lr must be positive, got 0.0"),
        (lambda: optim.Adam(float("nan")), "Adam: lr must be positive, got nan"),
        (lambda: optim.SGD(momentum=1.0), r"SGD: momentum must be in \[0, 1\), got 1.0"),
        (lambda: optim.RMSprop(decay=-0.1), r"RMSprop: decay must be in \[0, 1\), got -0.1"),
        (lambda: optim.RMSprop(eps=0), "RMSprop: eps must be positive, got 0"),
        (lambda: optim.Adam(b2=2), r"Adam: b2 must be in \[0, 1\), got 2"),
        (lambda: optim.AdamW(b1=2), r"AdamW: b1 must be in \[0, 1\), got 2"),
        (lambda: optim.AdamW(weight_decay=-1), "AdamW: weight_decay must not be negative, got -1"),
        (lambda: optim.LBFGS(memory=0), "LBFGS: memory must be positive, got 0"),
        (lambda: optim.LBFGS(tolerance=-1.0), "LBFGS: tolerance must be positive, got -1.0"),
    ],
)
def test_setting_out_of_range_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gradient_of_another_shape_or_nesting_is_an_error():
    opt = optim.Adam()
    with pytest.raises(ValueError, match=r"Adam: a gradient of shape \(2,\) for a parameter of \(3,\)"):
        opt.update(P, np.ones(2), opt.init(P))
    with pytest.raises(ValueError, match=r"the trees differ in structure: \{'a': \*\} and \[\*\]"):
        opt.update({"a": P}, [P], opt.init({"a": P}))


# --- L-BFGS ---


def rosenbrock(p):
    x, y = p["x"], p["y"]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def test_lbfgs_finds_the_minimum_of_rosenbrocks_valley():
    found, value = optim.LBFGS().minimize(nc.value_and_grad(rosenbrock), {"x": -1.2, "y": 1.0})
    assert list(found) == ["x", "y"]
    assert found["x"] == pytest.approx(1.0, abs=1e-6)
    assert found["y"] == pytest.approx(1.0, abs=1e-6)
    assert value < 1e-12


def test_lbfgs_solves_a_quadratic_of_as_many_unknowns_as_its_memory():
    rng = np.random.default_rng(0)
    M = rng.standard_normal((6, 6))
    A, b = M @ M.T + np.eye(6), rng.standard_normal(6)
    evaluations, history = [], []

    def evaluate(x):
        evaluations.append(x)
        return nc.value_and_grad(lambda x: 0.5 * x @ A @ x - b @ x)(x)

    found, value = optim.LBFGS(tolerance=1e-9).minimize(
        evaluate, np.zeros(6), lambda iteration, value: history.append((iteration, value))
    )
    np.testing.assert_allclose(found, np.linalg.solve(A, b), atol=1e-7)
    assert value == pytest.approx(-0.5 * b @ np.linalg.solve(A, b), rel=1e-12)
    assert len(evaluations) < 60
    values = [v for _, v in history]
    assert values == sorted(values, reverse=True)
    assert [i for i, _ in history] == list(range(len(history)))


def test_lbfgs_stops_when_the_callback_says_so_or_at_the_minimum():
    fun = nc.value_and_grad(rosenbrock)
    seen = []
    optim.LBFGS().minimize(fun, {"x": -1.2, "y": 1.0}, lambda i, v: seen.append(i) or i == 2)
    assert seen == [0, 1, 2]
    found, value = optim.LBFGS().minimize(fun, {"x": 1.0, "y": 1.0}, lambda i, v: seen.append(i))
    assert seen == [0, 1, 2]
    assert (found, value) == ({"x": 1.0, "y": 1.0}, 0.0)


def test_lbfgs_steps_back_from_points_without_a_value():
    def barrier(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return x - np.log(x)  # nan left of 0

    found, _ = optim.LBFGS().minimize(nc.value_and_grad(barrier), 5.0)
    assert found == pytest.approx(1.0, abs=1e-5)


def test_what_is_mistaken_for_a_state_or_a_gradient_is_named():
    opt = optim.Adam()
    with pytest.raises(TypeError, match=r"Adam: state must be what init.*the order is update\(params, grads, state\)"):
        opt.update(P, opt.init(P), P)
    with pytest.raises(
        TypeError, match=r"LBFGS: give a function that returns \(value, grads\), such as nc.value_and_grad"
    ):
        optim.LBFGS().minimize(lambda p: np.sum(p**2), P)


def test_a_falling_rate_is_whole_for_half_the_steps_and_then_goes_to_zero():
    lr = nc.optim.falling(0.4, 10)
    np.testing.assert_allclose([lr(k) for k in (1, 5, 6, 8, 10, 11, 99)], [0.4, 0.4, 0.4, 0.24, 0.08, 0.0, 0.0])
    with pytest.raises(ValueError, match="falling: rate must be positive, got 0"):
        nc.optim.falling(0, 10)
