"""``node-core check``: the gradient doctor on a problem of the user's own."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from ..doctor import check_odeint

NAME = "check"
HELP = "compare the gradient modes on a problem of yours"
DESCRIPTION = """Run every gradient mode on a problem, with central differences beside them, and say which to use.

MODULE:PROBLEM names a function of no arguments that returns (func, y0, t) or (func, y0, t, args), as odeint takes them;
the module is imported, from the present folder too."""
EPILOG = """example:
  node-core check mymodel:problem --rtol 1e-8"""


def add(parser: argparse.ArgumentParser) -> None:
    """The problem, and what odeint is told."""
    parser.add_argument("problem", metavar="MODULE:PROBLEM", help="a function that returns (func, y0, t[, args])")
    parser.add_argument("--method", default="dopri5", help="a name from `node-core methods` (dopri5)")
    parser.add_argument("--rtol", type=float, help="relative tolerance of an adaptive method (1e-6)")
    parser.add_argument("--atol", type=float, help="absolute tolerance (1e-8)")
    parser.add_argument("--step-size", type=float, help="of a fixed-step method")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    module, colon, name = arguments.problem.partition(":")
    if not colon or not name:
        raise ValueError(f"the problem must be MODULE:PROBLEM, got {arguments.problem!r}")
    sys.path.insert(0, os.getcwd())
    try:
        problem = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{arguments.problem} cannot be had: {error}") from None
    if not callable(problem):
        raise ValueError(f"{arguments.problem} must be a function without arguments, got {type(problem).__name__}")
    given = problem()
    if not isinstance(given, tuple) or len(given) not in (3, 4):
        raise ValueError(f"{arguments.problem} must return (func, y0, t) or (func, y0, t, args), got {given!r}")
    if len(given) == 4 and not isinstance(given[3], tuple):
        raise ValueError(f"{arguments.problem}: args must be a tuple, got {type(given[3]).__name__}; write (p,)")
    options = {name: getattr(arguments, name) for name in ("rtol", "atol", "step_size")}
    check_odeint(*given, method=arguments.method, **{name: x for name, x in options.items() if x is not None})
    return 0
