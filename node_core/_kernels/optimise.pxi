# The optimisers' updates; the formulas are in csrc/nc_optimise.inc, the twins in node_core/optim.py.

_RULES = {"sgd": nc.NC_SGD, "rmsprop": nc.NC_RMSPROP, "adam": nc.NC_ADAM}
_MOMENTS = {"sgd": 1, "rmsprop": 1, "adam": 2}


def optimise(str rule, list params, list grads, list moments, double lr, *, double b1=0.0, double b2=0.0,
             double c1=1.0, double c2=1.0, double eps=0.0, double weight_decay=0.0, bint nesterov=False):
    """New arrays ``(params, moments)`` after one update, or None where the arrays are not all plain and alike.

    params, grads: lists of float32 or float64 arrays; moments: for each moment such a list.
    """
    cdef nc.nc_update update
    cdef void *news[2]
    cdef void *olds[2]
    cdef cnp.ndarray p, g, old, new
    cdef int code = -1, k, count = _MOMENTS[rule]
    cdef Py_ssize_t i
    update.rule, update.nesterov, update.lr, update.eps, update.weight_decay = _RULES[rule], nesterov, lr, eps, weight_decay
    update.b1, update.b2, update.c1, update.c2 = b1, b2, c1, c2
    for leaves in [params, grads, *moments]:
        if len(leaves) != len(params):
            raise ValueError(f"{len(params)} parameters, but {len(leaves)} gradients or moments")
        for i in range(len(params)):
            if type(leaves[i]) is not np.ndarray:
                return None
            p, g = leaves[i], params[i]
            if code < 0:
                code = cnp.PyArray_TYPE(p)
            if cnp.PyArray_TYPE(p) != code or not cnp.PyArray_ISCARRAY_RO(p) or not _same_shape(p, g):
                return None
    if code != cnp.NPY_FLOAT64 and code != cnp.NPY_FLOAT32:
        return None
    new_params, new_moments = [], [[] for _ in range(count)]
    for i in range(len(params)):
        p, g = params[i], grads[i]
        new = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(p), cnp.PyArray_DIMS(p), code, 0)
        new_params.append(new)
        for k in range(count):
            old = moments[k][i]
            olds[k] = cnp.PyArray_DATA(old)
            moment = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(p), cnp.PyArray_DIMS(p), code, 0)
            new_moments[k].append(moment)
            news[k] = cnp.PyArray_DATA(<cnp.ndarray>moment)
        _kernels(p).optimise(&update, cnp.PyArray_DATA(new), news, cnp.PyArray_DATA(p), cnp.PyArray_DATA(g), olds,
                             cnp.PyArray_SIZE(p))
    return new_params, new_moments


cdef bint _same_shape(cnp.ndarray a, cnp.ndarray b):
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
        return False
    for i in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, i) != cnp.PyArray_DIM(b, i):
            return False
    return True
