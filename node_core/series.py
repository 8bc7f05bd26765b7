"""A time series from a CSV file: read, checked, and described."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Series", "digits", "read_series"]


def digits(x: float) -> str:
    """The shortest text that reads back as x: 20240101 and 0.5, where ``:g`` would keep six digits."""
    text = repr(float(x))
    return text[:-2] if text.endswith(".0") else text


@dataclass(frozen=True, eq=False)
class Series:
    """States at strictly increasing times: t (rows,), y (rows, columns), with the names of both."""

    time: str
    columns: tuple[str, ...]
    t: np.ndarray
    y: np.ndarray

    def __str__(self) -> str:
        rows, columns = self.y.shape
        return (
            f"{rows} rows, {columns} state column{'s' if columns > 1 else ''} ({', '.join(self.columns)}), "
            f"{self.time} from {digits(self.t[0])} to {digits(self.t[-1])}"
        )

    def head(self, rows: int) -> Series:
        """The first rows."""
        return Series(self.time, self.columns, self.t[:rows], self.y[:rows])


def read_series(path: str | os.PathLike, time: str, columns: Sequence[str] | None = None) -> Series:
    """Read a CSV file with a header line, one column of times and one or more of states.

    time:    the name of the time column.
    columns: the names of the state columns; None takes all the others.
    Raises OSError if the file cannot be read, and ValueError, with the place, if it is empty, lacks a
    column, holds a cell that is not a finite number, or if its times do not increase from row to row.
    """
    path = Path(path)
    header, rows = _cells(path)
    columns = [name for name in header if name != time] if columns is None else list(columns)
    for name in [time, *columns]:
        if name not in header:
            raise ValueError(f"{path} has no column {name!r}; its columns are {', '.join(header)}")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ValueError(f"the state column {twice[0]!r} is asked for twice; name every column once")
    if not columns or time in columns:
        raise ValueError(f"{path}: no state column is left beside the time column {time!r}")
    if len(rows) < 2:
        raise ValueError(f"{path} has {len(rows)} row{'s'[: len(rows) != 1]} of data; at least 2 are needed")
    table = np.array([
        [_number(path, line, name, cells[header.index(name)]) for name in [time, *columns]]
        for line, cells in rows
    ])  # fmt: skip
    t = table[:, 0]
    if not np.all(np.diff(t) > 0):
        i = int(np.argmax(~(np.diff(t) > 0)))
        what = "repeats" if t[i + 1] == t[i] else "comes after"
        raise ValueError(
            f"{path}, line {rows[i + 1][0]}: {time} {digits(t[i + 1])} {what} {digits(t[i])}; times must increase "
            "from row to row (sort the file, and keep one row a time; of several trajectories give one alone)"
        )
    return Series(time, tuple(columns), t, table[:, 1:])


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and (line number, cells) of every row that is not blank."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            lines = [(reader.line_num, [c.strip() for c in cells]) for cells in reader if any(map(str.strip, cells))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    if not lines:
        raise ValueError(f"{path} is empty; wanted a header line and rows of numbers")
    header = lines[0][1]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: the column name {repeated[0]!r} stands twice in the header")
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise ValueError(f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}")
    return header, lines[1:]


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{path}, line {line}, column {column!r}: {cell!r} is not a finite number")
    return value
