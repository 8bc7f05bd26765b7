"""Checks of arguments that many parts make."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["takes_no_arguments", "whole_number"]


def whole_number(owner: str, name: str, value: Any, least: int = 1) -> int:
    """value as an int; ValueError, naming owner and argument, unless it is an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        wanted = "a positive int" if least == 1 else f"an int of at least {least}"
        raise ValueError(f"{owner}: {name} must be {wanted}, got {value!r}")
    return int(value)


def takes_no_arguments(doc: str) -> None:
    """For a module that is a command: --help prints its docstring, and any other argument is refused."""
    import argparse

    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=doc, formatter_class=form).parse_args()
