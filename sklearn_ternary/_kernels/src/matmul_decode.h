/* Format T5 to format T2: `n_blocks` blocks (a multiple of 5) of each of `groups`
 * row groups. */
#include "matmul_encode.h"

#if STERN_MM_AVX512
typedef struct { __m512i low, high; } t5_tables;

static inline t5_tables load_t5_tables(void)
{
    return (t5_tables){_mm512_load_si512(t5_low), _mm512_load_si512(t5_high)};
}

/* A table is looked up by the low six bits of a byte, whatever the other two are. */
static inline __m512i look_up_high(__m512i bytes, const t5_tables *tables)
{
    return _mm512_permutexvar_epi8(_mm512_srli_epi16(bytes, 2), tables->high);
}

/* Fields of digits 0..3; the fifth digit goes to `fifth`. */
static inline __m512i decode_step(__m512i bytes, const t5_tables *tables, __m512i *fifth)
{
    enum { A_OR_B_AND_C = 0xf8 };
    const __m512i three = _mm512_set1_epi8(3), others = _mm512_set1_epi8((char)0xfc);
    const __m512i low = _mm512_permutexvar_epi8(bytes, tables->low);
    const __m512i high = look_up_high(bytes, tables);
    *fifth = _mm512_and_si512(high, three);
    return _mm512_ternarylogic_epi32(low, high, others, A_OR_B_AND_C);
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
                last = _mm512_or_si512(last, _mm512_slli_epi16(fifth, 2 * j));
            }
            _mm512_storeu_si512(out + 4 * step + g * 64, last);
        }
}
#elif STERN_MM_AVX2
/* Fields of digits 0..3; the fifth digit goes to `fifth`. Of the 16 boxes (see
 * matmul_encode.h) the first twelve are four, with digit 3 as height: by four bits of a
 * byte one table has the entries of these, another those of the last four boxes. */
static inline __m256i decode_step(__m256i bytes, __m256i *fifth)
{
#define BOTH(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))
#define FOUR(t, i) (char)t[i], (char)t[(i) + 1], (char)t[(i) + 2], (char)t[(i) + 3]
#define LOW(i) BOTH(FOUR(t5_low, i), FOUR(t5_low, (i) + 4), FOUR(t5_low, (i) + 8), \
                    FOUR(t5_low, (i) + 12))
#define HIGH(i) BOTH(FOUR(t5_high, i), FOUR(t5_high, (i) + 16), \
                     FOUR(t5_high, (i) + 32), FOUR(t5_high, (i) + 48))
    const __m256i three = _mm256_set1_epi8(3), c12 = _mm256_set1_epi8(12);
    const __m256i top = _mm256_set1_epi8((char)192);
    const __m256i height = _mm256_and_si256(_mm256_slli_epi16(bytes, 2), top);
    const __m256i last = _mm256_cmpeq_epi8(height, top);
    const __m256i by = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
    const __m256i low = _mm256_blendv_epi8(
        _mm256_or_si256(_mm256_shuffle_epi8(LOW(0), by), height),
        _mm256_shuffle_epi8(LOW(48), by), last);
    const __m256i too = _mm256_or_si256(
        _mm256_and_si256(_mm256_srli_epi16(bytes, 2), three),
        _mm256_and_si256(_mm256_srli_epi16(bytes, 4), c12));
    const __m256i high = _mm256_blendv_epi8(_mm256_shuffle_epi8(HIGH(0), too),
                                            _mm256_shuffle_epi8(HIGH(12), too), last);
    *fifth = _mm256_and_si256(high, three);
    return _mm256_or_si256(low, _mm256_andnot_si256(three, high));
#undef BOTH
#undef FOUR
#undef LOW
#undef HIGH
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
                out[j * step + i] = (uint8_t)t5_fields(in[j * step + i], &fifth);
                out[4 * step + i] = (uint8_t)(out[4 * step + i] | fifth << 2 * j);
            }
    }
}
#endif
