"""The embedded pairs of order up to five. HNW is Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I."""

from __future__ import annotations

import numpy as np

from .tableau import Tableau, hermite_weights, lower

__all__ = ["ADAPTIVE_HEUN", "BOSH3", "CASH_KARP", "DOPRI5", "FEHLBERG2", "FEHLBERG45", "TSIT5"]

ADAPTIVE_HEUN = Tableau(
    name="adaptive_heun",
    order=2,
    a=lower([1.0]),
    b=[1 / 2, 1 / 2],
    c=[0.0, 1.0],
    e=[-1 / 2, 1 / 2, 0.0],
    embedded_order=1,
    description="Heun 2 with Euler's method beside it",
    source="HNW II.4",
)

FEHLBERG2 = Tableau(
    name="fehlberg2",
    order=2,
    a=lower([1 / 2], [1 / 256, 255 / 256]),
    b=[1 / 512, 255 / 256, 1 / 512],
    c=[0.0, 1 / 2, 1.0],
    e=[-1 / 512, 0.0, 1 / 512, 0.0],
    embedded_order=1,
    description="Fehlberg 2(1)",
    source="Fehlberg, NASA TR R-315 (1969), Table I",
)

BOSH3 = Tableau(
    name="bosh3",
    order=3,
    a=lower([1 / 2], [0.0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]),
    b=[2 / 9, 1 / 3, 4 / 9, 0.0],
    c=[0.0, 1 / 2, 3 / 4, 1.0],
    e=[-5 / 72, 1 / 12, 1 / 9, -1 / 8],
    embedded_order=2,
    description="Bogacki and Shampine 3(2), for loose tolerances",
    source="Bogacki, Shampine, Appl. Math. Lett. 2 (1989) 321",
)

FEHLBERG45 = Tableau(
    name="fehlberg45",
    order=5,
    a=lower(
        [1 / 4],
        [3 / 32, 9 / 32],
        [1932 / 2197, -7200 / 2197, 7296 / 2197],
        [439 / 216, -8.0, 3680 / 513, -845 / 4104],
        [-8 / 27, 2.0, -3544 / 2565, 1859 / 4104, -11 / 40],
    ),
    b=[16 / 135, 0.0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55],
    c=[0.0, 1 / 4, 3 / 8, 12 / 13, 1.0, 1 / 2],
    e=[1 / 360, 0.0, -128 / 4275, -2197 / 75240, 1 / 50, 2 / 55, 0.0],
    embedded_order=4,
    description="Fehlberg 5(4), which goes on with the result of order five",
    source="Fehlberg, NASA TR R-315 (1969), Table III",
)

CASH_KARP = Tableau(
    name="cash_karp",
    order=5,
    a=lower(
        [1 / 5],
        [3 / 40, 9 / 40],
        [3 / 10, -9 / 10, 6 / 5],
        [-11 / 54, 5 / 2, -70 / 27, 35 / 27],
        [1631 / 55296, 175 / 512, 575 / 13824, 44275 / 110592, 253 / 4096],
    ),
    b=[37 / 378, 0.0, 250 / 621, 125 / 594, 0.0, 512 / 1771],
    c=[0.0, 1 / 5, 3 / 10, 3 / 5, 1.0, 7 / 8],
    e=[
        37 / 378 - 2825 / 27648,
        0.0,
        250 / 621 - 18575 / 48384,
        125 / 594 - 13525 / 55296,
        -277 / 14336,
        512 / 1771 - 1 / 4,
        0.0,
    ],
    embedded_order=4,
    description="Cash and Karp 5(4)",
    source="Cash, Karp, ACM Trans. Math. Softw. 16 (1990) 201",
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
    a=lower(
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
    a=lower(
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
