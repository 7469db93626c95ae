/* Compares products by the dot product with plain sums; prints what differs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu_features.h"
#include "matmul.h"

/* The other level is left out: it takes long to compile. */
const stern_matmul stern_matmul_generic;

static unsigned state = 1;
static int draw(int n) { return (int)((state = state * 1664525u + 1013904223u) >> 16) % n; }

static ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t unit) { return (n + unit - 1) / unit * unit; }

static int compare(int format, ptrdiff_t rows, ptrdiff_t columns, int tokens)
{
    const ptrdiff_t unit = format == STERN_MM_T2 ? 16 : format == STERN_MM_T5 ? 80 : 256;
    const ptrdiff_t blocks = round_up(columns, unit) / 16;
    const ptrdiff_t steps = format == STERN_MM_T5 ? blocks / 5 * 4 : blocks;
    const ptrdiff_t padded = round_up(rows, STERN_MM_PANEL);
    const size_t bytes = (size_t)(format == STERN_MM_R2 ? rows * blocks * 4
                                                        : round_up(rows, 16) * steps * 4);
    uint8_t *weights = malloc(bytes);
    memset(weights, format == STERN_MM_T5 ? 28 : 0x55, bytes);
    int8_t *codes = malloc((size_t)(rows * columns));
    for (ptrdiff_t i = 0; i < rows * columns; ++i)
        codes[i] = (int8_t)(draw(3) - 1);
    for (ptrdiff_t r = 0; r < rows; r += 16)
        stern_mm_pack(weights, rows, blocks, format, r / 16, codes + r * columns, columns, 1,
                      rows - r < 16 ? rows - r : 16, 0, columns);
    int8_t *q = malloc((size_t)(tokens * columns));
    for (ptrdiff_t i = 0; i < tokens * columns; ++i)
        q[i] = (int8_t)(draw(256) - 128);
    float *scale = malloc((size_t)padded * sizeof *scale), step[STERN_MM_TOKENS];
    for (ptrdiff_t i = 0; i < padded; ++i)
        scale[i] = 1;
    for (int t = 0; t < tokens; ++t)
        step[t] = 1;
    const stern_matrix m = {weights, rows, columns, columns, blocks, blocks, padded, format};
    float *y = calloc((size_t)(tokens * rows), sizeof *y);
    const stern_matmul *loops = stern_matmul_for(STERN_MM_DOTPROD);
    if (format == STERN_MM_R2) {
        int32_t *partial = malloc((size_t)(tokens * (rows + 1)) * sizeof *partial);
        for (int t = 0; t < tokens; t += 4)
            loops->rows_int8.run(&m, 0, q + t * columns, columns,
                                 tokens - t < 4 ? tokens - t : 4,
                                 partial + t * (rows + 1));
        loops->rows_int8.finish(&m, scale, partial, tokens * (rows + 1), step, tokens, y);
        free(partial);
    } else {
        int8_t *tile = malloc((size_t)loops->int8.tile_bytes(&m, tokens));
        int32_t sums[STERN_MM_TOKENS];
        loops->int8.prepare(&m, q, columns, tokens, tile, sums);
        for (ptrdiff_t panel = 0; panel < padded / STERN_MM_PANEL; ++panel)
            loops->int8.panel(&m, scale, panel, tile, sums, step, tokens, y, rows);
        free(tile);
    }
    int wrong = 0;
    for (int t = 0; t < tokens; ++t)
        for (ptrdiff_t r = 0; r < rows; ++r) {
            int32_t sum = 0;
            for (ptrdiff_t k = 0; k < columns; ++k)
                sum += q[t * columns + k] * codes[r * columns + k];
            wrong += y[t * rows + r] != (float)sum;
        }
    if (wrong)
        printf("format %d, %td x %td, %d rows: %d wrong\n", format, rows, columns, tokens,
               wrong);
    free(weights), free(codes), free(q), free(scale), free(y);
    return wrong;
}

int main(void)
{
    static const ptrdiff_t rows[] = {1, 16, 33, 70}, columns[] = {1, 80, 203, 2000};
    int wrong = 0, cases = 0;
    for (int i = 0; i < stern_n_cpu_flags(); ++i)
        printf("%s %d\n", stern_cpu_flag_name(i), stern_cpu_flag(i));
    for (int format = STERN_MM_T2; format <= STERN_MM_R2; ++format)
        for (int r = 0; r < 4; ++r)
            for (int c = 0; c < 4; ++c)
                for (int tokens = 1; tokens <= STERN_MM_TOKENS; ++tokens, ++cases)
                    wrong += compare(format, rows[r], columns[c], tokens);
    printf("%d cases, %d wrong\n", cases, wrong);
    return wrong != 0;
}
