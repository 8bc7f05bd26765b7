# Reverse passes over Programs: the recorded steps, or the augmented state backward.

PARTS = (None, "y", "parameters", "t")  # by enum nc_part


def discrete_backward(_Problem problem, g, bint grid_is_t, bint with_t, ptrdiff_t checkpoints=1):
    """From the cotangents g (m, n) of a recorded solve's outputs to those of what went in.

    checkpoints: of a record of times alone, the states that are kept meanwhile.
    Returns (y0_bar (n,), the parameters' one after another (p,), t_bar (m,), evaluations of func and its VJP, steps
    taken again, failure): None, or (whether max_seconds were over, the time that the pass had come to, which of PARTS
    has a cotangent that is not finite, its place there). A time of NaN: the place is that of the result.
    """
    cdef Run run = problem.run.claimed()
    cdef nc.nc_pullback p
    cdef int status
    try:
        if problem.record.bare:
            nc.nc_tape_free(&problem.tape)  # of the steps before it was
        pulled, status = _discrete_pass(&p, problem, run, g, grid_is_t, with_t, checkpoints, False)
        if status == nc.NC_OK and (<_Pulled>pulled).nonfinite(problem.kernels)[0] is not None:
            pulled, status = _discrete_pass(&p, problem, run, g, grid_is_t, with_t, checkpoints, True)
    finally:
        run.release()
    problem.check(status)
    failure = None
    if status != nc.NC_OK:
        failure = status == nc.NC_TOO_LONG, p.t, PARTS[p.part], p.component
    elif p.check:  # and yet nothing was seen on the way
        failure = False, np.nan, *(<_Pulled>pulled).nonfinite(problem.kernels)
    return pulled.y0_bar, pulled.parameters, pulled.t_bar, p.evaluations, p.retaken, failure


cdef tuple _discrete_pass(nc.nc_pullback *p, _Problem problem, Run run, g, bint grid_is_t, bint with_t,
                          ptrdiff_t checkpoints, bint check):
    """(what it found, enum nc_status); check: whether to look where something is not finite."""
    cdef _Pulled pulled = _Pulled(problem, run, g, with_t)
    cdef int status
    run.c.tape = NULL if problem.record.bare else &problem.tape
    pulled.fill(p, problem, run)
    problem.start_clock()
    problem.callback.progress = None
    p.grid_is_t, p.check = grid_is_t, check
    problem.hand_over(p, run, checkpoints)
    with nogil:
        status = problem.kernels.discrete_backward(p)
    return pulled, status


def adjoint_backward(Run run, y, t, tableau, control, bint adaptive, g, bint with_t, _Problem solved=None,
                     ptrdiff_t checkpoints=1):
    """The same by solving the augmented state backward from the outputs y (m, n) at t (m,).

    control is that of the augmented state: [y, a] (2 n,) or, where y is that of the recorded solve `solved`, a (n,).
    Returns as `discrete_backward` does but for its last, and in place of it a failure or None, the last good state,
    (how far y was from an output at worst, in tolerances; which output), and (which of PARTS, the place there) of the
    first entry of the results that is not finite: the parameters' are in no norm.
    """
    cdef nc.nc_pullback p
    cdef nc.nc_outcome outcome
    cdef nc.nc_tape tape
    cdef int status
    cdef cnp.ndarray outputs = _plain(y, 2, "y")
    cdef Py_ssize_t size = y.shape[1] if solved is not None else 2 * y.shape[1]
    cdef _Problem problem
    cdef _Pulled pulled
    cdef cnp.ndarray failed = np.zeros(size, y.dtype)
    memset(&tape, 0, sizeof(nc.nc_tape))
    memset(&outcome, 0, sizeof(nc.nc_outcome))
    outcome.component = outcome.cause_component = -1
    outcome.t = t[len(t) - 1]
    run = run.claimed()
    try:
        problem = _Problem(run, np.ascontiguousarray(y[0]), t, tableau, control, False, False, size)
        pulled = _Pulled(problem, run, g, with_t)
        ring = tableau.rows
        if problem.c.adams != NULL:  # rows, and the stages of the starting method
            ring = nc.NC_ADAMS_SLOPES + problem.adams.starter.rows
        run.start_tape(&tape, ring)
        pulled.fill(&p, problem, run)
        p.y, p.adaptive, p.outcome = cnp.PyArray_DATA(outputs), adaptive, &outcome
        p.y_failed = cnp.PyArray_DATA(failed)
        if solved is not None:
            solved.hand_over(&p, run, checkpoints)
        with nogil:
            status = problem.kernels.adjoint_backward(&p)
    finally:
        run.release()
        nc.nc_tape_free(&tape)
    problem.check(status)
    failure, bad = None, (None, -1)
    if status == nc.NC_OK:
        bad = pulled.nonfinite(problem.kernels)
    else:
        failure = _failure(status, &outcome)
    return (pulled.y0_bar, pulled.parameters, pulled.t_bar, p.evaluations, p.retaken, failure, failed,
            (p.drift, p.drift_at), bad)


cdef class _Pulled:
    """What a reverse pass fills."""
    cdef cnp.ndarray g
    cdef readonly cnp.ndarray y0_bar, parameters, t_bar
    cdef bint with_t

    def __cinit__(self, _Problem problem, Run run, g, bint with_t):
        cdef int code = cnp.PyArray_TYPE(problem.y0)
        cdef cnp.npy_intp m = problem.t.shape[0], n = problem.y0.shape[0], p = run.program.c.parameters
        self.g = _like(np.ascontiguousarray(g), problem.y0, (m, n), "g")
        self.y0_bar, self.t_bar = cnp.PyArray_EMPTY(1, &n, code, 0), cnp.PyArray_ZEROS(1, &m, cnp.NPY_FLOAT64, 0)
        self.parameters = cnp.PyArray_ZEROS(1, &p, code, 0)
        self.with_t = with_t

    cdef tuple nonfinite(self, const nc.nc_kernels *kernels):
        """(which of PARTS, the place there) of the first entry that is not finite; (None, -1)."""
        cdef cnp.ndarray y = self.y0_bar, p = self.parameters, t = self.t_bar
        cdef ptrdiff_t at = kernels.nonfinite_find(cnp.PyArray_DATA(y), y.shape[0])
        if at >= 0:
            return PARTS[1], at
        at = kernels.nonfinite_find(cnp.PyArray_DATA(p), p.shape[0])
        if at >= 0:
            return PARTS[2], at
        at = ISA.f64.nonfinite_find(cnp.PyArray_DATA(t), t.shape[0])
        return (PARTS[3], at) if at >= 0 else (None, -1)

    cdef void fill(self, nc.nc_pullback *p, _Problem problem, Run run):
        memset(p, 0, sizeof(nc.nc_pullback))
        run.c.bases[nc.NC_BASE_PARAMETERS] = cnp.PyArray_DATA(self.parameters)
        p.run, p.problem = &run.c, &problem.c
        p.g, p.y0_bar = cnp.PyArray_DATA(self.g), cnp.PyArray_DATA(self.y0_bar)
        p.t_bar = <double *>cnp.PyArray_DATA(self.t_bar) if self.with_t else NULL
