"""Symplectic methods for separable Hamiltonian systems: dq/dt = f(t, p), dp/dt = g(t, q).

A step is a sequence of kicks, p += k h g(t, q), and drifts, q += d h f(t, p), whose numbers each sum to 1. Each is one
evaluation of the whole right-hand side, of which it takes its half: a stage of a Runge-Kutta method that has one
tableau for q and another for p. Sources: Hairer, Lubich, Wanner, Geometric Numerical Integration, 2nd ed., 2006, I.1.4
and II.4; Yoshida, Construction of higher order symplectic integrators, Phys. Lett. A 150 (1990) 262.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .tableau import Tableau

__all__ = ["LEAPFROG", "SYMPLECTIC_EULER", "VELOCITY_VERLET", "YOSHIDA4"]


def _sequence(name: str, order: int, substeps: Sequence[tuple[str, float]], description: str, source: str) -> Tableau:
    """The method of these substeps, ("kick" or "drift", its share of h)."""
    s = len(substeps)
    share = {kind: np.array([x if which == kind else 0.0 for which, x in substeps]) for kind in ("kick", "drift")}
    before = np.tri(s, s, -1)  # what has been done when a stage is evaluated
    a, a_p = before * share["drift"], before * share["kick"]
    # a kick looks at q, so its time is q's; a drift at p
    c = [(a if kind == "kick" else a_p)[i].sum() for i, (kind, _) in enumerate(substeps)]
    return Tableau(name, order, a=a, b=share["drift"], c=c, a_p=a_p, b_p=share["kick"], description=description,
                   source=source)  # fmt: skip


_VERLET = [("kick", 0.5), ("drift", 1.0), ("kick", 0.5)]
_W1 = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_W0 = 1.0 - 2.0 * _W1
_HLW = "Hairer, Lubich, Wanner, Geometric Numerical Integration, I.1.4"

SYMPLECTIC_EULER = _sequence(
    "symplectic_euler", 1, [("kick", 1.0), ("drift", 1.0)], "kick, then drift: the simplest symplectic method", _HLW
)
LEAPFROG = _sequence("leapfrog", 2, _VERLET, "half a kick, drift, half a kick (Stormer and Verlet)", _HLW)
VELOCITY_VERLET = _sequence("velocity_verlet", 2, _VERLET, "another name of leapfrog", _HLW)
YOSHIDA4 = _sequence(
    "yoshida4",
    4,
    [
        ("kick", _W1 / 2), ("drift", _W1), ("kick", (_W1 + _W0) / 2), ("drift", _W0), ("kick", (_W0 + _W1) / 2),
        ("drift", _W1), ("kick", _W1 / 2),
    ],
    "three leapfrogs, the second of them backward, for long times",
    "Yoshida, Phys. Lett. A 150 (1990) 262, eq. 2.11",
)  # fmt: skip
