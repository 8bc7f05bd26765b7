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
    NC_WIDE_VECTORS = 2 * NC_TILE_VECTORS,  // of a panel read in place by at most NC_WIDE_ROWS rows
    NC_WIDE_ROWS = 2,
    NC_TILE_MOST = NC_TILE_ROWS * NC_TILE_VECTORS,  // vectors of the largest tile
    NC_OUTER_DEPTH = 4,        // up to this k, B stays in registers and C is written row by row
    NC_PANEL_BYTES = 48 << 10, // a block of a panel: most of the first-level cache
    NC_COPY_ROWS = 128,        // from so many rows on, a panel is copied before it is used if its rows are
    NC_COPY_STRIDE = NC_VECTOR_BYTES > 32 ? 4096 : 2048,  // this many bytes apart
    NC_DEPTH = 256,            // at most so much of k at once, or a column-wise A leaves the first-level cache
    NC_BLOCK_ROWS = 256,       // rows of A that stay in the second-level cache while the panels pass by
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

// x is read from memory once and stays in a register: gcc would read it again for each product
#if defined(__AVX512F__)
#define NC_KEEP(x) __asm__("" : "+v"(x))
#elif defined(__x86_64__)
#define NC_KEEP(x) __asm__("" : "+x"(x))
#else
#define NC_KEEP(x) (void)0
#endif

#define NC_INLINE static inline __attribute__((always_inline))
#define NC_OUT_OF_LINE static __attribute__((noinline))

/* Whether a B that many products share is worth packing. Not for one product: matmul_direct reads B where it
 * is, or copies the panels that need it while they are in the cache. Not for few rows either, which read wider
 * panels in place (1x64x64: 182 ns against 205), nor for such a small k that B stays in registers. */
static inline int nc_matmul_packs(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
{
    const int narrow = n < NC_DOT_BYTES / (ptrdiff_t)sizeof(double);  // spares splitting into columns, 20 ns
    return k > NC_OUTER_DEPTH && (narrow || m > NC_WIDE_ROWS);
}

#endif
