"""The comparison as a picture: bars of time for every workload, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..storage import write_aside
from .contest import Row

__all__ = ["draw"]


def draw(path: str | Path, rows: Sequence[Row]) -> None:
    """Write a PNG. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.workload for row in rows))
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(rows) + 0.5 * len(names)), layout="constrained")
    heights = [sum(row.workload == name for row in rows) for name in names]
    axes = figure.subplots(len(names), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, name in zip(axes, names, strict=True):
        mine = [row for row in rows if row.workload == name][::-1]
        colours = ["tab:blue" if row is mine[-1] else "tab:gray" for row in mine]
        ax.barh([row.contestant for row in mine], [row.seconds * 1e3 for row in mine], color=colours)
        for k, row in enumerate(mine):
            ax.text(row.seconds * 1e3, k, f" {row.ratio:.1f}x, error {row.error:.0e}", va="center", fontsize=8)
        ax.set(xscale="log", title=name)
        ax.margins(x=0.25)
    axes[-1].set_xlabel("ms (one thread, medians)")

    def save(temporary: str) -> None:
        FigureCanvasAgg(figure).print_png(temporary)

    write_aside(path, save)
