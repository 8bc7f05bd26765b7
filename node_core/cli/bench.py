"""``node-core bench``: the compiled against the Python steppers, as a table."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from ..bench import race, race_spiral
from ..config import config
from ..solvers import METHODS
from .values import method_names, positive_int, positive_ints

NAME = "bench"
HELP = "race the compiled against the Python steppers"
DESCRIPTION = """Race the compiled against the pure-Python steppers over methods and sizes.

Both call the same NumPy function and take the same steps (up to rounding), in turn; medians, and the error
of both results against the exact solution beside the times. After it the paper's spiral toy: trajectory and
gradients."""
EPILOG = """examples:
  node-core bench
  node-core bench --methods dopri5,rk4 --sizes 2,100 --repeats 15
  node-core bench --json > bench.json"""


def add(parser: argparse.ArgumentParser) -> None:
    """The options of bench."""
    parser.add_argument(
        "--methods", type=method_names, default=",".join(METHODS), metavar="A,B", help="default: %(default)s"
    )
    parser.add_argument(
        "--sizes", type=positive_ints, default=(2, 20, 200, 2000), metavar="N,M",
        help="numbers of state components (default: 2,20,200,2000)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=positive_int, default=7, metavar="N", help="solves of each (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(arguments: argparse.Namespace) -> int:
    """Race, and print each row as soon as it is measured."""
    results = race(arguments.methods, arguments.sizes, arguments.repeats)
    if arguments.json:
        found: dict[str, list] = {"results": []}
        for r in results:
            found["results"].append(asdict(r))
            print(f"raced {r.method}, size {r.size}", file=sys.stderr)  # the JSON comes at the end
        found["spiral"] = [asdict(s) for s in race_spiral(arguments.repeats)]
        print(json.dumps({"config": config(), **found}, indent=2))
        return 0
    print(
        f"{'method':10} {'size':>6} {'nfev':>6} {'compiled ms':>12} {'python ms':>11} {'ratio':>7} "
        f"{'error compiled':>15} {'error python':>13}"
    )
    for r in results:
        print(
            f"{r.method:10} {r.size:6} {r.nfev:6} {r.compiled * 1e3:12.3f} {r.python * 1e3:11.3f} {r.ratio:6.1f}x "
            f"{r.error_compiled:15.1e} {r.error_python:13.1e}",
            flush=True,
        )
    print(f"\n{'spiral, 252 parameters':26} {'compiled ms':>12} {'python ms':>11} {'ratio':>7} {'difference':>12}")
    for s in race_spiral(arguments.repeats):
        print(f"{s.what:26} {s.compiled * 1e3:12.3f} {s.python * 1e3:11.3f} {s.ratio:6.1f}x {s.difference:12.1e}")
    return 0
