"""The gradient doctor: every gradient mode on the user's own problem, with what it costs and how wrong it is."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .adjoint import GRADIENTS
from .autodiff import tree, value_and_grad
from .options import OF_SOME_GRADIENTS, RTOL, state_of
from .program import compile
from .program.compiled import Compiled
from .solve import odeint
from .solvers import SolverError

__all__ = ["Checkup", "ModeReport", "check_odeint"]

BOUNDED = "discrete, 32 checkpoints"
MODES = {  # what is compared: gradient, and options of its own
    "discrete": ("discrete", {}),
    BOUNDED: ("discrete", {"checkpoints": 32}),
    **{mode: (mode, {}) for mode in GRADIENTS if mode != "discrete"},
}
WIDTH = max(map(len, MODES))

REFERENCE = "vern9"  # at a tolerance 1,000 times tighter
REPEATS = 5
DOUBTFUL = 1e-2  # of differences: they are as rough as the solve
MUCH = 256 * 2**20  # bytes
INEXACT = 1e-2  # an error that is worth another mode
LOST = "reconstructed backward"  # in a warning of the adjoint's


@dataclass(frozen=True)
class ModeReport:
    """What one mode gave.

    error: of the gradient, over the largest entry of each input, the worst of them.
    seconds: of value and gradient, the median, func's Program being there.
    grown: bytes by which a process grew for it beyond a solve alone, None where that cannot be measured.
    nfev, nfev_backward: evaluations.
    remark: a warning, or why there is no gradient (the others are then None).
    """

    mode: str
    error: float | None = None
    seconds: float | None = None
    grown: int | None = None
    nfev: int | None = None
    nfev_backward: int | None = None
    remark: str = ""


@dataclass(frozen=True)
class Checkup:
    """What `check_odeint` found; printed, it is a table.

    differences: how far central differences along a random direction are from the reference's gradient, relatively.
    advice: in words, which mode to use.
    """

    modes: list[ModeReport]
    differences: float
    advice: str

    def __str__(self) -> str:
        lines = [f"{'mode':{WIDTH}} {'error':>9} {'ms':>9} {'memory':>9} {'nfev':>7} {'backward':>9}"]
        for m in self.modes:
            if m.error is None:
                lines.append(f"{m.mode:{WIDTH}} {m.remark}")
                continue
            memory = "" if m.grown is None else f"{m.grown / 2**20:.1f} MB"
            lines.append(
                f"{m.mode:{WIDTH}} {m.error:9.1e} {1e3 * m.seconds:9.3g} {memory:>9} {m.nfev:7} {m.nfev_backward:9}"
            )
            lines += [f"{'':{WIDTH}} {m.remark}"] if m.remark else []
        if self.differences < DOUBTFUL:
            lines.append(f"central differences agree with the reference to {self.differences:.1e}")
        else:
            lines.append(f"central differences are off the reference by {self.differences:.1e}: trust none of these; "
                         "is func smooth, is its own rule right, and is the solution not chaotic?")  # fmt: skip
        return "\n".join([*lines, self.advice])


def check_odeint(func: Callable, y0: Any, t: Any, args: tuple = (), *, show: bool = True, **options: Any) -> Checkup:
    """Run every gradient mode of `odeint` on this problem, print how they compare, and return it.

    func, y0, t, args, options: as of `odeint`, but for gradient; those of one mode are for it alone. The loss is the
    sum of all outputs with random weights (seed 0), its gradient that by y0 and the floating leaves of args. The
    reference is the discrete gradient by vern9 at a tolerance 1,000 times tighter, which is compared with central
    differences itself.
    show:    print the table.

    >>> found = check_odeint(lambda t, y, k: -k * y, np.ones(2), [0.0, 1.0], (0.7,), show=False)
    >>> [m.mode for m in found.modes], max(m.error for m in found.modes) < 1e-4
    (['discrete', 'discrete, 32 checkpoints', 'adjoint', 'interpolated', 'forward'], True)
    """
    if "gradient" in options:
        raise TypeError("check_odeint runs every gradient mode; it takes no gradient=")
    if "full_output" in options:
        raise TypeError("check_odeint gives a Checkup; it takes no full_output=")
    y0 = state_of(y0)
    if options.get("backend", "compiled") == "compiled" and not isinstance(func, Compiled):
        func = compile(func)  # its Program is made once, and not at every call that is timed
    outputs = odeint(func, y0, t, args=args, **_of_mode("discrete", options))
    rng = np.random.default_rng(0)
    weights = tree.map(lambda x: rng.standard_normal(np.shape(x)), outputs)
    for of_leaf in tree.flatten(weights)[0]:
        of_leaf[0] = 0.0  # that output is y0

    def of(gradient: str, **given: Any) -> Callable:
        def loss(y0: Any, args: tuple) -> Any:
            ys = tree.flatten(odeint(func, y0, t, args=args, gradient=gradient, **given))[0]
            return sum(np.sum(np.real(y) * w) for y, w in zip(ys, tree.flatten(weights)[0], strict=True))

        return loss

    tight = _tighter(options, tree.flatten(y0)[0])
    reference = _gradient(of("discrete", **tight))(y0, args)
    differences = _by_differences(of("discrete", **tight), y0, args, reference, rng)
    modes = []
    for name, (mode, own) in MODES.items():
        given = {**_of_mode(mode, options), **own}
        modes.append(_report(name, of(mode, **given), y0, args, reference,
                             lambda mode=mode, given=given: _counts(func, y0, t, args, mode, given)))  # fmt: skip
    found = Checkup(modes, differences, _advice(modes))
    if show:
        print(found)
    return found


def _of_mode(mode: str, options: dict) -> dict:
    """The options without those of other modes."""
    return {name: x for name, x in options.items() if mode in OF_SOME_GRADIENTS.get(name, (mode,))}


def _gradient(loss: Callable) -> Callable:
    """``gradient(y0, args)``: nested like (y0, args), None where there is nothing to differentiate by."""

    def gradient(y0: Any, args: tuple) -> tuple:
        if any(map(tree.is_floating, tree.flatten(args)[0])):
            return value_and_grad(loss, (0, 1))(y0, args)[1]
        return value_and_grad(loss)(y0, args)[1], tree.map(lambda x: None, args)

    return gradient


def _tighter(options: dict, leaves: list) -> dict:
    """The options of the reference."""
    eps = float(np.finfo(np.result_type(*leaves)).eps) if leaves else 2e-16
    rtol = max(1e-3 * float(np.min(options.get("rtol", RTOL))), 20 * eps)
    kept = {name: options[name] for name in ("jump_t", "max_step") if name in options}
    return {**kept, "method": REFERENCE, "rtol": rtol, "atol": rtol, "backend": options.get("backend", "compiled")}


def _report(
    mode: str, loss: Callable, y0: Any, args: tuple, reference: Any, counts: Callable[[], tuple[int, int]]
) -> ModeReport:
    gradient = _gradient(loss)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = gradient(y0, args)
        except (NotImplementedError, SolverError) as error:
            return ModeReport(mode, remark=str(error))
        nfev, backward = counts()
    remark = next((str(w.message) for w in told if issubclass(w.category, RuntimeWarning)), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grown = _grown(lambda: loss(y0, args), lambda: gradient(y0, args))
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            gradient(y0, args)
            seconds.append(time.perf_counter() - start)
    return ModeReport(mode, _distance(found, reference), float(np.median(seconds)), grown, nfev, backward, remark)


def _distance(found: Any, reference: Any) -> float:
    """The worst error over the leaves, each over its largest entry, or a millionth of the largest of all."""
    worst = 0.0
    floor = 1e-6 * max((float(np.max(np.abs(x))) for x in tree.flatten(reference)[0] if np.size(x) and x is not None),
                       default=0.0)  # fmt: skip
    for got, wanted in zip(tree.flatten(found)[0], tree.flatten(reference)[0], strict=True):
        if wanted is not None and np.size(wanted):
            largest = max(float(np.max(np.abs(wanted))), floor, 1e-300)
            worst = max(worst, float(np.max(np.abs(np.asarray(got) - wanted))) / largest)
    return worst


def _by_differences(loss: Callable, y0: Any, args: tuple, reference: Any, rng: np.random.Generator) -> float:
    """How far the reference is from central differences along a random direction, relatively."""
    direction = tree.map(lambda g: None if g is None else rng.standard_normal(np.shape(g)), reference)
    leaves, form = tree.flatten((y0, args))
    along, slopes = (tree._leaves_like(form, x) for x in (direction, reference))

    def moved(step: float) -> Any:
        return loss(*tree.unflatten(form, [x if d is None else x + (step * d).astype(np.result_type(x))[()]
                                           for x, d in zip(leaves, along, strict=True)]))  # fmt: skip

    wanted = sum(float(np.sum(np.real(g) * d)) for g, d in zip(slopes, along, strict=True) if d is not None)
    precision = np.finfo(np.result_type(*[x for x, d in zip(leaves, along, strict=True) if d is not None])).eps
    # of order four, for as wide a step as that allows: adaptive solves are rough by their tolerance
    step = float(precision) ** (1 / 5)
    inner, outer = (float(moved(k * step) - moved(-k * step)) for k in (1, 2))
    got = (8.0 * inner - outer) / (12.0 * step)
    return abs(got - wanted) / max(abs(wanted), 1e-300)


def _counts(func: Callable, y0: Any, t: Any, args: tuple, mode: str, options: dict) -> tuple[int, int]:
    """Evaluations forward and backward."""
    kept = []

    def loss(y0: Any, args: tuple) -> Any:
        ys, stats = odeint(func, y0, t, args=args, gradient=mode, full_output=True, **options)
        kept.append(stats)
        return sum(np.sum(np.real(y)) for y in tree.flatten(ys)[0])

    _gradient(loss)(y0, args)
    return kept[0].nfev, kept[0].nfev_backward


def _grown(before: Callable, run: Callable) -> int | None:
    """Bytes by which the largest size of a process that has run `before` grows while it runs this; in a child."""
    if not hasattr(os, "fork"):
        return None
    import resource

    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before()
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            run()
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size
            os.write(into, str(grown * (1 if os.uname().sysname == "Darwin" else 1024)).encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return int(said) if said else None


def _advice(modes: list[ModeReport]) -> str:
    """In words, which mode to use: the discrete gradient, with checkpoints if it needs much memory, if there is one."""
    known = {m.mode: m for m in modes if m.error is not None}
    discrete, adjoint = known.get("discrete"), known.get("adjoint")
    if discrete is None:
        best = next((mode for mode in ("interpolated", "adjoint", "forward") if mode in known), None)
        return f"use gradient={best!r}: there is no discrete one here" if best else "no gradient mode works here"
    if (discrete.grown or 0) > MUCH and BOUNDED in known and discrete.grown > 2 * (known[BOUNDED].grown or 0):
        return f"use gradient='discrete', with checkpoints=32 if {discrete.grown / 2**20:.0f} MB are too much"
    if adjoint is None:
        return "use gradient='discrete': there is no adjoint here"
    exact = min((m for m in known.values() if LOST not in m.remark), key=lambda m: m.error)
    if exact.error < 0.1 * discrete.error and discrete.error > INEXACT:
        return f"use gradient={MODES[exact.mode][0]!r}, more exact here, or tighter tolerances"
    if LOST in adjoint.remark:
        return "use gradient='discrete': the adjoint does not find its way back"
    ratio = adjoint.seconds / discrete.seconds
    speed = f"takes {1.0 / ratio:.2f} times as long as the adjoint" if ratio >= 1.05 else (
        f"is exact for the steps taken, though it takes {1.0 / ratio:.2f} times as long as the adjoint")  # fmt: skip
    return f"use gradient='discrete': it {speed}, and what it keeps is little"
