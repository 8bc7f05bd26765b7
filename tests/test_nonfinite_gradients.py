"""A gradient that comes out NaN says where that began; inputs that cannot be differentiated by are named."""

import gc

import numpy as np
import pytest

import node_core as nc

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
T = [0.0, 0.5, 1.0]


def lost(fun, *args, argnums=0):
    with pytest.raises(nc.SolverError) as caught, np.errstate(all="ignore"):
        nc.grad(fun, argnums)(*args)
    assert caught.value.reason == "non-finite"
    return caught.value


@BACKENDS
@pytest.mark.parametrize("checkpoints", [None, 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_discrete_gradient_names_the_state_the_parameter_or_the_time(backend, checkpoints, dtype):
    options = {"backend": backend, "checkpoints": checkpoints}

    def of_state(y0):
        return np.sum(nc.odeint(lambda t, y: -np.sqrt(y) * np.sqrt(y), y0, T, **options))

    error = lost(of_state, np.array([1.0, 0.0], dtype))
    assert "on the way back, at t = 1, the gradient by component 1 of y is no longer finite" in str(error)
    assert error.t == 1.0

    def of_parameter(p):
        def field(t, y, n, p):
            return -y * np.sum(np.sqrt(p["a"]))

        return np.sum(nc.odeint(field, np.ones(2, dtype), T, args=(3, p), **options))

    p = {"a": np.array([[1.0, 4.0], [0.0, 2.0]], dtype), "z": dtype(2.0)}
    assert "the gradient by args[1]['a'][1, 0] is no longer finite" in str(lost(of_parameter, p))

    def closed_over(p):
        return np.sum(nc.odeint(lambda t, y: -y * np.sqrt(p * (1.0 + t)), np.ones(2, dtype), T, **options))

    assert "the gradient by a value that func closes over is no longer" in str(lost(closed_over, dtype(0.0)))


def test_a_failed_gradient_in_a_cycle_is_collected():
    """Its traceback holds the solve, and the solve's own frame holds that."""
    keep = []

    def loss(y0):
        keep.append(loss)
        return np.sum(nc.odeint(lambda t, y: -np.sqrt(y) * np.sqrt(y), y0, T))

    for _ in range(5):
        error = lost(loss, np.zeros(1))
        error.itself = error
        keep.append(error)
    del error
    keep.clear()
    assert gc.collect() > 0


@BACKENDS
def test_the_first_place_on_the_way_back_is_the_one_that_is_named(backend):
    """|t - 0.5| has no slope where its root is taken: at the start of the second of two steps."""

    def loss(y0):
        def field(t, y):
            return np.sqrt(np.abs(y - 1.0) + 0.0 * t)

        return nc.odeint(field, y0, [0.0, 1.0, 2.0], method="euler", backend=backend)[-1]

    # y(0) = 1 stays there: both steps have the bad slope; the way back meets the second first
    assert lost(loss, np.array(1.0)).t == 1.0

    def by_time(t):
        return np.sum(nc.odeint(lambda t, y: -y * np.sqrt(t), np.ones(2), t, backend=backend, first_step=0.1))

    error = lost(by_time, np.array([0.0, 1.0]))
    assert "at t = 0, the gradient by t is no longer finite" in str(error)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated"])
@BACKENDS
def test_a_loss_that_is_not_finite_is_told_from_func(gradient, backend):
    error = lost(lambda y0: np.sqrt(np.sum(nc.odeint(lambda t, y: -y, y0, T, gradient=gradient, backend=backend))),
                 np.zeros(2))  # fmt: skip
    assert "the gradient of the loss by component 0 of y(t[0])" in str(error)


@pytest.mark.parametrize("gradient", ["adjoint", "interpolated"])
def test_parameters_of_the_adjoint_that_are_in_no_norm_are_looked_at(gradient):
    def loss(p):
        return np.sum(nc.odeint(lambda t, y, p: -y * np.sqrt(p), np.ones(2), T, args=(p,), gradient=gradient))

    assert "non-finite: the gradient by args[0][1] is not finite; look at" in str(lost(loss, np.array([1.0, 0.0])))
    error = lost(lambda p: np.sum(nc.odeint(lambda t, y, p: -y * np.sqrt(p), np.ones(1), T, args=(p,),
                                            gradient="forward")), np.zeros(1))  # fmt: skip
    assert "in the solve of gradient='forward', whose state is y and then its sensitivities" in str(error)


@pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated", "forward"])
@BACKENDS
def test_a_loss_whose_gradient_func_never_sees_is_looked_at_too(gradient, backend):
    """dy/dt = 1 makes nothing of an infinite cotangent."""

    def loss(y0):
        ys = nc.odeint(lambda t, y: np.ones_like(y), y0, [0.0, 1.0], gradient=gradient, backend=backend)
        return np.sqrt(np.sum(ys[-1] - 2.0))

    error = lost(loss, np.array([1.0]))
    assert "the gradient of the loss by component 0 of y(t[1])" in str(error)


# --- what cannot be differentiated by ---


def test_integers_and_bools_are_named_with_their_place():
    def loss(p):
        return p["a"] * 2.0

    with pytest.raises(
        TypeError, match=r"grad: argument 0 holds no floating number .*, but \['a'\] is an int64 array;"
    ):
        nc.grad(loss)({"a": np.arange(3)})
    with pytest.raises(
        TypeError, match=r"\['a'\] is a bool, \['b'\] is an int, \['c'\] is a str, \.\.\.; pass a float"
    ):
        nc.grad(loss)({"a": True, "b": 1, "c": "x", "d": 2})
    with pytest.raises(TypeError, match=r"argument 0 holds no floating number to differentiate by, but nothing;"):
        nc.grad(loss)({})
    with pytest.raises(
        TypeError, match=r"jvp: primals\[0\]\['a'\] is an int, which does not move: its tangent must be"
    ):
        nc.jvp(loss, ({"a": 3},), ({"a": 1},))
    assert nc.jvp(lambda p: p["a"] * p["b"], ({"a": 3, "b": 1.0},), ({"a": None, "b": 2.0},)) == (3.0, 6.0)


def test_what_the_output_does_not_depend_on_has_zeros_of_its_shape():
    p = {"w": np.ones((2, 3)), "n": 4}
    for gradient in ("discrete", "adjoint", "interpolated", "forward"):
        found = nc.grad(lambda p, g=gradient: np.sum(nc.odeint(lambda t, y, p: -y, np.ones(2), T, args=(p,),
                                                               gradient=g)))(p)  # fmt: skip
        np.testing.assert_array_equal(found["w"], np.zeros((2, 3)))
        assert found["n"] is None


# --- rules of one's own ---


@nc.custom_vjp
def doubled(x):
    """tanh, with twice its derivative: whether the rule is used can be seen."""
    return np.tanh(x)


doubled.defvjp(lambda x: (np.tanh(x), np.tanh(x)), lambda y, g: (2.0 * g * (1.0 - y * y),))


@pytest.mark.parametrize("gradient", ["discrete", "adjoint", "interpolated"])
def test_a_custom_rule_in_plain_numpy_is_part_of_the_program(gradient):
    calls = []

    def field(t, y, p):
        calls.append(t)
        return doubled(p * y) - y

    def loss(y0, p, backend):
        return np.sum(nc.odeint(field, y0, T, args=(p,), gradient=gradient, backend=backend, rtol=1e-9, atol=1e-9))

    y0 = np.array([1.0, 2.0])
    found = nc.grad(loss, (0, 1))(y0, 0.7, "compiled")
    assert len(calls) < 8  # traced, and compared with the trace
    wanted = nc.grad(loss, (0, 1))(y0, 0.7, "python")
    assert len(calls) > 40
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9)
    plain = nc.grad(
        lambda p: np.sum(nc.odeint(lambda t, y: np.tanh(p * y) - y, y0, T, gradient=gradient, rtol=1e-9, atol=1e-9))
    )(0.7)
    assert abs(found[1] - plain) > 0.1


def test_a_custom_rule_that_leaves_numpy_is_called_back_with_a_warning():
    import math

    @nc.custom_vjp
    def own(x):
        return np.array([math.tanh(v) for v in x])

    own.defvjp(lambda x: (own(x), own(x)), lambda y, g: (g * (1.0 - y * y),))

    def loss(y0, f):
        return np.sum(nc.odeint(lambda t, y: f(y) - y, y0, T))

    with pytest.warns(RuntimeWarning, match="func is called back .* custom_vjp own has no compiled form"):
        found = nc.grad(loss)(np.array([1.0, 2.0]), own)
    np.testing.assert_allclose(found, nc.grad(loss)(np.array([1.0, 2.0]), np.tanh), rtol=1e-12)
