/* The limit that `python -m node_core.bench.limit` compares with: the spiral's solve and discrete gradient written by
 * hand for its shapes alone, 20 states of 2 components and 50 hidden units, given the steps to take. No part of the
 * package: the command compiles it from the source tree. The tanh is the package's own. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "nc_elementwise.h"
#include "nc_math.h"
#define real double
#define FN(name) name##_f64
#include "nc_math.inc"
#include "nc_math_f64.inc"

enum { ROWS = 20, HIDDEN = 50, LANES = 8, BLOCKS = 7, PADDED = LANES * BLOCKS, STAGES = 7, N = 2 * ROWS, MOST = 64 };
typedef double vec __attribute__((vector_size(8 * LANES)));

struct net {  // hidden units along vectors, padded with zeros
    vec W1[2][BLOCKS], b1[BLOCKS], W2[2][BLOCKS];
    double b2[2];
};
struct kept {  // of one evaluation
    double cube[N], y[N];
    vec h[ROWS][BLOCKS];
};
struct work {  // of one call, which the caller provides: 64-byte aligned, limit_work_size() bytes
    struct kept kept[MOST * STAGES];
    double K[MOST][STAGES][N], y[MOST + 1][N], g_out[MOST][N];
    double y_bar[N], new_bar[N], K_bar[STAGES][N], stage[N];
};

size_t limit_work_size(void) { return sizeof(struct work); }

static double sum(vec x)
{
    double total = 0;
    for (int l = 0; l < LANES; l++) total += x[l];
    return total;
}

static void field(const struct net *net, const double *y, double *dy, struct kept *kept)
{
    memcpy(kept->y, y, sizeof kept->y);
    for (int i = 0; i < N; i++) kept->cube[i] = y[i] * y[i] * y[i];
    for (int r = 0; r < ROWS; r++)
        for (int b = 0; b < BLOCKS; b++)
            kept->h[r][b] = net->b1[b] + kept->cube[2 * r] * net->W1[0][b] + kept->cube[2 * r + 1] * net->W1[1][b];
    double *h = (double *)kept->h;
    const double most = NC_TANH_MOST_f64;
    NC_IVDEP for (int i = 0; i < ROWS * PADDED; i++) h[i] = nc_tanh_of_f64(h[i], most);
    for (int r = 0; r < ROWS; r++) {
        vec out0 = {0}, out1 = {0};
        for (int b = 0; b < BLOCKS; b++) {
            out0 += kept->h[r][b] * net->W2[0][b];
            out1 += kept->h[r][b] * net->W2[1][b];
        }
        dy[2 * r] = sum(out0) + net->b2[0];
        dy[2 * r + 1] = sum(out1) + net->b2[1];
    }
}

// y_bar (N,) of k_bar through a kept evaluation; the parameters' are added to g
static void back(const struct net *net, const struct kept *kept, const double *k_bar, double *y_bar, struct net *g)
{
    vec part[ROWS][2] = {{{0}}};
    for (int b = 0; b < BLOCKS; b++) {
        vec W10 = {0}, W11 = {0}, b1 = {0}, W20 = {0}, W21 = {0};
        for (int r = 0; r < ROWS; r++) {
            const double k0 = k_bar[2 * r], k1 = k_bar[2 * r + 1];
            const vec h = kept->h[r][b], u = (k0 * net->W2[0][b] + k1 * net->W2[1][b]) * (1.0 - h * h);
            part[r][0] += u * net->W1[0][b];
            part[r][1] += u * net->W1[1][b];
            W10 += kept->cube[2 * r] * u;
            W11 += kept->cube[2 * r + 1] * u;
            b1 += u;
            W20 += h * k0;
            W21 += h * k1;
        }
        g->W1[0][b] += W10;
        g->W1[1][b] += W11;
        g->b1[b] += b1;
        g->W2[0][b] += W20;
        g->W2[1][b] += W21;
    }
    for (int i = 0; i < N; i++) {
        y_bar[i] = 3 * kept->y[i] * kept->y[i] * sum(part[i / 2][i % 2]);
        g->b2[i % 2] += k_bar[i];
    }
}

static void combine(double *out, const double *y, double (*K)[N], const double *a, double h, int rows)
{
    for (int i = 0; i < N; i++) {
        double total = 0;
        for (int j = 0; j < rows; j++) total += a[j] * K[j][i];
        out[i] = y[i] + h * total;
    }
}

/* One solve with the given steps h (steps,), dense output at theta of step at[i] (outputs,), loss mean |y - target|,
 * and its gradient by the 252 weights in g. a (7, 7): rows of the tableau; p (7, degree): its dense output. NaN, and
 * nothing is written, unless there are from 1 to MOST steps and at most MOST outputs. */
double limit_gradient(const struct net *net, const double *y0, const double *h, int steps, const int *at,
                      const double *theta, int outputs, const double *target, const double *a, const double *p,
                      int degree, struct net *g, struct work *work)
{
    if (steps < 1 || steps > MOST || outputs < 0 || outputs > MOST) return NAN;
    struct kept *kept = work->kept;
    double(*K)[STAGES][N] = work->K, (*y)[N] = work->y, (*g_out)[N] = work->g_out, (*K_bar)[N] = work->K_bar;
    double *y_bar = work->y_bar, *new_bar = work->new_bar, *stage = work->stage;
    double loss = 0, scale = 1.0 / ((outputs + 1) * N), weights[STAGES];
    memcpy(y[0], y0, sizeof y[0]);
    memset(g, 0, sizeof *g);
    for (int s = 0; s < steps; s++) {
        if (s == 0)
            field(net, y[0], K[0][0], &kept[0]);
        else
            memcpy(K[s][0], K[s - 1][STAGES - 1], sizeof K[s][0]);
        for (int i = 1; i < STAGES; i++) {
            combine(stage, y[s], K[s], a + i * STAGES, h[s], i);
            if (i == STAGES - 1) memcpy(y[s + 1], stage, sizeof y[0]);
            field(net, stage, K[s][i], &kept[s * (STAGES - 1) + i]);
        }
    }
    for (int i = 0; i < N; i++) loss += fabs(y0[i] - target[i]) * scale;
    for (int o = 0; o < outputs; o++) {
        for (int j = 0; j < STAGES; j++) {
            weights[j] = 0;
            for (int k = degree - 1; k >= 0; k--) weights[j] = (weights[j] + p[j * degree + k]) * theta[o];
        }
        combine(stage, y[at[o]], K[at[o]], weights, h[at[o]], STAGES);
        for (int i = 0; i < N; i++) {
            const double d = stage[i] - target[(o + 1) * N + i];
            loss += fabs(d) * scale;
            g_out[o][i] = d > 0 ? scale : d < 0 ? -scale : 0;
        }
    }
    memset(K_bar, 0, sizeof work->K_bar);
    memset(y_bar, 0, sizeof work->y_bar);
    for (int s = steps - 1, o = outputs - 1; s >= 0; s--) {
        memcpy(new_bar, y_bar, sizeof work->y_bar);
        memset(y_bar, 0, sizeof work->y_bar);
        memcpy(K_bar[STAGES - 1], K_bar[0], sizeof K_bar[0]);
        memset(K_bar, 0, (STAGES - 1) * sizeof K_bar[0]);
        for (; o >= 0 && at[o] == s; o--)
            for (int j = 0; j < STAGES; j++) {
                double weight = 0;
                for (int k = degree - 1; k >= 0; k--) weight = (weight + p[j * degree + k]) * theta[o];
                for (int i = 0; i < N; i++) K_bar[j][i] += h[s] * weight * g_out[o][i];
                if (j == 0)
                    for (int i = 0; i < N; i++) y_bar[i] += g_out[o][i];
            }
        for (int i = STAGES - 1; i > 0; i--) {
            back(net, &kept[s * (STAGES - 1) + i], K_bar[i], stage, g);
            if (i == STAGES - 1)
                for (int k = 0; k < N; k++) stage[k] += new_bar[k];
            for (int k = 0; k < N; k++) y_bar[k] += stage[k];
            for (int j = 0; j < i; j++)
                for (int k = 0; k < N; k++) K_bar[j][k] += h[s] * a[i * STAGES + j] * stage[k];
        }
    }
    back(net, &kept[0], K_bar[0], stage, g);
    return loss;
}
