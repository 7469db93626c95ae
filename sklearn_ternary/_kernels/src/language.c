#include "language.h"

#include <string.h>

#include "cpu_features.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

extern const stern_lm_loops stern_lm_generic;
#ifdef STERN_BUILT_AVX2
extern const stern_lm_loops stern_lm_avx2;
#endif
#ifdef STERN_BUILT_AVX512
extern const stern_lm_loops stern_lm_avx512;
#endif

const stern_lm_loops *stern_lm_loops_for(int level)
{
    switch (level) {
    case STERN_GENERIC:
        return &stern_lm_generic;
#ifdef STERN_BUILT_AVX2
    case STERN_AVX2:
    case STERN_MM_AVXVNNI:
        return &stern_lm_avx2;
#endif
#ifdef STERN_BUILT_AVX512
    case STERN_AVX512:
        return &stern_lm_avx512;
#endif
    }
    return NULL;
}

static ptrdiff_t group_of(const stern_lm_config *c) { return c->n_heads / c->n_kv_heads; }

/* Tokens of a tile of queries. */
static ptrdiff_t query_tokens(const stern_lm_config *c)
{
    return MAX(1, STERN_LM_QUERY_ROWS / group_of(c));
}

static ptrdiff_t attention_floats(const stern_lm_config *c)
{
    const ptrdiff_t width = (c->head_dim + 15) / 16 * 16, rows = query_tokens(c) * group_of(c);
    return rows * (2 * width + STERN_LM_KEYS + 3) + 2 * STERN_LM_KEYS * width;
}

ptrdiff_t stern_lm_scratch_bytes(const stern_lm_config *c, ptrdiff_t most_columns)
{
    const ptrdiff_t rows = STERN_LM_TILE * most_columns;
    const ptrdiff_t panel = (most_columns + 79) / 80 * 5 * 4 * 64;
    const ptrdiff_t attention = attention_floats(c) * (ptrdiff_t)sizeof(float);
    return (MAX(MAX(rows, panel), attention) + 127) / 64 * 64;
}

/* What one thread of the team knows. */
typedef struct {
    stern_lm_job *job;
    int thread, n_threads;
    char *scratch;
    int64_t since;
    int32_t layer;
} worker;

static void finish_step(worker *w, int kind)
{
    stern_lm_job *job = w->job;
    stern_wait_for_all(&job->barrier, w->n_threads);
    if (w->thread || !job->times)
        return;
    const int64_t end = stern_now();
    if (job->n_times < job->max_times)
        job->times[job->n_times++] = (stern_lm_time){kind, w->layer, w->since, end};
    w->since = end;
}

/* How the rows of a product are divided, in tiles of nearly equal size. */
typedef struct {
    const stern_matmul_int8 *loops;
    ptrdiff_t rows, tiles, units;
} tiling;

static tiling divide(const stern_lm_job *job, ptrdiff_t rows, int n_threads)
{
    tiling t = {rows >= STERN_LM_MANY ? job->many : job->few, rows, 0, 0};
    const ptrdiff_t most = MIN(t.loops->tokens, STERN_LM_TILE);
    t.units = (rows + t.loops->multiple - 1) / t.loops->multiple;
    /* At least one for each thread, unless they get small: weights are made ready for
     * every tile. */
    t.tiles = MAX((rows + most - 1) / most, MIN(n_threads, (rows + 63) / 64));
    return t;
}

static ptrdiff_t tile_start(const tiling *t, ptrdiff_t tile)
{
    return MIN(t->units * tile / t->tiles * t->loops->multiple, t->rows);
}

/* From one prepared tile to the next. */
static ptrdiff_t tile_bytes(const tiling *t, const stern_matrix *m)
{
    const ptrdiff_t most = (t->units + t->tiles - 1) / t->tiles * t->loops->multiple;
    return (t->loops->tile_bytes(m, (int)MIN(most, t->rows)) + 63) / 64 * 64;
}

static ptrdiff_t panels_of(const stern_lm_linear *l)
{
    return (l->matrix.n_rows + STERN_MM_PANEL - 1) / STERN_MM_PANEL;
}

static ptrdiff_t padded_block(ptrdiff_t n)
{
    return (n + STERN_LM_BLOCK - 1) / STERN_LM_BLOCK * STERN_LM_BLOCK;
}

/* Puts the rows of a tile of h into the forms that the `count` linears take. */
static void prepare(worker *w, const stern_lm_linear *l, int count, const tiling *d,
                    ptrdiff_t tile)
{
    stern_lm_job *job = w->job;
    const ptrdiff_t start = tile_start(d, tile), end = tile_start(d, tile + 1);
    const ptrdiff_t n = l->matrix.n_columns;
    const stern_lm_linear *ternary = NULL, *stored = NULL, *blocks = NULL;
    for (int i = 0; i < count; ++i) {
        if (l[i].kind == STERN_LM_TERNARY)
            ternary = &l[i];
        else if (l[i].kind == STERN_LM_STORED_TQ2 || l[i].kind == STERN_LM_STORED_I2)
            stored = &l[i];
        else if (l[i].kind != STERN_LM_F32 && l[i].kind != STERN_LM_F16)
            blocks = &l[i];
    }
    if (ternary) {
        const stern_matrix *m = &ternary->matrix;
        int8_t *q = (int8_t *)w->scratch;
        for (ptrdiff_t t = start; t < end; ++t)
            job->step[t] = job->matmul->quantize(job->h + t * n, n, q + (t - start) * n);
        d->loops->prepare(m, q, n, (int)(end - start), job->tile + tile * tile_bytes(d, m),
                          job->tile_sums + start * stern_mm_segments(m));
    }
    if (stored) {
        int8_t *q = (int8_t *)w->scratch;
        for (ptrdiff_t t = start; t < end; ++t) {
            job->step[t] = job->matmul->quantize(job->h + t * n, n, q);
            job->loops->order_fields(stored->kind, q, n, job->tile + t * n);
            int32_t sum = 0;
            for (ptrdiff_t i = 0; i < n; ++i)
                sum += q[i];
            job->tile_sums[t] = sum;
        }
    }
    if (blocks) {
        const ptrdiff_t ld = padded_block(n);
        for (ptrdiff_t t = start; t < end; ++t)
            job->loops->quantize_blocks(job->h + t * n, n, job->quantized + t * ld,
                                        job->block_step + t * (ld / STERN_LM_BLOCK),
                                        job->block_offsets + t * (ld / 16));
    }
}

/* A panel of `l` by the tiles [first, end) of rows prepared before. */
static void multiply_panel(worker *w, const stern_lm_linear *l, ptrdiff_t panel,
                           const tiling *d, ptrdiff_t first, ptrdiff_t end, float *y)
{
    stern_lm_job *job = w->job;
    const stern_matrix *m = &l->matrix;
    const ptrdiff_t first_row = panel * STERN_MM_PANEL, ldy = m->n_rows;
    const ptrdiff_t rows = MIN(STERN_MM_PANEL, m->n_rows - first_row);
    const ptrdiff_t n = m->n_columns, ldb = padded_block(n);
    stern_matrix decoded = *m;
    const float *scale = l->scale;
    ptrdiff_t at = panel, shift = 0;
    if (l->kind == STERN_LM_TERNARY && m->format == STERN_MM_T5 && end - first > 1
        && d->loops->tokens < STERN_LM_TILE) {
        /* Once for all tiles, as they are small. */
        job->matmul->decode(m, panel, (uint8_t *)w->scratch);
        decoded.format = STERN_MM_T2;
        decoded.weights = (const uint8_t *)w->scratch;
        decoded.n_rows = rows;
        scale += first_row;
        at = 0;
        shift = first_row;
    }
    for (ptrdiff_t tile = first; tile < end; ++tile) {
        const ptrdiff_t start = tile_start(d, tile), stop = tile_start(d, tile + 1);
        const int here = (int)(stop - start);
        float *out = y + start * ldy;
        int wrong = 0;
        switch (l->kind) {
        case STERN_LM_TERNARY:
            d->loops->panel(&decoded, scale, at, job->tile + tile * tile_bytes(d, m),
                            job->tile_sums + start * stern_mm_segments(m),
                            job->step + start, here, out + shift, ldy);
            break;
        case STERN_LM_F32:
        case STERN_LM_F16:
            job->loops->dense(l, panel, job->h + start * n, n, here, out, ldy);
            break;
        case STERN_LM_STORED_TQ2:
        case STERN_LM_STORED_I2:
            for (ptrdiff_t t = start; t < stop; ++t)
                wrong |= job->loops->stored_ternary(l, panel, job->tile + t * n,
                                                    job->tile_sums[t], job->step[t],
                                                    y + t * ldy);
            break;
        case STERN_LM_STORED_Q6:
            for (ptrdiff_t t = start; t < stop; ++t)
                wrong |= job->loops->stored_q6(l, panel, job->quantized + t * ldb,
                                               job->block_step + t * (ldb / STERN_LM_BLOCK),
                                               job->block_offsets + t * (ldb / 16),
                                               y + t * ldy);
            break;
        default:
            job->loops->blocks(l, panel, job->quantized + start * ldb,
                               job->block_step + start * (ldb / STERN_LM_BLOCK),
                               job->block_offsets + start * (ldb / 16), here, out, ldy);
        }
        if (wrong)
            __atomic_store_n(&job->wrong, 1, __ATOMIC_RELAXED);
        if (l->bias)
            for (int t = 0; t < here; ++t)
                job->loops->add(out + t * ldy + first_row, l->bias + first_row, rows);
    }
}

/* All of y[i] = linear i of the prepared rows, `count` of them: every thread takes a run
 * of panels and tiles. */
static void multiply(worker *w, const stern_lm_linear *l, int count, const tiling *d,
                     float *const *y)
{
    ptrdiff_t panels = 0;
    for (int i = 0; i < count; ++i)
        panels += panels_of(&l[i]);
    const ptrdiff_t items = panels * d->tiles;
    ptrdiff_t item = items * w->thread / w->n_threads;
    const ptrdiff_t last = items * (w->thread + 1) / w->n_threads;
    while (item < last) {
        ptrdiff_t panel = item / d->tiles;
        const ptrdiff_t tile = item % d->tiles, end = MIN(d->tiles, tile + last - item);
        int i = 0;
        for (; panel >= panels_of(&l[i]); ++i)
            panel -= panels_of(&l[i]);
        multiply_panel(w, &l[i], panel, d, tile, end, y[i]);
        item += end - tile;
    }
}

static void attend_all(worker *w)
{
    stern_lm_job *job = w->job;
    const stern_lm_config *c = job->config;
    const ptrdiff_t most = query_tokens(c), ldq = c->n_heads * c->head_dim;
    const ptrdiff_t per_head = group_of(c) * c->head_dim;
    ptrdiff_t item = 0;
    for (ptrdiff_t s = 0; s < job->n_spans; ++s) {
        const stern_lm_span *span = &job->spans[s];
        /* The last tiles see the most. */
        for (ptrdiff_t tile = (span->count - 1) / most; tile >= 0; --tile)
            for (ptrdiff_t head = 0; head < c->n_kv_heads; ++head, ++item) {
                if (item % w->n_threads != w->thread)
                    continue;
                const ptrdiff_t start = tile * most, n = MIN(most, span->count - start);
                float *q = job->q + (span->first + start) * ldq + head * per_head;
                const ptrdiff_t layer = w->layer * job->cache->n_sequences + span->sequence;
                job->loops->attend(c, job->cache, layer * c->n_kv_heads + head,
                                   span->position + start, n, q, ldq, q, ldq,
                                   (float *)w->scratch);
            }
    }
}

/* Rotates queries and keys, and stores keys and values. */
static void rotate_all(worker *w)
{
    stern_lm_job *job = w->job;
    const stern_lm_config *c = job->config;
    const ptrdiff_t items = job->n_tokens * c->n_kv_heads, dim = c->head_dim;
    const ptrdiff_t group = group_of(c);
    for (ptrdiff_t i = items * w->thread / w->n_threads;
         i < items * (w->thread + 1) / w->n_threads; ++i) {
        const ptrdiff_t t = i / c->n_kv_heads, head = i % c->n_kv_heads;
        const int64_t position = job->positions[t];
        const float *cosine = job->cosine + position * (c->rope_dim / 2);
        const float *sine = job->sine + position * (c->rope_dim / 2);
        float *q = job->q + (t * c->n_heads + head * group) * dim;
        float *k = job->k + (t * c->n_kv_heads + head) * dim;
        for (ptrdiff_t g = 0; g < group; ++g)
            job->loops->rotate(q + g * dim, c->rope_dim, cosine, sine, c->rope);
        job->loops->rotate(k, c->rope_dim, cosine, sine, c->rope);
        const ptrdiff_t layer = w->layer * job->cache->n_sequences + job->sequences[t];
        job->loops->store(job->cache, layer * c->n_kv_heads + head, dim, position, k,
                          job->v + (t * c->n_kv_heads + head) * dim);
    }
}

#define FOR_TILES(d)                                                               \
    for (ptrdiff_t tile = (d)->tiles * w->thread / w->n_threads;                   \
         tile < (d)->tiles * (w->thread + 1) / w->n_threads; ++tile)
#define FOR_ROWS(d)                                                                \
    for (ptrdiff_t t = tile_start(d, tile); t < tile_start(d, tile + 1); ++t)

/* x += y, and its norm to the linears. */
static void norm_step(worker *w, const tiling *d, const float *y, const float *weight,
                      const stern_lm_linear *l, int count)
{
    stern_lm_job *job = w->job;
    const ptrdiff_t n = job->config->n_embd;
    FOR_TILES(d) {
        FOR_ROWS(d)
            job->loops->norm(job->x + t * n, y ? y + t * n : NULL, weight, n,
                             job->config->eps, job->h + t * n);
        prepare(w, l, count, d, tile);
    }
    finish_step(w, STERN_LM_STEP_NORM);
}

static void run_layer(worker *w, const tiling *d, const stern_lm_layer *layer,
                      const float *residual)
{
    stern_lm_job *job = w->job;
    const stern_lm_config *c = job->config;
    const stern_lm_linear *l = layer->linear;
    const ptrdiff_t attended = c->n_heads * c->head_dim, n_ff = c->n_ff;

    norm_step(w, d, residual, layer->attention_norm, l + STERN_LM_Q, 3);
    multiply(w, l + STERN_LM_Q, 3, d, (float *[]){job->q, job->k, job->v});
    finish_step(w, STERN_LM_STEP_QKV);
    rotate_all(w);
    finish_step(w, STERN_LM_STEP_ROPE);
    attend_all(w);
    finish_step(w, STERN_LM_STEP_ATTENTION);
    FOR_TILES(d) {
        FOR_ROWS(d) {
            float *from = job->q + t * attended, *to = job->h + t * attended;
            if (layer->attention_sub_norm)
                job->loops->norm(from, NULL, layer->attention_sub_norm, attended,
                                 c->eps, to);
            else
                memcpy(to, from, (size_t)attended * sizeof *to);
        }
        prepare(w, l + STERN_LM_O, 1, d, tile);
    }
    finish_step(w, STERN_LM_STEP_NORM);
    multiply(w, l + STERN_LM_O, 1, d, (float *[]){job->y});
    finish_step(w, STERN_LM_STEP_OUTPUT);

    norm_step(w, d, job->y, layer->ffn_norm, l + STERN_LM_GATE, 2);
    multiply(w, l + STERN_LM_GATE, 2, d, (float *[]){job->gate, job->up});
    finish_step(w, STERN_LM_STEP_GATE_UP);
    FOR_TILES(d) {
        FOR_ROWS(d) {
            float *to = job->h + t * n_ff;
            job->loops->gate(job->gate + t * n_ff, job->up + t * n_ff, n_ff,
                             c->activation, to);
            if (layer->ffn_sub_norm)
                job->loops->norm(to, NULL, layer->ffn_sub_norm, n_ff, c->eps, to);
        }
        prepare(w, l + STERN_LM_DOWN, 1, d, tile);
    }
    finish_step(w, STERN_LM_STEP_NORM);
    multiply(w, l + STERN_LM_DOWN, 1, d, (float *[]){job->y});
    finish_step(w, STERN_LM_STEP_DOWN);
}

/* The end of the model, for the rows that are asked for. */
static void run_head(worker *w, const tiling *d, const float *residual)
{
    stern_lm_job *job = w->job;
    const ptrdiff_t n = job->config->n_embd;
    if (!job->output_norm) {
        if (residual) {
            FOR_TILES(d) {
                FOR_ROWS(d)
                    job->loops->add(job->x + t * n, residual + t * n, n);
            }
        }
        finish_step(w, STERN_LM_STEP_NORM);
        return;
    }
    const tiling out = divide(job, job->n_out, w->n_threads);
    FOR_TILES(&out) {
        FOR_ROWS(&out) {
            const ptrdiff_t from = job->out_rows[t] * n;
            job->loops->norm(job->x + from, residual ? residual + from : NULL,
                             job->output_norm, n, job->config->eps, job->h + t * n);
            if (job->hidden)
                memcpy(job->hidden + t * n, job->h + t * n, (size_t)n * sizeof *job->h);
        }
        if (job->head)
            prepare(w, job->head, 1, &out, tile);
    }
    finish_step(w, STERN_LM_STEP_NORM);
    if (job->head) {
        multiply(w, job->head, 1, &out, (float *[]){job->logits});
        finish_step(w, STERN_LM_STEP_HEAD);
    }
}

void stern_lm_run(stern_lm_job *job, int thread, int n_threads)
{
    worker w = {job, thread, n_threads, job->scratch + thread * job->scratch_bytes,
                job->times ? stern_now() : 0, 0};
    const tiling d = divide(job, job->n_tokens, n_threads);
    const float *residual = NULL;
    for (ptrdiff_t i = job->first_layer; i < job->last_layer; ++i) {
        w.layer = (int32_t)i;
        run_layer(&w, &d, &job->layers[i - job->first_layer], residual);
        residual = job->y;
    }
    w.layer = (int32_t)job->last_layer;
    run_head(&w, &d, residual);
}
