/* The growable record of accepted steps, and the schedule of checkpoints for those that kept no slopes. */
#include <stdlib.h>
#include <string.h>

#include "nc_solver.h"

// grow *block to capacity items; 0 or NC_NO_MEMORY, and then *block is as it was
static int nc_block_resize(void *block, ptrdiff_t capacity, size_t item_bytes)
{
    void *old, *grown;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)capacity, item_bytes, &bytes) || bytes > PTRDIFF_MAX)
        return NC_NO_MEMORY;
    memcpy(&old, block, sizeof(old));  // block is any pointer's address
    grown = realloc(old, bytes ? bytes : 1);
    if (!grown) return NC_NO_MEMORY;
    memcpy(block, &grown, sizeof(grown));
    return NC_OK;
}

int nc_record_init(struct nc_record *record, size_t state_bytes, ptrdiff_t rows)
{
    memset(record, 0, sizeof(*record));
    record->state_bytes = state_bytes;
    return __builtin_mul_overflow(state_bytes, (size_t)rows, &record->slopes_bytes) ? NC_NO_MEMORY : NC_OK;
}

void nc_record_strip(struct nc_record *record)
{
    free(record->y);
    free(record->K);
    free(record->evaluated);
    free(record->order);
    record->y = record->K = NULL;
    record->evaluated = record->order = NULL;
    record->bare = 1;
}

int nc_record_push(struct nc_record *record, double t, double h, const void *y, const void *K,
                   enum nc_evaluated evaluated, int order)
{
    const ptrdiff_t at = record->count;
    if (!record->bare && record->most && at == record->most) nc_record_strip(record);
    if (at == record->capacity) {
        ptrdiff_t capacity = at ? at : 16;
        if (__builtin_add_overflow(capacity, capacity, &capacity)) return NC_NO_MEMORY;
        if (nc_block_resize(&record->t, capacity, sizeof(double))) return NC_NO_MEMORY;
        if (nc_block_resize(&record->h, capacity, sizeof(double))) return NC_NO_MEMORY;
        if (!record->bare) {
            if (nc_block_resize(&record->y, capacity, record->state_bytes)) return NC_NO_MEMORY;
            if (nc_block_resize(&record->K, capacity, record->slopes_bytes)) return NC_NO_MEMORY;
            if (nc_block_resize(&record->evaluated, capacity, 1)) return NC_NO_MEMORY;
            if (nc_block_resize(&record->order, capacity, 1)) return NC_NO_MEMORY;
        }
        record->capacity = capacity;
    }
    record->t[at] = t;
    record->h[at] = h;
    record->count++;
    if (record->bare) return NC_OK;
    memcpy(record->y + (size_t)at * record->state_bytes, y, record->state_bytes);
    memcpy(record->K + (size_t)at * record->slopes_bytes, K, record->slopes_bytes);
    record->evaluated[at] = (unsigned char)evaluated;
    record->order[at] = (unsigned char)order;
    return NC_OK;
}

void nc_record_free(struct nc_record *record)
{
    free(record->t);
    free(record->h);
    free(record->y);
    free(record->K);
    free(record->evaluated);
    free(record->order);
    memset(record, 0, sizeof(*record));
}

/* With beta(c, r) = (c + r)! / (c! r!), c = `free`, and r the fewest passes with windows <= beta(c, r): so far that
 * what lies behind the checkpoint is done with c - 1 and r, what lies before it with c and r - 1. */
int64_t nc_checkpoint_after(int64_t windows, int64_t free)
{
    const int64_t most = 1 << 20;  // more make no difference, and products stay small
    const int64_t c = free < most ? free : most;
    int64_t before = 1, beta = 1, r = 0;  // beta(c, r - 1), beta(c, r)
    if (free == 1) return windows - 1;  // no other is left
    while (beta < windows) {
        r++;
        before = beta;
        beta = __builtin_mul_overflow(beta, c + r, &beta) ? INT64_MAX : beta / r;
    }
    const int64_t behind = before * c / (c + r - 1);  // beta(c - 1, r - 1)
    return before < windows - behind ? before : windows - behind;
}

double *nc_window_starts(const struct nc_record *record, ptrdiff_t *count)
{
    *count = record->bare ? (record->count - 1) / NC_WINDOW : 0;
    double *starts = calloc(*count ? (size_t)*count : 1, sizeof(double));
    for (ptrdiff_t k = 0; starts && k < *count; k++) starts[k] = record->t[record->count - (k + 1) * NC_WINDOW];
    return starts;
}
