/* Choice of the loops of k-means by level, and what needs no level. */
#include "lloyd.h"

#include <math.h>
#include <string.h>

#include "cpu_features.h"

#define DECLARE(level)                                  \
    extern const stern_lloyd_f32 stern_lloyd_f32_##level; \
    extern const stern_lloyd_f64 stern_lloyd_f64_##level;
DECLARE(generic)
#ifdef STERN_BUILT_AVX2
DECLARE(avx2)
#endif
#ifdef STERN_BUILT_AVX512
DECLARE(avx512)
#endif

#ifdef STERN_BUILT_AVX2
#define CASE_AVX2(table) case STERN_AVX2: return &table##_avx2;
#else
#define CASE_AVX2(table)
#endif
#ifdef STERN_BUILT_AVX512
#define CASE_AVX512(table) case STERN_AVX512: return &table##_avx512;
#else
#define CASE_AVX512(table)
#endif
#ifdef STERN_BUILT_AMX
DECLARE(amx)
#define CASE_AMX(table) \
    case STERN_LLOYD_AMX: return stern_amx_allowed() ? &table##_amx : NULL;
#else
#define CASE_AMX(table)
#endif
#define CHOOSE(table)                            \
    switch (isa) {                               \
    case STERN_GENERIC: return &table##_generic; \
    CASE_AVX2(table)                             \
    CASE_AVX512(table)                           \
    CASE_AMX(table)                              \
    }                                            \
    return NULL;

const stern_lloyd_f32 *stern_lloyd_f32_for(int isa) { CHOOSE(stern_lloyd_f32) }
const stern_lloyd_f64 *stern_lloyd_f64_for(int isa) { CHOOSE(stern_lloyd_f64) }

/* Let u be the unit roundoff of the type, v that of double precision, x a row and c a
 * centre in the frame, M^2 = `largest` the largest of |c|^2. A score
 * s = x . c - |c|^2 / 2 is found by d fused or separate products and sums, and x and c
 * themselves are rounded once, so that what is found differs from the score of the
 * exact rows and centres by at most about (d + 4) u (|x| M + M^2 / 2). The definition
 * computes the distance with a relative error of at most (d + 8) v, the distance being
 * at most (|x| + M)^2 <= 2 (|x|^2 + M^2).
 *
 * The best score belongs to the label if it exceeds every other by more than twice
 * both errors, half a squared distance counting as a score. With
 * 2 |x| M <= |x|^2 + M^2 this is less than
 *
 *     (d + 8) [ (u + 2 v) |x|^2 + (2 u + 2 v) M^2 ].
 *
 * The factor 1.2 covers the higher orders (d u is below 1/16, or no row is certain),
 * the rounding of |x|^2 and of this test, and the last term what underflows. */
void stern_lloyd_certainty(ptrdiff_t d, double largest, int bits, double *alpha,
                           double *beta)
{
    const double u = bits == 32 ? 0x1p-24 : 0x1p-53, v = 0x1p-53;
    const double n = 1.2 * (double)(d + 8);
    if (!(largest < 0x1p90) || (double)(d + 8) * u > 1 / 16.) {
        *alpha = 0;
        *beta = INFINITY;
        return;
    }
    *alpha = n * (u + 2 * v);
    *beta = n * ((2 * u + 2 * v) * largest + (bits == 32 ? 0x1p-100 : 0x1p-900));
}

/* The same for scores of the tile unit: see lloyd_split.h. */
static void wide_certainty(ptrdiff_t d, double largest, int screen, double *alpha,
                           double *beta)
{
    const double u = screen ? 0 : 0x1p-8, w = 0x1p-24;
    const double missed =
        3.02 * u * u + 1.02 * (0.25 * (double)d + 40) * w + 0x1p-19;
    stern_lloyd_certainty(d, largest, 32, alpha, beta);
    *alpha += missed;
    *beta += 2 * missed * largest;
}

enum {
    LANES = 8,    /* of sums in double precision */
    ALIGNED = 16, /* words of a line of the cache */
};

static ptrdiff_t most(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* Words for centres that the tile unit takes, and where they lie. */
static ptrdiff_t split_words(const stern_lloyd_run *run)
{
    const ptrdiff_t panels = (run->k + STERN_LLOYD_PANEL - 1) / STERN_LLOYD_PANEL;
    if (run->isa != STERN_LLOYD_AMX)
        return 0;
    return ALIGNED + panels * stern_lloyd_panel_words(run->d);
}

static uint32_t *split_of(const stern_lloyd_run *run)
{
    const uintptr_t words = (uintptr_t)(run->words + run->k + ALIGNED - 1);
    return (uint32_t *)(words & ~(uintptr_t)(4 * ALIGNED - 1));
}

uint8_t *stern_lloyd_touched(const stern_lloyd_run *run)
{
    return (uint8_t *)(run->moves + 2 * run->k + run->n_groups);
}

stern_lloyd_sizes stern_lloyd_room(const stern_lloyd_run *run)
{
    const ptrdiff_t d = run->d, k = run->k, tile = STERN_LLOYD_TILE;
    const ptrdiff_t padded = run->n_groups * run->group_size, d4 = (d + 3) / 4;
    const ptrdiff_t tiles = (k + tile - 1) / tile;
    stern_lloyd_sizes room = {
        .values = 2 * k * d + k + padded * (d + 1),
        .moves = 2 * k + run->n_groups + (k + 3) / 4,
        .words = k,
        .scratch = most(run->block * d, (d + 1) * tile),
        .found = 1,
    };
    if (run->isa == STERN_LLOYD_AMX) {
        const ptrdiff_t panels = (k + STERN_LLOYD_PANEL - 1) / STERN_LLOYD_PANEL;
        room.words += split_words(run);
        room.scratch = most(room.scratch, ALIGNED + (3 * (d + 2) + 4 * panels) * tile);
    }
    if (run->step > 0) {
        room.values += tiles * tile * (d + 4);
        room.words += tiles * tile * (1 + d4 + (d4 + 15) / 16 * 16);
        room.scratch =
            most(room.scratch, (d + 1) * tile + d4 * 4 * tile * 8 / run->bits);
        room.found = 2 * tile * ((k + STERN_LLOYD_PANEL - 1) / STERN_LLOYD_PANEL);
    }
    return room;
}

/* Square of what the first part of a value misses; see lloyd_split.h. */
static double missed_by_part(float v)
{
    uint32_t bits;
    float part;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&part, &bits, sizeof part);
    return ((double)v - part) * ((double)v - part);
}

#define T float
#define T_BITS 32
#define F(name) name##_f32
#define FOR stern_lloyd_f32_for
#define OF(run) ((run)->of.f32)
#include "lloyd_centers.h"
#undef T
#undef T_BITS
#undef F
#undef FOR
#undef OF

#define T double
#define T_BITS 64
#define F(name) name##_f64
#define FOR stern_lloyd_f64_for
#define OF(run) ((run)->of.f64)
#include "lloyd_centers.h"
#undef T
#undef T_BITS
#undef F
#undef FOR
#undef OF

void stern_lloyd_moves(stern_lloyd_run *run, const void *previous, const void *centers)
{
    if (run->bits == 32)
        moves_f32(run, previous, centers);
    else
        moves_f64(run, previous, centers);
}

void stern_lloyd_frame(stern_lloyd_run *run, ptrdiff_t part, const void *centers)
{
    if (run->bits == 32)
        frame_f32(run, part, centers);
    else
        frame_f64(run, part, centers);
}

void stern_lloyd_settle(stern_lloyd_run *run, const void *centers)
{
    if (run->bits == 32)
        settle_f32(run, centers);
    else
        settle_f64(run, centers);
}

void stern_lloyd_pack(const stern_lloyd_run *run, ptrdiff_t part)
{
    if (run->bits == 32)
        pack_f32(run, part);
    else
        pack_f64(run, part);
}

void stern_lloyd_begin(stern_lloyd_run *run, const void *centers)
{
    for (int part = 0; part < STERN_LLOYD_PARTS; ++part)
        stern_lloyd_frame(run, part, centers);
    stern_lloyd_settle(run, centers);
    for (int part = 0; part < STERN_LLOYD_PARTS; ++part)
        stern_lloyd_pack(run, part);
}

ptrdiff_t stern_lloyd_slice(const stern_lloyd_run *run, ptrdiff_t slice, void *scratch,
                            int32_t *found)
{
    return run->bits == 32 ? slice_f32(run, slice, scratch, found)
                           : slice_f64(run, slice, scratch, found);
}

double stern_lloyd_means(stern_lloyd_run *run, ptrdiff_t part, const void *centers,
                         void *means)
{
    return run->bits == 32 ? means_f32(run, part, centers, means)
                           : means_f64(run, part, centers, means);
}
