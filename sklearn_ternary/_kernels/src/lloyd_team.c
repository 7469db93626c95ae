/* Iterations of Lloyd's algorithm by a team of threads, in one parallel region. */
#include "lloyd.h"

#include <string.h>

/* One thread ends an iteration of which the means are known. */
static void end_iteration(stern_lloyd_run *run, stern_lloyd_loop *loop)
{
    double far = 0;
    for (int part = 0; part < STERN_LLOYD_PARTS && far >= 0; ++part)
        far = loop->parts[part] < 0 ? -1 : far + loop->parts[part];
    loop->n_iter += 1;
    loop->shift = far;
    run->first = run->fill = 0;
    loop->ended = 1;
    if (far < 0)
        return;
    void *const before = loop->centers[1];
    loop->centers[1] = loop->centers[0];
    loop->centers[0] = loop->centers[2];
    loop->centers[2] = before;
    loop->ended = !loop->changed || far <= loop->tol || loop->n_iter == loop->max_iter;
}

static void find_means(stern_lloyd_run *run, stern_lloyd_loop *loop, int thread,
                       int n_threads)
{
    for (int part = thread; part < STERN_LLOYD_PARTS; part += n_threads)
        loop->parts[part] =
            stern_lloyd_means(run, part, loop->centers[0], loop->centers[2]);
}

static void pack(const stern_lloyd_run *run, int thread, int n_threads)
{
    for (int part = thread; part < STERN_LLOYD_PARTS; part += n_threads)
        stern_lloyd_pack(run, part);
}

/* What one thread does between two iterations while the others wait. */
static void turn(stern_lloyd_run *run, stern_lloyd_loop *loop, int alone)
{
    if (loop->made) {
        if (alone)
            find_means(run, loop, 0, 1);
        end_iteration(run, loop);
        loop->pause = loop->ended || stern_now() - loop->since >= loop->longest;
        loop->made = 0;
        if (loop->pause)
            return;
        memset(stern_lloyd_touched(run), 0, (size_t)run->k);
    } else {
        /* Centres that somebody gave are the means of nothing. */
        memset(stern_lloyd_touched(run), 1, (size_t)run->k);
        if (!run->first)
            stern_lloyd_moves(run, loop->centers[1], loop->centers[0]);
        for (int part = 0; part < STERN_LLOYD_PARTS; ++part)
            stern_lloyd_frame(run, part, loop->centers[0]);
    }
    stern_lloyd_settle(run, loop->centers[0]);
    if (alone)
        pack(run, 0, 1);
    loop->changed = 0;
    loop->made = 1;
    for (int i = 0; i < STERN_LLOYD_RANGES; ++i)
        loop->ranges[i].next = 0;
}

/* Every thread begins with the same slices in each iteration, which its cache may hold,
 * and then helps others. */
static void work(const stern_lloyd_run *run, stern_lloyd_loop *loop, int thread,
                 int n_threads)
{
    const int n = n_threads < STERN_LLOYD_RANGES ? n_threads : STERN_LLOYD_RANGES;
    void *const scratch = loop->scratch + thread * loop->scratch_bytes;
    int32_t *const found = loop->found + thread * loop->n_found;
    ptrdiff_t changed = 0;
    for (int i = 0; i < n; ++i) {
        const int range = (thread + i) % n;
        const ptrdiff_t first = run->slices * range / n;
        const ptrdiff_t size = run->slices * (range + 1) / n - first;
        int64_t *const next = &loop->ranges[range].next;
        for (;;) {
            const ptrdiff_t s = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
            if (s >= size)
                break;
            changed += stern_lloyd_slice(run, first + s, scratch, found);
        }
    }
    __atomic_fetch_add(&loop->changed, changed, __ATOMIC_RELAXED);
}

void stern_lloyd_iterate(stern_lloyd_run *run, stern_lloyd_loop *loop, int thread,
                         int n_threads)
{
    const int alone = n_threads == 1 || run->slices * run->k * run->d < STERN_LLOYD_ALONE;
    if (thread == 0)
        loop->since = stern_now();
    for (;;) {
        if (thread == 0)
            turn(run, loop, alone);
        stern_wait_for_all(&loop->barrier, n_threads);
        if (loop->pause)
            return;
        if (!alone) {
            pack(run, thread, n_threads);
            stern_wait_for_all(&loop->barrier, n_threads);
        }
        work(run, loop, thread, n_threads);
        stern_wait_for_all(&loop->barrier, n_threads);
        if (!alone) {
            find_means(run, loop, thread, n_threads);
            stern_wait_for_all(&loop->barrier, n_threads);
        }
    }
}
