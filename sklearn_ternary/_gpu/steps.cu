// Steps of optimizers on the flat array of all parameters, to the bit those of
// _reference/steps.py. The array is cut into pieces at the ends of segments. Half a warp
// has a block of values, which it adds in lanes; the blocks of a piece are then added
// one after another, and the pieces of a segment.
#define BLOCK 256
#define LANES 16
#define BLOCKS 64 // in a piece
#define N_SUMS 5

// The block of this half of a warp, of which `n` values from `first` on are there.
struct Block {
    int64_t first;
    int n, segment;
};
__device__ __forceinline__ Block block_at(int64_t item, const int64_t *pieces,
                                          const int *owner) {
    const int64_t piece = item / BLOCKS;
    const int64_t first = pieces[2 * piece] + item % BLOCKS * BLOCK;
    const int64_t n = min((int64_t)BLOCK, pieces[2 * piece + 1] - first);
    return {first, (int)max(n, (int64_t)0), owner[piece]};
}
__device__ __forceinline__ int64_t block_index() {
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / LANES;
}
__device__ __forceinline__ int64_t n_halves() {
    return (int64_t)gridDim.x * blockDim.x / LANES;
}

// Lanes of the sums of a block: g g, g s', s s, g s and p p.
struct Sums {
    float of[N_SUMS];
    __device__ __forceinline__ void add(float g, float old, float s, float p) {
        of[0] += g * g;
        of[1] += g * old;
        of[2] += s * s;
        of[3] += g * s;
        of[4] += p * p;
    }
    __device__ __forceinline__ void write(int64_t item, int64_t n_items, float *out) {
#pragma unroll
        for (int j = 0; j < N_SUMS; j++) {
            float sum = of[j];
            for (int d = LANES / 2; d; d >>= 1) sum += __shfl_xor_sync(WARP, sum, d);
            if (threadIdx.x % LANES == 0) out[j * n_items + item] = sum;
        }
    }
};
__device__ __forceinline__ float without_dust(float x, float limit) {
    return fabsf(x) < limit ? 0.0f : x;
}

// Calls `one` for the values of every block, and adds up what that gives to the sums.
template <class F>
__device__ __forceinline__ void for_blocks(const int64_t *pieces, const int *owner,
                                           int64_t n_items, float *block_sums, F one) {
    // Pieces have an even number of blocks, so both halves of a warp have one.
    for (int64_t item = block_index(); item < n_items; item += n_halves()) {
        const Block b = block_at(item, pieces, owner);
        Sums sums = {{0, 0, 0, 0, 0}};
        for (int i = threadIdx.x % LANES; i < b.n; i += LANES)
            one(b.first + i, b.segment, sums);
        sums.write(item, n_items, block_sums);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    adamw_direction(const int64_t *pieces, const int *owner, int64_t n_items,
                    const float *gradient, const float *parameters, float *first,
                    float *second, float *direction, const float *decay, float scale,
                    float beta_1, float new_1, float beta_2, float new_2,
                    float correction_1, float correction_2, float epsilon,
                    float *block_sums) {
    auto one = [&](int64_t k, int segment, Sums &sums) {
        const float g = without_dust(gradient[k] * scale, 1e-15f);
        const float p = parameters[k], old = direction[k];
        const float m = without_dust(first[k] * beta_1 + new_1 * g, 1e-15f);
        const float v = without_dust(second[k] * beta_2 + new_2 * (g * g), 1e-36f);
        const float root = sqrtf(v * correction_2) + epsilon;
        const float s = -(m * correction_1 / root + decay[segment] * p);
        first[k] = m;
        second[k] = v;
        direction[k] = s;
        sums.add(g, old, s, p);
    };
    for_blocks(pieces, owner, n_items, block_sums, one);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    sgd_direction(const int64_t *pieces, const int *owner, int64_t n_items,
                  const float *gradient, const float *parameters, float *first,
                  float *direction, const float *decay, float scale, float momentum,
                  float *block_sums) {
    auto one = [&](int64_t k, int segment, Sums &sums) {
        const float g = without_dust(gradient[k] * scale, 1e-15f);
        const float p = parameters[k], old = direction[k];
        const float m = without_dust(first[k] * momentum + g, 1e-15f);
        const float s = -(decay[segment] * p + m);
        first[k] = m;
        direction[k] = s;
        sums.add(g, old, s, p);
    };
    for_blocks(pieces, owner, n_items, block_sums, one);
}

// The rows of a segment are of one length: `rows` has where it begins, its first row and
// their length.
extern "C" __global__ void __launch_bounds__(256, 1)
    shared_direction(const int64_t *pieces, const int *owner, int64_t n_items,
                     const float *gradient, const float *parameters, float *first,
                     const float *divisors, float *direction, const int64_t *rows,
                     const float *decay, float scale, float beta_1, float new_1,
                     float correction_1, float *block_sums) {
    auto one = [&](int64_t k, int segment, Sums &sums) {
        const int64_t *of = rows + 3 * segment;
        const float divisor = divisors[of[1] + (k - of[0]) / of[2]];
        const float g = without_dust(gradient[k] * scale, 1e-15f);
        const float p = parameters[k], old = direction[k];
        const float m = without_dust(first[k] * beta_1 + new_1 * g, 1e-15f);
        const float s = -(m * correction_1 / divisor + decay[segment] * p);
        first[k] = m;
        direction[k] = s;
        sums.add(g, old, s, p);
    };
    for_blocks(pieces, owner, n_items, block_sums, one);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    apply_step(const int64_t *pieces, const int *owner, int64_t n_items,
               float *parameters, const float *direction, const float *factors) {
    const int lane = threadIdx.x % LANES;
    for (int64_t item = block_index(); item < n_items; item += n_halves()) {
        const Block b = block_at(item, pieces, owner);
        const float factor = factors[b.segment];
        for (int i = lane; i < b.n; i += LANES)
            parameters[b.first + i] += factor * direction[b.first + i];
    }
}

// A thread for each sum of a piece, and then of a segment, whose pieces are those from
// ends[i] to ends[i + 1].
extern "C" __global__ void __launch_bounds__(256, 1)
    piece_sums(const float *block_sums, int64_t n_pieces, double *sums) {
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < N_SUMS * n_pieces;
         i += (int64_t)gridDim.x * 256) {
        double sum = 0;
        for (int b = 0; b < BLOCKS; b++) sum += (double)block_sums[i * BLOCKS + b];
        sums[i] = sum;
    }
}
extern "C" __global__ void __launch_bounds__(256, 1)
    segment_sums(const double *sums, const int64_t *ends, int64_t n_pieces,
                 int64_t n_segments, double *out) {
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < N_SUMS * n_segments;
         i += (int64_t)gridDim.x * 256) {
        const int64_t segment = i / N_SUMS, j = i % N_SUMS;
        double sum = 0;
        for (int64_t k = ends[segment]; k < ends[segment + 1]; k++)
            sum += sums[j * n_pieces + k];
        out[i] = sum;
    }
}

// Sums of squares, or of magnitudes, of parts of the array: a warp for each.
extern "C" __global__ void __launch_bounds__(256, 1)
    part_sums(const float *x, const int64_t *bounds, int64_t n_parts, int squares,
              double *out) {
    for (int64_t r = warp_index(); r < n_parts; r += n_warps()) {
        double sum = 0;
        for (int64_t i = bounds[r] + (threadIdx.x & 31); i < bounds[r + 1]; i += 32)
            sum += squares ? (double)x[i] * (double)x[i] : (double)fabsf(x[i]);
        sum = warp_sum(sum);
        if ((threadIdx.x & 31) == 0) out[r] = sum;
    }
}

// Gradients of three levels: half a warp for each row, whose magnitudes it adds in lanes.
extern "C" __global__ void __launch_bounds__(256, 1)
    ternary_gradient(float *gradient, float *residual, const int64_t *bounds,
                     int64_t n_rows, float scale) {
    // Both halves of a warp go through the loop alike, as the sums need all lanes.
    for (int64_t pair = warp_index(); 2 * pair < n_rows; pair += n_warps()) {
        const int64_t row = 2 * pair + (threadIdx.x & 31) / LANES;
        const int64_t first = bounds[min(row, n_rows)];
        const int64_t end = bounds[min(row + 1, n_rows)];
        const int64_t start = first + threadIdx.x % LANES;
        double total = 0;
        for (int64_t i = start; i < end; i += LANES) {
            residual[i] += gradient[i] * scale;
            total += (double)fabsf(residual[i]);
        }
        for (int d = LANES / 2; d; d >>= 1) total += __shfl_xor_sync(WARP, total, d);
        const double mean = total / (double)(end - first);
        const float limit = 0.7f * (float)mean;
        double large = 0;
        int64_t count = 0;
        for (int64_t i = start; i < end; i += LANES)
            if (!(fabsf(residual[i]) < limit)) {
                large += (double)fabsf(residual[i]);
                count++;
            }
        for (int d = LANES / 2; d; d >>= 1) {
            large += __shfl_xor_sync(WARP, large, d);
            count += __shfl_xor_sync(WARP, count, d);
        }
        const float level = (float)(0.5 * (large / (double)count + mean));
        for (int64_t i = start; i < end; i += LANES) {
            const float r = residual[i];
            const float signed_level = r < 0 ? -level : level;
            const float rounded = fabsf(r) < limit ? 0.0f : signed_level;
            gradient[i] = rounded;
            residual[i] = r - rounded;
        }
    }
}
