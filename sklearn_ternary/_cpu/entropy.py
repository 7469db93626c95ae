"""Entropy coding by compiled loops."""

import numpy as np

from sklearn_ternary._kernels import _entropy
from sklearn_ternary._reference.entropy import (
    BLOCK,
    HEADER_BYTES,
    block_offsets,
)


def encode_codes(codes, frequencies, *, n_threads, isa):
    """Code int8 codes of shape (n,): uint8 of shape (n_bytes,)."""
    n_blocks = -(-len(codes) // BLOCK)
    # A few blocks at a time: each has room for a word a code.
    at_once = min(n_blocks, 4 * n_threads)
    room = np.empty((at_once, HEADER_BYTES + 2 * min(BLOCK, len(codes))), np.uint8)
    n_bytes = np.empty(at_once, dtype=np.int64)
    parts = []
    for first in range(0, n_blocks, at_once or 1):
        n = min(at_once, n_blocks - first)
        some = codes[first * BLOCK : (first + n) * BLOCK]
        tables = _tables(frequencies)
        _entropy.encode(some, BLOCK, *tables, room[:n], n_bytes[:n], n_threads)
        parts += [room[i, : n_bytes[i]].copy() for i in range(n)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)


def decode_codes(coded, n_codes, frequencies, *, n_threads, isa):
    """Invert `encode_codes`: int8 of shape (n_codes,)."""
    offsets = block_offsets(coded, n_codes)
    codes = np.empty(n_codes, dtype=np.int8)
    if n_codes:
        code_of = np.repeat(np.arange(len(frequencies)), frequencies).astype(np.uint8)
        tables = _tables(frequencies)
        damaged = _entropy.decode(
            coded, offsets, BLOCK, *tables, code_of, codes, n_threads
        )
        if damaged:
            raise ValueError(f"{damaged} of the coded blocks are damaged")
    return codes


def _tables(frequencies):
    starts = np.cumsum(frequencies) - frequencies
    return frequencies.astype(np.uint32), starts.astype(np.uint32)
