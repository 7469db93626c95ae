"""Entropy coding of codes; see sklearn_ternary/_reference/entropy.py."""

from cython.parallel cimport prange
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t

cdef enum:
    BITS = 14
    TOTAL = 1 << BITS
    LANES = 8
    LOWEST = 1 << 16
    HEADER = 4 + 4 * LANES


cdef inline uint32_t read32(const uint8_t *p) noexcept nogil:
    return p[0] | <uint32_t>p[1] << 8 | <uint32_t>p[2] << 16 | <uint32_t>p[3] << 24


cdef inline void write32(uint8_t *p, uint32_t x) noexcept nogil:
    p[0] = x & 255
    p[1] = x >> 8 & 255
    p[2] = x >> 16 & 255
    p[3] = x >> 24


cdef Py_ssize_t encode_block(
    const int8_t *codes, Py_ssize_t n, int half,
    const uint32_t *frequencies, const uint32_t *starts, uint8_t *out, uint8_t *end,
) noexcept nogil:
    """Write from `end` downwards, then move to `out`; returns the bytes."""
    cdef:
        uint32_t states[LANES]
        uint32_t x, f
        uint8_t *p = end
        Py_ssize_t i, n_bytes
        int c
    for i in range(LANES):
        states[i] = LOWEST
    for i in range(n - 1, -1, -1):
        c = codes[i] + half
        f = frequencies[c]
        x = states[i % LANES]
        if x >> (32 - BITS) >= f:
            p -= 2
            p[0] = x & 255
            p[1] = x >> 8 & 255
            x >>= 16
        states[i % LANES] = (x // f << BITS) + x % f + starts[c]
    n_bytes = end - p
    write32(out, <uint32_t>(n_bytes // 2))
    for i in range(LANES):
        write32(out + 4 + 4 * i, states[i])
    for i in range(n_bytes):  # downwards in memory, and they may overlap
        out[HEADER + i] = p[i]
    return HEADER + n_bytes


cdef int decode_block(
    const uint8_t *p, const uint8_t *end, Py_ssize_t n, int half,
    const uint32_t *frequencies, const uint32_t *starts, const uint8_t *code_of,
    int8_t *codes,
) noexcept nogil:
    """`p` is a block with its header, up to `end`. Returns 1 if it is damaged."""
    cdef:
        uint32_t states[LANES]
        uint32_t x, slot
        Py_ssize_t i, left = (end - p - HEADER) // 2
        int c
    for i in range(LANES):
        states[i] = read32(p + 4 + 4 * i)
    p += HEADER
    for i in range(n):
        x = states[i % LANES]
        slot = x & (TOTAL - 1)
        c = code_of[slot]
        codes[i] = <int8_t>(c - half)
        x = frequencies[c] * (x >> BITS) + slot - starts[c]
        if x < LOWEST:
            if left == 0:
                return 1
            left -= 1
            x = x << 16 | p[0] | <uint32_t>p[1] << 8
            p += 2
        states[i % LANES] = x
    for i in range(LANES):
        if states[i] != LOWEST:
            return 1
    return left != 0


def encode(
    const int8_t[::1] codes,            # IN
    Py_ssize_t block,                   # codes of a block
    const uint32_t[::1] frequencies,    # IN
    const uint32_t[::1] starts,         # IN, their sums before each
    uint8_t[:, ::1] coded,              # OUT, (blocks, bytes that a block can take)
    int64_t[::1] n_bytes,               # OUT, (blocks,), what each takes
    int n_threads,
):
    cdef Py_ssize_t n = codes.shape[0], i, blocks = coded.shape[0], start
    cdef Py_ssize_t room = coded.shape[1], half = frequencies.shape[0] // 2
    n_threads = max(1, min(n_threads, <int>min(blocks, 1024)))
    for i in prange(blocks, nogil=True, schedule="static", num_threads=n_threads):
        start = i * block
        n_bytes[i] = encode_block(
            &codes[start], min(block, n - start), <int>half, &frequencies[0],
            &starts[0], &coded[i, 0], &coded[i, 0] + room,
        )


def decode(
    const uint8_t[::1] coded,           # IN
    const int64_t[::1] offsets,         # IN, (blocks + 1,), where each starts
    Py_ssize_t block,
    const uint32_t[::1] frequencies,    # IN
    const uint32_t[::1] starts,         # IN
    const uint8_t[::1] code_of,         # IN, (TOTAL,)
    int8_t[::1] codes,                  # OUT
    int n_threads,
):
    """Return how many blocks are damaged."""
    cdef Py_ssize_t n = codes.shape[0], i, blocks = offsets.shape[0] - 1, start
    cdef Py_ssize_t half = frequencies.shape[0] // 2, damaged = 0
    n_threads = max(1, min(n_threads, <int>min(blocks, 1024)))
    for i in prange(blocks, nogil=True, schedule="static", num_threads=n_threads):
        start = i * block
        damaged += decode_block(
            &coded[offsets[i]], &coded[0] + offsets[i + 1], min(block, n - start),
            <int>half, &frequencies[0], &starts[0], &code_of[0], &codes[start],
        )
    return damaged
