"""Floats to codes, bytes and rounded values."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int8_t, uint8_t

from sklearn_ternary._kernels._loops cimport (
    STERN_CHUNK,
    n_chunks,
    stern_codec_for,
    stern_codes_f32,
    stern_codes_f64,
    stern_code_values_f32,
    stern_code_values_f64,
    stern_f32_for,
    stern_f64_for,
    stern_pack_f32,
    stern_pack_f64,
    stern_values_f32,
    stern_values_f64,
)


def quantize_codes(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] threshold,   # IN
    Py_ssize_t group_size,
    bint five,
    int8_t[:, ::1] codes,               # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = X.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if threshold.shape[0] == 1 else threshold.shape[1]
        Py_ssize_t items = X.shape[0] * chunks
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = item // chunks
        start = (item - r * chunks) * STERN_CHUNK
        end = min(start + STERN_CHUNK, K)
        if floating is float:
            stern_codes_f32(
                stern_f32_for(isa), &X[0, 0] + r * K, start, end,
                &threshold[0, 0] + r * stride, group_size, five,
                &codes[0, 0] + r * K + start,
            )
        else:
            stern_codes_f64(
                stern_f64_for(isa), &X[0, 0] + r * K, start, end,
                &threshold[0, 0] + r * stride, group_size, five,
                &codes[0, 0] + r * K + start,
            )


def quantize_pack(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] threshold,   # IN
    Py_ssize_t group_size,
    bint five,
    int layout,
    uint8_t[:, ::1] packed,             # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = X.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if threshold.shape[0] == 1 else threshold.shape[1]
        Py_ssize_t items = X.shape[0] * chunks, row_bytes = packed.shape[1]
        Py_ssize_t last = items - 1
        # What was read last, for the scale, may still be in the cache.
        bint backwards = X.shape[0] * K * sizeof(floating) < 16 * 1024 * 1024
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = (last - item if backwards else item) // chunks
        start = ((last - item if backwards else item) - r * chunks) * STERN_CHUNK
        end = min(start + STERN_CHUNK, K)
        if floating is float:
            stern_pack_f32(
                stern_f32_for(isa), stern_codec_for(isa), &X[0, 0] + r * K, start, end,
                &threshold[0, 0] + r * stride, group_size, five, layout,
                &packed[0, 0] + r * row_bytes,
            )
        else:
            stern_pack_f64(
                stern_f64_for(isa), stern_codec_for(isa), &X[0, 0] + r * K, start, end,
                &threshold[0, 0] + r * stride, group_size, five, layout,
                &packed[0, 0] + r * row_bytes,
            )


def quantize_values(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] threshold,   # IN
    const floating[:, ::1] step,        # IN
    Py_ssize_t group_size,
    bint five,
    floating[:, ::1] values,            # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = X.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if threshold.shape[0] == 1 else threshold.shape[1]
        Py_ssize_t step_stride = 0 if step.shape[0] == 1 else step.shape[1]
        Py_ssize_t items = X.shape[0] * chunks
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = item // chunks
        start = (item - r * chunks) * STERN_CHUNK
        end = min(start + STERN_CHUNK, K)
        if floating is float:
            stern_values_f32(
                stern_f32_for(isa), &X[0, 0] + r * K, start, end,
                &threshold[0, 0] + r * stride, &step[0, 0] + r * step_stride,
                group_size, five, &values[0, 0] + r * K + start,
            )
        else:
            stern_values_f64(
                stern_f64_for(isa), &X[0, 0] + r * K, start, end,
                &threshold[0, 0] + r * stride, &step[0, 0] + r * step_stride,
                group_size, five, &values[0, 0] + r * K + start,
            )


def code_values(
    const int8_t[:, ::1] codes,         # IN
    const floating[:, ::1] step,        # IN
    Py_ssize_t group_size,
    floating[:, ::1] values,            # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = codes.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if step.shape[0] == 1 else step.shape[1]
        Py_ssize_t items = codes.shape[0] * chunks
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = item // chunks
        start = (item - r * chunks) * STERN_CHUNK
        end = min(start + STERN_CHUNK, K)
        if floating is float:
            stern_code_values_f32(
                stern_f32_for(isa), &codes[0, 0] + r * K + start, start, end,
                &step[0, 0] + r * stride, group_size, &values[0, 0] + r * K + start,
            )
        else:
            stern_code_values_f64(
                stern_f64_for(isa), &codes[0, 0] + r * K + start, start, end,
                &step[0, 0] + r * stride, group_size, &values[0, 0] + r * K + start,
            )
