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

void F(stern_affine_codes)(const F(stern) *loops, const T *row, ptrdiff_t start,
                           ptrdiff_t end, const T *scale, const T *zero_point,
                           ptrdiff_t group_size, int lowest, int highest, int8_t *codes)
{
    if (group_size == 1)
        loops->affine_codes_each(row + start, end - start, scale + start,
                                 zero_point + start, (T)lowest, (T)highest, codes);
    else
        EACH_RUN
            loops->affine_codes(row + from, to - from, scale[g], zero_point[g], (T)lowest,
                                (T)highest, codes + from - start);
}

void F(stern_affine_values)(const F(stern) *loops, const int8_t *row, ptrdiff_t start,
                            ptrdiff_t end, const T *scale, const T *zero_point,
                            ptrdiff_t group_size, T *values)
{
    if (group_size == 1)
        loops->affine_values_each(row + start, end - start, scale + start,
                                  zero_point + start, values);
    else
        EACH_RUN
            loops->affine_values(row + from, to - from, scale[g], zero_point[g],
                                 values + from - start);
}
#undef EACH_RUN
