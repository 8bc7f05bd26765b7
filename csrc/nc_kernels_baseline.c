/* The kernels for the portable baseline: no flags beyond the platform's. */
#define NC_ISA baseline
#include "nc_kernels.inc"
