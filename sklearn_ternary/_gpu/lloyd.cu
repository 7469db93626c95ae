// Labels of k-means, those of _reference/lloyd.py to the last tie, where rows of
// DS slabs fit into shared memory.
#define WIDTH (DS * 64)
#define STAGES 4

#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
// A block has 128 rows in shared memory; the centres go by in tiles of 128. PARTS is 2,
// or 1 for a coarse look at the high parts alone. Dynamic shared memory: PARTS DS +
// STAGES slabs.
template <int PARTS>
__device__ __forceinline__ void find_nearest(uint8_t *rows, Found &half,
                                             const uint16_t *x_high,
                                             const uint16_t *x_low, int64_t n,
                                             const uint16_t *c_high,
                                             const uint16_t *c_low, const float *c_half,
                                             int k, const Labels &to) {
    uint8_t *stages = rows + PARTS * DS * SLAB_BYTES;
    const Place place;
    const int64_t first = (int64_t)blockIdx.x * 128;
#pragma unroll
    for (int s = 0; s < DS; s++) {
        load_rows(rows + s * SLAB_BYTES, x_high, first, n, WIDTH, s, to.some);
        if (PARTS == 2)
            load_rows(rows + (DS + s) * SLAB_BYTES, x_low, first, n, WIDTH, s, to.some);
    }
    // The slabs of a tile: high (and low) of the first 64 values, of the next, …
    const int per_tile = PARTS * DS, total = (k + 127) / 128 * per_tile;
    for (int p = 0; p < STAGES - 1; p++) {
        if (p < total)
            load_rows(stages + p * SLAB_BYTES, p % PARTS ? c_low : c_high,
                      p / per_tile * 128, k, WIDTH, p % per_tile / PARTS);
        commit_copies();
    }
    Best best[4];
#pragma unroll
    for (int i = 0; i < 4; i++) best[i] = {FAR, FAR, NOBODY};
    float sums[2][8][4];
    for (int q = 0; q < total; q++) {
        const int within = q % per_tile;
        wait_for_copies<STAGES - 2>();
        __syncthreads(); // slab q is there for all, that of q - 1 is free for all
        const int p = q + STAGES - 1;
        if (p < total)
            load_rows(stages + p % STAGES * SLAB_BYTES, p % PARTS ? c_low : c_high,
                      p / per_tile * 128, k, WIDTH, p % per_tile / PARTS);
        commit_copies();
        if (within == 0) clear(sums);
        const uint8_t *slab = stages + q % STAGES * SLAB_BYTES;
        const uint8_t *part = rows + within / PARTS * SLAB_BYTES;
        if (within % PARTS)
            multiply_parts<1>(sums, part, 0, slab, place.at_row, place.at_center);
        else
            multiply_parts<PARTS>(sums, part, DS * SLAB_BYTES, slab, place.at_row,
                                  place.at_center);
        if (within == per_tile - 1) add_tile(best, sums, c_half, q / per_tile, k, place);
    }
    wait_for_copies<0>();
    write_labels(best, place, first, n, half, to);
}
#endif

extern "C" __global__ void __launch_bounds__(256, 1)
    assign_coarsely(const uint16_t *__restrict__ x_high,
                    const float *__restrict__ x_half, int64_t n,
                    const uint16_t *__restrict__ c_high,
                    const float *__restrict__ c_half, int k,
                    const float *__restrict__ c_half_max, float error,
                    int *__restrict__ labels, int64_t *__restrict__ open,
                    uint64_t *__restrict__ n_open) {
    DYNAMIC_SHARED(uint8_t, rows);
    __shared__ Found half;
#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
    const Labels to = {nullptr, x_half, c_half_max, error, labels, open, n_open};
    find_nearest<1>(rows, half, x_high, nullptr, n, c_high, nullptr, c_half, k, to);
#endif
}

// With a list, of the rows on it: `n` is not their number then.
extern "C" __global__ void __launch_bounds__(256, 1)
    assign(const int64_t *__restrict__ some, const uint64_t *__restrict__ n_some,
           const uint16_t *__restrict__ x_high, const uint16_t *__restrict__ x_low,
           const float *__restrict__ x_half, int64_t n,
           const uint16_t *__restrict__ c_high, const uint16_t *__restrict__ c_low,
           const float *__restrict__ c_half, int k,
           const float *__restrict__ c_half_max, float error, int *__restrict__ labels,
           int64_t *__restrict__ open, uint64_t *__restrict__ n_open) {
    DYNAMIC_SHARED(uint8_t, rows);
    __shared__ Found half;
#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
    if (some) n = (int64_t)n_some[0];
    if ((int64_t)blockIdx.x * 128 >= n) return; // all of a block
    const Labels to = {some, x_half, c_half_max, error, labels, open, n_open};
    find_nearest<2>(rows, half, x_high, x_low, n, c_high, c_low, c_half, k, to);
#endif
}
