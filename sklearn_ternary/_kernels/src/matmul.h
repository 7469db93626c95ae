/* Products with a ternary matrix: how it lies in memory while it is multiplied,
 * and one table of loops per instruction-set level.
 *
 * The rows are interleaved by 16. A *block* is 16 rows by 16 consecutive values
 * in 64 bytes, four bytes a row: bits 2n and 2n+1 of byte b of a row hold
 * code + 1 of value 4n + b (format T2). In format T5 five blocks lie in 256
 * bytes: byte b of a row in step j (of 4) tells five digits, where the digits 0..3
 * are those of block j and digit 4 is field j of block 4 (matmul_encode.h has how).
 *
 * A *panel* is 64 rows: for each block along the row (each step, in T5), the
 * blocks of its four row groups lie one after another; the last panel has as
 * many row groups as it needs. Along the rows every scale group starts a block
 * of its own (in T5, a run of five), so that no block has two scales. What pads
 * is code 0.
 *
 * Matrices of few rows are not interleaved (format R2): 64 bytes hold 256 values of
 * one row, bits 2f and 2f + 1 of the little-endian word j value 16f + j. Their scale
 * groups start such a run. */
#ifndef STERN_MATMUL_H
#define STERN_MATMUL_H
#include <stddef.h>
#include <stdint.h>

enum {
    STERN_MM_T2 = 0,
    STERN_MM_T5 = 1,
    STERN_MM_R2 = 2,
    STERN_MM_ROWS = 16,      /* rows of a block */
    STERN_MM_VALUES = 16,    /* values of a row in a block */
    STERN_MM_PANEL = 64,     /* rows of a panel */
    STERN_MM_TOKENS = 12,    /* most rows of activations multiplied at a time */
    /* Blocks whose int8 sums surely fit 32 bits: 2^22 values, times 2 (a code + 1)
     * times 128, are 2^30. Longer groups add up 64-bit sums of such segments, which
     * are whole runs of T5 and whole tiles of AMX (four blocks). */
    STERN_MM_SEGMENT = (1 << 18) - 4,
    /* Blocks summed in one float: 1920 values. Divides into runs of five. */
    STERN_MM_RUN = 120,
    /* The same for format R2, whose sums have at least 16 lanes: 16384 values. */
    STERN_MM_ROW_RUN = 1024,
};

/* Levels that the other kernels do not have: AVX2 with 256-bit VNNI, AVX-512 with the
 * tile unit, whose only loops are those for 8-bit activations, and the dot product of
 * Arm. */
enum { STERN_MM_AVXVNNI = 3, STERN_MM_AMX = 4, STERN_MM_DOTPROD = 5 };

typedef struct {
    const uint8_t *weights;
    ptrdiff_t n_rows, n_columns;
    ptrdiff_t group_size;    /* columns of a scale group */
    ptrdiff_t group_blocks;  /* blocks of a full group */
    ptrdiff_t n_blocks;      /* blocks of a row */
    ptrdiff_t scale_stride;  /* from the scales of one group to the next */
    int format;
} stern_matrix;

/* One set of loops over floats or over doubles, as which x, tile, scale and y are. */
typedef struct {
    int tokens;       /* most rows of activations of a tile */
    int per_value;    /* entries of a prepared tile for each activation */
    /* Prepares the values of blocks [first, end) of `tokens` rows of x. */
    void (*prepare)(const stern_matrix *m, const void *x, ptrdiff_t ldx, int tokens,
                    ptrdiff_t first, ptrdiff_t end, void *tile);
    /* Adds their products with a panel to y (sets y if first is 0); first is a
     * multiple of STERN_MM_RUN. */
    void (*panel)(const stern_matrix *m, const void *scale, ptrdiff_t panel,
                  ptrdiff_t first, ptrdiff_t end, const void *tile, int tokens, void *y,
                  ptrdiff_t ldy);
} stern_matmul_float;

/* Format R2: loops over activations of one type, and sums of the same or of int32. */
typedef struct {
    int size, sum_size;  /* bytes of an activation, of a sum */
    int n_more;          /* sums of a row of activations beside those of the rows */
    /* Sums of one run: partial[t * (n_rows + n_more) + r]. */
    void (*run)(const stern_matrix *m, ptrdiff_t run, const void *x, ptrdiff_t ldx,
                int tokens, void *partial);
    /* Results from the sums of all runs, `stride` apart. */
    void (*finish)(const stern_matrix *m, const void *scale, const void *partial,
                   ptrdiff_t stride, const float *step, ptrdiff_t n, void *y);
} stern_matmul_rows;

/* One set of loops over activations of 8 bits. */
typedef struct {
    int tokens;           /* most rows of activations of a tile */
    int multiple;         /* a tile had better have a multiple of so many */
    ptrdiff_t (*tile_bytes)(const stern_matrix *m, int tokens);
    /* Interleaves `tokens` rows of q in a tile, and sums them by segment. */
    void (*prepare)(const stern_matrix *m, const int8_t *q, ptrdiff_t ldq, int tokens,
                    int8_t *tile, int32_t *sums);
    void (*panel)(const stern_matrix *m, const float *scale, ptrdiff_t panel,
                  const int8_t *tile, const int32_t *sums, const float *step,
                  int tokens, float *y, ptrdiff_t ldy);
    /* Repeats the multiply-add that bounds them; returns operations done. */
    double (*peak)(ptrdiff_t repeats);
} stern_matmul_int8;

typedef struct {
    /* Quantizes a row to int8 and returns its step. */
    float (*quantize)(const float *x, ptrdiff_t n, int8_t *q);
    stern_matmul_int8 int8;
    /* A panel of format T5 in format T2. */
    void (*decode)(const stern_matrix *m, ptrdiff_t panel, uint8_t *out);
    stern_matmul_float f32, f64;
    stern_matmul_rows rows_int8, rows_f32, rows_f64;
    /* Repeats the multiply-add that bounds the level; returns operations done. */
    double (*float_peak)(ptrdiff_t repeats);
    /* Reads n bytes, a multiple of 256, and returns something that depends on all. */
    uint64_t (*read)(const uint8_t *bytes, ptrdiff_t n);
} stern_matmul;

/* NULL where the level was not built, or cannot run here (AMX). */
const stern_matmul *stern_matmul_for(int level);
const stern_matmul_int8 *stern_matmul_int8_for(int level);

ptrdiff_t stern_mm_segments(const stern_matrix *m);
ptrdiff_t stern_mm_row_runs(const stern_matrix *m);

/* Writes codes into weights that were filled with code 0 (28 in T5, else 0x55):
 * `n` values from value `first` of the padded rows on, of the rows of row group
 * `group` among the `n` given. Code of row r, value k is codes[r * ldr + k * ldk]. */
void stern_mm_pack(uint8_t *weights, ptrdiff_t n_rows, ptrdiff_t n_blocks, int format,
                   ptrdiff_t group, const int8_t *codes, ptrdiff_t ldr, ptrdiff_t ldk,
                   ptrdiff_t rows, ptrdiff_t first, ptrdiff_t n);

/* Four bytes of format T5 from d0 + 3 d1 + 9 d2 + 27 d3 and d4 of each. */
uint32_t stern_mm_t5_word(uint32_t low, uint32_t fifth);
#endif
