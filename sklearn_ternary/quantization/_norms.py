"""Norms of packed arrays."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import like, to_host
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import spread
from sklearn_ternary._reference.pack import step_of
from sklearn_ternary.quantization._groups import matrix_shape, row_panels

# What an `ord` adds up or looks for: a column of `_dispatch.code_sums`.
_MAGNITUDES, _SQUARES, _LARGEST = range(3)
_KINDS = {None: _SQUARES, 1: _MAGNITUDES, 2: _SQUARES, np.inf: _LARGEST}
_BYTES = 24  # of the largest copies of a value


def norm(A, ord, axis):
    """Norm of a TernaryArray; see `sklearn_ternary.linalg.ternary_norm`."""
    if axis is None:
        return _whole(A, ord)
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise ValueError(f"axis={axis!r} must be None or an integer")
    if A.ndim > 2 or not -A.ndim <= axis < A.ndim:
        raise ValueError(
            f"axis={axis} is not that of a vector or matrix; this array has "
            f"{A.ndim} dimensions"
        )
    if ord not in _KINDS:
        raise ValueError(f"ord={ord!r} with an axis must be None, 1, 2 or inf")
    kind = _KINDS[ord]
    if A.ndim == 1:
        return like(_rows(A, kind)[0], A.packed)
    found = _columns(A, kind) if axis % 2 == 0 else _rows(A, kind)
    return like(found, A.packed)


def _whole(A, ord):
    if ord is None or (A.ndim == 2 and ord == "fro"):
        unit = float(_unit(_steps(A)).item())
        found = unit * np.sqrt(_rows(A, _SQUARES, unit).sum())
    elif A.ndim == 1 and ord in (1, 2, np.inf):
        found = _rows(A, _KINDS[ord])[0]
    elif A.ndim == 2 and ord in (1, np.inf):
        if not A.size:
            raise ValueError(f"ord={ord!r} has no value for the shape {A.shape}")
        found = (_columns if ord == 1 else _rows)(A, _MAGNITUDES).max()
    else:
        allowed = {1: "None, 1, 2 or inf", 2: "None, 'fro', 1 or inf"}
        raise ValueError(
            f"ord={ord!r} of an array of {A.ndim} dimensions must be "
            f"{allowed.get(A.ndim, 'None')}"
        )
    return float(found)


def _rows(A, kind, unit=None):
    """Norms of the rows of the matrix that stores A, float64.

    With `unit`, the sums of the squares, in squares of that.
    """
    n_rows, n_values = matrix_shape(A.shape)
    group_size = min(A.group_size, max(n_values, 1))
    steps = _steps(A)
    found = np.zeros(n_rows)
    for rows in _panels(n_rows, n_values):
        sums = _dispatch.code_sums(A.packed[rows], n_values, A.layout, group_size)
        sums = to_host(sums)[:, :, kind]
        parts = steps if len(steps) == 1 else steps[rows]
        if kind == _SQUARES:
            of_rows = _unit(parts, axis=1) if unit is None else unit
            squares = ((parts / of_rows) ** 2 * sums).sum(axis=1)
            # Only now a root: whole numbers stay whole until then.
            found[rows] = squares if unit else of_rows[:, 0] * np.sqrt(squares)
        elif kind == _MAGNITUDES:
            found[rows] = (parts * sums).sum(axis=1)
        else:
            found[rows] = (parts * sums).max(axis=1, initial=0)
    return found


def _columns(A, kind):
    """Norms of the columns, for which the codes of a panel of rows are unpacked."""
    n_rows, n_values = A.shape
    steps, total = _steps(A), np.zeros((1, n_values))
    for rows in _panels(n_rows, n_values):
        codes = to_host(_dispatch.unpack(A.packed[rows], n_values, A.layout))
        parts = steps if len(steps) == 1 else steps[rows]
        sizes = np.abs(codes * spread(parts, n_values, A.group_size))
        total = _norms(np.concatenate([total, sizes]), kind)[None]
    return total[0]


def _steps(A):
    """Distance of the levels, as the values have it, in float64."""
    steps = step_of(to_host(A.scale), get_layout(A.layout).n_levels)
    return np.abs(steps.astype(np.float64))


def _panels(n_rows, n_values):
    return row_panels(n_rows, n_values, _BYTES, get_config()["working_memory"])


def _unit(sizes, axis=None):
    """What to divide sizes by, so that their squares neither overflow nor vanish."""
    largest = sizes.max(axis=axis, initial=0, keepdims=True)
    return np.where((largest > 0) & np.isfinite(largest), largest, 1)


def _norms(sizes, kind):
    """Norms of columns of sizes that are not negative."""
    if kind == _MAGNITUDES:
        return sizes.sum(axis=0)
    if kind == _LARGEST:
        return sizes.max(axis=0, initial=0)
    unit = _unit(sizes, axis=0)
    return unit[0] * np.sqrt(((sizes / unit) ** 2).sum(axis=0))
