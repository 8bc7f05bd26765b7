"""A graph as a sequence of steps: Programs, and between them the solves that it holds.

A solve is one instruction of a graph (`Primitive.whole`), and so is the way back through it. What lies between
them is lowered piece by piece. Of the gradient of a loss after a solve:

    y0, W -> solve -> [Program: the loss, and its slope by the outputs] -> way back -> [slices] -> gradient

The depth of a value is the number of solves, one after the other, that it takes to know it; piece k makes values of
depth k, or of less if nothing needs them before. A graph without a solve is one piece.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .draw import instruction_line
from .moves import is_view
from .passes import constants_folded, duplicates_merged
from .program import build
from .roles import NotLowered, Roles
from .trace import Graph, Instruction, user_stacklevel

if TYPE_CHECKING:
    from .program import Program

__all__ = ["Sequence"]

Step = Callable[[list], None]  # fills in what it makes in the list of all values, by number


class Sequence:
    """``sequence(inputs, captured) -> outputs``: a graph, run by its Programs and solves.

    inputs are the values of graph.inputs, captured those of graph.captured, both as lists of arrays; a list of
    arrays comes back, which the caller owns. Raises NotLowered if a graph without a solve has no Program. Beside a
    solve such a piece is run by NumPy, and a warning says why.
    """

    def __init__(self, graph: Graph) -> None:
        self.has_solves = any(step.primitive.whole for step in graph.instructions)
        if self.has_solves:  # also across pieces; `build` does it within one
            graph = _named(duplicates_merged(constants_folded(graph)))
        self.graph = graph
        self.start: list[Any] = [None] * len(graph.values)
        for number, x in graph.constants.items():
            self.start[number] = x
        self.steps: list[Step] = []
        self.forth: dict[int, Forth] = {}  # the number of a way back -> its solve
        pieces = [(_with_masks(graph, ordinary), wholes) for ordinary, wholes in _pieces(graph)]
        wanted = [_operands(ordinary) | _operands(wholes) for ordinary, wholes in pieces]
        for k, (ordinary, wholes) in enumerate(pieces):
            if ordinary:
                later = _operands(wholes).union(*wanted[k + 1 :])
                self.steps.append(self._piece(ordinary, later))
            self.steps += [self._whole(step) for step in wholes]
        self.shared = _not_the_callers(graph)

    def __call__(self, inputs: list, captured: list) -> list:
        values = self.start.copy()
        for number, x in zip(self.graph.inputs, inputs, strict=True):
            values[number] = x
        for number, x in zip(self.graph.captured, captured, strict=True):
            values[number] = x
        for step in self.steps:
            step(values)
        found = [values[number] for number in self.graph.outputs]
        for k in self.shared:
            found[k] = found[k].copy() if isinstance(found[k], np.ndarray) else found[k]
        return found

    def listing(self) -> str:
        """Its Programs and solves in order."""
        return "\n".join(step.listing() for step in self.steps)

    def _piece(self, instructions: list[Instruction], later: set[int]) -> Step:
        """The instructions as one step; `later` are the values that the steps after it take."""
        graph = self.graph
        made = {step.out for step in instructions}
        used = dict.fromkeys(i for step in instructions for i in step.operands)
        inputs = [i for i in used if i not in made and i not in graph.constants]
        outputs = [step.out for step in instructions if step.out in later or step.out in graph.outputs]
        if self.has_solves and all(is_view(graph, step) for step in instructions):
            return Moves(graph, instructions)
        part = replace(graph, inputs=inputs, captured={}, instructions=instructions, outputs=outputs)
        try:
            return Piece(part)
        except NotLowered as refusal:
            if not self.has_solves:
                raise
            message = f"compile: between its solves NumPy is called: {refusal}"
            warnings.warn(message, RuntimeWarning, stacklevel=user_stacklevel())
            return Moves(graph, instructions)

    def _whole(self, step: Instruction) -> Step:
        """A solve, which saves what its way back needs; or a way back, which finds it there."""
        forth = self.forth.get(step.out)
        if forth is not None:
            return Back(self.graph, step, forth)
        back = next((b for b in self.graph.instructions if _leads_back(self.graph, b, step)), None)
        if back is None:
            return Forth(self.graph, step, None, step.primitive)
        self.start.append(None)
        self.forth[back.out] = Forth(self.graph, step, len(self.start) - 1, back.primitive)
        return self.forth[back.out]


class Piece:
    """Instructions that are one Program."""

    def __init__(self, graph: Graph) -> None:
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.values = [graph.values[i] for i in self.outputs]
        dtypes = {graph.values[i].dtype for i in self.inputs if not graph.values[i].weak}
        if any(dtype.kind == "c" for dtype in dtypes):
            raise NotLowered("complex numbers have no compiled form yet")
        self.real = np.dtype(dtypes.pop()) if len(dtypes) == 1 else np.dtype(float)
        if dtypes or self.real not in (np.float32, np.float64):
            raise NotLowered(f"the arguments mix {', '.join(sorted(map(str, dtypes | {self.real})))}")
        if any(v.dtype != self.real and not v.weak for v in self.values):
            raise NotLowered("results that are not floating have no compiled form yet")
        roles = Roles({number: k for k, number in enumerate(self.inputs)}, list(range(len(self.outputs))), plain=True)
        self.program: Program = build(graph, roles, self.real, len(self.inputs))

    def __call__(self, values: list) -> None:
        results = [np.empty(v.shape, self.real) for v in self.values]
        self.program.run([values[i] for i in self.inputs], results).forward()
        for number, x in zip(self.outputs, results, strict=True):
            values[number] = x

    def listing(self) -> str:
        return f"{', '.join(v.name for v in self.values)} by {self.program.listing()}"


class Moves:
    """Instructions that NumPy carries out: they only move, or they have no compiled form."""

    def __init__(self, graph: Graph, instructions: list[Instruction]) -> None:
        self.graph, self.instructions = graph, instructions
        self.calls = [(step.out, step.operands, _numpy_call(step)) for step in instructions]

    def __call__(self, values: list) -> None:
        for out, operands, call in self.calls:
            values[out] = call(*[values[i] for i in operands])

    def listing(self) -> str:
        return "\n".join(["by NumPy:", *(f"  {instruction_line(self.graph, step)}" for step in self.instructions)])


def _numpy_call(step: Instruction) -> Callable:
    """An instruction as a function of its operands; the commonest moves without NumPy's front door."""
    name, params = step.primitive.name, step.params
    if name == "getitem" and len(step.operands) == 1:
        return lambda x, index=params["index"]: x[index]
    if name == "reshape":
        return lambda x, shape=params["shape"]: np.asarray(x).reshape(shape)
    return functools.partial(step.primitive.evaluate, **params)


class Forth:
    """A solve; `saved` is the place where it leaves what the way back `by` needs, None if there is none."""

    def __init__(self, graph: Graph, step: Instruction, saved: int | None, by: Any) -> None:
        self.graph, self.step, self.saved, self.by = graph, step, saved, by.lasting()

    def __call__(self, values: list) -> None:
        operands = [values[i] for i in self.step.operands]
        if self.saved is None:
            values[self.step.out] = self.by.evaluate(*operands)
        else:
            values[self.step.out], values[self.saved] = self.by.recorded(operands)

    def listing(self) -> str:
        return instruction_line(self.graph, self.step)


class Back:
    """The way back through a solve, from what that has saved."""

    def __init__(self, graph: Graph, step: Instruction, forth: Forth) -> None:
        self.graph, self.step, self.forth = graph, step, forth

    def __call__(self, values: list) -> None:
        values[self.step.out] = self.forth.by.pulled(values[self.step.operands[0]], values[self.forth.saved])

    def listing(self) -> str:
        name = self.graph.values[self.forth.step.out].name
        return f"{instruction_line(self.graph, self.step)}    back through {name}"


def _leads_back(graph: Graph, back: Instruction, step: Instruction) -> bool:
    """Whether `back` is the way back through the solve `step`, of the same operands."""
    if getattr(back.primitive, "of", None) is not step.primitive:
        return False
    return all(i == j or _same_constant(graph, i, j) for i, j in zip(back.operands[1:], step.operands, strict=True))


def _same_constant(graph: Graph, i: int, j: int) -> bool:
    if i not in graph.constants or j not in graph.constants:
        return False
    return np.array_equal(graph.constants[i], graph.constants[j])


def _named(graph: Graph) -> Graph:
    """The same graph with results called v0, v1, ...: within a Program they are %0, %1, ..."""
    values = list(graph.values)
    for k, step in enumerate(graph.instructions):
        values[step.out] = replace(values[step.out], name=f"v{k}")
    return replace(graph, values=values)


def _pieces(graph: Graph) -> list[tuple[list[Instruction], list[Instruction]]]:
    """For every depth, in order, the instructions of its piece and the solves that follow it."""
    depth: dict[int, int] = {}
    for step in graph.instructions:
        depth[step.out] = max((depth.get(i, 0) for i in step.operands), default=0) + step.primitive.whole
    pieces: list[tuple[list, list]] = [([], []) for _ in range(max(depth.values(), default=0) + 1)]
    needed = {number: depth.get(number, 0) for number in graph.outputs}  # the first piece that needs a value
    for step in reversed(graph.instructions):
        place = depth[step.out] - 1 if step.primitive.whole else needed[step.out]
        pieces[place][step.primitive.whole].append(step)
        for i in step.operands:
            needed[i] = min(place, needed.get(i, place))
    return [(ordinary[::-1], wholes[::-1]) for ordinary, wholes in pieces]


def _operands(instructions: list[Instruction]) -> set[int]:
    """What they take from elsewhere."""
    return {i for step in instructions for i in step.operands} - {step.out for step in instructions}


def _with_masks(graph: Graph, instructions: list[Instruction]) -> list[Instruction]:
    """The instructions of a piece, and before them those of earlier pieces that make the masks it takes.

    A Program hands over no masks, such as that of a relu before a solve, which the way back needs after it. It is
    cheaper to compare again than to do without the Program.
    """
    makers = {step.out: step for step in graph.instructions}
    wanted = {step.out for step in instructions}
    left = list(instructions)
    while left:
        for i in left.pop().operands:
            if i in makers and i not in wanted and graph.values[i].dtype == np.bool_ and not makers[i].primitive.whole:
                wanted.add(i)
                left.append(makers[i])
    return [step for step in graph.instructions if step.out in wanted]


def _not_the_callers(graph: Graph) -> list[int]:
    """Which outputs are arrays that somebody else holds, too: inputs, constants, and views that overlap.

    Slices of one result that share nothing, as the gradients of one way back are, need no copy.
    """
    makers = {step.out: step for step in graph.instructions}
    shared, taken = [], {}  # number of an array -> parts of it that a caller has
    for k, number in enumerate(graph.outputs):
        part: tuple = (0, math.inf)
        while number in makers and is_view(graph, makers[number]):
            step = makers[number]
            number = step.operands[0]
            if step.primitive.name == "getitem":
                part = _range(step.params["index"], graph.values[number].shape)
            elif step.primitive.name != "reshape":
                part = (0, math.inf)
        if number not in makers or any(a < part[1] and part[0] < b for a, b in taken.get(number, ())):
            shared.append(k)
        else:
            taken.setdefault(number, []).append(part)
    return shared


def _range(index: tuple, shape: tuple) -> tuple:
    """(start, stop) of a slice of a vector; of any other index all of it."""
    if len(shape) == 1 and len(index) == 1 and type(index[0]) is slice:
        start, stop, step = index[0].indices(shape[0])
        if step == 1:
            return (start, stop)
    return (0, math.inf)
