"""From a traced graph to a smaller one that computes the same: each pass is a pure function Graph -> Graph.

`optimised` runs them in order: constants are folded, algebra cleaned up, equal instructions merged, biases
joined to their matmul, and what no output needs is dropped. The result still runs in Python (`Graph.run`), which is how
the passes are tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..autodiff.primitive import Primitive
from .trace import Graph, Instruction, Value, without_dead_code

__all__ = [
    "MATMUL_BIAS",
    "cleaned_up",
    "constants_folded",
    "duplicates_merged",
    "einsum_as_matmul",
    "optimised",
    "with_bias_joined",
]

# What only passes write: no user calls them, so they need no derivative.
CUBE = Primitive("cube", lambda x: x * x * x)
SQUARE = Primitive("square", np.square)
NEGATIVE = Primitive("negative", np.negative)
MULTIPLY = Primitive("multiply", np.multiply)
EQUAL = Primitive("equal", np.equal)
RESHAPE = Primitive("reshape", lambda x, shape: np.reshape(x, shape))
TRANSPOSE = Primitive("transpose", lambda x, axes: np.transpose(x, axes))
MATMUL = Primitive("matmul", np.matmul)
TANH_SLOPE = Primitive("tanh_slope", lambda y: 1 - y * y)
TANH_BACK = Primitive("tanh_back", lambda g, y: g * (1 - y * y))
MATMUL_BIAS = Primitive("matmul_bias", lambda a, b, bias: np.matmul(a, b) + bias)


class Rewriter:
    """A new graph, written instruction by instruction from an old one.

    rule(self, step, operands) gives the number, in the new graph, of what stands for the instruction
    `step`, whose operands have the numbers `operands` there; None copies it.
    """

    def __init__(self, graph: Graph, rule: Callable[[Rewriter, Instruction, tuple], int | None]) -> None:
        self.values: list[Value] = []
        self.constants: dict[int, Any] = {}
        self.instructions: list[Instruction] = []
        self.made: dict[int, Instruction] = {}  # number -> the instruction that makes it
        place: dict[int, int] = {}
        for number in [*graph.inputs, *graph.captured]:
            place[number] = self._value(graph.values[number])
        for number, x in graph.constants.items():
            place[number] = self.constant(x)
        for step in graph.instructions:
            operands = tuple([place[i] for i in step.operands])
            found = rule(self, step, operands)
            if found is None:
                found = self.emit(step.primitive, operands, step.params, graph.values[step.out], step.line)
            place[step.out] = found
        outputs = [place[i] for i in graph.outputs]
        self.graph = replace(
            graph,
            values=self.values,
            inputs=[place[i] for i in graph.inputs],
            constants=self.constants,
            captured={place[i]: x for i, x in graph.captured.items()},
            instructions=without_dead_code(self.instructions, outputs),
            outputs=outputs,
        )

    def _value(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def constant(self, x: Any) -> int:
        """The number of a constant."""
        number = self._value(Value.of(x, "constant", ""))
        self.constants[number] = x
        return number

    def emit(self, primitive: Primitive, operands: tuple, params: dict, value: Value, line: str) -> int:
        """A new instruction whose result is like `value`."""
        out = self._value(replace(value, name=f"%{len(self.instructions)}", kind="result"))
        step = Instruction(out, primitive, operands, params, line)
        self.instructions.append(step)
        self.made[out] = step
        return out

    def like(self, step: Instruction, primitive: Primitive, operands: tuple, params: dict, value: Value) -> int:
        """A new instruction in the place of `step`."""
        return self.emit(primitive, operands, params, value, step.line)

    def scalar(self, number: int) -> float | None:
        """The value of a constant number, None for anything else."""
        x = self.constants.get(number)
        return float(x) if x is not None and np.ndim(x) == 0 and np.asarray(x).dtype.kind in "fiub" else None

    def maker(self, number: int, name: str) -> Instruction | None:
        """The instruction that makes a value, if it is the primitive of that name."""
        step = self.made.get(number)
        return step if step is not None and step.primitive.name == name else None


def constants_folded(graph: Graph) -> Graph:
    """What depends on constants alone is computed once, here."""

    def rule(new: Rewriter, step: Instruction, operands: tuple) -> int | None:
        if step.primitive.whole or not all(i in new.constants for i in operands):
            return None
        with np.errstate(all="ignore"):
            return new.constant(step.primitive.evaluate(*[new.constants[i] for i in operands], **step.params))

    return Rewriter(graph, rule).graph


def duplicates_merged(graph: Graph) -> Graph:
    """Equal instructions on equal operands are computed once (common subexpressions)."""
    seen: dict[tuple, int] = {}
    numbers: dict[tuple, int] = {}  # equal scalar constants are one operand

    def rule(new: Rewriter, step: Instruction, operands: tuple) -> int | None:
        merged = []
        for i in operands:
            x = new.scalar(i)
            merged.append(i if x is None else numbers.setdefault((x, new.values[i].weak, str(new.values[i].dtype)), i))
        key = (step.primitive.name, id(step.primitive), tuple(merged), _hashable(step.params))
        if key not in seen:
            seen[key] = new.emit(step.primitive, tuple(merged), step.params, graph.values[step.out], step.line)
        return seen[key]

    return Rewriter(graph, rule).graph


def _hashable(params: dict) -> str:
    return repr([(k, v.tolist() if isinstance(v, np.ndarray) else v) for k, v in sorted(params.items())])


# --- algebra ---


def cleaned_up(graph: Graph) -> Graph:
    """Neutral elements, small powers, double negations and moves that move nothing.

    Only what holds for every floating value, NaN and infinities included: x * 0 stays. The sign of a zero
    may change where 0 is added.
    """

    def rule(new: Rewriter, step: Instruction, operands: tuple) -> int | None:
        value = graph.values[step.out]
        name = step.primitive.name
        if name in _MOVES:
            return _moved(new, step, operands, value)
        simpler = _SIMPLER.get(name)
        return None if simpler is None else simpler(new, step, operands, value)

    return Rewriter(graph, rule).graph


def _same(new: Rewriter, number: int, value: Value) -> int | None:
    """The operand itself where it is shaped and typed like the result."""
    x = new.values[number]
    return number if x.shape == value.shape and (x.dtype == value.dtype and x.weak == value.weak) else None


def _add(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    for zero, other in (operands, operands[::-1]):
        if new.scalar(zero) == 0.0:
            return _same(new, other, value)
    return None


def _subtract(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    x, y = operands
    if new.scalar(y) == 0.0:
        return _same(new, x, value)
    product = new.maker(y, "multiply")
    if new.scalar(x) == 1.0 and product is not None and product.operands[0] == product.operands[1]:
        inner = product.operands[0]
        if new.values[inner].shape == value.shape and new.values[inner].dtype == value.dtype:
            return new.like(step, TANH_SLOPE, (inner,), {}, value)
    return None


def _multiply(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    for factor, other in (operands, operands[::-1]):
        if new.scalar(factor) == 1.0 and _same(new, other, value) is not None:
            return other
        if new.scalar(factor) == -1.0 and _same(new, other, value) is not None:
            return new.like(step, NEGATIVE, (other,), {}, value)
        slope = new.maker(factor, "tanh_slope")
        if slope is not None and _same(new, factor, value) is not None and _same(new, other, value) is not None:
            return new.like(step, TANH_BACK, (other, *slope.operands), {}, value)
    return None


def _divide(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    return _same(new, operands[0], value) if new.scalar(operands[1]) == 1.0 else None


def _power(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    x, exponent = operands[0], new.scalar(operands[1])
    if _same(new, x, value) is None:
        return None
    if exponent == 1.0:
        return x
    if exponent == 2.0:
        return new.like(step, SQUARE, (x,), {}, value)
    return new.like(step, CUBE, (x,), {}, value) if exponent == 3.0 else None


def _negative(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    inner = new.maker(operands[0], "negative")
    return None if inner is None else inner.operands[0]


def _identity(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    return _same(new, operands[0], value)


def _sum(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    """Over axes of length 1 a sum is a reshape."""
    shape, axis = new.values[operands[0]].shape, step.params["axis"]
    axes = range(len(shape)) if axis is None else axis
    if any(shape[a] != 1 for a in axes):
        return None
    same = _same(new, operands[0], value)
    return new.like(step, RESHAPE, operands, {"shape": value.shape}, value) if same is None else same


def _imaginary(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    """Of a real value, zeros."""
    if new.values[operands[0]].dtype.kind == "c":
        return None
    return new.constant(np.zeros(value.shape, value.dtype))


def _infinite(infinity: float) -> Callable:
    def rule(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
        return new.like(step, EQUAL, (operands[0], new.constant(infinity)), {}, value)

    return rule


def _degrees(factor: float) -> Callable:
    def rule(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
        return new.like(step, MULTIPLY, (operands[0], new.constant(factor)), {}, value)

    return rule


def _moved(new: Rewriter, step: Instruction, operands: tuple, value: Value) -> int | None:
    """Moves of moves are one move; a move that changes nothing is none."""
    (x,) = operands
    name = step.primitive.name
    if name == "transpose":
        axes = tuple(step.params["axes"])
        inner = new.maker(x, "transpose")
        if inner is not None:
            x, axes = inner.operands[0], tuple(inner.params["axes"][a] for a in axes)
        if axes == tuple(range(len(axes))):
            return x
        return new.like(step, TRANSPOSE, (x,), {"axes": axes}, value)
    if new.values[x].shape == value.shape:
        return x
    inner = new.maker(x, name)
    if inner is not None:
        return new.like(step, step.primitive, inner.operands, {**step.params, "shape": value.shape}, value)
    return None


_MOVES = ("reshape", "transpose", "broadcast_to")
_SIMPLER: dict[str, Callable] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "negative": _negative,
    "real": _identity,
    "conjugate": _identity,
    "astype": _identity,
    "stop_gradient": _identity,
    "sum": _sum,
    "max": _sum,
    "min": _sum,
    "imag": _imaginary,
    "isneginf": _infinite(-np.inf),
    "isposinf": _infinite(np.inf),
    "deg2rad": _degrees(np.pi / 180),
    "rad2deg": _degrees(180 / np.pi),
}


# --- products ---


def einsum_as_matmul(graph: Graph) -> Graph:
    """An einsum of two operands is a batched matmul between transposes and reshapes; of more, one by one."""

    def rule(new: Rewriter, step: Instruction, operands: tuple) -> int | None:
        if step.primitive.name != "einsum":
            return None
        inputs, output = step.params["subscripts"].split("->")
        terms = inputs.split(",")
        number, term = operands[0], terms[0]
        for k in range(1, len(terms)):
            later = set("".join(terms[k + 1 :])) | set(output)
            number, term = _product(new, step, (number, term), (operands[k], terms[k]), later)
        return _arranged(new, step, number, term, output)

    return Rewriter(graph, rule).graph


def _arranged(new: Rewriter, step: Instruction, number: int, term: str, wanted: str) -> int:
    """The value of axes `term` with its axes in the order `wanted`."""
    if term == wanted:
        return number
    axes = tuple(term.index(c) for c in wanted)
    value = new.values[number]
    return new.like(
        step, TRANSPOSE, (number,), {"axes": axes}, replace(value, shape=tuple(value.shape[a] for a in axes))
    )


def _product(new: Rewriter, step: Instruction, a: tuple, b: tuple, later: set) -> tuple[int, str]:
    """Two terms contracted over the letters that nothing later needs, as a batched matmul."""
    (x, s), (y, t) = a, b
    sizes = {c: n for number, term in (a, b) for c, n in zip(term, new.values[number].shape, strict=True)}
    batch = "".join(c for c in s if c in t and c in later)
    summed = "".join(c for c in s if c in t and c not in later)
    left = "".join(c for c in s if c not in t)
    right = "".join(c for c in t if c not in s)

    def length(letters: str) -> int:
        return int(np.prod([sizes[c] for c in letters], dtype=np.int64))

    def shaped(number: int, term: str, order: tuple[str, str]) -> int:
        number = _arranged(new, step, number, term, batch + order[0] + order[1])
        shape = (length(batch), length(order[0]), length(order[1]))
        return new.like(step, RESHAPE, (number,), {"shape": shape}, replace(new.values[number], shape=shape))

    p, q = shaped(x, s, (left, summed)), shaped(y, t, (summed, right))
    value = replace(new.values[x], shape=(length(batch), length(left), length(right)))
    product = new.like(step, MATMUL, (p, q), {}, value)
    shape = tuple(sizes[c] for c in batch + left + right)
    out = new.like(step, RESHAPE, (product,), {"shape": shape}, replace(value, shape=shape))
    return out, batch + left + right


def with_bias_joined(graph: Graph) -> Graph:
    """``a @ b + bias`` with a vector bias along the last axis is one instruction, as the kernel does it."""
    uses: dict[int, int] = {}
    for number in [i for step in graph.instructions for i in step.operands] + graph.outputs:
        uses[number] = uses.get(number, 0) + 1
    products = {s.out for s in graph.instructions if s.primitive.name == "matmul" and uses.get(s.out) == 1}
    ready: set[int] = {*graph.inputs, *graph.captured, *graph.constants}
    joined: dict[int, tuple] = {}  # the sum's number -> (the product's, the bias's)
    order: dict[int, int] = dict.fromkeys(ready, -1)
    for place, step in enumerate(graph.instructions):
        order[step.out] = place
        if step.primitive.name != "add":
            continue
        for product, bias in (step.operands, step.operands[::-1]):
            shape = graph.values[product].shape
            vector = graph.values[bias].shape
            fits = (
                len(shape) >= 2 and vector in (shape[-1:], (1, *shape[-1:])) and shape == graph.values[step.out].shape
            )
            if product in products and fits and order[bias] < order[product]:
                joined[product] = (step.out, bias)
                break
    sums = {out: product for product, (out, _) in joined.items()}
    place_of: dict[int, int] = {}

    def rule(new: Rewriter, step: Instruction, operands: tuple) -> int | None:
        if step.out in joined:
            _, bias = joined[step.out]
            value = graph.values[step.out]
            number = place_of[bias] if bias in place_of else new_bias(new, bias)
            place_of[step.out] = new.like(step, MATMUL_BIAS, (*operands, number), {}, value)
            return place_of[step.out]
        if step.out in sums:
            return place_of[sums[step.out]]
        found = new.emit(step.primitive, operands, step.params, graph.values[step.out], step.line)
        place_of[step.out] = found
        return found

    def new_bias(new: Rewriter, bias: int) -> int:
        known = [*graph.inputs, *graph.captured, *graph.constants]
        return known.index(bias)  # the Rewriter numbers these first, in this order

    return Rewriter(graph, rule).graph


def optimised(graph: Graph) -> Graph:
    """All passes, each where an earlier one has made work for it."""
    for run in (
        einsum_as_matmul,
        cleaned_up,
        constants_folded,
        cleaned_up,
        duplicates_merged,
        cleaned_up,
        with_bias_joined,
    ):
        graph = run(graph)
    return graph
