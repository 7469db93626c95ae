"""A transformer with ternary matrices, as src/language.h describes it."""

from cython.parallel cimport parallel, prange
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from sklearn_ternary._kernels._language_loops cimport (
    STERN_LM_BLOCK,
    STERN_LM_CACHE_F16,
    STERN_LM_CACHE_F32,
    STERN_LM_CACHE_I8,
    STERN_LM_F16,
    STERN_LM_F32,
    STERN_LM_I2_S_ARM,
    STERN_LM_I2_S_X86,
    STERN_LM_LINEARS,
    STERN_LM_NEOX,
    STERN_LM_NORM,
    STERN_LM_Q6,
    STERN_LM_Q6_BYTES,
    STERN_LM_Q8,
    STERN_LM_Q8_BYTES,
    STERN_LM_RELU2,
    STERN_LM_SILU,
    STERN_LM_STORED_I2,
    STERN_LM_STORED_Q6,
    STERN_LM_STORED_TQ2,
    STERN_LM_TERNARY,
    STERN_LM_TQ1_0,
    STERN_LM_TQ2_0,
    stern_lm_cache,
    stern_lm_config,
    stern_lm_job,
    stern_lm_layer,
    stern_lm_linear,
    stern_lm_loops,
    stern_lm_loops_for,
    stern_lm_row,
    stern_lm_run,
    stern_lm_scratch_bytes,
    stern_lm_span,
    stern_lm_time,
)
from sklearn_ternary._kernels._matmul_loops cimport (
    STERN_MM_PANEL,
    stern_matmul_for,
    stern_matmul_int8_for,
    stern_matrix,
)
from sklearn_ternary._kernels._openmp cimport omp_get_num_threads, omp_get_thread_num

KINDS = {
    "ternary": STERN_LM_TERNARY,
    "float32": STERN_LM_F32,
    "float16": STERN_LM_F16,
    "q6": STERN_LM_Q6,
    "q8": STERN_LM_Q8,
    "tq2_0": STERN_LM_STORED_TQ2,
    "i2_s": STERN_LM_STORED_I2,
    "q6_k": STERN_LM_STORED_Q6,
}
ACTIVATIONS = {"silu": STERN_LM_SILU, "relu2": STERN_LM_RELU2}
ROPES = {"neox": STERN_LM_NEOX, "norm": STERN_LM_NORM}
CACHE_TYPES = {
    "float32": STERN_LM_CACHE_F32,
    "float16": STERN_LM_CACHE_F16,
    "int8": STERN_LM_CACHE_I8,
}
SOURCES = {
    "tq1_0": STERN_LM_TQ1_0,
    "tq2_0": STERN_LM_TQ2_0,
    "i2_s_x86": STERN_LM_I2_S_X86,
    "i2_s_arm": STERN_LM_I2_S_ARM,
}
# As enum stern_lm_step numbers them.
STEPS = ("norm", "qkv", "rope", "attention", "output", "gate_up", "down", "head")
BLOCK = STERN_LM_BLOCK
Q6_BYTES = STERN_LM_Q6_BYTES
Q8_BYTES = STERN_LM_Q8_BYTES


cdef stern_matrix matrix_of(const uint8_t[::1] weights, tuple form) except *:
    """`form`: rows, columns, columns and blocks of a group, blocks, format."""
    cdef stern_matrix m
    m.n_rows, m.n_columns, m.group_size, m.group_blocks, m.n_blocks, m.format = form
    m.weights = &weights[0]
    m.scale_stride = (m.n_rows + STERN_MM_PANEL - 1) // STERN_MM_PANEL * STERN_MM_PANEL
    return m


cdef const float *floats(array) except? NULL:
    """The values of a float32 array, or NULL for None."""
    cdef const float[::1] view
    if array is None:
        return NULL
    view = array
    return &view[0]


cdef stern_lm_linear linear_of(tuple parts) except *:
    """`parts`: kind, bytes, form, scale and bias, flat, or None."""
    cdef stern_lm_linear linear
    cdef const uint8_t[::1] weights = parts[1]
    linear.kind = parts[0]
    linear.matrix = matrix_of(weights, parts[2])
    linear.scale = floats(parts[3])
    linear.bias = floats(parts[4])
    return linear


def pack_ternary(
    const uint8_t[:, ::1] data,         # IN, rows as ggml stores them
    int source,
    uint8_t[::1] weights,               # OUT
    tuple form,
    int level,
    int n_threads,
):
    """Returns the number of row groups with an invalid code."""
    cdef:
        const stern_lm_loops *loops = stern_lm_loops_for(level)
        stern_matrix m = matrix_of(weights, form)
        uint8_t *to = &weights[0]
        Py_ssize_t groups = (m.n_rows + 15) // 16, row_bytes = data.shape[1], i
        Py_ssize_t wrong = 0
    for i in prange(
        groups, nogil=True, schedule="static", num_threads=min(n_threads, groups)
    ):
        wrong += loops.pack_ternary(
            &m, source, &data[16 * i, 0], row_bytes, i, to
        )
    return wrong


def pack_blocks(
    const uint8_t[::1] data,            # IN
    int kind,
    Py_ssize_t n_rows,
    Py_ssize_t n_columns,
    uint8_t[::1] weights,               # OUT
    int level,
    int n_threads,
):
    cdef:
        const stern_lm_loops *loops = stern_lm_loops_for(level)
        Py_ssize_t groups = (n_rows + 15) // 16, i
    for i in prange(
        groups, nogil=True, schedule="static", num_threads=min(n_threads, groups)
    ):
        if kind == STERN_LM_Q6:
            loops.pack_q6(&data[0], n_rows, n_columns, i, &weights[0])
        else:
            loops.pack_q8(&data[0], n_rows, n_columns, i, &weights[0])


def rows_of(
    tuple linear,
    const int64_t[::1] rows,            # IN
    float[:, ::1] out,                  # OUT
):
    """Rows of a matrix that is not ternary."""
    cdef stern_lm_linear matrix = linear_of(linear)
    cdef Py_ssize_t i
    with nogil:
        for i in range(rows.shape[0]):
            stern_lm_row(&matrix, rows[i], &out[i, 0])


cdef class WorkSpace:
    """Buffers of one forward pass, of at most `max_tokens` rows at a time.

    The caller gives them and keeps them alive; scratch is on a line of the cache.
    """

    cdef:
        stern_lm_job job
        object buffers

    def __cinit__(
        self, float[::1] h, float[::1] q, float[::1] k, float[::1] v, float[::1] y,
        float[::1] gate, float[::1] up, int8_t[::1] tile, int8_t[::1] quantized,
        int32_t[::1] tile_sums, int32_t[::1] block_offsets, float[::1] step,
        float[::1] block_step, int8_t[::1] scratch, Py_ssize_t scratch_bytes,
    ):
        cdef stern_lm_job *job = &self.job
        memset(job, 0, sizeof(stern_lm_job))
        self.buffers = (
            h, q, k, v, y, gate, up, tile, quantized, tile_sums, block_offsets, step,
            block_step, scratch,
        )
        job.h, job.q, job.k, job.v = &h[0], &q[0], &k[0], &v[0]
        job.y, job.gate, job.up = &y[0], &gate[0], &up[0]
        job.tile, job.quantized = &tile[0], &quantized[0]
        job.tile_sums, job.block_offsets = &tile_sums[0], &block_offsets[0]
        job.step, job.block_step = &step[0], &block_step[0]
        job.scratch, job.scratch_bytes = <char *>&scratch[0], scratch_bytes


cdef class Program:
    """Layers and head, and what runs them.

    The arrays behind the pointers are kept alive by the caller.
    """

    cdef:
        stern_lm_config config
        stern_lm_layer *layers
        stern_lm_linear head
        const float *output_norm
        readonly Py_ssize_t n_layers

    def __cinit__(self, Py_ssize_t n_layers, tuple config):
        (
            self.config.n_embd, self.config.n_ff, self.config.n_heads,
            self.config.n_kv_heads, self.config.head_dim, self.config.rope_dim,
            self.config.eps, self.config.activation, self.config.rope,
        ) = config
        self.n_layers = n_layers
        self.layers = <stern_lm_layer *>calloc(max(n_layers, 1), sizeof(stern_lm_layer))
        if self.layers == NULL:
            raise MemoryError("no memory for the layers")
        self.output_norm = NULL

    def __dealloc__(self):
        free(self.layers)

    def set_layer(self, Py_ssize_t i, tuple norms, list linears):
        """Norms: of attention and its result, of the network and its result."""
        cdef stern_lm_layer *layer = &self.layers[i]
        cdef int j
        (attention, attention_sub, ffn, ffn_sub) = norms
        layer.attention_norm = floats(attention)
        layer.attention_sub_norm = floats(attention_sub)
        layer.ffn_norm = floats(ffn)
        layer.ffn_sub_norm = floats(ffn_sub)
        for j in range(STERN_LM_LINEARS):
            layer.linear[j] = linear_of(linears[j])

    def set_head(self, output_norm, tuple linear):
        self.output_norm = floats(output_norm)
        self.head = linear_of(linear)

    def scratch_bytes(self, Py_ssize_t most_columns):
        """Bytes of scratch that each thread needs."""
        return stern_lm_scratch_bytes(&self.config, most_columns)

    def run(
        self,
        Py_ssize_t first_layer,
        Py_ssize_t last_layer,
        float[:, ::1] x,                    # IN, OUT
        const int64_t[::1] positions,       # IN
        const int64_t[::1] sequences,       # IN
        const int64_t[:, ::1] spans,        # IN, rows of stern_lm_span
        tuple cache,                        # type, sequences, capacity, window
        uintptr_t keys,                     # OUT, addresses of the cache's arrays
        uintptr_t values,
        uintptr_t key_scale,
        uintptr_t value_scale,
        const float[:, ::1] cosine,         # IN
        const float[:, ::1] sine,           # IN
        const int64_t[::1] out_rows,        # IN, or None: no output
        float[:, ::1] hidden,               # OUT, or None
        float[:, ::1] logits,               # OUT, or None
        int64_t[:, ::1] times,              # OUT, or None: kind, layer, start, end
        WorkSpace space,
        tuple levels,                       # all loops, int8 for few and many rows
        int n_threads,
    ):
        """Returns the number of spans of time; -1 if a stored matrix was refused."""
        cdef:
            stern_lm_job job = space.job
            stern_lm_cache c
            Py_ssize_t i
        c.type, c.n_sequences, c.capacity, c.window = cache
        c.keys, c.values = <void *>keys, <void *>values
        c.key_scale, c.value_scale = <float *>key_scale, <float *>value_scale
        cdef int level, few, many
        level, few, many = levels
        job.matmul = stern_matmul_for(level)
        job.few = stern_matmul_int8_for(few)
        job.many = stern_matmul_int8_for(many)
        job.loops = stern_lm_loops_for(level)
        job.config = &self.config
        job.layers = self.layers + first_layer
        job.first_layer, job.last_layer = first_layer, last_layer
        job.cache = &c
        job.n_tokens = x.shape[0]
        job.positions, job.sequences = &positions[0], &sequences[0]
        job.spans, job.n_spans = <const stern_lm_span *>&spans[0, 0], spans.shape[0]
        job.cosine, job.sine = &cosine[0, 0], &sine[0, 0]
        job.x = &x[0, 0]
        if out_rows is not None:
            job.output_norm = self.output_norm
            job.out_rows, job.n_out = &out_rows[0], out_rows.shape[0]
            if hidden is not None:
                job.hidden = &hidden[0, 0]
            if logits is not None:
                job.head = &self.head
                job.logits = &logits[0, 0]
        job.max_times = 0
        cdef stern_lm_time *spans_of_time = NULL
        if times is not None and times.shape[0]:
            spans_of_time = <stern_lm_time *>calloc(
                times.shape[0], sizeof(stern_lm_time)
            )
            job.times = spans_of_time
            job.max_times = times.shape[0] if spans_of_time != NULL else 0
        with nogil:
            if n_threads == 1:
                stern_lm_run(&job, 0, 1)
            else:
                with parallel(num_threads=n_threads):
                    # The team may be smaller than what was asked for.
                    stern_lm_run(&job, omp_get_thread_num(), omp_get_num_threads())
        for i in range(job.n_times):
            times[i, 0] = spans_of_time[i].kind
            times[i, 1] = spans_of_time[i].layer
            times[i, 2] = spans_of_time[i].start
            times[i, 3] = spans_of_time[i].end
        free(spans_of_time)
        return -1 if job.wrong else job.n_times
