/* The squared distance that decides: differences, squares and sums in double
 * precision, value t in lane t % 8, the lanes folded in halves. Every step rounds
 * monotonously, so that no further value makes a partial sum smaller. */

INLINE double F(fold)(double lanes[8])
{
    for (int half = 4; half; half /= 2)
        for (int j = 0; j < half; ++j)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

INLINE double F(fold_vectors)(const VD acc[N_ACC])
{
    double lanes[8];
    for (int a = 0; a < N_ACC; ++a)
        STORE_D(lanes + a * N_VD, acc[a]);
    return F(fold)(lanes);
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
    double lanes[8];
    for (int a = 0; a < N_ACC; ++a)
        STORE_D(lanes + a * N_VD, acc[a]);
    for (int j = 0; t + j < d; ++j) {
        const double v = (double)x[t + j] - (double)c[t + j];
        lanes[j] += v * v;
    }
    return F(fold)(lanes);
}

static void F(label_distances)(const T *x, ptrdiff_t n, ptrdiff_t d, const T *centers,
                               const int32_t *labels, double *distances)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        distances[i] = F(distance)(x + i * d, centers + labels[i] * d, d, INFINITY);
}
