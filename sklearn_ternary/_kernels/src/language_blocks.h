/* Products with rows of Q6_K and Q8_0, 16 rows interleaved: the output head.
 *
 * Q6, 16 rows by 256 values in 3392 bytes: for each 16 values three vectors of 64 bytes,
 * four bytes a row (lane r), then 16 times 16 scales (int8), then 16 float32. Byte b of
 * a lane has, in the first vector, the low four bits of values b and 4 + b; in the
 * second, those of values 8 + b and 12 + b; in the third, at bits 2n, the high two of
 * value 4n + b. A weight is d * scale * (value - 32).
 *
 * Q8, 16 rows by 64 values in 1088 bytes: 16 vectors with byte b of a lane, of vector n,
 * value 4n + b as a number plus 128, then the 16 float16 scales of the first 32 values
 * and those of the others.
 *
 * Activations are rounded to int8 in blocks of 256; `offsets` are their sums by 16 times
 * -32. Sums of a sub-block are exact. */

#include "language_bytes.h"

/* total[r] += dot[r] * (d[r] * factor), in vectors: the compiler alone takes them apart. */
ALWAYS_INLINE void add_scaled(float *total, sums16 dot, const float *d, float factor)
{
    float dots[16];
    s_store(dots, dot);
    _Pragma("GCC unroll 4")
    for (int r = 0; r < 16; r += W)
        V_STOREF(total + r, V_LOADF(total + r)
                                + V_LOADF(dots + r) * (V_LOADF(d + r) * V_SET(factor)));
}

/* 16 rows by N rows of activations; total[16 t + r]. */
ALWAYS_INLINE void q6_rows(const int N, const uint8_t *w, ptrdiff_t n_blocks,
                           ptrdiff_t ldq, const int8_t *q, const float *step,
                           const int32_t *offsets, float *total)
{
    for (ptrdiff_t b = 0; b < n_blocks; ++b, w += STERN_LM_Q6_BYTES) {
        sums16 whole[8];
        _Pragma("GCC unroll 8")
        for (int t = 0; t < N; ++t)
            whole[t] = s_set(0);
        for (int s = 0; s < 16; ++s) {
            const uint8_t *from = w + 192 * s;
            for (int line = 0; line < 192; line += 64)
                __builtin_prefetch(from + line + 4096, 0, 2);
            const bytes64 x = b_load(from), y = b_load(from + 64), h = b_load(from + 128);
            const bytes64 u0 = b_or(b_and(x, 15), b_and(b_left(h, 4), 48));
            const bytes64 u1 = b_or(b_and(b_right(x, 4), 15), b_and(b_left(h, 2), 48));
            const bytes64 u2 = b_or(b_and(y, 15), b_and(h, 48));
            const bytes64 u3 = b_or(b_and(b_right(y, 4), 15), b_and(b_right(h, 2), 48));
            _Pragma("GCC unroll 8")
            for (int t = 0; t < N; ++t) {
                const int8_t *a = q + t * ldq + b * STERN_LM_BLOCK + 16 * s;
                sums16 dot = s_set(offsets[t * (ldq / 16) + 16 * b + s]);
                dot = s_dot6(dot, u0, four_at(a));
                dot = s_dot6(dot, u1, four_at(a + 4));
                dot = s_dot6(dot, u2, four_at(a + 8));
                dot = s_dot6(dot, u3, four_at(a + 12));
                whole[t] = s_scale(whole[t], dot, w + 3072 + 16 * s);
            }
        }
        _Pragma("GCC unroll 8")
        for (int t = 0; t < N; ++t)
            add_scaled(total + 16 * t, whole[t], (const float *)(w + 3328),
                       step[t * (ldq / STERN_LM_BLOCK) + b]);
    }
}

ALWAYS_INLINE void q8_rows(const int N, const uint8_t *w, ptrdiff_t n_pairs,
                           ptrdiff_t ldq, const int8_t *q, const float *step,
                           const int32_t *offsets, float *total)
{
    for (ptrdiff_t b = 0; b < n_pairs; ++b, w += STERN_LM_Q8_BYTES) {
        for (int half = 0; half < 2; ++half) {
            sums16 dot[8];
            _Pragma("GCC unroll 8")
            for (int t = 0; t < N; ++t) {
                const int32_t *offset = offsets + t * (ldq / 16) + 4 * b + 2 * half;
                dot[t] = s_set(DOT8_OFFSET / 32 * (offset[0] + offset[1]));
            }
            _Pragma("GCC unroll 8")
            for (int n = 0; n < 8; ++n) {
                const uint8_t *from = w + 512 * half + 64 * n;
                __builtin_prefetch(from + 4096, 0, 2);
                const bytes64 x = b_load(from);
                _Pragma("GCC unroll 8")
                for (int t = 0; t < N; ++t)
                    dot[t] = s_dot8(dot[t], x, four_at(q + t * ldq + 64 * b + 32 * half + 4 * n));
            }
            float d[16];
            for (int r = 0; r < 16; r += W)
                V_STOREF(d + r, v_half((const uint16_t *)(w + 1024 + 32 * half) + r));
            _Pragma("GCC unroll 8")
            for (int t = 0; t < N; ++t)
                add_scaled(total + 16 * t, dot[t], d,
                           step[t * (ldq / STERN_LM_BLOCK) + b / 4]);
        }
    }
}

#define ROWS_OF(N)                                                                 \
    do {                                                                           \
        if (l->kind == STERN_LM_Q6)                                                \
            q6_rows(N, w, count, ldq, a, s, c, total);                             \
        else                                                                       \
            q8_rows(N, w, count, ldq, a, s, c, total);                             \
    } while (0)

static void blocks(const stern_lm_linear *l, ptrdiff_t panel, const int8_t *q,
                   const float *step, const int32_t *offsets, int tokens, float *y,
                   ptrdiff_t ldy)
{
    const ptrdiff_t columns = l->matrix.n_columns;
    const ptrdiff_t ldq = (columns + STERN_LM_BLOCK - 1) / STERN_LM_BLOCK * STERN_LM_BLOCK;
    const int q6 = l->kind == STERN_LM_Q6;
    const ptrdiff_t count = q6 ? columns / STERN_LM_BLOCK : (columns + 63) / 64;
    const ptrdiff_t bytes = count * (q6 ? STERN_LM_Q6_BYTES : STERN_LM_Q8_BYTES);
    const ptrdiff_t last = MIN(l->matrix.n_rows, (panel + 1) * STERN_MM_PANEL);
    for (ptrdiff_t row = panel * STERN_MM_PANEL; row < last; row += 16) {
        const uint8_t *w = l->matrix.weights + row / 16 * bytes;
        for (int t = 0; t < tokens;) {
            const int8_t *a = q + t * ldq;
            const float *s = step + t * (ldq / STERN_LM_BLOCK);
            const int32_t *c = offsets + t * (ldq / 16);
            float total[128] = {0};
            int n = 1;
            if (tokens - t >= 8) {
                ROWS_OF(8);
                n = 8;
            } else if (tokens - t >= 4) {
                ROWS_OF(4);
                n = 4;
            } else if (tokens - t >= 2) {
                ROWS_OF(2);
                n = 2;
            } else {
                ROWS_OF(1);
            }
            for (int i = 0; i < n; ++i)
                for (ptrdiff_t r = 0; r < MIN(16, last - row); ++r)
                    y[(t + i) * ldy + row + r] = total[16 * i + r];
            t += n;
        }
    }
}
