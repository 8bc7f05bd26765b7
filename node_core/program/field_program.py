"""A Field as a Program: f alone, or f with its vector-Jacobian product, and the values it is run with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import rk
from ..autodiff.node import Node, concrete
from .purity import ImpureError, check
from .reachable import Captured, Reachable
from .roles import NotLowered, Roles
from .trace import TraceError, computes_the_same, trace

if TYPE_CHECKING:
    from .field import Field
    from .program import Program

__all__ = ["FieldProgram", "field_program", "refusal"]


class FieldProgram:
    """The Program, and what beside the field's parameters it reads: arrays that func closes over."""

    def __init__(self, program: Program, captured: Captured) -> None:
        self.program, self.captured = program, captured

    def succeed(self, before: FieldProgram) -> None:
        """Take the place of one that arrays in reach have changed under."""
        if computes_the_same(before.program.graph, self.program.graph):
            self.captured.forget(before.captured.changed())

    def run(self, parameters: Sequence, captured: list) -> rk.Run:
        """An execution with these parameters, and what `captured` has read."""
        return self.program.run([*map(concrete, parameters), *captured])


def field_program(
    field: Field, t: float, y: np.ndarray, *, gradient: bool, with_t: bool, live: Reachable | None = None
) -> FieldProgram:
    """Trace and lower a field at (t, y); see `Field.compiled` for what is raised.

    gradient: with the VJP; with_t: that of t, too. live: the arrays that func can read, which may change
    between solves; None: they are constants.
    """
    from .program import build  # with the first Program, so that importing node_core stays quick (bench/startup.py)

    parameters = [concrete(p) for p in field.parameters]

    def forward(t: Any, y: Any, parameters: list) -> Any:
        return field.flat(t, y, parameters)

    def pulled(t: Any, y: Any, parameters: list, a: Any) -> list:
        return field._pulled(t, y, parameters, a, with_t)

    if gradient:
        graph = trace(pulled, t, y, parameters, np.ones_like(y), live=live)
    else:
        graph = trace(forward, t, y, parameters, live=live)
    if any(type(x) is Node for x in graph.captured.values()):
        field.closed_over()
    count = len(parameters)
    inputs: dict[int, Any] = {graph.inputs[0]: "t", graph.inputs[1]: "y"}
    inputs.update({number: k for k, number in enumerate(graph.inputs[2 : 2 + count])})
    outputs: list = ["dy"]
    if gradient:
        inputs[graph.inputs[2 + count]] = "cotangent"
        outputs = ["dy", "y_bar", *range(sum(field.wanted)), *(["t_bar"] if with_t else [])]
    inputs.update({number: count + k for k, number in enumerate(graph.captured)})
    captured = Captured(live, graph.captured.values())
    program = build(graph, Roles(inputs, outputs), field.dtype, count + len(captured))
    found = FieldProgram(program, captured)
    _check(found, field, parameters, t, y)
    return found


def _check(found: FieldProgram, field: Field, parameters: list, t: float, y: np.ndarray) -> None:
    """Compare with func at (t, y) and at a point nearby; see `purity.check`."""

    def func(leaves: list) -> list:
        leaves[0].flags.writeable = False
        return [field(t, leaves[0])]

    def program(leaves: list) -> list:
        captured = found.captured.settled()
        if captured is None:
            raise ImpureError("what func reads from outside its arguments changed while it was recorded")
        return [found.run(parameters, captured).evaluate(t, leaves[0])]

    moved = (y + 1e-3 * (1 + np.abs(y))).astype(y.dtype)
    check("func", func, program, [np.ascontiguousarray(y)], [moved])


def refusal(error: Exception, line_of: Callable[[Exception], str]) -> str:
    """Why there is no Program, with the user's line."""
    return str(error) if isinstance(error, (TraceError, NotLowered, ImpureError)) else f"{line_of(error)}: {error}"
