"""Programs: the passes, the lowering, and what csrc computes, against the Python path."""

import gc
import itertools
import re
import threading
import warnings
import weakref

import numpy as np
import pytest

import node_core as nc
from node_core._kernels import rk
from node_core.autodiff.primitive import ALL
from node_core.bench.scaling import evaluation_time
from node_core.program import scalars
from node_core.program.compiled import Compiled
from node_core.program.passes import (
    cleaned_up,
    constants_folded,
    duplicates_merged,
    einsum_as_matmul,
    optimised,
    with_bias_joined,
)
from node_core.program.trace import trace
from tests.test_table import SAMPLES, arguments

# What Programs do not do yet, by the reason a user reads; everything else in the table must lower.
REFUSED = (
    "argsort", "searchsorted", "linalg.", "complex", "results that are not floating", "depends on the value",
    "computes in float64, the state is float32",
)  # fmt: skip
RNG = np.random.default_rng(0)
T = np.linspace(0.0, 1.0, 5)


def lowered_or_reason(function, args):
    """What the Program computes, or why there is none."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        found = Compiled(function)(*args)
    reasons = [str(w.message) for w in caught if "is called itself" in str(w.message)]
    return (None, reasons[0]) if reasons else (found, None)


def assert_close(got, want, tolerance):
    for g, w in zip(nc.tree.flatten(got)[0], nc.tree.flatten(want)[0], strict=True):
        w = np.asarray(w)
        assert np.shape(g) == w.shape
        scale = np.max(np.abs(w[np.isfinite(w)]), initial=1e-300)
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(("call", "domain", "shapes"), SAMPLES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["value", "vjp"])
def test_a_program_of_every_sample_equals_the_python_path(call, domain, shapes, dtype, kind):
    args = arguments(domain, shapes, dtype)

    def pulled(*args):
        out, pullback = nc.vjp(call, *args)
        return pullback(nc.tree.map(lambda x: np.cos(x).astype(x.dtype), out))

    function = (lambda *args: call(*args)) if kind == "value" else pulled
    got, reason = lowered_or_reason(function, args)
    if reason is not None:
        assert any(word in reason for word in REFUSED), reason
        return
    with np.errstate(all="ignore"):
        assert_close(got, function(*args), 1e-12 if dtype is np.float64 else 1e-5)


def test_the_primitives_without_a_program_are_those_the_readme_names():
    differentiable = {name for name, p in ALL.items() if p.differentiable}
    from node_core.program.elementwise import kernel_of
    from node_core.program.lower import HANDLERS
    from node_core.program.moves import VIEWS

    lowered = {n for n in differentiable if kernel_of(n) or n in HANDLERS or n in VIEWS}
    lowered |= {"einsum", "deg2rad", "rad2deg", "imag"}  # rewritten by the passes
    assert differentiable - lowered == {n for n in differentiable if n.startswith("linalg.")}


# --- passes ---


def names(graph):
    return [step.primitive.name for step in graph.instructions]


def same_values(graph, *args):
    for run in (constants_folded, cleaned_up, duplicates_merged, einsum_as_matmul, with_bias_joined, optimised):
        assert_close(run(graph)(*args), graph(*args), 1e-14)


def test_constants_are_folded():
    graph = trace(lambda x: x * np.sin(np.imag(x) + 2.0), np.ones(2))  # imag of a real value is a constant
    same_values(graph, np.array([3.0, 4.0]))
    assert names(optimised(graph)) == ["multiply"]


def test_equal_instructions_are_computed_once():
    graph = trace(lambda x: np.sin(x) * np.cos(x) + np.sin(x), np.ones(3))
    same_values(graph, np.array([0.1, 0.2, 0.3]))
    assert names(duplicates_merged(graph)).count("sin") == 1


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: x * 1.0, []),
        (lambda x: 0.0 + x, []),
        (lambda x: x - 0.0, []),
        (lambda x: x / 1, []),
        (lambda x: -np.negative(x), []),
        (lambda x: x * -1.0, ["negative"]),
        (lambda x: x**1, []),
        (lambda x: x**2, ["square"]),
        (lambda x: x**3, ["cube"]),
        (lambda x: x.T.T, []),
        (lambda x: x.reshape(3, 2).reshape(2, 3), []),
        (lambda x: 1 - x * x, ["tanh_slope"]),
        (lambda x: np.sin(x) * (1 - x * x), ["sin", "tanh_back"]),
        (lambda x: x * 0.0, ["multiply"]),  # NaN and infinity must be seen
        (lambda x: np.sum(x[None], axis=0), ["getitem", "reshape"]),
    ],
)
def test_algebra_is_cleaned_up_where_it_changes_no_value(function, left):
    x = RNG.standard_normal((2, 3))
    graph = trace(function, x)
    same_values(graph, x)
    assert names(optimised(graph)) == left


def test_a_bias_is_joined_to_its_product_and_a_product_used_twice_is_not():
    W, b, x = RNG.standard_normal((3, 4)), RNG.standard_normal(4), RNG.standard_normal((5, 3))
    graph = trace(lambda x, W, b: np.tanh(x @ W + b), x, W, b)
    same_values(graph, x, W, b)
    assert names(optimised(graph)) == ["matmul_bias", "tanh"]

    def twice(x, W, b):
        y = x @ W
        return y * (y + b)

    assert "matmul_bias" not in names(optimised(trace(twice, x, W, b)))


@pytest.mark.parametrize(
    "spec", ["ij,jk->ik", "bij,bjk->bik", "ij,kj->ik", "i,j->ij", "ij,ij->i", "ij,jk,kl->il", "i,i->"]
)
def test_an_einsum_becomes_matmuls(spec):
    sizes = dict(zip("bijkl", (2, 3, 4, 5, 6), strict=True))
    xs = [RNG.standard_normal([sizes[c] for c in term]) for term in spec.split("->")[0].split(",")]
    graph = trace(lambda *xs: np.einsum(spec, *xs), *xs)
    assert "einsum" not in names(optimised(graph))
    assert_close(optimised(graph)(*xs), np.einsum(spec, *xs), 1e-13)


# --- lowering ---


def net(t, y, p):
    return np.tanh(y**3 @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]


def parameters(dtype=np.float64, hidden=50):
    rng = np.random.default_rng(1)
    shapes = {"W1": (2, hidden), "b1": (hidden,), "W2": (hidden, 2), "b2": (2,)}
    return {name: (0.4 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def test_a_listing_shows_inputs_fused_parts_shapes_and_cost():
    p, y = parameters(), np.ones((20, 2))
    text = nc.compile(lambda y, p: net(0.0, y, p)).listing(y, p)
    assert "y: float64[20,2]" in text.splitlines()[0]
    assert "(20, 2) @ (2, 50)" in text
    assert "tanh(" in text
    assert "4000 flop" in text
    assert "memory in reals" in text


def test_what_depends_on_args_alone_is_done_once_a_solve():
    field = nc.compile(lambda t, y, W: y @ np.tanh(W @ W))
    W, y0 = RNG.standard_normal((30, 30)) / 30, RNG.standard_normal((4, 30))
    nc.odeint(field, y0, T, args=(W,))
    (kept,) = [found for programs in field._fields.values() for found in programs.values()]
    text = kept.program.listing()
    once, forward = text[text.index("once:") :].split("forward:")
    assert "tanh" in once
    assert "pack" in once
    assert "tanh" not in forward


def test_broadcasts_and_transposes_are_strides_and_not_copies():
    def function(x, b, W):
        return (x + b) * np.transpose(W)[None, 0] + x[:, ::-1]

    x, b, W = RNG.standard_normal((40, 30)), RNG.standard_normal(30), RNG.standard_normal((30, 30))
    text = nc.compile(function).listing(x, b, W)
    assert "copy_of" not in text
    assert_close(nc.compile(function)(x, b, W), function(x, b, W), 1e-14)


def test_memory_is_used_again_after_its_last_use():
    def chain(x, W):
        for _ in range(10):
            x = x @ W
        return x

    x, W = RNG.standard_normal((40, 40)), RNG.standard_normal((40, 40)) / 40
    text = nc.compile(chain).listing(x, W)
    scratch = int(text.rpartition("scratch ")[2])
    assert scratch <= 3 * 1600
    assert_close(nc.compile(chain)(x, W), chain(x, W), 1e-12)


def test_small_functions_run_element_by_element():
    def lorenz(t, y, s, r, b):
        return [s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]]

    text = nc.compile(lambda y: lorenz(0.0, y, 10.0, 28.0, 8 / 3)[0]).listing(np.ones(3))
    assert "element by element" in text
    for pack in (np.array, np.stack, list):
        y = nc.odeint(
            lambda t, y, pack=pack: pack(lorenz(t, y, 10.0, 28.0, 8 / 3)), np.array([1.0, 0.0, 0.0]), [0.0, 1.0]
        )
        want = nc.odeint(
            lambda t, y: lorenz(t, y, 10.0, 28.0, 8 / 3), np.array([1.0, 0, 0]), [0.0, 1.0], backend="python"
        )
        np.testing.assert_allclose(y, want, rtol=1e-9)


@pytest.mark.parametrize("n", [3, 40])
def test_one_element_of_an_array_is_read_from_its_place(n):
    x = RNG.standard_normal((n, n))
    fun = nc.compile(lambda x: x * x[1, 2] + np.sin(x) * x[..., 0, 1] + x[2, :1])
    assert_close(fun(x), x * x[1, 2] + np.sin(x) * x[0, 1] + x[2, :1], 1e-14)
    scattered = nc.compile(nc.grad(lambda x: x[2, 1] * np.sum(np.sin(x) * x)))
    assert_close(scattered(x), nc.grad(lambda x: x[2, 1] * np.sum(np.sin(x) * x))(x), 1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_form_of_a_scalar_instruction_equals_numpy(dtype, monkeypatch):
    used, with_last = set(), scalars._with_last

    def noted(*instruction):
        found = with_last(*instruction)
        used.add(found[0])
        return found

    monkeypatch.setattr(scalars, "_with_last", noted)
    sin = np.sin
    functions = [
        *(lambda a, b, c: a + b, lambda a, b, c: a - b, lambda a, b, c: a * b, lambda a, b, c: a / b),
        *(lambda a, b, c: a * b + c, lambda a, b, c: a * b - c, lambda a, b, c: c - a * b),
        *(lambda a, b, c: sin(a) + b, lambda a, b, c: sin(a) - b, lambda a, b, c: b - sin(a)),
        *(lambda a, b, c: b * sin(a), lambda a, b, c: b / sin(a), lambda a, b, c: sin(a) / b),
        *(lambda a, b, c: c + b * sin(a), lambda a, b, c: sin(a) * b - c, lambda a, b, c: c - b * sin(a)),
        *(lambda a, b, c: a * b + sin(c), lambda a, b, c: a * b - sin(c), lambda a, b, c: sin(c) - a * b),
        *(lambda a, b, c: sin(a) * sin(a), lambda a, b, c: sin(a) + sin(a), lambda a, b, c: sin(c) - sin(b)),
        *(lambda a, b, c: np.arctan2(b, sin(a)), lambda a, b, c: np.where(a > b, sin(b), c)),
    ]
    x = np.array([0.7, -1.3, 0.4], dtype)
    for function in functions:
        stacked = lambda x, function=function: np.stack([function(x[0], x[1], x[2])])  # noqa: E731
        compiled = nc.compile(stacked)
        assert "element by element" in compiled.listing(x)
        assert_close(compiled(x), stacked(x), 1e-14 if dtype is np.float64 else 1e-6)
    assert used >= set(scalars.SCALAR) - {"binary"}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3", "rk4"])
def test_small_states_take_the_steps_of_the_python_path(n, dtype, method):
    rng = np.random.default_rng(n)
    W = rng.standard_normal((n, n)).astype(dtype)

    def field(t, y):
        return [y[0] * y[i] - t * sum(W[i, j] * y[j] for j in range(n)) for i in range(n)]

    y0 = rng.standard_normal(n).astype(dtype) / 4
    options = {"method": method, "full_output": True, **({"step_size": 0.1} if method == "rk4" else {"rtol": 1e-4})}
    y, stats = nc.odeint(field, y0, T, **options)
    want, counts = nc.odeint(field, y0, T, backend="python", **options)
    assert (stats.nfev, stats.naccepted, stats.nrejected) == (counts.nfev, counts.naccepted, counts.nrejected)
    assert_close(y, want, 1e-12 if dtype is np.float64 else 1e-3)  # of the tolerance


@pytest.mark.parametrize("start", [0.7, 0.0])
def test_a_small_program_names_the_stage_and_component_that_were_not_finite(start):
    def wall(t, y):
        return [-y[0], np.log(0.5 - t), y[1] - y[2]]

    found = []
    for backend in ("compiled", "python"):
        with pytest.raises(nc.SolverError) as caught, np.errstate(all="ignore"):
            nc.odeint(wall, np.array([1.0, 2.0, 3.0]), np.array([start, start + 1.0]), backend=backend)
        error = caught.value
        assert re.search("non-finite value in component 1", str(error))
        found.append((error.t, error.h, *error.y))
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_programs_nest():
    x = RNG.standard_normal(4)
    gradient = nc.compile(nc.grad(lambda x: np.sum(np.sin(x) ** 3)))
    assert_close(gradient(x), 3 * np.sin(x) ** 2 * np.cos(x), 1e-13)
    assert_close(nc.compile(nc.hessian(lambda x: np.sum(x**4)))(x), np.diag(12 * x**2), 1e-13)
    assert_close(nc.grad(lambda x: np.sum(nc.compile(np.sin)(x)))(x), np.cos(x), 1e-14)
    assert_close(
        nc.compile(nc.jacobian(lambda x: np.tanh(x) * x[0]))(x), nc.jacobian(lambda x: np.tanh(x) * x[0])(x), 1e-13
    )


# --- solves ---


def loss_of(backend, gradient, method, **options):
    def loss(y0, p, t):
        ys = nc.odeint(
            lambda t, y, p: net(t, y, p) * np.cos(t),
            y0,
            t,
            args=(p,),
            backend=backend,
            gradient=gradient,
            method=method,
            **options,
        )
        return np.sum(np.sin(ys))

    return loss


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dopri5", {"rtol": 1e-7, "atol": 1e-9}),
        ("tsit5", {"rtol": 1e-7, "atol": 1e-9}),
        ("bosh3", {"rtol": 1e-6, "atol": 1e-8}),
        ("rk4", {}),
        ("rk4", {"step_size": 0.07}),
        ("euler", {"step_size": 0.01}),
        ("heun2", {"step_size": 0.03}),
        ("midpoint", {}),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_solves_and_gradients_of_programs_equal_those_of_the_python_path(method, options, gradient, sign):
    y0, p, t = RNG.standard_normal((6, 2)), parameters(hidden=9), sign * np.array([0.0, 0.3, 0.7, 1.0])
    found = [
        nc.value_and_grad(loss_of(backend, gradient, method, **options), (0, 1, 2))(y0, p, t)
        for backend in ("compiled", "callback", "python")
    ]
    for other in found[1:]:
        assert_close(found[0], other, 1e-9)


def test_float32_solves_of_programs_are_near_those_of_float64():
    for gradient in ("discrete", "adjoint"):
        loss = lambda y0, p: np.sum(  # noqa: E731
            nc.odeint(net, y0, T, args=(p,), gradient=gradient, method="rk4", step_size=0.1) ** 2  # noqa: B023
        )
        y0 = RNG.standard_normal((5, 2))
        wide = nc.grad(loss, (0, 1))(y0, parameters())
        narrow = nc.grad(loss, (0, 1))(y0.astype(np.float32), parameters(np.float32))
        assert all(x.dtype == np.float32 for x in nc.tree.flatten(narrow)[0])
        assert_close(narrow, wide, 1e-4)


def test_stages_beyond_the_tape_are_computed_again_to_the_same_gradient():
    loss = loss_of("compiled", "discrete", "dopri5", rtol=1e-9, atol=1e-11)
    arguments = RNG.standard_normal((6, 2)), parameters(hidden=9), T
    whole = nc.grad(loss, (0, 1, 2))(*arguments)
    before = rk.tape_bytes(20_000)
    try:
        part = nc.grad(loss, (0, 1, 2))(*arguments)
    finally:
        rk.tape_bytes(before)
    assert_close(part, whole, 1e-13)


def test_only_what_is_differentiated_by_is_computed():
    """The other arguments may be where their derivative does not exist."""
    for gradient in ("discrete", "adjoint"):
        for backend in ("compiled", "callback", "python"):

            def loss(y0, gradient=gradient, backend=backend):
                options = {
                    "args": (np.array(3.0),),
                    "gradient": gradient,
                    "backend": backend,
                    "rtol": 1e-9,
                    "atol": 1e-9,
                }
                return np.sum(nc.odeint(lambda t, y, p: -(y**p), y0, [0.0, 1.0], **options)[-1])

            exact = lambda y: (1 + 2 * y**2) ** -1.5  # noqa: E731 - y(1) = y0 / sqrt(1 + 2 y0^2)
            with np.errstate(invalid="raise"):
                y0 = np.array([-1.0, -0.5])
                np.testing.assert_allclose(nc.grad(loss)(y0), exact(y0), rtol=1e-7)


def test_the_same_run_in_two_threads_gives_the_same_bits():
    loss = loss_of("compiled", "discrete", "dopri5", rtol=1e-8, atol=1e-10)
    arguments = RNG.standard_normal((6, 2)), parameters(hidden=9), T
    out, pullback = nc.vjp(loss, *arguments)
    alone = nc.tree.ravel(pullback(np.ones_like(out)))[0]
    found = [None] * 4

    def work(i):
        found[i] = nc.tree.ravel(pullback(np.ones_like(out)))[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        np.testing.assert_array_equal(one, alone)


# --- captured values, caching, refusals ---


def test_arrays_that_a_compiled_function_closes_over_are_read_at_every_call():
    W = np.eye(2)
    field = nc.compile(lambda t, y: W.T @ y)
    np.testing.assert_allclose(nc.odeint(field, np.ones(2), [0.0, 1.0])[-1], np.e, rtol=1e-5)
    W[:] = 0.0  # changed in place
    np.testing.assert_array_equal(nc.odeint(field, np.ones(2), [0.0, 1.0])[-1], 1.0)
    other = nc.compile(lambda t, y: W @ y)
    nc.odeint(other, np.ones(2), [0.0, 1.0])
    W = -np.eye(2)  # another array in its place
    np.testing.assert_allclose(nc.odeint(other, np.ones(2), [0.0, 1.0])[-1], np.exp(-1.0), rtol=1e-5)


def test_another_number_closed_over_or_given_means_another_program():
    k = 2.0
    f = nc.compile(lambda x: k * x)
    assert f(np.ones(1))[0] == 2.0
    k = 3.0
    assert f(np.ones(1))[0] == 3.0
    g = nc.compile(lambda x, k: k * x)
    assert [g(np.ones(1), k)[0] for k in (2.0, 3.0)] == [2.0, 3.0]


def test_plain_odeint_always_sees_the_present_values():
    W, rate = np.eye(2), 1.0
    field = lambda t, y: rate * (W @ y)  # noqa: E731
    assert nc.odeint(field, np.ones(2), [0.0, 1.0])[-1, 0] > 2.0
    rate = 0.0
    np.testing.assert_array_equal(nc.odeint(field, np.ones(2), [0.0, 1.0])[-1], 1.0)


def test_a_neural_ode_traces_its_field_once_for_many_parameters():
    calls = []

    def field(p, t, y):
        calls.append(t)
        return net(t, y, p)

    ode = nc.NeuralODE(field)
    step = nc.value_and_grad(lambda p: np.sum(ode(p, np.ones((3, 2)), T)))
    first = step(parameters())[0]
    seen = len(calls)
    assert step(parameters(hidden=50))[0] == first
    assert step(nc.tree.map(lambda x: 2 * x, parameters()))[0] != first
    assert len(calls) == seen


def test_a_func_that_cannot_be_traced_is_called_back_with_one_warning_that_names_line_and_reason():
    def field(t, y):
        return -y if y[0] > 0 else y

    with pytest.warns(RuntimeWarning, match=r"called back from Python.*test_programs\.py:\d+: a branch") as warned:
        y = nc.odeint(field, np.ones(2), T)
    assert len(warned) == 1
    np.testing.assert_allclose(y[-1], np.exp(-1.0), rtol=1e-5)


def test_a_primitive_without_a_program_is_named():
    with pytest.warns(RuntimeWarning, match=r"test_programs\.py:\d+: linalg\.inv has no compiled form yet"):
        nc.odeint(lambda t, y: np.linalg.inv(np.eye(2) * (1 + y @ y)) @ y, np.ones(2), T)
    with pytest.raises(TypeError, match=r"has no Program: .*argsort has no compiled form"):
        nc.compile(np.sort).listing(np.ones(3))


def test_an_impure_function_is_refused_with_a_warning():
    rng = np.random.default_rng(0)
    with pytest.warns(RuntimeWarning, match="func gave two answers for the same arguments"):
        nc.odeint(lambda t, y: -y + 1e-5 * rng.standard_normal(2), np.ones(2), T, method="euler")


def test_a_float64_matrix_for_a_float32_state_is_named():
    W = np.eye(2) * np.pi
    with pytest.warns(RuntimeWarning, match="matmul computes in float64, the state is float32"):
        y = nc.odeint(lambda t, y: W @ y, np.ones(2, np.float32), T)
    assert y.dtype == np.float32


def test_shapes_that_do_not_fit_are_the_users_own_error_with_its_line():
    def field(t, y):
        return np.ones((3, 3)) @ y  # here

    with pytest.raises(ValueError, match="matmul") as caught:
        nc.odeint(field, np.ones(2), T)
    assert any(entry.name == "field" for entry in caught.traceback)


def test_a_program_that_turns_nan_is_a_solver_error_with_time_and_component():
    with pytest.raises(nc.SolverError, match=r"func returned a non-finite value in component 1 at t = 1"):
        nc.odeint(
            lambda t, y: np.stack([y[0], np.sqrt(1.0 - t)]), np.ones(2), [0.0, 2.0], method="euler", step_size=0.5
        )


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (257, 3), (3, 700)])
def test_edge_sizes(shape):
    x, b = RNG.standard_normal(shape), RNG.standard_normal(shape[1])
    W = RNG.standard_normal((shape[1], 5))

    def function(x, b, W):
        return np.tanh(x + b) @ W, np.sum(x * b, axis=0), np.sum(x, axis=1), np.cumsum(x, axis=1), x.T * 2.0

    assert_close(nc.compile(function)(x, b, W), function(x, b, W), 1e-12)


def test_debugging_names_the_first_instruction_that_is_not_finite(monkeypatch):
    monkeypatch.setenv("NODE_CORE_DEBUG", "1")

    def field(t, y, k):
        return k * np.log(y - t)  # here

    message = r"test_programs\.py:\d+: %\d = log\(\.\.\.\) of shape \(2,\) is nan at \[1\], t = "
    with pytest.raises(FloatingPointError, match=message):
        nc.odeint(field, np.array([5.0, 1.0]), [0.0, 3.0], args=(np.array(1.0),), method="euler", step_size=0.5)


def test_the_time_of_an_evaluation_is_measured_with_its_work():
    seconds, flops = evaluation_time(4, 8)
    assert 0 < seconds < 1
    assert flops == 4 * 4 * 8 * 8 + 4 * 16 + 4 * 8


def test_a_kept_program_keeps_no_trace_alive():
    ode = nc.NeuralODE(lambda p, t, y: net(t, y, p), gradient="discrete")
    seen = []

    def loss(p):
        seen.append(weakref.ref(p["W1"]))  # a traced value
        return np.sum(ode(p, np.ones((3, 2)), T))

    nc.grad(loss)(parameters())
    gc.collect()
    assert seen[0]() is None


def test_a_field_may_have_hundreds_of_parameters():
    p = [np.full(1, 1e-3) for _ in range(600)]
    y0 = np.ones(40)

    def field(t, y, p):
        for w in p:
            y = y * (1 - w)
        return -y

    y = nc.odeint(field, y0, [0.0, 1.0], args=(p,))
    rate = (1 - 1e-3) ** 600
    np.testing.assert_allclose(y[-1], np.exp(-rate), rtol=1e-5)
    found = nc.grad(lambda p: nc.odeint(field, y0, [0.0, 1.0], args=(p,))[-1, 0])(p)
    np.testing.assert_allclose(found[599], np.exp(-rate) * rate / (1 - 1e-3), rtol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_memory_that_is_used_again_holds_no_other_value_at_the_time(seed):
    """Nets of random widths, wide enough for products to run in blocks of rows with the chain behind them."""
    rng = np.random.default_rng(seed)
    widths = rng.choice([8, 16, 64, 160], 7)
    W = [rng.standard_normal((n, m)) / np.sqrt(n) for n, m in itertools.pairwise(widths)]
    x = rng.standard_normal((300, widths[0]))

    def function(x, W):
        kept = x
        for k, w in enumerate(W):
            x = np.tanh(x @ w) * 1.5
            kept = x if k == 2 else kept
        return x, np.sum(kept, axis=0)

    assert_close(nc.compile(function)(x, W), function(x, W), 1e-12)
