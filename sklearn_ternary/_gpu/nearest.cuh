// What the kernels that find the nearest centres on tensor cores share. The score of a
// centre c for a row x is |c|^2 / 2 - x . c; its smallest is the nearest centre.
//
// Values are kept as two bfloat16 that add up to 16 bits, and x . c is the sum of three
// products on tensor cores, or of the first of them for a coarse look. Where the two
// best scores of a row are closer than the errors of that can be, the row is put on a
// list, to be done again: in three products, and then in float64.
//
// A slab is 64 values of 128 rows.
#define SLAB_BYTES 16384
#define FAR __uint_as_float(0x7f800000u)
#define NOBODY 0x7fffffff

#if defined(GPU_EMULATOR) || __CUDA_ARCH__ >= 800
// 128 rows of 64 values; chunks of 16 bytes are swapped in odd rows. The rows are those
// on the list `some`, if there is one.
__device__ __forceinline__ void load_rows(uint8_t *slab, const uint16_t *from,
                                          int64_t first, int64_t n, int64_t width,
                                          int part, const int64_t *some = nullptr) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int c = threadIdx.x + 256 * i, r = c >> 3, chunk = c & 7;
        const bool there = first + r < n;
        const int64_t row = !there ? 0 : some ? some[first + r] : first + r;
        const uint16_t *source = from + row * width + part * 64 + chunk * 8;
        copy_async(slab + r * 128 + ((chunk ^ (r & 1)) << 4), source, there);
    }
}

// PARTS parts of the rows, so many bytes apart, times one of the centres.
template <int PARTS>
__device__ __forceinline__ void
multiply_parts(float (&sums)[2][8][4], const uint8_t *rows, int apart,
               const uint8_t *centers, int at_row, int at_center) {
    uint4 a[PARTS][2][2][2];
#pragma unroll
    for (int q = 0; q < PARTS; q++)
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const uint8_t *p = rows + q * apart + i * 2048 + h * 1024;
                a[q][i][h][0] = *(const uint4 *)(p + at_row);
                a[q][i][h][1] = *(const uint4 *)(p + (at_row ^ 16));
            }
#pragma unroll
    for (int n = 0; n < 8; n++) {
        const uint4 b0 = *(const uint4 *)(centers + at_center + n * 1024);
        const uint4 b1 = *(const uint4 *)(centers + (at_center ^ 16) + n * 1024);
#pragma unroll
        for (int s = 0; s < 4; s++) {
            const unsigned b[2] = {word(b0, s), word(b1, s)};
#pragma unroll
            for (int q = 0; q < PARTS; q++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const unsigned four[4] = {
                        word(a[q][i][0][0], s), word(a[q][i][1][0], s),
                        word(a[q][i][0][1], s), word(a[q][i][1][1], s)};
                    mma_bf16(sums[i][n], four, b);
                }
        }
    }
}

struct Best {
    float score, second;
    int center;
    __device__ __forceinline__ void add(float s, int j) {
        if (s < score) {
            second = score;
            score = s;
            center = j;
        } else
            second = fminf(second, s);
    }
    __device__ __forceinline__ void merge(float s, float s2, int j) {
        second = fminf(fmaxf(s, score), fminf(s2, second));
        if (s < score || (s == score && j < center)) {
            score = s;
            center = j;
        }
    }
};

// Where the values of a thread lie: of the rows wm to wm + 31 of the block and, in each
// tile of 128 centres, the centres wn to wn + 63.
struct Place {
    int g, t, wm, wn, at_row, at_center;
    __device__ __forceinline__ Place() {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
        g = lane >> 2, t = lane & 3;
        wm = (warp & 3) * 32, wn = (warp >> 2) * 64;
        const int swapped = (2 * t ^ (g & 1)) << 4;
        at_row = (wm + g) * 128 + swapped, at_center = (wn + g) * 128 + swapped;
    }
    __device__ __forceinline__ int row(int i) const {
        return wm + (i >> 1) * 16 + (i & 1) * 8 + g;
    }
};

__device__ __forceinline__ void clear(float (&sums)[2][8][4]) {
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int m = 0; m < 8; m++)
#pragma unroll
            for (int e = 0; e < 4; e++) sums[i][m][e] = 0.0f;
}

// Compare the products with the centres of a tile.
__device__ __forceinline__ void add_tile(Best (&best)[4], const float (&sums)[2][8][4],
                                         const float *c_half, int tile, int k,
                                         const Place &place) {
    const int c0 = tile * 128 + place.wn + 2 * place.t;
#pragma unroll
    for (int m = 0; m < 8; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int j = c0 + m * 8 + e;
            const float half = j < k ? c_half[j] : FAR;
#pragma unroll
            for (int i = 0; i < 4; i++)
                best[i].add(half - sums[i >> 1][m][2 * (i & 1) + e], j);
        }
}

struct Labels {
    const int64_t *some; // the rows, or null where they are all
    const float *x_half, *c_half_max;
    float error;
    int *labels;
    int64_t *open;
    uint64_t *n_open;
};

// What one half of the warps found, for the other. In shared memory.
struct Found {
    float scores[128], seconds[128];
    int centers[128];
};

// Merge what the threads of a row found, and write its label.
__device__ __forceinline__ void write_labels(Best (&best)[4], const Place &place,
                                             int64_t first, int64_t n,
                                             Found &half, const Labels &to) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        for (int d = 1; d < 4; d <<= 1) {
            const float s = __shfl_xor_sync(WARP, best[i].score, d);
            const float s2 = __shfl_xor_sync(WARP, best[i].second, d);
            best[i].merge(s, s2, __shfl_xor_sync(WARP, best[i].center, d));
        }
    // Two warps have halves of the centres of each tile.
    if (place.wn && place.t == 0)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = place.row(i);
            half.scores[r] = best[i].score;
            half.seconds[r] = best[i].second;
            half.centers[r] = best[i].center;
        }
    __syncthreads(); // the other half is written
    if (place.wn || place.t) return;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int r = place.row(i);
        best[i].merge(half.scores[r], half.seconds[r], half.centers[r]);
        if (first + r >= n) continue;
        const int64_t row = to.some ? to.some[first + r] : first + r;
        to.labels[row] = best[i].center;
        const float norms = 2.0f * sqrtf(to.x_half[row]) * sqrtf(to.c_half_max[0]) +
                            to.c_half_max[0];
        // Also where something is beyond the range, or below it.
        if (!(best[i].second - best[i].score > to.error * norms + 1e-33f))
            to.open[atomicAdd(to.n_open, (uint64_t)1)] = row;
    }
}
#endif
