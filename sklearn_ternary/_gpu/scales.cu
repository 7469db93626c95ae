// Scales and thresholds of groups, to the bit those of _reference/quantize.py.
#define TWN_RATIO 0.7
#define STAGED 2048 // sums in shared memory

enum { ABSMEAN, TWN_THRESHOLD, TWN_SCALE, ABSMAX };

// Sum and largest magnitude of each chunk, as the definition adds them.
extern "C" __global__ void __launch_bounds__(256, 1)
    abs_sums(const real *__restrict__ x, int64_t n_columns, int64_t group_size,
             int64_t n_groups, int64_t chunks, int64_t n_items,
             double *__restrict__ sums, real *__restrict__ maxima) {
    const int lane = threadIdx.x & 31;
    for (int64_t item = warp_index(); item < n_items; item += n_warps()) {
        const Chunk c = chunk_of(item, chunks, n_columns, group_size, n_groups);
        double sum = 0;
        real most = 0;
        for (int64_t i = c.first + lane; i < c.last; i += 32 * IN_FLIGHT) {
            real v[IN_FLIGHT];
#pragma unroll
            for (int j = 0; j < IN_FLIGHT; j++)
                v[j] = i + 32 * j < c.last ? magnitude(x[i + 32 * j]) : (real)0;
#pragma unroll
            for (int j = 0; j < IN_FLIGHT; j++) {
                sum += (double)v[j];
                most = larger(most, v[j]);
            }
        }
        sum = warp_sum(sum);
        for (int d = 16; d; d >>= 1)
            most = larger(most, __shfl_xor_sync(WARP, most, d));
        if (lane == 0) {
            sums[item] = sum;
            maxima[item] = most;
        }
    }
}

// The same for the magnitudes above `weight` thresholds of the group, and their number.
extern "C" __global__ void __launch_bounds__(256, 1)
    abs_sums_above(const real *__restrict__ x, int64_t n_columns, int64_t group_size,
                   int64_t n_groups, int64_t chunks, int64_t n_items,
                   const real *__restrict__ thresholds, real weight,
                   double *__restrict__ sums, int64_t *__restrict__ counts) {
    const int lane = threadIdx.x & 31;
    for (int64_t item = warp_index(); item < n_items; item += n_warps()) {
        const Chunk c = chunk_of(item, chunks, n_columns, group_size, n_groups);
        const real threshold = weight * thresholds[c.group];
        double sum = 0;
        int count = 0;
        for (int64_t i = c.first + lane; i < c.last; i += 32 * IN_FLIGHT) {
            real v[IN_FLIGHT];
#pragma unroll
            for (int j = 0; j < IN_FLIGHT; j++)
                v[j] = i + 32 * j < c.last ? magnitude(x[i + 32 * j]) : (real)0;
#pragma unroll
            for (int j = 0; j < IN_FLIGHT; j++) {
                const bool above = v[j] > threshold;
                sum += above ? (double)v[j] : 0.0;
                count += above;
            }
        }
        sum = warp_sum(sum);
        count = warp_sum(count);
        if (lane == 0) {
            sums[item] = sum;
            counts[item] = count;
        }
    }
}

// The statistic of a group from its sum, rounded to `real`. It rises with the sum.
__device__ __forceinline__ real statistic(int kind, double sum, int64_t size,
                                          int64_t count) {
    if (kind == TWN_SCALE) return count ? (real)(sum / (double)count) : (real)0;
    const double mean = sum / (double)size;
    return (real)(kind == TWN_THRESHOLD ? TWN_RATIO * mean : mean);
}

__device__ __forceinline__ void write_group(int64_t group, int kind, int n_levels,
                                            real value, real most,
                                            real *__restrict__ scales,
                                            real *__restrict__ thresholds) {
    if (!is_finite(most)) {
        scales[group] = thresholds[group] = NAN_REAL;
    } else if (kind == TWN_THRESHOLD) {
        thresholds[group] = value;
    } else if (kind == TWN_SCALE) {
        scales[group] = value;
        if (value == 0) thresholds[group] = INFINITY_REAL;
    } else {
        const real scale = kind == ABSMAX ? most : value;
        scales[group] = scale;
        thresholds[group] = threshold_of(scale, n_levels);
    }
}

// Groups of few chunks: a thread for each.
extern "C" __global__ void __launch_bounds__(256, 1)
    few_chunks(int kind, int n_levels, int64_t n_columns, int64_t group_size,
               int64_t n_groups, int64_t chunks, int64_t n_all,
               const double *__restrict__ sums, const int64_t *__restrict__ counts,
               const real *__restrict__ maxima, real *__restrict__ largest,
               real *__restrict__ scales, real *__restrict__ thresholds) {
    for (int64_t group = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; group < n_all;
         group += (int64_t)gridDim.x * blockDim.x) {
        double sum = 0;
        int64_t count = 0;
        real most = 0;
        for (int64_t c = group * chunks; c < (group + 1) * chunks; c++) {
            sum += sums[c];
            if (counts) count += counts[c];
            most = larger(most, maxima[c]);
        }
        largest[group] = most;
        const int64_t size = size_of_group(group, n_columns, group_size, n_groups);
        write_group(group, kind, n_levels, statistic(kind, sum, size, count), most,
                    scales, thresholds);
    }
}

// Groups of many chunks: a block for each. Adding one after another is slow here, so
// the chunks are added side by side first. Both sums have a relative error below
// `chunks` units in the last place: if the statistic is the same at both ends of what
// that leaves open, it is that of the definition. It nearly always is for float.
extern "C" __global__ void __launch_bounds__(256, 1)
    many_chunks(int kind, int n_levels, int64_t n_columns, int64_t group_size,
                int64_t n_groups, int64_t chunks, int64_t n_all, double slack,
                const double *__restrict__ sums, const int64_t *__restrict__ counts,
                const real *__restrict__ maxima, real *__restrict__ largest,
                real *__restrict__ scales, real *__restrict__ thresholds) {
    __shared__ double staged[STAGED];
    __shared__ double warp_sums[8];
    __shared__ int64_t warp_counts[8];
    __shared__ real warp_maxima[8];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int64_t group = blockIdx.x; group < n_all; group += gridDim.x) {
        const int64_t base = group * chunks;
        double sum = 0;
        int64_t count = 0;
        real most = 0;
        for (int64_t c = threadIdx.x; c < chunks; c += 256) {
            sum += sums[base + c];
            if (counts) count += counts[base + c];
            most = larger(most, maxima[base + c]);
        }
        sum = warp_sum(sum);
        count = warp_sum(count);
        for (int d = 16; d; d >>= 1)
            most = larger(most, __shfl_xor_sync(WARP, most, d));
        __syncthreads(); // the last group's are read
        if (lane == 0) {
            warp_sums[warp] = sum;
            warp_counts[warp] = count;
            warp_maxima[warp] = most;
        }
        __syncthreads(); // written by all warps
        sum = 0, count = 0, most = 0;
        for (int w = 0; w < 8; w++) {
            sum += warp_sums[w];
            count += warp_counts[w];
            most = larger(most, warp_maxima[w]);
        }
        const int64_t size = size_of_group(group, n_columns, group_size, n_groups);
        const real low = statistic(kind, sum * (1 - slack), size, count);
        const real high = statistic(kind, sum * (1 + slack), size, count);
        if (low != high && is_finite(most)) {
            sum = 0; // of thread 0 alone
            for (int64_t start = 0; start < chunks; start += STAGED) {
                const int n = (int)min((int64_t)STAGED, chunks - start);
                for (int c = threadIdx.x; c < n; c += 256)
                    staged[c] = sums[base + start + c];
                __syncthreads(); // staged by all
                if (threadIdx.x == 0)
                    for (int c = 0; c < n; c++) sum += staged[c];
                __syncthreads(); // before it is staged anew
            }
        }
        if (threadIdx.x == 0) {
            largest[group] = most;
            write_group(group, kind, n_levels, statistic(kind, sum, size, count), most,
                        scales, thresholds);
        }
    }
}

#ifdef DOUBLE
extern "C" __global__ void __launch_bounds__(128, 1)
    extreme_groups(int kind, int n_levels, const double *__restrict__ x,
                   int64_t n_columns, int64_t group_size, int64_t n_groups,
                   int64_t n_all, const double *__restrict__ largest,
                   double *__restrict__ scales, double *__restrict__ thresholds) {
    for (int64_t group = warp_index(); group < n_all; group += n_warps()) {
        const double most = largest[group];
        if (!is_extreme(most)) continue;
        const int exponent = scaling_exponent(most);
        const int64_t size = size_of_group(group, n_columns, group_size, n_groups);
        const int64_t row = divide(group, n_groups);
        const double *values =
            x + row * n_columns + (group - row * n_groups) * group_size;
        int64_t count;
        double scale, threshold;
        if (kind == ABSMAX) {
            scale = ldexp(most, -exponent);
            threshold = threshold_of(scale, n_levels);
        } else {
            const double mean =
                scaled_sum(values, size, exponent, -1.0, &count) / (double)size;
            scale = mean;
            threshold = threshold_of(scale, n_levels);
            if (kind == TWN_SCALE) {
                threshold = TWN_RATIO * mean;
                const double sum =
                    scaled_sum(values, size, exponent, threshold, &count);
                scale = count ? sum / (double)count : 0.0;
            }
        }
        write_scaled(group, scale, threshold, exponent, scales, thresholds);
    }
}
#endif

// Magnitudes added to the columns' sums row by row; a thread for each column.
extern "C" __global__ void __launch_bounds__(128, 1)
    column_abs_sum(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                   double *__restrict__ total) {
    const int64_t column = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= n_columns) return;
    double sum = total[column];
    for (int64_t r = 0; r < n_rows; r += IN_FLIGHT) {
        real v[IN_FLIGHT];
#pragma unroll
        for (int j = 0; j < IN_FLIGHT; j++)
            v[j] =
                r + j < n_rows ? magnitude(x[(r + j) * n_columns + column]) : (real)0;
#pragma unroll
        for (int j = 0; j < IN_FLIGHT; j++) sum += (double)v[j];
    }
    total[column] = sum;
}

// Magnitudes are ordered as their bits are.
extern "C" __global__ void __launch_bounds__(128, 1)
    column_abs_max(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                   int64_t rows_per_block, bits *__restrict__ largest) {
    const int64_t column = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= n_columns) return;
    const int64_t first = blockIdx.y * rows_per_block;
    const int64_t last = min(first + rows_per_block, n_rows);
    real most = 0;
    for (int64_t r = first; r < last; r++)
        most = larger(most, magnitude(x[r * n_columns + column]));
    atomicMax(largest + column, BITS_OF(most));
}

// Flat index of the first value that is not finite, or what `first` holds before.
extern "C" __global__ void __launch_bounds__(256, 1)
    find_nonfinite(const real *__restrict__ x, int64_t n,
                   uint64_t *__restrict__ first) {
    uint64_t found = ~(uint64_t)0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * blockDim.x)
        if (!is_finite(x[i]) && (uint64_t)i < found) found = i;
    if (found != ~(uint64_t)0) atomicMin(first, found);
}
