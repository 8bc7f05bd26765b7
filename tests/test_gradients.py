"""Gradients of odeint against three oracles: closed forms, differences that replay the grid, and each other."""

import gc
import tracemalloc

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import Control, integrate, tableau

from .oracles import differences, linear_closed_form, relative, replay

MODES = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "python"])
FIXED = ["euler", "midpoint", "heun2", "rk4"]
ADAPTIVE = ["bosh3", "dopri5", "tsit5"]
TIGHT = {"rtol": 1e-12, "atol": 1e-14}
BOUND = {"discrete": 1e-9, "adjoint": 1e-8}


# --- closed forms ---

ROTATION = np.array([[-0.1, 2.0], [-2.0, -0.1]])
COUPLED = np.array([[-0.5, 1.0, 0.3], [-1.2, -0.1, 0.4], [0.2, -0.6, -0.3]])


@MODES
@BACKENDS
@pytest.mark.parametrize("A", [ROTATION, COUPLED], ids=["2x2", "3x3"])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_gradient_of_a_linear_system_equals_its_closed_form(A, sign, gradient, backend):
    rng = np.random.default_rng(1)
    t = 0.5 + sign * np.array([0.0, 0.3, 0.9, 1.1, 2.0])
    y0, G = rng.normal(size=len(A)), rng.normal(size=(len(t), len(A)))

    def loss(y0, A, t):
        return np.sum(
            G * nc.odeint(lambda t, y, A: A @ y, y0, t, args=(A,), gradient=gradient, backend=backend, **TIGHT)
        )

    value, grads = nc.value_and_grad(loss, (0, 1, 2))(y0, A, t)
    ys, *wanted = linear_closed_form(A, y0, t, G)
    assert value == pytest.approx(np.sum(G * ys), rel=1e-10)
    for got, want in zip(grads, wanted, strict=True):
        assert relative(got, want) < BOUND[gradient]


@MODES
def test_gradient_of_a_field_that_moves_in_time_equals_its_closed_form(gradient):
    """y' = p cos(t) y, y = y0 exp(p (sin t - sin t0)): f_t is not zero, and t[0] feels it."""
    t, G = np.array([0.3, 0.8, 1.9, 3.0]), np.array([0.7, -1.1, 0.4, 1.3])

    def loss(y0, p, t):
        ys = nc.odeint(lambda t, y, p: p * np.cos(t) * y, y0, t, args=(p,), gradient=gradient, **TIGHT)
        return np.sum(G * ys)

    y0, p = 1.2, 0.9
    grads = nc.grad(loss, (0, 1, 2))(np.asarray(y0), p, t)
    y = y0 * np.exp(p * (np.sin(t) - np.sin(t[0])))
    t_bar = G * p * np.cos(t) * y
    t_bar[0] = -np.sum((G * y)[1:]) * p * np.cos(t[0])
    wanted = np.sum(G * y) / y0, np.sum(G * y * (np.sin(t) - np.sin(t[0]))), t_bar
    for got, want in zip(grads, wanted, strict=True):
        assert relative(got, want) < BOUND[gradient]


@pytest.mark.parametrize("gradient", BOUND)
def test_every_cotangent_alone_gives_its_own_gradient(gradient):
    """Outputs whose cotangent is zero must neither be skipped wrongly nor leak."""

    def solve(y0, A, t):
        return nc.odeint(lambda t, y, A: A @ y, y0, t, args=(A,), gradient=gradient, **TIGHT)

    t, y0 = np.linspace(0.0, 1.5, 4), np.array([1.0, -0.4])
    out, pullback = nc.vjp(solve, y0, ROTATION, t)
    for i in range(len(t)):
        G = np.zeros_like(out)
        G[i] = 1.0, -2.0
        wanted = linear_closed_form(ROTATION, y0, t, G)[1:]
        for got, want in zip(pullback(G), wanted, strict=True):
            assert np.max(np.abs(got - want)) < BOUND[gradient] * max(1.0, np.abs(want).max())


# --- differences ---


def driven(t, y, p):
    """A pendulum driven in time: nonlinear, non-autonomous, with three parameters."""
    drive = p[1] * np.cos(p[2] * t + y[0])
    return np.stack([y[1] * np.exp(-0.1 * t), -p[0] * np.sin(y[0]) + drive])


Y0 = np.array([0.9, -0.3])
P = np.array([1.3, 0.6, 2.1])
T = np.array([0.2, 0.45, 1.0, 1.05, 2.3, 2.9])
G = np.random.default_rng(3).normal(size=(len(T), 2))


@BACKENDS
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
@pytest.mark.parametrize(
    ("method", "options"),
    [(m, {"rtol": 1e-4, "atol": 1e-5}) for m in ADAPTIVE] + [(m, {"step_size": s}) for m in FIXED for s in (0.2, 0.05)],
)
def test_discrete_gradient_equals_differences_that_replay_the_grid(method, options, sign, backend):
    t = sign * T

    def loss(y0, p, t):
        return np.sum(G * nc.odeint(driven, y0, t, args=(p,), method=method, backend=backend, **options))

    value, grads = nc.value_and_grad(loss, (0, 1, 2))(Y0, P, t)
    rule = tableau(method)
    record = integrate(lambda t, y: driven(t, y, P), Y0, t, rule, Control(**options), record=True).record

    def replayed(y0, p, t):
        return np.sum(G * replay(lambda t, y: driven(t, y, p), y0, t, rule, record))

    assert replayed(Y0, P, t) == pytest.approx(value, rel=1e-12)
    wanted = (
        differences(lambda x: replayed(x, P, t), Y0),
        differences(lambda x: replayed(Y0, x, t), P),
        differences(lambda x: replayed(Y0, P, x), t),
    )
    for got, want in zip(grads, wanted, strict=True):
        assert relative(got, want) < 1e-9


@BACKENDS
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
@pytest.mark.parametrize("method", FIXED)
def test_discrete_gradient_of_one_step_an_interval_equals_differences_of_odeint_itself(method, sign, backend):
    t = sign * T

    def loss(y0, p, t):
        return np.sum(G * nc.odeint(driven, y0, t, args=(p,), method=method, backend=backend))

    grads = nc.grad(loss, (0, 1, 2))(Y0, P, t)
    wanted = (
        differences(lambda x: loss(x, P, t), Y0),
        differences(lambda x: loss(Y0, x, t), P),
        differences(lambda x: loss(Y0, P, x), t),
    )
    for got, want in zip(grads, wanted, strict=True):
        assert relative(got, want) < 1e-9


def test_gradient_at_an_output_that_coincides_with_a_grid_point_is_the_interpolants():
    """Outputs at the ends of inner steps act through the slope there and leave the grid alone."""
    t = np.array([0.0, 0.1, 0.25, 0.3, 0.45])  # the second and the fourth are grid points of step_size 0.1

    def loss(t):
        return np.sum(G[:5] * nc.odeint(driven, Y0, t, args=(P,), method="rk4", step_size=0.1))

    rule = tableau("rk4")
    record = integrate(lambda t, y: driven(t, y, P), Y0, t, rule, Control(step_size=0.1), record=True).record
    wanted = differences(lambda t: np.sum(G[:5] * replay(lambda t, y: driven(t, y, P), Y0, t, rule, record)), t)
    assert relative(nc.grad(loss)(t), wanted) < 1e-9


# --- one mode against another ---


def spiral():
    """The paper's toy, on a batch of 20 states: y' = MLP(y^3), 252 parameters."""
    mlp = nc.nn.MLP([2, 50, 2])
    rng = np.random.default_rng(0)
    y0, t = rng.uniform(-1.5, 1.5, size=(20, 2)), np.linspace(0.0, 0.25, 10)
    target = rng.normal(size=(10, 20, 2))

    def loss(params, y0, t, **keywords):
        ys = nc.odeint(lambda t, y, params: mlp(params, y**3), y0, t, args=(params,), **keywords)
        return np.mean(np.abs(ys - target))

    return loss, (mlp.init(0), y0, t)


def test_both_backends_give_the_same_value_and_gradient_of_the_spiral_toy():
    loss, at = spiral()
    for gradient in ("discrete", "adjoint"):
        found = [
            nc.value_and_grad(lambda *x: loss(*x, gradient=gradient, backend=b), (0, 1, 2))(*at)  # noqa: B023
            for b in ("compiled", "python")
        ]
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
        for a, b in zip(*(nc.tree.flatten(grads)[0] for _, grads in found), strict=True):
            assert relative(a, b) < 1e-9


def test_discrete_and_adjoint_gradients_agree_on_the_spiral_toy():
    loss, at = spiral()
    keywords = {"rtol": 1e-9, "atol": 1e-11}
    discrete, adjoint = (
        nc.tree.flatten(nc.grad(lambda *x: loss(*x, gradient=g, **keywords), (0, 1, 2))(*at))[0]  # noqa: B023
        for g in ("discrete", "adjoint")
    )
    assert sum(x.size for x in discrete) == 252 + 40 + 10
    for a, b in zip(adjoint, discrete, strict=True):
        assert relative(a, b) < 1e-6


# --- what the adjoint's backward solve is made of ---


def test_the_adjoint_goes_back_from_the_stored_states_at_every_output_time():
    """y' = -10 (y - cos t) grows tenfold every 0.23 backward: y carried on alone would be lost after a few outputs."""
    t = np.linspace(0.0, 3.0, 16)

    def loss(rate, gradient):
        ys = nc.odeint(lambda t, y, rate: -rate * (y - np.cos(t)) - y**3, [1.0], t, args=(rate,), gradient=gradient)
        return np.sum(ys)

    adjoint, discrete = (nc.grad(loss)(np.asarray(10.0), gradient) for gradient in ("adjoint", "discrete"))
    assert adjoint == pytest.approx(discrete, rel=1e-4)


def test_parameters_do_not_steer_the_steps_of_the_adjoint():
    """The gradient by q is a rough integral; y and a, with q = 0, are as smooth as without it."""
    counts = []
    for q, argnums in ((np.asarray(0.0), (0, 1)), (0, 0)):  # the int is no parameter

        def loss(y0, q):
            y, stats = nc.odeint_adjoint(
                lambda t, y, q: -y + 1e3 * q * np.sin(300.0 * t), y0, [0.0, 2.0], args=(q,), full_output=True
            )
            counts.append(stats)
            return np.sum(y)

        nc.grad(loss, argnums)(np.ones(2), q)
    assert counts[0].nfev_backward == counts[1].nfev_backward > 0


# --- memory ---


def peak_memory(solve, steps):
    """Bytes at the peak of one gradient of a fixed-step solve with two output times."""

    def loss(y0, p):
        return np.sum(solve(lambda t, y, p: -p * y, y0, [0.0, 1.0], args=(p,), method="rk4", step_size=1.0 / steps,
                            backend="callback"))  # fmt: skip

    run = nc.value_and_grad(loss, (0, 1))
    y0, p = np.linspace(1.0, 2.0, 200), np.linspace(0.5, 1.5, 200)
    run(y0, p)  # what is made once and kept
    gc.collect()  # what earlier tests left in cycles is none of this run's memory
    tracemalloc.start()
    try:
        run(y0, p)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_peak_memory_of_the_adjoint_does_not_grow_with_the_steps_and_that_of_discrete_does():
    few, many = peak_memory(nc.odeint_adjoint, 100), peak_memory(nc.odeint_adjoint, 10_000)
    assert abs(many / few - 1.0) < 0.05
    assert peak_memory(nc.odeint, 1000) > 5 * peak_memory(nc.odeint, 100)
