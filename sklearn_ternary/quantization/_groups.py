"""Which values of an array share a scale, seen as a matrix.

An array of shape (d0, d1, …) is stored as a matrix of d0 rows, each the C-order
run of the rest; arrays of fewer than two dimensions are one row.
"""

import math
from numbers import Integral

from sklearn_ternary._gpu.arrays import contiguous


def matrix_shape(shape):
    """Rows and columns of the matrix that stores an array of this shape."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def grouping(shape, axis, block_size):
    """Group size, and whether rows share scales, for `axis` and `block_size`.

    Returns
    -------
    group_size : int
        Consecutive values of a row that share a scale.
    per_row : bool
        Whether each row has scales of its own.

    Raises
    ------
    ValueError
        If the combination is not one that can be stored.
    """
    _, n_columns = matrix_shape(shape)
    if block_size is not None:
        if axis is not None:
            raise ValueError(
                f"axis={axis!r} and block_size={block_size!r} exclude each other: "
                "blocks run along the rows of the array"
            )
        is_integer = isinstance(block_size, Integral) and block_size is not True
        if not is_integer or block_size < 1:
            raise ValueError(f"block_size={block_size!r} must be a positive integer")
        return min(int(block_size), max(n_columns, 1)), True
    if axis is None:
        return max(n_columns, 1), False
    axes = _normalized_axes(axis, len(shape))
    if len(axes) == len(shape):
        return max(n_columns, 1), False
    if axes == (0,):
        return 1, False
    if axes == tuple(range(axes[0], len(shape))):
        return max(math.prod(shape[axes[0] :]), 1), True
    raise ValueError(
        f"axis={axis!r} cannot be stored for an array of {len(shape)} dimensions; "
        "choose None (one scale), 0 (one per column) or the last axes, such as "
        f"{tuple(range(1, len(shape)))} (one per row)"
    )


def _normalized_axes(axis, ndim):
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or not all(isinstance(a, Integral) for a in axes):
        raise ValueError(f"axis={axis!r} must be None, an integer or integers")
    if any(not -ndim <= a < ndim for a in axes):
        raise ValueError(f"axis={axis!r} is out of bounds for {ndim} dimensions")
    axes = tuple(sorted(int(a) % ndim for a in axes))
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis={axis!r} names an axis twice")
    return axes


def check_block_size(granularity, block_size):
    """Raise ValueError unless there is a block size if and only if there are blocks."""
    if granularity == "block" and block_size is None:
        raise ValueError("granularity='block' needs a block_size, which is None")
    if granularity != "block" and block_size is not None:
        raise ValueError(
            f"block_size={block_size!r} is for granularity='block', not for "
            f"granularity={granularity!r}"
        )


def row_panels(n_rows, n_columns, bytes_per_value, working_memory):
    """Slices of rows that fit into `working_memory` MiB, of one row at least."""
    budget = working_memory * 2**20
    step = max(1, int(budget // max(1, n_columns * bytes_per_value)))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def as_matrix(X):
    """The array `X`, in C order, as the matrix that stores it."""
    if not X.flags.c_contiguous:
        X = contiguous(X)
    if X.ndim == 2:
        return X
    return X.reshape((1, -1) if X.ndim < 2 else matrix_shape(X.shape))


def is_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked_shape(shape):
    try:
        shape = tuple(shape)
    except TypeError:
        raise ValueError(f"shape={shape!r} must be a tuple of integers") from None
    if not all(map(is_integer, shape)) or len(shape) > 32 or any(n < 0 for n in shape):
        raise ValueError(f"shape={shape!r} must be integers that are not negative")
    shape = tuple(int(n) for n in shape)
    if math.prod(max(n, 1) for n in shape) >= 2**62:
        raise ValueError(f"shape={shape!r} has too many values")
    return shape
