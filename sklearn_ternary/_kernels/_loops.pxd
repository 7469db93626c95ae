# The C functions of src/, as Cython sees them.
from libc.stdint cimport int8_t, int64_t, uint8_t

cdef extern from "quantize.h" nogil:
    enum:
        STERN_SUM_CHUNK
        STERN_CHUNK
        STERN_N_ABOVE

    ctypedef struct stern_f32:
        double (*abs_sum)(const float *x, Py_ssize_t n) noexcept nogil
        double (*abs_sum_above)(
            const float *x, Py_ssize_t n, float threshold, int64_t *count
        ) noexcept nogil
        double (*square_sum)(const float *x, Py_ssize_t n) noexcept nogil
        float (*abs_max)(const float *x, Py_ssize_t n) noexcept nogil
        void (*sums_above)(
            const float *x, Py_ssize_t n, const float *thresholds,
            double *sums, int64_t *counts
        ) noexcept nogil
        Py_ssize_t (*gather)(
            const float *x, Py_ssize_t n, float low, float high, float *out,
            Py_ssize_t room
        ) noexcept nogil
        void (*add_abs)(const float *x, Py_ssize_t n, double *total) noexcept nogil
        void (*max_abs)(const float *x, Py_ssize_t n, float *largest) noexcept nogil
        Py_ssize_t (*find_nonfinite)(const float *x, Py_ssize_t n) noexcept nogil

    ctypedef struct stern_f64:
        double (*abs_sum)(const double *x, Py_ssize_t n) noexcept nogil
        double (*abs_sum_above)(
            const double *x, Py_ssize_t n, double threshold, int64_t *count
        ) noexcept nogil
        double (*square_sum)(const double *x, Py_ssize_t n) noexcept nogil
        double (*abs_max)(const double *x, Py_ssize_t n) noexcept nogil
        void (*sums_above)(
            const double *x, Py_ssize_t n, const double *thresholds,
            double *sums, int64_t *counts
        ) noexcept nogil
        Py_ssize_t (*gather)(
            const double *x, Py_ssize_t n, double low, double high, double *out,
            Py_ssize_t room
        ) noexcept nogil
        void (*add_abs)(const double *x, Py_ssize_t n, double *total) noexcept nogil
        void (*max_abs)(const double *x, Py_ssize_t n, double *largest) noexcept nogil
        Py_ssize_t (*find_nonfinite)(const double *x, Py_ssize_t n) noexcept nogil

    ctypedef struct stern_codec:
        void (*pack[9])(const int8_t *codes, Py_ssize_t n, uint8_t *out) noexcept nogil
        void (*unpack[9])(
            const uint8_t *packed, Py_ssize_t n, int8_t *out
        ) noexcept nogil
        void (*count)(
            const int8_t *codes, Py_ssize_t n, int half, int64_t *counts
        ) noexcept nogil

    const stern_f32 *stern_f32_for(int isa) noexcept
    const stern_f64 *stern_f64_for(int isa) noexcept
    const stern_codec *stern_codec_for(int isa) noexcept

cdef extern from "segments.h" nogil:
    void stern_codes_f32(
        const stern_f32 *, const float *, Py_ssize_t, Py_ssize_t, const float *,
        Py_ssize_t, int, int8_t *
    ) noexcept
    void stern_codes_f64(
        const stern_f64 *, const double *, Py_ssize_t, Py_ssize_t, const double *,
        Py_ssize_t, int, int8_t *
    ) noexcept
    void stern_pack_f32(
        const stern_f32 *, const stern_codec *, const float *, Py_ssize_t, Py_ssize_t,
        const float *, Py_ssize_t, int, int, uint8_t *
    ) noexcept
    void stern_pack_f64(
        const stern_f64 *, const stern_codec *, const double *, Py_ssize_t, Py_ssize_t,
        const double *, Py_ssize_t, int, int, uint8_t *
    ) noexcept
    void stern_values_f32(
        const stern_f32 *, const float *, Py_ssize_t, Py_ssize_t, const float *,
        const float *, Py_ssize_t, int, float *
    ) noexcept
    void stern_values_f64(
        const stern_f64 *, const double *, Py_ssize_t, Py_ssize_t, const double *,
        const double *, Py_ssize_t, int, double *
    ) noexcept
    void stern_code_values_f32(
        const stern_f32 *, const int8_t *, Py_ssize_t, Py_ssize_t, const float *,
        Py_ssize_t, float *
    ) noexcept
    void stern_code_values_f64(
        const stern_f64 *, const int8_t *, Py_ssize_t, Py_ssize_t, const double *,
        Py_ssize_t, double *
    ) noexcept
    void stern_unpack_values_f32(
        const stern_f32 *, const stern_codec *, const uint8_t *, Py_ssize_t, Py_ssize_t,
        int, const float *, Py_ssize_t, float *
    ) noexcept
    void stern_unpack_values_f64(
        const stern_f64 *, const stern_codec *, const uint8_t *, Py_ssize_t, Py_ssize_t,
        int, const double *, Py_ssize_t, double *
    ) noexcept
    void stern_affine_codes_f32(
        const stern_f32 *, const float *, Py_ssize_t, Py_ssize_t, const float *,
        const float *, Py_ssize_t, int, int, int8_t *
    ) noexcept
    void stern_affine_codes_f64(
        const stern_f64 *, const double *, Py_ssize_t, Py_ssize_t, const double *,
        const double *, Py_ssize_t, int, int, int8_t *
    ) noexcept
    void stern_affine_values_f32(
        const stern_f32 *, const int8_t *, Py_ssize_t, Py_ssize_t, const float *,
        const float *, Py_ssize_t, float *
    ) noexcept
    void stern_affine_values_f64(
        const stern_f64 *, const int8_t *, Py_ssize_t, Py_ssize_t, const double *,
        const double *, Py_ssize_t, double *
    ) noexcept
    Py_ssize_t stern_packed_bytes(int layout, Py_ssize_t n) noexcept
    int stern_unit_values(int layout) noexcept
    int stern_unit_bytes(int layout) noexcept
    Py_ssize_t stern_find_invalid(
        const stern_codec *, const uint8_t *packed, Py_ssize_t n_bytes, int layout
    ) noexcept

cdef extern from "scales.h" nogil:
    int stern_narrow_f32(
        const float *, const double *, const int64_t *, float *, float *
    ) noexcept
    int stern_narrow_f64(
        const double *, const double *, const int64_t *, double *, double *
    ) noexcept
    void stern_best_thresholds_f32(
        const stern_f32 *, int, float **, Py_ssize_t *, float, float, double, int64_t,
        float *
    ) noexcept
    void stern_best_thresholds_f64(
        const stern_f64 *, int, double **, Py_ssize_t *, double, double, double,
        int64_t, double *
    ) noexcept
    void stern_group_thresholds_f32(
        const stern_f32 *, int, const float *, Py_ssize_t, float *, float *
    ) noexcept
    void stern_group_thresholds_f64(
        const stern_f64 *, int, const double *, Py_ssize_t, double *, double *
    ) noexcept
    int stern_group_scale_f32(
        const stern_f32 *, const float *, Py_ssize_t, int, int, float *, float *,
        float *
    ) noexcept
    int stern_group_scale_f64(
        const stern_f64 *, const double *, Py_ssize_t, int, int, double *, double *,
        double *
    ) noexcept

cdef extern from "one_read.h" nogil:
    enum:
        STERN_BLOCK

    ctypedef struct stern_block:
        pass

    ctypedef struct stern_note_f32:
        pass

    ctypedef struct stern_note_f64:
        pass

    ctypedef struct stern_one_read_f32:
        const stern_f32 *loops
        const stern_codec *codec
        const float *x
        Py_ssize_t n_rows, n_columns
        int layout
        uint8_t *packed
        double *sums
        stern_block *blocks
        stern_note_f32 *notes
        Py_ssize_t room

    void stern_read_blocks_f32(
        const stern_one_read_f32 *, Py_ssize_t, Py_ssize_t
    ) noexcept
    int stern_scale_of_sums_f32(
        const stern_one_read_f32 *, float *, float *
    ) noexcept
    void stern_settle_blocks_f32(
        const stern_one_read_f32 *, float, Py_ssize_t, Py_ssize_t
    ) noexcept

    ctypedef struct stern_one_read_f64:
        const stern_f64 *loops
        const stern_codec *codec
        const double *x
        Py_ssize_t n_rows, n_columns
        int layout
        uint8_t *packed
        double *sums
        stern_block *blocks
        stern_note_f64 *notes
        Py_ssize_t room

    void stern_read_blocks_f64(
        const stern_one_read_f64 *, Py_ssize_t, Py_ssize_t
    ) noexcept
    int stern_scale_of_sums_f64(
        const stern_one_read_f64 *, double *, double *
    ) noexcept
    void stern_settle_blocks_f64(
        const stern_one_read_f64 *, double, Py_ssize_t, Py_ssize_t
    ) noexcept


# Work items that a row is cut into.
cdef inline Py_ssize_t n_chunks(Py_ssize_t n_columns) noexcept nogil:
    return (n_columns + STERN_CHUNK - 1) // STERN_CHUNK
