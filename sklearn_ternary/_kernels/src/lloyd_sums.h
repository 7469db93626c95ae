/* Sums of clusters, in double precision. */

INLINE void F(add_row)(double *sum, const T *x, ptrdiff_t n, double weight)
{
    ptrdiff_t t = 0;
    const VD w = weight - (VD){0};
    for (; t + N_VD <= n; t += N_VD)
        STORE_D(sum + t, LOAD_D(sum + t) + w * WIDEN(x + t));
    for (; t < n; ++t)
        sum[t] += weight * (double)x[t];
}

static void F(move_rows)(const T *x, ptrdiff_t n, ptrdiff_t d, ptrdiff_t first,
                         ptrdiff_t end, const T *weight, const int32_t *old_labels,
                         const int32_t *labels, double *sums, double *totals,
                         int64_t *counts)
{
    for (ptrdiff_t i = 0; i < n; ++i) {
        const int32_t from = old_labels[i], to = labels[i];
        if (from == to)
            continue;
        const double w = weight ? (double)weight[i] : 1;
        if (w == 0)
            continue;
        const T *row = x + i * d + first;
        if (to >= 0) {
            F(add_row)(sums + to * d + first, row, end - first, w);
            if (totals) {
                totals[to] += w;
                counts[to] += 1;
            }
        }
        if (from >= 0) {
            F(add_row)(sums + from * d + first, row, end - first, -w);
            if (totals) {
                totals[from] -= w;
                counts[from] -= 1;
            }
        }
    }
}
