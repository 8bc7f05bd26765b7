# cython: language_level=3, boundscheck=False, wraparound=False
"""Runge-Kutta in C: `solve` runs a whole loop; each function after it is one kernel, for the parity tests.

The parts in reading order: isa.pxi (which kernels), convert.pxi (arrays and settings to C), problem.pxi (the
callbacks and what a solve owns), matmul.pxi (matrix products).
"""

import os
import weakref

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy, memset

from node_core._kernels cimport nc

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    void PyArray_CLEARFLAGS(cnp.ndarray array, int flags)

MOMENTS = {"attempt": nc.NC_BEFORE_ATTEMPT, "rejection": nc.NC_AT_REJECTION, "acceptance": nc.NC_AT_ACCEPTANCE}
WINDOW = nc.NC_WINDOW
SLOPES = {"stages": nc.NC_STAGES, "end": nc.NC_STAGES_AND_LAST, "all": nc.NC_STAGES_LAST_AND_EXTRA}

include "isa.pxi"
include "convert.pxi"
include "elementwise.pxi"
include "matmul.pxi"
include "program.pxi"
include "problem.pxi"
include "gradient.pxi"
include "optimise.pxi"


def solve(fun, y0, t, tableau, control, bint adaptive, bint record, bint dense=False):
    """Run the adaptive or the fixed loop; see node_core.solvers.integrate.

    fun is a function or a Run; dense: the record has all that the dense output of its steps needs.
    Returns (y (m, n), y_last (n,), counts, failure or None, record or None, h_next, the time it was stopped at by
    control.watch or None), the middle three as keyword arguments of Stats, Failure and Record; the record of a Run is
    what `discrete_backward` takes. Of a solve that was stopped or failed y has the outputs until then. What fun or control.norm raises comes through unchanged.
    """
    cdef _Problem problem = _Problem(fun, y0, t, tableau, control, record, dense)
    cdef int status
    if adaptive and problem.c.tableau.e == NULL:
        raise ValueError(f"tableau {tableau.name} has no error estimate; it takes fixed steps only")
    with nogil:
        if adaptive:
            status = problem.kernels.adaptive_loop(&problem.c, &problem.outcome)
        else:
            status = problem.kernels.fixed_loop(&problem.c, &problem.outcome)
    cdef nc.nc_outcome *outcome = &problem.outcome
    if status == nc.NC_CALLBACK and control.watch is not None:
        keep_partial(problem.callback.error, problem.out[:outcome.written], outcome.t)
    problem.check(status)
    counts = {"nfev": outcome.nfev, "naccepted": outcome.naccepted, "nrejected": outcome.nrejected}
    if status != nc.NC_OK:
        stopped = status == nc.NC_STOPPED
        return (problem.out[:outcome.written], problem.y_last, counts, None if stopped else _failure(status, outcome),
                None, 0.0, outcome.t if stopped else None)
    if problem.run is not None:
        problem.run.end_tape()
    steps = None
    if record:
        steps = problem.steps() if problem.run is None else problem
    return problem.out, problem.y_last, counts, None, steps, outcome.h_next, None


def watched_solve(fun, y0, t, tableau, control, bint adaptive, watch, moments, str slopes, keep):
    """`solve` with a watcher and, as it may end before its time, with what there is until then.

    watch:  ``watch(moment, t, h, y)`` before an attempt and at a rejection, ``watch(moment, t, h, y, t_new, y_new, K
            (dense_stages, n), evaluated)`` at an acceptance; a true answer ends the solve there. moment is one of
            MOMENTS, evaluated one of SLOPES. moments: those asked for, added up.
    slopes: what every accepted step has at least, a key of SLOPES.
    keep:   None, "states" or "slopes": what to record of the steps.
    Returns (y (m, n), how many of them are written, t, y (n,) where it ended, counts, whether watch ended it, failure
    or None, record or None).
    """
    cdef _Problem problem = _Problem(fun, y0, t, tableau, control, False)
    cdef int status
    if adaptive and problem.c.tableau.e == NULL:
        raise ValueError(f"tableau {tableau.name} has no error estimate; it takes fixed steps only")
    if keep is not None:
        problem.keep(keep == "slopes")
    problem.look(watch, moments, SLOPES[slopes])
    with nogil:
        if adaptive:
            status = problem.kernels.adaptive_loop(&problem.c, &problem.outcome)
        else:
            status = problem.kernels.fixed_loop(&problem.c, &problem.outcome)
    problem.check(status)
    cdef nc.nc_outcome *outcome = &problem.outcome
    counts = {"nfev": outcome.nfev, "naccepted": outcome.naccepted, "nrejected": outcome.nrejected}
    failure = None if status in (nc.NC_OK, nc.NC_STOPPED) else _failure(status, outcome)
    return (problem.out, outcome.written, outcome.t, problem.y_last, counts, status == nc.NC_STOPPED, failure,
            problem.steps() if keep is not None else None)


def keep_partial(error, y, double t):
    """Hang what there is of a solve, y (written, n) until t, on the exception that ended it."""
    try:
        error.partial = (y, t)
    except AttributeError:  # of a class with slots
        pass


cdef dict _failure(int status, const nc.nc_outcome *outcome):
    reasons = {nc.NC_NONFINITE: "non-finite", nc.NC_UNDERFLOW: "step underflow", nc.NC_MIN_STEP: "min_step",
               nc.NC_TOO_MANY_STEPS: "too many steps", nc.NC_TOO_LONG: "max_seconds"}
    causes = {nc.NC_CAUSE_FUNC: "func", nc.NC_CAUSE_STATE: "state", nc.NC_CAUSE_NORM: "norm"}
    return {
        "reason": reasons[status], "t": outcome.t, "h": outcome.h, "component": outcome.component,
        "naccepted": outcome.naccepted, "nrejected": outcome.nrejected, "cause": causes.get(outcome.cause),
        "cause_t": outcome.cause_t, "cause_component": outcome.cause_component,
    }


# ---- one kernel each; the twins in node_core.solvers have the same names

def weighted_sum(K, weights, double h, base=None):
    """base + h sum_i weights[i] K[i], (n,)."""
    cdef cnp.ndarray slopes = _plain(K, 2, "K"), out = np.empty(K.shape[1], K.dtype)
    cdef cnp.ndarray factors = _doubles(weights, (K.shape[0],), "weights")
    cdef const void *start = NULL
    if K.shape[0] > nc.NC_MAX_ROWS:
        raise ValueError(f"at most {nc.NC_MAX_ROWS} rows, got {K.shape[0]}")
    if base is not None:
        start = cnp.PyArray_DATA(_like(base, slopes, (K.shape[1],), "base"))
    _kernels(slopes).stages_combine(
        cnp.PyArray_DATA(out), start, cnp.PyArray_DATA(slopes), <const double *>cnp.PyArray_DATA(factors), h,
        K.shape[0], K.shape[1] * _width(slopes))
    return out


def scale_error(error, y, y_new, control):
    """error / (atol + rtol max(|y|, |y_new|)) of the components in the norm."""
    cdef cnp.ndarray state = _plain(y, 1, "y")
    cdef cnp.ndarray e = _like(error, state, y.shape, "error"), new = _like(y_new, state, y.shape, "y_new")
    cdef _Control c = _Control(control, len(y), 0)
    n = len(y) if control.n_norm is None else control.n_norm
    cdef cnp.ndarray out = np.empty(n, y.dtype)
    _kernels(state).error_scale(
        cnp.PyArray_DATA(out), cnp.PyArray_DATA(e), cnp.PyArray_DATA(state), cnp.PyArray_DATA(new),
        &c.c.tolerance, n, _width(state))
    return out


def rms(scaled):
    """Root mean square of the moduli of scaled (n,)."""
    cdef cnp.ndarray x = _plain(scaled, 1, "scaled")
    return _kernels(x).rms(cnp.PyArray_DATA(x), len(x), _width(x))


def nonfinite_find(x):
    """Component of the first NaN or infinity in x (n,), or -1."""
    cdef cnp.ndarray array = _plain(x, 1, "x")
    found = _kernels(array).nonfinite_find(cnp.PyArray_DATA(array), len(x) * _width(array))
    return found if found < 0 else found // _width(array)


def is_monotone(t) -> bool:
    """Whether t is a plain float64 array (m,), m >= 2, of a finite span and strictly increasing or decreasing."""
    if type(t) is not np.ndarray:
        return False
    cdef cnp.ndarray array = t
    if cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT64 or cnp.PyArray_NDIM(array) != 1 or array.shape[0] < 2:
        return False
    if not cnp.PyArray_ISCARRAY_RO(array):
        return False
    cdef const double *times = <const double *>cnp.PyArray_DATA(array)
    cdef Py_ssize_t i, m = array.shape[0]
    cdef double span = times[m - 1] - times[0], sign = 1.0 if span > 0 else -1.0
    for i in range(1, m):
        if not sign * (times[i] - times[i - 1]) > 0:
            return False
    return span - span == 0  # neither NaN nor infinite


def same_bits(x, y) -> bool:
    """Whether x and y are arrays of one shape and dtype that hold the same bits."""
    if type(x) is not np.ndarray or type(y) is not np.ndarray:
        return False
    cdef cnp.ndarray a = x, b = y
    if x.shape != y.shape or x.dtype != y.dtype or x.dtype.hasobject:
        return False
    if not (cnp.PyArray_ISCARRAY_RO(a) and cnp.PyArray_ISCARRAY_RO(b)):
        return a.tobytes() == b.tobytes()
    return memcmp(cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), cnp.PyArray_NBYTES(a)) == 0


def follow(root, list steps) -> list:
    """[root, ...]: for every (place, getter) of steps one more value, ``getter(value at that place)``."""
    cdef list values = [root]
    cdef tuple step
    for step in steps:
        values.append(step[1](values[<Py_ssize_t>step[0]]))
    return values


def all_same(list values, dict before) -> bool:
    """Whether the values at the places of `before` are what it holds: numbers equal or both NaN, arrays to the bit."""
    for place, x in before.items():
        y = values[<Py_ssize_t>place]
        if y is x:
            continue
        if type(x) is np.ndarray:
            if not isinstance(y, np.ndarray) or not same_bits(np.asarray(y), x):
                return False
        elif type(y) is not type(x) or not (y == x or (y != y and x != x)):
            return False
    return True


def worst_find(scaled):
    """Component of largest modulus in scaled (n,), or -1 for n = 0."""
    cdef cnp.ndarray x = _plain(scaled, 1, "scaled")
    return _kernels(x).worst_find(cnp.PyArray_DATA(x), len(x), _width(x))


def dense_output(y, K, double h, tableau, double theta):
    """y(t + theta h) (n,) from y (n,) and K (dense_stages, n)."""
    cdef cnp.ndarray state = _plain(y, 1, "y"), out = np.empty_like(y)
    cdef cnp.ndarray slopes = _like(K, state, (tableau.dense_stages, len(y)), "K")
    cdef _Tableau c = _Tableau(tableau)
    _kernels(state).dense_evaluate(
        cnp.PyArray_DATA(out), cnp.PyArray_DATA(state), cnp.PyArray_DATA(slopes), &c.c, theta, h,
        len(y) * _width(state))
    return out


def rk_step(fun, double t, y, f, double h, tableau, K, control):
    """y_new (n,) of one step; fills K (dense_stages, n), the slope at the end included for every method."""
    cdef _Problem problem = _Problem(fun, y, np.array([t, t + h]), tableau, control, False)
    cdef cnp.ndarray slopes = _like(K, problem.y0, (tableau.dense_stages, len(y)), "K")
    cdef int status
    K[0] = f
    status = problem.kernels.rk_step(
        problem.c.out, cnp.PyArray_DATA(slopes), &problem.c, t, problem.c.y0, h, 1, &problem.outcome)
    problem.check(status)
    if status != nc.NC_OK:
        raise FloatingPointError("a stage is not finite")
    return problem.out[0].copy()


def first_step(fun, t, y, f, control, tableau):
    """Hairer's first step (positive) for the times t (m,), from y (n,) with slope f (n,)."""
    cdef _Problem problem = _Problem(fun, y, t, tableau, control, False)
    cdef cnp.ndarray slope = _like(f, problem.y0, y.shape, "f")
    cdef double h = 0.0
    problem.check(problem.kernels.first_step(
        &h, &problem.c, problem.c.y0, cnp.PyArray_DATA(slope), &problem.outcome))
    return h


def accept_factor(double norm, tuple previous, control, int error_order):
    """h_new / h after an accepted step."""
    cdef _Control c = _Control(control, 0, error_order)
    return ISA.f64.accept_factor(norm, previous[0], previous[1], &c.c)


def reject_factor(double norm, control, int error_order):
    """h_new / h after a rejected step."""
    cdef _Control c = _Control(control, 0, error_order)
    return ISA.f64.reject_factor(norm, &c.c)
