# The elementwise kernels, one by one, for the tests: csrc/nc_elementwise.h says what they do.

_UNARY = {
    "negative": nc.NC_NEGATIVE, "absolute": nc.NC_ABSOLUTE, "sign": nc.NC_SIGN, "square": nc.NC_SQUARE,
    "cube": nc.NC_CUBE, "reciprocal": nc.NC_RECIPROCAL, "sqrt": nc.NC_SQRT, "cbrt": nc.NC_CBRT, "exp": nc.NC_EXP,
    "exp2": nc.NC_EXP2, "expm1": nc.NC_EXPM1, "log": nc.NC_LOG, "log2": nc.NC_LOG2, "log10": nc.NC_LOG10,
    "log1p": nc.NC_LOG1P, "sin": nc.NC_SIN, "cos": nc.NC_COS, "tan": nc.NC_TAN, "arcsin": nc.NC_ARCSIN,
    "arccos": nc.NC_ARCCOS, "arctan": nc.NC_ARCTAN, "sinh": nc.NC_SINH, "cosh": nc.NC_COSH, "tanh": nc.NC_TANH,
    "arcsinh": nc.NC_ARCSINH, "arccosh": nc.NC_ARCCOSH, "arctanh": nc.NC_ARCTANH, "sigmoid": nc.NC_SIGMOID,
    "softplus": nc.NC_SOFTPLUS, "floor": nc.NC_FLOOR, "ceil": nc.NC_CEIL, "rint": nc.NC_RINT, "trunc": nc.NC_TRUNC,
    "isnan": nc.NC_ISNAN, "isinf": nc.NC_ISINF, "isfinite": nc.NC_ISFINITE, "signbit": nc.NC_SIGNBIT,
    "logical_not": nc.NC_LOGICAL_NOT, "tanh_slope": nc.NC_TANH_SLOPE,
}
_BINARY = {
    "add": nc.NC_ADD, "subtract": nc.NC_SUBTRACT, "multiply": nc.NC_MULTIPLY, "divide": nc.NC_DIVIDE,
    "power": nc.NC_POWER, "maximum": nc.NC_MAXIMUM, "minimum": nc.NC_MINIMUM, "fmax": nc.NC_FMAX, "fmin": nc.NC_FMIN,
    "remainder": nc.NC_REMAINDER, "fmod": nc.NC_FMOD, "floor_divide": nc.NC_FLOOR_DIVIDE, "arctan2": nc.NC_ARCTAN2,
    "hypot": nc.NC_HYPOT, "logaddexp": nc.NC_LOGADDEXP, "equal": nc.NC_EQUAL, "not_equal": nc.NC_NOT_EQUAL,
    "less": nc.NC_LESS, "less_equal": nc.NC_LESS_EQUAL, "greater": nc.NC_GREATER,
    "greater_equal": nc.NC_GREATER_EQUAL, "logical_and": nc.NC_LOGICAL_AND, "logical_or": nc.NC_LOGICAL_OR,
    "logical_xor": nc.NC_LOGICAL_XOR, "tanh_back": nc.NC_TANH_BACK,
}


def unary(str name, x, out=None):
    """The operation of that name on x (n,), in out if it is given, which may be x."""
    cdef cnp.ndarray a = _plain(x, 1, "x"), result = _result(out, a, len(x))
    cdef int operation = _UNARY[name]
    _kernels(a).unary[operation](cnp.PyArray_DATA(result), cnp.PyArray_DATA(a), len(x))
    return result


def binary(str name, x, y, out=None):
    """The operation of that name on x and y, each (n,), or one number for all: (), or (1,) beside another length."""
    cdef ptrdiff_t n = _common_size(x, y)
    cdef cnp.ndarray a = _plain(x, np.ndim(x), "x"), b = _plain(y, np.ndim(y), "y"), result = _result(out, a, n)
    cdef int operation = _BINARY[name]
    if a.dtype != b.dtype:
        raise TypeError(f"x and y must share one dtype, got {a.dtype} and {b.dtype}")
    _kernels(a).binary[operation](
        cnp.PyArray_DATA(result), cnp.PyArray_DATA(a), _step(x, n), cnp.PyArray_DATA(b), _step(y, n), n)
    return result


def where(c, x, y, out=None):
    """x where c != 0, else y, for reals of one dtype as in `binary`."""
    cdef ptrdiff_t n = _common_size(c, x, y)
    cdef cnp.ndarray k = _plain(c, np.ndim(c), "c"), a = _plain(x, np.ndim(x), "x"), b = _plain(y, np.ndim(y), "y")
    cdef cnp.ndarray result = _result(out, k, n)
    if k.dtype != a.dtype or k.dtype != b.dtype:
        raise TypeError(f"c, x and y must share one dtype, got {k.dtype}, {a.dtype} and {b.dtype}")
    _kernels(k).where(
        cnp.PyArray_DATA(result), cnp.PyArray_DATA(k), _step(c, n), cnp.PyArray_DATA(a), _step(x, n),
        cnp.PyArray_DATA(b), _step(y, n), n)
    return result


def _common_size(*arrays):
    shape = np.broadcast_shapes(*[np.shape(x) for x in arrays])
    if len(shape) > 1:
        raise TypeError(f"arrays must have at most one dimension, got {len(shape)}")
    return shape[0] if shape else 1


cdef ptrdiff_t _step(object x, ptrdiff_t n):
    return x.ndim == 1 and len(x) == n


cdef cnp.ndarray _result(object out, cnp.ndarray like, ptrdiff_t n):
    return np.empty(n, like.dtype) if out is None else _like(out, like, (n,), "out")
