"""The smoothing spline between its two limits: interpolation, and the least-squares line."""

import itertools

import numpy as np
import pytest

from node_core.spline import SmoothingSpline

T = np.array([0.0, 0.3, 1.0, 1.1, 2.5, 3.0, 4.2])
Y = np.stack([np.sin(T), T**2 - T], axis=1)  # (7, 2)
FINE = np.linspace(T[0], T[-1], 301)


def curvature(spline, x):
    """g'' by central differences of the slopes."""
    return (spline(x + 1e-5)[1] - spline(x - 1e-5)[1]) / 2e-5


def test_without_smoothing_it_interpolates_and_is_the_natural_spline():
    spline = SmoothingSpline(T, Y, 0.0)
    np.testing.assert_allclose(spline(T)[0], Y, atol=1e-14)
    np.testing.assert_allclose(curvature(spline, T[[0, -1]] + [2e-5, -2e-5]), 0.0, atol=1e-3)
    for side in (-1e-9, 1e-9):  # value, slope and curvature are continuous at the knots
        np.testing.assert_allclose(spline(T[1:-1] + side)[1], spline(T[1:-1])[1], atol=1e-7)


def test_it_reproduces_a_line_whatever_the_smoothing():
    line = np.stack([2.0 - 3.0 * T, 0.5 * T], axis=1)
    for smoothing in (0.0, 1e-3, 1e6):
        values, slopes = SmoothingSpline(T, line, smoothing)(FINE)
        np.testing.assert_allclose(values, np.stack([2.0 - 3.0 * FINE, 0.5 * FINE], axis=1), atol=1e-9)
        np.testing.assert_allclose(slopes, np.tile([-3.0, 0.5], (301, 1)), atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 1e-2, 10.0])
def test_its_derivative_equals_central_differences_of_its_values(smoothing):
    spline = SmoothingSpline(T, Y, smoothing)
    x, step = FINE[1:-1], 1e-6
    differences = (spline(x + step)[0] - spline(x - step)[0]) / (2 * step)
    np.testing.assert_allclose(spline(x)[1], differences, atol=1e-7)


def test_with_large_smoothing_it_is_the_least_squares_line():
    values, _ = SmoothingSpline(T, Y, 1e10)(T)
    for column in range(2):
        np.testing.assert_allclose(values[:, column], np.polyval(np.polyfit(T, Y[:, column], 1), T), atol=1e-8)


def test_it_minimises_its_functional():
    """sum (y - g)^2 + smoothing * integral g''^2 is quadratic in g at the knots, and least at spline.g."""
    smoothing = 0.1
    spline = SmoothingSpline(T, Y[:, :1], smoothing)

    def cost(knots):
        through = SmoothingSpline(T, knots, 0.0)  # the natural spline through the knots bends least
        x = np.concatenate([np.linspace(a, b, 102)[1:-1] for a, b in itertools.pairwise(T)])
        h = np.repeat(np.diff(T) / 101, 100)
        bend = np.sum(h * (curvature(through, x) ** 2)[:, 0]) * 101 / 100
        return np.sum((Y[:, :1] - knots) ** 2) + smoothing * bend

    np.testing.assert_allclose(spline(T)[0], spline.g, atol=1e-14)
    rng = np.random.default_rng(0)
    best = cost(spline.g)
    for _ in range(5):
        d = 1e-1 * rng.normal(size=spline.g.shape)
        assert cost(spline.g + d) > best
        assert cost(spline.g - d) > best
        assert abs(cost(spline.g + d) - cost(spline.g - d)) < 2e-2 * (cost(spline.g + d) - best)


def test_two_points_are_joined_by_a_line():
    values, slopes = SmoothingSpline(np.array([1.0, 3.0]), np.array([[0.0], [4.0]]), 1e-3)(np.array([1.0, 1.5, 3.0]))
    np.testing.assert_allclose(values, [[0.0], [1.0], [4.0]], atol=1e-14)
    np.testing.assert_allclose(slopes, 2.0)
