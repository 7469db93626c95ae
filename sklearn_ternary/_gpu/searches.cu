// Scales of least squared error, and those that keep the norm: _best_scale and _norm of
// _reference/quantize.py. As the step of the levels falls, the codes of the magnitudes
// rise one after another, the largest first. An event is one that rises; after it, the
// squared sum of codes times magnitudes over the sum of squared codes is to be largest.
#define EVENTS 4096

struct Summit {
    double score;
    int64_t ones, twos; // magnitudes with codes of at least 1, and 2
};

__device__ __forceinline__ bool is_higher(const Summit &a, const Summit &b) {
    return a.score > b.score ||
           (a.score == b.score && a.ones + a.twos < b.ones + b.twos);
}

__device__ __forceinline__ Summit highest_of_warp(Summit best) {
    for (int d = 16; d; d >>= 1) {
        const Summit other = {__shfl_xor_sync(WARP, best.score, d),
                              __shfl_xor_sync(WARP, best.ones, d),
                              __shfl_xor_sync(WARP, best.twos, d)};
        if (is_higher(other, best)) best = other;
    }
    return best;
}

// Magnitudes of `n` groups, each in a row of `group_size`, with zeros where it is short.
extern "C" __global__ void __launch_bounds__(256, 1)
    group_magnitudes(const real *__restrict__ x, int64_t n_columns, int64_t group_size,
                     int64_t n_groups, int64_t first, int64_t n,
                     real *__restrict__ rows) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n * group_size;
         i += (int64_t)gridDim.x * blockDim.x) {
        const int64_t g = divide(i, group_size), group = first + g;
        const int64_t row = divide(group, n_groups);
        const int64_t column = (group - row * n_groups) * group_size + i - g * group_size;
        rows[i] = column < n_columns ? magnitude(x[row * n_columns + column]) : (real)0;
    }
}

__device__ __forceinline__ double widened(real x, int exponent) {
    return exponent ? ldexp((double)x, -exponent) : (double)x;
}

// Ascending rows, turned around.
extern "C" __global__ void __launch_bounds__(256, 1)
    descending(const real *__restrict__ rows, const real *__restrict__ largest,
               int64_t group_size, int64_t n, double *__restrict__ turned) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n * group_size;
         i += (int64_t)gridDim.x * blockDim.x) {
        const int64_t g = divide(i, group_size), k = i - g * group_size;
        turned[i] = widened(rows[(g + 1) * group_size - 1 - k],
                            scaling_exponent(largest[g]));
    }
}

// A group, sorted: magnitudes number k from the largest on, and sums of the first k.
struct Sorted {
    const real *last;
    const double *sums;
    int64_t size;
    int exponent;

    __device__ __forceinline__ double value(int64_t k) const {
        return widened(last[-k], exponent);
    }
    __device__ __forceinline__ double sum(int64_t k) const { return k ? sums[k - 1] : 0; }
    // The steps where codes become 1 and 2.
    __device__ __forceinline__ double one(int64_t k) const { return value(k) / 0.5; }
    __device__ __forceinline__ double two(int64_t k) const { return value(k) / 1.5; }
    // Whether j becomes 2 before i becomes 1: that of the larger one, if it is a tie.
    __device__ __forceinline__ bool is_before(int64_t j, int64_t i) const {
        const double a = two(j), b = one(i);
        return a > b || (a == b && j < i);
    }
    // How many are 2 before i becomes 1, and how many are 1 before j becomes 2.
    __device__ __forceinline__ int64_t twos_before(int64_t i) const {
        int64_t low = 0, high = size;
        while (low < high) {
            const int64_t j = low + (high - low) / 2;
            if (is_before(j, i)) low = j + 1;
            else high = j;
        }
        return low;
    }
    __device__ __forceinline__ int64_t ones_before(int64_t j) const {
        int64_t low = 0, high = size;
        while (low < high) {
            const int64_t i = low + (high - low) / 2;
            if (is_before(j, i)) high = i;
            else low = i + 1;
        }
        return low;
    }
};

// Where the next event raises the score it is no summit. Near one it hardly changes, so
// that this is told from the magnitude, as the definition does.
__device__ __forceinline__ double score_of(const Sorted &x, int64_t ones, int64_t twos,
                                           int five_levels) {
    const double dots = x.sum(ones) + x.sum(twos);
    const double squares = (double)ones + 3.0 * (double)twos;
    const bool may_one = ones < x.size, may_two = five_levels && twos < x.size;
    if (may_one || may_two) {
        const bool two = may_two && (!may_one || x.is_before(twos, ones));
        const double more = x.value(two ? twos : ones), weight = two ? 3.0 : 1.0;
        if (squares * (more * (2 * dots + more)) > weight * (dots * dots)) return -1;
    }
    return dots * dots / squares;
}

// The highest summit among EVENTS events of a group, by a warp.
extern "C" __global__ void __launch_bounds__(256, 1)
    summits(const real *__restrict__ rows, const double *__restrict__ sums,
            const real *__restrict__ largest, int64_t group_size, int five_levels,
            int64_t chunks, int64_t n_items, double *__restrict__ scores,
            int64_t *__restrict__ places) {
    for (int64_t item = warp_index(); item < n_items; item += n_warps()) {
        const int64_t g = divide(item, chunks);
        const Sorted x = {rows + (g + 1) * group_size - 1, sums + g * group_size,
                          group_size, scaling_exponent(largest[g])};
        const int64_t first = (item - g * chunks) * EVENTS;
        const int64_t last = min(first + EVENTS, group_size << five_levels);
        Summit best = {-2, 0, 0};
        for (int64_t e = first + (threadIdx.x & 31); e < last; e += 32) {
            Summit here = {0, e + 1, 0};
            if (e >= group_size) {
                here.twos = e - group_size + 1;
                here.ones = x.ones_before(e - group_size);
            } else if (five_levels) {
                here.twos = x.twos_before(e);
            }
            here.score = score_of(x, here.ones, here.twos, five_levels);
            if (is_higher(here, best)) best = here;
        }
        best = highest_of_warp(best);
        if ((threadIdx.x & 31) == 0) {
            scores[item] = best.score;
            places[2 * item] = best.ones;
            places[2 * item + 1] = best.twos;
        }
    }
}

// The largest magnitudes with codes 0, and of at most 1, at the highest summit of each
// group. A warp has a group.
extern "C" __global__ void __launch_bounds__(256, 1)
    cuts(const real *__restrict__ rows, int64_t group_size, int64_t chunks, int64_t n,
         const double *__restrict__ scores, const int64_t *__restrict__ places,
         real *__restrict__ cut_ones, real *__restrict__ cut_twos) {
    for (int64_t g = warp_index(); g < n; g += n_warps()) {
        Summit best = {-2, 0, 0};
        for (int64_t c = threadIdx.x & 31; c < chunks; c += 32) {
            const int64_t item = g * chunks + c;
            const Summit here = {scores[item], places[2 * item], places[2 * item + 1]};
            if (is_higher(here, best)) best = here;
        }
        best = highest_of_warp(best);
        const real *last = rows + (g + 1) * group_size - 1;
        if ((threadIdx.x & 31) == 0) {
            cut_ones[g] = best.ones < group_size ? last[-best.ones] : (real)0;
            cut_twos[g] = best.twos < group_size ? last[-best.twos] : (real)0;
        }
    }
}

__device__ __forceinline__ double best_scale(double dots, int64_t ones, int64_t twos) {
    const int64_t squares = ones + 3 * twos;
    return squares ? dots / (double)squares * (twos ? 2.0 : 1.0) : 0.0;
}
__device__ __forceinline__ double norm_scale(double square_sum, int64_t ones,
                                             int64_t twos, int n_levels) {
    const int64_t squares = ones + 3 * twos;
    return squares ? sqrt(square_sum / (double)squares) * (double)(n_levels / 2) : 0.0;
}

__device__ __forceinline__ double added(const double *__restrict__ sums, int64_t group,
                                        int64_t chunks) {
    double sum = 0;
    for (int64_t c = 0; c < chunks; c++) sum += sums[group * chunks + c];
    return sum;
}
__device__ __forceinline__ int64_t added(const int64_t *__restrict__ counts,
                                         int64_t group, int64_t chunks) {
    int64_t count = 0;
    for (int64_t c = 0; c < chunks; c++) count += counts[group * chunks + c];
    return count;
}

// Scales from the sums and numbers of what is above the cuts (no twos: three levels).
extern "C" __global__ void __launch_bounds__(256, 1)
    least_squares(int n_levels, int64_t chunks, int64_t n_all,
                  const double *__restrict__ ones, const int64_t *__restrict__ n_ones,
                  const double *__restrict__ twos, const int64_t *__restrict__ n_twos,
                  const real *__restrict__ largest, real *__restrict__ scales,
                  real *__restrict__ thresholds) {
    for (int64_t group = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; group < n_all;
         group += (int64_t)gridDim.x * blockDim.x) {
        double dots = added(ones, group, chunks);
        if (twos) dots += added(twos, group, chunks);
        const int64_t n = twos ? added(n_twos, group, chunks) : 0;
        const real scale = rounded(best_scale(dots, added(n_ones, group, chunks), n));
        const bool finite = is_finite(largest[group]);
        scales[group] = finite ? scale : NAN_REAL;
        thresholds[group] = finite ? threshold_of(scale, n_levels) : NAN_REAL;
    }
}

// Sums of squares of the chunks.
extern "C" __global__ void __launch_bounds__(256, 1)
    square_sums(const real *__restrict__ x, int64_t n_columns, int64_t group_size,
                int64_t n_groups, int64_t chunks, int64_t n_items,
                double *__restrict__ sums) {
    for (int64_t item = warp_index(); item < n_items; item += n_warps()) {
        const Chunk c = chunk_of(item, chunks, n_columns, group_size, n_groups);
        double sum = 0;
        for (int64_t i = c.first + (threadIdx.x & 31); i < c.last; i += 32)
            sum += (double)x[i] * (double)x[i];
        sum = warp_sum(sum);
        if ((threadIdx.x & 31) == 0) sums[item] = sum;
    }
}

// Scales that keep the norm, for the numbers of codes that the thresholds give.
extern "C" __global__ void __launch_bounds__(256, 1)
    kept_norms(int n_levels, int64_t chunks, int64_t n_all,
               const double *__restrict__ squares, const int64_t *__restrict__ n_ones,
               const int64_t *__restrict__ n_twos, const real *__restrict__ largest,
               real *__restrict__ scales, real *__restrict__ thresholds) {
    for (int64_t group = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; group < n_all;
         group += (int64_t)gridDim.x * blockDim.x) {
        if (!is_finite(largest[group])) continue;
        const int64_t n = n_twos ? added(n_twos, group, chunks) : 0;
        const real scale =
            rounded(norm_scale(added(squares, group, chunks),
                               added(n_ones, group, chunks), n, n_levels));
        scales[group] = scale;
        if (scale == 0) thresholds[group] = INFINITY_REAL;
    }
}

#ifdef DOUBLE
extern "C" __global__ void __launch_bounds__(128, 1)
    extreme_searches(int keep_norm, int n_levels, const double *__restrict__ x,
                     int64_t n_columns, int64_t group_size, int64_t n_groups,
                     int64_t n_all, const double *__restrict__ largest,
                     const double *__restrict__ cut_ones,
                     const double *__restrict__ cut_twos, double *__restrict__ scales,
                     double *__restrict__ thresholds) {
    for (int64_t group = warp_index(); group < n_all; group += n_warps()) {
        if (!is_extreme(largest[group])) continue;
        const int e = scaling_exponent(largest[group]);
        const int64_t size = size_of_group(group, n_columns, group_size, n_groups);
        const int64_t row = divide(group, n_groups);
        const double *values =
            x + row * n_columns + (group - row * n_groups) * group_size;
        int64_t n_ones, n_twos = 0;
        double dots =
            scaled_sum(values, size, e, ldexp(cut_ones[group], -e), &n_ones);
        if (n_levels == 5)
            dots += scaled_sum(values, size, e, ldexp(cut_twos[group], -e), &n_twos);
        double scale = rounded(best_scale(dots, n_ones, n_twos));
        const double threshold = threshold_of(scale, n_levels);
        if (keep_norm) {
            scaled_sum(values, size, e, threshold, &n_ones);
            n_twos = 0;
            if (n_levels == 5) scaled_sum(values, size, e, 3 * threshold, &n_twos);
            int64_t all;
            const double squares = scaled_sum<true>(values, size, e, -1.0, &all);
            scale = rounded(norm_scale(squares, n_ones, n_twos, n_levels));
        }
        write_scaled(group, scale, threshold, e, scales, thresholds);
    }
}
#endif
