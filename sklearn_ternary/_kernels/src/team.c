#define _POSIX_C_SOURCE 199309L
#include "team.h"

#include <sched.h>
#include <time.h>

void stern_wait_for_all(stern_barrier *b, int n_threads)
{
    if (n_threads == 1)
        return;
    const int64_t turn = __atomic_load_n(&b->turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&b->waiting, 1, __ATOMIC_ACQ_REL) == n_threads) {
        b->waiting = 0;
        __atomic_store_n(&b->turn, turn + 1, __ATOMIC_RELEASE);
        return;
    }
    /* The others are at most some microseconds behind, unless they have no processor. */
    for (int spins = 0; __atomic_load_n(&b->turn, __ATOMIC_ACQUIRE) == turn; ++spins) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
        if (spins > 4000)
            sched_yield();
    }
}

int64_t stern_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
