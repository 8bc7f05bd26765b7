"""A Graph for people: as text, in Graphviz's language, and as an SVG picture drawn without Graphviz."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .trace import Graph, Instruction

__all__ = ["instruction_line", "listing", "to_dot", "to_svg"]


def _type(graph: Graph, number: int) -> str:
    value = graph.values[number]
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


def _operand(graph: Graph, number: int) -> str:
    """A value's name; a scalar constant's value, or a constant array's type."""
    if number not in graph.constants:
        return graph.values[number].name
    x = graph.constants[number]
    return repr(x.item() if isinstance(x, np.generic) else x) if np.ndim(x) == 0 else _type(graph, number)


def _call(graph: Graph, step: Instruction) -> str:
    inner = [_operand(graph, i) for i in step.operands]
    inner += [f"{key}={_short(value)}" for key, value in step.params.items()]
    return f"{step.primitive.name}({', '.join(inner)})"


def _short(value: Any) -> str:
    text = str(value).replace("slice(None, None, None)", ":")
    return text if len(text) <= 40 else text[:37] + "..."


def instruction_line(graph: Graph, step: Instruction) -> str:
    """``result = primitive(operands)    type``."""
    return f"{graph.values[step.out].name} = {_call(graph, step)}    {_type(graph, step.out)}"


def listing(graph: Graph) -> str:
    """One line an instruction: result, primitive, operands and type."""
    inputs = [f"{graph.values[i].name}: {_type(graph, i)}" for i in graph.inputs]
    lines = [f"graph {graph.name}({', '.join(inputs)})"]
    lines += [f"  {graph.values[i].name}: {_type(graph, i)}    closed over" for i in graph.captured]
    lines += [f"  {instruction_line(graph, step)}" for step in graph.instructions]
    lines.append(f"  return {', '.join(_operand(graph, i) for i in graph.outputs)}")
    return "\n".join(lines)


def to_dot(graph: Graph) -> str:
    """The graph in Graphviz's language: inputs as boxes, instructions as ellipses, outputs bold."""
    lines = [f"digraph {_quoted(graph.name)} {{", "  rankdir=TB; node [fontname=monospace];"]
    for i in [*graph.inputs, *graph.captured]:
        lines.append(f"  n{i} [shape=box label={_quoted(graph.values[i].name, _type(graph, i))}];")
    for step in graph.instructions:
        bold = " penwidth=2" if step.out in graph.outputs else ""
        tip = f"{Path(step.line.rpartition(':')[0]).name}:{step.line.rpartition(':')[2]}"
        label = _quoted(step.primitive.name, _type(graph, step.out))
        lines.append(f"  n{step.out} [shape=ellipse label={label} tooltip={_quoted(tip)}{bold}];")
        lines += [f"  n{i} -> n{step.out};" for i in step.operands if i not in graph.constants]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*rows: str) -> str:
    """Rows of text as one string of Graphviz's language."""
    return '"' + "\\n".join(row.replace("\\", "\\\\").replace('"', '\\"') for row in rows) + '"'


def _layers(graph: Graph) -> list[list[int]]:
    """Values in rows: inputs first, every result below all its operands."""
    depth = dict.fromkeys([*graph.inputs, *graph.captured], 0)
    for step in graph.instructions:
        depth[step.out] = 1 + max((depth[i] for i in step.operands if i in depth), default=0)
    rows: list[list[int]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for number, row in depth.items():
        rows[row].append(number)
    return rows


def to_svg(graph: Graph) -> str:
    """The graph as an SVG picture: a row for every depth, an arrow for every operand."""
    from html import escape  # for pictures only

    width, height, gap = 150, 40, 34
    labels = {i: graph.values[i].name for i in [*graph.inputs, *graph.captured]}
    labels.update({step.out: step.primitive.name for step in graph.instructions})
    place = {
        number: (column * (width + 20) + 10, row * (height + gap) + 10)
        for row, numbers in enumerate(_layers(graph))
        for column, number in enumerate(numbers)
    }
    parts = []
    for step in graph.instructions:
        x1, y1 = place[step.out]
        for i in step.operands:
            if i in place:
                x0, y0 = place[i]
                parts.append(
                    f'<line x1="{x0 + width / 2}" y1="{y0 + height}" x2="{x1 + width / 2}" y2="{y1}" '
                    'stroke="#777" marker-end="url(#tip)"/>'
                )
    for number, (x, y) in place.items():
        fill = "#e8f0fe" if graph.values[number].kind != "result" else "#fff"
        stroke = 2.5 if number in graph.outputs else 1
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="#333" '
            f'stroke-width="{stroke}"/><text x="{x + width / 2}" y="{y + 17}" text-anchor="middle">'
            f'{escape(labels[number])}</text><text x="{x + width / 2}" y="{y + 33}" text-anchor="middle" '
            f'fill="#666">{escape(_type(graph, number))}</text>'
        )
    right = max((x for x, _ in place.values()), default=0) + width + 10
    bottom = max((y for _, y in place.values()), default=0) + height + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{bottom}" font-family="monospace" '
        'font-size="12"><defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>' + "".join(parts) + "</svg>"
    )
