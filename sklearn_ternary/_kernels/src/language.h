/* A transformer of the LLaMA family with ternary matrices: its layers, the cache of
 * keys and values, and one table of loops per instruction-set level.
 *
 * `stern_lm_run` is what every thread of a team executes; it contains all layers, so
 * that a token costs one parallel region and a few barriers a layer. */
#ifndef STERN_LANGUAGE_H
#define STERN_LANGUAGE_H
#include <stddef.h>
#include <stdint.h>

#include "matmul.h"
#include "team.h"

enum stern_lm_kind {
    STERN_LM_TERNARY,  /* as matmul.h lays it out; activations of 8 bits a row */
    STERN_LM_F32,      /* rows of float32, row by row */
    STERN_LM_F16,
    STERN_LM_Q6,       /* blocks of 256, 16 rows interleaved, see language_blocks.h */
    STERN_LM_Q8,       /* blocks of 32 (in pairs), likewise */
    STERN_LM_STORED_TQ2, /* rows of TQ2_0, I2_S (x86) and Q6_K as a file holds them */
    STERN_LM_STORED_I2,
    STERN_LM_STORED_Q6,
};
enum stern_lm_activation { STERN_LM_SILU, STERN_LM_RELU2 };
enum stern_lm_rope { STERN_LM_NEOX, STERN_LM_NORM };
enum stern_lm_cache_type { STERN_LM_CACHE_F32, STERN_LM_CACHE_F16, STERN_LM_CACHE_I8 };

enum {
    STERN_LM_KEYS = 64,    /* positions that are attended to at a time */
    STERN_LM_BLOCK = 256,  /* activations that share a step before Q6 and Q8 */
    STERN_LM_Q6_BYTES = 3392, /* 16 rows by 256 values */
    STERN_LM_Q8_BYTES = 1088, /* 16 rows by 64 values */
    STERN_LM_QUERY_ROWS = 64, /* most rows of queries attended together */
    STERN_LM_MANY = 8,
    STERN_LM_TILE = 256,   /* most rows of activations of a tile */
};

/* y = W x (+ bias). */
typedef struct {
    int kind;
    stern_matrix matrix;  /* n_rows and n_columns count for every kind */
    const float *scale;   /* of STERN_LM_TERNARY; one of STERN_LM_STORED_I2 */
    const float *bias;    /* or NULL */
} stern_lm_linear;

enum { STERN_LM_Q, STERN_LM_K, STERN_LM_V, STERN_LM_O,
       STERN_LM_GATE, STERN_LM_UP, STERN_LM_DOWN, STERN_LM_LINEARS };

typedef struct {
    const float *attention_norm, *attention_sub_norm, *ffn_norm, *ffn_sub_norm;
    stern_lm_linear linear[STERN_LM_LINEARS];
} stern_lm_layer;

typedef struct {
    ptrdiff_t n_embd, n_ff, n_heads, n_kv_heads, head_dim, rope_dim;
    float eps;
    int activation, rope;
} stern_lm_config;

/* Keys of 16 positions are interleaved: [layer][sequence][head][position / 16]
 * [padded head_dim][16]; values are [layer][sequence][head][position][padded
 * head_dim]. Position p lies at p modulo the capacity. */
typedef struct {
    int type;
    ptrdiff_t n_sequences, capacity, window; /* window 0: all positions are seen */
    void *keys, *values;
    float *key_scale, *value_scale;          /* of STERN_LM_CACHE_I8, a position each */
} stern_lm_cache;

/* Consecutive tokens of a sequence. */
typedef struct {
    int64_t sequence, first, count, position;
} stern_lm_span;

/* How ggml and bitnet.cpp store ternary tensors. */
enum stern_lm_source { STERN_LM_TQ1_0, STERN_LM_TQ2_0, STERN_LM_I2_S_X86,
                       STERN_LM_I2_S_ARM };

typedef struct {
    /* x += y where y is not NULL; then out = x / rms(x) * weight. */
    void (*norm)(float *x, const float *y, const float *weight, ptrdiff_t n, float eps,
                 float *out);
    /* out = activation(gate) * up */
    void (*gate)(const float *gate, const float *up, ptrdiff_t n, int activation,
                 float *out);
    void (*add)(float *y, const float *x, ptrdiff_t n);
    /* Rounds blocks of 256 to int8; sums of 16 values each, times -32. */
    void (*quantize_blocks)(const float *x, ptrdiff_t n, int8_t *q, float *step,
                            int32_t *offsets);
    void (*rotate)(float *x, ptrdiff_t n, const float *cosine, const float *sine,
                   int rope);
    void (*store)(const stern_lm_cache *cache, ptrdiff_t head, ptrdiff_t head_dim,
                  int64_t position, const float *key, const float *value);
    /* Tokens of one span and head group; `head` counts heads of the whole cache. */
    void (*attend)(const stern_lm_config *config, const stern_lm_cache *cache,
                   ptrdiff_t head, int64_t position, ptrdiff_t tokens, const float *q,
                   ptrdiff_t ldq, float *out, ptrdiff_t ldo, float *scratch);
    /* Panels of 64 rows of the other kinds. */
    void (*dense)(const stern_lm_linear *l, ptrdiff_t panel, const float *x,
                  ptrdiff_t ldx, int tokens, float *y, ptrdiff_t ldy);
    void (*blocks)(const stern_lm_linear *l, ptrdiff_t panel, const int8_t *q,
                   const float *step, const int32_t *offsets, int tokens, float *y,
                   ptrdiff_t ldy);
    /* Panels as files hold them, by one row of activations; `q` from order_fields for
     * ternary ones. Return whether something is wrong that laying out would find, or
     * scales of a TQ2_0 tensor differ. */
    void (*order_fields)(int kind, const int8_t *q, ptrdiff_t n, int8_t *to);
    int (*stored_ternary)(const stern_lm_linear *l, ptrdiff_t panel, const int8_t *q,
                      int32_t sum, float step, float *y);
    int (*stored_q6)(const stern_lm_linear *l, ptrdiff_t panel, const int8_t *q,
                     const float *step, const int32_t *offsets, float *y);
    /* Row group `group` of a tensor as ggml stores it (`data` is where the group is)
     * goes to weights in format T2, or T5 if m has one scale group. Groups are whole
     * blocks. Returns whether a code is invalid. */
    int (*pack_ternary)(const stern_matrix *m, int source, const uint8_t *data,
                        ptrdiff_t row_bytes, ptrdiff_t group, uint8_t *weights);
    /* The same of Q6_K and Q8_0; `data` is the tensor. */
    void (*pack_q6)(const uint8_t *data, ptrdiff_t n_rows, ptrdiff_t n_columns,
                    ptrdiff_t group, uint8_t *weights);
    void (*pack_q8)(const uint8_t *data, ptrdiff_t n_rows, ptrdiff_t n_columns,
                    ptrdiff_t group, uint8_t *weights);
} stern_lm_loops;

/* NULL where the level was not built. */
const stern_lm_loops *stern_lm_loops_for(int level);

/* A span of time in thread 0: kind, layer, start and end in nanoseconds. */
typedef struct { int32_t kind, layer; int64_t start, end; } stern_lm_time;

enum stern_lm_step {
    STERN_LM_STEP_NORM, STERN_LM_STEP_QKV, STERN_LM_STEP_ROPE, STERN_LM_STEP_ATTENTION,
    STERN_LM_STEP_OUTPUT, STERN_LM_STEP_GATE_UP, STERN_LM_STEP_DOWN, STERN_LM_STEP_HEAD,
    STERN_LM_STEPS
};

/* All that a team works on. The buffers have room for `n_tokens` rows. */
typedef struct {
    const stern_matmul *matmul;
    /* For few rows of activations, and from STERN_LM_MANY on. */
    const stern_matmul_int8 *few, *many;
    const stern_lm_loops *loops;
    const stern_lm_config *config;
    const stern_lm_layer *layers;       /* of first_layer, and those after it */
    ptrdiff_t first_layer, last_layer;
    const stern_lm_cache *cache;
    ptrdiff_t n_tokens;
    const int64_t *positions;
    const int64_t *sequences;
    const stern_lm_span *spans;
    ptrdiff_t n_spans;
    const float *cosine, *sine;         /* (positions, rope_dim / 2) */
    /* Rows of x (n_tokens, n_embd), changed in place. */
    float *x;
    /* After the layers: norm of n_out rows of x into `hidden`, and their logits.
     * output_norm NULL ends after the layers, head NULL after the norm. */
    const float *output_norm;
    const stern_lm_linear *head;
    const int64_t *out_rows;
    ptrdiff_t n_out;
    float *hidden, *logits;
    /* Work space. */
    float *h, *q, *k, *v, *y, *gate, *up;
    int8_t *tile, *quantized;
    int32_t *tile_sums, *block_offsets;
    float *step, *block_step;
    char *scratch;                      /* `scratch_bytes` for each thread */
    ptrdiff_t scratch_bytes;
    stern_lm_time *times;               /* or NULL */
    ptrdiff_t n_times, max_times;
    int wrong;                          /* set if a stored matrix cannot be taken */
    stern_barrier barrier;
} stern_lm_job;

ptrdiff_t stern_lm_scratch_bytes(const stern_lm_config *c, ptrdiff_t most_columns);
void stern_lm_run(stern_lm_job *job, int thread, int n_threads);

/* Rows as float32, of the kinds that embeddings have. */
void stern_lm_row(const stern_lm_linear *l, ptrdiff_t row, float *out);
#endif
