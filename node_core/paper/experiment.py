"""What an experiment is: a list of trainings, the figures that come of them, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models import Trained

__all__ = ["Experiment", "Row", "Training"]


@dataclass(frozen=True)
class Training:
    """One model and how it learns.

    start:   ``start(rng) -> params``.
    go:      ``go(params, state, steps, rng, callback) -> Trained``: so many further steps from there.
    measure: ``measure(params, rng) -> {name: figure}``, after the last step; a figure may be a list of them.
    stream:  what, with the seed, its weights and batches are drawn by: its key unless given. Trainings of one stream
             differ in what they do with the same draws.
    """

    key: str
    steps: int
    start: Callable[[np.random.Generator], Any]
    go: Callable[..., Trained]
    measure: Callable[[Any, np.random.Generator], dict[str, Any]]
    stream: str | None = None


@dataclass(frozen=True)
class Row:
    """A line of the report: the paper's figure (None: it prints none; a text: as it stands there) beside ours."""

    label: str
    printed: float | str | None
    ours: float
    unit: str = ""


@dataclass(frozen=True)
class Experiment:
    """
    trainings: ``trainings(quick) -> [Training]``.
    rows:      ``rows({key: figures}) -> [Row]``.
    pictures:  ``pictures({key: params}, {key: figures}) -> {file name: function of a matplotlib Figure}``.
    settings:  how it trains and solves, in the words of the report's table.
    data, on:  what it is trained on, and ``on(folder)``, the same experiment with the files in a folder, for those that
               can have several data; two experiments on the same data, and only they, have the same `data`.
    """

    name: str
    title: str
    trainings: Callable[[bool], list[Training]]
    rows: Callable[[dict[str, dict]], list[Row]]
    pictures: Callable[[dict[str, Any], dict[str, dict]], dict[str, Callable]]
    settings: str = ""
    data: str = ""
    on: Callable[[Path], Experiment] | None = None
