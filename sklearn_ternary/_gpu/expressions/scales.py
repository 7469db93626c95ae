"""Scales and thresholds of groups."""

import numpy as np

from sklearn_ternary._gpu.expressions.numbers import narrow, rounded, wide
from sklearn_ternary._gpu.expressions.panels import panels
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.quantize import TWN_RATIO
from sklearn_ternary._reference.sums import ordered_sum


def group_scale(cupy, X, group_size, scale, n_levels):
    """Scale and threshold of every group: "absmean", "absmax" and "twn"."""
    n_rows, n_columns = X.shape
    shape = n_rows, n_groups(n_columns, group_size)
    scales, thresholds = cupy.empty(shape, X.dtype), cupy.empty(shape, X.dtype)
    whole = n_columns // group_size
    # The groups of one size, and those at the end of each row.
    for groups, size in (
        (slice(0, whole), group_size),
        (slice(whole, None), n_columns - whole * group_size),
    ):
        n = shape[1] if groups.stop is None else whole
        n -= groups.start
        first = groups.start * group_size
        for rows in panels(n_rows if n * size else 0, n_columns):
            x = abs(wide(X[rows, first : first + n * size].reshape(-1, size)))
            found = _of_groups(cupy, x, scale, n_levels, X.dtype)
            for to, values in zip((scales, thresholds), found, strict=True):
                to[rows, groups] = narrow(values, X.dtype).reshape(-1, n)
    return scales, thresholds


def _of_groups(cupy, x, scale, n_levels, dtype):
    """Scale and threshold of each row of magnitudes, as float64."""
    largest = x.max(axis=1)
    finite = cupy.isfinite(largest)
    # As the definition does it, so that sums do not overflow.
    usual = (largest > 1e-140) & (largest < 1e140) | ~finite | (largest == 0)
    usual |= np.dtype(dtype) == np.float32
    exponent = cupy.where(usual, 0, cupy.frexp(largest)[1]).astype(np.int32)
    x = cupy.ldexp(x, -exponent[:, None])
    with np.errstate(all="ignore"):
        if scale == "absmax":
            s = x.max(axis=1)
        else:
            s = ordered_sum(x) / x.shape[1]
        if scale == "twn":
            t = rounded(TWN_RATIO * s, dtype)
            above = x > t[:, None]
            count = above.sum(axis=1)
            s = ordered_sum(cupy.where(above, x, 0))
            s = rounded(cupy.where(count > 0, s / cupy.maximum(count, 1), 0), dtype)
        else:
            s = rounded(s, dtype)
            t = _threshold(cupy, s, n_levels, dtype)
        t = _scaled_down(cupy, t, exponent)
        s = cupy.ldexp(s, exponent)
        s = rounded(cupy.minimum(s, np.finfo(dtype).max), dtype)
    s, t = (cupy.where(finite, values, np.nan) for values in (s, t))
    return s, cupy.where(s == 0, np.inf, t)


def _threshold(cupy, s, n_levels, dtype):
    """Largest magnitude whose code is 0: the scale over 2 or 4, rounded down."""
    divisor = n_levels - 1
    t = rounded(s / divisor, dtype)
    return cupy.where(t * divisor > s, _below(cupy, t, dtype), t)


def _below(cupy, t, dtype):
    """The next smaller number of `dtype`."""
    if np.dtype(dtype) == np.float32:
        bits = narrow(t, dtype).view(np.int32)
        return wide(cupy.maximum(bits - np.int32(1), 0).view(np.float32))
    return cupy.nextafter(t, cupy.zeros_like(t))


def _scaled_down(cupy, t, exponent):
    """t * 2**exponent, rounded down."""
    scaled = cupy.ldexp(t, exponent)
    above = cupy.ldexp(scaled, -exponent) > t
    return cupy.where(above, cupy.nextafter(scaled, cupy.zeros_like(t)), scaled)
