"""Data near the ends of the range of float64, whose squares leave it."""

import numpy as np
from scipy import sparse

_LARGE = 1e140
_SMALL = 1e-140


def exponent_of(*arrays):
    """Exponent e such that squares of the arrays times 2**-e keep within range.

    0 but for float64 whose largest magnitude is extreme; the squares of all float32
    are float64.
    """
    largest = 0.0
    for array in arrays:
        values = array.data if sparse.issparse(array) else array
        if values.dtype == np.float64 and values.size:
            largest = max(largest, values.max(), -values.min())
    if largest == 0 or _SMALL < largest < _LARGE:
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
