/* Steps of optimizers on flat arrays of parameters: one table of loops per
 * instruction-set level and dtype, see sklearn_ternary/_reference/steps.py. All
 * levels give the same bits. */
#ifndef STERN_STEPS_H
#define STERN_STEPS_H
#include <stddef.h>

/* As in _reference/steps.py. */
#define STERN_STEP_BLOCK 256
#define STERN_STEP_PIECE 16384
#define STERN_STEP_SUMS 5

/* Directions replace the last ones; sums are those of a piece. */
#define STERN_STEPS(NAME, T)                                                            \
    typedef struct {                                                                    \
        void (*adamw)(const T *gradient, const T *parameters, T *first, T *second,      \
                      T *direction, ptrdiff_t n, const T *constants, double *sums);     \
        void (*sgd)(const T *gradient, const T *parameters, T *first, T *direction,     \
                    ptrdiff_t n, const T *constants, double *sums);                     \
        /* A divisor for each row of `length` values; the piece begins `done` values    \
         * behind the start of the first. */                                            \
        void (*shared)(const T *gradient, const T *parameters, T *first,                \
                       const T *divisors, ptrdiff_t done, ptrdiff_t length,             \
                       T *direction, ptrdiff_t n, const T *constants, double *sums);    \
        double (*squares)(const T *x, ptrdiff_t n);                                     \
        double (*magnitudes)(const T *x, ptrdiff_t n);                                  \
        /* Rounds a row; what is left out stays in the residual. */                     \
        void (*ternary)(T *gradient, T *residual, ptrdiff_t n, T scale);                \
        void (*apply)(T *parameters, const T *direction, ptrdiff_t n, T factor);        \
    } stern_steps_##NAME;                                                               \
    /* NULL where the level was not built. */                                           \
    const stern_steps_##NAME *stern_steps_##NAME##_for(int isa);

STERN_STEPS(f32, float)
STERN_STEPS(f64, double)
#undef STERN_STEPS

/* Order of the constants of adamw; sgd has the first two and its momentum third. */
enum {
    STERN_STEP_SCALE,
    STERN_STEP_DECAY,
    STERN_STEP_BETA_1,
    STERN_STEP_NEW_1,
    STERN_STEP_BETA_2,
    STERN_STEP_NEW_2,
    STERN_STEP_CORRECTION_1,
    STERN_STEP_CORRECTION_2,
    STERN_STEP_EPSILON,
    STERN_STEP_CONSTANTS
};
#endif
