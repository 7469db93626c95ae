/* Two values at a time: of the activations of a pair, the nine sums that two codes
 * can give are prepared, and four bits of a row's code word choose among them. One
 * permutation and one addition so serve 32 products. */
enum { FLOAT_TOKENS_f32 = 6, FLOAT_PER_VALUE_f32 = 8 };

static void prepare_f32(const stern_matrix *m, const void *from, ptrdiff_t ldx,
                        int tokens, ptrdiff_t first, ptrdiff_t end, void *to)
{
    const float *x = from;
    float *tile = to;
    /* Entry i: code i % 4 - 1 of the first value, code i / 4 - 1 of the second. */
    const __m512 low = _mm512_setr_ps(-1, 0, 1, 0, -1, 0, 1, 0, -1, 0, 1, 0, -1, 0, 1, 0),
                 high = _mm512_setr_ps(-1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0);
    for (ptrdiff_t b = first; b < end; ++b) {
        const ptrdiff_t g = b / m->group_blocks;
        const ptrdiff_t k = (b - g * m->group_blocks) * STERN_MM_VALUES;
        const ptrdiff_t start = g * m->group_size;
        ptrdiff_t n = MIN(m->group_size, m->n_columns - start) - k;
        n = n < 0 ? 0 : MIN(n, STERN_MM_VALUES);
        for (int t = 0; t < tokens; ++t) {
            float values[STERN_MM_VALUES] = {0};
            memcpy(values, x + t * ldx + start + k, (size_t)n * sizeof *values);
            /* Pair p is of bits 4 p of a code word: values b, b + 4 or b + 8, b + 12
             * of byte b = p / 2. */
            for (int p = 0; p < 8; ++p) {
                const float *v = values + p / 2 + p % 2 * 8;
                _mm512_storeu_ps(tile + (p * tokens + t) * 16,
                                 _mm512_fmadd_ps(_mm512_set1_ps(v[4]), high,
                                                 _mm512_mul_ps(_mm512_set1_ps(v[0]), low)));
            }
        }
        tile += 8 * 16 * tokens;
    }
}

typedef uint32_t words __attribute__((vector_size(64), aligned(1), may_alias));

/* R row groups (1, 2 or 4) by N rows of activations, R * N <= 24. */
ALWAYS_INLINE void sums_tile_f32(const int R, const int N, const uint8_t *w,
                                 ptrdiff_t stride, ptrdiff_t count, const float *tile,
                                 float *sums)
{
#define LOAD(t, r) \
    (t < N && r < R ? _mm512_loadu_ps(sums + t * STERN_MM_PANEL + r * 16) : zero)
#define SUMS(t) \
    __m512 a##t = LOAD(t, 0), b##t = LOAD(t, 1), c##t = LOAD(t, 2), d##t = LOAD(t, 3);
#define CHOOSE(pair) _mm512_permutexvar_ps((__m512i)(pair), choices)
#define ADD(t)                                                                     \
    if (t < N) {                                                                   \
        const __m512 choices = _mm512_loadu_ps(tile + 16 * t);                     \
        a##t = _mm512_add_ps(a##t, CHOOSE(p0));            \
        if (R > 1)                                                                 \
            b##t = _mm512_add_ps(b##t, CHOOSE(p1));        \
        if (R > 2) {                                                               \
            c##t = _mm512_add_ps(c##t, CHOOSE(p2));        \
            d##t = _mm512_add_ps(d##t, CHOOSE(p3));        \
        }                                                                          \
    }
#define STORE(t)                                                                   \
    if (t < N) {                                                                   \
        _mm512_storeu_ps(sums + t * STERN_MM_PANEL, a##t);                         \
        if (R > 1)                                                                 \
            _mm512_storeu_ps(sums + t * STERN_MM_PANEL + 16, b##t);                \
        if (R > 2) {                                                               \
            _mm512_storeu_ps(sums + t * STERN_MM_PANEL + 32, c##t);                \
            _mm512_storeu_ps(sums + t * STERN_MM_PANEL + 48, d##t);                \
        }                                                                          \
    }
    const __m512 zero = _mm512_setzero_ps();
    EACH_12(SUMS)
    for (ptrdiff_t k = 0; k < count; ++k, w += stride) {
        words p0 = *(const words *)w, p1 = p0, p2 = p0, p3 = p0;
        if (R > 1)
            p1 = *(const words *)(w + 64);
        if (R > 2) {
            p2 = *(const words *)(w + 128);
            p3 = *(const words *)(w + 192);
        }
        if (N == 1)
            for (int r = 0; r < R; ++r)
                PREFETCH_L2(w + r * 64);
        for (int p = 0; p < 8; ++p, tile += 16 * N) {
            EACH_12(ADD)
            p0 >>= 4;
            p1 >>= 4;
            p2 >>= 4;
            p3 >>= 4;
        }
    }
    EACH_12(STORE)
#undef LOAD
#undef SUMS
#undef CHOOSE
#undef ADD
#undef STORE
}

#define CASE(R, n) \
    case n: sums_tile_f32(R, n, w, stride, count, tile, sums); break;
#define CASES(R) CASE(R, 1) CASE(R, 2) CASE(R, 3) CASE(R, 4) CASE(R, 5) CASE(R, 6)

static void sums_f32(const uint8_t *w, int groups, ptrdiff_t count, const float *tile,
                     int tokens, float *sums)
{
    const ptrdiff_t stride = groups * 64;
    if (groups == 4) {
        switch (tokens) { CASES(4) }
        return;
    }
    for (int g = 0; g < groups; ++g, w += 64, sums += 16)
        switch (tokens) { CASES(1) }
}
#undef CASE
#undef CASES
