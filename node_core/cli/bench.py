"""``node-core bench``: the compiled against the Python steppers, or this package against others, as a table."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from ..bench import race, race_spiral
from ..bench.contest import Row
from ..bench.peers import PEERS
from ..bench.suite import SUITES, run_suite
from ..bench.work_precision import TOLERANCES, WorkPoint, draw, summary, work_precision
from ..config import config
from ..solvers import METHODS
from ..storage import write_aside
from .values import method_names, positive_int, positive_ints

NAME = "bench"
HELP = "race the compiled against the Python steppers, or against other packages"
DESCRIPTION = """Race the compiled against the pure-Python steppers over methods and sizes; with --suite, race this
package against others.

Without --suite: both steppers call the same NumPy function and take the same steps (up to rounding), in turn;
medians, and the error of both results against the exact solution beside the times. After it the paper's spiral
toy: trajectory and gradients.

With --suite: one training step of the spiral (small), a gradient that is all matrix products (gemm), the Lorenz
system (lorenz), the convolutional block of the ODE-Net, one evaluation, its VJP and the gradients through the solve
(conv), one training step of a continuous normalizing flow (cnf), or all of these (all). All contestants solve the same
problem at the same tolerance on one thread, in turn; functions are compiled before the race (this package: NeuralODE
and nc.compile, which keep their Programs), the first call of the spiral in a fresh process is a column of its own, and
the error of each result stands beside its time. The steps are each package's own choice. work-precision asks methods
at five tolerances for Lorenz, the Pleiades, Arenstorf's orbit and the 25 problems of DETEST. Peers come with
pip install "node-core[bench]" (numbalsoda, which needs a Fortran compiler, by itself); those that are absent are
named."""
EPILOG = """examples:
  node-core bench
  node-core bench --methods dopri5,rk4 --sizes 2,100 --repeats 15
  node-core bench --suite small --against torchdiffeq,diffrax
  node-core bench --suite conv --against torch,torchdiffeq
  node-core bench --suite all --json bench.json --plot bench.png
  node-core bench --suite work-precision --repeats 3 --plot work.png"""


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
        "--repeats", type=positive_int, default=7, metavar="N", help="turns of each (default: %(default)s)"
    )
    parser.add_argument(
        "--suite", choices=sorted([*SUITES, "work-precision"]), help="race against other packages instead"
    )
    parser.add_argument(
        "--against", type=_peers, default=tuple(PEERS), metavar="A,B", help=f"with --suite; default: {','.join(PEERS)}"
    )
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="JSON instead of the table, or beside it in FILE"
    )
    parser.add_argument("--plot", metavar="FILE", help="with --suite: a picture as PNG (needs matplotlib)")


def _peers(text: str) -> tuple[str, ...]:
    for name in text.split(","):
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"no peer is called {name}; there are {', '.join(PEERS)}")
    return tuple(text.split(","))


def run(arguments: argparse.Namespace) -> int:
    """Race, and print each row as soon as it is measured."""
    if arguments.suite == "work-precision":
        found = _work_precision(arguments)
    else:
        found = _suite(arguments) if arguments.suite else _steppers(arguments)
    if arguments.json == "-":
        print(json.dumps({"config": config(), **found}, indent=2))
    elif arguments.json:
        text = json.dumps({"config": config(), **found}, indent=2) + "\n"
        write_aside(arguments.json, lambda path: _write(path, text))
    return 0


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _suite(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ours against the others."""
    quiet = arguments.json == "-"
    rows, absent = [], []
    if not quiet:
        print(f"{'workload':16} {'contestant':18} {'ms':>11} {'over ours':>10} {'error':>9} {'first call s':>13}")
    for row in run_suite(arguments.suite, arguments.against, arguments.repeats):
        if isinstance(row, Row):
            rows.append(row)
            if not quiet:
                first = "" if row.first_call is None else f"{row.first_call:.2f}"
                print(
                    f"{row.workload:16} {row.contestant:18} {row.seconds * 1e3:11.4f} {row.ratio:9.2f}x "
                    f"{row.error:9.1e} {first:>13}",
                    flush=True,
                )
        else:
            absent.append(row)
            print(row, file=sys.stderr)
    if arguments.plot:
        from ..bench.picture import draw

        draw(arguments.plot, rows)
    return {"suite": arguments.suite, "rows": [asdict(row) for row in rows], "absent": absent}


def _work_precision(arguments: argparse.Namespace) -> dict[str, Any]:
    """Errors, steps and times by tolerance; a line for each problem and method as soon as it is measured."""
    quiet = arguments.json == "-"
    points, absent = [], []
    if not quiet:
        print(f"{'problem':10} {'method':18} error and ms at {', '.join(f'{tol:g}' for tol in TOLERANCES)}; steps")
    for point in work_precision(arguments.against, arguments.repeats):
        if not isinstance(point, WorkPoint):
            absent.append(point)
            print(point, file=sys.stderr)
            continue
        points.append(point)
        if point.tolerance == TOLERANCES[-1] and not quiet:
            line = points[-len(TOLERANCES) :]
            each = "  ".join(f"{p.error:.0e} {p.seconds * 1e3:8.3f}" for p in line)
            print(
                f"{point.problem:10} {point.contestant:18} {each}   {'/'.join(str(p.steps) for p in line)}", flush=True
            )
    means = summary(points)
    if not quiet:
        print(f"\n{'over all problems':18} {'tolerance':>10} {'error / tol':>12} {'ms':>9} {'steps':>8}")
        for row in means:
            print(f"{row['contestant']:18} {row['tolerance']:10.0e} {row['error / tolerance']:12.3g} {row['ms']:9.3f} "
                  f"{row['steps']:8}")  # fmt: skip
    if arguments.plot:
        draw(arguments.plot, points)
    return {"suite": arguments.suite, "points": [asdict(p) for p in points], "summary": means, "absent": absent}


def _steppers(arguments: argparse.Namespace) -> dict[str, Any]:
    """The compiled against the Python steppers."""
    quiet = arguments.json == "-"
    results = []
    if not quiet:
        print(
            f"{'method':10} {'size':>6} {'nfev':>6} {'compiled ms':>12} {'python ms':>11} {'ratio':>7} "
            f"{'error compiled':>15} {'error python':>13}"
        )
    for r in race(arguments.methods, arguments.sizes, arguments.repeats):
        results.append(asdict(r))
        if quiet:
            print(f"raced {r.method}, size {r.size}", file=sys.stderr)  # the JSON comes at the end
        else:
            print(
                f"{r.method:10} {r.size:6} {r.nfev:6} {r.compiled * 1e3:12.3f} {r.python * 1e3:11.3f} {r.ratio:6.1f}x "
                f"{r.error_compiled:15.1e} {r.error_python:13.1e}",
                flush=True,
            )
    spiral = race_spiral(arguments.repeats)
    if not quiet:
        print(f"\n{'spiral, 252 parameters':26} {'compiled ms':>12} {'python ms':>11} {'ratio':>7} {'difference':>12}")
        for s in spiral:
            print(f"{s.what:26} {s.compiled * 1e3:12.3f} {s.python * 1e3:11.3f} {s.ratio:6.1f}x {s.difference:12.1e}")
    return {"results": results, "spiral": [asdict(s) for s in spiral]}
