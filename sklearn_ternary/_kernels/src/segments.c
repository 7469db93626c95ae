#include "segments.h"

#include <math.h>
#include <string.h>

static const struct { int values, bytes; } units[STERN_N_LAYOUTS] = {
    [STERN_T2] = {4, 1}, [STERN_T5] = {5, 1}, [STERN_Q3] = {24, 7},
    [STERN_I4] = {2, 1}, [STERN_I8] = {1, 1},
};

ptrdiff_t stern_packed_bytes(int layout, ptrdiff_t n)
{
    return (n + units[layout].values - 1) / units[layout].values * units[layout].bytes;
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
    }
    for (int i = 0; i < 7; ++i)
        word |= (uint64_t)unit[i] << 8 * i;
    for (int f = 0; f < 8; ++f)
        if ((word >> 7 * f & 127) >= 125)
            return 1;
    return 0;
}

ptrdiff_t stern_find_invalid(const uint8_t *packed, ptrdiff_t n_bytes, int layout)
{
    const int size = units[layout].bytes;
    for (ptrdiff_t unit = 0; unit < n_bytes / size; ++unit)
        if (is_invalid(packed + unit * size, layout))
            return unit;
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
