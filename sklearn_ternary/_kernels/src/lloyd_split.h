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
 * farther away; whoever is left is compared by the definition.
 *
 * Rows that are compared again and again are screened by the first parts h and h' of
 * rows and centres alone, which are half as much to read and a third of the products.
 * From x . c - h . h' = (x - h) . c + h . (c - h') and |h| <= |x| + |x - h|, a score
 * misses at most
 *
 *     |x - h| M + (|x| + |x - h|) m,
 *
 * m being the largest |c - h'|, and the difference of two at most twice as much.
 * |x - h| and m are known: they are about 0.4 u |x| and 0.4 u M. Both and |x| are found
 * in single precision, with a relative error below (d + 8) w / 2 < 1/32 (or no row is
 * certain), which a factor of 1.04 covers; squares that underflow miss less than `beta`
 * has for that. What the unit sums up and the number of the centre add as much as
 * above. Rows that this leaves open are compared as above. */

/* Columns from which on this is used: fewer would leave most of the unit unused, and
 * tiles that reach beyond the first parts of a row then end within the second. */
#define LEAST_COLUMNS STERN_LLOYD_SPLIT_FROM
#define PANEL STERN_LLOYD_PANEL
#define NARROW 32 /* columns of a step of the unit */
#define ROWS (2 * TILE) /* at a time */
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

/* What a length found in single precision is multiplied by so as not to be too short. */
#define LONGER 1.04f

/* Values of two columns as first parts, and what those miss. */
INLINE __m512i first_parts(__m512 a, __m512 b, __m512 *even, __m512 *odd)
{
    const __m512i high = pair_words(a, b), upper = _mm512_set1_epi32((int)0xffff0000);
    *even = _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
    *odd = _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_and_si512(high, upper)));
    return high;
}

/* Words of the first parts of a tile, of the squared norms and of the lengths of what
 * the first parts miss. */
INLINE ptrdiff_t words_of_screen(ptrdiff_t d) { return ((d + 1) / 2 + 2) * TILE; }

static void screen_tile(const float *tile, ptrdiff_t d, uint32_t *words)
{
    const ptrdiff_t pairs = (d + 1) / 2;
    for (int r = 0; r < TILE; r += 16) {
        __m512 missed = _mm512_setzero_ps(), more = missed, even, odd;
        for (ptrdiff_t t = 0; t < pairs; ++t) {
            const float *const at = tile + 2 * t * TILE + r;
            const __m512 b = 2 * t + 1 < d ? _mm512_loadu_ps(at + TILE)
                                           : _mm512_setzero_ps();
            const __m512i high = first_parts(_mm512_loadu_ps(at), b, &even, &odd);
            missed = _mm512_fmadd_ps(even, even, missed);
            more = _mm512_fmadd_ps(odd, odd, more);
            _mm512_storeu_si512(words + t * TILE + r, high);
        }
        missed = _mm512_sqrt_ps(_mm512_add_ps(missed, more));
        _mm512_storeu_ps(words + pairs * TILE + r, _mm512_loadu_ps(tile + d * TILE + r));
        _mm512_storeu_ps(words + (pairs + 1) * TILE + r,
                         _mm512_mul_ps(missed, _mm512_set1_ps(LONGER)));
    }
}

/* First and second parts of a tile: (2, ceil(d / 2), 32) words, and behind them the
 * squared norms. */
static void split_tile(const float *tile, ptrdiff_t d, uint32_t *words)
{
    const ptrdiff_t pairs = (d + 1) / 2;
    memcpy(words + 2 * pairs * TILE, tile + d * TILE, TILE * sizeof *tile);
    for (ptrdiff_t t = 0; t < pairs; ++t, tile += 2 * TILE, words += TILE)
        for (int r = 0; r < TILE; r += 16) {
            const __m512 a = _mm512_loadu_ps(tile + r);
            const __m512 b = 2 * t + 1 < d ? _mm512_loadu_ps(tile + TILE + r)
                                           : _mm512_setzero_ps();
            __m512 even, odd;
            _mm512_storeu_si512(words + r, first_parts(a, b, &even, &odd));
            _mm512_storeu_si512(words + pairs * TILE + r, pair_words(even, odd));
        }
}

INLINE __mmask16 first_lanes(ptrdiff_t n)
{
    return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffff);
}

/* Writes the first n <= 8 words of v as words `at` and following of row j of tiles. */
INLINE void put_words(uint32_t *tiles, ptrdiff_t j, ptrdiff_t at, ptrdiff_t n, __m256i v)
{
    const ptrdiff_t lane = at % 16, here = n < 16 - lane ? n : 16 - lane;
    uint32_t *const to = tiles + at / 16 * 256 + j * 16;
    const unsigned first = (1u << here) - 1, all = (1u << n) - 1;
    _mm256_mask_storeu_epi32(to + lane, (__mmask8)first, v);
    if (here < n)
        _mm256_mask_storeu_epi32(to + 256 - here, (__mmask8)(all & ~first), v);
}

/* Packs centres in the frame, twice the first parts, then the second ones. */
static void pack_split(const float *framed, const float *init, ptrdiff_t k, ptrdiff_t d,
                       ptrdiff_t first, ptrdiff_t end, uint32_t *packed)
{
    const ptrdiff_t size = stern_lloyd_panel_words(d), pairs = (d + 1) / 2;
    const ptrdiff_t firsts = (2 * pairs + 15) / 16 * 256;
    memset(packed + first * size, 0, (size_t)((end - first) * size) * sizeof *packed);
    for (ptrdiff_t j = first * PANEL; j < end * PANEL; ++j) {
        uint32_t *const panel = packed + j / PANEL * size, *const tiles = panel + 256;
        const ptrdiff_t row = j % PANEL;
        const int none = j >= k || init[j] == -INFINITY;
        _mm512_storeu_ps(panel + row * 16, _mm512_set1_ps(none ? NO_CENTER : init[j]));
        if (none)
            continue;
        for (ptrdiff_t t = 0; t < d; t += 16) {
            const ptrdiff_t w = t / 2, n = pairs - w < 8 ? pairs - w : 8;
            const __m512 v = _mm512_maskz_loadu_ps(first_lanes(d - t), framed + j * d + t);
            const __m256i high = (__m256i)_mm512_cvtneps_pbh(v);
            const __m512i part = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
            const __m512 rest = _mm512_sub_ps(v, _mm512_castsi512_ps(part));
            put_words(tiles, row, w, n, high);
            put_words(tiles, row, pairs + w, n, high);
            put_words(tiles + firsts, row, w, n, (__m256i)_mm512_cvtneps_pbh(rest));
        }
    }
}

/* Words of the parts of a tile. */
INLINE ptrdiff_t words_of_tile(ptrdiff_t d) { return ((d + 1) / 2 * 2 + 1) * TILE; }

/* Makes the first parts of at most 32 rows; scratch holds a tile. */
static void split_rows(const float *x, ptrdiff_t n, ptrdiff_t d, float scale,
                       const float *shift, float *scratch, void *words)
{
    pack_f32(x, n, d, scale, shift, scratch);
    screen_tile(scratch, d, words);
}

/* Sums in tiles 0 and 1, then centres and both halves of the rows, whole in tiles 2 to
 * 4 and in 5 to 7 the last of the `words` that a row has of both parts, or of one. */
INLINE void begin_split(ptrdiff_t words)
{
    const int rest = (int)(words % 16);
    uint8_t c[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; ++i) {
        c[16 + 2 * i] = (uint8_t)(rest && i == 5 ? 4 * rest : 64);
        c[48 + i] = (uint8_t)(rest && i > 5 ? rest : 16);
    }
    MEMORY_READY;
    _tile_loadconfig(c);
}

/* Scores of a panel for the rows of a tile, (2, 16, 16); by first parts alone, which
 * the panel begins with, to `screen`. */
INLINE void multiply_split(const int screen, const uint32_t *words, ptrdiff_t d,
                           const uint32_t *packed, float *sums)
{
    const ptrdiff_t pairs = (d + 1) / 2, all = screen ? pairs : 2 * pairs;
#define MULTIPLY(centers, first, second)                     \
    _tile_loadd(centers, packed, 64);                        \
    _tile_loadd(first, words + t * TILE, 4 * TILE);          \
    _tile_loadd(second, words + t * TILE + 16, 4 * TILE);    \
    _tile_dpbf16ps(0, centers, first);                       \
    _tile_dpbf16ps(1, centers, second);                      \
    packed += 256;
    ptrdiff_t t = 0;
    _tile_loadd(0, packed, 64);
    _tile_loadd(1, packed, 64);
    packed += 256;
    for (; t + 16 <= all; t += 16) {
        MULTIPLY(2, 3, 4)
    }
    if (t < all) {
        MULTIPLY(5, 6, 7)
    }
    /* The last of these tiles ends with second parts, where the centres are zero. */
    for (t = 0; !screen && t < pairs; t += 16) {
        MULTIPLY(2, 3, 4)
    }
#undef MULTIPLY
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    MEMORY_READY;
}

/* Numbers of centres of a panel: from memory, as a compiler that knows them makes each
 * of them anew, with an instruction more. */
INLINE const int32_t *center_numbers(void)
{
    static const int32_t numbers[PANEL] = {0, 1, 2,  3,  4,  5,  6,  7,
                                           8, 9, 10, 11, 12, 13, 14, 15};
    const int32_t *at = numbers;
    __asm__("" : "+r"(at));
    return at;
}

/* Scores of a centre of a panel for 16 rows, with its number in the lowest four bits. */
INLINE __m512 numbered(const float *sums, const int32_t *number)
{
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_load_si512(sums), _mm512_set1_epi32(PANEL - 1),
        _mm512_set1_epi32(*number), 0xb8));
}

/* Best and second of the scores of a panel for each of 16 rows. Those of even and odd
 * centres go apart, as each waits for the last. */
INLINE void best_of_panel(const float *sums, __m512 *best, __m512 *second)
{
    const int32_t *const numbers = center_numbers();
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 b[2] = {none, none}, s[2] = {none, none};
    _Pragma("GCC unroll 16")
    for (int j = 0; j < PANEL; ++j) {
        const __m512 v = numbered(sums + 16 * j, numbers + j);
        s[j % 2] = _mm512_max_ps(s[j % 2], _mm512_min_ps(b[j % 2], v));
        b[j % 2] = _mm512_max_ps(b[j % 2], v);
    }
    *best = _mm512_max_ps(b[0], b[1]);
    *second = _mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_min_ps(b[0], b[1]));
}

/* What the tile unit finds for the rows of two tiles. */
typedef struct {
    float best[ROWS], second[ROWS];
    int32_t panel[ROWS];
} split_scores;

/* `found` has room for two times 64 scores a panel. All tiles are compared with a panel
 * before the next, so that centres come from the nearest cache every second time. */
INLINE void score_tiles(const int screen, const int n_tiles, const stern_centers_f32 *c,
                        const uint32_t *const words[2], float *found, split_scores *o)
{
    const ptrdiff_t d = c->d, size = stern_lloyd_panel_words(d);
    const ptrdiff_t panels = (c->k + PANEL - 1) / PANEL;
    float *const others = found + panels * ROWS;
    float sums[2][TILE * PANEL] __attribute__((aligned(64)));
    MEMORY_READY;
    __m512 best[4], second[4];
    __m512i panel[4];
    for (int q = 0; q < 2 * n_tiles; ++q) {
        best[q] = second[q] = _mm512_set1_ps(-INFINITY);
        panel[q] = _mm512_setzero_si512();
    }
    multiply_split(screen, words[0], d, c->split, sums[0]);
    for (ptrdiff_t p = 0; p < panels; ++p)
        _Pragma("GCC unroll 2")
        for (int tile = 0; tile < n_tiles; ++tile) {
            /* The unit works on what comes next meanwhile. */
            const int last = tile + 1 == n_tiles;
            const ptrdiff_t now = p * n_tiles + tile;
            if (p + last < panels)
                multiply_split(screen, words[last ? 0 : 1], d,
                               c->split + (p + last) * size, sums[(now + 1) % 2]);
            _Pragma("GCC unroll 2")
            for (int half = 0; half < 2; ++half) {
                const int q = 2 * tile + half;
                __m512 first, next;
                best_of_panel(sums[now % 2] + 256 * half, &first, &next);
                _mm512_storeu_ps(found + p * ROWS + 16 * q, first);
                _mm512_storeu_ps(others + p * ROWS + 16 * q, next);
                const __mmask16 above = _mm512_cmp_ps_mask(first, best[q], _CMP_GT_OQ);
                next = _mm512_max_ps(next, _mm512_min_ps(first, best[q]));
                second[q] = _mm512_max_ps(second[q], next);
                best[q] = _mm512_max_ps(first, best[q]);
                panel[q] =
                    _mm512_mask_mov_epi32(panel[q], above, _mm512_set1_epi32((int)p));
            }
        }
    for (int q = 0; q < 2 * n_tiles; ++q) {
        _mm512_storeu_ps(o->best + 16 * q, best[q]);
        _mm512_storeu_ps(o->second + 16 * q, second[q]);
        _mm512_storeu_si512(o->panel + 16 * q, panel[q]);
    }
}

/* The nearest by definition of the centres whose score is not below `least`. */
static int32_t decide_split(const stern_centers_f32 *c, const float *x,
                            const float *found, float least, int32_t guess)
{
    double distance = distance_f32(x, c->centers + guess * c->d, c->d, INFINITY);
    for (int32_t j = 0; j < c->k; ++j) {
        if (j % PANEL == 0 && found[j / PANEL * ROWS] < least) {
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

/* Values of the rows from 16 q on, as many as `there` says; row r is row at[r] of all,
 * or r where at is NULL. */
INLINE void put_rows(void *all, const int16_t *at, int q, __mmask16 there, __m512i v)
{
    if (!at) {
        _mm512_mask_storeu_epi32((int32_t *)all + 16 * q, there, v);
        return;
    }
    const __m256i where = _mm256_maskz_loadu_epi16(there, at + 16 * q);
    _mm512_mask_i32scatter_epi32(all, there, _mm512_cvtepi16_epi32(where), v, 4);
}

/* A bound of distances below, from squares less twice the slack, or 0. */
INLINE __m512i bound_split(__m512 square)
{
    const __m512 root = _mm512_sqrt_ps(_mm512_max_ps(square, _mm512_setzero_ps()));
    return _mm512_castps_si512(_mm512_mul_ps(root, _mm512_set1_ps(DOWN)));
}

/* By how much the difference of two scores of 16 rows may be wrong. */
INLINE __m512 slack_of(const int screen, const stern_centers_f32 *c,
                       const uint32_t *behind, __m512 norm)
{
    const __m512 alpha = _mm512_set1_ps(screen ? c->screen_alpha : c->wide_alpha);
    const __m512 beta = _mm512_set1_ps(screen ? c->screen_beta : c->wide_beta);
    const __m512 slack = _mm512_add_ps(_mm512_mul_ps(alpha, norm), beta);
    if (!screen)
        return slack;
    const __m512 missed = _mm512_loadu_ps(behind + TILE), length = _mm512_sqrt_ps(norm);
    return _mm512_add_ps(
        slack,
        _mm512_add_ps(_mm512_mul_ps(missed, _mm512_set1_ps(c->of_missed)),
                      _mm512_mul_ps(length, _mm512_set1_ps(c->of_length))));
}

/* Labels of the rows of two tiles, and unless g is NULL bounds. Those that a screen
 * leaves open are listed in `open`, row r as first + r; returns how many. */
INLINE ptrdiff_t settle_tiles(const int screen, const stern_centers_f32 *c,
                              const stern_groups_f32 *g, const float *x,
                              const uint32_t *const words[2], const int16_t *at,
                              ptrdiff_t rows, float *found, int32_t *labels,
                              float *upper, float *lower, ptrdiff_t from, int16_t *left)
{
    const ptrdiff_t d = c->d, panels = (c->k + PANEL - 1) / PANEL;
    const ptrdiff_t behind = (d + 1) / 2 * (screen ? TILE : 2 * TILE);
    const __m512i low = _mm512_set1_epi32(PANEL - 1);
    ptrdiff_t n_left = 0;
    split_scores o;
    if (rows > TILE)
        score_tiles(screen, 2, c, words, found, &o);
    else
        score_tiles(screen, 1, c, words, found, &o);
    float slack[ROWS];
    int32_t label[ROWS];
    for (int q = 0; q < 4 && 16 * q < rows; ++q) {
        const uint32_t *const more = words[q / 2] + behind + 16 * (q % 2);
        const __m512 norm = _mm512_loadu_ps(more);
        const __m512 best = _mm512_loadu_ps(o.best + 16 * q);
        const __m512 gap = _mm512_sub_ps(best, _mm512_loadu_ps(o.second + 16 * q));
        const __m512 wide = slack_of(screen, c, more, norm);
        const __m512i panel = _mm512_loadu_si512(o.panel + 16 * q);
        _mm512_storeu_ps(slack + 16 * q, wide);
        _mm512_storeu_si512(
            label + 16 * q,
            _mm512_or_si512(_mm512_slli_epi32(panel, 4),
                            _mm512_and_si512(_mm512_castps_si512(best), low)));
        /* NaN and infinity are never certain. */
        uint32_t open = first_lanes(rows - 16 * q)
                        & (uint32_t)~_mm512_cmp_ps_mask(gap, wide, _CMP_GT_OQ);
        for (; open; open &= open - 1) {
            const int r = 16 * q + __builtin_ctz(open);
            if (screen) {
                left[n_left++] = (int16_t)(from + r);
                continue;
            }
            const int32_t guess = label[r] < c->k ? label[r] : 0;
            label[r] = decide_split(c, x + (at ? at[r] : r) * d, found + r,
                                    o.best[r] - slack[r], guess);
        }
        put_rows(labels, at, q, first_lanes(rows - 16 * q),
                 _mm512_loadu_si512(label + 16 * q));
    }
    if (!g)
        return n_left;
    const float *const others = found + panels * ROWS;
    for (int q = 0; q < 4 && 16 * q < rows; ++q) {
        const __mmask16 there = first_lanes(rows - 16 * q);
        const __m512 two = _mm512_set1_ps(2), infinite = _mm512_set1_ps(INFINITY);
        const __m512 norm = _mm512_loadu_ps(words[q / 2] + behind + 16 * (q % 2));
        /* The rounding of the norm is smaller than what is certain without parts. */
        const __m512 wide = _mm512_add_ps(
            _mm512_loadu_ps(slack + 16 * q),
            _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(c->alpha), norm),
                          _mm512_set1_ps(c->beta)));
        const __m512 best = _mm512_mul_ps(_mm512_loadu_ps(o.best + 16 * q), two);
        const __m512 square = _mm512_add_ps(_mm512_sub_ps(norm, best), wide);
        /* NaN stays. */
        __m512 root = _mm512_sqrt_ps(_mm512_max_ps(_mm512_setzero_ps(), square));
        root = _mm512_mask_mul_ps(
            infinite, _mm512_cmp_ps_mask(root, infinite, _CMP_LT_OQ), root,
            _mm512_set1_ps(UP));
        put_rows(upper, at, q, there, _mm512_castps_si512(root));
        const __m512i mine = _mm512_loadu_si512(label + 16 * q);
        const __m512i own = _mm512_srli_epi32(mine, 4);
        for (ptrdiff_t j = 0; j < g->n; ++j) {
            const ptrdiff_t first = j * g->size / PANEL, end = first + g->size / PANEL;
            __m512 all = _mm512_set1_ps(-INFINITY);
            for (ptrdiff_t p = first; p < end && p < panels; ++p) {
                __m512 v = _mm512_loadu_ps(found + p * ROWS + 16 * q);
                const __m512i lane = _mm512_xor_si512(_mm512_castps_si512(v), mine);
                const __mmask16 here = _mm512_mask_testn_epi32_mask(
                    _mm512_cmpeq_epi32_mask(own, _mm512_set1_epi32((int)p)), lane, low);
                v = _mm512_mask_loadu_ps(v, here, others + p * ROWS + 16 * q);
                /* NaN stays. */
                all = _mm512_max_ps(all, v);
            }
            const __m512 below =
                _mm512_sub_ps(_mm512_sub_ps(norm, _mm512_mul_ps(all, two)), wide);
            put_rows(lower + j * g->stride, at, q, there,
                     c->repeated ? _mm512_setzero_si512() : bound_split(below));
        }
    }
    return n_left;
}

static void settle_split(const stern_centers_f32 *c, const stern_groups_f32 *g,
                         const float *x, const uint32_t *const words[2],
                         const int16_t *at, ptrdiff_t rows, float *found,
                         int32_t *labels, float *upper, float *lower)
{
    settle_tiles(0, c, g, x, words, at, rows, found, labels, upper, lower, 0, NULL);
}

static ptrdiff_t screen_split(const stern_centers_f32 *c, const stern_groups_f32 *g,
                              const float *x, const uint32_t *const words[2],
                              ptrdiff_t rows, float *found, int32_t *labels,
                              float *upper, float *lower, ptrdiff_t from, int16_t *left)
{
    return settle_tiles(1, c, g, x, words, NULL, rows, found, labels, upper, lower, from,
                        left);
}

/* Room behind a tile, at a multiple of 64 bytes. */
INLINE uint32_t *behind_tile(float *scratch, ptrdiff_t d)
{
    return (uint32_t *)(((uintptr_t)(scratch + (d + 1) * TILE) + 63) & ~(uintptr_t)63);
}

/* Makes all parts of rows x, or of those that `at` lists. */
INLINE void find_parts(const stern_centers_f32 *c, const float *x, const int16_t *at,
                       ptrdiff_t n, float *scratch, uint32_t *words)
{
    const float *row[TILE];
    for (ptrdiff_t r = 0; r < n; ++r)
        row[r] = x + (at ? at[r] : r) * c->d;
    pack_rows_f32(row, n, c->d, at ? 0 : TILE * c->d, c->scale, c->shift, scratch);
    split_tile(scratch, c->d, words);
}

/* Labels and bounds of n rows, or of those that `at` lists, by all their parts. */
static void settle_rows(const stern_centers_f32 *c, const stern_groups_f32 *g,
                        const float *x, const int16_t *at, ptrdiff_t n, float *scratch,
                        int32_t *labels, float *upper, float *lower)
{
    const ptrdiff_t d = c->d, size = words_of_tile(d);
    uint32_t *const room = behind_tile(scratch, d);
    float *const found = (float *)(room + 2 * size);
    begin_split((d + 1) / 2 * 2);
    find_parts(c, x, at, n < TILE ? n : TILE, scratch, room);
    for (ptrdiff_t start = 0, i = 0; start < n; start += TILE, i = 1 - i) {
        const ptrdiff_t next = start + TILE, left = n - next;
        const uint32_t *const words[2] = {room + i * size, NULL};
        const ptrdiff_t rows = left < 0 ? TILE + left : TILE;
        /* Parts that were written just now would be waited for. */
        if (left > 0)
            find_parts(c, at ? x : x + next * d, at ? at + next : NULL,
                       left < TILE ? left : TILE, scratch, room + (1 - i) * size);
        if (at)
            settle_split(c, g, x, words, at + start, rows, found, labels, upper, lower);
        else
            settle_split(c, g, x + start * d, words, NULL, rows, found, labels + start,
                         g ? upper + start : NULL, g ? lower + start : NULL);
    }
    _tile_release();
}

#include "lloyd_narrow.h"

/* The same for all of n rows, first by the first parts that are kept of them: at most
 * STERN_LLOYD_SCREEN, with bounds STERN_LLOYD_BLOCK. */
static void screen_rows(const stern_centers_f32 *c, const stern_groups_f32 *g,
                        const float *x, const uint32_t *parts, ptrdiff_t n,
                        float *scratch, int32_t *labels, float *upper, float *lower)
{
    const ptrdiff_t size = words_of_screen(c->d);
    float *const found = (float *)behind_tile(scratch, c->d);
    int16_t open[STERN_LLOYD_SCREEN];
    ptrdiff_t n_open = 0;
    if (!g && c->d <= NARROW) {
        for (ptrdiff_t start = 0; start < n; start += NARROW_ROWS)
            n_open += screen_narrow(c, x, parts + start / TILE * size, start,
                                    n - start < NARROW_ROWS ? n - start : NARROW_ROWS,
                                    labels, open + n_open);
    } else {
        begin_split((c->d + 1) / 2);
        for (ptrdiff_t start = 0; start < n; start += ROWS) {
            const uint32_t *const first = parts + start / TILE * size;
            const uint32_t *const words[2] = {first, first + size};
            const ptrdiff_t rows = n - start < ROWS ? n - start : ROWS;
            n_open += screen_split(c, g, x, words, rows, found, labels + start,
                                   g ? upper + start : NULL, g ? lower + start : NULL,
                                   start, open + n_open);
        }
        _tile_release();
    }
    if (n_open)
        settle_rows(c, g, x, open, n_open, scratch, labels, upper, lower);
}

static void nearest_split(const stern_centers_f32 *c, const float *x, ptrdiff_t n,
                          const float *tiles, float *scratch, int32_t *labels)
{
    if (c->d < LEAST_COLUMNS)
        nearest_f32(c, x, n, tiles, scratch, labels);
    else if (tiles)
        screen_rows(c, NULL, x, (const uint32_t *)tiles, n, scratch, labels, NULL, NULL);
    else
        settle_rows(c, NULL, x, NULL, n, scratch, labels, NULL, NULL);
}

static void nearest_bounded_split(const stern_centers_f32 *c, const stern_groups_f32 *g,
                                  const float *x, ptrdiff_t n, const float *tiles,
                                  int first, float *scratch, int32_t *labels,
                                  float *upper, float *lower)
{
    int16_t open[STERN_LLOYD_BLOCK];
    ptrdiff_t n_open = n, n_pairs = n * g->n;
    if (c->d < LEAST_COLUMNS) {
        nearest_bounded_f32(c, g, x, n, tiles, first, scratch, labels, upper, lower);
        return;
    }
    if (!first)
        n_open = move_bounds_f32(g, c->k, n, labels, upper, lower, open, &n_pairs);
    if ((tiles ? STERN_LLOYD_SCREENED : STERN_LLOYD_DENSE) * n_pairs < n * g->n)
        compare_groups_f32(c, g, x, open, n_open, scratch, labels, upper, lower);
    else if (tiles)
        screen_rows(c, g, x, (const uint32_t *)tiles, n, scratch, labels, upper, lower);
    else
        settle_rows(c, g, x, n_open == n ? NULL : open, n_open, scratch, labels, upper,
                    lower);
}

#undef LEAST_COLUMNS
#undef PANEL
#undef NARROW
#undef ROWS
#undef NO_CENTER
#undef MEMORY_READY
