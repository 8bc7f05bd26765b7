"""The methods by name: their coefficients stand in fixed_methods, embedded_pairs, high_order_methods and dop853."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .adams import ADAMS_METHODS, Adams
from .dop853 import DOP853
from .embedded_pairs import ADAPTIVE_HEUN, BOSH3, CASH_KARP, DOPRI5, FEHLBERG2, FEHLBERG45, TSIT5
from .fixed_methods import EULER, HEUN2, HEUN3, MIDPOINT, RALSTON, RK4, RK38, SSPRK3
from .high_order_methods import DOPRI8
from .symplectic_methods import LEAPFROG, SYMPLECTIC_EULER, VELOCITY_VERLET, YOSHIDA4
from .tableau import Tableau
from .verner import VERN7, VERN9

__all__ = ["METHODS", "SPLIT_METHODS", "Method", "methods", "tableau"]

FIXED = (EULER, MIDPOINT, HEUN2, RALSTON, HEUN3, SSPRK3, RK4, RK38)
ADAPTIVE = (ADAPTIVE_HEUN, FEHLBERG2, BOSH3, FEHLBERG45, CASH_KARP, DOPRI5, TSIT5, VERN7, DOPRI8, VERN9)
SCIPY = (
    replace(BOSH3, name="RK23", as_scipy=True, description="bosh3 with SciPy's steps"),
    replace(DOPRI5, name="RK45", as_scipy=True, description="dopri5 with SciPy's steps"),
    DOP853,
)
METHODS: dict[str, Tableau] = {m.name: m for m in (*FIXED, *ADAPTIVE, *SCIPY)}
SPLIT_METHODS: dict[str, Tableau] = {m.name: m for m in (SYMPLECTIC_EULER, LEAPFROG, VELOCITY_VERLET, YOSHIDA4)}
ALL = {**METHODS, **SPLIT_METHODS, **ADAMS_METHODS}

# Known names of methods still to come: a user who types one has made no mistake.
PLANNED = (
    "Radau", "BDF", "LSODA",
)  # fmt: skip


@dataclass(frozen=True)
class Method:
    """What `methods()` says of a method.

    kind: "fixed", "adaptive", "symplectic" (of fixed steps, for split systems (q, p)) or "multistep" (of orders 1 to
    `order`, with variable steps and order, or equal steps of one order).
    stages: evaluations a step of a multistep method.
    """

    name: str
    order: int
    kind: str
    stages: int
    fsal: bool
    dense_order: int
    description: str


def tableau(name: str | Tableau) -> Tableau:
    """The method of that name, or a user's own once its order conditions hold.

    Raises NotImplementedError for one that is planned (in whatever case: SciPy's names are in capitals),
    ValueError with the nearest names for any other.
    """
    if isinstance(name, Tableau | Adams):
        if ALL.get(name.name) is name or isinstance(name, Adams):
            return name
        from .order import checked  # for a user's own only: fractions take time to import

        return checked(name)
    if not isinstance(name, str):
        raise TypeError(f"method must be a name, one of {', '.join(ALL)}, or a Tableau, got {type(name).__name__}")
    if name in ALL:
        return ALL[name]
    if name.lower() in ("adams", "vode", "abm"):
        raise ValueError(f"method {name!r} is not known; did you mean 'implicit_adams' or 'explicit_adams'?")
    planned = {known.lower(): known for known in PLANNED}
    if name.lower() in planned:
        raise NotImplementedError(f"method {name!r} does not exist yet; there are {', '.join(ALL)}")
    import difflib  # for this message only

    later = [planned[near] for near in difflib.get_close_matches(name.lower(), planned, n=3, cutoff=0.6)]
    known = {method.lower(): method for method in ALL}
    nearest = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6 if later else 0.4)
    if name.lower() in known:  # only the case is wrong
        nearest, later = [name.lower()], []
    nearest = [known[near] for near in nearest]
    hint = f"did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
    hint += f"Planned, but not there yet: {', '.join(map(repr, later))}. " if later else ""
    raise ValueError(f"method {name!r} is not known; {hint}There are {', '.join(ALL)}")


def _kind(m: Tableau | Adams) -> str:
    if isinstance(m, Adams):
        return "multistep"
    return "symplectic" if m.split else "adaptive" if m.adaptive else "fixed"


def methods() -> list[Method]:
    """Every method, those for split systems and of several steps last."""
    return [
        Method(
            m.name,
            m.order,
            _kind(m),
            m.stages,
            m.fsal,
            m.dense_order,
            m.description,
        )
        for m in ALL.values()
    ]
