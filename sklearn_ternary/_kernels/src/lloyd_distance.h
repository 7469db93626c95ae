/* The squared distance that decides: differences, squares and sums in double
 * precision, value t in lane t % 8, the lanes folded in halves. Every step rounds
 * monotonously, so that no further value makes a partial sum smaller. */

#if !STERN_USE_AVX512
INLINE double F(fold)(double lanes[8])
{
    for (int half = 4; half; half /= 2)
        for (int j = 0; j < half; ++j)
            lanes[j] += lanes[j + half];
    return lanes[0];
}
#endif

INLINE double F(fold_vectors)(const VD acc[N_ACC])
{
#if STERN_USE_AVX512
    const __m512d a = (__m512d)acc[0];
    const __m256d b =
        _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
    return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
#else
    double lanes[8];
    for (int a = 0; a < N_ACC; ++a)
        STORE_D(lanes + a * N_VD, acc[a]);
    return F(fold)(lanes);
#endif
}

/* The distance, or where that exceeds `limit`, it or a smaller number above. */
static double F(distance)(const T *x, const T *c, ptrdiff_t d, double limit)
{
    VD acc[N_ACC];
    for (int a = 0; a < N_ACC; ++a)
        acc[a] = (VD){0};
    ptrdiff_t t = 0;
    while (t + 8 <= d) {
        const ptrdiff_t end = d - t < 64 ? t + (d - t) / 8 * 8 : t + 64;
        for (; t < end; t += 8)
            _Pragma("GCC unroll 4")
            for (int a = 0; a < N_ACC; ++a) {
                const VD v = WIDEN(x + t + a * N_VD) - WIDEN(c + t + a * N_VD);
                acc[a] += v * v;
            }
        if (d - t >= 64) {
            const double partial = F(fold_vectors)(acc);
            if (partial > limit)
                return partial;
        }
    }
#if STERN_USE_AVX512
    /* Zeros where there is nothing add nothing. */
    const __mmask8 there = (__mmask8)((1u << (d - t)) - 1);
    const VD v = WIDEN_SOME(x + t, there) - WIDEN_SOME(c + t, there);
    acc[0] += v * v;
    return F(fold_vectors)(acc);
#else
    double lanes[8];
    for (int a = 0; a < N_ACC; ++a)
        STORE_D(lanes + a * N_VD, acc[a]);
    for (int j = 0; t + j < d; ++j) {
        const double v = (double)x[t + j] - (double)c[t + j];
        lanes[j] += v * v;
    }
    return F(fold)(lanes);
#endif
}

#if STERN_USE_AVX512
/* `distance` of 8 rows. */
INLINE VD F(eight_distances)(const T *x, ptrdiff_t d, const T *centers,
                             const int32_t *labels)
{
    VD acc[8];
    const T *center[8];
    _Pragma("GCC unroll 8")
    for (int r = 0; r < 8; ++r) {
        center[r] = centers + labels[r] * d;
        acc[r] = (VD){0};
    }
    ptrdiff_t t = 0;
    for (; t + 8 <= d; t += 8)
        _Pragma("GCC unroll 8")
        for (int r = 0; r < 8; ++r) {
            const VD v = WIDEN(x + r * d + t) - WIDEN(center[r] + t);
            acc[r] += v * v;
        }
    if (t < d) {
        const __mmask8 there = (__mmask8)((1u << (d - t)) - 1);
        _Pragma("GCC unroll 8")
        for (int r = 0; r < 8; ++r) {
            const VD v = WIDEN_SOME(x + r * d + t, there)
                         - WIDEN_SOME(center[r] + t, there);
            acc[r] += v * v;
        }
    }
    /* Two rows, then four in a vector; even ones in one and odd ones in the other. */
    __m512d four[4], two[2];
    _Pragma("GCC unroll 4")
    for (int i = 0; i < 4; ++i) {
        const int first = i / 2 + i % 2 * 4;
        const __m512d a = (__m512d)acc[first], b = (__m512d)acc[first + 2];
        four[i] = _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x44),
                                _mm512_shuffle_f64x2(a, b, 0xee));
    }
    _Pragma("GCC unroll 2")
    for (int i = 0; i < 2; ++i) {
        const __m512d a = four[2 * i], b = four[2 * i + 1];
        two[i] = _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88),
                               _mm512_shuffle_f64x2(a, b, 0xdd));
    }
    return (VD)_mm512_add_pd(_mm512_unpacklo_pd(two[0], two[1]),
                             _mm512_unpackhi_pd(two[0], two[1]));
}
#endif

static void F(label_distances)(const T *x, ptrdiff_t n, ptrdiff_t d, const T *centers,
                               const int32_t *labels, double *distances)
{
    ptrdiff_t i = 0;
#if STERN_USE_AVX512
    /* Longer rows are as fast one after another, and easier to foresee for a cache. */
    for (; d <= 32 && i + 8 <= n; i += 8)
        STORE_D(distances + i, F(eight_distances)(x + i * d, d, centers, labels + i));
#endif
    for (; i < n; ++i)
        distances[i] = F(distance)(x + i * d, centers + labels[i] * d, d, INFINITY);
}
