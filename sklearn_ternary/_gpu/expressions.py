"""What has no kernels of its own: definitions, as expressions of CuPy.

What `sklearn_ternary._reference` writes in functions of NumPy, those of CuPy do
where they are given its arrays. Temporaries are many times as large as the values,
so that rows are taken in panels.
"""

from sklearn_ternary import _reference
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import n_groups

# Values of a panel, whose temporaries take some dozen bytes each.
_PANEL = 2**25


def pack(cupy, codes, layout):
    """Bytes of codes."""
    row_bytes = get_layout(layout).row_bytes(codes.shape[1])
    found = cupy.empty((codes.shape[0], row_bytes), "uint8")
    for rows in _panels(*codes.shape):
        found[rows] = _reference.pack(codes[rows], layout)
    return found


def unpack(cupy, packed, n_values, layout):
    """Codes of bytes."""
    found = cupy.empty((packed.shape[0], n_values), "int8")
    for rows in _panels(*found.shape):
        found[rows] = _reference.unpack(packed[rows], n_values, layout)
    return found


def count_codes(cupy, packed, n_values, layout):
    """How often each code occurs, from the smallest."""
    counts = cupy.zeros(get_layout(layout).n_levels, "int64")
    for rows in _panels(packed.shape[0], n_values):
        counts += _reference.count_codes(packed[rows], n_values, layout)
    return counts


def code_sums(cupy, packed, n_values, layout, group_size):
    """Sums of magnitudes and of squares of the codes of each group, and the largest."""
    shape = packed.shape[0], n_groups(n_values, group_size), 3
    sums = cupy.empty(shape, "int64")
    for rows in _panels(packed.shape[0], n_values):
        sums[rows] = _reference.code_sums(packed[rows], n_values, layout, group_size)
    return sums


def find_invalid(units, layout):
    """Index of the first unit (flat) that no codes pack to, or -1. Waits."""
    n_rows, n_units, unit_bytes = units.shape
    for rows in _panels(n_rows, n_units * unit_bytes):
        found = _reference.find_invalid(
            units[rows].reshape(-1, n_units * unit_bytes), layout
        )
        if found >= 0:
            return rows.start * n_units + found
    return -1


def _panels(n_rows, n_columns):
    step = max(1, _PANEL // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)
