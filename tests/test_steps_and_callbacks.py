"""Where steps end, how small they may be, and who looks at them: repeated times, step_t, jump_t, norms, callbacks."""

import itertools
import sys

import numpy as np
import pytest

import node_core as nc
from node_core import pieces, progress
from node_core.solvers import Stats

from .oracles import differences, worst

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])
SIGN = pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])


def oscillator(t, y):
    return np.stack([y[1], -y[0]])


Y0 = np.array([1.0, 0.0])


# --- repeated times ---


@BACKENDS
@SIGN
def test_repeated_times_have_equal_outputs_and_their_gradients_add_up(backend, sign):
    t, weights = sign * np.array([0.0, 0.0, 0.5, 2.0, 2.0, 2.0]), np.arange(12.0).reshape(6, 2)
    once, rows = sign * np.array([0.0, 0.5, 2.0]), [0, 0, 1, 2, 2, 2]
    options = {"backend": backend, "rtol": 1e-9, "atol": 1e-10}
    y = nc.odeint(oscillator, Y0, t, **options)
    np.testing.assert_array_equal(y, nc.odeint(oscillator, Y0, once, **options)[rows])
    found = nc.grad(lambda y0, t: np.sum(weights * nc.odeint(oscillator, y0, t, **options)), (0, 1))(Y0, t)
    wanted = nc.grad(lambda y0, t: np.sum(weights * nc.odeint(oscillator, y0, t, **options)[rows]), (0, 1))(Y0, once)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    np.testing.assert_allclose([found[1][:2].sum(), found[1][2], found[1][3:].sum()], wanted[1], rtol=1e-12)


def test_repeated_times_of_a_nested_state_and_with_statistics():
    y, stats = nc.odeint(lambda t, y: {"a": y["b"], "b": -y["a"]}, {"a": np.ones(1), "b": np.zeros(1)}, [0, 1, 1],
                         full_output=True)  # fmt: skip
    assert y["a"].shape == (3, 1)
    assert y["a"][1] == y["a"][2]
    assert stats.nfev > 0


# --- step_t and jump_t ---


def ends(**options):
    """The ends of all steps."""
    seen = []
    nc.odeint(oscillator, Y0, on_accept=lambda t, y, h: seen.append(t), **options)
    return np.array(seen)


@BACKENDS
@SIGN
@pytest.mark.parametrize("method", ["dopri5", "RK45", "cash_karp", "DOP853"])
def test_steps_end_at_step_t_and_are_not_shortened_after_it(backend, sign, method):
    stops = sign * np.array([2.5, 0.3, 1.0, 9.0])
    options = {"t": sign * np.array([0.0, 10.0]), "backend": backend, "method": method, "rtol": 1e-7, "atol": 1e-9}
    with_stops = ends(step_t=stops, **options)
    assert set(stops) <= set(with_stops)
    assert len(with_stops) <= len(ends(**options)) + len(stops) + 1
    y = nc.odeint(oscillator, Y0, step_t=stops, **options)
    np.testing.assert_allclose(y[-1], [np.cos(10), -sign * np.sin(10)], atol=2e-5)


def test_both_backends_take_the_same_steps_to_step_t():
    options = {"t": [0.0, 4.0], "step_t": [0.5, 3.0], "first_step": 0.3, "rtol": 1e-6}
    np.testing.assert_allclose(ends(backend="compiled", **options), ends(backend="python", **options), rtol=1e-9)


def test_step_t_keeps_the_gradient():
    def end(y0, step_t):
        return nc.odeint(oscillator, y0, [0.0, 2.0], step_t=step_t, rtol=1e-10, atol=1e-12)[-1, 0]

    for gradient in ("discrete", "adjoint"):
        found = nc.grad(lambda y0, g=gradient: nc.odeint(oscillator, y0, [0.0, 2.0], step_t=[0.7], gradient=g,
                                                         rtol=1e-10, atol=1e-12)[-1, 0])(Y0)  # fmt: skip
        np.testing.assert_allclose(found, [np.cos(2), np.sin(2)], atol=1e-8)
    assert end(Y0, [0.7]) != end(Y0, [])


def switched(t, y, k):
    return np.where(t < 1.0, k[0], np.where(t < 2.0, -k[1], k[2])) * y


K = np.array([1.0, 2.0, 0.5])
EXACT = {0.0: 0.0, 0.5: 0.5, 1.0: 1.0, 1.25: 0.5, 3.0: -0.5}  # t: log y


@BACKENDS
@SIGN
@pytest.mark.parametrize(("method", "options"), [("dopri5", {}), ("tsit5", {}), ("rk4", {"step_size": 0.01})],
                         ids=["dopri5", "tsit5", "rk4"])  # fmt: skip
def test_at_jumps_the_solve_starts_anew(backend, sign, method, options):
    def func(t, y, k):
        return sign * switched(sign * t, y, k)

    t = sign * np.array(list(EXACT))
    if method != "rk4":
        options = {"rtol": 1e-9, "atol": 1e-11}
    y, stats = nc.odeint(func, np.ones(1), t, args=(K,), jump_t=sign * np.array([2.0, 1.0]), method=method,
                         backend=backend, full_output=True, **options)  # fmt: skip
    np.testing.assert_allclose(y[:, 0], np.exp(list(EXACT.values())), rtol=1e-7)
    if method != "rk4":
        assert stats.nrejected < 5
        over = nc.odeint(func, np.ones(1), t, args=(K,), method=method, backend=backend, full_output=True, **options)[1]
        assert stats.nfev < 0.7 * over.nfev


@pytest.mark.parametrize("gradient", ["discrete", "adjoint"])
def test_gradients_go_through_jumps(gradient):
    def loss(y0, k, t):
        y = nc.odeint(switched, y0, t, args=(k,), jump_t=[1.0, 2.0], rtol=1e-10, atol=1e-12, gradient=gradient)
        return np.sum(np.arange(1.0, 6.0) * y[:, 0])

    t = np.array([0.0, 0.4, 1.2, 1.7, 3.0])
    found = nc.grad(loss, argnums=(0, 1, 2))(np.ones(1), K, t)
    wanted = [differences(lambda x, i=i: loss(*[x if j == i else v for j, v in enumerate((np.ones(1), K, t))]), v)
              for i, v in enumerate((np.ones(1), K, t))]  # fmt: skip
    assert worst(list(found), wanted) < 1e-6


def test_jumps_of_a_nested_state_at_outputs_with_repeated_times():
    y = nc.odeint(lambda t, y: {"a": np.where(t < 1, 1.0, -1.0) * np.ones(2)}, {"a": np.zeros(2)}, [0, 1, 1, 3],
                  jump_t=[1.0])  # fmt: skip
    np.testing.assert_allclose(y["a"][:, 0], [0, 1, 1, -1], atol=1e-12)
    with_end = nc.odeint(lambda t, y: np.where(t < 1, 1.0, 100.0), 0.0, [0, 0.5, 1], jump_t=[0.0, 1.0])
    np.testing.assert_allclose(with_end, [0, 0.5, 1], atol=1e-5)


@pytest.mark.parametrize("name", ["step_t", "jump_t"])
def test_times_outside_of_the_span_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} must lie within t, from 0.0 to 2.0, got 3.0"):
        nc.odeint(oscillator, Y0, [2.0, 0.0], **{name: [1.0, 3.0]})
    with pytest.raises(ValueError, match="step_t does not go with rk4"):
        nc.odeint(oscillator, Y0, [0.0, 2.0], method="rk4", step_t=[1.0])


# --- norms and the smallest step ---


@BACKENDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_largest_component_as_the_norm_is_the_users_own_norm(backend, dtype):
    y0 = np.array([1.0, 0.5, 3.0], dtype)

    def run(norm):
        return nc.odeint(lambda t, y: np.sin(y) * t, y0, [0.0, 3.0], norm=norm, rtol=1e-4, atol=1e-5, backend=backend,
                         full_output=True)  # fmt: skip

    (y, stats), (own, own_stats) = run("max"), run(lambda scaled: np.max(np.abs(scaled), initial=0.0))
    np.testing.assert_allclose(y, own, rtol=1e-5)
    assert stats == own_stats
    assert stats.nfev > run("rms")[1].nfev
    assert run("rms")[1] == run(None)[1]
    assert nc.odeint(lambda t, y: y, np.zeros(0), [0.0, 1.0], norm="max", backend=backend).shape == (2, 0)


def steep(t, y):
    return -200.0 * (y - np.cos(t))


@BACKENDS
def test_a_step_of_min_step_is_taken_whatever_its_error_if_that_is_asked_for(backend):
    options = {"min_step": 0.02, "rtol": 1e-6, "backend": backend}
    with pytest.raises(nc.SolverError, match="min_step"):
        nc.odeint(steep, np.ones(1), [0.0, 0.2], **options)
    seen = []
    y = nc.odeint(
        steep, np.ones(1), [0.0, 0.2], on_min_step="force", on_accept=lambda t, y, h: seen.append(h), **options
    )
    assert np.all(np.array(seen[:-1]) >= 0.02 * (1 - 1e-12))
    assert np.all(np.isfinite(y))
    with pytest.raises(ValueError, match='on_min_step must be "error" or "force", got \'go\''):
        nc.odeint(steep, np.ones(1), [0.0, 0.2], on_min_step="go")


@BACKENDS
def test_a_forced_step_that_is_not_finite_still_fails(backend):
    with pytest.raises(nc.SolverError, match="non-finite"), np.errstate(over="ignore"):
        nc.odeint(lambda t, y: y * y, np.ones(1), [0.0, 3.0], min_step=0.5, on_min_step="force", backend=backend)


# --- callbacks ---


@BACKENDS
def test_callbacks_are_told_every_step(backend):
    tried, taken, refused = [], [], []
    y, stats = nc.odeint(
        lambda t, y: {"x": y["v"], "v": -y["x"]}, {"x": Y0, "v": Y0[::-1].copy()}, [0.0, 5.0], first_step=2.0,
        on_step=lambda t, y, h: tried.append((t, y["x"].copy(), h)), backend=backend, full_output=True,
        on_accept=lambda t, y, h: taken.append((t, y["v"].copy(), h)), on_reject=lambda t, y, h: refused.append((t, h)),
    )  # fmt: skip
    assert (len(taken), len(refused)) == (stats.naccepted, stats.nrejected)
    assert len(tried) == len(taken) + len(refused)
    assert refused[0] == (0.0, 2.0)
    assert taken[-1][0] == 5.0
    np.testing.assert_array_equal(taken[-1][1], y["v"][-1])
    assert tried[0][0] == 0.0
    np.testing.assert_allclose([t for t, _, _ in taken], np.cumsum([h for _, _, h in taken]), rtol=1e-12)


@BACKENDS
@pytest.mark.parametrize("name", ["on_step", "on_accept", "on_reject"])
def test_a_true_answer_ends_the_solve_with_the_outputs_until_then(backend, name):
    t = np.linspace(0.0, 5.0, 11)
    count = itertools.count(1)
    y, stats = nc.odeint(oscillator, Y0, t, backend=backend, full_output=True, first_step=2.0,
                         **{name: lambda *_: next(count) > (0 if name == "on_reject" else 6)})  # fmt: skip
    assert stats.stopped_at is not None
    assert len(y) == np.sum(t <= stats.stopped_at) < 11
    np.testing.assert_allclose(y[:, 0], np.cos(t[: len(y)]), atol=1e-5)
    with pytest.raises(nc.SolverError, match=r"a callback ended the solve at t = .* has no gradient"):
        nc.grad(lambda y0: np.sum(nc.odeint(oscillator, y0, t, backend=backend, on_accept=lambda *_: True)))(Y0)


@BACKENDS
def test_what_a_callback_raises_comes_through_with_what_there_is(backend):
    def raises(t, y, h):
        if t > 2.0:
            raise KeyError("mine")

    t = np.linspace(0.0, 5.0, 11)
    with pytest.raises(KeyError, match="mine") as caught:
        nc.odeint(oscillator, Y0, t, on_accept=raises, full_output=True, backend=backend)
    y, reached = caught.value.partial
    assert len(y) == np.sum(t <= reached)
    assert reached > 1.5
    np.testing.assert_allclose(y[:, 0], np.cos(t[: len(y)]), atol=1e-5)


@pytest.mark.parametrize("name", ["on_step", "on_accept", "on_reject"])
def test_a_callback_must_be_callable(name):
    with pytest.raises(TypeError, match=rf"{name} must be callable as {name}\(t, y, h\), got 3"):
        nc.odeint(oscillator, Y0, [0, 1], **{name: 3})


# --- long solves ---


@BACKENDS
def test_a_solve_that_takes_too_long_fails_with_its_time(backend):
    steps = 10_000_000 if backend == "compiled" else 100_000
    with pytest.raises(
        nc.SolverError, match=r"max_seconds: the time that was allowed is over. Stopped at t = "
    ) as caught:
        nc.odeint(oscillator, Y0, [0.0, 1.0], method="rk4", step_size=1.0 / steps, max_seconds=1e-3, backend=backend)
    assert 0 <= caught.value.t < 1
    with pytest.raises(ValueError, match="max_seconds must be positive, got 0"):
        nc.odeint(oscillator, Y0, [0.0, 1.0], max_seconds=0)


@BACKENDS
def test_progress_is_shown_while_a_solve_runs(backend, monkeypatch):
    shown = []
    monkeypatch.setattr(progress.TimeBar, "__call__", lambda bar, t: shown.append((bar.start, bar.end, t)))
    steps = 1_000_000 if backend == "compiled" else 5000
    nc.odeint(oscillator, Y0, [0.0, 2.0], method="rk4", step_size=2.0 / steps, progress=True, backend=backend)
    assert shown
    assert all(bar[:2] == (0.0, 2.0) and 0 <= bar[2] <= 2 for bar in shown)


@pytest.mark.parametrize("tqdm", [True, False])
def test_the_bar_tells_how_far_the_solve_has_got(tqdm, monkeypatch, capsys):
    if tqdm:
        pytest.importorskip("tqdm", reason="with tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    clock = itertools.count(0.0, 2.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.TimeBar(0.0, 8.0) as bar:
        bar(2.0)
        if tqdm:
            assert bar.bar.n == 25.0
    if not tqdm:
        assert "t = 2 of 8, 25 %, 6 s left" in capsys.readouterr().err


def test_within_a_compiled_function_repeated_times_and_callbacks_are_looked_at_at_every_call():
    repeated = nc.compile(lambda t: nc.odeint(lambda t, y: -y, np.ones(1), t)[:, 0])
    with pytest.warns(RuntimeWarning, match="which times are repeated is a matter of values"):
        np.testing.assert_allclose(repeated(np.array([0.0, 1.0, 1.0])), np.exp([0.0, -1.0, -1.0]), rtol=1e-6)
    np.testing.assert_allclose(repeated(np.array([0.0, 0.5, 2.0])), np.exp([0.0, -0.5, -2.0]), rtol=1e-6)

    t = np.array([0.0, 1.0, 2.0])
    stopped = nc.compile(lambda y0: np.sum(nc.odeint(lambda t, y: -y, y0, t, on_accept=lambda t, y, h: y[0] < 0.3)))
    with pytest.warns(RuntimeWarning, match="a graph of odeint has no callbacks"):
        assert stopped(np.ones(1)) == pytest.approx(1 + np.exp(-1), rel=1e-6)
    assert stopped(np.array([9.0])) == pytest.approx(9 * (1 + np.exp(-1) + np.exp(-2)), rel=1e-6)


# --- jumps with everything else ---


def decay(t, y):
    return -y


def test_jumps_go_together_with_times_to_step_to_and_repeated_times():
    t = [0.0, 0.5, 0.5, 1.0, 2.0]
    seen = []
    y = nc.odeint(decay, np.ones(2), t, jump_t=[0.7, 1.0], step_t=[0.3, 0.9, 1.5], rtol=1e-9, atol=1e-11,
                  on_accept=lambda t, y, h: seen.append(t))  # fmt: skip
    np.testing.assert_allclose(y[:, 0], np.exp(-np.array(t)), rtol=1e-8)
    assert {0.3, 0.9, 1.5, 2.0} <= set(seen)
    assert any(abs(s - 0.7) < 1e-15 for s in seen)


@pytest.mark.parametrize("jump_t", [None, [0.7], [0.5], [1.0]])
@BACKENDS
def test_a_solve_that_ends_early_keeps_its_outputs_whatever_the_times(jump_t, backend):
    t = np.array([0.0, 0.5, 0.5, 1.0, 1.0, 2.0])
    options = {"jump_t": jump_t, "backend": backend, "rtol": 1e-8, "atol": 1e-10, "full_output": True}
    y, stats = nc.odeint(decay, np.ones(2), t, on_accept=lambda t, y, h: t > 1.1, **options)
    there = np.sum(t <= stats.stopped_at)
    assert there == 5
    np.testing.assert_allclose(y[:, 0], np.exp(-t[:there]), rtol=1e-6)
    with pytest.raises(ZeroDivisionError) as caught:
        nc.odeint(decay, np.ones(2), t, on_accept=lambda t, y, h: 1 / 0 if t > 1.1 else None, **options)
    partial, reached = caught.value.partial
    assert reached > 1.1
    np.testing.assert_allclose(partial[:, 0], np.exp(-t[: len(partial)]), rtol=1e-6)
    assert len(partial) == 5


def test_limits_hold_for_all_pieces_together():
    jumps = np.arange(1.0, 10.0)
    with pytest.raises(nc.SolverError, match="too many steps"):
        nc.odeint(decay, np.ones(2), [0.0, 10.0], jump_t=jumps, max_num_steps=12)
    with pytest.raises(nc.SolverError, match="max_seconds"):
        nc.odeint(decay, np.ones(2), [0.0, 10.0], jump_t=jumps, max_seconds=1e-3, method="rk4", step_size=1e-6)
    lengths = []
    nc.odeint(
        decay, np.ones(2), [0.0, 2.0], jump_t=[1.0], first_step=0.25, on_step=lambda t, y, h: lengths.append((t, h))
    )
    assert lengths[0] == (0.0, 0.25)
    assert all(h < 0.25 for t, h in lengths if t == np.nextafter(1.0, 2.0))


def test_the_time_that_a_piece_took_is_off_that_of_the_others(monkeypatch):
    clock, given = itertools.count(0.0, 2.0), []
    monkeypatch.setattr(pieces.time, "monotonic", lambda: next(clock))

    def solve(y, t, options):
        given.append(options["max_seconds"])
        return np.stack([y] * len(t)), Stats()

    pieces.across_jumps(solve, np.ones(1), np.array([0.0, 9.0]), np.array([3.0, 6.0]), {"max_seconds": 7.0})
    assert given == [7.0, 3.0, 1.0]


@pytest.mark.parametrize("y0", [[1j, 1], [np.float32(1), np.float32(2)], [1, 2]])
def test_states_are_taken_as_without_jumps(y0):
    with_jump, without = (nc.odeint(decay, y0, [0, 1], rtol=1e-5, **o) for o in ({"jump_t": [0.5]}, {}))
    assert with_jump.dtype == without.dtype
    np.testing.assert_allclose(with_jump, without, rtol=1e-4)
    slope = nc.grad(lambda a: np.sum(nc.odeint(decay, [a, 2.0 * a], [0, 1], jump_t=[0.5])))(1.0)
    assert slope == pytest.approx(3 * (1 + np.exp(-1)), rel=1e-5)


@pytest.mark.parametrize("jump", [np.nextafter(1.0, 0.0), 5e-324, np.nextafter(0.5, 0.0)])
def test_jumps_beside_an_output_or_an_end(jump):
    lengths = []
    y = nc.odeint(decay, np.ones(1), [0.0, 0.5, 1.0], jump_t=[jump, 0.5], rtol=1e-9, atol=1e-11,
                  on_step=lambda t, y, h: lengths.append(h))  # fmt: skip
    assert min(lengths) > 0
    np.testing.assert_allclose(y[:, 0], np.exp([0, -0.5, -1.0]), rtol=1e-8)


@pytest.mark.filterwarnings("error")
def test_a_solve_with_jumps_is_recorded_where_its_times_are_fixed():
    def loss(y0, k):
        return np.sum(nc.odeint(switched, y0, [0.0, 1.5, 3.0], args=(k,), jump_t=[1.0, 2.0]) ** 2)

    compiled = nc.compile(nc.value_and_grad(loss, (0, 1)))
    for scale in (1.0, 0.5, 2.0):
        found, wanted = (f(scale * np.ones(1), scale * K) for f in (compiled, nc.value_and_grad(loss, (0, 1))))
        assert found[0] == pytest.approx(wanted[0], rel=1e-12)
        assert worst(found[1], wanted[1]) < 1e-10
    with pytest.warns(RuntimeWarning, match="on which side of a jump a time lies is a matter of values"):
        nc.compile(lambda t: nc.odeint(decay, np.ones(1), t, jump_t=[0.5]))(np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    "options", [{"norm": "foo"}, {"controller": "foo"}, {"on_min_step": "foo"}, {"max_seconds": 0}]
)
def test_a_layer_refuses_an_option_where_it_is_made(options):
    with pytest.raises((TypeError, ValueError), match=f"NeuralODE: {next(iter(options))} must be"):
        nc.NeuralODE(nc.nn.MLP([2, 2]), **options)
