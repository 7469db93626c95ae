/* Nearest centres by codes of 8 bits, which leave few centres for each row.
 *
 * Let x be a row and c a centre in the frame, in exact arithmetic R a rotation, and
 * y and z what `rotate_tile` makes of x and c. Rows have codes q = y / s and centres
 * codes p = z / t, rounded and cut off at +-127, so that y = s q + e and z = t p + f.
 * If R rounds to |y - R x| <= r |x| and |z - R c| <= r |c|, then
 *
 *     |x . c - s t (q . p)| = |R x . R c - (s q) . (t p)|
 *                           <= |y . z - (s q) . (t p)| + (2 r + r^2) |x| |c|
 *                           =  |(s q) . f + e . z|     + (2 r + r^2) |x| |c|
 *                           <= |s q| |f| + |e| |z|     + (2 r + r^2) |x| |c|
 *
 * by the inequality of Cauchy and Schwarz. Scores are x . c - |c|^2 / 2, so with
 * F and M the largest |f| and |z| of all centres, a score differs from
 *
 *     s t (q . p + h),   h = -|c|^2 / (2 s t) to the nearest integer,
 *
 * by at most E = |s q| F + (|e| + 3 r |x|) M + s t / 2, M not being below |c| / (1 + r)
 * and 3 r standing for (2 r + r^2) (1 + r). The integers are exact. Where the greatest
 * exceeds another by more than 2 E / (s t), that other centre is farther away; 2 E is
 * widened by what `certainty` gives for the rounding of frame, |c|^2 and definition.
 * Whoever is left is compared by the definition.
 *
 * Each of the at most 2 * 14 stages of R, and its scaling, adds errors of at most
 * u |x| with u the unit roundoff of T, so that r <= 32 u is enough; |s q|, |e| and
 * |x| are found with relative errors below d u <= 1/16 and are raised accordingly. */

#define PANEL STERN_LLOYD_PANEL
#define HALF 8
#if STERN_USE_AVX512
typedef int32_t F(words) __attribute__((vector_size(64)));
#endif

/* Butterflies over values [first, first + size) of all rows of a tile. */
static void F(butterflies)(T *tile, ptrdiff_t first, ptrdiff_t size, T scale)
{
    tile += first * TILE;
    for (ptrdiff_t h = 1; h < size; h *= 2)
        for (ptrdiff_t t = 0; t < size; t += 2 * h)
            for (ptrdiff_t i = t; i < t + h; ++i) {
                T *a = tile + i * TILE, *b = a + h * TILE;
                _Pragma("GCC unroll 16")
                for (int r = 0; r < TILE; r += (int)N_V) {
                    const V v = LOAD(a + r), w = LOAD(b + r);
                    STORE(a + r, v + w);
                    STORE(b + r, v - w);
                }
            }
    for (ptrdiff_t i = 0; i < size * TILE; i += N_V)
        STORE(tile + i, LOAD(tile + i) * SPLAT(scale));
}

/* Spreads the rows of a tile evenly over the columns: Hadamard matrices for the first
 * and for the last `size` values, the greatest power of two that there is. The sign
 * of every value is first changed or not, by a hash. */
static void F(rotate_tile)(T *tile, ptrdiff_t d)
{
    ptrdiff_t size = 1;
    while (2 * size <= d)
        size *= 2;
    const T scale = (T)(1 / sqrt((double)size));
    for (int pass = 0; pass < 1 + (size < d); ++pass) {
        for (ptrdiff_t t = 0; t < d; ++t) {
            const uint32_t hash = (uint32_t)(2 * t + pass + 1) * 2654435769u;
            if (hash >> 31)
                for (int r = 0; r < TILE; r += (int)N_V)
                    STORE(tile + t * TILE + r, (V){0} - LOAD(tile + t * TILE + r));
        }
        F(butterflies)(tile, pass ? d - size : 0, size, scale);
    }
}

/* Codes of a rotated tile, plus 128, four columns together: (ceil(d / 4), 32, 4).
 * Squares of the lengths of what they stand for and of what they miss. */
static void F(encode_tile)(const T *tile, ptrdiff_t d, T step, uint8_t *codes,
                           T *length, T *missed)
{
    /* Added to a small number, it leaves that number rounded in the lowest bits. */
    const T magic = T_BITS == 32 ? (T)12582912.0 : (T)6755399441055744.0;
    const V inverse = SPLAT(1 / step), size = SPLAT(step), most = SPLAT(127);
    for (int r = 0; r < TILE; r += (int)N_V) {
        V squares = (V){0}, errors = (V){0};
        for (ptrdiff_t t = 0; t < d; t += 4) {
            VI word = (VI){0};
            for (int i = 0; i < 4 && t + i < d; ++i) {
                const V y = LOAD(tile + (t + i) * TILE + r);
                const V cut = MAX(MIN(y * inverse, most), (V){0} - most);
                const V shifted = cut + SPLAT(magic);
                const V kept = (shifted - SPLAT(magic)) * size, e = y - kept;
                squares += kept * kept;
                errors += e * e;
                word |= ((VI)shifted & 255) << (8 * i);
            }
            word ^= SPLAT_I(0x80808080);
            INT lanes[N_V];
            memcpy(lanes, &word, sizeof word);
            uint32_t *out = (uint32_t *)(codes + t * TILE) + r;
            for (int j = 0; j < N_V; ++j)
                out[j] = (uint32_t)lanes[j];
        }
        STORE(length + r, squares);
        STORE(missed + r, errors);
    }
}

#if STERN_USE_AMX
/* The tile unit multiplies 16 centres by 16 rows by 64 columns, of which the last may
 * be fewer: sums in tiles 0 and 1, then centres and both halves of the rows, whole in
 * tiles 2 to 4 and the rest in 5 to 7. The compiler does not know what it reads. */
#define MEMORY_READY __asm__ volatile("" ::: "memory")
INLINE void F(begin_products)(ptrdiff_t d4)
{
    const int rest = (int)(d4 % 16);
    uint8_t c[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; ++i) {
        const int part = i > 4 && rest;
        /* Bytes of a line, and lines. */
        c[16 + 2 * i] = (uint8_t)(part && i == 5 ? 4 * rest : 64);
        c[48 + i] = (uint8_t)(part && i > 5 ? rest : 16);
    }
    MEMORY_READY;
    _tile_loadconfig(c);
}

INLINE void F(end_products)(void)
{
    _tile_release();
}

INLINE void F(multiply)(const uint8_t *x, ptrdiff_t d4, const int32_t *packed,
                        int32_t *sums)
{
    _tile_zero(0);
    _tile_zero(1);
    ptrdiff_t t = 0;
    for (; t + 16 <= d4; t += 16, packed += 16 * PANEL) {
        _tile_loadd(2, packed, 64);
        _tile_loadd(3, x + t * 4 * TILE, 4 * TILE);
        _tile_loadd(4, x + t * 4 * TILE + 64, 4 * TILE);
        _tile_dpbsud(0, 2, 3);
        _tile_dpbsud(1, 2, 4);
    }
    if (t < d4) {
        _tile_loadd(5, packed, 64);
        _tile_loadd(6, x + t * 4 * TILE, 4 * TILE);
        _tile_loadd(7, x + t * 4 * TILE + 64, 4 * TILE);
        _tile_dpbsud(0, 5, 6);
        _tile_dpbsud(1, 5, 7);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    MEMORY_READY;
}
#else
INLINE void F(begin_products)(ptrdiff_t d4) { (void)d4; }
INLINE void F(end_products)(void) {}
#endif

/* Scores of a panel for the 32 rows of a tile, in integers: those of centre j, its
 * four lowest bits replaced by j. Best and second of each row. */
INLINE void F(screen_panel)(const uint8_t *codes, ptrdiff_t d4, const int32_t *packed,
                            const int32_t *init, int32_t *best, int32_t *second)
{
#if STERN_USE_AVX512
    const __m512i low = _mm512_set1_epi32(15);
    __m512 b[2], s[2];
    b[0] = b[1] = s[0] = s[1] = _mm512_setzero_ps();
#if STERN_USE_AMX
    int32_t sums[2 * PANEL * 16] __attribute__((aligned(64)));
    F(multiply)(codes, d4, packed, sums);
#endif
    for (int half = 0; half < 2; ++half) {
        /* Of int32 for the compiler, or it copies them in every step. */
        F(words) a[2][HALF];
        _Pragma("GCC unroll 8")
        for (int j = 0; j < HALF; ++j)
            a[0][j] = a[1][j] = (F(words)){0} + init[half * HALF + j];
#if STERN_USE_AMX
        _Pragma("GCC unroll 8")
        for (int j = 0; j < HALF; ++j) {
            const int32_t *sum = sums + (half * HALF + j) * 16;
            a[0][j] += (F(words))_mm512_load_si512(sum);
            a[1][j] += (F(words))_mm512_load_si512(sum + 256);
        }
#else
        const uint8_t *x = codes;
        for (ptrdiff_t t = 0; t < d4; ++t, x += 4 * TILE, packed += HALF) {
            const __m512i x0 = _mm512_loadu_si512(x), x1 = _mm512_loadu_si512(x + 64);
            _Pragma("GCC unroll 8")
            for (int j = 0; j < HALF; ++j) {
                const __m512i c = _mm512_set1_epi32(packed[j]);
                a[0][j] = (F(words))_mm512_dpbusd_epi32((__m512i)a[0][j], x0, c);
                a[1][j] = (F(words))_mm512_dpbusd_epi32((__m512i)a[1][j], x1, c);
            }
        }
#endif
        /* All are positive: as floats they have the same order. */
        _Pragma("GCC unroll 8")
        for (int j = 0; j < HALF; ++j)
            _Pragma("GCC unroll 2")
            for (int p = 0; p < 2; ++p) {
                const __m512 v = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
                    low, (__m512i)a[p][j], _mm512_set1_epi32(half * HALF + j), 0xac));
                s[p] = _mm512_max_ps(s[p], _mm512_min_ps(b[p], v));
                b[p] = _mm512_max_ps(b[p], v);
            }
    }
    for (int p = 0; p < 2; ++p) {
        _mm512_storeu_ps(best + 16 * p, b[p]);
        _mm512_storeu_ps(second + 16 * p, s[p]);
    }
#else
    memset(best, 0, TILE * sizeof(int32_t));
    memset(second, 0, TILE * sizeof(int32_t));
    for (int j = 0; j < PANEL; ++j) {
        int32_t a[TILE];
        for (int r = 0; r < TILE; ++r)
            a[r] = init[j];
        const int32_t *centre = packed + j / HALF * d4 * HALF + j % HALF;
        for (ptrdiff_t t = 0; t < d4; ++t) {
            int8_t c[4];
            memcpy(c, centre + t * HALF, 4);
            const uint8_t *x = codes + t * 4 * TILE;
            for (int r = 0; r < TILE; ++r)
                a[r] += x[4 * r] * c[0] + x[4 * r + 1] * c[1] + x[4 * r + 2] * c[2]
                        + x[4 * r + 3] * c[3];
        }
        for (int r = 0; r < TILE; ++r) {
            const int32_t v = (a[r] & ~15) | j, lower = v < best[r] ? v : best[r];
            second[r] = lower > second[r] ? lower : second[r];
            best[r] = v > best[r] ? v : best[r];
        }
    }
#endif
}

/* Codes of a rotated tile, and three lengths of each row, (3, 32): of the row, of what
 * its codes stand for, and of what these miss. */
static void F(encode)(const T *tile, ptrdiff_t d, T step, uint8_t *codes, T *lengths)
{
    F(encode_tile)(tile, d, step, codes, lengths + TILE, lengths + 2 * TILE);
    memcpy(lengths, tile + d * TILE, TILE * sizeof(T));
    const V up = SPLAT(1 + (T)(d + 8) * (T_BITS == 32 ? (T)0x1p-23 : (T)0x1p-52));
    for (int r = 0; r < 3 * TILE; r += (int)N_V)
        STORE(lengths + r, ROOT(LOAD(lengths + r)) * up);
}

/* Product of a row in the frame and a centre that is there. */
INLINE T F(product)(const T *x, ptrdiff_t d, T scale, const T *shift, const T *center)
{
    V a = (V){0}, b = (V){0};
    ptrdiff_t t = 0;
    for (; t + 2 * N_V <= d; t += 2 * N_V) {
        a = FMA(LOAD(x + t) * SPLAT(scale) - LOAD(shift + t), LOAD(center + t), a);
        b = FMA(LOAD(x + t + N_V) * SPLAT(scale) - LOAD(shift + t + N_V),
                LOAD(center + t + N_V), b);
    }
    for (; t + N_V <= d; t += N_V)
        a = FMA(LOAD(x + t) * SPLAT(scale) - LOAD(shift + t), LOAD(center + t), a);
    if (t < d) {
        const V row = F(load_some)(x + t, d - t) * SPLAT(scale);
        b = FMA(row - F(load_some)(shift + t, d - t), F(load_some)(center + t, d - t), b);
    }
    return F(total)(a + b);
}

/* Rows whose label the codes leave open, and what is found for them. */
typedef struct {
    T best[TILE], second[TILE];
    int32_t label[TILE];
    ptrdiff_t n;
    int32_t row[18 * TILE], center[18 * TILE];
} F(open_pairs);

/* Scores of the pairs; row r is row at[r] of x. */
static void F(compare_pairs)(const F(stern_centers) *c, const T *framed, const T *x,
                             const int16_t *at, F(open_pairs) *o)
{
    for (ptrdiff_t i = 0; i < o->n; ++i) {
        const int32_t r = o->row[i], j = o->center[i];
        if (i + 2 < o->n) {
            const char *next = (const char *)(framed + o->center[i + 2] * c->d);
            for (ptrdiff_t b = 0; b < c->d * (ptrdiff_t)sizeof(T); b += 64)
                __builtin_prefetch(next + b);
        }
        const T score = c->init[j]
                        + F(product)(x + at[r] * c->d, c->d, c->scale, c->shift,
                                     framed + j * c->d);
        const T least = score < o->best[r] ? score : o->best[r];
        o->second[r] = least > o->second[r] ? least : o->second[r];
        o->label[r] = score > o->best[r] ? j : o->label[r];
        o->best[r] = score > o->best[r] ? score : o->best[r];
    }
    o->n = 0;
}

/* Adds the rows whose best of a panel is not below `least`; returns those whose second
 * is not either. */
INLINE uint32_t F(add_pairs)(const int32_t *best, const int32_t *second,
                             const int32_t *least, int32_t first, F(open_pairs) *o)
{
    uint32_t more = 0;
#if STERN_USE_AVX512
    for (int r = 0; r < TILE; r += 16) {
        const __m512i b = _mm512_loadu_si512(best + r), l = _mm512_loadu_si512(least + r);
        const __mmask16 near = _mm512_cmpge_epi32_mask(b, l);
        const __m512i lanes = _mm512_add_epi32(
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            _mm512_set1_epi32(r));
        const __m512i center = _mm512_add_epi32(
            _mm512_and_epi32(b, _mm512_set1_epi32(15)), _mm512_set1_epi32(first));
        _mm512_storeu_si512(o->row + o->n, _mm512_maskz_compress_epi32(near, lanes));
        _mm512_storeu_si512(o->center + o->n, _mm512_maskz_compress_epi32(near, center));
        o->n += __builtin_popcount(near);
        more |= (uint32_t)_mm512_cmpge_epi32_mask(_mm512_loadu_si512(second + r), l) << r;
    }
#else
    for (int r = 0; r < TILE; ++r) {
        o->row[o->n] = r;
        o->center[o->n] = first + (best[r] & 15);
        o->n += best[r] >= least[r];
        more |= (uint32_t)(second[r] >= least[r]) << r;
    }
#endif
    return more;
}

/* The nearest by definition of the centres whose score is not below `least`. */
static int32_t F(decide_among)(const F(stern_centers) *c, const T *x,
                               const int32_t *found, int32_t least, int32_t guess)
{
    double distance = F(distance)(x, c->centers + guess * c->d, c->d, INFINITY);
    for (int32_t j = 0; j < c->k; ++j) {
        if (j % PANEL == 0 && found[j / PANEL * TILE] < least) {
            j += PANEL - 1;
            continue;
        }
        if (j == guess)
            continue;
        const double v = F(distance)(x, c->centers + j * c->d, c->d, distance);
        if (v < distance || (v == distance && j < guess)) {
            distance = v;
            guess = j;
        }
    }
    return guess;
}

/* Labels and bounds of the rows of a tile of codes; row r is row at[r] of x. `found`
 * has room for two times 32 scores a panel. */
static void F(settle_codes)(const F(stern_centers) *c, const F(stern_groups) *g,
                            const F(stern_codes) *s, const T *x, const uint8_t *codes,
                            const T *lengths, const int16_t *at, ptrdiff_t rows,
                            int32_t *found, int32_t *labels, float *upper, float *lower)
{
    const ptrdiff_t d = c->d, d4 = (d + 3) / 4, n_panels = (c->k + PANEL - 1) / PANEL;
#if STERN_USE_AMX
    const ptrdiff_t words = (d4 + 15) / 16 * 16;
#else
    const ptrdiff_t words = d4;
#endif
    const T u = T_BITS == 32 ? (T)0x1p-24 : (T)0x1p-53;
    int32_t *const others = found + n_panels * TILE;
    int32_t best[TILE] = {0}, second[TILE] = {0}, panel[TILE] = {0};
    for (ptrdiff_t p = 0; p < n_panels; ++p) {
        int32_t *const b = found + p * TILE, *const o = others + p * TILE;
        F(screen_panel)(codes, d4, s->packed + p * PANEL * words, s->init + p * PANEL, b, o);
        for (int r = 0; r < TILE; ++r) {
            const int32_t lower_one = b[r] < best[r] ? b[r] : best[r];
            const int32_t next = lower_one > o[r] ? lower_one : o[r];
            second[r] = next > second[r] ? next : second[r];
            panel[r] = b[r] > best[r] ? (int32_t)p : panel[r];
            best[r] = b[r] > best[r] ? b[r] : best[r];
        }
    }
    /* E, the four bits that j took, and the rounding of what E allows for. */
    T norm[TILE], exact[TILE], slack[TILE], score[TILE];
    float above[TILE], below[TILE];
    int32_t least[TILE];
    for (int r = 0; r < TILE; ++r) {
        const T length = lengths[r], coded = lengths[TILE + r];
        const T missed = lengths[2 * TILE + r] + 96 * u * length;
        const T bound = coded * s->missed + missed * s->length;
        const T error = s->share * bound + 18 * s->unit;
        norm[r] = length * length;
        exact[r] = c->alpha * norm[r] + c->beta;
        slack[r] = error * (T)1.0001 + exact[r];
        const T apart = 2 * slack[r] * s->inverse;
        /* All, where it is NaN. */
        const int32_t near = apart < (T)(STERN_LLOYD_BIAS / 2)
                                 ? (int32_t)apart + 1 : STERN_LLOYD_BIAS / 2;
        least[r] = best[r] - near;
        score[r] = s->unit * (T)((best[r] & ~15) - STERN_LLOYD_BIAS);
    }
    F(open_pairs) open;
    open.n = 0;
    uint32_t is_open = 0;
    for (int r = 0; r < TILE; ++r) {
        const int certain = r >= rows || second[r] < least[r];
        is_open |= (uint32_t)!certain << r;
        least[r] = certain ? INT32_MAX : least[r];
        open.best[r] = open.second[r] = -INFINITY;
        open.label[r] = panel[r] * PANEL + (best[r] & 15);
    }
    for (uint32_t left = is_open; left; left &= left - 1) {
        const char *row = (const char *)(x + at[__builtin_ctz(left)] * d);
        for (ptrdiff_t b = 0; b < d * (ptrdiff_t)sizeof(T); b += 64)
            __builtin_prefetch(row + b);
    }
    for (int32_t p = 0; is_open && p < n_panels; ++p) {
        const int32_t *b = found + p * TILE;
        const int32_t first = p * PANEL, left = (int32_t)c->k - first;
        uint32_t more =
            F(add_pairs)(b, others + p * TILE, least, first, &open);
        /* Rows with two near centres in a panel may have more there. */
        for (; more; more &= more - 1) {
            const int32_t r = __builtin_ctz(more);
            for (int32_t j = 0; j < PANEL && j < left; ++j) {
                open.row[open.n] = r;
                open.center[open.n] = first + j;
                open.n += j != (b[r] & 15);
            }
            if (open.n > 16 * TILE)
                F(compare_pairs)(c, g->framed, x, at, &open);
        }
        if (open.n > 16 * TILE)
            F(compare_pairs)(c, g->framed, x, at, &open);
    }
    F(compare_pairs)(c, g->framed, x, at, &open);
    uint32_t undecided = 0;
    for (int r = 0; r < TILE; ++r) {
        const int mine = is_open >> r & 1;
        const int decided = open.best[r] - open.second[r] > exact[r];
        undecided |= (uint32_t)(mine && !decided) << r;
        score[r] = mine && decided ? open.best[r] : score[r];
    }
    for (; undecided; undecided &= undecided - 1) {
        const int r = __builtin_ctz(undecided);
        open.label[r] =
            F(decide_among)(c, x + at[r] * d, found + r, least[r], open.label[r]);
    }
    for (ptrdiff_t r = 0; r < rows; ++r) {
        const int32_t label = open.label[r];
        labels[at[r]] = label;
        int32_t *const mine = found + label / PANEL * TILE + r;
        if (*mine % PANEL == label % PANEL)
            *mine = others[label / PANEL * TILE + r];
    }
    if (!upper)
        return;
    F(bounds_above)(norm, score, slack, above);
    for (ptrdiff_t r = 0; r < rows; ++r)
        upper[at[r]] = above[r];
    for (ptrdiff_t j = 0; j < g->n; ++j) {
        const ptrdiff_t end = (j + 1) * g->size / PANEL;
        int32_t *const all = found + j * g->size / PANEL * TILE;
        for (ptrdiff_t p = j * g->size / PANEL + 1; p < end && p < n_panels; ++p)
            for (int r = 0; r < TILE; ++r)
                all[r] = found[p * TILE + r] > all[r] ? found[p * TILE + r] : all[r];
        for (int r = 0; r < TILE; ++r)
            score[r] = s->unit * (T)(all[r] - STERN_LLOYD_BIAS + 15);
        F(bounds_below)(norm, score, slack, below);
        for (ptrdiff_t r = 0; r < rows; ++r)
            lower[j * g->stride + at[r]] = c->repeated ? 0 : below[r];
    }
}

/* As the other functions with bounds, by codes; without `upper` labels alone. The rows
 * have codes and lengths, or they are found anew. Scratch holds a tile, and codes of
 * a tile behind it. */
static void F(nearest_by_codes)(const F(stern_centers) *c, const F(stern_groups) *g,
                                const F(stern_codes) *s, const T *x, ptrdiff_t n,
                                const uint8_t *codes, const T *lengths, int first,
                                T *scratch, int32_t *found, int32_t *labels,
                                float *upper, float *lower)
{
    const ptrdiff_t d = c->d, d4 = (d + 3) / 4;
    int16_t open[STERN_LLOYD_BLOCK];
    ptrdiff_t n_open = n, n_pairs = 0;
    const int anew = first || !upper;
    if (anew)
        for (ptrdiff_t i = 0; i < n; ++i)
            open[i] = (int16_t)i;
    else
        n_open = F(move_bounds)(g, c->k, n, labels, upper, lower, open, &n_pairs);
    /* Few groups of centres that are open are compared with fewer products. */
    if (!anew && STERN_LLOYD_DENSE * n_pairs < n_open * g->n) {
        F(compare_groups)(c, g, x, open, n_open, scratch, labels, upper, lower);
        return;
    }
    const int whole = codes && 4 * n_open >= 3 * n;
    if (whole) {
        for (ptrdiff_t i = 0; i < n; ++i)
            open[i] = (int16_t)i;
        n_open = n;
    }
    F(begin_products)(d4);
    uint8_t *const own = (uint8_t *)(scratch + (d + 1) * TILE);
    for (ptrdiff_t start = 0; start < n_open; start += TILE) {
        const ptrdiff_t rows = n_open - start < TILE ? n_open - start : TILE;
        const uint8_t *tile = own;
        T gathered[3 * TILE] = {0};
        const T *length = gathered;
        if (whole) {
            tile = codes + start * d4 * 4;
            length = lengths + 3 * start;
        } else if (codes) {
            for (ptrdiff_t r = 0; r < rows; ++r) {
                const ptrdiff_t i = open[start + r];
                const uint8_t *from = codes + (i / TILE * d4 * TILE + i % TILE) * 4;
                for (ptrdiff_t t = 0; t < d4; ++t)
                    memcpy(own + (t * TILE + r) * 4, from + t * TILE * 4, 4);
                for (int l = 0; l < 3; ++l)
                    gathered[l * TILE + r] =
                        lengths[i / TILE * 3 * TILE + l * TILE + i % TILE];
            }
        } else {
            const T *row[TILE];
            for (ptrdiff_t r = 0; r < rows; ++r)
                row[r] = x + open[start + r] * d;
            F(pack_rows)(row, rows, d, 0, c->scale, c->shift, scratch);
            F(rotate_tile)(scratch, d);
            F(encode)(scratch, d, s->step, own, gathered);
        }
        F(settle_codes)(c, g, s, x, tile, length, open + start, rows, found, labels,
                        upper, lower);
    }
    F(end_products)();
}

#undef PANEL
#undef HALF
#undef MEMORY_READY
