/* Format T5 to format T2: `n_blocks` blocks (a multiple of 5) of each of `groups`
 * row groups. */
#include "matmul_encode.h"

#if STERN_MM_AVX512
/* By the low six bits of a byte: digits 0..3 as 2-bit fields, for bytes below 192 and
 * for those above, and the fifth digit of the latter in the high two bits. */
typedef struct { __m512i fields, more, fifth; } t5_tables;

static inline t5_tables load_t5_tables(void)
{
#define FIELDS(n) ((n) % 3 | (n) / 3 % 3 << 2 | (n) / 9 % 3 << 4 | (n) / 27 % 3 << 6)
#define MORE(i) ((i) < 48 ? FIELDS(64 + (i) % 16) : FIELDS(80))
#define FIFTH(i) (((i) < 48 ? (i) / 16 : (i) % 16 % 3) << 6)
#define FOUR(F, i) F(i), F(i + 1), F(i + 2), F(i + 3)
#define ROW(F, i) FOUR(F, i), FOUR(F, i + 4), FOUR(F, i + 8), FOUR(F, i + 12)
#define TABLE(F) {ROW(F, 0), ROW(F, 16), ROW(F, 32), ROW(F, 48)}
    static const uint8_t tables[3][64] __attribute__((aligned(64))) = {
        TABLE(FIELDS), TABLE(MORE), TABLE(FIFTH)};
#undef FIELDS
#undef MORE
#undef FIFTH
#undef FOUR
#undef ROW
#undef TABLE
    return (t5_tables){_mm512_load_si512(tables[0]), _mm512_load_si512(tables[1]),
                       _mm512_load_si512(tables[2])};
}

/* Fields of digits 0..3; the fifth digit goes to the high bits of `fifth`, with
 * nothing below. A table is looked up by six bits, whatever the other two are. */
static inline __m512i decode_step(__m512i bytes, const t5_tables *tables, __m512i *fifth)
{
    const __m512i high = _mm512_set1_epi8((char)192);
    const __mmask64 more = _mm512_cmpge_epu8_mask(bytes, high);
    *fifth = _mm512_mask_permutexvar_epi8(_mm512_and_si512(bytes, high), more, bytes,
                                          tables->fifth);
    return _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(bytes, tables->fields),
                                        more, bytes, tables->more);
}

static void decode_t5(const uint8_t *in, int groups, ptrdiff_t n_blocks, uint8_t *out)
{
    const t5_tables tables = load_t5_tables();
    const ptrdiff_t step = groups * 64;
    for (ptrdiff_t b = 0; b + 5 <= n_blocks; b += 5, in += 4 * step, out += 5 * step)
        for (int g = 0; g < groups; ++g) {
            __m512i last = _mm512_setzero_si512();
            _Pragma("GCC unroll 4")
            for (int j = 0; j < 4; ++j) {
                __m512i fifth;
                const __m512i bytes = _mm512_loadu_si512(in + j * step + g * 64);
                PREFETCH_L2(in + j * step + g * 64);
                _mm512_storeu_si512(out + j * step + g * 64,
                                    decode_step(bytes, &tables, &fifth));
                last = _mm512_or_si512(last, _mm512_srli_epi16(fifth, 6 - 2 * j));
            }
            _mm512_storeu_si512(out + 4 * step + g * 64, last);
        }
}
#elif STERN_MM_AVX2
/* Fields of digits 0..3; the fifth digit goes to `fifth`. */
static inline __m256i decode_step(__m256i bytes, __m256i *fifth)
{
#define TWO(i) (i) % 3 | (i) / 3 << 2
#define TABLE TWO(0), TWO(1), TWO(2), TWO(3), TWO(4), TWO(5), TWO(6), TWO(7), TWO(8), \
              0, 0, 0, 0, 0, 0, 0
    const __m256i table = _mm256_setr_epi8(TABLE, TABLE);
    /* By the high four bits of a byte: digits 0..3 where the low four are 0, and the
     * fifth. What digits 0..3 then are more than 80 is the fifth. */
    const __m256i bases = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 64, 64, 64, 80));
    const __m256i fifths = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 1, 2, 0));
    const __m256i c80 = _mm256_set1_epi8(80), c15 = _mm256_set1_epi8(15);
    const __m256i ninth = _mm256_set1_epi16(65536 / 9 + 1);
    const __m256i by = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), c15);
    const __m256i sum = _mm256_add_epi8(_mm256_and_si256(bytes, c15),
                                        _mm256_shuffle_epi8(bases, by));
    const __m256i r = _mm256_min_epu8(sum, c80);
    *fifth = _mm256_add_epi8(_mm256_shuffle_epi8(fifths, by), _mm256_sub_epi8(sum, r));
    /* Their quotients by 9, of even and of odd bytes, and what is left. */
    const __m256i even = _mm256_mulhi_epu16(
        _mm256_and_si256(r, _mm256_set1_epi16(255)), ninth);
    const __m256i odd = _mm256_mulhi_epu16(_mm256_srli_epi16(r, 8), ninth);
    const __m256i high = _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
    const __m256i low = _mm256_sub_epi8(
        r, _mm256_add_epi8(high, _mm256_slli_epi16(high, 3)));
    return _mm256_or_si256(
        _mm256_shuffle_epi8(table, low),
        _mm256_slli_epi16(_mm256_shuffle_epi8(table, high), 4));
#undef TWO
#undef TABLE
}

static void decode_t5(const uint8_t *in, int groups, ptrdiff_t n_blocks, uint8_t *out)
{
    const ptrdiff_t step = groups * 64;
    for (ptrdiff_t b = 0; b + 5 <= n_blocks; b += 5, in += 4 * step, out += 5 * step)
        for (ptrdiff_t i = 0; i < step; i += 32) {
            __m256i last = _mm256_setzero_si256();
            _Pragma("GCC unroll 4")
            for (int j = 0; j < 4; ++j) {
                __m256i fifth;
                const __m256i bytes =
                    _mm256_loadu_si256((const __m256i *)(in + j * step + i));
                _mm256_storeu_si256((__m256i *)(out + j * step + i),
                                    decode_step(bytes, &fifth));
                last = _mm256_or_si256(last, _mm256_slli_epi16(fifth, 2 * j));
            }
            _mm256_storeu_si256((__m256i *)(out + 4 * step + i), last);
        }
}
#else
static void decode_t5(const uint8_t *in, int groups, ptrdiff_t n_blocks, uint8_t *out)
{
    const ptrdiff_t step = groups * 64;
    for (ptrdiff_t b = 0; b + 5 <= n_blocks; b += 5, in += 4 * step, out += 5 * step) {
        memset(out + 4 * step, 0, (size_t)step);
        for (int j = 0; j < 4; ++j)
            for (ptrdiff_t i = 0; i < step; ++i) {
                unsigned fifth;
                const unsigned n = t5_digits(in[j * step + i], &fifth);
                /* Division by multiplication, exact below 256. */
                const unsigned q1 = n * 171 >> 9, q2 = n * 57 >> 9, q3 = n * 19 >> 9;
                out[j * step + i] = (uint8_t)((n - 3 * q1) | (q1 - 3 * q2) << 2
                                              | (q2 - 3 * q3) << 4 | q3 << 6);
                out[4 * step + i] = (uint8_t)(out[4 * step + i] | fifth << 2 * j);
            }
    }
}
#endif
