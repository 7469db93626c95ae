/* The inner loops of quantization: one table of functions per instruction-set
 * level. Nothing here allocates, and nothing checks its arguments. */
#ifndef STERN_QUANTIZE_H
#define STERN_QUANTIZE_H
#include <stddef.h>
#include <stdint.h>

/* Order of float sums, see sklearn_ternary/_reference/sums.py. */
#define STERN_LANES 32
#define STERN_SUM_CHUNK 4096
/* Values handled at a time elsewhere: a multiple of 64 and of every layout's
 * unit (4, 5, 24, 2, 1, 256, 128, 64). */
#define STERN_CHUNK 7680
/* A multiple of 4. */
#define STERN_N_ABOVE 12

enum stern_layout {
    STERN_T2, STERN_T5, STERN_Q3, STERN_I4, STERN_I8,
    STERN_TQ1_0, STERN_TQ2_0, STERN_I2_S_X86, STERN_I2_S_ARM,
    STERN_N_LAYOUTS
};

enum stern_scale {
    STERN_ABSMEAN, STERN_TWN, STERN_MSE, STERN_ABSMAX, STERN_NORM
};

#define STERN_FLOAT_TABLE(T)                                                     \
    /* Sums of one chunk, n <= STERN_SUM_CHUNK. */                               \
    double (*abs_sum)(const T *x, ptrdiff_t n);                                  \
    double (*abs_sum_above)(const T *x, ptrdiff_t n, T threshold, int64_t *count); \
    double (*square_sum)(const T *x, ptrdiff_t n);                               \
    /* Largest magnitude; NaN if there is one. */                                \
    T (*abs_max)(const T *x, ptrdiff_t n);                                       \
    /* Adds to sums (to 5e-6) and counts above each of STERN_N_ABOVE. */         \
    void (*sums_above)(const T *x, ptrdiff_t n, const T *thresholds,             \
                       double *sums, int64_t *counts);                           \
    /* Magnitudes in (low, high], appended to out; returns how many. */          \
    ptrdiff_t (*gather)(const T *x, ptrdiff_t n, T low, T high, T *out,          \
                        ptrdiff_t room);                                         \
    void (*codes)(const T *x, ptrdiff_t n, T threshold, int five, int8_t *out);  \
    /* abs_sum of a whole chunk, with its codes for a threshold of `high`: int8 or,    \
     * with `t2`, packed; which of each 64 values are above `low` but not above        \
     * `high`, and `which` of the 64 times 64 have such. The chunk that comes `next`   \
     * is asked for. */                                                                \
    double (*sum_codes)(const T *x, T low, T high, int t2, uint8_t *out,         \
                        uint64_t *near, uint64_t *which, const T *next);         \
    void (*codes_each)(const T *x, ptrdiff_t n, const T *threshold, int five,    \
                       int8_t *out);                                             \
    void (*values)(const int8_t *codes, ptrdiff_t n, T step, T *out);            \
    void (*values_each)(const int8_t *codes, ptrdiff_t n, const T *step, T *out); \
    void (*add_abs)(const T *x, ptrdiff_t n, double *total);                     \
    void (*max_abs)(const T *x, ptrdiff_t n, T *largest);                        \
    ptrdiff_t (*find_nonfinite)(const T *x, ptrdiff_t n);                        \
    void (*affine_codes)(const T *x, ptrdiff_t n, T scale, T zero_point, T lowest, \
                         T highest, int8_t *out);                                \
    void (*affine_codes_each)(const T *x, ptrdiff_t n, const T *scale,           \
                              const T *zero_point, T lowest, T highest, int8_t *out); \
    void (*affine_values)(const int8_t *codes, ptrdiff_t n, T scale, T zero_point, \
                          T *out);                                               \
    void (*affine_values_each)(const int8_t *codes, ptrdiff_t n, const T *scale, \
                               const T *zero_point, T *out);

typedef struct { STERN_FLOAT_TABLE(float) } stern_f32;
typedef struct { STERN_FLOAT_TABLE(double) } stern_f64;

typedef struct {
    /* n codes to and from whole units; unpack writes exactly n codes. */
    void (*pack[STERN_N_LAYOUTS])(const int8_t *codes, ptrdiff_t n, uint8_t *out);
    void (*unpack[STERN_N_LAYOUTS])(const uint8_t *in, ptrdiff_t n, int8_t *out);
    /* Adds to counts[code + half]; other codes than -half to half are left out. */
    void (*count)(const int8_t *codes, ptrdiff_t n, int half, int64_t *counts);
    /* Whether any of n bytes has a field 3 of two bits, is 243 or more, has a nibble
     * 0, is 128; whether any of n q3 units of 7 bytes has a field of 125 or more. */
    int (*any_invalid[STERN_I8 + 1])(const uint8_t *in, ptrdiff_t n);
} stern_codec;

/* NULL where the level was not built. */
const stern_f32 *stern_f32_for(int isa);
const stern_f64 *stern_f64_for(int isa);
const stern_codec *stern_codec_for(int isa);
#endif
