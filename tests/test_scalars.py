"""Small functions, which Programs run element by element: every instruction, and the steps of small states."""

import re

import numpy as np
import pytest

import node_core as nc
from node_core.program import scalars
from tests.cases import assert_close

T = np.linspace(0.0, 1.0, 5)


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

        def stacked(x, function=function):
            return np.stack([function(x[0], x[1], x[2])])

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
