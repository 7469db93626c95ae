"""Integer codes with a zero point."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int8_t

from sklearn_ternary._kernels._loops cimport (
    STERN_CHUNK,
    n_chunks,
    stern_affine_codes_f32,
    stern_affine_codes_f64,
    stern_affine_values_f32,
    stern_affine_values_f64,
    stern_f32_for,
    stern_f64_for,
)


def affine_codes(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] scale,       # IN
    const floating[:, ::1] zero_point,  # IN
    Py_ssize_t group_size,
    int lowest,
    int highest,
    int8_t[:, ::1] codes,               # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = X.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if scale.shape[0] == 1 else scale.shape[1]
        Py_ssize_t zero_stride = 0 if zero_point.shape[0] == 1 else zero_point.shape[1]
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
            stern_affine_codes_f32(
                stern_f32_for(isa), &X[0, 0] + r * K, start, end,
                &scale[0, 0] + r * stride, &zero_point[0, 0] + r * zero_stride,
                group_size, lowest, highest, &codes[0, 0] + r * K + start,
            )
        else:
            stern_affine_codes_f64(
                stern_f64_for(isa), &X[0, 0] + r * K, start, end,
                &scale[0, 0] + r * stride, &zero_point[0, 0] + r * zero_stride,
                group_size, lowest, highest, &codes[0, 0] + r * K + start,
            )


def affine_values(
    const int8_t[:, ::1] codes,         # IN
    const floating[:, ::1] scale,       # IN
    const floating[:, ::1] zero_point,  # IN
    Py_ssize_t group_size,
    floating[:, ::1] values,            # OUT
    int isa,
    int n_threads,
):
    cdef:
        Py_ssize_t K = codes.shape[1], chunks = n_chunks(K), item, r, start, end
        Py_ssize_t stride = 0 if scale.shape[0] == 1 else scale.shape[1]
        Py_ssize_t zero_stride = 0 if zero_point.shape[0] == 1 else zero_point.shape[1]
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
            stern_affine_values_f32(
                stern_f32_for(isa), &codes[0, 0] + r * K, start, end,
                &scale[0, 0] + r * stride, &zero_point[0, 0] + r * zero_stride,
                group_size, &values[0, 0] + r * K + start,
            )
        else:
            stern_affine_values_f64(
                stern_f64_for(isa), &codes[0, 0] + r * K, start, end,
                &scale[0, 0] + r * stride, &zero_point[0, 0] + r * zero_stride,
                group_size, &values[0, 0] + r * K + start,
            )
