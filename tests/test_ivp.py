"""solve_ivp: SciPy's results, step for step; SciPy's own tests; events, resets, and what cannot be meant."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import node_core as nc
from node_core.solvers import METHODS

ROOT = Path(__file__).parent.parent
THREE = pytest.mark.parametrize("method", ["RK23", "RK45", "DOP853"])
BACKENDS = pytest.mark.parametrize("backend", ["compiled", "callback", "python"])


def lorenz(t, y, s, r, b):
    return [s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]]


def oscillator(t, y):
    return [y[1], -y[0]]


ARGS = (10.0, 28.0, 8 / 3)


# --- SciPy's results ---


WITHOUT_OURS = {
    "test_no_integration_class": "SciPy's solver objects",
    "test_ConstantDenseOutput": "a class of SciPy's dense output",
    "test_classes": "SciPy's solver objects",
    "test_OdeSolution": "a class of SciPy's dense output",
    "test_num_jac": "finite differences for implicit methods",
    "test_num_jac_sparse": "finite differences for implicit methods",
    "test_inital_maxstep": "select_initial_step, a function of SciPy's",
    "test_integration_sparse_difference": "sparse Jacobians: Radau and BDF",
    "test_integration_const_jac": "Jacobians: Radau and BDF",
    "test_event_dense_output_LSODA": "LSODA",
    "test_args": "Radau",
}


def test_scipys_own_tests_pass_with_ours_in_its_place(tmp_path):
    """test_ivp.py of SciPy's wheel, and by name what of it does not come to ours."""
    pytest.importorskip("scipy", reason="SciPy's own tests are in its wheel")
    out = tmp_path / "found.json"
    ran = subprocess.run([sys.executable, "-m", "tests.scipys_own", str(out)], cwd=ROOT, capture_output=True, text=True,
                         check=False)  # fmt: skip
    assert out.exists(), ran.stdout + ran.stderr
    found = json.loads(out.read_text())
    assert found["failed"] == []
    assert found["skipped"] == []
    stiff = [name for name in found["without_ours"] if any(f"[{m}" in name for m in ("Radau", "BDF", "LSODA"))]
    assert set(found["without_ours"]) - set(stiff) == set(WITHOUT_OURS)
    assert len(found["passed"]) >= 55
    assert found["calls"]["ours"] >= 130


@THREE
@pytest.mark.parametrize(
    "options",
    [{}, {"dense_output": True}, {"events": lambda t, y, *args: y[0]}, {"rtol": 1e-7, "atol": 1e-9}, {"max_step": 0.1},
     {"first_step": 0.01}, {"rtol": [1e-3, 1e-6, 1e-4], "atol": [1e-6, 1e-5, 1e-8]}, {"t_eval": [0.5, 0.6, 1.9]}],
    ids=lambda options: "-".join(options) or "plain",
)  # fmt: skip
@BACKENDS
def test_steps_evaluations_and_events_are_scipys(method, options, backend):
    scipy = pytest.importorskip("scipy.integrate", reason="compared with SciPy")
    wanted = scipy.solve_ivp(lorenz, (0, 2), [1, 1, 1], method=method, args=ARGS, **options)
    found = nc.solve_ivp(lorenz, (0, 2), [1, 1, 1], method=method, args=ARGS, backend=backend, **options)
    assert found.nfev == wanted.nfev
    assert (found.status, found.message, found.success) == (wanted.status, wanted.message, wanted.success)
    np.testing.assert_allclose(found.t, wanted.t, rtol=1e-7)
    np.testing.assert_allclose(found.y, wanted.y, rtol=1e-6, atol=1e-6)
    if found.sol is not None:
        s = np.linspace(0, 2, 101)
        np.testing.assert_allclose(found.sol(s), wanted.sol(s), rtol=1e-6, atol=1e-6)
    if found.t_events is not None:
        np.testing.assert_allclose(found.t_events[0], wanted.t_events[0], rtol=1e-8)
        np.testing.assert_allclose(found.y_events[0], wanted.y_events[0], rtol=1e-6, atol=1e-8)


def test_dop853_with_t_eval_spares_the_dense_output_of_steps_that_hold_only_their_ends():
    scipy = pytest.importorskip("scipy.integrate", reason="compared with SciPy")
    keywords = {"method": "DOP853", "args": ARGS, "t_eval": [0.0, 4.0]}
    found, wanted = (solver(lorenz, (0, 4), [1, 1, 1], **keywords) for solver in (nc.solve_ivp, scipy.solve_ivp))
    assert found.nfev == wanted.nfev - 6
    np.testing.assert_allclose(found.y, wanted.y, rtol=1e-6)


@THREE
def test_backward_complex_and_vectorized(method):
    forth = nc.solve_ivp(lambda t, y: [1j * y[0], -y[1]], (0, 2), [1.0, 2.0 + 1j], method=method, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(forth.y[:, -1], [np.exp(2j), (2 + 1j) * np.exp(-2)], rtol=1e-6)
    back = nc.solve_ivp(lambda t, y: np.vstack([y[1], -y[0]]), (2, 0), [0, 1], method=method, vectorized=True,
                        rtol=1e-8, atol=1e-10, t_eval=[2, 1.5, 0])  # fmt: skip
    np.testing.assert_allclose(back.y[0], np.sin(back.t - 2), atol=1e-6)
    assert back.t.tolist() == [2, 1.5, 0]


@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m.adaptive])
@BACKENDS
def test_every_adaptive_method_finds_its_events(method, backend):
    def zero(t, y):
        return y[0]

    found = nc.solve_ivp(oscillator, (0, 9), [1.0, 0.0], method=method, events=zero, rtol=1e-6, atol=1e-8,
                         dense_output=True, backend=backend)  # fmt: skip
    near = 1e-3 if METHODS[method].order == 2 else 2e-4
    np.testing.assert_allclose(found.t_events[0], np.pi * np.array([0.5, 1.5, 2.5]), atol=near)
    np.testing.assert_allclose(found.y_events[0][:, 0], 0.0, atol=1e-12)
    s = np.linspace(0, 9, 50)
    np.testing.assert_allclose(found.sol(s), [np.cos(s), -np.sin(s)], atol=1.5 * near)
    np.testing.assert_allclose(found.sol(s, nu=1), [-np.sin(s), -np.cos(s)], atol=2e-2)


def test_a_fixed_step_method_takes_its_step_size():
    found = nc.solve_ivp(oscillator, (0, 1), [1.0, 0.0], method="rk4", step_size=0.125, dense_output=True)
    np.testing.assert_allclose(found.t, np.arange(9) / 8)
    np.testing.assert_allclose(found.sol(0.3)[0], np.cos(0.3), atol=1e-4)


# --- the solution as a function ---


def test_the_solution_as_a_function_is_vectorised_exact_at_the_steps_and_keeps_to_its_range():
    found = nc.solve_ivp(oscillator, (0, 3), [1.0, 0.0], dense_output=True, rtol=1e-8, atol=1e-10)
    sol = found.sol
    assert sol(0.5).shape == (2,)
    assert sol([]).shape == (2, 0)
    np.testing.assert_array_equal(sol(found.t), found.y)
    np.testing.assert_array_equal(sol([2.0, 0.5, 0.5])[:, 1], sol(0.5))
    assert (sol.t_min, sol.t_max, sol.n_segments) == (0.0, 3.0, len(found.t) - 1)
    np.testing.assert_array_equal(sol.ts, found.t)
    for nu, wanted in enumerate([np.cos(1.0), -np.sin(1.0), -np.cos(1.0), np.sin(1.0)]):
        assert abs(sol(1.0, nu=nu)[0] - wanted) < 10.0 ** (3 * nu - 8)
    assert np.all(sol(1.0, nu=9) == 0)
    np.testing.assert_allclose(sol(3.01), [np.cos(3.01), -np.sin(3.01)], atol=1e-6)  # as SciPy does
    with pytest.raises(ValueError, match=r"t = 3.01 is outside of \[0.0, 3.0\]; give extrapolate=True"):
        sol([1.0, 3.01], extrapolate=False)
    with pytest.raises(ValueError, match=r"t must be a number or an array \(q,\), got shape \(1, 1\)"):
        sol([[1.0]])
    with pytest.raises(ValueError, match="nu, the derivative, must be an int of at least 0, got -1"):
        sol(1.0, nu=-1)


def test_many_times_are_answered_in_pieces(monkeypatch):
    from node_core.solvers import dense

    found = nc.solve_ivp(oscillator, (3, 0), [1.0, 0.0], dense_output=True)
    s = np.linspace(0, 3, 57)
    whole = found.sol(s)
    monkeypatch.setattr(dense, "CHUNK", 40)
    np.testing.assert_array_equal(found.sol(s), whole)


# --- edges and bad input ---


@THREE
@BACKENDS
def test_a_span_without_length_and_an_empty_state_are_their_own_solution(method, backend):
    found = nc.solve_ivp(oscillator, (1, 1), [2.0, 3.0], method=method, dense_output=True, backend=backend)
    assert found.t.tolist() == [1, 1]
    assert found.sol([0, 5]).tolist() == [[2, 2], [3, 3]]
    empty = nc.solve_ivp(lambda t, y: y, (0, 10), np.zeros(0), method=method, dense_output=True, backend=backend)
    assert empty.sol([1, 2, 3]).shape == (0, 3)
    assert empty.y.shape[0] == 0


@BACKENDS
def test_a_solve_that_fails_keeps_what_there_is_and_says_why(backend):
    found = nc.solve_ivp(lambda t, y: y * y, (0, 2), [1.0], dense_output=True, backend=backend, max_num_steps=10_000)
    assert found.status == -1
    assert not found.success
    assert 0.99 < found.t[-1] < 1.001
    np.testing.assert_allclose(found.sol(0.5), [2.0], rtol=2e-2)
    assert "step size" in found.message or "finite" in found.message
    times = nc.solve_ivp(
        lambda t, y: y * y, (0, 2), [1.0], t_eval=[0.25, 0.5, 1.5], backend=backend, max_num_steps=10_000
    )
    assert times.t.tolist() == [0.25, 0.5]


def test_a_solve_that_fails_at_once_has_its_first_point_alone():
    with np.errstate(invalid="ignore"):
        found = nc.solve_ivp(lambda t, y: np.sqrt(y), (0, 3), [-1.0])
    assert (found.status, found.t.tolist(), found.y.tolist()) == (-1, [0.0], [[-1.0]])


def test_scipys_classes_and_those_made_from_them_are_methods():
    scipy = pytest.importorskip("scipy.integrate", reason="classes of SciPy")

    class Own(scipy.RK23):
        pass

    assert nc.solve_ivp(**plain(method=Own)).nfev == nc.solve_ivp(**plain(method="RK23")).nfev
    with pytest.raises(NotImplementedError, match="comes with the stiff solvers"):
        nc.solve_ivp(**plain(method=scipy.Radau))
    with pytest.raises(TypeError, match="method must be a name"):
        nc.solve_ivp(**plain(method=type("RK45", (), {})))


def test_the_results_entries_are_attributes():
    found = nc.solve_ivp(oscillator, (0, 1), [1.0, 0.0])
    assert found["t"] is found.t
    assert set(found) <= set(dir(found))
    found.note = 3
    assert found["note"] == 3
    assert "status: 0" in repr(found)
    with pytest.raises(AttributeError, match="the result has no times; it has t, y, sol"):
        _ = found.times


def plain(**changes):
    return {"fun": oscillator, "t_span": (0, 1), "y0": [1.0, 0.0], **changes}


def with_attributes(function, **attributes):
    for name, value in attributes.items():
        setattr(function, name, value)
    return function


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "Radau"}, NotImplementedError, "comes with the stiff solvers"),
        ({"method": "BDF"}, NotImplementedError, "comes with the stiff solvers"),
        ({"method": "LSODA"}, NotImplementedError, "comes with the stiff solvers"),
        ({"method": "rk45"}, ValueError, "did you mean 'RK45'"),
        ({"method": "rk4"}, ValueError, "rk4 takes fixed steps; give step_size"),
        ({"backend": "fast"}, ValueError, "backend must be one of"),
        ({"t_span": 3}, ValueError, r"t_span must be \(start, end\)"),
        ({"t_span": (0, np.nan)}, ValueError, "t_span must start at a finite time"),
        ({"t_span": (np.inf, 0)}, ValueError, "t_span must start at a finite time"),
        ({"y0": [[1.0, 0.0]]}, ValueError, "`y0` must be 1-dimensional"),
        ({"y0": ["a"]}, TypeError, "`y0` must hold numbers"),
        ({"y0": [1.0, np.nan]}, ValueError, r"`y0` must be finite. y0\[1\] is nan"),
        ({"t_eval": [[0.5]]}, ValueError, "`t_eval` must be 1-dimensional"),
        ({"t_eval": [0.5, 1.5]}, ValueError, "1.5 is outside of"),
        ({"t_eval": [0.5, 0.5]}, ValueError, "not properly sorted: 0.5 comes before 0.5"),
        ({"args": 3}, TypeError, "Supplied 'args' cannot be unpacked"),
        ({"rtol": [1e-3] * 3}, ValueError, "rtol"),
        ({"atol": [1e-3] * 3}, ValueError, "`atol` has wrong shape"),
        ({"atol": -1}, ValueError, "`atol` must be positive"),
        ({"max_step": 0}, ValueError, "`max_step` must be positive"),
        ({"first_step": -1}, ValueError, "`first_step` must be positive"),
        ({"first_step": 5}, ValueError, "`first_step` exceeds bounds"),
        ({"norm": "foo"}, TypeError, 'norm must be "rms", "max"'),
        ({"step_size": 0.1}, ValueError, "step_size does not go with RK45, which is adaptive"),
        ({"fun": 3}, TypeError, "fun must be callable"),
        ({"fun": lambda t, y: [1.0, 2.0, 3.0]}, ValueError, r"y0's shape \(2,\), got shape \(3,\)"),
        ({"events": 3}, TypeError, "int"),
        ({"events": [3]}, TypeError, "events: each must be callable as event"),
        ({"events": lambda t, y: y}, ValueError, r"event 0 must return one real number, got shape \(2,\)"),
        ({"events": lambda t, y: np.nan if t > 0 else 1.0}, ValueError, "event 0 is nan at t = "),
        ({"events": with_attributes(lambda t, y: t, terminal=-1)}, ValueError, "The `terminal` attribute"),
        ({"events": with_attributes(lambda t, y: t, reset=3)}, TypeError, "the `reset` of event 0 must be callable"),
        (
            {"events": with_attributes(lambda t, y: t - 0.5, reset=lambda t, y: [1.0])},
            ValueError,
            r"the reset of event 0 must return a state \(2,\) of float64, got \(1,\) of float64 at t = 0.5",
        ),
        (
            {"events": with_attributes(lambda t, y: t - 0.5, reset=lambda t, y: y * np.nan)},
            ValueError,
            "the reset of event 0 must return a finite state",
        ),
    ],
)
def test_what_cannot_be_meant_is_told(changes, error, message):
    with pytest.raises(error, match=message):
        nc.solve_ivp(**plain(**changes))


@BACKENDS
def test_what_an_event_or_fun_raises_comes_through(backend):
    def raises(t, y):
        if t > 0.1:
            raise KeyError("mine")
        return 1.0

    with pytest.raises(KeyError, match="mine"):
        nc.solve_ivp(oscillator, (0, 1), [1.0, 0.0], events=raises, backend=backend)


def test_options_without_effect_and_tolerances_that_cannot_be_met_warn_as_in_scipy():
    with pytest.warns(UserWarning, match="no effect for a chosen solver: `jac`, `quick`") as caught:
        nc.solve_ivp(**plain(jac=lambda t, y: 1, quick=True))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="At least one element of `rtol` is too small"):
        nc.solve_ivp(**plain(rtol=[1e-3, 1e-16]))


# --- gradients ---


def test_y_at_the_times_of_t_eval_is_differentiable():
    times = [0.5, 1.0, 2.0]

    def end(y0, k):
        found = nc.solve_ivp(
            lambda t, y, k: [y[1], -k * y[0]], (0, 2), y0, t_eval=times, args=(k,), rtol=1e-9, atol=1e-11
        )
        return np.sum(found.y * np.arange(6.0).reshape(2, 3))

    slopes = nc.grad(end, argnums=(0, 1))(np.array([1.0, 0.5]), 2.0)
    for i, (x, slope) in enumerate(zip(([1.0, 0.5], 2.0), slopes, strict=True)):
        for j in np.ndindex(np.shape(x)):
            moved = []
            for h in (1e-5, -1e-5):
                at = [np.array([1.0, 0.5]), np.array(2.0)]
                at[i][j] += h
                moved.append(end(*at))
            assert abs((moved[0] - moved[1]) / 2e-5 - np.asarray(slope)[j]) < 1e-5
    with pytest.raises(NotImplementedError, match="differentiable at the times of t_eval"):
        nc.grad(lambda y0: np.sum(nc.solve_ivp(oscillator, (0, 1), y0).y))(np.array([1.0, 0.0]))


@BACKENDS
def test_the_norm_is_that_of_odeint(backend):
    found = [nc.solve_ivp(**plain(norm=norm, backend=backend)).nfev for norm in (None, "rms", "max")]
    assert found[0] == found[1] == nc.solve_ivp(**plain()).nfev
    assert found[2] >= found[0]


def test_options_mean_the_same_where_gradients_are_taken():
    def end(y0, **options):
        return np.sum(nc.solve_ivp(oscillator, (0, 1), y0, t_eval=[0.5, 1.0], **options).y)

    y0 = np.array([1.0, 0.0])
    with pytest.warns(UserWarning, match="no effect for a chosen solver: `foo`"):
        nc.grad(lambda y: end(y, foo=3))(y0)
    assert np.all(nc.grad(lambda y: np.sum(nc.solve_ivp(oscillator, (1, 1), y, t_eval=[1.0]).y))(y0) == 1.0)
    with pytest.raises(ValueError, match="`first_step` exceeds bounds"):
        nc.grad(lambda y: end(y, first_step=5.0))(y0)


def test_a_function_that_branches_on_values_is_called_with_one_warning():
    def branches(t, y):
        return [y[1], -y[0] if y[0] > 0 else -2 * y[0]]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nc.solve_ivp(
            branches, (0, 1), [1.0, 0.0], events=with_attributes(lambda t, y: y[0] - 0.9, reset=lambda t, y: y)
        )
    assert [str(w.message)[:24] for w in caught] == ["func is called back from"]
