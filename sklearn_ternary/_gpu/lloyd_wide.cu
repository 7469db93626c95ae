// Labels of k-means as in lloyd.cu, for rows of any length: slabs of the rows go by like
// those of the centres, again for each tile of centres.
#define UNIT_BYTES (4 * SLAB_BYTES)

#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
// The slabs of a unit: high and low of 64 values of the rows, and of those of a tile.
struct Source {
    const uint16_t *x_high, *x_low, *c_high, *c_low;
    int64_t first, n, width;
    int k, slabs;
    __device__ __forceinline__ void load(uint8_t *unit, int q) const {
        const int tile = q / slabs * 128, part = q % slabs;
        load_rows(unit, x_high, first, n, width, part);
        load_rows(unit + SLAB_BYTES, x_low, first, n, width, part);
        load_rows(unit + 2 * SLAB_BYTES, c_high, tile, k, width, part);
        load_rows(unit + 3 * SLAB_BYTES, c_low, tile, k, width, part);
    }
};
#endif

// A block has 128 rows. Dynamic shared memory: UNITS units.
extern "C" __global__ void __launch_bounds__(256, 1)
    assign_wide(const uint16_t *__restrict__ x_high, const uint16_t *__restrict__ x_low,
                const float *__restrict__ x_half, int64_t n,
                const uint16_t *__restrict__ c_high, const uint16_t *__restrict__ c_low,
                const float *__restrict__ c_half, int k,
                const float *__restrict__ c_half_max, float error,
                int *__restrict__ labels, int64_t *__restrict__ open,
                uint64_t *__restrict__ n_open, int slabs) {
    DYNAMIC_SHARED(uint8_t, units);
#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
    __shared__ Found half;
    const Place place;
    const int64_t first = (int64_t)blockIdx.x * 128, width = (int64_t)slabs * 64;
    const Source source = {x_high, x_low, c_high, c_low, first, n, width, k, slabs};
    const int total = (k + 127) / 128 * slabs;
    for (int p = 0; p < UNITS - 1; p++) {
        if (p < total) source.load(units + p * UNIT_BYTES, p);
        commit_copies();
    }
    Best best[4];
#pragma unroll
    for (int i = 0; i < 4; i++) best[i] = {FAR, FAR, NOBODY};
    float sums[2][8][4];
    clear(sums);
    for (int q = 0; q < total; q++) {
#if UNITS == 1
        __syncthreads(); // what was read is free for all
        source.load(units, q);
        commit_copies();
        wait_for_copies<0>();
        __syncthreads(); // the only unit is there for all
#else
        wait_for_copies<UNITS - 2>();
        __syncthreads(); // unit q is there for all, that of q - 1 is free for all
        const int p = q + UNITS - 1;
        if (p < total) source.load(units + p % UNITS * UNIT_BYTES, p);
        commit_copies();
#endif
        const uint8_t *rows = units + q % UNITS * UNIT_BYTES;
        const uint8_t *centers = rows + 2 * SLAB_BYTES;
        multiply_parts<2>(sums, rows, SLAB_BYTES, centers, place.at_row,
                          place.at_center);
        multiply_parts<1>(sums, rows, 0, centers + SLAB_BYTES, place.at_row,
                          place.at_center);
        if ((q + 1) % slabs == 0) {
            add_tile(best, sums, c_half, q / slabs, k, place);
            clear(sums);
        }
    }
    wait_for_copies<0>();
    write_labels(best, place, first, n, half,
                 {nullptr, x_half, c_half_max, error, labels, open, n_open});
#endif
}
