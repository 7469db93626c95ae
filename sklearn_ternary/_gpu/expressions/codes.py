"""Floats to codes, bytes and values, and back."""

import numpy as np

from sklearn_ternary import _reference
from sklearn_ternary._gpu.expressions.numbers import narrow, rounded, wide
from sklearn_ternary._gpu.expressions.panels import of_rows, panels
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import n_groups, spread


def quantize_codes(cupy, X, threshold, group_size, n_levels):
    """Codes of X."""
    found = cupy.empty(X.shape, np.int8)
    least = wide(threshold)
    twice = rounded(3 * least, X.dtype) if n_levels == 5 else None
    for rows in panels(*X.shape):
        x = wide(X[rows])
        magnitude = abs(x)
        codes = _above(magnitude, of_rows(least, rows), group_size)
        if twice is not None:
            codes += _above(magnitude, of_rows(twice, rows), group_size)
        found[rows] = cupy.where(x < 0, -codes, codes)
    return found


def _above(magnitude, limits, group_size):
    limits = spread(limits, magnitude.shape[1], group_size)
    return (magnitude > limits).astype(np.int8)


def quantize_pack(cupy, X, threshold, group_size, n_levels, layout):
    """Codes of X, packed."""
    codes = quantize_codes(cupy, X, threshold, group_size, n_levels)
    return pack(cupy, codes, layout)


def quantize_values(cupy, X, threshold, scale, group_size, n_levels):
    """X rounded to its levels."""
    codes = quantize_codes(cupy, X, threshold, group_size, n_levels)
    return code_values(cupy, codes, scale, group_size, n_levels)


def code_values(cupy, codes, scale, group_size, n_levels):
    """Values of codes."""
    found = cupy.empty(codes.shape, scale.dtype)
    step = rounded(wide(scale) / (n_levels // 2), scale.dtype)
    for rows in panels(*codes.shape):
        steps = spread(of_rows(step, rows), codes.shape[1], group_size)
        found[rows] = narrow(codes[rows] * steps, scale.dtype)
    return found


def unpack_values(cupy, packed, n_values, layout, scale, group_size):
    """Values of bytes."""
    codes = unpack(cupy, packed, n_values, layout)
    return code_values(cupy, codes, scale, group_size, get_layout(layout).n_levels)


def pack(cupy, codes, layout):
    """Bytes of codes."""
    row_bytes = get_layout(layout).row_bytes(codes.shape[1])
    found = cupy.empty((codes.shape[0], row_bytes), np.uint8)
    for rows in panels(*codes.shape):
        found[rows] = _reference.pack(codes[rows], layout)
    return found


def unpack(cupy, packed, n_values, layout):
    """Codes of bytes."""
    found = cupy.empty((packed.shape[0], n_values), np.int8)
    for rows in panels(*found.shape):
        found[rows] = _reference.unpack(packed[rows], n_values, layout)
    return found


def count_codes(cupy, packed, n_values, layout):
    """How often each code occurs, from the smallest."""
    counts = cupy.zeros(get_layout(layout).n_levels, np.int64)
    for rows in panels(packed.shape[0], n_values):
        counts += _reference.count_codes(packed[rows], n_values, layout)
    return counts


def code_sums(cupy, packed, n_values, layout, group_size):
    """Sums of magnitudes and of squares of the codes of each group, and the largest."""
    shape = packed.shape[0], n_groups(n_values, group_size), 3
    sums = cupy.empty(shape, np.int64)
    for rows in panels(packed.shape[0], n_values):
        sums[rows] = _reference.code_sums(packed[rows], n_values, layout, group_size)
    return sums


def find_invalid(cupy, units, layout):
    """Index of the first unit (flat) that no codes pack to, or -1. Waits."""
    n_rows, n_units, unit_bytes = units.shape
    for rows in panels(n_rows, n_units * unit_bytes):
        found = _reference.find_invalid(
            units[rows].reshape(rows.stop - rows.start, n_units * unit_bytes), layout
        )
        if found >= 0:
            return rows.start * n_units + found
    return -1


def find_nonfinite(cupy, X):
    """Flat index of the first value that is not finite, or -1. Waits."""
    for rows in panels(*X.shape):
        found = _reference.find_nonfinite(X[rows])
        if found >= 0:
            return rows.start * X.shape[1] + found
    return -1


def affine_codes(cupy, X, scale, zero_point, group_size, lowest, highest):
    """Integer codes of X with a zero point."""
    codes = cupy.empty(X.shape, np.int8)
    for rows in panels(*X.shape):
        s, z = (
            spread(of_rows(wide(a), rows), X.shape[1], group_size)
            for a in (scale, zero_point)
        )
        with np.errstate(all="ignore"):
            steps = cupy.rint(rounded(wide(X[rows]) / s, X.dtype))
            steps = rounded(cupy.where(s == 0, 0, steps) + z, X.dtype)
            codes[rows] = cupy.clip(steps, lowest, highest).astype(np.int8)
    return codes


def affine_values(cupy, codes, scale, zero_point, group_size):
    """Values of integer codes with a zero point."""
    values = cupy.empty(codes.shape, scale.dtype)
    for rows in panels(*codes.shape):
        s, z = (
            spread(of_rows(wide(a), rows), codes.shape[1], group_size)
            for a in (scale, zero_point)
        )
        with np.errstate(all="ignore"):
            above = rounded(codes[rows] - z, scale.dtype)
            values[rows] = narrow(above * s, scale.dtype)
    return values
