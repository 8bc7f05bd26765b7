"""Latent ODEs (Chen et al. 2018, section 5): series as noisy views of one solution of a learned ODE.

    q(z0 | x): a recurrent net that reads the series backward in time
    z(t):      the solution of dz/dt = f(z) from z0 at t[0]
    p(x | z):  a Gaussian around decoder(z(t))

Irregular times of a batch are solved together on their union grid (`union_grid`), with a mask (T, N) of who was seen
when. With `events=True` z also sets the intensity of a Poisson process; see `poisson`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autodiff import grad, stop_gradient
from ..checks import whole_number
from ..nn import MLP, Linear, RNNCell, elu, gaussian_log_likelihood
from ..optim import Adam
from ..options import checked_options
from ..program import compile
from ..solve import odeint
from .flow import dtype_of
from .params import like_init
from .poisson import event_log_likelihood, with_integral
from .series import checked_series, gaps

__all__ = ["LatentODE"]


class LatentODE:
    """A variational autoencoder of series whose code z0 is the start of an ODE.

    d:       components of an observation. latent, hidden, rnn, decoder: of z, of f's one hidden layer, of the
             recognition RNN, of the decoder's hidden layer; by default the paper's.
    activations: of f and of the decoder. elu by default, which is not bounded: where tanh saturates there is no slope
             to go on with, and paths that leave the region of the data go astray.
    noise:   standard deviation of an observation, the same in every component.
    events:  whether there is an intensity lambda(z), for `elbo(..., events=...)`.
    cell:    of the recognition net: RNNCell, as in the paper, or GRUCell.
    consistency: the weight of `agreement` in `loss`. The ELBO asks nothing of the path beyond the window; where it has
             got to within the window the recognition net knows other series to start, and what follows is learned.
    Further keywords (gradient, method, rtol, atol, ...) go to `odeint`; gradient is "adjoint" unless given.

    Everywhere t (T,) increases, x is (T, N, d), mask (T, N) of 0 and 1 or None for ones; what x holds where the mask is
    0 does not matter. All of it is differentiable in the parameters; what `refine` finds is a constant. Draw noise
    outside of `nc.compile`, with `noise`.

    >>> from node_core.models import LatentODE, spirals
    >>> model, data = LatentODE(2), spirals(0, 5, kept=30)
    >>> params = model.init(0)
    >>> model.elbo(params, data.t, data.x, data.mask, model.noise(0, 5)).shape
    (5,)
    >>> model.extrapolate(params, data.t, data.x, data.mask, data.future).shape
    (100, 5, 2)
    """

    def __init__(
        self,
        d: int,
        *,
        latent: int = 4,
        hidden: int = 20,
        rnn: int = 25,
        decoder: int = 20,
        noise: float = 0.3,
        events: bool = False,
        cell: Callable = RNNCell,
        consistency: float = 0.0,
        activations: Sequence[Callable] = (elu, elu),
        gradient: str = "adjoint",
        dtype: Any = np.float64,
        **keywords: Any,
    ) -> None:
        if not callable(cell):
            raise TypeError(f"LatentODE: cell must be a class of cells, such as nn.GRUCell, got {cell!r}")
        sizes = {"d": d, "latent": latent, "hidden": hidden, "rnn": rnn, "decoder": decoder}
        d, latent, hidden, rnn, decoder = (whole_number("LatentODE", *size) for size in sizes.items())
        if not (isinstance(noise, (int, float, np.number)) and math.isfinite(noise) and noise > 0):
            raise ValueError(f"LatentODE: noise, of an observation, must be a positive number, got {noise!r}")
        if not (isinstance(consistency, (int, float, np.number)) and math.isfinite(consistency) and consistency >= 0):
            raise ValueError(f"LatentODE: consistency must be a number of at least 0, got {consistency!r}")
        self.d, self.latent, self.log_std, self.consistency = d, latent, math.log(noise), float(consistency)
        self.parts = {
            "cell": cell(d + 1, rnn, dtype=dtype),
            "head": Linear(rnn + 1, 2 * latent, dtype),
            "field": MLP([latent, hidden, latent], activations[0], dtype),
            "decoder": MLP([latent, decoder, d], activations[1], dtype),
        }
        self.events = bool(events)
        if events:
            self.parts["rate"] = MLP([latent, decoder, 1], dtype=dtype)
        self.keywords = checked_options("LatentODE", {"gradient": gradient, **keywords})
        self._of_z = compile(self._dynamics)  # they keep their Programs
        self._joint = compile(with_integral(self._dynamics, self._log_rate))
        self._slope = compile(grad(self._energy))

    def init(self, rng: Any) -> dict[str, Any]:
        """The parameters of all parts; rng is a NumPy Generator or a seed."""
        rng = np.random.default_rng(rng)
        return {name: part.init(rng) for name, part in self.parts.items()}

    def noise(self, rng: Any, n: int, dtype: Any = np.float64) -> np.ndarray:
        """(n, latent) standard normal numbers, for one draw of z0 of each of n series."""
        return np.random.default_rng(rng).standard_normal((n, self.latent)).astype(dtype)

    def encode(self, params: Any, t: Any, x: Any, mask: Any = None) -> tuple[Any, Any]:
        """Mean and log standard deviation of q(z0), each (N, latent), z0 being at t[0].

        The RNN takes (x, time since it saw this series before) at the times that the series was seen at, the last
        first, and the head its state with the time left to t[0].
        """
        x, mask = checked_series("LatentODE", self.d, t, x, mask, dtype_of(params))
        return self._encode(params, t, x, mask)

    def _encode(self, params: Any, t: Any, x: Any, mask: Any) -> tuple[Any, Any]:
        states, left = self._read(params, t, x, mask)
        return self._code(params, states[0], left[0])

    def _read(self, params: Any, t: Any, x: Any, mask: Any) -> tuple[list, Any]:
        """The RNN's states, T of (N, rnn), each of what is seen from t[k] on; the times (T, N) to the first of it."""
        like_init("LatentODE", self, params)
        cell, h = self.parts["cell"], self.parts["cell"].start(np.shape(x)[1])
        since, _ = gaps(_in(t, x.dtype)[::-1], mask[::-1])  # (T, N) from the last time to the first
        inputs, states = np.concatenate([x[::-1], since[..., None]], axis=2), []  # (T, N, d + 1)
        for k in range(len(t)):
            h = h + mask[-1 - k][:, None] * (cell(params["cell"], h, inputs[k]) - h)
            states.append(h)
        return states[::-1], since[::-1] * (1.0 - mask)

    def _code(self, params: Any, h: Any, left: Any) -> tuple[Any, Any]:
        """Mean and log standard deviation, (..., latent), of z where the state is h (..., rnn) and `left` (...)."""
        both = self.parts["head"](params["head"], np.concatenate([h, left[..., None]], axis=-1))
        return both[..., : self.latent], both[..., self.latent :]

    def decode(self, params: Any, z0: Any, t: Any, start: Any = None) -> Any:
        """What one would see without noise: (T, N, d) at the times t, from z0 (N, latent) at `start`.

        start is t[0] unless given; t (T,) goes on from it, forward or backward.
        """
        return self.parts["decoder"](params["decoder"], self.path(params, z0, t, start))

    def path(self, params: Any, z0: Any, t: Any, start: Any = None) -> Any:
        """z (T, N, latent) at the times t, likewise."""
        like_init("LatentODE", self, params)
        if np.shape(z0)[-1:] != (self.latent,):
            raise ValueError(f"LatentODE: z0 must end in an axis of length {self.latent}, got shape {np.shape(z0)}")
        t = t if hasattr(t, "dtype") else np.asarray(t, float)
        given = start is None or bool(start == t[0])
        if given and len(t) == 1:
            return z0[None]
        grid = t if given else np.concatenate([np.array([start], float), t])
        return odeint(self._of_z, z0, grid, args=(params,), **self.keywords)[0 if given else 1 :]

    def elbo(self, params: Any, t: Any, x: Any, mask: Any, noise: Any, events: Any = None) -> Any:
        """A lower bound (N,) of log p(x) by one draw, z0 = mean + std noise: log p(x | z0) - KL(q(z0) || N(0, I)).

        noise (N, latent), from `noise`. events (T, N), from `events_on_grid`, counts the events of a series at t: adds
        their log-likelihood over t[0] to t[-1], with the integral of the intensity in the same solve.
        """
        x, mask = checked_series("LatentODE", self.d, t, x, mask, dtype_of(params))
        return self._bound(params, t, x, mask, noise, events)[0]

    def loss(self, params: Any, t: Any, x: Any, mask: Any, noise: Any, events: Any = None) -> Any:
        """Minus the mean of `elbo` over the series, and of `consistency` times `agreement`; for `fit_series`."""
        x, mask = checked_series("LatentODE", self.d, t, x, mask, dtype_of(params))
        elbo, *path = self._bound(params, t, x, mask, noise, events)
        return -np.mean(elbo + self.consistency * self._agreement(params, *path, mask) if self.consistency else elbo)

    def agreement(self, params: Any, t: Any, x: Any, mask: Any, noise: Any) -> Any:
        """How well the path meets what the recognition net reads off the rest of the series, (N,).

        The mean, over the times after t[0] from which on something is still seen, of log q(z(t) | what is seen from t
        on), on the path of z0 = mean + std noise. The net meets all those on its way back to t[0].
        """
        x, mask = checked_series("LatentODE", self.d, t, x, mask, dtype_of(params))
        _, *path = self._bound(params, t, x, mask, noise, None)
        return self._agreement(params, *path, mask)

    def _bound(self, params: Any, t: Any, x: Any, mask: Any, noise: Any, events: Any) -> tuple[Any, Any, list, Any]:
        """`elbo`, and what it is made of: the path (T, N, latent), and the states and times of `_read`."""
        states, left = self._read(params, t, x, mask)
        mean, log_std = self._code(params, states[0], left[0])
        z0 = mean + np.exp(log_std) * self._checked_noise(noise, np.shape(mean), x.dtype)
        z, log_events = (self.path(params, z0, t), 0.0) if events is None else self._events(params, z0, t, events)
        kl = 0.5 * np.sum(mean * mean + np.exp(2.0 * log_std) - 1.0 - 2.0 * log_std, axis=1)
        return self._log_likelihood(params, z, x, mask) + log_events - kl, z, states, left

    def _agreement(self, params: Any, z: Any, states: list, left: Any, mask: Any) -> Any:
        if len(states) == 1:
            return 0.0 * mask[0]
        each = gaussian_log_likelihood(z[1:], *self._code(params, np.stack(states[1:]), left[1:]))  # (T - 1, N, latent)
        some = np.minimum(np.cumsum(mask[::-1], axis=0)[::-1][1:], 1)  # (T - 1, N): 1 while something is to come
        return np.sum(some * np.sum(each, axis=2), axis=0) / np.maximum(np.sum(some, axis=0), 1)

    def _log_likelihood(self, params: Any, z: Any, x: Any, mask: Any) -> Any:
        """log p(x | z) (N,) of what is seen, from a path z (T, N, latent)."""
        each = gaussian_log_likelihood(x, self.parts["decoder"](params["decoder"], z), self.log_std)  # (T, N, d)
        return np.sum(mask[..., None] * each, axis=(0, 2))

    def refine(self, params: Any, t: Any, x: Any, mask: Any = None, steps: int = 50) -> Any:
        """z0 (N, latent) of the largest p(z0 | x), sought from the mean of q(z0 | x) on by steps of Adam.

        The recognition net answers at once, and for all series alike; the model itself often knows better where a
        series has come from (semi-amortised inference, Kim et al. 2018).
        """
        t, params = t if hasattr(t, "dtype") else np.asarray(t, float), stop_gradient(params)
        x, mask = checked_series("LatentODE", self.d, t, x, mask, dtype_of(params))
        z0, steps = self._encode(params, t, x, mask)[0], whole_number("LatentODE.refine", "steps", steps, least=0)
        optimizer = Adam(lambda step: 0.05 * (steps + 1 - step) / steps)
        state = optimizer.init(z0)
        for _ in range(steps):
            z0, state = optimizer.update(z0, self._slope(z0, params, t, x, mask), state)
        return z0

    def _energy(self, z0: Any, params: Any, t: Any, x: Any, mask: Any) -> Any:
        """Minus log p(x, z0), less a constant, over all series."""
        return 0.5 * np.sum(z0 * z0) - np.sum(self._log_likelihood(params, self.path(params, z0, t), x, mask))

    def reconstruct(
        self, params: Any, t: Any, x: Any, mask: Any = None, noise: Any = None, at: Any = None, refine: int = 0
    ) -> Any:
        """`decode` at the times `at` (by default t) from the mean of q(z0), or with noise from a draw of it.

        at goes on from t[0], forward or backward. refine: steps of `refine` from that mean.
        """
        refine = whole_number("LatentODE", "refine", refine, least=0)
        if refine and noise is not None:
            raise ValueError("LatentODE: refine seeks one z0 and noise draws one; give one of the two")
        if refine:
            z0 = self.refine(params, t, x, mask, refine)
        else:
            mean, log_std = self.encode(params, t, x, mask)
            z0 = mean
            if noise is not None:
                z0 = mean + np.exp(log_std) * self._checked_noise(noise, np.shape(mean), mean.dtype)
        return self.decode(params, z0, t) if at is None else self.decode(params, z0, at, t[0])

    def extrapolate(self, params: Any, t: Any, x: Any, mask: Any, at: Any, noise: Any = None, refine: int = 0) -> Any:
        """`reconstruct` at times outside of the window: all after t[-1], or all before t[0] and then falling."""
        t, at = np.asarray(t, float), np.asarray(at, float)
        after, before = (at.ndim == 1 and len(at) > 0 and bool(np.all(side)) for side in (at > t[-1], at < t[0]))
        steps = np.diff(at) if at.ndim == 1 else at
        if not (after and np.all(steps > 0)) and not (before and np.all(steps < 0)):
            wanted = f"rising times after t[-1] = {t[-1]}, or falling ones before t[0] = {t[0]}"
            raise ValueError(f"LatentODE: at must be an array (F,) of {wanted}, got {_told(at)}")
        return self.reconstruct(params, t, x, mask, noise, at, refine)

    def log_intensity(self, params: Any, z: Any) -> Any:
        """log lambda, (..., latent) -> (...)."""
        self._needs_rate()
        return self._log_rate(z, params)

    def _needs_rate(self) -> None:
        if "rate" not in self.parts:
            raise ValueError("LatentODE: events need an intensity; give LatentODE(..., events=True)")

    def _dynamics(self, t: Any, z: Any, params: Any) -> Any:
        return self.parts["field"](params["field"], z)

    def _log_rate(self, z: Any, params: Any) -> Any:
        return self.parts["rate"](params["rate"], z)[..., 0]

    def _events(self, params: Any, z0: Any, t: Any, events: Any) -> tuple[Any, Any]:
        """z (T, N, latent) and the log-likelihood (N,) of the events."""
        if np.shape(events) != (len(t), np.shape(z0)[0]):
            raise ValueError(f"LatentODE: events must be {(len(t), np.shape(z0)[0])}, got shape {np.shape(events)}")
        self._needs_rate()
        integral = np.zeros((1, np.shape(z0)[0]), z0.dtype)
        if len(t) == 1:  # a window without length
            z = z0[None]
        else:
            z, integral = odeint(self._joint, (z0, integral[0]), t, args=(params,), **self.keywords)
        log_rates = self._log_rate(z, params)  # (T, N)
        return z, event_log_likelihood(log_rates, _in(events, z.dtype), integral[-1])

    def _checked_noise(self, noise: Any, shape: tuple, dtype: Any) -> Any:
        if np.shape(noise) != shape:
            raise ValueError(f"LatentODE: noise must be of shape {shape}, got {np.shape(noise)}: give model.noise(...)")
        return noise if noise.dtype == dtype else noise.astype(dtype)

    def __repr__(self) -> str:
        return f"LatentODE({self.d}, latent={self.latent})"


def _told(at: np.ndarray) -> str:
    return f"shape {at.shape}" if at.ndim != 1 or len(at) == 0 else f"{at.min():g} to {at.max():g}"


def _in(t: Any, dtype: Any) -> Any:
    """Times in a dtype: an array as it is made there, a traced one cast."""
    t = t if hasattr(t, "dtype") else np.asarray(t)
    return t if t.dtype == dtype else t.astype(dtype)
