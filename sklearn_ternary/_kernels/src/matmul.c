#include "matmul.h"

#include <string.h>

#include "cpu_features.h"
#include "matmul_encode.h"

extern const stern_matmul stern_matmul_generic;
#ifdef STERN_BUILT_AVX2
extern const stern_matmul stern_matmul_avx2;
#endif
#ifdef STERN_BUILT_AVXVNNI
extern const stern_matmul stern_matmul_avxvnni;
#endif
#ifdef STERN_BUILT_AVX512
extern const stern_matmul stern_matmul_avx512;
#endif
#ifdef STERN_BUILT_DOTPROD
extern const stern_matmul stern_matmul_dotprod;
#endif
#ifdef STERN_BUILT_AMX
extern const stern_matmul_int8 stern_matmul_int8_amx;
#endif

const stern_matmul *stern_matmul_for(int level)
{
    switch (level) {
    case STERN_GENERIC:
        return &stern_matmul_generic;
#ifdef STERN_BUILT_AVX2
    case STERN_AVX2:
        return &stern_matmul_avx2;
#endif
#ifdef STERN_BUILT_AVXVNNI
    case STERN_MM_AVXVNNI:
        return &stern_matmul_avxvnni;
#endif
#ifdef STERN_BUILT_AVX512
    case STERN_AVX512:
        return &stern_matmul_avx512;
#endif
#ifdef STERN_BUILT_DOTPROD
    case STERN_MM_DOTPROD:
        return &stern_matmul_dotprod;
#endif
    }
    return NULL;
}

const stern_matmul_int8 *stern_matmul_int8_for(int level)
{
    if (level == STERN_MM_AMX) {
#ifdef STERN_BUILT_AMX
        if (stern_amx_allowed())
            return &stern_matmul_int8_amx;
#endif
        return NULL;
    }
    const stern_matmul *loops = stern_matmul_for(level);
    return loops ? &loops->int8 : NULL;
}

ptrdiff_t stern_mm_segments(const stern_matrix *m)
{
    if (!m->n_blocks)
        return 0;
    const ptrdiff_t groups = (m->n_blocks + m->group_blocks - 1) / m->group_blocks;
    const ptrdiff_t each = (m->group_blocks + STERN_MM_SEGMENT - 1) / STERN_MM_SEGMENT;
    return groups * each;
}

ptrdiff_t stern_mm_row_runs(const stern_matrix *m)
{
    if (!m->n_blocks)
        return 0;
    const ptrdiff_t groups = (m->n_blocks + m->group_blocks - 1) / m->group_blocks;
    return groups * ((m->group_blocks + STERN_MM_ROW_RUN - 1) / STERN_MM_ROW_RUN);
}

/* Digits code + 1 of four codes in four bytes. */
static inline uint32_t digits(const int8_t *codes)
{
    uint32_t d;
    memcpy(&d, codes, 4);
    return ((d & 0x03030303u) + 0x01010101u) & 0x03030303u;
}

/* Byte of the digits d0 + 3 d1 + 9 d2 + 27 d3 + 81 d4 in format T5. */
static const uint8_t t5_bytes[243] = {
    0, 1, 2, 3, 8, 9, 10, 11, 48, 192, 193, 194, 195, 200, 201, 202, 203, 49, 132,
    133, 134, 135, 140, 141, 142, 143, 50, 16, 17, 18, 19, 24, 25, 26, 27, 51, 208,
    209, 210, 211, 216, 217, 218, 219, 53, 148, 149, 150, 151, 156, 157, 158, 159,
    54, 32, 33, 34, 35, 40, 41, 42, 43, 52, 224, 225, 226, 227, 232, 233, 234, 235,
    55, 164, 165, 166, 167, 172, 173, 174, 175, 240, 64, 65, 66, 67, 72, 73, 74, 75,
    112, 4, 5, 6, 7, 12, 13, 14, 15, 113, 196, 197, 198, 199, 204, 205, 206, 207,
    114, 80, 81, 82, 83, 88, 89, 90, 91, 115, 20, 21, 22, 23, 28, 29, 30, 31, 117,
    212, 213, 214, 215, 220, 221, 222, 223, 118, 96, 97, 98, 99, 104, 105, 106, 107,
    116, 36, 37, 38, 39, 44, 45, 46, 47, 119, 228, 229, 230, 231, 236, 237, 238,
    239, 244, 128, 129, 130, 131, 136, 137, 138, 139, 176, 68, 69, 70, 71, 76, 77,
    78, 79, 177, 56, 57, 58, 120, 121, 122, 184, 185, 178, 144, 145, 146, 147, 152,
    153, 154, 155, 179, 84, 85, 86, 87, 92, 93, 94, 95, 181, 60, 61, 62, 124, 125,
    126, 59, 63, 182, 160, 161, 162, 163, 168, 169, 170, 171, 180, 100, 101, 102,
    103, 108, 109, 110, 111, 183, 248, 249, 250, 188, 189, 190, 252, 253, 254,
};

uint32_t stern_mm_t5_word(uint32_t low, uint32_t fifth)
{
    const uint32_t n = low + 81 * fifth;
    return t5_bytes[n & 255] | (uint32_t)t5_bytes[n >> 8 & 255] << 8
        | (uint32_t)t5_bytes[n >> 16 & 255] << 16 | (uint32_t)t5_bytes[n >> 24] << 24;
}

/* Adds one code to its byte, which holds code 0 in its place. `row` are the bytes
 * of the row in the first step, `step` bytes before those in the next. */
static inline void put(uint8_t *row, ptrdiff_t step, int format, ptrdiff_t k, int code)
{
    if (format == STERN_MM_T2) {
        row[k / 16 * step + k % 4] += (uint8_t)(code * (1 << 2 * (k % 16 / 4)));
        return;
    }
    static const int powers3[5] = {1, 3, 9, 27, 81};
    const ptrdiff_t within = k % 80, block = within / 16, field = within % 16 / 4;
    uint8_t *byte = row + (k / 80 * 4 + (block < 4 ? block : field)) * step + k % 4;
    unsigned fifth;
    const unsigned f = t5_fields(*byte, &fifth);
    const int digits = (int)((f & 3) + 3 * (f >> 2 & 3) + 9 * (f >> 4 & 3) + 27 * (f >> 6)
                             + 81 * fifth);
    *byte = t5_bytes[digits + code * powers3[block < 4 ? field : 4]];
}

static inline uint32_t t2_word(const int8_t *c)
{
    return digits(c) | digits(c + 4) << 2 | digits(c + 8) << 4 | digits(c + 12) << 6;
}

static inline uint32_t t5_word(const int8_t *c, const int8_t *fifth)
{
    const uint32_t n =
        digits(c) + 3 * digits(c + 4) + 9 * digits(c + 8) + 27 * digits(c + 12);
    return stern_mm_t5_word(n, digits(fifth));
}

/* `n` values of one row in format R2, from value `first` on. */
static void pack_row(uint8_t *row, const int8_t *codes, ptrdiff_t ldk, ptrdiff_t first,
                     ptrdiff_t n)
{
    for (ptrdiff_t k = 0; k < n; ++k) {
        const ptrdiff_t at = first + k, field = at % 256 / 16;
        row[at / 256 * 64 + at % 16 * 4 + field / 4] +=
            (uint8_t)(codes[k * ldk] * (1 << 2 * (field % 4)));
    }
}

void stern_mm_pack(uint8_t *weights, ptrdiff_t n_rows, ptrdiff_t n_blocks, int format,
                   ptrdiff_t group, const int8_t *codes, ptrdiff_t ldr, ptrdiff_t ldk,
                   ptrdiff_t rows, ptrdiff_t first, ptrdiff_t n)
{
    if (format == STERN_MM_R2) {
        for (ptrdiff_t r = 0; r < rows; ++r)
            pack_row(weights + (16 * group + r) * (n_blocks / 16) * 64, codes + r * ldr,
                     ldk, first, n);
        return;
    }
    const ptrdiff_t panel = group / 4, row_groups = (n_rows + 15) / 16;
    const ptrdiff_t here = row_groups - 4 * panel < 4 ? row_groups - 4 * panel : 4;
    const ptrdiff_t steps = format == STERN_MM_T2 ? n_blocks : n_blocks / 5 * 4;
    const ptrdiff_t step = here * 64, unit = format == STERN_MM_T2 ? 16 : 80;
    uint8_t *block = weights + panel * 4 * steps * 64 + group % 4 * 64;
    for (ptrdiff_t r = 0; r < rows; ++r) {
        uint8_t *row = block + 4 * r;
        const int8_t *c = codes + r * ldr;
        ptrdiff_t k = 0;
        for (; k < n && (first + k) % unit; ++k)
            put(row, step, format, first + k, c[k * ldk]);
        for (; k + unit <= n; k += unit) {
            int8_t gathered[80];
            const int8_t *from = c + k;
            if (ldk != 1) {
                for (ptrdiff_t i = 0; i < unit; ++i)
                    gathered[i] = c[(k + i) * ldk];
                from = gathered;
            }
            if (format == STERN_MM_T2) {
                const uint32_t word = t2_word(from);
                memcpy(row + (first + k) / 16 * step, &word, 4);
            } else {
                for (int j = 0; j < 4; ++j) {
                    const uint32_t word = t5_word(from + 16 * j, from + 64 + 4 * j);
                    memcpy(row + ((first + k) / 80 * 4 + j) * step, &word, 4);
                }
            }
        }
        for (; k < n; ++k)
            put(row, step, format, first + k, c[k * ldk]);
    }
}
