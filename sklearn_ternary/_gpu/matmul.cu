// Ternary weights times activations rounded to int8, exact but for the scales.
//
// Weights are codes + 1 of two bits, sixteen to a 32-bit word. A shift and a mask take
// elements s, s + 4, s + 8 and s + 12 of a word to four bytes. Activations lie so that
// these meet theirs: in each sixteen, element 4 b + s is at 4 s + b. What the 1 that
// was added to the codes contributes is the sum of the activations, subtracted
// afterwards. Groups of columns that share a scale are padded to slabs of 128 with
// activations 0.
#define SLAB 128

// Rows to int8, as quantize_activations of _reference/matmul.py: a block for each row.
// In `sums` are the sums of each group.
extern "C" __global__ void __launch_bounds__(128, 1)
    quantize_rows(const float *__restrict__ x, int64_t n_columns, int64_t group_size,
                  int n_groups, int slabs, uint32_t *__restrict__ q,
                  float *__restrict__ steps, int *__restrict__ sums) {
    __shared__ float warp_maxima[4];
    __shared__ int warp_sums[4];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const float *row = x + blockIdx.x * n_columns;
    float most = 0;
    bool finite = true;
    for (int64_t i = threadIdx.x; i < n_columns; i += 128) {
        const float m = fabsf(row[i]);
        finite = finite && m <= 3.40282347e38f;
        most = fmaxf(most, m);
    }
    if (!finite) most = __uint_as_float(0x7f800000u);
    for (int d = 16; d; d >>= 1) most = fmaxf(most, __shfl_xor_sync(WARP, most, d));
    if (lane == 0) warp_maxima[warp] = most;
    __syncthreads(); // the maxima are written
    most = fmaxf(fmaxf(warp_maxima[0], warp_maxima[1]),
                 fmaxf(warp_maxima[2], warp_maxima[3]));
    finite = most <= 3.40282347e38f;
    most = fmaxf(most, 1e-5f);
    const float factor = 127.0f / most;
    if (threadIdx.x == 0)
        steps[blockIdx.x] = finite ? most / 127.0f : __uint_as_float(0x7fc00000u);
    const int words = slabs * (SLAB / 4); // of a group
    for (int g = 0; g < n_groups; g++) {
        const int64_t first = g * group_size, last = min(first + group_size, n_columns);
        uint32_t *out = q + (blockIdx.x * (int64_t)n_groups + g) * words;
        int sum = 0;
        for (int p = threadIdx.x; p < words; p += 128) {
            uint32_t bytes = 0;
#pragma unroll
            for (int b = 0; b < 4; b++) {
                const int64_t i = first + 16 * (p >> 2) + 4 * b + (p & 3);
                float v = i < last && finite ? rintf(row[i] * factor) : 0.0f;
                v = fminf(fmaxf(v, -128.0f), 127.0f);
                sum += (int)v;
                bytes |= ((uint32_t)(int)v & 255u) << 8 * b;
            }
            out[p] = bytes;
        }
        sum = warp_sum(sum);
        __syncthreads(); // the last group's sums are read
        if (lane == 0) warp_sums[warp] = sum;
        __syncthreads(); // the sums are written
        if (threadIdx.x == 0)
            sums[blockIdx.x * (int64_t)n_groups + g] =
                warp_sums[0] + warp_sums[1] + warp_sums[2] + warp_sums[3];
    }
}

// One row of activations for each blockIdx.y; a warp has two rows of weights.
extern "C" __global__ void __launch_bounds__(256, 4)
    gemv(const uint4 *__restrict__ weights, const uint4 *__restrict__ q,
         const float *__restrict__ steps, const int *__restrict__ sums,
         const float *__restrict__ scales, int n_results, int n_groups, int slabs,
         float *__restrict__ y) {
    const int lane = threadIdx.x & 31, first = 2 * (int)warp_index();
    if (first >= n_results) return; // whole warps
    const int second = min(first + 1, n_results - 1);
    const int64_t vectors = (int64_t)slabs * 2; // of a group, 64 codes each
    const uint4 *a = q + blockIdx.y * (int64_t)n_groups * vectors * 4;
    const uint4 *w0 = weights + (int64_t)first * n_groups * vectors;
    const uint4 *w1 = weights + (int64_t)second * n_groups * vectors;
    float total0 = 0, total1 = 0;
    for (int g = 0; g < n_groups; g++) {
        int sum0 = 0, sum1 = 0;
        for (int64_t i = g * vectors + lane; i < (g + 1) * vectors; i += 32) {
            const uint4 u = w0[i], v = w1[i];
#pragma unroll
            for (int h = 0; h < 4; h++) {
                const uint4 x = a[4 * i + h];
                const unsigned p = word(u, h), r = word(v, h);
#pragma unroll
                for (int s = 0; s < 4; s++) {
                    const int four = (int)word(x, s);
                    sum0 = __dp4a((int)(p >> 2 * s & 0x03030303u), four, sum0);
                    sum1 = __dp4a((int)(r >> 2 * s & 0x03030303u), four, sum1);
                }
            }
        }
        const int offset = sums[blockIdx.y * (int64_t)n_groups + g];
        sum0 = warp_sum(sum0) - offset;
        sum1 = warp_sum(sum1) - offset;
        total0 += scales[(int64_t)first * n_groups + g] * (float)sum0;
        total1 += scales[(int64_t)second * n_groups + g] * (float)sum1;
    }
    if (lane == 0) {
        float *row = y + blockIdx.y * (int64_t)n_results;
        row[first] = total0 * steps[blockIdx.y];
        if (second > first) row[second] = total1 * steps[blockIdx.y];
    }
}

#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
// Tiles of 128 rows by 128 WIDTH results, in slabs of 128 columns on tensor cores; 8
// warps of 32 WIDTH rows by 64 results. Wide tiles read the activations half as often,
// where there are tiles enough for all multiprocessors. Chunks of 16 bytes are swapped
// in odd rows, so that the reads of a warp meet all banks.
template <int WIDTH>
__device__ __forceinline__ void load_slab(uint8_t *stage, const int8_t *q,
                                          const uint8_t *weights, int m0, int n0,
                                          int n_rows, int n_results, int columns,
                                          int slab) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int c = threadIdx.x + 256 * i, r = c >> 3, chunk = c & 7;
        const bool there = m0 + r < n_rows;
        const int8_t *from =
            q + (int64_t)(there ? m0 + r : 0) * columns + slab * SLAB + chunk * 16;
        copy_async(stage + r * 128 + ((chunk ^ (r & 1)) << 4), from, there);
    }
#pragma unroll
    for (int i = 0; i < WIDTH; i++) {
        const int c = threadIdx.x + 256 * i, r = c >> 1, chunk = c & 1;
        const bool there = n0 + r < n_results;
        const uint8_t *from = weights + (int64_t)(there ? n0 + r : 0) * (columns / 4) +
                              slab * (SLAB / 4) + chunk * 16;
        copy_async(stage + 16384 + r * 32 + chunk * 16, from, there);
    }
}

template <int WIDTH>
__device__ __forceinline__ void multiply_slab(int (&sums)[2 * WIDTH][8][4],
                                              const uint8_t *stage, int wm, int wn,
                                              int g, int t) {
    uint4 a[2 * WIDTH][2][2];
#pragma unroll
    for (int i = 0; i < 2 * WIDTH; i++)
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const int r = wm + i * 16 + h * 8 + g;
                a[i][h][j] =
                    *(const uint4 *)(stage + r * 128 + (((2 * t + j) ^ (r & 1)) << 4));
            }
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const uint2 b = *(const uint2 *)(stage + 16384 + (wn + n * 8 + g) * 32 + t * 8);
#pragma unroll
        for (int s = 0; s < 4; s++) {
            const unsigned codes[2] = {b.x >> 2 * s & 0x03030303u,
                                       b.y >> 2 * s & 0x03030303u};
#pragma unroll
            for (int i = 0; i < 2 * WIDTH; i++) {
                const unsigned rows[4] = {word(a[i][0][0], s), word(a[i][1][0], s),
                                          word(a[i][0][1], s), word(a[i][1][1], s)};
                mma_s8(sums[i][n], rows, codes);
            }
        }
    }
}

// With GROUPED, scaled sums of groups are added in registers; else there is one group.
template <bool GROUPED, int WIDTH>
__device__ __forceinline__ void
multiply(const int8_t *__restrict__ q, const uint8_t *__restrict__ weights,
         const float *__restrict__ steps, const int *__restrict__ offsets,
         const float *__restrict__ scales, int n_rows, int n_results, int n_groups,
         int slabs, float *__restrict__ y, uint8_t *memory) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2,
              t = lane & 3;
    const int along = 4 / WIDTH; // warps along the rows
    const int wm = warp % along * 32 * WIDTH, wn = warp / along * 64;
    const int m0 = blockIdx.y * 128, n0 = blockIdx.x * 128 * WIDTH,
              n_slabs = GROUPED ? n_groups * slabs : slabs;
    const int columns = n_slabs * SLAB;
    constexpr int STAGES = 2 + WIDTH, STAGE_BYTES = 16384 + 4096 * WIDTH;
    int sums[2 * WIDTH][8][4] = {};
    float totals[GROUPED ? 2 : 1][GROUPED ? 8 : 1][4] = {};
    for (int p = 0; p < STAGES - 1; p++) {
        if (p < n_slabs)
            load_slab<WIDTH>(memory + p * STAGE_BYTES, q, weights, m0, n0, n_rows, n_results,
                      columns, p);
        commit_copies();
    }
    for (int k = 0; k < n_slabs; k++) {
        wait_for_copies<STAGES - 2>();
        __syncthreads(); // slab k is there for all, that of k - 1 is free for all
        const int next = k + STAGES - 1;
        if (next < n_slabs)
            load_slab<WIDTH>(memory + next % STAGES * STAGE_BYTES, q, weights, m0, n0, n_rows,
                      n_results, columns, next);
        commit_copies();
        multiply_slab<WIDTH>(sums, memory + k % STAGES * STAGE_BYTES, wm, wn, g, t);
        if (!GROUPED || (k + 1) % slabs) continue;
        const int group = k / slabs;
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int row = m0 + wm + i * 16 + (e >> 1) * 8 + g;
                    const int result = n0 + wn + n * 8 + 2 * t + (e & 1);
                    if (GROUPED && row < n_rows && result < n_results)
                        totals[i][n][e] +=
                            scales[(int64_t)result * n_groups + group] *
                            (float)(sums[i][n][e] -
                                    offsets[(int64_t)row * n_groups + group]);
                    sums[i][n][e] = 0;
                }
    }
    wait_for_copies<0>();
#pragma unroll
    for (int i = 0; i < 2 * WIDTH; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int row = m0 + wm + i * 16 + h * 8 + g;
            if (row >= n_rows) continue;
            const float step = steps[row];
            const int offset = GROUPED ? 0 : offsets[row];
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int result = n0 + wn + n * 8 + 2 * t + e;
                    if (result >= n_results) continue;
                    const float total =
                        GROUPED
                            ? totals[i][n][2 * h + e]
                            : scales[result] * (float)(sums[i][n][2 * h + e] - offset);
                    y[(int64_t)row * n_results + result] = total * step;
                }
        }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    gemm(const int8_t *__restrict__ q, const uint8_t *__restrict__ weights,
         const float *__restrict__ steps, const int *__restrict__ sums,
         const float *__restrict__ scales, int n_rows, int n_results, int n_groups,
         int slabs, float *__restrict__ y) {
    DYNAMIC_SHARED(uint8_t, memory);
    multiply<false, 1>(q, weights, steps, sums, scales, n_rows, n_results, n_groups, slabs,
                    y, memory);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    gemm_wide(const int8_t *__restrict__ q, const uint8_t *__restrict__ weights,
              const float *__restrict__ steps, const int *__restrict__ sums,
              const float *__restrict__ scales, int n_rows, int n_results, int n_groups,
              int slabs, float *__restrict__ y) {
    DYNAMIC_SHARED(uint8_t, memory);
    multiply<false, 2>(q, weights, steps, sums, scales, n_rows, n_results, n_groups,
                       slabs, y, memory);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    gemm_grouped(const int8_t *__restrict__ q, const uint8_t *__restrict__ weights,
                 const float *__restrict__ steps, const int *__restrict__ sums,
                 const float *__restrict__ scales, int n_rows, int n_results,
                 int n_groups, int slabs, float *__restrict__ y) {
    DYNAMIC_SHARED(uint8_t, memory);
    multiply<true, 1>(q, weights, steps, sums, scales, n_rows, n_results, n_groups, slabs,
                   y, memory);
}
#endif
