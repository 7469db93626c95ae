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
/* The entry of a table of 64 for each byte: bits 4 and 5 of the place are bits 7 of
 * `four` and of `five`, the others are those of `by` (below 16). */
static inline __m256i look_up(const uint8_t *table, __m256i by, __m256i four, __m256i five)
{
    __m256i q[4];
    _Pragma("GCC unroll 4")
    for (int i = 0; i < 4; ++i)
        q[i] = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128(
                                       (const __m128i *)(const void *)(table + 16 * i))), by);
    return _mm256_blendv_epi8(_mm256_blendv_epi8(q[0], q[1], four),
                              _mm256_blendv_epi8(q[2], q[3], four), five);
}

/* Fields of digits 0..3; the fifth digit goes to `fifth`. */
static inline __m256i decode_step(__m256i bytes, __m256i *fifth)
{
    const __m256i c15 = _mm256_set1_epi8(15), three = _mm256_set1_epi8(3);
    const __m256i low = look_up(t5_low, _mm256_and_si256(bytes, c15),
                                _mm256_slli_epi16(bytes, 3), _mm256_slli_epi16(bytes, 2));
    const __m256i high = look_up(t5_high,
                                 _mm256_and_si256(_mm256_srli_epi16(bytes, 2), c15),
                                 _mm256_slli_epi16(bytes, 1), bytes);
    *fifth = _mm256_and_si256(high, three);
    return _mm256_or_si256(low, _mm256_andnot_si256(three, high));
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
