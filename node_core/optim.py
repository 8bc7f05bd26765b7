"""Optimisers: pure functions of (params, grads, state), all trees of one structure; and L-BFGS.

    opt = Adam(1e-3)
    state = opt.init(params)
    params, state = opt.update(params, grads, state)

A leaf without gradient (None: it is not a floating array) is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .autodiff import tree

__all__ = ["LBFGS", "SGD", "Adam", "AdamW", "RMSprop"]

Rate = float | Callable[[int], float]


def _positive(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if not callable(value) and not value > 0:
            raise ValueError(f"{owner}: {name} must be positive, got {value!r}")


def _fraction(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{owner}: {name} must be in [0, 1), got {value!r}")


class _Optimizer:
    """What the four share: a learning rate (a float, or a function of the step), and the leaf-wise update."""

    moments: tuple[str, ...] = ()

    def __init__(self, lr: Rate) -> None:
        _positive(type(self).__name__, lr=lr)
        self.lr = lr

    def init(self, params: Any) -> dict[str, Any]:
        """The state before the first update: the step count and one tree of zeros for every moment."""
        zeros = {name: tree.map(_zeros, params) for name in self.moments}
        return {"step": 0, **zeros}

    def update(self, params: Any, grads: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """``(params, state)`` after one step; nothing is changed in place."""
        step = state["step"] + 1
        lr = self.lr(step) if callable(self.lr) else self.lr
        leaves, treedef = tree.flatten(params)
        gradients = tree._leaves_like(treedef, grads)
        olds = [tree._leaves_like(treedef, state[name]) for name in self.moments]
        update = self._update_flat if _are_alike(leaves, gradients) else self._update_each
        new_leaves, news = update(leaves, gradients, olds, step, lr)
        trees = {name: tree.unflatten(treedef, new) for name, new in zip(self.moments, news, strict=True)}
        return tree.unflatten(treedef, new_leaves), {"step": step, **trees}

    def _update_flat(self, leaves: list, gradients: list, olds: list, step: int, lr: float) -> tuple[list, list]:
        """All leaves as one vector: a handful of operations in place of a handful for each leaf."""
        p = _joined(leaves)
        change, moments = self._leaf(p, _joined(gradients), step, [_joined(old) for old in olds])
        return _split((p - lr * change).astype(p.dtype, copy=False), leaves), [
            _split(moment, leaves) for moment in moments
        ]

    def _update_each(self, leaves: list, gradients: list, olds: list, step: int, lr: float) -> tuple[list, list]:
        """Leaf by leaf: of several dtypes, Python numbers, or without a gradient."""
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

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        """(the change of p for lr = 1, the new moments)."""
        raise NotImplementedError


def _are_alike(leaves: list, gradients: list) -> bool:
    """Whether all are real arrays of one dtype, each with a gradient like it."""
    dtype = leaves[0].dtype if leaves and type(leaves[0]) is np.ndarray else None
    if dtype is None or dtype.kind != "f":
        return False
    for p, g in zip(leaves, gradients, strict=True):
        if type(p) is not np.ndarray or type(g) is not np.ndarray or p.shape != g.shape:
            return False
        if p.dtype != dtype or g.dtype != dtype:
            return False
    return True


def _joined(leaves: list) -> np.ndarray:
    """The leaves as one vector."""
    return np.concatenate([leaf.ravel() for leaf in leaves])


def _split(vector: np.ndarray, leaves: list) -> list:
    """A vector in the shapes of the leaves, as views of it."""
    parts, start = [], 0
    for leaf in leaves:
        stop = start + leaf.size
        parts.append(vector[start:stop].reshape(leaf.shape))
        start = stop
    return parts


def _zeros(leaf: Any) -> Any:
    return np.zeros_like(leaf) if tree.is_floating(leaf) else None


def _squared(g: Any) -> Any:
    return np.real(np.conj(g) * g) if np.iscomplexobj(g) else g * g


class SGD(_Optimizer):
    """``v = momentum v + g; p -= lr v`` (with nesterov: ``p -= lr (g + momentum v)``)."""

    moments = ("velocity",)

    def __init__(self, lr: Rate = 1e-2, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        _fraction("SGD", momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        v = self.momentum * moments[0] + g
        return (g + self.momentum * v if self.nesterov else v), [v]


class RMSprop(_Optimizer):
    """``s = decay s + (1 - decay) g^2; p -= lr g / (sqrt(s) + eps)`` (Tieleman and Hinton 2012)."""

    moments = ("square",)

    def __init__(self, lr: Rate = 1e-2, decay: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(lr)
        _fraction("RMSprop", decay=decay)
        _positive("RMSprop", eps=eps)
        self.decay, self.eps = decay, eps

    def _leaf(self, p: Any, g: Any, step: int, moments: list) -> tuple[Any, list]:
        s = self.decay * moments[0] + (1 - self.decay) * _squared(g)
        return g / (np.sqrt(s) + self.eps), [s]


class Adam(_Optimizer):
    """Adaptive moments with bias correction (Kingma and Ba 2015)."""

    moments = ("mean", "square")

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
            value, grads = value_and_grad_fun(unravel(x))
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
