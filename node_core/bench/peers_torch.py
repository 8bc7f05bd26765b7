"""torch and torchdiffeq on the workloads, as their own users write it; imported only when asked for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .contest import Contestant
from .workloads import CNF, Conv, Gemm, Spiral

__all__ = ["cnf", "conv_block", "conv_field", "gemm", "spiral"]


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


def spiral(w: Spiral, adjoint: bool) -> Contestant:
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


def gemm(w: Gemm) -> Contestant:
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


def _block(w: Conv) -> Any:
    import torch
    from torch.nn import functional

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(x)) for x in w.weights])

        def forward(self, t: Any, y: Any) -> Any:
            p = list(self.weights)
            for scale, shift, W, b in (p[0:4], p[4:8]):
                y = functional.relu(functional.group_norm(y, w.groups, scale, shift))
                y = torch.cat([torch.ones_like(y[:, :1]) * t, y], dim=1)
                y = functional.conv2d(y, W, b, padding=1)
            return functional.group_norm(y, w.groups, *p[8:])

    torch.set_num_threads(1)
    return Block()


def conv_field(w: Conv, part: str) -> Contestant | None:
    """The field and its VJP; the solves are torchdiffeq's."""
    if part not in ("evaluation", "vjp"):
        return None
    import torch

    net, t, y, g = _block(w), torch.tensor(w.at), torch.tensor(w.y0), torch.tensor(w.cotangent)

    def evaluation() -> Any:
        with torch.no_grad():
            return net(t, y)

    if part == "evaluation":
        return Contestant("torch", evaluation, lambda: evaluation().numpy())
    y.requires_grad_()

    def pulled() -> Any:
        return torch.autograd.grad(net(t, y), [y, *net.weights], g)

    return Contestant("torch", pulled, lambda: np.concatenate([x.numpy().ravel() for x in pulled()]))


def conv_block(w: Conv, part: str) -> Contestant | None:
    """The gradient through the solve, which is the block's share of a training step."""
    if part not in ("discrete", "adjoint"):
        return None
    import torch
    import torchdiffeq

    solve = torchdiffeq.odeint_adjoint if part == "adjoint" else torchdiffeq.odeint
    net, y0, t = _block(w), torch.tensor(w.y0, requires_grad=True), torch.tensor(w.t)

    def run() -> None:
        net.zero_grad()
        y0.grad = None
        y1 = solve(net, y0, t, rtol=w.rtol, atol=w.atol, method="dopri5")[-1]
        (torch.sum(y1**2) / w.batch).backward()

    def answer() -> np.ndarray:
        run()
        return np.concatenate([y0.grad.numpy().ravel(), _torch_gradient(net)])

    return Contestant("torchdiffeq", run, answer)


def _planar_flow(w: CNF) -> Any:
    """The field of (z, log q): gated planar units of a hypernetwork, the trace by one backward pass a dimension."""
    import torch

    class Hypernetwork(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(*W.shape) for W in w.weights[::2])
            with torch.no_grad():
                for layer, W, b in zip(self.layers, w.weights[::2], w.weights[1::2], strict=True):
                    layer.weight.copy_(torch.tensor(W.T))
                    layer.bias.copy_(torch.tensor(b))

        def forward(self, t: Any) -> Any:
            h = t.reshape(1, 1)
            for layer in self.layers[:-1]:
                h = torch.tanh(layer(h))
            flat, size = self.layers[-1](h).reshape(-1), 2 * w.units
            W = flat[:size].reshape(w.units, 2, 1)
            U = flat[size : 2 * size].reshape(w.units, 1, 2)
            gates = torch.sigmoid(flat[2 * size : 3 * size].reshape(w.units, 1, 2))
            return W, flat[3 * size :].reshape(w.units, 1, 1), U * gates

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hypernetwork = Hypernetwork()

        def forward(self, t: Any, state: tuple) -> tuple:
            z = state[0]
            with torch.enable_grad():
                z.requires_grad_(True)
                W, b, U = self.hypernetwork(t)
                h = torch.tanh(z.expand(w.units, *z.shape) @ W + b)  # (units, N, 1)
                dz = (h @ U).mean(0)
                trace = sum(
                    torch.autograd.grad(dz[:, i].sum(), z, create_graph=True)[0][:, i] for i in range(z.shape[1])
                )
            return dz, -trace.unsqueeze(1)

    torch.set_num_threads(1)
    return Field().to(torch.tensor(w.x).dtype)


def cnf(w: CNF) -> Contestant:
    """By the adjoint: without it torchdiffeq would keep every evaluation's graph of a graph."""
    import torch
    import torchdiffeq

    x = torch.tensor(w.x)
    t = torch.tensor(w.span[::-1], dtype=x.dtype)
    base = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=x.dtype), w.std**2 * torch.eye(2, dtype=x.dtype))

    def gradient(field: Any) -> None:
        field.zero_grad()
        start = (x, torch.zeros(len(x), 1, dtype=x.dtype))
        z, change = torchdiffeq.odeint_adjoint(field, start, t, rtol=w.rtol, atol=w.atol, method="dopri5")
        (-(base.log_prob(z[-1]) - change[-1].reshape(-1)).mean()).backward()

    field, turns = _planar_flow(w), itertools.count(1)
    opt = torch.optim.Adam(field.parameters(), lr=w.rate)

    def run() -> None:
        nonlocal field, opt
        if next(turns) % w.restart == 0:
            field = _planar_flow(w)
            opt = torch.optim.Adam(field.parameters(), lr=w.rate)
        gradient(field)
        opt.step()

    def answer() -> np.ndarray:
        fresh = _planar_flow(w)
        gradient(fresh)
        layers = fresh.hypernetwork.layers
        return np.concatenate([g.numpy().ravel() for layer in layers for g in (layer.weight.grad.T, layer.bias.grad)])

    return Contestant("torchdiffeq", run, answer)
