"""What an option's text may mean: argparse ``type=`` functions, whose refusals are exit code 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..solvers import tableau

__all__ = ["folder", "fraction", "method_names", "natural", "positive_int", "positive_ints", "positive_number"]


def folder(text: str) -> Path:
    """A path; an empty text would be the current folder by accident."""
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got an empty name (the current one is .)")
    return Path(text)


def _value(kind: Callable, text: str, wanted: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text}") from None


def fraction(text: str) -> float:
    """A number of [0, 1)."""
    value = _value(float, text, "a number")
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1, got {text}")
    return value


def positive_number(text: str) -> float:
    """A finite number above 0."""
    value = _value(float, text, "a number")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def natural(text: str) -> int:
    """0, 1, 2, ..."""
    value = _value(int, text, "an integer")
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text}")
    return value


def positive_int(text: str) -> int:
    """1, 2, 3, ..."""
    value = _value(int, text, "an integer")
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def positive_ints(text: str) -> tuple[int, ...]:
    """Positive ints separated by commas."""
    values = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"must be positive ints separated by commas, got {text}")
    return values


def method_names(text: str) -> list[str]:
    """Names of methods separated by commas, all of which exist."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        try:
            tableau(name)
        except (ValueError, NotImplementedError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return names
