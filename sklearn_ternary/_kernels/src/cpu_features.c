#include "cpu_features.h"

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define FLAG(name, test) {name, test}
/* The compiler's builtins ask cpuid and xgetbv; their argument is a literal. */
#define SUPPORTS(function, name) \
    static int function(void) { __builtin_cpu_init(); return !!__builtin_cpu_supports(name); }
SUPPORTS(has_sse42, "sse4.2")
SUPPORTS(has_avx, "avx")
SUPPORTS(has_avx2, "avx2")
SUPPORTS(has_fma, "fma")
SUPPORTS(has_bmi2, "bmi2")
SUPPORTS(has_popcnt, "popcnt")
SUPPORTS(has_avx512f, "avx512f")
SUPPORTS(has_avx512bw, "avx512bw")
SUPPORTS(has_avx512vl, "avx512vl")
SUPPORTS(has_avx512dq, "avx512dq")
SUPPORTS(has_avx512vbmi, "avx512vbmi")
SUPPORTS(has_avx512vnni, "avx512vnni")

#include <cpuid.h>
static int leaf7_1_eax(int bit)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> bit & 1);
}
static int leaf7_edx(int bit)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> bit & 1);
}
static int has_avxvnni(void) { return has_avx2() && leaf7_1_eax(4); }
static int has_avx512bf16(void) { return has_avx512f() && leaf7_1_eax(5); }
static int has_amx_int8(void) { return has_avx512f() && leaf7_edx(25); }
static int has_amx_bf16(void) { return has_avx512f() && leaf7_edx(22); }

static const struct { const char *name; int (*test)(void); } flags[] = {
    FLAG("sse4_2", has_sse42), FLAG("popcnt", has_popcnt), FLAG("avx", has_avx),
    FLAG("avx2", has_avx2), FLAG("fma", has_fma), FLAG("bmi2", has_bmi2),
    FLAG("avxvnni", has_avxvnni), FLAG("avx512f", has_avx512f),
    FLAG("avx512bw", has_avx512bw), FLAG("avx512vl", has_avx512vl),
    FLAG("avx512dq", has_avx512dq), FLAG("avx512vbmi", has_avx512vbmi),
    FLAG("avx512vnni", has_avx512vnni), FLAG("avx512bf16", has_avx512bf16),
    FLAG("amx_int8", has_amx_int8), FLAG("amx_bf16", has_amx_bf16),
};
#define N_FLAGS ((int)(sizeof flags / sizeof flags[0]))

const char *stern_build_options(void)
{
    return STERN_BUILD_OPTIONS;
}

int stern_isa_supported(int isa)
{
    switch (isa) {
    case STERN_GENERIC:
        return 1;
#ifdef STERN_BUILT_AVX2
    case STERN_AVX2:
        return has_avx2() && has_fma() && has_bmi2();
#endif
#ifdef STERN_BUILT_AVX512
    case STERN_AVX512:
        return has_avx2() && has_fma() && has_bmi2() && has_avx512f() && has_avx512bw()
            && has_avx512vl() && has_avx512dq() && has_avx512vbmi() && has_avx512vnni();
#endif
    }
    return 0;
}

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
int stern_amx_allowed(void)
{
    /* Linux lets a process use the tile registers once it asked. */
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    static int known = -1;
    int allowed = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (allowed < 0) {
        allowed = has_amx_int8() && has_amx_bf16() && has_avx512bf16()
            && stern_isa_supported(STERN_AVX512)
            && !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
        __atomic_store_n(&known, allowed, __ATOMIC_RELAXED);
    }
    return allowed;
}
#else
int stern_amx_allowed(void) { return 0; }
#endif

#else

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
static int has_neon(void) { return 1; }
static int has_dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; }
#elif defined(__aarch64__) && defined(__APPLE__)
static int has_neon(void) { return 1; }
static int has_dotprod(void) { return 1; }
#else  /* nothing is known, and nothing built that would need to know */
static int has_neon(void) { return 0; }
static int has_dotprod(void) { return 0; }
#endif

static const struct { const char *name; int (*test)(void); } flags[] = {
    {"neon", has_neon}, {"dotprod", has_dotprod},
};
#define N_FLAGS ((int)(sizeof flags / sizeof flags[0]))
int stern_isa_supported(int isa) { return isa == STERN_GENERIC; }
int stern_amx_allowed(void) { return 0; }
#endif

int stern_n_cpu_flags(void) { return N_FLAGS; }
const char *stern_cpu_flag_name(int i) { return flags[i].name; }
int stern_cpu_flag(int i) { return flags[i].test(); }
