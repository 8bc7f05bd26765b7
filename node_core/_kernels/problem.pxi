# What one solve owns, and its callbacks: C calls them without the GIL, what they raise is kept and raised
# after the loop.

cdef class _Callback:
    cdef object fun, norm, error, watch, progress
    cdef double deadline  # of nc_seconds
    cdef cnp.npy_intp n, rows
    cdef size_t item_bytes
    cdef cnp.dtype dtype
    cdef int code

    def __cinit__(self, fun, norm, cnp.ndarray y):
        self.fun, self.norm, self.error, self.dtype = fun, norm, None, y.dtype
        self.code, self.n, self.item_bytes = cnp.PyArray_TYPE(y), y.shape[0], y.itemsize
        self.watch, self.rows, self.progress, self.deadline = None, 0, None, np.inf

    cdef cnp.ndarray own_copy(self, const void *x, cnp.npy_intp n):
        """A fresh read-only array of x (n,), so that func can keep it and cannot write into the solver."""
        cdef cnp.ndarray array = cnp.PyArray_SimpleNew(1, &n, self.code)
        memcpy(cnp.PyArray_DATA(array), x, n * self.item_bytes)
        PyArray_CLEARFLAGS(array, cnp.NPY_ARRAY_WRITEABLE)
        return array

    cdef int evaluate(self, double t, const void *y, void *dy) except -1:
        PyErr_CheckSignals()  # Ctrl-C ends a long loop at its next evaluation
        result = self.fun(t, self.own_copy(y, self.n))
        if not (cnp.PyArray_CheckExact(result) and cnp.PyArray_TYPE(result) == self.code
                and cnp.PyArray_NDIM(result) == 1 and cnp.PyArray_DIM(result, 0) == self.n
                and cnp.PyArray_ISCARRAY_RO(result)):
            raise TypeError(slope_mismatch(result, self.dtype, self.n))
        memcpy(dy, cnp.PyArray_DATA(result), self.n * self.item_bytes)
        return 0


cdef int _rhs(void *ctx, int64_t slot, double t, const void *y, void *dy) noexcept with gil:
    cdef _Callback callback = <_Callback>ctx
    try:
        return callback.evaluate(t, y, dy)
    except BaseException as error:
        callback.error = error
        return nc.NC_CALLBACK


cdef int _poll(void *ctx, double t) noexcept with gil:
    cdef _Callback callback = <_Callback>ctx
    try:
        PyErr_CheckSignals()
        if callback.progress is not None:
            callback.progress(t)
        return nc.NC_TOO_LONG if nc.nc_seconds() > callback.deadline else nc.NC_OK
    except BaseException as error:
        callback.error = error
        return nc.NC_CALLBACK


cdef int _norm(void *ctx, const void *scaled, ptrdiff_t n, double *out) noexcept with gil:
    cdef _Callback callback = <_Callback>ctx
    try:
        out[0] = callback.norm(callback.own_copy(scaled, n))
        return 0
    except BaseException as error:
        callback.error = error
        return 1


cdef int _watch(void *ctx, int moment, double t, double h, double t_new, const void *y, const void *y_new,
                const void *K, int evaluated) noexcept with gil:
    cdef _Callback callback = <_Callback>ctx
    cdef cnp.npy_intp n = callback.n
    try:
        PyErr_CheckSignals()
        state = callback.own_copy(y, n)
        if moment != nc.NC_AT_ACCEPTANCE:
            stop = callback.watch(moment, t, h, state)
        else:
            slopes = callback.own_copy(K, callback.rows * n).reshape(callback.rows, n)
            stop = callback.watch(moment, t, h, state, t_new, callback.own_copy(y_new, n), slopes, evaluated)
        return nc.NC_STOPPED if stop else nc.NC_OK
    except BaseException as error:
        callback.error = error
        return nc.NC_CALLBACK


@cython.no_gc_clear  # __dealloc__ wants the Run
cdef class _Problem:
    """An nc_problem, its outcome and record, and everything they point to. fun is a function or a Run."""
    cdef nc.nc_problem c
    cdef nc.nc_outcome outcome
    cdef nc.nc_record record
    cdef const nc.nc_kernels *kernels
    cdef _Callback callback
    cdef _Tableau tableau, starter
    cdef nc.nc_adams adams
    cdef _Control control
    cdef cnp.ndarray y0, t, out, y_last, output_step
    cdef Run run
    cdef nc.nc_tape tape
    cdef bint taped
    cdef readonly double seconds

    def __cinit__(self, fun, y0, t, tableau, control, bint record, bint dense=False, Py_ssize_t controlled=-1):
        """controlled: components that the control is for, if not those of y0."""
        self.y0 = _plain(y0, 1, "y0")
        if record:  # the way back may want it when the user's own has changed
            self.y0 = cnp.PyArray_NewCopy(self.y0, cnp.NPY_CORDER)
        self.kernels = _kernels(self.y0)
        if type(t) is not np.ndarray or cnp.PyArray_TYPE(t) != cnp.NPY_FLOAT64 or t.ndim != 1 or len(t) < 2:
            raise TypeError(f"t must be a float64 array (m,) with m >= 2, got {_describe(t)}")
        self.t = cnp.PyArray_GETCONTIGUOUS(t)
        if controlled < 0:
            controlled = len(y0)
        self.tableau, self.control = _tableau_of(tableau), _control_of(control, controlled, tableau)
        self.run = fun if isinstance(fun, Run) else None
        self.callback = _Callback(fun, control.norm, y0)
        cdef cnp.npy_intp[2] shape = [self.t.shape[0], self.y0.shape[0]]
        self.out = cnp.PyArray_EMPTY(2, shape, cnp.PyArray_TYPE(self.y0), 0)
        self.y_last = cnp.PyArray_NewCopy(self.y0, cnp.NPY_CORDER)
        self.c.poll = <nc.nc_poll_fn>_poll
        self.c.rhs, self.c.norm, self.c.rhs_ctx = <nc.nc_rhs_fn>_rhs, NULL, <void *>self.callback
        if self.run is not None:
            self.run.check_state(self.y0)
            self.c.rhs, self.c.rhs_ctx = self.kernels.program_rhs, &self.run.c
        if callable(control.norm):
            self.c.norm = <nc.nc_norm_fn>_norm
        self.callback.progress = control.progress
        self.seconds = control.max_seconds
        self.start_clock()
        if control.watch is not None:
            self.look(control.watch.call, control.watch.moments, SLOPES[control.watch.slopes])
        self.c.ctx = <void *>self.callback
        self.c.tableau, self.c.control = self.tableau.c, self.control.c
        if tableau.multistep:
            self.follow(tableau, control)
        if tableau.split:
            if control.split is None or not 0 <= control.split <= len(y0):
                raise ValueError(f"tableau {tableau.name}: control.split must be within 0 and {len(y0)}")
            self.c.tableau.split = control.split * _width(self.y0)
        self.c.n, self.c.width, self.c.m = len(y0), _width(self.y0), len(t)
        self.c.n_norm = len(y0) if control.n_norm is None else control.n_norm
        self.c.t = <const double *>cnp.PyArray_DATA(self.t)
        self.c.y0, self.c.out = cnp.PyArray_DATA(self.y0), cnp.PyArray_DATA(self.out)
        self.c.y_last = cnp.PyArray_DATA(self.y_last)
        self.outcome.component = self.outcome.cause_component = -1
        self.taped = False
        if record:
            if nc.nc_record_init(&self.record, cnp.PyArray_NBYTES(self.y0), self.tableau.c.all):
                raise MemoryError("the record of the steps is too large")
            self.output_step = cnp.PyArray_ZEROS(1, shape, cnp.NPY_INT64, 0)
            self.c.record = &self.record
            self.c.output_step = <int64_t *>cnp.PyArray_DATA(self.output_step)
            self.record.bare = type(control.checkpoints) is int
            self.taped = self.run is not None and not self.record.bare and not dense
            if dense:
                self.c.slopes = nc.NC_STAGES_LAST_AND_EXTRA
            if self.taped:
                self.run.take_record(&self.record)
                self.run.start_tape(&self.tape, -1)
            if control.checkpoints == "auto":
                self.bound_record()

    cdef void bound_record(self):
        """Of more steps than fit into TAPE_BYTES, with their stages' blocks, the record becomes bare."""
        cdef size_t step = self.record.state_bytes + self.record.slopes_bytes + 1
        if self.taped:
            step += (self.tableau.c.rows - 1) * self.tape.block_bytes
        self.record.most = max(1, <ptrdiff_t>(TAPE_BYTES // step))
        self.tape.most = self.record.most * (self.tableau.c.rows - 1) + 1

    cdef void hand_over(self, nc.nc_pullback *p, Run run, ptrdiff_t checkpoints):
        """The steps that were recorded, to a way back that uses that run."""
        p.record, p.solved, p.checkpoints = &self.record, &self.c, checkpoints
        p.output_step = <const int64_t *>cnp.PyArray_DATA(self.output_step)
        p.tape_most = TAPE_BYTES // nc.nc_run_block_bytes(&run.c, False)

    cdef void start_clock(self):
        """max_seconds begin now."""
        if self.seconds < np.inf:
            self.callback.deadline = nc.nc_seconds() + self.seconds

    cdef int follow(self, family, control) except -1:
        """Step as that family of Adams methods does."""
        self.adams.corrected, self.adams.most = family.corrected, family.highest_order(control)
        self.starter = _tableau_of(family.starter(self.adams.most))
        self.adams.starter = self.starter.c
        self.c.adams = &self.adams
        return 0

    def __dealloc__(self):
        if self.taped:
            self.run.give_back(&self.tape, &self.record)
        nc.nc_tape_free(&self.tape)
        nc.nc_record_free(&self.record)

    cdef int keep(self, bint slopes) except -1:
        """Record the accepted steps, without a tape; slopes: their K, too."""
        if nc.nc_record_init(&self.record, cnp.PyArray_NBYTES(self.y0), self.tableau.c.all if slopes else 0):
            raise MemoryError("the record of the steps is too large")
        self.c.record = &self.record
        return 0

    cdef int look(self, watch, int moments, int slopes) except -1:
        """Call watch at these moments."""
        self.c.slopes = slopes
        if watch is not None:
            self.callback.watch, self.callback.rows = watch, self.tableau.c.all
            self.c.watch, self.c.moments = <nc.nc_watch_fn>_watch, moments
        return 0

    cdef int check(self, int status) except -1:
        """Raise what a status means that is not the solver's to explain."""
        if status == nc.NC_CALLBACK:
            error, self.callback.error = self.callback.error, None
            raise error
        if status == nc.NC_NO_MEMORY:
            raise MemoryError("no memory for the solve: the state or the record of its steps is too large")
        return 0

    cdef dict steps(self):
        """The record as arrays: N steps of n components with `rows` slopes each, the extra ones among them."""
        count, n = self.record.count, len(self.y0)
        whole = 0 if self.record.bare else count
        evaluated = _copied(self.record.evaluated, (whole,), np.dtype(np.uint8))
        rows = self.tableau.c.all if self.record.slopes_bytes or n == 0 else 0
        return {
            "t": _copied(self.record.t, (count,), np.dtype(np.float64)),
            "h": _copied(self.record.h, (count,), np.dtype(np.float64)),
            "y": _copied(self.record.y, (whole, n), self.y0.dtype),
            "K": _copied(self.record.K, (whole, rows, n), self.y0.dtype),
            "last_stage": evaluated >= nc.NC_STAGES_AND_LAST,
            "extra": evaluated == nc.NC_STAGES_LAST_AND_EXTRA,
            "order": _copied(self.record.order, (whole,), np.dtype(np.uint8)),
            "output_step": self.output_step if self.output_step is not None else np.zeros(0, np.int64),
        }


cdef cnp.ndarray _copied(const void *data, tuple shape, cnp.dtype dtype):
    cdef cnp.ndarray array = np.empty(shape, dtype)
    if array.nbytes:
        memcpy(cnp.PyArray_DATA(array), data, array.nbytes)
    return array
