/* From tensors as ggml stores them to the forms that are multiplied: 16 rows at a time,
 * transposed so that a vector has a number of each row. */

typedef uint32_t lanes16[16];

static inline uint32_t word_at(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

static const uint8_t powers3[5] = {1, 3, 9, 27, 81};

static inline uint32_t trit(uint8_t byte, int n)
{
    return (uint32_t)(uint8_t)(byte * powers3[n]) * 3 >> 8;
}

/* Trit n of 16 bytes, as one word of format T2. */
static inline uint32_t trit_word(const uint8_t *bytes, int n)
{
    uint8_t codes[16];
    uint32_t word = 0;
    for (int i = 0; i < 16; ++i)
        codes[i] = (uint8_t)trit(bytes[i], n);
    for (int j = 0; j < 4; ++j)
        word |= word_at(codes + 4 * j) << 2 * j;
    return word;
}

/* 256 values of 16 rows in TQ1_0, 52 bytes each, as 16 words of format T2. */
static void words_tq1(const uint8_t *const *rows, lanes16 *words)
{
    for (int r = 0; r < 16; ++r) {
        const uint8_t *p = rows[r];
        for (int b = 0; b < 10; ++b)
            words[b][r] = trit_word(p + b % 2 * 16, b / 2);
        for (int b = 10; b < 15; ++b)
            words[b][r] = trit_word(p + 32, b - 10);
        uint32_t word = 0;
        for (int t = 0; t < 4; ++t)
            for (int j = 0; j < 4; ++j)
                word |= trit(p[48 + j], t) << (8 * j + 2 * t);
        words[15][r] = word;
    }
}

/* The same of layouts with two bits a code, 64 bytes each: 16 values are one field of
 * 16 bytes. Returns bits of fields that are no codes. */
static uint32_t words_of_fields(int source, const uint8_t *const *rows, lanes16 *words)
{
    lanes16 bytes[16];
    uint32_t wrong = 0;
    for (int r = 0; r < 16; ++r)
        for (int i = 0; i < 16; ++i)
            bytes[i][r] = word_at(rows[r] + 4 * i);
    for (int b = 0; b < 16; ++b) {
        int part = b / 8 * 2 + b % 2, shift = b % 8 / 2 * 2;
        if (source == STERN_LM_I2_S_X86)
            shift = 6 - shift;
        if (source == STERN_LM_I2_S_ARM) {
            part = b / 4;
            shift = 6 - b % 4 * 2;
        }
        for (int r = 0; r < 16; ++r) {
            uint32_t word = 0;
            for (int j = 0; j < 4; ++j)
                word |= (bytes[4 * part + j][r] >> shift & 0x03030303u) << 2 * j;
            words[b][r] = word;
            wrong |= word & word >> 1 & 0x55555555u;
        }
    }
    return wrong;
}

/* Four steps of format T5 from five words of format T2 for each of 16 rows. */
static void pack_t5(lanes16 *words, uint8_t *out, ptrdiff_t step)
{
    const uint32_t mask = 0x03030303u;
    for (int j = 0; j < 4; ++j) {
        lanes16 line;
        for (int r = 0; r < 16; ++r) {
            const uint32_t w = words[j][r];
            const uint32_t n = (w & mask) + 3 * (w >> 2 & mask) + 9 * (w >> 4 & mask)
                + 27 * (w >> 6 & mask);
            line[r] = stern_mm_t5_word(n, words[4][r] >> 2 * j & mask);
        }
        memcpy(out + j * step, line, sizeof line);
    }
}

static int pack_ternary(const stern_matrix *m, int source, const uint8_t *data,
                        ptrdiff_t row_bytes, ptrdiff_t group, uint8_t *weights)
{
    enum { UNIT = 1280 }; /* whole blocks of every layout, and whole runs of five */
    const ptrdiff_t panel = group / 4, row_groups = (m->n_rows + 15) / 16;
    const ptrdiff_t step = MIN(row_groups - 4 * panel, 4) * 64;
    const int t2 = m->format == STERN_MM_T2;
    const ptrdiff_t steps = t2 ? m->n_blocks : m->n_blocks / 5 * 4;
    const ptrdiff_t rows = MIN(16, m->n_rows - 16 * group);
    const ptrdiff_t codes = source == STERN_LM_TQ1_0 ? 52 : 64;
    const ptrdiff_t stride = source == STERN_LM_TQ1_0 || source == STERN_LM_TQ2_0
        ? codes + 2 : codes;
    uint8_t *to = weights + panel * 4 * steps * 64 + group % 4 * 64;
    /* What is not there is code 0: in TQ1_0 the digits 11111 and 1111. */
    uint8_t nothing[64], last[16][64];
    memset(nothing, source == STERN_LM_TQ1_0 ? 128 : 0x55, sizeof nothing);
    uint32_t wrong = 0;
    for (ptrdiff_t k = 0; k < m->n_columns; k += UNIT) {
        const ptrdiff_t n = MIN(UNIT, m->n_columns - k), blocks = (n + 15) / 16;
        lanes16 words[UNIT / 16];
        for (ptrdiff_t i = 0; i < n; i += 256) {
            const uint8_t *from[16];
            for (ptrdiff_t r = 0; r < 16; ++r) {
                from[r] = nothing;
                if (r >= rows)
                    continue;
                from[r] = data + r * row_bytes + (k + i) / 256 * stride;
                if (n - i < 256) {
                    memset(last[r], 0x55, 64);
                    memcpy(last[r], from[r], (size_t)(n - i) / 4);
                    from[r] = last[r];
                }
            }
            if (source == STERN_LM_TQ1_0)
                words_tq1(from, words + i / 16);
            else
                wrong |= words_of_fields(source, from, words + i / 16);
        }
        if (t2) {
            for (ptrdiff_t b = 0; b < blocks; ++b)
                memcpy(to + (k / 16 + b) * step, words[b], 64);
            continue;
        }
        if (blocks % 5) {
            const ptrdiff_t missing = 5 - blocks % 5;
            memset(words[blocks], 0x55, (size_t)missing * sizeof words[0]);
        }
        for (ptrdiff_t b = 0; b < blocks; b += 5)
            pack_t5(words + b, to + (k / 16 + b) / 5 * 4 * step, step);
    }
    return wrong != 0;
}

static void pack_q6(const uint8_t *data, ptrdiff_t n_rows, ptrdiff_t n_columns,
                    ptrdiff_t group, uint8_t *weights)
{
    static const uint8_t nothing[210];
    const ptrdiff_t blocks = n_columns / 256, rows = MIN(16, n_rows - 16 * group);
    uint8_t *to = weights + group * blocks * STERN_LM_Q6_BYTES;
    data += 16 * group * blocks * 210;
    for (ptrdiff_t b = 0; b < blocks; ++b, to += STERN_LM_Q6_BYTES) {
        lanes16 bytes[48];
        float d[16];
        for (ptrdiff_t r = 0; r < 16; ++r) {
            const uint8_t *block = r < rows ? data + (r * blocks + b) * 210 : nothing;
            for (int i = 0; i < 48; ++i)
                bytes[i][r] = word_at(block + 4 * i);
            for (int s = 0; s < 16; ++s)
                to[3072 + 16 * s + r] = block[192 + s];
            d[r] = half_to_float((uint16_t)(block[208] | block[209] << 8));
        }
        memcpy(to + 3328, d, sizeof d);
        for (int s = 0; s < 16; ++s) {
            const int quarter = s % 8 / 2, l = s % 2 * 4, shift = quarter / 2 * 4;
            lanes16 *low = bytes + s / 8 * 16 + quarter % 2 * 8 + l;
            lanes16 *high = bytes + 32 + s / 8 * 8 + l;
            lanes16 line[3];
            for (int r = 0; r < 16; ++r) {
                uint32_t nibbles[4], fields = 0;
                for (int n = 0; n < 4; ++n) {
                    nibbles[n] = low[n][r] >> shift & 0x0f0f0f0fu;
                    fields |= (high[n][r] >> 2 * quarter & 0x03030303u) << 2 * n;
                }
                line[0][r] = nibbles[0] | nibbles[1] << 4;
                line[1][r] = nibbles[2] | nibbles[3] << 4;
                line[2][r] = fields;
            }
            memcpy(to + 192 * s, line, sizeof line);
        }
    }
}

static void pack_q8(const uint8_t *data, ptrdiff_t n_rows, ptrdiff_t n_columns,
                    ptrdiff_t group, uint8_t *weights)
{
    const ptrdiff_t blocks = n_columns / 32, pairs = (blocks + 1) / 2;
    const ptrdiff_t rows = MIN(16, n_rows - 16 * group);
    uint8_t *to = weights + group * pairs * STERN_LM_Q8_BYTES;
    data += 16 * group * blocks * 34;
    memset(to, 0, (size_t)(pairs * STERN_LM_Q8_BYTES));
    for (ptrdiff_t b = 0; b < blocks; ++b)
        for (ptrdiff_t r = 0; r < rows; ++r) {
            const uint8_t *block = data + (r * blocks + b) * 34;
            uint8_t *pair = to + b / 2 * STERN_LM_Q8_BYTES;
            for (int n = 0; n < 8; ++n) {
                const uint32_t word = word_at(block + 2 + 4 * n) ^ 0x80808080u;
                memcpy(pair + b % 2 * 512 + 64 * n + 4 * r, &word, 4);
            }
            memcpy(pair + 1024 + b % 2 * 32 + 2 * r, block, 2);
        }
}
