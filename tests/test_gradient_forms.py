"""Gradients of odeint in every form of input: trees, complex, float32, closed-over values, layers; and refusals."""

import functools
import math
import warnings
from typing import NamedTuple

import numpy as np
import pytest

import node_core as nc

from .oracles import differences, relative

MODES = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
TIGHT = {"rtol": 1e-11, "atol": 1e-12}
T = np.array([0.0, 0.4, 0.7, 1.5])


class Pair(NamedTuple):
    u: np.ndarray
    v: np.ndarray


def weights(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- trees ---


def body(t, state, p, shift):
    """A field on a nested state, with nested parameters and one that is no number."""
    u, v = state["pair"]
    w = state["w"][0]
    assert p["name"] == "body"
    return {
        "w": [np.tanh(w * p["gain"]) + np.sum(u)],
        "pair": Pair(u=p["Ws"][0] @ u + shift, v=-np.sum(v**2) * v * p["gain"] + np.cos(t)),
    }


def tree_inputs():
    y0 = {"pair": Pair(weights(2, 1), weights((2, 2), 2)), "w": [np.asarray(0.4)]}
    return y0, {"Ws": [weights((2, 2), 3)], "gain": 0.8, "name": "body", "count": 3}, weights(2, 4)


def tree_loss(y0, p, shift, **keywords):
    ys = nc.odeint(body, y0, T, args=(p, shift), rtol=1e-9, atol=1e-10, **keywords)
    assert type(ys["pair"]) is Pair
    g = {"w": [weights(4, 7)], "pair": Pair(weights((4, 2), 5), weights((4, 2, 2), 6))}
    return sum(nc.tree.flatten(nc.tree.map(lambda y, g: np.sum(y * g), ys, g))[0])


@functools.cache
def tree_differences():
    y0, p, shift = tree_inputs()
    flat, unravel = nc.tree.ravel([y0, p["Ws"], p["gain"], shift])

    def of_flat(x):
        y0, Ws, gain, shift = unravel(x)
        return tree_loss(y0, {**p, "Ws": Ws, "gain": gain}, shift)

    return differences(of_flat, flat, step=1e-2)


@MODES
def test_nested_states_and_args_get_gradients_nested_alike_and_equal_to_differences(gradient):
    y_bar, p_bar, shift_bar = nc.grad(lambda *x: tree_loss(*x, gradient=gradient), (0, 1, 2))(*tree_inputs())
    assert type(y_bar["pair"]) is Pair
    assert type(y_bar["w"]) is list
    assert (p_bar["name"], p_bar["count"]) == (None, None)
    got = nc.tree.ravel([y_bar, p_bar["Ws"], p_bar["gain"], shift_bar])[0]
    assert relative(got, tree_differences()) < 1e-6


@MODES
def test_a_gradient_by_t_alone_and_by_args_alone_is_that_of_all_together(gradient):
    def loss(y0, A, t):
        return np.sum(nc.odeint(lambda t, y, A: np.tanh(A @ y) + t, y0, t, args=(A,), gradient=gradient) ** 2)

    at = weights(3), weights((3, 3), 1), T
    for i, wanted in enumerate(nc.grad(loss, (0, 1, 2))(*at)):
        np.testing.assert_allclose(nc.grad(loss, i)(*at), wanted, rtol=1e-12)


# --- complex and float32 ---


def complex_field(t, y, a, b):
    """Holomorphic in nothing: |y|^2 and conj mix both parts."""
    return a * y - 0.3 * np.real(y * np.conj(y)) * y + b * np.cos(t) * np.conj(y)


def real_field_of_complex_parameters(t, y, a, b):
    return np.real(a) * y - np.imag(a) * np.sin(y[::-1]) + np.real(b * np.conj(b)) * np.cos(t)


@MODES
@pytest.mark.parametrize(
    ("field", "y0", "a", "b"),
    [
        (complex_field, weights(2) + 1j * weights(2, 1), -0.2 + 1.1j, np.array([0.3 + 0.2j, -0.1j])),
        (complex_field, weights(2) + 1j * weights(2, 1), np.asarray(-0.4), np.array([0.5, -0.2])),
        (complex_field, weights(2) + 1j * weights(2, 1), np.asarray(-0.4), np.array([0.3 + 0.2j, -0.1j])),
        (real_field_of_complex_parameters, weights(2), -0.2 + 1.1j, np.array([0.3 + 0.2j, -0.1j])),
        (real_field_of_complex_parameters, weights(2), np.asarray(0.3), np.array([0.3 + 0.2j, -0.1j])),
    ],
    ids=["all complex", "complex state", "one complex arg", "complex args", "one of the args"],
)
def test_complex_states_and_args_have_the_gradients_of_differences(field, y0, a, b, gradient):
    g = weights((4, 2), 8) + 1j * weights((4, 2), 9)

    def loss(y0, a, b, t, **keywords):
        return np.sum(np.real(np.conj(g) * nc.odeint(field, y0, t, args=(a, b), **keywords)))

    grads = nc.grad(lambda *x: loss(*x, gradient=gradient, **TIGHT), (0, 1, 2, 3))(y0, a, b, T)
    at = [y0, np.asarray(a), b, T]
    for i, got in enumerate(grads):
        wanted = differences(lambda x: loss(*at[:i], x, *at[i + 1 :], **TIGHT), at[i], step=1e-2)  # noqa: B023
        assert np.iscomplexobj(got) == np.iscomplexobj(at[i])
        assert relative(got, wanted) < 1e-7


@MODES
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_float32_gradients_are_float32_and_near_those_of_float64(method, gradient):
    options = {"step_size": 0.05} if method == "rk4" else {"rtol": 1e-5, "atol": 1e-6}
    mlp = nc.nn.MLP([2, 8, 2])
    params = mlp.init(0)

    def loss(params, y0, t):
        ys = nc.odeint(lambda t, y, p: mlp(p, y) * np.cos(t), y0, t, args=(params,), method=method,
                       gradient=gradient, backend="callback", **options)  # fmt: skip
        return np.sum(ys**2)

    wide = nc.grad(loss, (0, 1, 2))(params, np.array([0.5, -0.4]), T)
    to32 = lambda x: x.astype(np.float32)  # noqa: E731
    narrow = nc.grad(loss, (0, 1, 2))(nc.tree.map(to32, params), np.array([0.5, -0.4], np.float32), T)
    for got, want in zip(nc.tree.flatten(narrow[:2])[0], nc.tree.flatten(wide[:2])[0], strict=True):
        assert got.dtype == np.float32
        assert relative(got, want) < 1e-4
    assert narrow[2].dtype == np.float64  # time is kept in float64
    assert relative(narrow[2], wide[2]) < 1e-4


# --- closed-over values ---


@MODES
@pytest.mark.parametrize("backend", ["compiled", "python"])
def test_values_func_closes_over_get_the_gradient_they_have_as_args(gradient, backend):
    keywords = {"gradient": gradient, "backend": backend, "rtol": 1e-9, "atol": 1e-10}
    y0 = weights(2)

    def by_args(A, b, s):
        return np.sum(nc.odeint(lambda t, y, A, b: np.tanh(A @ y) * s + b * t, y0, T, args=(A, b), **keywords) ** 2)

    def closed(A, b, s):
        return np.sum(nc.odeint(lambda t, y, b: np.tanh(A @ y) * s + b * t, y0, T, args=(b,), **keywords) ** 2)

    at = weights((2, 2), 1), weights(2, 2), np.asarray(0.7)
    wanted = nc.grad(lambda A, b: by_args(A, b, 0.7), (0, 1))(*at[:2])
    got = nc.grad(closed, (0, 1, 2))(*at)
    for a, b in zip(got, wanted, strict=False):
        assert relative(a, b) < 1e-9
    assert relative(got[2], differences(lambda s: closed(at[0], at[1], s), at[2])) < 1e-6


def test_a_closed_over_value_that_cannot_be_delivered_is_an_error_that_names_it():
    def loss(stiffness):
        def field(t, y):
            return -stiffness * y if y[0] > 0.5 else -y

        return np.sum(nc.odeint(field, np.array([1.0]), T))

    with pytest.raises(TypeError, match=r"the traced value stiffness from outside its arguments.*pass it in args"):
        nc.grad(loss)(np.asarray(2.0))


@MODES
def test_a_field_with_a_branch_on_values_has_its_gradient_with_one_warning(gradient):
    def field(t, y, p):
        return -p * y if y[0] > 0.1 else -y  # never below 0.1 here

    def loss(p):
        return np.sum(nc.odeint(field, np.array([1.0, 2.0]), T, args=(p,), gradient=gradient, **TIGHT))

    with pytest.warns(RuntimeWarning, match=r"func is called back.*test_gradient_forms.py:\d+: a branch") as warned:
        got = nc.grad(loss)(np.asarray(0.8))
    assert len(warned) == 1
    assert got == pytest.approx(np.sum(-3.0 * T * np.exp(-0.8 * T)), rel=1e-8)


@MODES
def test_math_of_the_time_beside_a_closed_over_value_is_told_to_pass_the_value_in_args(gradient):
    def loss(a):
        return np.sum(
            nc.odeint(lambda t, y: -a * y * math.sin(t), np.ones(2), T, gradient=gradient, backend="callback")
        )

    with pytest.raises(TypeError, match=r"the traced value a from outside its arguments.*pass it in args"):
        nc.grad(loss)(1.0)


@MODES
def test_a_func_that_asks_for_the_type_of_y_is_refused_and_not_given_another_gradient(gradient):
    def field(t, y):
        return -y if isinstance(y, np.ndarray) else -2 * y

    def loss(y0):
        return np.sum(nc.odeint(field, y0, T, gradient=gradient))

    with (
        pytest.warns(RuntimeWarning, match="func gave two answers"),
        pytest.raises(TypeError, match="something else on a traced y than on a plain array"),
    ):
        nc.grad(loss)(np.ones(2))


# --- the layer, the statistics, and what does not exist yet ---


@pytest.mark.parametrize("gradient", ["adjoint", "discrete"])
def test_the_gradient_of_a_neural_ode_equals_differences(gradient):
    ode = nc.NeuralODE(nc.nn.MLP([2, 6, 2]), gradient=gradient, **TIGHT)
    params, y0 = ode.init(0), weights(2)
    flat, unravel = nc.tree.ravel(params)

    def loss(params):
        return np.sum(ode(params, y0, T) ** 2)

    got = nc.tree.ravel(nc.grad(loss)(params))[0]
    assert relative(got, differences(lambda x: loss(unravel(x)), flat, step=1e-2)) < 1e-7


def test_nfev_backward_counts_the_evaluations_of_the_gradient_alone():
    found = {}

    def loss(y0, gradient):
        y, found[gradient] = nc.odeint(
            lambda t, y: -y, y0, [0.0, 1.0], method="rk4", step_size=0.1, gradient=gradient, full_output=True
        )
        return np.sum(y)

    for gradient in ("discrete", "adjoint"):  # 4 stages by 10 steps; f at the outputs only if t asks for it
        nc.value_and_grad(lambda y0: loss(y0, gradient))(np.ones(2))  # noqa: B023
        assert found[gradient].nfev == 40
        assert found[gradient].nfev_backward == 40
    loss(np.ones(2), "discrete")
    assert found["discrete"].nfev_backward == 0


def test_a_traced_cotangent_is_differentiated_and_not_taken_for_a_constant():
    _, pullback = nc.vjp(lambda y0: nc.odeint(lambda t, y: -y, y0, T), np.ones(2))
    found = nc.grad(lambda g: np.sum(pullback(g)[0]))(np.ones((4, 2)))  # it is linear in g
    ys = nc.odeint(lambda t, y: -y, np.ones(2), T)
    np.testing.assert_allclose(found, ys, rtol=1e-12)


@MODES
def test_checking_the_trace_at_a_second_point_raises_no_warning_of_numpys(gradient):
    """There 1 - y is negative, where the solution never goes."""
    t, p = [0.0, 0.01], 0.5

    def loss(p):
        return nc.odeint(lambda t, y, p: -p * np.sqrt(1.0 - y), [0.9999], t, args=(p,), gradient=gradient)[-1, 0]

    root = 0.01 + p * t[1] / 2  # of 1 - y at the end
    assert nc.grad(loss)(np.asarray(p)) == pytest.approx(-root * t[1], rel=1e-4)


def test_an_error_of_func_within_the_backward_solve_comes_through_unchanged():
    error, armed = RuntimeError("mine"), []

    def field(t, y):
        if armed:
            raise error
        return -y

    y, pullback = nc.vjp(lambda y0: nc.odeint_adjoint(field, y0, T, backend="callback"), np.ones(1))
    assert y[-1, 0] == pytest.approx(np.exp(-1.5), rel=1e-4)
    armed.append(True)
    with pytest.raises(RuntimeError, match="mine") as caught:
        pullback(np.ones_like(y))
    assert caught.value is error


def test_an_adjoint_that_fails_backward_says_so_and_carries_y_in_its_shape():
    """The forward solve takes 38 steps, the backward one more than the 40 allowed."""

    def loss(y0):
        return np.sum(nc.odeint_adjoint(lambda t, y: -20.0 * y, y0, [0.0, 1.0], rtol=1e-5, max_num_steps=40))

    with pytest.raises(nc.SolverError, match="in the adjoint's backward solve") as caught:
        nc.grad(loss)(np.ones((2, 1)))
    assert caught.value.y.shape == (2, 1)
    assert caught.value.reason == "too many steps"


BACKWARD = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])


def contracting(k, t, **options):
    """Of dy/dt = -k (y - sin t), which backward in time grows as exp(k t)."""
    return np.sum(nc.odeint(lambda t, y, k: -k * (y - np.sin(t)), np.array([0.5]), t, args=(k,), **options) ** 2)


@BACKWARD
def test_the_adjoint_says_where_its_reconstruction_of_y_fails(backend):
    options = {"gradient": "adjoint", "rtol": 1e-6, "atol": 1e-8, "backend": backend}
    with pytest.warns(
        RuntimeWarning, match=r"y\(t\[0\]\), at t = 0, was reconstructed backward with an error of .* tim"
    ):
        nc.grad(lambda k: contracting(k, [0.0, 1.0], **options))(100.0)
    with pytest.warns(RuntimeWarning, match="reconstructed backward"):  # a state as large as its error hides nothing
        nc.grad(lambda k: contracting(k, [0.0, 1.0], **{**options, "rtol": 1e-3, "atol": 1e-3}))(100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nc.grad(lambda k: contracting(k, np.linspace(0.0, 1.0, 40), **options))(100.0)
        nc.grad(lambda k: contracting(k, [0.0, 1.0], **{**options, "gradient": "discrete"}))(100.0)


@BACKWARD
@pytest.mark.parametrize(
    "options",
    [
        {"adjoint_rtol": 1e-10, "adjoint_atol": 1e-10},
        {"adjoint_method": "DOP853", "adjoint_rtol": 1e-10, "adjoint_atol": 1e-10},
        {"adjoint_method": "implicit_adams", "adjoint_rtol": 1e-10, "adjoint_atol": 1e-10},
        {"method": "rk4", "step_size": 0.01, "adjoint_method": "dopri5"},
    ],
)
def test_the_backward_solve_has_a_method_and_tolerances_of_its_own(options, backend):
    options = {"rtol": 1e-10, "atol": 1e-10, **options} if "method" not in options else options
    counts = []

    def loss(k, **given):
        ys = nc.odeint(lambda t, y, k: -k * y**2, np.array([1.5]), [0.0, 1.0, 2.0], args=(k,), gradient="adjoint",
                       backend=backend, **given)  # fmt: skip
        return np.sum(ys**2)

    exact = nc.grad(lambda k: sum((1.5 / (1 + 1.5 * k * t)) ** 2 for t in (0.0, 1.0, 2.0)))(1.3)
    assert abs(nc.grad(lambda k: loss(k, **options))(1.3) - exact) < 2e-7
    for rtol in (1e-4, 1e-8):
        _, back = nc.vjp(
            lambda k, rtol=rtol: loss(k, rtol=1e-10, atol=1e-10, adjoint_rtol=rtol, adjoint_atol=rtol), 1.3
        )
        counts.append(abs(back(1.0)[0] - exact))
    assert counts[1] < 1e-6 < counts[0]  # the backward solve's own tolerance is what counts


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"adjoint_method": "rk4"}, ValueError, "adjoint_method must be adaptive, got rk4; it obeys adjoint_rtol"),
        ({"adjoint_rtol": -1.0}, ValueError, "adjoint_rtol must be a positive float"),
        ({"method": "rk4", "adjoint_rtol": 1e-3}, ValueError, "adjoint_method must be adaptive, got rk4"),
        ({"adjoint_rtl": 1e-3}, TypeError, "has no option 'adjoint_rtl'; did you mean adjoint_rtol"),
    ],
)
def test_options_of_the_backward_solve_that_make_no_sense(options, error, message):
    with pytest.raises(ValueError, match="adjoint_rtol goes with gradient='adjoint' or 'interpolated', got"):
        nc.odeint(lambda t, y: -y, [1.0], T, adjoint_rtol=1e-3)
    with pytest.raises(error, match=message):
        nc.odeint(lambda t, y: -y, [1.0], T, gradient="adjoint", **options)
