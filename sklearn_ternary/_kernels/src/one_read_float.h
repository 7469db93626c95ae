/* Included by one_read.c, for float and for double. */

/* Whole units of one row within [from, to) of the flat values, first to last: for a
 * body using `row` and its columns `a` to `b`. Units cut by either end are left out. */
#define EACH_RUN(job, from, to)                                                     \
    for (ptrdiff_t at = from, K = job->n_columns, unit = stern_unit_values(job->layout), \
                   row, a, b, stop; at < to; at = stop)                             \
        if (row = at / K, stop = (row + 1) * K < to ? (row + 1) * K : to,           \
            a = (at - row * K + unit - 1) / unit * unit,                            \
            b = stop == (row + 1) * K ? K : (stop - row * K) / unit * unit, a < b)

static inline ptrdiff_t F(n_values)(const F(stern_one_read) *job)
{
    return job->n_rows * job->n_columns;
}

static inline uint8_t *F(packed_row)(const F(stern_one_read) *job, ptrdiff_t row)
{
    return job->packed + row * stern_packed_bytes(job->layout, job->n_columns);
}

/* The sums of a block's chunks, and nothing else. */
static void F(sum_block)(const F(stern_one_read) *job, ptrdiff_t start, ptrdiff_t end)
{
    for (ptrdiff_t i = start; i < end; i += STERN_SUM_CHUNK)
        job->sums[i / STERN_SUM_CHUNK] = job->loops->abs_sum(
            job->x + i, end - i < STERN_SUM_CHUNK ? end - i : STERN_SUM_CHUNK);
}

/* Bounds of the true threshold, for a mean that may be `off` by so much of itself;
 * returns 0 if that is too much. */
static int F(bounds)(double mean, double off, double *low, double *high)
{
    if (!(mean > LOWEST && mean < HIGHEST && off <= MOST_OFF))
        return 0;
    off += ldexp(4, -DIGITS);  /* for what is rounded */
    *low = (T)(mean / 2 * (1 - off));
    *high = (T)(mean / 2 * (1 + off));
    return 1;
}

/* Bounds told by the blocks read so far, or of the first one by its first chunk. */
static int F(estimate)(const F(stern_one_read) *job, const sample *s, ptrdiff_t start,
                       ptrdiff_t n_blocks, double *low, double *high)
{
    if (s->blocks < s->retry)
        return 0;
    if (s->blocks)
        return F(bounds)(s->sum / ((double)s->blocks * STERN_BLOCK),
                         uncertainty(s, n_blocks), low, high);
    const T *x = job->x + start;
    const double sum = job->loops->abs_sum(x, STERN_SUM_CHUNK);
    const double squares = job->loops->square_sum(x, STERN_SUM_CHUNK);
    const double mean = sum / STERN_SUM_CHUNK;
    return F(bounds)(mean, SURE * sqrt(squared_error(sum, squares, STERN_SUM_CHUNK)) / mean,
                     low, high);
}

/* Note the near values of a chunk. Returns how many notes there are then, or -1 if
 * there is no room. */
static ptrdiff_t F(note)(const T *x, ptrdiff_t place, const uint64_t *near, uint64_t which,
                         F(stern_note) *notes, ptrdiff_t n, ptrdiff_t room)
{
    for (; which; which &= which - 1) {
        const ptrdiff_t word = __builtin_ctzll(which);
        uint64_t bits = near[word];
        if (n + 64 > room)
            return -1;
        do {
            const ptrdiff_t i = 64 * word + __builtin_ctzll(bits);
            notes[n++] = (F(stern_note)){x[i], (uint32_t)(place + i)};
            bits &= bits - 1;
        } while (bits);
    }
    return n;
}

/* Sum and pack a whole block; returns its notes, or -1, and then it is summed only. */
static ptrdiff_t F(read_block)(const F(stern_one_read) *job, ptrdiff_t start, T low, T high,
                               F(stern_note) *notes, ptrdiff_t room, const T *next)
{
    /* Bytes of a single row are those of its units, one after the other. */
    const int t2 = job->n_rows == 1 && job->layout == STERN_T2;
    uint8_t codes[STERN_BLOCK];
    uint8_t *out = t2 ? job->packed + start / 4 : codes;
    uint64_t near[STERN_SUM_CHUNK / 64], which;
    ptrdiff_t n = 0;
    room = room < MOST_NEAR ? room : MOST_NEAR;
    for (ptrdiff_t i = 0; i < STERN_BLOCK; i += STERN_SUM_CHUNK) {
        const T *x = job->x + start + i;
        job->sums[(start + i) / STERN_SUM_CHUNK] = job->loops->sum_codes(
            x, low, high, t2, out + (t2 ? i / 4 : i), near, &which,
            i + STERN_SUM_CHUNK < STERN_BLOCK ? x + STERN_SUM_CHUNK : next);
        n = F(note)(x, i, near, which, notes, n, room);
        if (n < 0) {
            F(sum_block)(job, start + i + STERN_SUM_CHUNK, start + STERN_BLOCK);
            return -1;
        }
    }
    if (!t2)
        EACH_RUN(job, start, start + STERN_BLOCK)
            job->codec->pack[job->layout](
                (const int8_t *)codes + (row * K + a - start), b - a,
                F(packed_row)(job, row) + stern_packed_bytes(job->layout, a));
    return n;
}

void F(stern_read_blocks)(const F(stern_one_read) *job, ptrdiff_t part, ptrdiff_t parts)
{
    const ptrdiff_t n = F(n_values)(job);
    F(stern_note) *notes = job->notes + part * job->room;
    ptrdiff_t used = 0;
    sample s = {0};
    for (walk w = walk_of(n, part, parts); advance(&w);) {
        const ptrdiff_t start = w.block * STERN_BLOCK;
        walk after = w;
        const T *next = job->x + (advance(&after) ? after.block : w.block) * STERN_BLOCK;
        stern_block block = {-1, -1, used, 0};
        if (n - start < STERN_BLOCK) {
            F(sum_block)(job, start, n);
        } else {
            ptrdiff_t noted = -1;
            if (F(estimate)(job, &s, start, w.o.blocks, &block.low, &block.high)) {
                noted = F(read_block)(job, start, (T)block.low, (T)block.high, notes + used,
                                      job->room - used, next);
                /* So many values are near: look again when twice as much is known. */
                if (noted < 0)
                    s.retry = 2 * (s.blocks + 1);
            } else {
                F(sum_block)(job, start, start + STERN_BLOCK);
            }
            if (noted < 0)
                block.low = block.high = -1;
            else
                used += block.n_notes = noted;
            add_block(&s, job->sums + start / STERN_SUM_CHUNK);
        }
        job->blocks[w.block] = block;
    }
}

int F(stern_scale_of_sums)(const F(stern_one_read) *job, T *scale, T *threshold)
{
    const ptrdiff_t n = F(n_values)(job);
    double total = 0;
    for (ptrdiff_t c = 0; c < (n + STERN_SUM_CHUNK - 1) / STERN_SUM_CHUNK; ++c)
        total += job->sums[c];
    *scale = (T)(total / (double)n);
    *threshold = F(stern_threshold_of)(*scale, 3);
    return !(*scale >= LOWEST && *scale <= HIGHEST);
}

static inline int F(code)(T x, T threshold)
{
    return (x > threshold) - (x < -threshold);
}

/* Decide the noted values of a block, which have code 0 so far: add what their codes
 * weigh to bytes of one row. `unit` is a constant where this is called. */
__attribute__((always_inline)) static inline void F(add_notes)(
    const F(stern_note) *notes, ptrdiff_t n, T threshold, const uint8_t *weights,
    uint32_t unit, uint8_t *bytes)
{
    for (ptrdiff_t i = 0; i < n; ++i)
        bytes[notes[i].place / unit] +=
            (uint8_t)(F(code)(notes[i].value, threshold) * weights[notes[i].place % unit]);
}

/* The same for any rows and layout. */
static void F(settle_notes)(const F(stern_one_read) *job, T threshold, ptrdiff_t start,
                            const F(stern_note) *notes, ptrdiff_t n)
{
    const ptrdiff_t K = job->n_columns, unit = stern_unit_values(job->layout);
    const uint8_t *weights = stern_code_weights(job->layout);
    if (job->n_rows == 1 && weights) {
        uint8_t *bytes = job->packed + start / unit;
        if (unit == 4)
            F(add_notes)(notes, n, threshold, weights, 4, bytes);
        else
            F(add_notes)(notes, n, threshold, weights, 5, bytes);
        return;
    }
    for (ptrdiff_t i = 0; i < n; ++i) {
        const int code = F(code)(notes[i].value, threshold);
        if (!code)
            continue;
        const ptrdiff_t at = start + notes[i].place, row = at / K, column = at - row * K;
        const ptrdiff_t a = column / unit * unit, b = a + unit < K ? a + unit : K;
        /* Units that are cut by the ends of blocks are packed later. */
        if (row * K + a < start || row * K + b > start + STERN_BLOCK)
            continue;
        int8_t codes[256];
        uint8_t *bytes = F(packed_row)(job, row) + stern_packed_bytes(job->layout, a);
        job->codec->unpack[job->layout](bytes, b - a, codes);
        codes[column - a] = (int8_t)code;
        job->codec->pack[job->layout](codes, b - a, bytes);
    }
}

void F(stern_settle_blocks)(const F(stern_one_read) *job, T threshold, ptrdiff_t part,
                            ptrdiff_t parts)
{
    const ptrdiff_t n = F(n_values)(job), columns = job->n_columns;
    const ptrdiff_t values_of_unit = stern_unit_values(job->layout);
    for (walk w = walk_of(n, part, parts); advance(&w);) {
        const stern_block block = job->blocks[w.block];
        const ptrdiff_t start = w.block * STERN_BLOCK;
        const ptrdiff_t end = n - start < STERN_BLOCK ? n : start + STERN_BLOCK;
        if (block.low <= threshold && threshold <= block.high) {
            F(settle_notes)(job, threshold, start,
                            job->notes + part * job->room + block.first_note,
                            block.n_notes);
        } else {
            EACH_RUN(job, start, end)
                F(stern_pack)(job->loops, job->codec, job->x + row * K, a, b, &threshold, K,
                              0, job->layout, F(packed_row)(job, row));
        }
        /* The unit that the end of the block cuts. */
        const ptrdiff_t row = end / columns, cut = end % columns % values_of_unit;
        const ptrdiff_t a = end % columns - cut;
        if (end < n && cut)
            F(stern_pack)(job->loops, job->codec, job->x + row * columns, a,
                          a + values_of_unit < columns ? a + values_of_unit : columns,
                          &threshold, columns, 0, job->layout, F(packed_row)(job, row));
    }
}
#undef EACH_RUN
