/* Layouts of ggml and bitnet.cpp; see sklearn_ternary/_layouts.py. Codes of one
 * byte are a whole run of bytes apart, so plain loops over a run of constant
 * length are all that compilers need to use the vectors of the level. */
_Static_assert(STERN_CHUNK % 256 == 0, "a chunk holds whole units");

/* ---- two bits a code: code i * width + m at shift first + i * step of byte m --- */

static inline void pack_bits_run(const int8_t *restrict c, uint8_t *restrict out,
                                 const int width, const int first, const int step)
{
    for (int m = 0; m < width; ++m)
        out[m] = (uint8_t)((uint8_t)(c[m] + 1) << first
                           | (uint8_t)(c[width + m] + 1) << (first + step)
                           | (uint8_t)(c[2 * width + m] + 1) << (first + 2 * step)
                           | (uint8_t)(c[3 * width + m] + 1) << (first + 3 * step));
}

static inline void unpack_bits_run(const uint8_t *restrict in, int8_t *restrict out,
                                   const int width, const int first, const int step)
{
    for (int m = 0; m < width; ++m) {
        out[m] = (int8_t)((in[m] >> first & 3) - 1);
        out[width + m] = (int8_t)((in[m] >> (first + step) & 3) - 1);
        out[2 * width + m] = (int8_t)((in[m] >> (first + 2 * step) & 3) - 1);
        out[3 * width + m] = (int8_t)((in[m] >> (first + 3 * step) & 3) - 1);
    }
}

/* ---- tq1_0: `digits` codes a byte, the first the most significant ------------- */

static inline void pack_base3_run(const int8_t *restrict c, uint8_t *restrict out,
                                  const int width, const int digits)
{
    for (int m = 0; m < width; ++m) {
        unsigned v = 0;
        for (int i = 0; i < digits; ++i)
            v = 3 * v + (unsigned)(c[i * width + m] + 1);
        if (digits == 4)
            v *= 3;
        /* v 256ths of 243, rounded up: v + 13 v / 243, by a multiplication that is
         * exact for all v < 243. */
        out[m] = (uint8_t)(v + ((13 * v + 242) * 270 >> 16));
    }
}

static inline void unpack_base3_run(const uint8_t *restrict in, int8_t *restrict out,
                                    const int width, const int digits)
{
    for (int m = 0; m < width; ++m) {
        uint8_t b = in[m];
        for (int i = 0; i < digits; ++i) {
            /* The digit is the carry of 3 b: b / 256 is in which third? */
            out[i * width + m] = (int8_t)((b >= 86) + (b >= 171) - 1);
            b = (uint8_t)(3 * b);
        }
    }
}

/* ---- whole units, and the rest through a unit of its own ---------------------- */

#define FOREIGN_LAYOUT(name, values, bytes, pack_unit, unpack_unit)                \
    static void pack_##name(const int8_t *codes, ptrdiff_t n, uint8_t *out)        \
    {                                                                              \
        ptrdiff_t i = 0;                                                           \
        for (; i + (values) <= n; i += (values), out += (bytes)) {                 \
            const int8_t *c = codes + i;                                           \
            pack_unit                                                              \
        }                                                                          \
        if (i < n) {                                                               \
            int8_t c[values] = {0};                                                \
            memcpy(c, codes + i, (size_t)(n - i));                                 \
            pack_unit                                                              \
        }                                                                          \
    }                                                                              \
    static void unpack_##name(const uint8_t *in, ptrdiff_t n, int8_t *out)         \
    {                                                                              \
        ptrdiff_t i = 0;                                                           \
        for (; i + (values) <= n; i += (values), in += (bytes)) {                  \
            int8_t *c = out + i;                                                   \
            unpack_unit                                                            \
        }                                                                          \
        if (i < n) {                                                               \
            int8_t c[values];                                                      \
            unpack_unit                                                            \
            memcpy(out + i, c, (size_t)(n - i));                                   \
        }                                                                          \
    }

FOREIGN_LAYOUT(tq1_0, 256, 52,
    pack_base3_run(c, out, 32, 5);
    pack_base3_run(c + 160, out + 32, 16, 5);
    pack_base3_run(c + 240, out + 48, 4, 4);,
    unpack_base3_run(in, c, 32, 5);
    unpack_base3_run(in + 32, c + 160, 16, 5);
    unpack_base3_run(in + 48, c + 240, 4, 4);)
FOREIGN_LAYOUT(tq2_0, 256, 64,
    pack_bits_run(c, out, 32, 0, 2);
    pack_bits_run(c + 128, out + 32, 32, 0, 2);,
    unpack_bits_run(in, c, 32, 0, 2);
    unpack_bits_run(in + 32, c + 128, 32, 0, 2);)
FOREIGN_LAYOUT(i2_s_x86, 128, 32,
    pack_bits_run(c, out, 32, 6, -2);,
    unpack_bits_run(in, c, 32, 6, -2);)
FOREIGN_LAYOUT(i2_s_arm, 64, 16,
    pack_bits_run(c, out, 16, 6, -2);,
    unpack_bits_run(in, c, 16, 6, -2);)
#undef FOREIGN_LAYOUT
