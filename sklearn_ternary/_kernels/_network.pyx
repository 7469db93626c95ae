"""Programs of steps of networks: recorded once, run without returning to Python.

The operations are those of `sklearn_ternary._reference.programs`. Rows are shared
out among threads; sums that cross rows are made by one of them, so that results do
not depend on the number of threads. Sizes are positive.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_ND,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cython.parallel cimport prange
from libc.math cimport NAN
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from sklearn_ternary._kernels._loops cimport (
    stern_f32,
    stern_f32_for,
    stern_group_scale_f32,
)
from sklearn_ternary._kernels._matmul_loops cimport (
    STERN_MM_PANEL,
    STERN_MM_T2,
    stern_matmul,
    stern_matmul_for,
    stern_matmul_int8,
    stern_matmul_int8_for,
    stern_matrix,
    stern_mm_segments,
)
from sklearn_ternary._kernels._network_loops cimport (
    STERN_ABSOLUTE,
    STERN_HUBER,
    STERN_SQUARED,
    stern_network,
    stern_network_for,
    stern_transpose,
)

ctypedef void (*sgemm_type)(
    char *, char *, int *, int *, int *, float *, const float *, int *, const float *,
    int *, float *, float *, int *
) noexcept nogil

cdef enum Operation:
    TERNARY_WEIGHTS
    SCALED_CODES
    PACK_WEIGHTS
    ROUND_ROWS
    MULTIPLY_CODES
    MULTIPLY_ROWS
    MULTIPLY_WEIGHTS
    MULTIPLY_COLUMNS
    ADD_ROWS
    ADD
    COLUMN_SUM
    RELU
    RELU_GRADIENT
    SQUARED_RELU
    SQUARED_RELU_GRADIENT
    RMS_NORM
    RMS_NORM_GRADIENT
    DROPOUT
    ROUND_ROWS_CSR
    MULTIPLY_CSR
    MULTIPLY_COLUMNS_CSR
    SOFTMAX_LOSS
    SIGMOID_LOSS
    REGRESSION_LOSS

NUMBERS = {
    "ternary_weights": TERNARY_WEIGHTS,
    "scaled_codes": SCALED_CODES,
    "pack_weights": PACK_WEIGHTS,
    "round_rows": ROUND_ROWS,
    "multiply_codes": MULTIPLY_CODES,
    "multiply_rows": MULTIPLY_ROWS,
    "multiply_weights": MULTIPLY_WEIGHTS,
    "multiply_columns": MULTIPLY_COLUMNS,
    "add_rows": ADD_ROWS,
    "add": ADD,
    "column_sum": COLUMN_SUM,
    "relu": RELU,
    "relu_gradient": RELU_GRADIENT,
    "squared_relu": SQUARED_RELU,
    "squared_relu_gradient": SQUARED_RELU_GRADIENT,
    "rms_norm": RMS_NORM,
    "rms_norm_gradient": RMS_NORM_GRADIENT,
    "dropout": DROPOUT,
    "round_rows_csr": ROUND_ROWS_CSR,
    "multiply_csr": MULTIPLY_CSR,
    "multiply_columns_csr": MULTIPLY_COLUMNS_CSR,
    "softmax_loss": SOFTMAX_LOSS,
    "sigmoid_loss": SIGMOID_LOSS,
    "regression_loss": REGRESSION_LOSS,
}
SQUARED = STERN_SQUARED
ABSOLUTE = STERN_ABSOLUTE
HUBER = STERN_HUBER

# A parallel region costs more than a small step, and where other processes want the
# processors, too, far more: one thread does without.
cdef enum:
    # Values, and multiply-adds, from which on a step is shared out among threads.
    SHARED_FROM = 1 << 18
    SHARED_PRODUCT = 1 << 26

# Pointers are those of the arrays in the order of the arguments, then of scratch.
ctypedef struct Step:
    Operation operation
    void *p[8]
    Py_ssize_t n      # rows
    Py_ssize_t d      # values of a row
    Py_ssize_t m      # outputs of a product
    int kind
    float number


cdef stern_matrix matrix_of(
    const uint8_t *weights, Py_ssize_t m, Py_ssize_t d
) noexcept nogil:
    cdef stern_matrix matrix
    matrix.weights = weights
    matrix.n_rows = m
    matrix.n_columns = matrix.group_size = d
    matrix.n_blocks = matrix.group_blocks = (d + 15) // 16
    matrix.scale_stride = 0
    matrix.format = STERN_MM_T2
    return matrix


def int8_scratch(Py_ssize_t n, Py_ssize_t d, int level):
    """Bytes and sums of scratch for products of n rows of 8-bit activations."""
    cdef:
        const stern_matmul_int8 *product = stern_matmul_int8_for(level)
        stern_matrix matrix = matrix_of(NULL, 1, d)
        Py_ssize_t tiles = (n + product.tokens - 1) // product.tokens
        int most = <int>min(n, product.tokens)
    return tiles * product.tile_bytes(&matrix, most), n * stern_mm_segments(&matrix)


cdef class Steps:
    """A list of steps; keeps the arrays they work on."""

    cdef:
        Step *steps
        Py_ssize_t size, room
        list arrays
        sgemm_type sgemm
        const stern_f32 *floats
        const stern_network *loops
        const stern_matmul *products
        int n_threads
        void *x
        Py_ssize_t x_bytes
        object out

    def __cinit__(self, capsule, int isa, int matmul_level, int n_threads):
        self.sgemm = <sgemm_type>PyCapsule_GetPointer(
            capsule, PyCapsule_GetName(capsule)
        )
        self.floats = stern_f32_for(isa)
        self.loops = stern_network_for(isa)
        self.products = stern_matmul_for(matmul_level)
        self.n_threads = n_threads
        self.arrays = []

    def __dealloc__(self):
        free(self.steps)

    def __len__(self):
        return self.size

    def add(
        self, int operation, tuple arrays, Py_ssize_t n, Py_ssize_t d, Py_ssize_t m=0,
        int kind=0, float number=0,
    ):
        """Append a step; arrays are contiguous, or None."""
        cdef Step *grown
        cdef Step *step
        if self.size == self.room:
            grown = <Step *>realloc(self.steps, (2 * self.room + 16) * sizeof(Step))
            if grown == NULL:
                raise MemoryError()
            self.steps = grown
            self.room = 2 * self.room + 16
        step = &self.steps[self.size]
        step.operation = <Operation>operation
        step.n, step.d, step.m = n, d, m
        step.kind, step.number = kind, number
        for i in range(8):
            step.p[i] = NULL
        for i, array in enumerate(arrays):
            if array is not None:
                step.p[i] = <void *><size_t>array.__array_interface__["data"][0]
        self.arrays.append(arrays)
        self.size += 1

    def run(self, Py_ssize_t first, Py_ssize_t last):
        """Carry out the steps [first, last)."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(first, last):
                self.one(&self.steps[i])

    def set_ends(self, x, out):
        """Name the arrays that `outputs` fills and copies."""
        self.x = <void *><size_t>x.__array_interface__["data"][0]
        self.x_bytes = x.nbytes
        self.out = out
        self.arrays.append((x, out))

    def outputs(self, X):
        """Carry out all steps on rows X; None if X is not contiguous float32."""
        cdef Py_buffer view
        cdef Py_ssize_t i
        try:
            PyObject_GetBuffer(X, &view, PyBUF_ND | PyBUF_FORMAT)
        except (BufferError, ValueError):
            return None
        if view.format[0] != c"f" or view.format[1] or view.len != self.x_bytes:
            PyBuffer_Release(&view)
            return None
        with nogil:
            memcpy(self.x, view.buf, view.len)
            for i in range(self.size):
                self.one(&self.steps[i])
        PyBuffer_Release(&view)
        return self.out.copy()

    cdef void one(self, Step *s) noexcept nogil:
        cdef Operation op = s.operation
        if op <= PACK_WEIGHTS:
            self.weights(s)
        elif op <= MULTIPLY_CODES:
            self.rounded(s)
        elif op <= MULTIPLY_COLUMNS:
            self.product(s)
        elif op == COLUMN_SUM:
            self.loops.column_sum(<float *>s.p[0], s.n, s.d, <float *>s.p[1])
        elif op == RMS_NORM_GRADIENT:
            self.loops.rms_norm_gradient(
                <float *>s.p[0], <float *>s.p[1], <float *>s.p[2], <float *>s.p[3],
                s.n, s.d, <float *>s.p[4], <float *>s.p[5],
            )
        elif op == DROPOUT:
            self.loops.dropout(
                <float *>s.p[0], s.n * s.d, <uint32_t *>s.p[1], <uint32_t>s.m,
                s.number, <float *>s.p[2],
            )
        elif op <= RMS_NORM:
            self.rows(s)
        elif op <= MULTIPLY_COLUMNS_CSR:
            self.sparse(s)
        else:
            self.loss(s)

    cdef void weights(self, Step *s) noexcept nogil:
        cdef:
            Py_ssize_t size = s.n * s.d, group, groups, blocks, here
            float *scale = <float *>s.p[2]
            int64_t *flips = <int64_t *>s.p[3]
            float threshold = 0
        if s.operation == TERNARY_WEIGHTS:
            # latent, codes, scale, flips
            stern_group_scale_f32(
                self.floats, <float *>s.p[0], size, s.kind, 3, NULL, scale, &threshold
            )
            if not scale[0] - scale[0] == 0:
                scale[0] = threshold = NAN
            flips[0] += self.loops.codes(
                <float *>s.p[0], size, threshold, <int8_t *>s.p[1]
            )
        elif s.operation == SCALED_CODES:
            # codes, scale, values
            scale = <float *>s.p[1]
            self.loops.scaled_codes(
                <int8_t *>s.p[0], size, scale[0], <float *>s.p[2]
            )
        else:
            # codes, form
            groups = (s.n + 15) // 16
            blocks = (s.d + 15) // 16
            for group in range(groups):
                here = min(groups - group // 4 * 4, 4)
                self.loops.pack_group(
                    <int8_t *>s.p[0] + group * 16 * s.d, s.n - group * 16, s.d,
                    <uint8_t *>s.p[1] + group // 4 * 4 * blocks * 64 + group % 4 * 64,
                    here * 64,
                )

    cdef void rounded(self, Step *s) noexcept nogil:
        cdef:
            Py_ssize_t i, k, start, end, n = s.n, d = s.d, m = s.m, tiles, segments
            Py_ssize_t panels = (m + STERN_MM_PANEL - 1) // STERN_MM_PANEL
            Py_ssize_t units, each
            stern_matrix matrix
            const stern_matmul_int8 *product
            int8_t *tile
            int32_t *sums
            float *step
            float *out
            float *scale = <float *>s.p[3]
            float *scales = <float *>s.p[5]
            int threads = 1
        if s.operation == ROUND_ROWS:
            # X, rounded (or NULL), q, step
            if n * d >= SHARED_FROM:
                threads = self.n_threads
            if threads == 1:
                for i in range(n):
                    self.round_row(s, i)
            else:
                for i in prange(n, schedule="static", num_threads=threads):
                    self.round_row(s, i)
            return
        # q, step, form, scale, out; scales, tile, sums
        if n * d * m >= SHARED_PRODUCT:
            threads = self.n_threads
        product = stern_matmul_int8_for(s.kind)
        matrix = matrix_of(<uint8_t *>s.p[2], m, d)
        segments = stern_mm_segments(&matrix)
        for i in range((m + 15) // 16 * 16):
            scales[i] = scale[0]
        tiles = (n + product.tokens - 1) // product.tokens
        units = (n + product.multiple - 1) // product.multiple
        each = product.tile_bytes(&matrix, <int>min(n, product.tokens))
        for i in range(tiles):
            start = min(units * i // tiles * product.multiple, n)
            end = min(units * (i + 1) // tiles * product.multiple, n)
            product.prepare(
                &matrix, <int8_t *>s.p[0] + start * d, d, <int>(end - start),
                <int8_t *>s.p[6] + i * each, <int32_t *>s.p[7] + start * segments,
            )
            tile = <int8_t *>s.p[6] + i * each
            sums = <int32_t *>s.p[7] + start * segments
            step = <float *>s.p[1] + start
            out = <float *>s.p[4] + start * m
            if threads == 1:
                for k in range(panels):
                    product.panel(
                        &matrix, scales, k, tile, sums, step, <int>(end - start), out, m
                    )
            else:
                for k in prange(
                    panels, schedule="static", num_threads=min(threads, panels)
                ):
                    product.panel(
                        &matrix, scales, k, tile, sums, step, <int>(end - start), out, m
                    )

    cdef void round_row(self, Step *s, Py_ssize_t i) noexcept nogil:
        cdef:
            Py_ssize_t d = s.d
            int8_t *q = <int8_t *>s.p[2] + i * d
            float *step = <float *>s.p[3] + i
        step[0] = self.products.quantize(<float *>s.p[0] + i * d, d, q)
        if s.p[1] != NULL:
            self.loops.scaled_codes(q, d, step[0], <float *>s.p[1] + i * d)

    cdef void product(self, Step *s) noexcept nogil:
        # BLAS has threads of its own, which would wait for ours to fall asleep: it is
        # given one, and the rows of the result are shared out among ours.
        cdef:
            Py_ssize_t n = s.m if s.operation == MULTIPLY_COLUMNS else s.n
            int threads = 1, part
        if s.n * s.d * s.m >= SHARED_PRODUCT:
            threads = <int>min(<Py_ssize_t>self.n_threads, n)
        if threads == 1:
            self.some_products(s, 0, n)
            return
        for part in prange(threads, schedule="static", num_threads=threads):
            self.some_products(s, n * part // threads, n * (part + 1) // threads)

    cdef void some_products(
        self, Step *s, Py_ssize_t first, Py_ssize_t end
    ) noexcept nogil:
        # A, B, out; BLAS has columns where these have rows.
        cdef:
            int n = <int>s.n, d = <int>s.d, m = <int>s.m, here = <int>(end - first)
            float one = 1, zero = 0
            float *A = <float *>s.p[0]
            float *B = <float *>s.p[1]
            float *out = <float *>s.p[2]
        if s.operation == MULTIPLY_ROWS:
            # (n, d) (m, d) -> (n, m)
            A += first * d
            out += first * m
            self.sgemm(b"T", b"N", &m, &here, &d, &one, B, &d, A, &d, &zero, out, &m)
        elif s.operation == MULTIPLY_WEIGHTS:
            # (n, m) (m, d) -> (n, d)
            A += first * m
            out += first * d
            self.sgemm(b"N", b"N", &d, &here, &m, &one, B, &d, A, &m, &zero, out, &d)
        else:
            # (n, m) (n, d) -> (m, d)
            A += first
            out += first * d
            self.sgemm(b"N", b"T", &d, &here, &n, &one, B, &d, A, &m, &zero, out, &d)

    cdef void rows(self, Step *s) noexcept nogil:
        cdef:
            int threads = self.n_threads if s.n * s.d >= SHARED_FROM else 1
            int part
        if threads == 1:
            self.some_rows(s, 0, s.n)
            return
        for part in prange(threads, schedule="static", num_threads=threads):
            self.some_rows(s, s.n * part // threads, s.n * (part + 1) // threads)

    cdef void some_rows(
        self, Step *s, Py_ssize_t first, Py_ssize_t end
    ) noexcept nogil:
        cdef:
            Py_ssize_t i, n = end - first, d = s.d, size = n * d, at = first * d
            float *x = <float *>s.p[0] + at
            float *y = <float *>s.p[1]
            float *out = <float *>s.p[2]
        if s.operation == ADD_ROWS:
            for i in range(n):
                self.loops.add(x + i * d, y, d, out + at + i * d)
        elif s.operation == ADD:
            self.loops.add(x, y + at, size, out + at)
        elif s.operation == RELU:
            self.loops.relu(x, size, y + at)
        elif s.operation == RELU_GRADIENT:
            self.loops.relu_gradient(x, y + at, size, out + at)
        elif s.operation == SQUARED_RELU:
            self.loops.squared_relu(x, size, y + at)
        elif s.operation == SQUARED_RELU_GRADIENT:
            self.loops.squared_relu_gradient(x, y + at, size, out + at)
        else:
            self.loops.rms_norm(x, y, n, d, out + at, <float *>s.p[3] + first)

    cdef void sparse(self, Step *s) noexcept nogil:
        # data, indices, indptr (A before them in MULTIPLY_COLUMNS_CSR), ...
        cdef:
            float *data = <float *>s.p[0]
            int32_t *indices = <int32_t *>s.p[1]
            int32_t *indptr = <int32_t *>s.p[2]
            float *A = <float *>s.p[0]
            float *transposed
            float *out
            int8_t *codes
            float step
            Py_ssize_t i, j, m = s.m
        if s.operation == ROUND_ROWS_CSR:
            # rounded, then scratch
            out = <float *>s.p[3]
            codes = <int8_t *>s.p[4]
            for i in range(s.n):
                j = indptr[i + 1] - indptr[i]
                step = self.products.quantize(data + indptr[i], j, codes)
                self.loops.scaled_codes(codes, j, step, out + indptr[i])
        elif s.operation == MULTIPLY_CSR:
            # weights (m, d), out (n, m), scratch (d, m)
            transposed = <float *>s.p[5]
            out = <float *>s.p[4]
            stern_transpose(<float *>s.p[3], m, s.d, transposed)
            memset(out, 0, s.n * m * sizeof(float))
            for i in range(s.n):
                for j in range(indptr[i], indptr[i + 1]):
                    self.loops.add_scaled(
                        transposed + indices[j] * m, m, data[j], out + i * m
                    )
        else:
            # A (n, m), data, indices, indptr, out (m, d), scratch (d, m)
            data = <float *>s.p[1]
            indices = <int32_t *>s.p[2]
            indptr = <int32_t *>s.p[3]
            transposed = <float *>s.p[5]
            memset(transposed, 0, s.d * m * sizeof(float))
            for i in range(s.n):
                for j in range(indptr[i], indptr[i + 1]):
                    self.loops.add_scaled(
                        A + i * m, m, data[j], transposed + indices[j] * m
                    )
            stern_transpose(transposed, s.d, m, <float *>s.p[4])

    cdef void loss(self, Step *s) noexcept nogil:
        # Z, targets, weight, dZ, value, scratch for losses and factors
        cdef:
            Py_ssize_t i, n = s.n
            float *Z = <float *>s.p[0]
            float *weight = <float *>s.p[2]
            float *dZ = <float *>s.p[3]
            double *value = <double *>s.p[4]
            double *losses = <double *>s.p[5]
            float *factor = <float *>s.p[6]
            double total = n, share, result = 0
        if s.operation == SOFTMAX_LOSS:
            self.loops.softmax(Z, <int32_t *>s.p[1], n, s.d, dZ, losses)
        elif s.operation == SIGMOID_LOSS:
            self.loops.sigmoid(Z, <float *>s.p[1], n, s.d, dZ, losses)
        else:
            self.loops.regression(
                Z, <float *>s.p[1], n, s.d, s.kind, s.number, dZ, losses
            )
        if weight != NULL:
            total = 0
            for i in range(n):
                total += weight[i]
        for i in range(n):
            share = 0
            if total > 0:
                share = (weight[i] if weight != NULL else 1) / total
            result += losses[i] * share
            factor[i] = <float>share
        value[0] = result
        self.loops.scale_rows(dZ, n, s.d, factor)
