/* Bytes of format T5. With n the number of digits 0..3 (below 81) and f digit 4, a byte
 * is n + 64 f where n is below 64, else 192 + 16 f + n - 64, or 240 + f where n is 80.
 * So six bits and one bit more tell digits 0..3, and a table of 64 holds them; numbers
 * to the base of three would need divisions. */
#ifndef STERN_MATMUL_ENCODE_H
#define STERN_MATMUL_ENCODE_H
#include <stdint.h>

/* Four bytes from four n and four f. */
static inline uint32_t t5_bytes(uint32_t n, uint32_t f)
{
    const uint32_t ones = 0x01010101u, more = n >> 6 & ones, last = n >> 4 & more;
    return (n & 0x3f3f3f3fu) + ((f & ~(3 * more)) << 6)  /* n + 64 f */
        + 192 * more + 16 * (f & 3 * more)               /* n - 64 + 192 + 16 f */
        + 32 * last - 15 * (f & 3 * last);               /* 240 + f */
}

/* n of a byte; f goes to `fifth`. */
static inline unsigned t5_digits(unsigned byte, unsigned *fifth)
{
    unsigned n = byte & 63, f = byte >> 6;
    if (byte >= 192) {
        n = byte < 240 ? 64 + byte % 16 : 80;
        f = byte < 240 ? byte / 16 - 12 : byte - 240;
    }
    *fifth = f;
    return n;
}
#endif
