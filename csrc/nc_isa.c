/* Which instruction sets were compiled, and which of them this machine runs. */
#include <time.h>
#include "nc_solver.h"

const struct nc_isa *nc_isa_at(int index)
{
    static const struct nc_isa *const compiled[] = {
#ifdef NC_HAVE_X86_ISAS
        &nc_isa_avx512,
        &nc_isa_avx2,
#endif
        &nc_isa_baseline,
    };
    const int count = (int)(sizeof(compiled) / sizeof(compiled[0]));
    return index >= 0 && index < count ? compiled[index] : NULL;
}

int nc_isa_supported(const struct nc_isa *isa)
{
#ifdef NC_HAVE_X86_ISAS
    if (isa == &nc_isa_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
               && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
    if (isa == &nc_isa_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return isa == &nc_isa_baseline;
}

const char *nc_compiler_version(void)
{
#ifdef __clang__
    return __VERSION__;  // begins with its name
#else
    return "gcc " __VERSION__;
#endif
}

double nc_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
