"""Floats to codes, bytes and rounded values."""

import numpy as np

from sklearn_ternary._gpu.arrays import contiguous
from sklearn_ternary._gpu.expressions import codes as expressions
from sklearn_ternary._gpu.kernels import launch, macros_of, n_blocks, reads_whole
from sklearn_ternary._gpu.scales import group_scale
from sklearn_ternary._gpu.transfer import row_by_row
from sklearn_ternary._layouts import get_layout

SEGMENT = 1024
# Those that kernels write and read; `expressions` has the others.
LAYOUTS = ("t2", "t5")


@row_by_row
def quantize_codes(cupy, X, threshold, group_size, n_levels):
    """Codes of X, int8 of shape (R, K)."""
    codes = cupy.empty(X.shape, np.int8)
    args = (*parameters(threshold, group_size), np.int32(n_levels == 5))
    args = (X, *sizes(X), *args, reads_whole(X.shape[1], X, codes), codes)
    run(cupy, "quantize_codes", X.shape, args, macros=macros_of(X.dtype))
    return codes


@row_by_row
def quantize_pack(cupy, X, threshold, group_size, n_levels, layout):
    """Codes of X, packed: uint8 of shape (R, row_bytes)."""
    if layout not in LAYOUTS:
        codes = quantize_codes(X, threshold, group_size, n_levels)
        return expressions.pack(cupy, codes, layout)
    row_bytes = get_layout(layout).row_bytes(X.shape[1])
    packed = cupy.empty((X.shape[0], row_bytes), np.uint8)
    args = (X, *sizes(X), *parameters(threshold, group_size))
    if layout == "t2":
        args = (*args, reads_whole(X.shape[1], X))
    name = f"quantize_pack_{layout}"
    run(cupy, name, X.shape, (*args, packed), macros=macros_of(X.dtype))
    return packed


def absmean_pack(X, n_levels, layout, *, device=None):
    """Packed codes of X, (R, row_bytes), and the scale of all of it, (1, 1)."""
    scale, threshold = group_scale(
        X.reshape(1, -1), X.size, "absmean", n_levels, device=device
    )
    packed = quantize_pack(X, threshold, X.shape[1], n_levels, layout, device=device)
    return packed, scale


def columns(X, start, stop, *, device=None):
    """The columns of X from `start` to `stop` as rows, where X is."""
    return contiguous(X[:, start:stop].T)


@row_by_row
def quantize_values(cupy, X, threshold, scale, group_size, n_levels):
    """X rounded to its levels, of the dtype of X."""
    values = cupy.empty(X.shape, X.dtype)
    args = (X, *sizes(X), *parameters(threshold, group_size)[:2])
    args = (*args, *parameters(step_of(cupy, scale, n_levels), group_size))
    args = (*args, np.int32(n_levels == 5))
    args = (*args, reads_whole(X.shape[1], X, values), values)
    run(cupy, "quantize_values", X.shape, args, macros=macros_of(X.dtype))
    return values


def step_of(cupy, scale, n_levels):
    """Distance of the levels: ``scale / (n_levels // 2)``."""
    half = n_levels // 2
    if half == 1 or not scale.size:
        return scale
    scale, step = contiguous(scale), cupy.empty(scale.shape, scale.dtype)
    args = scale, np.int64(scale.size), scale.dtype.type(half), step
    macros = macros_of(scale.dtype)
    grid = n_blocks(cupy, scale.size, 1024)
    launch(cupy, "quantize", "divided", grid, args, macros=macros)
    return step


def sizes(X):
    """Rows and columns as a kernel takes them."""
    return np.int64(X.shape[0]), np.int64(X.shape[1])


def parameters(values, group_size):
    """An array of parameters as a kernel takes it: with its shape and grouping."""
    per_row = np.int32(values.shape[0] > 1)
    return values, per_row, np.int64(group_size), np.int64(values.shape[1])


def run(cupy, name, shape, args, macros=(), file="quantize"):
    """Launch a kernel whose warps go through segments of the rows."""
    n_rows, n_columns = shape
    if n_rows and n_columns:
        items = n_rows * -(-n_columns // SEGMENT)
        launch(cupy, file, name, n_blocks(cupy, items, 8), args, macros=macros)
