"""jax and diffrax on the workloads, as their own users write it; imported only when asked for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .contest import Contestant
from .workloads import Gemm, Lorenz, Spiral

__all__ = ["diffrax_lorenz", "diffrax_spiral", "jax_gemm"]


def _jax(dtype: Any) -> Any:
    import jax

    jax.config.update("jax_enable_x64", np.dtype(dtype) == np.float64)
    return jax


def diffrax_spiral(w: Spiral, adjoint: bool) -> Contestant:
    jax = _jax(np.float64)
    import diffrax
    import jax.numpy as jnp

    method = diffrax.BacksolveAdjoint() if adjoint else diffrax.RecursiveCheckpointAdjoint()

    def field(t: Any, y: Any, p: Any) -> Any:
        return jnp.tanh(y**3 @ p[0] + p[1]) @ p[2] + p[3]

    def loss(p: Any) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Dopri5(), w.t[0], w.t[-1], None, jnp.asarray(w.y0), p,
            saveat=diffrax.SaveAt(ts=jnp.asarray(w.t)), adjoint=method,
            stepsize_controller=diffrax.PIDController(rtol=w.rtol, atol=w.atol),
        )  # fmt: skip
        return jnp.mean(jnp.abs(solution.ys - w.target))

    @jax.jit
    def step(p: Any, s: Any) -> Any:
        _, g = jax.value_and_grad(loss)(p)
        s = [0.99 * a + 0.01 * b * b for a, b in zip(s, g, strict=True)]
        return [a - w.rate * b / (jnp.sqrt(c) + 1e-8) for a, b, c in zip(p, g, s, strict=True)], s

    first, turns = [jnp.asarray(x) for x in w.weights], itertools.count(1)
    zeros = [jnp.zeros_like(x) for x in first]
    params, state = first, zeros

    def run() -> None:
        nonlocal params, state
        if next(turns) % w.restart == 0:
            params, state = first, zeros
        params, state = jax.block_until_ready(step(params, state))

    def answer() -> np.ndarray:
        grads = jax.jit(jax.grad(loss))([jnp.asarray(x) for x in w.weights])
        return np.concatenate([np.asarray(g).ravel() for g in grads])

    return Contestant("diffrax backsolve" if adjoint else "diffrax", run, answer)


def jax_gemm(w: Gemm) -> Contestant:
    """Not diffrax, whose loop costs more here, but the steps written by hand and jitted."""
    jax = _jax(w.dtype)
    import jax.numpy as jnp

    def field(p: Any, y: Any) -> Any:
        return jnp.tanh(jnp.tanh(y @ p[0] + p[1]) @ p[2] + p[3]) @ p[4] + p[5]

    h = 1.0 / w.steps

    def rk4(p: Any, y: Any) -> Any:
        k1 = field(p, y)
        k2 = field(p, y + h / 2 * k1)
        k3 = field(p, y + h / 2 * k2)
        k4 = field(p, y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    def loss(p: Any) -> Any:
        y, _ = jax.lax.scan(lambda y, _: (rk4(p, y), None), jnp.asarray(w.y0), None, length=w.steps)
        return jnp.sum(y**2)

    step = jax.jit(jax.value_and_grad(loss))
    params = [jnp.asarray(x) for x in w.weights]

    def answer() -> np.ndarray:
        return np.concatenate([np.asarray(g).ravel() for g in step(params)[1]])

    return Contestant("jax, by hand", lambda: jax.block_until_ready(step(params)), answer)


def diffrax_lorenz(w: Lorenz) -> Contestant:
    jax = _jax(np.float64)
    import diffrax
    import jax.numpy as jnp

    def field(t: Any, y: Any, args: Any) -> Any:
        s, r, b = args
        return jnp.stack([s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]])

    @jax.jit
    def solve(y0: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Dopri5(), w.t[0], w.t[-1], None, y0, w.constants,
            saveat=diffrax.SaveAt(ts=jnp.asarray(w.t)), max_steps=100_000,
            stepsize_controller=diffrax.PIDController(rtol=w.rtol, atol=w.atol),
        ).ys  # fmt: skip

    y0 = jnp.asarray(w.y0)
    return Contestant("diffrax", lambda: jax.block_until_ready(solve(y0)), lambda: np.asarray(solve(y0))[:60])
