"""The steps of k-means.

Rows are worked on in blocks of fixed size, whatever the number of threads, and
nothing is summed across threads: partial sums are those of fixed slices of rows,
which the caller adds in order.
"""

from cython cimport floating
from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from sklearn_ternary._kernels._lloyd_loops cimport (
    BLOCK,
    COLUMNS,
    POTENTIAL,
    STERN_LLOYD_BLOCK,
    STERN_LLOYD_SCREEN,
    STERN_LLOYD_SPLIT_FROM,
    STERN_LLOYD_TILE,
    rows_of,
    stern_lloyd_begin,
    stern_lloyd_certainty,
    stern_lloyd_f32_for,
    stern_lloyd_f64_for,
    stern_lloyd_iterate,
    stern_lloyd_loop,
    stern_lloyd_room,
    stern_lloyd_run,
    stern_lloyd_sizes,
    stern_lloyd_slice,
)
from sklearn_ternary._kernels._openmp cimport omp_get_num_threads, omp_get_thread_num

BLOCK_ROWS = STERN_LLOYD_BLOCK
SCREEN_ROWS = STERN_LLOYD_SCREEN
SPLIT_FROM = STERN_LLOYD_SPLIT_FROM


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


def certainty(Py_ssize_t n_features, double largest, int bits):
    """Alpha and beta of the test that tells rows whose label is certain."""
    cdef double alpha, beta
    stern_lloyd_certainty(n_features, largest, bits, &alpha, &beta)
    return alpha, beta


def room(
    int bits, Py_ssize_t d, Py_ssize_t k, Py_ssize_t n_groups, Py_ssize_t group_size,
    double step, Py_ssize_t block, int isa,
):
    """Values, floats and words for the centres; values and words for each thread."""
    cdef:
        stern_lloyd_run run
        stern_lloyd_sizes sizes
    run.bits, run.d, run.k, run.step, run.block = bits, d, k, step, block
    run.isa = isa
    run.n_groups, run.group_size = n_groups, group_size
    sizes = stern_lloyd_room(&run)
    return sizes.values, sizes.moves, sizes.words, sizes.scratch, sizes.found


cdef stern_lloyd_run run_on(
    const floating[:, ::1] X,           # IN
    Py_ssize_t k,
    floating scale,
    const floating[::1] shift,          # IN
    floating[:, :, ::1] tiles,          # IN, or OUT with `fill`, or of length 0
    const uint8_t[:, :, :, ::1] codes,  # IN, of the first rows
    const floating[:, :, ::1] lengths,  # IN, of the first rows
    floating step,                      # of the codes, or 0
    double share,                       # of their bound that is allowed for
    int32_t[::1] labels,                # INOUT
    float[::1] upper,                   # INOUT, or of length 0
    float[:, :] lower,                  # INOUT, (groups, n), of contiguous groups
    Py_ssize_t group_size,
    bint first,
    floating[::1] values,               # room for the centres
    float[::1] moves,
    int32_t[::1] words,
    Py_ssize_t block,
    int isa,
    int code_isa,
):
    """What steps on these rows share."""
    cdef stern_lloyd_run run
    run.bits = 8 * sizeof(floating)
    run.isa, run.code_isa = isa, code_isa
    run.n, run.d, run.k = X.shape[0], X.shape[1], k
    run.scale, run.shift, run.x = scale, &shift[0], &X[0, 0]
    run.weight = run.tiles = run.lengths = NULL
    run.codes, run.coded_rows = NULL, codes.shape[0] * STERN_LLOYD_TILE
    if tiles.shape[0]:
        run.tiles, run.tile_rows = &tiles[0, 0, 0], tiles.shape[1]
    if codes.shape[0]:
        run.codes, run.lengths = &codes[0, 0, 0, 0], &lengths[0, 0, 0]
    run.step, run.share, run.first, run.fill = step, share, first, False
    run.labels = &labels[0]
    run.upper = run.lower = NULL
    run.n_groups, run.group_size, run.stride = 0, group_size, 0
    if upper.shape[0]:
        run.upper, run.lower, run.n_groups = &upper[0], &lower[0, 0], lower.shape[0]
        run.stride = lower.strides[0] // <Py_ssize_t> sizeof(float)
    run.slice_rows, run.block, run.slices = block, block, (run.n + block - 1) // block
    run.sums = run.totals = NULL
    run.counts = NULL
    run.values, run.moves, run.words = &values[0], &moves[0], &words[0]
    return run


cdef Py_ssize_t all_slices(
    const stern_lloyd_run *run, void *scratch, Py_ssize_t size, int32_t *found,
    Py_ssize_t n_found, Py_ssize_t chunk, int n_threads,
):
    """Work on all slices, each thread with scratch of its own; labels that changed."""
    cdef Py_ssize_t s, changed = 0
    for s in prange(
        run.slices, nogil=True, schedule="dynamic", chunksize=chunk,
        num_threads=n_threads,
    ):
        changed += stern_lloyd_slice(
            run, s, <char *> scratch + threadid() * size, found + threadid() * n_found
        )
    return changed


def find_labels(
    const floating[:, ::1] X,           # IN; to code_isa as of `run_on`
    const floating[:, ::1] centers,     # IN
    floating scale,
    const floating[::1] shift,
    floating[:, :, ::1] tiles,
    const uint8_t[:, :, :, ::1] codes,
    const floating[:, :, ::1] lengths,
    floating step,
    double share,
    int32_t[::1] labels,
    float[::1] upper,
    float[:, :] lower,
    Py_ssize_t group_size,
    bint first,
    floating[::1] values,
    float[::1] moves,
    int32_t[::1] words,
    Py_ssize_t block,
    int isa,
    int code_isa,
    floating[:, ::1] scratch,           # (threads, values)
    int32_t[:, ::1] found,              # (threads, words)
    const float[::1] moved,             # IN, (k,)
):
    """Labels of the rows, and bounds."""
    cdef stern_lloyd_run run
    if not X.shape[0]:
        return
    run = run_on(
        X, centers.shape[0], scale, shift, tiles, codes, lengths, step, share, labels,
        upper, lower, group_size, first, values, moves, words, block, isa, code_isa,
    )
    memcpy(run.moves, &moved[0], moved.shape[0] * sizeof(float))
    with nogil:
        stern_lloyd_begin(&run, &centers[0, 0])
    all_slices(
        &run, &scratch[0, 0], scratch.shape[1] * sizeof(floating), &found[0, 0],
        found.shape[1], 4, scratch.shape[0],
    )


def iterate(
    const floating[:, ::1] X,           # IN; to code_isa as of `run_on`
    floating[:, :, ::1] centers,        # INOUT, (3, k, d): those of now and before
    floating scale,
    const floating[::1] shift,
    floating[:, :, ::1] tiles,
    const uint8_t[:, :, :, ::1] codes,
    const floating[:, :, ::1] lengths,
    floating step,
    double share,
    int32_t[::1] labels,
    float[::1] upper,
    float[:, :] lower,
    Py_ssize_t group_size,
    bint first,
    floating[::1] values,
    float[::1] moves,
    int32_t[::1] words,
    Py_ssize_t block,
    int isa,
    int code_isa,
    floating[:, ::1] scratch,           # (threads, values)
    int32_t[:, ::1] found,              # (threads, words)
    const floating[::1] weight,         # IN, or of length 0
    double[:, :, ::1] sums,             # INOUT, (slices, k, d)
    double[:, ::1] totals,              # INOUT, (slices, k)
    int64_t[:, ::1] counts,             # INOUT, (slices, k)
    Py_ssize_t slice_rows,
    bint fill,                          # tiles are room for parts for the tile unit
    Py_ssize_t max_iter,
    double tol,
    int64_t longest,                    # nanoseconds between calls of
    come_back,
):
    """Iterations until one is the last, or a cluster is empty.

    Which of the centres are those of now, or -1 for none, and before; iterations made,
    whether the labels stayed as they were, and the square of what the centres moved.
    """
    cdef:
        stern_lloyd_run run = run_on(
            X, centers.shape[1], scale, shift, tiles, codes, lengths, step, share,
            labels, upper, lower, group_size, first, values, moves, words, block, isa,
            code_isa,
        )
        Py_ssize_t i, now, before, size = centers.shape[1] * centers.shape[2]
        stern_lloyd_loop loop
        int team = <int> min(scratch.shape[0], sums.shape[0])
    if weight.shape[0]:
        run.weight = &weight[0]
    run.sums, run.totals, run.counts = &sums[0, 0, 0], &totals[0, 0], &counts[0, 0]
    run.slice_rows, run.slices, run.fill = slice_rows, sums.shape[0], fill
    memset(&loop, 0, sizeof(loop))
    for i in range(3):
        loop.centers[i] = &centers[i, 0, 0]
    loop.scratch, loop.found = <char *> &scratch[0, 0], &found[0, 0]
    loop.scratch_bytes = scratch.shape[1] * sizeof(floating)
    loop.n_found = found.shape[1]
    loop.max_iter, loop.tol, loop.longest = max_iter, tol, longest
    while True:
        loop.pause = False
        with nogil, parallel(num_threads=team):
            stern_lloyd_iterate(
                &run, &loop, omp_get_thread_num(), omp_get_num_threads()
            )
        if loop.ended:
            break
        come_back()
    now = (<floating *> loop.centers[0] - &centers[0, 0, 0]) // size
    before = (<floating *> loop.centers[1] - &centers[0, 0, 0]) // size
    if loop.shift < 0:
        return -1, now, loop.n_iter, bool(loop.changed == 0), 0.0
    return now, before, loop.n_iter, bool(loop.changed == 0), loop.shift


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
                NULL,
            )
        else:
            stern_lloyd_f64_for(isa).move_rows(
                &X[0, 0] + i * d, rows_of(s, slice_rows, n), d, first, end, w,
                &old_labels[i], &labels[i], &sums[0, 0, 0] + s * k * d, total, count,
                NULL,
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
