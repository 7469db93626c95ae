"""Integer codes with a zero point."""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport rint, rintf
from libc.stdint cimport int8_t


cdef inline floating rounded(floating x) noexcept nogil:
    if floating is float:
        return rintf(x)
    else:
        return rint(x)


def affine_codes(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] scale,       # IN
    const floating[:, ::1] zero_point,  # IN
    Py_ssize_t group_size,
    int lowest,
    int highest,
    int8_t[:, ::1] codes,               # OUT
    int n_threads,
):
    cdef:
        Py_ssize_t r, j, g, end, sr, zr
        floating s, q
    for r in prange(
        X.shape[0], nogil=True, schedule="static",
        num_threads=max(1, min(n_threads, X.shape[0])),
    ):
        sr = r if scale.shape[0] > 1 else 0
        zr = r if zero_point.shape[0] > 1 else 0
        for g in range(scale.shape[1]):
            s = scale[sr, g]
            end = min((g + 1) * group_size, X.shape[1])
            for j in range(g * group_size, end):
                q = zero_point[zr, g]
                if s != 0:
                    q = rounded(X[r, j] / s) + q
                codes[r, j] = <int8_t>min(max(q, <floating>lowest), <floating>highest)


def affine_values(
    const int8_t[:, ::1] codes,         # IN
    const floating[:, ::1] scale,       # IN
    const floating[:, ::1] zero_point,  # IN
    Py_ssize_t group_size,
    floating[:, ::1] values,            # OUT
    int n_threads,
):
    cdef:
        Py_ssize_t r, j, g, end, sr, zr
        floating s, z
    for r in prange(
        codes.shape[0], nogil=True, schedule="static",
        num_threads=max(1, min(n_threads, codes.shape[0])),
    ):
        sr = r if scale.shape[0] > 1 else 0
        zr = r if zero_point.shape[0] > 1 else 0
        for g in range(scale.shape[1]):
            s = scale[sr, g]
            z = zero_point[zr, g]
            end = min((g + 1) * group_size, codes.shape[1])
            for j in range(g * group_size, end):
                values[r, j] = (codes[r, j] - z) * s
