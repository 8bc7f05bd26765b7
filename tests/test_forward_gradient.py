"""gradient="forward": the sensitivities beside the state, against the other modes and the closed form."""

import numpy as np
import pytest

import node_core as nc

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
A = np.array([[-0.3, 1.1], [-0.8, 0.2]])
Y0, T = np.array([1.5, -0.4]), np.array([0.0, 0.3, 1.1, 2.0])
G = np.random.default_rng(0).normal(size=(4, 2))


def field(t, y, A):
    return np.tanh(A @ y) + 0.1 * np.sin(t) * y**2


def loss(A, y0, t, **options):
    return np.sum(G * nc.odeint(field, y0, t, args=(A,), **options))


@BACKENDS
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("method", ["dopri5", "DOP853", "rk4", "implicit_adams", "explicit_adams"])
def test_every_input_has_the_gradient_that_a_tighter_discrete_one_has(method, backend, sign):
    options = {"step_size": 0.01} if method == "rk4" else {"rtol": 1e-9, "atol": 1e-9}
    wanted = nc.grad(loss, (0, 1, 2))(A, Y0, sign * T, method="vern9", rtol=1e-13, atol=1e-13)
    found = nc.grad(loss, (0, 1, 2))(A, Y0, sign * T, method=method, gradient="forward", backend=backend, **options)
    for got, exact in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, exact, atol=3e-8)


def test_the_steps_are_those_of_the_solve_and_the_gradient_that_of_the_steps():
    """With S out of the norm it is the derivative of the computed outputs, as the discrete gradient is."""
    options = {"rtol": 1e-5, "atol": 1e-5}
    discrete, forward = (nc.grad(loss, (0, 1))(A, Y0, T, gradient=g, **options) for g in ("discrete", "forward"))
    for got, wanted in zip(forward, discrete, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10)
    counted = []

    def told(A, **more):
        ys, stats = nc.odeint(field, Y0, T, args=(A,), gradient="forward", full_output=True, **options, **more)
        counted.append(stats.naccepted)
        return np.sum(G * ys)

    nc.grad(told)(A)
    nc.grad(lambda A: told(A, sensitivities_in_norm=True))(A)
    plain = nc.odeint(field, Y0, T, args=(A,), full_output=True, **options)[1]
    assert counted[0] == plain.naccepted < counted[1]


def test_a_nested_state_float32_a_compiled_loss_and_array_tolerances():
    def spring(p, **more):
        ys = nc.odeint(lambda t, y, p: {"q": y["v"], "v": -p["k"] * y["q"] - p["c"] * y["v"]},
                       {"q": np.ones(2), "v": np.zeros(2)}, T, args=(p,), **more)  # fmt: skip
        return np.sum(ys["q"] ** 2) + np.sum(ys["v"][-1])

    p = {"k": np.array([1.0, 2.0]), "c": 0.3}
    tight = {"rtol": {"q": np.full(2, 1e-9), "v": 1e-9}, "atol": 1e-10}
    wanted = nc.grad(spring)(p, **tight)
    for options in (tight, {**tight, "sensitivities_in_norm": True}):
        found = nc.grad(spring)(p, gradient="forward", **options)
        for name in p:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)
    compiled = nc.compile(nc.value_and_grad(lambda p: spring(p, gradient="forward")))
    for _ in range(2):
        np.testing.assert_allclose(compiled(p)[1]["k"], wanted["k"], rtol=1e-4)
    single = nc.grad(lambda A: loss(A, Y0.astype(np.float32), T, gradient="forward", backend="callback"))(
        A.astype(np.float32)
    )
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, nc.grad(loss)(A, Y0, T), rtol=1e-3, atol=1e-3)


def test_second_derivatives_go_through_it():
    second = [nc.grad(nc.grad(lambda a, g=g: loss(A * a, Y0, T, gradient=g)))(1.0) for g in ("discrete", "forward")]
    np.testing.assert_allclose(*second, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "leapfrog"}, NotImplementedError, "leapfrog has no forward gradient"),
        ({"on_accept": lambda t, y, h: False}, NotImplementedError, "gradient='forward' has no callbacks"),
        (
            {"adjoint_rtol": 1e-3},
            ValueError,
            "adjoint_rtol goes with gradient='adjoint' or 'interpolated', got 'forward'",
        ),
    ],
)
def test_what_it_does_not_have_is_said(options, error, message):
    with pytest.raises(error, match=message):
        nc.grad(loss)(A, Y0, T, gradient="forward", **options)


def test_another_solve_within_func_is_refused_with_what_to_do():
    def inner(k):
        return nc.odeint(lambda s, z, k: k * z, np.ones(2), [0.0, 1.0], args=(k,))[-1]

    def outer(k, gradient):
        def func(t, y, k):
            return -y * inner(k)

        return np.sum(nc.odeint(func, Y0, [0.0, 1.0], args=(k,), gradient=gradient)[-1])

    with pytest.raises(NotImplementedError, match="gradient='forward' needs forward rules all through func"):
        nc.grad(outer)(0.3, "forward")
    with pytest.warns(RuntimeWarning, match="odeint has no compiled form"):
        assert np.isfinite(nc.grad(outer)(0.3, "adjoint"))


def test_complex_states_and_the_option_of_another_mode():
    with pytest.raises(NotImplementedError, match="for real states and parameters"):
        nc.grad(lambda k: np.sum(np.abs(nc.odeint(lambda t, y, k: 1j * k * y, np.array([1j]), T, args=(k,),
                                                  gradient="forward"))))(1.0)  # fmt: skip
    with pytest.raises(ValueError, match="sensitivities_in_norm goes with gradient='forward', got 'discrete'"):
        nc.odeint(field, Y0, T, args=(A,), sensitivities_in_norm=True)
