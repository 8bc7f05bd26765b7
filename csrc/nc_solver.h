/* What the solver's C side offers: problems, their outcome, and the table of kernels.
 *
 * One table exists for each instruction set and each real type; all are compiled from the same loops
 * (nc_vector.inc, nc_step.inc, nc_loop.inc, nc_matmul.inc). A state has n components; a component is
 * `width` reals, 1 for a real state and 2 for a complex one: Runge-Kutta is linear in the state, so only the
 * modulus in the norm ever sees the difference. `size` is always n * width.
 *
 * Nothing here sees Python, prints, or keeps global mutable state.
 */
#ifndef NC_SOLVER_H
#define NC_SOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "nc_elementwise.h"
#include "nc_program.h"

enum { NC_MAX_ROWS = 32 };  // most rows of a tableau: stages, the last slope, and extra stages

enum nc_status {
    NC_OK = 0,
    NC_CALLBACK,        // rhs or norm asked to stop; the reason is in its ctx
    NC_NO_MEMORY,
    NC_NONFINITE,       // a NaN or infinity that cannot be stepped around
    NC_UNDERFLOW,       // |h| below 10 ulp of t
    NC_MIN_STEP,        // |h| below control.min_step
    NC_TOO_MANY_STEPS,  // control.max_num_steps attempts
    NC_TOO_LONG,        // the time that the caller allowed is over
    NC_STOPPED,         // watch asked to end here: not a failure
};

enum nc_moment { NC_BEFORE_ATTEMPT = 1, NC_AT_REJECTION = 2, NC_AT_ACCEPTANCE = 4 };

enum nc_cause {  // where a non-finite number was first seen
    NC_CAUSE_NONE = 0,
    NC_CAUSE_FUNC,
    NC_CAUSE_STATE,
    NC_CAUSE_NORM,
};

/* dy (n,) = f(t, y (n,)), both of the state's type; an enum nc_status, nonzero stops the solve. Stage i of step
 * s is slot s (rows - 1) + i, so that the last slope of a step and the first of the next are one; a rejected
 * step's slots are used again. Of an Adams method slots are the rows of nc_adams_steps, and behind
 * them the stages of its starting method. -1 is an
 * evaluation that belongs to no step. */
typedef int (*nc_rhs_fn)(void *ctx, int64_t slot, double t, const void *y, void *dy);
// the slope in that slot has this weight, h included, in what is integrated beside the state. An enum nc_status
typedef int (*nc_weigh_fn)(void *ctx, int64_t slot, double weight);
/* A step from (t, y) of length h is about to be tried, was rejected, or was accepted: then it ends in (t_new, y_new),
 * and K (all, n) has the rows that `evaluated` (an enum nc_evaluated) says; else y_new and K are NULL. An enum
 * nc_status: NC_OK goes on, NC_STOPPED ends the solve at t, or at t_new. */
typedef int (*nc_watch_fn)(void *ctx, enum nc_moment moment, double t, double h, double t_new, const void *y,
                           const void *y_new, const void *K, int evaluated);
// now and then between attempts, at the time reached; an enum nc_status, nonzero stops the solve with it
typedef int (*nc_poll_fn)(void *ctx, double t);
// *out = a norm of scaled (n,), of the state's type; nonzero stops the solve with NC_CALLBACK
typedef int (*nc_norm_fn)(void *ctx, const void *scaled, ptrdiff_t n, double *out);

/* A Runge-Kutta method whose row rows - 1 is the step itself: a[rows-1] = b, c[rows-1] = 1. The slope of that
 * row is the next step's first, so FSAL methods and the others have one form; they differ in when it is
 * needed: at once (fsal) or only if something follows. The rows after it are stages that the dense output alone
 * needs, evaluated only where an output lies inside the step. */
struct nc_tableau {
    ptrdiff_t rows;      // of a step, >= 2
    ptrdiff_t all;       // with the extra stages
    ptrdiff_t degree;    // of the dense output in theta
    int fsal;
    int error_order;     // the error's norm falls as h^(error_order + 1); 0 without an error estimate
    const double *a;     // (all, all), strictly lower triangular
    const double *c;     // (all,)
    const double *e;     // (rows,) b - b_hat, or NULL
    const double *e_low; // (rows,) of a second embedded method of lower order, or NULL
    const double *p;     // (all, degree): weight of row i at theta is sum_k p[i, k] theta^(k+1)
    const double *a_p;   // (all, all) of the reals of the state from `split` on, or NULL: a is that of all
    const double *p_p;   // (all, degree) likewise
    ptrdiff_t split;     // set by the problem
};

enum {
    NC_ADAMS_PAST = 12,                    // past slopes that a step looks at
    NC_ADAMS_RING = NC_ADAMS_PAST + 1,     // rows that they take turns in: one is free for the next
    NC_ADAMS_PREDICTED = NC_ADAMS_RING,    // the row after them: the slope at a predicted point
    NC_ADAMS_SLOPES = NC_ADAMS_RING + 1,
    NC_ADAMS_NODES = NC_ADAMS_PAST + 1,    // the new one first
};

/* A family of Adams methods (nc_adams.inc). Its problem's tableau has rows for the powers of a step's dense output and,
 * last, the slope at the new point; slots are rows of its past slopes. */
struct nc_adams {
    int corrected;  // Moulton's formulas, by PECE; else Bashforth's
    int most;       // the highest order, or that of equal steps
    struct nc_tableau starter;  // takes the first of equal steps
};

struct nc_tolerance {  // a stride of 0 is one number for all components
    const double *rtol, *atol;  // (n,) or (1,)
    ptrdiff_t rtol_stride, atol_stride;
};

struct nc_control {
    struct nc_tolerance tolerance;
    double first_step;  // 0: Hairer's automatic choice
    double max_step, min_step;
    double safety, min_factor, max_factor;
    double step_size;  // fixed steps; 0: one step an interval of t
    double exponents[3];   // of the controller, see nc_accept_factor
    double previous_norm;  // what stands for the norms before the first
    int as_scipy;          // steps as SciPy chooses them, see nc_step_clip
    int norm_max;          // the norm is the largest modulus; 0: root mean square
    int force;             // a step of min_step is taken whatever its error
    const double *stops;   // (stops_count,) strictly monotone like t: times that steps end at
    ptrdiff_t stops_count;
    int64_t max_num_steps;
};

enum nc_evaluated { NC_STAGES, NC_STAGES_AND_LAST, NC_STAGES_LAST_AND_EXTRA };  // which rows of K; the others are 0

struct nc_record {  // every accepted step; grown by nc_record_push, released by nc_record_free
    ptrdiff_t count, capacity;
    size_t state_bytes, slopes_bytes;
    int bare;        // of t and h alone
    ptrdiff_t most;  // steps that may be recorded whole: with one more the record becomes bare; 0: any number
    double *t, *h;              // (count,)
    char *y;                    // (count, n)
    char *K;                    // (count, all, n)
    unsigned char *evaluated;   // (count,) an enum nc_evaluated
    unsigned char *order;       // (count,) of a step by an Adams method; 0: by a Runge-Kutta method
};

struct nc_problem {
    nc_rhs_fn rhs;
    void *rhs_ctx;          // of rhs and weigh
    nc_weigh_fn weigh;      // of every slope of accepted steps; NULL: nobody wants to know
    nc_norm_fn norm;        // NULL: root mean square
    nc_poll_fn poll;        // NULL: rhs looks for itself
    nc_watch_fn watch;      // NULL: nobody watches
    int moments;            // those of enum nc_moment that are watched
    int slopes;             // an enum nc_evaluated: what every accepted step has at least
    void *ctx;              // of norm, poll and watch
    struct nc_tableau tableau;
    const struct nc_adams *adams;  // NULL: a Runge-Kutta method
    int64_t first_slot;            // of every step's stages; 0: by the count of steps, see nc_rhs_fn
    struct nc_control control;
    ptrdiff_t n, n_norm;  // components; the leading ones that enter norms
    int width;            // reals a component
    const double *t;      // (m,) strictly monotone, m >= 2
    ptrdiff_t m;
    const void *y0;             // (n,)
    void *out;                  // (m, n) the outputs
    void *y_last;               // (n,) the last accepted state, also after a failure
    struct nc_record *record;   // NULL: keep no steps
    int64_t *output_step;       // (m,) with record: the step whose interpolant gave each output
};

struct nc_outcome {
    int64_t nfev, naccepted, nrejected;
    double t, h;          // where the solve stopped
    ptrdiff_t written;    // outputs
    double h_next;        // length of the step that the controller would take after the last one
    ptrdiff_t component;  // the worst one there, or -1
    int cause;            // enum nc_cause: whether a non-finite number was behind it
    double cause_t;
    ptrdiff_t cause_component;
};

// ---- nc_record.c
int nc_record_init(struct nc_record *record, size_t state_bytes, ptrdiff_t rows);
void nc_record_strip(struct nc_record *record);  // it is bare from now on
int nc_record_push(struct nc_record *record, double t, double h, const void *y, const void *K,
                   enum nc_evaluated evaluated, int order);
void nc_record_free(struct nc_record *record);
// after how many of so many windows, two or more, the next checkpoint comes best, with `free` of them left
int64_t nc_checkpoint_after(int64_t windows, int64_t free);

/* Where the windows of a bare record begin, the latest first: a step of the adjoint that looked into two of them would
 * have both taken again at every stage. The caller's to free; NULL without memory. */
double *nc_window_starts(const struct nc_record *record, ptrdiff_t *count);

enum { NC_WINDOW = 4 };  // steps that are taken again together, and kept until the way back has gone through them

enum nc_part { NC_PART_NONE = 0, NC_PART_STATE, NC_PART_PARAMETERS, NC_PART_TIME };

/* A reverse pass: from the cotangents g (m, n) of the outputs to those of y0, t and (in run's accumulators) the
 * parameters. */
struct nc_pullback {
    struct nc_run *run;                // of the Program with its VJP; with a tape of the forward pass or without
    const struct nc_problem *problem;  // tableau, control, times and callbacks: the forward solve's, or of the adjoint
    const void *g;                     // (m, n)
    void *y0_bar;                      // (n,)
    double *t_bar;                     // (m,), or NULL: t's cotangent is not wanted
    int64_t evaluations;               // of the VJP and of func, counted here
    double t;                          // that the pass has come to
    // ---- the forward solve's steps; an adjoint without them reconstructs y
    const struct nc_record *record;
    const struct nc_problem *solved;  // whose they are
    const int64_t *output_step;       // (m,)
    ptrdiff_t checkpoints;            // of a bare record: states kept on the way back, >= 1
    int64_t tape_most;                // blocks that a tape may have
    int64_t retaken;                  // steps, counted here
    // ---- discrete
    int grid_is_t;        // every entry of t is a grid point
    int check;            // look where a cotangent is first not finite: NC_NONFINITE there, at t
    enum nc_part part;    // of what,
    ptrdiff_t component;  // and which of its entries
    // ---- adjoint
    const void *y;     // (m, n) the outputs
    int adaptive;
    struct nc_outcome *outcome;  // of the interval that failed
    void *y_failed;              // (2 n,) the last good [y, a] then; of a alone (n,)
    double drift;                // of y reconstructed backward, over the tolerances: the largest at an output
    ptrdiff_t drift_at;          // and which
};

/* One update of an optimiser (nc_optimise.inc); each rule reads what its formula names. */
enum nc_rule { NC_SGD, NC_RMSPROP, NC_ADAM };

struct nc_update {
    enum nc_rule rule;
    int nesterov;
    double lr, eps, weight_decay;
    double b1, b2;  // how much of the first and of the second moment stays; SGD's momentum is b1
    double c1, c2;  // 1 - b1^step and 1 - b2^step
};

/* The kernels of one real type. `real` below is float or double, and every void pointer is to reals. */
struct nc_kernels {
    // out (size,) = base (size,) + h sum_i weights[i] K[i]; weights (rows,), K (rows, size); base NULL is 0.
    // Rows of weight 0 are not read.
    void (*stages_combine)(void *out, const void *base, const void *K, const double *weights, double h,
                           ptrdiff_t rows, ptrdiff_t size);
    // scaled (n,) = error (n,) / (atol + rtol max(|y|, |y_new|)); 0 where the error is 0
    void (*error_scale)(void *scaled, const void *error, const void *y, const void *y_new,
                        const struct nc_tolerance *tolerance, ptrdiff_t n, int width);
    // root mean square of the moduli of scaled (n,), summed in double; 0 for n = 0
    double (*rms)(const void *scaled, ptrdiff_t n, int width);
    // index of the first NaN or infinity in x (size,), or -1
    ptrdiff_t (*nonfinite_find)(const void *x, ptrdiff_t size);
    // component of largest modulus in scaled (n,), or -1 for n = 0
    ptrdiff_t (*worst_find)(const void *scaled, ptrdiff_t n, int width);
    // out (size,) = the interpolant of the step (y, h, K (rows, size)) at theta
    void (*dense_evaluate)(void *out, const void *y, const void *K, const struct nc_tableau *tableau,
                           double theta, double h, ptrdiff_t size);
    // y_new (size,) of one step from K[0] (the caller's); fills K[1:], its last row if fsal or with_last
    int (*rk_step)(void *y_new, void *K, const struct nc_problem *problem, double t, const void *y, double h,
                   int with_last, struct nc_outcome *outcome);
    // *h = Hairer's first step, positive; f (n,) is the slope at (t[0], y)
    int (*first_step)(double *h, const struct nc_problem *problem, const void *y, const void *f,
                      struct nc_outcome *outcome);
    // the whole solve: enum nc_status, details in outcome
    int (*adaptive_loop)(const struct nc_problem *problem, struct nc_outcome *outcome);
    int (*fixed_loop)(const struct nc_problem *problem, struct nc_outcome *outcome);
    // ---- Programs (nc_execute.inc) and what solves with them need (nc_field, nc_discrete, nc_backsolve)
    nc_execute_fn execute;
    int (*program_rhs)(void *run, int64_t slot, double t, const void *y, void *dy);
    int (*discrete_backward)(struct nc_pullback *pullback);
    int (*adjoint_backward)(struct nc_pullback *pullback);
    const nc_unary_fn *unary;    // by enum nc_unary
    const nc_binary_fn *binary;  // by enum nc_binary
    nc_where_fn where;
    // ---- the controller, the same for both types (nc_control.h)
    double (*accept_factor)(double norm, double previous, double one_before, const struct nc_control *control);
    double (*reject_factor)(double norm, const struct nc_control *control);
    // ---- matrix products (nc_matmul.h); strides in reals, any sign, and C overlaps no other operand
    // reals of a packed B (k, n), or -1 if that is no size of an array
    ptrdiff_t (*matmul_packed_size)(ptrdiff_t k, ptrdiff_t n);
    // packed (matmul_packed_size(k, n),) from B (k, n)
    void (*matmul_pack)(void *packed, const void *B, ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t k,
                        ptrdiff_t n);
    // C (m, n) = [C +] alpha A (m, k) B (k, n) [+ bias (n,)]; bias may be NULL
    void (*matmul)(void *C, ptrdiff_t c_row, ptrdiff_t c_col, const void *A, ptrdiff_t a_row,
                   ptrdiff_t a_col, const void *packed, const void *bias, double alpha, int accumulate,
                   ptrdiff_t m, ptrdiff_t k, ptrdiff_t n);
    // the same of a B that was not packed: for one that is used once, or small
    void (*matmul_direct)(void *C, ptrdiff_t c_row, ptrdiff_t c_col, const void *A, ptrdiff_t a_row,
                          ptrdiff_t a_col, const void *B, ptrdiff_t b_row, ptrdiff_t b_col, const void *bias,
                          double alpha, int accumulate, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n);
    // p_new (n,) and the new moments news[i] (n,) from p, the gradient g and the moments olds[i]; none overlap
    void (*optimise)(const struct nc_update *update, void *p_new, void *const *news, const void *p, const void *g,
                     void *const *olds, ptrdiff_t n);
};

struct nc_isa {
    const char *name;
    struct nc_kernels f32, f64;
};

extern const struct nc_isa nc_isa_baseline;
extern const struct nc_isa nc_isa_avx2;    // only where NC_HAVE_X86_ISAS is defined
extern const struct nc_isa nc_isa_avx512;  // likewise

// ---- nc_isa.c
const struct nc_isa *nc_isa_at(int index);         // compiled sets, widest first; NULL after the last
int nc_isa_supported(const struct nc_isa *isa);    // by this machine
const char *nc_compiler_version(void);
double nc_seconds(void);                           // of a clock that only goes forward

#endif
