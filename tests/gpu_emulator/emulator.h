// Runs CUDA C kernels on the CPU, for tests: the text of a .cu file is compiled as
// C++17 after this header. A thread of CUDA is a fiber, the fibers of a block run on
// one thread of the machine, and blocks run one after another (runtime.cpp).
//
// It is stricter than a device on purpose:
//   - the schedule is chosen: forwards, or threads and blocks in shuffled order;
//     warps do not run in lock-step, so a missing barrier changes results;
//   - shared memory is poisoned before each block, and what cp.async copies arrives
//     only when it is waited for;
//   - warp functions check their masks, barriers that they are met by all;
//   - the number and the sizes of arguments are checked at the launch.
// Shared memory has to be declared in kernels: that of inline functions is one for all
// libraries of a process. With -DDETECT_RACES every access to memory is checked (races.h).
//
// Nothing large is included: this is compiled again for each text.
#pragma once
#define GPU_EMULATOR 1
#include <stdint.h>

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulator_shared")))
#define DYNAMIC_SHARED(T, name) T *name = (T *)emulator::dynamic_shared()
// Every barrier in the text has a number, to tell apart those of different branches.
#define __syncthreads() emulator::barrier(__COUNTER__)
#define EXPORT extern "C" __attribute__((visibility("default")))

struct uint3 {
    unsigned x, y, z;
};
#define VECTOR2(T, NAME)                                                               \
    struct __attribute__((aligned(2 * sizeof(T)))) NAME {                              \
        T x, y;                                                                        \
    };                                                                                 \
    static inline NAME make_##NAME(T x, T y) { return {x, y}; }
#define VECTOR4(T, NAME)                                                               \
    struct __attribute__((aligned(4 * sizeof(T)))) NAME {                              \
        T x, y, z, w;                                                                  \
    };                                                                                 \
    static inline NAME make_##NAME(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR2(double, double2)
VECTOR2(unsigned, uint2)
VECTOR4(float, float4)
VECTOR4(unsigned, uint4)
VECTOR4(signed char, char4)

extern uint3 threadIdx, blockIdx, blockDim, gridDim;

// Which planted bug is alive; see `with_mutants` in emulator.py.
extern "C" int emulator_mutant;

namespace emulator {

struct Exchange { // what the lanes of a warp gave
    alignas(8) char data[32][64];
    int readers = 0;
};

// What Python gives for a launch.
struct Launch {
    const unsigned *grid, *block;
    unsigned shared;
    void **arguments;
    const int *sizes; // of the arguments; -1 for pointers
    int n_arguments, order;
    unsigned seed;
    char *message;
};

[[noreturn]] void fail(const char *what);
void barrier(int id);
unsigned lane();
// Every lane of `mask` gives `size` bytes and gets those of all.
Exchange *exchange(unsigned mask, int operation, const void *given, int size);
void *dynamic_shared();
void copy_async(void *to, const void *from, bool wanted);
void commit_copies();
void wait_for_copies(int most);
void mma(bool integer, void *sums, const unsigned *a, const unsigned *b);
int launch(void (*call)(void **), const int *wanted, int n_wanted, const Launch &given);

extern volatile int in_atomic; // the compiler must not merge its changes
struct Atomic {
    Atomic() { in_atomic = in_atomic + 1; }
    ~Atomic() { in_atomic = in_atomic - 1; }
};

// Calls a kernel with arguments that are of the types of its parameters.
template <class T> struct Size {
    static constexpr int value = sizeof(T);
};
template <class T> struct Size<T *> {
    static constexpr int value = -1;
};
template <auto function> struct Call;
template <class... A, void (*function)(A...)> struct Call<function> {
    static constexpr int n_wanted = sizeof...(A);
    static constexpr int wanted[] = {Size<A>::value...};
    static void run(void **arguments) {
        void **next = arguments;
        struct All { // braces are evaluated from left to right
            All(A... a) { function(a...); }
        } all{*(A *)*next++...};
    }
};

} // namespace emulator

#define EXPORT_KERNEL(NAME)                                                            \
    EXPORT int emulator_launch_##NAME(                                                 \
        const unsigned *grid, const unsigned *block, unsigned shared,                  \
        void **arguments, const int *sizes, int n, int order, unsigned seed,           \
        char *message) {                                                               \
        using Call = emulator::Call<&NAME>;                                            \
        return emulator::launch(                                                       \
            Call::run, Call::wanted, Call::n_wanted,                                   \
            {grid, block, shared, arguments, sizes, n, order, seed, message});         \
    }

#include "device.h"
