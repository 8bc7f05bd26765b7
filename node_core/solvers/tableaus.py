"""The methods: their coefficients, and how to find one by name.

Fixed steps: euler, midpoint, heun2, rk4. Adaptive: bosh3, dopri5, tsit5. HNW is Hairer, Norsett, Wanner,
Solving Ordinary Differential Equations I, 2nd ed., 1993.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .tableau import Tableau, hermite_weights

__all__ = ["METHODS", "Method", "methods", "tableau"]


def _lower(*rows: list[float]) -> np.ndarray:
    """(stages, stages) from the rows below the diagonal; the first row is empty."""
    a = np.zeros((len(rows) + 1, len(rows) + 1))
    for i, row in enumerate(rows, start=1):
        a[i, :i] = row
    return a


EULER = Tableau(
    name="euler",
    order=1,
    a=[[0.0]],
    b=[1.0],
    c=[0.0],
    description="Euler's method; one step is one residual block",
    source="HNW I.7",
)

MIDPOINT = Tableau(
    name="midpoint",
    order=2,
    a=_lower([1 / 2]),
    b=[0.0, 1.0],
    c=[0.0, 1 / 2],
    description="explicit midpoint rule",
    source="Runge 1895; HNW II.1 (1.4)",
)

HEUN2 = Tableau(
    name="heun2",
    order=2,
    a=_lower([1.0]),
    b=[1 / 2, 1 / 2],
    c=[0.0, 1.0],
    description="Heun's method, the explicit trapezoidal rule",
    source="Heun 1900; HNW II.1",
)

RK4 = Tableau(
    name="rk4",
    order=4,
    a=_lower([1 / 2], [0.0, 1 / 2], [0.0, 0.0, 1.0]),
    b=[1 / 6, 1 / 3, 1 / 3, 1 / 6],
    c=[0.0, 1 / 2, 1 / 2, 1.0],
    description="the classical Runge-Kutta method",
    source="Kutta 1901; HNW II.1, Table 1.2 left",
)

BOSH3 = Tableau(
    name="bosh3",
    order=3,
    a=_lower([1 / 2], [0.0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]),
    b=[2 / 9, 1 / 3, 4 / 9, 0.0],
    c=[0.0, 1 / 2, 3 / 4, 1.0],
    e=[-5 / 72, 1 / 12, 1 / 9, -1 / 8],
    embedded_order=2,
    description="Bogacki and Shampine 3(2), for loose tolerances",
    source="Bogacki, Shampine, Appl. Math. Lett. 2 (1989) 321",
)

_DOPRI5_B = np.array([35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0])
# The quartic through Hermite's data: HNW II.6, with the d of Hairer's code DOPRI5 (Shampine 1986).
_DOPRI5_QUARTIC = np.array(
    [
        -12715105075 / 11282082432,
        0.0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ]
)

DOPRI5 = Tableau(
    name="dopri5",
    order=5,
    a=_lower(
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        list(_DOPRI5_B[:-1]),
    ),
    b=_DOPRI5_B,
    c=[0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0],
    e=[71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40],
    embedded_order=4,
    p=hermite_weights(_DOPRI5_B, np.eye(7)[-1], _DOPRI5_QUARTIC),
    dense_order=4,
    description="Dormand and Prince 5(4), the default",
    source="Dormand, Prince, J. Comput. Appl. Math. 6 (1980) 19; dense output: Shampine, Math. Comp. 46 (1986) 135",
)

# Tsitouras prints 16 digits, which leave 1e-14 in the order conditions. These are the nearest numbers that
# satisfy all of them to 50 digits, with c2, c3, c4, b2, b_hat7, p22 and p72 as printed.
_TSIT5_B = np.array(
    [
        0.09646076681806522951,
        0.01,
        0.47988965041449957483,
        1.37900857410374188372,
        -3.29006951543608078699,
        2.32471052409977409893,
        0.0,
    ]
)
_TSIT5_QUARTIC = np.array(
    [
        -1.05308849772902155739,
        0.1017,
        2.49062728565125279339,
        -16.54810288924490260463,
        47.37952196281928285255,
        -34.87065786149661148390,
        2.5,
    ]
)

TSIT5 = Tableau(
    name="tsit5",
    order=5,
    a=_lower(
        [0.161],
        [-0.00848065549235698855, 0.33548065549235698855],
        [2.89715305710549352307, -6.35944848997507502231, 4.36229543286958149923],
        [5.32586482843925682800, -11.74888356406282832618, 7.49553934288983643539, -0.09249506636175525055],
        [
            5.86145544294642025449,
            -12.92096931784710973962,
            8.15936789857615886637,
            -0.07158497328140100014,
            -0.02826905039406838110,
        ],
        list(_TSIT5_B[:-1]),
    ),
    b=_TSIT5_B,
    c=[0.0, 0.161, 0.327, 0.9, 0.98002554090450968666, 1.0, 1.0],
    e=[
        0.00178001105222577142,
        0.00081643445965674713,
        -0.00788087801026199638,
        0.14471100717326290907,
        -0.58235716545255525613,
        0.45808210592918697639,
        -1 / 66,
    ],
    embedded_order=4,
    p=hermite_weights(_TSIT5_B, np.eye(7)[-1], _TSIT5_QUARTIC),
    dense_order=4,
    description="Tsitouras 5(4), often fewer steps than dopri5",
    source="Tsitouras, Comput. Math. Appl. 62 (2011) 770, Table 1 and its interpolant",
)

METHODS: dict[str, Tableau] = {m.name: m for m in (EULER, MIDPOINT, HEUN2, RK4, BOSH3, DOPRI5, TSIT5)}

# Known names of methods still to come: a user who types one has made no mistake.
PLANNED = (
    "heun3", "ralston", "rk38", "ssprk3", "explicit_adams", "implicit_adams", "adaptive_heun", "fehlberg2",
    "fehlberg45", "cash_karp", "dopri8", "vern7", "vern9", "RK23", "RK45", "DOP853", "symplectic_euler", "leapfrog",
    "velocity_verlet", "yoshida4", "Radau", "BDF", "LSODA",
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """What `methods()` says of a method. `kind` is "fixed" or "adaptive"."""

    name: str
    order: int
    kind: str
    stages: int
    fsal: bool
    dense_order: int
    description: str


def tableau(name: str) -> Tableau:
    """The method of that name.

    Raises NotImplementedError for one that is planned (in whatever case: SciPy's names are in capitals),
    ValueError with the nearest names for any other.
    """
    if not isinstance(name, str):
        raise TypeError(f"method must be a name, one of {', '.join(METHODS)}, got {type(name).__name__}")
    if name in METHODS:
        return METHODS[name]
    planned = {known.lower(): known for known in PLANNED}
    if name.lower() in planned:
        raise NotImplementedError(f"method {name!r} does not exist yet; there are {', '.join(METHODS)}")
    import difflib  # for this message only

    later = [planned[near] for near in difflib.get_close_matches(name.lower(), planned, n=3, cutoff=0.6)]
    nearest = difflib.get_close_matches(name.lower(), METHODS, n=3, cutoff=0.6 if later else 0.4)
    if name.lower() in METHODS:  # only the case is wrong
        nearest, later = [name.lower()], []
    hint = f"did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
    hint += f"Planned, but not there yet: {', '.join(map(repr, later))}. " if later else ""
    raise ValueError(f"method {name!r} is not known; {hint}There are {', '.join(METHODS)}")


def methods() -> list[Method]:
    """Every method, in the order of METHODS."""
    return [
        Method(
            m.name,
            m.order,
            "adaptive" if m.adaptive else "fixed",
            m.stages,
            m.fsal,
            m.dense_order,
            m.description,
        )
        for m in METHODS.values()
    ]
