"""Codes to bytes and back: the definition of every layout.

Our layouts write numbers in some base, least significant digit first; those of
other programs are in `foreign_layouts`. The unused values at the end of a row
are code 0.
"""

import numpy as np

from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference import foreign_layouts
from sklearn_ternary._reference.groups import n_groups, spread


def pack(codes, layout):
    """Pack int8 codes of shape (R, K) to uint8 of shape (R, row_bytes)."""
    row = get_layout(layout)
    n_rows, n_values = codes.shape
    n_units = -(-n_values // row.unit_values)
    shape = n_rows, n_units * row.unit_values
    digits = np.zeros_like(codes, shape=shape, dtype=np.int64)
    digits[:, :n_values] = codes
    return _PACK[layout](digits + row.n_levels // 2)


def unpack(packed, n_values, layout):
    """Codes, int8 of shape (R, n_values). Invalid bytes are undefined."""
    digits = _UNPACK[layout](packed)
    half = get_layout(layout).n_levels // 2
    return (digits[:, :n_values].astype(np.int16) - half).astype(np.int8)


def unpack_values(packed, n_values, layout, scale, group_size):
    """Values of shape (R, n_values), of the dtype of `scale`."""
    codes = unpack(packed, n_values, layout)
    return code_values(codes, scale, group_size, get_layout(layout).n_levels)


def code_values(codes, scale, group_size, n_levels):
    """Values of codes: ``codes * (scale / (n_levels // 2))``, dtype of scale."""
    step = step_of(scale, n_levels)
    with np.errstate(under="ignore"):
        return codes * spread(step, codes.shape[1], group_size)


def step_of(scale, n_levels):
    """Distance of the levels: ``scale / (n_levels // 2)``."""
    with np.errstate(under="ignore"):
        return scale / scale.dtype.type(n_levels // 2)


def count_codes(packed, n_values, layout):
    """How often each code occurs, from the smallest: int64 of shape (n_levels,)."""
    n_levels = get_layout(layout).n_levels
    codes = unpack(packed, n_values, layout)
    return np.bincount(codes.ravel() + np.int64(n_levels // 2), minlength=n_levels)


def code_sums(packed, n_values, layout, group_size):
    """Of the codes of each group: the sums of magnitudes and of squares, the largest.

    Returns
    -------
    sums : ndarray of shape (R, n_groups, 3), int64
        Of magnitudes, and so is the largest.
    """
    codes = unpack(packed, n_values, layout)
    shape = len(codes), n_groups(n_values, group_size), group_size
    sizes = np.zeros_like(codes, shape=(len(codes), shape[1] * group_size), dtype=int)
    sizes[:, :n_values] = codes
    sizes = np.abs(sizes).reshape(shape)
    found = sizes.sum(axis=-1), (sizes * sizes).sum(axis=-1), sizes.max(axis=-1)
    return np.stack(found, axis=-1)


def find_invalid(packed, layout):
    """Index of the first byte or unit (flat) that no codes pack to, or -1."""
    units = _split(packed, get_layout(layout).unit_bytes)
    invalid = _INVALID[layout](units)
    return int(np.argmax(invalid)) if invalid.any() else -1


def _split(rows, size):
    """Cut each row into runs of `size`."""
    return rows.reshape(rows.shape[0], rows.shape[1] // size, size)


def _join(runs):
    return runs.reshape(runs.shape[0], runs.shape[1] * runs.shape[2])


def _numbers(digits, base, n_digits):
    """Numbers of `n_digits` digits each, least significant first."""
    weights = base ** np.arange(n_digits, like=digits)
    return (_split(digits, n_digits) * weights).sum(axis=-1)


def _digits(numbers, base, n_digits):
    weights = base ** np.arange(n_digits, like=numbers)
    return _join(numbers.astype(np.int64)[..., None] // weights % base)


def _fields(units):
    """The eight 7-bit fields of each 7-byte unit."""
    words = (units.astype(np.int64) << 8 * np.arange(7, like=units)).sum(axis=-1)
    return words[..., None] >> 7 * np.arange(8, like=units) & 127


def _pack_q3(digits):
    fields = _split(_numbers(digits, 5, 3), 8)
    words = (fields << 7 * np.arange(8, like=fields)).sum(axis=-1)
    bytes_of_words = words[..., None] >> 8 * np.arange(7, like=words) & 255
    return _join(bytes_of_words).astype(np.uint8)


_PACK = {
    "t2": lambda d: _numbers(d, 4, 4).astype(np.uint8),
    "t5": lambda d: _numbers(d, 3, 5).astype(np.uint8),
    "q3": _pack_q3,
    "i4": lambda d: _numbers(d + 1, 16, 2).astype(np.uint8),
    "i8": lambda d: (d - 127).astype(np.int8).view(np.uint8),
    **foreign_layouts.PACK,
}

_UNPACK = {
    "t2": lambda p: _digits(p, 4, 4),
    "t5": lambda p: _digits(p, 3, 5),
    "q3": lambda p: _digits(_join(_fields(_split(p, 7))), 5, 3),
    "i4": lambda p: _digits(p, 16, 2) - 1,
    "i8": lambda p: p.view(np.int8).astype(np.int64) + 127,
    **foreign_layouts.UNPACK,
}

_INVALID = {
    "t2": lambda u: (u & u >> 1 & 0x55).any(axis=-1),
    "t5": lambda u: (u >= 243).any(axis=-1),
    "q3": lambda u: (_fields(u) >= 125).any(axis=-1),
    "i4": lambda u: ((u & 15 == 0) | (u >> 4 == 0)).any(axis=-1),
    "i8": lambda u: (u == 128).any(axis=-1),
    **foreign_layouts.INVALID,
}
