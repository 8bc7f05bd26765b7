"""jvp and derivatives of the second and third order through odeint and odeint_event, against closed forms, central
differences of the first order on the recorded grid, and one another."""

import numpy as np
import pytest

import node_core as nc
from node_core.adjoint.replay import Replay
from node_core.program import Field
from node_core.solvers import METHODS, Control, tableau

MODES = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
T = np.array([0.0, 0.7, 2.0])
Y0 = np.array([1.5, -0.4])
A = np.array([[-0.3, 1.1], [-0.8, 0.2]])


def decay(k, y0, t, **options):
    """Sum of squares of y0 exp(-k (t - t[0])) after t[0]."""
    return np.sum(nc.odeint(lambda t, y, k: -k * y, y0, t, args=(k,), **options)[1:] ** 2)


def closed(k, y0, t):
    return np.sum((y0 * np.exp(-k * (t[1:, None] - t[0]))) ** 2)


TIGHT = {"rtol": 1e-11, "atol": 1e-11}


@MODES
@BACKENDS
@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "DOP853", "vern9", "RK45"])
def test_second_derivatives_of_the_decay_are_its_closed_form(method, gradient, backend):
    if method == "bosh3" and backend == "python":
        pytest.skip("its thousands of steps take the Python twin long; the C loop takes the same ones")
    near = {"rtol": 1e-6, "atol": 1e-6} if method == "bosh3" else TIGHT
    options = {"method": method, "gradient": gradient, "backend": backend, **near}
    k = np.array(0.8)

    def grad_k(k):
        return nc.grad(lambda k: decay(k, Y0, T, **options))(k)

    wanted = nc.grad(nc.grad(lambda k: closed(k, Y0, T)))(k)
    bound = 1e-4 if method == "bosh3" else 1e-7
    assert abs(nc.grad(grad_k)(k) - wanted) < bound
    assert abs(nc.jvp(grad_k, (k,), (np.array(1.0),))[1] - wanted) < bound
    tangent = nc.jvp(lambda k: decay(k, Y0, T, **options), (k,), (np.array(1.0),))[1]
    assert abs(tangent - nc.grad(lambda k: closed(k, Y0, T))(k)) < bound
    hessian = nc.hessian(lambda y0: decay(k, y0, T, **options))(Y0)
    np.testing.assert_allclose(hessian, nc.hessian(lambda y0: closed(k, y0, T))(Y0), atol=10 * bound)


@pytest.mark.parametrize("method", ["dopri5", "implicit_adams"])
def test_max_seconds_holds_for_steps_in_python(method):
    def end(k):
        return np.sum(nc.odeint(lambda t, y, k: np.stack([y[1], -k * y[0]]), Y0, [0.0, 3e3], args=(k,), method=method,
                                max_num_steps=10**9, max_seconds=0.3)[-1])  # fmt: skip

    with pytest.raises(nc.SolverError, match=r"max_seconds: the way back of the gradient took more than 0\.3 s"):
        nc.jvp(end, (0.7,), (1.0,))


@MODES
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_second_derivatives_by_the_times_are_their_closed_form(method, gradient):
    options = {"gradient": gradient, "method": method}
    t = np.linspace(0.0, 2.0, 60) if method == "rk4" else T
    options.update({} if method == "rk4" else TIGHT)
    found = nc.hessian(lambda t: decay(0.8, Y0, t, **options))(t)
    wanted = nc.hessian(lambda t: closed(0.8, Y0, t))(t)
    # the second derivative by a time inside is that of the dense output, of two orders less
    np.testing.assert_allclose(found, wanted, atol=2e-3 if method == "rk4" else 2e-5)
    direction = np.linspace(1.0, 2.0, len(t))
    tangent = nc.jvp(lambda t: decay(0.8, Y0, t, **options), (t,), (direction,))[1]
    np.testing.assert_allclose(tangent, nc.grad(lambda t: closed(0.8, Y0, t))(t) @ direction, rtol=1e-5)


def test_third_derivatives():
    def third(f):
        return nc.grad(nc.grad(nc.grad(f)))

    def end(k):
        return np.sum(nc.odeint(lambda t, y, k: -k * y, np.ones(1), [0.0, 1.0], args=(k,), **TIGHT)[-1])

    assert abs(third(end)(0.5) + np.exp(-0.5)) < 1e-8


def field(t, y, A):
    return np.tanh(A @ y) + 0.3 * np.sin(t) * y**2


def loss(A, y0, t, **options):
    ys = nc.odeint(field, y0, t, args=(A,), **options)
    return np.sum(ys**2 * np.arange(1.0, 1.0 + 2 * len(t)).reshape(-1, 2))


@pytest.mark.parametrize("method", METHODS)
def test_the_tangent_of_every_method_is_that_of_its_discrete_gradient(method):
    """The transpose of one is the other: to rounding, whatever the error of the steps."""
    t = np.linspace(0.0, 1.5, 6)
    options = {"method": method, **({"rtol": 1e-4, "atol": 1e-4} if METHODS[method].adaptive else {"step_size": 0.11})}
    rng = np.random.default_rng(0)
    directions = rng.normal(size=A.shape), rng.normal(size=2), rng.normal(size=6) * 0.01
    gradient = nc.grad(loss, argnums=(0, 1, 2))(A, Y0, t, **options)
    tangent = nc.jvp(lambda *args: loss(*args, **options), (A, Y0, t), directions)[1]
    wanted = sum(np.sum(g * d) for g, d in zip(gradient, directions, strict=True))
    np.testing.assert_allclose(tangent, wanted, rtol=1e-10)


def test_the_product_with_the_hessian_is_that_of_central_differences_and_the_same_both_ways():
    options = {"method": "rk4", "step_size": 0.05}  # the grid is fixed, so differences see the same steps
    t, v = np.linspace(0.0, 1.5, 6), np.array([[0.3, -1.0], [0.5, 0.2]])

    def gradient(A):
        return nc.grad(lambda A: loss(A, Y0, t, **options))(A)

    forward = nc.jvp(gradient, (A,), (v,))[1]
    backward = nc.grad(lambda A: np.sum(gradient(A) * v))(A)
    differences = (gradient(A + 1e-5 * v) - gradient(A - 1e-5 * v)) / 2e-5
    np.testing.assert_allclose(forward, backward, rtol=1e-11)
    np.testing.assert_allclose(forward, differences, rtol=1e-7, atol=1e-8)


@BACKENDS
def test_replayed_outputs_are_those_of_the_solve(backend):
    t = np.linspace(0.0, 1.5, 9)
    for method in METHODS:
        rule = tableau(method)
        control = Control(rtol=1e-5) if rule.adaptive else Control(step_size=0.07)
        options = {"rtol": 1e-5} if rule.adaptive else {"step_size": 0.07}
        options = {"controller": "I", **options} if rule.as_scipy else options
        replay = Replay(Field(field, Y0, (A,)), rule, control, (Y0, t, A), backend)
        if not rule.as_scipy:
            ys = nc.odeint(field, Y0, t, args=(A,), method=method, backend=backend, **options)
            np.testing.assert_allclose(replay(Y0, t, A), ys, rtol=1e-11, atol=1e-12)


def test_split_nested_complex_float32_and_closed_over():
    def orbit(w):
        q, p = nc.odeint(lambda t, y, w: (y[1], -w * y[0]), (np.array([1.0, 0.5]), np.array([0.0, 1.0])),
                         np.linspace(0, 1, 4), args=(w,), method="yoshida4", step_size=0.05)  # fmt: skip
        return np.sum(q**2) + np.sum(p)

    def spiral(a):
        y = nc.odeint(lambda t, y: 1j * a * y * y, np.array([1 + 0.3j]), np.linspace(0, 1, 4), method="rk4",
                      step_size=0.02)  # fmt: skip
        return np.sum(np.abs(y) ** 2)

    for f, x in ((orbit, 1.3), (spiral, 0.7)):
        g = nc.grad(f)
        difference = (g(x + 1e-5) - g(x - 1e-5)) / 2e-5
        assert abs(nc.grad(g)(x) - difference) < 1e-7 * max(1.0, abs(difference))
        assert abs(nc.jvp(f, (x,), (1.0,))[1] - g(x)) < 1e-12

    def single(a):
        return np.sum(nc.odeint(lambda t, y, a: -a * y**2, np.ones(1, np.float32), T, args=(a,)) ** 2)

    second = nc.grad(nc.grad(single))(np.float32(0.7))
    assert second.dtype == np.float32
    assert abs(second - sum(6 * t**2 / (1 + 0.7 * t) ** 4 for t in T)) < 1e-3


@MODES
def test_check_grads_of_the_second_order(gradient):
    nc.check_grads(lambda A, y0: loss(A, y0, T, method="rk4", step_size=0.05, gradient=gradient), (A, Y0), order=1)
    if gradient == "discrete":
        nc.check_grads(lambda A, y0: loss(A, y0, T, method="rk4", step_size=0.05), (A, Y0), order=2)


def test_a_jacobian_has_its_columns_by_forward_mode_and_by_reverse_mode_its_rows():
    def end(y0):
        return nc.odeint(lambda t, y: A @ y, y0, [0.0, 1.0], **TIGHT)[-1]

    whole = nc.jacobian(lambda y0: nc.odeint(lambda t, y: A @ y, y0, T, **TIGHT))(Y0)  # 6 rows, 2 columns
    many = nc.jacobian(lambda y0: nc.odeint(lambda t, y: A @ y, y0, np.linspace(0.0, 1.0, 5001), **TIGHT))(Y0)
    np.testing.assert_allclose(many[-1], nc.jacobian(end)(Y0), rtol=1e-9)
    row = nc.jacobian(lambda y0: np.sum(end(y0))[None])(Y0)
    w, V = np.linalg.eig(A)
    exact = [np.real(V @ np.diag(np.exp(w * t)) @ np.linalg.inv(V)) for t in (*T, 1.0)]
    np.testing.assert_allclose(whole, exact[:3], atol=1e-9)
    np.testing.assert_allclose(row[0], exact[3].sum(axis=0), atol=1e-9)


def fall(y0, g):
    return nc.odeint_event(lambda t, y, g: np.stack([y[1], -g + 0 * y[1]]), y0, 0.0, event_fn=lambda t, y, g: y[0],
                           args=(g,), rtol=1e-11, atol=1e-11)  # fmt: skip


def fallen(y0, g):
    t = (y0[1] + np.sqrt(y0[1] ** 2 + 2 * g * y0[0])) / g
    return t, np.stack([0.0 * t, y0[1] - g * t])


@pytest.mark.parametrize("which", [0, 1], ids=["time", "speed"])
def test_an_event_has_second_and_third_derivatives(which):
    y0, g = np.array([1.0, 0.3]), 9.81

    def of(f, y0, g):
        return f(y0, g)[0] if which == 0 else f(y0, g)[1][1]

    for argnum in (0, 1):
        found = nc.hessian(lambda y0, g: of(fall, y0, g), argnums=argnum)(y0, g)
        wanted = nc.hessian(lambda y0, g: of(fallen, y0, g), argnums=argnum)(y0, g)
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)
    third = [nc.grad(nc.grad(nc.grad(lambda g, f=f: of(f, y0, g))))(g) for f in (fall, fallen)]
    np.testing.assert_allclose(*third, rtol=1e-6)
    tangents = [nc.jvp(lambda y0, g, f=f: of(f, y0, g), (y0, g), (y0, 1.0))[1] for f in (fall, fallen)]
    np.testing.assert_allclose(*tangents, rtol=1e-9)


def test_callbacks_see_the_solve_once_and_a_part_of_it_has_no_derivative():
    seen = []

    def loss(k, until):
        return np.sum(nc.odeint(lambda t, y, k: -k * y, np.ones(1), T, args=(k,),
                                on_accept=lambda t, y, h: seen.append(t) or t > until))  # fmt: skip

    def runs(derivative):
        seen.clear()
        derivative(lambda k: loss(k, 9.0))(0.7)
        with pytest.raises(nc.SolverError, match="a callback ended the solve at t"):
            derivative(lambda k: loss(k, 0.5))(0.7)
        return seen.count(T[-1])

    assert runs(nc.grad) == 1
    assert runs(lambda f: lambda k: nc.jvp(f, (k,), (1.0,))) == 1
    assert runs(lambda f: lambda k: nc.jvp(nc.grad(f), (k,), (1.0,))) == 1
