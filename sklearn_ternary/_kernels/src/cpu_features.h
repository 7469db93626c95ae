/* What the processor can do, and the levels that kernels are built for. */
#ifndef STERN_CPU_FEATURES_H
#define STERN_CPU_FEATURES_H

enum stern_isa { STERN_GENERIC = 0, STERN_AVX2 = 1, STERN_AVX512 = 2 };

/* Level "avx2" needs AVX2, FMA and BMI2; level "avx512" needs F, BW, VL, DQ,
 * VBMI and VNNI (Ice Lake, Zen 4 and later), the operating system's consent
 * included. A level that was not built is not supported. */
/* How the package was built: names and values. */
const char *stern_build_options(void);
int stern_isa_supported(int isa);

/* Whether the 8-bit tile unit may be used; asks the operating system for it. */
int stern_amx_allowed(void);

int stern_n_cpu_flags(void);
const char *stern_cpu_flag_name(int i);
int stern_cpu_flag(int i);

#endif
