// Sums over codes for a step: what steps between clipping and rounding are found from.
// Magnitudes lie sorted, from the largest on, with the sums of the first k of them and
// of their squares. Two lists of a group are of its negative values and the others; each
// has a largest code, its limit.

// Rows of magnitudes, with zeros where a value is not of the list and behind the last.
extern "C" __global__ void __launch_bounds__(256, 1)
    signed_magnitudes(const real *__restrict__ x, const int64_t *__restrict__ bounds,
                      int64_t n_groups, int64_t width, int64_t n_all,
                      double *__restrict__ rows) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n_all;
         i += (int64_t)gridDim.x * blockDim.x) {
        const int64_t row = divide(i, width), k = i - row * width;
        const int64_t list = row >= n_groups, group = row - list * n_groups;
        const int64_t at = bounds[group] + k;
        const bool here = at < bounds[group + 1] && (x[at] < 0) == (list == 0);
        rows[i] = here ? (double)magnitude(x[at]) : 0.0;
    }
}

// Ascending rows, turned around and divided by a power of two of their group.
extern "C" __global__ void __launch_bounds__(256, 1)
    turned(const double *__restrict__ rows, const int *__restrict__ exponents,
           int64_t n_groups, int64_t width, int64_t n_all, double *__restrict__ out) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n_all;
         i += (int64_t)gridDim.x * blockDim.x) {
        const int64_t row = divide(i, width), k = i - row * width;
        const int exponent = exponents[row < n_groups ? row : row - n_groups];
        out[i] = ldexp(rows[(row + 1) * width - 1 - k], -exponent);
    }
}

struct List {
    const double *x, *sums, *squares;
    int64_t size;
    int limit;

    __device__ __forceinline__ int code(int64_t k, double step) const {
        const double c = floor(x[k] / step + 0.5);
        return c < (double)limit ? (int)c : limit;
    }
    // How many have at least this code.
    __device__ __forceinline__ int64_t count(int c, double step) const {
        int64_t low = 0, high = size;
        while (low < high) {
            const int64_t k = low + (high - low) / 2;
            if (floor(x[k] / step + 0.5) >= (double)c) low = k + 1;
            else high = k;
        }
        return low;
    }
    // Squared error of those that the largest code is too small for.
    __device__ __forceinline__ double clipping(double step) const {
        const double most = limit * step;
        int64_t low = 0, high = size;
        while (low < high) {
            const int64_t k = low + (high - low) / 2;
            if (x[k] > most) low = k + 1;
            else high = k;
        }
        if (!low) return 0;
        return squares[low - 1] + most * ((double)low * most - 2 * sums[low - 1]);
    }
};

__device__ __forceinline__ List list_of(const double *x, const double *sums,
                                        const double *squares, int64_t row,
                                        int64_t width, const int *limits) {
    return {x + row * width, sums + row * width, squares + row * width, width,
            limits[row]};
}

struct Sums {
    double dots, codes; // of codes times magnitudes, and of squared codes
    int64_t risen;      // of codes
};

// By a warp, whose lanes have codes in turn.
__device__ __forceinline__ Sums sums_at(const double *x, const double *sums,
                                        const double *squares, int64_t group,
                                        int64_t n_groups, int64_t width,
                                        const int *limits, double step) {
    Sums all = {0, 0, 0};
    for (int l = 0; l < 2; l++) {
        const List list =
            list_of(x, sums, squares, l * n_groups + group, width, limits);
        for (int c = 1 + (threadIdx.x & 31); c <= list.limit; c += 32) {
            const int64_t n = list.count(c, step);
            if (!n) break; // nor of larger codes
            all.dots += list.sums[n - 1];
            all.codes += (double)(2 * c - 1) * (double)n;
            all.risen += n;
        }
    }
    return {warp_sum(all.dots), warp_sum(all.codes), warp_sum(all.risen)};
}

// For steps number first, first + 1, ... each of a group: its number times `per_step`.
extern "C" __global__ void __launch_bounds__(256, 1)
    at_steps(const double *__restrict__ x, const double *__restrict__ sums,
             const double *__restrict__ squares, const int *__restrict__ limits,
             int64_t n_groups, int64_t width, int64_t first_group, int64_t per_group,
             int64_t n_steps, const double *__restrict__ steps,
             double *__restrict__ found) {
    for (int64_t i = warp_index(); i < n_steps; i += n_warps()) {
        const int64_t group = first_group + divide(i, per_group);
        const Sums s =
            sums_at(x, sums, squares, group, n_groups, width, limits, steps[i]);
        double clipped = 0;
        for (int l = 0; l < 2; l++)
            clipped += list_of(x, sums, squares, l * n_groups + group, width, limits)
                           .clipping(steps[i]);
        if ((threadIdx.x & 31) == 0) {
            found[4 * i] = s.dots;
            found[4 * i + 1] = s.codes;
            found[4 * i + 2] = (double)s.risen;
            found[4 * i + 3] = clipped;
        }
    }
}

// Squared errors of CHUNK magnitudes of a list.
#define CHUNK 4096

extern "C" __global__ void __launch_bounds__(256, 1)
    residuals(const double *__restrict__ x, const double *__restrict__ sums,
              const double *__restrict__ squares, const int *__restrict__ limits,
              int64_t n_groups, int64_t width, int64_t chunks, int64_t n_items,
              const double *__restrict__ steps, double *__restrict__ errors) {
    for (int64_t item = warp_index(); item < n_items; item += n_warps()) {
        const int64_t row = divide(item, chunks);
        const int64_t first = (item - row * chunks) * CHUNK;
        const List list = list_of(x, sums, squares, row, width, limits);
        const double step = steps[row < n_groups ? row : row - n_groups];
        double error = 0;
        for (int64_t k = first + (threadIdx.x & 31); k < min(first + CHUNK, width);
             k += 32) {
            const double rest = list.x[k] - step * list.code(k, step);
            error += rest * rest;
        }
        error = warp_sum(error);
        if ((threadIdx.x & 31) == 0) errors[item] = error;
    }
}

#define MAGNITUDES 32

// As the step falls from `tops` to `lowest`, codes rise one after another. After each,
// the best step removes dots^2 / codes of the squared error: the most of MAGNITUDES
// magnitudes, and the step.
extern "C" __global__ void __launch_bounds__(256, 1)
    sweep(const double *__restrict__ x, const double *__restrict__ sums,
          const double *__restrict__ squares, const int *__restrict__ limits,
          int64_t n_groups, int64_t width, int64_t chunks, int64_t n_items,
          const double *__restrict__ tops, const double *__restrict__ lowest,
          double *__restrict__ best) {
    for (int64_t item = warp_index(); item < n_items; item += n_warps()) {
        const int64_t row = divide(item, chunks);
        const int64_t first = (item - row * chunks) * MAGNITUDES;
        const int64_t group = row < n_groups ? row : row - n_groups;
        const List list = list_of(x, sums, squares, row, width, limits);
        const double top = tops[group], low = lowest[group];
        double most = -1, step = top;
        if (row == group && first == 0) { // before any code rises
            const Sums s =
                sums_at(x, sums, squares, group, n_groups, width, limits, top);
            if (s.codes > 0) {
                most = s.dots * s.dots / s.codes;
                step = min(s.dots / s.codes, top);
            }
        }
        for (int64_t k = first; k < min(first + MAGNITUDES, width); k++) {
            const int last = list.code(k, low);
            for (int c = list.code(k, top) + 1; c <= last; c++) {
                const Sums s = sums_at(x, sums, squares, group, n_groups, width, limits,
                                       list.x[k] / (c - 0.5));
                const double score = s.dots * s.dots / s.codes, own = s.dots / s.codes;
                if (own <= top && (score > most || (score == most && own > step)))
                    most = score, step = own;
            }
        }
        if ((threadIdx.x & 31) == 0) {
            best[2 * item] = most;
            best[2 * item + 1] = step;
        }
    }
}

// The best step of each group: of all items of both lists.
extern "C" __global__ void __launch_bounds__(256, 1)
    best_of_items(const double *__restrict__ best, int64_t n_groups, int64_t chunks,
                  double *__restrict__ steps) {
    for (int64_t group = warp_index(); group < n_groups; group += n_warps()) {
        double most = -2, step = 0;
        for (int64_t i = threadIdx.x & 31; i < 2 * chunks; i += 32) {
            const int64_t row = i < chunks ? group : n_groups + group;
            const int64_t item = row * chunks + (i < chunks ? i : i - chunks);
            const double score = best[2 * item], own = best[2 * item + 1];
            if (score > most || (score == most && own > step)) most = score, step = own;
        }
        for (int d = 16; d; d >>= 1) {
            const double score = __shfl_xor_sync(WARP, most, d);
            const double own = __shfl_xor_sync(WARP, step, d);
            if (score > most || (score == most && own > step)) most = score, step = own;
        }
        if ((threadIdx.x & 31) == 0) steps[group] = step;
    }
}
