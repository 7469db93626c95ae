"""The layouts of other programs: ggml's TQ1_0 and TQ2_0, bitnet.cpp's I2_S.

Each table maps the name of a layout to a function, as those of `pack` do. Digits
are ``code + 1``, int64 of shape (R, a multiple of the unit); packed rows are
uint8. In all these layouts codes of one byte are a whole run of bytes apart in
the row, so that a vector of bytes holds consecutive codes.
"""

import numpy as np


def _fields(digits_or_bytes, n_fields, width):
    """View as (R, runs, n_fields, width)."""
    n_rows, n = digits_or_bytes.shape
    return digits_or_bytes.reshape(n_rows, n // (n_fields * width), n_fields, width)


def _flat(runs):
    return runs.reshape(runs.shape[0], np.prod(runs.shape[1:], dtype=int))


# ---- four codes a byte, two bits each ---------------------------------------

_UP = [[0], [2], [4], [6]]
_DOWN = _UP[::-1]


def _pack_bits(digits, width, shifts):
    """Value ``4 * width * b + width * i + m`` at shift i of byte ``width * b + m``."""
    runs = _fields(digits, 4, width) << np.asarray(shifts, like=digits)
    return _flat(runs.sum(axis=2)).astype(np.uint8)


def _unpack_bits(packed, width, shifts):
    shifts = np.asarray(shifts, like=packed)
    return _flat(_fields(packed.astype(np.int64), 1, width) >> shifts & 3)


def _has_three(units):
    return (units & units >> 1 & 0x55).any(axis=-1)


# ---- five codes a byte, in base 3 -------------------------------------------

# Parts of a TQ1_0 block: codes a byte, bytes. The last part has no fifth code.
_TQ1_PARTS = ((5, 32), (5, 16), (4, 4))
_WEIGHTS = [[81], [27], [9], [3], [1]]


def _tq1_parts(rows, sizes):
    """Cut each unit of the rows into the three parts: (R, units, size)."""
    units = rows.reshape(rows.shape[0], rows.shape[1] // sum(sizes), sum(sizes))
    return np.split(units, np.cumsum(sizes)[:-1].tolist(), axis=2)


def _pack_tq1(digits):
    parts = []
    sizes = [n * width for n, width in _TQ1_PARTS]
    for part, (n, width) in zip(_tq1_parts(digits, sizes), _TQ1_PARTS, strict=True):
        fields = part.reshape(*part.shape[:2], n, width)
        weights = np.asarray(_WEIGHTS[:n], like=digits)
        parts.append((fields * weights).sum(axis=2))
    numbers = _flat(np.concatenate(parts, axis=2))
    return _tq1_byte(numbers).astype(np.uint8)


def _tq1_byte(numbers):
    """Numbers below 243 as 256ths, rounded up: a product by 3 carries a digit."""
    return (numbers * 256 + 242) // 243


def _tq1_number(packed):
    return packed.astype(np.int64) * 243 >> 8


def _unpack_tq1(packed):
    parts = []
    sizes = [width for _, width in _TQ1_PARTS]
    numbers = _tq1_parts(_tq1_number(packed), sizes)
    for part, (n, _) in zip(numbers, _TQ1_PARTS, strict=True):
        digits = part[:, :, None] // np.asarray(_WEIGHTS[:n], like=packed) % 3
        parts.append(digits.reshape(*part.shape[:2], n * part.shape[2]))
    return _flat(np.concatenate(parts, axis=2))


def _invalid_tq1(units):
    numbers = _tq1_number(units)
    wrong = _tq1_byte(numbers) != units
    wrong[..., -4:] |= numbers[..., -4:] % 3 != 0
    return wrong.any(axis=-1)


PACK = {
    "tq1_0": _pack_tq1,
    "tq2_0": lambda d: _pack_bits(d, 32, _UP),
    "i2_s_x86": lambda d: _pack_bits(d, 32, _DOWN),
    "i2_s_arm": lambda d: _pack_bits(d, 16, _DOWN),
}

UNPACK = {
    "tq1_0": _unpack_tq1,
    "tq2_0": lambda p: _unpack_bits(p, 32, _UP),
    "i2_s_x86": lambda p: _unpack_bits(p, 32, _DOWN),
    "i2_s_arm": lambda p: _unpack_bits(p, 16, _DOWN),
}

INVALID = {
    "tq1_0": _invalid_tq1,
    "tq2_0": _has_three,
    "i2_s_x86": _has_three,
    "i2_s_arm": _has_three,
}
