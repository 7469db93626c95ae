/* Codes to bytes and back; see sklearn_ternary/_layouts.py for the formats. */

/* Bytes of a little-endian number, whatever the machine. */
static inline uint64_t load_bytes(const void *p, int n)
{
    uint64_t w = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&w, p, (size_t)n);
#else
    for (int i = 0; i < n; ++i)
        w |= (uint64_t)((const uint8_t *)p)[i] << 8 * i;
#endif
    return w;
}

static inline void store_bytes(void *p, uint64_t w, int n)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &w, (size_t)n);
#else
    for (int i = 0; i < n; ++i)
        ((uint8_t *)p)[i] = (uint8_t)(w >> 8 * i);
#endif
}

/* ---- t2: four codes a byte ------------------------------------------- */

static inline uint8_t t2_byte(const int8_t *four_codes)
{
    /* Byte 3 of the product is the sum of byte i times 4**i; the rest below it does
     * not carry into it. */
    const uint32_t codes = (uint32_t)load_bytes(four_codes, 4) & UINT32_C(0x03030303);
    const uint32_t digits = codes + UINT32_C(0x01010101);
    return (uint8_t)(((digits & UINT32_C(0x03030303)) * UINT32_C(0x01041040)) >> 24);
}

static void pack_t2(const int8_t *codes, ptrdiff_t n, uint8_t *out)
{
    ptrdiff_t i = 0;
#if STERN_USE_AVX512
    const __m512i one = _mm512_set1_epi8(1), w1 = _mm512_set1_epi16(0x0401),
                  w2 = _mm512_set1_epi32(0x00100001);
    for (; i + 64 <= n; i += 64) {
        const __m512i u = _mm512_add_epi8(_mm512_loadu_si512(codes + i), one);
        const __m512i bytes = _mm512_madd_epi16(_mm512_maddubs_epi16(u, w1), w2);
        _mm_storeu_si128((__m128i *)(out + i / 4), _mm512_cvtepi32_epi8(bytes));
    }
#elif STERN_USE_AVX2
    const __m256i one = _mm256_set1_epi8(1), w1 = _mm256_set1_epi16(0x0401),
                  w2 = _mm256_set1_epi32(0x00100001);
    const __m256i take = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                          -1, -1, -1, 0, 4, 8, 12, -1, -1, -1, -1, -1, -1,
                                          -1, -1, -1, -1, -1, -1);
    for (; i + 32 <= n; i += 32) {
        const __m256i u = _mm256_add_epi8(
            _mm256_loadu_si256((const __m256i *)(codes + i)), one);
        const __m256i b = _mm256_shuffle_epi8(
            _mm256_madd_epi16(_mm256_maddubs_epi16(u, w1), w2), take);
        const uint64_t low = (uint32_t)_mm256_extract_epi32(b, 0);
        store_bytes(out + i / 4, low | (uint64_t)(uint32_t)_mm256_extract_epi32(b, 4) << 32, 8);
    }
#endif
    for (; i + 4 <= n; i += 4)
        out[i / 4] = t2_byte(codes + i);
    if (i < n) {
        int8_t rest[4] = {0};
        memcpy(rest, codes + i, (size_t)(n - i));
        out[i / 4] = t2_byte(rest);
    }
}

#define T2_ROW(b) {((b) & 3) - 1, ((b) >> 2 & 3) - 1, ((b) >> 4 & 3) - 1, ((b) >> 6) - 1}
#define T2_ROW4(b) T2_ROW(b), T2_ROW(b + 1), T2_ROW(b + 2), T2_ROW(b + 3)
#define T2_ROW16(b) T2_ROW4(b), T2_ROW4(b + 4), T2_ROW4(b + 8), T2_ROW4(b + 12)
#define T2_ROW64(b) T2_ROW16(b), T2_ROW16(b + 16), T2_ROW16(b + 32), T2_ROW16(b + 48)
static const int8_t t2_digits[256][4] = {T2_ROW64(0), T2_ROW64(64), T2_ROW64(128),
                                         T2_ROW64(192)};

static void unpack_t2(const uint8_t *in, ptrdiff_t n, int8_t *out)
{
    ptrdiff_t i = 0;
#if STERN_USE_AVX512
    const __m512i fields = _mm512_set1_epi64(0x2624222006040200),
                  three = _mm512_set1_epi8(3), one = _mm512_set1_epi8(1);
    for (; i + 64 <= n; i += 64) {
        const __m512i w = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(in + i / 4)));
        const __m512i u = _mm512_and_si512(_mm512_multishift_epi64_epi8(fields, w), three);
        _mm512_storeu_si512(out + i, _mm512_sub_epi8(u, one));
    }
#elif STERN_USE_AVX2
    const __m256i three = _mm256_set1_epi8(3), one = _mm256_set1_epi8(1);
    for (; i + 32 <= n; i += 32) {
        __m256i w = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(in + i / 4)));
        w = _mm256_or_si256(w, _mm256_slli_epi32(w, 12));
        w = _mm256_or_si256(w, _mm256_slli_epi32(w, 6));
        _mm256_storeu_si256((__m256i *)(out + i),
                            _mm256_sub_epi8(_mm256_and_si256(w, three), one));
    }
#endif
    for (; i + 4 <= n; i += 4)
        memcpy(out + i, t2_digits[in[i / 4]], 4);
    if (i < n)
        memcpy(out + i, t2_digits[in[i / 4]], (size_t)(n - i));
}

/* ---- t5: five codes a byte ------------------------------------------- */

/* Digits of every byte, least significant first, less one. */
#define DIGIT(b, p) ((int8_t)((b) / (p) % 3 - 1))
#define ROW1(b) {DIGIT(b, 1), DIGIT(b, 3), DIGIT(b, 9), DIGIT(b, 27), DIGIT(b, 81), 0, 0, 0}
#define ROW4(b) ROW1(b), ROW1(b + 1), ROW1(b + 2), ROW1(b + 3)
#define ROW16(b) ROW4(b), ROW4(b + 4), ROW4(b + 8), ROW4(b + 12)
#define ROW64(b) ROW16(b), ROW16(b + 16), ROW16(b + 32), ROW16(b + 48)
static const int8_t t5_digits[256][8] = {ROW64(0), ROW64(64), ROW64(128), ROW64(192)};

static inline uint8_t t5_byte(uint64_t five_codes)
{
    /* Byte 4 of the product is the sum of byte i times 3**i; no byte below it
     * carries, all sums being at most 242. */
    const uint64_t ones = UINT64_C(0x0101010101), weights = UINT64_C(0x0103091b51);
    const uint64_t digits = (five_codes & UINT64_C(0x0303030303)) + ones;
    return (uint8_t)((digits & UINT64_C(0x0303030303)) * weights >> 32);
}

#if STERN_USE_AVX512
#define EACH16(f, b) f(b), f(b + 1), f(b + 2), f(b + 3), f(b + 4), f(b + 5), f(b + 6), \
    f(b + 7), f(b + 8), f(b + 9), f(b + 10), f(b + 11), f(b + 12), f(b + 13), f(b + 14), \
    f(b + 15)
#define EACH64(f, b) {EACH16(f, b), EACH16(f, b + 16), EACH16(f, b + 32), EACH16(f, b + 48)}

/* Digit d of byte k is code 5k + d of 320: number t5_index[d][k] of vector j, for k
 * from T5_FIRST(j, d) on. */
#define T5_INDEX0(k) (5 * (k) % 64)
#define T5_INDEX1(k) ((5 * (k) + 1) % 64)
#define T5_INDEX2(k) ((5 * (k) + 2) % 64)
#define T5_INDEX3(k) ((5 * (k) + 3) % 64)
#define T5_INDEX4(k) ((5 * (k) + 4) % 64)
#define T5_FIRST(j, d) ((64 * (j) - (d) + 4) / 5)
static const uint8_t t5_index[5][64] = {
    EACH64(T5_INDEX0, 0), EACH64(T5_INDEX1, 0), EACH64(T5_INDEX2, 0),
    EACH64(T5_INDEX3, 0), EACH64(T5_INDEX4, 0),
};

/* The other way: code k is digit k % 5 of byte k / 5. Digits 0 to 3 of a byte are two
 * bits each of a byte of t5_four, which holds those of 0 to 80. */
#define T5_SOURCE(k) ((k) / 5)
#define T5_SHIFT(k) (8 * ((k) % 8) + ((k) % 5 < 4 ? 2 * ((k) % 5) : 0))
#define T5_FOUR(r) ((r) % 3 | (r) / 3 % 3 << 2 | (r) / 9 % 3 << 4 | (r) / 27 % 3 << 6)
#define T5_LAST(j) (UINT64_C(0x1084210842108421) << (4 + (j)) % 5)
static const uint8_t t5_source[5][64] = {
    EACH64(T5_SOURCE, 0), EACH64(T5_SOURCE, 64), EACH64(T5_SOURCE, 128),
    EACH64(T5_SOURCE, 192), EACH64(T5_SOURCE, 256),
};
static const uint8_t t5_shift[5][64] = {
    EACH64(T5_SHIFT, 0), EACH64(T5_SHIFT, 64), EACH64(T5_SHIFT, 128),
    EACH64(T5_SHIFT, 192), EACH64(T5_SHIFT, 256),
};
static const uint8_t t5_four[2][64] = {EACH64(T5_FOUR, 0), EACH64(T5_FOUR, 64)};
#endif

#if STERN_USE_AVX512
/* The bytes of 320 codes. */
static inline __m512i t5_bytes(const __m512i codes[5])
{
    __m512i plane[5];
    _Pragma("GCC unroll 5")
    for (int d = 0; d < 5; ++d) {
        const __m512i where = _mm512_loadu_si512(t5_index[d]);
        plane[d] = _mm512_permutexvar_epi8(where, codes[0]);
        _Pragma("GCC unroll 4")
        for (int j = 1; j < 5; ++j)
            plane[d] = _mm512_mask_permutexvar_epi8(
                plane[d], UINT64_MAX << T5_FIRST(j, d), where, codes[j]);
    }
    __m512i sum = plane[4];
    _Pragma("GCC unroll 4")
    for (int d = 3; d >= 0; --d)
        sum = _mm512_add_epi8(_mm512_add_epi8(sum, sum), _mm512_add_epi8(sum, plane[d]));
    return _mm512_add_epi8(sum, _mm512_set1_epi8(121)); /* five digits 1 */
}

static inline __mmask64 first_bytes(ptrdiff_t n)
{
    return n <= 0 ? 0 : n < 64 ? UINT64_MAX >> (64 - n) : UINT64_MAX;
}
#endif

static void pack_t5(const int8_t *codes, ptrdiff_t n, uint8_t *out)
{
    ptrdiff_t i = 0;
#if STERN_USE_AVX512
    __m512i v[5];
    for (; i + 320 <= n; i += 320) {
        _Pragma("GCC unroll 5")
        for (int j = 0; j < 5; ++j)
            v[j] = _mm512_loadu_si512(codes + i + 64 * j);
        _mm512_storeu_si512(out + i / 5, t5_bytes(v));
    }
    if (i + 40 <= n) {
        _Pragma("GCC unroll 5")
        for (int j = 0; j < 5; ++j)
            v[j] = _mm512_maskz_loadu_epi8(first_bytes(n - i - 64 * j), codes + i + 64 * j);
        _mm512_mask_storeu_epi8(out + i / 5, first_bytes((n - i + 4) / 5), t5_bytes(v));
        return;
    }
#endif
    for (; i + 8 <= n; i += 5)
        out[i / 5] = t5_byte(load_bytes(codes + i, 8));
    for (; i < n; i += 5) {
        int8_t rest[8] = {0};
        memcpy(rest, codes + i, (size_t)(n - i < 5 ? n - i : 5));
        out[i / 5] = t5_byte(load_bytes(rest, 8));
    }
}

static void unpack_t5(const uint8_t *in, ptrdiff_t n, int8_t *out)
{
    ptrdiff_t i = 0;
#if STERN_USE_AVX512
    const __m512i low = _mm512_loadu_si512(t5_four[0]),
                  high = _mm512_loadu_si512(t5_four[1]), c81 = _mm512_set1_epi8(81),
                  three = _mm512_set1_epi8(3), one = _mm512_set1_epi8(1);
    for (; i + 320 <= n; i += 320) {
        const __m512i b = _mm512_loadu_si512(in + i / 5);
        /* b modulo 81: a subtraction that wraps gives the larger number. */
        __m512i r = _mm512_min_epu8(b, _mm512_sub_epi8(b, c81));
        r = _mm512_min_epu8(r, _mm512_sub_epi8(r, c81));
        const __m512i four = _mm512_permutex2var_epi8(low, r, high);
        const __m512i rest = _mm512_sub_epi8(b, r); /* 0, 81 or 162 */
        __m512i fifth = _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(rest, rest), one);
        fifth = _mm512_mask_add_epi8(fifth, _mm512_movepi8_mask(rest), one, one);
        _Pragma("GCC unroll 5")
        for (int j = 0; j < 5; ++j) {
            const __m512i from = _mm512_loadu_si512(t5_source[j]);
            __m512i d = _mm512_multishift_epi64_epi8(
                _mm512_loadu_si512(t5_shift[j]), _mm512_permutexvar_epi8(from, four));
            d = _mm512_and_si512(d, three);
            d = _mm512_mask_permutexvar_epi8(d, T5_LAST(j), from, fifth);
            _mm512_storeu_si512(out + i + 64 * j, _mm512_sub_epi8(d, one));
        }
    }
#endif
    for (; i + 8 <= n; i += 5)
        memcpy(out + i, t5_digits[in[i / 5]], 8);
    for (; i < n; i += 5)
        memcpy(out + i, t5_digits[in[i / 5]], (size_t)(n - i < 5 ? n - i : 5));
}

/* ---- q3: 24 codes of five levels in 7 bytes --------------------------- */

#define Q3_ROW(f) {(int8_t)((f) % 5 - 2), (int8_t)((f) / 5 % 5 - 2), (int8_t)((f) / 25 - 2), 0}
#define Q3_ROW4(f) Q3_ROW(f), Q3_ROW(f + 1), Q3_ROW(f + 2), Q3_ROW(f + 3)
#define Q3_ROW16(f) Q3_ROW4(f), Q3_ROW4(f + 4), Q3_ROW4(f + 8), Q3_ROW4(f + 12)
#define Q3_ROW64(f) Q3_ROW16(f), Q3_ROW16(f + 16), Q3_ROW16(f + 32), Q3_ROW16(f + 48)
static const int8_t q3_digits[128][4] = {Q3_ROW64(0), Q3_ROW64(64)};

static inline void q3_unit(const int8_t *c, uint8_t *out)
{
    uint64_t word = 0;
    _Pragma("GCC unroll 8")
    for (int f = 0; f < 8; ++f)
        word |= (uint64_t)(62 + c[3 * f] + 5 * c[3 * f + 1] + 25 * c[3 * f + 2]) << 7 * f;
    store_bytes(out, word, 7);
}

static void pack_q3(const int8_t *codes, ptrdiff_t n, uint8_t *out)
{
    ptrdiff_t i = 0;
    for (; i + 24 <= n; i += 24)
        q3_unit(codes + i, out + i / 24 * 7);
    if (i < n) {
        int8_t rest[24] = {0};
        memcpy(rest, codes + i, (size_t)(n - i));
        q3_unit(rest, out + i / 24 * 7);
    }
}

static inline void q3_codes(const uint8_t *in, int8_t *out)
{
    const uint64_t word = load_bytes(in, 7);
    _Pragma("GCC unroll 8")
    for (int f = 0; f < 8; ++f)
        memcpy(out + 3 * f, q3_digits[word >> 7 * f & 127], 4);
}

static void unpack_q3(const uint8_t *in, ptrdiff_t n, int8_t *out)
{
    ptrdiff_t i = 0;
    for (; i + 25 <= n; i += 24)
        q3_codes(in + i / 24 * 7, out + i);
    for (; i < n; i += 24) {
        int8_t unit[25];
        q3_codes(in + i / 24 * 7, unit);
        memcpy(out + i, unit, (size_t)(n - i < 24 ? n - i : 24));
    }
}

/* ---- i4, i8 ----------------------------------------------------------- */

static void pack_i4(const int8_t *codes, ptrdiff_t n, uint8_t *out)
{
    for (ptrdiff_t i = 0; i < n / 2; ++i)
        out[i] = (uint8_t)((codes[2 * i] + 8) | (codes[2 * i + 1] + 8) << 4);
    if (n % 2)
        out[n / 2] = (uint8_t)((codes[n - 1] + 8) | 8 << 4);
}

static void unpack_i4(const uint8_t *in, ptrdiff_t n, int8_t *out)
{
    for (ptrdiff_t i = 0; i < n / 2; ++i) {
        out[2 * i] = (int8_t)((in[i] & 15) - 8);
        out[2 * i + 1] = (int8_t)((in[i] >> 4) - 8);
    }
    if (n % 2)
        out[n - 1] = (int8_t)((in[n / 2] & 15) - 8);
}

static void pack_i8(const int8_t *codes, ptrdiff_t n, uint8_t *out)
{
    memcpy(out, codes, (size_t)n);
}

static void unpack_i8(const uint8_t *in, ptrdiff_t n, int8_t *out)
{
    memcpy(out, in, (size_t)n);
}

/* ---- histogram -------------------------------------------------------- */

#if STERN_USE_AVX512
#define N_BYTES 64
#elif STERN_USE_AVX2
#define N_BYTES 32
#else
#define N_BYTES 16
#endif
typedef int8_t bytes __attribute__((vector_size(N_BYTES)));
typedef int8_t bytes_at __attribute__((vector_size(N_BYTES), aligned(1), may_alias));

/* How many of n codes equal `code`. */
static int64_t count_code(const int8_t *codes, ptrdiff_t n, int8_t code)
{
    int64_t count = 0;
    ptrdiff_t i = 0;
    while (i + N_BYTES <= n) {
        /* A lane counts to 127 before it is emptied. */
        const ptrdiff_t end = i + 127 * N_BYTES <= n ? i + 127 * N_BYTES
                                                     : i + (n - i) / N_BYTES * N_BYTES;
        bytes found = {0};
        int8_t lanes[N_BYTES];
        for (; i < end; i += N_BYTES)
            found -= (bytes)((bytes)(*(const bytes_at *)(codes + i)) == code);
        memcpy(lanes, &found, sizeof lanes);
        for (int j = 0; j < N_BYTES; ++j)
            count += lanes[j];
    }
    for (; i < n; ++i)
        count += codes[i] == code;
    return count;
}

static void count_codes(const int8_t *codes, ptrdiff_t n, int half, int64_t *counts)
{
    if (half <= 2) {
        for (int code = -half; code <= half; ++code)
            counts[code + half] += count_code(codes, n, (int8_t)code);
        return;
    }
    /* Four tables, so that equal codes in a row need not wait for each other. */
    uint32_t tables[4][256] = {{0}};
    for (ptrdiff_t i = 0; i < n; ++i)
        ++tables[i % 4][(uint8_t)codes[i]];
    for (int code = -half; code <= half; ++code)
        for (int k = 0; k < 4; ++k)
            counts[code + half] += tables[k][(uint8_t)code];
}

/* ---- bytes that no codes pack to ---------------------------------------- */

static int any_invalid_t2(const uint8_t *in, ptrdiff_t n)
{
    uint8_t found = 0;
    for (ptrdiff_t i = 0; i < n; ++i)
        found |= in[i] & in[i] >> 1;
    return (found & 0x55) != 0;
}

static int any_invalid_t5(const uint8_t *in, ptrdiff_t n)
{
    uint8_t found = 0;
    for (ptrdiff_t i = 0; i < n; ++i)
        found |= in[i] >= 243;
    return found;
}

static int any_invalid_q3(const uint8_t *in, ptrdiff_t n)
{
    /* 125, 126 and 127 are the fields with five high bits and one of the others. The
     * eighth byte loaded is of the next unit, and ignored. */
    uint64_t found = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const uint64_t w = load_bytes(in + 7 * i, i + 1 < n ? 8 : 7);
        found |= w >> 6 & w >> 5 & w >> 4 & w >> 3 & w >> 2 & (w >> 1 | w);
    }
    return (found & UINT64_C(0x2040810204081)) != 0;
}

static int any_invalid_i4(const uint8_t *in, ptrdiff_t n)
{
    uint8_t found = 0;
    for (ptrdiff_t i = 0; i < n; ++i)
        found |= (uint8_t)(in[i] < 16) | (uint8_t)((in[i] & 15) == 0);
    return found;
}

static int any_invalid_i8(const uint8_t *in, ptrdiff_t n)
{
    uint8_t found = 0;
    for (ptrdiff_t i = 0; i < n; ++i)
        found |= in[i] == 128;
    return found;
}

const stern_codec STERN_GLUE(stern_codec_, STERN_LEVEL) = {
    {pack_t2, pack_t5, pack_q3, pack_i4, pack_i8,
     pack_tq1_0, pack_tq2_0, pack_i2_s_x86, pack_i2_s_arm},
    {unpack_t2, unpack_t5, unpack_q3, unpack_i4, unpack_i8,
     unpack_tq1_0, unpack_tq2_0, unpack_i2_s_x86, unpack_i2_s_arm},
    count_codes,
    {any_invalid_t2, any_invalid_t5, any_invalid_q3, any_invalid_i4, any_invalid_i8},
};
