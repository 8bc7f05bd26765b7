"""The Butcher tableau of an explicit Runge-Kutta method, as frozen data that checks itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

__all__ = ["Tableau", "frozen", "hermite_weights", "lower"]

Array = np.ndarray
EPS = np.finfo(np.float64).eps
MOST_ORDER = 12  # of whose conditions there are 8,000; each order more has three times as many


@dataclass(frozen=True, eq=False)
class Tableau:
    """One explicit Runge-Kutta method.

    A step from (t, y) of length h has the slopes (rows of K)

        K[i] = f(t + c[i] h, y + h sum_{j<i} a[i, j] K[j])        i = 0 .. stages-1

    and ends in y_new = y + h sum_i b[i] K[i]. The slope at the new point, f(t + h, y_new), is always K's last
    row: an FSAL method ("first same as last") has it as its last stage, the others have it as one row more,
    which is the next step's first stage and so costs nothing. K is then (dense_stages, n), and

        error            = h sum_i e[i] K[i]
        y(t + theta h)   = y + h sum_i sum_k p[i, k] theta^(k+1) K[i]

    Some dense outputs need stages more, which are evaluated only where an output lies inside the step. They are K's
    rows after that of the new point, with `extra_a` and `extra_c` for a and c.

    Parameters
    ----------
    name, description, source
        What `methods()` shows, and the paper with the place in it.
    order
        Order of the method, p.
    a : (stages, stages), b, c : (stages,)
    e : (rows,) or None
        b - b_hat, the difference to the embedded method (zero-padded on the new slope); None for a method of
        fixed steps. b_hat has order `embedded_order`. Kept zero-padded to (dense_stages,).
    e_low : (rows,) or None
        The same of a second embedded method, of lower order: with the norms r and r_low of both errors the step's is
        r^2 / sqrt(r^2 + 0.01 r_low^2), which falls with a power of h of its own, `error_order` + 1.
    error_order
        The power of h that the error's norm falls with, less one; embedded_order unless given.
    a_p : (stages, stages), b_p : (stages,), or None
        Of a method for split systems: a and b are then those of the first half of the state, q, and these those of the
        second, p. Such a method has fixed steps and the cubic Hermite interpolant, `p_p` for p.
    as_scipy
        Whether steps are chosen as SciPy's solve_ivp does, see `control.Control`.
    extra_a : (extra, rows + extra), extra_c : (extra,), or None
        Stages that the dense output alone needs.
    p : (dense_stages, degree) or None
        The dense output, of order `dense_order`. None is the cubic Hermite interpolant, of order
        min(order, 3).

    Raises
    ------
    ValueError
        If shapes disagree or the data contradicts itself (row sums of a are not c, b does not sum to 1, ...).
    """

    name: str
    order: int
    a: Array
    b: Array
    c: Array
    e: Array | None = None
    embedded_order: int | None = None
    p: Array | None = None
    dense_order: int | None = None
    description: str = ""
    source: str = ""
    e_low: Array | None = None
    error_order: int | None = None
    extra_a: Array | None = None
    extra_c: Array | None = None
    as_scipy: bool = False
    a_p: Array | None = None
    b_p: Array | None = None

    def __post_init__(self) -> None:
        for field in ("a", "b", "c", "extra_a", "extra_c", "a_p", "b_p"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, frozen(getattr(self, field)))
        self._check_orders()
        self._check_shapes()
        if self.p is None:
            slope_at_end = np.zeros(self.dense_stages)
            slope_at_end[self.rows - 1] = 1.0
            object.__setattr__(self, "p", hermite_weights(self.dense_b, slope_at_end))
            object.__setattr__(self, "dense_order", min(self.order, 3))
        object.__setattr__(self, "p", frozen(self.p))
        for field in ("e", "e_low"):
            given = getattr(self, field)
            if given is not None:
                padded = np.append(given, np.zeros(self.dense_stages - len(given)))
                object.__setattr__(self, field, frozen(padded))
        if self.e is not None and self.error_order is None:
            object.__setattr__(self, "error_order", self.embedded_order)
        self._check_values()

    @property
    def stages(self) -> int:
        return len(self.b)

    multistep: ClassVar[bool] = False

    @property
    def adaptive(self) -> bool:
        return self.e is not None

    @property
    def split(self) -> bool:
        """Whether the two halves of the state have tableaus of their own."""
        return self.a_p is not None

    @cached_property
    def fsal(self) -> bool:
        """Whether the last stage is the slope at the new point."""
        same_point = np.array_equal(self.a[-1, :-1], self.b[:-1]) and self.b[-1] == 0.0
        return bool(self.stages > 1 and self.c[-1] == 1.0 and same_point and not self.split)

    @property
    def rows(self) -> int:
        """Slopes of a step: its stages, and that at the new point where it is not one of them."""
        return self.stages if self.fsal else self.stages + 1

    @property
    def extra(self) -> int:
        """Stages that the dense output alone needs."""
        return 0 if self.extra_c is None else len(self.extra_c)

    @property
    def dense_stages(self) -> int:
        """Rows of K: the slopes of a step, and the extra stages of its dense output."""
        return self.rows + self.extra

    @cached_property
    def dense_a(self) -> Array:
        """a with b as the row of the new point, and extra_a, (dense_stages, dense_stages)."""
        a = np.zeros((self.dense_stages, self.dense_stages))
        a[: self.stages, : self.stages] = self.a
        a[self.rows - 1] = self.dense_b
        if self.extra:
            a[self.rows :] = self.extra_a
        return frozen(a)

    @cached_property
    def dense_a_p(self) -> Array:
        """dense_a of the second half of the state; dense_a itself if it has none of its own."""
        if not self.split:
            return self.dense_a
        a = np.zeros((self.dense_stages, self.dense_stages))
        a[: self.stages, : self.stages] = self.a_p
        a[self.rows - 1, : self.stages] = self.b_p
        return frozen(a)

    @cached_property
    def p_p(self) -> Array:
        """The dense output p (dense_stages, degree) of the second half of the state; likewise."""
        if not self.split:
            return self.p
        return frozen(hermite_weights(self.dense_a_p[self.rows - 1], np.eye(self.dense_stages)[self.rows - 1]))

    @cached_property
    def dense_b(self) -> Array:
        """b, zero-padded to (dense_stages,)."""
        return frozen(np.append(self.b, np.zeros(self.dense_stages - self.stages)))

    @cached_property
    def dense_c(self) -> Array:
        """c with 1 as the entry of the new point, and extra_c, (dense_stages,)."""
        return frozen([*self.c[: self.rows - 1], 1.0, *(self.extra_c if self.extra else ())])

    def _check_orders(self) -> None:
        least = {"order": 1, "embedded_order": 0, "dense_order": 1, "error_order": 0}
        for field, smallest in least.items():
            value = getattr(self, field)
            given = value is not None or field == "order"
            if given and (type(value) is not int or not smallest <= value <= MOST_ORDER):
                raise ValueError(
                    f"tableau {self.name}: {field} must be an int from {smallest} to {MOST_ORDER}, got {value!r}"
                )

    def _check_shapes(self) -> None:
        if self.b.ndim != 1 or len(self.b) == 0:
            raise ValueError(f"tableau {self.name}: b must be (stages,), got shape {self.b.shape}")
        s = self.stages
        if self.a.shape != (s, s) or self.c.shape != (s,):
            raise ValueError(
                f"tableau {self.name}: with b of shape ({s},), a must be ({s}, {s}) and c ({s},), "
                f"got {self.a.shape} and {self.c.shape}"
            )
        for field, wanted in (
            ("e", "embedded_order"),
            ("p", "dense_order"),
            ("extra_a", "extra_c"),
            ("a_p", "b_p"),
        ):
            if (getattr(self, field) is None) != (getattr(self, wanted) is None):
                raise ValueError(f"tableau {self.name}: {field} and {wanted} must be given together")
        for field in ("e", "e_low"):
            given = getattr(self, field)
            if given is not None and np.shape(given) not in ((self.rows,), (self.dense_stages,)):
                raise ValueError(f"tableau {self.name}: {field} must be ({self.rows},), got shape {np.shape(given)}")
        if self.e is None and self.e_low is not None:
            raise ValueError(f"tableau {self.name}: e_low is beside e, which is missing")
        if self.extra_a is not None and self.extra_a.shape != (self.extra, self.dense_stages):
            raise ValueError(
                f"tableau {self.name}: extra_a must be ({self.extra}, {self.dense_stages}), got {self.extra_a.shape}"
            )
        if self.p is not None and (np.ndim(self.p) != 2 or len(self.p) != self.dense_stages):
            raise ValueError(
                f"tableau {self.name}: p must be ({self.dense_stages}, degree), got shape {np.shape(self.p)}"
            )

        if self.split and (self.a_p.shape != (s, s) or self.b_p.shape != (s,)):
            raise ValueError(
                f"tableau {self.name}: a_p must be ({s}, {s}) and b_p ({s},), got {self.a_p.shape} and {self.b_p.shape}"
            )
        if self.split and (self.e is not None or self.p is not None or self.extra):
            raise ValueError(f"tableau {self.name}: with a_p there are fixed steps and the cubic interpolant alone")

    def _check_values(self) -> None:
        end = self.p.sum(axis=1)  # weights at theta = 1
        sums = self.dense_a.sum(axis=1), self.dense_a_p.sum(axis=1)
        row_rounding = max(1e-14, EPS * np.abs(self.dense_a).max())  # some rows are sums of numbers up to 187
        checks = [
            (not np.triu(self.dense_a).any(), "a must be strictly lower triangular (the method is explicit)"),
            (abs(self.b.sum() - 1.0) <= 1e-14, "b must sum to 1"),
            (not np.triu(self.dense_a_p).any(), "a_p must be strictly lower triangular (the method is explicit)"),
            (not self.split or abs(self.b_p.sum() - 1.0) <= 1e-14, "b_p must sum to 1"),
            (
                np.all(np.min([np.abs(each - self.dense_c) for each in sums], axis=0) <= row_rounding),
                "the rows of a must sum to c" + (", or those of a_p" if self.split else ""),
            ),
            (self.e is None or abs(self.e.sum()) <= 1e-14, "e must sum to 0"),
            (self.e is None or self.e.any(), "e must not be all 0: no error would ever be seen"),
            (self.e_low is None or abs(self.e_low.sum()) <= 1e-14, "e_low must sum to 0"),
            (
                np.all(np.abs(end - self.dense_b) <= np.maximum(1e-13, EPS * np.abs(self.p).max(axis=1))),
                "the dense output must end in b (theta = 1)",
            ),
        ]
        for holds, rule in checks:
            if not holds:
                raise ValueError(f"tableau {self.name}: {rule}")


def lower(*rows: list[float]) -> Array:
    """a (stages, stages) from the rows below the diagonal; the first row is empty."""
    a = np.zeros((len(rows) + 1, len(rows) + 1))
    for i, row in enumerate(rows, start=1):
        a[i, :i] = row
    return a


def hermite_weights(b: Array, slope_at_end: Array, quartic: Array | None = None) -> Array:
    """Dense output from the values and slopes at both ends of a step, as p (dense_stages, degree).

    With b (dense_stages,) the weights of the step and slope_at_end (dense_stages,) those of f(t + h, y_new),
    that is the cubic Hermite interpolant. Every quartic that keeps the values and slopes adds one multiple of
    theta^2 (1 - theta)^2 to each row: `quartic` (dense_stages,).
    """
    slope_at_start = np.zeros_like(b)
    slope_at_start[0] = 1.0
    p = np.zeros((len(b), 3 if quartic is None else 4))
    p[:, 0] = slope_at_start
    p[:, 1] = 3.0 * b - 2.0 * slope_at_start - slope_at_end
    p[:, 2] = -2.0 * b + slope_at_start + slope_at_end
    if quartic is not None:
        p[:, 1:] += np.multiply.outer(quartic, [1.0, -2.0, 1.0])
    return p


def frozen(values) -> Array:
    """A read-only copy as float64."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array
