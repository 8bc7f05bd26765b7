"""How many epochs the networks need on the digits, by images held out of the training part, never by those of the test.

``python -m node_core.paper.choose`` trains ResNet and ODE-Net for each number of epochs on three different parts of
the training images, from two seeds each, and prints the mean error on the rest of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

import numpy as np

from ..checks import takes_no_arguments
from ..models import Images, digits
from .classify import PLANS, Plan, network_training

__all__ = ["main", "validation_error"]

EPOCHS, PARTS, SEEDS, SHARE = (60, 120, 160), 3, 2, 0.23


def validation_error(name: str, plan: Plan, data: Images, parts: int = PARTS, seeds: int = SEEDS) -> list[float]:
    """The share of wrong images of each training: parts x seeds of them."""
    found = []
    for part in range(parts):
        some = data.validation(SHARE, part)
        training = network_training(name, 1, some, plan)
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            trained = training.go(training.start(rng), None, training.steps, rng, lambda *_: False)
            found.append(training.measure(trained.params, rng)["error"])
            print(f"{name}, {plan.epochs} epochs, part {part}: {100 * found[-1]:.2f} %", file=sys.stderr, flush=True)
    return found


def main(epochs: Sequence[int] = EPOCHS) -> None:
    """Print one row for each number of epochs."""
    data = digits()
    print(f"{'epochs':>7} {'ResNet':>9} {'ODE-Net':>9}")
    for count in epochs:
        plan = replace(PLANS["digits", False], epochs=count)
        resnet, odenet = (100 * mean(validation_error(name, plan, data)) for name in ("ResNet", "ODE-Net"))
        print(f"{count:7} {resnet:7.2f} % {odenet:7.2f} %", flush=True)


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
