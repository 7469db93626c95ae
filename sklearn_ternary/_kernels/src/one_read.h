/* Quantizing a matrix to one mean magnitude while its values are read once.
 *
 * The threshold is known when all values are summed. Until then the blocks read so far
 * tell between which two bounds it is: each block is summed and packed with the upper
 * bound of its time, and values between the bounds, packed as 0, are noted. In the end
 * those are decided, and blocks whose bounds were wrong are packed again. Blocks are
 * taken in a scattered order, so that those read are a fair sample. */
#ifndef STERN_ONE_READ_H
#define STERN_ONE_READ_H
#include "quantize.h"

/* A multiple of STERN_SUM_CHUNK and of the unit of every layout of three levels. */
#define STERN_BLOCK 20480

/* The bounds of the threshold that a block was packed with, the upper one -1 if it was
 * not, and its notes. */
typedef struct {
    double low, high;
    int64_t first_note, n_notes;
} stern_block;

#define STERN_ONE_READ_FUNCTIONS(T, f)                                            \
    typedef struct {                                                              \
        T value;                                                                  \
        uint32_t place; /* in its block */                                        \
    } stern_note_##f;                                                             \
    typedef struct {                                                              \
        const stern_##f *loops;                                                   \
        const stern_codec *codec;                                                 \
        const T *x;                                                               \
        ptrdiff_t n_rows, n_columns;                                              \
        int layout;                                                               \
        uint8_t *packed;                                                          \
        double *sums; /* of each chunk */                                         \
        stern_block *blocks;                                                      \
        stern_note_##f *notes; /* `room` of each part */                          \
        ptrdiff_t room;                                                           \
    } stern_one_read_##f;                                                         \
    /* Read, sum and pack the blocks of one of several parts. */                  \
    void stern_read_blocks_##f(const stern_one_read_##f *job, ptrdiff_t part,     \
                               ptrdiff_t parts);                                  \
    /* Scale and threshold of three levels, when all parts were read. Returns 1   \
     * where they may be wrong, as stern_group_scale does. */                     \
    int stern_scale_of_sums_##f(const stern_one_read_##f *job, T *scale,          \
                                T *threshold);                                    \
    /* Put right what the true threshold decides otherwise, once all parts were   \
     * read; parts may be settled at the same time. */                            \
    void stern_settle_blocks_##f(const stern_one_read_##f *job, T threshold,      \
                                 ptrdiff_t part, ptrdiff_t parts);

STERN_ONE_READ_FUNCTIONS(float, f32)
STERN_ONE_READ_FUNCTIONS(double, f64)
#endif
