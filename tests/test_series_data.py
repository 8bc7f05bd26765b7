"""Series for latent ODEs: spirals, batches on a union grid, gaps, what is refused."""

import numpy as np
import pytest

from node_core.models import (
    events_on_grid,
    rmse,
    spirals,
    union_grid,
)
from node_core.models.series import gaps
from tests.cases import irregular


def test_spirals_are_seeded_and_shaped():
    one, two, other = spirals(3, 6, kept=30), spirals(3, 6, kept=30), spirals(4, 6, kept=30)
    shapes = {name: np.shape(value) for name, value in vars(one).items()}
    assert shapes == {
        "t": (100,), "future": (100,), "x": (100, 6, 2), "mask": (100, 6), "true": (200, 6, 2), "clockwise": (6,),
    }  # fmt: skip
    assert all(np.array_equal(value, vars(two)[name]) for name, value in vars(one).items())
    assert not np.array_equal(one.true, other.true)
    assert np.all(np.sum(one.mask, axis=0) == 30)
    assert np.all(one.x[one.mask == 0] == 0)
    assert len({tuple(column) for column in one.mask.T}) == 6  # each at its own times
    np.testing.assert_array_equal(one.beyond, one.true[100:])
    np.testing.assert_allclose(np.diff(np.concatenate([one.t, one.future])), 6 * np.pi / 499, rtol=1e-12)


def test_half_of_the_spirals_turn_clockwise_and_all_go_outward():
    data = spirals(0, 10)
    x, y = data.true[..., 0], data.true[..., 1]
    turned = x[:-1] * y[1:] - y[:-1] * x[1:]  # positive: counter-clockwise
    assert np.sum(data.clockwise) == 5
    np.testing.assert_array_equal(np.all(turned < 0, axis=0), data.clockwise)
    np.testing.assert_array_equal(np.all(turned > 0, axis=0), ~data.clockwise)
    assert np.all(np.diff(np.hypot(x, y), axis=0) > 0)


def test_starts_of_the_spirals_say_where_they_end():
    whole = 0.3 * 6 * np.pi  # the radius at the 500th point
    for starts, first, last in (((100, 400), 100, 598), ((100, 300), 100, 498)):
        radius = np.linalg.norm(spirals(0, 2000, starts=starts).true, axis=2)
        np.testing.assert_allclose(np.min(radius), whole * first / 499, rtol=1e-12)
        np.testing.assert_allclose(np.max(radius), whole * last / 499, rtol=1e-12)


def test_noise_of_the_spirals_is_what_was_asked_for():
    data = spirals(0, 200, noise=0.3)
    noise = data.x - data.true[:100]  # 40,000 numbers: the error of the deviation is 0.3 / sqrt(80,000)
    assert np.std(noise) == pytest.approx(0.3, abs=4 * 0.3 / np.sqrt(80_000))
    assert abs(np.mean(noise)) < 4 * 0.3 / np.sqrt(40_000)
    np.testing.assert_array_equal(spirals(0, 2, noise=0.0).x, spirals(0, 2, noise=0.0).true[:100])


def test_union_grid_holds_each_series_at_its_own_times():
    times, values, (t, x, mask) = irregular()
    np.testing.assert_array_equal(t, np.unique(np.concatenate(times)))
    for i, (own, seen) in enumerate(zip(times, values, strict=True)):
        np.testing.assert_array_equal(t[mask[:, i] == 1], own)
        np.testing.assert_array_equal(x[mask[:, i] == 1, i], seen)
    assert np.all(x[mask == 0] == 0)


def test_gaps_count_from_the_last_sight():
    mask = np.array([[0, 1], [1, 0], [0, 0], [1, 1], [0, 0]], float)
    before, left = gaps(np.array([0.0, 1.0, 3.0, 6.0, 10.0]), mask)
    np.testing.assert_array_equal(before.T, [[0, 0, 2, 5, 4], [0, 1, 3, 6, 4]])
    np.testing.assert_array_equal(left, [4, 4])


def test_rmse_is_over_all_numbers():
    assert rmse(np.zeros((2, 1, 2)), np.array([[[3.0, 4.0]], [[0.0, 0.0]]])) == pytest.approx(2.5)


def test_wrong_events_of_a_series_are_named_with_it():
    t, x, mask = union_grid([[0.0, 1.0], [0.5]], [np.zeros((2, 1)), np.zeros((1, 1))])
    with pytest.raises(ValueError, match=r"series 1: events are out of order: series 1: event 0 is 0.7"):
        events_on_grid(t, x, mask, [[], [0.7, 0.2]])
    with pytest.raises(ValueError, match="series 0: event 0 is negative: -1"):
        events_on_grid(t, x, mask, [[-1.0], []])
    with pytest.raises(ValueError, match="one array of events for each of 2 series, got 1"):
        events_on_grid(t, x, mask, [[]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spirals(0, 0), "spirals: n must be a positive int, got 0"),
        (lambda: spirals(0, 3, kept=101), "spirals: of 100 points one cannot keep 101"),
        (lambda: spirals(0, 3, starts=(100, 100)), r"starts must be \(first, end\) within 0 and 500, got \(100, 100\)"),
        (lambda: spirals(0, 3, noise=-1.0), "noise must be a non-negative number, got -1.0"),
        (lambda: union_grid([[0.0]], []), "one array of values for each of times, got 0 and 1"),
        (lambda: union_grid([[0.0, 1.0]], [[[1.0]]]), r"series 0 must have times \(n,\) and values \(n, d\)"),
        (lambda: union_grid([[0.0, 1.0]], [[2.0, 3.0]]), r"\(2,\); for one component give values\[:, None\]"),
        (lambda: union_grid([[0.0], []], [[[1.0]], np.ones((0, 1))]), "series 1 is empty; leave it out"),
        (lambda: union_grid([[1.0, 0.5]], np.ones((1, 2, 1))), "increasing times, but 1.0 comes before 0.5"),
        (lambda: union_grid([[0.0, np.nan]], np.ones((1, 2, 1))), "series 0 has a time that is not finite, at 1: nan"),
        (lambda: union_grid([[0.0]], [[[np.inf]]]), r"series 0 has a value that is not finite, at 0: \[inf\]"),
        (lambda: union_grid([[0.0], [0.0]], [[[1.0]], [[1.0, 2.0]]]), r"as many columns, got \[1, 2\]"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
