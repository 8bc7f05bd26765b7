"""Problems with names in the literature, for work-precision tables: what a solver's tolerance buys.

DETEST: Hull, Enright, Fellen, Sedgwick, Comparing numerical methods for ordinary differential equations, SIAM J. Numer.
Anal. 9 (1972) 603, classes A (one equation) to E (of second order), t from 0 to 20. Lorenz; the Pleiades and
Arenstorf's orbit: Hairer, Norsett, Wanner I, II.10 and II.0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PROBLEMS", "Problem"]

Field = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Problem:
    """dy/dt = rhs(xp)(t, y), y(0) = y0 up to `end`; xp is the array module it is written in, NumPy's or JAX's."""

    name: str
    rhs: Callable[[Any], Field]
    y0: np.ndarray
    end: float = 20.0


def _problem(name: str, rhs: Callable[[Any, Any, Any], Any], y0: Any, end: float = 20.0) -> Problem:
    """From ``rhs(xp, t, y)``, which gives an array or a list of components."""

    def of(xp: Any) -> Field:
        def field(t: Any, y: Any) -> Any:
            found = rhs(xp, t, y)
            return xp.stack(found) if isinstance(found, list) else found

        return field

    return Problem(name, of, np.array(y0, float), end)


# --- A: one equation ---

A = [
    _problem("A1", lambda xp, t, y: -y, [1.0]),
    _problem("A2", lambda xp, t, y: -0.5 * y**3, [1.0]),
    _problem("A3", lambda xp, t, y: y * xp.cos(t), [1.0]),
    _problem("A4", lambda xp, t, y: 0.25 * y * (1.0 - y / 20.0), [1.0]),
    _problem("A5", lambda xp, t, y: (y - t) / (y + t), [4.0]),
]

# --- B: small systems ---


def _b4(xp: Any, t: Any, y: Any) -> list:
    r = xp.sqrt(y[0] ** 2 + y[1] ** 2)
    return [-y[1] - y[0] * y[2] / r, y[0] - y[1] * y[2] / r, y[0] / r]


B = [
    _problem("B1", lambda xp, t, y: [2.0 * (y[0] - y[0] * y[1]), -(y[1] - y[0] * y[1])], [1.0, 3.0]),
    _problem("B2", lambda xp, t, y: [-y[0] + y[1], y[0] - 2.0 * y[1] + y[2], y[1] - y[2]], [2.0, 0.0, 1.0]),
    _problem("B3", lambda xp, t, y: [-y[0], y[0] - y[1] ** 2, y[1] ** 2], [1.0, 0.0, 0.0]),
    _problem("B4", _b4, [3.0, 0.0, 0.0]),
    _problem("B5", lambda xp, t, y: [y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]], [0.0, 1.0, 1.0]),
]

# --- C: moderate systems: decay chains, diffusion, and the five outer planets ---


def _linear(name: str, matrix: np.ndarray) -> Problem:
    start = np.zeros(len(matrix))
    start[0] = 1.0
    return _problem(name, lambda xp, t, y: matrix @ y, start)


def _chain(rates: np.ndarray) -> np.ndarray:
    """What leaves state i at its rate enters state i + 1."""
    return np.diag(rates, -1) - np.diag(np.append(rates, 0.0))


def _diffusion(n: int) -> np.ndarray:
    return np.diag(np.ones(n - 1), 1) - 2.0 * np.eye(n) + np.diag(np.ones(n - 1), -1)


GRAVITY, SUN = 2.95912208286, 1.00000597682  # the sun's mass is that of the inner planets, too
MASSES = np.array([0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449, 0.00000277777777778])
PLANETS = np.array(
    [3.42947415189, 3.35386959711, 1.35494901715, 6.64145542550, 5.97156957878, 2.18231499728, 11.2630437207,
     14.6952576794, 6.27960525067, -30.1552268759, 1.65699966404, 1.43785752721, -21.1238353380, 28.4465098142,
     15.3882659679, -0.557160570446, 0.505696783289, 0.230578543901, -0.415570776342, 0.365682722812, 0.169143213293,
     -0.325325669158, 0.189706021964, 0.0877265322780, -0.0240476254170, -0.287659532608, -0.117219543175,
     -0.176860753121, -0.216393453025, -0.0148647893090]
)  # fmt: skip
APART = 1.0 - np.eye(5)


def _planets(xp: Any, t: Any, y: Any) -> Any:
    """Positions (5, 3) and velocities (5, 3): Jupiter, Saturn, Uranus, Neptune, Pluto about the sun."""
    at = xp.reshape(y[:15], (5, 3))
    r3 = xp.sum(at * at, axis=1) ** 1.5  # (5,)
    apart = at[None, :, :] - at[:, None, :]  # (5, 5, 3), from i to j
    d3 = (xp.sum(apart * apart, axis=2) + np.eye(5)) ** 1.5
    pulls = (MASSES * APART)[:, :, None] * (apart / d3[:, :, None] - (at / r3[:, None])[None, :, :])
    own = -((SUN + MASSES) / r3)[:, None] * at
    return xp.concatenate([y[15:], xp.reshape(GRAVITY * (own + xp.sum(pulls, axis=1)), (15,))])


C = [
    _linear("C1", _chain(np.ones(9))),
    _linear("C2", _chain(np.arange(1.0, 10.0))),
    _linear("C3", _diffusion(10)),
    _linear("C4", _diffusion(51)),
    _problem("C5", _planets, PLANETS),
]

# --- D: a planet on ellipses of growing eccentricity ---


def _orbit(xp: Any, t: Any, y: Any) -> list:
    r3 = (y[0] ** 2 + y[1] ** 2) ** 1.5
    return [y[2], y[3], -y[0] / r3, -y[1] / r3]


D = [
    _problem(f"D{k + 1}", _orbit, [1.0 - e, 0.0, 0.0, np.sqrt((1.0 + e) / (1.0 - e))])
    for k, e in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))
]

# --- E: equations of second order ---


def _bessel(xp: Any, t: Any, y: Any) -> list:
    """Of order 1/2."""
    return [y[1], -(y[1] / (t + 1.0) + (1.0 - 0.25 / (t + 1.0) ** 2) * y[0])]


ONE = np.sqrt(2.0 / np.pi)  # J of order 1/2 is sqrt(2 / (pi x)) sin x
E = [
    _problem("E1", _bessel, [ONE * np.sin(1.0), ONE * (np.cos(1.0) - 0.5 * np.sin(1.0))]),
    _problem("E2", lambda xp, t, y: [y[1], (1.0 - y[0] ** 2) * y[1] - y[0]], [2.0, 0.0]),
    _problem("E3", lambda xp, t, y: [y[1], y[0] ** 3 / 6.0 - y[0] + 2.0 * xp.sin(2.78535 * t)], [0.0, 0.0]),
    _problem("E4", lambda xp, t, y: [y[1], 0.032 - 0.4 * y[1] ** 2], [30.0, 0.0]),
    _problem("E5", lambda xp, t, y: [y[1], xp.sqrt(1.0 + y[1] ** 2) / (25.0 - t)], [0.0, 0.0]),
]

# --- three more ---


def _lorenz(xp: Any, t: Any, y: Any) -> list:
    return [10.0 * (y[1] - y[0]), y[0] * (28.0 - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]


def _pleiades(xp: Any, t: Any, z: Any) -> Any:
    """Seven stars in the plane, of masses 1 to 7: x, y, x', y' (7,) each."""
    x, y = z[:7], z[7:14]
    dx, dy = x[None, :] - x[:, None], y[None, :] - y[:, None]  # (7, 7), from i to j
    pull = np.arange(1.0, 8.0) / (dx * dx + dy * dy + np.eye(7)) ** 1.5
    return xp.concatenate([z[14:], xp.sum(pull * dx, axis=1), xp.sum(pull * dy, axis=1)])


STARS = [3, 3, -1, -3, 2, -2, 2, 3, -3, 2, 0, 0, -4, 4, 0, 0, 0, 0, 0, 1.75, -1.5, 0, 0, 0, -1.25, 1, 0, 0]
MOON = 0.012277471  # its share of the mass


def _arenstorf(xp: Any, t: Any, y: Any) -> list:
    earth = ((y[0] + MOON) ** 2 + y[1] ** 2) ** 1.5
    moon = ((y[0] - (1.0 - MOON)) ** 2 + y[1] ** 2) ** 1.5
    x = y[0] + 2.0 * y[3] - (1.0 - MOON) * (y[0] + MOON) / earth - MOON * (y[0] - (1.0 - MOON)) / moon
    return [y[2], y[3], x, y[1] - 2.0 * y[2] - (1.0 - MOON) * y[1] / earth - MOON * y[1] / moon]


PROBLEMS = {
    problem.name: problem
    for problem in (
        _problem("Lorenz", _lorenz, [1.0, 1.0, 1.0], 10.0),
        _problem("Pleiades", _pleiades, STARS, 3.0),
        _problem("Arenstorf", _arenstorf, [0.994, 0.0, 0.0, -2.00158510637908252], 17.0652165601579625),
        *A, *B, *C, *D, *E,
    )
}  # fmt: skip
