"""Other packages on the workloads, each as its own users write it; imported only when asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from .contest import Contestant
from .workloads import Gemm, Lorenz, Spiral

__all__ = ["PEERS", "contestants"]


# --- torchdiffeq ---


def _torch_net(weights: list, power: int) -> Any:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(w)) for w in weights])

        def forward(self, t: Any, y: Any) -> Any:
            y = y**power if power != 1 else y
            for k in range(0, len(self.weights), 2):
                y = y @ self.weights[k] + self.weights[k + 1]
                y = torch.tanh(y) if k + 2 < len(self.weights) else y
            return y

    torch.set_num_threads(1)
    return Net()


def _torch_gradient(net: Any) -> np.ndarray:
    return np.concatenate([p.grad.numpy().ravel() for p in net.weights])


def _torchdiffeq_spiral(w: Spiral, adjoint: bool) -> Contestant:
    import torch
    import torchdiffeq

    solve = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
    y0, t, target = torch.tensor(w.y0), torch.tensor(w.t), torch.tensor(w.target)

    def gradient(net: Any) -> None:
        net.zero_grad()
        ys = solve(net, y0, t, rtol=w.rtol, atol=w.atol, method="dopri5")
        torch.mean(torch.abs(ys - target)).backward()

    net, turns = _torch_net(w.weights, 3), itertools.count(1)
    opt = torch.optim.RMSprop(net.parameters(), lr=w.rate)

    def run() -> None:
        nonlocal net, opt
        if next(turns) % w.restart == 0:
            net = _torch_net(w.weights, 3)
            opt = torch.optim.RMSprop(net.parameters(), lr=w.rate)
        gradient(net)
        opt.step()

    def answer() -> np.ndarray:
        fresh = _torch_net(w.weights, 3)
        gradient(fresh)
        return _torch_gradient(fresh)

    return Contestant("torchdiffeq", run, answer)


def _torchdiffeq_gemm(w: Gemm) -> Contestant:
    import torch
    import torchdiffeq

    net = _torch_net(w.weights, 1)
    y0, t = torch.tensor(w.y0), torch.linspace(0.0, 1.0, w.steps + 1, dtype=torch.tensor(w.y0).dtype)

    def run() -> None:
        net.zero_grad()
        torch.sum(torchdiffeq.odeint(net, y0, t, method="rk4")[-1] ** 2).backward()

    def answer() -> np.ndarray:
        run()
        return _torch_gradient(net)

    return Contestant("torchdiffeq", run, answer)  # its rk4 is the 3/8 rule: the same cost, another error


# --- diffrax ---


def _jax(dtype: Any) -> Any:
    import jax

    jax.config.update("jax_enable_x64", np.dtype(dtype) == np.float64)
    return jax


def _diffrax_spiral(w: Spiral, adjoint: bool) -> Contestant:
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


def _jax_gemm(w: Gemm) -> Contestant:
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


def _diffrax_lorenz(w: Lorenz) -> Contestant:
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


# --- SciPy, numbalsoda, autograd ---


def _lorenz(t: Any, y: Any, s: Any, r: Any, b: Any) -> Any:
    return [s * (y[1] - y[0]), y[0] * (r - y[2]) - y[1], y[0] * y[1] - b * y[2]]


def _scipy_lorenz(w: Lorenz) -> Contestant:
    from scipy.integrate import solve_ivp

    def run() -> np.ndarray:
        span, keywords = (w.t[0], w.t[-1]), {"t_eval": w.t, "args": w.constants, "rtol": w.rtol, "atol": w.atol}
        return solve_ivp(_lorenz, span, w.y0, "RK45", **keywords).y.T

    return Contestant("scipy RK45", run, lambda: run()[:60])


def _numbalsoda_lorenz(w: Lorenz) -> Contestant:
    import numba
    import numbalsoda

    s, r, b = w.constants

    @numba.cfunc(numbalsoda.lsoda_sig)
    def native(t: float, y: Any, dy: Any, p: Any) -> None:
        dy[0] = s * (y[1] - y[0])
        dy[1] = y[0] * (r - y[2]) - y[1]
        dy[2] = y[0] * y[1] - b * y[2]

    def run() -> np.ndarray:
        return numbalsoda.dop853(native.address, w.y0, w.t, rtol=w.rtol, atol=w.atol)[0]

    return Contestant("numbalsoda dop853", run, lambda: run()[:60])


def _autograd_spiral(w: Spiral, adjoint: bool) -> Contestant:
    import autograd
    import autograd.numpy as anp
    from autograd.builtins import tuple as atuple
    from autograd.scipy.integrate import odeint

    def field(y: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        y = anp.reshape(y, (20, 2)) ** 3
        return anp.ravel(anp.dot(anp.tanh(anp.dot(y, W1) + b1), W2) + b2)

    def loss(p: Any) -> Any:
        ys = odeint(field, w.y0.ravel(), w.t, atuple(tuple(p)), rtol=w.rtol, atol=w.atol)
        return anp.mean(anp.abs(anp.reshape(ys, (10, 20, 2)) - w.target))

    step = autograd.value_and_grad(loss)

    def answer() -> np.ndarray:
        return np.concatenate([np.ravel(g) for g in step(list(w.weights))[1]])

    return Contestant("autograd", lambda: step(list(w.weights)), answer)


def _only_adjoint(make: Callable) -> Callable:
    return lambda w, adjoint: make(w, adjoint) if adjoint else None


PEERS: dict[str, dict[str, Callable]] = {
    "scipy": {"lorenz": _scipy_lorenz},
    "torchdiffeq": {"spiral": _torchdiffeq_spiral, "gemm": _torchdiffeq_gemm},
    "diffrax": {"spiral": _diffrax_spiral, "gemm": _jax_gemm, "lorenz": _diffrax_lorenz},
    "numbalsoda": {"lorenz": _numbalsoda_lorenz},
    "autograd": {"spiral": _only_adjoint(_autograd_spiral)},
}


def contestants(workload: str, names: list[str], *arguments: Any) -> tuple[list[Contestant], list[str]]:
    """Those peers that can do the workload, and a line for each that is not installed."""
    found, absent = [], []
    for name in names:
        make = PEERS[name].get(workload)
        if make is None:
            continue
        try:
            contestant = make(*arguments)
        except ImportError as error:
            absent.append(f"{name} is not installed ({error})")
            continue
        if contestant is not None:
            found.append(contestant)
    return found, absent
