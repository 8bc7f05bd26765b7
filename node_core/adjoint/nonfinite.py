"""Where a gradient was first not finite: the errors that say so."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..autodiff import tree
from ..program import Field
from ..solvers import SolverError

__all__ = ["Arose", "check_cotangent", "check_parts", "nonfinite_gradient"]


class Arose(ArithmeticError):
    """A cotangent that is not finite: of which part ("y", "parameters" or "t"), and its place there.

    t: where on the way back it first was so; None where only the result was looked at.
    """

    def __init__(self, t: float | None, part: str, place: int) -> None:
        super().__init__(t, part, place)
        self.t, self.part, self.place = t, part, place


def check_parts(t: float | None, y_bar: np.ndarray, parameter_bars: list, t_bar: Any) -> None:
    """Arose if one of them is not finite."""
    flat = np.concatenate([np.zeros(0), *(np.ravel(bar) for bar in parameter_bars)])
    for part, bar in (("y", y_bar), ("parameters", flat), ("t", np.reshape(t_bar, (-1,)))):
        if not np.isfinite(bar).all():
            raise Arose(t, part, int(np.argmin(np.isfinite(bar))))


def check_cotangent(g: np.ndarray, t: np.ndarray) -> None:
    """SolverError if a cotangent (m, n) is not finite: the way back would blame func."""
    bad = np.argwhere(~np.isfinite(g))
    if len(bad):
        i, k = (int(j) for j in bad[0])
        raise SolverError(
            f"non-finite: the gradient of the loss by component {k} of y(t[{i}]), t[{i}] = {t[i]:.6g}, is {g[i, k]}; "
            "look at the loss, and at the data in it",
            float(t[i]), 0.0, np.array(g[i]), "non-finite",
        )  # fmt: skip


def nonfinite_gradient(field: Field, told: Field, arose: Arose, y: Any) -> SolverError:
    """The error for it; told: the field in whose arguments the user knows those of `field`; y: a state."""
    what = {"y": f"component {arose.place} of y", "t": "t"}.get(arose.part) or _parameter(field, told, arose.place)
    if arose.t is None:
        where = f"the gradient by {what} is not finite; look at the derivatives of func"
    else:
        where = f"on the way back, at t = {arose.t:.17g}, the gradient by {what} is no longer finite; look at the "
        where += "derivative of func there"
    message = f"non-finite: {where} (a root, a norm or a division at 0, say)"
    return SolverError(message, float("nan") if arose.t is None else arose.t, 0.0, y, "non-finite")


def _parameter(field: Field, told: Field, place: int) -> str:
    """``args[0]['W'][2, 1]``: what an entry of the parameters' vector is."""
    paths = [tree.paths(told.args, "args")[i] for i in told.floating]
    wanted = [i for i, want in enumerate(field.wanted) if want]
    ends = np.cumsum([0, *(int(np.size(p)) for p in field.differentiated)])
    for i, leaf, (start, end) in zip(wanted, field.differentiated, pairwise(ends), strict=True):
        if place < end:
            index = [int(k) for k in np.unravel_index(place - start, np.shape(leaf))]
            name = paths[i] if i < len(paths) else "a value that func closes over"
            return f"{name}{index if index else ''}"
    return "a parameter"
