"""Operations without kernels of their own: the definitions, as expressions of CuPy.

What `sklearn_ternary._reference` writes in functions of NumPy, those of CuPy do
where they are given its arrays. Temporaries are many times as large as the values,
so that rows are taken in panels.
"""

from sklearn_ternary import _reference
from sklearn_ternary._gpu.transfer import row_by_row
from sklearn_ternary._layouts import get_layout

# Values of a panel, whose temporaries take some dozen bytes each.
_PANEL = 2**25


@row_by_row
def affine_codes(cupy, X, scale, zero_point, group_size, lowest, highest):
    """Integer codes of X with a zero point, int8."""
    found = cupy.empty(X.shape, "int8")
    for rows in _panels(*X.shape):
        parts = X[rows], _of(scale, rows), _of(zero_point, rows)
        found[rows] = _reference.affine_codes(*parts, group_size, lowest, highest)
    return found


@row_by_row
def affine_values(cupy, codes, scale, zero_point, group_size):
    """Values of integer codes with a zero point, of the dtype of `scale`."""
    found = cupy.empty(codes.shape, scale.dtype)
    for rows in _panels(*codes.shape):
        parts = codes[rows], _of(scale, rows), _of(zero_point, rows)
        found[rows] = _reference.affine_values(*parts, group_size)
    return found


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


def _of(parameter, rows):
    """Parameters of these rows, or of all."""
    return parameter[rows] if parameter.shape[0] > 1 else parameter
