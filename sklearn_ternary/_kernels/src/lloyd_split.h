/* Nearest centres by the tile unit (AMX), in single precision alone: values are split
 * into two of bfloat16, and three of the four products of the parts are summed up.
 *
 * Let x be a value and u = 2^-8 the unit roundoff of bfloat16. With h = x rounded and
 * l = x - h rounded, x = h + l + e, |l| <= u (1 + u) |x| and |e| <= u^2 |x|, as x - h
 * is exact. The products that are left out of (h + l + e) (h' + l' + e') are
 *
 *     l l' + e x' + (h + l) e',  at most  u^2 ((1 + u)^2 + 1 + 1 + u^2) |x| |x'|,
 *
 * less than 3.02 u^2 |x| |x'|. Summed up over the columns and by the inequality of
 * Cauchy and Schwarz, a product of a row x and a centre c misses at most
 * 3.02 u^2 |x| |c|.
 *
 * The unit takes 32 columns at a time. It sums up even and odd ones, 16 rounded
 * products each, and adds both to what was there. With w = 2^-24 its sums differ from
 * exact ones by no more than 17 + 2 m times w of the sum of all magnitudes, m being
 * the number of its steps: at most 3 d / 32 + 2. Those magnitudes are below
 * 1.02 |x| |c| + |c|^2 / 2. The lowest four bits of a score become the number of its
 * centre, which changes it by less than 2^-19 of itself. Values and products that are
 * denormal count as zero, which is less than what `beta` has for underflow.
 *
 * With M the largest |c| and |x| M <= (|x|^2 + M^2) / 2, the difference of two scores
 * errs by no more than twice as much,
 *
 *     [3.02 u^2 + 1.02 (d / 4 + 40) w + 2^-19] (|x|^2 + 2 M^2),
 *
 * beside what `certainty` has for the rounding of frame and |c|^2 and for the
 * definition. Where the greatest score exceeds another by more, that other centre is
 * farther away; whoever is left is compared by the definition. */

/* Columns from which on this is used: fewer would leave most of the unit unused, and
 * tiles that reach beyond the first parts of a row then end within the second. */
#define LEAST_COLUMNS 16
#define PANEL STERN_LLOYD_PANEL
/* Score of what fills up a panel: its lowest bits may be any. */
#define NO_CENTER -0x1p126f
#define MEMORY_READY __asm__ volatile("" ::: "memory")

/* Two values a word: those of columns t and t + 1. */
INLINE __m512i pair_words(__m512 even, __m512 odd)
{
    const __m512i turns = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
        20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(turns, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* First and second parts of a tile: (2, ceil(d / 2), 32) words. */
static void split_tile(const float *tile, ptrdiff_t d, uint32_t *words)
{
    const ptrdiff_t pairs = (d + 1) / 2;
    for (ptrdiff_t t = 0; t < pairs; ++t, tile += 2 * TILE, words += TILE)
        for (int r = 0; r < TILE; r += 16) {
            const __m512 a = _mm512_loadu_ps(tile + r);
            const __m512 b = 2 * t + 1 < d ? _mm512_loadu_ps(tile + TILE + r)
                                           : _mm512_setzero_ps();
            const __m512i high = pair_words(a, b);
            const __m512i odd = _mm512_set1_epi32((int)0xffff0000);
            const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(high, 16));
            const __m512i low = pair_words(
                _mm512_sub_ps(a, even),
                _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_and_si512(high, odd))));
            _mm512_storeu_si512(words + r, high);
            _mm512_storeu_si512(words + pairs * TILE + r, low);
        }
}

INLINE __mmask16 first_lanes(ptrdiff_t n)
{
    return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffff);
}

/* Packs k centres in the frame; behind them is room for the parts of one. */
static void pack_split(const float *framed, const float *init, ptrdiff_t k, ptrdiff_t d,
                       uint32_t *packed)
{
    const ptrdiff_t size = stern_lloyd_panel_words(d), pairs = (d + 1) / 2;
    const ptrdiff_t panels = (k + PANEL - 1) / PANEL;
    uint16_t *const parts = (uint16_t *)(packed + panels * size);
    memset(packed, 0, (size_t)(panels * size) * sizeof *packed);
    for (ptrdiff_t j = 0; j < panels * PANEL; ++j) {
        uint32_t *const panel = packed + j / PANEL * size;
        const int none = j >= k || init[j] == -INFINITY;
        _mm512_storeu_ps(panel + j % PANEL * 16,
                         _mm512_set1_ps(none ? NO_CENTER : init[j]));
        if (none)
            continue;
        /* Twice the first parts, then the second ones. */
        for (ptrdiff_t t = 0; t < 2 * pairs; t += 16) {
            const __mmask16 there = first_lanes(d - t), here = first_lanes(2 * pairs - t);
            const __m512 v = _mm512_maskz_loadu_ps(there, framed + j * d + t);
            const __m256i high = (__m256i)_mm512_cvtneps_pbh(v);
            const __m512i first = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
            const __m512 rest = _mm512_sub_ps(v, _mm512_castsi512_ps(first));
            const __m256i low = (__m256i)_mm512_cvtneps_pbh(rest);
            _mm256_mask_storeu_epi16(parts + t, here, high);
            _mm256_mask_storeu_epi16(parts + 2 * pairs + t, here, high);
            _mm256_mask_storeu_epi16(parts + 4 * pairs + t, here, low);
        }
        uint32_t *to = panel + 256 + j % PANEL * 16;
        for (int part = 0; part < 2; ++part) {
            const ptrdiff_t words = part ? pairs : 2 * pairs;
            for (ptrdiff_t t = 0; t < words; t += 16, to += 256) {
                const ptrdiff_t left = words - t < 16 ? words - t : 16;
                memcpy(to, parts + part * 4 * pairs + 2 * t, (size_t)left * 4);
            }
        }
    }
}

/* Sums in tiles 0 and 1, then centres and both halves of the rows, whole in tiles 2 to
 * 4 and the last columns of both parts in 5 to 7. */
INLINE void begin_split(ptrdiff_t d)
{
    const int rest = (int)((d + 1) / 2 * 2 % 16);
    uint8_t c[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; ++i) {
        c[16 + 2 * i] = (uint8_t)(rest && i == 5 ? 4 * rest : 64);
        c[48 + i] = (uint8_t)(rest && i > 5 ? rest : 16);
    }
    MEMORY_READY;
    _tile_loadconfig(c);
}

/* Scores of a panel for the rows of a tile, (2, 16, 16). */
INLINE void multiply_split(const uint32_t *words, ptrdiff_t d, const uint32_t *packed,
                           float *sums)
{
    const ptrdiff_t pairs = (d + 1) / 2;
    ptrdiff_t t = 0;
    _tile_loadd(0, packed, 64);
    _tile_loadd(1, packed, 64);
    packed += 256;
    for (; t + 16 <= 2 * pairs; t += 16, packed += 256) {
        _tile_loadd(2, packed, 64);
        _tile_loadd(3, words + t * TILE, 4 * TILE);
        _tile_loadd(4, words + t * TILE + 16, 4 * TILE);
        _tile_dpbf16ps(0, 2, 3);
        _tile_dpbf16ps(1, 2, 4);
    }
    if (t < 2 * pairs) {
        _tile_loadd(5, packed, 64);
        _tile_loadd(6, words + t * TILE, 4 * TILE);
        _tile_loadd(7, words + t * TILE + 16, 4 * TILE);
        _tile_dpbf16ps(0, 5, 6);
        _tile_dpbf16ps(1, 5, 7);
        packed += 256;
    }
    /* The last of these tiles ends with second parts, where the centres are zero. */
    for (t = 0; t < pairs; t += 16, packed += 256) {
        _tile_loadd(2, packed, 64);
        _tile_loadd(3, words + t * TILE, 4 * TILE);
        _tile_loadd(4, words + t * TILE + 16, 4 * TILE);
        _tile_dpbf16ps(0, 2, 3);
        _tile_dpbf16ps(1, 2, 4);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    MEMORY_READY;
}

/* Best and second of the scores of a panel, that of centre j with j in its lowest four
 * bits, for each row of a tile. */
INLINE void best_of_panel(const float *sums, float *best, float *second)
{
    const __m512i low = _mm512_set1_epi32(15);
    for (int p = 0; p < 2; ++p) {
        __m512 b = _mm512_set1_ps(-INFINITY), s = b;
        _Pragma("GCC unroll 16")
        for (int j = 0; j < PANEL; ++j) {
            const __m512i sum = _mm512_load_si512(sums + 256 * p + 16 * j);
            const __m512 v = _mm512_castsi512_ps(
                _mm512_ternarylogic_epi32(low, sum, _mm512_set1_epi32(j), 0xac));
            s = _mm512_max_ps(s, _mm512_min_ps(b, v));
            b = _mm512_max_ps(b, v);
        }
        _mm512_storeu_ps(best + 16 * p, b);
        _mm512_storeu_ps(second + 16 * p, s);
    }
}

/* What the tile unit finds for the rows of a tile. */
typedef struct {
    float best[TILE], second[TILE];
    int32_t panel[TILE];
} split_scores;

/* `words` has room for the parts of a tile and, behind them, for two times 32 scores a
 * panel. Returns the scores of the panels. */
static float *score_split(const stern_centers_f32 *c, const float *tile, uint32_t *words,
                          split_scores *o)
{
    const ptrdiff_t d = c->d, size = stern_lloyd_panel_words(d), panels = (c->k + PANEL - 1) / PANEL;
    float *const found = (float *)(words + (d + 1) / 2 * 2 * TILE);
    float *const others = found + panels * TILE;
    float sums[2][2 * 256] __attribute__((aligned(64)));
    split_tile(tile, d, words);
    MEMORY_READY;
    __m512 best[2], second[2];
    __m512i panel[2];
    best[0] = best[1] = second[0] = second[1] = _mm512_set1_ps(-INFINITY);
    panel[0] = panel[1] = _mm512_setzero_si512();
    multiply_split(words, d, c->split, sums[0]);
    for (ptrdiff_t p = 0; p < panels; ++p) {
        /* The unit works on the next panel meanwhile. */
        if (p + 1 < panels)
            multiply_split(words, d, c->split + (p + 1) * size, sums[(p + 1) % 2]);
        float *const b = found + p * TILE, *const s = others + p * TILE;
        best_of_panel(sums[p % 2], b, s);
        for (int i = 0; i < 2; ++i) {
            const __m512 first = _mm512_loadu_ps(b + 16 * i);
            const __mmask16 above = _mm512_cmp_ps_mask(first, best[i], _CMP_GT_OQ);
            const __m512 next =
                _mm512_max_ps(_mm512_loadu_ps(s + 16 * i), _mm512_min_ps(first, best[i]));
            second[i] = _mm512_max_ps(second[i], next);
            best[i] = _mm512_max_ps(first, best[i]);
            panel[i] = _mm512_mask_mov_epi32(panel[i], above, _mm512_set1_epi32((int)p));
        }
    }
    for (int i = 0; i < 2; ++i) {
        _mm512_storeu_ps(o->best + 16 * i, best[i]);
        _mm512_storeu_ps(o->second + 16 * i, second[i]);
        _mm512_storeu_si512(o->panel + 16 * i, panel[i]);
    }
    return found;
}

/* The nearest by definition of the centres whose score is not below `least`. */
static int32_t decide_split(const stern_centers_f32 *c, const float *x,
                            const float *found, float least, int32_t guess)
{
    double distance = distance_f32(x, c->centers + guess * c->d, c->d, INFINITY);
    for (int32_t j = 0; j < c->k; ++j) {
        if (j % PANEL == 0 && found[j / PANEL * TILE] < least) {
            j += PANEL - 1;
            continue;
        }
        if (j == guess)
            continue;
        const double v = distance_f32(x, c->centers + j * c->d, c->d, distance);
        if (v < distance || (v == distance && j < guess)) {
            distance = v;
            guess = j;
        }
    }
    return guess;
}

/* Labels of the rows of a tile, and unless g is NULL bounds; row r is row at[r] of x. */
static void settle_split(const stern_centers_f32 *c, const stern_groups_f32 *g,
                         const float *x, const float *tile, const int16_t *at,
                         ptrdiff_t rows, uint32_t *words, int32_t *labels, float *upper,
                         float *lower)
{
    const ptrdiff_t d = c->d, panels = (c->k + PANEL - 1) / PANEL;
    const float *norm = tile + d * TILE;
    split_scores o;
    float *const found = score_split(c, tile, words, &o), *others = found + panels * TILE;
    float slack[TILE], bound[TILE];
    int32_t label[TILE];
    uint32_t open = 0;
    for (int r = 0; r < TILE; ++r) {
        int32_t bits;
        memcpy(&bits, o.best + r, sizeof bits);
        label[r] = o.panel[r] * PANEL + (bits & 15);
        slack[r] = c->wide_alpha * norm[r] + c->wide_beta;
        /* NaN and infinity are never certain. */
        open |= (uint32_t)!(o.best[r] - o.second[r] > slack[r]) << r;
    }
    for (; open; open &= open - 1) {
        const int r = __builtin_ctz(open);
        if (r >= rows)
            break;
        const int32_t guess = label[r] < c->k ? label[r] : 0;
        label[r] = decide_split(c, x + at[r] * d, found + r, o.best[r] - slack[r], guess);
    }
    for (ptrdiff_t r = 0; r < rows; ++r)
        labels[at[r]] = label[r];
    if (!g)
        return;
    bounds_above_f32(norm, o.best, slack, bound);
    for (ptrdiff_t r = 0; r < rows; ++r) {
        upper[at[r]] = bound[r];
        float *const mine = found + label[r] / PANEL * TILE + r;
        int32_t bits;
        memcpy(&bits, mine, sizeof bits);
        if ((bits & 15) == label[r] % PANEL)
            *mine = others[label[r] / PANEL * TILE + r];
    }
    for (ptrdiff_t j = 0; j < g->n; ++j) {
        const ptrdiff_t first = j * g->size / PANEL, end = first + g->size / PANEL;
        float *const all = found + first * TILE;
        for (ptrdiff_t p = first + 1; p < end && p < panels; ++p)
            for (int r = 0; r < TILE; ++r)
                all[r] = found[p * TILE + r] > all[r] ? found[p * TILE + r] : all[r];
        bounds_below_f32(norm, all, slack, bound);
        for (ptrdiff_t r = 0; r < rows; ++r)
            lower[j * g->stride + at[r]] = c->repeated ? 0 : bound[r];
    }
}

/* Room behind a tile, at a multiple of 64 bytes. */
INLINE uint32_t *behind_tile(float *scratch, ptrdiff_t d)
{
    return (uint32_t *)(((uintptr_t)(scratch + (d + 1) * TILE) + 63) & ~(uintptr_t)63);
}

static void settle_rows(const stern_centers_f32 *c, const stern_groups_f32 *g,
                        const float *x, const float *tiles, const int16_t *at,
                        ptrdiff_t n, ptrdiff_t ahead, float *scratch, int32_t *labels,
                        float *upper, float *lower)
{
    const ptrdiff_t d = c->d;
    uint32_t *const words = behind_tile(scratch, d);
    begin_split(d);
    for (ptrdiff_t start = 0; start < n; start += TILE) {
        const ptrdiff_t rows = n - start < TILE ? n - start : TILE;
        const float *tile = scratch;
        if (tiles) {
            tile = tiles + start * (d + 1);
        } else {
            const float *row[TILE];
            for (ptrdiff_t r = 0; r < rows; ++r)
                row[r] = x + at[start + r] * d;
            pack_rows_f32(row, rows, d, ahead, c->scale, c->shift, scratch);
        }
        settle_split(c, g, x, tile, at + start, rows, words, labels, upper, lower);
    }
    _tile_release();
}

static void nearest_split(const stern_centers_f32 *c, const float *x, ptrdiff_t n,
                          const float *tiles, float *scratch, int32_t *labels)
{
    int16_t at[STERN_LLOYD_BLOCK];
    if (c->d < LEAST_COLUMNS) {
        nearest_f32(c, x, n, tiles, scratch, labels);
        return;
    }
    for (ptrdiff_t i = 0; i < n; ++i)
        at[i] = (int16_t)i;
    settle_rows(c, NULL, x, tiles, at, n, TILE * c->d, scratch, labels, NULL, NULL);
}

static void nearest_bounded_split(const stern_centers_f32 *c, const stern_groups_f32 *g,
                                  const float *x, ptrdiff_t n, const float *tiles,
                                  int first, float *scratch, int32_t *labels,
                                  float *upper, float *lower)
{
    int16_t open[STERN_LLOYD_BLOCK];
    ptrdiff_t n_open = n, n_pairs = n * g->n;
    if (c->d < LEAST_COLUMNS || c->k <= STERN_LLOYD_FEW) {
        nearest_bounded_f32(c, g, x, n, tiles, first, scratch, labels, upper, lower);
        return;
    }
    if (!first)
        n_open = move_bounds_f32(g, n, labels, upper, lower, open, &n_pairs);
    const int dense = STERN_LLOYD_DENSE * n_pairs >= n * g->n;
    if (!dense) {
        compare_groups_f32(c, g, x, open, n_open, scratch, labels, upper, lower);
        return;
    }
    if (first || tiles)
        for (n_open = 0; n_open < n; ++n_open)
            open[n_open] = (int16_t)n_open;
    settle_rows(c, g, x, tiles, open, n_open, n_open == n ? TILE * c->d : 0, scratch,
                labels, upper, lower);
}

#undef LEAST_COLUMNS
#undef PANEL
#undef NO_CENTER
#undef MEMORY_READY
