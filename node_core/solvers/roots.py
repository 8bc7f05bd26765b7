"""A root of a function of one variable between two points where it has different signs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["bracketed_root"]

EPS = float(np.finfo(float).eps)
MOST = 200  # evaluations; bisection alone needs about 60 for all bits, and often more near zero


def bracketed_root(f: Callable[[float], float], a: float, b: float, fa: float, fb: float) -> float:
    """x between a and b with f(x) = 0 to 4 eps; fa = f(a) and fb = f(b) do not have the same sign.

    Brent, Algorithms for Minimization without Derivatives, 1973, chapter 4: secant or inverse quadratic steps while
    they shrink the bracket fast enough, else bisection.
    """
    if fa == 0.0:
        return a
    if fb == 0.0:
        return b
    if (fa > 0) == (fb > 0):
        raise ValueError(f"bracketed_root: f must change its sign from {a} to {b}, got {fa} and {fb}")
    c, fc, step, before = a, fa, b - a, b - a
    for _ in range(MOST):
        if (fb > 0) == (fc > 0):  # c is the end across the root from b
            c, fc, step, before = a, fa, b - a, b - a
        if abs(fc) < abs(fb):  # b is the best of the two
            a, fa, b, fb, c, fc = b, fb, c, fc, b, fb
        tolerance, half = 2.0 * EPS * abs(b) + 2.0 * EPS, 0.5 * (c - b)
        if fb == 0.0 or abs(half) <= tolerance:
            return b
        step, before = _step(a, b, c, fa, fb, fc, half, tolerance, step, before)
        a, fa = b, fb
        b += step if abs(step) > tolerance else np.copysign(tolerance, half)
        fb = f(b)
    return b


def _step(
    a: float, b: float, c: float, fa: float, fb: float, fc: float, half: float, tolerance: float, step: float,
    before: float,
) -> tuple[float, float]:  # fmt: skip
    """The next step from b, and the one that the one after it is measured by."""
    if abs(before) < tolerance or abs(fa) <= abs(fb):
        return half, half
    ratio = fb / fa
    if a == c:  # secant
        p, q = 2.0 * half * ratio, 1.0 - ratio
    else:  # inverse quadratic
        u, v = fa / fc, fb / fc
        p = ratio * (2.0 * half * u * (u - v) - (b - a) * (v - 1.0))
        q = (u - 1.0) * (v - 1.0) * (ratio - 1.0)
    q = -q if p > 0 else q
    p = abs(p)
    if 2.0 * p < min(3.0 * half * q - abs(tolerance * q), abs(before * q)):
        return p / q, step
    return half, half
