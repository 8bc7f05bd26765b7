"""Section 3 of the paper: the ODE-Net on images, and what its solver does (figure 3).

odenet:        ResNet, RK-Net and ODE-Net, trained alike: error, parameters, memory, time an epoch.
error-control: tolerance against error, time against evaluations, backward against forward, evaluations by epoch.

The images are scikit-learn's digits, or MNIST from the folder --data. SGD of momentum 0.9 and rate 0.1 in batches of
128, 160 epochs, as in the paper; the rate is divided by 10 after 60, 100 and 140 of them, or on the digits falls to
zero over the second half. The images are moved by up to a pixel. `choose` measures the epochs that the digits need.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from ..models import Images, ODENet, Trained, digits, fit_classifier, mnist
from ..optim import SGD, falling
from .experiment import Experiment, Row, Training
from .memory import gradient_memory, network

__all__ = ["ERROR_CONTROL", "ODENET", "PLANS", "Plan", "network_training"]

NETWORKS = ("ResNet", "RK-Net", "ODE-Net")
# test error in %, millions of parameters, and how memory and time grow: with layers, or with evaluations of f
PRINTED = {
    "ResNet": (0.41, 0.60, "O(L)", "O(L)"),
    "RK-Net": (0.47, 0.22, "O(L~)", "O(L~)"),
    "ODE-Net": (0.42, 0.22, "O(1)", "O(L~)"),
}
TOLERANCES = tuple(10.0**-k for k in range(1, 7))
PROBED = 128  # images that evaluations are counted on


@dataclass(frozen=True)
class Plan:
    """How to train on some data."""

    width: int
    downsamplings: int
    rate: float
    batch: int
    epochs: int
    seeds: int
    drops: tuple[float, ...] = ()  # shares of the epochs after which the rate is divided by 10

    def steps(self, data: Images) -> int:
        """Of the whole training."""
        return self.epochs * self.an_epoch(data)

    def an_epoch(self, data: Images) -> int:
        """Steps of one epoch."""
        return max(len(data.x) // self.batch, 1)

    def layout(self) -> dict[str, int]:
        """The keywords of a network."""
        return {"width": self.width, "downsamplings": self.downsamplings}


PLANS = {  # data, quick
    ("digits", False): Plan(16, 1, 0.1, 128, 160, 3),
    ("digits", True): Plan(16, 1, 0.1, 64, 14, 1),
    ("MNIST", False): Plan(64, 2, 0.1, 128, 160, 1, (60 / 160, 100 / 160, 140 / 160)),
    ("MNIST", True): Plan(16, 2, 0.1, 64, 1, 1),
}
SETTINGS = "SGD, momentum 0.9, falling from rate 0.1; dopri5 at 1e-3; memory of one batch"
QUICK_IMAGES = 2000  # of MNIST: to learn from and to test on


FULL = ((60000, 1, 28, 28), (10000, 1, 28, 28))  # MNIST's images to learn from and to test on


def _told(data: Images) -> str:
    """What tells these images from all others: MNIST's sizes, or their own, and a digest."""
    (n, _, height, width), tests = data.x.shape, len(data.test_x)
    sizes = "MNIST" if (data.x.shape, data.test_x.shape) == FULL else f"{n} + {tests} images of {height} by {width}"
    return f"{sizes} ({data.digest()[:8]})"


def _data(files: Images | None, quick: bool) -> Images:
    data = digits() if files is None else files
    if files is None or not quick:
        return data
    few = slice(QUICK_IMAGES)
    return replace(data, x=data.x[few], labels=data.labels[few], test_x=data.test_x[few],
                   test_labels=data.test_labels[few])  # fmt: skip


def _optimizer(plan: Plan, steps: int) -> SGD:
    def dropping(step: int) -> float:
        return plan.rate * 0.1 ** sum(step > share * steps for share in plan.drops)

    return SGD(dropping if plan.drops else falling(plan.rate, steps), momentum=0.9)


# --- the table ---


def _odenet_trainings(files: Images | None, quick: bool) -> list[Training]:
    data = _data(files, quick)
    plan = PLANS[data.name, quick]
    return [network_training(name, run, data, plan) for run in range(plan.seeds) for name in NETWORKS]


def network_training(name: str, run: int, data: Images, plan: Plan) -> Training:
    """One of NETWORKS by the plan; the first run also measures the memory."""
    image, steps = data.x.shape[1:], plan.steps(data)
    net = network(name, image, **plan.layout())
    optimizer, seconds = _optimizer(plan, steps), []

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        began = None  # the first step of a piece compiles

        def timed(step: int, loss: float, params: Any) -> Any:
            nonlocal began
            if began is not None:
                seconds.append(time.perf_counter() - began)
            stop = callback(step, loss, params)
            began = time.perf_counter()
            return stop

        return fit_classifier(
            net, params, data.x, data.labels, steps=steps, batch=plan.batch, optimizer=optimizer, shift=1, rng=rng,
            state=state, callback=timed,
        )  # fmt: skip

    def measure(params: Any, rng: np.random.Generator) -> dict[str, float]:
        figures = {"error": net.error(params, data.test_x, data.test_labels), "parameters": net.count()}
        if seconds:  # none if the training was resumed at its very end
            figures["seconds an epoch"] = median(seconds) * plan.an_epoch(data)
        held = gradient_memory(name, image, plan.batch, **plan.layout()) if run == 0 else None
        return figures if held is None else {**figures, "memory": held}

    return Training(f"{name}, {run}", steps, net.init, go, measure)


def _odenet_rows(printed: bool, figures: dict[str, dict]) -> list[Row]:
    rows = [row for name in NETWORKS for row in _network_rows(name, printed, figures)]
    odenet, resnet = (mean(found["error"] for found in _runs(name, figures)) for name in ("ODE-Net", "ResNet"))
    less = Row("test error, ODE-Net less ResNet", _beside(0.01, " points", printed), 100 * (odenet - resnet), " points")
    return [*rows, less]


def _runs(name: str, figures: dict[str, dict]) -> list[dict]:
    """The figures of a network, one for each seed."""
    return [found for key, found in figures.items() if key.startswith(f"{name},")]


def _network_rows(name: str, printed: bool, figures: dict[str, dict]) -> list[Row]:
    """Means over the seeds; printed: whether the images are those of the paper."""
    runs = _runs(name, figures)
    error, count, memory, seconds = PRINTED[name]
    of = f"{name}, mean of {len(runs)}" if len(runs) > 1 else name
    rows = [
        Row(f"test error, {of}", _beside(error, " %", printed), 100 * mean(found["error"] for found in runs), " %"),
        Row(f"parameters, {name}", _beside(count, " M", printed), runs[0]["parameters"] / 1e6, " M"),
    ]
    for key, label, growth, scale, unit in (
        ("memory", "memory of a gradient", memory, 1e-6, " MB"),
        ("seconds an epoch", "an epoch", seconds, 1.0, " s"),
    ):
        known = [found[key] for found in runs if key in found]
        if known:
            rows.append(Row(f"{label}, {name}", growth, scale * mean(known), unit))
    return rows


def _beside(figure: float, unit: str, same_images: bool) -> float | str:
    """The paper's figure, and that it is of other images where it is."""
    return figure if same_images else f"{figure:g}{unit} (MNIST)"


def _odenet_pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def draw(figure: Any) -> None:
        wanted = (("error", 100, "test error, %"), ("parameters", 1, "parameters"),
                  ("memory", 1e-6, "memory of a gradient, MB"), ("seconds an epoch", 1, "an epoch, s"))  # fmt: skip
        for axis, (key, scale, title) in zip(figure.subplots(2, 2).flat, wanted, strict=True):
            for k, name in enumerate(NETWORKS):
                runs = [found[key] for of, found in figures.items() if of.startswith(f"{name},") and key in found]
                axis.bar(k, scale * mean(runs) if runs else 0.0, color=f"C{k}")
                axis.plot([k] * len(runs), [scale * found for found in runs], "k.")
            axis.set_xticks(range(len(NETWORKS)), NETWORKS)
            axis.set_title(title, fontsize="medium")

    return {"odenet.png": draw}


# --- figure 3 ---


def _control_trainings(files: Images | None, quick: bool) -> list[Training]:
    data = _data(files, quick)
    return [_control_training(data, PLANS[data.name, quick])]


def _control_training(data: Images, plan: Plan) -> Training:
    """An ODE-Net that counts evaluations after every epoch; the counts are kept beside its parameters."""
    net = ODENet(data.x.shape[1:], **plan.layout())
    steps, an_epoch, probe = plan.steps(data), plan.an_epoch(data), data.x[:PROBED]
    optimizer = _optimizer(plan, steps)

    def start(rng: np.random.Generator) -> Any:
        params = net.init(rng)
        return {"net": params, "nfe": [net.nfe(params, probe)]}  # by epoch, from 0

    def go(params: Any, state: Any, steps: int, rng: np.random.Generator, callback: Callable) -> Trained:
        nfe = list(params["nfe"])

        def with_counts(net_params: Any, state: Any) -> dict[str, Any]:
            return {"net": net_params, "nfe": nfe[: 1 + state["step"] // an_epoch]}

        def counted(step: int, loss: float, params: Any) -> Any:
            if step % an_epoch == 0:
                nfe.append(net.nfe(params, probe))
            return callback(step, loss, params)

        trained = fit_classifier(
            net, params["net"], data.x, data.labels, steps=steps, batch=plan.batch, optimizer=optimizer, shift=1,
            rng=rng, state=state, callback=counted,
        )  # fmt: skip
        trained.params = with_counts(trained.params, trained.state)
        if trained.good is not None:
            trained.good = with_counts(*trained.good), trained.good[1]
        return trained

    def measure(params: Any, rng: np.random.Generator) -> dict[str, Any]:
        error = net.error(params["net"], data.test_x, data.test_labels)
        exact = ODENet(data.x.shape[1:], dtype=np.float64, **plan.layout())
        found = _by_tolerance(exact, _as_float64(params["net"]), probe.astype(float))
        return {"test error": error, "nfe by epoch": params["nfe"], **found}

    return Training("ODE-Net", steps, start, go, measure)


def _by_tolerance(net: ODENet, params: dict, x: np.ndarray) -> dict[str, list[float]]:
    """At every tolerance: the error of y(1) against a solve at 1e-10, evaluations both ways, seconds forward.

    net and params are of float64, whose rounding is out of the way. The error is relative, RMS.
    """
    h, middle = np.asarray(net.features(params, x)), params["middle"]
    exact = net.ode(middle, h, net.t, rtol=1e-10, atol=1e-10)[-1]
    found: dict[str, list] = {key: [] for key in ("tolerance", "error", "nfe", "backward nfe", "seconds")}
    for tolerance in TOLERANCES:
        keywords = {"rtol": tolerance, "atol": tolerance}
        solve = functools.partial(net.ode, middle, h, net.t, **keywords)
        error = np.sqrt(np.mean((solve()[-1] - exact) ** 2) / np.mean(exact**2))
        nfe, backward = net.nfe(params, x, **keywords), net.nfe_backward(params, x, **keywords)
        for key, value in zip(found, (tolerance, float(error), nfe, backward, _seconds(solve)), strict=True):
            found[key].append(value)
    return found


def _as_float64(params: Any) -> Any:
    if isinstance(params, dict):
        return {key: _as_float64(value) for key, value in params.items()}
    return [_as_float64(value) for value in params] if isinstance(params, list) else np.asarray(params, float)


def _seconds(solve: Callable, repeats: int = 5) -> float:
    """The least of several: what else the machine does only adds."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        solve()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _control_rows(figures: dict[str, dict]) -> list[Row]:
    found = figures["ODE-Net"]
    at = TOLERANCES.index(1e-3)
    return [
        Row("test error", None, 100 * found["test error"], " %"),
        Row("error of the solution at tolerance 1e-3", None, found["error"][at]),
        Row("evaluations at 1e-3, forward", None, found["nfe"][at]),
        Row("evaluations backward / forward (1e-3)", 0.5, found["backward nfe"][at] / found["nfe"][at]),
        Row("seconds against evaluations, correlation", None, float(np.corrcoef(found["nfe"], found["seconds"])[0, 1])),
        Row("evaluations before training", None, found["nfe by epoch"][0]),
        Row("evaluations after training", None, found["nfe by epoch"][-1]),
    ]


def _control_pictures(params: dict[str, Any], figures: dict[str, dict]) -> dict[str, Callable]:
    def draw(figure: Any) -> None:
        found = figures["ODE-Net"]
        (a, b), (c, d) = figure.subplots(2, 2)
        a.loglog(found["tolerance"], found["error"], "o-")
        a.loglog(found["tolerance"], found["tolerance"], "k:", label="error = tolerance")
        a.set(xlabel="tolerance", ylabel="relative error of y(1)", title="(a)")
        b.plot(found["nfe"], found["seconds"], "o")
        b.set(xlabel="evaluations forward", ylabel="seconds forward", title="(b)", xlim=(0, None), ylim=(0, None))
        c.plot(found["nfe"], found["backward nfe"], "o")
        c.axline((0, 0), slope=1, color="k", linestyle=":", label="equal")
        c.axline((0, 0), slope=0.5, color="k", linestyle="--", label="half, as printed")
        c.set(xlabel="evaluations forward", ylabel="evaluations backward", title="(c)")
        d.plot(found["nfe by epoch"], "o-", markersize=3)
        d.set(xlabel="epoch", ylabel="evaluations forward", title="(d)")
        for axis in (a, c):
            axis.legend(fontsize="small")

    return {"error-control.png": draw}


def _odenet(folder: Path | None = None) -> Experiment:
    files = None if folder is None else mnist(folder)
    told = "digits" if files is None else _told(files)
    return Experiment(
        "odenet", "ResNet, RK-Net and ODE-Net on images (section 3)", functools.partial(_odenet_trainings, files),
        functools.partial(_odenet_rows, told.startswith("MNIST")), _odenet_pictures, settings=SETTINGS, data=told,
        on=_odenet,
    )  # fmt: skip


def _control(folder: Path | None = None) -> Experiment:
    files = None if folder is None else mnist(folder)
    return Experiment(
        "error-control", "What the solver of a trained ODE-Net does (figure 3)",
        functools.partial(_control_trainings, files), _control_rows, _control_pictures,
        settings=SETTINGS, data="digits" if files is None else _told(files), on=_control,
    )  # fmt: skip


ODENET, ERROR_CONTROL = _odenet(), _control()
