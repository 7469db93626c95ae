// Values to codes, packed codes and rounded values, and codes to values. A warp has a
// segment of a row, a lane four values of it (five for t5). Thresholds and steps have
// one row, or (`per_row`) one for each row.
#define SEGMENT 1024    // a multiple of 4 and of 128
#define SEGMENT_T5 1280 // a multiple of 5 and of 32

__device__ __forceinline__ int code_of(real x, real threshold, int five_levels) {
    const real m = magnitude(x);
    int code = m > threshold;
    if (five_levels) code += m > (real)3 * threshold;
    return x < 0 ? -code : code;
}

// The parameters of a segment. Within it a column is a small number, so that finding
// its group takes no division, or one of 32 bits.
struct Parameters {
    const real *first; // that of the first column
    unsigned before, size;
    int boundary; // where the second group starts, if it is as large as a segment

    __device__ __forceinline__ real at(int column) const {
        return first[size ? (before + column) / size : column >= boundary];
    }
};
__device__ __forceinline__ Parameters parameters(const real *values, int per_row,
                                                 const Segment &s, int64_t group_size,
                                                 int64_t n_groups) {
    const int64_t group = n_groups == 1 ? 0 : divide(s.first, group_size);
    const int64_t before = s.first - group * group_size;
    const bool small = n_groups > 1 && group_size < SEGMENT_T5;
    const int64_t boundary =
        n_groups == 1 ? SEGMENT_T5 : min(group_size - before, (int64_t)SEGMENT_T5);
    return {values + (per_row ? s.row * n_groups : 0) + group,
            small ? (unsigned)before : 0u, small ? (unsigned)group_size : 0u,
            (int)boundary};
}

// Codes of the four values from column `c` of the segment on.
__device__ __forceinline__ void codes4(const real (&v)[4], int c, int n,
                                       const Parameters &p, int five_levels,
                                       int (&codes)[4]) {
    real t = p.at(c);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i && i < n) t = p.at(c + i);
        codes[i] = code_of(v[i], t, five_levels);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    quantize_codes(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                   const real *__restrict__ thresholds, int per_row, int64_t group_size,
                   int64_t n_groups, int five_levels, int whole,
                   int8_t *__restrict__ codes) {
    const int64_t per = (n_columns + SEGMENT - 1) / SEGMENT;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT, n_columns);
        const Parameters p = parameters(thresholds, per_row, s, group_size, n_groups);
        for (int c = 4 * (threadIdx.x & 31); c < s.n; c += 128) {
            real v[4];
            int found[4];
            load4(x + s.row * n_columns + s.first + c, s.n - c, whole, v);
            codes4(v, c, s.n - c, p, five_levels, found);
            store4(codes + s.row * n_columns + s.first + c, s.n - c, whole, found);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    quantize_pack_t2(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                     const real *__restrict__ thresholds, int per_row,
                     int64_t group_size, int64_t n_groups, int whole,
                     uint8_t *__restrict__ packed) {
    const int64_t per = (n_columns + SEGMENT - 1) / SEGMENT;
    const int64_t row_bytes = (n_columns + 3) / 4;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT, n_columns);
        const Parameters p = parameters(thresholds, per_row, s, group_size, n_groups);
        const real *row = x + s.row * n_columns + s.first;
        real v[SEGMENT / 128][4];
#pragma unroll
        for (int j = 0; j < SEGMENT / 128; j++) {
            const int c = 4 * (threadIdx.x & 31) + 128 * j;
            load4(row + c, s.n - c, whole, v[j]);
        }
#pragma unroll
        for (int j = 0; j < SEGMENT / 128; j++) {
            const int c = 4 * (threadIdx.x & 31) + 128 * j;
            if (c >= s.n) break;
            int found[4];
            codes4(v[j], c, s.n - c, p, 0, found);
            unsigned byte = 0x55; // of codes 0
#pragma unroll
            for (int i = 0; i < 4; i++) byte += found[i] * (1 << 2 * i);
            packed[s.row * row_bytes + (s.first + c) / 4] = (uint8_t)byte;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    quantize_pack_t5(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                     const real *__restrict__ thresholds, int per_row,
                     int64_t group_size, int64_t n_groups,
                     uint8_t *__restrict__ packed) {
    const int64_t per = (n_columns + SEGMENT_T5 - 1) / SEGMENT_T5;
    const int64_t row_bytes = (n_columns + 4) / 5;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT_T5, n_columns);
        const Parameters p = parameters(thresholds, per_row, s, group_size, n_groups);
        const real *row = x + s.row * n_columns + s.first;
        for (int c = 5 * (threadIdx.x & 31); c < s.n; c += 160) {
            int byte = 121, weight = 1; // of codes 0
#pragma unroll
            for (int i = 0; i < 5; i++) {
                if (c + i < s.n) byte += code_of(row[c + i], p.at(c + i), 0) * weight;
                weight *= 3;
            }
            packed[s.row * row_bytes + (s.first + c) / 5] = (uint8_t)byte;
        }
    }
}

// An expression of CuPy would make 0 of the smallest numbers.
extern "C" __global__ void __launch_bounds__(256, 1)
    divided(const real *__restrict__ x, int64_t n, real divisor,
            real *__restrict__ out) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * blockDim.x)
        out[i] = x[i] / divisor;
}

// Steps are the scales divided by the largest code.
extern "C" __global__ void __launch_bounds__(256, 1)
    quantize_values(const real *__restrict__ x, int64_t n_rows, int64_t n_columns,
                    const real *__restrict__ thresholds, int per_row,
                    const real *__restrict__ steps, int steps_per_row,
                    int64_t group_size, int64_t n_groups, int five_levels, int whole,
                    real *__restrict__ values) {
    const int64_t per = (n_columns + SEGMENT - 1) / SEGMENT;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT, n_columns);
        const Parameters p = parameters(thresholds, per_row, s, group_size, n_groups);
        const Parameters q = parameters(steps, steps_per_row, s, group_size, n_groups);
        for (int c = 4 * (threadIdx.x & 31); c < s.n; c += 128) {
            real v[4];
            int found[4];
            load4(x + s.row * n_columns + s.first + c, s.n - c, whole, v);
            codes4(v, c, s.n - c, p, five_levels, found);
#pragma unroll
            for (int i = 0; i < 4; i++)
                v[i] = c + i < s.n ? (real)found[i] * q.at(c + i) : (real)0;
            store4(values + s.row * n_columns + s.first + c, s.n - c, whole, v);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    code_values(const int8_t *__restrict__ codes, int64_t n_rows, int64_t n_columns,
                const real *__restrict__ steps, int per_row, int64_t group_size,
                int64_t n_groups, int whole, real *__restrict__ values) {
    const int64_t per = (n_columns + SEGMENT - 1) / SEGMENT;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, SEGMENT, n_columns);
        const Parameters p = parameters(steps, per_row, s, group_size, n_groups);
        for (int c = 4 * (threadIdx.x & 31); c < s.n; c += 128) {
            real v[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                v[i] = c + i < s.n ? (real)codes[s.row * n_columns + s.first + c + i] *
                                         p.at(c + i)
                                   : (real)0;
            store4(values + s.row * n_columns + s.first + c, s.n - c, whole, v);
        }
    }
}

// A lane has the `UNIT` values of a byte.
template <int UNIT>
__device__ __forceinline__ void
unpack_values(const uint8_t *__restrict__ packed, int64_t n_rows, int64_t n_columns,
              const real *__restrict__ steps, int per_row, int64_t group_size,
              int64_t n_groups, int whole, real *__restrict__ values) {
    const int64_t row_bytes = (n_columns + UNIT - 1) / UNIT;
    const int size = UNIT * 256;
    const int64_t per = (n_columns + size - 1) / size;
    for (int64_t item = warp_index(); item < n_rows * per; item += n_warps()) {
        const Segment s = segment(item, per, size, n_columns);
        const Parameters p = parameters(steps, per_row, s, group_size, n_groups);
        real *row = values + s.row * n_columns + s.first;
        const uint8_t *from = packed + s.row * row_bytes + s.first / UNIT;
        const int lane = threadIdx.x & 31, n_bytes = (s.n + UNIT - 1) / UNIT;
        unsigned bytes[8]; // on their way together
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int b = lane + 32 * j;
            bytes[j] = b < n_bytes ? from[b] : 0;
        }
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int c = UNIT * (lane + 32 * j);
            if (c >= s.n) break;
            unsigned byte = bytes[j];
            real v[UNIT];
#pragma unroll
            for (int i = 0; i < UNIT; i++) {
                const int code = next_code<UNIT>(byte);
                v[i] = c + i < s.n ? (real)code * p.at(c + i) : (real)0;
            }
            if (UNIT == 4) {
                const real four[4] = {v[0], v[1], v[2], v[3]};
                store4(row + c, s.n - c, whole, four);
            } else {
#pragma unroll
                for (int i = 0; i < UNIT; i++)
                    if (c + i < s.n) row[c + i] = v[i];
            }
        }
    }
}
extern "C" __global__ void __launch_bounds__(256, 1)
    unpack_values_t2(const uint8_t *__restrict__ packed, int64_t n_rows,
                     int64_t n_columns, const real *__restrict__ steps, int per_row,
                     int64_t group_size, int64_t n_groups, int whole,
                     real *__restrict__ values) {
    unpack_values<4>(packed, n_rows, n_columns, steps, per_row, group_size, n_groups,
                     whole, values);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    unpack_values_t5(const uint8_t *__restrict__ packed, int64_t n_rows,
                     int64_t n_columns, const real *__restrict__ steps, int per_row,
                     int64_t group_size, int64_t n_groups, int whole,
                     real *__restrict__ values) {
    unpack_values<5>(packed, n_rows, n_columns, steps, per_row, group_size, n_groups,
                     whole, values);
}
