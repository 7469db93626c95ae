/* Nearest centres where bounds are known for groups of centres.
 *
 * A group is one or more panels of 16 centres; value t of centre j of a panel lies at
 * t * 16 + j. Only groups that may hold a nearer centre are compared, with those rows
 * that leave them open: rows are taken from a copy in the frame, a few at a time, and
 * the centres of a panel lie in the lanes. */

#define PANEL STERN_LLOYD_PANEL
#define N_PANEL ((int)(PANEL / N_V))
/* Rows at a time: as many as leave their sums in registers. */
#if STERN_USE_AVX512
#define AT_ONCE 8
#elif STERN_USE_AVX2
#define AT_ONCE (T_BITS == 32 ? 6 : 3)
#else
#define AT_ONCE (T_BITS == 32 ? 3 : 1)
#endif
#define AHEAD 4 /* rows */

/* Best and second of 16 scores, that of lane `skipped` left out, and whose the best
 * is; of equal ones the first. */
INLINE void F(best_two)(const V *scores, int skipped, T *best, T *second, int *lane)
{
#if STERN_USE_AVX512 && T_BITS == 32
    const __m512 none = _mm512_set1_ps(-INFINITY);
    const __mmask16 skip = (__mmask16)(skipped >= 0 ? 1u << skipped : 0);
    const __m512 a = _mm512_mask_mov_ps((__m512)scores[0], skip, none);
    *best = _mm512_reduce_max_ps(a);
    const unsigned equal = _mm512_cmp_ps_mask(a, _mm512_set1_ps(*best), _CMP_EQ_OQ);
    *lane = __builtin_ctz(equal | 0x8000u);
    *second =
        _mm512_reduce_max_ps(_mm512_mask_mov_ps(a, (__mmask16)(1u << *lane), none));
#elif STERN_USE_AVX512
    const __m512d none = _mm512_set1_pd(-INFINITY);
    const unsigned skip = skipped >= 0 ? 1u << skipped : 0;
    const __m512d a = _mm512_mask_mov_pd((__m512d)scores[0], (__mmask8)skip, none);
    const __m512d b =
        _mm512_mask_mov_pd((__m512d)scores[1], (__mmask8)(skip >> 8), none);
    *best = _mm512_reduce_max_pd(_mm512_max_pd(a, b));
    const __m512d all = _mm512_set1_pd(*best);
    const unsigned equal = (unsigned)_mm512_cmp_pd_mask(a, all, _CMP_EQ_OQ)
                           | (unsigned)_mm512_cmp_pd_mask(b, all, _CMP_EQ_OQ) << 8;
    *lane = __builtin_ctz(equal | 0x8000u);
    const unsigned out = 1u << *lane;
    *second = _mm512_reduce_max_pd(
        _mm512_max_pd(_mm512_mask_mov_pd(a, (__mmask8)out, none),
                      _mm512_mask_mov_pd(b, (__mmask8)(out >> 8), none)));
#else
    T score[PANEL];
    for (int p = 0; p < N_PANEL; ++p)
        STORE(score + p * N_V, scores[p]);
    if (skipped >= 0)
        score[skipped] = -INFINITY;
    T first = -INFINITY, next = -INFINITY;
    int found = 0;
    for (int j = 0; j < PANEL; ++j) {
        const T v = score[j];
        if (v > first) {
            next = first;
            first = v;
            found = j;
        } else if (v > next) {
            next = v;
        }
    }
    *best = first;
    *second = next;
    *lane = found;
#endif
}

/* The same for M rows and a panel. */
INLINE void F(score_panel)(const int M, const T *const *rows, ptrdiff_t d,
                           const T *panel, const T *init, const int *skipped, T *best,
                           T *second, int *lane)
{
    V a[AT_ONCE][N_PANEL];
    _Pragma("GCC unroll 16")
    for (int r = 0; r < M; ++r)
        _Pragma("GCC unroll 16")
        for (int p = 0; p < N_PANEL; ++p)
            a[r][p] = LOAD(init + p * N_V);
    const T *row[AT_ONCE];
    _Pragma("GCC unroll 16")
    for (int r = 0; r < M; ++r)
        row[r] = rows[r];
    for (ptrdiff_t t = 0; t < d; ++t) {
        V c[N_PANEL];
        _Pragma("GCC unroll 16")
        for (int p = 0; p < N_PANEL; ++p)
            c[p] = LOAD(panel + t * PANEL + p * N_V);
        _Pragma("GCC unroll 16")
        for (int r = 0; r < M; ++r) {
            const V v = SPLAT(row[r][t]);
            _Pragma("GCC unroll 16")
            for (int p = 0; p < N_PANEL; ++p)
                a[r][p] = FMA(v, c[p], a[r][p]);
        }
    }
    _Pragma("GCC unroll 16")
    for (int r = 0; r < M; ++r)
        F(best_two)(a[r], skipped[r], best + r, second + r, lane + r);
}

static void F(score_rows)(int m, const T *const *rows, ptrdiff_t d, const T *panel,
                          const T *init, const int *skipped, T *best, T *second,
                          int *lane)
{
#define CASE(M)                                                                   \
    case M:                                                                       \
        F(score_panel)(M, rows, d, panel, init, skipped, best, second, lane);     \
        break;
    switch (m) {
        CASE(1)
#if STERN_USE_AVX512 || STERN_USE_AVX2 || T_BITS == 32
        CASE(2) CASE(3)
#endif
#if STERN_USE_AVX512 || (STERN_USE_AVX2 && T_BITS == 32)
        CASE(4) CASE(5) CASE(6)
#endif
#if STERN_USE_AVX512
        CASE(7) CASE(8)
#endif
    }
#undef CASE
}

/* A row in the frame, its squared norm, and its product with a centre. */
INLINE T F(frame_row)(const T *x, ptrdiff_t d, T scale, const T *shift, const T *center,
                      T *out, T *norm)
{
    V squares = (V){0}, products = (V){0};
    ptrdiff_t t = 0;
    for (; t + N_V <= d; t += N_V) {
        const V v = LOAD(x + t) * SPLAT(scale) - LOAD(shift + t);
        STORE(out + t, v);
        squares = FMA(v, v, squares);
        products = FMA(v, LOAD(center + t), products);
    }
    T square = F(total)(squares), product = F(total)(products);
    for (; t < d; ++t) {
        const T v = x[t] * scale - shift[t];
        out[t] = v;
        square += v * v;
        product += v * center[t];
    }
    *norm = square;
    return product;
}

/* What is known of an open row. */
typedef struct {
    T norm, slack, own, best, second; /* own: the score of its label */
    T runner;    /* second score in the group of the best */
    float above; /* the distance from the centre of its label is not above this */
    int32_t at, was, label, group;
} F(open_row);

/* Compares the rows in `list` with the centres of group j. */
static void F(compare_group)(const F(stern_centers) *c, const F(stern_groups) *g,
                             ptrdiff_t j, const T *framed, F(open_row) *rows,
                             const int16_t *list, ptrdiff_t n_list, float *lower)
{
    const ptrdiff_t d = c->d;
    const int32_t start = (int32_t)(j * g->size);
    for (ptrdiff_t i = 0; i < n_list; i += AT_ONCE) {
        const int m = (int)(n_list - i < AT_ONCE ? n_list - i : AT_ONCE);
        const T *row[AT_ONCE];
        T best[AT_ONCE], second[AT_ONCE];
        int32_t label[AT_ONCE];
        for (int r = 0; r < m; ++r)
            row[r] = framed + list[i + r] * d;
        for (int32_t first = start; first < start + g->size; first += PANEL) {
            T score[AT_ONCE], next[AT_ONCE];
            int lane[AT_ONCE], skipped[AT_ONCE];
            for (int r = 0; r < m; ++r) {
                const int32_t own = rows[list[i + r]].was - first;
                skipped[r] = own >= 0 && own < PANEL ? (int)own : -1;
            }
            F(score_rows)(m, row, d, g->packed + first * d, g->init + first, skipped,
                          score, next, lane);
            for (int r = 0; r < m; ++r) {
                if (first == start) {
                    best[r] = score[r];
                    second[r] = next[r];
                    label[r] = first + lane[r];
                } else if (score[r] > best[r]) {
                    second[r] = best[r] > next[r] ? best[r] : next[r];
                    best[r] = score[r];
                    label[r] = first + lane[r];
                } else {
                    second[r] = score[r] > second[r] ? score[r] : second[r];
                }
            }
        }
        for (int r = 0; r < m; ++r) {
            F(open_row) *o = rows + list[i + r];
            lower[j * g->stride + o->at] = F(bound_below)(o->norm, best[r], o->slack);
            if (best[r] > o->best) {
                o->second = o->best > second[r] ? o->best : second[r];
                o->best = best[r];
                o->runner = second[r];
                o->label = label[r];
                o->group = (int32_t)j;
            } else {
                o->second = best[r] > o->second ? best[r] : o->second;
            }
        }
    }
}

/* Labels and bounds of rows that are open; scratch holds as many rows. */
static void F(compare_groups)(const F(stern_centers) *c, const F(stern_groups) *g,
                              const T *x, const int16_t *at, ptrdiff_t n, T *scratch,
                              int32_t *labels, float *upper, float *lower)
{
    const ptrdiff_t d = c->d;
    F(open_row) rows[STERN_LLOYD_BLOCK];
    int16_t list[STERN_LLOYD_BLOCK];
    ptrdiff_t n_open = 0;
    for (ptrdiff_t r = 0; r < n; ++r) {
        const ptrdiff_t i = at[r];
        const int32_t own = labels[i];
        if (r + AHEAD < n)
            F(prefetch_row)(x + at[r + AHEAD] * d, d);
        F(open_row) *o = rows + n_open;
        const T product = F(frame_row)(x + i * d, d, c->scale, c->shift,
                                       g->framed + own * d, scratch + n_open * d,
                                       &o->norm);
        o->slack = c->alpha * o->norm + c->beta;
        o->own = product + c->init[own];
        o->above = F(bound_above)(o->norm, o->own, o->slack);
        if (upper[i] < o->above)
            o->above = upper[i];
        upper[i] = o->above;
        int open = 0;
        for (ptrdiff_t j = 0; j < g->n; ++j)
            open |= !(o->above * UP < lower[j * g->stride + i]);
        o->at = (int32_t)i;
        o->was = o->label = own;
        o->best = o->own;
        o->second = o->runner = -INFINITY;
        n_open += open;
    }
    for (ptrdiff_t j = 0; j < g->n; ++j) {
        ptrdiff_t n_list = 0;
        for (ptrdiff_t r = 0; r < n_open; ++r) {
            list[n_list] = (int16_t)r;
            n_list += !(rows[r].above * UP < lower[j * g->stride + rows[r].at]);
        }
        F(compare_group)(c, g, j, scratch, rows, list, n_list, lower);
    }
    for (ptrdiff_t r = 0; r < n_open; ++r) {
        F(open_row) *o = rows + r;
        float *const below = lower + o->at;
        if (o->best - o->second > o->slack) {
            if (o->label != o->was)
                below[o->group * g->stride] = F(bound_below)(o->norm, o->runner, o->slack);
            upper[o->at] = F(bound_above)(o->norm, o->best, o->slack);
        } else {
            o->label = F(decide)(c, x + o->at * d, o->label);
            if (o->label != o->was)
                upper[o->at] = INFINITY;
        }
        if (o->label != o->was) {
            float *const mine = below + g->group[o->was] * g->stride;
            const float own = F(bound_below)(o->norm, o->own, o->slack);
            *mine = own < *mine ? own : *mine;
        }
        labels[o->at] = o->label;
        for (ptrdiff_t j = 0; c->repeated && j < g->n; ++j)
            below[j * g->stride] = 0;
    }
}

/* Compares rows that are open, few centres by panels and else by tiles. Tiles that are
 * there are used unless few of their rows are wanted; what they find is one bound for
 * all groups. */
static void F(compare_rows)(const F(stern_centers) *c, const F(stern_groups) *g,
                            const T *x, ptrdiff_t n, const T *tiles, int16_t *open,
                            ptrdiff_t n_open, T *scratch, int32_t *labels,
                            float *upper, float *lower)
{
    const ptrdiff_t d = c->d;
    const int few = c->k <= STERN_LLOYD_FEW;
    const int whole = tiles && (few ? 4 : 2) * n_open > n;
    if (!whole && few) {
        F(compare_groups)(c, g, x, open, n_open, scratch, labels, upper, lower);
        return;
    }
    if (whole) {
        for (ptrdiff_t i = 0; i < n; ++i)
            open[i] = (int16_t)i;
        n_open = n;
    }
    for (ptrdiff_t start = 0; start < n_open; start += TILE) {
        const ptrdiff_t rows = n_open - start < TILE ? n_open - start : TILE;
        const T *tile = scratch;
        if (whole) {
            tile = tiles + start * (d + 1);
        } else {
            const T *row[TILE];
            for (ptrdiff_t r = 0; r < rows; ++r)
                row[r] = x + open[start + r] * d;
            F(pack_rows)(row, rows, d, n_open == n ? TILE * d : 0, c->scale, c->shift,
                         scratch);
        }
        F(settle)(c, g, x, tile, open + start, rows, labels, upper, lower);
    }
}

static void F(nearest_bounded)(const F(stern_centers) *c, const F(stern_groups) *g,
                               const T *x, ptrdiff_t n, const T *tiles, int first,
                               T *scratch, int32_t *labels, float *upper, float *lower)
{
    int16_t open[STERN_LLOYD_BLOCK];
    ptrdiff_t n_pairs, n_open = n;
    if (first)
        for (ptrdiff_t i = 0; i < n; ++i)
            open[i] = (int16_t)i;
    else
        n_open = F(move_bounds)(g, c->k, n, labels, upper, lower, open, &n_pairs);
    if (first || g->n == 1)
        F(compare_rows)(c, g, x, n, tiles, open, n_open, scratch, labels, upper, lower);
    else
        F(compare_groups)(c, g, x, open, n_open, scratch, labels, upper, lower);
}

#undef PANEL
#undef N_PANEL
#undef AT_ONCE
#undef AHEAD
