// The threads of a block as fibers.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "switch.h"

extern "C" char __start_emulator_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emulator_shared[] __attribute__((weak, visibility("hidden")));

uint3 threadIdx, blockIdx, blockDim, gridDim;
EXPORT int emulator_mutant = 0;

namespace emulator {

enum State { RUNNING, AT_BARRIER, IN_WARP, DONE };

struct Copy { // of cp.async, until it is waited for
    void *to;
    const void *from;
};

struct Fiber {
    void *sp;
    char *stack;
    State state;
    uint3 index;
    unsigned lane, warp;
    int barrier;
    unsigned mask; // of the warp function it is in
    int operation;
    char given[64];
    Exchange *taken;
    std::vector<Copy> open;               // copies not committed
    std::deque<std::vector<Copy>> groups; // and committed
};

struct Warp {
    std::vector<Fiber *> lanes;
    std::deque<Exchange> exchanges;
    unsigned n_syncs = 0;
};

static const size_t STACK = 256 << 10;
static const uint64_t CANARY = 0x5afe5afe5afe5afeull;

static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static Fiber *current;
static void *scheduler_sp;
static std::vector<char> dynamic; // dynamic shared memory
static std::string error;
static void (*kernel)(void **);
static void **arguments; // of the kernel
static unsigned n_barriers; // that the block has passed

static inline void leave() {
    asm volatile("" ::: "memory");
    emulator_switch(&current->sp, scheduler_sp);
    asm volatile("" ::: "memory");
}

[[noreturn]] static void fail(const std::string &what) {
    if (error.empty())
        error = what + " [block " + std::to_string(blockIdx.x) + "," +
                std::to_string(blockIdx.y) + " thread " +
                std::to_string(current->index.x) + "]";
    current->state = DONE;
    for (;;) leave();
}

void fail(const char *what) { fail(std::string(what)); }

[[noreturn]] static void run_thread() {
    kernel(arguments);
    if (!current->open.empty() || !current->groups.empty())
        fail("thread ended before its cp.async had been waited for");
    current->state = DONE;
    for (;;) leave();
}

void barrier(int id) {
    current->barrier = id;
    current->state = AT_BARRIER;
    leave();
}

unsigned lane() { return current->lane; }

void *dynamic_shared() { return dynamic.data(); }

} // namespace emulator
