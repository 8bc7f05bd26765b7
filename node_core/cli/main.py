"""Parse the command line and run one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .._version import __version__
from . import bench, check, fit, info, methods, paper, predict

__all__ = ["main"]

COMMANDS = (fit, predict, check, bench, paper, methods, info)

EPILOG = """examples:
  node-core fit examples/data/hudson_bay.csv --time year --out fit
  node-core predict fit/model.npz --until 1930
  node-core check mymodel:problem
  node-core methods
  node-core bench --json

exit codes: 0 done, 1 the job failed, 2 the command line is wrong
`node-core COMMAND --help` tells more of each."""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="node-core",
        description="Neural ordinary differential equations on a CPU: learn, predict, compare.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"node-core {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(sub)
        sub.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code and never lets a traceback through for a user's mistake."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted; nothing was overwritten", file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError) as error:  # SolverError is a RuntimeError
        print(f"node-core {arguments.command}: {error}", file=sys.stderr)
        return 1
