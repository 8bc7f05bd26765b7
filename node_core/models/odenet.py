"""Classifiers of images whose middle is a stack of residual blocks, or one differential equation.

Chen et al. 2018, section 3: the ResNet; the RK-Net, whose solve is differentiated step by step; and the ODE-Net, by
the adjoint. They share all but the middle, and the last two differ in `gradient` alone.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..autodiff import grad, tree, value_and_grad
from ..checks import whole_number
from ..nn import (
    AvgPool2d,
    Conv2d,
    GroupNorm,
    Layer,
    Linear,
    NeuralODE,
    ResidualBlock,
    Sequential,
    TimeConv2d,
    relu,
    softmax_cross_entropy,
)
from ..optim import SGD
from ..program import compile
from ..solvers import tableau
from .params import like_init
from .training import Trained, descend

__all__ = ["Classifier", "ConvField", "ODENet", "ResNet", "fit_classifier", "parameter_count"]

Image = tuple[int, int, int]


def parameter_count(params: Any) -> int:
    """How many numbers a tree of parameters holds."""
    return sum(int(np.size(leaf)) for leaf in tree.flatten(params)[0])


class ConvField:
    """f(params, t, y) of the ODE-Net: GN-ReLU-conv-GN-ReLU-conv-GN on y (N, width, H, W), 3 by 3 kernels.

    t is one more input channel of both convolutions. The last norm's scale begins at `scale` and not at 1: the equation
    is then near dy/dt = 0, takes few evaluations, and more as it learns.
    """

    def __init__(self, width: int, groups: int, *, scale: float = 0.1, dtype: Any = np.float32) -> None:
        self.norms = [GroupNorm(groups, width, dtype=dtype) for _ in range(3)]
        self.convs = [TimeConv2d(width, width, 3, padding=1, dtype=dtype) for _ in range(2)]
        self.scale = scale

    def init(self, rng: Any) -> dict[str, list]:
        """``{"norms": [3], "convs": [2]}``."""
        rng = np.random.default_rng(rng)
        params = {name: [part.init(rng) for part in getattr(self, name)] for name in ("norms", "convs")}
        params["norms"][2]["scale"] *= self.scale
        return params

    def __call__(self, params: dict, t: Any, y: Any) -> Any:
        """dy/dt, shaped like y."""
        for norm, conv, p, q in zip(self.norms[:2], self.convs, params["norms"][:2], params["convs"], strict=True):
            y = conv(q, t, relu(norm(p, y)))
        return self.norms[2](params["norms"][2], y)


class Classifier(Layer):
    """Images to the logits of classes: x (N, *image) -> (N, classes), through stem, middle and head.

    stem:   conv 3 by 3, then `downsamplings` times GN-ReLU-conv 4 by 4 of stride 2: 28 by 28 to 7 by 7 with two.
    middle: what the three networks differ in: (N, width, h, w) keeps its shape.
    head:   GN-ReLU-average pool-linear.
    groups: of every GroupNorm; by default half the width, which is the paper's 32 for 64 channels.

    The numbers are float32 by default.
    """

    def __init__(
        self,
        image: Image = (1, 28, 28),
        classes: int = 10,
        *,
        width: int = 64,
        downsamplings: int = 2,
        groups: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        name = type(self).__name__
        self.image = _image(name, image)
        self.classes, self.width = whole_number(name, "classes", classes, least=2), whole_number(name, "width", width)
        self.groups = max(width // 2, 1) if groups is None else whole_number(name, "groups", groups)
        downsamplings = whole_number(name, "downsamplings", downsamplings, least=0)
        if min(self.image[1:]) < 2**downsamplings:
            raise ValueError(f"{name}: an image of {self.image[1:]} cannot be halved {downsamplings} times")
        self.dtype = np.dtype(dtype)
        stem: list[Callable] = [Conv2d(self.image[0], width, 3, padding=1, dtype=dtype)]
        for _ in range(downsamplings):
            stem += [self._norm(), relu, Conv2d(width, width, 4, stride=2, padding=1, dtype=dtype)]
        self.stem = Sequential(*stem)
        self.head = Sequential(self._norm(), relu, AvgPool2d(), Linear(width, classes, dtype))
        self.step_of = compile(value_and_grad(self.loss))  # keeps its Programs from training to training

    def _norm(self) -> GroupNorm:
        return GroupNorm(self.groups, self.width, dtype=self.dtype)

    def init(self, rng: Any) -> dict[str, Any]:
        """``{"stem", "middle", "head"}``; rng is a Generator or a seed."""
        rng = np.random.default_rng(rng)
        return {"stem": self.stem.init(rng), "middle": self.init_middle(rng), "head": self.head.init(rng)}

    @abc.abstractmethod
    def init_middle(self, rng: Any) -> Any:
        """Fresh parameters of the middle."""

    @abc.abstractmethod
    def middle(self, params: Any, h: Any) -> Any:
        """h (N, width, h, w), as the stem makes it, transformed."""

    def features(self, params: dict, x: Any) -> Any:
        """What the middle begins with: x (N, *image) -> (N, width, h, w)."""
        name = type(self).__name__
        like_init(name, self, params)
        x = x if hasattr(x, "dtype") else np.asarray(x)
        if np.ndim(x) != 4 or np.shape(x)[1:] != self.image:
            raise ValueError(f"{name}: x must be (N, {', '.join(map(str, self.image))}), got shape {np.shape(x)}")
        if isinstance(x, np.ndarray):  # traced values cannot be looked at
            _check_finite(f"{name}: x", x)
        return self.stem(params["stem"], x if x.dtype == self.dtype else x.astype(self.dtype))

    def __call__(self, params: dict, x: Any) -> Any:
        """x (N, *image) -> logits (N, classes)."""
        return self.head(params["head"], self.middle(params["middle"], self.features(params, x)))

    def loss(self, params: dict, x: Any, targets: Any) -> Any:
        """Mean cross-entropy: x (N, *image), targets (N, classes), a one in each row."""
        return np.mean(softmax_cross_entropy(self(params, x), targets))

    def count(self) -> int:
        """How many parameters."""
        return parameter_count(self.init(0))

    def error(self, params: dict, x: Any, labels: Any, batch: int = 500) -> float:
        """The share of images x (n, *image) whose largest logit is not that of its label (n,)."""
        x, labels = _checked_data(self, x, labels)
        wrong, batch = 0, whole_number(type(self).__name__, "batch", batch)
        for first in range(0, len(x), batch):
            logits = np.asarray(self(params, x[first : first + batch]))
            wrong += int(np.sum(np.argmax(logits, axis=1) != labels[first : first + batch]))
        return wrong / len(x)


class ResNet(Classifier):
    """The twin of the ODE-Net: `blocks` residual blocks with parameters of their own; keywords as `Classifier`."""

    def __init__(self, image: Image = (1, 28, 28), classes: int = 10, *, blocks: int = 6, **keywords: Any) -> None:
        super().__init__(image, classes, **keywords)
        self.blocks = Sequential(*[
            ResidualBlock(self.width, groups=self.groups, bias=False, dtype=self.dtype)
            for _ in range(whole_number("ResNet", "blocks", blocks))
        ])  # fmt: skip

    def init_middle(self, rng: Any) -> list:
        """One of each block."""
        return self.blocks.init(rng)

    def middle(self, params: list, h: Any) -> Any:
        """The blocks one after another."""
        return self.blocks(params, h)


class ODENet(Classifier):
    """The middle is y(1) of dy/dt = f(t, y), y(0) = h: gradient="adjoint" is the ODE-Net, "discrete" the RK-Net.

    width, downsamplings, groups and dtype are those of `Classifier`; further keywords (method, rtol, atol, step_size,
    backend, ...) go to `odeint`. By default dopri5 at 1e-3, as in the paper. The
    steps are common to a batch, so an image's logits depend, within the tolerance, on those beside it.

    >>> import numpy as np
    >>> import node_core as nc
    >>> net = nc.models.ODENet((1, 8, 8), width=4, downsamplings=1)
    >>> net(net.init(0), np.ones((3, 1, 8, 8), np.float32)).shape, net.count(), nc.models.ODENet().count()
    ((3, 10), 758, 208266)
    """

    def __init__(
        self,
        image: Image = (1, 28, 28),
        classes: int = 10,
        *,
        width: int = 64,
        downsamplings: int = 2,
        groups: int | None = None,
        dtype: Any = np.float32,
        gradient: str = "adjoint",
        **keywords: Any,
    ) -> None:
        super().__init__(image, classes, width=width, downsamplings=downsamplings, groups=groups, dtype=dtype)
        field = ConvField(self.width, self.groups, dtype=self.dtype)
        if "method" not in keywords or tableau(keywords["method"]).adaptive:
            keywords = {"rtol": 1e-3, "atol": 1e-3, **keywords}
        self.ode = NeuralODE(field, gradient=gradient, **keywords)
        self.t = np.array([0, 1], self.dtype)

    def init_middle(self, rng: Any) -> dict:
        """Those of the field."""
        return self.ode.init(rng)

    def middle(self, params: dict, h: Any) -> Any:
        """The state at t = 1."""
        return self.ode(params, h, self.t)[-1]

    def nfe(self, params: dict, x: Any, **keywords: Any) -> int:
        """Evaluations of f that the solve for images x (N, *image) takes; keywords override those of the layer."""
        h = np.asarray(self.features(params, x))
        return self.ode(params["middle"], h, self.t, full_output=True, **keywords)[1].nfev

    def nfe_backward(self, params: dict, x: Any, **keywords: Any) -> int:
        """Evaluations that the gradient of the mean square of y(1) takes on the way back; keywords as `nfe`."""
        h, solves = np.asarray(self.features(params, x)), []

        def loss(middle: Any) -> Any:
            y, stats = self.ode(middle, h, self.t, full_output=True, **keywords)
            solves.append(stats)
            return np.mean(y[-1] ** 2)

        grad(loss)(params["middle"])
        return solves[0].nfev_backward


def fit_classifier(
    net: Classifier,
    params: Any,
    x: Any,
    labels: Any,
    *,
    steps: int = 1000,
    batch: int = 128,
    optimizer: Any = None,
    shift: int = 0,
    rng: Any = 0,
    state: Any = None,
    callback: Callable | None = None,
) -> Trained:
    """Minimise the mean cross-entropy of images x (n, *image) with labels (n,) of ints from 0.

    batch:     images a step, at random without repetition; all, if there are fewer.
    optimizer: SGD of momentum 0.9 and rate 0.1 by default.
    shift:     every image of a batch is moved by up to so many pixels a side at random, zeros coming in.
    state, callback: as in `fit_likelihood`.
    Raises ValueError for images or labels that do not fit the network.
    """
    x, labels = _checked_data(net, x, labels)
    like_init("fit_classifier", net, params)
    steps = whole_number("fit_classifier", "steps", steps)
    rng, batch = np.random.default_rng(rng), min(whole_number("fit_classifier", "batch", batch), len(x))
    shift = whole_number("fit_classifier", "shift", shift, least=0)
    one_hot = np.eye(net.classes, dtype=net.dtype)

    def batches() -> Iterator[tuple]:
        while True:
            rows = rng.choice(len(x), batch, replace=False)
            yield _shifted(x[rows], shift, rng), one_hot[labels[rows]]

    optimizer = SGD(0.1, momentum=0.9) if optimizer is None else optimizer
    return descend(
        net.loss, params, batches(), steps=steps, optimizer=optimizer, state=state, callback=callback,
        step_of=net.step_of,
    )  # fmt: skip


def _shifted(x: np.ndarray, shift: int, rng: np.random.Generator) -> np.ndarray:
    """x (N, C, H, W), each image moved by its own (rows, columns) from -shift to shift."""
    if shift == 0:
        return x
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (shift, shift), (shift, shift)))
    top, left = rng.integers(0, 2 * shift + 1, (2, n))
    rows, columns = top[:, None] + np.arange(height), left[:, None] + np.arange(width)  # (N, H), (N, W)
    moved = padded[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return np.ascontiguousarray(np.moveaxis(moved, 3, 1))


def _image(name: str, image: Any) -> Image:
    """(channels, height, width) as ints."""
    if not isinstance(image, (tuple, list)) or len(image) != 3:
        raise ValueError(f"{name}: image must be (channels, height, width), got {image!r}")
    channels, height, width = (whole_number(name, "image's sizes", n) for n in image)
    return channels, height, width


def _checked_data(net: Classifier, x: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images in the network's dtype, and labels."""
    x, labels = np.asarray(x), np.asarray(labels)
    if x.shape[1:] != net.image or len(x) == 0:
        raise ValueError(f"x must be (n, {', '.join(map(str, net.image))}) with n >= 1, got shape {x.shape}")
    if labels.shape != (len(x),) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {len(x)} ints, one for each image, got {labels.dtype} of {labels.shape}")
    if labels.min() < 0 or labels.max() >= net.classes:
        raise ValueError(f"labels must be from 0 to {net.classes - 1}, got {labels.min()} to {labels.max()}")
    _check_finite("x", x)
    return x.astype(net.dtype, copy=False), labels


def _check_finite(name: str, x: np.ndarray) -> None:
    """ValueError unless x (n, *image) holds finite real numbers."""
    if x.dtype.kind not in "iuf":
        raise ValueError(f"{name} must hold real numbers, got {x.dtype}")
    if not np.all(np.isfinite(x)):
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(f"{name} must be finite, but image {bad[0]} has {x[bad]} at {bad[1:]}")
