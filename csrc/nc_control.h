/* Step-size control: the controllers and the limits on a step.
 *
 * Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4 and the code DOPRI5; Soderlind, Digital
 * filters in adaptive time-stepping, ACM TOMS 29 (2003). The twin in Python is
 * node_core/solvers/control.py. Included by each instruction set's kernels, so that the small functions inline into
 * the loop.
 */
#ifndef NC_CONTROL_H
#define NC_CONTROL_H

#include <math.h>

#include "nc_solver.h"

#define NC_LOG_SMALLEST_PREVIOUS_NORM (-9.2103403719761818)  // of 1e-4

static inline double nc_max(double a, double b) { return a > b ? a : b; }
static inline double nc_min(double a, double b) { return a < b ? a : b; }

/* The norm of an error that two embedded methods estimate (Hairer, Norsett, Wanner I, II.10: DOP853). */
static inline double nc_joined_norm(double norm, double low)
{
    const double both = hypot(norm, 0.1 * low);
    return both > 0.0 ? norm * (norm / both) : both;
}

/* h_new / h after an accepted step, safety norm^-x0 previous^-x1 one_before^-x2 with the controller's exponents x,
 * from the logarithms of the norms: the loop keeps those before, and pays for one log and one exp and no pow. */
static inline double nc_accept_factor_of_logs(double norm, double previous, double one_before,
                                              const struct nc_control *control)
{
    const double *x = control->exponents;
    const double exponent = -(x[1] * previous) - x[0] * norm - x[2] * one_before;
    return nc_min(control->max_factor, nc_max(control->min_factor, control->safety * exp(exponent)));
}

// the same from the norms; that of 0 is max_factor
static double nc_accept_factor(double norm, double previous, double one_before, const struct nc_control *control)
{
    return nc_accept_factor_of_logs(log(norm), log(previous), log(one_before), control);
}

// h_new / h after a rejected step, by its norm alone, as in DOPRI5
static double nc_reject_factor(double norm, const struct nc_control *control)
{
    return nc_max(control->min_factor, control->safety / pow(norm, control->exponents[0]));
}

// whether a step of length h is taken whatever its error
static inline int nc_is_forced(double h, const struct nc_control *control)
{
    return control->force && fabs(h) <= control->min_step * (1.0 + 1e-12);
}

static inline double nc_ulp(double t)
{
    t = fabs(t);
    return nextafter(t, INFINITY) - t;
}

/* The next h (signed) from the controller's: at most max_step, clipped to t_end, and stretched by up to 1 %
 * to spare a sliver of a last step. As SciPy it is not stretched, but raised to 10 ulp of t where a step begins, that
 * is not after a rejection, and what lies between t and the rounded t + h. *last says that the step reaches t_end. */
static inline double nc_step_clip(double t, double h, double t_end, const struct nc_control *control, int begins,
                                  int *last)
{
    const double remaining = t_end - t, max_step = control->max_step;
    double length = nc_min(fabs(h), max_step);
    if (control->force) length = nc_max(length, control->min_step);
    if (control->as_scipy) {
        if (begins) length = nc_max(length, 10.0 * nc_ulp(t));
        const double rounded = t + copysign(length, remaining), between = rounded - t;
        *last = fabs(between) >= fabs(remaining);
        return *last ? remaining : between;
    }
    double reach = nc_min(1.01 * length, max_step * (1.0 + 1e-12));
    *last = fabs(remaining) <= reach;
    return *last ? remaining : copysign(length, remaining);
}

/* The next step from t: its length and end, whether that is t_end, or one of control->stops. *stop is the index of the
 * first of these that lies ahead. */
struct nc_plan {
    double h, t_new;
    int last, at_stop;
};

static inline struct nc_plan nc_step_plan(double t, double h, double t_end, const struct nc_control *control,
                                          int begins, ptrdiff_t *stop)
{
    struct nc_plan plan = {0.0, t_end, 0, 0};
    double target = t_end;
    if (control->stops_count) {
        while (*stop < control->stops_count && fabs(control->stops[*stop] - t_end) >= fabs(t - t_end)) ++*stop;
        if (*stop < control->stops_count) target = control->stops[*stop];
        plan.at_stop = target != t_end;
    }
    plan.h = nc_step_clip(t, h, target, control, begins, &plan.last);
    plan.at_stop = plan.at_stop && plan.last;
    plan.t_new = plan.last ? target : t + plan.h;
    plan.last = plan.last && !plan.at_stop;
    return plan;
}

/* Whether another attempt of length h from t is allowed: an enum nc_status. A step that ends where it must may be as
 * short as what remains. */
static inline int nc_step_check(double t, double h, int bound, int64_t attempts, const struct nc_control *control)
{
    if (attempts >= control->max_num_steps) return NC_TOO_MANY_STEPS;
    if (bound) return NC_OK;
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

// an enum nc_status
static inline int nc_poll(struct nc_pulse *pulse, const struct nc_problem *problem, double t)
{
    if (!problem->poll || --pulse->left > 0) return NC_OK;
    const double now = nc_seconds(), passed = now - pulse->before;
    const int first = pulse->stride == 0;
    if (first || passed > 0.04)
        pulse->stride = 1;
    else if (passed < 0.01 && pulse->stride < 1 << 20)
        pulse->stride *= 2;
    pulse->left = pulse->stride;
    pulse->before = now;
    return !first && passed > 0.002 ? problem->poll(problem->ctx, t) : NC_OK;
}

/* Grid of the fixed-step loop: equal steps from t[0] computed as products, not sums, the last one shortened.
 * Times closer than `slack`, at most a thousandth of a step, are the same point, so that rounding in step_size makes
 * no sliver. */
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
    slack = grid.slack = nc_min(slack, 1e-3 * step_size);  // to a far end t is rounded by more than a step
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
