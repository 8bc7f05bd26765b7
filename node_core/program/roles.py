"""What a graph's inputs and outputs are to the Program made of it, and why there may be none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["NotLowered", "Roles"]


class NotLowered(Exception):
    """A graph holds something that Programs cannot do; the message names it and the user's line."""


@dataclass
class Roles:
    """Which inputs and outputs of a graph play which part.

    inputs:  number -> "t", "y", "cotangent", or the index of an argument.
    outputs: for every output "dy", "y_bar", "t_bar", or its index among the parameters' cotangents (added up
             in accumulators) or, for a plain function, among its results.
    plain:   a plain function: arguments may change at every call, results are written and not added up.
    """

    inputs: dict[int, Any]
    outputs: list[Any]
    plain: bool = False
