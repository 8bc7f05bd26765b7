"""Conventions: complex gradients, ties, derivatives at singular points, what is constant, precision."""

import numpy as np
import pytest

import node_core as nc


def central_difference(fun, x, eps=1e-6):
    """The gradient of a real function by central differences, one real direction at a time."""
    x = np.asarray(x)
    gradient = np.zeros(x.shape, x.dtype)
    for index in np.ndindex(x.shape):
        for unit in (1, 1j) if x.dtype.kind == "c" else (1,):
            step = np.zeros(x.shape, x.dtype)
            step[index] = eps * unit
            gradient[index] += unit * (fun(x + step) - fun(x - step)) / (2 * eps)
    return gradient


@pytest.mark.parametrize(
    "fun",
    [
        lambda z: np.real(np.sum(z**3)),
        lambda z: np.imag(np.prod(z)),
        lambda z: np.sum(np.abs(z) * np.angle(z)),
        lambda z: np.linalg.norm(np.exp(z) * np.conj(z[::-1])),
    ],
    ids=["holomorphic", "imag", "polar", "conj"],
)
def test_complex_gradient_is_dx_plus_i_dy(fun):
    z = np.array([0.6 + 0.2j, -0.3 + 0.9j, 1.1 - 0.5j])
    np.testing.assert_allclose(nc.grad(fun)(z), central_difference(fun, z), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 2)), ((3,), (4, 3, 2))])
def test_matmul_of_real_and_complex_gives_each_gradient_its_own_dtype(shapes):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape) for shape in shapes)
    z = y + 1j * rng.standard_normal(y.shape)

    def f(x, z):
        return np.real(np.sum((x @ z) ** 2))

    for args in ((x, z), (x + 1j * x[::-1], y)):
        for i, got in enumerate(nc.grad(f, (0, 1))(*args)):
            assert got.dtype == args[i].dtype
            wanted = central_difference(lambda v, i=i, args=args: f(*args[:i], v, *args[i + 1 :]), args[i])
            np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-8)
    single = nc.grad(lambda x, y: np.sum(x @ y), (0, 1))(x.astype(np.float32), y)
    assert [g.dtype for g in single] == [np.float32, np.float64]


def test_ties_share_equally():
    np.testing.assert_array_equal(nc.grad(np.max)(np.array([1.0, 3.0, 3.0])), [0.0, 0.5, 0.5])
    np.testing.assert_array_equal(nc.grad(np.min)(np.ones(4)), [0.25] * 4)
    for function in (np.maximum, np.minimum, np.fmax, np.fmin):
        assert nc.grad(function, (0, 1))(2.0, 2.0) == (0.5, 0.5)
        assert nc.jvp(function, (2.0, 2.0), (1.0, 3.0))[1] == 2.0


def test_derivative_of_abs_at_zero_is_zero():
    assert nc.grad(np.abs)(0.0) == 0.0
    assert nc.grad(abs)(0.0) == 0.0
    assert nc.grad(np.abs)(0j) == 0j


@pytest.mark.parametrize("ord", [None, 1, 2, 3, np.inf])
def test_derivative_of_norm_at_zero_is_zero(ord):
    np.testing.assert_array_equal(nc.grad(lambda x: np.linalg.norm(x, ord))(np.zeros(3)), np.zeros(3))
    assert nc.grad(np.hypot, (0, 1))(0.0, 0.0) == (0.0, 0.0)


def test_logaddexp_at_minus_infinity():
    assert nc.grad(np.logaddexp, (0, 1))(-np.inf, -np.inf) == (0.5, 0.5)
    assert nc.grad(np.logaddexp, (0, 1))(-np.inf, 1.0) == (0.0, 1.0)
    assert nc.grad(nc.grad(lambda x: np.logaddexp(x, -np.inf)))(1.0) == 0.0


def test_powers_at_zero():
    assert nc.grad(lambda x, p: x**p, (0, 1))(0.0, 2.0) == (0.0, 0.0)
    exponents = np.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(x**exponents))(np.zeros(4)), [0, 1, 0, 0])
    np.testing.assert_array_equal(nc.hessian(lambda x: np.sum(x**exponents))(np.zeros(4)), np.diag([0, 0, 2, 0]))
    assert [nc.grad(lambda x, n=n: x**n)(0.0) for n in range(4)] == [0.0, 1.0, 0.0, 0.0]


def test_sinc_is_smooth_at_zero():
    assert nc.grad(np.sinc)(0.0) == 0.0
    assert nc.grad(nc.grad(np.sinc))(0.0) == pytest.approx(-(np.pi**2) / 3, rel=1e-14)


def test_product_with_zero_factors():
    np.testing.assert_array_equal(nc.grad(np.prod)(np.array([2.0, 0.0, 3.0])), [0, 6, 0])
    np.testing.assert_array_equal(nc.grad(np.prod)(np.array([0.0, 0.0, 3.0])), [0, 0, 0])
    np.testing.assert_array_equal(nc.hessian(np.prod)(np.array([0.0, 0.0, 3.0])), [[0, 3, 0], [3, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize(("n", "rank"), [(1, 0), (2, 1), (3, 2), (3, 1), (4, 3), (4, 2), (4, 0), (3, 3)])
def test_derivative_of_det_is_the_cofactors_also_at_a_singular_matrix(n, rank, dtype):
    rng = np.random.default_rng(n + 10 * rank)
    left, right = (np.asarray(rng.standard_normal((n, rank, 2)) @ [1.0, 1j if dtype is complex else 0.0], dtype)
                   for _ in range(2))  # fmt: skip
    A = left @ right.T

    def f(A):
        return np.real(np.linalg.det(A) * (2.0 - 1j) if dtype is complex else np.linalg.det(A))

    gradient = nc.grad(f)(A)
    assert gradient.dtype == A.dtype
    np.testing.assert_allclose(gradient, central_difference(f, A), rtol=1e-6, atol=1e-7)
    t = np.asarray(rng.standard_normal((n, n)), dtype)
    slope = nc.jvp(np.linalg.det, (A,), (t,))[1]
    np.testing.assert_allclose(
        slope, (np.linalg.det(A + 1e-6 * t) - np.linalg.det(A - 1e-6 * t)) / 2e-6, rtol=1e-6, atol=1e-7
    )
    if rank <= n - 2:
        np.testing.assert_allclose(gradient, np.zeros((n, n)), atol=1e-13)


def test_derivative_of_det_in_a_graph_and_in_a_stack_holds_at_a_singular_matrix():
    A = np.array([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 3.0]]])
    graph = nc.trace(nc.grad(lambda A: np.sum(np.linalg.det(A))), np.stack([np.eye(2)] * 2))
    wanted = [[[4.0, -2.0], [-2.0, 1.0]], [[3.0, 0.0], [0.0, 1.0]]]
    np.testing.assert_allclose(graph(A), wanted, atol=1e-14)
    np.testing.assert_allclose(nc.grad(lambda A: np.sum(np.linalg.det(A)))(A), wanted, atol=1e-14)
    single = nc.grad(np.linalg.det)(A[0].astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted[0], atol=1e-5)


def test_output_that_does_not_depend_on_the_input_has_zero_derivative():
    assert nc.grad(lambda x: 3.0)(1.0) == 0.0
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(np.ones(2)))(np.ones(3)), np.zeros(3))
    value, tangent = nc.jvp(lambda x: np.full(2, 3.0), (1.0,), (1.0,))
    np.testing.assert_array_equal(value, [3.0, 3.0])
    np.testing.assert_array_equal(tangent, np.zeros(2))
    np.testing.assert_array_equal(nc.jacobian(lambda x: np.ones(3))(np.ones(2)), np.zeros((3, 2)))


@pytest.mark.parametrize(
    "fun",
    [
        np.argmax, np.argsort, np.floor, np.round, np.isfinite, np.zeros_like, np.ones_like, np.shape, np.ndim, np.size,
        np.any, np.sign, lambda y: y > 1, lambda y: y == y, lambda y: y.shape, lambda y: len(y), lambda y: y // 1,
        lambda y: y.astype(int), lambda y: y.dtype,
    ],
)  # fmt: skip
def test_function_without_derivative_gives_a_plain_value(fun):
    y, seen = np.array([1.5, -0.5, 2.0]), []

    def f(y):
        seen.append(fun(y))
        return np.sum(y)

    np.testing.assert_array_equal(nc.grad(f)(y), np.ones(3))
    nc.jvp(f, (y,), (y,))
    for value in seen:
        assert isinstance(value, (np.ndarray, np.generic, int, tuple, np.dtype))
        np.testing.assert_array_equal(value, fun(y))


def test_a_branch_on_values_works_in_eager_mode():
    def f(y):
        return y[0] ** 2 if y[0] > 0 else -y[0]

    np.testing.assert_array_equal(nc.grad(f)(np.array([3.0, 1.0])), [6.0, 0.0])
    np.testing.assert_array_equal(nc.grad(f)(np.array([-3.0, 1.0])), [-1.0, 0.0])
    assert nc.jvp(f, (np.array([3.0, 1.0]),), (np.ones(2),))[1] == 6.0
    assert nc.hessian(f)(np.array([3.0, 1.0]))[0, 0] == 2.0


# --- precision ---


def test_float32_stays_float32_and_a_python_float_stays_weak():
    y = np.array([1.0, 2.0], np.float32)

    def f(t, y):
        return t**2 * y + 2 * t * np.tanh(y) - 1.0 / t

    out, pullback = nc.vjp(f, 2.0, y)
    t_bar, y_bar = pullback(np.ones_like(y))
    assert out.dtype == y_bar.dtype == np.float32
    assert t_bar == pytest.approx(np.sum(4 * y + 2 * np.tanh(y) + 0.25), rel=1e-6)
    value, tangent = nc.jvp(f, (2.0, y), (1.0, y))
    assert value.dtype == tangent.dtype == np.float32
    assert nc.jacobian(f, 1)(2.0, y).dtype == np.float32
    assert nc.hessian(lambda y: np.sum(f(2.0, y)))(y).dtype == np.float32


def test_tangent_of_a_python_float_is_weak_too():
    tangent = nc.jvp(lambda t: t * t + 1.0, (2.0,), (1.0,))[1]
    assert tangent == 4.0
    assert (np.float32(1.0) * tangent).dtype == np.float32
