"""Columns of a matrix as rows."""

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy

# A tile is read by lines of the cache and written by runs of TALL values, so that
# columns a power of two apart do not drive each other out of the cache.
cdef enum:
    WIDE = 16
    TALL = 128


cdef void copy_tile(
    const floating *x, Py_ssize_t row_size, Py_ssize_t n_rows, Py_ssize_t n_columns,
    floating *out, Py_ssize_t out_size,
) noexcept nogil:
    cdef:
        floating tile[WIDE * TALL]
        Py_ssize_t r, c
    if n_columns == WIDE:
        for r in range(n_rows):
            for c in range(WIDE):
                tile[c * TALL + r] = x[r * row_size + c]
    else:
        for r in range(n_rows):
            for c in range(n_columns):
                tile[c * TALL + r] = x[r * row_size + c]
    for c in range(n_columns):
        memcpy(out + c * out_size, tile + c * TALL, n_rows * sizeof(floating))


def columns(
    const floating[:, ::1] X,           # IN
    Py_ssize_t start,
    floating[:, ::1] out,               # OUT, (columns, rows of X)
    int n_threads,
):
    """Copy the columns from `start` on, each to a row of `out`."""
    cdef:
        Py_ssize_t R = X.shape[0], K = X.shape[1], C = out.shape[0]
        Py_ssize_t across = (C + WIDE - 1) // WIDE, down = (R + TALL - 1) // TALL
        Py_ssize_t items = across * down, item, r, c
    for item in prange(
        items, nogil=True, schedule="static", num_threads=max(1, min(n_threads, items))
    ):
        r = item // across * TALL
        c = item % across * WIDE
        copy_tile[floating](
            &X[0, 0] + r * K + start + c, K, min(TALL, R - r), min(WIDE, C - c),
            &out[0, 0] + c * R + r, R,
        )
