/* What one execution of a Program owns: its memory, and the tape of SAVED blocks. */
#include "nc_program.h"

#include <stdlib.h>
#include <string.h>

#include "nc_solver.h"

static size_t nc_rounded(size_t bytes) { return (bytes + NC_ALIGNMENT - 1) / NC_ALIGNMENT * NC_ALIGNMENT; }

// bytes of `reals` reals, rounded up to a cache line; 0 or NC_NO_MEMORY if that overflows
static int nc_block_bytes(size_t *bytes, ptrdiff_t reals, size_t real_bytes)
{
    if (reals < 0 || __builtin_mul_overflow((size_t)reals, real_bytes, bytes)) return NC_NO_MEMORY;
    if (*bytes > PTRDIFF_MAX / 4) return NC_NO_MEMORY;
    *bytes = nc_rounded(*bytes ? *bytes : 1);
    return NC_OK;
}

// where the instruction's loads put t and y: 1 if y's registers follow one another and nothing else comes in
static int nc_direct_loads(struct nc_direct *direct, const struct nc_scalar_load *load, int64_t loads)
{
    direct->t = -1;
    for (; loads > 0; loads--, load++) {
        if (load->base == NC_BASE_T && load->count == 1)
            direct->t = load->reg;
        else if (load->base == NC_BASE_Y && load->count == direct->n)
            direct->y = load->reg;
        else
            return 0;
    }
    return direct->y >= 0;
}

// where dy is: n of them, and nothing else goes out
static int64_t nc_direct_stores(struct nc_direct *direct, const struct nc_scalar_store *store, int64_t stores)
{
    int64_t n = 0;
    for (; stores > 0; stores--, store++) {
        if (store->base != NC_BASE_DY || store->offset != n || store->count > NC_SMALL - n) return 0;
        for (int64_t k = 0; k < store->count; k++) direct->dy[n++] = store->reg + k;
    }
    return n;
}

static struct nc_direct nc_direct_find(const struct nc_program *program)
{
    const struct nc_scalars *op = (const void *)program->code[NC_FORWARD];
    struct nc_direct direct = {0};
    if (program->words[NC_FORWARD] == 0 || op->code != NC_CODE_SCALARS || op->words != program->words[NC_FORWARD])
        return direct;
    const struct nc_scalar_load *loads = (const void *)(op + 1);
    direct.file = op->file;
    direct.first = (const void *)(loads + op->loads);
    direct.end = direct.first + op->instructions;
    direct.y = -1;
    direct.n = nc_direct_stores(&direct, (const void *)direct.end, op->stores);
    if (!nc_direct_loads(&direct, loads, op->loads)) direct.n = 0;
    return direct;
}

int nc_run_create(struct nc_run *run, const struct nc_program *program, size_t real_bytes,
                  void *const *arguments, nc_execute_fn execute)
{
    size_t once, saved, carry, scratch;
    memset(run, 0, sizeof(*run));
    run->program = program;
    run->real_bytes = real_bytes;
    run->execute = execute;
    run->direct = nc_direct_find(program);
    if (nc_block_bytes(&once, program->once, real_bytes) || nc_block_bytes(&saved, program->saved, real_bytes)
        || nc_block_bytes(&carry, program->carry, real_bytes)
        || nc_block_bytes(&scratch, program->scratch, real_bytes))
        return NC_NO_MEMORY;
    run->bases = calloc((size_t)program->bases, sizeof(void *));
    run->memory = aligned_alloc(NC_ALIGNMENT, once + saved + carry + scratch);
    if (!run->bases || !run->memory) {
        nc_run_free(run);
        return NC_NO_MEMORY;
    }
    run->own_saved = run->memory + once;
    run->own_carry = run->memory + once + saved;
    run->saved_bytes = saved;
    for (ptrdiff_t i = NC_BASE_FREE; i < program->bases; i++) run->bases[i] = arguments[i - NC_BASE_FREE];
    run->bases[NC_BASE_ONCE] = run->memory;
    run->bases[NC_BASE_SAVED] = run->own_saved;
    run->bases[NC_BASE_CARRY] = run->own_carry;
    run->bases[NC_BASE_SCRATCH] = run->memory + once + saved + carry;
    run->bases[NC_BASE_T] = &run->t;
    run->bases[NC_BASE_T_BAR] = &run->t_bar;
    nc_run_segment(run, NC_ONCE, 1.0);
    memcpy(run->own_saved, run->memory, (size_t)program->saved_head * real_bytes);
    return NC_OK;
}

void nc_run_free(struct nc_run *run)
{
    free(run->bases);
    free(run->memory);
    run->bases = NULL;
    run->memory = NULL;
}

void nc_run_segment(struct nc_run *run, enum nc_segment segment, double weight)
{
    run->execute(run->program->code[segment], run->program->words[segment], run->bases, weight);
}

void nc_run_time(struct nc_run *run, double t)
{
    if (run->real_bytes == sizeof(float))
        run->t.f32 = (float)t;
    else
        run->t.f64 = t;
}

void nc_tape_init(struct nc_tape *tape, size_t block_bytes, int64_t most)
{
    const size_t group = 1 << 14;  // a small block alone would cost malloc as much again
    memset(tape, 0, sizeof(*tape));
    tape->block_bytes = nc_rounded(block_bytes ? block_bytes : 1);
    tape->most = most;
    while (tape->block_bytes << (tape->shift + 1) <= group) tape->shift++;
}

void nc_tape_free(struct nc_tape *tape)
{
    for (int64_t i = 0; i < tape->count >> tape->shift; i++) free(tape->groups[i]);
    free(tape->groups);
    tape->groups = NULL;
    tape->used = tape->count = tape->capacity = 0;
}

static char *nc_tape_at(const struct nc_tape *tape, int64_t i)
{
    const int64_t within = i & (((int64_t)1 << tape->shift) - 1);
    return tape->groups[i >> tape->shift] + (size_t)within * tape->block_bytes;
}

// block i, made if need be together with those before it; NULL without memory
static char *nc_tape_block(struct nc_tape *tape, int64_t i)
{
    while (tape->count <= i) {
        const int64_t groups = tape->count >> tape->shift;
        if (groups == tape->capacity) {
            int64_t capacity = tape->capacity ? 2 * tape->capacity : 16;
            char **grown = realloc(tape->groups, (size_t)capacity * sizeof(char *));
            if (!grown) return NULL;
            tape->groups = grown;
            tape->capacity = capacity;
        }
        char *group = aligned_alloc(NC_ALIGNMENT, tape->block_bytes << tape->shift);
        if (!group) return NULL;
        tape->groups[groups] = group;
        tape->count += (int64_t)1 << tape->shift;
    }
    return nc_tape_at(tape, i);
}

size_t nc_run_block_bytes(const struct nc_run *run, int with_carry)
{
    return run->saved_bytes + (with_carry ? nc_rounded((size_t)run->program->carry * run->real_bytes) : 0);
}

int nc_run_slot(struct nc_run *run, int64_t slot, int make)
{
    struct nc_tape *tape = run->tape;
    const int64_t i = tape && run->ring > 0 ? slot % run->ring : slot;
    if (!tape || slot < 0 || i >= tape->most || (!make && i >= tape->used)) {
        run->bases[NC_BASE_SAVED] = run->own_saved;
        run->bases[NC_BASE_CARRY] = run->own_carry;
        return 0;
    }
    char *block = nc_tape_block(tape, i);
    if (!block) return -1;
    for (; tape->used <= i; tape->used++)  // each starts with this run's constants
        memcpy(nc_tape_at(tape, tape->used), run->memory, (size_t)run->program->saved_head * run->real_bytes);
    run->bases[NC_BASE_SAVED] = block;
    run->bases[NC_BASE_CARRY] = run->ring > 0 ? (void *)(block + run->saved_bytes) : run->own_carry;
    return 1;
}
