"""The steps of k-means.

Rows are worked on in blocks of fixed size, whatever the number of threads, and
nothing is summed across threads: partial sums are those of fixed slices of rows,
which the caller adds in order.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

cdef extern from "lloyd.h" nogil:
    enum:
        STERN_LLOYD_TILE
        STERN_LLOYD_BLOCK

    ctypedef struct stern_centers_f32:
        Py_ssize_t d, k
        float scale
        const float *shift
        const float *centers
        const float *packed
        const float *init
        float alpha, beta

    ctypedef struct stern_centers_f64:
        Py_ssize_t d, k
        double scale
        const double *shift
        const double *centers
        const double *packed
        const double *init
        double alpha, beta

    ctypedef struct stern_lloyd_f32:
        int group
        void (*pack)(
            const float *, Py_ssize_t, Py_ssize_t, float, const float *, float *
        ) noexcept nogil
        void (*nearest)(
            const stern_centers_f32 *, const float *, Py_ssize_t, const float *,
            float *, int32_t *
        ) noexcept nogil
        void (*nearest_bounded)(
            const stern_centers_f32 *, const float *, Py_ssize_t, const float *,
            float *, int32_t *, float *, const float *, const float *
        ) noexcept nogil
        void (*potentials)(
            const float *, Py_ssize_t, Py_ssize_t, float, const float *, const float *,
            float *, const float *, int, const float *, const float *, float *,
            Py_ssize_t, double *
        ) noexcept nogil
        void (*move_rows)(
            const float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
            const float *, const int32_t *, const int32_t *, double *, double *,
            int64_t *
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
        void (*nearest)(
            const stern_centers_f64 *, const double *, Py_ssize_t, const double *,
            double *, int32_t *
        ) noexcept nogil
        void (*nearest_bounded)(
            const stern_centers_f64 *, const double *, Py_ssize_t, const double *,
            double *, int32_t *, double *, const double *, const double *
        ) noexcept nogil
        void (*potentials)(
            const double *, Py_ssize_t, Py_ssize_t, double, const double *,
            const double *, double *, const double *, int, const double *,
            const double *, double *, Py_ssize_t, double *
        ) noexcept nogil
        void (*move_rows)(
            const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
            const double *, const int32_t *, const int32_t *, double *, double *,
            int64_t *
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
    double stern_pack_centers_f32(
        const float *, Py_ssize_t, Py_ssize_t, float, const float *, int, float *,
        float *
    ) noexcept
    double stern_pack_centers_f64(
        const double *, Py_ssize_t, Py_ssize_t, double, const double *, int, double *,
        double *
    ) noexcept
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

BLOCK_ROWS = STERN_LLOYD_BLOCK

cdef enum:
    BLOCK = STERN_LLOYD_BLOCK  # rows of a work item without sums
    COLUMNS = 256              # columns of a work item of the sums
    POTENTIAL = 1024           # rows of a partial sum of the potential


cdef inline Py_ssize_t rows_of(
    Py_ssize_t item, Py_ssize_t size, Py_ssize_t n
) noexcept nogil:
    """Rows of a work item that starts at row item * size."""
    return min(size, n - item * size)


def group_size(int isa, floating[::1] like):
    """Most centres of a group, for the dtype of an array."""
    if floating is float:
        return stern_lloyd_f32_for(isa).group
    else:
        return stern_lloyd_f64_for(isa).group


def row_tiles(
    const floating[:, ::1] X,           # IN
    floating scale,
    const floating[::1] shift,          # IN
    floating[:, :, ::1] tiles,          # OUT, (tiles, d + 1, 32)
    int isa,
    int n_threads,
):
    """Rows in tiles."""
    cdef:
        Py_ssize_t n = X.shape[0], d = X.shape[1], items = tiles.shape[0], item
        const floating *x = NULL
        floating *tile = NULL
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        x = &X[0, 0] + item * STERN_LLOYD_TILE * d
        tile = &tiles[0, 0, 0] + item * STERN_LLOYD_TILE * (d + 1)
        if floating is float:
            stern_lloyd_f32_for(isa).pack(
                x, rows_of(item, STERN_LLOYD_TILE, n), d, scale, &shift[0], tile
            )
        else:
            stern_lloyd_f64_for(isa).pack(
                x, rows_of(item, STERN_LLOYD_TILE, n), d, scale, &shift[0], tile
            )


def pack_centers(
    const floating[:, ::1] centers,     # IN
    floating scale,
    const floating[::1] shift,          # IN
    floating[::1] packed,               # OUT, as many values as centers
    floating[::1] init,                 # OUT
    int isa,
):
    """Pack the centres; the largest squared norm of them, in the frame."""
    if floating is float:
        return stern_pack_centers_f32(
            &centers[0, 0], centers.shape[0], centers.shape[1], scale, &shift[0],
            stern_lloyd_f32_for(isa).group, &packed[0], &init[0],
        )
    else:
        return stern_pack_centers_f64(
            &centers[0, 0], centers.shape[0], centers.shape[1], scale, &shift[0],
            stern_lloyd_f64_for(isa).group, &packed[0], &init[0],
        )


def nearest_centers(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] centers,     # IN
    floating scale,
    const floating[::1] shift,          # IN
    const floating[::1] packed,         # IN
    const floating[::1] init,           # IN
    floating alpha,
    floating beta,
    const floating[:, :, ::1] tiles,    # IN, or of length 0
    floating[:, ::1] scratch,           # (parts, (d + 1) * 32)
    int32_t[::1] labels,                # OUT; IN as well with bounds
    floating[:, ::1] bounds,            # INOUT, (n, 2), or of length 0
    const floating[::1] moved,          # IN, with bounds
    const floating[::1] others,         # IN, with bounds
    int isa,
):
    """Labels of the rows, on as many threads as there are parts of scratch."""
    cdef:
        Py_ssize_t n = X.shape[0], d = X.shape[1], item, part, i
        Py_ssize_t items = (n + BLOCK - 1) // BLOCK, parts = scratch.shape[0]
        Py_ssize_t tile_size = (d + 1) * STERN_LLOYD_TILE, rows
        bint tiled = tiles.shape[0] > 0, bounded = bounds.shape[0] > 0
        stern_centers_f32 c32
        stern_centers_f64 c64
        floating *own = NULL
        floating *bound = NULL
        const floating *tile = NULL
        const floating *x = NULL
        const floating *moves = &moved[0] if bounded else NULL
        const floating *largest = &others[0] if bounded else NULL
    if items == 0:
        return
    if floating is float:
        c32 = stern_centers_f32(
            d, centers.shape[0], scale, &shift[0], &centers[0, 0], &packed[0],
            &init[0], alpha, beta,
        )
    else:
        c64 = stern_centers_f64(
            d, centers.shape[0], scale, &shift[0], &centers[0, 0], &packed[0],
            &init[0], alpha, beta,
        )
    for part in prange(parts, nogil=True, schedule="static", num_threads=parts):
        own = &scratch[0, 0] + part * scratch.shape[1]
        for item in range(items * part // parts, items * (part + 1) // parts):
            i = item * BLOCK
            x = &X[0, 0] + i * d
            rows = rows_of(item, BLOCK, n)
            tile = NULL
            if tiled:
                tile = &tiles[0, 0, 0] + i // STERN_LLOYD_TILE * tile_size
            bound = &bounds[0, 0] + 2 * i if bounded else NULL
            if floating is float:
                if bounded:
                    stern_lloyd_f32_for(isa).nearest_bounded(
                        &c32, x, rows, tile, own, &labels[i], bound, moves, largest
                    )
                else:
                    stern_lloyd_f32_for(isa).nearest(
                        &c32, x, rows, tile, own, &labels[i]
                    )
            else:
                if bounded:
                    stern_lloyd_f64_for(isa).nearest_bounded(
                        &c64, x, rows, tile, own, &labels[i], bound, moves, largest
                    )
                else:
                    stern_lloyd_f64_for(isa).nearest(
                        &c64, x, rows, tile, own, &labels[i]
                    )


def potentials(
    const floating[:, ::1] X,           # IN
    floating scale,
    const floating[::1] shift,          # IN
    const floating[:, :, ::1] tiles,    # IN, or of length 0
    floating[:, ::1] scratch,           # (parts, (d + 1) * 32)
    const floating[::1] candidates,     # IN, packed, n_candidates * d
    int n_candidates,
    const floating[::1] weight,         # IN, or of length 0
    const floating[::1] closest,        # IN
    floating[:, ::1] minima,            # OUT, (n_candidates, n), or of length 0
    double[:, ::1] potential,           # OUT, (chunks of POTENTIAL_ROWS, n_candidates)
    int isa,
):
    """Partial sums of the potential with each candidate as a further centre."""
    cdef:
        Py_ssize_t n = X.shape[0], d = X.shape[1], item, part, i, rows
        Py_ssize_t items = potential.shape[0], parts = scratch.shape[0]
        Py_ssize_t tile_size = (d + 1) * STERN_LLOYD_TILE
        bint tiled = tiles.shape[0] > 0, weighted = weight.shape[0] > 0
        floating *own = NULL
        const floating *tile = NULL
        const floating *x = NULL
        const floating *w = NULL
        floating *kept = NULL
        bint keeping = minima.shape[0] > 0
    for part in prange(parts, nogil=True, schedule="static", num_threads=parts):
        own = &scratch[0, 0] + part * scratch.shape[1]
        for item in range(items * part // parts, items * (part + 1) // parts):
            i = item * POTENTIAL
            x = &X[0, 0] + i * d
            rows = rows_of(item, POTENTIAL, n)
            tile = NULL
            if tiled:
                tile = &tiles[0, 0, 0] + i // STERN_LLOYD_TILE * tile_size
            w = &weight[0] + i if weighted else NULL
            kept = &minima[0, 0] + i if keeping else NULL
            if floating is float:
                stern_lloyd_f32_for(isa).potentials(
                    x, rows, d, scale, &shift[0], tile, own, &candidates[0],
                    n_candidates, w, &closest[i], kept, n, &potential[item, 0],
                )
            else:
                stern_lloyd_f64_for(isa).potentials(
                    x, rows, d, scale, &shift[0], tile, own, &candidates[0],
                    n_candidates, w, &closest[i], kept, n, &potential[item, 0],
                )


def move_rows(
    const floating[:, ::1] X,           # IN
    const floating[::1] weight,         # IN, or of length 0
    const int32_t[::1] old_labels,      # IN
    const int32_t[::1] labels,          # IN
    double[:, :, ::1] sums,             # INOUT, (slices, k, d)
    double[:, ::1] totals,              # INOUT, (slices, k)
    int64_t[:, ::1] counts,             # INOUT, (slices, k)
    Py_ssize_t slice_rows,
    int isa,
    int n_threads,
):
    """Move rows between clusters; each slice of rows has sums of its own."""
    cdef:
        Py_ssize_t n = X.shape[0], d = X.shape[1], k = sums.shape[1]
        Py_ssize_t blocks = (d + COLUMNS - 1) // COLUMNS, items, item, s, i, first, end
        bint weighted = weight.shape[0] > 0
        const floating *w = NULL
        double *total = NULL
        int64_t *count = NULL
    items = sums.shape[0] * blocks
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        s = item // blocks
        i = s * slice_rows
        first = (item - s * blocks) * COLUMNS
        end = min(d, first + COLUMNS)
        w = &weight[0] + i if weighted else NULL
        # One of the blocks of columns keeps the totals.
        total = &totals[s, 0] if first == 0 else NULL
        count = &counts[s, 0] if first == 0 else NULL
        if floating is float:
            stern_lloyd_f32_for(isa).move_rows(
                &X[0, 0] + i * d, rows_of(s, slice_rows, n), d, first, end, w,
                &old_labels[i], &labels[i], &sums[0, 0, 0] + s * k * d, total, count,
            )
        else:
            stern_lloyd_f64_for(isa).move_rows(
                &X[0, 0] + i * d, rows_of(s, slice_rows, n), d, first, end, w,
                &old_labels[i], &labels[i], &sums[0, 0, 0] + s * k * d, total, count,
            )


def label_distances(
    const floating[:, ::1] X,           # IN
    const floating[:, ::1] centers,     # IN
    const int32_t[::1] labels,          # IN
    double[::1] distances,              # OUT
    int isa,
    int n_threads,
):
    """Squared distances of the rows to the centres of their labels."""
    cdef:
        Py_ssize_t n = X.shape[0], d = X.shape[1], item, i
        Py_ssize_t items = (n + BLOCK - 1) // BLOCK
    for item in prange(
        items, nogil=True, schedule="static", num_threads=max(1, min(n_threads, items))
    ):
        i = item * BLOCK
        if floating is float:
            stern_lloyd_f32_for(isa).label_distances(
                &X[0, 0] + i * d, rows_of(item, BLOCK, n), d, &centers[0, 0],
                &labels[i], &distances[i],
            )
        else:
            stern_lloyd_f64_for(isa).label_distances(
                &X[0, 0] + i * d, rows_of(item, BLOCK, n), d, &centers[0, 0],
                &labels[i], &distances[i],
            )


def nearest_centers_csr(
    const floating[::1] data,           # IN
    const int32_t[::1] indices,         # IN
    const int32_t[::1] indptr,          # IN
    const double[:, ::1] transposed,    # IN, (d, k padded to 8)
    const double[::1] init,             # IN, padded
    Py_ssize_t k,
    double[:, ::1] scratch,             # (parts, k padded to 8)
    int32_t[::1] labels,                # OUT
    int isa,
):
    """Labels of sparse rows, on as many threads as there are parts of scratch."""
    cdef:
        Py_ssize_t n = labels.shape[0], item, part, i
        Py_ssize_t items = (n + BLOCK - 1) // BLOCK, parts = scratch.shape[0]
        const floating *values = &data[0] if data.shape[0] else NULL
        const int32_t *columns = &indices[0] if indices.shape[0] else NULL
        double *own = NULL
    for part in prange(parts, nogil=True, schedule="static", num_threads=parts):
        own = &scratch[0, 0] + part * scratch.shape[1]
        for item in range(items * part // parts, items * (part + 1) // parts):
            i = item * BLOCK
            if floating is float:
                stern_lloyd_f32_for(isa).nearest_csr(
                    values, columns, &indptr[i], rows_of(item, BLOCK, n),
                    &transposed[0, 0], &init[0], k, own, &labels[i],
                )
            else:
                stern_lloyd_f64_for(isa).nearest_csr(
                    values, columns, &indptr[i], rows_of(item, BLOCK, n),
                    &transposed[0, 0], &init[0], k, own, &labels[i],
                )


def move_rows_csr(
    const floating[::1] data,           # IN
    const int32_t[::1] indices,         # IN
    const int32_t[::1] indptr,          # IN
    const floating[::1] weight,         # IN, or of length 0
    const int32_t[::1] old_labels,      # IN
    const int32_t[::1] labels,          # IN
    double[:, :, ::1] sums,             # INOUT, (slices, k, d)
    double[:, ::1] totals,              # INOUT, (slices, k)
    int64_t[:, ::1] counts,             # INOUT, (slices, k)
    Py_ssize_t slice_rows,
    int n_threads,
):
    """Move sparse rows between clusters."""
    cdef:
        Py_ssize_t n = labels.shape[0], items = sums.shape[0], item, start, end
        Py_ssize_t k = sums.shape[1], d = sums.shape[2]
        const floating *values = &data[0] if data.shape[0] else NULL
        const int32_t *columns = &indices[0] if indices.shape[0] else NULL
        const floating *w = &weight[0] if weight.shape[0] else NULL
    for item in prange(
        items, nogil=True, schedule="static", num_threads=min(n_threads, items)
    ):
        start = item * slice_rows
        end = start + rows_of(item, slice_rows, n)
        if floating is float:
            stern_move_rows_csr_f32(
                values, columns, &indptr[0], start, end, d, w, &old_labels[0],
                &labels[0], &sums[0, 0, 0] + item * k * d, &totals[item, 0],
                &counts[item, 0],
            )
        else:
            stern_move_rows_csr_f64(
                values, columns, &indptr[0], start, end, d, w, &old_labels[0],
                &labels[0], &sums[0, 0, 0] + item * k * d, &totals[item, 0],
                &counts[item, 0],
            )


def label_distances_csr(
    const floating[::1] data,           # IN
    const int32_t[::1] indices,         # IN
    const int32_t[::1] indptr,          # IN
    const floating[:, ::1] centers,     # IN
    const double[::1] squares,          # IN, squared norms of the centres
    const int32_t[::1] labels,          # IN
    double[::1] distances,              # OUT
    int n_threads,
):
    """Squared distances of sparse rows to the centres of their labels."""
    cdef:
        Py_ssize_t n = labels.shape[0], d = centers.shape[1], item
        Py_ssize_t items = (n + BLOCK - 1) // BLOCK, start, end
        const floating *values = &data[0] if data.shape[0] else NULL
        const int32_t *columns = &indices[0] if indices.shape[0] else NULL
    for item in prange(
        items, nogil=True, schedule="static", num_threads=max(1, min(n_threads, items))
    ):
        start = item * BLOCK
        end = start + rows_of(item, BLOCK, n)
        if floating is float:
            stern_label_distances_csr_f32(
                values, columns, &indptr[0], start, end, d, &centers[0, 0],
                &squares[0], &labels[0], &distances[0],
            )
        else:
            stern_label_distances_csr_f64(
                values, columns, &indptr[0], start, end, d, &centers[0, 0],
                &squares[0], &labels[0], &distances[0],
            )
