/* Included once per level, with STERN_LEVEL defined and the compiler set to it. */
#include <math.h>

#include "transport.h"

#define STERN_GLUE_(a, b) a##b
#define STERN_GLUE(a, b) STERN_GLUE_(a, b)

/* The two least of what there was and of cluster j. Clusters are numbered in doubles,
 * so that all selections are of one width. */
#define AND_OF(j)                                                                      \
    {                                                                                  \
        const double total = (double)costs[(j) * stride + r] + prices[j];              \
        const double number = (double)(j), worse = total < b ? b : total;              \
        const double beside_it = total < a ? number : y;                               \
        y = total < b ? x : beside_it;                                                 \
        x = total < b ? number : x;                                                    \
        a = worse < a ? worse : a;                                                     \
        b = total < b ? total : b;                                                     \
    }

/* Clusters four at a time: what is known of a row is read and written so much less. */
#define CHEAPEST(T, f)                                                                 \
    void STERN_GLUE(stern_cheapest_##f##_, STERN_LEVEL)(                               \
        const T *restrict costs, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t k,           \
        const double *restrict prices, int32_t *restrict first,                        \
        int32_t *restrict second, double *restrict least, double *restrict elsewhere)  \
    {                                                                                  \
        double at[STERN_TRANSPORT_BLOCK], beside[STERN_TRANSPORT_BLOCK];               \
        ptrdiff_t j = 0;                                                               \
        for (ptrdiff_t r = 0; r < n; r++) {                                            \
            least[r] = elsewhere[r] = INFINITY;                                        \
            at[r] = beside[r] = 0;                                                     \
        }                                                                              \
        for (; j + 4 <= k; j += 4)                                                     \
            for (ptrdiff_t r = 0; r < n; r++) {                                        \
                double b = least[r], a = elsewhere[r], x = at[r], y = beside[r];       \
                AND_OF(j)                                                              \
                AND_OF(j + 1)                                                          \
                AND_OF(j + 2)                                                          \
                AND_OF(j + 3)                                                          \
                least[r] = b, elsewhere[r] = a, at[r] = x, beside[r] = y;              \
            }                                                                          \
        for (; j < k; j++)                                                             \
            for (ptrdiff_t r = 0; r < n; r++) {                                        \
                double b = least[r], a = elsewhere[r], x = at[r], y = beside[r];       \
                AND_OF(j)                                                              \
                least[r] = b, elsewhere[r] = a, at[r] = x, beside[r] = y;              \
            }                                                                          \
        for (ptrdiff_t r = 0; r < n; r++) {                                            \
            first[r] = (int32_t)at[r];                                                 \
            second[r] = (int32_t)beside[r];                                            \
        }                                                                              \
    }

CHEAPEST(float, f32)
CHEAPEST(double, f64)
