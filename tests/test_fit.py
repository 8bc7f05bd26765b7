"""fit_series: learning a small oscillator, the same bits for a seed, and what cannot be fitted."""

import dataclasses

import numpy as np
import pytest

import node_core as nc
from node_core.fit import Model, Settings, fit_series
from node_core.series import Series
from node_core.solvers import SolverError

SMALL = Settings(hidden=(6,), horizons=(2,), iterations=(30, 10, 10))


def oscillator(rows=13):
    t = np.linspace(1.0, 7.0, rows)
    return Series("t", ("x", "v"), t, np.stack([3.0 + np.cos(1.5 * t), 10.0 - 2.0 * np.sin(1.5 * t)], 1))


@pytest.fixture(scope="module")
def model():
    return fit_series(oscillator(), SMALL)


def test_an_oscillation_is_learned_and_not_its_mean(model):
    series = oscillator()
    rmse = np.sqrt(np.mean((model.predict(series.t) - series.y) ** 2, axis=0))
    assert (rmse < 0.05 * series.y.std(axis=0)).all()


def test_the_model_solves_on_past_the_data(model):
    t = np.linspace(1.0, 9.0, 9)
    exact = np.stack([3.0 + np.cos(1.5 * t), 10.0 - 2.0 * np.sin(1.5 * t)], 1)
    assert np.abs(model.predict(t) - exact).max() < 0.3


def test_times_before_the_first_or_unsorted_are_refused_by_predict(model):
    for t in ([0.5, 2.0], [2.0, 1.5], []):
        with pytest.raises(ValueError, match="predict: times must increase and start at 1 or later"):
            model.predict(np.array(t))
    np.testing.assert_array_equal(model.predict(np.array([1.0]))[0], model.mean + model.std * model.z0)
    np.testing.assert_allclose(model.predict(np.array([3.0, 4.0]))[1], model.predict(np.array([4.0]))[0], rtol=1e-4)


def test_a_seed_gives_the_same_file_to_the_bit_and_another_seed_another(tmp_path, model):
    again = fit_series(oscillator(), SMALL)
    other = fit_series(oscillator(), dataclasses.replace(SMALL, seed=1))
    for name, m in (("a", model), ("b", again), ("c", other)):
        nc.save(tmp_path / f"{name}.npz", m.to_tree())
    a, b, c = ((tmp_path / f"{name}.npz").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_the_stages_report_every_iteration_in_order_with_a_loss_that_falls():
    seen = []
    fit_series(oscillator(), SMALL, lambda *line: seen.append(line))
    stages = list(dict.fromkeys(stage for stage, *_ in seen))
    assert stages == ["derivatives", "horizon 2", "whole"]
    for stage, most in zip(stages, SMALL.iterations, strict=True):
        lines = [line for line in seen if line[0] == stage]
        assert [line[1] for line in lines] == list(range(1, len(lines) + 1))
        assert {line[2] for line in lines} == {most}
        assert len(lines) <= most
        assert np.all(np.diff([line[3] for line in lines]) <= 0)


def test_irregular_times_and_other_units_are_learned_alike():
    t = np.sort(np.random.default_rng(0).uniform(0.0, 6.0, 14))
    y = np.stack([np.cos(1.5 * t), -np.sin(1.5 * t)], 1)
    plain = fit_series(Series("t", ("x", "v"), t, y), SMALL)
    scaled = fit_series(Series("t", ("x", "v"), 2000.0 + 86400.0 * t, 1e6 * y - 5.0), SMALL)
    rmse = np.sqrt(np.mean((plain.predict(t) - y) ** 2))
    assert rmse < 0.05
    assert np.sqrt(np.mean((scaled.predict(2000.0 + 86400.0 * t) - (1e6 * y - 5.0)) ** 2)) < 1e6 * 0.05


def test_evaluations_of_the_training_are_counted(model):
    assert model.nfev_forward > 0
    assert model.nfev_backward > 0


def test_a_model_survives_the_file_and_predicts_the_same(tmp_path, model):
    nc.save(tmp_path / "m.npz", model.to_tree())
    loaded = Model.from_tree(nc.load(tmp_path / "m.npz"))
    assert (loaded.columns, loaded.hidden, loaded.time) == (("x", "v"), (6,), "t")
    t = np.linspace(1.0, 8.0, 5)
    np.testing.assert_array_equal(loaded.predict(t), model.predict(t))


def test_a_file_that_is_no_model_or_lacks_a_field_is_refused(model):
    for content in (np.ones(3), {"a": 1}, {"format": "other"}):
        with pytest.raises(ValueError, match="holds no model written by node-core fit"):
            Model.from_tree(content)
    content = model.to_tree()
    del content["z0"]
    with pytest.raises(ValueError, match="lacks fields of this version"):
        Model.from_tree(content)


def test_three_rows_are_refused():
    with pytest.raises(ValueError, match="fitting needs at least 4 rows, got 3"):
        fit_series(oscillator().head(3), SMALL)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5 / 3])
def test_a_constant_column_is_refused_also_where_its_rounded_deviation_is_not_zero(value):
    y = np.full((13, 1), value)
    with pytest.raises(ValueError, match="column 'x' does not vary over the fitted rows; leave it out with --columns"):
        fit_series(Series("t", ("x",), np.arange(13.0), y), SMALL)


def test_a_window_that_cannot_be_solved_is_told_by_the_time_and_column_of_its_row(monkeypatch):
    t = 1900.0 + np.array([0.0, 1.0, 3.0, 4.0, 6.0, 7.0])
    series = Series("year", ("hare", "lynx"), t, np.stack([np.sin(t), np.cos(t)], axis=1))
    own = Model.field

    def field(model, params, tau, z):  # lynx fails in the window of row 3, from its start on
        bad = np.array([[1.0, 1.0]] * 3 + [[1.0, np.nan]])
        return own(model, params, tau, z) * (bad if np.shape(z) == (4, 2) else 1.0)

    monkeypatch.setattr(Model, "field", field)
    with pytest.raises(SolverError, match=r"non-finite value in column 'lynx' at year = 1904\. Stopped") as caught:
        fit_series(series, Settings(hidden=(3,), horizons=(2,), iterations=(5, 5, 5)))
    assert caught.value.t == 1904.0
    np.testing.assert_allclose(caught.value.y, series.y[:4], atol=1e-3)
