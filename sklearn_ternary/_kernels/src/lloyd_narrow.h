/* Nearest centres by the tile unit where a step of it takes whole rows: screens of at
 * most 32 columns. Rows go by one panel after another while the unit works on the
 * next ones, and the centres of as many panels as it holds stay in it. The scores are
 * those of lloyd_split.h, bit for bit. */

#define HELD 4    /* panels, in tiles 4 to 7 */
#define AHEAD 2   /* tiles of rows, that are wanted soon */
#define ROWS_16 16
#define NARROW_ROWS 512 /* at a time */

/* What is known of 16 rows: the best and second score, and the panel of the best. */
typedef struct {
    __m512 best, second;
    __m512i panel;
} narrow_scores;

/* Sums in tiles 0 to 2, rows of `words` words in 3, centres of as many in the others. */
INLINE void begin_narrow(ptrdiff_t words)
{
    uint8_t c[64] __attribute__((aligned(64))) = {1};
    for (int i = 0; i < 8; ++i) {
        c[16 + 2 * i] = (uint8_t)(i < HELD ? 64 : 4 * words);
        c[48 + i] = (uint8_t)(i == 3 ? words : 16);
    }
    MEMORY_READY;
    _tile_loadconfig(c);
}

/* Adds the scores of panel p. */
INLINE void add_panel(const float *sums, int p, narrow_scores *o)
{
    __m512 best, second;
    best_of_panel(sums, &best, &second);
    const __mmask16 above = _mm512_cmp_ps_mask(best, o->best, _CMP_GT_OQ);
    o->second = _mm512_max_ps(_mm512_max_ps(o->second, second),
                              _mm512_min_ps(o->best, best));
    o->best = _mm512_max_ps(o->best, best);
    o->panel = _mm512_mask_mov_epi32(o->panel, above, _mm512_set1_epi32(p));
}

/* Scores of N panels, from `first` on, for n rows, added to `all`. */
INLINE void score_narrow(const int N, const stern_centers_f32 *c, const uint32_t *parts,
                         ptrdiff_t n, ptrdiff_t first, narrow_scores *all)
{
    const ptrdiff_t size = stern_lloyd_panel_words(c->d), row = words_of_screen(c->d);
    const uint32_t *const panel = c->split + first * size;
    float sums[2][HELD * 16 * PANEL] __attribute__((aligned(64)));
#define HOLD(p, held)                                        \
    if (N > p)                                               \
        _tile_loadd(held, panel + p * size + 256, 64);
#define MULTIPLY(p, sum, centers)                            \
    if (N > p) {                                             \
        _tile_loadd(sum, panel + p * size, 64);              \
        _tile_dpbf16ps(sum, centers, 3);                     \
    }
#define PUT(p, sum)                                          \
    if (N > p)                                               \
        _tile_stored(sum, next + p * 256, 64);
#define ADD(p)                                               \
    if (N > p && now)                                        \
        add_panel(now + p * 256, (int)first + p, all + r - 1);
    HOLD(0, 4) HOLD(1, 5) HOLD(2, 6) HOLD(3, 7)
    const float *now = NULL;
    for (ptrdiff_t r = 0; r * ROWS_16 < n + ROWS_16; ++r) {
        float *const next = sums[r % 2];
        if (r * ROWS_16 < n) {
            const uint32_t *const words = parts + r / 2 * row + r % 2 * ROWS_16;
            for (ptrdiff_t line = 0; first == 0 && line < row / TILE; ++line)
                __builtin_prefetch(parts + (r / 2 + AHEAD) * row
                                   + (r % 2 * (row / TILE) + line) * 16);
            _tile_loadd(3, words, 4 * TILE);
        }
        MULTIPLY(0, 0, 4)
        MULTIPLY(1, 1, 5)
        ADD(0)
        PUT(0, 0)
        MULTIPLY(2, 2, 6)
        ADD(1)
        PUT(1, 1)
        MULTIPLY(3, 0, 7)
        ADD(2)
        PUT(2, 2)
        ADD(3)
        PUT(3, 0)
        MEMORY_READY;
        now = next;
    }
#undef HOLD
#undef MULTIPLY
#undef PUT
#undef ADD
}

/* Labels of n <= NARROW_ROWS rows of x from `from` on, whose parts these are; lists
 * those that are left open, and says how many. */
static ptrdiff_t screen_narrow(const stern_centers_f32 *c, const float *x,
                               const uint32_t *parts, ptrdiff_t from, ptrdiff_t n,
                               int32_t *labels, int16_t *open)
{
    const ptrdiff_t panels = (c->k + PANEL - 1) / PANEL, pairs = (c->d + 1) / 2;
    const __m512 none = _mm512_set1_ps(-INFINITY);
    narrow_scores all[NARROW_ROWS / ROWS_16];
    ptrdiff_t n_open = 0;
    for (ptrdiff_t r = 0; r * ROWS_16 < n; ++r)
        all[r] = (narrow_scores){none, none, _mm512_setzero_si512()};
    begin_narrow(pairs);
    for (ptrdiff_t p = 0; p < panels; p += HELD)
        switch (panels - p) {
        case 1: score_narrow(1, c, parts, n, p, all); break;
        case 2: score_narrow(2, c, parts, n, p, all); break;
        case 3: score_narrow(3, c, parts, n, p, all); break;
        default: score_narrow(HELD, c, parts, n, p, all);
        }
    _tile_release();
    for (ptrdiff_t r = 0; r * ROWS_16 < n; ++r) {
        const uint32_t *const behind =
            parts + r / 2 * words_of_screen(c->d) + pairs * TILE + r % 2 * ROWS_16;
        const __m512 wide = slack_of(1, c, behind, _mm512_loadu_ps(behind));
        const __m512 gap = _mm512_sub_ps(all[r].best, all[r].second);
        const __mmask16 there = first_lanes(n - r * ROWS_16);
        const __m512i label =
            _mm512_or_si512(_mm512_slli_epi32(all[r].panel, 4),
                            _mm512_and_si512(_mm512_castps_si512(all[r].best),
                                             _mm512_set1_epi32(PANEL - 1)));
        _mm512_mask_storeu_epi32(labels + from + r * ROWS_16, there, label);
        /* NaN and infinity are never certain. */
        uint32_t left = there & (uint32_t)~_mm512_cmp_ps_mask(gap, wide, _CMP_GT_OQ);
        for (; left; left &= left - 1) {
            const ptrdiff_t i = from + r * ROWS_16 + __builtin_ctz(left);
            open[n_open++] = (int16_t)i;
            prefetch_row_f32(x + i * c->d, c->d);
        }
    }
    return n_open;
}

#undef HELD
#undef AHEAD
#undef ROWS_16
