/* Included once per level, with STERN_LEVEL defined and the compiler set to it. */
#include <string.h>

#include "matmul.h"
#include "matmul_panel.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#define STERN_MM_AVX512 1
#define STERN_MM_VNNI 1
#include <immintrin.h>
#elif defined(__AVX2__)
#define STERN_MM_AVX2 1
#include <immintrin.h>
#if defined(__AVXVNNI__)
#define STERN_MM_VNNI 1
#endif
#elif defined(__ARM_FEATURE_DOTPROD)
#define STERN_MM_DOT 1
#include <arm_neon.h>
#endif

#define STERN_GLUE_(a, b) a##b
#define STERN_GLUE(a, b) STERN_GLUE_(a, b)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define EACH_4(F) F(0) F(1) F(2) F(3)
#define EACH_8(F) EACH_4(F) F(4) F(5) F(6) F(7)
#define EACH_12(F) EACH_8(F) F(8) F(9) F(10) F(11)

/* The run of format R2: its first block and values, its first column, and how many
 * columns it has (the rest is padding). */
typedef struct { ptrdiff_t group, block, blocks, column, columns; } row_run;

static row_run find_run(const stern_matrix *m, ptrdiff_t run)
{
    const ptrdiff_t each = (m->group_blocks + STERN_MM_ROW_RUN - 1) / STERN_MM_ROW_RUN;
    const ptrdiff_t group = run / each, skipped = run % each * STERN_MM_ROW_RUN;
    const ptrdiff_t block = group * m->group_blocks + skipped;
    const ptrdiff_t end = MIN((group + 1) * m->group_blocks, m->n_blocks);
    const ptrdiff_t column = group * m->group_size + skipped * STERN_MM_VALUES;
    const ptrdiff_t last = MIN((group + 1) * m->group_size, m->n_columns);
    ptrdiff_t blocks = MIN(end - block, STERN_MM_ROW_RUN);
    ptrdiff_t columns = MIN(last - column, STERN_MM_ROW_RUN * STERN_MM_VALUES);
    /* The last group may have fewer runs than the others. */
    blocks = blocks < 0 ? 0 : blocks;
    columns = columns < 0 ? 0 : columns;
    return (row_run){group, block, blocks, column, columns};
}

/* Blocks of T5 that are decoded at a time: four row groups of them are 15 KiB. */
enum { DECODED_BLOCKS = 60 };

#include "matmul_decode.h"
#include "matmul_int8.h"
#include "matmul_rows_int8.h"

#define T float
#define T_BITS 32
#include "matmul_float.h"
#undef T
#undef T_BITS

#define T double
#define T_BITS 64
#include "matmul_float.h"
#undef T
#undef T_BITS

#include "matmul_peak.h"

static void decode_panel(const stern_matrix *m, ptrdiff_t panel, uint8_t *out)
{
    decode_t5(panel_weights(m, panel), panel_groups(m, panel), m->n_blocks, out);
}

const stern_matmul STERN_GLUE(stern_matmul_, STERN_LEVEL) = {
    quantize_row,
    {INT8_TOKENS, 1, tile_bytes, prepare_int8, int8_panel, int8_peak},
    decode_panel,
    {FLOAT_TOKENS_f32, FLOAT_PER_VALUE_f32, prepare_f32, panel_f32},
    {FLOAT_TOKENS_f64, FLOAT_PER_VALUE_f64, prepare_f64, panel_f64},
    {sizeof(int8_t), sizeof(int32_t), 1, row_run_int8, row_finish_int8},
    {sizeof(float), sizeof(float), 0, row_run_f32, row_finish_f32},
    {sizeof(double), sizeof(double), 0, row_run_f64, row_finish_f64},
    float_peak,
    read_bytes,
};
