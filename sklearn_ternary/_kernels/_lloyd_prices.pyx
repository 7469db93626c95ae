"""Rows that go where cost and price together are least."""

from cython cimport floating
from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stdint cimport int32_t

# Rows at a time: what is known of them stays in the innermost cache.
cdef enum:
    ROWS = 256


cdef void of_block(
    const floating *costs, Py_ssize_t stride, Py_ssize_t rows, Py_ssize_t k,
    const double *prices, int32_t *first, int32_t *second, double *least,
    double *elsewhere,
) noexcept nogil:
    """Clusters are numbered in doubles, so that all selections are of one width."""
    cdef:
        double best[ROWS]
        double after[ROWS]
        double at[ROWS]
        double beside[ROWS]
        double total, price, number, a, b, x, y
        Py_ssize_t j, r
    for r in range(ROWS):
        best[r] = after[r] = INFINITY
        at[r] = beside[r] = 0
    for j in range(k):
        price, number = prices[j], <double> j
        for r in range(rows):
            total = costs[r] + price
            b, a, x, y = best[r], after[r], at[r], beside[r]
            y = number if total < a else y
            a = total if total < a else a
            beside[r] = x if total < b else y
            after[r] = b if total < b else a
            at[r] = number if total < b else x
            best[r] = total if total < b else b
        costs += stride
    for r in range(rows):
        first[r], second[r] = <int32_t> at[r], <int32_t> beside[r]
        least[r], elsewhere[r] = best[r], after[r]


def cheapest(
    const floating[:, ::1] costs,       # IN, (k, n)
    const double[::1] prices,           # IN, (k,)
    int32_t[::1] first,                 # OUT, (n,)
    int32_t[::1] second,
    double[::1] least,
    double[::1] elsewhere,
    int n_threads,
):
    """The two clusters where cost and price are least, and the sums there."""
    cdef:
        Py_ssize_t k = costs.shape[0], n = costs.shape[1], block, i
        Py_ssize_t blocks = (n + ROWS - 1) // ROWS
    for block in prange(
        blocks, nogil=True, schedule="static",
        num_threads=max(1, min(n_threads, blocks)),
    ):
        i = block * ROWS
        of_block(
            &costs[0, i], n, min(<Py_ssize_t> ROWS, n - i), k, &prices[0], &first[i],
            &second[i], &least[i], &elsewhere[i],
        )
