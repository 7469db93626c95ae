"""Floats to codes, bytes and rounded values; statistics of columns."""

import numpy as np

from sklearn_ternary._cpu.pack import LAYOUT_IDS
from sklearn_ternary._cpu.scales import group_scale
from sklearn_ternary._kernels import _columns, _one_read, _quantize, _reduce
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.pack import step_of

# From here on reading twice takes longer than computing more; never at level generic.
ONE_READ_BYTES = 2**24
# Values that a thread may leave undecided at first.
NOTES = 65536


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


def absmean_pack(X, n_levels, layout, *, n_threads, isa):
    """Packed codes of X, (R, row_bytes), and the scale of all of it, (1, 1)."""
    if n_levels == 3 and isa != "generic" and X.nbytes >= ONE_READ_BYTES:
        packed, scale, doubtful = read_once(X, layout, n_threads=n_threads, isa=isa)
        if not doubtful:
            return packed, scale
    options = {"n_threads": n_threads, "isa": isa}
    scale, threshold = group_scale(
        X.reshape(1, -1), max(X.size, 1), "absmean", n_levels, **options
    )
    group_size = max(X.shape[1], 1)
    packed = quantize_pack(X, threshold, group_size, n_levels, layout, **options)
    return packed, scale


def read_once(X, layout, *, n_threads, isa):
    """Packed codes and scale as of `absmean_pack`, and whether they may be wrong."""
    n_blocks = -(-X.size // _one_read.BLOCK)
    n_parts = min(n_threads, n_blocks)
    row_bytes = get_layout(layout).row_bytes(X.shape[1])
    packed = np.empty((X.shape[0], row_bytes), dtype=np.uint8)
    scale = np.empty((1, 1), dtype=X.dtype)
    doubtful = _one_read.absmean_pack(
        X,
        LAYOUT_IDS[layout],
        packed,
        np.empty(-(-X.size // _reduce.SUM_CHUNK)),
        np.empty(n_blocks, dtype=X.dtype),
        np.empty((3, n_blocks), dtype=np.int64),
        np.empty((n_parts, NOTES), dtype=X.dtype),
        np.empty((n_parts, NOTES), dtype=np.uint16),
        scale,
        ISA_LEVELS[isa],
        n_threads,
    )
    return packed, scale, doubtful


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


def columns(X, start, stop, *, n_threads, isa):
    """The columns of X from `start` to `stop` as rows, of shape (stop - start, R)."""
    rows = np.empty((stop - start, X.shape[0]), dtype=X.dtype)
    if rows.size:
        _columns.columns(X, start, rows, n_threads)
    return rows


def column_abs_sum(X, total, *, n_threads, isa):
    """Add the magnitudes of the rows of X to the float64 `total`, row by row."""
    _reduce.column_abs_sum(X, total, ISA_LEVELS[isa], n_threads)


def column_abs_max(X, largest, *, n_threads, isa):
    """Raise `largest`, of shape (K,), to the largest magnitude of each column."""
    _reduce.column_abs_max(X, largest, ISA_LEVELS[isa], n_threads)
