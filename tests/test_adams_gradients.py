"""Gradients of the Adams methods: the adjoint, and the discrete one through their own steps."""

import numpy as np
import pytest

import node_core as nc
from node_core.adjoint.replay import Replay
from node_core.program import Field
from node_core.solvers import Control, tableau

from .oracles import differences, linear_closed_form, relative
from .test_adams import BACKENDS, BOTH, Y0, T, circle

A = np.array([[-0.1, 2.0], [-2.0, -0.1]])


def loss(A, y0, t, method, **options):
    ys = nc.odeint(lambda t, y, A: A @ y + np.sin(t) * y**2, y0, t, args=(A,), method=method, **options)
    return np.sum(ys**2 * np.arange(1.0, 1.0 + 2 * len(t)).reshape(-1, 2))


@BOTH
@BACKENDS
@pytest.mark.parametrize("options", [{"rtol": 1e-11, "atol": 1e-11}, {"step_size": 0.002, "max_order": 5}])
def test_the_adjoint_gives_the_gradient_that_other_methods_give(name, backend, options):
    t = np.array([0.0, 0.3, 1.1])
    wanted = nc.grad(loss, argnums=(0, 1, 2))(A, Y0, t, "DOP853", rtol=1e-12, atol=1e-12)
    if backend == "python" and "step_size" in options:
        options = {"step_size": 0.01, "max_order": 5}
    got = nc.grad(loss, argnums=(0, 1, 2))(A, Y0, t, name, gradient="adjoint", backend=backend, **options)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize(
    "options",
    [{"rtol": 1e-6, "atol": 1e-6}, *({"step_size": 0.05, "max_order": q} for q in (1, 2, 4, 6, 9))],
    ids=str,
)
def test_the_adjoint_s_quadrature_is_the_same_in_c(name, options):
    """Of the parameters, which C adds up slope by slope and Python integrates with the state."""
    t = np.array([0.0, 0.3, 1.1])
    c, p = (nc.grad(loss)(A, Y0, t, name, gradient="adjoint", backend=b, **options)
            for b in ("compiled", "python"))  # fmt: skip
    np.testing.assert_allclose(c, p, rtol=1e-8)


STEPS = [{"rtol": 1e-10, "atol": 1e-11}, {"step_size": 0.013, "max_order": 5}, {"step_size": 0.004, "max_order": 8},
         {"rtol": 1e-5, "atol": 1e-6, "max_order": 3}]  # fmt: skip


@BOTH
@BACKENDS
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("options", STEPS, ids=str)
def test_the_steps_taken_again_in_plain_numpy_give_the_same_numbers(name, backend, dtype, options):
    if dtype == np.float32 and "rtol" in options:
        options = {**options, "rtol": 1e-4, "atol": 1e-4}
    y0, t = Y0.astype(dtype), np.array([0.0, 0.31, 0.7, 1.1])
    field, rule = Field(circle, y0, ()), tableau(name)
    replay = Replay(field, rule, Control(**options), (y0, t), backend)
    assert len(replay.orders) == replay.stats.naccepted
    assert (replay.orders == 0).any() == ("step_size" in options)  # the starting method's steps
    # steps that have doubled and doubled have weights that magnify rounding, of order 8 some thousand times
    magnified = 200 if options.get("max_order", 12) > 8 else 1
    bound = 50 * np.finfo(dtype).eps * magnified
    np.testing.assert_allclose(replay(y0, t), replay.y, rtol=bound, atol=bound)


@BOTH
@BACKENDS
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_the_discrete_gradient_of_a_linear_system_equals_its_closed_form(name, backend, sign):
    t, G = 0.5 + sign * np.array([0.0, 0.3, 0.9, 2.0]), np.random.default_rng(0).standard_normal((4, 2))

    def linear(y0, A, t, **options):
        ys, stats = nc.odeint(lambda t, y, A: A @ y, y0, t, args=(A,), method=name, backend=backend, full_output=True,
                              **options)  # fmt: skip
        linear.stats = stats
        return np.sum(G * ys)

    wanted = linear_closed_form(A, Y0, t, G)[1:]
    for options, bound in (({"rtol": 1e-10, "atol": 1e-12}, 3e-6), ({"step_size": 0.008, "max_order": 6}, 1e-8)):
        found = nc.grad(linear, (0, 1, 2))(Y0, A, t, **options)
        assert max(map(relative, found[:2], wanted[:2])) < 1e-2 * bound
        assert relative(found[2], wanted[2]) < bound  # inner times by the slope of the dense output
        assert linear.stats.nfev_backward >= linear.stats.naccepted


@BOTH
@pytest.mark.parametrize("options", STEPS[1:3], ids=str)
def test_the_discrete_gradient_is_that_of_the_computed_numbers(name, options):
    """Equal steps do not depend on y0 and A, so that differences of them are smooth."""
    t = np.array([0.0, 0.31, 1.1])
    found = nc.grad(loss, (0, 1, 2))(A, Y0, t, name, **options)
    for i, x in ((0, A), (1, Y0)):
        wanted = differences(lambda v, i=i: loss(*(v if j == i else w for j, w in enumerate((A, Y0))), t, name,
                                                 **options), x)  # fmt: skip
        assert relative(found[i], wanted) < 1e-10
    end = differences(lambda s: loss(A, Y0, np.append(t[:2], s), name, **options), 1.1, step=1e-4)
    assert abs(found[2][-1] - end) < 1e-7 * abs(end)  # the last step is cut short


@BOTH
def test_tangents_and_second_derivatives_follow_the_same_steps(name):
    t, y0 = np.array([0.0, 0.5, 1.5]), np.array([0.9])
    options = {"method": name, "rtol": 1e-10, "atol": 1e-12}

    def end(y0, k, t):
        return nc.odeint(lambda t, y, k: -k * y, y0, t, args=(k,), **options)[-1, 0]

    v = (np.array([0.3]), -0.2, np.array([0.1, 0.2, -0.4]))
    tangent = nc.jvp(end, (y0, 0.8, t), v)[1]
    grads = nc.grad(end, (0, 1, 2))(y0, 0.8, t)
    assert abs(tangent - sum(np.sum(g * d) for g, d in zip(grads, v, strict=True))) < 1e-12
    twice = nc.grad(nc.grad(lambda k: end(y0, k, t)))(0.8)
    assert abs(twice - 1.5**2 * 0.9 * np.exp(-0.8 * 1.5)) < 1e-7
    adjoint = {"gradient": "adjoint"}
    mixed = nc.grad(nc.grad(lambda k: nc.odeint(lambda t, y, k: -k * y, y0, t, args=(k,), **options, **adjoint)[-1, 0]))
    assert abs(mixed(0.8) - twice) < 1e-9


@BOTH
def test_a_gradient_by_past_slopes_that_is_not_finite_is_told(name):
    with (
        np.errstate(all="ignore"),
        pytest.raises(nc.SolverError, match=r"the gradient by args\[0\] is not finite"),
    ):
        nc.grad(lambda p: np.sum(nc.odeint(lambda t, y, p: -y * np.sqrt(p), Y0, T, args=(p,), method=name)))(0.0)


@BOTH
def test_callbacks_see_a_differentiated_solve_once(name):
    seen = []

    def end(y0):
        return np.sum(nc.odeint(circle, y0, T, method=name, on_accept=lambda t, y, h: seen.append(t)))

    nc.grad(end)(Y0)
    assert seen == sorted(set(seen))
    assert len(seen) > 5
