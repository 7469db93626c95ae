/* Distances to candidates for a new centre.
 *
 * Differences, squares and sums in T, each rounded: rows equal to a candidate are
 * at distance 0, and every level gives the same bits. The sums of the minima are in
 * double precision, row r of each tile in lane r, the lanes folded in halves. */

INLINE void F(distance_group)(const int K, const T *tile, ptrdiff_t d, const T *c,
                              T *out)
{
    V a[2][GROUP];
    _Pragma("GCC unroll 16")
    for (int j = 0; j < K; ++j)
        a[0][j] = a[1][j] = (V){0};
    for (ptrdiff_t t = 0; t < d; ++t) {
        const V x0 = LOAD(tile), x1 = LOAD(tile + N_V);
        _Pragma("GCC unroll 16")
        for (int j = 0; j < K; ++j) {
            const V b = SPLAT(c[j]), v0 = x0 - b, v1 = x1 - b;
            a[0][j] += v0 * v0;
            a[1][j] += v1 * v1;
        }
        tile += TILE;
        c += K;
    }
    _Pragma("GCC unroll 16")
    for (int j = 0; j < K; ++j) {
        STORE(out + j * TILE, a[0][j]);
        STORE(out + j * TILE + N_V, a[1][j]);
    }
}

static void F(distance_tile)(const T *tile, ptrdiff_t d, const T *c, int n, T *out)
{
    for (int r = 0; r < TILE; r += 2 * (int)N_V) {
#define CASE(K)                                          \
    case K:                                              \
        F(distance_group)(K, tile + r, d, c, out + r);   \
        break;
        switch (n) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
#if GROUP > 5
            CASE(6)
#endif
#if GROUP > 6
            CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)
#endif
        }
#undef CASE
    }
}

static void F(potentials)(const T *x, ptrdiff_t n, ptrdiff_t d, T scale, const T *shift,
                          const T *tiles, T *scratch, const T *candidates,
                          int n_candidates, const T *weight, const T *closest,
                          T *minima, ptrdiff_t stride, double *potential)
{
    double lanes[GROUP][TILE];
    T distances[GROUP][TILE];
    memset(lanes, 0, sizeof lanes);
    for (ptrdiff_t start = 0; start < n; start += TILE) {
        const int rows = (int)(n - start < TILE ? n - start : TILE);
        const T *tile = scratch;
        if (tiles)
            tile = tiles + start * (d + 1);
        else
            F(pack)(x + start * d, rows, d, scale, shift, scratch);
        F(distance_tile)(tile, d, candidates, n_candidates, distances[0]);
        T known[TILE], w[TILE];
        for (int r = 0; r < TILE; ++r) {
            known[r] = r < rows ? closest[start + r] : 0;
            w[r] = r >= rows ? 0 : weight ? weight[start + r] : 1;
        }
        for (int j = 0; j < n_candidates; ++j)
            for (int r = 0; r < TILE; ++r) {
                const T v = distances[j][r] < known[r] ? distances[j][r] : known[r];
                distances[j][r] = v;
                lanes[j][r] += (double)w[r] * (double)v;
            }
        if (minima)
            for (int j = 0; j < n_candidates; ++j)
                memcpy(minima + j * stride + start, distances[j],
                       (size_t)rows * sizeof(T));
    }
    for (int j = 0; j < n_candidates; ++j) {
        for (int half = TILE / 2; half; half /= 2)
            for (int r = 0; r < half; ++r)
                lanes[j][r] += lanes[j][r + half];
        potential[j] = lanes[j][0];
    }
}
