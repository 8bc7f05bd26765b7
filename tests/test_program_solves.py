"""Solves with Programs: their gradients against the Python path, and what a Program is kept and shared for."""

import gc
import threading
import weakref

import numpy as np
import pytest

import node_core as nc
from node_core._kernels import rk
from tests.cases import assert_close, net, parameters

RNG = np.random.default_rng(0)
T = np.linspace(0.0, 1.0, 5)


def loss_of(backend, gradient, method, **options):
    def loss(y0, p, t):
        ys = nc.odeint(
            lambda t, y, p: net(t, y, p) * np.cos(t),
            y0,
            t,
            args=(p,),
            backend=backend,
            gradient=gradient,
            method=method,
            **options,
        )
        return np.sum(np.sin(ys))

    return loss


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dopri5", {"rtol": 1e-7, "atol": 1e-9}),
        ("tsit5", {"rtol": 1e-7, "atol": 1e-9}),
        ("bosh3", {"rtol": 1e-6, "atol": 1e-8}),
        ("rk4", {}),
        ("rk4", {"step_size": 0.07}),
        ("euler", {"step_size": 0.01}),
        ("heun2", {"step_size": 0.03}),
        ("midpoint", {}),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_solves_and_gradients_of_programs_equal_those_of_the_python_path(method, options, gradient, sign):
    y0, p, t = RNG.standard_normal((6, 2)), parameters(hidden=9), sign * np.array([0.0, 0.3, 0.7, 1.0])
    found = [
        nc.value_and_grad(loss_of(backend, gradient, method, **options), (0, 1, 2))(y0, p, t)
        for backend in ("compiled", "callback", "python")
    ]
    for other in found[1:]:
        assert_close(found[0], other, 1e-9)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_float32_solves_of_programs_are_near_those_of_float64(gradient):
    def loss(y0, p):
        return np.sum(nc.odeint(net, y0, T, args=(p,), gradient=gradient, method="rk4", step_size=0.1) ** 2)

    y0 = RNG.standard_normal((5, 2))
    wide = nc.grad(loss, (0, 1))(y0, parameters())
    narrow = nc.grad(loss, (0, 1))(y0.astype(np.float32), parameters(np.float32))
    assert all(x.dtype == np.float32 for x in nc.tree.flatten(narrow)[0])
    assert_close(narrow, wide, 1e-4)


def test_stages_beyond_the_tape_are_computed_again_to_the_same_gradient():
    loss = loss_of("compiled", "discrete", "dopri5", rtol=1e-9, atol=1e-11)
    arguments = RNG.standard_normal((6, 2)), parameters(hidden=9), T
    whole = nc.grad(loss, (0, 1, 2))(*arguments)
    before = rk.tape_bytes(20_000)
    try:
        part = nc.grad(loss, (0, 1, 2))(*arguments)
    finally:
        rk.tape_bytes(before)
    assert_close(part, whole, 1e-13)


def test_only_what_is_differentiated_by_is_computed():
    """The other arguments may be where their derivative does not exist."""
    for gradient in ("discrete", "adjoint"):
        for backend in ("compiled", "callback", "python"):

            def loss(y0, gradient=gradient, backend=backend):
                options = {
                    "args": (np.array(3.0),),
                    "gradient": gradient,
                    "backend": backend,
                    "rtol": 1e-9,
                    "atol": 1e-9,
                }
                return np.sum(nc.odeint(lambda t, y, p: -(y**p), y0, [0.0, 1.0], **options)[-1])

            with np.errstate(invalid="raise"):
                y0 = np.array([-1.0, -0.5])
                exact = (1 + 2 * y0**2) ** -1.5  # y(1) = y0 / sqrt(1 + 2 y0^2)
                np.testing.assert_allclose(nc.grad(loss)(y0), exact, rtol=1e-7)


def test_the_same_run_in_two_threads_gives_the_same_bits():
    loss = loss_of("compiled", "discrete", "dopri5", rtol=1e-8, atol=1e-10)
    arguments = RNG.standard_normal((6, 2)), parameters(hidden=9), T
    out, pullback = nc.vjp(loss, *arguments)
    alone = nc.tree.ravel(pullback(np.ones_like(out)))[0]
    found = [None] * 4

    def work(i):
        found[i] = nc.tree.ravel(pullback(np.ones_like(out)))[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        np.testing.assert_array_equal(one, alone)


def test_a_neural_ode_traces_its_field_once_for_many_parameters():
    calls = []

    def field(p, t, y):
        calls.append(t)
        return net(t, y, p)

    ode = nc.NeuralODE(field)
    step = nc.value_and_grad(lambda p: np.sum(ode(p, np.ones((3, 2)), T)))
    first = step(parameters())[0]
    seen = len(calls)
    assert step(parameters(hidden=50))[0] == first
    assert step(nc.tree.map(lambda x: 2 * x, parameters()))[0] != first
    assert len(calls) == seen


def test_a_kept_program_keeps_no_trace_alive():
    ode = nc.NeuralODE(lambda p, t, y: net(t, y, p), gradient="discrete")
    seen = []

    def loss(p):
        seen.append(weakref.ref(p["W1"]))  # a traced value
        return np.sum(ode(p, np.ones((3, 2)), T))

    nc.grad(loss)(parameters())
    gc.collect()
    assert seen[0]() is None


def test_a_field_may_have_hundreds_of_parameters():
    p = [np.full(1, 1e-3) for _ in range(600)]
    y0 = np.ones(40)

    def field(t, y, p):
        for w in p:
            y = y * (1 - w)
        return -y

    y = nc.odeint(field, y0, [0.0, 1.0], args=(p,))
    rate = (1 - 1e-3) ** 600
    np.testing.assert_allclose(y[-1], np.exp(-rate), rtol=1e-5)
    found = nc.grad(lambda p: nc.odeint(field, y0, [0.0, 1.0], args=(p,))[-1, 0])(p)
    np.testing.assert_allclose(found[599], np.exp(-rate) * rate / (1 - 1e-3), rtol=1e-4)
