"""Data near the ends of the range of its dtype, whose squares leave it."""

import numpy as np
from scipy import sparse

# Between these, squares and sums of many stay within the range.
_BETWEEN = {np.dtype(np.float64): (1e-140, 1e140), np.dtype(np.float32): (1e-15, 1e15)}


def largest_of(array):
    """Largest magnitude of a dense or sparse array."""
    values = array.data if sparse.issparse(array) else array
    return float(max(values.max(), -values.min())) if values.size else 0.0


def exponent_for(largest, dtype=np.float64):
    """Exponent e such that squares of up to `largest` times 2**-e keep within range.

    0 where they do as they are.
    """
    small, large = _BETWEEN[np.dtype(dtype)]
    if largest == 0 or small < largest < large:
        return 0
    return int(np.frexp(largest)[1])


def times_power(array, exponent):
    """`array` times 2**exponent; itself for 0."""
    if exponent == 0:
        return array
    if not sparse.issparse(array):
        return np.ldexp(array, exponent)
    scaled = array.copy()
    scaled.data = np.ldexp(array.data, exponent)
    return scaled


def times_square(inertia, exponent):
    """`inertia` of data scaled by 2**-exponent, as it is unscaled."""
    if exponent == 0:
        return float(inertia)
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(inertia, 2 * exponent))
