"""integrate_loss, steady_state and checkpoint: values and derivatives against closed forms, and what is refused."""

import gc
import tracemalloc

import numpy as np
import pytest

import node_core as nc

T = np.array([0.0, 0.5, 2.0])
MODES = pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated", "forward"])
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


# --- running losses


def decay(t, y, k):
    return -k * y


def square(t, y, k):
    return k * np.sum(y**2) + t


def closed(k, y0, t):
    """Of k |y0|^2 exp(-2 k s) + s from t[0] to t."""
    return 0.5 * np.sum(y0**2) * (1.0 - np.exp(-2 * k * (t - t[0]))) + 0.5 * (t**2 - t[0] ** 2)


@MODES
@BACKENDS
def test_a_running_loss_and_its_gradients_are_the_closed_form(gradient, backend):
    y0 = np.array([1.0, -0.4])

    def last(k, y0, t):
        return nc.integrate_loss(decay, square, y0, t, args=(k,), gradient=gradient, backend=backend, **TIGHT)[1][-1]

    ys, losses = nc.integrate_loss(decay, square, y0, T, args=(0.7,), backend=backend, **TIGHT)
    np.testing.assert_allclose(losses, closed(0.7, y0, T), atol=1e-8)
    np.testing.assert_allclose(ys, y0 * np.exp(-0.7 * T[:, None]), atol=1e-8)
    for argnum, x in enumerate((0.7, y0, T)):
        found = nc.grad(last, argnums=argnum)(0.7, y0, T)
        wanted = nc.grad(lambda k, y0, t: closed(k, y0, t)[-1], argnums=argnum)(0.7, y0, T)
        np.testing.assert_allclose(found, wanted, atol=1e-6, err_msg=str(x))
    second = nc.grad(nc.grad(lambda k: last(k, y0, T)))(0.7)
    assert abs(second - nc.grad(nc.grad(lambda k: closed(k, y0, T)[-1]))(0.7)) < 1e-6


def test_running_losses_may_be_several_of_a_nested_state_with_tolerances_of_its_form():
    y0 = {"q": np.ones(2), "p": np.zeros((1, 2))}
    ys, losses, stats = nc.integrate_loss(
        lambda t, y: {"q": y["p"][0], "p": -y["q"][None]}, lambda t, y: np.stack([np.sum(y["q"] ** 2), 1.0]), y0,
        [0.0, np.pi], rtol={"q": np.full(2, 1e-8), "p": 1e-8}, atol=1e-9, full_output=True,
    )  # fmt: skip
    assert ys["p"].shape == (2, 1, 2)
    np.testing.assert_allclose(losses, [[0.0, 0.0], [np.pi, np.pi]], atol=1e-6)
    assert stats.naccepted > 0
    complex_loss = nc.integrate_loss(lambda t, y: 1j * y, lambda t, y: np.abs(y[0]) ** 2, np.array([1j]), [0.0, 2.0])[1]
    np.testing.assert_allclose(complex_loss, [0.0, 2.0], atol=1e-5)
    assert complex_loss.dtype == np.float64


@pytest.mark.parametrize(
    ("running", "message"),
    [(3, r"running must be callable as running\(t, y, \*args\), got int"),
     (lambda t, y: y[: 1 + (t > 0)], r"running must return one shape, \(1,\) at t\[0\], got \(2,\)")],
)  # fmt: skip
def test_a_running_loss_that_is_none(running, message):
    with pytest.raises(TypeError, match=message):
        nc.integrate_loss(lambda t, y: -y, running, np.ones(2), [0.0, 1.0], backend="callback")


# --- steady states


def goodwin(t, y, a, b):
    """Two species, each made where the other is scarce."""
    return np.stack([a / (1 + y[1] ** 2) - y[0], b / (1 + y[0] ** 2) - y[1]])


def test_a_steady_state_is_at_rest_and_moves_by_the_implicit_function_theorem():
    y = nc.steady_state(goodwin, np.array([1.0, 0.1]), (2.0, 1.5))
    np.testing.assert_allclose(goodwin(0.0, y, 2.0, 1.5), 0.0, atol=1e-12)

    def first(a):
        return nc.steady_state(goodwin, np.array([1.0, 0.1]), (a, 1.5))[0]

    difference = (first(2.0 + 1e-5) - first(2.0 - 1e-5)) / 2e-5
    assert abs(nc.grad(first)(2.0) - difference) < 1e-8
    assert abs(nc.jvp(first, (2.0,), (1.0,))[1] - difference) < 1e-8
    second = (nc.grad(first)(2.0 + 1e-5) - nc.grad(first)(2.0 - 1e-5)) / 2e-5
    assert abs(nc.grad(nc.grad(first))(2.0) - second) < 1e-7


def test_a_steady_state_of_a_matrix_equation_has_its_closed_derivatives():
    A, b = np.array([[-2.0, 0.3], [0.1, -1.0]]), np.array([1.0, 2.0])

    def rest(A, b):
        return nc.steady_state(lambda t, y, p: p["A"] @ y + p["b"], np.zeros(2), ({"A": A, "b": b},))

    np.testing.assert_allclose(rest(A, b), np.linalg.solve(A, -b), rtol=1e-12)
    np.testing.assert_allclose(nc.jacobian(rest, argnums=1)(A, b), -np.linalg.inv(A), rtol=1e-10)
    inverse, y = np.linalg.inv(A), np.linalg.solve(A, -b)
    np.testing.assert_allclose(nc.jacobian(rest)(A, b), -np.einsum("ij,k->ijk", inverse, y), rtol=1e-10)


def test_the_flow_leads_to_the_stable_state_of_its_basin():
    def f(t, y):  # at rest at -1, 0 and 1, of which 0 is not stable
        return y - y**3

    for start, end in ((0.05, 1.0), (-0.05, -1.0), (3.0, 1.0)):
        np.testing.assert_allclose(nc.steady_state(f, np.array([start])), [end], rtol=1e-10)
    np.testing.assert_allclose(nc.steady_state(lambda t, y: y * (2 - y), np.array([1e-3])), [2.0])
    np.testing.assert_allclose(nc.steady_state(lambda t, y: y * (2 - y), np.array([0.5])), [2.0])  # singular at first
    stiff = nc.steady_state(lambda t, y: np.stack([1e4 * (y[1] - y[0]), 2 - y[1] ** 3]), np.array([0.0, 0.1]))
    np.testing.assert_allclose(stiff, 2 ** (1 / 3))
    nested = nc.steady_state(lambda t, y: {"a": 1.0 - y["a"]}, {"a": np.zeros((2, 1))})
    np.testing.assert_allclose(nested["a"], 1.0)
    assert nc.steady_state(f, np.zeros(0)).shape == (0,)
    single = nc.steady_state(f, np.array([0.5], np.float32), tol=1e-5)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(nc.grad(lambda y0: np.sum(nc.steady_state(f, y0)))(np.array([0.5])), [0.0])


@pytest.mark.parametrize(
    ("func", "keywords", "error", "message"),
    [
        (lambda t, y: 1.0 + y**2, {}, nc.SolverError, "steady_state: no state at rest after 200 steps"),
        (lambda t, y: 0.0 * y, {}, nc.SolverError, "the Jacobian is singular"),
        (lambda t, y: -y, {"tol": 0.0}, ValueError, "tol must be positive"),
        (lambda t, y: -y, {"args": [1]}, TypeError, r"args must be a tuple, got list: write args=\(p,\)"),
    ],
)
def test_a_steady_state_that_is_not_there(func, keywords, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        nc.steady_state(func, np.array([0.3]), **keywords)


# --- checkpoint


def layer(x, w):
    return np.sin(np.exp(0.1 * x) * w) * np.tanh(x)


@pytest.mark.parametrize("wrapped", [nc.checkpoint(layer)])
def test_a_checkpointed_function_has_the_same_derivatives_of_every_order(wrapped):
    x, w = np.linspace(0.1, 1.0, 5), 1.3

    def deep(f, w):
        y = x
        for _ in range(3):
            y = f(y, w)
        return np.sum(y**2)

    for derivative in (nc.grad, lambda f: nc.grad(nc.grad(f)), lambda f: lambda w: nc.jvp(f, (w,), (1.0,))[1],
                       lambda f: lambda w: nc.jvp(nc.grad(f), (w,), (1.0,))[1]):  # fmt: skip
        found, wanted = (derivative(lambda w, f=f: deep(f, w))(w) for f in (wrapped, layer))
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    np.testing.assert_array_equal(wrapped(x, w), layer(x, w))


def test_a_checkpoint_keeps_the_arguments_alone():
    def many(x):
        for _ in range(20):
            x = np.sin(x)
        return x

    def peak(f):
        gc.collect()
        tracemalloc.start()
        nc.grad(lambda x: np.sum(f(f(f(f(x))))))(np.ones(20_000))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(nc.checkpoint(many)) < 0.5 * peak(many)
    kept = []

    def counted(x):
        kept.append(type(x).__name__)
        return np.sin(x)

    wrapped = nc.checkpoint(counted)
    nc.grad(nc.grad(lambda x: wrapped(x)))(1.0)
    assert kept[0] == "float"  # the outer derivative keeps the argument alone, too: it runs on plain values first


def test_a_checkpoint_refuses_a_traced_value_that_it_closes_over():
    def loss(w):
        return nc.checkpoint(lambda x: x * w)(w)

    with pytest.raises(TypeError, match="closes over a traced value, whose gradient would be lost; pass it as an arg"):
        nc.grad(loss)(2.0)
