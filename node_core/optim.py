"""Optimisers: pure functions of (params, grads, state), all trees of one structure; and L-BFGS.

    opt = Adam(1e-3)
    state = opt.init(params)
    params, state = opt.update(params, grads, state)

A leaf without gradient (None: it is not a floating array) is left as it is.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from ._kernels.rk import optimise
from .autodiff import tree

__all__ = ["LBFGS", "SGD", "Adam", "AdamW", "RMSprop", "falling"]

Rate = float | Callable[[int], float]


def _positive(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if not callable(value) and not value > 0:
            raise ValueError(f"{owner}: {name} must be positive, got {value!r}")


def _fraction(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{owner}: {name} must be in [0, 1), got {value!r}")


def falling(rate: float, steps: int) -> Callable[[int], float]:
    """A learning rate for a training of so many steps: `rate`, over their second half in a straight line down to 0.

    >>> lr = falling(0.1, 100)
    >>> lr(1), round(lr(76), 3), round(lr(100), 3)
    (0.1, 0.05, 0.002)
    """
    _positive("falling", rate=rate, steps=steps)
    return lambda step: rate * min(1.0, 2.0 * max(steps + 1 - step, 0) / steps)


class _Optimizer(abc.ABC):
    """What the four share: a learning rate (a float, or a function of the step), and the update leaf by leaf.

    Real arrays of one dtype are updated in C, one pass a leaf (`rule`: csrc/nc_optimise.inc); `_leaf` is its twin, and
    updates everything else.
    """

    moments: tuple[str, ...] = ()
    rule = ""

    def __init__(self, lr: Rate) -> None:
        _positive(type(self).__name__, lr=lr)
        self.lr = lr

    def init(self, params: Any) -> dict[str, Any]:
        """The state before the first update: the step count and one tree of zeros for every moment."""
        zeros = {name: tree.map(_zeros, params) for name in self.moments}
        return {"step": 0, **zeros}

    def update(self, params: Any, grads: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """``(params, state)`` after one step; nothing is changed in place."""
        if not isinstance(state, dict) or "step" not in state:
            raise TypeError(
                f"{type(self).__name__}: state must be what init(params) or the last update gave, got "
                f"{type(state).__name__}; the order is update(params, grads, state)"
            )
        step = state["step"] + 1
        lr = self.lr(step) if callable(self.lr) else self.lr
        leaves, treedef = tree.flatten(params)
        gradients = tree._leaves_like(treedef, grads)
        olds = [tree._leaves_like(treedef, state[name]) for name in self.moments]
        found = None
        if leaves and isinstance(lr, (float, int)) and isinstance(step, int):  # not those that are traced
            found = optimise(self.rule, leaves, gradients, olds, lr, **self._settings(step))
        new_leaves, news = found or self._update_each(leaves, gradients, olds, step, lr)
        trees = {name: tree.unflatten(treedef, new) for name, new in zip(self.moments, news, strict=True)}
        return tree.unflatten(treedef, new_leaves), {"step": step, **trees}

    def _update_each(self, leaves: list, gradients: list, olds: list, step: int, lr: float) -> tuple[list, list]:
        """By NumPy: leaves of several dtypes, Python numbers, traced values, or without a gradient."""
        new_leaves: list = []
        news: list[list] = [[] for _ in self.moments]
        for i, (p, g) in enumerate(zip(leaves, gradients, strict=True)):
            moments = [old[i] for old in olds]
            if g is not None:
                if np.shape(g) != np.shape(p):
                    raise ValueError(
                        f"{type(self).__name__}: a gradient of shape {np.shape(g)} for a parameter of {np.shape(p)}"
                    )
                change, moments = self._leaf(p, g, step, moments)
                p = (p - lr * change).astype(p.dtype) if hasattr(p, "dtype") else p - lr * change
            new_leaves.append(p)
            for new, moment in zip(news, moments, strict=True):
                new.append(moment)
        return new_leaves, news

    @abc.abstractmethod
    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        """(the change of p for lr = 1, the new moments)."""

    @abc.abstractmethod
    def _settings(self, step: int) -> dict[str, float]:
        """The numbers of the rule at this step."""


def _zeros(leaf: Any) -> Any:
    return np.zeros_like(leaf) if tree.is_floating(leaf) else None


def _squared(g: Any) -> Any:
    return np.real(np.conj(g) * g) if np.iscomplexobj(g) else g * g


class SGD(_Optimizer):
    """``v = momentum v + g; p -= lr v`` (with nesterov: ``p -= lr (g + momentum v)``)."""

    moments, rule = ("velocity",), "sgd"

    def __init__(self, lr: Rate = 1e-2, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        _fraction("SGD", momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        v = self.momentum * moments[0] + g
        return (g + self.momentum * v if self.nesterov else v), [v]

    def _settings(self, step: int) -> dict[str, float]:
        return {"b1": self.momentum, "nesterov": self.nesterov}


class RMSprop(_Optimizer):
    """``s = decay s + (1 - decay) g^2; p -= lr g / (sqrt(s) + eps)`` (Tieleman and Hinton 2012)."""

    moments, rule = ("square",), "rmsprop"

    def __init__(self, lr: Rate = 1e-2, decay: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(lr)
        _fraction("RMSprop", decay=decay)
        _positive("RMSprop", eps=eps)
        self.decay, self.eps = decay, eps

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        s = self.decay * moments[0] + (1 - self.decay) * _squared(g)
        return g / (np.sqrt(s) + self.eps), [s]

    def _settings(self, step: int) -> dict[str, float]:
        return {"b2": self.decay, "eps": self.eps}


class Adam(_Optimizer):
    """Adaptive moments with bias correction (Kingma and Ba 2015)."""

    moments, rule = ("mean", "square"), "adam"

    def __init__(self, lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(lr)
        _fraction(type(self).__name__, b1=b1, b2=b2)
        _positive(type(self).__name__, eps=eps)
        self.b1, self.b2, self.eps = b1, b2, eps

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        m = self.b1 * moments[0] + (1 - self.b1) * g
        v = self.b2 * moments[1] + (1 - self.b2) * _squared(g)
        m_hat, v_hat = m / (1 - self.b1**step), v / (1 - self.b2**step)
        return m_hat / (np.sqrt(v_hat) + self.eps), [m, v]

    def _settings(self, step: int) -> dict[str, float]:
        return {"b1": self.b1, "b2": self.b2, "c1": 1 - self.b1**step, "c2": 1 - self.b2**step, "eps": self.eps}


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p -= lr (adam + weight_decay p)`` (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        lr: Rate = 1e-3,
        b1: float = 0.9,
        b2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, b1, b2, eps)
        if not weight_decay >= 0:
            raise ValueError(f"AdamW: weight_decay must not be negative, got {weight_decay!r}")
        self.weight_decay = weight_decay

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        change, moments = super()._leaf(p, g, step, moments)
        return change + self.weight_decay * p, moments

    def _settings(self, step: int) -> dict[str, float]:
        return {**super()._settings(step), "weight_decay": self.weight_decay}


class LBFGS:
    """Limited-memory BFGS with a strong-Wolfe line search (Nocedal and Wright 2006, algorithms 7.4, 3.5, 3.6).

    For smooth losses over the whole data set. memory: pairs kept; max_iterations; tolerance: stop when the
    largest gradient entry is below it, or when the loss falls by less than tolerance^2 relatively.
    """

    def __init__(self, memory: int = 10, max_iterations: int = 200, tolerance: float = 1e-6) -> None:
        _positive("LBFGS", memory=memory, max_iterations=max_iterations, tolerance=tolerance)
        self.memory, self.max_iterations, self.tolerance = int(memory), int(max_iterations), tolerance

    def minimize(
        self, value_and_grad_fun: Callable, params: Any, callback: Callable[[int, float], Any] | None = None
    ) -> tuple[Any, float]:
        """``(params, value)`` at the lowest point found; the function is ``params -> (value, grads)``.

        callback(iteration, value) is called after every iteration; a true answer stops.
        """
        leaves, treedef = tree.flatten(params)
        moving = [i for i, leaf in enumerate(leaves) if tree.is_floating(leaf)]  # the others are constants
        if any(np.iscomplexobj(leaves[i]) for i in moving):
            raise TypeError("LBFGS: complex parameters are not supported; give real and imaginary parts")
        x, unravel_moving = tree.ravel([leaves[i] for i in moving])
        x = np.asarray(x, float)

        def unravel(x: np.ndarray) -> Any:
            full = list(leaves)
            for i, leaf in zip(moving, unravel_moving(x), strict=True):
                full[i] = leaf
            return tree.unflatten(treedef, full)

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            both = value_and_grad_fun(unravel(x))
            if not (isinstance(both, tuple) and len(both) == 2):
                raise TypeError("LBFGS: give a function that returns (value, grads), such as nc.value_and_grad(loss)")
            value, grads = both
            found = tree._leaves_like(treedef, grads)
            return float(value), np.asarray(tree.ravel([found[i] for i in moving])[0], float)

        value, gradient = evaluate(x)
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        for iteration in range(self.max_iterations):
            if np.max(np.abs(gradient), initial=0.0) < self.tolerance:
                break
            direction = self._direction(gradient, pairs)
            first = 1.0 if pairs else min(1.0, 1.0 / float(np.sum(np.abs(gradient))))
            found = _line_search(evaluate, x, value, gradient, direction, first)
            if found is None:
                if not pairs:
                    break
                pairs = []  # start again from steepest descent
                continue
            step, new_value, new_gradient = found
            s, y = step * direction, new_gradient - gradient
            if s @ y > 1e-10 * (y @ y):
                pairs = [*pairs[-self.memory + 1 :], (s, y)] if self.memory > 1 else [(s, y)]
            fell = value - new_value
            x, value, gradient = x + s, new_value, new_gradient
            if callback is not None and callback(iteration, value):
                break
            if fell <= self.tolerance**2 * abs(value):
                break
        return unravel(x), value

    @staticmethod
    def _direction(gradient: np.ndarray, pairs: list) -> np.ndarray:
        """-H g by the two-loop recursion (algorithm 7.4)."""
        q = -gradient
        alphas = []
        for s, y in reversed(pairs):
            alpha = (s @ q) / (s @ y)
            q = q - alpha * y
            alphas.append(alpha)
        if pairs:
            s, y = pairs[-1]
            q = q * ((s @ y) / (y @ y))
        for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
            q = q + s * (alpha - (y @ q) / (s @ y))
        return q


def _line_search(
    evaluate: Callable, x: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray, step: float
) -> tuple[float, float, np.ndarray] | None:
    """A step meeting the strong Wolfe conditions (c1 = 1e-4, c2 = 0.9) by bracketing and bisection.

    Returns (step, value, gradient) there, or the best decrease found in 25 evaluations, or None.
    """
    slope = float(gradient @ direction)
    if not slope < 0:
        return None
    low, high, best = 0.0, np.inf, None
    for _ in range(25):
        new_value, new_gradient = evaluate(x + step * direction)
        good = np.isfinite(new_value) and new_value <= value + 1e-4 * step * slope
        if not good:
            high = step
        else:
            if best is None or new_value < best[1]:
                best = (step, new_value, new_gradient)
            new_slope = float(new_gradient @ direction)
            if abs(new_slope) <= 0.9 * abs(slope):
                return step, new_value, new_gradient
            if new_slope < 0:
                low = step
            else:
                high = step
        step = 2.0 * step if high == np.inf else 0.5 * (low + high)
    return best
