/* Codes of floats and floats of codes; included by float_loops.h. */

#if STERN_USE_AVX512
/* One bit for each of 64 values. */
#if T_BITS == 32
#define MASK16(OP, p, b) _mm512_cmp_ps_mask(_mm512_loadu_ps(p), (__m512)(b), OP)
#define MASK64(OP, p, b)                                                              \
    _mm512_kunpackd(                                                                  \
        _mm512_kunpackw(MASK16(OP, (p) + 48, (b)[3]), MASK16(OP, (p) + 32, (b)[2])),  \
        _mm512_kunpackw(MASK16(OP, (p) + 16, (b)[1]), MASK16(OP, p, (b)[0])))
#define N_B 4
#else
static inline uint64_t mask64_f64(const double *p, const V *b, const int above)
{
    uint64_t m = 0;
    _Pragma("GCC unroll 8")
    for (int k = 0; k < 8; ++k) {
        const __m512d v = _mm512_loadu_pd(p + 8 * k);
        const __mmask8 c = above ? _mm512_cmp_pd_mask(v, (__m512d)b[k], _CMP_GT_OQ)
                                 : _mm512_cmp_pd_mask(v, (__m512d)b[k], _CMP_LT_OQ);
        m |= (uint64_t)c << (8 * k);
    }
    return m;
}
#define MASK64(OP, p, b) mask64_f64(p, b, (OP) == _CMP_GT_OQ)
#define N_B 8
#endif

static inline void STERN_GLUE(F(codes), _step)(const T *x, const V *t, int five, int8_t *out)
{
    V minus[N_B];
    const __m512i one = _mm512_set1_epi8(1);
    for (int k = 0; k < N_B; ++k)
        minus[k] = -t[k];
    const __mmask64 above = MASK64(_CMP_GT_OQ, x, t), below = MASK64(_CMP_LT_OQ, x, minus);
    __m512i c = _mm512_maskz_mov_epi8(above, one);
    c = _mm512_mask_sub_epi8(c, below, c, one);
    if (five) {
        V three[N_B];
        for (int k = 0; k < N_B; ++k)
            three[k] = (T)3 * t[k];
        for (int k = 0; k < N_B; ++k)
            minus[k] = -three[k];
        c = _mm512_mask_add_epi8(c, MASK64(_CMP_GT_OQ, x, three), c, one);
        c = _mm512_mask_sub_epi8(c, MASK64(_CMP_LT_OQ, x, minus), c, one);
    }
    _mm512_storeu_si512(out, c);
}
#undef MASK64
#define STEP 64

#if T_BITS == 32
#define GT(a, b) _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ)
#define SIGNS(v) _mm512_movepi32_mask((__m512i)(v))
#else
#define GT(a, b) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_GT_OQ)
#define SIGNS(v) _mm512_movepi64_mask((__m512i)(v))
#endif
/* Add 16 magnitudes to the sums of their lanes. With three zeros before its exponent and
 * 29 behind its fraction a float is a double, but for a factor of 2**896; making those
 * takes half of the instructions of a conversion. Even lanes go to the first vector. */
static inline void F(add_magnitudes)(V magnitudes, VD *acc)
{
#if T_BITS == 32
    const __m512i bits = (__m512i)magnitudes, field = _mm512_set1_epi64(0x0fffffffe0000000);
    acc[0] += (VD)_mm512_mul_epu32(bits, _mm512_set1_epi64(1 << 29));
    acc[1] += (VD)_mm512_and_si512(_mm512_srli_epi64(bits, 3), field);
#else
    acc[0] += magnitudes;
#endif
}

/* The codes of 64 values for a threshold of `high`, as int8 or packed, and bits of those
 * above `low` but not above `high`; their magnitudes are added to the lanes. */
static inline uint64_t F(look)(const T *x, V low, V high, int t2, uint8_t *out, VD *acc)
{
    uint64_t may_be = 0, is = 0, signs = 0;
    _Pragma("GCC unroll 8")
    for (int k = 0; k < 64; k += (int)N_V) {
        const V v = LOAD(x + k), a = ABS(v);
        F(add_magnitudes)(a, acc + k % STERN_LANES / N_VD);
        may_be |= (uint64_t)GT(a, low) << k;
        is |= (uint64_t)GT(a, high) << k;
        signs |= (uint64_t)SIGNS(v) << k;
    }
    if (t2) {
        const uint64_t one = UINT64_C(0x5555555555555555), two = one << 1;
        const uint64_t zeros = ~is, positive = is & ~signs;
        store_bytes(out, _pdep_u64(zeros, one) | _pdep_u64(positive, two), 8);
        store_bytes(out + 8, _pdep_u64(zeros >> 32, one) | _pdep_u64(positive >> 32, two), 8);
    } else {
        const __m512i plus = _mm512_maskz_mov_epi8(is, _mm512_set1_epi8(1));
        _mm512_storeu_si512(out, _mm512_mask_mov_epi8(plus, is & signs, _mm512_set1_epi8(-1)));
    }
    return may_be ^ is;
}
#undef GT
#undef SIGNS
#elif STERN_USE_AVX2
#define N_B (32 / N_V)
static inline __m256i F(pack32)(const VI m[])
{
    /* Masks of 32 values to 32 bytes, in order. */
#if T_BITS == 32
    const __m256i a = _mm256_packs_epi32((__m256i)m[0], (__m256i)m[1]);
    const __m256i b = _mm256_packs_epi32((__m256i)m[2], (__m256i)m[3]);
#else
    __m256i w[4];
    for (int k = 0; k < 4; ++k) {
        const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(
            (__m256)m[2 * k], (__m256)m[2 * k + 1], 0x88));
        w[k] = _mm256_permute4x64_epi64(even, 0xd8);
    }
    const __m256i a = _mm256_packs_epi32(w[0], w[1]), b = _mm256_packs_epi32(w[2], w[3]);
#endif
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static inline void STERN_GLUE(F(codes), _step)(const T *x, const V *t, int five, int8_t *out)
{
    VI m[N_B];
    _Pragma("GCC unroll 8")
    for (int k = 0; k < N_B; ++k) {
        const V v = LOAD(x + k * N_V);
        m[k] = (VI)(v < -t[k]) - (VI)(v > t[k]);
        if (five)
            m[k] += (VI)(v < -((T)3 * t[k])) - (VI)(v > (T)3 * t[k]);
    }
    _mm256_storeu_si256((__m256i *)out, F(pack32)(m));
}
#define STEP 32
#define BITS_OF(m) (uint32_t)_mm256_movemask_epi8(F(pack32)(m))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define N_B (16 / N_V)
static inline __m128i F(pack16)(const VI m[])
{
#if T_BITS == 32
    return _mm_packs_epi16(_mm_packs_epi32((__m128i)m[0], (__m128i)m[1]),
                           _mm_packs_epi32((__m128i)m[2], (__m128i)m[3]));
#else
    __m128i w[4];
    for (int k = 0; k < 4; ++k)
        w[k] = _mm_castps_si128(
            _mm_shuffle_ps((__m128)m[2 * k], (__m128)m[2 * k + 1], 0x88));
    return _mm_packs_epi16(_mm_packs_epi32(w[0], w[1]), _mm_packs_epi32(w[2], w[3]));
#endif
}

static inline void STERN_GLUE(F(codes), _step)(const T *x, const V *t, int five, int8_t *out)
{
    VI m[N_B];
    _Pragma("GCC unroll 8")
    for (int k = 0; k < N_B; ++k) {
        const V v = LOAD(x + k * N_V);
        m[k] = (VI)(v < -t[k]) - (VI)(v > t[k]);
        if (five)
            m[k] += (VI)(v < -((T)3 * t[k])) - (VI)(v > (T)3 * t[k]);
    }
    _mm_storeu_si128((__m128i *)out, F(pack16)(m));
}
#define STEP 16
#define BITS_OF(m) (uint32_t)_mm_movemask_epi8(F(pack16)(m))
#endif

static inline int8_t F(code)(T x, T t, int five)
{
    const T three = (T)3 * t;
    int c = (x > t) - (x < -t);
    if (five)
        c += (x > three) - (x < -three);
    return (int8_t)c;
}

static void F(codes)(const T *x, ptrdiff_t n, T threshold, int five, int8_t *out)
{
    ptrdiff_t i = 0;
#ifdef STEP
    V t[N_B];
    for (int k = 0; k < N_B; ++k)
        t[k] = SPLAT(threshold);
    if (five)
        for (; i + STEP <= n; i += STEP) {
            PREFETCH(x + i, STEP * sizeof(T))
            STERN_GLUE(F(codes), _step)(x + i, t, 1, out + i);
        }
    else
        for (; i + STEP <= n; i += STEP) {
            PREFETCH(x + i, STEP * sizeof(T))
            STERN_GLUE(F(codes), _step)(x + i, t, 0, out + i);
        }
#endif
    for (; i < n; ++i)
        out[i] = F(code)(x[i], threshold, five);
}

#if !STERN_USE_AVX512
/* As at level avx512; packed when all codes of a chunk are there. */
static inline uint64_t F(look)(const T *x, V low, V high, int t2, uint8_t *out, VD *acc)
{
    uint64_t near = 0;
    T magnitudes[64];
    (void)t2;
    for (int k = 0; k < 64; k += (int)N_V)
        STORE(magnitudes + k, ABS(LOAD(x + k)));
    for (int row = 0; row < 64; row += STERN_LANES)
        _Pragma("GCC unroll 16")
        for (int a = 0; a < STERN_LANES / N_VD; ++a)
            acc[a] += WIDEN(magnitudes + row + a * N_VD);
#ifdef STEP
    V t[N_B];
    for (int k = 0; k < N_B; ++k)
        t[k] = high;
    _Pragma("GCC unroll 4")
    for (int j = 0; j < 64; j += STEP) {
        VI m[N_B];
        _Pragma("GCC unroll 8")
        for (int k = 0; k < N_B; ++k) {
            const V a = LOAD(magnitudes + j + k * N_V);
            m[k] = (VI)(a > low) & ~(VI)(a > high);
        }
        near |= (uint64_t)BITS_OF(m) << j;
        STERN_GLUE(F(codes), _step)(x + j, t, 0, (int8_t *)out + j);
    }
#else
    for (int j = 0; j < 64; ++j) {
        const T a = magnitudes[j];
        near |= (uint64_t)((a > low[0]) & !(a > high[0])) << j;
        ((int8_t *)out)[j] = F(code)(x[j], high[0], 0);
    }
#endif
    return near;
}
#undef BITS_OF
#endif

/* `t2` is a constant where this is called. */
__attribute__((always_inline)) static inline double F(sum_looks)(
    const T *x, T low, T high, int t2, uint8_t *out, uint64_t *near,
    uint64_t *which, const T *next)
{
    double lanes[STERN_LANES];
    VD acc[STERN_LANES / N_VD];
    uint64_t some = 0;
    for (int a = 0; a < STERN_LANES / N_VD; ++a)
        acc[a] = (VD){0};
    for (ptrdiff_t i = 0; i < STERN_SUM_CHUNK; i += 64) {
        for (int b = 0; b < 64; b += 64 / (int)sizeof(T))
            __builtin_prefetch(next + i + b);
        near[i / 64] = F(look)(x + i, SPLAT(low), SPLAT(high), t2, out + (t2 ? i / 4 : i),
                               acc);
        some |= (uint64_t)(near[i / 64] != 0) << (i / 64);
    }
    *which = some;
#if STERN_USE_AVX512 && T_BITS == 32
    for (int j = 0; j < STERN_LANES; ++j)
        lanes[j] = 0x1p896 * acc[j / 16 * 2 + j % 2][j % 16 / 2];
    const double sum = F(fold)(lanes);
    /* Infinities and NaN have become numbers from 2**128 on. */
    return sum < 0x1p128 ? sum : F(abs_sum)(x, STERN_SUM_CHUNK);
#else
    memcpy(lanes, acc, sizeof lanes);
    return F(fold)(lanes);
#endif
}

static double F(sum_codes)(const T *x, T low, T high, int t2, uint8_t *out, uint64_t *near,
                           uint64_t *which, const T *next)
{
#if STERN_USE_AVX512
    if (t2)
        return F(sum_looks)(x, low, high, 1, out, near, which, next);
#else
    if (t2) {
        uint8_t codes[STERN_SUM_CHUNK];
        const double sum = F(sum_looks)(x, low, high, 0, codes, near, which, next);
        pack_t2((const int8_t *)codes, STERN_SUM_CHUNK, out);
        return sum;
    }
#endif
    return F(sum_looks)(x, low, high, 0, out, near, which, next);
}

static void F(codes_each)(const T *x, ptrdiff_t n, const T *threshold, int five, int8_t *out)
{
    ptrdiff_t i = 0;
#ifdef STEP
    for (; i + STEP <= n; i += STEP) {
        V t[N_B];
        for (int k = 0; k < N_B; ++k)
            t[k] = LOAD(threshold + i + k * N_V);
        STERN_GLUE(F(codes), _step)(x + i, t, five, out + i);
    }
#endif
    for (; i < n; ++i)
        out[i] = F(code)(x[i], threshold[i], five);
}

static void F(values)(const int8_t *codes, ptrdiff_t n, T step, T *out)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i] = (T)codes[i] * step;
}

static void F(values_each)(const int8_t *codes, ptrdiff_t n, const T *step, T *out)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        out[i] = (T)codes[i] * step[i];
}
