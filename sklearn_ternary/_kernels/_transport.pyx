"""Rows that go to clusters of limited sizes at the least cost."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

cdef extern from "transport.h" nogil:
    enum:
        STERN_TRANSPORT_BLOCK

    ctypedef struct stern_paths_f32:
        Py_ssize_t n, k
        const float *costs
        int32_t *labels
        int64_t *given
        int64_t *surplus
        int64_t smallest, largest
        double tolerance
        double *lengths
        int32_t *row
        int32_t *rows
        int32_t *nodes
        double *paid
        double *distance

    ctypedef struct stern_paths_f64:
        Py_ssize_t n, k
        const double *costs
        int32_t *labels
        int64_t *given
        int64_t *surplus
        int64_t smallest, largest
        double tolerance
        double *lengths
        int32_t *row
        int32_t *rows
        int32_t *nodes
        double *paid
        double *distance

    void stern_follow_paths_f32(stern_paths_f32 *) noexcept
    void stern_follow_paths_f64(stern_paths_f64 *) noexcept

    ctypedef void (*stern_cheapest_f32)(
        const float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, int32_t *,
        int32_t *, double *, double *
    ) noexcept nogil
    ctypedef void (*stern_cheapest_f64)(
        const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, int32_t *,
        int32_t *, double *, double *
    ) noexcept nogil
    stern_cheapest_f32 stern_cheapest_f32_for(int isa) noexcept
    stern_cheapest_f64 stern_cheapest_f64_for(int isa) noexcept


def cheapest(
    const floating[:, ::1] costs,       # IN, (k, n)
    const double[::1] prices,           # IN, (k,)
    int32_t[::1] first,                 # OUT, (n,)
    int32_t[::1] second,
    double[::1] least,
    double[::1] elsewhere,
    int isa,
    int n_threads,
):
    """The two clusters where cost and price are least, and the sums there."""
    cdef:
        Py_ssize_t k = costs.shape[0], n = costs.shape[1], block, i, rows
        Py_ssize_t size = STERN_TRANSPORT_BLOCK
        Py_ssize_t blocks = (n + size - 1) // size
        stern_cheapest_f32 of_f32 = stern_cheapest_f32_for(isa)
        stern_cheapest_f64 of_f64 = stern_cheapest_f64_for(isa)
    for block in prange(
        blocks, nogil=True, schedule="static",
        num_threads=max(1, min(n_threads, blocks)),
    ):
        i = block * size
        rows = min(size, n - i)
        if floating is float:
            of_f32(
                &costs[0, i], n, rows, k, &prices[0], &first[i], &second[i],
                &least[i], &elsewhere[i],
            )
        else:
            of_f64(
                &costs[0, i], n, rows, k, &prices[0], &first[i], &second[i],
                &least[i], &elsewhere[i],
            )


def follow_paths(
    const floating[:, ::1] costs,       # IN, (k, n)
    int32_t[::1] labels,                # IN and OUT, (n,)
    int64_t[::1] given,                 # IN and OUT, (k,)
    int64_t[::1] surplus,               # IN and OUT, (k + 1,)
    int64_t smallest,
    int64_t largest,
    double tolerance,
    double[:, ::1] lengths,             # OUT, (k + 1, k + 1)
    int32_t[:, ::1] row,                # scratch, (k, k)
    int32_t[:, ::1] rows,               # scratch, (2, n)
    int32_t[:, ::1] nodes,              # scratch, (4, k + 1)
    double[::1] paid,                   # scratch, (n,)
    double[:, ::1] distance,            # scratch, (2, k + 1)
):
    """Move rows along shortest paths between the clusters."""
    cdef:
        stern_paths_f32 f32
        stern_paths_f64 f64
    if floating is float:
        f32 = stern_paths_f32(
            costs.shape[1], costs.shape[0], &costs[0, 0], &labels[0], &given[0],
            &surplus[0], smallest, largest, tolerance, &lengths[0, 0], &row[0, 0],
            &rows[0, 0], &nodes[0, 0], &paid[0], &distance[0, 0],
        )
        with nogil:
            stern_follow_paths_f32(&f32)
    else:
        f64 = stern_paths_f64(
            costs.shape[1], costs.shape[0], &costs[0, 0], &labels[0], &given[0],
            &surplus[0], smallest, largest, tolerance, &lengths[0, 0], &row[0, 0],
            &rows[0, 0], &nodes[0, 0], &paid[0], &distance[0, 0],
        )
        with nogil:
            stern_follow_paths_f64(&f64)
