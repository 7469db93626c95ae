/* Activations of 8 bits: exact integer sums, then the scales. */

/* See quantize_activations in sklearn_ternary/_reference/matmul.py. */
static float quantize_row(const float *x, ptrdiff_t n, int8_t *q)
{
    int32_t largest = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        /* Magnitudes compare as integers, and NaN is above infinity. */
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    float most, nan;
    memcpy(&most, &largest, 4);
    if (largest >= 0x7f800000) {
        largest = 0x7fc00000;
        memcpy(&nan, &largest, 4);
        memset(q, 0, (size_t)n);
        return nan;
    }
    most = most < 1e-5f ? 1e-5f : most;
    const float factor = 127.0f / most;
    /* Adding 1.5 * 2^23 rounds to an integer, ties to even. */
    for (ptrdiff_t i = 0; i < n; ++i)
        q[i] = (int8_t)(int32_t)((x[i] * factor + 12582912.0f) - 12582912.0f);
    return most / 127.0f;
}

static void prepare_int8(const stern_matrix *m, const int8_t *q, ptrdiff_t ldq, int tokens,
                         int8_t *tile, int32_t *sums)
{
    for (ptrdiff_t b0 = 0, k0 = 0; b0 < m->n_blocks;
         b0 += m->group_blocks, k0 += m->group_size) {
        const ptrdiff_t end = MIN(b0 + m->group_blocks, m->n_blocks);
        const ptrdiff_t n = MIN(m->group_size, m->n_columns - k0);
        for (ptrdiff_t b = b0; b < end; b += STERN_MM_SEGMENT, sums += tokens) {
            const ptrdiff_t blocks = MIN(end - b, STERN_MM_SEGMENT);
            const ptrdiff_t at = (b - b0) * STERN_MM_VALUES;
            ptrdiff_t here = MIN(n - at, blocks * STERN_MM_VALUES);
            here = here < 0 ? 0 : here;
            for (int t = 0; t < tokens; ++t) {
                const int8_t *from = q + t * ldq + k0 + at;
                int8_t *to = tile + (b * STERN_MM_VALUES) * tokens + 4 * t;
                int32_t sum = 0;
                for (ptrdiff_t i = 0; i < here; ++i)
                    sum += from[i];
                sums[t] = sum;
                ptrdiff_t i = 0;
                if (tokens == 1) {
                    memcpy(to, from, (size_t)here);
                    memset(to + here, 0, (size_t)(blocks * STERN_MM_VALUES - here));
                    continue;
                }
                for (; i + 4 <= here; i += 4)
                    memcpy(to + i * tokens, from + i, 4);
                for (; i < blocks * STERN_MM_VALUES; i += 4) {
                    int8_t rest[4] = {0};
                    if (i < here)
                        memcpy(rest, from + i, (size_t)(here - i));
                    memcpy(to + i * tokens, rest, 4);
                }
            }
        }
    }
}

/* dots(w, groups, count, tile, tokens, sums): adds to sums[64 t + r] the products of
 * (code + 1) of row r and the activations t over `count` blocks of format T2, at
 * most INT8_RUN of them, or INT8_RUN_1 of them for a single row of activations. */
#if STERN_MM_VNNI
#include "matmul_vnni.h"
#elif STERN_MM_DOT
#include "matmul_neon.h"
#elif STERN_MM_AVX2

enum { INT8_RUN = DECODED_BLOCKS, INT8_RUN_1 = 1 << 14 };

/* maddubs gives at most 2 * 2 * 128 = 512 in 16 bits; 4 of them a block, for 15
 * blocks: 30720. */
enum { INT16_BLOCKS = 15 };

ALWAYS_INLINE void dots_tile(const int R, const int N, const uint8_t *w, ptrdiff_t stride,
                             ptrdiff_t count, const int8_t *tile, int tokens,
                             int32_t *sums)
{
    const __m256i three = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    while (count > 0) {
        const ptrdiff_t n_blocks = MIN(count, INT16_BLOCKS);
        __m256i acc[8];
        _Pragma("GCC unroll 8")
        for (int i = 0; i < R * N; ++i)
            acc[i] = _mm256_setzero_si256();
        for (ptrdiff_t b = 0; b < n_blocks; ++b, w += stride) {
            if (N == 1)
                for (int line = 0; line < 32 * R; line += 64)
                    PREFETCH(w + line);
            _Pragma("GCC unroll 4")
            for (int n = 0; n < 4; ++n, tile += 4 * tokens) {
                __m256i u[4];
                _Pragma("GCC unroll 4")
                for (int r = 0; r < R; ++r) {
                    const __m256i x = _mm256_loadu_si256((const __m256i *)w + r);
                    u[r] = _mm256_and_si256(n ? _mm256_srli_epi16(x, 2 * n) : x, three);
                }
                _Pragma("GCC unroll 4")
                for (int t = 0; t < N; ++t) {
                    int32_t four;
                    memcpy(&four, tile + 4 * t, 4);
                    const __m256i a = _mm256_set1_epi32(four);
                    _Pragma("GCC unroll 4")
                    for (int r = 0; r < R; ++r)
                        acc[r * N + t] = _mm256_add_epi16(acc[r * N + t],
                                                          _mm256_maddubs_epi16(u[r], a));
                }
            }
        }
        _Pragma("GCC unroll 8")
        for (int i = 0; i < R * N; ++i) {
            __m256i *to = (__m256i *)(sums + i % N * STERN_MM_PANEL + i / N * 8);
            _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to),
                                                     _mm256_madd_epi16(acc[i], ones)));
        }
        count -= n_blocks;
    }
}

static void dots(const uint8_t *w, int groups, ptrdiff_t count, const int8_t *tile,
                 int tokens, int32_t *sums)
{
    const ptrdiff_t stride = groups * 64;
    if (tokens == 1) {
        for (ptrdiff_t b = 0; b < count; b += INT16_BLOCKS) {
            const ptrdiff_t n = MIN(INT16_BLOCKS, count - b);
            const uint8_t *from = w + b * stride;
            const int8_t *a = tile + 16 * b;
            int g = 0;
            for (; g + 2 <= groups; g += 2)
                dots_tile(4, 1, from + g * 64, stride, n, a, 1, sums + g * 16);
            if (g < groups)
                dots_tile(2, 1, from + g * 64, stride, n, a, 1, sums + g * 16);
        }
        return;
    }
    for (int g = 0; g < groups; ++g)
        for (int t = 0; t < tokens; t += 4) {
            const uint8_t *from = w + g * 64;
            int32_t *to = sums + t * STERN_MM_PANEL + g * 16;
            switch (tokens - t) {
            case 1: dots_tile(2, 1, from, stride, count, tile + 4 * t, tokens, to); break;
            case 2: dots_tile(2, 2, from, stride, count, tile + 4 * t, tokens, to); break;
            case 3: dots_tile(2, 3, from, stride, count, tile + 4 * t, tokens, to); break;
            default: dots_tile(2, 4, from, stride, count, tile + 4 * t, tokens, to);
            }
        }
}

#else

enum { INT8_RUN = DECODED_BLOCKS, INT8_RUN_1 = 1 << 14 };

/* Products are at most 2 * 128 = 256 in 16 bits; 4 of them a block, for 31 blocks:
 * 31744. */
enum { INT16_BLOCKS = 31 };

static void dots(const uint8_t *w, int groups, ptrdiff_t count, const int8_t *tile,
                 int tokens, int32_t *sums)
{
    for (ptrdiff_t b0 = 0; b0 < count; b0 += INT16_BLOCKS) {
        const ptrdiff_t end = MIN(b0 + INT16_BLOCKS, count);
        for (int t = 0; t < tokens; ++t)
            for (int g = 0; g < groups; ++g) {
                int16_t acc[64] = {0};
                for (ptrdiff_t b = b0; b < end; ++b) {
                    const uint8_t *x = w + (b * groups + g) * 64;
                    for (int n = 0; n < 4; ++n) {
                        const int8_t *a = tile + ((b * 4 + n) * tokens + t) * 4;
                        int16_t eight[8];
                        for (int j = 0; j < 8; ++j)
                            eight[j] = a[j % 4];
                        for (int i = 0; i < 64; i += 8)
                            for (int j = 0; j < 8; ++j)
                                acc[i + j] += (int16_t)((x[i + j] >> 2 * n & 3) * eight[j]);
                    }
                }
                for (int r = 0; r < 16; ++r)
                    sums[t * STERN_MM_PANEL + g * 16 + r] +=
                        acc[4 * r] + acc[4 * r + 1] + acc[4 * r + 2] + acc[4 * r + 3];
            }
    }
}
#endif

/* The same over the blocks [first, end) of a panel in either format. */
static void add_dots(const stern_matrix *m, const uint8_t *w, int groups, ptrdiff_t first,
                     ptrdiff_t end, const int8_t *tile, int tokens, int32_t *sums)
{
    const ptrdiff_t stride = groups * 64;
    ptrdiff_t run = tokens == 1 ? INT8_RUN_1 : INT8_RUN;
    if (m->format == STERN_MM_T2) {
        for (ptrdiff_t b = first; b < end; b += run)
            dots(w + b * stride, groups, MIN(run, end - b),
                 tile + b * STERN_MM_VALUES * tokens, tokens, sums);
        return;
    }
#if STERN_MM_AVX512
    if (tokens == 1) {
        run = INT8_RUN_1 / 5 * 5;
        for (ptrdiff_t b = first; b < end; b += run)
            dots_t5(w + b / 5 * 4 * stride, groups, MIN(run, end - b),
                    tile + b * STERN_MM_VALUES, sums);
        return;
    }
#endif
    uint8_t decoded[DECODED_BLOCKS * 4 * 64];
    for (ptrdiff_t b = first; b < end; b += DECODED_BLOCKS) {
        const ptrdiff_t count = MIN(DECODED_BLOCKS, end - b);
        decode_t5(w + b / 5 * 4 * stride, groups, count, decoded);
        dots(decoded, groups, count, tile + b * STERN_MM_VALUES * tokens, tokens, sums);
    }
}

static ptrdiff_t tile_bytes(const stern_matrix *m, int tokens)
{
    return m->n_blocks * STERN_MM_VALUES * tokens;
}

enum { INT8_TOKENS = STERN_MM_TOKENS };
#include "matmul_int8_panel.h"
