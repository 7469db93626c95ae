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
    """Sum of the 1-D array `x` in float64, in the order above."""
    n_chunks = -(-x.size // CHUNK)
    padded = np.zeros(n_chunks * CHUNK)
    padded[: x.size] = x
    steps = padded.reshape(n_chunks, CHUNK // LANES, LANES)
    lanes = np.zeros((n_chunks, LANES))
    for i in range(CHUNK // LANES):
        lanes += steps[:, i]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    total = 0.0
    for chunk in lanes[:, 0]:
        total += chunk
    return float(total)


def scaling_exponent(x):
    """Exponent e such that ``x * 2**-e`` sums and squares without overflow.

    0 wherever float64 sums of `x` and of its squares are safe, which is all of
    float32.
    """
    largest = np.abs(x).max(initial=0)
    if x.dtype == np.float32 or not 0 < largest < np.inf or 1e-140 < largest < 1e140:
        return 0
    return int(np.frexp(largest)[1])
