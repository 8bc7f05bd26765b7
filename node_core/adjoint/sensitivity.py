"""gradient="forward": the sensitivities integrated beside the state.

With S_j(t) = dy(t)/dp_j for every entry p_j of y0 and of the parameters,

    dS_j/dt = f_y S_j + df/dp_j      S_j(t_0) = the unit vector of y0's entry j, or 0 of a parameter

f_y S and df/dp are one Jacobian-vector product with all directions at once, so the state [y, S] of n (1 + n + p)
numbers has a Program like any other. Its cost grows with p and its memory not with the steps. S is left out of the
error norm unless `sensitivities_in_norm` says otherwise: the steps are then those of the solve alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..autodiff import jvp_many
from ..autodiff.primitive import NoForwardRuleError
from ..program import Field
from ..solvers import Control, Tableau, integrate
from .discrete import dot

__all__ = ["Sensitivities", "solve_forward"]

Array = np.ndarray


class Sensitivities:
    """S (m, n + p, n) at the outputs y (m, n), and what the way back makes of them."""

    evaluations = 0  # on the way back

    def __init__(self, field: Field, t: Array, y: Array, S: Array) -> None:
        self.field, self.t, self.y, self.S = field, t, y, S

    def pulled(self, g: Array, with_t: bool) -> tuple[Array, list, Array]:
        """From the cotangents g (m, n) of the outputs: (y0_bar (n,), [one for every wanted parameter], t_bar (m,))."""
        n = self.y.shape[1]
        bars = np.einsum("mkn,mn->k", self.S, g).astype(self.y.dtype)
        t_bar = np.zeros(len(self.t))
        if with_t:
            slopes = [self.field(float(t), np.ascontiguousarray(y)) for t, y in zip(self.t, self.y, strict=True)]
            t_bar[:] = [dot(g_i, f) for g_i, f in zip(g, slopes, strict=True)]
            t_bar[0] = -dot(bars[:n] - g[0], slopes[0])  # the start moves; y0 itself is an output, and does not
        return bars[:n], self.field.split(bars[n:]), t_bar


def solve_forward(
    field: Field, tableau: Tableau, control: Control, backend: str, stepper: str, y0: Array, t: Array
) -> tuple[Any, Sensitivities]:
    """The solution of y alone, with its statistics, and its sensitivities; y0 (n,), t (m,)."""
    if field.dtype.kind == "c" or any(np.iscomplexobj(p) for p in field.differentiated):
        raise NotImplementedError("gradient='forward' is for real states and parameters; give gradient='discrete'")
    if control.watch is not None:
        raise NotImplementedError("gradient='forward' has no callbacks; give gradient='discrete'")
    n, sizes = len(y0), [int(np.size(p)) for p in field.differentiated]
    k = n + sum(sizes)
    units = np.eye(k, dtype=y0.dtype)
    ends = np.cumsum([n, *sizes])
    seeds = [units[:, a:b] for a, b in pairwise(ends)]

    def augmented(t: Any, s: Any, parameters: Sequence) -> Any:
        """[f, f_y S + df/dp] of s = [y, S], (n (1 + k),)."""
        moving = [p for p, want in zip(parameters, field.wanted, strict=True) if want]

        def of(y: Any, *moved: Any) -> Any:
            values = iter(moved)
            return field.flat(t, y, [next(values) if w else p for p, w in zip(parameters, field.wanted, strict=True)])

        tangents = [np.reshape(s[n:], (k, n))]
        tangents += [np.reshape(seed, (k, *np.shape(p))) for seed, p in zip(seeds, moving, strict=True)]
        try:
            f, slopes = jvp_many(of, (s[:n], *moving), tangents)
        except NoForwardRuleError as error:
            raise NotImplementedError(
                f"gradient='forward' needs forward rules all through func, which has none for: {error}; give "
                "gradient='discrete'"
            ) from error
        return np.concatenate([f, np.reshape(slopes, (-1,))])

    wide = Field(augmented, np.zeros(n * (1 + k), y0.dtype), (field.parameters,))
    s0 = np.concatenate([y0, units[:, :n].ravel()])
    run = wide.compiled(float(t[0]), s0) if backend == "compiled" else None
    solution = integrate(wide if run is None else run, s0, t, tableau, _control(control, n, k), backend=stepper)
    S = solution.y[:, n:].reshape(len(t), k, n)
    solution = dataclasses.replace(solution, y=np.ascontiguousarray(solution.y[:, :n]))
    return solution, Sensitivities(field, t, solution.y, S)


def _control(control: Control, n: int, k: int) -> Control:
    """That of y for [y, S]: S is in the norm, with the tolerances of y, if asked."""

    def repeated(tolerance: Any) -> Any:
        return tolerance if np.ndim(tolerance) == 0 else np.tile(tolerance, 1 + k)

    n_norm = None if control.sensitivities_in_norm else n
    return dataclasses.replace(control, rtol=repeated(control.rtol), atol=repeated(control.atol), n_norm=n_norm)
