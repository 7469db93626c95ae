"""Entropy coding: codes in as few bits as their frequencies allow.

Range asymmetric numeral systems (rANS) [1]_ with 8 interleaved states of 32 bits
and 16-bit words. Frequencies are whole numbers that add up to ``TOTAL``; a code of
frequency f takes log2(TOTAL / f) bits. The codes are cut into blocks of ``BLOCK``,
each coded by itself. A block is, all little-endian: the number of its words (32
bits), the 8 states from which decoding starts (32 bits each), the words (16 bits
each) in the order in which decoding takes them. Code i belongs to state i % 8. When
all codes of a block are decoded its states are ``LOWEST`` and no word is left.

References
----------
.. [1] J. Duda, "Asymmetric numeral systems: entropy coding combining speed of
   Huffman coding with compression rate of arithmetic coding", arXiv:1311.2540, 2013.
"""

import numpy as np

BITS = 14
TOTAL = 2**BITS
LANES = 8
LOWEST = 2**16
BLOCK = 2**18
HEADER_BYTES = 4 + 4 * LANES
# A code takes at least log2(TOTAL / MOST) = 0.02 bits, so that a short file cannot
# ask for much memory: at most MOST_A_BYTE codes for each of its bytes.
MOST = 16158
MOST_A_BYTE = 400


def encode_codes(codes, frequencies):
    """Code int8 codes, of shape (n,).

    Parameters
    ----------
    codes : ndarray of shape (n,), int8
        From ``-(n_levels // 2)`` to ``n_levels // 2``, those of frequency 0 not
        among them.
    frequencies : ndarray of shape (n_levels,), int64
        At most `MOST` each, `TOTAL` together.

    Returns
    -------
    coded : ndarray of shape (n_bytes,), uint8
    """
    starts = np.cumsum(frequencies) - frequencies
    blocks = []
    for first in range(0, len(codes), BLOCK):
        block = codes[first : first + BLOCK].astype(np.int64) + len(frequencies) // 2
        states, words = np.full(LANES, LOWEST, dtype=np.int64), []
        for step in reversed(range(0, len(block), LANES)):
            c = block[step : step + LANES]
            f, x = frequencies[c], states[: len(c)]
            full = x >= f << (32 - BITS)
            words.extend(x[full][::-1] % 2**16)
            x = np.where(full, x >> 16, x)
            states[: len(c)] = (x // f << BITS) + x % f + starts[c]
        blocks += [np.array([len(words)], "<u4"), states.astype("<u4")]
        blocks.append(np.array(words[::-1], dtype="<u2"))
    return np.frombuffer(b"".join(b.tobytes() for b in blocks), dtype=np.uint8)


def decode_codes(coded, n_codes, frequencies):
    """Invert `encode_codes`.

    Parameters
    ----------
    coded : ndarray of shape (n_bytes,), uint8
    n_codes : int
    frequencies : ndarray of shape (n_levels,), int64

    Returns
    -------
    codes : ndarray of shape (n_codes,), int8

    Raises
    ------
    ValueError
        If `coded` is not what `n_codes` codes of these frequencies become.
    """
    starts = np.cumsum(frequencies) - frequencies
    code_of = np.repeat(np.arange(len(frequencies)), frequencies)
    codes = np.empty(n_codes, dtype=np.int8)
    offsets = block_offsets(coded, n_codes)
    for i, first in enumerate(range(0, n_codes, BLOCK)):
        head = coded[offsets[i] + 4 : offsets[i] + HEADER_BYTES].tobytes()
        tail = coded[offsets[i] + HEADER_BYTES : offsets[i + 1]].tobytes()
        states, words = np.frombuffer(head, "<u4"), np.frombuffer(tail, "<u2")
        block = codes[first : first + BLOCK]
        x, n_taken = states.astype(np.int64), 0
        for step in range(0, len(block), LANES):
            n = len(block[step : step + LANES])
            slot = x[:n] % TOTAL
            c = code_of[slot]
            block[step : step + n] = c - len(frequencies) // 2
            x[:n] = frequencies[c] * (x[:n] >> BITS) + slot - starts[c]
            low = np.flatnonzero(x[:n] < LOWEST)
            taken = words[n_taken : n_taken + len(low)]
            if len(taken) < len(low):
                raise ValueError("the coded block has too few words")
            x[low] = (x[low] << 16) + taken
            n_taken += len(low)
        if n_taken < len(words) or (x != LOWEST).any():
            raise ValueError("the coded block does not end where it should")
    return codes


def block_offsets(coded, n_codes):
    """Where each block starts, and the end: int64 of shape (n_blocks + 1,).

    Raises
    ------
    ValueError
        If there are more or fewer bytes than those of the blocks.
    """
    if n_codes > MOST_A_BYTE * len(coded):
        raise ValueError(f"{n_codes} codes are too many for {len(coded)} coded bytes")
    offsets = [0]
    for _ in range(0, n_codes, BLOCK):
        head = coded[offsets[-1] : offsets[-1] + HEADER_BYTES].tobytes()
        if len(head) < HEADER_BYTES:
            raise ValueError("the coded codes end too early")
        n_words = int.from_bytes(head[:4], "little")
        offsets.append(offsets[-1] + HEADER_BYTES + 2 * n_words)
        if offsets[-1] > len(coded):
            raise ValueError("the coded codes end too early")
    if offsets[-1] != len(coded):
        raise ValueError("there are bytes after the coded codes")
    return np.array(offsets, dtype=np.int64)
