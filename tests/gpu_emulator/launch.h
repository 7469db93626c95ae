// Launching a kernel: checks of its arguments, then block after block.
#pragma once

namespace emulator {

enum Order { FORWARD, SHUFFLED };

struct Random {
    unsigned state;
    void shuffle(std::vector<unsigned> &values) {
        for (size_t i = values.size(); i > 1; i--) {
            state = state * 1664525u + 1013904223u;
            std::swap(values[i - 1], values[(state >> 8) % i]);
        }
    }
};

static std::vector<unsigned> count_up_to(size_t n) {
    std::vector<unsigned> values(n);
    for (size_t i = 0; i < n; i++) values[i] = i;
    return values;
}

static void start_block() {
    n_barriers++;
    if (__start_emulator_shared)
        memset(__start_emulator_shared, 0xff,
               __stop_emulator_shared - __start_emulator_shared);
    std::fill(dynamic.begin(), dynamic.end(), (char)0xff);
    for (auto &fiber : fibers) {
        fiber.state = RUNNING;
        fiber.open.clear();
        fiber.groups.clear();
        fiber.sp = new_stack(fiber.stack + STACK, run_thread);
        memcpy(fiber.stack, &CANARY, sizeof CANARY);
    }
    for (auto &warp : warps)
        for (auto &e : warp.exchanges) e.readers = 0;
}

// Release the threads at a barrier if all wait there. Returns whether any runs on.
static bool pass_barrier(bool progress) {
    size_t waiting = 0, ended = 0;
    const Fiber *first = nullptr;
    bool same = true;
    for (auto &fiber : fibers) {
        ended += fiber.state == DONE;
        if (fiber.state != AT_BARRIER) continue;
        waiting++;
        if (!first) first = &fiber;
        same = same && fiber.barrier == first->barrier;
    }
    if (waiting && waiting + ended == fibers.size()) {
        if (!same) {
            error = "threads of a block wait at different barriers";
            return false;
        }
        // A thread that has ended cannot come to this barrier.
        if (ended) {
            error = "deadlock: threads ended before a barrier that others wait at";
            return false;
        }
        n_barriers++;
        for (auto &fiber : fibers) fiber.state = RUNNING;
    } else if (!progress) {
        error = "deadlock: some threads wait for others that never come";
        return false;
    }
    return true;
}

static void run_block(Order order, Random &random) {
    start_block();
    std::vector<unsigned> turns = count_up_to(fibers.size());
    for (;;) {
        if (order == SHUFFLED) random.shuffle(turns);
        bool progress = false;
        for (unsigned i : turns) {
            Fiber &fiber = fibers[i];
            if (fiber.state != RUNNING) continue;
            progress = true;
            current = &fiber;
            threadIdx = fiber.index;
            emulator_switch(&scheduler_sp, fiber.sp);
            if (memcmp(fiber.stack, &CANARY, sizeof CANARY))
                error = "the stack of a thread overflowed";
            if (!error.empty()) return;
        }
        bool all_done = true;
        for (auto &fiber : fibers) all_done = all_done && fiber.state == DONE;
        if (all_done || !pass_barrier(progress)) return;
    }
}

static void make_threads(uint3 block, size_t n) {
    static std::vector<char *> stacks;
    while (stacks.size() < n) stacks.push_back((char *)aligned_alloc(4096, STACK));
    fibers.assign(n, Fiber{});
    warps.assign((n + 31) / 32, Warp{});
    for (size_t i = 0; i < n; i++) {
        Fiber &fiber = fibers[i];
        fiber.stack = stacks[i];
        fiber.index = {(unsigned)(i % block.x), (unsigned)(i / block.x % block.y),
                       (unsigned)(i / block.x / block.y)};
        fiber.lane = i % 32;
        fiber.warp = i / 32;
        warps[i / 32].lanes.push_back(&fiber);
    }
}

static void check_arguments(const int *wanted, int n_wanted, const int *sizes, int n) {
    if (n != n_wanted) {
        error = "the kernel takes " + std::to_string(n_wanted) + " arguments, not " +
                std::to_string(n);
        return;
    }
    for (int i = 0; i < n; i++)
        if (wanted[i] != sizes[i])
            error = "argument " + std::to_string(i) + " has size " +
                    std::to_string(sizes[i]) + ", the kernel takes " +
                    std::to_string(wanted[i]) + " (-1 is a pointer)";
}

int launch(void (*call)(void **), const int *wanted, int n_wanted, const Launch &given) {
    const unsigned *grid = given.grid, *block = given.block;
    const size_t n_shared = __stop_emulator_shared - __start_emulator_shared;
    error.clear();
    check_arguments(wanted, n_wanted, given.sizes, given.n_arguments);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const size_t n = (size_t)block[0] * block[1] * block[2];
    const size_t n_blocks = (size_t)grid[0] * grid[1] * grid[2];
    if (n == 0 || n > 1024) error = "a block has 1 to 1024 threads";
    if (n_blocks == 0) error = "the grid is empty";
    if (grid[0] > 2147483647u || grid[1] > 65535 || grid[2] > 65535)
        error = "the grid is too large";
    if (given.shared > 227 * 1024) error = "more than 227 KB of dynamic shared memory";
    if (error.empty()) {
        make_threads(blockDim, n);
        dynamic.assign(given.shared, 0);
        remember(__start_emulator_shared, n_shared, true, -1);
        remember(dynamic.data(), dynamic.size(), true, -1);
        arguments = given.arguments;
        kernel = call;
        Random random = {given.seed * 2654435761u + 12345u};
        std::vector<unsigned> blocks = count_up_to(n_blocks);
        if (given.order == SHUFFLED) random.shuffle(blocks);
        for (unsigned b : blocks) {
            blockIdx = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
            run_block((Order)given.order, random);
            if (!error.empty()) break;
        }
    }
    current = nullptr;
    in_atomic = 0;
    snprintf(given.message, 512, "%s", error.c_str());
    return !error.empty();
}

} // namespace emulator
