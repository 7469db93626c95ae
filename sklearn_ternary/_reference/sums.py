"""Sums whose bits do not depend on the instruction set or the threads.

Floating-point addition is not associative, so the order is part of the
definition: float64 accumulators, `LANES` of them side by side along chunks of
`CHUNK` values, the lanes folded in halves, the chunks added one after another.
Any vector width that divides `LANES` and any number of threads can follow it.
"""

import numpy as np

LANES = 32
CHUNK = 4096


def ordered_sum(x):
    """Sums along the last axis of `x` in float64, in the order above."""
    *others, n = x.shape
    n_chunks = -(-n // CHUNK)
    # Zeros at the end change nothing.
    n_steps = CHUNK // LANES if n_chunks > 1 else -(-n // LANES)
    padded = np.zeros_like(x, shape=(*others, n_chunks * n_steps * LANES), dtype=float)
    padded[..., :n] = x
    steps = padded.reshape(*others, n_chunks, n_steps, LANES)
    lanes = np.zeros_like(padded, shape=(*others, n_chunks, LANES))
    for i in range(n_steps):
        lanes += steps[..., i, :]
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    total = np.zeros_like(padded, shape=tuple(others))
    for i in range(n_chunks):
        total += lanes[..., i, 0]
    return total if others else float(total)


def scaling_exponent(x):
    """Exponent e such that ``x * 2**-e`` sums and squares without overflow.

    0 wherever float64 sums of `x` and of its squares are safe, which is all of
    float32.
    """
    largest = np.abs(x).max(initial=0)
    if x.dtype == np.float32 or not 0 < largest < np.inf or 1e-140 < largest < 1e140:
        return 0
    return int(np.frexp(largest)[1])
