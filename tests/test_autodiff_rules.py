"""stop_gradient, rules given by the user, values that escape, and check_grads."""

import numpy as np
import pytest

import node_core as nc

# --- stop_gradient ---


def test_stop_gradient_is_a_constant_and_a_plain_array_at_every_level():
    seen = []

    def f(x):
        c = nc.stop_gradient({"x": x, "n": 3})
        seen.append(c["x"])
        return np.sum(c["x"] * x**2)

    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(nc.grad(f)(x), 2 * x * x)
    np.testing.assert_array_equal(nc.hessian(f)(x), np.diag(2 * x))
    assert nc.jvp(nc.grad(lambda x: f(x) + 0.0), (x,), (x,))[1].shape == (2,)
    assert len(seen) >= 3
    assert all(type(c) is np.ndarray for c in seen)


def test_stop_gradient_under_trace_is_recorded_and_stays_a_constant():
    graph = nc.trace(lambda x: np.sum(nc.stop_gradient(x) * x), np.ones(2))
    assert "stop_gradient(x)" in str(graph)
    x = np.array([3.0, 4.0])
    assert graph(x) == 25.0
    np.testing.assert_array_equal(nc.grad(graph)(x), x)
    inner = nc.trace(nc.grad(lambda x: np.sum(nc.stop_gradient(x) * x)), np.ones(2))
    np.testing.assert_array_equal(inner(x), x)


# --- custom_vjp ---


def cube():
    """x**3 outside NumPy's protocols, with a rule written in NumPy."""

    @nc.custom_vjp
    def cube(x):
        return np.asarray(x) ** 3

    cube.defvjp(lambda x: (x * x * x, x), lambda x, g: (3 * x**2 * g,))
    return cube


def test_custom_vjp_gives_value_gradient_and_second_derivative():
    f, x = cube(), np.array([1.0, 2.0])
    np.testing.assert_array_equal(f(x), x**3)
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(f(x)))(x), 3 * x**2)
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(nc.grad(lambda x: np.sum(f(x)))(x)))(x), 6 * x)


def test_custom_vjp_takes_and_returns_trees():
    @nc.custom_vjp
    def f(p, n):
        return {"sum": p["a"] + p["b"], "scaled": n * p["a"]}

    def backward(n, g):
        return {"a": g["sum"] + n * g["scaled"], "b": g["sum"]}, None

    f.defvjp(lambda p, n: ({"sum": p["a"] + p["b"], "scaled": n * p["a"]}, n), backward)
    gradient = nc.grad(lambda p: f(p, 3)["sum"] ** 2 + f(p, 3)["scaled"])({"a": 1.0, "b": 4.0})
    assert gradient == {"a": 13.0, "b": 10.0}


def test_custom_vjp_with_a_wrong_number_of_cotangents_is_an_error():
    @nc.custom_vjp
    def product(x, y):
        return x * y

    product.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, g: (g * saved[1],))
    with pytest.raises(TypeError, match="custom_vjp product: backward must return a tuple of 2 cotangents"):
        nc.grad(product)(2.0, 3.0)


def test_custom_vjp_whose_forward_returns_no_pair_is_an_error():
    f = nc.custom_vjp(lambda x: x)
    f.defvjp(lambda x: x, lambda saved, g: (g,))
    with pytest.raises(TypeError, match=r"forward must return \(out, residuals\)"):
        nc.grad(f)(2.0)


def test_custom_vjp_without_a_rule_works_plainly_and_says_what_is_missing():
    @nc.custom_vjp
    def bare(x):
        return x + 1

    assert bare(1.0) == 2.0
    with pytest.raises(TypeError, match=r"custom_vjp bare: give its rule with .defvjp\(forward, backward\)"):
        nc.grad(bare)(1.0)


def test_custom_vjp_in_forward_mode_is_an_error():
    with pytest.raises(TypeError, match=r"custom_vjp cube has a reverse rule only; forward mode \(jvp\)"):
        nc.jvp(cube(), (2.0,), (1.0,))


class Spring:
    """A method with a rule: self is its first argument."""

    k = 3.0

    @nc.custom_vjp
    def force(self, x, n=2, m=1.0):
        return self.k * np.asarray(x) ** n * m

    force.defvjp(
        lambda self, x, n=2, m=1.0: (self.k * x**n * m, (self.k, x, n, m)),
        lambda saved, g: (None, saved[0] * saved[2] * saved[1] ** (saved[2] - 1) * saved[3] * g, None, None),
    )


def test_custom_vjp_works_as_a_method_and_takes_keywords_in_their_places():
    spring, x = Spring(), 2.0
    assert spring.force(x, n=3) == 24.0
    assert nc.grad(lambda x: spring.force(x, 2, 1.0))(x) == 12.0
    assert nc.grad(lambda x: spring.force(x, m=2.0))(x) == 24.0  # n between them holds its default
    assert nc.grad(lambda x: spring.force(m=0.5, x=x, n=3))(x) == 18.0
    assert nc.grad(lambda x: Spring.force(spring, x, m=2.0))(x) == 24.0
    assert "custom_vjp force" in str(nc.trace(lambda x: spring.force(x, m=2.0), x))


def test_custom_vjp_refuses_arguments_that_go_by_keyword_only():
    f = nc.custom_vjp(lambda x, *, k=1.0: k * x)
    f.defvjp(lambda x: (x, None), lambda _, g: (g,))
    assert nc.grad(f)(2.0) == 1.0
    with pytest.raises(TypeError, match="k goes by keyword only, but the rule takes arguments by their place"):
        nc.grad(lambda x: f(x, k=2.0))(2.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'q'"):
        nc.grad(lambda x: f(x, q=2.0))(2.0)


# --- values that escape ---


@pytest.mark.parametrize(
    "run", [lambda f: nc.grad(f)(1.0), lambda f: nc.jvp(f, (1.0,), (1.0,)), lambda f: nc.trace(f, 1.0)]
)
def test_traced_value_kept_after_its_function_returned_is_an_error(run):
    kept = []

    def f(x):
        kept.append(x)
        return x * x

    run(f)
    with pytest.raises(TypeError, match="multiply: a traced value was used after its function had returned"):
        kept[0] * 2.0


# --- check_grads ---


def test_check_grads_passes_right_rules_and_names_the_argument_of_a_wrong_one():
    @nc.custom_vjp
    def product(x, y):
        return x * y

    forward, x = (lambda x, y: (x * y, (x, y))), np.array([1.0, 2.0])
    product.defvjp(forward, lambda saved, g: (g * saved[1], g * saved[0]))
    nc.check_grads(product, (x, x + 1), order=2, modes=("reverse",))
    product.defvjp(forward, lambda saved, g: (g * saved[1], 2 * g * saved[0]))
    with pytest.raises(AssertionError, match="check_grads, argument 1: reverse mode gives"):
        nc.check_grads(product, (x, x + 1), modes=("reverse",))


def test_check_grads_checks_reverse_mode_alone_where_there_is_no_forward_rule():
    nc.check_grads(cube(), (np.array([1.0, 2.0]),), order=2)
    wrong = cube()
    wrong.defvjp(lambda x: (x * x * x, x), lambda x, g: (2 * x**2 * g,))
    with pytest.raises(AssertionError, match="argument 0: reverse mode gives"):
        nc.check_grads(wrong, (2.0,))
    with pytest.raises(TypeError, match="has a reverse rule only"):
        nc.check_grads(cube(), (2.0,), modes=("forward",))

    def solve(p, y0, t):
        return nc.odeint(lambda t, y, p: p["A"] @ y + p["b"], y0, t, args=(p,), rtol=1e-11, atol=1e-12)

    p = {"A": np.array([[-0.1, 1.0], [-1.0, -0.2]]), "b": np.array([0.1, 0.2]), "n": 3}
    nc.check_grads(solve, (p, np.array([1.0, 0.5]), np.array([0.0, 0.4, 1.0])))


def test_check_grads_names_the_leaf_of_a_tree_whose_gradient_is_wrong():
    @nc.custom_vjp
    def f(p):
        return p["a"] * p["b"][0]

    f.defvjp(lambda p: (p["a"] * p["b"][0], p), lambda p, g: ({"a": g * p["b"][0], "b": (2 * g * p["a"],)},))
    with pytest.raises(AssertionError, match=r"check_grads, argument 0\['b'\]\[0\]: reverse mode gives"):
        nc.check_grads(f, ({"a": 2.0, "b": (3.0,)},))


def test_check_grads_finds_a_wrong_mixed_second_derivative_of_a_tree():
    @nc.custom_vjp
    def f(p):
        return p["a"] * p["b"]

    def backward(p, g):  # right, but a constant to the next derivative
        return ({"a": g * nc.stop_gradient(p["b"]), "b": g * nc.stop_gradient(p["a"])},)

    f.defvjp(lambda p: (p["a"] * p["b"], p), backward)
    nc.check_grads(f, ({"a": 2.0, "b": 3.0},))
    with pytest.raises(AssertionError, match="gradient by argument 0: forward mode gives"):
        nc.check_grads(f, ({"a": 2.0, "b": 3.0},), order=2)


@pytest.mark.parametrize(
    ("args", "kinds"), [((1, [2]), "only int"), ((), "only nothing"), ((np.arange(2),), "ndarray")]
)
def test_check_grads_without_a_floating_number_is_an_error(args, kinds):
    with pytest.raises(TypeError, match=f"check_grads: no argument holds a floating number .*{kinds}; pass a float"):
        nc.check_grads(lambda *args: 1.0, args)


def test_check_grads_of_order_two_finds_a_gradient_that_is_wrongly_constant():
    @nc.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, nc.stop_gradient(x)), lambda x, g: (2 * x * g,))
    nc.check_grads(square, (3.0,), modes=("reverse",))
    with pytest.raises(AssertionError, match="gradient by argument 0: reverse mode"):
        nc.check_grads(square, (3.0,), order=2, modes=("reverse",))


def test_check_grads_takes_trees_complex_and_float32_and_wants_a_tuple():
    nc.check_grads(lambda p, n: {"o": np.sin(p["z"]) * n}, ({"z": np.array([1 + 1j, 0.5])}, 2), order=2)
    nc.check_grads(np.tanh, (np.array([0.3, -1.0], np.float32),))
    with pytest.raises(TypeError, match="args must be the tuple of arguments, got float"):
        nc.check_grads(np.sin, 1.0)


def test_a_custom_cotangent_of_the_wrong_shape_is_an_error_and_not_summed():
    @nc.custom_vjp
    def total(x):
        return np.sum(x)

    total.defvjp(lambda x: (np.sum(x), x.shape), lambda shape, g: (g,))
    with pytest.raises(
        ValueError, match=r"total: backward returned a cotangent of shape \(\) for an argument of shape"
    ):
        nc.grad(total)(np.ones(3))
