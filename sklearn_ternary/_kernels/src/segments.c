#include "segments.h"

#include <math.h>
#include <string.h>

static const struct { int values, bytes; } units[STERN_N_LAYOUTS] = {
    [STERN_T2] = {4, 1}, [STERN_T5] = {5, 1}, [STERN_Q3] = {24, 7},
    [STERN_I4] = {2, 1}, [STERN_I8] = {1, 1},
    [STERN_TQ1_0] = {256, 52}, [STERN_TQ2_0] = {256, 64},
    [STERN_I2_S_X86] = {128, 32}, [STERN_I2_S_ARM] = {64, 16},
};

ptrdiff_t stern_packed_bytes(int layout, ptrdiff_t n)
{
    return (n + units[layout].values - 1) / units[layout].values * units[layout].bytes;
}

int stern_unit_values(int layout)
{
    return units[layout].values;
}

const uint8_t *stern_code_weights(int layout)
{
    static const uint8_t t2[] = {1, 4, 16, 64}, t5[] = {1, 3, 9, 27, 81};
    return layout == STERN_T2 ? t2 : layout == STERN_T5 ? t5 : NULL;
}

/* Whether a field of two bits is 3. */
static int has_three(const uint8_t *unit, int n)
{
    uint8_t found = 0;
    for (int i = 0; i < n; ++i)
        found |= unit[i] & unit[i] >> 1;
    return (found & 0x55) != 0;
}

/* Whether a byte is no number below 243 in 256ths, rounded up; the last four bytes
 * hold multiples of 3. */
static int is_invalid_tq1_0(const uint8_t *unit)
{
    unsigned found = 0;
    for (int i = 0; i < 52; ++i) {
        const unsigned number = unit[i] * 243u >> 8;
        found |= (number * 256 + 242) / 243 ^ unit[i];
        found |= i < 48 ? 0 : number % 3;
    }
    return found != 0;
}

static int is_invalid(const uint8_t *unit, int layout)
{
    uint64_t word = 0;
    switch (layout) {
    case STERN_T2:
        return (*unit & *unit >> 1 & 0x55) != 0;
    case STERN_T5:
        return *unit >= 243;
    case STERN_I4:
        return (*unit & 15) == 0 || *unit >> 4 == 0;
    case STERN_I8:
        return *unit == 128;
    case STERN_TQ1_0:
        return is_invalid_tq1_0(unit);
    case STERN_TQ2_0:
        return has_three(unit, 64);
    case STERN_I2_S_X86:
        return has_three(unit, 32);
    case STERN_I2_S_ARM:
        return has_three(unit, 16);
    }
    for (int i = 0; i < 7; ++i)
        word |= (uint64_t)unit[i] << 8 * i;
    for (int f = 0; f < 8; ++f)
        if ((word >> 7 * f & 127) >= 125)
            return 1;
    return 0;
}

int stern_unit_bytes(int layout)
{
    return units[layout].bytes;
}

/* A quick look at many units, which does not say where. */
static int any_invalid(const stern_codec *codec, const uint8_t *packed, ptrdiff_t n_units,
                       int layout)
{
    switch (layout) {
    case STERN_TQ1_0:
        return 1;
    case STERN_TQ2_0:
    case STERN_I2_S_X86:
    case STERN_I2_S_ARM:
        return codec->any_invalid[STERN_T2](packed, n_units * units[layout].bytes);
    }
    return codec->any_invalid[layout](packed, n_units);
}

ptrdiff_t stern_find_invalid(const stern_codec *codec, const uint8_t *packed,
                             ptrdiff_t n_bytes, int layout)
{
    const int size = units[layout].bytes;
    const ptrdiff_t n_units = n_bytes / size, step = 8192 / size;
    for (ptrdiff_t start = 0; start < n_units; start += step) {
        const ptrdiff_t end = n_units - start < step ? n_units : start + step;
        if (!any_invalid(codec, packed + start * size, end - start, layout))
            continue;
        for (ptrdiff_t unit = start; unit < end; ++unit)
            if (is_invalid(packed + unit * size, layout))
                return unit;
    }
    return -1;
}

#define T float
#define F(name) name##_f32
#include "segments_float.h"
#undef T
#undef F
#define T double
#define F(name) name##_f64
#include "segments_float.h"
