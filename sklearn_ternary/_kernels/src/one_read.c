#include "one_read.h"

#include <math.h>
#include <string.h>

#include "scales.h"
#include "segments.h"

/* Blocks are packed ahead while so many values, of those of a block, are noted. */
#define MOST_NEAR (STERN_BLOCK / 16)
/* How many standard errors, and at most how much of it, an estimate may be off. */
#define SURE 3.0
#define MOST_OFF 0.05
#define CHUNKS (STERN_BLOCK / STERN_SUM_CHUNK)

/* Blocks are taken in runs, as memory is fastest in sequence: the k-th run is one of
 * `runs`, at steps of about the golden section that share no divisor with them. */
typedef struct {
    ptrdiff_t blocks, length, runs, step;
} order;

static order scattered(ptrdiff_t n_values)
{
    order o = {.blocks = (n_values + STERN_BLOCK - 1) / STERN_BLOCK};
    o.length = o.blocks / 64 < 1 ? 1 : o.blocks / 64 > 64 ? 64 : o.blocks / 64;
    o.runs = (o.blocks + o.length - 1) / o.length;
    o.step = (ptrdiff_t)(0.6180339887498949 * (double)o.runs);
    for (o.step += o.step == 0;; ++o.step) {
        ptrdiff_t a = o.runs, b = o.step;
        while (b) {
            const ptrdiff_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return o;
    }
}

/* The blocks of one of several parts, in their order: first to last of each run. */
typedef struct {
    order o;
    ptrdiff_t parts, run, block, end_of_run;
} walk;

static walk walk_of(ptrdiff_t n_values, ptrdiff_t part, ptrdiff_t parts)
{
    return (walk){.o = scattered(n_values), .parts = parts, .run = part - parts};
}

/* Goes on to the next block; returns 0 if there is none. */
static int advance(walk *w)
{
    if (++w->block < w->end_of_run)
        return 1;
    w->run += w->parts;
    if (w->run >= w->o.runs)
        return 0;
    w->block = w->run * w->o.step % w->o.runs * w->o.length;
    w->end_of_run = w->block + w->o.length;
    if (w->end_of_run > w->o.blocks)
        w->end_of_run = w->o.blocks;
    return 1;
}

/* Sums of chunks of a fair sample, and how far their mean may be off. */
typedef struct {
    double sum, chunk_squares, block_squares;
    ptrdiff_t blocks, retry;
} sample;

static void add_block(sample *s, const double *sums)
{
    double block = 0;
    for (int c = 0; c < CHUNKS; ++c) {
        block += sums[c];
        s->chunk_squares += sums[c] * sums[c];
    }
    s->sum += block;
    s->block_squares += block * block;
    ++s->blocks;
}

/* Squared standard error of the mean of n numbers, of so much a sum and squares. */
static double squared_error(double sum, double squares, double n)
{
    const double about_mean = squares - sum * sum / n;
    return n > 1 && about_mean > 0 ? about_mean / (n * (n - 1)) : 0;
}

/* By how much of itself the mean may be off; chunks of a block can be more alike than
 * blocks are. The fewer numbers, the less is known of their spread. */
static double uncertainty(const sample *s, ptrdiff_t n_blocks)
{
    const double blocks = (double)s->blocks, chunks = blocks * CHUNKS;
    const double by_chunk = squared_error(s->sum, s->chunk_squares, chunks);
    double by_block = squared_error(s->sum, s->block_squares, blocks);
    const double rest = 1 - blocks / (double)n_blocks, mean = s->sum / chunks;
    by_block /= CHUNKS * CHUNKS;
    return SURE * (1 + 2 / chunks) * sqrt((by_chunk > by_block ? by_chunk : by_block) * rest)
        / mean;
}

#define T float
#define F(name) name##_f32
#define DIGITS 24
#define LOWEST STERN_LOWEST_f32
#define HIGHEST STERN_HIGHEST_f32
#include "one_read_float.h"
#undef T
#undef F
#undef DIGITS
#undef LOWEST
#undef HIGHEST

#define T double
#define F(name) name##_f64
#define DIGITS 53
#define LOWEST STERN_LOWEST_f64
#define HIGHEST STERN_HIGHEST_f64
#include "one_read_float.h"
