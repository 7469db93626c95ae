// Integer codes with a zero point, and their values. A warp has a segment of a row.
#define SEGMENT 1024
#ifdef DOUBLE
#define NEAREST rint
#else
#define NEAREST rintf
#endif

// Where the parameters of a column are.
__device__ __forceinline__ int64_t place(const Segment &s, int c, int per_row,
                                         int64_t group_size, int64_t n_groups) {
    return (per_row ? s.row * n_groups : 0) + divide(s.first + c, group_size);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    affine_codes(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                 const real *__restrict__ zeros, const real *__restrict__ steps,
                 int per_row, int64_t group_size, int64_t n_groups, int lowest,
                 int highest, int8_t *__restrict__ codes) {
    const int64_t per = (n_columns + SEGMENT - 1) / SEGMENT;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT, n_columns);
        const int64_t start = s.row * n_columns + s.first;
        for (int c = threadIdx.x & 31; c < s.n; c += 32) {
            const int64_t p = place(s, c, per_row, group_size, n_groups);
            const real step = steps[p];
            real q = step == 0 ? (real)0 : NEAREST(x[start + c] / step);
            q += zeros[p];
            q = q < lowest ? (real)lowest : q > highest ? (real)highest : q;
            codes[start + c] = (int8_t)(int)q;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    affine_values(const int8_t *__restrict__ codes, int64_t n_rows, int64_t n_columns,
                  const real *__restrict__ zeros, const real *__restrict__ steps,
                  int per_row, int64_t group_size, int64_t n_groups,
                  real *__restrict__ values) {
    const int64_t per = (n_columns + SEGMENT - 1) / SEGMENT;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT, n_columns);
        const int64_t start = s.row * n_columns + s.first;
        for (int c = threadIdx.x & 31; c < s.n; c += 32) {
            const int64_t p = place(s, c, per_row, group_size, n_groups);
            values[start + c] = ((real)codes[start + c] - zeros[p]) * steps[p];
        }
    }
}
