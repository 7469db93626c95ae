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

static void F(label_distances)(const T *x, ptrdiff_t n, ptrdiff_t d, const T *centers,
                               const int32_t *labels, double *distances)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        distances[i] = F(distance)(x + i * d, centers + labels[i] * d, d, INFINITY);
}
