// Functions of the device: atomic ones, bits, rounding, those of a warp, and what
// prelude.cuh writes as PTX.
#pragma once

#define DECLARED(T, NAME, ...) extern "C" T NAME(__VA_ARGS__) noexcept;
#define DECLARED_1(NAME)                                                               \
    DECLARED(double, NAME, double)                                                     \
    DECLARED(float, NAME##f, float)
#define DECLARED_2(NAME)                                                               \
    DECLARED(double, NAME, double, double)                                             \
    DECLARED(float, NAME##f, float, float)
DECLARED_1(sqrt)
DECLARED_1(fabs)
DECLARED_1(floor)
DECLARED_1(ceil)
DECLARED_1(rint)
DECLARED_1(exp)
DECLARED_1(log)
DECLARED_1(log1p)
DECLARED_2(fmax)
DECLARED_2(fmin)
DECLARED(double, ldexp, double, int)
DECLARED(double, frexp, double, int *)
DECLARED(long, lrintf, float)
DECLARED(long long, llrint, double)

template <class T, class U> static inline T atomicAdd(T *p, U value) {
    emulator::Atomic guard;
    const T old = *p;
    *p = (T)(old + (T)value);
    return old;
}
template <class T, class U> static inline T atomicMax(T *p, U value) {
    emulator::Atomic guard;
    const T old = *p;
    if ((T)value > old) *p = (T)value;
    return old;
}
template <class T, class U> static inline T atomicMin(T *p, U value) {
    emulator::Atomic guard;
    const T old = *p;
    if ((T)value < old) *p = (T)value;
    return old;
}

template <class To, class From> static inline To same_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To result;
    __builtin_memcpy(&result, &value, sizeof(To));
    return result;
}
static inline float __int_as_float(int i) { return same_bits<float>(i); }
static inline float __uint_as_float(unsigned i) { return same_bits<float>(i); }
static inline unsigned __float_as_uint(float f) { return same_bits<unsigned>(f); }
static inline double __longlong_as_double(long long i) { return same_bits<double>(i); }
static inline long long __double_as_longlong(double d) {
    return same_bits<long long>(d);
}

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __float2int_rn(float f) { return (int)lrintf(f); }
static inline long long __double2ll_rn(double d) { return llrint(d); }
template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }

static inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; i++)
        sum += (int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i);
    return sum;
}

namespace emulator {

enum Operation { SYNC = 1, SHUFFLE, SHUFFLE_DOWN, SHUFFLE_XOR, BALLOT };

template <class T> static T shuffle(unsigned mask, T value, int source, int operation) {
    static_assert(sizeof(T) <= 8, "values of at most 8 bytes are shuffled");
    Exchange *all = exchange(mask, operation, &value, sizeof(T));
    all->readers--;
    if (source < 0 || source > 31 || !(mask >> source & 1))
        fail("shuffle: the source lane is not in the mask");
    T result;
    __builtin_memcpy(&result, all->data[source], sizeof(T));
    return result;
}

} // namespace emulator

static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    char nothing = 0;
    emulator::exchange(mask, emulator::SYNC, &nothing, 1)->readers--;
}
template <class T> static inline T __shfl_sync(unsigned mask, T value, int source) {
    return emulator::shuffle(mask, value, source & 31, emulator::SHUFFLE);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    const int lane = emulator::lane(), source = lane + (int)delta;
    const int from = source < 32 ? source : lane;
    return emulator::shuffle(mask, value, from, emulator::SHUFFLE_DOWN);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int bits) {
    const int from = emulator::lane() ^ bits;
    return emulator::shuffle(mask, value, from, emulator::SHUFFLE_XOR);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    emulator::Exchange *all =
        emulator::exchange(mask, emulator::BALLOT, &predicate, sizeof(int));
    unsigned result = 0;
    for (int l = 0; l < 32; l++) {
        int one;
        __builtin_memcpy(&one, all->data[l], sizeof(int));
        if ((mask >> l & 1) && one) result |= 1u << l;
    }
    all->readers--;
    return result;
}

static inline void mma_s8(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emulator::mma(true, c, a, b);
}
static inline void mma_bf16(float (&c)[4], const unsigned (&a)[4],
                            const unsigned (&b)[2]) {
    emulator::mma(false, c, a, b);
}
// 16 bytes to shared memory, or zeros where `wanted` is false.
static inline void copy_async(void *to, const void *from, bool wanted) {
    emulator::copy_async(to, from, wanted);
}
static inline void commit_copies() { emulator::commit_copies(); }
// Wait until at most N of the groups committed are on their way.
template <int N> static inline void wait_for_copies() { emulator::wait_for_copies(N); }
