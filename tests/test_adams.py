"""explicit_adams and implicit_adams: formulas, orders, both backends, dense output, the adjoint, and what else a solve
may do."""

from fractions import Fraction

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import Control, integrate, tableau
from node_core.solvers.adams import ADAMS_METHODS, MOST_PAST, AdamsSteps, Newton

BOTH = pytest.mark.parametrize("name", ADAMS_METHODS)
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
Y0, T = np.array([1.0, 0.3]), np.linspace(0.0, 5.0, 17)


def pendulum(t, y):
    """Non-linear and non-autonomous."""
    return np.array([y[1], -np.sin(y[0]) + 0.5 * np.cos(2.0 * t)])


def circle(t, y):
    return np.stack([y[1], -y[0]])


# --- the formulas


def test_on_equal_steps_the_weights_are_those_of_the_textbooks():  # HNW I, III.1, (1.5) and (1.9)
    past = -np.arange(12.0)
    bashforth, moulton = Newton(past), Newton(np.append(1.0, past))
    np.testing.assert_allclose(24 * bashforth.weights(4), [55, -59, 37, -9], rtol=1e-13)
    np.testing.assert_allclose(720 * bashforth.weights(5), [1901, -2774, 2616, -1274, 251], rtol=1e-13)
    np.testing.assert_allclose(24 * moulton.weights(4), [9, 19, -5, 1], rtol=1e-13)
    gamma = [1, Fraction(1, 2), Fraction(5, 12), Fraction(3, 8), Fraction(251, 720)]
    factorials = np.cumprod([1, 1, 2, 3, 4])
    np.testing.assert_allclose([bashforth.integral(j) for j in range(5)], np.array(gamma, float) * factorials)


@pytest.mark.parametrize("first", [0.0, 1.0], ids=["Bashforth", "Moulton"])
@pytest.mark.parametrize("order", range(1, MOST_PAST + 1))
def test_on_any_steps_a_formula_of_order_q_integrates_polynomials_of_degree_below_q(order, first):
    lengths = np.random.default_rng(order).uniform(0.3, 1.0, 12)
    nodes = np.append(0.0, -np.cumsum(lengths))
    nodes = nodes if first == 0.0 else np.append(1.0, nodes)
    newton = Newton(nodes[: order + 1])
    w, powers = newton.weights(order), newton.powers(order)
    size = [np.abs(w) @ np.abs(nodes[:order]) ** k for k in range(order + 1)]
    for k in range(order):
        assert abs(w @ nodes[:order] ** k - 1.0 / (k + 1)) <= 1e-13 * max(1.0, size[k])
        np.testing.assert_allclose(0.3 ** np.arange(1, order + 1) @ (powers.T @ nodes[:order] ** k),
                                   0.3 ** (k + 1) / (k + 1), rtol=0, atol=1e-13 * max(1.0, size[k]))  # fmt: skip
    error = 1.0 / (order + 1) - w @ nodes[:order] ** order
    assert abs(error) > 1e-9 * size[order]
    # of a polynomial of degree q, the term that the next node adds is the error
    added = newton.integral(order) * (newton.d[order] @ nodes[: order + 1] ** order)
    assert abs(added - error) <= 1e-11 * max(1.0, size[order])


@BOTH
@pytest.mark.parametrize("order", [None, 1, 2, 3, 5])
def test_measured_convergence_order_of_equal_steps_is_nominal_over_a_decade(name, order):
    counts, errors = np.geomspace({1: 400, 2: 200, 3: 200}.get(order, 150), 1500 if order != 1 else 4000, 4), []
    counts = counts.astype(int)
    for n in counts:
        t = np.linspace(0.0, 6.0, n + 1)
        control = Control(step_size=6.0 / n, max_order=order)
        y = integrate(lambda t, y: y * np.cos(t), np.ones(1), t, tableau(name), control).y[:, 0]
        errors.append(np.abs(y - np.exp(np.sin(t)))[n // 2 :].max())
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - (order or 4)) < 0.15


# y' = cos t (1 + e y): (e, steps of the coarsest grid), of explicit formulas so small an e that they are stable there
HIGH = {
    "explicit_adams": {6: (0.02, 30), 7: (0.02, 30), 8: (0.02, 30), 9: (0.02, 34), 10: (0.08, 34), 11: (0.02, 30),
                       12: (0.02, 34)},
    "implicit_adams": {6: (0.2, 30), 7: (0.2, 100), 8: (0.2, 30), 9: (0.2, 60), 10: (0.2, 30), 11: (0.2, 30),
                       12: (0.2, 30)},
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("order", range(6, 13))
def test_measured_convergence_of_high_orders_is_nominal_over_a_decade_in_long_double(name, order):
    """By the twin's own steps: double has no digits left where a formula of order 12 begins to show it."""
    e, coarse = HIGH[name][order]

    def slope(t, y):
        return np.cos(t) * (1 + np.longdouble(e) * y)

    def largest_error(n):
        h = np.longdouble(12) / n
        steps = AdamsSteps(
            ADAMS_METHODS[name], Control(step_size=float(h), max_order=order), np.zeros(1, np.longdouble)
        )
        t, y, largest = np.longdouble(0), np.zeros(1, np.longdouble), 0.0
        for k in range(n):
            steps.arrived(t, slope(t, y))
            y, t = steps.step(slope, t, y, h, None), h * (k + 1)
            exact = (np.exp(np.longdouble(e) * np.sin(t)) - 1) / np.longdouble(e)
            largest = max(largest, float(abs(y[0] - exact))) if k >= n // 2 else 0.0
        return largest

    counts = np.geomspace(coarse, 10 * coarse, 7).astype(int)
    measured = -np.polyfit(np.log(counts), np.log([largest_error(int(n)) for n in counts]), 1)[0]
    assert abs(measured - order) < 0.15


# --- both backends


CONTROLS = {
    "adaptive": Control(rtol=1e-7, atol=1e-9),
    "tight": Control(rtol=1e-10, atol=1e-10, first_step=0.05),
    "loose": Control(rtol=1e-2, atol=1e-3),
    "low order": Control(rtol=1e-5, max_order=2),
    "first and max": Control(rtol=1e-7, first_step=0.5, max_step=0.2),
    "forced": Control(rtol=1e-9, min_step=0.05, on_min_step="force"),
    "equal": Control(step_size=0.03),
    "equal, hitting outputs": Control(step_size=0.3125 / 8, max_order=3),
    "equal, order 7": Control(step_size=0.02, max_order=7),
    "arrays": Control(rtol=np.array([1e-4, 1e-6]), atol=np.array([1e-9, 1e-7])),
    "leading": Control(rtol=1e-6, n_norm=1),
    "maximum": Control(rtol=1e-6, norm="max"),
    "callable norm": Control(rtol=1e-6, norm=lambda scaled: float(np.abs(scaled).sum())),
    "stops": Control(rtol=1e-6, step_t=(0.7, 3.3)),
}


@BOTH
@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_both_backends_take_the_same_steps(name, control, sign):
    if len(control.step_t):
        control = Control(rtol=1e-6, step_t=tuple(sign * np.array(control.step_t)))
    c, p = (integrate(pendulum, Y0, sign * T, tableau(name), control, backend=b, record=True)
            for b in ("compiled", "python"))  # fmt: skip
    assert c.stats == p.stats
    np.testing.assert_allclose(c.y, p.y, rtol=1e-9, atol=1e-9)
    near = 1e-4 if control.step_size is None else 1e-12  # errors of high orders are differences of many digits less
    for field in ("t", "h", "y"):
        np.testing.assert_allclose(getattr(c.record, field), getattr(p.record, field), rtol=near, atol=near)
    middle = [np.einsum("k,skn->sn", 0.5 ** np.arange(1, 14), r.K[:, :13]) for r in (c.record, p.record)]
    np.testing.assert_allclose(*middle, rtol=near, atol=near)
    if control.on_min_step == "error" and np.all(np.asarray(control.rtol) < 1e-3):
        exact = integrate(pendulum, Y0, sign * T, tableau("DOP853"), Control(rtol=1e-12, atol=1e-12)).y
        np.testing.assert_allclose(c.y, exact, rtol=0, atol=0.02)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("n", [0, 1, 3, 9])
def test_both_backends_agree_in_every_dtype_and_keep_it(name, dtype, n):
    y0 = (np.arange(n) / 3 + (1j if np.issubdtype(dtype, np.complexfloating) else 0)).astype(dtype)
    factor = np.asarray(-0.5 + 2j if np.issubdtype(dtype, np.complexfloating) else -0.5, dtype)
    for control in (Control(rtol=1e-4, atol=1e-6), Control(step_size=0.02)):
        c, p = (integrate(lambda t, y: factor * y, y0, T, tableau(name), control, backend=b)
                for b in ("compiled", "python"))  # fmt: skip
        assert c.y.dtype == p.y.dtype == dtype
        if np.finfo(dtype).eps < 1e-10:  # else the errors of high orders are rounding, and so is what follows from them
            assert c.stats == p.stats
        np.testing.assert_allclose(c.y, p.y, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(c.y[-1], y0 * np.exp(factor * 5.0), rtol=0, atol=2e-3)


@BOTH
@BACKENDS
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_the_error_follows_the_tolerance_and_the_order_rises(name, backend, tolerance):
    y, stats = nc.odeint(
        circle, np.array([0.0, 1.0]), T, method=name, rtol=tolerance, atol=tolerance, backend=backend, full_output=True
    )
    assert np.abs(y[:, 0] - np.sin(T)).max() < 300 * tolerance
    low = nc.odeint(circle, np.array([0.0, 1.0]), T, method=name, rtol=tolerance, atol=tolerance, max_order=2,
                    full_output=True)[1]  # fmt: skip
    if tolerance == 1e-10:
        assert low.naccepted > 20 * stats.naccepted
    assert stats.nfev <= 2 + (stats.naccepted + stats.nrejected) * tableau(name).stages


@BOTH
def test_a_smooth_problem_costs_fewer_evaluations_than_with_dop853(name):
    cost = {m: nc.odeint(circle, np.array([0.0, 1.0]), [0.0, 50.0], method=m, rtol=1e-12, atol=1e-12, full_output=True)
            [1].nfev for m in (name, "DOP853")}  # fmt: skip
    assert cost[name] < cost["DOP853"]


# --- dense output, events, and the rest of a solve


@BOTH
@pytest.mark.parametrize("options", [{"rtol": 1e-8, "atol": 1e-8}, {"step_size": 0.05, "max_order": 5}])
def test_the_dense_output_meets_the_steps_and_has_their_slopes(name, options):
    r = nc.solve_ivp(circle, (0.0, 6.0), [0.0, 1.0], method=name, dense_output=True, **options)
    t = np.linspace(0.0, 6.0, 301)
    assert np.abs(r.sol(t)[0] - np.sin(t)).max() < 3e-6
    np.testing.assert_allclose(r.sol(r.t), r.y, rtol=0, atol=1e-13)
    before, after = r.sol(r.t[1:-1] - 1e-13), r.sol(r.t[1:-1] + 1e-13)
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-12)
    slopes = r.sol(r.t[1:-1] * (1 - 1e-14), nu=1)
    off = np.abs(slopes - [r.y[1, 1:-1], -r.y[0, 1:-1]])
    assert np.all(off <= 1e-9 + 1e-15 / np.diff(r.t)[:-1])  # a difference of states over h


@BOTH
@BACKENDS
def test_events_jumps_and_callbacks(name, backend):
    t, y = nc.odeint_event(circle, np.array([0.0, 1.0]), 0.0, event_fn=lambda t, y: y[0] + 0.5, method=name,
                           rtol=1e-10, atol=1e-10, backend=backend)  # fmt: skip
    assert abs(t - 7 * np.pi / 6) < 1e-7
    y = nc.odeint(lambda t, y: np.where(t < 1.0, -y, y), np.ones(1), [0.0, 2.0], method=name, jump_t=[1.0], rtol=1e-9,
                  atol=1e-9, backend=backend)  # fmt: skip
    np.testing.assert_allclose(y[-1], 1.0, atol=1e-6)
    seen = []
    nc.odeint(circle, np.array([0.0, 1.0]), [0.0, 9.0], method=name, backend=backend,
              on_accept=lambda t, y, h: seen.append(t) or t > 2.0)  # fmt: skip
    assert seen[-1] > 2.0 >= seen[-2]


@BOTH
@BACKENDS
def test_a_right_hand_side_that_ends_in_nan_is_told(name, backend):
    def sqrt(t, y):
        return -1.0 / np.sqrt(y)  # y reaches 0 at t = 2/3

    with np.errstate(invalid="ignore", divide="ignore"), pytest.raises(nc.SolverError) as caught:
        nc.odeint(sqrt, np.ones(1), [0.0, 1.0], method=name, backend=backend)
    assert abs(caught.value.t - 2 / 3) < 1e-2


# --- options


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controller": "PI"}, r"controller does not go with \w+, which is a family of Adams methods; see"),
        ({"step_size": 0.1, "rtol": 1e-3}, r"rtol and atol do not go with \w+, equal steps of step_size"),
        ({"step_size": 0.1, "first_step": 1e-3}, r"first_step does not go with \w+, .* and takes equal steps here"),
        ({"max_order": 13}, r"max_order must be an int from 1 to 12, got 13"),
        ({"max_order": 0}, r"max_order must be an int from 1 to 12, got 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        nc.odeint(circle, Y0, T, method=name, **options)


@BOTH
@BACKENDS
def test_min_step_is_tried_before_it_fails(name, backend):
    y = nc.odeint(circle, np.array([0.0, 1.0]), [0.0, 2.0], method=name, min_step=0.01, rtol=1e-4, backend=backend)
    assert abs(y[-1, 0] - np.sin(2.0)) < 0.01


@BOTH
@pytest.mark.parametrize("attempts", [7, 31, 60])
def test_both_backends_name_the_same_component_in_their_errors(name, attempts):
    told = []
    for backend in ("compiled", "python"):
        with pytest.raises(nc.SolverError) as caught:
            nc.odeint(lambda t, y: np.stack([y[1], -y[0], 9.0 * y[3], -9.0 * y[2]]), np.ones(4), [0.0, 50.0],
                      method=name, max_num_steps=attempts, rtol=1e-5, backend=backend)  # fmt: skip
        told.append(str(caught.value).split("component")[1].split(" of y")[0])
    assert told[0] == told[1]


@BOTH
def test_max_order_may_be_numpys_integer(name):
    ys = [nc.odeint(circle, Y0, T, method=name, max_order=order) for order in (3, np.int64(3))]
    np.testing.assert_array_equal(*ys)


def test_nearby_names_are_told():
    with pytest.raises(ValueError, match="'adams' is not known; did you mean 'implicit_adams'"):
        nc.odeint(circle, Y0, T, method="adams")
    with pytest.raises(ValueError, match="odeint_event: explicit_adams takes fixed steps"):
        nc.odeint_event(circle, Y0, 0.0, event_fn=lambda t, y: y[0], method="explicit_adams", step_size=0.1)


def test_max_order_is_of_adams_methods_alone():
    with pytest.raises(ValueError, match="max_order does not go with dopri5, which is adaptive"):
        nc.odeint(circle, Y0, T, max_order=3)


def test_the_methods_are_listed_as_multistep():
    found = {m.name: (m.order, m.kind, m.stages) for m in nc.methods()}
    assert found["explicit_adams"] == (12, "multistep", 1)
    assert found["implicit_adams"] == (12, "multistep", 2)
