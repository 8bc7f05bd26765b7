# csrc/nc_solver.h for Cython.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

cdef extern from "nc_elementwise.h" nogil:
    int NC_NEGATIVE, NC_ABSOLUTE, NC_SIGN, NC_SQUARE, NC_CUBE, NC_RECIPROCAL, NC_SQRT, NC_CBRT, NC_EXP, NC_EXP2, NC_EXPM1, NC_LOG, NC_LOG2, NC_LOG10, NC_LOG1P, NC_SIN, NC_COS, NC_TAN, NC_ARCSIN, NC_ARCCOS, NC_ARCTAN, NC_SINH, NC_COSH, NC_TANH, NC_ARCSINH, NC_ARCCOSH, NC_ARCTANH, NC_SIGMOID, NC_SOFTPLUS, NC_FLOOR, NC_CEIL, NC_RINT, NC_TRUNC, NC_ISNAN, NC_ISINF, NC_ISFINITE, NC_SIGNBIT, NC_LOGICAL_NOT, NC_TANH_SLOPE
    int NC_ADD, NC_SUBTRACT, NC_MULTIPLY, NC_DIVIDE, NC_POWER, NC_MAXIMUM, NC_MINIMUM, NC_FMAX, NC_FMIN, NC_REMAINDER, NC_FMOD, NC_FLOOR_DIVIDE, NC_ARCTAN2, NC_HYPOT, NC_LOGADDEXP, NC_EQUAL, NC_NOT_EQUAL, NC_LESS, NC_LESS_EQUAL, NC_GREATER, NC_GREATER_EQUAL, NC_LOGICAL_AND, NC_LOGICAL_OR, NC_LOGICAL_XOR, NC_TANH_BACK

    ctypedef void (*nc_unary_fn)(void *out, const void *x, ptrdiff_t n) noexcept nogil
    ctypedef void (*nc_binary_fn)(void *out, const void *x, ptrdiff_t x_step, const void *y, ptrdiff_t y_step,
                                  ptrdiff_t n) noexcept nogil
    ctypedef void (*nc_where_fn)(void *out, const void *c, ptrdiff_t c_step, const void *x, ptrdiff_t x_step,
                                 const void *y, ptrdiff_t y_step, ptrdiff_t n) noexcept nogil

cdef extern from "nc_program.h" nogil:
    int NC_BASE_PARAMETERS, NC_BASE_FREE
    int NC_CODE_LOOP, NC_CODE_MATMUL, NC_CODE_PACK, NC_CODE_REDUCE, NC_CODE_COPY, NC_CODE_GATHER, NC_CODE_SCATTER
    int NC_CODE_CUMSUM, NC_CODE_SCALARS, NC_CODE_CONV, NC_CODE_CONV_WEIGHT, NC_COPY_AXES, NC_LOOP_REGISTERS
    int NC_CONV_COLUMNS, NC_CONV_ROWS, NC_CODE_WINOGRAD, NC_CODE_WINOGRAD_WEIGHT, NC_CODE_WINOGRAD_KERNEL
    int NC_SCALAR_BINARY, NC_SCALAR_WHERE, NC_SCALAR_ADD, NC_SCALAR_SUBTRACT, NC_SCALAR_MULTIPLY, NC_SCALAR_DIVIDE
    int NC_SCALAR_MULTIPLY_ADD, NC_SCALAR_MULTIPLY_SUBTRACT, NC_SCALAR_SUBTRACT_PRODUCT
    int NC_SCALAR_LAST_ADD, NC_SCALAR_LAST_SUBTRACT, NC_SCALAR_LAST_MULTIPLY
    int NC_SCALAR_LAST_MULTIPLY_ADD, NC_SCALAR_LAST_MULTIPLY_SUBTRACT, NC_SCALAR_LAST_SUBTRACT_PRODUCT
    int NC_SCALAR_SUBTRACT_LAST
    int NC_SCALAR_MULTIPLY_ADD_LAST, NC_SCALAR_MULTIPLY_SUBTRACT_LAST, NC_SCALAR_SUBTRACT_PRODUCT_LAST

    enum nc_segment:
        NC_ONCE, NC_FORWARD, NC_BACKWARD, NC_PARAMETERS

    ctypedef void (*nc_execute_fn)(const int64_t *code, ptrdiff_t words, void *const *bases,
                                   double weight) noexcept nogil

    struct nc_program:
        const int64_t *code[4]
        ptrdiff_t words[4]
        ptrdiff_t bases, once, saved, carry, scratch, saved_head, parameters

    struct nc_tape:
        int64_t used, count, most
        size_t block_bytes

    struct nc_run:
        size_t real_bytes
        void **bases
        nc_tape *tape
        int64_t ring

    int nc_run_create(nc_run *run, const nc_program *program, size_t real_bytes, void *const *arguments,
                      nc_execute_fn execute)
    void nc_run_free(nc_run *run)
    int nc_run_slot(nc_run *run, int64_t slot, int make)
    void nc_run_segment(nc_run *run, nc_segment segment, double weight)
    size_t nc_run_block_bytes(const nc_run *run, int with_carry)
    void nc_tape_init(nc_tape *tape, size_t block_bytes, int64_t most)
    void nc_tape_free(nc_tape *tape)

cdef extern from "nc_solver.h" nogil:
    int NC_MAX_ROWS
    int NC_OK, NC_CALLBACK, NC_NO_MEMORY, NC_NONFINITE, NC_UNDERFLOW, NC_MIN_STEP, NC_TOO_MANY_STEPS, NC_TOO_LONG, NC_STOPPED
    int NC_BEFORE_ATTEMPT, NC_AT_REJECTION, NC_AT_ACCEPTANCE
    int NC_CAUSE_NONE, NC_CAUSE_FUNC, NC_CAUSE_STATE, NC_CAUSE_NORM
    int NC_STAGES, NC_STAGES_AND_LAST, NC_STAGES_LAST_AND_EXTRA

    ctypedef int (*nc_rhs_fn)(void *ctx, int64_t slot, double t, const void *y, void *dy) noexcept nogil
    ctypedef int (*nc_poll_fn)(void *ctx, double t) noexcept nogil
    ctypedef int (*nc_watch_fn)(void *ctx, int moment, double t, double h, double t_new, const void *y,
                                const void *y_new, const void *K, int evaluated) noexcept nogil
    ctypedef int (*nc_norm_fn)(void *ctx, const void *scaled, ptrdiff_t n, double *out) noexcept nogil

    struct nc_tableau:
        ptrdiff_t rows, all, degree
        int fsal, error_order
        const double *a
        const double *c
        const double *e
        const double *e_low
        const double *p
        const double *a_p
        const double *p_p
        ptrdiff_t split

    enum:
        NC_ADAMS_SLOPES

    struct nc_adams:
        int corrected, most
        nc_tableau starter

    struct nc_tolerance:
        const double *rtol
        const double *atol
        ptrdiff_t rtol_stride, atol_stride

    struct nc_control:
        nc_tolerance tolerance
        double first_step, max_step, min_step, safety, min_factor, max_factor, step_size, previous_norm
        double exponents[3]
        int as_scipy, norm_max, force
        const double *stops
        ptrdiff_t stops_count
        int64_t max_num_steps

    int NC_WINDOW

    struct nc_record:
        size_t state_bytes, slopes_bytes
        int bare
        ptrdiff_t count, capacity, most
        double *t
        double *h
        char *y
        char *K
        unsigned char *evaluated
        unsigned char *order

    struct nc_problem:
        nc_rhs_fn rhs
        nc_norm_fn norm
        nc_poll_fn poll
        nc_watch_fn watch
        int moments, slopes
        void *rhs_ctx
        void *ctx
        nc_tableau tableau
        const nc_adams *adams
        nc_control control
        ptrdiff_t n, n_norm, m
        int width
        const double *t
        const void *y0
        void *out
        void *y_last
        nc_record *record
        int64_t *output_step

    struct nc_outcome:
        int64_t nfev, naccepted, nrejected
        double t, h, h_next, cause_t
        ptrdiff_t component, cause_component, written
        int cause

    struct nc_pullback:
        nc_run *run
        const nc_problem *problem
        const void *g
        void *y0_bar
        double *t_bar
        int64_t evaluations
        const nc_record *record
        const nc_problem *solved
        const int64_t *output_step
        int grid_is_t, adaptive, check, part
        ptrdiff_t checkpoints, component
        int64_t tape_most, retaken
        double t
        const void *y
        nc_outcome *outcome
        void *y_failed
        double drift
        ptrdiff_t drift_at

    double nc_seconds()
    int nc_record_init(nc_record *record, size_t state_bytes, ptrdiff_t rows)
    void nc_record_free(nc_record *record)

    enum nc_rule:
        NC_SGD, NC_RMSPROP, NC_ADAM

    struct nc_update:
        nc_rule rule
        int nesterov
        double lr, eps, weight_decay, b1, b2, c1, c2

    struct nc_kernels:
        void (*stages_combine)(void *out, const void *base, const void *K, const double *weights, double h,
                            ptrdiff_t rows, ptrdiff_t size) noexcept nogil
        void (*error_scale)(void *scaled, const void *error, const void *y, const void *y_new,
                         const nc_tolerance *tolerance, ptrdiff_t n, int width) noexcept nogil
        double (*rms)(const void *scaled, ptrdiff_t n, int width) noexcept nogil
        ptrdiff_t (*nonfinite_find)(const void *x, ptrdiff_t size) noexcept nogil
        ptrdiff_t (*worst_find)(const void *scaled, ptrdiff_t n, int width) noexcept nogil
        void (*dense_evaluate)(void *out, const void *y, const void *K, const nc_tableau *tableau,
                               double theta, double h, ptrdiff_t size) noexcept nogil
        int (*rk_step)(void *y_new, void *K, const nc_problem *problem, double t, const void *y, double h,
                       int with_last, nc_outcome *outcome) noexcept nogil
        int (*first_step)(double *h, const nc_problem *problem, const void *y, const void *f,
                          nc_outcome *outcome) noexcept nogil
        int (*adaptive_loop)(const nc_problem *problem, nc_outcome *outcome) noexcept nogil
        int (*fixed_loop)(const nc_problem *problem, nc_outcome *outcome) noexcept nogil
        double (*accept_factor)(double norm, double previous, double one_before,
                                const nc_control *control) noexcept nogil
        double (*reject_factor)(double norm, const nc_control *control) noexcept nogil
        ptrdiff_t (*matmul_packed_size)(ptrdiff_t k, ptrdiff_t n) noexcept nogil
        void (*matmul_pack)(void *packed, const void *B, ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t k,
                            ptrdiff_t n) noexcept nogil
        void (*matmul)(void *C, ptrdiff_t c_row, ptrdiff_t c_col, const void *A, ptrdiff_t a_row, ptrdiff_t a_col,
                       const void *packed, const void *bias, double alpha, int accumulate, ptrdiff_t m,
                       ptrdiff_t k, ptrdiff_t n) noexcept nogil
        void (*matmul_direct)(void *C, ptrdiff_t c_row, ptrdiff_t c_col, const void *A, ptrdiff_t a_row,
                              ptrdiff_t a_col, const void *B, ptrdiff_t b_row, ptrdiff_t b_col, const void *bias,
                              double alpha, int accumulate, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n) noexcept nogil
        void (*optimise)(const nc_update *update, void *p_new, void *const *news, const void *p, const void *g,
                         void *const *olds, ptrdiff_t n) noexcept nogil

        const nc_unary_fn *unary
        const nc_binary_fn *binary
        nc_where_fn where
        nc_execute_fn execute
        int (*program_rhs)(void *run, int64_t slot, double t, const void *y, void *dy) noexcept nogil
        int (*discrete_backward)(nc_pullback *pullback) noexcept nogil
        int (*adjoint_backward)(nc_pullback *pullback) noexcept nogil

    struct nc_isa:
        const char *name
        nc_kernels f32, f64

    const nc_isa *nc_isa_at(int index)
    int nc_isa_supported(const nc_isa *isa)
    const char *nc_compiler_version()

cdef extern from "nc_matmul.h" nogil:
    int nc_matmul_packs(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
