"""checkpoints= of the discrete gradient: the same numbers as with all steps kept, in a memory that is bounded."""

import functools
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import node_core as nc
from node_core._kernels import rk
from node_core.adjoint.history import checkpoint_after

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
METHODS = [m.name for m in nc.methods() if m.name not in ("explicit_adams", "implicit_adams")]
OSCILLATOR = np.array([1.0, 2.0, 0.1])


def field(t, y, p):
    return np.stack([p[0] * y[1] + np.sin(p[0] * t), -p[1] * y[0] + p[2] * y[1] ** 2])


def gradients(checkpoints, t, *, dtype=float, step_size=None, **options):
    """d loss / d (y0, t, p), and the statistics; a loss of all outputs."""
    y0, p = np.array([1.0, 0.3], dtype), OSCILLATOR.astype(dtype)
    if step_size is not None and not nc.solvers.tableau(options["method"]).adaptive:
        options["step_size"] = step_size

    def loss(y0, t, p):
        ys, stats = nc.odeint(field, y0, t, args=(p,), full_output=True, checkpoints=checkpoints, **options)
        loss.stats = stats
        return np.sum(ys**2 * np.arange(1, len(t) + 1, dtype=dtype)[:, None])

    return nc.grad(loss, (0, 1, 2))(y0, t, p), loss.stats


def equal(got, wanted, bound):
    return all(np.max(np.abs(a - b)) <= bound * np.max(np.abs(b)) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_the_gradient_is_to_the_bit_that_with_all_steps_kept(method, sign):
    t = sign * np.linspace(0.0, 6.0, 14)
    wanted, stats = gradients(None, t, method=method, step_size=0.11)
    assert stats.nretaken == 0
    for checkpoints in (1, 2, 5, 10_000):
        got, stats = gradients(checkpoints, t, method=method, step_size=0.11)
        assert equal(got, wanted, 0.0)
        assert stats.nretaken >= stats.naccepted


@BACKENDS
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "DOP853", "rk4", "leapfrog"])
def test_the_backends_take_the_same_steps_again(method, dtype, backend):
    t = np.linspace(0.0, 5.0, 12)
    options = {"method": method, "step_size": 0.07, "dtype": dtype, "backend": backend}
    wanted, stats = gradients(None, t, **options)
    got, again = gradients(3, t, **options)
    assert all(g.dtype == w.dtype for g, w in zip(got, wanted, strict=True))
    assert equal(got, wanted, 200 * np.finfo(dtype).eps)
    assert again.nretaken == retaken_at_best(again.naccepted, 3)
    assert again.nfev_backward > stats.nfev_backward > 0


def test_complex_states_and_grids_that_are_t_have_checkpoints_too():
    def loss(y0, t, k, checkpoints):
        ys = nc.odeint(lambda t, y, k: 1j * k * y * np.cos(t), y0, t, args=(k,), method="rk4", checkpoints=checkpoints)
        return np.sum(np.abs(ys - 0.3) ** 2)

    t, y0 = np.linspace(0.0, 3.0, 40), np.array([1.0 + 0.5j])
    wanted, got = (nc.grad(loss, (0, 1, 2))(y0, t, 1.3, checkpoints) for checkpoints in (None, 2))
    assert equal(got, wanted, 1e-14)


# --- the schedule ---


@functools.cache
def moves(windows, checkpoints):
    """The fewest windows that are passed to reverse so many, by going over all places of the next checkpoint."""
    if windows == 1:
        return 0
    if checkpoints == 1:
        return windows * (windows - 1) // 2
    return min(m + moves(windows - m, checkpoints - 1) + moves(m, checkpoints) for m in range(1, windows))


def retaken_at_best(steps, checkpoints):
    """Steps that are taken again where windows of rk.WINDOW are, one of them perhaps cut short: the first."""
    windows = math.ceil(steps / rk.WINDOW)
    short, places = windows * rk.WINDOW - steps, min(checkpoints, steps) + 1

    @functools.cache
    def passes(windows, free):  # over the first window
        return 0 if windows == 1 else 1 + passes(checkpoint_after(windows, free), free)

    return rk.WINDOW * (moves(windows, places) + windows) - short * (passes(windows, places) + 1)


@pytest.mark.parametrize("checkpoints", [1, 2, 3, 5, 8, 32])
def test_no_schedule_takes_fewer_steps_again(checkpoints):
    """Against the optimum by dynamic programming, of solves whose steps fill their windows."""
    t = np.array([0.0, 1.0])
    for windows in (1, 2, 3, 7, 20, 61):
        steps = windows * rk.WINDOW
        _, stats = gradients(checkpoints, t, method="heun2", step_size=1.0 / steps)
        assert stats.naccepted == steps
        optimum = moves(windows, min(checkpoints, steps) + 1)
        assert stats.nretaken == rk.WINDOW * (optimum + windows)


def test_a_million_steps_are_taken_at_most_six_times_again_with_32_checkpoints():
    steps = 1_000_000
    _, stats = gradients(32, np.array([0.0, 1.0]), method="heun2", step_size=1.0 / steps)
    assert stats.naccepted == steps
    assert stats.nretaken <= 6 * steps


def test_the_schedule_is_within_bounds_at_every_size():
    for windows in (2, 3, 17, 1000, 10**9):
        for free in (1, 2, 33, 10**4, 10**12):
            assert 1 <= checkpoint_after(windows, free) < windows


MEMORY = """
import resource
import numpy as np
import node_core as nc

def loss(y0, steps):
    return np.sum(nc.odeint(lambda t, y: -y, y0, [0.0, 1.0], method="heun2", step_size=1 / steps, checkpoints=32))

nc.grad(loss)(np.ones(100), 1_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
nc.grad(loss)(np.ones(100), 100_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_grows_by_16_bytes_a_step():
    """100,000 steps of 100 numbers: all of them would be 80 MB for each slope."""
    ran = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(ran.stdout) / 1024 < 6.0  # MB: 1.6, twice that where the record grew, and what the allocator keeps


# --- "auto" ---


@BACKENDS
def test_auto_keeps_all_steps_while_there_is_room(backend):
    t = np.linspace(0.0, 6.0, 14)
    wanted, _ = gradients(None, t, method="dopri5", backend=backend)
    got, stats = gradients("auto", t, method="dopri5", backend=backend)
    assert stats.nretaken == 0
    assert equal(got, wanted, 0.0)
    before = rk.tape_bytes(3000)
    try:
        got, stats = gradients("auto", t, method="dopri5", backend=backend)
    finally:
        rk.tape_bytes(before)
    assert stats.nretaken > 0
    assert equal(got, wanted, 1e-14)


# --- with the rest of the package ---


def test_checkpoints_go_through_compiled_functions_jumps_and_second_derivatives():
    t, y0 = np.linspace(0.0, 2.0, 5), np.array([1.0, 0.3])

    def loss(y0, checkpoints=None, jump_t=None):
        more = {} if jump_t is None else {"jump_t": jump_t}
        ys = nc.odeint(field, y0, t, args=(OSCILLATOR,), checkpoints=checkpoints, **more)
        return np.sum(ys**2)

    wanted = nc.grad(loss)(y0)
    compiled = nc.compile(nc.grad(lambda y0: loss(y0, 2)))
    for _ in range(2):
        np.testing.assert_array_equal(compiled(y0), wanted)
    np.testing.assert_array_equal(nc.grad(loss)(y0, 2, [0.7]), nc.grad(loss)(y0, None, [0.7]))
    np.testing.assert_array_equal(nc.hessian(loss)(y0, 2), nc.hessian(loss)(y0))


def test_max_seconds_holds_for_the_way_back():
    """One checkpoint: the way back takes a thousand times as many steps as there are."""

    def loss(y0):
        return nc.odeint(
            lambda t, y: -y, y0, [0.0, 1.0], method="heun2", step_size=1e-6, checkpoints=1, max_seconds=0.3
        )[-1]

    with pytest.raises(nc.SolverError, match=r"the way back of the gradient took more than 0.3 s") as caught:
        nc.grad(loss)(np.array(1.0))
    assert caught.value.reason == "max_seconds"
    assert 0.0 < caught.value.t < 1.0


@pytest.mark.skipif(os.name != "posix", reason="needs setitimer")
@pytest.mark.parametrize("gradient", ["discrete", "interpolated"])
def test_ctrl_c_ends_the_way_back(gradient):
    """Steps are taken again for minutes here; the forward solve is over."""

    def end(y0):
        return nc.odeint(lambda t, y: -y, y0, [0.0, 1.0], method="heun2", step_size=1e-6, checkpoints=1,
                         gradient=gradient)[-1]  # fmt: skip

    def interrupt(*_):
        raise KeyboardInterrupt

    _, pull = nc.vjp(end, np.array(1.0))
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for seconds in (0.05, 0.06, 0.08, 0.09, 0.1, 0.12):  # within a solve and within steps taken again
            signal.setitimer(signal.ITIMER_REAL, seconds)
            with pytest.raises(KeyboardInterrupt):
                pull(np.array(1.0))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("backend", ["compiled", "python"])
@pytest.mark.parametrize("gradient", ["adjoint", "interpolated"])
def test_max_seconds_holds_for_all_of_the_way_back_by_the_adjoint(gradient, backend):
    """A backward solve at a tolerance that makes it a thousand times longer, in many intervals."""

    def loss(y0):
        t = np.linspace(0.0, 50.0, 200)
        return np.sum(nc.odeint(lambda t, y: np.cos(t) * y, y0, t, gradient=gradient, rtol=1e-2, atol=1e-2,
                                method="bosh3", adjoint_rtol=1e-14, adjoint_atol=1e-14, max_num_steps=10**9,
                                backend=backend, max_seconds=0.02))  # fmt: skip

    start = time.monotonic()
    with pytest.raises(nc.SolverError, match="max_seconds") as caught:
        nc.grad(loss)(np.ones(2))
    assert caught.value.reason == "max_seconds"
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize("gradient", ["discrete", "interpolated"])
@BACKENDS
def test_steps_are_taken_again_from_the_state_that_was(gradient, backend):
    """The user may change his y0 before the way back."""
    y0 = np.array([1.0, 0.3])

    def ys(y0):
        return nc.odeint(field, y0, np.linspace(0.0, 2.0, 5), args=(OSCILLATOR,), gradient=gradient, checkpoints=2,
                         backend=backend)  # fmt: skip

    out, pull = nc.vjp(ys, y0)
    wanted = pull(np.ones_like(out))[0]
    out, pull = nc.vjp(ys, y0)
    y0[:] = np.nan
    np.testing.assert_array_equal(pull(np.ones_like(out))[0], wanted)


@pytest.mark.parametrize("checkpoints", [0, -3, 2.0, True, False, "all", [4], 10**19, np.array([1, 2])])
def test_what_is_no_number_of_checkpoints_is_an_error(checkpoints):
    with pytest.raises(ValueError, match=r'checkpoints must be an int of at least 1, "auto" or None, got'):
        gradients(checkpoints, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="checkpoints must be"):
        gradients(checkpoints, np.array([0.0, 1.0]), gradient="auto")
    with pytest.raises(ValueError, match="checkpoints must be"):
        nc.NeuralODE(lambda p, t, y: p * y, gradient="discrete", checkpoints=checkpoints)


@pytest.mark.parametrize("gradient", ["adjoint", "forward"])
def test_checkpoints_are_of_the_discrete_gradient(gradient):
    with pytest.raises(
        ValueError, match=f"checkpoints goes with gradient='discrete' or 'interpolated', got '{gradient}'"
    ):
        gradients(4, np.array([0.0, 1.0]), gradient=gradient)
