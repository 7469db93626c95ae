/* Included by segments.c, for float and for double. */

/* Runs of one group each within [start, end), for a body using `from`, `to`, `g`. */
#define EACH_RUN                                                                \
    for (ptrdiff_t from = start, to, g = start / group_size; from < end; from = to, ++g) \
        if (to = (g + 1) * group_size < end ? (g + 1) * group_size : end, 1)

void F(stern_codes)(const F(stern) *loops, const T *row, ptrdiff_t start, ptrdiff_t end,
                    const T *threshold, ptrdiff_t group_size, int five, int8_t *codes)
{
    if (group_size == 1)
        loops->codes_each(row + start, end - start, threshold + start, five, codes);
    else
        EACH_RUN
            loops->codes(row + from, to - from, threshold[g], five, codes + from - start);
}

void F(stern_pack)(const F(stern) *loops, const stern_codec *codec, const T *row,
                   ptrdiff_t start, ptrdiff_t end, const T *threshold,
                   ptrdiff_t group_size, int five, int layout, uint8_t *packed)
{
    int8_t codes[STERN_CHUNK];
    for (; start < end; start += STERN_CHUNK) {
        const ptrdiff_t n = end - start < STERN_CHUNK ? end - start : STERN_CHUNK;
        F(stern_codes)(loops, row, start, start + n, threshold, group_size, five, codes);
        codec->pack[layout](codes, n, packed + stern_packed_bytes(layout, start));
    }
}

void F(stern_code_values)(const F(stern) *loops, const int8_t *codes, ptrdiff_t start,
                          ptrdiff_t end, const T *step, ptrdiff_t group_size, T *values)
{
    if (group_size == 1)
        loops->values_each(codes, end - start, step + start, values);
    else
        EACH_RUN
            loops->values(codes + from - start, to - from, step[g], values + from - start);
}

void F(stern_values)(const F(stern) *loops, const T *row, ptrdiff_t start, ptrdiff_t end,
                     const T *threshold, const T *step, ptrdiff_t group_size, int five,
                     T *values)
{
    int8_t codes[STERN_CHUNK];
    for (ptrdiff_t s = start; s < end; s += STERN_CHUNK) {
        const ptrdiff_t e = end - s < STERN_CHUNK ? end : s + STERN_CHUNK;
        F(stern_codes)(loops, row, s, e, threshold, group_size, five, codes);
        F(stern_code_values)(loops, codes, s, e, step, group_size, values + s - start);
    }
}

void F(stern_unpack_values)(const F(stern) *loops, const stern_codec *codec,
                            const uint8_t *packed, ptrdiff_t start, ptrdiff_t end,
                            int layout, const T *step, ptrdiff_t group_size, T *values)
{
    int8_t codes[STERN_CHUNK];
    for (ptrdiff_t s = start; s < end; s += STERN_CHUNK) {
        const ptrdiff_t e = end - s < STERN_CHUNK ? end : s + STERN_CHUNK;
        codec->unpack[layout](packed + stern_packed_bytes(layout, s), e - s, codes);
        F(stern_code_values)(loops, codes, s, e, step, group_size, values + s - start);
    }
}
#undef EACH_RUN

/* Descending order; the few values left after narrowing. */
static void F(sort_descending)(T *v, ptrdiff_t n)
{
    static const ptrdiff_t gaps[] = {19903, 8861, 3937, 1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t k = 0; k < sizeof gaps / sizeof gaps[0]; ++k)
        for (ptrdiff_t i = gaps[k]; i < n; ++i) {
            const T x = v[i];
            ptrdiff_t j = i;
            for (; j >= gaps[k] && v[j - gaps[k]] < x; j -= gaps[k])
                v[j] = v[j - gaps[k]];
            v[j] = x;
        }
}

/* With m(t) the mean of the magnitudes above t, the best threshold satisfies
 * t = m(t) / 2, and m does not decrease. So where `bound` is under every solution
 * and m is known at some threshold not above it, half of that mean is under every
 * solution too; likewise from above. `slack` covers the rounding of the sums. */
static T F(raise_bound)(T bound, const T *thresholds, const double *sums,
                        const int64_t *counts)
{
    const double slack = sizeof(T) == 4 ? 1e-5 : 1e-9;
    for (int k = 0; k < STERN_N_ABOVE; ++k)
        if (thresholds[k] <= bound && counts[k] > 0) {
            const T next = (T)(sums[k] / (2 * (double)counts[k]) * (1 - slack));
            bound = next > bound ? next : bound;
        }
    return bound;
}

static T F(lower_bound)(T bound, const T *thresholds, const double *sums,
                        const int64_t *counts)
{
    const double slack = sizeof(T) == 4 ? 1e-5 : 1e-9;
    for (int k = STERN_N_ABOVE - 1; k >= 0; --k)
        if (thresholds[k] >= bound && counts[k] > 0) {
            const T next = (T)(sums[k] / (2 * (double)counts[k]) * (1 + slack));
            bound = next < bound ? next : bound;
        }
    return bound;
}

int F(stern_narrow)(const T *thresholds, const double *sums, const int64_t *counts,
                    T *low, T *high)
{
    T below = F(raise_bound)(*low, thresholds, sums, counts);
    const T above = F(lower_bound)(*high, thresholds, sums, counts);
    /* They can only cross by rounding. */
    below = below < above ? below : above;
    const int narrower = below > *low || above < *high;
    *low = below;
    *high = above;
    return narrower;
}

static void F(add_above)(const F(stern) *loops, const T *v, ptrdiff_t n, T threshold,
                         double *sum, int64_t *count)
{
    for (ptrdiff_t i = 0; i < n; i += STERN_SUM_CHUNK) {
        const ptrdiff_t m = n - i < STERN_SUM_CHUNK ? n - i : STERN_SUM_CHUNK;
        int64_t found;
        *sum += loops->abs_sum_above(v + i, m, threshold, &found);
        *count += found;
    }
}

T F(stern_best_threshold)(const F(stern) *loops, T *v, ptrdiff_t n, T low, T high,
                          double base_sum, int64_t base_count)
{
    if (base_count == 0 && n > 0) {
        /* No mean exceeds the largest, so no solution exceeds its half. */
        const T half = loops->abs_max(v, n) / 2;
        if (half < high) {
            high = half > low ? half : low;
            F(add_above)(loops, v, n, high, &base_sum, &base_count);
            n = loops->gather(v, n, low, high, v, n);
        }
    }
    while (n > 32) {
        T thresholds[STERN_N_ABOVE];
        double sums[STERN_N_ABOVE];
        int64_t counts[STERN_N_ABOVE];
        for (int k = 0; k < STERN_N_ABOVE; ++k) {
            thresholds[k] = k < STERN_N_ABOVE - 1
                ? low + (high - low) * (T)k / (STERN_N_ABOVE - 1) : high;
            sums[k] = base_sum;
            counts[k] = base_count;
        }
        loops->sums_above(v, n, thresholds, sums, counts);
        const T old_high = high;
        if (!F(stern_narrow)(thresholds, sums, counts, &low, &high))
            break;
        if (high < old_high)
            F(add_above)(loops, v, n, high, &base_sum, &base_count);
        n = loops->gather(v, n, low, high, v, n);
    }
    F(sort_descending)(v, n);
    double best = base_count ? base_sum * base_sum / (double)base_count : 0;
    ptrdiff_t chosen = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        base_sum += v[i];
        ++base_count;
        const double score = base_sum * base_sum / (double)base_count;
        if (score > best) {
            best = score;
            chosen = i + 1;
        }
    }
    return chosen < n ? v[chosen] : low;
}
