"""Products with a ternary matrix, as src/matmul.h lays it out."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int8_t, int32_t, uint8_t, uint64_t

from sklearn_ternary._kernels._matmul_loops cimport (
    STERN_MM_AMX,
    STERN_MM_AVXVNNI,
    STERN_MM_DOTPROD,
    STERN_MM_PANEL,
    STERN_MM_R2,
    STERN_MM_RUN,
    STERN_MM_T2,
    STERN_MM_T5,
    STERN_MM_TOKENS,
    stern_matmul,
    stern_matmul_float,
    stern_matmul_for,
    stern_matmul_int8,
    stern_matmul_int8_for,
    stern_matmul_rows,
    stern_matrix,
    stern_mm_pack,
    stern_mm_row_runs,
    stern_mm_segments,
)

FORMATS = {"t2": STERN_MM_T2, "t5": STERN_MM_T5, "r2": STERN_MM_R2}
PANEL = STERN_MM_PANEL
AVXVNNI = STERN_MM_AVXVNNI
AMX = STERN_MM_AMX
DOTPROD = STERN_MM_DOTPROD

cdef enum:
    # Bytes of activations that are prepared at a time.
    PREPARED_BYTES = 1 << 20
    # Panels are gone through to and fro, in stretches of about so many bytes: what the
    # last product read last is still in the cache when the next begins with it. After
    # this many bytes of other matrices it is not, and forwards is faster.
    STRETCH_BYTES = 1 << 18
    CACHED_BYTES = 1 << 21

# Bytes of weights that were multiplied so far, by all products.
cdef Py_ssize_t multiplied = 0


def is_built(int level):
    """Whether there are loops of this level."""
    return stern_matmul_int8_for(level) != NULL


def quantize_activations(
    const float[:, ::1] X,              # IN
    int8_t[:, ::1] q,                   # OUT
    float[::1] step,                    # OUT
    int level,
    int n_threads,
):
    if X.shape[0]:
        quantize_rows(
            stern_matmul_for(level), &X[0, 0], X.shape[0], X.shape[1], &q[0, 0],
            &step[0], n_threads,
        )


cdef void quantize_rows(
    const stern_matmul *loops, const float *x, Py_ssize_t n, Py_ssize_t K, int8_t *q,
    float *step, int n_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if n == 1:
        # A region of one thread would take longer than the row.
        step[0] = loops.quantize(x, K, q)
        return
    for i in prange(n, schedule="static", num_threads=min(n_threads, n)):
        step[i] = loops.quantize(x + i * K, K, q + i * K)


cdef Py_ssize_t up_to(Py_ssize_t n, Py_ssize_t multiple) noexcept nogil:
    return (n + multiple - 1) // multiple * multiple


cdef Py_ssize_t batch_of(
    Py_ssize_t n, Py_ssize_t bytes_each, int tokens
) noexcept nogil:
    """Rows of activations to prepare at a time, of n: batches of nearly one size."""
    cdef Py_ssize_t most = max(1, PREPARED_BYTES // (bytes_each * tokens)) * tokens
    cdef Py_ssize_t batches = (n + most - 1) // most
    return (n + batches - 1) // batches


cdef struct int8_room:
    # What a product needs beside its results: rows at a time, bytes of their tiles,
    # and where things begin in the scratch.
    Py_ssize_t rows, tile_bytes, step, sums, tiles, end


cdef int8_room room_for(
    const stern_matrix *m, const stern_matmul_int8 *loops, Py_ssize_t n
) noexcept nogil:
    cdef:
        int8_room room
        Py_ssize_t n_sums = stern_mm_segments(m)
    room.rows = batch_of(n, m.n_blocks * 16, STERN_MM_TOKENS)
    room.tile_bytes = loops.tile_bytes(m, <int>min(room.rows, loops.tokens))
    if m.format == STERN_MM_R2:
        n_sums = stern_mm_row_runs(m) * (m.n_rows + 1)
        room.tile_bytes = 0
    room.step = up_to(room.rows * m.n_columns, 64)
    room.sums = room.step + up_to(room.rows * 4, 64)
    room.tiles = room.sums + up_to(room.rows * n_sums * 4, 64)
    room.end = (
        room.tiles + (room.rows + loops.tokens - 1) // loops.tokens * room.tile_bytes
    )
    return room


cdef struct int8_product:
    const stern_matmul_int8 *loops
    const stern_matrix *m
    const float *scale
    const float *step
    Py_ssize_t n            # rows of activations
    Py_ssize_t n_tiles
    Py_ssize_t tile_bytes
    int8_t *tiles
    int32_t *sums
    Py_ssize_t segments
    float *y


cdef Py_ssize_t tile_start(const int8_product *p, Py_ssize_t t) noexcept nogil:
    """First row of tile t: tiles of nearly equal size, in whole multiples."""
    cdef Py_ssize_t units = (p.n + p.loops.multiple - 1) // p.loops.multiple
    return min(units * t // p.n_tiles * p.loops.multiple, p.n)


cdef void prepare_tile(
    const int8_product *p, const int8_t *q, Py_ssize_t t
) noexcept nogil:
    cdef Py_ssize_t start = tile_start(p, t)
    p.loops.prepare(
        p.m, q + start * p.m.n_columns, p.m.n_columns,
        <int>(tile_start(p, t + 1) - start), p.tiles + t * p.tile_bytes,
        p.sums + start * p.segments,
    )


cdef void multiply_item(const int8_product *p, Py_ssize_t i) noexcept nogil:
    """A panel times a tile."""
    cdef Py_ssize_t t = i % p.n_tiles, start = tile_start(p, t)
    p.loops.panel(
        p.m, p.scale, i // p.n_tiles, p.tiles + t * p.tile_bytes,
        p.sums + start * p.segments, p.step + start,
        <int>(tile_start(p, t + 1) - start), p.y + start * p.m.n_rows, p.m.n_rows,
    )


cdef void multiply_items(
    const int8_product *p, Py_ssize_t first, Py_ssize_t end, bint backwards
) noexcept nogil:
    cdef:
        Py_ssize_t panel_bytes = max(p.m.n_blocks, 1) * 4 * 64, start, i, k
        Py_ssize_t stretch = max(1, STRETCH_BYTES // panel_bytes) * p.n_tiles
        Py_ssize_t stretches = (end - first + stretch - 1) // stretch
    for k in range(stretches):
        start = first + (stretches - 1 - k if backwards else k) * stretch
        for i in range(start, min(start + stretch, end)):
            multiply_item(p, i)


cdef void multiply_tiles(
    int8_product *p, const int8_t *q, bint backwards, int n_threads
) noexcept nogil:
    cdef:
        Py_ssize_t panels = (p.m.n_rows + STERN_MM_PANEL - 1) // STERN_MM_PANEL
        Py_ssize_t items, shares, t, i
    p.n_tiles = (p.n + p.loops.tokens - 1) // p.loops.tokens
    p.segments = stern_mm_segments(p.m)
    items = p.n_tiles * panels
    shares = min(n_threads, items)
    if p.n_tiles == 1:
        prepare_tile(p, q, 0)
    else:
        for t in prange(
            p.n_tiles, schedule="static", num_threads=min(n_threads, p.n_tiles)
        ):
            prepare_tile(p, q, t)
    if shares == 1:
        multiply_items(p, 0, items, backwards)
        return
    for i in prange(shares, schedule="static", num_threads=shares):
        multiply_items(p, items * i // shares, items * (i + 1) // shares, backwards)


cdef struct row_product:
    # Format R2.
    const stern_matmul_rows *loops
    const stern_matrix *m
    const char *x
    Py_ssize_t n, tiles, each
    char *partial


cdef void multiply_run(const row_product *p, Py_ssize_t i) noexcept nogil:
    """A run of the columns times at most four rows of activations."""
    cdef Py_ssize_t run = i // p.tiles, start = i % p.tiles * 4
    p.loops.run(
        p.m, run, p.x + start * p.m.n_columns * p.loops.size, p.m.n_columns,
        <int>min(4, p.n - start),
        p.partial + (run * p.n + start) * p.each * p.loops.sum_size,
    )


cdef void multiply_rows(
    row_product *p, const void *scale, const float *step, void *y, int n_threads
) noexcept nogil:
    cdef Py_ssize_t items, i
    p.tiles = (p.n + 3) // 4
    p.each = p.m.n_rows + p.loops.n_more
    items = stern_mm_row_runs(p.m) * p.tiles
    if min(n_threads, items) == 1:
        for i in range(items):
            multiply_run(p, i)
    else:
        for i in prange(items, schedule="static", num_threads=min(n_threads, items)):
            multiply_run(p, i)
    p.loops.finish(p.m, scale, p.partial, p.n * p.each, step, p.n, y)


cdef struct float_room:
    # Rows and runs of columns at a time, and values of scratch for them.
    Py_ssize_t rows, runs, values


cdef float_room float_room_for(
    const stern_matrix *m, const stern_matmul_float *loops, int size, Py_ssize_t n
) noexcept nogil:
    cdef:
        float_room room
        Py_ssize_t bytes_each = loops.per_value * size * STERN_MM_RUN * 16
        Py_ssize_t all_runs = (m.n_blocks + STERN_MM_RUN - 1) // STERN_MM_RUN
    room.rows = batch_of(n, bytes_each, loops.tokens)
    room.runs = min(all_runs, max(1, PREPARED_BYTES // (bytes_each * room.rows)))
    if m.format == STERN_MM_R2:
        room.values = stern_mm_row_runs(m) * room.rows * m.n_rows
    else:
        room.values = (
            room.rows * min(room.runs * STERN_MM_RUN, m.n_blocks) * 16 * loops.per_value
        )
    return room


cdef struct float_product:
    const stern_matmul_float *loops
    const stern_matrix *m
    const char *scale
    const char *x
    char *tile              # a piece of the activations of all tiles
    char *y
    Py_ssize_t n            # rows of activations
    Py_ssize_t tiles
    Py_ssize_t first, last  # blocks of the piece
    Py_ssize_t value        # bytes of a value


cdef enum:
    # Blocks that are prepared at a time.
    PREPARED_BLOCKS = STERN_MM_RUN // 4


cdef char *tile_of(const float_product *p, Py_ssize_t start) noexcept nogil:
    return p.tile + start * (p.last - p.first) * 16 * p.loops.per_value * p.value


cdef void prepare_blocks(const float_product *p, Py_ssize_t i) noexcept nogil:
    cdef:
        Py_ssize_t t = i % p.tiles, start = p.n * t // p.tiles
        Py_ssize_t n = p.n * (t + 1) // p.tiles - start
        Py_ssize_t ahead = i // p.tiles * PREPARED_BLOCKS, b = p.first + ahead
    p.loops.prepare(
        p.m, p.x + start * p.m.n_columns * p.value, p.m.n_columns, <int>n,
        b, min(b + PREPARED_BLOCKS, p.last),
        tile_of(p, start) + ahead * 16 * p.loops.per_value * n * p.value,
    )


cdef void multiply_panel(const float_product *p, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t t = i % p.tiles, start = p.n * t // p.tiles
    p.loops.panel(
        p.m, p.scale, i // p.tiles, p.first, p.last, tile_of(p, start),
        <int>(p.n * (t + 1) // p.tiles - start),
        p.y + start * p.m.n_rows * p.value, p.m.n_rows,
    )


cdef void multiply_pieces(
    float_product *p, Py_ssize_t runs, int n_threads
) noexcept nogil:
    """Products by floats, `runs` runs of the columns at a time."""
    cdef:
        Py_ssize_t panels = (p.m.n_rows + STERN_MM_PANEL - 1) // STERN_MM_PANEL
        Py_ssize_t i, items
    p.tiles = (p.n + p.loops.tokens - 1) // p.loops.tokens
    p.first = 0
    while p.first < p.m.n_blocks:
        p.last = min(p.first + runs * STERN_MM_RUN, p.m.n_blocks)
        items = (p.last - p.first + PREPARED_BLOCKS - 1) // PREPARED_BLOCKS * p.tiles
        if n_threads == 1:
            for i in range(items):
                prepare_blocks(p, i)
            for i in range(p.tiles * panels):
                multiply_panel(p, i)
        else:
            for i in prange(
                items, schedule="static", num_threads=min(n_threads, items)
            ):
                prepare_blocks(p, i)
            items = p.tiles * panels
            for i in prange(
                items, schedule="static", num_threads=min(n_threads, items)
            ):
                multiply_panel(p, i)
        p.first = p.last


cdef class Matrix:
    """A ternary matrix as the loops take it; it keeps its arrays alive.

    `form` is rows, columns, columns and blocks of a group, blocks, format. `scale`
    are the bytes of the scales, (groups, padded rows) in the type of the activations
    (float32 for those of 8 bits). In all products the sizes are positive.
    """

    cdef:
        stern_matrix m
        uint8_t[::1] weights
        const uint8_t[::1] scale
        Py_ssize_t last         # when this was multiplied last, as of `multiplied`
        bint backwards

    def __cinit__(
        self, uint8_t[::1] weights, tuple form, const uint8_t[::1] scale
    ):
        cdef stern_matrix *m = &self.m
        (
            m.n_rows, m.n_columns, m.group_size, m.group_blocks, m.n_blocks, m.format
        ) = form
        self.weights, self.scale = weights, scale
        m.weights = &weights[0]
        m.scale_stride = up_to(m.n_rows, STERN_MM_PANEL)

    def pack(
        self,
        const int8_t[:, :] codes,       # IN, rows of the matrix
        Py_ssize_t first_row,           # a multiple of 16
        Py_ssize_t first_column,
        int n_threads,
    ):
        """Write codes into weights that hold code 0 in their place."""
        cdef:
            stern_matrix *m = &self.m
            uint8_t *to = &self.weights[0]
            Py_ssize_t rows = codes.shape[0], columns = codes.shape[1]
            Py_ssize_t groups = (rows + 15) // 16, i, k, g, n
            Py_ssize_t ldr = codes.strides[0], ldk = codes.strides[1]
        if rows * columns == 0:
            return
        for i in prange(
            groups, nogil=True, schedule="static", num_threads=min(n_threads, groups)
        ):
            k = 0
            while k < columns:
                g = (first_column + k) // m.group_size
                n = min((g + 1) * m.group_size - first_column - k, columns - k)
                stern_mm_pack(
                    to, m.n_rows, m.n_blocks, m.format, first_row // 16 + i,
                    &codes[0, 0] + 16 * i * ldr + k * ldk, ldr, ldk,
                    min(16, rows - 16 * i),
                    g * m.group_blocks * 16 + first_column + k - g * m.group_size, n,
                )
                k = k + n

    cdef bint turn(self) noexcept:
        """Whether the next product goes backwards; threads may guess wrong."""
        global multiplied
        self.backwards = (
            multiplied - self.last < CACHED_BYTES and not self.backwards
        )
        multiplied += self.weights.shape[0]
        self.last = multiplied
        return self.backwards

    def int8_scratch(self, Py_ssize_t n, int tile_level):
        """Bytes of scratch that n rows of activations need."""
        return room_for(&self.m, stern_matmul_int8_for(tile_level), n).end + 63

    def multiply_int8(
        self,
        const float[:, ::1] X,          # IN
        uint8_t[::1] scratch,
        float[:, ::1] y,                # OUT
        int level,
        int tile_level,                 # of the products
        int n_threads,
    ):
        """Round rows to 8 bits and multiply them."""
        cdef Py_ssize_t n = X.shape[0]
        self._multiply(
            &X[0, 0], NULL, NULL, n, &scratch[0], &y[0, 0], level, tile_level, n_threads
        )

    def multiply_quantized(
        self,
        const int8_t[:, ::1] q,         # IN
        const float[::1] step,          # IN
        uint8_t[::1] scratch,
        float[:, ::1] y,                # OUT
        int level,
        int tile_level,
        int n_threads,
    ):
        """The same for rows that are rounded already."""
        cdef Py_ssize_t n = q.shape[0]
        self._multiply(
            NULL, &q[0, 0], &step[0], n, &scratch[0], &y[0, 0], level, tile_level,
            n_threads,
        )

    cdef void _multiply(
        self, const float *x, const int8_t *q, const float *step, Py_ssize_t n,
        uint8_t *scratch, float *y, int level, int tile_level, int n_threads,
    ) noexcept:
        cdef:
            const stern_matmul *loops = stern_matmul_for(level)
            const stern_matrix *m = &self.m
            int8_product p
            row_product apart
            int8_room room
            int8_t *start = <int8_t *>(scratch + ((-<Py_ssize_t>scratch) & 63))
            bint backwards = self.turn()
            Py_ssize_t first = 0
        p.loops, p.m = stern_matmul_int8_for(tile_level), m
        p.scale = <const float *>&self.scale[0]
        with nogil:
            room = room_for(m, p.loops, n)
            p.tiles, p.tile_bytes = start + room.tiles, room.tile_bytes
            p.sums = <int32_t *>(start + room.sums)
            apart.loops, apart.m, apart.partial = &loops.rows_int8, m, <char *>p.sums
            while first < n:
                p.n = min(room.rows, n - first)
                p.y = y + first * m.n_rows
                if x != NULL:
                    q, step = start, <float *>(start + room.step)
                    quantize_rows(
                        loops, x + first * m.n_columns, p.n, m.n_columns, start,
                        <float *>(start + room.step), n_threads,
                    )
                p.step = step
                if m.format == STERN_MM_R2:
                    apart.n, apart.x = p.n, <const char *>q
                    multiply_rows(&apart, p.scale, step, p.y, n_threads)
                else:
                    multiply_tiles(&p, q, backwards, n_threads)
                first += p.n
                q, step = q + p.n * m.n_columns, step + p.n

    def float_scratch(self, Py_ssize_t n, int level, bint double_precision):
        """Values of scratch that n rows of floats need."""
        cdef const stern_matmul *loops = stern_matmul_for(level)
        if double_precision:
            return float_room_for(&self.m, &loops.f64, 8, n).values
        return float_room_for(&self.m, &loops.f32, 4, n).values

    def multiply_float(
        self,
        const floating[:, ::1] X,       # IN
        floating[::1] scratch,
        floating[:, ::1] y,             # OUT
        int level,
        int n_threads,
    ):
        cdef:
            const stern_matmul *loops = stern_matmul_for(level)
            const stern_matrix *m = &self.m
            const floating *scale = <const floating *>&self.scale[0]
            float_product p
            row_product apart
            Py_ssize_t first = 0, n = X.shape[0]
            float_room room
        p.loops = &loops.f32 if floating is float else &loops.f64
        p.m, p.scale, p.value = m, <const char *>scale, sizeof(floating)
        p.tile = apart.partial = <char *>&scratch[0]
        apart.loops = &loops.rows_f32 if floating is float else &loops.rows_f64
        apart.m = m
        with nogil:
            room = float_room_for(m, p.loops, sizeof(floating), n)
            while first < n:
                p.n = apart.n = min(room.rows, n - first)
                p.x = apart.x = <const char *>&X[first, 0]
                p.y = <char *>&y[first, 0]
                if m.format == STERN_MM_R2:
                    multiply_rows(&apart, scale, NULL, p.y, n_threads)
                else:
                    multiply_pieces(&p, room.runs, n_threads)
                first += p.n


def int8_peak(Py_ssize_t repeats, int level):
    """Repeat the widest integer multiply-add; returns the operations done."""
    cdef double done
    with nogil:
        done = stern_matmul_int8_for(level).peak(repeats)
    return done


def float_peak(Py_ssize_t repeats, int level):
    """Repeat the widest float32 multiply-add; returns the operations done."""
    cdef double done
    with nogil:
        done = stern_matmul_for(level).float_peak(repeats)
    return done


def read(const uint8_t[::1] data, int level, int n_threads):
    """Read all bytes, whole MiB of them, and return their parity words combined."""
    cdef:
        Py_ssize_t chunks = data.shape[0] >> 20, i
        uint64_t total = 0
    for i in prange(
        chunks, nogil=True, schedule="static", num_threads=min(n_threads, chunks)
    ):
        total += stern_matmul_for(level).read(&data[0] + (i << 20), 1 << 20)
    return total
