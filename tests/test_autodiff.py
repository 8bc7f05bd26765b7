"""The transforms: grad, vjp, jvp, jacobian, hessian, their nesting, and trees."""

import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import node_core as nc

Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass(frozen=True)
class Setting:
    rate: float
    weights: np.ndarray
    name: str = "linear"


# --- grad, value_and_grad ---


def test_value_and_grad_gives_both():
    value, gradient = nc.value_and_grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    assert value == 9.0
    np.testing.assert_array_equal(gradient, [3.0, 12.0])


def test_argnums_tuple_gives_a_tuple_and_counts_from_the_end_too():
    def f(x, y, z):
        return x * y**2 * z

    assert nc.grad(f, argnums=(0, 2))(2.0, 3.0, 5.0) == (45.0, 18.0)
    assert nc.grad(f, argnums=-2)(2.0, 3.0, 5.0) == 60.0


def test_has_aux_returns_aux_as_plain_values():
    def f(x):
        y = np.sin(x)
        return np.sum(y), {"y": y, "n": 3}

    x = np.array([0.5, 1.0])
    (value, aux), gradient = nc.value_and_grad(f, has_aux=True)(x)
    assert value == np.sum(np.sin(x))
    assert type(aux["y"]) is np.ndarray
    np.testing.assert_array_equal(aux["y"], np.sin(x))
    assert aux["n"] == 3
    np.testing.assert_array_equal(gradient, np.cos(x))


def test_keyword_arguments_are_constants():
    assert nc.grad(lambda x, *, k: k * x)(1.0, k=4.0) == 4.0


def test_grad_of_an_array_function_names_the_shape_and_jacobian():
    with pytest.raises(TypeError, match=r"must return one number, got shape \(2,\); sum it, or use nc.jacobian"):
        nc.grad(lambda x: x)(np.ones(2))


def test_grad_of_a_complex_or_integer_value_is_an_error():
    with pytest.raises(TypeError, match="must return a real floating number, got complex128"):
        nc.grad(lambda x: x * 1j)(1.0)
    with pytest.raises(TypeError, match="must return a real floating number, got int64"):
        nc.grad(lambda x: np.argmax(x))(np.ones(2))


def test_grad_by_an_integer_asks_for_a_float():
    with pytest.raises(TypeError, match=r"argument 0 holds no floating number .* but an int; pass a float"):
        nc.grad(lambda x: x * 1.0)(1)


def test_grad_by_an_argument_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="argnums=1 but the function was called with 1 arguments"):
        nc.grad(lambda x: x, argnums=1)(1.0)


@pytest.mark.parametrize("transform", [nc.grad, nc.value_and_grad, nc.jacobian, nc.hessian])
def test_argnums_that_are_no_int_and_no_tuple_of_ints_are_refused_with_what_to_write(transform):
    with pytest.raises(
        TypeError, match=r"argnums must be an int or a tuple of ints, got \[0, 1\]; write argnums=\(0, 1\)"
    ):
        transform(lambda x, y: x * y, [0, 1])(1.0, 2.0)
    for argnums in ("0", 0.0, None, True, (0, "1")):
        with pytest.raises(TypeError, match="argnums must be an int or a tuple of ints, got "):
            transform(lambda x, y: x * y, argnums)(1.0, 2.0)


def test_pullback_refuses_a_cotangent_of_another_shape_and_may_be_called_twice():
    out, pullback = nc.vjp(lambda x: x**2, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(out, [1.0, 4.0])
    for _ in range(2):
        np.testing.assert_array_equal(pullback(np.array([1.0, 10.0]))[0], [2.0, 40.0])
    with pytest.raises(ValueError, match=r"cotangent must be shaped like the output, \(2,\), got \(3,\)"):
        pullback(np.ones(3))


def test_jvp_refuses_what_is_not_a_tuple_or_not_shaped_like_its_primal():
    with pytest.raises(TypeError, match=r"write jvp\(fun, \(x,\), \(v,\)\)"):
        nc.jvp(np.sin, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"tangent must be shaped like its primal, \(2,\), got \(\)"):
        nc.jvp(np.sin, (np.ones(2),), (1.0,))


# --- nesting ---


def test_inner_and_outer_derivative_are_not_confused():
    assert nc.grad(lambda x: x * nc.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert nc.jvp(lambda x: x * nc.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,)) == (1.0, 1.0)


def test_second_and_third_derivatives():
    d2 = nc.grad(nc.grad(np.sin))
    d3 = nc.grad(d2)
    assert d2(0.7) == pytest.approx(-np.sin(0.7), rel=1e-15)
    assert d3(0.7) == pytest.approx(-np.cos(0.7), rel=1e-15)
    assert nc.grad(nc.grad(nc.grad(lambda x: x**4)))(2.0) == 48.0


def test_jvp_of_grad_and_grad_of_jvp_give_the_hessian_vector_product():
    def f(x):
        return np.sum(np.exp(x) * x[::-1] ** 2)

    x, v = np.array([0.1, -0.4, 0.3]), np.array([1.0, 2.0, -1.0])
    wanted = nc.hessian(f)(x) @ v
    np.testing.assert_allclose(nc.jvp(nc.grad(f), (x,), (v,))[1], wanted, rtol=1e-13)
    np.testing.assert_allclose(nc.grad(lambda x: nc.jvp(f, (x,), (v,))[1])(x), wanted, rtol=1e-13)


def test_graph_of_100_000_nodes_does_not_recurse():
    def f(x):
        for _ in range(100_000):
            x = x + 1e-5
        return x

    assert nc.grad(f)(1.0) == 1.0
    assert nc.jvp(f, (1.0,), (2.0,))[1] == 2.0


# --- jacobian, hessian ---


@pytest.mark.parametrize("W", [np.arange(8.0).reshape(4, 2), np.arange(8.0).reshape(2, 4)], ids=["columns", "rows"])
def test_jacobian_of_a_linear_map_is_its_matrix(W):
    np.testing.assert_array_equal(nc.jacobian(lambda x: W @ x)(np.ones(W.shape[1])), W)


def test_jacobian_shape_is_output_shape_then_argument_shape():
    x = np.arange(6.0).reshape(2, 3) / 7
    jac = nc.jacobian(lambda x: np.sin(x).T)(x)
    assert jac.shape == (3, 2, 2, 3)
    for i, j in np.ndindex(2, 3):
        wanted = np.zeros((3, 2))
        wanted[j, i] = np.cos(x[i, j])
        np.testing.assert_allclose(jac[:, :, i, j], wanted, rtol=1e-15)


@pytest.mark.parametrize("n", [1, 4])  # one pass by columns, one by rows
def test_jacobian_of_trees_is_nested_like_output_and_inside_like_argument(n):
    def f(p):
        return {"s": np.sum(p["x"]) * p["y"], "v": (p["x"] ** 2,)}

    p = {"x": np.arange(1.0, n + 1), "y": 3.0, "name": "constant"}
    jac = nc.jacobian(f)(p)
    np.testing.assert_allclose(jac["s"]["x"], np.full(n, 3.0))
    np.testing.assert_allclose(jac["s"]["y"], np.sum(p["x"]))
    np.testing.assert_allclose(jac["v"][0]["x"], np.diag(2 * p["x"]))
    np.testing.assert_array_equal(jac["v"][0]["y"], np.zeros(n))
    assert jac["s"]["name"] is None
    assert jac["v"][0]["name"] is None


def test_jacobian_with_argnums_tuple_has_one_block_an_argument():
    by_x, by_y = nc.jacobian(lambda x, y: x * y, argnums=(0, 1))(np.array([1.0, 2.0]), 3.0)
    np.testing.assert_array_equal(by_x, 3 * np.eye(2))
    np.testing.assert_array_equal(by_y, [1.0, 2.0])


def test_jacobian_between_real_and_complex():
    z = np.array([1 + 2j, 3 - 1j])
    np.testing.assert_allclose(nc.jacobian(lambda z: np.abs(z) ** 2)(z), np.diag(2 * z))  # dL/dx + i dL/dy
    np.testing.assert_array_equal(nc.jacobian(lambda x: 1j * x)(np.ones(2)), 1j * np.eye(2))
    np.testing.assert_allclose(nc.jacobian(lambda z: z**3)(z), np.diag(3 * z**2))  # holomorphic: f'(z)


def test_jacobian_of_an_empty_argument_is_empty():
    assert nc.jacobian(lambda x: np.concatenate([x, np.ones(2)]))(np.zeros(0)).shape == (2, 0)


def test_hessian_is_symmetric_and_equals_the_closed_form():
    A = np.array([[2.0, 1.0], [0.0, 3.0]])
    np.testing.assert_allclose(nc.hessian(lambda x: x @ A @ x)(np.array([1.0, -1.0])), A + A.T)


def test_hessian_of_a_tree_has_a_block_for_every_pair_and_none_at_constants():
    hess = nc.hessian(lambda p: p["a"] ** 2 * np.sum(p["b"]))({"a": 3.0, "b": np.ones(2), "n": 7})
    assert hess["a"]["a"] == 4.0
    np.testing.assert_array_equal(hess["a"]["b"], [6.0, 6.0])
    np.testing.assert_array_equal(hess["b"]["a"], [6.0, 6.0])
    np.testing.assert_array_equal(hess["b"]["b"], np.zeros((2, 2)))
    assert hess["n"] == {"a": None, "b": None, "n": None}


# --- trees ---


def test_gradient_is_nested_like_the_argument():
    def f(p):
        return p["w"][0] * p["w"][1].a + p["w"][1].b * p["s"].rate * np.sum(p["s"].weights)

    p = {"w": [2.0, Pair(3.0, 5.0)], "s": Setting(7.0, np.ones(2)), "t": (1, None, "name", np.arange(2))}
    gradient = nc.grad(f)(p)
    assert list(gradient) == ["w", "s", "t"]
    assert gradient["w"] == [3.0, Pair(2.0, 14.0)]
    assert type(gradient["s"]) is Setting
    assert (gradient["s"].rate, gradient["s"].name) == (10.0, None)
    np.testing.assert_array_equal(gradient["s"].weights, [35.0, 35.0])
    assert gradient["t"] == (None, None, None, None)


def test_dicts_keep_their_order_and_match_by_key():
    p = {"b": 1.0, "a": 2.0}
    assert list(nc.grad(lambda p: p["a"] * p["b"])(p).items()) == [("b", 2.0), ("a", 1.0)]
    assert nc.tree.map(lambda x, y: (x, y), p, {"a": 20.0, "b": 10.0}) == {"b": (1.0, 10.0), "a": (2.0, 20.0)}
    assert type(nc.grad(lambda p: p["a"])(OrderedDict(a=1.0))) is OrderedDict


def test_map_of_different_structures_names_both():
    with pytest.raises(ValueError, match=r"trees differ in structure: \{'a': \*\} and \[\*\]"):
        nc.tree.map(lambda x, y: x, {"a": 1.0}, [1.0])


def test_ravel_round_trip_keeps_shapes_and_dtypes():
    p = {"W": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.array(7.0), np.zeros(0)]}
    flat, unravel = nc.tree.ravel(p)
    np.testing.assert_array_equal(flat, [0, 1, 2, 3, 4, 5, 7])
    again = unravel(flat)
    assert again["W"].dtype == np.float32
    assert again["b"][1].shape == (0,)
    np.testing.assert_array_equal(again["W"], p["W"])
    with pytest.raises(ValueError, match=r"wanted a vector of shape \(7,\), got \(6,\)"):
        unravel(flat[1:])


def test_ravel_is_differentiable_in_both_directions():
    p = {"a": np.array([1.0, 2.0]), "b": 3.0}
    weights = np.array([1.0, 10.0, 100.0])
    gradient = nc.grad(lambda p: nc.tree.ravel(p)[0] @ weights)(p)
    np.testing.assert_array_equal(gradient["a"], [1.0, 10.0])
    assert gradient["b"] == 100.0
    unravel = nc.tree.ravel(p)[1]
    np.testing.assert_array_equal(nc.grad(lambda v: unravel(v)["a"][1] * unravel(v)["b"])(np.ones(3)), [0, 1, 1])


def test_aux_loses_the_level_that_ended_and_keeps_the_outer_ones():
    def outer(x):
        def inner(y):
            return x * y**2, x**3 * y

        (_, aux), gradient = nc.value_and_grad(inner, has_aux=True)(2.0)
        return aux + gradient

    assert nc.grad(outer)(3.0) == pytest.approx(3 * 3.0**2 * 2.0 + 2 * 2.0)
