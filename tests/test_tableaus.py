"""The tableaus: order conditions, measured convergence, and refusal of data that contradicts itself."""

import dataclasses

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import METHODS, Control, Tableau, integrate, methods, tableau
from node_core.solvers.order import (
    condition,
    dense_residuals,
    density,
    embedded_residuals,
    order_residuals,
    rooted_trees,
    step_residuals,
    tree_order,
)
from node_core.solvers.stepper import rk_step

ALL = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
ADAPTIVE = pytest.mark.parametrize(
    "method",
    [m for m in METHODS.values() if m.adaptive],
    ids=[m.name for m in METHODS.values() if m.adaptive],
)


def test_rooted_trees_are_as_many_as_the_literature_counts():
    assert [len(rooted_trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]  # HNW I, Table II.2.1
    assert all(tree_order(tree) == n for n in range(1, 7) for tree in rooted_trees(n))


def test_densities_of_order_four_are_those_of_butcher():
    assert sorted(density(tree) for tree in rooted_trees(4)) == [4, 8, 12, 24]


@ALL
def test_every_order_condition_of_the_step_holds_to_1e_14(method):
    residuals = step_residuals(method)
    assert len(residuals) == sum(len(rooted_trees(n)) for n in range(1, method.order + 1))
    assert max(map(abs, residuals.values())) <= 1e-14


FAR = dict.fromkeys(["dopri8", "vern7", "vern9"], 1e-6)  # the largest error constants of high orders are small


@ALL
def test_no_method_claims_less_than_its_order(method):
    residuals = order_residuals(method.a, method.b, method.c, method.order + 1)
    assert max(map(abs, residuals.values())) > FAR.get(method.name, 1e-5)


@ADAPTIVE
def test_every_order_condition_of_the_embedded_method_holds_to_1e_14(method):
    assert max(map(abs, embedded_residuals(method).values())) <= 1e-14
    b_hat = method.dense_b - method.e
    higher = order_residuals(method.dense_a, b_hat, method.dense_c, method.embedded_order + 1)
    assert max(map(abs, higher.values())) > FAR.get(method.name, 1e-5)  # else the error estimate would be blind


def test_dop853_estimates_its_error_by_a_method_of_order_3_too():
    method = METHODS["DOP853"]
    for order, bounds in ((3, (0.0, 1e-14)), (4, (1e-2, 1.0))):
        found = order_residuals(method.dense_a, method.dense_b - method.e_low, method.dense_c, order)
        assert bounds[0] <= max(map(abs, found.values())) <= bounds[1]


@ALL
def test_every_order_condition_of_the_dense_output_holds_to_1e_14_of_its_weights_within_the_step(method):
    theta = np.linspace(0.0, 1.0, 101)
    for residual in dense_residuals(method).values():
        powers = theta[:, None] ** np.arange(1, len(residual) + 1)  # (101, degree)
        assert np.abs(powers @ residual).max() <= max(1e-14, np.finfo(float).eps * np.abs(method.p).max())


@ALL
def test_the_dense_output_has_the_slopes_of_both_ends(method):
    start, end = np.eye(method.dense_stages)[[0, method.rows - 1]]
    rounding = {"DOP853": 5e-13, "vern7": 5e-13, "vern9": 2e-11}.get(method.name, 2e-13)  # of weights up to 10,658
    np.testing.assert_allclose(method.p[:, 0], start, atol=max(1e-13, 0.5 * rounding))
    np.testing.assert_allclose(method.p @ np.arange(1, method.p.shape[1] + 1), end, atol=rounding)


def growth(t, y):
    """dy/dt of exp(sin t). On most problems the next order's terms outweigh tsit5's own, which are tiny."""
    return y * np.cos(t)


def circle_error(method, steps, span=20.0):
    """The largest of a turning vector's, from the Python twin in long double: of order 7 and 9 growth shows the terms
    of the next order alone before double has no digits left."""
    h, y, K = (
        np.longdouble(span) / steps,
        np.array([1, 0], np.longdouble),
        np.zeros((method.dense_stages, 2), np.longdouble),
    )
    largest = 0.0
    for k in range(steps):
        y = rk_step(lambda t, y: np.array([y[1], -y[0]]), h * k, y, np.array([y[1], -y[0]]), h, method, K)
        exact = np.array([np.cos(h * (k + 1)), -np.sin(h * (k + 1))])
        largest = max(largest, float(np.abs(y - exact).max()))
    return largest


def largest_error(method, steps, span=6.0):
    """Over the second half: at one time alone the error may change its sign as h falls."""
    if method.name in ("vern7", "vern9"):
        return circle_error(method, steps)
    t = np.linspace(0.0, span, steps + 1)
    solution = integrate(growth, np.array([1.0]), t, method, Control(step_size=span / steps))
    assert solution.stats.naccepted == steps
    return np.abs(solution.y[:, 0] - np.exp(np.sin(t)))[steps // 2 :].max()


@ALL
def test_measured_convergence_order_is_nominal_over_a_decade_of_h(method):
    coarse = {1: 400, 2: 200, 3: 100, 4: 100, 5: 40, 7: 40, 8: 8, 9: 20}[method.order]
    steps = np.geomspace(coarse, 10 * coarse, 6).astype(int)
    errors = [largest_error(method, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - method.order) < 0.15


def nonlinear(t, y):
    """dy/dt of 1 / (1 / y0 - sin t). Linear problems leave out the conditions of trees that branch in y."""
    return y * y * np.cos(t)


def long_double_error(method, steps, y0=0.7, span=8.0):
    """The largest, from the Python twin in long double: near order 5 double rounds off half of the decade."""
    y0, span = np.longdouble(y0), np.longdouble(span)
    h, y, K = span / steps, np.array([y0]), np.zeros((method.dense_stages, 1), np.longdouble)
    largest = 0.0
    for k in range(steps):
        y = rk_step(nonlinear, h * k, y, nonlinear(h * k, y), h, method, K)
        largest = max(largest, float(abs(y[0] - 1 / (1 / y0 - np.sin(h * (k + 1))))))
    return largest


@ALL
def test_measured_convergence_order_is_nominal_on_a_nonlinear_problem(method):
    coarse, y0 = {1: 800, 2: 200, 3: 100, 4: 200, 5: 90, 7: 40, 8: 20, 9: 6}[method.order], 0.7
    if method.name == "DOP853":  # from 0.7 the terms of order 9 weigh until rounding does
        coarse, y0 = 8, 0.2
    elif method.name == "vern9":
        y0 = 0.5
    steps = np.geomspace(coarse, 10 * coarse, 5).astype(int)
    errors = [long_double_error(method, int(n), y0) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - method.order) < 0.15


def pendulum(t, y):
    """dy/dt of a pendulum driven in time: non-linear and non-autonomous, so that every tree counts."""
    return np.array([y[1], -np.sin(y[0]) + 0.5 * np.cos(2.0 * t)])


@ALL
def test_dense_output_converges_one_order_above_its_own_in_one_step(method):
    y0 = np.array([1.0, 0.3])
    h = {7: 4, 8: 4, 9: 12}.get(method.order, 1) * np.array([0.2, 0.1, 0.05, 0.02])
    tight = Control(rtol=3e-15, atol=1e-16)
    errors = []
    for step in h:
        t = np.array([0.0, 0.6 * step, step])
        value = integrate(pendulum, y0, t, method, Control(step_size=step)).y[1]
        errors.append(np.linalg.norm(value - integrate(pendulum, y0, t[:2], tableau("tsit5"), tight).y[-1]))
    slope = np.polyfit(np.log(h), np.log(errors), 1)[0]
    assert slope > method.dense_order + 1 - 0.25


def test_fixed_and_adaptive_methods_are_listed_with_their_properties():
    found = {m.name: (m.order, m.kind, m.stages, m.fsal) for m in methods()}
    assert found["euler"] == (1, "fixed", 1, False)
    assert found["rk4"] == (4, "fixed", 4, False)
    assert found["dopri5"] == (5, "adaptive", 7, True)
    assert found["bosh3"] == (3, "adaptive", 4, True)


def test_rk4_is_the_classical_method_and_not_the_three_eighths_rule():
    np.testing.assert_array_equal(tableau("rk4").c, [0.0, 0.5, 0.5, 1.0])


def test_an_unknown_method_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"method 'dopri' is not known; did you mean 'dopri8' or 'dopri5'"):
        tableau("dopri")


def test_tableau_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        tableau("rk4").a[1, 0] = 1.0


GOOD = {"name": "x", "order": 2, "a": [[0, 0], [1, 0]], "b": [0.5, 0.5], "c": [0, 1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": [0, 0.5]}, "rows of a must sum to c"),
        ({"b": [0.5, 0.6]}, "b must sum to 1"),
        ({"a": [[0, 1], [1, 0]], "c": [1, 1]}, "strictly lower triangular"),
        ({"e": [0.5, 0.0, 0.0], "embedded_order": 1}, "e must sum to 0"),
        ({"e": [0.5, -0.5], "embedded_order": 1}, r"e must be \(3,\), got shape \(2,\)"),
        ({"e": [0.5, -0.5, 0.0]}, "e and embedded_order must be given together"),
        ({"e": [0, 0, 0], "embedded_order": 1}, "e must not be all 0"),
        ({"order": 0}, "order must be an int from 1 to 12, got 0"),
        ({"order": 2.5}, "order must be an int from 1 to 12, got 2.5"),
        ({"order": 30}, "order must be an int from 1 to 12, got 30"),
        ({"error_order": -1}, "error_order must be an int from 0 to 12, got -1"),
        ({"p": np.zeros((3, 2)), "dense_order": 2}, r"must end in b \(theta = 1\)"),
        ({"p": np.zeros((2, 2)), "dense_order": 2}, r"p must be \(3, degree\), got shape \(2, 2\)"),
        ({"a": [[0]]}, r"a must be \(2, 2\)"),
        ({"b": []}, r"b must be \(stages,\)"),
    ],
)
def test_a_tableau_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Tableau(**{**GOOD, **change})


def own(**changes):
    """The midpoint rule with Euler's inside, given by a user."""
    given = {"name": "mine", "order": 2, "a": [[0, 0], [0.5, 0]], "b": [0, 1], "c": [0, 0.5], "e": [-1, 1, 0],
             "embedded_order": 1}  # fmt: skip
    return nc.Tableau(**{**given, **changes})


@pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
def test_a_tableau_of_ones_own_solves_and_is_differentiated(backend):
    def end(y0, method):
        return nc.odeint(lambda t, y: -y * y, y0, [0.0, 1.0], method=method, rtol=1e-6, atol=1e-8, backend=backend)[-1]

    y0 = np.array([1.0, 2.0])
    np.testing.assert_allclose(end(y0, own()), y0 / (1 + y0), rtol=1e-5)
    np.testing.assert_allclose(nc.jacobian(lambda y: end(y, own()))(y0), np.diag(1 / (1 + y0) ** 2), atol=1e-5)
    again = nc.Tableau(**{f.name: getattr(tableau("tsit5"), f.name) for f in dataclasses.fields(Tableau)})
    np.testing.assert_array_equal(end(y0, again), end(y0, "tsit5"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": 3}, r"tableau mine: b does not have order 3: sum_i b_i c_i\^2 = 1/3 is wrong by 0.0833"),
        (
            {"b": [0.5, 0.5], "e": None, "embedded_order": None},
            r"b does not have order 2: sum_i b_i c_i = 1/2 is wrong",
        ),
        ({"embedded_order": 2}, r"b - e does not have order 2: sum_i b_i c_i = 1/2 is wrong by 0.5"),
        ({"p": [[1.0], [-1.0], [0.0]], "dense_order": 1}, r"must end in b"),
        ({"p": [[0.0], [1.0], [0.0]], "dense_order": 2}, r"the dense output p does not have order 2: .* c_i = 1/2"),
    ],
)
def test_a_tableau_that_is_not_of_its_order_is_told_the_first_condition_that_fails(changes, message):
    with pytest.raises(ValueError, match=message):
        nc.odeint(lambda t, y: -y, np.ones(1), [0.0, 1.0], method=own(**changes))


def test_conditions_are_written_as_the_literature_writes_them():
    four = sorted(condition(tree) for tree in rooted_trees(4))
    assert four == [
        "sum_i b_i (sum_j a_ij (sum_k a_jk c_k)) = 1/24",
        "sum_i b_i (sum_j a_ij c_j^2) = 1/12",
        "sum_i b_i c_i (sum_j a_ij c_j) = 1/8",
        "sum_i b_i c_i^3 = 1/4",
    ]
