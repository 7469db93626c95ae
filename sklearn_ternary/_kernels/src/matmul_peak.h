/* What the processor could do: the multiply-add of the level and nothing else. One
 * that depends on itself waits; twelve or more do not. */
#if STERN_MM_VNNI
#define PEAK_V lanes
#define PEAK_ZERO (lanes){0}
#define PEAK_STEP(a) V_DOT(a, u, v)
#define PEAK_BYTES (2.0 * V_SIZE)
#define PEAK_CONSTANTS const vector u = V_BYTES(1), v = V_BYTES(3)
#elif STERN_MM_AVX2
#define PEAK_V __m256i
#define PEAK_ZERO _mm256_setzero_si256()
#define PEAK_STEP(a) _mm256_add_epi16(a, _mm256_maddubs_epi16(u, a))
#define PEAK_BYTES (2.0 * 32)
#define PEAK_CONSTANTS const __m256i u = _mm256_set1_epi8(1)
#endif

#ifdef PEAK_V
static double int8_peak(ptrdiff_t repeats)
{
    PEAK_V acc[12];
    PEAK_CONSTANTS;
    _Pragma("GCC unroll 12")
    for (int i = 0; i < 12; ++i)
        acc[i] = PEAK_ZERO;
    for (ptrdiff_t k = 0; k < repeats; ++k) {
        _Pragma("GCC unroll 12")
        for (int i = 0; i < 12; ++i) {
            acc[i] = PEAK_STEP(acc[i]);
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (double)repeats * 12 * PEAK_BYTES;
}
#else
static double int8_peak(ptrdiff_t repeats) { (void)repeats; return 0; }
#endif

#if STERN_MM_AVX512 || STERN_MM_AVX2
#if STERN_MM_AVX512
#define PEAK_F __m512
#define PEAK_SPLAT _mm512_set1_ps
#define PEAK_FMADD _mm512_fmadd_ps
#else
#define PEAK_F __m256
#define PEAK_SPLAT _mm256_set1_ps
#define PEAK_FMADD _mm256_fmadd_ps
#endif
static double float_peak(ptrdiff_t repeats)
{
    PEAK_F acc[12];
    const PEAK_F u = PEAK_SPLAT(0.5f), v = PEAK_SPLAT(1.0f);
    _Pragma("GCC unroll 12")
    for (int i = 0; i < 12; ++i)
        acc[i] = v;
    for (ptrdiff_t k = 0; k < repeats; ++k) {
        _Pragma("GCC unroll 12")
        for (int i = 0; i < 12; ++i) {
            acc[i] = PEAK_FMADD(acc[i], u, v);
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (double)repeats * 12 * 2 * (double)(sizeof(PEAK_F) / 4);
}
#else
static double float_peak(ptrdiff_t repeats) { (void)repeats; return 0; }
#endif

static uint64_t read_bytes(const uint8_t *bytes, ptrdiff_t n)
{
    typedef uint64_t line __attribute__((vector_size(64), aligned(1), may_alias));
    line acc[4] = {{0}};
    for (ptrdiff_t i = 0; i + 256 <= n; i += 256) {
        _Pragma("GCC unroll 4")
        for (int j = 0; j < 4; ++j) {
            PREFETCH_L2(bytes + i + 64 * j);
            acc[j] ^= *(const line *)(bytes + i + 64 * j);
        }
    }
    acc[0] ^= acc[1] ^ acc[2] ^ acc[3];
    uint64_t all = 0;
    for (int j = 0; j < 8; ++j)
        all ^= acc[0][j];
    return all;
}
