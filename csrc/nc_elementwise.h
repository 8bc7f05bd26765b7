/* Elementwise operations: their numbers, and the functions that do one on a block of n reals.
 *
 * All pointers are to reals (float or double, by the table that the function comes from), contiguous, n >= 0
 * of them. `out` may be an input, exactly, but may not overlap one in part. Nothing is raised or printed:
 * division by zero and the like give the infinities and NaN of IEEE 754, NaN in gives NaN out where not said
 * otherwise. Truth values are the reals 0 and 1; any number but 0 is true, NaN too.
 */
#ifndef NC_ELEMENTWISE_H
#define NC_ELEMENTWISE_H

#include <stddef.h>

// no iteration of the loop below reads what another writes; and a function whose loops are too short for vectors
#ifdef __clang__
#define NC_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#define NC_NO_VECTORS
#else
#define NC_IVDEP _Pragma("GCC ivdep")
#define NC_NO_VECTORS __attribute__((optimize("no-tree-vectorize")))
#endif

enum nc_unary {
    NC_NEGATIVE,
    NC_ABSOLUTE,
    NC_SIGN,  // -1, 0 or 1
    NC_SQUARE,
    NC_CUBE,  // x * x * x
    NC_RECIPROCAL,
    NC_SQRT,
    NC_CBRT,
    NC_EXP,
    NC_EXP2,
    NC_EXPM1,
    NC_LOG,
    NC_LOG2,
    NC_LOG10,
    NC_LOG1P,
    NC_SIN,
    NC_COS,
    NC_TAN,
    NC_ARCSIN,
    NC_ARCCOS,
    NC_ARCTAN,
    NC_SINH,
    NC_COSH,
    NC_TANH,
    NC_ARCSINH,
    NC_ARCCOSH,
    NC_ARCTANH,
    NC_SIGMOID,   // 1 / (1 + exp(-x))
    NC_SOFTPLUS,  // log(1 + exp(x))
    NC_FLOOR,
    NC_CEIL,
    NC_RINT,  // to nearest, ties to even
    NC_TRUNC,
    NC_ISNAN,
    NC_ISINF,
    NC_ISFINITE,
    NC_SIGNBIT,
    NC_LOGICAL_NOT,
    NC_TANH_SLOPE,  // 1 - x * x, the derivative of tanh where tanh is x
    NC_UNARY_COUNT
};

enum nc_binary {
    NC_ADD,
    NC_SUBTRACT,
    NC_MULTIPLY,
    NC_DIVIDE,
    NC_POWER,
    NC_MAXIMUM,  // NaN if either is
    NC_MINIMUM,
    NC_FMAX,  // the other one if one is NaN
    NC_FMIN,
    NC_REMAINDER,  // x - y floor(x / y), the sign of y
    NC_FMOD,       // x - y trunc(x / y), the sign of x
    NC_FLOOR_DIVIDE,
    NC_ARCTAN2,
    NC_HYPOT,
    NC_LOGADDEXP,  // log(exp(x) + exp(y))
    NC_EQUAL,
    NC_NOT_EQUAL,
    NC_LESS,
    NC_LESS_EQUAL,
    NC_GREATER,
    NC_GREATER_EQUAL,
    NC_LOGICAL_AND,
    NC_LOGICAL_OR,
    NC_LOGICAL_XOR,
    NC_TANH_BACK,  // x (1 - y y): the cotangent x through tanh, which was y
    NC_BINARY_COUNT
};

// out (n,) = op(x (n,))
typedef void (*nc_unary_fn)(void *out, const void *x, ptrdiff_t n);
// out (n,) = op(x, y); a step of 1 is an array (n,), a step of 0 one number for all
typedef void (*nc_binary_fn)(void *out, const void *x, ptrdiff_t x_step, const void *y, ptrdiff_t y_step,
                             ptrdiff_t n);
// out (n,) = x where c != 0, else y
typedef void (*nc_where_fn)(void *out, const void *c, ptrdiff_t c_step, const void *x, ptrdiff_t x_step,
                            const void *y, ptrdiff_t y_step, ptrdiff_t n);

#endif
