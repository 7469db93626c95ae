// Groups of values that share a scale, and sums of float64 over them in the order of
// _reference/sums.py: a warp adds a chunk of a group in 32 lanes; the chunks are added
// one after another.
#define CHUNK 4096
#define IN_FLIGHT 8

struct Chunk {
    int64_t group, first, last; // from `first` to `last` of the flat array
};

__device__ __forceinline__ Chunk chunk_of(int64_t item, int64_t chunks,
                                          int64_t n_columns, int64_t group_size,
                                          int64_t n_groups) {
    const int64_t group = divide(item, chunks), chunk = item - group * chunks;
    const int64_t row = divide(group, n_groups), g = group - row * n_groups;
    const int64_t end = min((g + 1) * group_size, n_columns);
    const int64_t first = g * group_size + chunk * CHUNK;
    return {group, row * n_columns + first,
            row * n_columns + max(first, min(first + CHUNK, end))};
}

__device__ __forceinline__ real threshold_of(real scale, int n_levels) {
    if (scale == 0) return INFINITY_REAL;
    const real divisor = (real)(n_levels - 1), t = scale / divisor;
    return t * divisor > scale ? next_down(t) : t;
}

__device__ __forceinline__ int64_t size_of_group(int64_t group, int64_t n_columns,
                                                 int64_t group_size, int64_t n_groups) {
    const int64_t g = group - divide(group, n_groups) * n_groups;
    return min(group_size, n_columns - g * group_size);
}

// A scale that is found in double: the best one can lie beyond the largest number.
__device__ __forceinline__ real rounded(double scale) {
    return scale > (double)LARGEST_REAL ? LARGEST_REAL : (real)scale;
}

// Whether sums over a group, or of its squares, could leave the range. The definition
// scales such a group by a power of two first.
__device__ __forceinline__ bool is_extreme(real most) {
#ifdef DOUBLE
    return is_finite(most) && most != 0 && !(most > 1e-140 && most < 1e140);
#else
    return false;
#endif
}
__device__ __forceinline__ int scaling_exponent(real most) {
    int exponent = 0;
#ifdef DOUBLE
    if (is_extreme(most)) frexp(most, &exponent);
#endif
    return exponent;
}

#ifdef DOUBLE
// Sums over such a group by a warp, chunk after chunk: they are rare. Of the values, or
// of their squares, that are above something; and the number of these.
template <bool SQUARED = false>
__device__ __forceinline__ double scaled_sum(const double *__restrict__ x, int64_t size,
                                             int exponent, double above,
                                             int64_t *count) {
    const int lane = threadIdx.x & 31;
    double total = 0;
    int64_t found = 0;
    for (int64_t start = 0; start < size; start += CHUNK) {
        const int64_t end = min(start + CHUNK, size);
        double sum = 0;
        for (int64_t i = start + lane; i < end; i += 32) {
            const double v = ldexp(magnitude(x[i]), -exponent);
            if (v > above) sum += SQUARED ? v * v : v, found++;
        }
        total += warp_sum(sum);
    }
    *count = warp_sum(found);
    return total;
}

__device__ __forceinline__ void write_scaled(int64_t group, double scale,
                                             double threshold, int exponent,
                                             double *__restrict__ scales,
                                             double *__restrict__ thresholds) {
    double wide = ldexp(threshold, exponent); // rounded down
    if (ldexp(wide, -exponent) > threshold) wide = next_down(wide);
    scale = rounded(ldexp(scale, exponent));
    if ((threadIdx.x & 31) == 0) {
        scales[group] = scale;
        thresholds[group] = scale == 0 ? INFINITY_REAL : wide;
    }
}
#endif
