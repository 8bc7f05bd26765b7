"""Trace a function into a Graph: a flat list of primitives that can be printed, drawn and run again."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff import tree
from ..autodiff.node import Node, Trace, apply, concrete, run
from ..autodiff.primitive import Primitive
from .draw import listing, to_dot, to_svg

if TYPE_CHECKING:
    from .reachable import Reachable

__all__ = ["Graph", "Instruction", "TraceError", "Value", "computes_the_same", "line_of", "trace", "without_dead_code"]

_OURS = str(Path(__file__).parents[1]) + os.sep
_NUMPY = str(Path(np.__file__).parent) + os.sep


class TraceError(TypeError):
    """The function's course depends on the values it is given, so that no graph can stand for it."""


@dataclass(frozen=True)
class Value:
    """What is known of a value of the graph: its name, where it comes from, its shape and dtype."""

    name: str
    kind: str  # "input", "captured", "constant" or "result"
    shape: tuple[int, ...]
    dtype: np.dtype
    weak: bool = False  # a Python number, which takes the precision of what it meets

    @classmethod
    def of(cls, x: Any, kind: str, name: str) -> Value:
        """What is known of x, a plain value or a Node."""
        x = concrete(x)
        plain = not hasattr(x, "dtype")
        return cls(name, kind, np.shape(x), np.asarray(x).dtype if plain else x.dtype, plain)


@dataclass(frozen=True)
class Instruction:
    """``values[out] = primitive(*values[operands], **params)``, written on the user's `line`."""

    out: int
    primitive: Primitive
    operands: tuple[int, ...]
    params: dict
    line: str


@dataclass
class Graph:
    """A traced function.

    values:       every value of the function, by number.
    inputs:       the numbers of the arguments' leaves; `in_def` their nesting.
    constants:    number -> array or scalar, fixed at tracing.
    captured:     number -> value of another trace that the function closed over, read at tracing; or an array
                  that may change between runs (see `trace`).
    instructions: in order of execution; none without an effect on the outputs.
    outputs:      the numbers of the result's leaves; `out_def` their nesting.
    """

    name: str
    values: list[Value]
    inputs: list[int]
    in_def: tree.TreeDef
    constants: dict[int, Any]
    captured: dict[int, Any]
    instructions: list[Instruction]
    outputs: list[int]
    out_def: tree.TreeDef

    def __call__(self, *args: Any) -> Any:
        """Run the graph in Python on arguments nested like those it was traced with; differentiable."""
        leaves = tree._leaves_like(self.in_def, args)
        return tree.unflatten(self.out_def, self.run(leaves, list(self.captured.values())))

    def run(self, leaves: Sequence, captured: Sequence = ()) -> list:
        """The output leaves for these input leaves; `captured` replaces the captured values, in order."""
        env = self._start()
        for number, leaf in zip(self.inputs, leaves, strict=True):
            env[number] = leaf
        for number, x in zip(self.captured, captured, strict=True):
            env[number] = x
        if any(type(x) is Node for x in (*leaves, *captured)):
            for step in self.instructions:
                env[step.out] = apply(step.primitive, tuple([env[i] for i in step.operands]), step.params)
        else:
            for step in self.instructions:
                env[step.out] = step.primitive.evaluate(*[env[i] for i in step.operands], **step.params)
        return [env[number] for number in self.outputs]

    def run_checked(self, leaves: Sequence, captured: Sequence | None = None) -> None:
        """Run it instruction by instruction; FloatingPointError names the first whose result is not finite."""
        env = self._start()
        for number, leaf in zip(self.inputs, leaves, strict=True):
            env[number] = leaf
        for number, x in zip(self.captured, captured or self.captured.values(), strict=True):
            env[number] = concrete(x)
        for step in self.instructions:
            with np.errstate(all="ignore"):
                out = step.primitive.evaluate(*[env[i] for i in step.operands], **step.params)
            env[step.out] = out
            if not np.all(np.isfinite(out)):
                where = tuple(int(i) for i in np.argwhere(~np.isfinite(out))[0])
                value = self.values[step.out]
                raise FloatingPointError(
                    f"{step.line}: {value.name} = {step.primitive.name}(...) of shape {value.shape} is "
                    f"{np.asarray(out)[where]} at {list(where)}{self._time(leaves)}"
                )

    def _time(self, leaves: Sequence) -> str:
        """``, t = ...`` if the first argument is a time."""
        first = leaves[0] if len(leaves) and self.values[self.inputs[0]].name == "t" else None
        return f", t = {first}" if isinstance(first, float) else ""

    def _start(self) -> list:
        """The values before the first instruction: the constants in their places."""
        env: list[Any] = [None] * len(self.values)
        for number, x in self.constants.items():
            env[number] = x
        return env

    def __str__(self) -> str:
        return listing(self)

    def to_dot(self) -> str:
        """The graph in Graphviz's language."""
        return to_dot(self)

    def _repr_svg_(self) -> str:
        return to_svg(self)


@dataclass(eq=False)
class GraphTrace(Trace):
    """Writes down every operation; the slot of a Node of this trace is its number in `values`.

    The operations are also carried out, on the example arguments, for their shapes and dtypes.
    """

    values: list[Value] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    captured: dict[int, Any] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    live: Reachable | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def add(self, x: Any, kind: str, name: str) -> int:
        self.values.append(Value.of(x, kind, name))
        return len(self.values) - 1

    @property
    def sees_changes(self) -> bool:
        return self.live is not None

    def constant(self, x: Any) -> Node:
        """A plain x as a value of this graph."""
        number = self.add(x, "constant", "")
        self.constants[number] = x
        return Node(x, self, number)

    def number(self, x: Any) -> int:
        """The number of an operand: ours, closed over from another trace, or a constant."""
        if type(x) is Node and x.owner is self:
            return x.slot
        if type(x) is Node or self._is_live(x):
            for number, known in self.captured.items():
                if known is x:
                    return number
            number = self.add(x, "captured", f"captured{len(self.captured)}")
            self.captured[number] = x
            return number
        if self.live is not None and self.live.exhausted and isinstance(x, np.ndarray):
            raise TraceError("the function can read too many objects to look at them all; pass its arrays as arguments")
        number = self.add(x, "constant", "")
        self.constants[number] = x.copy() if isinstance(x, np.ndarray) and x.flags.writeable else x
        return number

    def _is_live(self, x: Any) -> bool:
        """Whether x is an array of the caller's that may hold other numbers at the next run."""
        if self.live is None or not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            return False
        return self.live.place_of(x) is not None

    def process(self, primitive: Any, operands: tuple, params: dict) -> Any:
        if primitive.name == "nonzero":
            raise TraceError(_depends("which elements are nonzero", "np.where(condition, x, y)"))
        numbers = tuple([self.number(x) for x in operands])
        out = primitive.evaluate(*[concrete(x) for x in operands], **params)
        if type(out) is Node:
            raise TraceError(f"{user_line()}: {primitive.name} closes over a traced value; pass it as an argument")
        number = self.add(out, "result", f"%{len(self.instructions)}")
        self.instructions.append(Instruction(number, primitive, numbers, params, user_line()))
        return Node(out, self, number)

    def text(self, node: Node, spec: str) -> str:
        raise TraceError(_depends("a formatted string", "it outside the function"))

    def truth(self, node: Node) -> bool:
        raise TraceError(_depends("a branch (if, while, and, or, assert) or a mask", "np.where(condition, x, y)"))


def is_recorded(x: Any) -> bool:
    """Whether x is a value of a graph that is being traced, at whatever depth of other traces."""
    while type(x) is Node:
        if isinstance(x.owner, GraphTrace):
            return True
        x = x.value
    return False


def _depends(what: str, instead: str) -> str:
    return f"{user_line()}: {what} depends on the value of a traced array; write {instead} instead"


def is_users(filename: str) -> bool:
    """Whether a file belongs neither to this package nor to NumPy."""
    return not filename.startswith((_OURS, _NUMPY))


def line_of(error: Exception) -> str:
    """``file:line`` of the user's code in which an error arose."""
    import traceback  # for this message only

    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if is_users(f.filename)), "func")


def user_stacklevel() -> int:
    """The stacklevel at which a warning of our caller's names the user's line, whatever called us for him."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and not is_users(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    return level


def user_line() -> str:
    """``file:line`` of the innermost frame outside this package and NumPy."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def trace(fun: Callable, *args: Any, live: Reachable | None = None, arrays_only: bool = False) -> Graph:
    """The graph of ``fun(*args)``: what it computes for arguments of these shapes and dtypes.

    Every numeric leaf of args becomes an input (with arrays_only those that are floating arrays or NumPy's floating
    numbers); other leaves (strings, None) are kept as they are. The function runs once, on the arguments given. Raises
    TraceError, with the line of the user's code, if its course depends on their values. Other arrays are constants;
    with live, a `Reachable`, those that it knows are `captured`.

    >>> import numpy as np
    >>> import node_core as nc
    >>> print(nc.trace(lambda t, y: -y, 0.0, np.ones(2)))
    graph <lambda>(t: float64[], y: float64[2])
      %0 = negative(y)    float64[2]
      return %0
    """
    recorder = GraphTrace(live=live)
    leaves, in_def = tree.flatten(args)
    names = _argument_names(fun, args)
    boxed, inputs = [], []
    kinds = (np.generic, np.ndarray) if arrays_only else (bool, int, float, complex, np.generic, np.ndarray, Node)
    for leaf, name in zip(leaves, names, strict=True):
        inputs.append(recorder.add(leaf, "input", name))
        numeric = isinstance(leaf, kinds)
        if arrays_only:
            numeric = numeric and leaf.dtype.kind in "fc"
        boxed.append(Node(concrete(leaf), recorder, inputs[-1]) if numeric else leaf)
    out = run(recorder, fun, tree.unflatten(in_def, boxed))
    out_leaves, out_def = tree.flatten(out)
    outputs = [recorder.number(x) for x in out_leaves]
    return Graph(
        name=getattr(fun, "__name__", type(fun).__name__),
        values=recorder.values,
        inputs=inputs,
        in_def=in_def,
        constants=recorder.constants,
        captured=recorder.captured,
        instructions=without_dead_code(recorder.instructions, outputs),
        outputs=outputs,
        out_def=out_def,
    )


def computes_the_same(a: Graph, b: Graph) -> bool:
    """Whether two graphs are one: the same instructions on the same constants."""
    if len(a.values) != len(b.values) or a.constants.keys() != b.constants.keys():
        return False
    if [(s.primitive.name, s.operands) for s in a.instructions] != [
        (s.primitive.name, s.operands) for s in b.instructions
    ]:
        return False
    return all(_same(x, b.constants[number]) for number, x in a.constants.items())


def _same(x: Any, y: Any) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    return x.dtype == y.dtype and x.shape == y.shape and (x.dtype.hasobject or x.tobytes() == y.tobytes())


def without_dead_code(instructions: list[Instruction], outputs: list[int]) -> list[Instruction]:
    """The instructions that some output needs, in order."""
    needed = set(outputs)
    kept = []
    for step in reversed(instructions):
        if step.out in needed:
            needed.update(step.operands)
            kept.append(step)
    return kept[::-1]


def _argument_names(fun: Callable, args: tuple) -> list[str]:
    """y, W['a'][0], ... by the function's own parameter names."""
    code = getattr(fun, "__code__", None)
    first = 1 if inspect.ismethod(fun) else 0  # self is not among args
    given = list(code.co_varnames[first : code.co_argcount]) if code is not None else []
    given += [f"arg{i}" for i in range(len(given), len(args))]
    return [name for arg, prefix in zip(args, given, strict=False) for name in tree.paths(arg, prefix)]
