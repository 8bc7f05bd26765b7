"""Who owns an array that is handed out, and edges of NumPy's functions: zeros, ties, subclasses, constants."""

from collections import OrderedDict, defaultdict

import numpy as np
import pytest

import node_core as nc

X = np.array([1.0, -2.0, 0.5])


def test_a_gradient_changed_in_place_changes_neither_the_next_pullback_nor_its_twin():
    _, pullback = nc.vjp(lambda x, y: x + y, X, X)
    first, second = pullback(np.ones(3))
    first[:] = 7.0
    np.testing.assert_array_equal(second, np.ones(3))
    np.testing.assert_array_equal(pullback(np.ones(3))[0], np.ones(3))


def test_an_output_changed_in_place_does_not_change_the_derivative():
    out, pullback = nc.vjp(np.exp, X)
    expected = np.exp(X)
    out[:] = 0.0
    np.testing.assert_array_equal(pullback(np.ones(3))[0], expected)


def test_a_stopped_value_changed_in_place_does_not_change_the_derivative():
    def fun(x):
        y = np.exp(x)
        nc.stop_gradient(y)[:] = 0.0
        return np.sum(y)

    np.testing.assert_array_equal(nc.grad(fun)(X), np.exp(X))


def test_std_of_equal_values_has_derivative_zero():
    np.testing.assert_array_equal(nc.grad(np.std)(np.ones(4)), np.zeros(4))


def test_split_refuses_unequal_parts_and_array_split_does_not():
    with pytest.raises(ValueError, match=r"np\.split: 3 entries do not divide into 2 equal parts"):
        nc.grad(lambda x: np.sum(np.split(x, 2)[0]))(X)
    np.testing.assert_array_equal(nc.grad(lambda x: np.sum(np.array_split(x, 2)[0]))(X), [1.0, 1.0, 0.0])


def test_take_along_axis_takes_indices_that_broadcast_along_the_other_axes():
    x, index = np.arange(6.0).reshape(2, 3), np.array([[2]])
    out, pullback = nc.vjp(lambda x: np.take_along_axis(x, index, 1), x)
    np.testing.assert_array_equal(out, np.take_along_axis(x, index, 1))
    np.testing.assert_array_equal(pullback(np.ones_like(out))[0], [[0, 0, 1], [0, 0, 1]])


def test_norm_with_an_order_refuses_three_axes_as_numpy_does():
    with pytest.raises(ValueError, match="x must be 1-D or 2-D, got 3-D"):
        nc.grad(lambda x: np.linalg.norm(x, 1))(np.ones((2, 2, 2)))


def test_np_array_of_traced_complex_values_says_to_stack():
    with pytest.raises(TypeError, match=r"write np\.stack"):
        nc.vjp(lambda z: np.array([z[0], z[1]]), np.array([1j, 2.0]))


def test_a_traced_value_formats_in_eager_mode_and_refuses_in_a_graph():
    seen = []
    nc.grad(lambda x: (seen.append(f"{x:.1f}"), x * x)[1])(3.0)
    assert seen == ["3.0"]
    with pytest.raises(nc.TraceError, match="a formatted string depends on the value"):
        nc.trace(lambda x: (f"{x:.1f}", x)[1], 3.0)


def test_jacobian_of_a_function_with_a_reverse_rule_only_goes_by_rows():
    @nc.custom_vjp
    def double(x):
        return 2.0 * x

    double.defvjp(lambda x: (2.0 * x, None), lambda _, g: (2.0 * g,))
    jac = nc.jacobian(lambda x: np.concatenate([double(x), double(x)]))(X)  # 6 outputs of 3 inputs
    np.testing.assert_array_equal(jac, np.vstack([2.0 * np.eye(3)] * 2))


def test_dicts_with_a_factory_come_back_as_plain_dicts_and_ordered_ones_as_ordered():
    plain = nc.tree.map(np.negative, defaultdict(list, w=X))
    assert type(plain) is dict
    assert type(nc.tree.map(np.negative, OrderedDict(w=X))) is OrderedDict


def test_lbfgs_leaves_what_is_not_floating_as_it_is():
    def loss(params):
        return np.sum((params["w"] - params["shift"]) ** 2)

    found, value = nc.optim.LBFGS().minimize(nc.value_and_grad(loss), {"w": X, "shift": 3})
    np.testing.assert_allclose(found["w"], 3.0)
    assert (found["shift"], value < 1e-12) == (3, True)


def test_times_of_an_array_subclass_are_plain_times():
    class Loud(np.ndarray):
        def __len__(self):
            raise RuntimeError("len")

    t = np.array([0.0, 1.0]).view(Loud)
    np.testing.assert_array_equal(nc.odeint(lambda t, y: -y, X, t), nc.odeint(lambda t, y: -y, X, [0.0, 1.0]))


def test_a_list_state_may_hold_numpy_scalars_and_zero_d_arrays():
    y = nc.odeint(lambda t, y: -y, [np.float64(1.0), np.array(2.0)], [0.0, 1.0])
    assert y.shape == (2, 2)


def test_max_num_steps_stops_a_fixed_step_method_too():
    with pytest.raises(nc.SolverError, match="too many steps"):
        nc.odeint(lambda t, y: -y, X, [0.0, 1.0], method="rk4", step_size=0.01, max_num_steps=10)
    y = nc.odeint(lambda t, y: -y, X, [0.0, 1.0], method="rk4", step_size=0.01, max_num_steps=100)
    np.testing.assert_allclose(y[-1], X * np.exp(-1.0), rtol=1e-9)


def test_a_closed_over_value_of_a_method_is_named():
    class System:
        def rate(self, t, y):
            return self.k * y if y[0] > 0 else -y  # not traceable

    system = System()

    def loss(k):
        system.k = k
        return np.sum(nc.odeint(system.rate, X, [0.0, 1.0]))

    with pytest.raises(TypeError, match="func uses the traced value k from outside its arguments"):
        nc.grad(loss)(1.0)
