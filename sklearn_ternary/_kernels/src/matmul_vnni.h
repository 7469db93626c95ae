/* dots() by the multiply-add of four unsigned by four signed bytes (VNNI), 512 bits
 * wide at level avx512, 256 in the variant of level avx2.
 *
 * Fields are cut out by AND alone: field n then is worth 4^n of its code. Either
 * every field has sums of its own, or the fields follow each other from the highest
 * and the sums are shifted right by two between them; both are exact. */
#if STERN_MM_AVX512
typedef __m512i vector;
#define V_LOAD(p) _mm512_loadu_si512(p)
#define V_AND _mm512_and_si512
#define V_BYTES(b) _mm512_set1_epi8((char)(b))
#define V_FOUR _mm512_set1_epi32
#define V_DOT(s, u, v) ((lanes)_mm512_dpbusd_epi32((vector)(s), u, v))
#else
typedef __m256i vector;
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define V_AND _mm256_and_si256
#define V_BYTES(b) _mm256_set1_epi8((char)(b))
#define V_FOUR _mm256_set1_epi32
#define V_DOT(s, u, v) ((lanes)_mm256_dpbusd_avx_epi32((vector)(s), u, v))
#endif
/* Sums are vectors of int32 for the compiler too: where it has to see through
 * conversions it copies them in every step. */
typedef int32_t lanes __attribute__((vector_size(sizeof(vector)), aligned(1), may_alias));
enum {
    V_SIZE = sizeof(vector),
    V_ROWS = V_SIZE / 4,
    V_PER_GROUP = 64 / V_SIZE,
};

/* A sum of the highest field grows by at most 64 * 2 * 128 * 4 = 2^16 a block:
 * below 2^31 for any run here. */
enum { INT8_RUN = DECODED_BLOCKS, INT8_RUN_1 = 1 << 14 };

ALWAYS_INLINE vector four_of(const int8_t *a)
{
    int32_t four;
    memcpy(&four, a, 4);
    return V_FOUR(four);
}

ALWAYS_INLINE void add_to(int32_t *sums, lanes v)
{
    *(lanes *)sums += v;
}

/* The sums below have names of their own, not places in an array: only so does the
 * compiler surely keep them in registers. */

/* R vectors of rows by N rows of activations, R * N <= 4, one sum for each field. */
ALWAYS_INLINE void dots_apart(const int R, const int N, const uint8_t *w,
                              ptrdiff_t stride, ptrdiff_t count, const int8_t *tile,
                              int tokens, int32_t *sums)
{
    const vector m0 = V_BYTES(3), m1 = V_BYTES(12), m2 = V_BYTES(48), m3 = V_BYTES(192);
    /* Pair i is of row vector i / N and activations i % N. */
#define SUMS(i) lanes a##i = {0}, b##i = {0}, c##i = {0}, d##i = {0};
#define MULTIPLY(i)                                                                \
    if (i < R * N) {                                                               \
        const vector x = V_LOAD(w + i / N * V_SIZE);                               \
        const int8_t *q = tile + i % N * 4;                                        \
        a##i = V_DOT(a##i, V_AND(x, m0), four_of(q));                              \
        b##i = V_DOT(b##i, V_AND(x, m1), four_of(q + 4 * tokens));                 \
        c##i = V_DOT(c##i, V_AND(x, m2), four_of(q + 8 * tokens));                 \
        d##i = V_DOT(d##i, V_AND(x, m3), four_of(q + 12 * tokens));                \
    }
#define FINISH(i)                                                                  \
    if (i < R * N)                                                                 \
        add_to(sums + i % N * STERN_MM_PANEL + i / N * V_ROWS,                     \
               a##i + (b##i >> 2) + (c##i >> 4) + (d##i >> 6));
    EACH_4(SUMS)
    do {
        /* Beyond what the processor fetches ahead by itself. */
        for (int line = 0; line < R * V_SIZE; line += 64)
            PREFETCH(w + line);
        EACH_4(MULTIPLY)
        w += stride;
        tile += 16 * tokens;
    } while (--count);
    EACH_4(FINISH)
#undef SUMS
#undef MULTIPLY
#undef FINISH
}

/* R vectors of rows (1, 2 or 4) by N rows of activations, R * N <= 24, one field after
 * the other. Meanwhile a line of `next` after the other comes to the cache. */
ALWAYS_INLINE void dots_in_turn(const int R, const int N, const uint8_t *w,
                                ptrdiff_t stride, ptrdiff_t count, const int8_t *tile,
                                int tokens, int32_t *sums, const void *next)
{
#define SUMS(t) lanes a##t = {0}, b##t = {0}, c##t = {0}, d##t = {0};
#define MULTIPLY(t)                                                                \
    if (t < N) {                                                                   \
        const vector four = four_of(q + 4 * t);                                    \
        a##t = V_DOT(a##t, u0, four);                                              \
        if (R > 1)                                                                 \
            b##t = V_DOT(b##t, u1, four);                                          \
        if (R > 2) {                                                               \
            c##t = V_DOT(c##t, u2, four);                                          \
            d##t = V_DOT(d##t, u3, four);                                          \
        }                                                                          \
    }
#define SHIFT(t)                                                                   \
    a##t >>= 2;                                                                    \
    b##t >>= 2;                                                                    \
    c##t >>= 2;                                                                    \
    d##t >>= 2;
#define FINISH(t)                                                                  \
    if (t < N) {                                                                   \
        add_to(sums + t * STERN_MM_PANEL, a##t);                                   \
        if (R > 1)                                                                 \
            add_to(sums + t * STERN_MM_PANEL + V_ROWS, b##t);                      \
        if (R > 2) {                                                               \
            add_to(sums + t * STERN_MM_PANEL + 2 * V_ROWS, c##t);                  \
            add_to(sums + t * STERN_MM_PANEL + 3 * V_ROWS, d##t);                  \
        }                                                                          \
    }
    const char *line = next;
    EACH_12(SUMS)
    for (int n = 3;; --n) {
        const vector mask = V_BYTES(3 << 2 * n);
        const uint8_t *from = w;
        const int8_t *q = tile + 4 * n * tokens;
        ptrdiff_t k = count;
        do {
            const vector u0 = V_AND(V_LOAD(from), mask),
                         u1 = R > 1 ? V_AND(V_LOAD(from + V_SIZE), mask) : u0,
                         u2 = R > 2 ? V_AND(V_LOAD(from + 2 * V_SIZE), mask) : u0,
                         u3 = R > 2 ? V_AND(V_LOAD(from + 3 * V_SIZE), mask) : u0;
            EACH_12(MULTIPLY)
            __builtin_prefetch(line);
            line += 64;
            from += stride;
            q += 16 * tokens;
        } while (--k);
        if (!n)
            break;
        EACH_12(SHIFT)
    }
    EACH_12(FINISH)
#undef SUMS
#undef MULTIPLY
#undef SHIFT
#undef FINISH
}

#if STERN_MM_AVX512
#define EACH_N(R)                                                                  \
    switch (tokens) {                                                              \
    case 3: dots_in_turn(R, 3, from, stride, count, tile, 3, to, next); break;     \
    case 4: dots_in_turn(R, 4, from, stride, count, tile, 4, to, next); break;     \
    case 5: dots_in_turn(R, 5, from, stride, count, tile, 5, to, next); break;     \
    case 6: dots_in_turn(R, 6, from, stride, count, tile, 6, to, next); break;

static void dots_4(const uint8_t *from, ptrdiff_t stride, ptrdiff_t count,
                   const int8_t *tile, int tokens, int32_t *to, const void *next)
{
    EACH_N(4)
    }
}

#define EACH_MORE(R)                                                               \
    EACH_N(R)                                                                      \
    case 7: dots_in_turn(R, 7, from, stride, count, tile, 7, to, next); break;     \
    case 8: dots_in_turn(R, 8, from, stride, count, tile, 8, to, next); break;     \
    case 9: dots_in_turn(R, 9, from, stride, count, tile, 9, to, next); break;     \
    case 10: dots_in_turn(R, 10, from, stride, count, tile, 10, to, next); break;  \
    case 11: dots_in_turn(R, 11, from, stride, count, tile, 11, to, next); break;  \
    case 12: dots_in_turn(R, 12, from, stride, count, tile, 12, to, next); break;  \
    }

static void dots_2(const uint8_t *from, ptrdiff_t stride, ptrdiff_t count,
                   const int8_t *tile, int tokens, int32_t *to, const void *next)
{
    if (tokens == 2)
        dots_apart(2, 2, from, stride, count, tile, 2, to);
    EACH_MORE(2)
}

static void dots_1(const uint8_t *from, ptrdiff_t stride, ptrdiff_t count,
                   const int8_t *tile, int tokens, int32_t *to, const void *next)
{
    if (tokens == 2)
        dots_apart(1, 2, from, stride, count, tile, 2, to);
    EACH_MORE(1)
}

static void dots(const uint8_t *w, int groups, ptrdiff_t count, const int8_t *tile,
                 int tokens, int32_t *sums)
{
    const ptrdiff_t stride = groups * 64;
    if (tokens == 1) {
        switch (groups) {
        case 4: dots_apart(4, 1, w, stride, count, tile, 1, sums); break;
        case 3: dots_apart(3, 1, w, stride, count, tile, 1, sums); break;
        case 2: dots_apart(2, 1, w, stride, count, tile, 1, sums); break;
        default: dots_apart(1, 1, w, stride, count, tile, 1, sums);
        }
        return;
    }
    if (groups == 4 && tokens > 2 && tokens <= 6) {
        dots_4(w, stride, count, tile, tokens, sums, tile + count * 16 * tokens);
        return;
    }
    int g = 0;
    for (; g + 2 <= groups; g += 2)
        dots_2(w + g * 64, stride, count, tile, tokens, sums + g * 16,
               g ? (const void *)(w + count * stride) : tile + count * 16 * tokens);
    if (g < groups)
        dots_1(w + g * 64, stride, count, tile, tokens, sums + g * 16,
               w + count * stride);
}

/* One row of activations by R row groups in format T5. Fields of two tables are joined
 * and cut out in one step; those of digits 0 and 4 share a sum. */
ALWAYS_INLINE void dots_t5_tile(const int R, const uint8_t *w, ptrdiff_t stride,
                                ptrdiff_t count, const int8_t *tile, int32_t *sums)
{
    enum { A_OR_B_IN_C = 0xa8 };
    const t5_tables tables = load_t5_tables();
    const vector m0 = V_BYTES(3), m1 = V_BYTES(12), m2 = V_BYTES(48), m3 = V_BYTES(192);
#define JOINED(m) _mm512_ternarylogic_epi32(low, high, m, A_OR_B_IN_C)
#define SUMS(r) lanes a##r = {0}, b##r = {0}, c##r = {0}, d##r = {0};
#define MULTIPLY(r)                                                                \
    if (r < R) {                                                                   \
        const vector x = V_LOAD(w + r * 64);                                       \
        const vector low = _mm512_permutexvar_epi8(x, tables.low);                 \
        const vector high = look_up_high(x, &tables);                              \
        PREFETCH(w + r * 64);                                                      \
        a##r = V_DOT(a##r, V_AND(low, m0), four_of(tile + 16 * j));                \
        b##r = V_DOT(b##r, JOINED(m1), four_of(tile + 16 * j + 4));                \
        c##r = V_DOT(c##r, JOINED(m2), four_of(tile + 16 * j + 8));                \
        d##r = V_DOT(d##r, JOINED(m3), four_of(tile + 16 * j + 12));               \
        a##r = V_DOT(a##r, V_AND(high, m0), four_of(tile + 64 + 4 * j));           \
    }
#define FINISH(r)                                                                  \
    if (r < R)                                                                     \
        add_to(sums + r * V_ROWS, a##r + (b##r >> 2) + (c##r >> 4) + (d##r >> 6));
    EACH_4(SUMS)
    for (ptrdiff_t k = 0; k + 5 <= count; k += 5, tile += 80)
        for (int j = 0; j < 4; ++j, w += stride) {
            EACH_4(MULTIPLY)
        }
    EACH_4(FINISH)
#undef JOINED
#undef SUMS
#undef MULTIPLY
#undef FINISH
}

static void dots_t5(const uint8_t *w, int groups, ptrdiff_t count, const int8_t *tile,
                    int32_t *sums)
{
    const ptrdiff_t stride = groups * 64;
    switch (groups) {
    case 4: dots_t5_tile(4, w, stride, count, tile, sums); break;
    case 3: dots_t5_tile(3, w, stride, count, tile, sums); break;
    case 2: dots_t5_tile(2, w, stride, count, tile, sums); break;
    default: dots_t5_tile(1, w, stride, count, tile, sums);
    }
}

#else

/* One row of activations by R vectors of rows, field after field as above: as many sums
 * as registers allow, over few enough blocks that they stay in the first cache. */
ALWAYS_INLINE void dots_one(const int R, const uint8_t *w, ptrdiff_t count,
                            const int8_t *tile, int32_t *sums)
{
#define SUMS(r) lanes a##r = {0};
#define MULTIPLY(r)                                                                \
    if (r < R)                                                                     \
        a##r = V_DOT(a##r, V_AND(V_LOAD(from + r * V_SIZE), mask), four);
#define SHIFT(r) a##r >>= 2;
#define FINISH(r)                                                                  \
    if (r < R)                                                                     \
        add_to(sums + r * V_ROWS, a##r);
    /* Each field brings a quarter of what comes after these blocks. */
    const uint8_t *next = w + count * R * V_SIZE;
    EACH_8(SUMS)
    for (int n = 3;; --n) {
        const vector mask = V_BYTES(3 << 2 * n);
        const uint8_t *from = w;
        const int8_t *q = tile + 4 * n;
        ptrdiff_t k = count;
        do {
            const vector four = four_of(q);
            EACH_8(MULTIPLY)
            __builtin_prefetch(next + 2048, 0, 2);
            __builtin_prefetch(next, 0, 3);
            next += R * V_SIZE / 4;
            from += R * V_SIZE;
            q += 16;
        } while (--k);
        if (!n)
            break;
        EACH_8(SHIFT)
    }
    EACH_8(FINISH)
#undef SUMS
#undef MULTIPLY
#undef SHIFT
#undef FINISH
}

static void dots(const uint8_t *w, int groups, ptrdiff_t count, const int8_t *tile,
                 int tokens, int32_t *sums)
{
    enum { BLOCKS_AT_ONCE = 32 };
    const ptrdiff_t stride = groups * 64;
    if (tokens == 1) {
        for (ptrdiff_t b = 0; b < count; b += BLOCKS_AT_ONCE) {
            const ptrdiff_t n = MIN(BLOCKS_AT_ONCE, count - b);
            const uint8_t *from = w + b * stride;
            const int8_t *a = tile + 16 * b;
            switch (groups) {
            case 4: dots_one(8, from, n, a, sums); break;
            case 3: dots_one(6, from, n, a, sums); break;
            case 2: dots_one(4, from, n, a, sums); break;
            default: dots_one(2, from, n, a, sums);
            }
        }
        return;
    }
    for (int g = 0; g < groups; ++g, w += 64, sums += 16)
        for (int t = 0; t < tokens; t += 4) {
            const int8_t *a = tile + 4 * t;
            int32_t *to = sums + t * STERN_MM_PANEL;
            const void *next = tile + count * 16 * tokens;
            switch (tokens - t) {
            case 1: dots_apart(2, 1, w, stride, count, a, tokens, to); break;
            case 2: dots_in_turn(2, 2, w, stride, count, a, tokens, to, next); break;
            case 3: dots_in_turn(2, 3, w, stride, count, a, tokens, to, next); break;
            default: dots_in_turn(2, 4, w, stride, count, a, tokens, to, next);
            }
        }
}
#endif
