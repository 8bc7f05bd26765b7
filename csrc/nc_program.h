/* Programs: what a traced function is lowered to, and what one execution of it owns.
 *
 * A Program is four segments of instructions over memory blocks ("bases"), made by node_core/program/lower.py:
 *
 *   once        what depends on args alone (packed weights); run once a solve
 *   forward     f(t, y); leaves what the later segments need in the base SAVED
 *   backward    from the cotangent of f to those of y and t; leaves in CARRY what the next segment needs
 *   parameters  adds weight x the cotangent of every parameter to the accumulators
 *
 * An instruction is a run of int64 words: its code, its length in words, then the fields of one of the structs
 * below. An operand is a base and an offset in reals; shapes and strides are in reals, too. Each stage of a
 * Runge-Kutta step may have a SAVED block of its own (nc_tape), so that the way back computes nothing twice.
 */
#ifndef NC_PROGRAM_H
#define NC_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

enum nc_base {  // what the first bases are; arguments (and a plain function's results) follow
    NC_BASE_ONCE = 0,
    NC_BASE_SAVED,
    NC_BASE_CARRY,       // what the backward segment leaves for the parameters
    NC_BASE_SCRATCH,
    NC_BASE_T,           // one real
    NC_BASE_Y,           // (n,)
    NC_BASE_COTANGENT,   // (n,) of f
    NC_BASE_DY,          // (n,)
    NC_BASE_Y_BAR,       // (n,)
    NC_BASE_T_BAR,       // one real
    NC_BASE_PARAMETERS,  // accumulators, all parameters one after another
    NC_BASE_FREE,        // the first argument
};

enum nc_segment { NC_ONCE = 0, NC_FORWARD, NC_BACKWARD, NC_PARAMETERS, NC_SEGMENTS };

enum nc_code {
    NC_CODE_LOOP = 1,
    NC_CODE_MATMUL,
    NC_CODE_PACK,
    NC_CODE_REDUCE,
    NC_CODE_COPY,
    NC_CODE_GATHER,
    NC_CODE_SCATTER,
    NC_CODE_CUMSUM,
    NC_CODE_SCALARS,
    NC_CODE_CONV,
    NC_CODE_CONV_WEIGHT,
    NC_CODE_WINOGRAD,
    NC_CODE_WINOGRAD_WEIGHT,
    NC_CODE_WINOGRAD_KERNEL,
};

enum {
    NC_LOOP_REGISTERS = 40,
    NC_COPY_AXES = 8,
    NC_ALIGNMENT = 64,
    NC_CONV_COLUMNS = 16,  // at least a vector
    NC_CONV_ROWS = 8,      // at least the rows of a tile
    NC_SEEN = 5,           // inputs a side that the largest tile of Winograd's sees
};

struct nc_ref {  // where an operand starts
    int64_t base, offset;
};

struct nc_matrix {  // element (i, j) is at offset + i row + j column
    int64_t base, offset, row, column;
};

enum nc_micro_kind { NC_MICRO_UNARY = 0, NC_MICRO_BINARY, NC_MICRO_WHERE };

struct nc_micro {  // register dst = operation of registers a, b, c
    int64_t kind, operation, dst, a, b, c;
};

/* A chain of elementwise operations over (rows, inner), in blocks that stay in the nearest cache. Registers
 * 0 .. inputs-1 are the inputs, then come the outputs, then the temporaries. */
struct nc_loop {
    int64_t code, words;
    int64_t rows, inner, inputs, outputs, temporaries, micros;  // NC_LOOP_REGISTERS registers at most
    // then: inputs x nc_matrix; outputs x nc_ref, contiguous (rows, inner); micros x nc_micro
};

/* batches x [out (m, n) = or += weight x] a (m, k) b (k, n) [+ bias (n,)]. */
struct nc_matmul_words {
    int64_t code, words;
    int64_t m, k, n, batches;
    int64_t packed, accumulate, has_bias;
    int64_t fused;  // the next instruction is a chain over out's elements, run block by block of rows
    struct nc_matrix out, a, b;  // of a packed b only base and offset count
    int64_t out_batch, a_batch, b_batch;
    struct nc_ref bias;
};

struct nc_pack {  // out = b (k, n) as the matmul kernels want it
    int64_t code, words;
    int64_t k, n;
    struct nc_ref out;
    struct nc_matrix b;
};

enum nc_reduction { NC_REDUCE_SUM = 0, NC_REDUCE_MAX, NC_REDUCE_MIN };

struct nc_reduce {  // out (outer, inner), contiguous, over the middle axis of x (outer, middle, inner)
    int64_t code, words;
    int64_t kind, accumulate;
    int64_t outer, middle, inner, outer_step, middle_step, inner_step;
    struct nc_ref out, x;
};

struct nc_copy {  // out[...] = or += weight x x[...], both strided
    int64_t code, words;
    int64_t axes, accumulate;
    struct nc_ref out, x;
    int64_t shape[NC_COPY_AXES], out_step[NC_COPY_AXES], x_step[NC_COPY_AXES];
};

struct nc_gather {  // out[i] = x[index[i]]; NC_CODE_SCATTER: out[index[i]] += x[i]
    int64_t code, words;
    int64_t count;
    struct nc_ref out, x;
    // then: count x the index
};

struct nc_cumsum {  // along the middle axis, all contiguous
    int64_t code, words;
    int64_t outer, middle, inner;
    struct nc_ref out, x;
};

/* Images x (images, channels, height, width), `block` of them at a time, each in a frame of `size` reals: zeros but
 * for element (c, h, w) at start + c plane + h row + w column. */
struct nc_frame {
    int64_t images, channels, height, width, block;
    struct nc_ref x;
    int64_t x_step[4];
    struct nc_ref frame;
    int64_t size, start, plane, row, column;
};

/* out (images, n, places) = the sum over k of frame[places[i] + depths[k]] weights (depth, columns), n <= columns, a
 * multiple of NC_CONV_COLUMNS. product (block * places + NC_CONV_ROWS, columns) is scratch. */
struct nc_conv {
    int64_t code, words;
    struct nc_frame frame;
    int64_t n, places, depth, columns;
    struct nc_ref out, weights, product;
    // then: places x the table, depth x the table
};

/* out (n, taps) = or += weight x the sum over images and places of frame[taps[i] + depths[k]] g (images, n, places).
 * product (taps + NC_CONV_ROWS, columns) and packed (block * places, columns) are scratch. */
struct nc_conv_weight {
    int64_t code, words;
    struct nc_frame frame;
    int64_t n, places, taps, columns, accumulate;
    struct nc_ref out, g, product, packed;
    // then: taps x the table, block * places x the table
};

/* The same for 3 by 3 kernels and stride 1, in tiles of m by m outputs, m the `side` (2 or 3), `down` and `across` of
 * them an image; deep and wide are channels and n as multiples of NC_CONV_COLUMNS. Element (h, w) of an image is at
 * (h + top, w + left) of its frame (m down + 2, m across + 2, deep). With elements = (m + 2)^2, scratch is: frame
 * (block, ...), inputs (elements, block * tiles, deep), outputs (elements, block * tiles, wide) and image (m down,
 * m across, wide). Each of the elements is followed by NC_CONV_COLUMNS unused reals: at a power of two apart they would
 * share a few sets of the cache.
 *
 *   NC_CODE_WINOGRAD         out (images, n, out_height, out_width) from weights (elements, deep, wide)
 *   NC_CODE_WINOGRAD_WEIGHT  out (n, channels, 3, 3) = or += weight x the gradient, from a g in place of weights that
 *                            is shaped like the other's out; outputs has room for (elements, deep, wide) behind */
struct nc_winograd {
    int64_t code, words;
    int64_t images, channels, height, width, block;
    struct nc_ref x;
    int64_t x_step[4];  // the last is 1
    int64_t top, left, side, down, across, n, out_height, out_width, deep, wide, accumulate;
    struct nc_ref out, weights, frame, inputs, outputs, image;
};

struct nc_winograd_kernel {  // out (elements, deep, wide) = the transformed kernels w (channels, n, 3, 3)
    int64_t code, words;
    int64_t channels, n, side, deep, wide;
    struct nc_ref out, w;
    int64_t w_step[4];
};

/* A small function element by element, on a register file that lies in `file`. */
struct nc_scalars {
    int64_t code, words;
    struct nc_ref file;
    int64_t loads, instructions, stores;
    // then: loads x nc_scalar_load; instructions x nc_scalar; stores x nc_scalar_store
};

struct nc_scalar_load {  // registers reg .. reg+count-1 = count reals
    int64_t base, offset, reg, count;
};

struct nc_scalar_store {  // count reals = or += weight x registers reg .. reg+count-1
    int64_t base, offset, reg, count, accumulate;
};

/* What a nc_scalar does with its registers a, b and c. A register that is read at once after it was written costs
 * twice what the operation does, so the usual operations have forms which take the result of the instruction before,
 * `last`, as it is: LAST_X in place of a, X_LAST in place of X's last operand. */
enum nc_scalar_code {  // below NC_SCALAR_BINARY: a nc_unary
    NC_SCALAR_BINARY = 64,  // + a nc_binary
    NC_SCALAR_WHERE = 128,
    NC_SCALAR_ADD,
    NC_SCALAR_SUBTRACT,
    NC_SCALAR_MULTIPLY,
    NC_SCALAR_DIVIDE,
    NC_SCALAR_MULTIPLY_ADD,       // a b + c
    NC_SCALAR_MULTIPLY_SUBTRACT,  // a b - c
    NC_SCALAR_SUBTRACT_PRODUCT,   // c - a b
    NC_SCALAR_LAST_ADD,
    NC_SCALAR_LAST_SUBTRACT,
    NC_SCALAR_LAST_MULTIPLY,
    NC_SCALAR_LAST_MULTIPLY_ADD,
    NC_SCALAR_LAST_MULTIPLY_SUBTRACT,
    NC_SCALAR_LAST_SUBTRACT_PRODUCT,
    NC_SCALAR_SUBTRACT_LAST,
    NC_SCALAR_MULTIPLY_ADD_LAST,
    NC_SCALAR_MULTIPLY_SUBTRACT_LAST,
    NC_SCALAR_SUBTRACT_PRODUCT_LAST,
};

struct nc_scalar {
    uint16_t operation, dst, a, b, c, unused[3];
};

/* A right-hand side that is one nc_scalars for a state of at most NC_SMALL reals: a solver may write y into its
 * registers and read dy from them, instead of both going through memory twice. n is 0 for any other. */
enum { NC_SMALL = 6 };  // states of so few reals have loops of their own; 6 for 4: a fifth off the adjoint of Lorenz

struct nc_direct {
    ptrdiff_t n;
    struct nc_ref file;
    const struct nc_scalar *first, *end;
    int64_t t, y;         // registers: t's, or -1; that of y[0], the others follow
    int64_t dy[NC_SMALL];  // the register of each
};

struct nc_program {
    const int64_t *code[NC_SEGMENTS];
    ptrdiff_t words[NC_SEGMENTS];
    ptrdiff_t bases;
    ptrdiff_t once, saved, carry, scratch;  // their sizes in reals
    ptrdiff_t saved_head;            // so many reals of ONCE start every SAVED block (a register file's constants)
    ptrdiff_t parameters;            // reals in the accumulators
};

/* SAVED blocks, one a stage; made when they are first asked for, small ones many at once. Blocks may be left over from
 * an earlier solve (fresh memory costs more than a stage): `used` of the `count` hold this one's. */
struct nc_tape {
    char **groups;   // of 2^shift blocks each
    int shift;
    int64_t capacity;  // groups that there is room for
    int64_t used, count, most;  // blocks; beyond `most` nothing is kept
    size_t block_bytes;
};

typedef void (*nc_execute_fn)(const int64_t *code, ptrdiff_t words, void *const *bases, double weight);

/* One execution: the program, its memory, and the tape if there is one. */
struct nc_run {
    const struct nc_program *program;
    size_t real_bytes;
    void **bases;  // (program->bases,) this run's own
    char *memory;  // once, one saved block, carry, scratch
    void *own_saved, *own_carry;
    size_t saved_bytes;      // of a saved block; in a ring's the carry follows
    struct nc_direct direct;
    struct nc_tape *tape;    // NULL: nothing is kept
    int64_t ring;            // > 0: slot i uses block i % ring of the tape, which holds its carry, too
    union { float f32; double f64; } t, t_bar;
    nc_execute_fn execute;
};

// ---- nc_run.c
/* bases (program->bases,): those from NC_BASE_FREE on are the caller's, the first are filled here. */
int nc_run_create(struct nc_run *run, const struct nc_program *program, size_t real_bytes,
                  void *const *arguments, nc_execute_fn execute);
void nc_run_free(struct nc_run *run);
void nc_run_segment(struct nc_run *run, enum nc_segment segment, double weight);
void nc_run_time(struct nc_run *run, double t);
// the SAVED block of a slot becomes the present one (in a ring its CARRY, too): 1 if it is kept on the tape, 0 if
// it is the run's own, -1 without memory
int nc_run_slot(struct nc_run *run, int64_t slot, int make);

size_t nc_run_block_bytes(const struct nc_run *run, int with_carry);
void nc_tape_init(struct nc_tape *tape, size_t block_bytes, int64_t most);
void nc_tape_free(struct nc_tape *tape);

#endif
