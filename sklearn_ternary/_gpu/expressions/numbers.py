"""float32 as float64 and back, bit for bit.

CuPy compiles its expressions so that numbers of float32 below 2**-126 are 0. What
their bits are as an integer, times the smallest of them, they are here.
"""

import numpy as np

_SMALLEST_NORMAL = 2.0**-126
_UNIT = 2.0**-149


def wide(x):
    """`x` as float64."""
    if x.dtype != np.float32:
        return x
    bits = x.view(np.int32)
    magnitude = bits & np.int32(0x7FFFFFFF)
    units = magnitude * np.where(bits < 0, -_UNIT, _UNIT)
    small = magnitude < np.int32(0x00800000)
    return np.where(small, units, x.astype(np.float64))


def narrow(x, dtype):
    """float64 rounded to `dtype`."""
    if dtype != np.float32:
        return x
    magnitude = abs(x)
    small = magnitude < _SMALLEST_NORMAL
    # Rounded up, the largest are the bits of the smallest normal number.
    units = np.rint(np.where(small, magnitude, 0) / _UNIT).astype(np.int32)
    units = np.where(np.signbit(x), units | np.int32(-(2**31)), units)
    with np.errstate(over="ignore", invalid="ignore"):
        bits = x.astype(np.float32).view(np.int32)
    return np.where(small, units, bits).view(np.float32)


def rounded(x, dtype):
    """float64 rounded to `dtype`, as float64."""
    return wide(narrow(x, dtype))
