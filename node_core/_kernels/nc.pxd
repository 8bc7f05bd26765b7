# csrc/nc_solver.h for Cython.
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

cdef extern from "nc_solver.h" nogil:
    int NC_MAX_ROWS
    int NC_OK, NC_CALLBACK, NC_NO_MEMORY, NC_NONFINITE, NC_UNDERFLOW, NC_MIN_STEP, NC_TOO_MANY_STEPS
    int NC_CAUSE_NONE, NC_CAUSE_FUNC, NC_CAUSE_STATE, NC_CAUSE_NORM

    ctypedef int (*nc_rhs_fn)(void *ctx, double t, const void *y, void *dy) noexcept nogil
    ctypedef int (*nc_norm_fn)(void *ctx, const void *scaled, ptrdiff_t n, double *out) noexcept nogil

    struct nc_tableau:
        ptrdiff_t rows, degree
        int fsal, embedded_order
        const double *a
        const double *c
        const double *e
        const double *p

    struct nc_tolerance:
        const double *rtol
        const double *atol
        ptrdiff_t rtol_stride, atol_stride

    struct nc_control:
        nc_tolerance tolerance
        double first_step, max_step, min_step, safety, min_factor, max_factor, step_size
        int64_t max_num_steps

    struct nc_record:
        ptrdiff_t count
        double *t
        double *h
        char *y
        char *K
        unsigned char *last_stage

    struct nc_problem:
        nc_rhs_fn rhs
        nc_norm_fn norm
        void *ctx
        nc_tableau tableau
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
        double t, h, cause_t
        ptrdiff_t component, cause_component
        int cause

    int nc_record_init(nc_record *record, size_t state_bytes, ptrdiff_t rows)
    void nc_record_free(nc_record *record)

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
        double (*accept_factor)(double norm, double previous_norm, const nc_control *control,
                                int embedded_order) noexcept nogil
        double (*reject_factor)(double norm, const nc_control *control,
                                int embedded_order) noexcept nogil
        ptrdiff_t (*matmul_packed_size)(ptrdiff_t k, ptrdiff_t n) noexcept nogil
        void (*matmul_pack)(void *packed, const void *B, ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t k,
                            ptrdiff_t n) noexcept nogil
        void (*matmul)(void *C, ptrdiff_t c_row, ptrdiff_t c_col, const void *A, ptrdiff_t a_row, ptrdiff_t a_col,
                       const void *packed, const void *bias, double alpha, int accumulate, ptrdiff_t m,
                       ptrdiff_t k, ptrdiff_t n) noexcept nogil
        void (*matmul_direct)(void *C, ptrdiff_t c_row, ptrdiff_t c_col, const void *A, ptrdiff_t a_row,
                              ptrdiff_t a_col, const void *B, ptrdiff_t b_row, ptrdiff_t b_col, const void *bias,
                              double alpha, int accumulate, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n) noexcept nogil

    struct nc_isa:
        const char *name
        nc_kernels f32, f64

    const nc_isa *nc_isa_at(int index)
    int nc_isa_supported(const nc_isa *isa)
    const char *nc_compiler_version()

cdef extern from "nc_matmul.h" nogil:
    int nc_matmul_packs(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
