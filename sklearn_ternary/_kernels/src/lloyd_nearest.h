/* Nearest centres. */

/* Scores of K centres for two vectors of rows: raises best and second. */
INLINE void F(score_group)(const int K, const T *tile, ptrdiff_t d, const T *c,
                           const T *init, INT first, V *best, V *second, VI *label)
{
    V a[2][GROUP];
    _Pragma("GCC unroll 16")
    for (int j = 0; j < K; ++j)
        a[0][j] = a[1][j] = SPLAT(init[j]);
    for (ptrdiff_t t = 0; t < d; ++t) {
        const V x0 = LOAD(tile), x1 = LOAD(tile + N_V);
        _Pragma("GCC unroll 16")
        for (int j = 0; j < K; ++j) {
            const V b = SPLAT(c[j]);
            a[0][j] = FMA(x0, b, a[0][j]);
            a[1][j] = FMA(x1, b, a[1][j]);
        }
        tile += TILE;
        c += K;
    }
    _Pragma("GCC unroll 16")
    for (int j = 0; j < K; ++j)
        _Pragma("GCC unroll 2")
        for (int p = 0; p < 2; ++p) {
            const MASK above = ABOVE(a[p][j], best[p]);
            second[p] = MAX(MIN(a[p][j], best[p]), second[p]);
            best[p] = MAX(a[p][j], best[p]);
            label[p] = PICK(above, SPLAT_I(first + j), label[p]);
        }
}

/* Best and second score of the rows of a tile, and the centres of the best. */
static void F(score_tile)(const F(stern_centers) *c, const T *tile, T *best, T *second,
                          INT *label)
{
    const ptrdiff_t k = c->k, d = c->d, n_groups = (k + GROUP - 1) / GROUP;
    const ptrdiff_t size = k / n_groups, larger = k % n_groups;
    for (int r = 0; r < TILE; r += 2 * (int)N_V) {
        V b[2], s[2];
        VI l[2];
        b[0] = b[1] = s[0] = s[1] = SPLAT(-INFINITY);
        l[0] = l[1] = (VI){0};
        ptrdiff_t first = 0;
        for (ptrdiff_t g = 0; g < n_groups; ++g) {
            const T *packed = c->packed + first * d, *init = c->init + first;
            const int n = (int)(size + (g < larger));
#define CASE(K)                                                                   \
    case K:                                                                       \
        F(score_group)(K, tile + r, d, packed, init, (INT)first, b, s, l);        \
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
            first += n;
        }
        for (int p = 0; p < 2; ++p) {
            STORE(best + r + p * N_V, b[p]);
            STORE(second + r + p * N_V, s[p]);
            memcpy(label + r + p * N_V, &l[p], sizeof(VI));
        }
    }
}

/* The nearest centre by definition; `guess` says where to look first. */
static int32_t F(decide)(const F(stern_centers) *c, const T *x, int32_t guess)
{
    int32_t label = guess;
    double least = F(distance)(x, c->centers + guess * c->d, c->d, INFINITY);
    for (int32_t j = 0; j < c->k; ++j) {
        if (j == guess)
            continue;
        const double found = F(distance)(x, c->centers + j * c->d, c->d, least);
        if (found < least || (found == least && j < label)) {
            least = found;
            label = j;
        }
    }
    return label;
}

static void F(nearest)(const F(stern_centers) *c, const T *x, ptrdiff_t n,
                       const T *tiles, T *scratch, int32_t *labels)
{
    const ptrdiff_t d = c->d;
    for (ptrdiff_t start = 0; start < n; start += TILE) {
        const ptrdiff_t rows = n - start < TILE ? n - start : TILE;
        const T *tile = scratch;
        if (tiles)
            tile = tiles + start * (d + 1);
        else
            F(pack)(x + start * d, rows, d, c->scale, c->shift, scratch);
        T best[TILE], second[TILE];
        INT label[TILE];
        F(score_tile)(c, tile, best, second, label);
        const T *norm = tile + d * TILE;
        for (ptrdiff_t r = 0; r < rows; ++r) {
            labels[start + r] = (int32_t)label[r];
            /* NaN and infinity are never certain. */
            if (!(best[r] - second[r] > c->alpha * norm[r] + c->beta))
                labels[start + r] =
                    F(decide)(c, x + (start + r) * d, (int32_t)label[r]);
        }
    }
}

/* One rounding in single precision is smaller than these leave room for. */
#define UP 1.000001f
#define DOWN 0.999999f

/* Bounds from the score of a row, in the frame: the squared distance is the squared
 * norm minus twice the score, and twice `slack` covers the rounding of both. */
INLINE float F(bound_above)(T norm, T score, T slack)
{
    const T square = norm - 2 * score + 2 * slack;
    /* NaN is infinity here, and 0 below. */
    return square < 0 ? 0 : square < INFINITY ? (float)sqrt(square) * UP : INFINITY;
}

INLINE float F(bound_below)(T norm, T score, T slack)
{
    const T square = norm - 2 * score - 2 * slack;
    return square > 0 ? (float)sqrt(square) * DOWN : 0;
}

/* The same for the rows of a tile. */
INLINE void F(bounds_above)(const T *norm, const T *score, const T *slack, float *above)
{
    T root[TILE];
    for (int r = 0; r < TILE; r += (int)N_V) {
        const V v = LOAD(norm + r) - LOAD(score + r) * 2 + LOAD(slack + r) * 2;
        /* NaN stays. */
        STORE(root + r, ROOT(MAX((V){0}, v)));
    }
    for (int r = 0; r < TILE; ++r)
        above[r] = root[r] < INFINITY ? (float)root[r] * UP : INFINITY;
}

INLINE void F(bounds_below)(const T *norm, const T *score, const T *slack, float *below)
{
    T root[TILE];
    for (int r = 0; r < TILE; r += (int)N_V) {
        const V v = LOAD(norm + r) - LOAD(score + r) * 2 - LOAD(slack + r) * 2;
        /* 0 where it is NaN. */
        STORE(root + r, ROOT(MAX(v, (V){0})));
    }
    for (int r = 0; r < TILE; ++r)
        below[r] = (float)root[r] * DOWN;
}

/* Labels and bounds of the rows of a tile; row r is row at[r] of x. Centres that
 * repeat others have no score of their own, and no row is then far from all others. */
static void F(settle)(const F(stern_centers) *c, const F(stern_groups) *g, const T *x,
                      const T *tile, const int16_t *at, ptrdiff_t rows,
                      int32_t *labels, float *upper, float *lower)
{
    T best[TILE], second[TILE];
    INT label[TILE];
    F(score_tile)(c, tile, best, second, label);
    const T *norm = tile + c->d * TILE;
    T slack[TILE];
    float above[TILE], below[TILE];
    uint8_t open[TILE];
    for (int r = 0; r < TILE; ++r)
        slack[r] = c->alpha * norm[r] + c->beta;
    F(bounds_above)(norm, best, slack, above);
    F(bounds_below)(norm, second, slack, below);
    int any = 0;
    for (int r = 0; r < TILE; ++r) {
        open[r] = !(best[r] - second[r] > slack[r]);
        any |= open[r];
        below[r] = c->repeated ? 0 : below[r];
    }
    for (ptrdiff_t r = 0; any && r < rows; ++r)
        if (open[r]) {
            label[r] = F(decide)(c, x + at[r] * c->d, (int32_t)label[r]);
            above[r] = INFINITY;
            below[r] = 0;
        }
    for (ptrdiff_t r = 0; r < rows; ++r) {
        labels[at[r]] = (int32_t)label[r];
        upper[at[r]] = above[r];
    }
    for (ptrdiff_t j = 0; j < g->n; ++j)
        for (ptrdiff_t r = 0; r < rows; ++r)
            lower[j * g->stride + at[r]] = below[r];
}

#if STERN_USE_AVX512
/* 16 of k values; `first` are the first 16 of them. */
INLINE __m512 F(look_up)(const float *values, ptrdiff_t k, __m512 first, __m512i which)
{
    return k <= 16 ? _mm512_permutexvar_ps(which, first)
                   : _mm512_i32gather_ps(which, values, 4);
}
#endif

/* Moves the bounds of a block of rows, and lists those whose label they leave open;
 * the number of those rows, and in `n_pairs` that of groups that they leave open.
 * There is room for a list of a multiple of 16. */
static ptrdiff_t F(move_bounds)(const F(stern_groups) *g, ptrdiff_t k, ptrdiff_t n,
                                const int32_t *labels, float *upper, float *lower,
                                int16_t *open, ptrdiff_t *n_pairs)
{
#if STERN_USE_AVX512
    const __mmask16 there = (__mmask16)(k < 16 ? (1u << k) - 1 : 0xffff);
    const __m512 moved = _mm512_maskz_loadu_ps(there, g->moved);
    const __m512 others = _mm512_maskz_loadu_ps(there, g->others);
    const __m512 up = _mm512_set1_ps(UP), down = _mm512_set1_ps(DOWN);
    const __m512i size = _mm512_set1_epi32((int)g->size);
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3,
                                           2, 1, 0);
    ptrdiff_t n_rows = 0, pairs = 0;
    for (ptrdiff_t i = 0; i < n; i += 16) {
        const __mmask16 here = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);
        const __m512i own = _mm512_maskz_loadu_epi32(here, labels + i);
        const __m512 far = F(look_up)(g->moved, k, moved, own);
        const __m512 less = F(look_up)(g->others, k, others, own);
        const __m512 bound =
            _mm512_mul_ps(_mm512_add_ps(_mm512_maskz_loadu_ps(here, upper + i), far), up);
        const __m512 above = _mm512_mul_ps(bound, up);
        _mm512_mask_storeu_ps(upper + i, here, bound);
        __mmask16 left = 0;
        for (ptrdiff_t j = 0; j < g->n; ++j) {
            float *const at = lower + j * g->stride + i;
            const __m512i place =
                _mm512_sub_epi32(own, _mm512_set1_epi32((int)(j * g->size)));
            const __m512 by =
                _mm512_mask_mov_ps(_mm512_set1_ps(g->farthest[j]),
                                   _mm512_cmplt_epu32_mask(place, size), less);
            const __m512 below =
                _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(here, at), by), down);
            _mm512_mask_storeu_ps(at, here, below);
            const __mmask16 is_open =
                _mm512_mask_cmp_ps_mask(here, above, below, _CMP_NLT_UQ);
            pairs += __builtin_popcount(is_open);
            left |= is_open;
        }
        const __m512i rows = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)i));
        _mm256_storeu_si256(
            (__m256i *)(open + n_rows),
            _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(left, rows)));
        n_rows += __builtin_popcount(left);
    }
    *n_pairs = pairs;
    return n_rows;
#else
    (void)k;
    float above[STERN_LLOYD_BLOCK], own_less[STERN_LLOYD_BLOCK];
    int32_t group[STERN_LLOYD_BLOCK], n_open[STERN_LLOYD_BLOCK];
    for (ptrdiff_t i = 0; i < n; ++i) {
        const int32_t own = labels[i];
        upper[i] = (upper[i] + g->moved[own]) * UP;
        above[i] = upper[i] * UP;
        own_less[i] = g->others[own];
        group[i] = g->group[own];
        n_open[i] = 0;
    }
    for (int32_t j = 0; j < g->n; ++j) {
        float *const below = lower + j * g->stride;
        const float farthest = g->farthest[j];
        for (ptrdiff_t i = 0; i < n; ++i) {
            const float less = group[i] == j ? own_less[i] : farthest;
            below[i] = (below[i] - less) * DOWN;
            n_open[i] += !(above[i] < below[i]);
        }
    }
    ptrdiff_t n_rows = 0, pairs = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        open[n_rows] = (int16_t)i;
        n_rows += n_open[i] > 0;
        pairs += n_open[i];
    }
    *n_pairs = pairs;
    return n_rows;
#endif
}

/* Scores of N times 8 centres, the first at c and init. */
INLINE void F(score_csr)(const int N, const T *data, const int32_t *indices,
                         ptrdiff_t nnz, const double *c, ptrdiff_t padded,
                         const double *init, double *scores)
{
    VD acc[4 * N_ACC];
    _Pragma("GCC unroll 16")
    for (int a = 0; a < N * N_ACC; ++a)
        acc[a] = LOAD_D(init + a * N_VD);
    for (ptrdiff_t i = 0; i < nnz; ++i) {
        const VD v = (double)data[i] - (VD){0};
        const double *row = c + indices[i] * padded;
        _Pragma("GCC unroll 16")
        for (int a = 0; a < N * N_ACC; ++a)
            acc[a] += v * LOAD_D(row + a * N_VD);
    }
    _Pragma("GCC unroll 16")
    for (int a = 0; a < N * N_ACC; ++a)
        STORE_D(scores + a * N_VD, acc[a]);
}

static void F(nearest_csr)(const T *data, const int32_t *indices, const int32_t *indptr,
                           ptrdiff_t n, const double *transposed, const double *init,
                           ptrdiff_t k, double *scores, int32_t *labels)
{
    const ptrdiff_t padded = (k + 7) / 8 * 8;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const ptrdiff_t start = indptr[i], nnz = indptr[i + 1] - start;
        for (ptrdiff_t j = 0; j < padded;) {
            const double *c = transposed + j;
#define SCORE(N) \
    F(score_csr)(N, data + start, indices + start, nnz, c, padded, init + j, scores + j)
            if (padded - j >= 32) {
                SCORE(4);
                j += 32;
            } else if (padded - j >= 16) {
                SCORE(2);
                j += 16;
            } else {
                SCORE(1);
                j += 8;
            }
#undef SCORE
        }
        int32_t label = 0;
        for (int32_t j = 1; j < k; ++j)
            if (scores[j] > scores[label])
                label = j;
        labels[i] = label;
    }
}
