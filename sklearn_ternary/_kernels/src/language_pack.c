/* Rows of packed matrices as floats. */
#include <string.h>

#include "language.h"
#include "language_half.h"

static inline float half_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, 2);
    return half_to_float(half);
}

void stern_lm_row(const stern_lm_linear *l, ptrdiff_t row, float *out)
{
    const ptrdiff_t columns = l->matrix.n_columns, r = row % 16;
    if (l->kind == STERN_LM_Q6) {
        const uint8_t *w = l->matrix.weights + row / 16 * (columns / 256) * STERN_LM_Q6_BYTES;
        for (ptrdiff_t k = 0; k < columns; ++k) {
            const uint8_t *block = w + k / 256 * STERN_LM_Q6_BYTES;
            const ptrdiff_t s = k % 256 / 16, n = k % 16 / 4, b = k % 4;
            const uint8_t *lane = block + 192 * s + 4 * r + b;
            const int q = (lane[n / 2 * 64] >> n % 2 * 4 & 15) | (lane[128] >> 2 * n & 3) << 4;
            float d;
            memcpy(&d, block + 3328 + 4 * r, 4);
            out[k] = d * (float)(int8_t)block[3072 + 16 * s + r] * (float)(q - 32);
        }
    } else if (l->kind == STERN_LM_Q8) {
        const uint8_t *w = l->matrix.weights + row / 16 * ((columns + 63) / 64) * STERN_LM_Q8_BYTES;
        for (ptrdiff_t k = 0; k < columns; ++k) {
            const uint8_t *pair = w + k / 64 * STERN_LM_Q8_BYTES;
            const ptrdiff_t i = k % 64, n = i / 4, b = i % 4;
            const int q = pair[64 * n + 4 * r + b] - 128;
            out[k] = half_at(pair + 1024 + i / 32 * 32 + 2 * r) * (float)q;
        }
    } else if (l->kind == STERN_LM_STORED_Q6) {
        const uint8_t *w = l->matrix.weights + row * (columns / 256) * 210;
        for (ptrdiff_t k = 0; k < columns; ++k) {
            const uint8_t *block = w + k / 256 * 210;
            const ptrdiff_t half = k % 256 / 128, quarter = k % 128 / 32, i = k % 32;
            const int low = block[64 * half + quarter % 2 * 32 + i] >> quarter / 2 * 4 & 15;
            const int high = block[128 + 32 * half + i] >> 2 * quarter & 3;
            const float scale = (float)(int8_t)block[192 + k % 256 / 16];
            out[k] = half_at(block + 208) * scale * (float)((low | high << 4) - 32);
        }
    } else {
        for (ptrdiff_t k = 0; k < columns; ++k)
            out[k] = l->kind == STERN_LM_F16
                ? half_at(l->matrix.weights + (row * columns + k) * 2)
                : ((const float *)(const void *)l->matrix.weights)[row * columns + k];
    }
}
