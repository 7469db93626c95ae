/* Bytes of format T5: five digits 0..2 in eight bits, looked up by six bits at a time.
 *
 * 2-bit fields 0 to 3 are digits 0 to 3: field 0 is that of low[byte & 63], fields 1 to 3
 * are those of low[byte & 63] | high[byte >> 2]. Digit 4 is field 0 of high[byte >> 2].
 *
 * That all 3^5 combinations are met is no accident. The four bits that both share choose
 * one of 16 boxes, the other two of each the place in it, 4 by 4. With digit 3 as
 * height, digits (0, 1) by (4, 2) are three squares of 9 by 9, in each of which four
 * boxes leave a row and a column, (2, 2) and (2, 2). The three rows are 27 places,
 * digits 2, 3 and 4; two boxes hold all of them but one, as their parts of digits 2
 * and 3 are joined. So do two others with the columns, and what each pair leaves the
 * other has. */
#ifndef STERN_MATMUL_ENCODE_H
#define STERN_MATMUL_ENCODE_H
#include <stdint.h>

static const uint8_t t5_low[64] __attribute__((aligned(64))) = {
    0, 1, 2, 4, 0, 1, 2, 4, 5, 6, 8, 9, 5, 6, 8, 9, 64, 65, 66, 68, 64, 65, 66, 68,
    69, 70, 72, 73, 69, 70, 72, 73, 128, 129, 130, 132, 128, 129, 130, 132, 133,
    134, 136, 137, 133, 134, 136, 137, 10, 26, 42, 74, 138, 90, 106, 154, 0, 1, 2,
    72, 0, 1, 2, 9,
};
static const uint8_t t5_high[64] __attribute__((aligned(64))) = {
    0, 17, 0, 17, 0, 17, 0, 17, 0, 17, 0, 17, 0, 0, 34, 98, 1, 18, 1, 18, 1, 18, 1,
    18, 1, 18, 1, 18, 1, 1, 38, 102, 2, 32, 2, 32, 2, 32, 2, 32, 2, 32, 2, 32, 2, 2,
    42, 166, 16, 33, 16, 33, 16, 33, 16, 33, 16, 33, 16, 33, 160, 33, 162, 170,
};

/* Fields of digits 0..3 of a byte; digit 4 goes to `fifth`. */
static inline unsigned t5_fields(unsigned byte, unsigned *fifth)
{
    const unsigned high = t5_high[byte >> 2];
    *fifth = high & 3;
    return t5_low[byte & 63] | (high & 0xfc);
}
#endif
