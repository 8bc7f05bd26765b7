"""nc.compile of functions with solves in them: the same answers as without, whatever lies between the solves."""

import numpy as np
import pytest

import node_core as nc
from node_core import optim

T = np.array([0.0, 0.3, 0.7, 1.0])
Y0 = np.array([[1.0, -0.5], [0.3, 0.8], [-0.2, 0.4]])
RNG = np.random.default_rng(3)
PARAMS = {"W": 0.3 * RNG.standard_normal((2, 2)), "b": 0.1 * RNG.standard_normal(2)}


def field(t, y, p):
    return np.tanh(y @ p["W"] + p["b"]) - 0.1 * t * y


def net(p, t, y):
    return field(t, y, p)


def same(got, wanted, rtol=1e-12):
    a, b = nc.tree.map(np.asarray, got), nc.tree.map(np.asarray, wanted)
    nc.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol), a, b)
    nc.tree.map(lambda x, y: np.testing.assert_equal((x.shape, x.dtype), (y.shape, y.dtype)), a, b)


def compiled_like(fun, *args, rtol=1e-12):
    """The compiled function, found to agree with fun at these arguments; a warning is an error."""
    compiled = nc.compile(fun)
    same(compiled(*args), fun(*args), rtol)
    same(compiled(*args), fun(*args), rtol)
    return compiled


MODES = pytest.mark.parametrize("gradient", ["discrete", "adjoint"])


@pytest.mark.filterwarnings("error")
@MODES
@pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.07}, {"method": "heun2"}])
def test_loss_and_gradient(gradient, backend, options):
    def loss(p):
        return np.mean(np.abs(nc.odeint(field, Y0, T, args=(p,), gradient=gradient, backend=backend, **options) - 0.1))

    compiled_like(nc.value_and_grad(loss), PARAMS)


@pytest.mark.filterwarnings("error")
@MODES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_to_everything_in_both_precisions(gradient, dtype):
    def loss(p, y0, t):
        return np.sum(nc.odeint(field, y0, t, args=(p,), gradient=gradient) ** 2)

    p, y0 = nc.tree.map(lambda x: x.astype(dtype), PARAMS), Y0.astype(dtype)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    compiled = compiled_like(nc.grad(lambda p, y0: loss(p, y0, T), argnums=(0, 1)), p, y0, rtol=rtol)
    backward = T[::-1].copy()
    compiled_like(nc.grad(lambda p, y0: loss(p, y0, backward), argnums=(0, 1)), p, y0, rtol=rtol)
    if dtype == np.float64:
        every = compiled_like(nc.grad(loss, argnums=(0, 1, 2)), p, y0, T)
        same(every(p, y0, backward), nc.grad(loss, argnums=(0, 1, 2))(p, y0, backward))
    same(compiled(p, 2 * y0), nc.grad(lambda p, y0: loss(p, y0, T), argnums=(0, 1))(p, 2 * y0), rtol)


@pytest.mark.filterwarnings("error")
@MODES
def test_a_neural_ode_with_layers_before_and_behind(gradient):
    ode = nc.NeuralODE(net, gradient=gradient, rtol=1e-8)

    def loss(p, x):
        z = np.tanh(x @ p["in"])
        y = ode(p["f"], z, T)
        return np.sum(np.exp(-((y[-1] @ p["out"]) ** 2))) + np.mean(y[1] ** 2)

    rng = np.random.default_rng(0)
    p = {"in": rng.standard_normal((4, 2)), "f": PARAMS, "out": rng.standard_normal((2, 3))}
    compiled_like(nc.value_and_grad(loss), p, rng.standard_normal((5, 4)))


@pytest.mark.filterwarnings("error")
def test_solves_one_after_the_other_and_side_by_side():
    def loss(p):
        first = nc.odeint(field, Y0, T, args=(p,))
        second = nc.odeint(field, np.sin(first[-1]) * p["b"], T, args=(p,), gradient="adjoint", rtol=1e-9, atol=1e-9)
        beside = nc.odeint(field, Y0 * p["b"], T[:2], args=(p,), method="rk4")
        return np.sum(second[1] * first[2]) + np.sum(beside**2) + np.sum(p["W"])

    compiled = compiled_like(nc.value_and_grad(loss), PARAMS)
    assert compiled.listing(PARAMS).count("odeint(") == 3
    assert compiled.listing(PARAMS).count("odeint_vjp(") == 3


@pytest.mark.filterwarnings("error")
def test_the_way_back_takes_what_the_solve_has_saved():
    def loss(p):
        return np.sum(nc.odeint(field, np.ones((2, 2)), np.array([0.0, 0.5]), args=(p,))[-1] ** 2)

    listing = compiled_like(nc.grad(loss), PARAMS).listing(PARAMS)
    assert listing.count("back through") == 1
    assert listing.count("odeint") == 2


@pytest.mark.filterwarnings("error")
def test_two_losses_of_one_solve_go_back_twice():
    def jacobian(p):
        return nc.jacobian(lambda b: nc.odeint(field, Y0[0], T, args=({**p, "b": b},))[-1])(p["b"])

    compiled_like(jacobian, PARAMS)


@pytest.mark.filterwarnings("error")
def test_a_nested_state_and_leaves_without_a_gradient():
    def pair(t, y, p, k):
        return {"q": y["p"] * p["b"], "p": -y["q"] * k}

    def loss(p):
        y = nc.odeint(pair, {"q": np.ones(2), "p": np.zeros(2)}, T, args=(p, 2))
        return np.sum(y["q"] ** 2) + np.sum(y["p"][1])

    value, grads = nc.compile(nc.value_and_grad(loss))({"b": PARAMS["b"], "n": 3})
    assert grads["n"] is None
    same((value, grads["b"]), (lambda v, g: (v, g["b"]))(*nc.value_and_grad(loss)({"b": PARAMS["b"], "n": 3})))


@pytest.mark.filterwarnings("error")
def test_what_func_closes_over_has_its_gradient():
    def loss(p):
        return np.sum(nc.odeint(lambda t, y: np.tanh(y @ p["W"] + p["b"]), Y0, T) ** 2)

    compiled_like(nc.value_and_grad(loss), PARAMS)


def test_func_that_closes_over_a_traced_value_leaves_the_shape_as_it_is():
    shapes = []

    def loss(p):
        y = nc.odeint(lambda t, y: y @ p["W"], Y0, T)
        shapes.append(y.shape)
        return np.sum(y)

    nc.grad(loss)(PARAMS)
    assert shapes == [(4, 3, 2)]


@pytest.mark.filterwarnings("error")
def test_arrays_closed_over_are_read_at_every_call():
    y0, t, target, scale = Y0.copy(), T.copy(), np.zeros((4, 3, 2)), np.ones(2)

    def loss(p):
        y = nc.odeint(lambda t, y, p: scale * field(t, y, p), y0, t, args=(p,))
        return np.sum((y - target) ** 2)

    compiled = compiled_like(nc.value_and_grad(loss), PARAMS)
    for array in (y0, t, target, scale):
        array += 0.5
        same(compiled(PARAMS), nc.value_and_grad(loss)(PARAMS))
    t[2] = t[1]  # repeated
    same(compiled(PARAMS), nc.value_and_grad(loss)(PARAMS))
    t[2] = t[1] - 0.25
    with pytest.raises(ValueError, match="t must increase or decrease"):
        compiled(PARAMS)
    t[2] = 0.5 * (t[1] + t[3])
    y0[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"y0 must be finite, got nan at y0\[1, 1\]"):
        compiled(PARAMS)


@pytest.mark.filterwarnings("error")
def test_gradients_are_the_callers_own():
    compiled = nc.compile(nc.value_and_grad(lambda p: np.sum(nc.odeint(field, Y0, T, args=(p,)))))
    _, first = compiled(PARAMS)
    wanted = nc.tree.map(np.copy, first)
    _, second = compiled(PARAMS)
    nc.tree.map(lambda x: x.fill(7.0), first)
    same(second, wanted)
    second["W"] += 1.0
    same(second["b"], wanted["b"])


def test_outputs_that_are_one_array_are_copies():
    def trajectory(p):
        y = nc.odeint(field, Y0, T, args=(p,))
        return y, y[1], y[1:], y.reshape(-1), p["b"]

    found = nc.compile(trajectory)(PARAMS)
    for k, x in enumerate(found):
        for other in (*found[:k], PARAMS["b"], Y0):
            assert not np.shares_memory(x, other)


def test_a_failed_solve_tells_the_state_in_its_shape():
    def loss(p):
        return np.sum(nc.odeint(lambda t, y, p: p["b"] * y**3, np.ones((3, 2)), [0.0, 50.0], args=(p,)))

    small = {"b": np.full(2, 1e-3)}
    compiled = nc.compile(nc.value_and_grad(loss))
    compiled(small)
    with pytest.raises(nc.SolverError) as caught:
        compiled({"b": np.ones(2)})
    assert caught.value.y.shape == (3, 2)


def test_what_has_no_compiled_form_between_solves_is_numpys():
    def loss(p):
        return np.sum(np.sort(nc.odeint(field, Y0, T, args=(p,))[-1], axis=0)[0])

    compiled = nc.compile(nc.value_and_grad(loss))
    with pytest.warns(RuntimeWarning, match=r"between its solves NumPy is called: .*sort"):
        got = compiled(PARAMS)
    same(got, nc.value_and_grad(loss)(PARAMS))


@pytest.mark.filterwarnings("error")
@MODES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks_before_a_solve_are_made_again_after_it(gradient, dtype):
    def loss(p, x):
        h = nc.nn.relu(x @ p["A"])
        h = np.where((h > 0.5) & (h < 1), 2 * h, h)  # a mask of masks
        y = nc.odeint(lambda t, y, p: np.tanh(y @ p["W"]), h, T.astype(dtype), args=(p,), gradient=gradient)[-1]
        return np.sum(nc.nn.relu(y) ** 2) + np.sum(h)

    rng = np.random.default_rng(0)
    p = {"A": rng.standard_normal((3, 2)).astype(dtype), "W": PARAMS["W"].astype(dtype)}
    compiled = nc.compile(nc.value_and_grad(loss))
    for _ in range(3):
        x = rng.standard_normal((5, 3)).astype(dtype)
        same(compiled(p, x), nc.value_and_grad(loss)(p, x), 2e-5 if dtype == np.float32 else 1e-12)
    assert "by NumPy" not in compiled.listing(p, x)


@pytest.mark.parametrize("side", [np.less, np.greater])
def test_a_function_with_a_solve_that_differs_at_one_point_is_not_pure(side):
    def fun(y0):  # recorded, it has no factor; the check compares at y0[0] = 1 and at 1.002
        factor = 2.0 if isinstance(y0, np.ndarray) and side(y0[0, 0], 1.001) else 1.0
        return factor * nc.odeint(lambda t, y: -y, y0, T)[-1]

    with pytest.warns(RuntimeWarning, match="the function gave two answers for the same arguments"):
        nc.compile(fun)(np.ones((3, 2)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_a_solve_that_goes_by_other_steps_does_not_count_as_impure(seed):
    """At its tolerance of 1e-6 the adjoint's gradient of a recorded function may differ from the function's own."""
    from node_core.models import LatentODE, fit_series

    x, model = np.random.default_rng(seed).standard_normal((10, 4, 2)), LatentODE(2)
    assert fit_series(model, model.init(seed), np.arange(10.0), x, steps=2).stopped is None


@pytest.mark.filterwarnings("error")
def test_a_kink_that_rounding_decides_does_not_count_as_impure():
    rng, flipped = np.random.default_rng(0), 0
    for _ in range(40):
        x = rng.standard_normal((2, 100)).astype(np.float32)
        sums = x[0] @ x[1]  # the Program adds in another order

        def fun(x, sums=sums):
            return np.where(x[0] @ x[1] < sums, 0.0, 1.0).astype(np.float32) * np.ones(3, np.float32)

        flipped += not np.array_equal(nc.compile(fun)(x), fun(x))
    assert flipped  # else nothing has been tested


def test_a_kink_at_the_edge_of_the_domain_is_judged_by_the_perturbations_within_it():
    def fun(x):  # beside a function of the type, which no rounding explains
        if isinstance(x, np.ndarray) and np.any(x > 1.0):
            raise ValueError("x must be at most 1")
        return (2.0 if isinstance(x, np.ndarray) else 1.0) * x

    with pytest.warns(RuntimeWarning, match="two answers for the same arguments"):
        nc.compile(fun)(np.ones(3))


def test_statistics_of_one_call_are_not_given_at_every_call():
    compiled = nc.compile(lambda p: nc.odeint(field, Y0, T, args=(p,), full_output=True))
    with pytest.warns(RuntimeWarning, match="the statistics of a solve"):
        y, stats = compiled(PARAMS)
    assert stats.nfev > 0
    assert y.shape == (4, 3, 2)


@pytest.mark.parametrize("outer", ["grad", "jvp"])
def test_second_derivatives_are_not_recorded_but_computed(outer):
    gradient = nc.grad(lambda y0: np.sum(nc.odeint(lambda t, y: -(y**2), y0, T)))
    second = {"grad": nc.grad(lambda y0: np.sum(gradient(y0))),
              "jvp": lambda y0: nc.jvp(gradient, (y0,), (np.ones(2),))[1]}[outer]  # fmt: skip
    with pytest.warns(RuntimeWarning, match="follows? the steps of one solve; a graph has none"):
        found = nc.compile(second)(np.ones(2))
    np.testing.assert_array_equal(found, second(np.ones(2)))


def test_an_impure_function_is_called_itself():
    calls = []

    def fun(x):
        calls.append(None)
        return x * float(len(calls))

    compiled = nc.compile(fun)
    with pytest.warns(RuntimeWarning, match="it is not pure"):
        compiled(np.ones(2))
    before = len(calls)
    np.testing.assert_array_equal(compiled(np.ones(2)), np.full(2, before + 1.0))


@pytest.mark.filterwarnings("error")
def test_signatures_alternate():
    compiled = nc.compile(lambda x, k=2: np.sum(x**k))
    for _ in range(2):
        for args in ((np.ones(3),), (np.full(5, 2.0),), (np.full(5, 2.0, np.float32),), (np.full(3, 2.0), 3)):
            same(compiled(*args), np.sum(args[0] ** (args[1] if len(args) > 1 else 2)))


def test_ever_new_numbers_are_worth_a_warning():
    compiled = nc.compile(lambda x, step: x * step)
    for step in range(31):
        np.testing.assert_array_equal(compiled(np.ones(2), step), np.full(2, float(step)))
    with pytest.warns(RuntimeWarning, match=r"give numbers that change as np.float64\(x\)"):
        compiled(np.ones(2), 31)


@pytest.mark.filterwarnings("error")
def test_a_training_loop_goes_as_without():
    ode = nc.NeuralODE(net, gradient="discrete")
    step = nc.value_and_grad(lambda p: np.mean(np.abs(ode(p, Y0, T))))
    losses = []
    for run in (step, nc.compile(step)):
        opt, p = optim.Adam(1e-2), PARAMS
        state = opt.init(p)
        for _ in range(20):
            value, grads = run(p)
            p, state = opt.update(p, grads, state)
        losses.append((value, p))
    same(losses[0], losses[1], 1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("transform", [nc.grad, nc.jacobian, nc.hessian, nc.value_and_grad])
def test_derivatives_see_closed_over_arrays_change_though_no_argument_meets_them(transform):
    w = np.array([2.0, 3.0])

    def fun(x):
        return np.sum(x @ np.outer(w, w)) + np.sum(w * x**2)

    compiled = nc.compile(transform(fun))
    compiled(np.ones(2))
    w *= 2.0
    same(compiled(np.ones(2)), transform(fun)(np.ones(2)))


@pytest.mark.filterwarnings("error")
def test_directions_given_as_plain_arrays_meet_closed_over_arrays_as_they_are_now():
    w = np.array([[2.0, 3.0], [1.0, -1.0]])
    forward = nc.compile(lambda x: nc.jvp(lambda x: x @ w, (x,), (np.array([1.0, 0.0]),))[1])
    backward = nc.compile(lambda x: nc.vjp(lambda x: x @ w, x)[1](np.array([1.0, 0.0]))[0])
    columns = nc.compile(nc.jacobian(lambda x: np.tanh(x) @ w))
    x = np.array([0.3, 0.2])
    for _ in range(2):
        same((forward(x), backward(x)), (w[0], w[:, 0]))
        same(columns(x), (w * (1 - np.tanh(x) ** 2)[:, None]).T)
        w *= 3.0


@pytest.mark.filterwarnings("error")
def test_constants_computed_from_closed_over_arrays_follow_them():
    w, index, nan = np.array([2.0, 3.0]), np.array([0, 1]), np.array([np.nan, 1.0])

    def loss(x):
        scale = 2 * w  # the field closes over what was made here
        y = nc.odeint(lambda t, y: -scale * y, x, T)
        return np.sum(y[-1][index] * np.outer(w, w)[0]) + np.where(np.isnan(nan[0]), 0.0, x[0])

    compiled = compiled_like(nc.value_and_grad(loss), np.ones(2))
    kept = dict(compiled._plain)
    compiled(np.ones(2))
    assert compiled._plain == kept  # nothing was traced again
    w[0] = 1.5
    same(compiled(np.ones(2)), nc.value_and_grad(loss)(np.ones(2)))
    index[1] = 0
    same(compiled(np.ones(2)), nc.value_and_grad(loss)(np.ones(2)))


@pytest.mark.filterwarnings("error")
def test_an_array_that_changes_without_changing_a_constant_is_watched_no_longer():
    batch, grid = np.ones(3), np.ones(3)

    def loss(x):
        return np.sum(x * batch * np.linspace(0, 1, 3) * np.outer(grid, grid)[0])

    compiled = nc.compile(loss)
    for k in range(5):
        batch[:] = k
        same(compiled(np.ones(3)), loss(np.ones(3)))
    kept = dict(compiled._plain)
    batch[:] = 7.0
    compiled(np.ones(3))
    assert compiled._plain == kept
    grid[0] = 2.0
    same(compiled(np.ones(3)), loss(np.ones(3)))


@pytest.mark.filterwarnings("error")
def test_a_compiled_field_follows_what_it_computes_from_closed_over_arrays():
    w = np.array([1.0, 2.0])
    field = nc.compile(lambda t, y: -(w * w) * y + np.sum(w))
    for _ in range(2):
        same(nc.odeint(field, np.ones(2), T), nc.odeint(field.fun, np.ones(2), T))
        w *= 0.5
