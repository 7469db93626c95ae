/* Part of a row at a time: which group a value is in, and which byte. */
#ifndef STERN_SEGMENTS_H
#define STERN_SEGMENTS_H
#include "quantize.h"

/* All take the values [start, end) of a row that begins at `row`; parameters
 * hold one value for each run of `group_size` values of the row. `start` is
 * where a unit of the layout begins where bytes are packed. */
#define STERN_SEGMENT_FUNCTIONS(T, f)                                             \
    void stern_codes_##f(const stern_##f *loops, const T *row, ptrdiff_t start,   \
                         ptrdiff_t end, const T *threshold, ptrdiff_t group_size, \
                         int five, int8_t *codes);                                \
    void stern_pack_##f(const stern_##f *loops, const stern_codec *codec,         \
                        const T *row, ptrdiff_t start, ptrdiff_t end,             \
                        const T *threshold, ptrdiff_t group_size, int five,       \
                        int layout, uint8_t *packed);                             \
    void stern_values_##f(const stern_##f *loops, const T *row, ptrdiff_t start,  \
                          ptrdiff_t end, const T *threshold, const T *step,       \
                          ptrdiff_t group_size, int five, T *values);             \
    void stern_code_values_##f(const stern_##f *loops, const int8_t *codes,       \
                               ptrdiff_t start, ptrdiff_t end, const T *step,     \
                               ptrdiff_t group_size, T *values);                  \
    void stern_unpack_values_##f(const stern_##f *loops, const stern_codec *codec, \
                                 const uint8_t *packed, ptrdiff_t start,          \
                                 ptrdiff_t end, int layout, const T *step,        \
                                 ptrdiff_t group_size, T *values);                \
    void stern_affine_codes_##f(const stern_##f *loops, const T *row,             \
                                ptrdiff_t start, ptrdiff_t end, const T *scale,   \
                                const T *zero_point, ptrdiff_t group_size,        \
                                int lowest, int highest, int8_t *codes);          \
    void stern_affine_values_##f(const stern_##f *loops, const int8_t *row,       \
                                 ptrdiff_t start, ptrdiff_t end, const T *scale,  \
                                 const T *zero_point, ptrdiff_t group_size,       \
                                 T *values);

STERN_SEGMENT_FUNCTIONS(float, f32)
STERN_SEGMENT_FUNCTIONS(double, f64)

/* Bytes of n codes, and the first unit that no codes pack to, or -1. */
ptrdiff_t stern_packed_bytes(int layout, ptrdiff_t n);
ptrdiff_t stern_find_invalid(const stern_codec *codec, const uint8_t *packed,
                             ptrdiff_t n_bytes, int layout);
int stern_unit_bytes(int layout);
int stern_unit_values(int layout);
/* By how much each code of a unit, from one to the next higher, raises its only byte;
 * NULL where a unit has several. */
const uint8_t *stern_code_weights(int layout);
#endif
