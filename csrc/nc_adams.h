/* Adams methods: Newton's interpolation of past slopes, integrated over the step; the twin, with the mathematics and
 * its sources, is node_core/solvers/adams.py. Included by each instruction set's kernels, as nc_control.h is. */
#ifndef NC_ADAMS_H
#define NC_ADAMS_H

#include "nc_solver.h"

#define NC_ADAMS_MOST_GROWTH 2.0
#define NC_ADAMS_LEAST_GROWTH 1.2
#define NC_ADAMS_BIAS 6.0  // the error aimed at is so many times smaller than that allowed, as VODE's
#define NC_ADAMS_NEGLIGIBLE 1e-3  // errors of a smaller norm are not looked at closely

/* Nodes x_0 ... x_{count-1}: D_j = sum_i d[j][i] F_i is a divided difference, N[j] the coefficients, the constant
 * first, of (s - x_0) ... (s - x_{j-1}). */
struct nc_newton {
    ptrdiff_t count;
    double d[NC_ADAMS_NODES][NC_ADAMS_NODES];
    double N[NC_ADAMS_NODES + 1][NC_ADAMS_NODES + 1];
};

static void nc_newton_make(struct nc_newton *newton, const double *nodes, ptrdiff_t count)
{
    newton->count = count;
    newton->N[0][0] = 1.0;
    for (ptrdiff_t j = 0; j < count; j++) {
        double product = 1.0;
        for (ptrdiff_t i = 0; i < j; i++) {
            const double gap = nodes[j] - nodes[i];
            newton->d[j][i] = newton->d[j - 1][i] / -gap;
            product *= gap;
        }
        newton->d[j][j] = 1.0 / product;
        newton->N[j + 1][0] = -nodes[j] * newton->N[j][0];
        for (ptrdiff_t k = 1; k <= j; k++) newton->N[j + 1][k] = newton->N[j][k - 1] - nodes[j] * newton->N[j][k];
        newton->N[j + 1][j + 1] = newton->N[j][j];
    }
}

// G_j, the integral of N_j over the step
static double nc_newton_integral(const struct nc_newton *newton, ptrdiff_t j)
{
    double sum = 0.0;
    for (ptrdiff_t k = 0; k <= j; k++) sum += newton->N[j][k] / (double)(k + 1);
    return sum;
}

// weights (count,) of the slopes at the first `count` nodes
static void nc_newton_weights(double *weights, const struct nc_newton *newton, ptrdiff_t count)
{
    for (ptrdiff_t j = 0; j < count; j++) {
        const double integral = nc_newton_integral(newton, j);
        weights[j] = 0.0;
        for (ptrdiff_t i = 0; i <= j; i++) weights[i] += integral * newton->d[j][i];
    }
}

// weights (count,) of the slopes in the power theta^(k+1) of the dense output
static void nc_newton_power(double *weights, const struct nc_newton *newton, ptrdiff_t count, ptrdiff_t k)
{
    for (ptrdiff_t i = 0; i < count; i++) weights[i] = 0.0;
    for (ptrdiff_t j = k; j < count; j++)
        for (ptrdiff_t i = 0; i <= j; i++) weights[i] += newton->d[j][i] * newton->N[j][k] / (double)(k + 1);
}

#endif
