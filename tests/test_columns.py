"""All columns of a Jacobian at once against one jvp a column, for every rule; nested, compiled, in both precisions."""

import numpy as np
import pytest

import node_core as nc
from node_core.autodiff import columns
from node_core.nn import conv2d

RNG = np.random.default_rng(11)
A, B, C = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 3)) + 3 * np.eye(3), RNG.standard_normal((2, 4, 3))
K = RNG.standard_normal((2, 2, 3, 3))
X, M = RNG.standard_normal(3), RNG.standard_normal((2, 3))

OF_VECTOR = {
    "elementwise": lambda x: np.tanh(x) * np.exp(-x) / (1 + x**2) - np.sin(3 * x),
    "a vector by a matrix of more axes": lambda x: x * C + C / (2 + np.cos(x)),
    "a number": lambda x: x[0] * A + x[1] ** 2,
    "where": lambda x: np.where(x > 0, x * x, -x),
    "row by matrix": lambda x: x @ B,
    "matrix by column": lambda x: A @ x,
    "stack by column": lambda x: C @ x,
    "row by stack": lambda x: np.sin(x) @ np.stack([B, 2 * B]),
    "dot": lambda x: np.reshape((x @ X) * x, (3, 1)),
    "outer and back": lambda x: np.outer(x, x) @ B @ x,
    "einsum": lambda x: np.einsum("i,jk,k->ij", x, A, np.sin(x)),
    "sum over one axis": lambda x: np.sum(x * C, axis=1),
    "sum over all": lambda x: np.sum(x * C) * x,
    "mean and max": lambda x: np.mean(x * A, axis=0) + np.max(x * A, axis=0) * np.min(x),
    "cumsum": lambda x: np.cumsum(x * A, axis=0),
    "moves": lambda x: np.transpose(np.reshape(x * C, (2, 3, 4)), (2, 0, 1)),
    "swapaxes, flip, roll": lambda x: np.swapaxes(np.flip(x * A, 0), 0, 1) + np.roll(x, 1)[:, None],
    "slices": lambda x: (x * A)[1:3, ::2],
    "index array": lambda x: x[np.array([0, 2, 2, 1])] * x[1],
    "index arrays and a slice": lambda x: (x * C)[:, np.array([0, 2]), np.array([1, 1])],
    "concatenate": lambda x: np.concatenate([x, X, x[:2] ** 2]),
    "stack": lambda x: np.stack([x[1], x[0] * x[2], np.float64(2.0)]),
    "array of numbers": lambda x: np.array([x[1], -x[0], x[0] * x[1]]),
    "broadcast_to": lambda x: np.broadcast_to(x * x, (4, 3)),
    "sort": lambda x: np.sort(x * X),
    "solve": lambda x: np.linalg.solve(B, x * x),
    "solve for a matrix": lambda x: np.linalg.solve(B, np.outer(x, x)),
    "solve with a matrix": lambda x: np.linalg.solve(B + np.outer(x, x), x),
    "inv and det": lambda x: np.linalg.inv(B * x) * np.linalg.det(B + x),
    "gradient": nc.grad(lambda x: np.sum(np.tanh(A @ x) ** 2) + np.prod(x)),
    "scatter": nc.grad(lambda x: np.sum(x[np.array([0, 0, 2])] ** 3)),
    "conv2d": lambda x: conv2d(x * K, np.sin(x) * K, stride=2, padding=1),
    "conv2d's way back": nc.grad(lambda x: np.sum(conv2d(x * K, np.sin(x) * K, padding=1) ** 3)),
    "Jacobian": nc.jacobian(lambda x: np.tanh(A @ x) * np.sum(x)),
}  # fmt: skip
WITHOUT_RULE = {
    "an index array on either side of a slice": lambda x: (x * C)[np.array([0, 1]), :, np.array([1, 1])],
}


def blocks(fun, x, at_once):
    """(x.size, *out.shape) by either way."""
    how = columns.at_once if at_once else columns.one_by_one
    return how(fun, (x,), [np.eye(x.size, dtype=x.dtype)])[1]


@pytest.mark.parametrize("fun", OF_VECTOR.values(), ids=OF_VECTOR.keys())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_at_once_and_one_by_one(fun, dtype):
    x = X.astype(dtype)
    got, wanted = blocks(fun, x, at_once=True), blocks(fun, x, at_once=False)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    rtol = 1e-13 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("fun", WITHOUT_RULE.values(), ids=WITHOUT_RULE.keys())
def test_without_a_rule_the_columns_come_one_by_one(fun):
    with pytest.raises(columns.NoColumnRuleError):
        blocks(fun, X, at_once=True)
    np.testing.assert_allclose(np.moveaxis(nc.jacobian(fun)(X), -1, 0), blocks(fun, X, at_once=False), rtol=1e-13)


@pytest.mark.parametrize("x", [np.zeros(0), np.ones(1), np.float64(0.3), M])
def test_sizes_and_shapes(x):
    def fun(x):
        return np.stack([np.sin(x), x * x, x + 1])

    jacobian = nc.jacobian(fun)(x)
    assert jacobian.shape == (3, *np.shape(x), *np.shape(x))
    n = np.size(x)
    wanted = np.concatenate([np.diag(np.ravel(d)) for d in (np.cos(x), 2 * x, np.ones_like(x))]) if n else 0
    np.testing.assert_allclose(jacobian.reshape(3 * n, n), wanted, rtol=1e-15)


@pytest.mark.parametrize("n", [63, 64, 65, 200])
def test_many_columns_come_in_blocks(n):
    x = np.linspace(-1, 1, n)
    W = np.random.default_rng(n).standard_normal((n, 3))
    wanted = np.concatenate([np.diag(np.cos(x)), (W * x[:, None] * 2).T])
    fun = lambda x: np.concatenate([np.sin(x), x**2 @ W])  # noqa: E731
    np.testing.assert_allclose(nc.jacobian(fun)(x), wanted, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(nc.compile(nc.jacobian(fun))(x), wanted, rtol=1e-13, atol=1e-15)


def test_complex_functions_of_real_and_complex_arguments():
    def fun(z):
        return np.exp(1j * z) @ (B + 1j) + np.real(z)

    for z in (X, X + 0.5j):
        np.testing.assert_allclose(blocks(fun, z, at_once=True), blocks(fun, z, at_once=False), rtol=1e-13)


def test_several_arguments_and_leaves():
    def fun(p, x):
        return {"y": np.tanh(x @ p["W"] + p["b"]), "s": np.sum(x) * p["b"]}

    p, x = {"W": B, "b": X, "k": 2}, M
    found = nc.jacobian(fun, argnums=(0, 1))(p, x)
    assert found["y"][0]["k"] is None
    y = np.tanh(x @ B + X)
    np.testing.assert_allclose(found["y"][0]["b"], (1 - y**2)[:, :, None] * np.eye(3), rtol=1e-13)
    np.testing.assert_allclose(found["s"][1], np.broadcast_to(X[:, None, None], (3, 2, 3)), rtol=1e-13)


def test_the_hessian_of_a_net_against_central_differences():
    def loss(x):
        return np.sum(np.tanh(np.tanh(A @ x) @ A) ** 2)

    eps, rows = 1e-5, np.eye(3)
    wanted = [(nc.grad(loss)(X + eps * e) - nc.grad(loss)(X - eps * e)) / (2 * eps) for e in rows]
    np.testing.assert_allclose(nc.hessian(loss)(X), wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.filterwarnings("error")
def test_a_compiled_jacobian_is_one_program_of_matrix_products():
    def field(y):
        return np.tanh(y @ np.tile(B, (1, 4))) @ np.tile(B.T, (4, 1))

    compiled = nc.compile(nc.jacobian(field))
    np.testing.assert_allclose(compiled(X), nc.jacobian(field)(X), rtol=1e-12)
    many = nc.compile(nc.jacobian(lambda y: np.tanh(y * y) - y))
    y = np.linspace(-1, 1, 60)
    np.testing.assert_allclose(many(y), np.diag((1 - np.tanh(y * y) ** 2) * 2 * y - 1), rtol=1e-13, atol=1e-15)
    assert len(many.listing(y).splitlines()) < 20


def test_a_column_is_refused_after_its_jacobian():
    kept = []
    rule = columns.jvp

    def spying(*args):
        out, tangent = rule(*args)
        kept.append(tangent)
        return out, tangent

    columns.jvp = spying
    try:
        nc.jacobian(lambda x: x * x)(X)
    finally:
        columns.jvp = rule
    with pytest.raises(TypeError, match="after its function had returned"):
        kept[0] + 1


@pytest.mark.parametrize("how", [columns.at_once, columns.one_by_one])
def test_no_tangents_give_no_columns(how):
    out, found = how(lambda x: {"y": np.outer(x, x), "z": x}, (X,), [np.zeros((0, 3))])
    np.testing.assert_array_equal(out["y"], np.outer(X, X))
    assert (found["y"].shape, found["z"].shape) == ((0, 3, 3), (0, 3))


def test_tangents_of_different_counts_are_refused():
    for tangents in ([None, None], [np.ones((2, 3)), np.ones((3, 3))]):
        with pytest.raises(ValueError, match="as many for every leaf that moves"):
            columns.jvp_many(lambda x, y: x * y, (X, X), tangents)
