"""Floats to codes, bytes and rounded values; statistics of columns."""

import numpy as np

from sklearn_ternary._cpu.pack import LAYOUT_IDS
from sklearn_ternary._kernels import _quantize, _reduce
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.pack import step_of


def quantize_codes(X, threshold, group_size, n_levels, *, n_threads, isa):
    """Codes of X, int8 of shape (R, K)."""
    codes = np.empty(X.shape, dtype=np.int8)
    _quantize.quantize_codes(
        X, threshold, group_size, n_levels == 5, codes, ISA_LEVELS[isa], n_threads
    )
    return codes


def quantize_pack(X, threshold, group_size, n_levels, layout, *, n_threads, isa):
    """Codes of X, packed: uint8 of shape (R, row_bytes)."""
    row_bytes = get_layout(layout).row_bytes(X.shape[1])
    packed = np.empty((X.shape[0], row_bytes), dtype=np.uint8)
    _quantize.quantize_pack(
        X,
        threshold,
        group_size,
        n_levels == 5,
        LAYOUT_IDS[layout],
        packed,
        ISA_LEVELS[isa],
        n_threads,
    )
    return packed


def quantize_values(X, threshold, scale, group_size, n_levels, *, n_threads, isa):
    """X rounded to its levels, of the dtype of X."""
    step = step_of(scale, n_levels)
    values = np.empty(X.shape, dtype=X.dtype)
    _quantize.quantize_values(
        X,
        threshold,
        step,
        group_size,
        n_levels == 5,
        values,
        ISA_LEVELS[isa],
        n_threads,
    )
    return values


def column_abs_sum(X, total, *, n_threads, isa):
    """Add the magnitudes of the rows of X to the float64 `total`, row by row."""
    _reduce.column_abs_sum(X, total, ISA_LEVELS[isa], n_threads)


def column_abs_max(X, largest, *, n_threads, isa):
    """Raise `largest`, of shape (K,), to the largest magnitude of each column."""
    _reduce.column_abs_max(X, largest, ISA_LEVELS[isa], n_threads)
