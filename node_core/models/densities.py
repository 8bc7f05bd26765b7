"""Densities to match, and data to fit: the test problems of normalizing flows in the plane.

Targets are unnormalised log densities, (N, 2) -> (N,), the first three energies of Rezende and Mohamed (2015, table 1);
the paper names none of its three targets, and does not print their formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import whole_number

__all__ = ["TARGETS", "log_normalizer", "ring", "split", "two_circles", "two_moons", "wave"]

WALL = 4.0  # the second and third energy are flat along z1: without an end they have no normalised density


def _square(x: Any) -> Any:
    return x * x


def _walls(z: Any) -> Any:
    """0 within |z_i| <= 4, and beyond it falling like a Gaussian of width 0.4."""
    return -0.5 * np.sum(_square(np.maximum(np.abs(z) - WALL, 0.0) / 0.4), axis=-1)


def _middle(z: Any) -> Any:
    return np.sin(0.5 * np.pi * z[:, 0])  # the w1 of the table, of period 4


def ring(z: Any) -> Any:
    """A ring of radius 2 with its two sides picked out (U1 of the table)."""
    x, radius = z[:, 0], np.sqrt(np.sum(z * z, axis=-1) + 1e-12)  # the root of 0 has no slope
    sides = np.logaddexp(-0.5 * _square((x - 2.0) / 0.6), -0.5 * _square((x + 2.0) / 0.6))
    return sides - 0.5 * _square((radius - 2.0) / 0.4)


def wave(z: Any) -> Any:
    """A band along a sine (U2 of the table), of |z1| <= 4."""
    return -0.5 * _square((z[:, 1] - _middle(z)) / 0.4) + _walls(z)


def split(z: Any) -> Any:
    """The same, narrower, with a second band that leaves it near z1 = 1 and comes back (U3), of |z1| <= 4."""
    above = z[:, 1] - _middle(z)
    gap = 3.0 * np.exp(-0.5 * _square((z[:, 0] - 1.0) / 0.6))
    return np.logaddexp(-0.5 * _square(above / 0.35), -0.5 * _square((above + gap) / 0.35)) + _walls(z)


TARGETS: dict[str, Callable] = {"ring": ring, "wave": wave, "split": split}


def log_normalizer(log_density: Callable, half_width: float = 6.0, n: int = 600) -> float:
    """log of the integral of exp(log_density) over the square |z_i| <= half_width, by the midpoint rule on n^2 points.

    Subtracted, it makes KL(q || p) a divergence, 0 at best.
    """
    side = (np.arange(n) + 0.5) * (2.0 * half_width / n) - half_width
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)  # (n^2, 2)
    values = log_density(grid)
    top = np.max(values)
    return float(top + np.log(np.sum(np.exp(values - top))) + 2.0 * np.log(2.0 * half_width / n))


def two_circles(rng: Any, n: int, noise: float = 0.06, factor: float = 0.5) -> np.ndarray:
    """n points (n, 2), shuffled, evenly on a unit circle and on one of radius `factor`, with Gaussian noise.

    As scikit-learn's make_circles; rng is a NumPy Generator or a seed.
    """
    n = whole_number("two_circles", "n", n)
    rng, angles = np.random.default_rng(rng), [2.0 * np.pi * np.arange(k) / max(k, 1) for k in (n // 2, n - n // 2)]
    outer, inner = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in angles)
    return _noisy(rng, np.concatenate([outer, factor * inner]), noise)


def two_moons(rng: Any, n: int, noise: float = 0.05) -> np.ndarray:
    """n points (n, 2), shuffled, evenly on two half circles that interlock, with Gaussian noise.

    As scikit-learn's make_moons; rng is a NumPy Generator or a seed.
    """
    n = whole_number("two_moons", "n", n)
    rng, angles = np.random.default_rng(rng), [np.linspace(0.0, np.pi, k) for k in (n // 2, n - n // 2)]
    upper, lower = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in angles)
    return _noisy(rng, np.concatenate([upper, np.array([1.0, 0.5]) - lower]), noise)


def _noisy(rng: np.random.Generator, x: np.ndarray, noise: float) -> np.ndarray:
    return rng.permutation(x) + noise * rng.standard_normal(x.shape)
