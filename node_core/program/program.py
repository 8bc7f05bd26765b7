"""A Program: what an optimised graph is lowered to, ready for csrc, with a listing for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._kernels import rk
from .lower import Lowering
from .operations import describe
from .passes import optimised
from .plan import Plan, base_name, bases_of
from .roles import Roles
from .scalars import Scalars, TooLarge
from .trace import Graph

__all__ = ["Program", "build"]

SEGMENTS = ("once", "forward", "backward", "parameters")
ARRAY_CALL = 22.0  # nanoseconds of an array instruction beside its arithmetic, roughly


class Program:
    """A lowered function: `run(arguments, results)` binds it to arrays, `listing()` shows it.

    handle is the C side's Program; scalar tells whether it works element by element.
    """

    def __init__(self, graph: Graph, real: Any, body: Scalars | Plan, arguments: int) -> None:
        self.graph, self.body, self.real = graph, body, np.dtype(real)
        self.arguments = arguments
        self.scalar = isinstance(body, Scalars)
        results = sum(1 for role in self.roles.outputs) if self.roles.plain else 0
        code = [body.words(level) for level in range(4)]
        constants = np.array(body.constants if self.scalar else body.lowered.constants, self.real)
        if self.scalar:
            sizes = (body.head, body.size, 0, 0, body.head, body.parameters)
        else:
            sizes = (body.once, body.saved, body.carry, body.scratch, 0, body.parameters)
        self.handle = rk.Program(code, bases_of(arguments, results), *sizes, constants)

    @property
    def roles(self) -> Roles:
        return self.body.roles if isinstance(self.body, Scalars) else self.body.lowered.roles

    def run(self, arguments: Sequence, results: Sequence = ()) -> rk.Run:
        """An execution on these arguments: every array or number as a contiguous array of the Program's dtype."""
        return rk.Run(self.handle, [np.ascontiguousarray(x, self.real) for x in arguments], list(results))

    def listing(self) -> str:
        """The Program for a reader: one instruction a line, with its operands, shape and cost."""
        form = "element by element" if self.scalar else "on arrays"
        inputs = [f"{self.graph.values[i].name}: {describe(self.graph.values[i])}" for i in self.graph.inputs]
        lines = [f"program {self.graph.name}({', '.join(inputs)})    {self.real}, {form}"]
        for level, name in enumerate(SEGMENTS):
            rows = self.body.listing(level) if isinstance(self.body, Scalars) else self._rows(level)
            if rows:
                lines += [f"{name}:", *(f"  {row}" for row in rows)]
        if not self.scalar:
            plan = self.body
            lines.append(
                f"memory in reals: once {plan.once}, saved {plan.saved}, carry {plan.carry}, scratch {plan.scratch}"
            )
        return "\n".join(lines)

    def _rows(self, level: int) -> list[str]:
        rows = []
        for op in self.body.lowered.operations[level]:
            flops, moved = op.cost()
            places = ", ".join(str(base_name(b.base)) for b in dict.fromkeys(op.writes()))
            cost = f"{flops} flop, {moved * self.real.itemsize} bytes -> {places}"
            rows.append(f"{op.text():60}  {cost}")
        return rows

    def __repr__(self) -> str:
        return f"<Program {self.graph.name}, {'scalar' if self.scalar else 'array'}>"


def build(graph: Graph, roles: Roles, real: Any, arguments: int) -> Program:
    """The Program of a traced graph, in the cheaper of the two forms. Raises NotLowered, which says why.

    roles: what the graph's inputs and outputs are. real: float32 or float64. arguments: how many inputs are
    arguments (or captured); the others are t, y and the cotangent.
    """
    real = np.dtype(real)
    numbers = [*graph.inputs, *graph.captured]
    output_roles = roles.outputs
    graph = optimised(graph)
    renumbered = dict(zip(numbers, [*graph.inputs, *graph.captured], strict=True))
    roles = Roles({renumbered[i]: role for i, role in roles.inputs.items()}, output_roles, roles.plain)
    try:
        scalars = Scalars(graph, roles, real, arguments)
    except TooLarge:
        scalars = None
    if scalars is not None and len(scalars.work) <= 24:
        return Program(graph, real, scalars, arguments)
    plan = Plan(Lowering(graph, roles, real), arguments)
    if scalars is not None and scalars.cost() < sum(_cost(op) for ops in plan.lowered.operations[1:] for op in ops):
        return Program(graph, real, scalars, arguments)
    return Program(graph, real, plan, arguments)


def _cost(op: Any) -> float:
    flops, moved = op.cost()
    return ARRAY_CALL + 0.1 * flops + 0.1 * moved
