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

static inline uint8_t t2_byte(const int8_t *c)
{
    return (uint8_t)((c[0] + 1) | (c[1] + 1) << 2 | (c[2] + 1) << 4 | (c[3] + 1) << 6);
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
    for (; i < n; ++i)
        out[i] = (int8_t)((in[i / 4] >> 2 * (i % 4) & 3) - 1);
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
/* Which of 320 codes is digit `digit` of byte `k`, for 64 bytes. */
static inline __m512i t5_plane(const __m512i c[5], int digit)
{
    int8_t index[64];
    uint64_t from[5] = {0};
    for (int k = 0; k < 64; ++k) {
        const int source = 5 * k + digit;
        index[k] = (int8_t)(source % 64);
        from[source / 64] |= (uint64_t)1 << k;
    }
    const __m512i where = _mm512_loadu_si512(index);
    __m512i plane = _mm512_maskz_permutexvar_epi8(from[0], where, c[0]);
    for (int j = 1; j < 5; ++j)
        plane = _mm512_mask_permutexvar_epi8(plane, from[j], where, c[j]);
    return plane;
}
#endif

static void pack_t5(const int8_t *codes, ptrdiff_t n, uint8_t *out)
{
    ptrdiff_t i = 0;
#if STERN_USE_AVX512
    const __m512i all_ones = _mm512_set1_epi8(121); /* five digits 1 */
    for (; i + 320 <= n; i += 320) {
        __m512i c[5];
        _Pragma("GCC unroll 5")
        for (int j = 0; j < 5; ++j)
            c[j] = _mm512_loadu_si512(codes + i + 64 * j);
        __m512i sum = t5_plane(c, 4);
        _Pragma("GCC unroll 4")
        for (int digit = 3; digit >= 0; --digit)
            sum = _mm512_add_epi8(_mm512_add_epi8(sum, sum),
                                  _mm512_add_epi8(sum, t5_plane(c, digit)));
        _mm512_storeu_si512(out + i / 5, _mm512_add_epi8(sum, all_ones));
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
    uint8_t fields[128] = {0}, source[5][64], shift[5][64];
    uint64_t last[5] = {0};
    for (int r = 0; r < 81; ++r)
        fields[r] = (uint8_t)(r % 3 | r / 3 % 3 << 2 | r / 9 % 3 << 4 | r / 27 << 6);
    for (int k = 0; k < 320; ++k) {
        source[k / 64][k % 64] = (uint8_t)(k / 5);
        shift[k / 64][k % 64] = (uint8_t)(8 * (k % 8) + (k % 5 < 4 ? 2 * (k % 5) : 0));
        last[k / 64] |= (uint64_t)(k % 5 == 4) << k % 64;
    }
    const __m512i low = _mm512_loadu_si512(fields), high = _mm512_loadu_si512(fields + 64),
                  c81 = _mm512_set1_epi8(81), three = _mm512_set1_epi8(3),
                  one = _mm512_set1_epi8(1);
    __m512i from[5], at[5];
    for (int j = 0; j < 5; ++j) {
        from[j] = _mm512_loadu_si512(source[j]);
        at[j] = _mm512_loadu_si512(shift[j]);
    }
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
            __m512i d = _mm512_multishift_epi64_epi8(
                at[j], _mm512_permutexvar_epi8(from[j], four));
            d = _mm512_and_si512(d, three);
            d = _mm512_mask_permutexvar_epi8(d, last[j], from[j], fifth);
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

static void count_codes(const int8_t *codes, ptrdiff_t n, int half, int64_t *counts)
{
    if (half == 1) {
        int64_t positive = 0, negative = 0;
        for (ptrdiff_t i = 0; i < n;) {
            const ptrdiff_t end = i + 4096 < n ? i + 4096 : n;
            int32_t p = 0, m = 0;
            for (; i < end; ++i) {
                p += codes[i] > 0;
                m += codes[i] < 0;
            }
            positive += p;
            negative += m;
        }
        counts[0] += negative;
        counts[1] += n - positive - negative;
        counts[2] += positive;
        return;
    }
    for (ptrdiff_t i = 0; i < n; ++i)
        ++counts[codes[i] + half];
}

const stern_codec STERN_GLUE(stern_codec_, STERN_LEVEL) = {
    {pack_t2, pack_t5, pack_q3, pack_i4, pack_i8},
    {unpack_t2, unpack_t5, unpack_q3, unpack_i4, unpack_i8},
    count_codes,
};
