"""Continuous normalizing flows (Chen et al. 2018, section 4): the density changes along an ODE.

    dz/dt = f(z, t),    d log q(z(t))/dt = -tr(df/dz)

The base holds at the first time of `span`, the data at the last. Both directions solve one ODE for z and the change
of log q together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..checks import whole_number
from ..nn import MLP, Layer, sigmoid
from ..options import checked_options
from ..program import compile
from ..solve import odeint
from .flow import Flow, dtype_of
from .params import like_init
from .trace import NOISES, probes, with_exact_trace, with_hutchinson_trace

__all__ = ["CNF", "Planar"]

GATES = ("component", "unit")
TRACES = ("closed", "exact", "hutchinson")


class Planar:
    """The planar field of M gated units, whose weights a hypernetwork gives at every t:

        dz/dt = 1/M sum_n s_n(t) u_n(t) tanh(w_n(t) . z + b_n(t))

    and, in closed form, tr(df/dz) = 1/M sum_n (s_n u_n . w_n) (1 - tanh^2).

    gates: "unit": a number s_n in (0, 1) for each unit (the paper's); "component": one for each component of u_n (the
    usual code; with d = 2, M = 64, hidden = (32, 32) the hypernetwork is 1-32-32-448, 15,904 parameters). The factor
    1/M is not in the paper: it keeps a fresh field of the same size for every M, and training can undo it.
    """

    def __init__(
        self, d: int, units: int, hidden: Sequence[int] = (32, 32), gates: str = "component", dtype: Any = np.float64
    ) -> None:
        self.d, self.units = whole_number("Planar", "d", d), whole_number("Planar", "units", units)
        if gates not in GATES:
            raise ValueError(f"Planar: gates must be one of {', '.join(GATES)}, got {gates!r}")
        self.gates, self.dtype = gates, np.dtype(dtype)
        self.n_gates = self.units * (self.d if gates == "component" else 1)
        self.net = MLP([1, *hidden, 2 * self.units * self.d + self.n_gates + self.units], dtype=dtype)

    def init(self, rng: Any) -> list[dict[str, np.ndarray]]:
        """The hypernetwork's parameters."""
        return self.net.init(rng)

    def weights(self, params: Any, t: Any) -> tuple[Any, Any, Any]:
        """w (M, d), b (M,) and s u / M (M, d) at the time t."""
        m, d = self.units, self.d
        flat = self.net(params, t * np.ones(1, params[0]["W"].dtype))  # (2 M d + gates + M,)
        ends = np.cumsum([m * d, m * d, self.n_gates])
        w, u = np.reshape(flat[: ends[0]], (m, d)), np.reshape(flat[ends[0] : ends[1]], (m, d))
        gate = sigmoid(flat[ends[1] : ends[2]])
        return w, flat[ends[2] :], np.reshape(gate, (m, -1)) * u / m

    def __call__(self, params: Any, t: Any, z: Any) -> Any:
        """dz/dt, (N, d) -> (N, d)."""
        w, b, v = self.weights(params, t)
        return np.tanh(z @ w.T + b) @ v

    def with_trace(self, params: Any, t: Any, z: Any) -> tuple[Any, Any]:
        """dz/dt and the trace of its Jacobian, (N, d) and (N,)."""
        w, b, v = self.weights(params, t)
        h = np.tanh(z @ w.T + b)  # (N, M)
        return h @ v, (1.0 - h * h) @ np.sum(v * w, axis=1)

    def __repr__(self) -> str:
        return f"Planar({self.d}, {self.units}, gates={self.gates!r})"


class CNF(Flow):
    """A continuous normalizing flow on R^d.

    field:   ``field(params, t, z)``, (N, d) -> (N, d), each sample by itself; or a Layer, then ``layer(params, z)``.
    init:    what makes the parameters, ``init(rng)``; by default the field's own.
    trace:   "closed": the field's own ``with_trace(params, t, z)``, such as Planar's; "exact": forward mode, d
             tangents at once; "hutchinson": estimated with `noise`, which stays fixed during a solve. By default
             the first if the field has it, else the second.
    probes:  how many random vectors estimate a trace. noise: "rademacher" or "gaussian".
    span:    (time of the base, time of the data). std: of the base, N(0, std^2 I).
    Further keywords (gradient, method, rtol, atol, backend, ...) go to `odeint`; gradient is "adjoint" unless given.

    >>> import numpy as np
    >>> from node_core.models import CNF, Planar
    >>> flow = CNF(Planar(2, 8), 2)
    >>> params = flow.init(0)
    >>> flow.log_prob(params, np.zeros((5, 2))).shape, flow.sample(params, 0, 3).shape
    ((5,), (3, 2))
    """

    def __init__(
        self,
        field: Callable,
        d: int,
        *,
        init: Callable | None = None,
        trace: str | None = None,
        probes: int = 1,
        noise: str = "rademacher",
        span: tuple[float, float] = (0.0, 1.0),
        std: float = 1.0,
        gradient: str = "adjoint",
        **keywords: Any,
    ) -> None:
        super().__init__(d, std)
        if not callable(field):
            raise TypeError(f"CNF: field must be callable, got {type(field).__name__}")
        if getattr(field, "d", d) != d:
            raise ValueError(f"CNF: d is {d}, but the field's is {field.d}")
        self.field, self.trace = field, _trace_of(field, trace)
        self._init = init if init is not None else getattr(field, "init", None)
        if noise not in NOISES:
            raise ValueError(f"CNF: noise must be one of {', '.join(NOISES)}, got {noise!r}")
        self.probes, self.kind = whole_number("CNF", "probes", probes), noise
        self.span = _checked_span(span)
        self.keywords = checked_options("CNF", {"gradient": gradient, **keywords})
        self._moved, self._joint = compile(self._of_z), compile(self._of_z_and_l)  # they keep their Programs

    def init(self, rng: Any) -> Any:
        """Fresh parameters; rng is a NumPy Generator or a seed."""
        if self._init is None:
            raise TypeError("CNF: the field has no init; give CNF(field, d, init=...)")
        return self._init(rng)

    def noise(self, rng: Any, n: int, dtype: Any = np.float64) -> Any:
        """(probes, n, d) for Hutchinson's estimator, None for the other traces."""
        return probes(self.kind, rng, (self.probes, n, self.d), dtype) if self.trace == "hutchinson" else None

    def to_data(self, params: Any, z: Any, noise: Any = None, **keywords: Any) -> tuple[Any, Any]:
        """Points of the base to ``(x, log q(x))``: (N, d) -> (N, d), (N,). The keywords override the flow's."""
        z = self._points("z", z, params)
        x, change = self._solve(params, z, noise, self.span, keywords)
        return x, self.base_log_density(z) + change

    def to_base(self, params: Any, x: Any, noise: Any = None, **keywords: Any) -> tuple[Any, Any]:
        """Data to ``(z, log q(x))``: (N, d) -> (N, d), (N,). The keywords override the flow's."""
        x = self._points("x", x, params)
        z, change = self._solve(params, x, noise, self.span[::-1], keywords)
        return z, self.base_log_density(z) - change

    def sample(self, params: Any, rng: Any, n: int, **keywords: Any) -> Any:
        """n draws, (n, d), without their densities: z is solved alone. The keywords override the flow's."""
        z = self.base(rng, n, dtype_of(like_init("CNF", self, params)))
        return odeint(self._moved, z, self.span, args=(params,), **{**self.keywords, **keywords})[-1]

    def _solve(self, params: Any, z: Any, noise: Any, span: Sequence[float], keywords: dict) -> tuple[Any, Any]:
        """z (N, d) and the change of log q (N,) at the end of the span."""
        args = (params, self._checked_noise(noise, np.shape(z), z.dtype)) if self.trace == "hutchinson" else (params,)
        start = (z, np.zeros(np.shape(z)[0], z.dtype))
        z, change = odeint(self._joint, start, span, args=args, **{**self.keywords, **keywords})
        return z[-1], change[-1]

    def _of_z(self, t: Any, z: Any, params: Any) -> Any:
        dz = self.field(params, z) if isinstance(self.field, Layer) else self.field(params, t, z)
        return self._checked_slope(dz, z)

    def _of_z_and_l(self, t: Any, state: tuple, params: Any, *noise: Any) -> tuple[Any, Any]:
        """d(z, l)/dt with l the change of log q."""
        z, _ = state
        if self.trace == "closed":
            dz, trace = self.field.with_trace(params, t, z)
            self._checked_slope(dz, z)
        elif self.trace == "exact":
            dz, trace = with_exact_trace(lambda z: self._of_z(t, z, params), z)
        else:
            dz, trace = with_hutchinson_trace(lambda z: self._of_z(t, z, params), z, *noise)
        return dz, -trace

    def _checked_slope(self, dz: Any, z: Any) -> Any:
        if np.shape(dz) != np.shape(z):
            raise ValueError(f"CNF: field must return dz/dt of shape {np.shape(z)}, as z is, got {np.shape(dz)}")
        return dz

    def _checked_noise(self, noise: Any, shape: tuple, dtype: Any) -> Any:
        wanted = (self.probes, *shape)
        if noise is None:
            raise ValueError(f"CNF: trace='hutchinson' needs noise {wanted}: give flow.noise(rng, {shape[0]})")
        if np.shape(noise) != wanted:
            raise ValueError(f"CNF: noise must be of shape {wanted}, got {np.shape(noise)}")
        return noise if noise.dtype == dtype else noise.astype(dtype)

    def __repr__(self) -> str:
        return f"CNF({self.field!r}, {self.d}, trace={self.trace!r}, span={self.span})"


def _trace_of(field: Callable, trace: str | None) -> str:
    own = hasattr(field, "with_trace")
    if trace is None:
        return "closed" if own else "exact"
    if trace not in TRACES:
        raise ValueError(f"CNF: trace must be one of {', '.join(TRACES)}, got {trace!r}")
    if trace == "closed" and not own:
        raise ValueError("CNF: trace='closed' needs a field with with_trace(params, t, z), such as Planar")
    return trace


def _checked_span(span: Any) -> tuple[float, float]:
    try:
        start, end = (float(t) for t in span)
    except (TypeError, ValueError):
        raise ValueError(f"CNF: span must be (time of the base, time of the data), got {span!r}") from None
    if not (math.isfinite(start) and math.isfinite(end)) or start == end:
        raise ValueError(f"CNF: span must be two different finite times, got {span!r}")
    return start, end
