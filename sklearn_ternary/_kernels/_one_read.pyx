"""A matrix to packed codes of one mean magnitude, its values read once."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport uint8_t

from sklearn_ternary._kernels._loops cimport (
    STERN_BLOCK,
    STERN_SUM_CHUNK,
    stern_block,
    stern_codec_for,
    stern_f32_for,
    stern_f64_for,
    stern_note_f32,
    stern_note_f64,
    stern_one_read_f32,
    stern_one_read_f64,
    stern_read_blocks_f32,
    stern_read_blocks_f64,
    stern_scale_of_sums_f32,
    stern_scale_of_sums_f64,
    stern_settle_blocks_f32,
    stern_settle_blocks_f64,
    stern_unit_values,
)

BLOCK = STERN_BLOCK


cdef inline Py_ssize_t n_pieces(Py_ssize_t n_values, Py_ssize_t size) noexcept:
    return (n_values + size - 1) // size


def scratch_size(
    Py_ssize_t n_values, Py_ssize_t itemsize, Py_ssize_t n_threads, Py_ssize_t room
):
    """How many float64 the sums, the blocks and the notes of all threads take."""
    cdef:
        Py_ssize_t n_blocks = n_pieces(n_values, STERN_BLOCK)
        Py_ssize_t note = sizeof(stern_note_f32)
    if itemsize == sizeof(double):
        note = sizeof(stern_note_f64)
    return n_pieces(n_values, STERN_SUM_CHUNK) + (
        n_blocks * <Py_ssize_t>sizeof(stern_block)
        + min(n_threads, n_blocks) * room * note
    ) // <Py_ssize_t>sizeof(double)


ctypedef fused one_read:
    stern_one_read_f32
    stern_one_read_f64


cdef inline void read_blocks(
    const one_read *job, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    if one_read is stern_one_read_f32:
        stern_read_blocks_f32(job, part, parts)
    else:
        stern_read_blocks_f64(job, part, parts)


cdef inline void settle_blocks(
    const one_read *job, floating threshold, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    if one_read is stern_one_read_f32:
        stern_settle_blocks_f32(job, threshold, part, parts)
    else:
        stern_settle_blocks_f64(job, threshold, part, parts)


cdef bint in_parts(
    const one_read *job, floating *scale, Py_ssize_t parts
) noexcept nogil:
    cdef:
        floating threshold = 0
        Py_ssize_t part
        bint doubtful
    # One thread enters no parallel region.
    if parts == 1:
        read_blocks(job, 0, 1)
    else:
        for part in prange(parts, schedule="static", num_threads=parts):
            read_blocks(job, part, parts)
    if one_read is stern_one_read_f32:
        doubtful = stern_scale_of_sums_f32(job, <float *>scale, <float *>&threshold)
    else:
        doubtful = stern_scale_of_sums_f64(job, <double *>scale, <double *>&threshold)
    if doubtful:
        return True
    if parts == 1:
        settle_blocks(job, threshold, 0, 1)
    else:
        for part in prange(parts, schedule="static", num_threads=parts):
            settle_blocks(job, threshold, part, parts)
    return False


def absmean_pack(
    const floating[:, ::1] X,           # IN, not empty
    int layout,
    uint8_t[:, ::1] packed,             # OUT
    double[::1] scratch,                # (scratch_size,)
    Py_ssize_t room,                    # for notes of each thread
    floating[:, ::1] scale,             # OUT, (1, 1)
    int isa,
    int n_threads,
):
    """Scale and packed codes; returns whether they may be wrong."""
    cdef:
        stern_one_read_f32 job32
        stern_one_read_f64 job64
        Py_ssize_t n_rows = X.shape[0], n_columns = X.shape[1]
        Py_ssize_t n_values = n_rows * n_columns
        Py_ssize_t n_blocks = n_pieces(n_values, STERN_BLOCK)
        double *sums = &scratch[0]
        stern_block *blocks = <stern_block *>(
            sums + n_pieces(n_values, STERN_SUM_CHUNK)
        )
        Py_ssize_t parts = min(<Py_ssize_t>n_threads, n_blocks)
        bint doubtful
    if n_columns % stern_unit_values(layout) == 0:
        # Rows of whole units are packed as one row is.
        n_rows, n_columns = 1, n_values
    if floating is float:
        job32 = stern_one_read_f32(
            stern_f32_for(isa), stern_codec_for(isa), &X[0, 0], n_rows, n_columns,
            layout, &packed[0, 0], sums, blocks, <stern_note_f32 *>(blocks + n_blocks),
            room,
        )
        with nogil:
            doubtful = in_parts(&job32, &scale[0, 0], parts)
    else:
        job64 = stern_one_read_f64(
            stern_f64_for(isa), stern_codec_for(isa), &X[0, 0], n_rows, n_columns,
            layout, &packed[0, 0], sums, blocks, <stern_note_f64 *>(blocks + n_blocks),
            room,
        )
        with nogil:
            doubtful = in_parts(&job64, &scale[0, 0], parts)
    return doubtful
