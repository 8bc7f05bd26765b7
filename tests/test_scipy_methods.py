"""RK23, RK45 and DOP853: SciPy's steps; and what DOP853 has that no other method has: stages of its dense output alone,
and two error estimates."""

import dataclasses

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import METHODS, Control, integrate
from node_core.solvers.control import CONTROLLERS, joined_norm, step_clip
from tests.oracles import replay, worst

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
Y0 = np.array([2.0, 0.5])
T = np.array([0.0, 0.7, 0.75, 0.8, 2.0])  # three of them within one step


def field(t, y, A):
    return np.sin(y) @ A + np.cos(t) * y * 0.1


def loss(y0, t, A, backend, gradient):
    y = nc.odeint(field, y0, t, args=(A,), method="DOP853", rtol=1e-6, atol=1e-8, backend=backend, gradient=gradient)
    return np.sum(y * np.cos(np.arange(y.size)).reshape(y.shape))


@BACKENDS
def test_the_discrete_gradient_goes_through_the_stages_of_the_dense_output_alone(backend):
    """Against central differences of the same steps."""
    found = nc.grad(loss, argnums=(0, 1, 2))(Y0, T, A, backend, "discrete")
    method, control = METHODS["DOP853"], Control(rtol=1e-6, atol=1e-8, as_scipy=True, controller="I")
    record = integrate(lambda t, y: field(t, y, A), Y0, T, method, control, record=True).record
    assert record.extra.sum() >= 1
    assert not record.extra.all()
    weights = np.cos(np.arange(10)).reshape(5, 2)

    def same_steps(y0, t, A):
        return np.sum(replay(lambda s, y: field(s, y, A), y0, t, method, record) * weights)

    wanted = []
    for k, x in enumerate((Y0, T, A)):
        slope = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            moved = [np.array(v) for v in (Y0, T, A)]
            ends = []
            for h in (1e-6, -1e-6):
                moved[k] = np.array((Y0, T, A)[k])
                moved[k][i] += h
                ends.append(same_steps(*moved))
            slope[i] = (ends[0] - ends[1]) / 2e-6
        wanted.append(slope)
    assert worst(list(found), wanted) < 1e-7


@BACKENDS
def test_the_adjoint_gradient_agrees_with_the_discrete_one(backend):
    discrete = nc.grad(loss, argnums=(0, 1, 2))(Y0, T, A, backend, "discrete")
    adjoint = nc.grad(loss, argnums=(0, 1, 2))(Y0, T, A, backend, "adjoint")
    assert worst(list(adjoint), list(discrete)) < 1e-5


@BACKENDS
def test_the_extra_stages_are_evaluated_only_where_an_output_lies_inside_a_step(backend):
    def evaluations(t):
        return nc.odeint(field, Y0, t, args=(A,), method="DOP853", backend=backend, full_output=True)[1].nfev

    bare = evaluations([0.0, 2.0])
    assert evaluations(T) - bare in (3, 6)  # three outputs in one step or two
    assert evaluations(np.linspace(0.0, 2.0, 1001)) % 3 == bare % 3


@pytest.mark.parametrize("backend", ["compiled", "python"])
def test_an_extra_stage_that_is_not_finite_stops_the_solve_with_its_time(backend):
    def bad(t, y):
        return y * (np.nan if abs(t - 0.1) < 1e-12 else 1.0)  # the first extra stage of the step from 0 to 1

    control = Control(first_step=1.0, rtol=1e-2, atol=1e-2)
    with pytest.raises(nc.SolverError, match=r"non-finite value in component 0 at t = 0.1"):
        integrate(bad, np.ones(1), np.array([0.0, 0.5, 2.0]), METHODS["DOP853"], control, backend=backend)


def test_the_two_error_estimates_are_joined_as_in_the_book():
    assert joined_norm(0.0, 0.0) == 0.0
    assert joined_norm(2.0, 0.0) == 2.0
    assert joined_norm(3.0, 40.0) == pytest.approx(9.0 / 5.0)
    assert np.isnan(joined_norm(np.nan, 1.0))


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize("name", ["bosh3", "dopri5", "RK23", "RK45", "DOP853"])
def test_both_backends_take_the_same_steps_by_every_controller(name, controller):
    control = Control(rtol=1e-5, atol=1e-7, controller=controller, as_scipy=METHODS[name].as_scipy)
    c, p = (
        integrate(lambda t, y: field(t, y, A), Y0, T[::-1].copy(), METHODS[name], control, backend=b)
        for b in ("compiled", "python")
    )
    assert c.stats == p.stats
    np.testing.assert_allclose(c.y, p.y, rtol=1e-9)


def test_the_controllers_are_those_of_the_literature():
    by_name = {
        "I": (0.2, 0, 0), "PI": (0.17, -0.04, 0), "PI33": (2 / 15, -1 / 15, 0), "PI34": (0.14, -0.08, 0),
        "PI42": (0.12, -0.04, 0), "H211PI": (1 / 30, 1 / 30, 0), "PID": (1 / 90, 1 / 45, 1 / 90),
    }  # fmt: skip
    assert set(by_name) == set(CONTROLLERS)
    for name, exponents in by_name.items():
        np.testing.assert_allclose(Control(controller=name).exponents(4), exponents, rtol=1e-15)
    steps = {
        name: nc.odeint(field, Y0, [0.0, 9.0], args=(A,), controller=name, full_output=True)[1] for name in CONTROLLERS
    }
    assert all(30 < s.naccepted < 100 for s in steps.values())
    assert len({(s.naccepted, s.nrejected) for s in steps.values()}) > 3
    default = nc.odeint(field, Y0, [0.0, 9.0], args=(A,), full_output=True)[1]
    assert default == steps["PI"]


@pytest.mark.parametrize("controller", [None, "pi", 3, ["PI"]])
def test_a_controller_that_does_not_exist_is_refused(controller):
    with pytest.raises(ValueError, match=r"controller must be one of I, PI, .*PID, got"):
        nc.odeint(field, Y0, T, args=(A,), controller=controller)


def test_steps_as_scipy_are_what_lies_between_two_times_and_are_not_stretched():
    scipy, ours = Control(as_scipy=True), Control()
    h, last = step_clip(0.1, 0.3, 5.0, scipy)
    assert 0.1 + h == 0.1 + 0.3
    assert h == (0.1 + 0.3) - 0.1
    assert not last
    assert step_clip(0.0, 1.0, 1.005, scipy) == (1.0, False)
    assert step_clip(0.0, 1.0, 1.005, ours) == (1.005, True)
    assert step_clip(0.0, 1.0, 1.0, scipy) == (1.0, True)
    assert step_clip(8.0, -1e-18, 0.0, scipy) == (-10 * np.spacing(8.0), False)  # raised where a step begins
    assert step_clip(8.0, -1e-12, 0.0, scipy, begins=False)[0] == (8.0 - 1e-12) - 8.0
    assert step_clip(8.0, -2.0, 0.0, dataclasses.replace(scipy, max_step=0.5)) == (-0.5, False)


@BACKENDS
@pytest.mark.parametrize("name", ["RK23", "RK45"])
def test_without_its_steps_the_tableau_is_bosh3s_and_dopri5s(name, backend):
    twin = {"RK23": "bosh3", "RK45": "dopri5"}[name]
    fixed = {"first_step": 0.01, "max_step": 0.01, "rtol": 1e-2, "atol": 1e-2, "backend": backend}
    y = [nc.odeint(field, Y0, [0.0, 0.25, 0.5], args=(A,), method=m, **fixed) for m in (name, twin)]
    np.testing.assert_allclose(*y, rtol=1e-13)
