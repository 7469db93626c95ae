"""Which tokens of a vocabulary can come next."""

from libc.stdint cimport int64_t


def keep(
    double[::1] values,  # IN and OUT
    int64_t[::1] ids,  # IN and OUT
    double threshold,
    Py_ssize_t n_equal,
):
    """Move what is kept to the front, in order; return how many that are.

    Kept is what is above the threshold, and the first `n_equal` that equal it.
    """
    cdef Py_ssize_t i, n = 0
    cdef bint above, equal
    cdef double value
    with nogil:
        for i in range(values.shape[0]):
            value = values[i]
            above = value > threshold
            equal = (value == threshold) & (n_equal > 0)
            n_equal -= equal
            values[n] = value
            ids[n] = ids[i]
            n += above | equal
    return n
