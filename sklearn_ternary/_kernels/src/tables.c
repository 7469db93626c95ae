/* Choice of a table by level. */
#include "cpu_features.h"
#include "quantize.h"

#define DECLARE(level)                      \
    extern const stern_f32 stern_f32_##level; \
    extern const stern_f64 stern_f64_##level; \
    extern const stern_codec stern_codec_##level;
DECLARE(generic)
#ifdef STERN_BUILT_AVX2
DECLARE(avx2)
#endif
#ifdef STERN_BUILT_AVX512
DECLARE(avx512)
#endif

#ifdef STERN_BUILT_AVX2
#define CASE_AVX2(table) case STERN_AVX2: return &table##_avx2;
#else
#define CASE_AVX2(table)
#endif
#ifdef STERN_BUILT_AVX512
#define CASE_AVX512(table) case STERN_AVX512: return &table##_avx512;
#else
#define CASE_AVX512(table)
#endif
#define CHOOSE(table)                           \
    switch (isa) {                              \
    case STERN_GENERIC: return &table##_generic; \
    CASE_AVX2(table)                            \
    CASE_AVX512(table)                          \
    }                                           \
    return NULL;

const stern_f32 *stern_f32_for(int isa) { CHOOSE(stern_f32) }
const stern_f64 *stern_f64_for(int isa) { CHOOSE(stern_f64) }
const stern_codec *stern_codec_for(int isa) { CHOOSE(stern_codec) }
