"""A matrix to packed codes of one mean magnitude, its values read once."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint8_t, uint16_t

from sklearn_ternary._kernels._loops cimport (
    STERN_BLOCK,
    stern_codec_for,
    stern_f32_for,
    stern_f64_for,
    stern_one_read_f32,
    stern_one_read_f64,
    stern_read_blocks_f32,
    stern_read_blocks_f64,
    stern_scale_of_sums_f32,
    stern_scale_of_sums_f64,
    stern_settle_blocks_f32,
    stern_settle_blocks_f64,
)

BLOCK = STERN_BLOCK


def absmean_pack(
    const floating[:, ::1] X,           # IN, not empty
    int layout,
    uint8_t[:, ::1] packed,             # OUT
    double[::1] sums,                   # (chunks,)
    floating[:, ::1] bounds,            # (2, blocks)
    int64_t[:, ::1] notes,              # (2, blocks)
    floating[:, ::1] values,            # (parts, room)
    uint16_t[:, ::1] places,            # (parts, room)
    floating[:, ::1] scale,             # OUT, (1, 1)
    int isa,
    int n_threads,
):
    """Scale and packed codes; returns whether they may be wrong."""
    cdef:
        stern_one_read_f32 job32
        stern_one_read_f64 job64
        Py_ssize_t part, parts = values.shape[0]
        floating threshold = 0
        bint doubtful
    if floating is float:
        job32 = stern_one_read_f32(
            stern_f32_for(isa), stern_codec_for(isa), &X[0, 0], X.shape[0], X.shape[1],
            layout, &packed[0, 0], &sums[0], &bounds[0, 0], &bounds[1, 0], &notes[0, 0],
            &notes[1, 0], &values[0, 0], &places[0, 0], values.shape[1],
        )
    else:
        job64 = stern_one_read_f64(
            stern_f64_for(isa), stern_codec_for(isa), &X[0, 0], X.shape[0], X.shape[1],
            layout, &packed[0, 0], &sums[0], &bounds[0, 0], &bounds[1, 0], &notes[0, 0],
            &notes[1, 0], &values[0, 0], &places[0, 0], values.shape[1],
        )
    for part in prange(
        parts, nogil=True, schedule="static", num_threads=min(n_threads, parts)
    ):
        if floating is float:
            stern_read_blocks_f32(&job32, part, parts)
        else:
            stern_read_blocks_f64(&job64, part, parts)
    if floating is float:
        doubtful = stern_scale_of_sums_f32(&job32, &scale[0, 0], &threshold)
    else:
        doubtful = stern_scale_of_sums_f64(&job64, &scale[0, 0], &threshold)
    if doubtful:
        return True
    for part in prange(
        parts, nogil=True, schedule="static", num_threads=min(n_threads, parts)
    ):
        if floating is float:
            stern_settle_blocks_f32(&job32, threshold, part, parts)
        else:
            stern_settle_blocks_f64(&job64, threshold, part, parts)
    return False
