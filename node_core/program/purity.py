"""Whether a Program computes what the function that it was recorded from computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..autodiff import tree

__all__ = ["ImpureError", "check", "close", "copies"]

PERTURBATIONS = 8  # of the arguments, to see how far rounding carries
REACH = 4.0  # times what they change is what rounding explains


class ImpureError(Exception):
    """The Program and the function differ: the function is not pure."""


def check(name: str, fun: Callable, program: Callable, point: list, made_up: list) -> None:
    """Compare program with fun at two points. The second is made up: if fun refuses it, it proves nothing.

    fun and program take the list of leaves of the arguments to the list of leaves of the result; name is fun's, in
    messages. Raises ImpureError if fun changes its arguments, or if the two differ by more than rounding explains.
    """
    for leaves in (point, made_up):
        try:
            wanted = _called(name, fun, leaves)
        except ImpureError:
            raise
        except Exception:
            if leaves is made_up:
                return
            raise
        got = program(leaves)
        if not (_agree(got, wanted) or _rounding_explains(name, fun, leaves, got, wanted)):
            raise ImpureError(f"{name} gave two answers for the same arguments: it is not pure")


def _called(name: str, fun: Callable, leaves: list) -> list:
    """What fun gives for copies of the leaves."""
    own = copies(leaves)
    with np.errstate(all="ignore"):  # as Programs have it
        result = fun(own)
    if not all(map(_same, own, leaves)):
        raise ImpureError(f"{name} changes its argument in place")
    return copies(result)


def _rounding_explains(name: str, fun: Callable, leaves: list, got: list, wanted: list) -> bool:
    """Whether fun, called again, gives the same bits, and moves as far when its arguments change in the last bits.

    Where the argument of a relu passes 0 between two steps of a solve, say, the gradient jumps, by more than the
    rounding that decides on which side it is; and where rounding decides whether a step is taken, by as much as the
    solve's tolerance allows.
    """
    if not all(map(_same, _called(name, fun, leaves), wanted)):
        return False
    moved = [0.0 for _ in wanted]  # how far each leaf of the result goes
    rng = np.random.default_rng(0)
    for k in range(PERTURBATIONS):
        try:
            nearby = _called(name, fun, [_perturbed(x, 2.0 ** (k // 2), rng) for x in leaves])
        except ImpureError:
            raise
        except Exception:  # at the edge of its domain: it tells nothing
            continue
        distances = [_distance(x, w) for x, w in zip(nearby, wanted, strict=True)]
        moved = [max(m, d) if np.isfinite(d) else m for m, d in zip(moved, distances, strict=True)]
    return all(_leaves_agree(x, w) or _distance(x, w) <= REACH * m for x, w, m in zip(got, wanted, moved, strict=True))


def _perturbed(x: object, ulps: float, rng: np.random.Generator) -> object:
    """A floating array with each entry moved by so many units in the last place, up or down; anything else as it is.

    Whole numbers stay, too: they may be those of a mask, which its function insists on.
    """
    if not isinstance(x, (np.ndarray, np.generic)) or x.dtype.kind not in "fc":
        return x
    moved = x * (1 + ulps * np.finfo(x.dtype).eps * rng.choice([-1.0, 1.0], x.shape)).astype(x.dtype)
    moved = np.where(x == np.rint(x), x, moved).astype(x.dtype)
    return moved if isinstance(x, np.ndarray) else moved[()]


def _distance(x: object, y: object) -> float:
    """The largest difference of two leaves; infinite if one is finite where the other is not, or if they are others."""
    if not (tree.is_floating(x) and tree.is_floating(y)):
        return 0.0 if _same(x, y) else np.inf
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return np.inf
    return float(np.max(np.abs(x - y), initial=0.0, where=np.isfinite(x)))


def copies(leaves: list) -> list:
    """The leaves, arrays as copies: a function that changes its arguments in place shall not change the caller's."""
    return [x.copy() if isinstance(x, np.ndarray) else x for x in leaves]


def _same(x: object, y: object) -> bool:
    """Equal to the bit."""
    if isinstance(x, (np.ndarray, np.generic)):
        alike = isinstance(y, (np.ndarray, np.generic)) and (x.shape, x.dtype) == (y.shape, y.dtype)
        return alike and (x.tobytes() == y.tobytes() if x.dtype.kind != "O" else bool(np.all(x == y)))
    return x is y or bool(np.all(x == y)) or (x != x and y != y)


def _agree(got: list, wanted: list) -> bool:
    return all(_leaves_agree(x, w) for x, w in zip(got, wanted, strict=True))


def _leaves_agree(got: object, wanted: object) -> bool:
    """Whether a leaf of the result is what the function itself gives."""
    if tree.is_floating(wanted):
        return tree.is_floating(got) and close(np.asarray(got), np.asarray(wanted))
    return type(got) is type(wanted) and bool(np.all(got == wanted))


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal to half the digits of the precision: room for another order of summation."""
    tolerance = np.sqrt(np.finfo(wanted.dtype).eps)
    scale = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
    least = 64 * np.finfo(wanted.dtype).eps  # what is left of terms of order one that cancel
    return np.allclose(got, wanted, rtol=tolerance, atol=tolerance * scale + least, equal_nan=True)
