"""What tolerances buy: global error, steps, evaluations and time of each package on problems with names.

``node-core bench --suite work-precision`` asks every method at five tolerances (rtol = atol) for the solution at the
end of each problem. The error is the largest of the components, relative to the largest of them or to 1; the reference
is DOP853 at 3e-14.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..program import compile
from ..solve import odeint
from ..solvers import SolverError
from .contest import one_thread
from .problems import PROBLEMS, Problem

__all__ = ["TOLERANCES", "WorkPoint", "draw", "summary", "work_precision"]

TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
OURS = ("tsit5", "dopri5", "vern7", "dopri8", "DOP853", "vern9", "implicit_adams")
BUDGET = 0.02  # seconds of one measurement
MOST = 1_000_000  # steps


@dataclass(frozen=True)
class WorkPoint:
    """One method on one problem at one tolerance; seconds of one solve, the median of some."""

    problem: str
    contestant: str
    tolerance: float
    error: float
    steps: int
    nfev: int | None
    seconds: float


Solver = Callable[[float], tuple[np.ndarray, int, "int | None"]]  # tolerance -> y at the end, steps, evaluations


def work_precision(
    against: Sequence[str], repeats: int = 7, problems: Sequence[str] | None = None
) -> Iterator[WorkPoint | str]:
    """A WorkPoint for every method, problem and tolerance, and a line for each peer that is absent; one thread."""
    one_thread()
    makers = {"node_core": _ours}
    for name in against:
        if name in PEERS:
            try:
                PEERS[name].imported()
                makers[name] = PEERS[name].solvers
            except ImportError as error:
                yield f"{name} is not installed ({error})"
    for name in problems or PROBLEMS:
        problem = PROBLEMS[name]
        reference = _reference(problem)
        for make in makers.values():
            for contestant, solve in make(problem).items():
                yield from _points(problem, contestant, solve, reference, repeats)


def _reference(problem: Problem) -> np.ndarray:
    return odeint(problem.rhs(np), problem.y0, [0.0, problem.end], method="DOP853", rtol=3e-14, atol=1e-15,
                  max_num_steps=MOST)[-1]  # fmt: skip


def _points(
    problem: Problem, contestant: str, solve: Solver, reference: np.ndarray, repeats: int
) -> Iterator[WorkPoint]:
    for tolerance in TOLERANCES:
        y, steps, nfev = solve(tolerance)
        start = time.perf_counter()
        solve(tolerance)
        count = int(np.clip(BUDGET / max(time.perf_counter() - start, 1e-7), 1, 1000))
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            for _ in range(count):
                solve(tolerance)
            taken.append((time.perf_counter() - start) / count)
        error = float(np.max(np.abs(np.asarray(y) - reference)) / max(1.0, np.max(np.abs(reference))))
        yield WorkPoint(problem.name, contestant, tolerance, error, int(steps), nfev, median(taken))


# --- contestants: {name: solver} of a problem ---


def _ours(problem: Problem) -> dict[str, Solver]:
    field, span = compile(problem.rhs(np)), np.array([0.0, problem.end])

    def of(method: str) -> Solver:
        def solve(tolerance: float) -> tuple:
            try:
                y, stats = odeint(field, problem.y0, span, method=method, rtol=tolerance, atol=tolerance,
                                  max_num_steps=MOST, full_output=True)  # fmt: skip
            except SolverError:  # told by the number of problems in the summary
                return np.full_like(problem.y0, np.nan), 0, None
            return y[-1], stats.naccepted, stats.nfev

        return solve

    return {f"node_core {method}": of(method) for method in OURS}


class Scipy:
    """RK45 and DOP853 of scipy.integrate.solve_ivp."""

    @staticmethod
    def imported() -> Any:
        import scipy.integrate

        return scipy.integrate

    @staticmethod
    def solvers(problem: Problem) -> dict[str, Solver]:
        solve_ivp, field = Scipy.imported().solve_ivp, problem.rhs(np)

        def of(method: str) -> Solver:
            def solve(tolerance: float) -> tuple:
                found = solve_ivp(field, (0.0, problem.end), problem.y0, method=method, rtol=tolerance, atol=tolerance)
                return found.y[:, -1], len(found.t) - 1, found.nfev

            return solve

        return {f"scipy {method}": of(method) for method in ("RK45", "DOP853")}


class Diffrax:
    """Tsit5 and Dopri8, jitted once for all tolerances."""

    @staticmethod
    def imported() -> Any:
        import diffrax
        import jax

        jax.config.update("jax_enable_x64", True)
        return diffrax, jax

    @staticmethod
    def solvers(problem: Problem) -> dict[str, Solver]:
        diffrax, jax = Diffrax.imported()
        field, y0 = problem.rhs(jax.numpy), jax.numpy.asarray(problem.y0)

        def of(method: Any) -> Solver:
            @jax.jit
            def jitted(tolerance: Any) -> Any:
                found = diffrax.diffeqsolve(
                    diffrax.ODETerm(lambda t, y, args: field(t, y)), method, 0.0, problem.end, None, y0,
                    max_steps=MOST, stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
                    adjoint=diffrax.ForwardMode(), throw=False,
                )  # fmt: skip
                return found.ys[-1], found.stats["num_accepted_steps"]

            def solve(tolerance: float) -> tuple:
                y, steps = jax.block_until_ready(jitted(tolerance))
                return np.asarray(y), int(steps), None

            return solve

        return {"diffrax Tsit5": of(diffrax.Tsit5()), "diffrax Dopri8": of(diffrax.Dopri8())}


PEERS = {"scipy": Scipy, "diffrax": Diffrax}


# --- what came of it ---


def summary(points: Sequence[WorkPoint]) -> list[dict[str, Any]]:
    """By contestant and tolerance, over all problems: geometric means of error / tolerance and of ms, and all steps."""
    rows = []
    for contestant, tolerance in itertools.product(dict.fromkeys(p.contestant for p in points), TOLERANCES):
        some = [p for p in points if (p.contestant, p.tolerance) == (contestant, tolerance) and np.isfinite(p.error)]
        if some:
            errors = [max(p.error, 1e-17) / tolerance for p in some]
            rows.append({
                "contestant": contestant, "tolerance": tolerance, "problems": len(some),
                "error / tolerance": _geometric(errors), "ms": _geometric([1e3 * p.seconds for p in some]),
                "steps": sum(p.steps for p in some),
            })  # fmt: skip
    return rows


def _geometric(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def draw(path: str, points: Sequence[WorkPoint]) -> None:
    """Write a PNG of time against error, a panel for each problem. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..storage import write_aside

    problems, contestants = (
        list(dict.fromkeys(getattr(p, name) for p in points)) for name in ("problem", "contestant")
    )
    columns = min(4, len(problems))
    rows = -(-len(problems) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, problem in zip(axes, problems, strict=False):
        for k, contestant in enumerate(contestants):
            mine = [p for p in points if (p.problem, p.contestant) == (problem, contestant)]
            axis.loglog([max(p.error, 1e-17) for p in mine], [1e3 * p.seconds for p in mine], "o-", color=f"C{k}",
                        markersize=3, label=contestant)  # fmt: skip
        axis.set_title(problem, fontsize="medium")
        axis.invert_xaxis()
    for axis in axes[len(problems) :]:
        axis.set_axis_off()
    figure.supxlabel("global error")
    figure.supylabel("ms")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small")

    def save(temporary: str) -> None:
        FigureCanvasAgg(figure).print_png(temporary)

    write_aside(path, save)
