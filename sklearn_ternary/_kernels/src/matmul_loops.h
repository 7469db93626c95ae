/* Included once per level, with STERN_LEVEL defined and the compiler set to it. */
#include <string.h>

#include "matmul.h"

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
#endif

#define STERN_GLUE_(a, b) a##b
#define STERN_GLUE(a, b) STERN_GLUE_(a, b)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

/* Row groups of a panel, and the bytes of its first step. */
static inline int panel_groups(const stern_matrix *m, ptrdiff_t panel)
{
    const ptrdiff_t rows = m->n_rows - panel * STERN_MM_PANEL;
    return (int)((MIN(rows, STERN_MM_PANEL) + 15) / 16);
}

static inline const uint8_t *panel_weights(const stern_matrix *m, ptrdiff_t panel)
{
    const ptrdiff_t steps = m->format == STERN_MM_T2 ? m->n_blocks : m->n_blocks / 5 * 4;
    return m->weights + panel * 4 * steps * 64;
}

/* Blocks of T5 that are decoded at a time: four row groups of them are 15 KiB. */
enum { DECODED_BLOCKS = 60 };

#include "matmul_decode.h"
#include "matmul_int8.h"

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

const stern_matmul STERN_GLUE(stern_matmul_, STERN_LEVEL) = {
    quantize_row,
    prepare_int8,
    int8_panel,
    {FLOAT_TOKENS_f32, FLOAT_PER_VALUE_f32, prepare_f32, panel_f32},
    {FLOAT_TOKENS_f64, FLOAT_PER_VALUE_f64, prepare_f64, panel_f64},
    int8_peak,
    float_peak,
};
