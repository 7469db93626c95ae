# The C functions of src/language.h, as Cython sees them.
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from sklearn_ternary._kernels._matmul_loops cimport (
    stern_matmul,
    stern_matmul_int8,
    stern_matrix,
)

cdef extern from "language.h" nogil:
    enum:
        STERN_LM_TERNARY
        STERN_LM_F32
        STERN_LM_F16
        STERN_LM_Q6
        STERN_LM_Q8
        STERN_LM_STORED_TQ2
        STERN_LM_STORED_I2
        STERN_LM_STORED_Q6
        STERN_LM_SILU
        STERN_LM_RELU2
        STERN_LM_NEOX
        STERN_LM_NORM
        STERN_LM_CACHE_F32
        STERN_LM_CACHE_F16
        STERN_LM_CACHE_I8
        STERN_LM_TQ1_0
        STERN_LM_TQ2_0
        STERN_LM_I2_S_X86
        STERN_LM_I2_S_ARM
        STERN_LM_KEYS
        STERN_LM_BLOCK
        STERN_LM_Q6_BYTES
        STERN_LM_Q8_BYTES
        STERN_LM_LINEARS

    ctypedef struct stern_lm_linear:
        int kind
        stern_matrix matrix
        const float *scale
        const float *bias

    ctypedef struct stern_lm_layer:
        const float *attention_norm
        const float *attention_sub_norm
        const float *ffn_norm
        const float *ffn_sub_norm
        stern_lm_linear linear[7]

    ctypedef struct stern_lm_config:
        Py_ssize_t n_embd
        Py_ssize_t n_ff
        Py_ssize_t n_heads
        Py_ssize_t n_kv_heads
        Py_ssize_t head_dim
        Py_ssize_t rope_dim
        float eps
        int activation
        int rope

    ctypedef struct stern_lm_cache:
        int type
        Py_ssize_t n_sequences
        Py_ssize_t capacity
        Py_ssize_t window
        void *keys
        void *values
        float *key_scale
        float *value_scale

    ctypedef struct stern_lm_span:
        int64_t sequence
        int64_t first
        int64_t count
        int64_t position

    ctypedef struct stern_lm_time:
        int32_t kind
        int32_t layer
        int64_t start
        int64_t end

    ctypedef struct stern_lm_loops:
        int (*pack_ternary)(
            const stern_matrix *m, int source, const uint8_t *data,
            Py_ssize_t row_bytes, Py_ssize_t group, uint8_t *weights
        ) noexcept nogil
        void (*pack_q6)(
            const uint8_t *data, Py_ssize_t n_rows, Py_ssize_t n_columns,
            Py_ssize_t group, uint8_t *weights
        ) noexcept nogil
        void (*pack_q8)(
            const uint8_t *data, Py_ssize_t n_rows, Py_ssize_t n_columns,
            Py_ssize_t group, uint8_t *weights
        ) noexcept nogil

    ctypedef struct stern_lm_job:
        const stern_matmul *matmul
        const stern_matmul_int8 *few
        const stern_matmul_int8 *many
        const stern_lm_loops *loops
        const stern_lm_config *config
        const stern_lm_layer *layers
        Py_ssize_t first_layer
        Py_ssize_t last_layer
        const stern_lm_cache *cache
        Py_ssize_t n_tokens
        const int64_t *positions
        const int64_t *sequences
        const stern_lm_span *spans
        Py_ssize_t n_spans
        const float *cosine
        const float *sine
        float *x
        const float *output_norm
        const stern_lm_linear *head
        const int64_t *out_rows
        Py_ssize_t n_out
        float *hidden
        float *logits
        float *h
        float *q
        float *k
        float *v
        float *y
        float *gate
        float *up
        int8_t *tile
        int8_t *quantized
        int32_t *tile_sums
        int32_t *block_offsets
        float *step
        float *block_step
        char *scratch
        Py_ssize_t scratch_bytes
        stern_lm_time *times
        Py_ssize_t n_times
        Py_ssize_t max_times
        int wrong

    const stern_lm_loops *stern_lm_loops_for(int level) noexcept
    Py_ssize_t stern_lm_scratch_bytes(
        const stern_lm_config *c, Py_ssize_t most_columns
    ) noexcept
    void stern_lm_run(stern_lm_job *job, int thread, int n_threads) noexcept
    void stern_lm_row(
        const stern_lm_linear *linear, Py_ssize_t row, float *out
    ) noexcept
