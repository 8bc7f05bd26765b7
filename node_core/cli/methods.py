"""``node-core methods``: the solvers, as a table."""

from __future__ import annotations

import argparse

from ..solvers import methods

NAME = "methods"
HELP = "list the solvers"
DESCRIPTION = "List the methods of odeint: order, kind, stages, dense output."
EPILOG = "example:\n  node-core methods"


def add(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    print(f"{'method':17} {'order':>5}  {'kind':10} {'stages':>6}  {'FSAL':4} {'dense':>5}  description")
    for m in methods():
        fsal = "yes" if m.fsal else "no"
        print(f"{m.name:17} {m.order:5}  {m.kind:10} {m.stages:6}  {fsal:4} {m.dense_order:5}  {m.description}")
    return 0
