# From NumPy to C: arrays checked, tableaus and controls as structs.

cdef const nc.nc_kernels *_kernels(cnp.ndarray y) except NULL:
    cdef int code = cnp.PyArray_TYPE(y)
    if code == cnp.NPY_FLOAT64 or code == cnp.NPY_COMPLEX128:
        return &ISA.f64
    if code == cnp.NPY_FLOAT32 or code == cnp.NPY_COMPLEX64:
        return &ISA.f32
    raise TypeError(f"y0 must be float32, float64, complex64 or complex128, got {y.dtype}")


cdef int _width(cnp.ndarray y):
    return 2 if cnp.PyArray_ISCOMPLEX(y) else 1


cdef cnp.ndarray _plain(object x, int ndim, str name):
    """x itself, checked to be a C-contiguous, aligned, native array of that many dimensions.

    Of exactly that type: a subclass may answer len() as it likes.
    """
    if type(x) is not np.ndarray or x.ndim != ndim or not cnp.PyArray_ISCARRAY_RO(x):
        raise TypeError(f"{name} must be a C-contiguous array of {ndim} dimensions, got {_describe(x)}")
    return x


cdef cnp.ndarray _like(object x, cnp.ndarray y, tuple shape, str name):
    """x itself, checked to be a C-contiguous array of y's dtype and that shape."""
    if type(x) is not np.ndarray or x.dtype != y.dtype or x.shape != shape or not x.flags.c_contiguous:
        raise TypeError(f"{name} must be a C-contiguous {y.dtype} array {shape}, got {_describe(x)}")
    return x


cdef str _describe(object x):
    if not isinstance(x, np.ndarray):
        return type(x).__name__
    order = "" if x.flags.c_contiguous else ", not C-contiguous"
    return f"{type(x).__name__} of dtype {x.dtype} and shape {x.shape}{order}"


def slope_mismatch(dy, dtype, n: int) -> str:
    """The message for a result of func that is not a plain (n,) array of the state's dtype."""
    return f"func must return a C-contiguous {dtype} ndarray of shape ({n},), got {_describe(dy)}"


cdef class _Tableau:
    """An nc_tableau and the arrays that it points to."""
    cdef nc.nc_tableau c
    cdef cnp.ndarray a, nodes, e, e_low, p, a_p, p_p

    def __cinit__(self, tableau):
        rows = tableau.dense_stages  # with the extra ones
        if rows > nc.NC_MAX_ROWS:
            raise ValueError(f"tableau {tableau.name}: at most {nc.NC_MAX_ROWS} slopes, got {rows}")
        if tableau.multistep:  # Adams: its formulas are made step by step
            tableau = _AdamsRows(tableau)
        self.a = _doubles(tableau.dense_a, (rows, rows), "a")
        self.nodes = _doubles(tableau.dense_c, (rows,), "c")
        self.p = _doubles(tableau.p, (rows, np.shape(tableau.p)[1]), "p")
        self.c.rows, self.c.all, self.c.degree = tableau.rows, rows, self.p.shape[1]
        self.c.fsal = tableau.fsal
        self.c.a = <const double *>cnp.PyArray_DATA(self.a)
        self.c.c = <const double *>cnp.PyArray_DATA(self.nodes)
        self.c.p = <const double *>cnp.PyArray_DATA(self.p)
        self.c.e, self.c.e_low, self.c.error_order = NULL, NULL, 0
        if tableau.e is not None:
            self.e = _doubles(tableau.e, (rows,), "e")
            self.c.e = <const double *>cnp.PyArray_DATA(self.e)
            self.c.error_order = tableau.error_order
        self.c.a_p, self.c.p_p, self.c.split = NULL, NULL, 0
        if tableau.split:
            self.a_p = _doubles(tableau.dense_a_p, (rows, rows), "a_p")
            self.p_p = _doubles(tableau.p_p, np.shape(tableau.p), "p_p")
            self.c.a_p = <const double *>cnp.PyArray_DATA(self.a_p)
            self.c.p_p = <const double *>cnp.PyArray_DATA(self.p_p)
        if tableau.e_low is not None:
            self.e_low = _doubles(tableau.e_low, (rows,), "e_low")
            self.c.e_low = <const double *>cnp.PyArray_DATA(self.e_low)


class _AdamsRows:
    """A family of Adams methods as the rows of K that its steps have."""
    e_low, split, multistep = None, False, True

    def __init__(self, family):
        self.name, self.rows, self.p, self.fsal = family.name, family.rows, family.p, family.fsal
        self.error_order = family.error_order
        self.dense_a, self.dense_c, self.e = np.zeros((self.rows, self.rows)), np.zeros(self.rows), np.zeros(self.rows)


# Converted once: training solves with the same tableau and control thousands of times. Both are immutable, and
# kept here with what they became, so that no other object can take their id.
cdef dict _CONVERTED = {}


cdef _Tableau _tableau_of(object tableau):
    found = _CONVERTED.get(id(tableau))
    if found is None:
        found = _remembered(id(tableau), (tableau, _Tableau(tableau)))
    return <_Tableau>found[1]


cdef _Control _control_of(object control, Py_ssize_t n, object tableau):
    cdef int order = tableau.error_order or 0
    key = (id(control), n, order)
    found = _CONVERTED.get(key)
    if found is None:
        found = _remembered(key, (control, _Control(control, n, order)))
    return <_Control>found[1]


cdef tuple _remembered(object key, tuple found):
    if len(_CONVERTED) > 64:
        _CONVERTED.clear()
    _CONVERTED[key] = found
    return found


cdef cnp.ndarray _doubles(object values, tuple shape, str name):
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


cdef class _Control:
    """An nc_control and the arrays that it points to."""
    cdef nc.nc_control c
    cdef cnp.ndarray rtol, atol, stops

    def __cinit__(self, control, Py_ssize_t n, int error_order):
        self.rtol = np.array(control.rtol, dtype=np.float64, ndmin=1, order="C")
        self.atol = np.array(control.atol, dtype=np.float64, ndmin=1, order="C")
        control.check_size(n)
        self.c.tolerance.rtol = <const double *>cnp.PyArray_DATA(self.rtol)
        self.c.tolerance.atol = <const double *>cnp.PyArray_DATA(self.atol)
        self.c.tolerance.rtol_stride = np.ndim(control.rtol)
        self.c.tolerance.atol_stride = np.ndim(control.atol)
        self.c.first_step = control.first_step or 0.0
        self.c.step_size = control.step_size or 0.0
        self.c.max_step, self.c.min_step = control.max_step, control.min_step
        self.c.safety = control.safety
        self.c.min_factor, self.c.max_factor = control.min_factor, control.max_factor
        self.c.max_num_steps = control.max_num_steps
        self.c.exponents = control.exponents(error_order)
        self.c.previous_norm, self.c.as_scipy = control.previous_norm, control.as_scipy
        self.c.norm_max, self.c.force = control.norm == "max", control.on_min_step == "force"
        self.stops = np.ascontiguousarray(control.step_t, np.float64)
        self.c.stops, self.c.stops_count = <const double *>cnp.PyArray_DATA(self.stops), len(self.stops)
