/* The kernels for AVX2 with FMA (-mavx2 -mfma). */
#define NC_ISA avx2
#include "nc_kernels.inc"
