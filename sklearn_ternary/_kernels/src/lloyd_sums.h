/* Sums of clusters, in double precision. */

#define LISTED 256 /* rows at a time */
#define AHEAD 16   /* rows, of which the first NEAR columns are wanted soon */
#define NEAR 64

INLINE void F(add_row)(double *sum, const T *x, ptrdiff_t n, double weight)
{
    ptrdiff_t t = 0;
    const VD w = weight - (VD){0};
    for (; t + N_VD <= n; t += N_VD)
        STORE_D(sum + t, LOAD_D(sum + t) + w * WIDEN(x + t));
    for (; t < n; ++t)
        sum[t] += weight * (double)x[t];
}

/* Lists the rows of n <= LISTED whose labels are not the old ones; how many. */
static ptrdiff_t F(list_moves)(ptrdiff_t n, const int32_t *old_labels,
                               const int32_t *labels, int16_t *list)
{
    ptrdiff_t m = 0, i = 0;
#if STERN_USE_AVX512
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3,
                                           2, 1, 0);
    for (; i + 16 <= n; i += 16) {
        const __mmask16 moves = _mm512_cmpneq_epi32_mask(
            _mm512_loadu_si512(old_labels + i), _mm512_loadu_si512(labels + i));
        const __m512i rows = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)i));
        _mm256_storeu_si256(
            (__m256i *)(list + m),
            _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(moves, rows)));
        m += __builtin_popcount(moves);
    }
#endif
    for (; i < n; ++i) {
        list[m] = (int16_t)i;
        m += old_labels[i] != labels[i];
    }
    return m;
}

static ptrdiff_t F(move_rows)(const T *x, ptrdiff_t n, ptrdiff_t d, ptrdiff_t first,
                              ptrdiff_t end, const T *weight, const int32_t *old_labels,
                              const int32_t *labels, double *sums, double *totals,
                              int64_t *counts, uint8_t *touched)
{
    const ptrdiff_t columns = end - first;
    ptrdiff_t moves = 0;
    for (ptrdiff_t start = 0; start < n; start += LISTED) {
        int16_t list[LISTED];
        const ptrdiff_t rows = n - start < LISTED ? n - start : LISTED;
        const ptrdiff_t m =
            F(list_moves)(rows, old_labels + start, labels + start, list);
        moves += m;
        for (ptrdiff_t e = 0; e < m; ++e) {
            const ptrdiff_t i = start + list[e];
            const T *const row = x + i * d + first;
            const int32_t from = old_labels[i], to = labels[i];
            const double w = weight ? (double)weight[i] : 1;
            if (e + AHEAD < m)
                F(prefetch_row)(x + (start + list[e + AHEAD]) * d + first,
                                columns < NEAR ? columns : NEAR);
            if (touched) {
                __atomic_store_n(touched + to, 1, __ATOMIC_RELAXED);
                if (from >= 0)
                    __atomic_store_n(touched + from, 1, __ATOMIC_RELAXED);
            }
            if (w == 0)
                continue;
            if (to >= 0) {
                F(add_row)(sums + to * d + first, row, columns, w);
                if (totals) {
                    totals[to] += w;
                    counts[to] += 1;
                }
            }
            if (from >= 0) {
                F(add_row)(sums + from * d + first, row, columns, -w);
                if (totals) {
                    totals[from] -= w;
                    counts[from] -= 1;
                }
            }
        }
    }
    return moves;
}

#undef LISTED
#undef AHEAD
#undef NEAR
