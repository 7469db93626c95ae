/* Products with rows of TQ2_0, I2_S and Q6_K as a file holds them: the first tokens need
 * not wait until weights are laid out. The results are those of the other kinds, bit for
 * bit, where a whole TQ2_0 tensor has one scale, as BitNet's have.
 *
 * Activations of a ternary row are put in the order of its fields: field f of byte
 * 32h + m of 64 bytes is value 128h + 32f + m in TQ2_0, 128h + 32(3 - f) + m in I2_S. */

static void order_fields(int kind, const int8_t *q, ptrdiff_t n, int8_t *to)
{
    for (ptrdiff_t b = 0; b < n; b += 256)
        for (int f = 0; f < 4; ++f)
            for (int h = 0; h < 2; ++h) {
                const int part = kind == STERN_LM_STORED_I2 ? 3 - f : f;
                memcpy(to + b + 64 * f + 32 * h, q + b + 128 * h + 32 * part, 32);
            }
}

enum { TQ2_BYTES = 66, I2_BYTES = 64, Q6_K_BYTES = 210 };

/* Dots of R rows with one row of activations; returns whether a code is none, or a scale
 * (after the codes, if `bytes` says that there is one) is another than `first`. */
ALWAYS_INLINE int ternary_rows(const int R, const int bytes, const uint8_t *w,
                               ptrdiff_t n_blocks, uint16_t first, const int8_t *q,
                               int32_t *dots)
{
    const ptrdiff_t row_bytes = n_blocks * bytes;
    sums16 sum[4];
    bytes64 bad = b_zero();
    unsigned other = 0;
    _Pragma("GCC unroll 4")
    for (int r = 0; r < R; ++r)
        sum[r] = s_set(0);
    for (ptrdiff_t b = 0; b < n_blocks; ++b, w += bytes, q += 256)
        _Pragma("GCC unroll 4")
        for (int r = 0; r < R; ++r) {
            const uint8_t *from = w + r * row_bytes;
            const bytes64 x = b_load_once(from);
            if (bytes == TQ2_BYTES) {
                uint16_t scale;
                memcpy(&scale, from + 64, 2);
                other |= scale ^ first;
            }
            __builtin_prefetch(from + 4 * row_bytes, 0, 2);
            bad = b_or(bad, b_both(x, b_right(x, 1)));
            _Pragma("GCC unroll 4")
            for (int f = 0; f < 4; ++f)
                sum[r] = s_dot64(sum[r], b_and(f ? b_right(x, 2 * f) : x, 3), q + 64 * f);
        }
    _Pragma("GCC unroll 4")
    for (int r = 0; r < R; ++r)
        dots[r] = s_total(sum[r]);
    return other != 0 || b_any(b_and(bad, 0x55));
}

static int stored_ternary(const stern_lm_linear *l, ptrdiff_t panel, const int8_t *q,
                          int32_t sum, float step, float *y)
{
    const int tq2 = l->kind == STERN_LM_STORED_TQ2;
    const ptrdiff_t n_blocks = l->matrix.n_columns / 256;
    const ptrdiff_t row_bytes = n_blocks * (tq2 ? TQ2_BYTES : I2_BYTES);
    const ptrdiff_t last = MIN(l->matrix.n_rows, (panel + 1) * STERN_MM_PANEL);
    uint16_t first = 0;
    if (tq2)
        memcpy(&first, l->matrix.weights + 64, 2);
    const float scale = tq2 ? half_to_float(first) : l->scale[0];
    int wrong = (first & 0x7c00) == 0x7c00;
#define ROWS(R, bytes) ternary_rows(R, bytes, w, n_blocks, first, q, dots)
    for (ptrdiff_t row = panel * STERN_MM_PANEL; row < last;) {
        const uint8_t *w = l->matrix.weights + row * row_bytes;
        int32_t dots[4];
        const int rows = last - row >= 4 ? 4 : 1;
        if (tq2)
            wrong |= rows == 4 ? ROWS(4, TQ2_BYTES) : ROWS(1, TQ2_BYTES);
        else
            wrong |= rows == 4 ? ROWS(4, I2_BYTES) : ROWS(1, I2_BYTES);
        for (int r = 0; r < rows; ++r) {
            float total = 0;
            total += scale * (float)(dots[r] - sum);
            y[row + r] = total * step;
        }
        row += rows;
    }
#undef ROWS
    return wrong;
}

static int stored_q6(const stern_lm_linear *l, ptrdiff_t panel, const int8_t *q,
                     const float *step, const int32_t *offsets, float *y)
{
    const ptrdiff_t n_blocks = l->matrix.n_columns / STERN_LM_BLOCK;
    const ptrdiff_t last = MIN(l->matrix.n_rows, (panel + 1) * STERN_MM_PANEL);
    const uint8_t *w = l->matrix.weights + panel * STERN_MM_PANEL * n_blocks * Q6_K_BYTES;
    int wrong = 0;
    for (ptrdiff_t row = panel * STERN_MM_PANEL; row < last; ++row) {
        float total = 0;
        for (ptrdiff_t b = 0; b < n_blocks; ++b, w += Q6_K_BYTES) {
            const uint8_t *scale = w + 192;
            sums16 whole = s_scale(s_set(0), s_load(offsets + 16 * b), scale);
            for (int line = 0; line < 256; line += 64)
                __builtin_prefetch(w + line + 4096, 0, 2);
            _Pragma("GCC unroll 2")
            for (int h = 0; h < 2; ++h) {
                const bytes64 x = b_load_once(w + 64 * h), y2 = b_twice(w + 128 + 32 * h);
                const bytes64 u0 = b_or(b_and(x, 15), b_and(b_left(y2, 4), 48));
                const bytes64 u1 = b_or(b_and(b_right(x, 4), 15), b_and(y2, 48));
                const int8_t *a = q + b * STERN_LM_BLOCK + 128 * h;
                whole = s_scale4(whole, s_dot64(s_set(0), u0, a), scale + 8 * h);
                whole = s_scale4(whole, s_dot64(s_set(0), u1, a + 64), scale + 8 * h + 4);
            }
            uint16_t d;
            memcpy(&d, w + 208, 2);
            wrong |= (d & 0x7c00) == 0x7c00;
            total += (float)s_total(whole) * (half_to_float(d) * step[b]);
        }
        y[row] = total;
    }
    return wrong;
}
