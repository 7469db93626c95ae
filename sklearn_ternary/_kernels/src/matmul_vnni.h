/* dots() by the multiply-add of four unsigned by four signed bytes (VNNI), 512 bits
 * wide at level avx512, 256 in the variant of level avx2.
 *
 * Fields are cut out by AND alone: field n then is worth 4^n of its code. Either
 * every field has sums of its own, or the fields follow each other from the highest
 * and the sums are shifted right by two between them; both are exact. */
#if STERN_MM_AVX512
typedef __m512i vector;
#define V_ZERO _mm512_setzero_si512()
#define V_LOAD(p) _mm512_loadu_si512(p)
#define V_STORE(p, v) _mm512_storeu_si512(p, v)
#define V_AND _mm512_and_si512
#define V_ADD _mm512_add_epi32
#define V_SUB _mm512_sub_epi32
#define V_SHIFT _mm512_srai_epi32
#define V_BYTES(b) _mm512_set1_epi8((char)(b))
#define V_FOUR _mm512_set1_epi32
#define V_DOT _mm512_dpbusd_epi32
#else
typedef __m256i vector;
#define V_ZERO _mm256_setzero_si256()
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define V_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define V_AND _mm256_and_si256
#define V_ADD _mm256_add_epi32
#define V_SUB _mm256_sub_epi32
#define V_SHIFT _mm256_srai_epi32
#define V_BYTES(b) _mm256_set1_epi8((char)(b))
#define V_FOUR _mm256_set1_epi32
#define V_DOT _mm256_dpbusd_avx_epi32
#endif
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

ALWAYS_INLINE void add_to(int32_t *sums, vector v)
{
    V_STORE(sums, V_ADD(V_LOAD(sums), v));
}

/* R vectors of rows by N rows of activations, one sum for each field. */
ALWAYS_INLINE void dots_apart(const int R, const int N, const uint8_t *w,
                              ptrdiff_t stride, ptrdiff_t count, const int8_t *tile,
                              int tokens, int32_t *sums)
{
    vector acc[16];
    _Pragma("GCC unroll 16")
    for (int i = 0; i < 4 * R * N; ++i)
        acc[i] = V_ZERO;
    for (ptrdiff_t b = 0; b < count; ++b, w += stride, tile += 16 * tokens) {
        vector x[4];
        _Pragma("GCC unroll 4")
        for (int r = 0; r < R; ++r) {
            x[r] = V_LOAD(w + r * V_SIZE);
            /* Beyond what the processor fetches ahead by itself. */
            if (r * V_SIZE % 64 == 0)
                __builtin_prefetch(w + r * V_SIZE + 4096);
        }
        _Pragma("GCC unroll 4")
        for (int n = 0; n < 4; ++n) {
            vector a[4];
            _Pragma("GCC unroll 4")
            for (int t = 0; t < N; ++t)
                a[t] = four_of(tile + (n * tokens + t) * 4);
            _Pragma("GCC unroll 4")
            for (int r = 0; r < R; ++r) {
                const vector u = V_AND(x[r], V_BYTES(3 << 2 * n));
                _Pragma("GCC unroll 4")
                for (int t = 0; t < N; ++t)
                    acc[(n * R + r) * N + t] = V_DOT(acc[(n * R + r) * N + t], u, a[t]);
            }
        }
    }
    _Pragma("GCC unroll 4")
    for (int i = 0; i < R * N; ++i)
        add_to(sums + i % N * STERN_MM_PANEL + i / N * V_ROWS,
               V_ADD(V_ADD(acc[i], V_SHIFT(acc[R * N + i], 2)),
                     V_ADD(V_SHIFT(acc[2 * R * N + i], 4),
                           V_SHIFT(acc[3 * R * N + i], 6))));
}

/* R vectors of rows by N rows of activations, one field after the other. */
ALWAYS_INLINE void dots_in_turn(const int R, const int N, const uint8_t *w,
                                ptrdiff_t stride, ptrdiff_t count, const int8_t *tile,
                                int tokens, int32_t *sums)
{
    vector acc[24];
    _Pragma("GCC unroll 24")
    for (int i = 0; i < R * N; ++i)
        acc[i] = V_ZERO;
    _Pragma("GCC unroll 4")
    for (int n = 3; n >= 0; --n) {
        const vector mask = V_BYTES(3 << 2 * n);
        const uint8_t *from = w;
        const int8_t *a = tile + 4 * n * tokens;
        for (ptrdiff_t b = 0; b < count; ++b, from += stride, a += 16 * tokens) {
            vector u[4];
            _Pragma("GCC unroll 4")
            for (int r = 0; r < R; ++r)
                u[r] = V_AND(V_LOAD(from + r * V_SIZE), mask);
            _Pragma("GCC unroll 12")
            for (int t = 0; t < N; ++t) {
                const vector four = four_of(a + 4 * t);
                _Pragma("GCC unroll 4")
                for (int r = 0; r < R; ++r)
                    acc[r * N + t] = V_DOT(acc[r * N + t], u[r], four);
            }
        }
        if (n) {
            _Pragma("GCC unroll 24")
            for (int i = 0; i < R * N; ++i)
                acc[i] = V_SHIFT(acc[i], 2);
        }
    }
    _Pragma("GCC unroll 24")
    for (int i = 0; i < R * N; ++i)
        add_to(sums + i % N * STERN_MM_PANEL + i / N * V_ROWS, acc[i]);
}

#if STERN_MM_AVX512
#define EACH_N(R)                                                                  \
    switch (tokens) {                                                              \
    case 3: dots_in_turn(R, 3, from, stride, count, tile, 3, to); break;           \
    case 4: dots_in_turn(R, 4, from, stride, count, tile, 4, to); break;           \
    case 5: dots_in_turn(R, 5, from, stride, count, tile, 5, to); break;           \
    case 6: dots_in_turn(R, 6, from, stride, count, tile, 6, to); break;

static void dots_4(const uint8_t *from, ptrdiff_t stride, ptrdiff_t count,
                   const int8_t *tile, int tokens, int32_t *to)
{
    EACH_N(4)
    }
}

#define EACH_MORE(R)                                                               \
    EACH_N(R)                                                                      \
    case 7: dots_in_turn(R, 7, from, stride, count, tile, 7, to); break;           \
    case 8: dots_in_turn(R, 8, from, stride, count, tile, 8, to); break;           \
    case 9: dots_in_turn(R, 9, from, stride, count, tile, 9, to); break;           \
    case 10: dots_in_turn(R, 10, from, stride, count, tile, 10, to); break;        \
    case 11: dots_in_turn(R, 11, from, stride, count, tile, 11, to); break;        \
    case 12: dots_in_turn(R, 12, from, stride, count, tile, 12, to); break;        \
    }

static void dots_2(const uint8_t *from, ptrdiff_t stride, ptrdiff_t count,
                   const int8_t *tile, int tokens, int32_t *to)
{
    if (tokens == 2)
        dots_apart(2, 2, from, stride, count, tile, 2, to);
    EACH_MORE(2)
}

static void dots_1(const uint8_t *from, ptrdiff_t stride, ptrdiff_t count,
                   const int8_t *tile, int tokens, int32_t *to)
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
        dots_4(w, stride, count, tile, tokens, sums);
        return;
    }
    int g = 0;
    for (; g + 2 <= groups; g += 2)
        dots_2(w + g * 64, stride, count, tile, tokens, sums + g * 16);
    if (g < groups)
        dots_1(w + g * 64, stride, count, tile, tokens, sums + g * 16);
}

/* One row of activations by R row groups in format T5. */
ALWAYS_INLINE void dots_t5_tile(const int R, const uint8_t *w, ptrdiff_t stride,
                                ptrdiff_t count, const int8_t *tile, int32_t *sums)
{
    const t5_tables tables = load_t5_tables();
    vector acc[20];
    _Pragma("GCC unroll 20")
    for (int i = 0; i < 5 * R; ++i)
        acc[i] = V_ZERO;
    for (ptrdiff_t b = 0; b + 5 <= count; b += 5, tile += 80)
        for (int j = 0; j < 4; ++j, w += stride) {
            const vector last = four_of(tile + 64 + 4 * j);
            vector x[4];
            _Pragma("GCC unroll 4")
            for (int r = 0; r < R; ++r) {
                vector fifth;
                __builtin_prefetch(w + r * 64 + 4096);
                x[r] = decode_step(V_LOAD(w + r * 64), &tables, &fifth);
                acc[4 * R + r] = V_DOT(acc[4 * R + r], fifth, last);
            }
            _Pragma("GCC unroll 4")
            for (int n = 0; n < 4; ++n) {
                const vector a = four_of(tile + 16 * j + 4 * n);
                _Pragma("GCC unroll 4")
                for (int r = 0; r < R; ++r)
                    acc[n * R + r] = V_DOT(acc[n * R + r],
                                           V_AND(x[r], V_BYTES(3 << 2 * n)), a);
            }
        }
    _Pragma("GCC unroll 4")
    for (int r = 0; r < R; ++r) {
        /* 81 s / 81, exactly: the inverse of 81 modulo 2^32. */
        const vector fifths = _mm512_mullo_epi32(acc[4 * R + r],
                                                 V_FOUR((int32_t)0x781948b1u));
        add_to(sums + r * V_ROWS,
               V_ADD(V_ADD(V_ADD(acc[r], fifths), V_SHIFT(acc[R + r], 2)),
                     V_ADD(V_SHIFT(acc[2 * R + r], 4), V_SHIFT(acc[3 * R + r], 6))));
    }
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

static void dots(const uint8_t *w, int groups, ptrdiff_t count, const int8_t *tile,
                 int tokens, int32_t *sums)
{
    const ptrdiff_t stride = groups * 64;
    for (int g = 0; g < groups; ++g, w += 64, sums += 16)
        for (int t = 0; t < tokens; t += 6) {
            const int8_t *a = tile + 4 * t;
            int32_t *to = sums + t * STERN_MM_PANEL;
            switch (tokens - t) {
            case 1: dots_apart(2, 1, w, stride, count, a, tokens, to); break;
            case 2: dots_in_turn(2, 2, w, stride, count, a, tokens, to); break;
            case 3: dots_in_turn(2, 3, w, stride, count, a, tokens, to); break;
            case 4: dots_in_turn(2, 4, w, stride, count, a, tokens, to); break;
            case 5: dots_in_turn(2, 5, w, stride, count, a, tokens, to); break;
            default: dots_in_turn(2, 6, w, stride, count, a, tokens, to);
            }
        }
}
#endif
