/* Rows into tiles. */

/* A row will be wanted soon. */
INLINE void F(prefetch_row)(const T *x, ptrdiff_t d)
{
    for (ptrdiff_t t = 0; t < d; t += 64 / (ptrdiff_t)sizeof(T))
        __builtin_prefetch(x + t);
    __builtin_prefetch(x + d - 1);
}

/* One step of a transposition: the lanes of a and b in turns, from lane `from` on. */
INLINE V F(interleave)(V a, V b, const int from)
{
#if defined(__clang__)
    /* Which has no __builtin_shuffle, and sees that this is one. */
    V c;
    for (int j = 0; j < N_V; ++j)
        c[j] = j % 2 ? b[from + j / 2] : a[from + j / 2];
    return c;
#else
    VI lanes;
    for (int j = 0; j < N_V; ++j)
        lanes[j] = from + j / 2 + j % 2 * (int)N_V;
    return __builtin_shuffle(a, b, lanes);
#endif
}

/* Transposes N_V vectors: log2(N_V) times, vectors i and i + N_V / 2 become the
 * vectors 2 i and 2 i + 1. */
INLINE void F(transpose)(V *v)
{
    V w[N_V];
    _Pragma("GCC unroll 4")
    for (int step = 1; step < N_V; step *= 2) {
        _Pragma("GCC unroll 16")
        for (int i = 0; i < N_V / 2; ++i) {
            w[2 * i] = F(interleave)(v[i], v[i + N_V / 2], 0);
            w[2 * i + 1] = F(interleave)(v[i], v[i + N_V / 2], (int)N_V / 2);
        }
        _Pragma("GCC unroll 16")
        for (int i = 0; i < N_V; ++i)
            v[i] = w[i];
    }
}

static void F(pack_norms)(ptrdiff_t d, T *tile)
{
    V norm[TILE / N_V];
    for (int j = 0; j < TILE / N_V; ++j)
        norm[j] = (V){0};
    for (ptrdiff_t t = 0; t < d; ++t)
        _Pragma("GCC unroll 16")
        for (int j = 0; j < TILE / N_V; ++j) {
            const V v = LOAD(tile + t * TILE + j * N_V);
            norm[j] += v * v;
        }
    for (int j = 0; j < TILE / N_V; ++j)
        STORE(tile + d * TILE + j * N_V, norm[j]);
}

/* Makes the tile of n <= 32 rows, wherever they are. Those `ahead` values further on
 * are wanted next. */
static void F(pack_rows)(const T *const *rows, ptrdiff_t n, ptrdiff_t d,
                         ptrdiff_t ahead, T scale, const T *shift, T *tile)
{
    ptrdiff_t done = 0;
    for (; done + N_V <= n; done += N_V) {
        const T *const *x = rows + done;
        ptrdiff_t t = 0;
        for (; t + N_V <= d; t += N_V) {
            V v[N_V];
            const V s = LOAD(shift + t);
            _Pragma("GCC unroll 16")
            for (int i = 0; i < N_V; ++i) {
                v[i] = LOAD(x[i] + t) * SPLAT(scale) - s;
                __builtin_prefetch(x[i] + t + ahead);
            }
            F(transpose)(v);
            _Pragma("GCC unroll 16")
            for (int i = 0; i < N_V; ++i)
                STORE(tile + (t + i) * TILE + done, v[i]);
        }
        for (; t < d; ++t)
            for (int i = 0; i < N_V; ++i)
                tile[t * TILE + done + i] = x[i][t] * scale - shift[t];
    }
    for (; done < n; ++done)
        for (ptrdiff_t t = 0; t < d; ++t)
            tile[t * TILE + done] = rows[done][t] * scale - shift[t];
    if (n < TILE)
        for (ptrdiff_t t = 0; t < d; ++t)
            memset(tile + t * TILE + n, 0, (size_t)(TILE - n) * sizeof(T));
    F(pack_norms)(d, tile);
}

static void F(pack)(const T *x, ptrdiff_t n, ptrdiff_t d, T scale, const T *shift,
                    T *tile)
{
    const T *rows[TILE];
    for (ptrdiff_t r = 0; r < n; ++r)
        rows[r] = x + r * d;
    F(pack_rows)(rows, n, d, TILE * d, scale, shift, tile);
}
