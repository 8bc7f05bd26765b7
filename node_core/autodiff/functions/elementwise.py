"""Elementwise functions: the ufuncs, where, clip, sinc and their like."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import table as T
from ..node import FUNCTIONS, lift
from ..primitive import ALL, conj
from .reductions import total
from .registry import WITHOUT_DERIVATIVE, numpy_name

__all__: list[str] = []


for _name, _primitive in list(ALL.items()):
    _ufunc = getattr(np, _name, None)
    if isinstance(_ufunc, np.ufunc):
        FUNCTIONS[_ufunc] = _primitive
        if not _primitive.differentiable:
            WITHOUT_DERIVATIVE.add(_ufunc)
WITHOUT_DERIVATIVE.remove(np.sign)  # see below
FUNCTIONS[np.radians], FUNCTIONS[np.degrees] = T.DEG2RAD, T.RAD2DEG
FUNCTIONS[np.positive] = lambda x: x
FUNCTIONS[np.divmod] = lambda x, y: (np.floor_divide(x, y), np.remainder(x, y))
FUNCTIONS[np.fabs] = T.ABS
FUNCTIONS[np.vecdot] = lambda x, y: total(conj(x) * y, axis=-1)


@numpy_name(np.sign)
def sign(x: Any) -> Any:
    """Real: piecewise constant. Complex: x / |x|, which turns with x."""
    if not np.iscomplexobj(x):
        return ALL["sign"](x)
    return x / np.where(x == 0, 1, np.abs(x))


@numpy_name(np.logaddexp2)
def logaddexp2(x: Any, y: Any) -> Any:
    """log2(2^x + 2^y)."""
    return T.LOGADDEXP(x * T.LN2, y * T.LN2) / T.LN2


@numpy_name(np.heaviside)
def heaviside(x: Any, half: Any) -> Any:
    """0, `half` or 1 as x is negative, zero or positive."""
    return np.where(x == 0, half, np.where(x < 0, 0.0, 1.0))


@numpy_name(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """np.where with three arguments; the one-argument form depends on values only."""
    condition = lift(condition)
    if x is None and y is None:
        return ALL["nonzero"](condition)
    if condition.dtype != bool if hasattr(condition, "dtype") else not isinstance(condition, bool):
        condition = condition != 0
    return T.WHERE(condition, lift(x), lift(y))


@numpy_name(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """Limited to [a_min, a_max]; at a bound the derivative is shared, as in maximum and minimum."""
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = lift(a) if low is None else T.MAXIMUM(lift(a), lift(low))
    return a if high is None else T.MINIMUM(a, lift(high))


@numpy_name(np.real)
def real(val: Any) -> Any:
    return T.REAL(val)


@numpy_name(np.imag)
def imag(val: Any) -> Any:
    return T.IMAG(val)


@numpy_name(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The argument of a complex number."""
    phase = T.ARCTAN2(T.IMAG(z), T.REAL(z))
    return T.RAD2DEG(phase) if deg else phase


@numpy_name(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x); near 0 its Taylor series, so that all derivatives are right there too."""
    small = np.abs(x) < 0.3
    z = np.pi * np.where(small, 1.0, x)
    q = (np.pi * np.where(small, x, 0.0)) ** 2
    series = np.ones_like(q)
    for k in range(9, 0, -1):  # Horner; the next term is below 1e-19
        series = 1 - q * series / ((2 * k) * (2 * k + 1))
    return np.where(small, series, np.sin(z) / z)
