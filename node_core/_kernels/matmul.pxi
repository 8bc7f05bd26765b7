# Matrix products, for tests and benchmarks: csrc/nc_matmul.h says what the kernels do.

cdef cnp.ndarray _matrix(object x, str name):
    """x itself, checked to be a 2-D array of float32 or float64, of any strides in whole elements."""
    if type(x) is not np.ndarray or x.ndim != 2 or x.dtype.char not in "fd" or not x.dtype.isnative:
        raise TypeError(f"{name} must be a float32 or float64 array of 2 dimensions, got {_describe(x)}")
    if not x.flags.aligned or any(stride % x.itemsize for stride in x.strides):
        raise ValueError(f"{name} must be aligned, with strides of whole elements, got strides {x.strides}")
    return x


cdef cnp.ndarray _matrix_like(object x, cnp.ndarray other, str name):
    cdef cnp.ndarray array = _matrix(x, name)
    if array.dtype != other.dtype:
        raise TypeError(f"{name} must be {other.dtype} like A, got {array.dtype}")
    return array


cdef ptrdiff_t _packed_size(const nc.nc_kernels *kernels, ptrdiff_t k, ptrdiff_t n) except -1:
    cdef ptrdiff_t size = kernels.matmul_packed_size(k, n)
    if size < 0:
        raise ValueError(f"B ({k}, {n}) is too large to pack")
    return size


cdef cnp.ndarray _aligned(ptrdiff_t size, object dtype):
    """An uninitialised array (size,) that begins at a cache line."""
    buffer = np.empty(size * dtype.itemsize + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start:start + size * dtype.itemsize].view(dtype)


def matmul_packed_size(ptrdiff_t k, ptrdiff_t n, dtype):
    """Elements of a packed B (k, n)."""
    return _packed_size(_kernels(np.empty(0, dtype)), k, n)


def matmul_pack(B, out=None):
    """B (k, n), of any strides, in the layout that `matmul` reads fastest: (k n,), 64-byte aligned."""
    cdef cnp.ndarray b = _matrix(B, "B")
    cdef const nc.nc_kernels *kernels = _kernels(b)
    cdef ptrdiff_t k = b.shape[0], n = b.shape[1], unit = b.itemsize
    size = _packed_size(kernels, k, n)
    cdef cnp.ndarray packed = _aligned(size, b.dtype) if out is None else _like(out, b, (size,), "out")
    kernels.matmul_pack(cnp.PyArray_DATA(packed), cnp.PyArray_DATA(b), b.strides[0] // unit, b.strides[1] // unit, k, n)
    return packed


def matmul(A, B, bias=None, double alpha=1.0, out=None, bint accumulate=False, packed=None):
    """[out +] alpha A (m, k) B (k, n) [+ bias (n,)], in out (m, n) or a new array.

    packed: True packs B first, False does not, None does it for the shapes that gain when B is used again; or
    what matmul_pack(B) returned, and then B gives only its shape.
    """
    cdef cnp.ndarray a = _matrix(A, "A"), b = _matrix_like(B, a, "B"), c, layout, addend
    cdef ptrdiff_t m = a.shape[0], k = a.shape[1], n = b.shape[1], unit = a.itemsize
    cdef const nc.nc_kernels *kernels = _kernels(a)
    cdef const void *start = NULL
    cdef const void *reads
    if b.shape[0] != k:
        raise ValueError(f"A {A.shape} and B {B.shape} do not match: B must have {k} rows")
    if bias is not None:
        addend = _like(bias, a, (n,), "bias")
        start = cnp.PyArray_DATA(addend)
    if accumulate and out is None:
        raise ValueError("accumulate needs out, the array to add to")
    c = _matrix_like(np.empty((m, n), a.dtype) if out is None else out, a, "out")
    _check_out(out, (m, n), (A, B, bias, packed))
    if packed is None:
        packed = nc.nc_matmul_packs(m, k, n) != 0
    if isinstance(packed, bool) and packed:
        packed = matmul_pack(B)
    if isinstance(packed, bool):
        reads = cnp.PyArray_DATA(b)
        with nogil:
            kernels.matmul_direct(
                cnp.PyArray_DATA(c), c.strides[0] // unit, c.strides[1] // unit,
                cnp.PyArray_DATA(a), a.strides[0] // unit, a.strides[1] // unit,
                reads, b.strides[0] // unit, b.strides[1] // unit, start, alpha, accumulate, m, k, n)
    else:
        layout = _like(packed, a, (_packed_size(kernels, k, n),), "packed")
        reads = cnp.PyArray_DATA(layout)
        with nogil:
            kernels.matmul(
                cnp.PyArray_DATA(c), c.strides[0] // unit, c.strides[1] // unit,
                cnp.PyArray_DATA(a), a.strides[0] // unit, a.strides[1] // unit,
                reads, start, alpha, accumulate, m, k, n)
    return c


cdef int _check_out(object out, tuple shape, tuple inputs) except -1:
    if out is None:
        return 0
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    if out.size and any(s == 0 and size > 1 for s, size in zip(out.strides, shape)):
        raise ValueError(f"out must not repeat elements, got strides {out.strides}")
    for x in inputs:
        if isinstance(x, np.ndarray) and np.may_share_memory(out, x):
            raise ValueError("out must not share memory with A, B, bias or packed")
    return 0
