/* The kernels for AVX-512 F, DQ, VL. */
#define NC_ISA avx512
#include "nc_kernels.inc"
