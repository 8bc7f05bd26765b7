"""Functions of values, shapes or dtypes alone: no derivative passes through them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import FUNCTIONS, Node, concrete, lift
from ..primitive import ALL
from .registry import WITHOUT_DERIVATIVE, numpy_name

__all__: list[str] = []


def _enter_nondifferentiable(function: Any) -> None:
    primitive = ALL[function.__name__]

    def ours(*args: Any, **kwargs: Any) -> Any:
        return primitive(*[lift(a) for a in args], **kwargs)

    FUNCTIONS[function] = ours
    WITHOUT_DERIVATIVE.add(function)


for _function in (
    np.argmax, np.argmin, np.argsort, np.any, np.all, np.count_nonzero, np.searchsorted, np.round, np.isneginf,
    np.isposinf, np.isclose, np.allclose, np.array_equal, np.nonzero,
):  # fmt: skip
    _enter_nondifferentiable(_function)


def _example(x: Any) -> Any:
    """A plain array of x's shape and dtype; x's own where that has one."""
    value = concrete(x)
    if type(x) is Node and np.shape(value) != x.shape:  # a Node that does not show all its axes
        return np.broadcast_to(value.dtype.type(0), x.shape)
    return value


def _enter_static(function: Any) -> None:
    def ours(*args: Any, **kwargs: Any) -> Any:
        return function(*[_example(a) for a in args], **{k: _example(v) for k, v in kwargs.items()})

    FUNCTIONS[function] = ours
    WITHOUT_DERIVATIVE.add(function)


for _function in (
    np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.zeros_like, np.ones_like, np.empty_like,
    np.result_type, np.can_cast,
):  # fmt: skip
    _enter_static(_function)


@numpy_name(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None) -> Any:
    return np.broadcast_to(lift(fill_value), np.shape(a)).astype(dtype or a.dtype)
