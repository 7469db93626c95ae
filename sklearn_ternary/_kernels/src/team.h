/* What the threads of a parallel region need to work together. */
#ifndef STERN_TEAM_H
#define STERN_TEAM_H
#include <stdint.h>

/* Zero at first; on a line of the cache of its own. */
typedef struct {
    int64_t waiting, turn;
    char apart[48];
} stern_barrier;

/* Returns when all `n_threads` threads have called it. */
void stern_wait_for_all(stern_barrier *b, int n_threads);

/* Nanoseconds of a clock that never goes back. */
int64_t stern_now(void);

#endif
