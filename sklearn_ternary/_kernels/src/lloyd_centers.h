/* Steps of k-means, and sparse rows; included once for float and once for double. */

/* Squared distance of two centres, value t added in lane t % 8. */
static double F(squared_step)(const T *a, const T *b, ptrdiff_t d)
{
    double lanes[LANES] = {0}, sum = 0;
    for (ptrdiff_t t = 0; t < d; t += LANES)
        for (ptrdiff_t i = 0; i < LANES && t + i < d; ++i) {
            const double step = (double)a[t + i] - (double)b[t + i];
            lanes[i] += step * step;
        }
    for (int i = 0; i < LANES; ++i)
        sum += lanes[i];
    return sum;
}

static void F(moves)(stern_lloyd_run *run, const T *previous, const T *centers)
{
    for (ptrdiff_t j = 0; j < run->k; ++j) {
        const double square =
            F(squared_step)(centers + j * run->d, previous + j * run->d, run->d);
        const double far = sqrt(square) * run->scale * (1 + 1e-5);
        run->moves[j] = nextafterf((float)far, INFINITY);
    }
}

/* How far the centres of each group moved, and all of them but one. */
static void F(group_moves)(const stern_lloyd_run *run, float *others, float *farthest,
                           int32_t *group)
{
    const float *moved = run->moves;
    for (ptrdiff_t i = 0; i < run->n_groups; ++i) {
        const ptrdiff_t first = i * run->group_size, end = first + run->group_size;
        float best = 0, second = 0;
        for (ptrdiff_t j = first; j < end && j < run->k; ++j) {
            const float least = moved[j] < best ? moved[j] : best;
            second = least > second ? least : second;
            best = moved[j] > best ? moved[j] : best;
        }
        for (ptrdiff_t j = first; j < end && j < run->k; ++j) {
            others[j] = moved[j] == best ? second : best;
            group[j] = (int32_t)i;
        }
        farthest[i] = best;
    }
}

/* Packs centres in the frame into groups, and finds init; the largest squared norm. */
static double F(pack_centers)(const stern_lloyd_run *run, const T *framed, int most,
                              T *packed, T *init)
{
    const ptrdiff_t k = run->k, d = run->d, n_groups = (k + most - 1) / most;
    const ptrdiff_t size = k / n_groups, larger = k % n_groups;
    double largest = 0;
    for (ptrdiff_t g = 0, first = 0; g < n_groups; ++g) {
        const ptrdiff_t n = size + (g < larger);
        double square[STERN_LLOYD_GROUP] = {0};
        for (ptrdiff_t t = 0; t < d; ++t)
            for (ptrdiff_t j = 0; j < n; ++j) {
                const T v = framed[(first + j) * d + t];
                packed[first * d + t * n + j] = v;
                square[j] += (double)v * (double)v;
            }
        for (ptrdiff_t j = 0; j < n; ++j) {
            init[first + j] = (T)(-0.5 * square[j]);
            if (square[j] > largest || square[j] != square[j])
                largest = square[j];
        }
        first += n;
    }
    return largest;
}

/* Centres that repeat others have an init of minus infinity; whether there are any. */
static int F(mark_repeated)(const stern_lloyd_run *run, const T *centers, T *init)
{
    const size_t size = (size_t)run->d * sizeof(T);
    int any = 0;
    for (ptrdiff_t j = 1; j < run->k; ++j) {
        const T own = init[j];
        for (ptrdiff_t i = 0; i < j; ++i)
            if (init[i] == own
                && !memcmp(centers + i * run->d, centers + j * run->d, size)) {
                init[j] = -INFINITY;
                any = 1;
                break;
            }
    }
    return any;
}

static void F(pack_panels)(const stern_lloyd_run *run, const T *framed, const T *init,
                           T *packed, T *padded)
{
    const ptrdiff_t size = STERN_LLOYD_PANEL, k = run->k, d = run->d;
    for (ptrdiff_t j = 0; j < run->n_groups * run->group_size; ++j) {
        T *at = packed + j / size * size * d + j % size;
        padded[j] = j < k ? init[j] : -INFINITY;
        for (ptrdiff_t t = 0; t < d; ++t)
            at[t * size] = j < k ? framed[j * d + t] : 0;
    }
}

/* Codes of the centres; 0 where integers or floats would leave their range. `values`
 * has room for tiles and their lengths, `words` for scores and codes. */
static int F(code_centers)(stern_lloyd_run *run, const F(stern_lloyd) *loops,
                           T *values, int32_t *words)
{
    /* Of products of codes, so that their sums stay far from the ends of int32. */
    enum { MOST_COLUMNS = 1 << 13, TILE = STERN_LLOYD_TILE };
    const F(stern_centers) *c = &OF(run).centers;
    const ptrdiff_t d = c->d, d4 = (d + 3) / 4, tiles = (c->k + TILE - 1) / TILE;
    if (!isfinite(c->beta) || d > MOST_COLUMNS)
        return 0;
    T largest = 0, lanes[TILE] = {0};
    for (ptrdiff_t i = 0; i < tiles; ++i) {
        const ptrdiff_t left = c->k - i * TILE, rows = left < TILE ? left : TILE;
        T *const tile = values + i * (d + 1) * TILE;
        loops->pack(c->centers + i * TILE * d, rows, d, c->scale, c->shift, tile);
        loops->rotate(tile, d);
        for (ptrdiff_t t = 0; t < d; ++t)
            for (int r = 0; r < TILE; ++r) {
                const T v = tile[t * TILE + r], size = v < 0 ? -v : v;
                lanes[r] = size > lanes[r] ? size : lanes[r];
            }
    }
    for (int r = 0; r < TILE; ++r)
        largest = lanes[r] > largest ? lanes[r] : largest;
    const T size = (T)((double)largest / 127);
    if (!(size > 0))
        return 0;
    int32_t *const init = words, *const coded = init + tiles * TILE;
    int32_t *const packed = coded + tiles * TILE * d4;
    T *const lengths = values + tiles * TILE * (d + 1);
    const double unit = run->step * (double)size;
    T length = 0, missed = 0;
    for (ptrdiff_t i = 0; i < tiles; ++i) {
        uint8_t *const codes = (uint8_t *)(coded + i * TILE * d4);
        loops->encode(values + i * (d + 1) * TILE, d, size, codes, lengths);
        int32_t sum[TILE] = {0};
        for (ptrdiff_t t = 0; t < d4; ++t)
            for (int r = 0; r < TILE; ++r) {
                const uint8_t *q = codes + (t * TILE + r) * 4;
                sum[r] += q[0] + q[1] + q[2] + q[3] - 512;
            }
        for (int r = 0; r < TILE; ++r) {
            const ptrdiff_t j = i * TILE + r;
            length = lengths[r] > length ? lengths[r] : length;
            missed = lengths[2 * TILE + r] > missed ? lengths[2 * TILE + r] : missed;
            const int none = j >= c->k || c->init[j] == -INFINITY;
            const double half = none ? 0 : rint(-(double)c->init[j] / unit);
            if (!(half < STERN_LLOYD_BIAS / 2 - 16384 * (double)d))
                return 0;
            init[j] = none ? STERN_LLOYD_NO_CENTER
                           : (int32_t)(STERN_LLOYD_BIAS - (int64_t)half - 128 * sum[r]);
        }
        for (ptrdiff_t t = 0; t < 4 * d4 * TILE; ++t)
            codes[t] ^= 128;
    }
    if (run->code_isa == STERN_LLOYD_AMX) {
        const ptrdiff_t chunks = (d4 + 15) / 16;
        memset(packed, 0, (size_t)(tiles * TILE * chunks * 16) * sizeof *packed);
        for (ptrdiff_t p = 0; p < tiles * TILE / 16; ++p)
            for (ptrdiff_t t = 0; t < d4; ++t) {
                const int32_t *from = coded + (p / 2 * d4 + t) * TILE + p % 2 * 16;
                int32_t *to = packed + (p * chunks + t / 16) * 256 + t % 16;
                for (ptrdiff_t j = 0; j < 16; ++j)
                    to[j * 16] = from[j];
            }
    } else {
        for (ptrdiff_t h = 0; h < tiles * TILE / 8; ++h)
            for (ptrdiff_t t = 0; t < d4; ++t)
                memcpy(packed + (h * d4 + t) * 8,
                       coded + (h / 4 * d4 + t) * TILE + h % 4 * 8, 8 * sizeof *coded);
    }
    OF(run).codes = (F(stern_codes)){
        packed, init, (T)unit, (T)((1 + 1e-6) / unit),
        (T)((double)missed * (1 + 1e-6)), (T)((double)length * (1 + 1e-5)),
        (T)run->step, (T)run->share,
    };
    return 1;
}

static void F(begin)(stern_lloyd_run *run, const T *centers)
{
    const ptrdiff_t k = run->k, d = run->d, padded = run->n_groups * run->group_size;
    const T scale = (T)run->scale, *shift = run->shift;
    T *const packed = run->values, *const init = packed + k * d;
    T *const framed = init + k, *const panels = framed + k * d;
    T *const pad = panels + padded * d, *const rest = pad + padded;
    float *const others = run->moves + k, *const farthest = others + k;
    for (ptrdiff_t j = 0; j < k; ++j)
        for (ptrdiff_t t = 0; t < d; ++t)
            framed[j * d + t] = centers[j * d + t] * scale - shift[t];
    const F(stern_lloyd) *loops = FOR(run->isa);
    const double largest = F(pack_centers)(run, framed, loops->group, packed, init);
    const int repeated = F(mark_repeated)(run, centers, init);
    double alpha, beta;
    stern_lloyd_certainty(d, largest, T_BITS, &alpha, &beta);
    OF(run).centers = (F(stern_centers)){
        d, k, scale, shift, centers, packed, init, (T)alpha, (T)beta,
        .repeated = repeated,
    };
    OF(run).groups = (F(stern_groups)){
        run->n_groups, run->group_size, run->stride, panels, pad, framed,
        run->moves, others, farthest, run->words,
    };
    if (run->upper) {
        F(group_moves)(run, others, farthest, run->words);
        F(pack_panels)(run, framed, init, panels, pad);
    }
    if (loops->pack_split) {
        const uintptr_t words = (uintptr_t)(run->words + k + ALIGNED - 1);
        uint32_t *const split = (uint32_t *)(words & ~(uintptr_t)(4 * ALIGNED - 1));
        F(stern_centers) *const c = &OF(run).centers;
        const double missed = 1.04 * sqrt(loops->pack_split(framed, init, k, d, split));
        c->split = split;
        wide_certainty(d, largest, 0, &alpha, &beta);
        c->wide_alpha = (T)alpha;
        c->wide_beta = (T)beta;
        wide_certainty(d, largest, 1, &alpha, &beta);
        c->screen_alpha = (T)alpha;
        c->screen_beta = (T)beta;
        /* Of the row 1.04 times its length, and what is missed is so much already. */
        c->of_missed = (T)(1.0001 * 2 * (sqrt(largest) + missed));
        c->of_length = (T)(1.0001 * 2 * 1.04 * missed);
    }
    OF(run).loops = loops;
    run->coded = 0;
    if (run->step > 0) {
        const F(stern_lloyd) *best = FOR(run->code_isa);
        run->coded =
            F(code_centers)(run, best, rest, run->words + k + split_words(run));
        OF(run).loops = run->coded ? best : loops;
    }
}

static ptrdiff_t F(slice)(const stern_lloyd_run *run, ptrdiff_t slice, T *scratch,
                          int32_t *found)
{
    const F(stern_lloyd) *loops = OF(run).loops;
    const F(stern_centers) *c = &OF(run).centers;
    const F(stern_groups) *g = &OF(run).groups;
    const ptrdiff_t d = run->d, k = run->k, start = slice * run->slice_rows;
    const ptrdiff_t end = run->n - start < run->slice_rows ? run->n
                                                           : start + run->slice_rows;
    ptrdiff_t changed = 0;
    for (ptrdiff_t i = start; i < end; i += run->block) {
        const ptrdiff_t rows = end - i < run->block ? end - i : run->block;
        const T *x = (const T *)run->x + i * d;
        T *tiles = run->tiles ? (T *)run->tiles + i * run->tile_rows : NULL;
        int32_t *const labels = run->labels + i;
        float *const upper = run->upper ? run->upper + i : NULL;
        float *const lower = run->upper ? run->lower + i : NULL;
        int32_t old[STERN_LLOYD_BLOCK];
        if (run->sums)
            memcpy(old, labels, (size_t)rows * sizeof *old);
        for (ptrdiff_t r = 0; run->fill && r < rows; r += STERN_LLOYD_TILE) {
            const ptrdiff_t left = rows - r;
            loops->split(x + r * d, left < STERN_LLOYD_TILE ? left : STERN_LLOYD_TILE, d,
                         c->scale, c->shift, scratch, tiles + r * run->tile_rows);
        }
        if (run->coded)
            loops->nearest_by_codes(
                c, g, &OF(run).codes, x, rows,
                run->codes ? run->codes + i * ((d + 3) / 4 * 4) : NULL,
                run->codes ? (const T *)run->lengths + i * 3 : NULL, run->first,
                scratch, found, labels, upper, lower);
        else if (upper)
            loops->nearest_bounded(c, g, x, rows, tiles, run->first, scratch, labels,
                                   upper, lower);
        else
            loops->nearest(c, x, rows, tiles, scratch, labels);
        if (!run->sums)
            continue;
        for (ptrdiff_t r = 0; r < rows; ++r) {
            old[r] = run->first ? -1 : old[r];
            changed += old[r] != labels[r];
        }
        const T *weight = run->weight ? (const T *)run->weight + i : NULL;
        loops->move_rows(x, rows, d, 0, d, weight, old, labels,
                         run->sums + slice * k * d, run->totals + slice * k,
                         run->counts + slice * k);
    }
    /* What rounding leaves of a cluster without rows is none. */
    for (ptrdiff_t j = slice * k; changed && j < (slice + 1) * k; ++j)
        if (!run->counts[j]) {
            memset(run->sums + j * d, 0, (size_t)d * sizeof(double));
            run->totals[j] = 0;
        }
    return changed;
}

static double F(means)(const stern_lloyd_run *run, ptrdiff_t part, const T *centers,
                       T *means)
{
    enum { COLUMNS = 128 }; /* at a time */
    const ptrdiff_t k = run->k, d = run->d, first = k * part / STERN_LLOYD_PARTS;
    const ptrdiff_t end = k * (part + 1) / STERN_LLOYD_PARTS;
    for (ptrdiff_t j = first; j < end; ++j) {
        int64_t count = 0;
        for (ptrdiff_t s = 0; s < run->slices; ++s)
            count += run->counts[s * k + j];
        if (!count)
            return -1;
    }
    double shift = 0;
    for (ptrdiff_t j = first; j < end; ++j) {
        double total = 0;
        for (ptrdiff_t s = 0; s < run->slices; ++s)
            total += run->totals[s * k + j];
        for (ptrdiff_t t = j * d; t < (j + 1) * d; t += COLUMNS) {
            const ptrdiff_t left = (j + 1) * d - t, n = left < COLUMNS ? left : COLUMNS;
            double sum[COLUMNS] = {0};
            for (ptrdiff_t s = 0; s < run->slices; ++s)
                for (ptrdiff_t i = 0; i < n; ++i)
                    sum[i] += run->sums[s * k * d + t + i];
            for (ptrdiff_t i = 0; i < n; ++i)
                means[t + i] = (T)(sum[i] / total);
        }
        shift += F(squared_step)(means + j * d, centers + j * d, d);
    }
    return shift;
}

void F(stern_move_rows_csr)(const T *data, const int32_t *indices,
                            const int32_t *indptr, ptrdiff_t start, ptrdiff_t end,
                            ptrdiff_t d, const T *weight, const int32_t *old_labels,
                            const int32_t *labels, double *sums, double *totals,
                            int64_t *counts)
{
    for (ptrdiff_t i = start; i < end; ++i) {
        const int32_t from = old_labels[i], to = labels[i];
        const double w = weight ? (double)weight[i] : 1;
        if (from == to || w == 0)
            continue;
        if (to >= 0) {
            for (int32_t p = indptr[i]; p < indptr[i + 1]; ++p)
                sums[to * d + indices[p]] += w * (double)data[p];
            totals[to] += w;
            counts[to] += 1;
        }
        if (from >= 0) {
            for (int32_t p = indptr[i]; p < indptr[i + 1]; ++p)
                sums[from * d + indices[p]] += -w * (double)data[p];
            totals[from] -= w;
            counts[from] -= 1;
        }
    }
}

void F(stern_label_distances_csr)(const T *data, const int32_t *indices,
                                  const int32_t *indptr, ptrdiff_t start, ptrdiff_t end,
                                  ptrdiff_t d, const T *centers, const double *squares,
                                  const int32_t *labels, double *distances)
{
    for (ptrdiff_t i = start; i < end; ++i) {
        const T *center = centers + labels[i] * d;
        double sum = squares[labels[i]];
        for (int32_t p = indptr[i]; p < indptr[i + 1]; ++p) {
            const double v = (double)data[p];
            sum += v * (v - 2 * (double)center[indices[p]]);
        }
        distances[i] = sum > 0 ? sum : 0;
    }
}
