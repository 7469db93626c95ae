# The C functions of lloyd.h, as Cython sees them, and what the steps of k-means share.
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "lloyd.h" nogil:
    enum:
        STERN_LLOYD_TILE
        STERN_LLOYD_BLOCK
        STERN_LLOYD_SCREEN
        STERN_LLOYD_AMX
        STERN_LLOYD_SPLIT_FROM

    ctypedef struct stern_lloyd_run:
        int bits, isa, code_isa
        Py_ssize_t n, d, k
        double scale, step, share
        const void *shift
        const void *x
        const void *weight
        void *tiles
        Py_ssize_t tile_rows, coded_rows
        bint fill
        const uint8_t *codes
        const void *lengths
        bint first
        int32_t *labels
        float *upper
        float *lower
        Py_ssize_t n_groups, group_size, stride, slice_rows, block, slices
        double *sums
        double *totals
        int64_t *counts
        void *values
        float *moves
        int32_t *words

    ctypedef struct stern_lloyd_sizes:
        Py_ssize_t values, moves, words, scratch, found

    stern_lloyd_sizes stern_lloyd_room(const stern_lloyd_run *) noexcept
    void stern_lloyd_begin(stern_lloyd_run *, const void *) noexcept nogil
    Py_ssize_t stern_lloyd_slice(
        const stern_lloyd_run *, Py_ssize_t, void *, int32_t *
    ) noexcept nogil

    ctypedef struct stern_lloyd_loop:
        void *centers[3]
        char *scratch
        int32_t *found
        Py_ssize_t scratch_bytes, n_found, n_iter, max_iter, changed
        double tol, shift
        int ended, pause
        int64_t longest

    void stern_lloyd_iterate(
        stern_lloyd_run *, stern_lloyd_loop *, int, int
    ) noexcept nogil
    void stern_lloyd_certainty(
        Py_ssize_t, double, int, double *, double *
    ) noexcept

    ctypedef struct stern_lloyd_f32:
        int group
        void (*pack)(
            const float *, Py_ssize_t, Py_ssize_t, float, const float *, float *
        ) noexcept nogil
        void (*rotate)(float *, Py_ssize_t) noexcept nogil
        void (*encode)(
            const float *, Py_ssize_t, float, uint8_t *, float *
        ) noexcept nogil
        void (*potentials)(
            const float *, Py_ssize_t, Py_ssize_t, float, const float *, const float *,
            float *, const float *, int, const float *, const float *, float *,
            Py_ssize_t, double *
        ) noexcept nogil
        Py_ssize_t (*move_rows)(
            const float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
            const float *, const int32_t *, const int32_t *, double *, double *,
            int64_t *, uint8_t *
        ) noexcept nogil
        void (*label_distances)(
            const float *, Py_ssize_t, Py_ssize_t, const float *, const int32_t *,
            double *
        ) noexcept nogil
        void (*nearest_csr)(
            const float *, const int32_t *, const int32_t *, Py_ssize_t,
            const double *, const double *, Py_ssize_t, double *, int32_t *
        ) noexcept nogil

    ctypedef struct stern_lloyd_f64:
        int group
        void (*pack)(
            const double *, Py_ssize_t, Py_ssize_t, double, const double *, double *
        ) noexcept nogil
        void (*rotate)(double *, Py_ssize_t) noexcept nogil
        void (*encode)(
            const double *, Py_ssize_t, double, uint8_t *, double *
        ) noexcept nogil
        void (*potentials)(
            const double *, Py_ssize_t, Py_ssize_t, double, const double *,
            const double *, double *, const double *, int, const double *,
            const double *, double *, Py_ssize_t, double *
        ) noexcept nogil
        Py_ssize_t (*move_rows)(
            const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
            const double *, const int32_t *, const int32_t *, double *, double *,
            int64_t *, uint8_t *
        ) noexcept nogil
        void (*label_distances)(
            const double *, Py_ssize_t, Py_ssize_t, const double *, const int32_t *,
            double *
        ) noexcept nogil
        void (*nearest_csr)(
            const double *, const int32_t *, const int32_t *, Py_ssize_t,
            const double *, const double *, Py_ssize_t, double *, int32_t *
        ) noexcept nogil

    const stern_lloyd_f32 *stern_lloyd_f32_for(int isa) noexcept
    const stern_lloyd_f64 *stern_lloyd_f64_for(int isa) noexcept
    void stern_move_rows_csr_f32(
        const float *, const int32_t *, const int32_t *, Py_ssize_t, Py_ssize_t,
        Py_ssize_t, const float *, const int32_t *, const int32_t *, double *,
        double *, int64_t *
    ) noexcept
    void stern_move_rows_csr_f64(
        const double *, const int32_t *, const int32_t *, Py_ssize_t, Py_ssize_t,
        Py_ssize_t, const double *, const int32_t *, const int32_t *, double *,
        double *, int64_t *
    ) noexcept
    void stern_label_distances_csr_f32(
        const float *, const int32_t *, const int32_t *, Py_ssize_t, Py_ssize_t,
        Py_ssize_t, const float *, const double *, const int32_t *, double *
    ) noexcept
    void stern_label_distances_csr_f64(
        const double *, const int32_t *, const int32_t *, Py_ssize_t, Py_ssize_t,
        Py_ssize_t, const double *, const double *, const int32_t *, double *
    ) noexcept

cdef enum:
    BLOCK = STERN_LLOYD_BLOCK  # rows of a work item without sums
    COLUMNS = 256              # columns of a work item of the sums
    POTENTIAL = 1024           # rows of a partial sum of the potential


cdef inline Py_ssize_t rows_of(
    Py_ssize_t item, Py_ssize_t size, Py_ssize_t n
) noexcept nogil:
    """Rows of a work item that starts at row item * size."""
    return max(0, min(size, n - item * size))
