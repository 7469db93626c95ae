/* Vectors of one level and type, and the loops over them; included once for float
 * and once for double (T, T_BITS). */

#if STERN_USE_AVX512
#define WIDTH 64
#define GROUP 13
#elif STERN_USE_AVX2
#define WIDTH 32
#define GROUP 6
#else
#define WIDTH 16
#define GROUP 5
#endif

#if T_BITS == 32
#define F(name) STERN_GLUE(name, _f32)
#define INT int32_t
#define TABLE stern_lloyd_f32
#else
#define F(name) STERN_GLUE(name, _f64)
#define INT int64_t
#define TABLE stern_lloyd_f64
#endif

#define V F(vec)
#define VI F(ivec)
#define VD F(dvec)
#define N_V ((ptrdiff_t)(WIDTH / sizeof(T)))
#define N_VD ((ptrdiff_t)(WIDTH / sizeof(double)))
#define N_ACC (8 / (WIDTH / (int)sizeof(double)))

typedef T V __attribute__((vector_size(WIDTH)));
typedef INT VI __attribute__((vector_size(WIDTH)));
typedef double VD __attribute__((vector_size(WIDTH)));
/* May lie anywhere in memory and alias anything. */
typedef T F(vec_at) __attribute__((vector_size(WIDTH), aligned(1), may_alias));
typedef double F(dvec_at) __attribute__((vector_size(WIDTH), aligned(1), may_alias));

#define LOAD(p) ((V)(*(const F(vec_at) *)(p)))
#define STORE(p, v) (*(F(vec_at) *)(p) = (F(vec_at))(v))
#define LOAD_D(p) ((VD)(*(const F(dvec_at) *)(p)))
#define STORE_D(p, v) (*(F(dvec_at) *)(p) = (F(dvec_at))(v))
/* Subtracting 0 changes no value, -0 and NaN included, and compilers leave it out. */
#define SPLAT(a) ((T)(a) - (V){0})
#define SPLAT_I(a) ((VI){0} + (INT)(a))

/* FMA(a, b, c): a * b + c, in one rounding or two. The others are exact; where one
 * of a and b is NaN, MAX and MIN give b. */
#if STERN_USE_AVX512 && T_BITS == 32
#define FMA(a, b, c) ((V)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define MAX(a, b) ((V)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define MIN(a, b) ((V)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define MASK __mmask16
#define ABOVE(a, b) _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ)
#define PICK(m, a, b) ((VI)_mm512_mask_mov_epi32((__m512i)(b), m, (__m512i)(a)))
#define WIDEN(p) ((VD)_mm512_cvtps_pd(_mm256_loadu_ps(p)))
#define WIDEN_SOME(p, m) ((VD)_mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, p)))
#define ROOT(a) ((V)_mm512_sqrt_ps((__m512)(a)))
#elif STERN_USE_AVX512
#define FMA(a, b, c) ((V)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define MAX(a, b) ((V)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define MIN(a, b) ((V)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define MASK __mmask8
#define ABOVE(a, b) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_GT_OQ)
#define PICK(m, a, b) ((VI)_mm512_mask_mov_epi64((__m512i)(b), m, (__m512i)(a)))
#define WIDEN(p) LOAD_D(p)
#define WIDEN_SOME(p, m) ((VD)_mm512_maskz_loadu_pd(m, p))
#define ROOT(a) ((V)_mm512_sqrt_pd((__m512d)(a)))
#elif STERN_USE_AVX2 && T_BITS == 32
#define FMA(a, b, c) ((V)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define MAX(a, b) ((V)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define MIN(a, b) ((V)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define MASK VI
#define ABOVE(a, b) ((VI)((a) > (b)))
#define PICK(m, a, b) \
    ((VI)_mm256_blendv_epi8((__m256i)(b), (__m256i)(a), (__m256i)(m)))
#define WIDEN(p) ((VD)_mm256_cvtps_pd(_mm_loadu_ps(p)))
#define ROOT(a) ((V)_mm256_sqrt_ps((__m256)(a)))
#elif STERN_USE_AVX2
#define FMA(a, b, c) ((V)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define MAX(a, b) ((V)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define MIN(a, b) ((V)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define MASK VI
#define ABOVE(a, b) ((VI)((a) > (b)))
#define PICK(m, a, b) \
    ((VI)_mm256_blendv_epi8((__m256i)(b), (__m256i)(a), (__m256i)(m)))
#define WIDEN(p) LOAD_D(p)
#define ROOT(a) ((V)_mm256_sqrt_pd((__m256d)(a)))
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#define MASK VI
#define ABOVE(a, b) ((VI)((a) > (b)))
#define PICK(m, a, b) (((m) & (a)) | (~(m) & (b)))
#define MAX(a, b) ((V)PICK(ABOVE(a, b), (VI)(a), (VI)(b)))
#define MIN(a, b) ((V)PICK(ABOVE(b, a), (VI)(a), (VI)(b)))
#define ROOT(a) F(root)(a)
#if T_BITS == 32
#define WIDEN(p) ((VD){(p)[0], (p)[1]})
#else
#define WIDEN(p) LOAD_D(p)
#endif
#endif

/* The lanes added up. */
INLINE T F(total)(V v)
{
#if STERN_USE_AVX512 && T_BITS == 32
    return _mm512_reduce_add_ps((__m512)v);
#elif STERN_USE_AVX512
    return _mm512_reduce_add_pd((__m512d)v);
#else
    T sum = v[0];
    _Pragma("GCC unroll 8")
    for (int j = 1; j < N_V; ++j)
        sum += v[j];
    return sum;
#endif
}

/* The first n < N_V values, and zeros. */
INLINE V F(load_some)(const T *p, ptrdiff_t n)
{
#if STERN_USE_AVX512 && T_BITS == 32
    return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif STERN_USE_AVX512
    return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#else
    T lanes[N_V] = {0};
    for (ptrdiff_t j = 0; j < n; ++j)
        lanes[j] = p[j];
    return LOAD(lanes);
#endif
}

#if !STERN_USE_AVX512 && !STERN_USE_AVX2
INLINE V F(root)(V v)
{
    T lanes[N_V];
    STORE(lanes, v);
    for (int j = 0; j < N_V; ++j)
        lanes[j] = (T)sqrt(lanes[j]);
    return LOAD(lanes);
}
#endif

#include "lloyd_tile.h"
#include "lloyd_distance.h"
#include "lloyd_nearest.h"
#include "lloyd_groups.h"
#include "lloyd_screen.h"
#if STERN_USE_AMX && T_BITS == 32
#include "lloyd_split.h"
#define NEAREST nearest_split
#define NEAREST_BOUNDED nearest_bounded_split
#define PACK_SPLIT pack_split, split_rows
#else
#define NEAREST F(nearest)
#define NEAREST_BOUNDED F(nearest_bounded)
#define PACK_SPLIT NULL, NULL
#endif
#include "lloyd_potential.h"
#include "lloyd_sums.h"

const TABLE STERN_GLUE(F(stern_lloyd), STERN_GLUE(_, STERN_LEVEL)) = {
    GROUP, F(pack), PACK_SPLIT, NEAREST, NEAREST_BOUNDED, F(rotate_tile), F(encode),
    F(nearest_by_codes), F(potentials), F(move_rows), F(label_distances),
    F(nearest_csr),
};

#undef UP
#undef DOWN
#undef NEAREST
#undef NEAREST_BOUNDED
#undef PACK_SPLIT
#undef WIDTH
#undef GROUP
#undef F
#undef INT
#undef TABLE
#undef V
#undef VI
#undef VD
#undef N_V
#undef N_VD
#undef N_ACC
#undef LOAD
#undef STORE
#undef LOAD_D
#undef STORE_D
#undef SPLAT
#undef SPLAT_I
#undef FMA
#undef MAX
#undef MIN
#undef MASK
#undef ABOVE
#undef PICK
#undef WIDEN
#undef WIDEN_SOME
#undef ROOT
