/* Choice of the loops of rows at prices by level, and what needs no level. */
#include "transport.h"

#include <math.h>

#include "cpu_features.h"

#if defined(STERN_BUILT_AVX2)
#define AVX2_CASE(f)                                                                   \
    case STERN_AVX2:                                                                   \
        return stern_cheapest_##f##_avx2;
#else
#define AVX2_CASE(f)
#endif
#if defined(STERN_BUILT_AVX512)
#define AVX512_CASE(f)                                                                 \
    case STERN_AVX512:                                                                 \
        return stern_cheapest_##f##_avx512;
#else
#define AVX512_CASE(f)
#endif

#define CHOICE(f)                                                                      \
    extern stern_cheapest_of_##f stern_cheapest_##f##_generic;                         \
    extern stern_cheapest_of_##f stern_cheapest_##f##_avx2;                            \
    extern stern_cheapest_of_##f stern_cheapest_##f##_avx512;                          \
    stern_cheapest_##f stern_cheapest_##f##_for(int isa)                               \
    {                                                                                  \
        switch (isa) {                                                                 \
        case STERN_GENERIC:                                                            \
            return stern_cheapest_##f##_generic;                                       \
            AVX2_CASE(f)                                                               \
            AVX512_CASE(f)                                                             \
        }                                                                              \
        return 0;                                                                      \
    }

CHOICE(f32)
CHOICE(f64)

#define T float
#define F(name) name##_f32
#include "transport_paths.h"
#undef T
#undef F

#define T double
#define F(name) name##_f64
#include "transport_paths.h"
