"""gradient="interpolated": a(t) backward with y(t) from the forward solve; and gradient="auto"."""

import warnings

import numpy as np
import pytest

import node_core as nc
from node_core._kernels import rk

from .oracles import linear_closed_form, relative

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
A = np.array([[-0.5, 1.0, 0.3], [-1.2, -0.1, 0.4], [0.2, -0.6, -0.3]])
# of the dense output, which has a lower order than the step
BOUNDS = {"dopri5": 1e-9, "tsit5": 1e-9, "DOP853": 3e-9, "vern7": 1e-10, "vern9": 2e-11, "explicit_adams": 3e-8,
          "implicit_adams": 3e-8, "RK45": 1e-9, "dopri8": 3e-9}  # fmt: skip


def gradients(t, *, y0=None, checkpoints=None, **options):
    """d loss / d (y0, A, t) of the linear system, those of the closed form, and the statistics."""
    rng = np.random.default_rng(1)
    y0, G = rng.normal(size=3) if y0 is None else y0, rng.normal(size=(len(t), 3))
    options = {"rtol": 1e-10, "atol": 1e-12, "gradient": "interpolated", **options}

    def loss(y0, A, t):
        ys, stats = nc.odeint(
            lambda t, y, A: A @ y, y0, t, args=(A,), full_output=True, checkpoints=checkpoints, **options
        )
        loss.stats = stats
        return np.sum(G * ys)

    found = nc.grad(loss, (0, 1, 2))(y0, A, t)
    return found, linear_closed_form(A, y0, t, G)[1:], loss.stats


@pytest.mark.parametrize("method", BOUNDS)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_the_gradient_of_a_linear_system_equals_its_closed_form(method, sign):
    t = 0.5 + sign * np.array([0.0, 0.3, 0.9, 1.1, 2.0, 4.0])
    found, wanted, stats = gradients(t, method=method)
    assert max(map(relative, found, wanted)) < BOUNDS[method]
    assert stats.nretaken == 0
    if "adams" in method:
        return
    found, wanted, stats = gradients(t, method=method, checkpoints=2)
    assert max(map(relative, found, wanted)) < BOUNDS[method]
    assert stats.nretaken >= stats.naccepted


@BACKENDS
@pytest.mark.parametrize("checkpoints", [None, 1, 4])
@pytest.mark.parametrize("method", ["dopri5", "DOP853", "rk4", "heun2"])
def test_the_backends_agree(method, checkpoints, backend):
    t = np.linspace(0.0, 3.0, 6)
    options = {"method": method, "checkpoints": checkpoints}
    if method in ("rk4", "heun2"):
        found, wanted = (fixed(t, backend=b, step_size=0.05, **options) for b in (backend, "python"))
        assert max(map(relative, found, wanted)) < 1e-13
        return
    found, wanted, stats = gradients(t, backend=backend, **options)
    other, _, python = gradients(t, backend="python", **options)
    assert max(map(relative, found, other)) < 1e-10
    assert max(map(relative, found, wanted)) < 3e-9
    assert abs(stats.nfev_backward - python.nfev_backward) <= 0.05 * python.nfev_backward
    assert stats.nretaken == python.nretaken


def fixed(t, **options):
    """Gradients by a method of equal steps."""

    def loss(y0, A, t):
        ys = nc.odeint(lambda t, y, A: A @ y, y0, t, args=(A,), gradient="interpolated", **options)
        return np.sum(ys**2)

    return nc.grad(loss, (0, 1, 2))(np.array([1.0, -0.5, 0.2]), A, t)


@pytest.mark.parametrize("backend", ["compiled", "python"])
@pytest.mark.parametrize("method", ["dopri5", "DOP853"])
def test_no_window_is_taken_again_twice_however_long_the_backward_steps_are(method, backend):
    t, options = np.array([0.0, 8.0]), {"method": method, "checkpoints": 2, "backend": backend, "rtol": 1e-11}
    _, _, there = gradients(t, adjoint_rtol=1e-2, adjoint_atol=1e-2, **options)
    _, _, discrete = gradients(t, gradient="discrete", **options)
    assert there.nretaken == discrete.nretaken > 2 * there.naccepted


@pytest.mark.parametrize("backend", ["compiled", "python"])
@pytest.mark.parametrize("method", ["ssprk3", "rk4"])
def test_equal_steps_back_see_one_window_at_a_time(method, backend):
    """Times there and back differ by rounding, and the stages of ssprk3 go to the end of a step before its middle."""
    taken = {}
    for gradient in ("discrete", "interpolated"):

        def loss(y0, gradient=gradient):
            ys, stats = nc.odeint(lambda t, y: -y, y0, [0.0, 1.0], method=method, step_size=1.0 / 203, checkpoints=8,
                                  gradient=gradient, backend=backend, full_output=True)  # fmt: skip
            taken[gradient] = stats
            return np.sum(ys)

        nc.grad(loss)(np.ones(2))
    assert taken["interpolated"].nretaken == taken["discrete"].nretaken


def test_equal_steps_converge_to_the_closed_form_with_their_order():
    t = np.array([0.0, 2.0])
    exact = fixed(t, method="rk4", step_size=1e-3)
    errors = [max(map(relative, fixed(t, method="rk4", step_size=h), exact)) for h in (0.1, 0.05)]
    assert 3.0 < np.log2(errors[0] / errors[1]) < 5.5


def test_where_the_adjoint_cannot_reconstruct_y_it_is_right():
    """y' = -k (y - sin t) grows as exp(100 t) backward, and z' = y^2 wants y all the way."""

    def gradient(mode, **tolerances):
        def loss(y0, k):
            ys = nc.odeint(
                lambda t, s, k: np.stack([-k * (s[0] - np.sin(t)), s[0] ** 2]), y0, [0.0, 0.4, 1.0], args=(k,),
                gradient=mode, **{"rtol": 1e-7, "atol": 1e-9, **tolerances},
            )  # fmt: skip
            return ys[1, 1] + ys[2, 1]

        return nc.grad(loss, (0, 1))(np.array([0.5, 0.0]), 100.0)

    wanted = gradient("discrete", rtol=1e-11, atol=1e-13)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradient("interpolated")
    assert max(map(relative, found, wanted)) < 1e-4
    with pytest.warns(RuntimeWarning, match="give gradient='interpolated' or 'discrete'"):
        lost = gradient("adjoint")
    assert max(map(relative, lost, wanted)) > 1.0


@BACKENDS
def test_float32_nested_states_and_closed_over_values(backend):
    k, y0 = np.float32(0.7), {"q": np.ones(2, np.float32), "p": np.zeros((2, 1), np.float32)}

    def loss(y0, k, mode):
        ys = nc.odeint(lambda t, y: {"q": y["p"][:, 0] * k, "p": -y["q"][:, None]}, y0, [0.0, 1.0, 2.0], gradient=mode,
                       backend=backend)  # fmt: skip
        return np.sum(ys["q"] ** 2) + np.sum(ys["p"][-1])

    found, wanted = (nc.grad(lambda y0, k, m=m: loss(y0, k, m), (0, 1))(y0, k) for m in ("interpolated", "discrete"))
    for got, want in zip(nc.tree.flatten(found)[0], nc.tree.flatten(wanted)[0], strict=True):
        assert got.dtype == np.float32
        assert np.max(np.abs(got - want)) < 1e-4


def test_complex_states():
    def loss(y0, k, mode):
        ys = nc.odeint(lambda t, y, k: 1j * k * y, y0, [0.0, 1.0, 3.0], args=(k,), gradient=mode, rtol=1e-9, atol=1e-9)
        return np.sum(np.abs(ys - 0.2) ** 2)

    y0 = np.array([1.0 + 0.5j, -0.3j])
    found, wanted = (nc.grad(loss, (0, 1))(y0, 1.3, mode) for mode in ("interpolated", "discrete"))
    assert max(map(relative, found, wanted)) < 1e-7


def test_it_goes_through_compiled_functions_and_second_derivatives():
    def loss(y0, mode):
        return np.sum(nc.odeint(lambda t, y: -(y**3), y0, [0.0, 0.5, 1.0], gradient=mode, rtol=1e-9, atol=1e-9) ** 2)

    y0 = np.array([1.0, 0.4])
    compiled = nc.compile(nc.grad(lambda y0: loss(y0, "interpolated")))
    for _ in range(2):
        assert relative(compiled(y0), nc.grad(loss)(y0, "discrete")) < 1e-7
    np.testing.assert_allclose(nc.hessian(loss)(y0, "interpolated"), nc.hessian(loss)(y0, "discrete"), atol=1e-12)


def test_a_user_norm_sees_vectors_of_the_states_length():
    seen = set()

    def norm(x):
        seen.add(len(x))
        return float(np.max(np.abs(x)))

    found, wanted, _ = gradients(np.array([0.0, 1.0]), norm=norm, adjoint_rtol=1e-9)
    assert seen == {3}
    assert max(map(relative, found, wanted)) < 1e-8


def test_the_backward_solve_has_tolerances_of_its_own_and_says_when_it_fails():
    t = np.array([0.0, 1.0, 2.0])
    loose, wanted, few = gradients(t, adjoint_rtol=1e-3, adjoint_atol=1e-3, adjoint_method="tsit5")
    _, _, many = gradients(t)
    assert few.nfev_backward < many.nfev_backward / 3
    assert 1e-8 < max(map(relative, loose, wanted)) < 1e-2

    def loss(y0):
        return np.sum(nc.odeint(lambda t, y: -y, y0, t, gradient="interpolated", max_num_steps=3, first_step=1.0,
                                rtol=1e-2, adjoint_rtol=1e-12))  # fmt: skip

    with pytest.raises(nc.SolverError, match="in the adjoint's backward solve, whose state is a: too many steps"):
        nc.grad(loss)(np.ones(2))


def test_what_it_does_not_have_is_said():
    with pytest.raises(NotImplementedError, match="leapfrog has no interpolated gradient: what it solves beside y"):
        nc.odeint(lambda t, y: -y, np.ones(2), [0.0, 1.0], method="leapfrog", gradient="interpolated")
    with pytest.raises(NotImplementedError, match="implicit_adams has no checkpoints: its steps cannot be taken again"):
        nc.odeint(lambda t, y: -y, np.ones(2), [0.0, 1.0], method="implicit_adams", checkpoints=3)


# --- "auto" ---


def test_auto_is_the_discrete_gradient_with_checkpoints_or_of_adams_methods_the_interpolated_one():
    t = np.linspace(0.0, 4.0, 5)
    for method, mode in (("dopri5", "discrete"), ("leapfrog", "discrete"), ("implicit_adams", "interpolated")):

        def loss(y0, gradient, method=method, **options):
            step = {"step_size": 0.1} if method == "leapfrog" else {}
            ys, stats = nc.odeint(
                lambda t, y: np.stack([y[1], -y[0]]), y0, t, method=method, gradient=gradient, full_output=True,
                **step, **options,
            )  # fmt: skip
            loss.stats = stats
            return np.sum(ys**2)

        y0 = np.array([1.0, 0.5])
        np.testing.assert_array_equal(nc.grad(loss)(y0, "auto"), nc.grad(loss)(y0, mode))
        assert loss.stats.nretaken == 0
        if mode == "interpolated":
            continue
        before = rk.tape_bytes(2000)
        try:
            nc.grad(loss)(y0, "auto")
            assert loss.stats.nretaken > 0
        finally:
            rk.tape_bytes(before)
        nc.grad(loss)(y0, "auto", checkpoints=1)
        assert loss.stats.nretaken > 0


def test_models_and_events_take_auto_too():
    ode = nc.NeuralODE(lambda p, t, y: -p * y, gradient="auto")
    assert abs(nc.grad(lambda p: ode(p, np.array([1.0]), [0.0, 1.0])[-1, 0])(0.7) + np.exp(-0.7)) < 1e-6
    time = nc.grad(
        lambda v: nc.odeint_event(lambda t, y: np.stack([y[1], -9.81 + 0 * t]), np.stack([1.0, v]), 0.0,
                                  event_fn=lambda t, y: y[0], gradient="auto")[0]
    )(0.3)  # fmt: skip
    assert abs(time - (1 + 0.3 / np.sqrt(0.3**2 + 2 * 9.81)) / 9.81) < 1e-6
