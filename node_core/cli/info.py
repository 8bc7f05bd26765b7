"""``node-core info``: version, compiler, instruction set, NumPy."""

from __future__ import annotations

import argparse

from ..config import show_config

NAME = "info"
HELP = "version, compiler, instruction set, NumPy"
DESCRIPTION = "Show what this installation is made of."
EPILOG = "example:\n  node-core info"


def add(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration."""
    show_config()
    return 0
