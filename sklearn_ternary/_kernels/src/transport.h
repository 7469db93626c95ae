/* Rows that go to clusters of limited sizes at the least cost, see
 * sklearn_ternary/_reference/transport.py. */
#ifndef STERN_TRANSPORT_H
#define STERN_TRANSPORT_H
#include <stddef.h>
#include <stdint.h>

enum { STERN_TRANSPORT_BLOCK = 1024 }; /* most rows of a call of `cheapest` */

/* Costs (k, n). Labels, given and surplus change, the lengths (k + 1, k + 1) are
 * found. `row` has room for (k, k) numbers, `rows` for (2, n), `nodes` for
 * (4, k + 1), `paid` for n and `distance` for (2, k + 1). */
#define STERN_TRANSPORT(T, f)                                                          \
    typedef struct {                                                                   \
        ptrdiff_t n, k;                                                                \
        const T *costs;                                                                \
        int32_t *labels;                                                               \
        int64_t *given;                                                                \
        int64_t *surplus;                                                              \
        int64_t smallest, largest;                                                     \
        double tolerance;                                                              \
        double *lengths;                                                               \
        int32_t *row;                                                                  \
        int32_t *rows;                                                                 \
        int32_t *nodes;                                                                \
        double *paid;                                                                  \
        double *distance;                                                              \
    } stern_paths_##f;                                                                 \
    void stern_follow_paths_##f(stern_paths_##f *p);                                   \
    /* Where each of up to STERN_TRANSPORT_BLOCK rows goes, of costs `stride` apart    \
     * from cluster to cluster. */                                                     \
    typedef void stern_cheapest_of_##f(                                                \
        const T *costs, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t k,                    \
        const double *prices, int32_t *first, int32_t *second, double *least,          \
        double *elsewhere);                                                            \
    typedef stern_cheapest_of_##f *stern_cheapest_##f;                                 \
    /* NULL where the level was not built. */                                          \
    stern_cheapest_##f stern_cheapest_##f##_for(int isa);

STERN_TRANSPORT(float, f32)
STERN_TRANSPORT(double, f64)
#undef STERN_TRANSPORT
#endif
