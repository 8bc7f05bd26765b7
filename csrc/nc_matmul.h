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
#define NC_VECTOR_BYTES 64
#define NC_DOT_BYTES 32
#define NC_TILE_ROWS 6
#define NC_TILE_VECTORS 4
#elif defined(__AVX__)
#define NC_VECTOR_BYTES 32
#define NC_DOT_BYTES 32
#define NC_TILE_ROWS 6
#define NC_TILE_VECTORS 2
#else
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
    NC_BLOCK_ROWS = 256,       // rows of A that stay in the second-level cache while the panels pass by
};

// lane numbers, from which the compiler computes the constants of shuffles and masks
static const int32_t nc_lanes_f32[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const int64_t nc_lanes_f64[8] = {0, 1, 2, 3, 4, 5, 6, 7};

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

/* Whether a B that is used once should be packed first. Never: matmul_direct copies the panels that need it
 * onto the stack, where they are still in the cache when they are used. Pack what is used again. */
static inline int nc_matmul_packs(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
{
    (void)m, (void)k, (void)n;
    return 0;
}

#endif
