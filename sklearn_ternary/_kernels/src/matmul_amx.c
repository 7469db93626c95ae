/* Products of many rows of 8-bit activations by the tile unit (AMX): 16 rows of
 * activations by 16 rows of weights by 64 values in one instruction.
 *
 * The fields of a block (matmul.h) are four of the 16 lines of a tile of weights, as
 * they lie; four blocks fill it. Activations are copied to tiles of 16 rows by 64
 * values; where they end, and between scale groups, they are filled with zeros, so
 * that it does not matter what weights stand there. Only integers are added here: the
 * results are those of the other loops, bit for bit. */
#include <immintrin.h>
#include <string.h>

#include "matmul.h"
#include "matmul_panel.h"

#define STERN_MM_AVX512 1
#include "matmul_decode.h"

/* The compiler does not know what memory the tile instructions read. */
#define MEMORY_READY __asm__ volatile("" ::: "memory")

enum {
    TILE_ROWS = 16,
    TILE_VALUES = 64,
    TILE_BYTES = TILE_ROWS * TILE_VALUES,
    TILE_BLOCKS = TILE_VALUES / STERN_MM_VALUES,
    INT8_TOKENS = 256,       /* most rows of activations at a time */
    /* Blocks at a time: whole tiles and whole runs of T5. With the activations of 32
     * rows they take 20 KiB. */
    CHUNK = 20,
    CHUNK_TILES = CHUNK / TILE_BLOCKS,
    SPREAD_BYTES = CHUNK_TILES * TILE_BYTES, /* of a row group */
};

static ptrdiff_t group_tiles(const stern_matrix *m)
{
    return (m->group_blocks + TILE_BLOCKS - 1) / TILE_BLOCKS;
}

static ptrdiff_t row_tiles(const stern_matrix *m)
{
    const ptrdiff_t full = m->n_blocks / m->group_blocks;
    const ptrdiff_t rest = m->n_blocks - full * m->group_blocks;
    return full * group_tiles(m) + (rest + TILE_BLOCKS - 1) / TILE_BLOCKS;
}

static ptrdiff_t tile_bytes(const stern_matrix *m, int tokens)
{
    return (tokens + TILE_ROWS - 1) / TILE_ROWS * row_tiles(m) * TILE_BYTES;
}

static void prepare(const stern_matrix *m, const int8_t *q, ptrdiff_t ldq, int tokens,
                    int8_t *tile, int32_t *sums)
{
    const ptrdiff_t tiles = row_tiles(m);
    const ptrdiff_t full = (tokens + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    for (ptrdiff_t b0 = 0, k0 = 0, k_tile = 0; b0 < m->n_blocks;
         b0 += m->group_blocks, k0 += m->group_size) {
        const ptrdiff_t end = MIN(b0 + m->group_blocks, m->n_blocks);
        const ptrdiff_t n = MIN(m->group_size, m->n_columns - k0);
        for (ptrdiff_t b = b0; b < end; b += STERN_MM_SEGMENT, sums += tokens) {
            const ptrdiff_t blocks = MIN(end - b, STERN_MM_SEGMENT);
            const ptrdiff_t at = (b - b0) * STERN_MM_VALUES;
            const ptrdiff_t here = MIN(n - at, blocks * STERN_MM_VALUES);
            const ptrdiff_t here_tiles = (blocks + TILE_BLOCKS - 1) / TILE_BLOCKS;
            for (ptrdiff_t t = 0; t < full; ++t) {
                const int8_t *from = q + t * ldq + k0 + at;
                int8_t *to = tile + (t / TILE_ROWS * tiles + k_tile) * TILE_BYTES
                    + t % TILE_ROWS * TILE_VALUES;
                const ptrdiff_t values = t < tokens && here > 0 ? here : 0;
                int32_t sum = 0;
                for (ptrdiff_t i = 0; i < values; ++i)
                    sum += from[i];
                if (t < tokens)
                    sums[t] = sum;
                for (ptrdiff_t i = 0; i < here_tiles; ++i, to += TILE_BYTES) {
                    ptrdiff_t most = values - i * TILE_VALUES;
                    most = most < 0 ? 0 : MIN(most, TILE_VALUES);
                    const __mmask64 mask = most < 64 ? (1ull << most) - 1 : ~0ull;
                    _mm512_storeu_si512(to, _mm512_maskz_loadu_epi8(
                                                mask, from + i * TILE_VALUES));
                }
            }
            k_tile += here_tiles;
        }
    }
}

/* Tiles 0 to 3 hold sums, 4 and 5 activations, of `rows` rows; 6 and 7 weights. */
static void configure(int rows)
{
    uint8_t c[64] __attribute__((aligned(64))) = {1 /* palette */};
    for (int i = 0; i < 8; ++i) {
        c[16 + 2 * i] = TILE_VALUES; /* bytes of a line, little-endian */
        c[48 + i] = (uint8_t)(i < 6 ? rows : TILE_ROWS);
    }
    MEMORY_READY;
    _tile_loadconfig(c);
}

/* Writes code + 1 of four fields as four lines of a tile. */
static inline void spread(__m512i fields, uint8_t *out)
{
    const __m512i three = _mm512_set1_epi8(3);
    _mm512_store_si512(out, _mm512_and_si512(fields, three));
    _Pragma("GCC unroll 3")
    for (int n = 1; n < 4; ++n)
        _mm512_store_si512(out + 64 * n,
                           _mm512_and_si512(_mm512_srli_epi16(fields, 2 * n), three));
}

/* `count` blocks from block b on of a row group as lines of tiles. The lines that the
 * last tile lacks may hold any number: they meet zeros. */
static inline void spread_blocks(const stern_matrix *m, const t5_tables *tables,
                                 const uint8_t *w, ptrdiff_t stride, ptrdiff_t b,
                                 ptrdiff_t count, uint8_t *out)
{
    if (m->format == STERN_MM_T2) {
        w += b * stride;
        for (ptrdiff_t i = 0; i < count; ++i, w += stride, out += 4 * 64) {
            PREFETCH_L2(w);
            spread(_mm512_loadu_si512(w), out);
        }
        return;
    }
    w += b / 5 * 4 * stride;
    for (ptrdiff_t i = 0; i < count; i += 5, out += 5 * 4 * 64)
        for (int j = 0; j < 4; ++j, w += stride) {
            __m512i fifth;
            PREFETCH_L2(w);
            spread(decode_step(_mm512_loadu_si512(w), tables, &fifth), out + 4 * j * 64);
            _mm512_store_si512(out + (16 + j) * 64, fifth);
        }
}

/* Adds to sums[64 t + r] the products of 16 A rows t of activations and 16 B rows r of
 * weights over `count` tiles. `next` lies between 16 rows of activations and the next. */
#define MULTIPLY(A, B)                                                             \
    static void multiply_##A##B(const int8_t *a, ptrdiff_t next, const uint8_t *w, \
                                ptrdiff_t count, int32_t *sums)                    \
    {                                                                              \
        const ptrdiff_t line = STERN_MM_PANEL * sizeof *sums;                      \
        int32_t *below = sums + TILE_ROWS * STERN_MM_PANEL;                        \
        MEMORY_READY;                                                              \
        _tile_loadd(0, sums, line);                                                \
        if (B == 2)                                                                \
            _tile_loadd(1, sums + 16, line);                                       \
        if (A == 2)                                                                \
            _tile_loadd(2, below, line);                                           \
        if (A == 2 && B == 2)                                                      \
            _tile_loadd(3, below + 16, line);                                      \
        for (ptrdiff_t k = 0; k < count; ++k, a += TILE_BYTES, w += TILE_BYTES) {  \
            _tile_loadd(4, a, TILE_VALUES);                                        \
            _tile_loadd(6, w, TILE_VALUES);                                        \
            _tile_dpbsud(0, 4, 6);                                                 \
            if (B == 2) {                                                          \
                _tile_loadd(7, w + SPREAD_BYTES, TILE_VALUES);                     \
                _tile_dpbsud(1, 4, 7);                                             \
            }                                                                      \
            if (A == 2) {                                                          \
                _tile_loadd(5, a + next, TILE_VALUES);                             \
                _tile_dpbsud(2, 5, 6);                                             \
                if (B == 2)                                                        \
                    _tile_dpbsud(3, 5, 7);                                         \
            }                                                                      \
        }                                                                          \
        _tile_stored(0, sums, line);                                               \
        if (B == 2)                                                                \
            _tile_stored(1, sums + 16, line);                                      \
        if (A == 2)                                                                \
            _tile_stored(2, below, line);                                          \
        if (A == 2 && B == 2)                                                      \
            _tile_stored(3, below + 16, line);                                     \
        MEMORY_READY;                                                              \
    }
MULTIPLY(1, 1)
MULTIPLY(1, 2)
MULTIPLY(2, 1)
MULTIPLY(2, 2)

/* At most 16 rows of activations: their sums stay in tiles, of two row groups at a time.
 * Each has a ring of CHUNK blocks; where a tile was multiplied, weights that are needed
 * some tiles later are spread: tiles that were just written are slow to load, and
 * neither waits for the other. The rings of all row groups would not stay in the first
 * cache. */
static void add_dots_few(const stern_matrix *m, const uint8_t *w, int groups,
                         ptrdiff_t first, ptrdiff_t end, const int8_t *tile,
                         int32_t *sums)
{
    enum { RUN = 5, RUNS = CHUNK / RUN }; /* blocks that are spread at a time */
    uint8_t ring[2 * SPREAD_BYTES] __attribute__((aligned(64)));
    const t5_tables tables = load_t5_tables();
    const ptrdiff_t stride = groups * 64, line = STERN_MM_PANEL * sizeof *sums;
    const ptrdiff_t tiles = (end - first + TILE_BLOCKS - 1) / TILE_BLOCKS;
#define SPREAD(g, run)                                                             \
    spread_blocks(m, &tables, w + (g) * 64, stride, first + (run) * RUN,           \
                  MIN(RUN, end - first - (run) * RUN),                             \
                  ring + (g) * SPREAD_BYTES + (run) % RUNS * RUN * 4 * 64)
    for (; groups > 0; groups -= 2, w += 2 * 64, sums += 2 * STERN_MM_ROWS) {
        const int8_t *a = tile;
        for (ptrdiff_t run = 0; run < RUNS && first + run * RUN < end; ++run)
            for (int g = 0; g < MIN(groups, 2); ++g)
                SPREAD(g, run);
        MEMORY_READY;
        _tile_loadd(0, sums, line);
        if (groups > 1)
            _tile_loadd(1, sums + STERN_MM_ROWS, line);
        for (ptrdiff_t k = 0; k < tiles; ++k, a += TILE_BYTES) {
            const ptrdiff_t at = k % CHUNK_TILES;
            const ptrdiff_t run = (k / CHUNK_TILES + 1) * RUNS + at - 1;
            const int more = at && first + run * RUN < end;
            const uint8_t *from = ring + at * TILE_BYTES;
            MEMORY_READY;
            _tile_loadd(4, a, TILE_VALUES);
            _tile_loadd(6, from, TILE_VALUES);
            _tile_dpbsud(0, 4, 6);
            MEMORY_READY;
            if (more)
                SPREAD(0, run);
            if (groups == 1)
                continue;
            MEMORY_READY;
            _tile_loadd(7, from + SPREAD_BYTES, TILE_VALUES);
            _tile_dpbsud(1, 4, 7);
            MEMORY_READY;
            if (more)
                SPREAD(1, run);
        }
        MEMORY_READY;
        _tile_stored(0, sums, line);
        if (groups > 1)
            _tile_stored(1, sums + STERN_MM_ROWS, line);
        MEMORY_READY;
    }
#undef SPREAD
}

/* Adds the products over the blocks [first, end) of a panel, all of one group. */
static void add_dots(const stern_matrix *m, const uint8_t *w, int groups,
                     ptrdiff_t first, ptrdiff_t end, const int8_t *tile, int tokens,
                     int32_t *sums)
{
    tile += (first / m->group_blocks * group_tiles(m)
             + first % m->group_blocks / TILE_BLOCKS) * TILE_BYTES;
    if (tokens <= TILE_ROWS) {
        add_dots_few(m, w, groups, first, end, tile, sums);
        return;
    }
    uint8_t fields[2 * SPREAD_BYTES] __attribute__((aligned(64))) = {0};
    const t5_tables tables = load_t5_tables();
    const ptrdiff_t stride = groups * 64, next = row_tiles(m) * TILE_BYTES;
    for (ptrdiff_t b = first; b < end; b += CHUNK, tile += CHUNK_TILES * TILE_BYTES) {
        const ptrdiff_t count = MIN(CHUNK, end - b);
        const ptrdiff_t tiles = (count + TILE_BLOCKS - 1) / TILE_BLOCKS;
        for (int g = 0; g < groups; g += 2) {
            const int here = MIN(groups - g, 2);
            for (int i = 0; i < here; ++i)
                spread_blocks(m, &tables, w + (g + i) * 64, stride, b, count,
                              fields + i * SPREAD_BYTES);
            for (int t = 0; t < tokens; t += 2 * TILE_ROWS) {
                const int8_t *a = tile + t / TILE_ROWS * next;
                int32_t *to = sums + t * STERN_MM_PANEL + g * 16;
                if (t + TILE_ROWS < tokens) {
                    if (here == 2)
                        multiply_22(a, next, fields, tiles, to);
                    else
                        multiply_21(a, next, fields, tiles, to);
                } else if (here == 2) {
                    multiply_12(a, next, fields, tiles, to);
                } else {
                    multiply_11(a, next, fields, tiles, to);
                }
            }
        }
    }
}

#include "matmul_int8_panel.h"

static void amx_panel(const stern_matrix *m, const float *scale, ptrdiff_t panel,
                      const int8_t *tile, const int32_t *sums, const float *step,
                      int tokens, float *y, ptrdiff_t ldy)
{
    configure(MIN(tokens, TILE_ROWS));
    int8_panel(m, scale, panel, tile, sums, step, tokens, y, ldy);
    _tile_release();
}

static double peak(ptrdiff_t repeats)
{
    static const uint8_t ones[TILE_BYTES] = {1};
    configure(TILE_ROWS);
    _tile_loadd(4, ones, TILE_VALUES);
    _tile_loadd(5, ones, TILE_VALUES);
    _tile_loadd(6, ones, TILE_VALUES);
    _tile_loadd(7, ones, TILE_VALUES);
    for (ptrdiff_t k = 0; k < repeats; ++k) {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_release();
    return (double)repeats * 4 * 2 * TILE_ROWS * TILE_BYTES;
}

const stern_matmul_int8 stern_matmul_int8_amx = {
    INT8_TOKENS, TILE_ROWS, tile_bytes, prepare, amx_panel, peak,
};
