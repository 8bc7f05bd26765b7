"""How far solves and their discrete gradients are from what can be had at most.

``python -m node_core.bench.limit`` compiles csrc/limit_spiral.c (so it needs the source tree and a C compiler), a
program written by hand for the spiral's training step less tape and optimiser, and runs it in turn with the package.
What tape, loss and optimiser take is the rest of the package's own training step, with nc.compile and without.
The wide net is compared with its matrix products alone, 720 of them, by the package's kernel on warm operands.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import optim
from .._kernels.rk import matmul, matmul_pack
from ..autodiff import tree
from ..checks import takes_no_arguments
from ..program import Field
from ..solvers import Control, discrete_backward, integrate, tableau
from .contest import one_thread
from .ours import gemm, spiral_field, spiral_step
from .workloads import Gemm, Spiral

__all__ = ["main"]

SOURCE = Path(__file__).parents[2] / "csrc" / "limit_spiral.c"
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
BLOCKS, LANES, HIDDEN, MOST = 7, 8, 50, 64
PLACES = {"W1": (0, 2), "b1": (2, 1), "W2": (3, 2)}  # (first row, rows) of 56 numbers in struct net


def main() -> None:
    """Print all comparisons."""
    one_thread()
    _spiral(Spiral())
    for dtype in (np.float32, np.float64):
        _gemm(Gemm(dtype))


def _spiral(w: Spiral, turns: int = 30, calls: int = 300) -> float:
    """Print times and ratio, and what a whole step takes beyond; how far the gradients differ is returned as well."""
    ours, record = _ours(w)
    theirs, steps = _limit(w, record), [_step(w, eager) for eager in (False, True)]
    difference = np.max(np.abs(ours() - theirs())) / np.max(np.abs(theirs()))
    taken: list[tuple] = []
    for _ in range(turns):
        taken.append(tuple(_seconds(run, calls) for run in (ours, theirs, *steps)))
    a, b, _, _ = (median(times) for times in zip(*taken, strict=True))
    ratio = median(x / y for x, y, _, _ in taken)
    compiled, eager = (median(times[k] - times[0] for times in taken) for k in (2, 3))
    print(f"spiral, {len(record['h'])} steps: solve and discrete gradient {a * 1e6:.1f} us, by hand {b * 1e6:.1f} us,")
    print(f"{ratio:.2f} x the limit; the gradients differ by {difference:.0e}")
    print(f"around the solve: {compiled * 1e3:.3f} ms compiled, {eager * 1e3:.3f} ms without")
    return float(difference)


def _gemm(w: Gemm, turns: int = 7) -> None:
    """The whole gradient against its matrix products: four evaluations and four of the VJP a step."""
    ours, products = gemm(w).run, _products(w)
    ours()
    a, b = [], []
    for _ in range(turns):
        a.append(_seconds(ours, 1))
        b.append(4 * w.steps * _seconds(products, 1))
    print(f"gemm {np.dtype(w.dtype)}: {median(a) * 1e3:.0f} ms, its products alone {median(b) * 1e3:.0f} ms, ", end="")
    print(f"{median(x / y for x, y in zip(a, b, strict=True)):.2f} x")


def _products(w: Gemm) -> Any:
    """The products of one evaluation and one VJP, as a function."""
    rng, rows = np.random.default_rng(0), len(w.y0)
    calls = []
    for W in w.weights[::2]:
        n, m = W.shape
        x, g = (rng.standard_normal((rows, k)).astype(w.dtype) for k in (n, m))
        out, back, grad = np.empty_like(g), np.empty_like(x), np.zeros_like(W)
        calls += [
            (x, W, {"out": out, "packed": matmul_pack(W)}),
            (g, W.T, {"out": back, "packed": matmul_pack(W.T)}),
            (x.T, g, {"out": grad, "packed": matmul_pack(g), "accumulate": True}),
        ]

    def run() -> None:
        for a, b, keywords in calls:
            matmul(a, b, **keywords)

    return run


def _seconds(run: Any, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _ours(w: Spiral) -> tuple[Any, dict]:
    """The gradient (252,) by the package, as a function, and the record of its steps."""
    field = Field(lambda t, y, p: spiral_field(p, t, y), w.y0, (w.weights,), lambda x: True)
    control, method, y0 = Control(rtol=w.rtol, atol=w.atol), tableau("dopri5"), w.y0.ravel()
    run = field.compiled(0.0, y0, gradient=True)
    scale = 1.0 / w.target.size

    def gradient() -> np.ndarray:
        solution = integrate(run, y0, w.t, method, control, record=True)
        g = scale * np.sign(solution.y.reshape(w.target.shape) - w.target)
        return discrete_backward(solution.record, g.reshape(len(w.t), -1), False, False)[1]

    kept = integrate(field, y0, w.t, method, control, record=True).record
    _check(w, gradient())
    return gradient, {"h": kept.h, "t": kept.t, "at": kept.output_step, "method": method}


def _step(w: Spiral, eager: bool) -> Any:
    """A whole training step as a function: loss, gradient and update, each time from the first weights."""
    gradient, opt = spiral_step(w, False, eager), optim.RMSprop(w.rate)
    state = opt.init(w.weights)

    def step() -> Any:
        _, grads = gradient(w.weights)
        return opt.update(w.weights, grads, state)

    step()  # makes the Programs
    return step


def _check(w: Spiral, found: np.ndarray) -> None:
    """The same gradient as NeuralODE's, or this compares nothing."""
    wanted = tree.ravel(spiral_step(w, False, eager=True)(w.weights)[1])[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-14)


def _limit(w: Spiral, record: dict) -> Any:
    """The gradient (252,) by the program written by hand, as a function."""
    library = _compiled()
    net, g = _Net(), _Net()
    W1, b1, W2, b2 = w.weights
    net.rows("W1", W1), net.rows("b1", b1[None]), net.rows("W2", W2.T)
    net.array("b2")[:] = b2
    at, h = np.ascontiguousarray(record["at"][1:], np.int32), np.ascontiguousarray(record["h"])
    theta = (w.t[1:] - record["t"][at]) / h[at]
    a, p = np.ascontiguousarray(record["method"].dense_a), np.ascontiguousarray(record["method"].p)
    arrays = [np.ascontiguousarray(w.y0), h, at, theta, np.ascontiguousarray(w.target), a, p]
    work = _aligned(library.limit_work_size())
    y0, h_, at_, theta_, target, a_, p_, work_ = (_pointer(x) for x in (*arrays, work))
    count, outputs, degree = len(h), len(at), p.shape[1]

    def gradient() -> np.ndarray:
        loss = library.limit_gradient(
            net.pointer, y0, h_, count, at_, theta_, outputs, target, a_, p_, degree, g.pointer, work_
        )
        if loss != loss:
            raise ValueError(f"the spiral by hand takes 1 to {MOST} steps and up to {MOST} later outputs, "
                             f"got {count} and {outputs}")  # fmt: skip
        return g.flat()

    return gradient


def _aligned(size: int) -> np.ndarray:
    """Zeros of so many bytes at a multiple of 64."""
    buffer = np.zeros(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size]


def _pointer(x: np.ndarray) -> ctypes.c_void_p:
    """Where x begins; it lives as long as its pointer does, since NumPy's pointers hold their arrays."""
    return x.ctypes.data_as(ctypes.c_void_p)


class _Net:
    """struct net: (W1 (2, 56), b1 (56,), W2 (2, 56), b2 (2,)), 64-byte aligned."""

    def __init__(self) -> None:
        self.memory = _aligned(8 * (5 * BLOCKS * LANES + LANES)).view(np.float64)
        self.pointer = _pointer(self.memory)

    def array(self, name: str) -> np.ndarray:
        if name == "b2":
            return self.memory[5 * BLOCKS * LANES :][:2]
        row, count = PLACES[name]
        return self.memory[row * BLOCKS * LANES :][: count * BLOCKS * LANES].reshape(count, -1)

    def rows(self, name: str, values: np.ndarray) -> None:
        self.array(name)[:, :HIDDEN] = values

    def flat(self) -> np.ndarray:
        W1, b1, W2 = (self.array(name)[:, :HIDDEN] for name in ("W1", "b1", "W2"))
        return np.concatenate([W1.ravel(), b1.ravel(), W2.T.ravel(), self.array("b2")])


def _compiled() -> Any:
    """The shared library, made in a folder of its own."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not SOURCE.exists() or compiler is None:
        raise SystemExit("this comparison needs the source tree and a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "limit.so"
        shared = ["-shared", "-fPIC", f"-I{SOURCE.parent}", str(SOURCE), "-o", str(library), "-lm"]
        subprocess.run([compiler, *FLAGS, *shared], check=True)
        found = ctypes.CDLL(str(library))
    found.limit_gradient.restype = ctypes.c_double
    found.limit_gradient.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    found.limit_work_size.restype, found.limit_work_size.argtypes = ctypes.c_size_t, []
    return found


if __name__ == "__main__":
    takes_no_arguments(__doc__)
    main()
