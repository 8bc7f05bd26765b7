"""Small functions element by element: every entry of every array becomes a register, every move a renaming.

``np.stack([y[1], -y[0]])`` of a two-component system costs one instruction here; as arrays it would cost
four. A product of small matrices is spelled out. Equal instructions are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._kernels import rk
from .elementwise import KERNELS
from .lower import check, true_doubles
from .moves import is_view
from .operations import BACKWARD, BINARY, CODES, FORWARD, ONCE, PARAMETERS, UNARY
from .plan import BASES, FREE, PARAMETER_BASE
from .roles import NotLowered, Roles
from .trace import Graph, Instruction

__all__ = ["Scalars"]

MOST = 600  # instructions
LEVELS = {"t": FORWARD, "y": FORWARD, "cotangent": BACKWARD}
COMMUTATIVE = ("add", "multiply", "multiply_add", "multiply_subtract", "subtract_product")  # the first two operands
SCALAR = rk.scalar_codes()
OUTPUTS = {"dy": FORWARD, "y_bar": BACKWARD, "t_bar": BACKWARD}


class TooLarge(Exception):
    """More instructions than element by element is worth."""


@dataclass(eq=False)
class Scalars:
    """One graph as scalar instructions; `words` gives a segment for C.

    nodes[i] is ("const", value), ("load", role, place) or (kernel, operands...), all numbers of nodes.
    """

    graph: Graph
    roles: Roles
    real: np.dtype
    arguments: int
    nodes: list[tuple] = field(default_factory=list)
    level: list[int] = field(default_factory=list)
    _known: dict[tuple, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph, roles = self.graph, self.roles
        arrays: dict[int, np.ndarray] = {}
        doubles = true_doubles(graph, self.real)
        for number, role in roles.inputs.items():
            shape = graph.values[number].shape
            count = int(np.prod(shape, dtype=np.int64))
            if count > MOST:
                raise TooLarge
            arrays[number] = np.array([self._node("load", role, k) for k in range(count)], np.int64).reshape(shape)
        for number, x in graph.constants.items():
            x = np.asarray(x)
            if x.dtype.kind in "fbiu":
                if x.size > MOST:
                    raise TooLarge
                arrays[number] = np.array([self._node("const", float(v)) for v in x.flat], np.int64).reshape(x.shape)
        for step in graph.instructions:
            check(graph, step, self.real, doubles)
            arrays[step.out] = self._expanded(step, arrays)
        self.outputs = [
            (role, np.ravel(arrays[number])) for number, role in zip(graph.outputs, roles.outputs, strict=True)
        ]
        self._settle_levels()
        self._registers()
        self.parameters = sum(len(n) for role, n in self.outputs if not isinstance(role, str) and not roles.plain)

    # --- expansion ---

    def _node(self, *key: Any) -> int:
        """The number of a node, an equal one if there is one."""
        name = repr(key) if key[0] == "const" else key  # tells -0.0 from 0.0
        if name not in self._known:
            if len(self.nodes) > 4 * MOST:
                raise TooLarge
            self._known[name] = len(self.nodes)
            self.nodes.append(key)
        return self._known[name]

    def _value(self, node: int) -> float | None:
        return self.nodes[node][1] if self.nodes[node][0] == "const" else None

    def _binary(self, name: str, a: int, b: int) -> int:
        """One instruction, or none for neutral elements; zeros come from scattered gradients."""
        x, y = self._value(a), self._value(b)
        if name == "add" and (x == 0.0 or y == 0.0):
            return b if x == 0.0 else a
        if name == "subtract" and y == 0.0:
            return a
        if name == "multiply" and (x == 1.0 or y == 1.0):
            return b if x == 1.0 else a
        if name in ("add", "multiply", "maximum", "minimum") and b < a:
            a, b = b, a
        return self._node(name, a, b)

    def _chain(self, name: str, items: list[int]) -> int:
        total = items[0]
        for item in items[1:]:
            total = self._binary(name, total, item)
        return total

    def _expanded(self, step: Instruction, arrays: dict[int, np.ndarray]) -> np.ndarray:
        name, params = step.primitive.name, step.params
        shape = self.graph.values[step.out].shape
        xs = [arrays[i] for i in step.operands if i in arrays]
        kernel = KERNELS.get(name)
        if kernel is not None:
            return self._elementwise(kernel, xs, shape)
        if name in ("matmul", "matmul_bias"):
            return self._matmul(xs, shape)
        if name in ("sum", "max", "min"):
            pair = {"sum": "add", "max": "maximum", "min": "minimum"}[name]
            return self._reduce(pair, xs[0], params["axis"], shape)
        if name == "scatter":
            return self._scatter(step, xs[0])
        if name == "getitem":
            index = self._index(step)
            return np.asarray(xs[0][index])
        if name == "cumsum":
            rows = np.moveaxis(xs[0], params["axis"], 0).copy()
            for j in range(1, len(rows)):
                rows[j] = self._elementwise(("binary", "add"), [rows[j - 1], rows[j]], rows[j].shape)
            return np.moveaxis(rows, 0, params["axis"])
        if name in ("real", "conjugate", "astype", "stop_gradient"):
            return xs[0]
        if not is_view(self.graph, step) and name != "concatenate":
            raise TooLarge  # a convolution: its products are many even where its arrays are small
        return np.asarray(step.primitive.evaluate(*xs, **params))  # a move: the numbers move

    def _index(self, step: Instruction) -> tuple:
        from ..autodiff.table import _fill

        arrays = []
        for i in step.operands[1:]:
            if i not in self.graph.constants:
                raise NotLowered(f"{step.line}: an index that is computed has no compiled form yet")
            arrays.append(np.asarray(self.graph.constants[i]))
        return _fill(step.params["index"], tuple(arrays))

    def _elementwise(self, kernel: tuple[str, str], xs: list[np.ndarray], shape: tuple) -> np.ndarray:
        if int(np.prod(shape, dtype=np.int64)) > MOST:
            raise TooLarge
        flat = [np.broadcast_to(x, shape).ravel().tolist() for x in xs]
        kind, name = kernel
        if kind == "binary":
            found = [self._binary(name, a, b) for a, b in zip(*flat, strict=True)]
        else:
            found = [self._node(name, *group) for group in zip(*flat, strict=True)]
        return np.array(found, np.int64).reshape(shape)

    def _matmul(self, xs: list[np.ndarray], shape: tuple) -> np.ndarray:
        a, b = xs[0], xs[1]
        a = a[None, :] if a.ndim == 1 else a
        b = b[:, None] if b.ndim == 1 else b
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        (m, k), n = a.shape[-2:], b.shape[-1]
        count = int(np.prod(batch, dtype=np.int64))
        if count * m * k * n > MOST:
            raise TooLarge
        a = np.broadcast_to(a, batch + a.shape[-2:]).reshape(count, m, k)
        b = np.broadcast_to(b, batch + b.shape[-2:]).reshape(count, k, n)
        zero = self._node("const", 0.0)
        out = np.full((count, m, n), zero, np.int64)
        for q, i, j in np.ndindex(count, m, n):
            terms = [self._binary("multiply", int(a[q, i, p]), int(b[q, p, j])) for p in range(k)]
            out[q, i, j] = self._chain("add", terms) if terms else zero
        out = out.reshape(shape)
        return self._elementwise(("binary", "add"), [out, xs[2]], shape) if len(xs) == 3 else out

    def _reduce(self, pair: str, x: np.ndarray, axis: tuple | None, shape: tuple) -> np.ndarray:
        axes = tuple(range(x.ndim)) if axis is None else axis
        kept = [i for i in range(x.ndim) if i not in axes]
        rows = np.transpose(x, [*kept, *axes]).reshape(int(np.prod(shape, dtype=np.int64)), -1) if x.size else None
        if rows is None:
            if pair != "add":
                raise NotLowered("an extreme of nothing")
            return np.full(shape, self._node("const", 0.0), np.int64)
        return np.array([self._chain(pair, row.tolist()) for row in rows], np.int64).reshape(shape)

    def _scatter(self, step: Instruction, x: np.ndarray) -> np.ndarray:
        shape = step.params["shape"]
        if int(np.prod(shape, dtype=np.int64)) > MOST:
            raise TooLarge
        out = np.full(shape, self._node("const", 0.0), np.int64)
        places = np.arange(out.size).reshape(shape)[self._index(step)]
        flat = out.ravel()
        for place, node in zip(np.ravel(places), np.broadcast_to(x, np.shape(places)).ravel(), strict=True):
            flat[place] = self._binary("add", int(flat[place]), int(node))
        return flat.reshape(shape)

    # --- segments and registers ---

    def _settle_levels(self) -> None:
        """The segment of every node: as early as it can be, or later if only that needs it."""
        plain = self.roles.plain
        for node in self.nodes:
            if node[0] == "const":
                self.level.append(ONCE)
            elif node[0] == "load":
                self.level.append(FORWARD if plain else LEVELS.get(node[1], ONCE))
            else:
                self.level.append(max((self.level[i] for i in node[1:]), default=ONCE))
        needed = [PARAMETERS + 1] * len(self.nodes)
        for role, nodes in self.outputs:
            at = FORWARD if plain else OUTPUTS.get(role, PARAMETERS)
            for node in nodes:
                needed[node] = min(needed[node], at)
        for number in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[number]
            if node[0] in ("const", "load"):
                continue
            if needed[number] > PARAMETERS:
                self.level[number] = PARAMETERS + 1  # nothing needs it
                continue
            if self.level[number] > ONCE:
                self.level[number] = max(self.level[number], needed[number])
            for i in node[1:]:
                needed[i] = min(needed[i], self.level[number])
        self.needed = needed

    def _registers(self) -> None:
        """Registers: constants and what is computed once come first, they start every saved block."""
        live = [i for i in range(len(self.nodes)) if self.needed[i] <= PARAMETERS]
        self._multiply_add(live)
        live = [i for i in live if i not in self.absorbed]
        self.register: dict[int, int] = {}
        for level in range(4):
            here = [i for i in live if self.level[i] == level]
            results = [int(i) for role, nodes in self.outputs for i in nodes if self._given_at(role) == level]
            last = [i for i in dict.fromkeys(results) if i in set(here) and self._is_work(i)]
            for i in [i for i in here if i not in set(last)] + last:  # results side by side: stored in one go
                self.register[i] = len(self.register)
            if level == ONCE:
                self.head = len(self.register)
        if len(self.register) >= 2**16 or sum(1 for i in live if self._is_work(i)) > MOST:
            raise TooLarge
        self.size = len(self.register)
        self.constants = [self.nodes[i][1] for i in live if self.nodes[i][0] == "const"]
        self.constant_nodes = [i for i in live if self.nodes[i][0] == "const"]

    def _given_at(self, role: Any) -> int:
        return FORWARD if self.roles.plain else OUTPUTS.get(role, PARAMETERS)

    def _is_work(self, i: int) -> bool:
        return self.nodes[i][0] not in ("const", "load")

    def _multiply_add(self, live: list[int]) -> None:
        """a b + c, a b - c and c - a b are one instruction where nothing else needs a b in the same segment."""
        uses: dict[int, int] = {}
        for i in live:
            if self._is_work(i):
                for j in self.nodes[i][1:]:
                    uses[j] = uses.get(j, 0) + 1
        for _, nodes in self.outputs:
            for j in nodes:
                uses[int(j)] = uses.get(int(j), 0) + 1
        self.absorbed: set[int] = set()
        for i in live:
            name, *operands = self.nodes[i]
            if name not in ("add", "subtract"):
                continue
            for product, other in ((1, 0), (0, 1)):
                j = operands[product]
                same = self.level[j] == self.level[i]
                if self.nodes[j][0] == "multiply" and uses[j] == 1 and same and j not in self.absorbed:
                    fused = "subtract_product" if name == "subtract" and product == 1 else f"multiply_{name}"
                    self.nodes[i] = (fused, *self.nodes[j][1:], operands[other])
                    self.absorbed.add(j)
                    break

    @property
    def work(self) -> list[int]:
        """The nodes that are instructions."""
        return [i for i in self.register if self._is_work(i)]

    def cost(self) -> float:
        """Nanoseconds of an evaluation, roughly: to choose between this form and arrays."""
        plain = {
            "add",
            "subtract",
            "multiply",
            "multiply_add",
            "multiply_subtract",
            "subtract_product",
            "negative",
            "square",
            "cube",
            "where",
        }
        return sum(1.3 if self.nodes[i][0] in plain else 8.0 for i in self.work if self.level[i] > ONCE)

    def words(self, level: int) -> np.ndarray:
        """A segment as int64 words: one instruction."""
        loads, stores = self._loads(level), self._stores(level)
        body = self._order(level)
        if not loads and not body and not stores:
            return np.zeros(0, np.int64)
        code = np.zeros((len(body), 8), np.uint16)
        last = -1
        for row, i in zip(code, body, strict=True):
            name, *operands = _with_last(last, *self.nodes[i])
            row[0], row[1], last = _operation(name), self.register[i], i
            row[2 : 2 + len(operands)] = [self.register[j] for j in operands]
        file = [BASES["once"] if level == ONCE else BASES["saved"], 0]
        head = [*file, len(loads), len(body), len(stores)]
        flat = [x for load in loads for x in load]
        tail = [x for store in stores for x in store]
        words = [*head, *flat, *code.view(np.int64).ravel().tolist(), *tail]
        return np.array([CODES["scalars"], len(words) + 2, *words], np.int64)

    def _order(self, level: int) -> list[int]:
        """The instructions of a segment, each at once after an operand of it where that can be: see _with_last."""
        depth: dict[int, int] = {}
        used: set[int] = set()
        operands: dict[int, list[int]] = {}
        for i in sorted(i for i in self.register if self._is_work(i) and self.level[i] == level):
            operands[i] = sorted((j for j in self.nodes[i][1:] if j in depth), key=depth.__getitem__)
            depth[i] = 1 + max((depth[j] for j in operands[i]), default=0)
            used.update(operands[i])
        order: dict[int, None] = {}
        waiting = [(i, False) for i in reversed(depth) if i not in used]
        while waiting:  # operands first, the one that took longest last
            i, ready = waiting.pop()
            if ready:
                order[i] = None
            elif i not in order:
                waiting += [(i, True), *((j, False) for j in reversed(operands[i]))]
        return list(order)

    def _loads(self, level: int) -> list[list[int]]:
        """[base, offset, register, count] of the constants or inputs that a segment brings in."""
        found: list[list[int]] = []
        for i in self.register:
            if self._is_work(i) or self.level[i] != level:
                continue
            if self.nodes[i][0] == "const":
                base, offset = FREE, self.constant_nodes.index(i)
            else:
                role, offset = self.nodes[i][1:]
                base = BASES[role] if isinstance(role, str) else FREE + 1 + role
            _append_run(found, base, offset, self.register[i])
        return found

    def _stores(self, level: int) -> list[list[int]]:
        """[base, offset, register, count, accumulate] of the results that a segment gives."""
        found: list[list[int]] = []
        start = 0
        for role, nodes in self.outputs:
            base, offset, add = PARAMETER_BASE, start, 1
            if self.roles.plain:
                base, offset, add = FREE + 1 + self.arguments + role, 0, 0
            elif isinstance(role, str):
                base, offset, add = BASES[role], 0, 0
            else:
                start += len(nodes)
            if self._given_at(role) != level:
                continue
            for k, node in enumerate(nodes):
                if not (add and self._value(int(node)) == 0.0):
                    _append_run(found, base, offset + k, self.register[int(node)], add)
        return found

    def listing(self, level: int) -> list[str]:
        """A line an instruction."""

        def name(i: int) -> str:
            node = self.nodes[i]
            if node[0] == "const":
                return f"{node[1]:g}"
            if node[0] == "load":
                role = node[1] if isinstance(node[1], str) else f"arg{node[1]}"
                return f"{role}[{node[2]}]"
            return f"r{self.register[i]}"

        lines = []
        for i in self._order(level):
            operation, *operands = self.nodes[i]
            lines.append(f"{name(i)} = {operation}({', '.join(name(j) for j in operands)})")
        return lines


def _append_run(runs: list[list[int]], base: int, place: int, register: int, *rest: int) -> None:
    """One more real to move; it joins the last run where memory and registers both go on from there."""
    if runs:
        last = runs[-1]
        if (last[0], last[1] + last[3], last[2] + last[3]) == (base, place, register):
            last[3] += 1
            return
    runs.append([base, place, register, 1, *rest])


def _with_last(last: int, name: str, *operands: int) -> tuple:
    """The instruction in the form that takes node `last` from the instruction before it, not from a register."""
    if name in COMMUTATIVE and operands[1] == last:
        operands = (operands[1], operands[0], *operands[2:])
    if operands[0] == last and f"last_{name}" in SCALAR:
        return f"last_{name}", *operands
    if operands[-1] == last and f"{name}_last" in SCALAR:
        return f"{name}_last", *operands
    return name, *operands


def _operation(name: str) -> int:
    if name in UNARY:
        return UNARY[name]
    return SCALAR[name] if name in SCALAR else SCALAR["binary"] + BINARY[name]
