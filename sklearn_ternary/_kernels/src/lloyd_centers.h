/* Steps of k-means, and sparse rows; included once for float and once for double. */

/* Squared distance of two centres, value t added in lane t % 8. */
static double F(squared_step)(const T *a, const T *b, ptrdiff_t d)
{
    double lanes[LANES] = {0}, sum = 0;
    ptrdiff_t t = 0;
    for (; t + LANES <= d; t += LANES)
        for (int i = 0; i < LANES; ++i) {
            const double step = (double)a[t + i] - (double)b[t + i];
            lanes[i] += step * step;
        }
    for (int i = 0; t + i < d; ++i) {
        const double step = (double)a[t + i] - (double)b[t + i];
        lanes[i] += step * step;
    }
    for (int i = 0; i < LANES; ++i)
        sum += lanes[i];
    return sum;
}

/* How far a centre moved, rounded up, in the frame. */
static float F(move)(const stern_lloyd_run *run, double square)
{
    return nextafterf((float)(sqrt(square) * run->scale * (1 + 1e-5)), INFINITY);
}

static void F(moves)(stern_lloyd_run *run, const T *previous, const T *centers)
{
    const ptrdiff_t d = run->d;
    for (ptrdiff_t j = 0; j < run->k; ++j)
        run->moves[j] =
            F(move)(run, F(squared_step)(centers + j * d, previous + j * d, d));
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

/* Where what is packed of the centres lies in `values`. */
typedef struct {
    T *packed, *init, *framed, *panels, *pad, *rest;
} F(room);

static F(room) F(room_of)(const stern_lloyd_run *run)
{
    const ptrdiff_t k = run->k, d = run->d, padded = run->n_groups * run->group_size;
    T *const packed = run->values, *const framed = packed + k * (d + 1);
    T *const panels = framed + k * d, *const pad = panels + padded * d;
    return (F(room)){packed, packed + k * d, framed, panels, pad, pad + padded};
}

/* Puts centres in the frame and finds init, of a part of them, and for the tile unit
 * the square of the largest length that first parts miss. */
static void F(frame)(stern_lloyd_run *run, ptrdiff_t part, const T *centers)
{
    const ptrdiff_t k = run->k, d = run->d, end = k * (part + 1) / STERN_LLOYD_PARTS;
    const F(room) room = F(room_of)(run);
    const T scale = (T)run->scale, *const shift = run->shift;
    double largest = 0;
    for (ptrdiff_t j = k * part / STERN_LLOYD_PARTS; j < end; ++j) {
        T *const to = room.framed + j * d;
        double squares[LANES] = {0}, missed[LANES] = {0}, square = 0, misses = 0;
        for (ptrdiff_t t = 0; t < d; ++t)
            to[t] = centers[j * d + t] * scale - shift[t];
        ptrdiff_t t = 0;
        for (; t + LANES <= d; t += LANES)
            for (int i = 0; i < LANES; ++i)
                squares[i] += (double)to[t + i] * (double)to[t + i];
        for (int i = 0; t + i < d; ++i)
            squares[i] += (double)to[t + i] * (double)to[t + i];
        if (run->isa == STERN_LLOYD_AMX) {
            for (t = 0; t + LANES <= d; t += LANES)
                for (int i = 0; i < LANES; ++i)
                    missed[i] += missed_by_part((float)to[t + i]);
            for (int i = 0; t + i < d; ++i)
                missed[i] += missed_by_part((float)to[t + i]);
        }
        for (int i = 0; i < LANES; ++i) {
            square += squares[i];
            misses += missed[i];
        }
        room.init[j] = (T)(-0.5 * square);
        if (misses > largest || misses != misses)
            largest = misses;
    }
    run->missed[part] = largest;
}

/* Packs the centres of a part of the groups. */
static void F(pack_groups)(const stern_lloyd_run *run, ptrdiff_t part, int most)
{
    const ptrdiff_t k = run->k, d = run->d, n_groups = (k + most - 1) / most;
    const ptrdiff_t size = k / n_groups, larger = k % n_groups;
    const ptrdiff_t end = n_groups * (part + 1) / STERN_LLOYD_PARTS;
    const F(room) room = F(room_of)(run);
    for (ptrdiff_t g = n_groups * part / STERN_LLOYD_PARTS; g < end; ++g) {
        const ptrdiff_t first = g * size + (g < larger ? g : larger);
        const ptrdiff_t n = size + (g < larger);
        T *const to = room.packed + first * d;
        for (ptrdiff_t t = 0; t < d; ++t)
            for (ptrdiff_t j = 0; j < n; ++j)
                to[t * n + j] = room.framed[(first + j) * d + t];
    }
}

/* Not less than the largest of the squared norms; NaN if there is one. */
static double F(largest_square)(const stern_lloyd_run *run, const T *init)
{
    double largest = 0;
    for (ptrdiff_t j = 0; j < run->k; ++j) {
        const double square = -2 * (double)init[j] * (1 + 1e-6);
        if (square > largest || square != square)
            largest = square;
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
        int equal = 0;
        for (ptrdiff_t i = 0; i < j; ++i)
            equal |= init[i] == own;
        for (ptrdiff_t i = 0; equal && i < j; ++i)
            if (init[i] == own
                && !memcmp(centers + i * run->d, centers + j * run->d, size)) {
                init[j] = -INFINITY;
                any = 1;
                break;
            }
    }
    return any;
}

/* Packs a part of the panels. */
static void F(pack_panels)(const stern_lloyd_run *run, ptrdiff_t part)
{
    const ptrdiff_t size = STERN_LLOYD_PANEL, k = run->k, d = run->d;
    const ptrdiff_t panels = run->n_groups * run->group_size / size;
    const ptrdiff_t end = panels * (part + 1) / STERN_LLOYD_PARTS;
    const F(room) room = F(room_of)(run);
    for (ptrdiff_t p = panels * part / STERN_LLOYD_PARTS; p < end; ++p) {
        const ptrdiff_t n = k - p * size < size ? k - p * size : size;
        const T *const from = room.framed + p * size * d;
        T *const to = room.panels + p * size * d;
        for (ptrdiff_t j = 0; j < size; ++j)
            room.pad[p * size + j] = j < n ? room.init[p * size + j] : -INFINITY;
        for (ptrdiff_t t = 0; t < d; ++t)
            for (ptrdiff_t j = 0; j < size; ++j)
                to[t * size + j] = j < n ? from[j * d + t] : 0;
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

/* What all centres together decide, once all are in the frame. */
static void F(settle)(stern_lloyd_run *run, const T *centers)
{
    const ptrdiff_t k = run->k, d = run->d;
    const F(room) room = F(room_of)(run);
    float *const others = run->moves + k, *const farthest = others + k;
    const F(stern_lloyd) *loops = FOR(run->isa);
    F(stern_centers) *const c = &OF(run).centers;
    const double largest = F(largest_square)(run, room.init);
    const int repeated = F(mark_repeated)(run, centers, room.init);
    double alpha, beta;
    stern_lloyd_certainty(d, largest, T_BITS, &alpha, &beta);
    *c = (F(stern_centers)){
        d, k, (T)run->scale, run->shift, centers, room.packed, room.init, (T)alpha,
        (T)beta, .repeated = repeated,
    };
    OF(run).groups = (F(stern_groups)){
        run->n_groups, run->group_size, run->stride, room.panels, room.pad, room.framed,
        run->moves, others, farthest, run->words,
    };
    if (run->upper)
        F(group_moves)(run, others, farthest, run->words);
    if (loops->pack_split) {
        double missed = 0;
        for (int part = 0; part < STERN_LLOYD_PARTS; ++part)
            if (run->missed[part] > missed || run->missed[part] != run->missed[part])
                missed = run->missed[part];
        missed = 1.0001 * sqrt(missed);
        c->split = split_of(run);
        wide_certainty(d, largest, 0, &alpha, &beta);
        c->wide_alpha = (T)alpha;
        c->wide_beta = (T)beta;
        wide_certainty(d, largest, 1, &alpha, &beta);
        c->screen_alpha = (T)alpha;
        c->screen_beta = (T)beta;
        c->of_missed = (T)(1.0001 * 2 * (sqrt(largest) + missed));
        c->of_length = (T)(1.0001 * 2 * 1.04 * missed);
    }
    OF(run).loops = loops;
    run->coded = 0;
    if (run->step > 0) {
        const F(stern_lloyd) *best = FOR(run->code_isa);
        run->coded =
            F(code_centers)(run, best, room.rest, run->words + k + split_words(run));
        OF(run).loops = run->coded ? best : loops;
    }
}

/* Packs a part of the centres as the loops take them. */
static void F(pack)(const stern_lloyd_run *run, ptrdiff_t part)
{
    const F(stern_lloyd) *loops = FOR(run->isa);
    const F(room) room = F(room_of)(run);
    if (run->upper)
        F(pack_panels)(run, part);
    if (loops->pack_split) {
        const ptrdiff_t n = (run->k + STERN_LLOYD_PANEL - 1) / STERN_LLOYD_PANEL;
        loops->pack_split(room.framed, room.init, run->k, run->d,
                          n * part / STERN_LLOYD_PARTS, n * (part + 1) / STERN_LLOYD_PARTS,
                          split_of(run));
    }
    /* The tile unit takes rows of more columns. */
    if (!loops->pack_split || run->d < STERN_LLOYD_SPLIT_FROM)
        F(pack_groups)(run, part, loops->group);
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
    uint8_t *const touched = stern_lloyd_touched(run);
    ptrdiff_t changed = 0;
    for (ptrdiff_t i = start; i < end; i += run->block) {
        const ptrdiff_t rows = end - i < run->block ? end - i : run->block;
        const T *x = (const T *)run->x + i * d;
        T *tiles = run->tiles ? (T *)run->tiles + i * run->tile_rows : NULL;
        int32_t *const labels = run->labels + i;
        float *const upper = run->upper ? run->upper + i : NULL;
        float *const lower = run->upper ? run->lower + i : NULL;
        int32_t old[STERN_LLOYD_SCREEN];
        if (run->sums && !run->first)
            memcpy(old, labels, (size_t)rows * sizeof *old);
        for (ptrdiff_t r = 0; run->fill && r < rows; r += STERN_LLOYD_TILE) {
            const ptrdiff_t left = rows - r;
            loops->split(x + r * d, left < STERN_LLOYD_TILE ? left : STERN_LLOYD_TILE, d,
                         c->scale, c->shift, scratch, tiles + r * run->tile_rows);
        }
        const int kept = i + rows <= run->coded_rows;
        if (run->coded)
            loops->nearest_by_codes(
                c, g, &OF(run).codes, x, rows,
                kept ? run->codes + i * ((d + 3) / 4 * 4) : NULL,
                kept ? (const T *)run->lengths + i * 3 : NULL, run->first, scratch, found,
                labels, upper, lower);
        else if (upper)
            loops->nearest_bounded(c, g, x, rows, tiles, run->first, scratch, labels,
                                   upper, lower);
        else
            loops->nearest(c, x, rows, tiles, scratch, labels);
        if (!run->sums)
            continue;
        if (run->first)
            memset(old, -1, (size_t)rows * sizeof *old);
        const T *weight = run->weight ? (const T *)run->weight + i : NULL;
        changed += loops->move_rows(x, rows, d, 0, d, weight, old, labels,
                                    run->sums + slice * k * d, run->totals + slice * k,
                                    run->counts + slice * k, touched);
    }
    /* What rounding leaves of a cluster without rows is none. */
    for (ptrdiff_t j = slice * k; changed && j < (slice + 1) * k; ++j)
        if (!run->counts[j]) {
            memset(run->sums + j * d, 0, (size_t)d * sizeof(double));
            run->totals[j] = 0;
        }
    return changed;
}

static double F(means)(stern_lloyd_run *run, ptrdiff_t part, const T *centers, T *means)
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
    const uint8_t *const touched = stern_lloyd_touched(run);
    double shift = 0;
    for (ptrdiff_t j = first; j < end; ++j) {
        if (!touched[j]) {
            memcpy(means + j * d, centers + j * d, (size_t)d * sizeof(T));
            run->moves[j] = F(move)(run, 0);
            continue;
        }
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
        const double square = F(squared_step)(means + j * d, centers + j * d, d);
        run->moves[j] = F(move)(run, square);
        shift += square;
    }
    F(frame)(run, part, means);
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
