// Tensor cores and asynchronous copies: what prelude.cuh writes as PTX.
#pragma once

namespace emulator {

static double product(bool integer, unsigned u, unsigned v) {
    double sum = 0;
    if (integer)
        for (int i = 0; i < 4; i++)
            sum += (int)(int8_t)(u >> 8 * i) * (int)(int8_t)(v >> 8 * i);
    else
        for (int i = 0; i < 2; i++) {
            const unsigned halves[2] = {(u >> 16 * i) << 16, (v >> 16 * i) << 16};
            float a, b;
            __builtin_memcpy(&a, halves, 4);
            __builtin_memcpy(&b, halves + 1, 4);
            sum += (double)a * b;
        }
    return sum;
}

// Row g or g + 8 of A, as `row_half` says, times a column of B, of what lanes gave.
static double add_products(double sum, bool integer, const char (*data)[64],
                                     unsigned g, unsigned row_half, unsigned column) {
    for (unsigned q = 0; q < 4; q++) {
        const unsigned *a = (const unsigned *)data[4 * g + q];
        const unsigned *b = (const unsigned *)data[4 * column + q] + 4;
        for (unsigned j = 0; j < 2; j++)
            sum += product(integer, a[2 * j + row_half], b[j]);
    }
    return sum;
}

// mma.sync m16n8k32 (int8) or m16n8k16 (bf16): lane 4 g + t holds, in 32-bit words,
// rows g and g + 8 of A, column g of B, and of the result the columns 2 t, 2 t + 1.
void mma(bool integer, void *sums, const unsigned *a, const unsigned *b) {
    const unsigned given[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    Exchange *all = exchange(0xffffffffu, integer ? 100 : 101, given, sizeof given);
    const unsigned g = current->lane / 4, t = current->lane % 4;
    for (unsigned e = 0; e < 4; e++) {
        int *whole = (int *)sums + e;
        float *real = (float *)sums + e;
        const double sum = add_products(integer ? *whole : *real, integer, all->data, g,
                                        e / 2, 2 * t + e % 2);
        if (integer)
            *whole = (int)sum;
        else
            *real = (float)sum;
    }
    all->readers--;
}

void copy_async(void *to, const void *from, bool wanted) {
    static const char zeros[16] __attribute__((aligned(16))) = {0};
    if ((uintptr_t)to % 16 || (wanted && (uintptr_t)from % 16))
        fail("cp.async: an address is not a multiple of 16");
    touch(to, 16, true);
    if (wanted) touch((void *)from, 16, false);
    memset(to, 0xff, 16);
    current->open.push_back({to, wanted ? from : zeros});
}

void commit_copies() {
    current->groups.push_back(std::move(current->open));
    current->open.clear();
}

void wait_for_copies(int most) {
    auto &groups = current->groups;
    while ((int)groups.size() > most) {
        for (auto &copy : groups.front()) {
            touch(copy.to, 16, true);
            memcpy(copy.to, copy.from, 16);
        }
        groups.pop_front();
    }
}

} // namespace emulator
