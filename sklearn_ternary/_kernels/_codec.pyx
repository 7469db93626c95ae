"""Codes to bytes and back."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int8_t, int64_t, uint8_t

from sklearn_ternary._kernels._loops cimport (
    STERN_CHUNK,
    n_chunks,
    stern_codec_for,
    stern_f32_for,
    stern_f64_for,
    stern_find_invalid,
    stern_packed_bytes,
    stern_unit_bytes,
    stern_unpack_values_f32,
    stern_unpack_values_f64,
)


def pack(
    const int8_t[:, ::1] codes,         # IN
    int layout,
    uint8_t[:, ::1] packed,             # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = codes.shape[1], chunks = n_chunks(K), item, r, start
        Py_ssize_t items = codes.shape[0] * chunks, row_bytes = packed.shape[1]
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = item // chunks
        start = (item - r * chunks) * STERN_CHUNK
        stern_codec_for(isa).pack[layout](
            &codes[0, 0] + r * K + start, min(STERN_CHUNK, K - start),
            &packed[0, 0] + r * row_bytes + stern_packed_bytes(layout, start),
        )


def unpack(
    const uint8_t[:, ::1] packed,       # IN
    int layout,
    int8_t[:, ::1] codes,               # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = codes.shape[1], chunks = n_chunks(K), item, r, start
        Py_ssize_t items = codes.shape[0] * chunks, row_bytes = packed.shape[1]
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = item // chunks
        start = (item - r * chunks) * STERN_CHUNK
        stern_codec_for(isa).unpack[layout](
            &packed[0, 0] + r * row_bytes + stern_packed_bytes(layout, start),
            min(STERN_CHUNK, K - start), &codes[0, 0] + r * K + start,
        )


def unpack_values(
    const uint8_t[:, ::1] packed,       # IN
    int layout,
    const floating[:, ::1] step,        # IN
    Py_ssize_t group_size,
    floating[:, ::1] values,            # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = values.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if step.shape[0] == 1 else step.shape[1]
        Py_ssize_t items = values.shape[0] * chunks, row_bytes = packed.shape[1]
    if items == 0:
        return
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        r = item // chunks
        start = (item - r * chunks) * STERN_CHUNK
        end = min(start + STERN_CHUNK, K)
        if floating is float:
            stern_unpack_values_f32(
                stern_f32_for(isa), stern_codec_for(isa), &packed[0, 0] + r * row_bytes,
                start, end, layout, &step[0, 0] + r * stride, group_size,
                &values[0, 0] + r * K + start,
            )
        else:
            stern_unpack_values_f64(
                stern_f64_for(isa), stern_codec_for(isa), &packed[0, 0] + r * row_bytes,
                start, end, layout, &step[0, 0] + r * stride, group_size,
                &values[0, 0] + r * K + start,
            )


cdef void count_chunk(
    const uint8_t *row, Py_ssize_t start, Py_ssize_t n, int layout, int half,
    int64_t *counts, int isa,
) noexcept nogil:
    cdef int8_t[STERN_CHUNK] codes
    stern_codec_for(isa).unpack[layout](
        row + stern_packed_bytes(layout, start), n, codes
    )
    stern_codec_for(isa).count(codes, n, half, counts)


def count_codes(
    const uint8_t[:, ::1] packed,       # IN
    Py_ssize_t n_values,
    int layout,
    int half,
    int64_t[:, ::1] counts,             # OUT, one row per part
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t chunks = n_chunks(n_values), item, r, start, part
        Py_ssize_t items = packed.shape[0] * chunks, parts = counts.shape[0]
        Py_ssize_t row_bytes = packed.shape[1], levels = counts.shape[1]
    if items == 0:
        return
    for part in prange(
        parts, nogil=True, schedule="static", num_threads=min(n_threads, parts)
    ):
        for item in range(items * part // parts, items * (part + 1) // parts):
            r = item // chunks
            start = (item - r * chunks) * STERN_CHUNK
            count_chunk(
                &packed[0, 0] + r * row_bytes, start,
                min(STERN_CHUNK, n_values - start), layout, half,
                &counts[0, 0] + part * levels, isa,
            )


cdef void sum_row(
    const uint8_t *row, Py_ssize_t n_values, int layout, Py_ssize_t group_size,
    int64_t *sums, int isa,
) noexcept nogil:
    cdef:
        int8_t[STERN_CHUNK] codes
        Py_ssize_t chunk, start, i, stop, left = group_size, n
        int code, magnitudes, squares, largest
    for chunk in range(n_chunks(n_values)):
        start = chunk * STERN_CHUNK
        n = min(STERN_CHUNK, n_values - start)
        stern_codec_for(isa).unpack[layout](
            row + stern_packed_bytes(layout, start), n, codes
        )
        i = 0
        while i < n:
            stop = min(n, i + left)
            left -= stop - i
            magnitudes = squares = largest = 0
            while i < stop:
                code = -codes[i] if codes[i] < 0 else codes[i]
                magnitudes += code
                squares += code * code
                largest = max(largest, code)
                i += 1
            sums[0] += magnitudes
            sums[1] += squares
            sums[2] = max(sums[2], <int64_t>largest)
            if left == 0:
                left = group_size
                sums += 3


def code_sums(
    const uint8_t[:, ::1] packed,       # IN
    Py_ssize_t n_values,
    int layout,
    Py_ssize_t group_size,
    int64_t[:, :, ::1] sums,            # IN zeros, OUT: magnitudes, squares, largest
    int isa,
    int n_threads,
):
    cdef Py_ssize_t r, rows = packed.shape[0]
    if rows == 0 or n_values == 0:
        return
    for r in prange(
        rows, nogil=True, schedule="static", num_threads=min(n_threads, rows)
    ):
        sum_row(
            &packed[r, 0], n_values, layout, group_size, &sums[r, 0, 0], isa
        )


def find_invalid(
    const uint8_t[:, ::1] packed,       # IN
    int layout,
    int64_t[::1] first,                 # OUT, (parts,)
    int isa,
    int n_threads,
):
    """First invalid unit of each of `parts` parts of the units, flat, or -1."""
    cdef:
        Py_ssize_t size = stern_unit_bytes(layout), part, start
        Py_ssize_t units = packed.shape[0] * packed.shape[1] // size
        Py_ssize_t parts = first.shape[0]
    if units == 0:
        first[:] = -1
        return
    for part in prange(
        parts, nogil=True, schedule="static", num_threads=min(n_threads, parts)
    ):
        start = units * part // parts
        first[part] = stern_find_invalid(
            stern_codec_for(isa), &packed[0, 0] + start * size,
            (units * (part + 1) // parts - start) * size, layout,
        )
        if first[part] >= 0:
            first[part] += start
