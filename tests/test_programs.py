"""Programs: the lowering, what csrc computes against the Python path, and what is refused."""

import itertools
import warnings

import numpy as np
import pytest

import node_core as nc
from node_core.autodiff.primitive import ALL
from node_core.bench.scaling import evaluation_time
from node_core.program.compiled import Compiled
from node_core.program.elementwise import KERNELS
from node_core.program.lower import HANDLERS
from node_core.program.moves import VIEWS
from tests.cases import assert_close, net, parameters
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
    lowered = {n for n in differentiable if n in KERNELS or n in HANDLERS or n in VIEWS}
    lowered |= {"einsum", "deg2rad", "rad2deg", "imag"}  # rewritten by the passes
    assert differentiable - lowered == {n for n in differentiable if n.startswith("linalg.")}


# --- lowering ---


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


@pytest.mark.parametrize("n", [3, 40])
def test_one_element_of_an_array_is_read_from_its_place(n):
    x = RNG.standard_normal((n, n))
    fun = nc.compile(lambda x: x * x[1, 2] + np.sin(x) * x[..., 0, 1] + x[2, :1])
    assert_close(fun(x), x * x[1, 2] + np.sin(x) * x[0, 1] + x[2, :1], 1e-14)
    scattered = nc.compile(nc.grad(lambda x: x[2, 1] * np.sum(np.sin(x) * x)))
    assert_close(scattered(x), nc.grad(lambda x: x[2, 1] * np.sum(np.sin(x) * x))(x), 1e-13)


def test_programs_nest():
    x = RNG.standard_normal(4)
    gradient = nc.compile(nc.grad(lambda x: np.sum(np.sin(x) ** 3)))
    assert_close(gradient(x), 3 * np.sin(x) ** 2 * np.cos(x), 1e-13)
    assert_close(nc.compile(nc.hessian(lambda x: np.sum(x**4)))(x), np.diag(12 * x**2), 1e-13)
    assert_close(nc.grad(lambda x: np.sum(nc.compile(np.sin)(x)))(x), np.cos(x), 1e-14)
    assert_close(
        nc.compile(nc.jacobian(lambda x: np.tanh(x) * x[0]))(x), nc.jacobian(lambda x: np.tanh(x) * x[0])(x), 1e-13
    )


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (257, 3), (3, 700)])
def test_edge_sizes(shape):
    x, b = RNG.standard_normal(shape), RNG.standard_normal(shape[1])
    W = RNG.standard_normal((shape[1], 5))

    def function(x, b, W):
        return np.tanh(x + b) @ W, np.sum(x * b, axis=0), np.sum(x, axis=1), np.cumsum(x, axis=1), x.T * 2.0

    assert_close(nc.compile(function)(x, b, W), function(x, b, W), 1e-12)


def test_the_time_of_an_evaluation_is_measured_with_its_work():
    seconds, flops = evaluation_time(4, 8)
    assert 0 < seconds < 1
    assert flops == 4 * 4 * 8 * 8 + 4 * 16 + 4 * 8


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


def test_debugging_names_the_first_instruction_that_is_not_finite(monkeypatch):
    monkeypatch.setenv("NODE_CORE_DEBUG", "1")

    def field(t, y, k):
        return k * np.log(y - t)  # here

    message = r"test_programs\.py:\d+: %\d = log\(\.\.\.\) of shape \(2,\) is nan at \[1\], t = "
    with pytest.raises(FloatingPointError, match=message):
        nc.odeint(field, np.array([5.0, 1.0]), [0.0, 3.0], args=(np.array(1.0),), method="euler", step_size=0.5)
