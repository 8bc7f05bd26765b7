/* Matrix products: what the kernels of nc_matmul*.inc have in common on one instruction set.
 *
 * C (m, n) = [C +] alpha A (m, k) B (k, n) [+ bias (n,)]. Every operand has two strides in reals, so a
 * transpose is only another pair of strides. One thread, no allocation, and a summation order that depends
 * on the shape and strides alone: the same call gives the same bits. C must not overlap the other operands.
 *
 * One loop does nearly all: a tile of C, NC_TILE_ROWS rows by at most NC_TILE_VECTORS vectors, stays in
 * registers while A is read by broadcast and a panel of B (columns side by side) by vectors. No lane is ever
 * padded: the last vector of a panel ends at its last column and overlaps its neighbour, which computes a few
 * elements twice to the same bits. So nothing outside an operand is read or written, and no 0 * NaN of a
 * padded lane can leak.
 *
 * Packed B: n < NC_NARROW columns one after another; otherwise panels one after another, (k, width) each,
 * contiguous. It has no padding either, k * n reals. Vectors load fastest if it is 64-byte aligned.
 */
#ifndef NC_MATMUL_H
#define NC_MATMUL_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a vector, and the tile that its registers hold with room for the operands: 24 of 32 vectors on
 * AVX-512, 12 of 16 on AVX2, 8 of 16 where a product needs a register before it is added. */
#if defined(__AVX512F__)
#define NC_REGISTERS 32
#define NC_VECTOR_BYTES 64
#define NC_DOT_BYTES 32
#define NC_TILE_ROWS 6
#define NC_TILE_VECTORS 4
#elif defined(__AVX__)
#define NC_REGISTERS 16
#define NC_VECTOR_BYTES 32
#define NC_DOT_BYTES 32
#define NC_TILE_ROWS 6
#define NC_TILE_VECTORS 2
#else
#define NC_REGISTERS 16
#define NC_VECTOR_BYTES 16
#define NC_DOT_BYTES 16
#define NC_TILE_ROWS 4
#define NC_TILE_VECTORS 2
#endif

enum {
    NC_TILE_MOST = NC_TILE_ROWS * NC_TILE_VECTORS,  // vectors of the largest tile
    // Few rows read a panel twice as wide in place: 2x20x50 in one panel takes 100 ns, in two 136.
    NC_WIDE_VECTORS = 2 * NC_TILE_VECTORS,
    NC_WIDE_ROWS = 2,
    // Up to this k, B stays in registers and C is written row by row.
    NC_OUTER_DEPTH = 4,
    // A block of a panel, k by width. It may exceed the first-level cache: a panel streams from the second
    // level for free, and longer sums visit C less often (24 -> 48 KiB: 56.5 -> 58.1 GFLOP/s in float64).
    NC_PANEL_BYTES = 48 << 10,
    NC_BLOCK_DEPTH = 256,  // at most; deeper, a strip of A with a_row = 1 falls out of the first level
    NC_BLOCK_ROWS = 256,   // of A, which stay in the second level while the panels pass by
    // Panels whose rows lie so far apart (bytes) are copied before so many rows of A use them. The others are
    // read in place, as fast: copying them too cost 64x64x64 8 %.
    NC_COPY_STRIDE = NC_VECTOR_BYTES > 32 ? 4096 : 2048,
    NC_COPY_ROWS = 128,
};

/* Lane numbers of a whole vector and of the one for dot products. Constants of vector type, because gcc
 * computes shuffles from those when it compiles; from arrays it did so at every call, 15 ns. */
#define NC_COUNT_2 0, 1
#define NC_COUNT_4 NC_COUNT_2, 2, 3
#define NC_COUNT_8 NC_COUNT_4, 4, 5, 6, 7
#define NC_COUNT_16 NC_COUNT_8, 8, 9, 10, 11, 12, 13, 14, 15
typedef int32_t nc_index_full_f32 __attribute__((vector_size(NC_VECTOR_BYTES)));
typedef int64_t nc_index_full_f64 __attribute__((vector_size(NC_VECTOR_BYTES)));
typedef int32_t nc_index_half_f32 __attribute__((vector_size(NC_DOT_BYTES)));
typedef int64_t nc_index_half_f64 __attribute__((vector_size(NC_DOT_BYTES)));
#if NC_VECTOR_BYTES == 64
static const nc_index_full_f32 nc_lanes_full_f32 = {NC_COUNT_16};
static const nc_index_full_f64 nc_lanes_full_f64 = {NC_COUNT_8};
#elif NC_VECTOR_BYTES == 32
static const nc_index_full_f32 nc_lanes_full_f32 = {NC_COUNT_8};
static const nc_index_full_f64 nc_lanes_full_f64 = {NC_COUNT_4};
#else
static const nc_index_full_f32 nc_lanes_full_f32 = {NC_COUNT_4};
static const nc_index_full_f64 nc_lanes_full_f64 = {NC_COUNT_2};
#endif
#if NC_DOT_BYTES == 32
static const nc_index_half_f32 nc_lanes_half_f32 = {NC_COUNT_8};
static const nc_index_half_f64 nc_lanes_half_f64 = {NC_COUNT_4};
#else
static const nc_index_half_f32 nc_lanes_half_f32 = {NC_COUNT_4};
static const nc_index_half_f64 nc_lanes_half_f64 = {NC_COUNT_2};
#endif

typedef int32_t nc_four_index_f32 __attribute__((vector_size(16)));  // lane numbers of four reals
typedef int64_t nc_four_index_f64 __attribute__((vector_size(32)));

/* x is read from memory once and stays in a register. gcc reads it again for each product, as that saves an
 * instruction; but loads that cross cache lines are what these loops wait for (2x20x50: 136 -> 100 ns). */
#if defined(__AVX512F__)
#define NC_KEEP(x) __asm__("" : "+v"(x))
#elif defined(__x86_64__)
#define NC_KEEP(x) __asm__("" : "+x"(x))
#else
#define NC_KEEP(x) (void)0
#endif

/* Lanes of x and y, one after the other, chosen by `index`: one instruction where gcc knows the index. Clang has no
 * such builtin for an index that is a vector. */
#ifdef __clang__
#define NC_SHUFFLE(x, y, index)                                                                             \
    ({                                                                                                      \
        __typeof__((x) + (x)) nc_x = (x), nc_y = (y), nc_out;                                               \
        __typeof__((index) + (index)) nc_i = (index);                                                       \
        const int nc_lanes = (int)(sizeof(nc_x) / sizeof(nc_x[0]));                                         \
        for (int l = 0; l < nc_lanes; l++)                                                                  \
            nc_out[l] = nc_i[l] < nc_lanes ? nc_x[nc_i[l]] : nc_y[nc_i[l] - nc_lanes];                      \
        nc_out;                                                                                             \
    })
#else
#define NC_SHUFFLE(x, y, index) __builtin_shuffle(x, y, index)
#endif

#define NC_INLINE static inline __attribute__((always_inline))
#define NC_OUT_OF_LINE static __attribute__((noinline))

/* Whether a B that many products share is worth packing. Not for one product: matmul_direct reads B where it
 * is, or copies the panels that need it while they are in the cache. Not for few rows either, which read
 * wider panels in place (1x64x64: 182 ns against 205), nor for a k so small that B stays in registers. A
 * narrow B is spared the splitting into columns, 20 ns. */
static inline int nc_matmul_packs(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
{
    return k > NC_OUTER_DEPTH && (m > NC_WIDE_ROWS || n < 4);
}

#endif
