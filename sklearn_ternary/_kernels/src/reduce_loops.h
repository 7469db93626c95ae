/* Sums, maxima and searches; included by float_loops.h. */

static inline double F(fold)(double lanes[STERN_LANES])
{
    for (int half = STERN_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; ++j)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

/* The lanes are summed at most eight registers at a time: level generic, with 16 of
 * two lanes, goes over the chunk twice. */
#define N_ACC (STERN_LANES / (WIDTH / 8) < 8 ? STERN_LANES / (WIDTH / 8) : 8)

/* The ordered sum of EXPRESSION in v: a vector of doubles, or one double. */
#define ORDERED_SUM(EXPRESSION_V, EXPRESSION_S, FINALLY)                   \
    double lanes[STERN_LANES];                                             \
    const ptrdiff_t whole = n / STERN_LANES * STERN_LANES;                 \
    for (int first = 0; first < STERN_LANES; first += N_ACC * (int)N_VD) { \
        VD acc[N_ACC];                                                     \
        for (int a = 0; a < N_ACC; ++a)                                    \
            acc[a] = (VD){0};                                              \
        for (ptrdiff_t i = first; i < whole; i += STERN_LANES) {           \
            PREFETCH(x + i, STERN_LANES * sizeof(T))                       \
            _Pragma("GCC unroll 8")                                        \
            for (int a = 0; a < N_ACC; ++a) {                              \
                const VD v = WIDEN(x + i + a * N_VD);                      \
                acc[a] += EXPRESSION_V;                                    \
            }                                                              \
        }                                                                  \
        for (int a = 0; a < N_ACC; ++a)                                    \
            memcpy(lanes + first + a * N_VD, &acc[a], sizeof acc[a]);      \
    }                                                                      \
    for (ptrdiff_t j = 0; whole + j < n; ++j) {                            \
        const double v = (double)x[whole + j];                             \
        lanes[j] += EXPRESSION_S;                                          \
    }                                                                      \
    FINALLY;                                                               \
    return F(fold)(lanes);

static double F(abs_sum)(const T *x, ptrdiff_t n)
{
    ORDERED_SUM(ABS_D(v), fabs(v), )
}

static double F(square_sum)(const T *x, ptrdiff_t n)
{
    ORDERED_SUM(v * v, v * v, )
}

#if STERN_USE_AVX512
static double F(abs_sum_above)(const T *x, ptrdiff_t n, T threshold, int64_t *count)
{
    const double t = threshold;
    int64_t c = 0;
#define ABOVE(v) _mm512_cmp_pd_mask((__m512d)ABS_D(v), _mm512_set1_pd(t), _CMP_GT_OQ)
    __mmask8 m;
    *count = 0;
    /* The comma counts on the way; the mask keeps the sum at one addition. */
    ORDERED_SUM(
        (m = ABOVE(v), c += __builtin_popcount(m),
         (VD)_mm512_maskz_mov_pd(m, (__m512d)ABS_D(v))),
        (fabs(v) > t ? (++c, fabs(v)) : 0.0),
        *count = c)
#undef ABOVE
}
#else
static double F(abs_sum_above)(const T *x, ptrdiff_t n, T threshold, int64_t *count)
{
    const double t = threshold;
    VI above = {0};
    ptrdiff_t k = 0;
    *count = 0;
    for (; k + N_V <= n; k += N_V)
        above -= (VI)(ABS(LOAD(x + k)) > threshold);
    for (int j = 0; j < N_V; ++j)
        *count += above[j];
    for (; k < n; ++k)
        *count += fabs((double)x[k]) > t;
    ORDERED_SUM((VD)((VDI)(ABS_D(v) > t) & (VDI)ABS_D(v)),
                (fabs(v) > t ? fabs(v) : 0.0), )
}
#endif
#undef ORDERED_SUM
#undef N_ACC

static T F(abs_max)(const T *x, ptrdiff_t n)
{
    /* Magnitudes compare as integers, and NaN is above infinity. */
    VI best[4] = {{0}, {0}, {0}, {0}};
    ptrdiff_t i = 0;
    INT largest = 0;
#define RAISE(k, p) {                                         \
        const VI v = (VI)ABS(LOAD(p)), above = v > best[k];   \
        best[k] = (v & above) | (best[k] & ~above);           \
    }
    for (; i + 4 * N_V <= n; i += 4 * N_V) {
        RAISE(0, x + i)
        RAISE(1, x + i + N_V)
        RAISE(2, x + i + 2 * N_V)
        RAISE(3, x + i + 3 * N_V)
    }
    for (; i + N_V <= n; i += N_V)
        RAISE(0, x + i)
#undef RAISE
    for (int k = 0; k < 4; ++k)
        for (int j = 0; j < N_V; ++j)
            largest = best[k][j] > largest ? best[k][j] : largest;
    for (; i < n; ++i) {
        INT bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= MAGNITUDE_BITS;
        largest = bits > largest ? bits : largest;
    }
    T result;
    memcpy(&result, &largest, sizeof result);
    return result;
}

/* GT: which are greater; ADD_IF, COUNT_IF: a plus b, or 1, where they are. */
#if STERN_USE_AVX512 && T_BITS == 32
#define GT(a, b) _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ)
#define ADD_IF(a, m, b) ((V)_mm512_mask_add_ps((__m512)(a), m, (__m512)(a), (__m512)(b)))
#define COUNT_IF(a, m) ((VI)_mm512_mask_sub_epi32((__m512i)(a), m, (__m512i)(a), _mm512_set1_epi32(-1)))
#define MASK __mmask16
#elif STERN_USE_AVX512
#define GT(a, b) _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_GT_OQ)
#define ADD_IF(a, m, b) ((V)_mm512_mask_add_pd((__m512d)(a), m, (__m512d)(a), (__m512d)(b)))
#define COUNT_IF(a, m) ((VI)_mm512_mask_sub_epi64((__m512i)(a), m, (__m512i)(a), _mm512_set1_epi64(-1)))
#define MASK __mmask8
#else
#define GT(a, b) ((VI)((a) > (b)))
#define ADD_IF(a, m, b) ((a) + (V)((m) & (VI)(b)))
#define COUNT_IF(a, m) ((a) - (m))
#define MASK VI
#endif

/* Four thresholds at a time stay in registers. */
static void F(four_sums_above)(const T *x, ptrdiff_t n, const T *thresholds,
                               double *sums, int64_t *counts)
{
    /* Sums in T over runs short enough to stay within 5e-6. */
    const ptrdiff_t run = 64 * N_V;
    double wide[4][WIDTH / sizeof(T)] = {{0}};
    int64_t found[4][WIDTH / sizeof(T)] = {{0}};
    const V t0 = SPLAT(thresholds[0]), t1 = SPLAT(thresholds[1]),
            t2 = SPLAT(thresholds[2]), t3 = SPLAT(thresholds[3]);
    ptrdiff_t i = 0;
    while (i + N_V <= n) {
        const ptrdiff_t end = i + run <= n ? i + run : i + (n - i) / N_V * N_V;
        V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        VI c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0};
        for (; i < end; i += N_V) {
            const V v = ABS(LOAD(x + i));
            const MASK m0 = GT(v, t0), m1 = GT(v, t1), m2 = GT(v, t2), m3 = GT(v, t3);
            s0 = ADD_IF(s0, m0, v);
            s1 = ADD_IF(s1, m1, v);
            s2 = ADD_IF(s2, m2, v);
            s3 = ADD_IF(s3, m3, v);
            c0 = COUNT_IF(c0, m0);
            c1 = COUNT_IF(c1, m1);
            c2 = COUNT_IF(c2, m2);
            c3 = COUNT_IF(c3, m3);
        }
        const V s[4] = {s0, s1, s2, s3};
        const VI c[4] = {c0, c1, c2, c3};
        for (int k = 0; k < 4; ++k) {
            T part[WIDTH / sizeof(T)];
            INT count[WIDTH / sizeof(T)];
            memcpy(part, &s[k], sizeof part);
            memcpy(count, &c[k], sizeof count);
            for (int j = 0; j < N_V; ++j) {
                wide[k][j] += part[j];
                found[k][j] += count[j];
            }
        }
    }
    for (int k = 0; k < 4; ++k) {
        for (ptrdiff_t j = i; j < n; ++j) {
            const T v = ABS_1(x[j]);
            if (v > thresholds[k]) {
                wide[k][0] += v;
                ++found[k][0];
            }
        }
        for (int j = 0; j < N_V; ++j) {
            sums[k] += wide[k][j];
            counts[k] += found[k][j];
        }
    }
}
#undef GT
#undef ADD_IF
#undef COUNT_IF
#undef MASK

static void F(sums_above)(const T *x, ptrdiff_t n, const T *thresholds, double *sums,
                          int64_t *counts)
{
    /* Blocks that stay in the first cache from four to four. */
    for (ptrdiff_t i = 0; i < n; i += 4096) {
        const ptrdiff_t m = n - i < 4096 ? n - i : 4096;
        for (int k = 0; k < STERN_N_ABOVE; k += 4)
            F(four_sums_above)(x + i, m, thresholds + k, sums + k, counts + k);
    }
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
#elif STERN_USE_AVX2
    for (; i + N_V <= n && found + N_V <= room; i += N_V) {
        const V v = ABS(LOAD(x + i));
        const VI within = (VI)(v > low) & (VI)(v <= high);
        /* Four bits for each of eight 32-bit words, then the words to move up front. */
        const unsigned bytes = (unsigned)_mm256_movemask_epi8((__m256i)within);
        if (!bytes)
            continue;
        const uint64_t nibbles = _pdep_u64(bytes, UINT64_C(0x0f0f0f0f0f0f0f0f));
        const uint64_t order = _pext_u64(UINT64_C(0x0706050403020100),
                                         nibbles | nibbles << 4);
        const __m256i where = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)order));
        STORE(out + found, _mm256_permutevar8x32_ps((__m256)v, where));
        found += __builtin_popcount(bytes) / (int)sizeof(T);
    }
#endif
    for (; i < n && found < room; ++i) {
        const T v = ABS_1(x[i]);
        out[found] = v;
        found += (v > low) & (v <= high);
    }
    return found;
}

static void F(add_abs)(const T *x, ptrdiff_t n, double *total)
{
    ptrdiff_t i = 0;
    for (; i + N_VD <= n; i += N_VD)
        *(F(dvec_at) *)(total + i) += (F(dvec_at))ABS_D(WIDEN(x + i));
    for (; i < n; ++i)
        total[i] += fabs((double)x[i]);
}

static void F(max_abs)(const T *x, ptrdiff_t n, T *largest)
{
    ptrdiff_t i = 0;
    /* NaN wins and stays, as in numpy.maximum. */
    for (; i + N_V <= n; i += N_V) {
        const V v = ABS(LOAD(x + i)), old = LOAD(largest + i);
        const VI take = (VI)(v > old) | (VI)(v != v);
        STORE(largest + i, (V)(((VI)v & take) | ((VI)old & ~take)));
    }
    for (; i < n; ++i) {
        const T v = ABS_1(x[i]);
        largest[i] = (v > largest[i]) | (v != v) ? v : largest[i];
    }
}

static ptrdiff_t F(find_nonfinite)(const T *x, ptrdiff_t n)
{
    const INT infinity = T_BITS == 32 ? 0x7f800000 : (INT)0x7ff0000000000000;
    ptrdiff_t i = 0;
    /* x * 0 is NaN where x is not finite; look closer at blocks that have one. */
    for (; i + 16 * N_V <= n; i += 16 * N_V) {
        V sum[4] = {{0}, {0}, {0}, {0}};
        PREFETCH(x + i, 16 * WIDTH)
        _Pragma("GCC unroll 16")
        for (int k = 0; k < 16; ++k)
            sum[k % 4] += LOAD(x + i + k * N_V) * (T)0;
        const V total = sum[0] + sum[1] + (sum[2] + sum[3]);
        const VI isnan = (VI)(total != total);
        INT found = 0;
        for (int j = 0; j < N_V; ++j)
            found |= isnan[j];
        if (found)
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
