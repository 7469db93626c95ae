/* What every level needs to walk through a panel. */
#ifndef STERN_MATMUL_PANEL_H
#define STERN_MATMUL_PANEL_H
#include "matmul.h"

/* Weights that are used once are fetched ahead, well before into the second-level cache
 * (the few line buffers of the first would bound the rate) and from there, shortly
 * before their use, into the first. */
#define PREFETCH_L2(p) __builtin_prefetch((p) + 3072, 0, 2)
#define PREFETCH(p) (PREFETCH_L2(p), __builtin_prefetch((p) + 512, 0, 3))
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
#endif
