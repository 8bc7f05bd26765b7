"""This package on the workloads of the paper's models, as `ours` has it for the others; and their references."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import models, optim
from ..autodiff import tree, value_and_grad, vjp
from ..nn import NeuralODE
from ..program import compile
from .contest import Contestant
from .ours import NAME
from .workloads import CNF, Conv

__all__ = ["cnf", "cnf_reference", "conv", "conv_reference"]


def _conv_field(w: Conv, dtype: Any) -> Any:
    """The package's own field of the ODE-Net, of the workload's list of weights."""
    block = models.odenet.ConvField(w.width, w.groups, dtype=dtype)

    def field(weights: Any, t: Any, y: Any) -> Any:
        norms, convs = (weights[0:2], weights[4:6], weights[8:10]), (weights[2:4], weights[6:8])
        params = {
            "norms": [{"scale": scale, "shift": shift} for scale, shift in norms],
            "convs": [{"W": W, "b": b} for W, b in convs],
        }
        return block(params, t, y)

    return field


def _conv_vjp(field: Any) -> Any:
    """An evaluation and the gradients of its product with g, by y and by the weights."""

    def evaluation_and_vjp(weights: Any, t: Any, y: Any, g: Any) -> Any:
        dy, pullback = vjp(lambda y, weights: field(weights, t, y), y, weights)
        return dy, *pullback(g)

    return evaluation_and_vjp


def _conv_loss(w: Conv, ode: NeuralODE) -> Any:
    return lambda y0, weights: np.sum(ode(weights, y0, w.t)[-1] ** 2) / w.batch


def conv(w: Conv, part: str) -> Contestant:
    """The field, its VJP, or the gradient through a NeuralODE, each compiled."""
    field, t = _conv_field(w, np.float32), np.float32(w.at)
    if part == "evaluation":
        step, arguments = compile(field), (w.weights, t, w.y0)
        return Contestant(NAME, lambda: step(*arguments), lambda: step(*arguments))
    if part == "vjp":
        step, arguments = compile(_conv_vjp(field)), (w.weights, t, w.y0, w.cotangent)
        return Contestant(NAME, lambda: step(*arguments), lambda: tree.ravel(step(*arguments)[1:])[0])
    ode = NeuralODE(field, gradient=part, rtol=w.rtol, atol=w.atol)
    step = compile(value_and_grad(_conv_loss(w, ode), (0, 1)))
    return Contestant(NAME, lambda: step(w.y0, w.weights), lambda: tree.ravel(step(w.y0, w.weights)[1])[0])


def _flow(w: CNF, **keywords: Any) -> models.CNF:
    return models.CNF(models.Planar(2, w.units, (w.hidden, w.hidden)), 2, span=w.span, std=w.std, **keywords)


def _layers(weights: list) -> list:
    """The hypernetwork's parameters as an MLP has them."""
    return [{"W": W, "b": b} for W, b in zip(weights[::2], weights[1::2], strict=True)]


def cnf(w: CNF, trace: str) -> Contestant:
    """The compiled value_and_grad of the negative log-likelihood of a CNF, then Adam.

    trace: "closed", the one that Planar brings; "exact" asks no more of the field than the peers do.
    """
    flow = _flow(w, trace=trace, rtol=w.rtol, atol=w.atol)
    step, opt = compile(value_and_grad(lambda params, x: -np.mean(flow.log_prob(params, x)))), optim.Adam(w.rate)
    first, turns = _layers(w.weights), itertools.count(1)
    params, state = first, opt.init(first)

    def run() -> None:
        nonlocal params, state
        if next(turns) % w.restart == 0:
            params, state = first, opt.init(first)
        _, grads = step(params, w.x)
        params, state = opt.update(params, grads, state)

    name = NAME if trace == "closed" else f"{NAME} {trace} trace"
    return Contestant(name, run, lambda: tree.ravel(step(first, w.x)[1])[0])


def conv_reference(w: Conv, part: str) -> np.ndarray:
    """The same in float64 without Programs; of both gradients the exact one, at a thousandth of the tolerance.

    That is found by the adjoint: at the kinks of ReLU the discrete gradient converges more slowly than the state.
    """
    field = _conv_field(w, np.float64)
    weights, y0, cotangent = _doubles(w.weights, w.y0, w.cotangent)
    if part == "evaluation":
        return field(weights, w.at, y0)
    if part == "vjp":
        return tree.ravel(_conv_vjp(field)(weights, w.at, y0, cotangent)[1:])[0]
    ode = NeuralODE(field, gradient="adjoint", rtol=1e-3 * w.rtol, atol=1e-3 * w.atol)
    return tree.ravel(value_and_grad(_conv_loss(w, ode), (0, 1))(y0, weights)[1])[0]


def cnf_reference(w: CNF) -> np.ndarray:
    """The gradient at tight tolerances."""
    flow = _flow(w, gradient="discrete", backend="python", rtol=1e-10, atol=1e-10)
    weights, x = _doubles(w.weights, w.x)
    return tree.ravel(value_and_grad(lambda params: -np.mean(flow.log_prob(params, x)))(_layers(weights))[1])[0]


def _doubles(*trees: Any) -> Any:
    return tree.map(lambda x: x.astype(np.float64), trees)
