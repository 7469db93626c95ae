/* Loops of k-means: nearest centres, distances to candidates, sums of clusters.
 *
 * Rows are worked on in *tiles* of 32, transposed: value t of row r lies at
 * t * 32 + r, and slot d holds the squared norms. A tile holds x * scale - shift,
 * the rows in a *frame* whose origin is near the data and whose unit is a power of
 * two. The rows that fill up the last tile are zeros.
 *
 * Centres are packed in groups of as many as a level keeps in registers, balanced:
 * value t of centre c of a group of K lies at t * K + c.
 *
 * What a nearest centre is does not depend on frame, level or threads: it is the
 * least of the squared distances that `distance` sums up in double precision, and
 * among equal ones the first. Scores in the frame say which rows are certain. */
#ifndef STERN_LLOYD_H
#define STERN_LLOYD_H
#include <stddef.h>
#include <stdint.h>

#include "team.h"

enum {
    STERN_LLOYD_TILE = 32,
    STERN_LLOYD_BLOCK = 256,  /* most rows of a call */
    STERN_LLOYD_SCREEN = 4096, /* of one that has parts of them and no bounds */
    STERN_LLOYD_PANEL = 16,   /* centres of a panel */
    STERN_LLOYD_AMX = 4,      /* a level beside those of cpu_features.h */
    STERN_LLOYD_BIAS = 1 << 30, /* of scores in integers */
    STERN_LLOYD_NO_CENTER = 1 << 24, /* such a score below all others */
    STERN_LLOYD_SPLIT_FROM = 16, /* columns that the tile unit takes */
    STERN_LLOYD_FEW = 32,     /* centres that are compared by panels */
    STERN_LLOYD_DENSE = 4,    /* codes pay where one of so many groups is open */
    STERN_LLOYD_SCREENED = 8, /* and screens by first parts */
    STERN_LLOYD_GROUP = 13,   /* most centres of a group, on any level */
    STERN_LLOYD_PARTS = 16,   /* clusters are divided into, for their means */
    STERN_LLOYD_RANGES = 16,  /* slices are divided into, for threads to begin with */
    STERN_LLOYD_ALONE = 1 << 15, /* fewer values are summed up by one thread */
    STERN_LLOYD_CSR_PAD = 8,  /* centres of sparse products are padded to this */
};

#define STERN_LLOYD_LOOPS(T, f)                                                        \
    /* k centres, packed. The score of centre j of a row x in the frame is             \
     * init[j] + x . c_j, where init[j] is minus half the square of its norm, or       \
     * minus infinity for a centre that repeats an earlier one. A row is certain       \
     * where its best score exceeds the second by more than                            \
     * alpha * (squared norm of the row) + beta. */                                    \
    typedef struct {                                                                   \
        ptrdiff_t d, k;                                                                \
        T scale;                                                                       \
        const T *shift;                                                                \
        const T *centers; /* as given, (k, d) */                                       \
        const T *packed;                                                               \
        const T *init;                                                                 \
        T alpha, beta;                                                                 \
        const uint32_t *split; /* for the tile unit, see lloyd_split.h */              \
        T wide_alpha, wide_beta; /* of scores that it finds */                         \
        /* Of scores by first parts; with the lengths of what those miss of a row, and \
         * of the row. */                                                              \
        T screen_alpha, screen_beta, of_missed, of_length;                             \
        int repeated; /* whether an init is minus infinity */                          \
    } stern_centers_##f;                                                               \
    /* n groups of `size` centres, centre j in group[j], and how the centres moved, in \
     * the frame: centre j by moved[j] and all others of its group by others[j] at     \
     * most, those of group i by farthest[i]. The centres are packed in panels of 16:  \
     * value t of centre j of a panel lies at t * 16 + j. What fills up the groups are \
     * zeros with an init of minus infinity. The lower bounds of a group lie together, \
     * those of the next `stride` further on. */                                       \
    typedef struct {                                                                   \
        ptrdiff_t n, size, stride;                                                     \
        const T *packed;                                                               \
        const T *init;                                                                 \
        const T *framed; /* the centres in the frame, (k, d) */                        \
        const float *moved;                                                            \
        const float *others;                                                           \
        const float *farthest;                                                         \
        const int32_t *group;                                                          \
    } stern_groups_##f;                                                                \
    /* Codes of the centres in panels, in two halves of 8 centres: the codes of four   \
     * columns of centre j at (t / 4) * 8 + j; for the tile unit in tiles of 16        \
     * centres by 64 columns, filled up with zeros. Scores q . p + init are in units   \
     * of `unit`, with STERN_LLOYD_BIAS added. `missed` and `length` are the largest   \
     * lengths of what the codes miss and of the centres, `step` that of the rows. Of  \
     * the bound of what codes miss `share` is allowed for: 1, or labels may be wrong. */ \
    typedef struct {                                                                   \
        const int32_t *packed;                                                         \
        const int32_t *init;                                                           \
        T unit, inverse, missed, length, step, share;                                  \
    } stern_codes_##f;                                                                 \
    typedef struct {                                                                   \
        int group; /* most centres of a group */                                       \
        /* Makes the tile of n <= 32 rows. */                                          \
        void (*pack)(const T *x, ptrdiff_t n, ptrdiff_t d, T scale, const T *shift,    \
                     T *tile);                                                         \
        /* Packs panels [first, end) of k centres in the frame for the tile unit, or   \
         * NULL where there is none. What follows then goes by it. */                  \
        void (*pack_split)(const T *framed, const T *init, ptrdiff_t k, ptrdiff_t d,   \
                           ptrdiff_t first, ptrdiff_t end, uint32_t *packed);          \
        /* First parts of n <= 32 rows for it, or NULL. Scratch holds a tile. */       \
        void (*split)(const T *x, ptrdiff_t n, ptrdiff_t d, T scale, const T *shift,   \
                      T *scratch, void *words);                                        \
        /* Nearest centres of n <= STERN_LLOYD_BLOCK rows. Without tiles, scratch holds \
         * one. For the tile unit tiles are such parts, from STERN_LLOYD_SPLIT_FROM    \
         * columns on, of n <= STERN_LLOYD_SCREEN rows. */                                                              \
        void (*nearest)(const stern_centers_##f *c, const T *x, ptrdiff_t n,           \
                        const T *tiles, T *scratch, int32_t *labels);                  \
        /* The same with bounds of the distances in the frame that held before the     \
         * centres moved: upper[i] not below the one from the centre of the label,     \
         * lower[j * stride + i] not above that from any other centre of group j.      \
         * At first nothing is known: any label, infinity and 0. Scratch holds n rows  \
         * and a tile. */                                                              \
        void (*nearest_bounded)(const stern_centers_##f *c,                            \
                                const stern_groups_##f *g, const T *x, ptrdiff_t n,    \
                                const T *tiles, int first, T *scratch,                 \
                                int32_t *labels, float *upper, float *lower);          \
        /* Rotates a tile; codes of a rotated one, (ceil(d / 4), 32, 4), and their     \
         * lengths, (3, 32). See lloyd_screen.h. */                                    \
        void (*rotate)(T *tile, ptrdiff_t d);                                          \
        void (*encode)(const T *tile, ptrdiff_t d, T step, uint8_t *codes,             \
                       T *lengths);                                                    \
        void (*nearest_by_codes)(const stern_centers_##f *c,                           \
                                 const stern_groups_##f *g,                            \
                                 const stern_codes_##f *s, const T *x, ptrdiff_t n,    \
                                 const uint8_t *codes, const T *lengths, int first,    \
                                 T *scratch, int32_t *found, int32_t *labels,          \
                                 float *upper, float *lower);                          \
        /* Squared distances in the frame of n rows to n_candidates, packed as one     \
         * group. Adds up the weighted minima of them and `closest`. Unless minima     \
         * is NULL, those of candidate j go to minima + j * stride, which may be       \
         * `closest`. */                                                               \
        void (*potentials)(const T *x, ptrdiff_t n, ptrdiff_t d, T scale,              \
                           const T *shift, const T *tiles, T *scratch,                 \
                           const T *candidates, int n_candidates, const T *weight,     \
                           const T *closest, T *minima, ptrdiff_t stride,              \
                           double *potential);                                         \
        /* Moves rows from cluster old[i] to new[i]; -1 is none. Columns               \
         * [first, end) only; totals and counts may be NULL. How many moved; unless    \
         * `touched` is NULL, the clusters are marked there. */                        \
        ptrdiff_t (*move_rows)(const T *x, ptrdiff_t n, ptrdiff_t d, ptrdiff_t first,  \
                               ptrdiff_t end, const T *weight,                         \
                               const int32_t *old_labels, const int32_t *labels,       \
                               double *sums, double *totals, int64_t *counts,          \
                               uint8_t *touched);                                      \
        /* Squared distances to the centres of the labels. */                          \
        void (*label_distances)(const T *x, ptrdiff_t n, ptrdiff_t d,                  \
                                const T *centers, const int32_t *labels,               \
                                double *distances);                                    \
        /* Nearest of k centres by scores in double precision. The centres are         \
         * transposed, (columns, padded k), minus half the squares of their norms in   \
         * init; scores has room for the padded k. */                                  \
        void (*nearest_csr)(const T *data, const int32_t *indices,                     \
                            const int32_t *indptr, ptrdiff_t n,                        \
                            const double *transposed, const double *init,              \
                            ptrdiff_t k, double *scores, int32_t *labels);             \
    } stern_lloyd_##f;                                                                 \
    const stern_lloyd_##f *stern_lloyd_##f##_for(int isa);                             \
    void stern_move_rows_csr_##f(const T *data, const int32_t *indices,                \
                                 const int32_t *indptr, ptrdiff_t start,               \
                                 ptrdiff_t end, ptrdiff_t d, const T *weight,          \
                                 const int32_t *old_labels, const int32_t *labels,     \
                                 double *sums, double *totals, int64_t *counts);       \
    void stern_label_distances_csr_##f(const T *data, const int32_t *indices,          \
                                       const int32_t *indptr, ptrdiff_t start,         \
                                       ptrdiff_t end, ptrdiff_t d, const T *centers,   \
                                       const double *squares,                          \
                                       const int32_t *labels, double *distances);

/* Words of a panel for the tile unit: what its scores begin with, then tiles of 16
 * centres by 32 columns. The first go with both parts of the rows, the others with the
 * first parts. */
static inline ptrdiff_t stern_lloyd_panel_words(ptrdiff_t d)
{
    const ptrdiff_t pairs = (d + 1) / 2;
    return 256 * (1 + (2 * pairs + 15) / 16 + (pairs + 15) / 16);
}

STERN_LLOYD_LOOPS(float, f32)
STERN_LLOYD_LOOPS(double, f64)

/* Steps of k-means on n rows, of `bits` 32 or 64; pointers to void are to such values.
 * What may be NULL is left out. */
typedef struct {
    int bits;
    int isa, code_isa; /* of the loops, and of those for codes */
    ptrdiff_t n, d, k;
    double scale;
    const void *shift;
    const void *x;
    const void *weight; /* or NULL */
    void *tiles; /* of `tile_rows` times 32 values, or NULL */
    ptrdiff_t tile_rows;
    int fill; /* tiles are first parts for the tile unit, still to be made */
    /* Rows have codes in units of `step`, unless it is 0; those of the first
     * `coded_rows`, whole tiles, are there. */
    ptrdiff_t coded_rows;
    const uint8_t *codes;
    const void *lengths;
    double step, share;
    int32_t *labels;
    float *upper; /* bounds, or NULL */
    float *lower;
    ptrdiff_t n_groups, group_size, stride;
    int first; /* nothing is known of labels and bounds */
    /* Rows are worked on in slices of `slice_rows`, these in blocks of `block`. Each
     * slice has sums of its own: (slices, k, d), (slices, k); or all are NULL. */
    ptrdiff_t slice_rows, block, slices;
    double *sums, *totals;
    int64_t *counts;
    /* Room for the centres: see `stern_lloyd_room`. */
    void *values;
    float *moves;
    int32_t *words;
    union {
        struct {
            const stern_lloyd_f32 *loops;
            stern_centers_f32 centers;
            stern_groups_f32 groups;
            stern_codes_f32 codes;
        } f32;
        struct {
            const stern_lloyd_f64 *loops;
            stern_centers_f64 centers;
            stern_groups_f64 groups;
            stern_codes_f64 codes;
        } f64;
    } of;
    int coded;
    double missed[STERN_LLOYD_PARTS]; /* largest squares of what first parts miss */
} stern_lloyd_run;

/* Values, floats and words of room for the centres; values and words of scratch that a
 * thread needs. */
typedef struct {
    ptrdiff_t values, moves, words, scratch, found;
} stern_lloyd_sizes;
stern_lloyd_sizes stern_lloyd_room(const stern_lloyd_run *run);
/* A mark for each cluster: whether its sums may have changed since its mean was found.
 * Labels that change set it. */
uint8_t *stern_lloyd_touched(const stern_lloyd_run *run);
/* How far centres moved, rounded up, in the frame; to `moves`. */
void stern_lloyd_moves(stern_lloyd_run *run, const void *previous, const void *centers);
/* Packs the centres, with how far they moved from `moves`: puts a part of
 * STERN_LLOYD_PARTS in the frame, settles what all of them decide once all are there,
 * packs a part; or all of that. */
void stern_lloyd_frame(stern_lloyd_run *run, ptrdiff_t part, const void *centers);
void stern_lloyd_settle(stern_lloyd_run *run, const void *centers);
void stern_lloyd_pack(const stern_lloyd_run *run, ptrdiff_t part);
void stern_lloyd_begin(stern_lloyd_run *run, const void *centers);
/* Labels of a slice of rows, and their moves between the sums of clusters; how many
 * labels changed. */
ptrdiff_t stern_lloyd_slice(const stern_lloyd_run *run, ptrdiff_t slice, void *scratch,
                            int32_t *found);
/* Means of the clusters of a part of STERN_LLOYD_PARTS, and the sum of the squares of
 * what they moved from `centers`; -1 where one is empty. The sums of the slices are
 * added in order. Puts the means in the frame, and how far they moved to `moves`. */
double stern_lloyd_means(stern_lloyd_run *run, ptrdiff_t part, const void *centers,
                         void *means);
/* Iterations that the threads of a team make together. */
typedef struct {
    void *centers[3]; /* those of now, of before, and room for the next ones */
    char *scratch;    /* `scratch_bytes` for each thread */
    ptrdiff_t scratch_bytes;
    int32_t *found; /* `n_found` for each thread */
    ptrdiff_t n_found;
    ptrdiff_t n_iter, max_iter;
    double tol, shift; /* of the last iteration: negative where a cluster is empty */
    ptrdiff_t changed; /* labels in the last iteration */
    int ended; /* 0 where the team only came back so that somebody can interrupt it */
    int64_t longest; /* nanoseconds after which it does */
    /* Of the team. */
    int pause, made;
    int64_t since;
    double parts[STERN_LLOYD_PARTS];
    struct {
        int64_t next;
        char apart[56];
    } ranges[STERN_LLOYD_RANGES]; /* of slices */
    stern_barrier barrier;
} stern_lloyd_loop;
/* What every thread of a team runs: iterations up to the last, to one that leaves a
 * cluster empty, or for some time. The centres of now are then those that it led to,
 * unless a cluster is empty. */
void stern_lloyd_iterate(stern_lloyd_run *run, stern_lloyd_loop *loop, int thread,
                         int n_threads);
/* Alpha and beta of the test of certainty. */
void stern_lloyd_certainty(ptrdiff_t d, double largest, int bits, double *alpha,
                           double *beta);

#endif
