"""Solves that are looked at while they run: the same in C and in Python, and ended where the watcher asks."""

import numpy as np
import pytest

from node_core._kernels import rk
from node_core.solvers import METHODS, Control
from node_core.solvers.roots import bracketed_root
from node_core.solvers.watched import Watch, watched

T = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 5.0])
BOTH = pytest.mark.parametrize("backend", ["compiled", "python"])
SOME = pytest.mark.parametrize("method", [METHODS[m] for m in ("RK45", "DOP853", "rk4", "cash_karp", "bosh3")],
                               ids=lambda m: m.name)  # fmt: skip


def oscillator(t, y):
    return np.array([y[1], -y[0] * (1 + 0.5 * np.sin(3 * t))])


def look(method, backend, stop=lambda moment, t, *_: False, slopes="stages", keep="slopes", t=T, **control):
    """The trajectory, and what the watcher was told."""
    told = []

    def call(moment, t, h, y, *accepted):
        told.append((moment, t, h, *y, *(np.ravel(np.asarray(x, float)) for x in accepted)))
        return stop(moment, t, *accepted)

    watch = Watch(call, True, True, True, slopes)
    settings = {"first_step": 0.9, "rtol": 1e-5, "atol": 1e-7, **control}
    return watched(oscillator, np.array([1.0, 0.5]), t, method, Control(**settings), watch, backend=backend,
                   keep=keep), told  # fmt: skip


@SOME
@pytest.mark.parametrize("slopes", ["stages", "end", "all"])
def test_both_backends_tell_the_same(method, slopes):
    (c, c_told), (p, p_told) = (look(method, b, slopes=slopes) for b in ("compiled", "python"))
    assert len(c_told) == len(p_told)
    for a, b in zip(c_told, p_told, strict=True):
        np.testing.assert_allclose(np.hstack(a), np.hstack(b), rtol=1e-6, atol=1e-9)
    assert c.stats == p.stats
    np.testing.assert_allclose(c.y, p.y, rtol=1e-8)
    for name in ("t", "h", "y", "K", "last_stage", "extra"):
        np.testing.assert_allclose(getattr(c.record, name), getattr(p.record, name), rtol=1e-6, atol=1e-9)
    if slopes != "stages":
        assert c.record.last_stage.all()
    assert c.record.extra.all() == (slopes == "all" and method.extra > 0)
    moments = [rk.MOMENTS[name] for name in ("attempt", "rejection", "acceptance")]
    counts = [sum(told[0] == moment for told in c_told) for moment in moments]
    assert counts == [c.stats.naccepted + c.stats.nrejected, c.stats.nrejected, c.stats.naccepted]


@SOME
@BOTH
@pytest.mark.parametrize("moment", ["attempt", "acceptance"])
def test_a_true_answer_ends_the_solve_there_with_what_there_is(method, backend, moment):
    found, told = look(method, backend, lambda m, t, *rest: m == rk.MOMENTS[moment] and t > 1.2)
    assert found.stopped
    assert found.error is None
    last = told[-1]
    assert found.t == (last[1] if moment == "attempt" else last[5][0])
    np.testing.assert_array_equal(found.y_end, last[3:5] if moment == "attempt" else last[6])
    assert len(found.y) == np.sum(found.t >= T)
    assert len(found.record.t) == found.stats.naccepted


@BOTH
def test_a_rejection_may_end_the_solve_too(backend):
    found, told = look(METHODS["dopri5"], backend, lambda m, *_: m == rk.MOMENTS["rejection"], first_step=5.0)
    assert found.stopped
    assert (found.t, found.stats.naccepted, found.stats.nrejected) == (0.0, 0, 1)
    assert len(told) == 2
    assert len(found.y) == 1
    assert len(found.record.t) == 0


@BOTH
def test_a_failure_comes_back_with_what_there_is(backend):
    found, _ = look(METHODS["dopri5"], backend, max_num_steps=4)
    assert found.error.reason == "too many steps"
    assert found.stats.naccepted + found.stats.nrejected == 4
    assert found.t == found.error.t == found.record.t[-1] + found.record.h[-1]


def test_states_alone_may_be_kept_and_a_solve_may_run_to_infinity():
    found, _ = look(METHODS["RK45"], "compiled", lambda m, t, *_: t > 3, keep="states", t=np.array([0.0, np.inf]))
    assert found.stopped
    assert found.record.K.shape[1] == 0
    assert found.record.y.shape == (found.stats.naccepted, 2)
    nothing, _ = look(METHODS["RK45"], "compiled", keep=None)
    assert nothing.record is None
    assert len(nothing.y) == len(T)


@BOTH
def test_what_the_watcher_raises_comes_through(backend):
    def stop(*_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        look(METHODS["dopri5"], backend, stop)


@pytest.mark.parametrize(
    ("f", "a", "b", "root"),
    [
        (lambda x: x * x - 2, 0.0, 2.0, np.sqrt(2)),
        (lambda x: np.cos(x) - x, 1.0, 0.0, 0.7390851332151607),
        (lambda x: (x - 1) ** 9, 0.3, 1.9, 1.0),
        (lambda x: np.exp(50 * x) - 1, -3.0, 4.0, 0.0),
        (lambda x: -1.0 if x < 0.3 else 1.0, 0.0, 1.0, 0.3),
        (lambda x: x - 1e6, 0.0, 3e6, 1e6),
    ],
)
def test_a_bracketed_root_is_found_to_rounding(f, a, b, root):
    count = [0]

    def counted(x):
        count[0] += 1
        return f(x)

    found = bracketed_root(counted, a, b, f(a), f(b))
    assert abs(found - root) <= 4 * np.finfo(float).eps * max(1.0, abs(root))
    assert count[0] < 150


def test_a_root_at_an_end_is_it_and_without_a_change_of_sign_there_is_none():
    assert bracketed_root(lambda x: x, 0.0, 1.0, 0.0, 1.0) == 0.0
    assert bracketed_root(lambda x: x, -1.0, 0.0, -1.0, 0.0) == 0.0
    with pytest.raises(ValueError, match=r"f must change its sign from 1\.0 to 2\.0"):
        bracketed_root(lambda x: x, 1.0, 2.0, 1.0, 2.0)
