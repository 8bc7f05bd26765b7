"""The methods of fixed steps.

HNW is Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, 2nd ed., 1993.
"""

from __future__ import annotations

from .tableau import Tableau, lower

__all__ = ["EULER", "HEUN2", "HEUN3", "MIDPOINT", "RALSTON", "RK4", "RK38", "SSPRK3"]

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
    a=lower([1 / 2]),
    b=[0.0, 1.0],
    c=[0.0, 1 / 2],
    description="explicit midpoint rule",
    source="Runge 1895; HNW II.1 (1.4)",
)

HEUN2 = Tableau(
    name="heun2",
    order=2,
    a=lower([1.0]),
    b=[1 / 2, 1 / 2],
    c=[0.0, 1.0],
    description="Heun's method, the explicit trapezoidal rule",
    source="Heun 1900; HNW II.1",
)

RALSTON = Tableau(
    name="ralston",
    order=2,
    a=lower([2 / 3]),
    b=[1 / 4, 3 / 4],
    c=[0.0, 2 / 3],
    description="Ralston's method, of the smallest error bound with two stages",
    source="Ralston, Math. Comp. 16 (1962) 431",
)

HEUN3 = Tableau(
    name="heun3",
    order=3,
    a=lower([1 / 3], [0.0, 2 / 3]),
    b=[1 / 4, 0.0, 3 / 4],
    c=[0.0, 1 / 3, 2 / 3],
    description="Heun's method of order three",
    source="Heun 1900; HNW II.1, Table 1.1",
)

SSPRK3 = Tableau(
    name="ssprk3",
    order=3,
    a=lower([1.0], [1 / 4, 1 / 4]),
    b=[1 / 6, 1 / 6, 2 / 3],
    c=[0.0, 1.0, 1 / 2],
    description="strong-stability-preserving, for conservation laws",
    source="Shu, Osher, J. Comput. Phys. 77 (1988) 439",
)

RK4 = Tableau(
    name="rk4",
    order=4,
    a=lower([1 / 2], [0.0, 1 / 2], [0.0, 0.0, 1.0]),
    b=[1 / 6, 1 / 3, 1 / 3, 1 / 6],
    c=[0.0, 1 / 2, 1 / 2, 1.0],
    description="the classical Runge-Kutta method",
    source="Kutta 1901; HNW II.1, Table 1.2 left",
)

RK38 = Tableau(
    name="rk38",
    order=4,
    a=lower([1 / 3], [-1 / 3, 1.0], [1.0, -1.0, 1.0]),
    b=[1 / 8, 3 / 8, 3 / 8, 1 / 8],
    c=[0.0, 1 / 3, 2 / 3, 1.0],
    description="Kutta's 3/8 rule (torchdiffeq's rk4)",
    source="Kutta 1901; HNW II.1, Table 1.2 right",
)
