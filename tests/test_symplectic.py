"""Symplectic methods: order conditions of two tableaus in turn, slopes, energy over long times, gradients, refusals."""

import dataclasses

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import Control, integrate
from node_core.solvers.order import checked, rooted_trees, split_residuals
from node_core.solvers.tableaus import SPLIT_METHODS

from .oracles import differences, worst

SPLIT = pytest.mark.parametrize("name", SPLIT_METHODS)
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
ORDERS = {"symplectic_euler": 1, "leapfrog": 2, "velocity_verlet": 2, "yoshida4": 4}


def driven(t, y, k):
    """dq/dt = f(t, p) and dp/dt = g(t, q), non-linear and in time."""
    q, p = y
    return p / np.sqrt(1.0 + p * p) + 0.3 * np.sin(t), -k * np.sin(q) * (1.0 + 0.5 * np.cos(2.0 * t))


Q0, P0 = np.array([1.0, 0.4]), np.array([0.3, -0.7])


# --- the data ---


@SPLIT
def test_every_order_condition_holds_to_1e_14_and_no_method_claims_less(name):
    method = SPLIT_METHODS[name]
    assert method.order == ORDERS[name]
    residuals = split_residuals(method)
    assert len(residuals) == 2 * sum(len(rooted_trees(n)) for n in range(1, method.order + 1))
    assert max(map(abs, residuals.values())) <= 1e-14
    more = split_residuals(dataclasses.replace(method, order=method.order + 1, p=None, dense_order=None))
    assert max(map(abs, more.values())) > 1e-3


@SPLIT
def test_the_measured_order_is_the_order(name):
    def end(steps):
        y = nc.odeint(driven, (Q0, P0), [0.0, 2.0], args=(0.8,), method=name, step_size=2.0 / steps)
        return np.concatenate([part[-1] for part in y])

    reference = nc.odeint(driven, (Q0, P0), [0.0, 2.0], args=(0.8,), method="dopri8", rtol=1e-14, atol=1e-15)
    reference = np.concatenate([part[-1] for part in reference])
    steps = np.geomspace(60, 600, 5).astype(int)
    errors = [np.max(np.abs(end(n) - reference)) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - ORDERS[name]) < 0.15


def test_the_methods_are_listed():
    found = {m.name: m for m in nc.methods()}
    assert [m.kind for name, m in found.items() if name in ORDERS] == ["symplectic"] * 4
    assert found["yoshida4"].stages == 7
    assert found["leapfrog"].order == 2


# --- what they are for ---


def kepler(t, y):
    q, p = y
    return p, -q / np.sum(q * q) ** 1.5


def energy(q, p):
    return 0.5 * np.sum(p * p, axis=-1) - 1.0 / np.sqrt(np.sum(q * q, axis=-1))


ORBIT = (np.array([0.7, 0.0]), np.array([0.0, np.sqrt(1.3 / 0.7)]))


@pytest.mark.parametrize(("name", "bound"), [("symplectic_euler", 5e-3), ("leapfrog", 6e-5), ("yoshida4", 2e-8)])
def test_the_energy_of_an_orbit_does_not_drift_over_a_thousand_turns(name, bound):
    q, p = nc.odeint(kepler, ORBIT, np.linspace(0.0, 6300.0, 2001), method=name, step_size=0.01)
    error = np.abs(energy(q, p) - energy(*ORBIT))
    assert error.max() < bound
    assert error[-200:].max() < 1.5 * error[:200].max()


def test_leapfrog_is_reversible_and_its_one_step_that_of_the_book():
    h, (q, p) = 0.1, ORBIT
    half = p - 0.5 * h * q / np.sum(q * q) ** 1.5
    q1 = q + h * half
    p1 = half - 0.5 * h * q1 / np.sum(q1 * q1) ** 1.5
    found = nc.odeint(kepler, ORBIT, [0.0, h], method="leapfrog")
    np.testing.assert_allclose(np.concatenate([found[0][1], found[1][1]]), np.concatenate([q1, p1]), rtol=1e-15)
    there = nc.odeint(kepler, ORBIT, [0.0, 3.0], method="leapfrog", step_size=0.05)
    back = nc.odeint(kepler, tuple(part[-1] for part in there), [3.0, 0.0], method="leapfrog", step_size=0.05)
    np.testing.assert_allclose(back[0][-1], ORBIT[0], atol=1e-12)
    twin = nc.odeint(kepler, ORBIT, [0.0, 3.0], method="velocity_verlet", step_size=0.05)
    np.testing.assert_array_equal(twin[0], there[0])


# --- the three backends ---


@SPLIT
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_all_backends_agree_between_the_steps_too(name, sign):
    t = sign * np.array([0.0, 0.13, 0.3, 0.55, 1.0])
    found = [
        nc.odeint(driven, (Q0, P0), t, args=(0.8,), method=name, step_size=0.1, backend=b, full_output=True)
        for b in ("compiled", "callback", "python")
    ]
    for (q, p), stats in found[1:]:
        np.testing.assert_allclose(q, found[0][0][0], rtol=1e-13)
        np.testing.assert_allclose(p, found[0][0][1], rtol=1e-13, atol=1e-15)
        assert stats == found[0][1]
    exact = nc.odeint(driven, (Q0, P0), t, args=(0.8,), method="dopri8", rtol=1e-12, atol=1e-12)
    near = {1: 0.1, 2: 5e-3, 4: 1e-4}[ORDERS[name]]
    np.testing.assert_allclose(found[0][0][0], exact[0], atol=near)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 9])
def test_every_dtype_and_size_in_one_array_whose_halves_are_q_and_p(dtype, n):
    y0 = (np.arange(2 * n) / 7 + 0.5).astype(dtype)

    def fun(t, y):
        q, p = y[:n], y[n:]
        return np.concatenate([p, -q])

    found = [nc.odeint(fun, y0, [0.0, 0.25, 1.0], method="leapfrog", step_size=0.1, backend=b)
             for b in ("compiled", "python")]  # fmt: skip
    assert found[0].dtype == dtype
    near = 2e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(found[0], found[1], rtol=near, atol=near)
    q, p = y0[:n], y0[n:]
    np.testing.assert_allclose(found[0][-1, :n], q * np.cos(1.0) + p * np.sin(1.0), rtol=2e-3)


# --- gradients ---


@SPLIT
@BACKENDS
@pytest.mark.parametrize("options", [{}, {"step_size": 0.17}], ids=["a step an interval", "outputs within steps"])
def test_gradients_are_those_of_differences(name, backend, options):
    t = np.array([0.0, 0.2, 0.5, 0.6, 1.0])

    def loss(q0, p0, t, k):
        q, p = nc.odeint(driven, (q0, p0), t, args=(k,), method=name, backend=backend, **options)
        return np.sum(q[1:] * np.arange(1.0, 9.0).reshape(4, 2)) + np.sum(np.sin(p))

    values = (Q0, P0, t, np.array(0.8))
    found = nc.grad(loss, argnums=(0, 1, 2, 3))(*values)
    wanted = []
    for i, x in enumerate(values):
        wanted.append(differences(lambda x, i=i: loss(*values[:i], x, *values[i + 1 :]), x, 1e-3))
    if options:  # an inner time moves along the interpolant, whose slope jumps where steps meet; the grid is fixed
        found, wanted = (*found[:2], found[2][1:4], found[3]), [*wanted[:2], wanted[2][1:4], wanted[3]]
    assert worst(list(found), wanted) < 1e-7


def test_an_adjoint_gradient_is_refused():
    with pytest.raises(NotImplementedError, match=r"leapfrog has no adjoint gradient.*give gradient='discrete'"):
        nc.odeint_adjoint(kepler, ORBIT, [0.0, 1.0], method="leapfrog")
    with pytest.raises(NotImplementedError, match="NeuralODE: leapfrog has no adjoint gradient"):
        nc.NeuralODE(nc.nn.MLP([2, 4, 2]), method="leapfrog")


# --- solve_ivp, and what cannot be meant ---


def test_solve_ivp_takes_halves_finds_events_and_gives_the_solution():
    found = nc.solve_ivp(lambda t, y: [y[1], -y[0]], (0, 7), [1.0, 0.0], method="yoshida4", step_size=0.05,
                         events=lambda t, y: y[1] - 0.2, dense_output=True)  # fmt: skip
    np.testing.assert_allclose(np.sin(found.t_events[0]), [-0.2, -0.2], atol=1e-5)
    s = np.linspace(0, 7, 50)
    np.testing.assert_allclose(found.sol(s), [np.cos(s), -np.sin(s)], atol=1e-5)
    np.testing.assert_allclose(found.sol(s, nu=1), [-np.sin(s), -np.cos(s)], atol=1e-4)


@pytest.mark.parametrize(
    ("y0", "got"),
    [
        (np.ones(3), r"got shape \(3,\)"),
        (np.float64(1.0), r"got shape \(\)"),
        ((np.ones(2), np.ones(3)), r"got 2 leaves of \[\(2,\), \(3,\)\]"),
        ({"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)}, "got 3 leaves"),
    ],
)
def test_a_state_that_is_not_split_in_two_is_refused(y0, got):
    with pytest.raises(ValueError, match=rf"leapfrog is for split systems: y0 must be \(q, p\), .*{got}"):
        nc.odeint(lambda t, y: y, y0, [0.0, 1.0], method="leapfrog")


def test_a_tableau_of_ones_own_with_two_halves_is_checked():
    def own(**changes):
        given = {"name": "mine", "order": 2, "a": np.zeros((2, 2)), "b": [0, 1], "c": [0, 0.5],
                 "a_p": [[0, 0], [0.5, 0]], "b_p": [0.5, 0.5]}  # fmt: skip
        return nc.Tableau(**{**given, **changes})

    with pytest.raises(ValueError, match=r"mine: b_p does not have order 2: .* with a and a_p in turn, is wrong"):
        checked(own())
    kick = own(order=1, c=[0, 1], a_p=[[0, 0], [1, 0]], b_p=[1, 0])
    found = nc.odeint(kepler, ORBIT, [0.0, 0.1], method=kick)
    np.testing.assert_array_equal(found[0], nc.odeint(kepler, ORBIT, [0.0, 0.1], method="symplectic_euler")[0])
    for changes, message in (
        ({"b_p": None}, "a_p and b_p must be given together"),
        ({"a_p": np.zeros((3, 3))}, r"a_p must be \(2, 2\)"),
        ({"a_p": [[0, 1], [0.5, 0]]}, "a_p must be strictly lower triangular"),
        ({"b_p": [0.5, 0.4]}, "b_p must sum to 1"),
        ({"c": [0, 0.3]}, "the rows of a must sum to c, or those of a_p"),
        ({"e": [0, 0, 0], "embedded_order": 1}, "with a_p there are fixed steps"),
    ):
        with pytest.raises(ValueError, match=message):
            own(**changes)


def test_the_loop_in_c_wants_to_know_where_the_state_is_split():
    with pytest.raises(ValueError, match=r"control.split must be within 0 and 2"):
        integrate(lambda t, y: y, np.ones(2), np.array([0.0, 1.0]), SPLIT_METHODS["leapfrog"], Control(split=3))
