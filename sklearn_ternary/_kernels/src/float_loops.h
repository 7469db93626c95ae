/* Loops over floats, included once for float and once for double (T, T_BITS).
 *
 * Vectors are the compiler's (GCC and clang `vector_size`), of the level's
 * width, so that one text serves every level; intrinsics stand only where masks
 * are narrowed to bytes. */

#if STERN_USE_AVX512
#define WIDTH 64
#elif STERN_USE_AVX2
#define WIDTH 32
#else
#define WIDTH 16
#endif

#if T_BITS == 32
#define F(name) STERN_GLUE(name, _f32)
#define INT int32_t
#define TABLE stern_f32
#else
#define F(name) STERN_GLUE(name, _f64)
#define INT int64_t
#define TABLE stern_f64
#endif

#define V F(vec)
#define VI F(ivec)
#define VD F(dvec)
#define VH F(hvec)
#define N_V ((ptrdiff_t)(WIDTH / sizeof(T)))
#define N_VD ((ptrdiff_t)(WIDTH / sizeof(double)))
#define N_ACC (STERN_LANES / (WIDTH / (int)sizeof(double)))

/* May lie anywhere in memory and alias anything. */
typedef T V __attribute__((vector_size(WIDTH), aligned(1), may_alias));
typedef INT VI __attribute__((vector_size(WIDTH), aligned(1), may_alias));
typedef double VD __attribute__((vector_size(WIDTH), aligned(1), may_alias));
/* As many T as VD has doubles. */
typedef T VH __attribute__((vector_size(WIDTH / sizeof(double) * sizeof(T)),
                            aligned(1), may_alias));

#define LOAD(p) (*(const V *)(p))
#define ABS(v) ((V)((VI)(v) & ~((VI){0} + (INT)((uint64_t)1 << (T_BITS - 1)))))
#define SPLAT(a) ((V){0} + (a))
/* a where the comparison holds, else 0. */
#define WHERE(comparison, a) ((V)((VI)(comparison) & (VI)(a)))

static inline double F(fold)(double lanes[STERN_LANES])
{
    for (int half = STERN_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; ++j)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

/* The ordered sum of f(value), the value widened to double first. */
#define ORDERED_SUM(EXPRESSION_V, EXPRESSION_S)                            \
    VD acc[N_ACC];                                                         \
    double lanes[STERN_LANES];                                             \
    ptrdiff_t i = 0;                                                       \
    for (int a = 0; a < N_ACC; ++a)                                        \
        acc[a] = (VD){0};                                                  \
    for (; i + STERN_LANES <= n; i += STERN_LANES) {                       \
        _Pragma("GCC unroll 16")                                           \
        for (int a = 0; a < N_ACC; ++a) {                                  \
            VD v = __builtin_convertvector(*(const VH *)(x + i + a * N_VD), VD); \
            acc[a] += EXPRESSION_V;                                        \
        }                                                                  \
    }                                                                      \
    for (int a = 0; a < N_ACC; ++a)                                        \
        for (int j = 0; j < N_VD; ++j)                                     \
            lanes[a * N_VD + j] = acc[a][j];                               \
    for (ptrdiff_t j = 0; i + j < n; ++j) {                                \
        double v = (double)x[i + j];                                       \
        lanes[j] += EXPRESSION_S;                                          \
    }                                                                      \
    return F(fold)(lanes);

typedef int64_t F(dbits) __attribute__((vector_size(WIDTH), aligned(1), may_alias));
#define ABS_D(v) ((VD)((F(dbits))(v) & INT64_MAX))

static double F(abs_sum)(const T *x, ptrdiff_t n)
{
    ORDERED_SUM(ABS_D(v), fabs(v))
}

static double F(square_sum)(const T *x, ptrdiff_t n)
{
    ORDERED_SUM(v * v, v * v)
}

static double F(abs_sum_above)(const T *x, ptrdiff_t n, T threshold, int64_t *count)
{
    const double t = threshold;
    int64_t c = 0;
    /* Counting apart lets the compiler keep narrow integers. */
    for (ptrdiff_t k = 0; k < n; ++k)
        c += (T_BITS == 32 ? fabsf((float)x[k]) > (float)threshold : fabs(x[k]) > t);
    *count = c;
    ORDERED_SUM((VD)((F(dbits))(ABS_D(v) > t) & (F(dbits))ABS_D(v)),
                (fabs(v) > t ? fabs(v) : 0.0))
}

static T F(abs_max)(const T *x, ptrdiff_t n)
{
    /* Magnitudes compare as integers, and NaN is above infinity. */
    VI best = {0};
    ptrdiff_t i = 0;
    INT largest = 0;
    for (; i + N_V <= n; i += N_V) {
        VI v = (VI)ABS(LOAD(x + i));
        VI above = v > best;
        best = (v & above) | (best & ~above);
    }
    for (int j = 0; j < N_V; ++j)
        if (best[j] > largest)
            largest = best[j];
    for (; i < n; ++i) {
        INT bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= (INT)(((uint64_t)1 << (T_BITS - 1)) - 1);
        if (bits > largest)
            largest = bits;
    }
    T result;
    memcpy(&result, &largest, sizeof result);
    return result;
}

static void F(sums_above)(const T *x, ptrdiff_t n, const T *thresholds, double *sums,
                          int64_t *counts)
{
    /* Sums in T over runs short enough to stay within 1e-6. */
    const ptrdiff_t run = 32 * N_V;
    for (ptrdiff_t start = 0; start < n; start += run) {
        const ptrdiff_t end = start + run < n ? start + run : n;
        /* Four thresholds at a time stay in registers. */
        for (int half = 0; half < STERN_N_ABOVE; half += 4) {
            V t[4], s[4];
            VI c[4];
            for (int k = 0; k < 4; ++k) {
                t[k] = SPLAT(thresholds[half + k]);
                s[k] = (V){0};
                c[k] = (VI){0};
            }
            ptrdiff_t i = start;
            for (; i + N_V <= end; i += N_V) {
                const V v = ABS(LOAD(x + i));
#if STERN_USE_AVX512
#if T_BITS == 32
#define GT(a, b) _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ)
#define ADD_IF(a, m, b) ((V)_mm512_mask_add_ps((__m512)(a), m, (__m512)(a), (__m512)(b)))
#define COUNT_IF(a, m) ((VI)_mm512_mask_sub_epi32((__m512i)(a), m, (__m512i)(a), _mm512_set1_epi32(-1)))
#else
#define GT(a, b) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_GT_OQ)
#define ADD_IF(a, m, b) ((V)_mm512_mask_add_pd((__m512d)(a), m, (__m512d)(a), (__m512d)(b)))
#define COUNT_IF(a, m) ((VI)_mm512_mask_sub_epi64((__m512i)(a), m, (__m512i)(a), _mm512_set1_epi64(-1)))
#endif
#else
#define GT(a, b) ((VI)((a) > (b)))
#define ADD_IF(a, m, b) ((a) + WHERE(m, b))
#define COUNT_IF(a, m) ((a) - (m))
#endif
                _Pragma("GCC unroll 4")
                for (int k = 0; k < 4; ++k) {
                    const __typeof__(GT(v, t[k])) m = GT(v, t[k]);
                    s[k] = ADD_IF(s[k], m, v);
                    c[k] = COUNT_IF(c[k], m);
                }
            }
            for (int k = 0; k < 4; ++k) {
                double sum = 0;
                int64_t count = 0;
                for (int j = 0; j < N_V; ++j) {
                    sum += s[k][j];
                    count += c[k][j];
                }
                for (ptrdiff_t j = i; j < end; ++j) {
                    const T v = x[j] < 0 ? -x[j] : x[j];
                    if (v > thresholds[half + k]) {
                        sum += v;
                        ++count;
                    }
                }
                sums[half + k] += sum;
                counts[half + k] += count;
            }
        }
    }
#undef GT
#undef ADD_IF
#undef COUNT_IF
}

static ptrdiff_t F(gather)(const T *x, ptrdiff_t n, T low, T high, T *out, ptrdiff_t room)
{
    ptrdiff_t found = 0, i = 0;
#if STERN_USE_AVX512
    for (; i + N_V <= n && found + N_V <= room; i += N_V) {
        const V v = ABS(LOAD(x + i));
#if T_BITS == 32
        const __mmask16 m = _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(low), _CMP_GT_OQ)
            & _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(high), _CMP_LE_OQ);
        _mm512_storeu_ps(out + found, _mm512_maskz_compress_ps(m, (__m512)v));
#else
        const __mmask8 m = _mm512_cmp_pd_mask((__m512d)v, _mm512_set1_pd(low), _CMP_GT_OQ)
            & _mm512_cmp_pd_mask((__m512d)v, _mm512_set1_pd(high), _CMP_LE_OQ);
        _mm512_storeu_pd(out + found, _mm512_maskz_compress_pd(m, (__m512d)v));
#endif
        found += __builtin_popcount(m);
    }
#endif
    for (; i < n && found < room; ++i) {
        const T v = x[i] < 0 ? -x[i] : x[i];
        out[found] = v;
        found += v > low && v <= high;
    }
    return found;
}

#if STERN_USE_AVX512
/* One bit for each of 64 values. */
#if T_BITS == 32
#define MASK64(OP, p, b)                                                              \
    ((uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(p), (__m512)(b)[0], OP)             \
     | (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps((p) + 16), (__m512)(b)[1], OP) << 16 \
     | (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps((p) + 32), (__m512)(b)[2], OP) << 32 \
     | (uint64_t)_mm512_cmp_ps_mask(_mm512_loadu_ps((p) + 48), (__m512)(b)[3], OP) << 48)
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
    const uint64_t above = MASK64(_CMP_GT_OQ, x, t), below = MASK64(_CMP_LT_OQ, x, minus);
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
        for (; i + STEP <= n; i += STEP)
            STERN_GLUE(F(codes), _step)(x + i, t, 1, out + i);
    else
        for (; i + STEP <= n; i += STEP)
            STERN_GLUE(F(codes), _step)(x + i, t, 0, out + i);
#endif
    for (; i < n; ++i)
        out[i] = F(code)(x[i], threshold, five);
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

static void F(add_abs)(const T *x, ptrdiff_t n, double *total)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        total[i] += fabs((double)x[i]);
}

static void F(max_abs)(const T *x, ptrdiff_t n, T *largest)
{
    for (ptrdiff_t i = 0; i < n; ++i) {
        const T v = x[i] < 0 ? -x[i] : x[i];
        /* NaN wins and stays, as in numpy.maximum. */
        largest[i] = largest[i] >= v || largest[i] != largest[i] ? largest[i] : v;
    }
}

static ptrdiff_t F(find_nonfinite)(const T *x, ptrdiff_t n)
{
    const INT infinity = T_BITS == 32 ? 0x7f800000 : (INT)0x7ff0000000000000;
    ptrdiff_t i = 0;
    /* x - x is 0 for finite x and NaN otherwise; look closer at blocks that have one. */
    for (; i + 16 * N_V <= n; i += 16 * N_V) {
        V sum = {0};
        for (int k = 0; k < 16; ++k)
            sum += LOAD(x + i + k * N_V) * (T)0;
        T total = 0;
        for (int j = 0; j < N_V; ++j)
            total += sum[j];
        if (total != 0 || total != total)
            break;
    }
    for (; i < n; ++i) {
        INT bits;
        memcpy(&bits, x + i, sizeof bits);
        if ((bits & infinity) == infinity)
            return i;
    }
    return -1;
}

const TABLE STERN_GLUE(F(stern), STERN_GLUE(_, STERN_LEVEL)) = {
    F(abs_sum), F(abs_sum_above), F(square_sum), F(abs_max), F(sums_above), F(gather),
    F(codes), F(codes_each), F(values), F(values_each), F(add_abs), F(max_abs),
    F(find_nonfinite),
};

#undef WIDTH
#undef F
#undef INT
#undef TABLE
#undef V
#undef VI
#undef VD
#undef VH
#undef N_V
#undef N_VD
#undef N_ACC
#undef LOAD
#undef ABS
#undef SPLAT
#undef WHERE
#undef ORDERED_SUM
#undef ABS_D
#undef STEP
#undef N_B
