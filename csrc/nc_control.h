/* Step-size control: the PI controller of Hairer's DOPRI5 and the limits on a step.
 *
 * Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4 and the code DOPRI5 (beta = 0.04).
 * The twin in Python is node_core/solvers/control.py. Included by each instruction set's kernels, so that the
 * small functions inline into the loop.
 */
#ifndef NC_CONTROL_H
#define NC_CONTROL_H

#include <math.h>
#include <time.h>

#include "nc_solver.h"

#define NC_PI_BETA 0.04
#define NC_LOG_SMALLEST_PREVIOUS_NORM (-9.2103403719761818)  // of 1e-4

static inline double nc_max(double a, double b) { return a > b ? a : b; }
static inline double nc_min(double a, double b) { return a < b ? a : b; }

static inline double nc_pi_alpha(int embedded_order)
{
    return 1.0 / (embedded_order + 1) - 0.75 * NC_PI_BETA;
}

/* h_new / h after an accepted step, safety previous_norm^beta / norm^alpha, from the logarithms of the norms: the loop
 * keeps the previous one, and pays for one log and one exp where there were two pow. */
static inline double nc_accept_factor_of_logs(double log_norm, double log_previous,
                                              const struct nc_control *control, int embedded_order)
{
    const double exponent = NC_PI_BETA * log_previous - nc_pi_alpha(embedded_order) * log_norm;
    return nc_min(control->max_factor, nc_max(control->min_factor, control->safety * exp(exponent)));
}

// the same from the norms; that of 0 is max_factor
static double nc_accept_factor(double norm, double previous_norm, const struct nc_control *control,
                               int embedded_order)
{
    return nc_accept_factor_of_logs(log(norm), log(previous_norm), control, embedded_order);
}

// h_new / h after a rejected step; without the integral part, as in DOPRI5
static double nc_reject_factor(double norm, const struct nc_control *control, int embedded_order)
{
    return nc_max(control->min_factor, control->safety / pow(norm, nc_pi_alpha(embedded_order)));
}

static inline double nc_ulp(double t)
{
    t = fabs(t);
    return nextafter(t, INFINITY) - t;
}

/* The next h (signed) from the controller's: at most max_step, clipped to t_end, and stretched by up to 1 %
 * to spare a sliver of a last step. *last says that the step reaches t_end. */
static inline double nc_step_clip(double t, double h, double t_end, double max_step, int *last)
{
    double remaining = t_end - t;
    double length = nc_min(fabs(h), max_step);
    double reach = nc_min(1.01 * length, max_step * (1.0 + 1e-12));
    *last = fabs(remaining) <= reach;
    return *last ? remaining : copysign(length, remaining);
}

/* Whether another attempt of length h from t is allowed: an enum nc_status. The last step may be as short as
 * what remains. */
static inline int nc_step_check(double t, double h, int last, int64_t attempts,
                                const struct nc_control *control)
{
    if (attempts >= control->max_num_steps) return NC_TOO_MANY_STEPS;
    if (last) return NC_OK;
    if (fabs(h) < 10.0 * nc_ulp(t)) return NC_UNDERFLOW;
    if (fabs(h) < control->min_step) return NC_MIN_STEP;
    return NC_OK;
}

/* Ctrl-C: poll is called about every 20 ms, whatever a step costs. The clock itself is read every `stride`-th
 * time, a stride that grows while steps are short. */
struct nc_pulse {
    int64_t left, stride;
    double before;  // seconds
};

static inline double nc_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int nc_poll(struct nc_pulse *pulse, const struct nc_problem *problem)
{
    if (!problem->poll || --pulse->left > 0) return 0;
    const double now = nc_seconds(), passed = now - pulse->before;
    const int first = pulse->stride == 0;
    if (first || passed > 0.04)
        pulse->stride = 1;
    else if (passed < 0.01 && pulse->stride < 1 << 20)
        pulse->stride *= 2;
    pulse->left = pulse->stride;
    pulse->before = now;
    return !first && passed > 0.002 ? problem->poll(problem->ctx) : 0;
}

/* Grid of the fixed-step loop: equal steps from t[0] computed as products, not sums, the last one shortened.
 * Times closer than `slack` are the same point, so that rounding in step_size makes no sliver. */
struct nc_grid {
    const double *t;  // (m,)
    ptrdiff_t m;
    double step;   // signed; 0: the grid is t itself
    double slack;  // 4 eps max(|t[0]|, |t[-1]|)
    int64_t steps;
};

static inline struct nc_grid nc_grid_make(const double *t, ptrdiff_t m, double step_size)
{
    const double eps = 2.220446049250313e-16;
    double slack = 4.0 * eps * nc_max(fabs(t[0]), fabs(t[m - 1]));
    struct nc_grid grid = {t, m, 0.0, slack, m - 1};
    if (step_size == 0.0) return grid;
    double span = t[m - 1] - t[0];
    double ratio = fabs(span) / step_size;
    double steps = ceil(ratio - 4.0 * eps * ratio - slack / step_size);
    grid.step = copysign(step_size, span);
    grid.steps = steps < 1.0 ? 1 : steps < 9e18 ? (int64_t)steps : INT64_MAX;
    return grid;
}

static inline double nc_grid_time(const struct nc_grid *grid, int64_t k)
{
    if (k == grid->steps) return grid->t[grid->m - 1];
    return grid->step == 0.0 ? grid->t[k] : grid->t[0] + (double)k * grid->step;
}

#endif
