"""Floats to codes, bytes and rounded values; statistics of columns."""

import math

import numpy as np

from sklearn_ternary._cpu.by_dtype import by_dtype
from sklearn_ternary._cpu.pack import LAYOUT_IDS
from sklearn_ternary._cpu.scales import group_scale
from sklearn_ternary._kernels import _columns, _one_read, _quantize, _reduce
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary._reference.pack import step_of

_QUANTIZE_CODES = by_dtype(_quantize.quantize_codes)
_QUANTIZE_PACK = by_dtype(_quantize.quantize_pack)
_QUANTIZE_VALUES = by_dtype(_quantize.quantize_values)
_COLUMNS = by_dtype(_columns.columns)
_COLUMN_ABS_SUM = by_dtype(_reduce.column_abs_sum)
_COLUMN_ABS_MAX = by_dtype(_reduce.column_abs_max)
_ABSMEAN_PACK = by_dtype(_one_read.absmean_pack)

# More bytes than this take longer to read twice than to compute more: what the caches
# of a core hold, but no vectors of masks.
ONE_READ_BYTES = {"avx512": 2**21, "avx2": 2**24, "generic": math.inf}
# Up to so many, threads that add up a group first and pack it then lose more on the way
# from one to the other.
SHARED_BYTES = 2**22
# Values that a thread may leave undecided at first; of these, and of all in parts.
NOTES, NOTED_PART = 65536, 64


def quantize_codes(X, threshold, group_size, n_levels, *, n_threads, isa):
    """Codes of X, int8 of shape (R, K)."""
    codes = np.empty(X.shape, dtype=np.int8)
    _QUANTIZE_CODES[X.dtype.char](
        X, threshold, group_size, n_levels == 5, codes, ISA_LEVELS[isa], n_threads
    )
    return codes


def quantize_pack(X, threshold, group_size, n_levels, layout, *, n_threads, isa):
    """Codes of X, packed: uint8 of shape (R, row_bytes)."""
    row_bytes = LAYOUTS[layout].row_bytes(X.shape[1])
    packed = np.empty((X.shape[0], row_bytes), dtype=np.uint8)
    _QUANTIZE_PACK[X.dtype.char](
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
    is_shared = n_threads > 1 and 0 < X.nbytes <= SHARED_BYTES
    if n_levels == 3 and (is_shared or X.nbytes > ONE_READ_BYTES[isa]):
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
    n_rows, n_columns = X.shape
    packed = np.empty((n_rows, LAYOUTS[layout].row_bytes(n_columns)), np.uint8)
    scale = np.empty((1, 1), X.dtype)
    room = min(NOTES, X.size // NOTED_PART)
    scratch = np.empty(_one_read.scratch_size(X.size, X.itemsize, n_threads, room))
    doubtful = _ABSMEAN_PACK[X.dtype.char](
        X, LAYOUT_IDS[layout], packed, scratch, room, scale, ISA_LEVELS[isa], n_threads
    )
    return packed, scale, doubtful


def quantize_values(X, threshold, scale, group_size, n_levels, *, n_threads, isa):
    """X rounded to its levels, of the dtype of X."""
    step = step_of(scale, n_levels)
    values = np.empty(X.shape, dtype=X.dtype)
    _QUANTIZE_VALUES[X.dtype.char](
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
        _COLUMNS[X.dtype.char](X, start, rows, n_threads)
    return rows


def column_abs_sum(X, total, *, n_threads, isa):
    """Add the magnitudes of the rows of X to the float64 `total`, row by row."""
    _COLUMN_ABS_SUM[X.dtype.char](X, total, ISA_LEVELS[isa], n_threads)


def column_abs_max(X, largest, *, n_threads, isa):
    """Raise `largest`, of shape (K,), to the largest magnitude of each column."""
    _COLUMN_ABS_MAX[X.dtype.char](X, largest, ISA_LEVELS[isa], n_threads)
