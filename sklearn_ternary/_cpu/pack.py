"""Codes to bytes and back."""

import numpy as np

from sklearn_ternary._cpu.by_dtype import by_dtype
from sklearn_ternary._kernels import _codec, _quantize
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.pack import step_of

# In the order of `enum stern_layout`.
_NAMES = ("t2", "t5", "q3", "i4", "i8", "tq1_0", "tq2_0", "i2_s_x86", "i2_s_arm")
LAYOUT_IDS = {name: i for i, name in enumerate(_NAMES)}
_UNPACK_VALUES = by_dtype(_codec.unpack_values)
_CODE_VALUES = by_dtype(_quantize.code_values)


def pack(codes, layout, *, n_threads, isa):
    """Pack int8 codes of shape (R, K) to uint8 of shape (R, row_bytes)."""
    row_bytes = get_layout(layout).row_bytes(codes.shape[1])
    packed = np.empty((codes.shape[0], row_bytes), dtype=np.uint8)
    _codec.pack(codes, LAYOUT_IDS[layout], packed, ISA_LEVELS[isa], n_threads)
    return packed


def unpack(packed, n_values, layout, *, n_threads, isa):
    """Codes, int8 of shape (R, n_values)."""
    codes = np.empty((packed.shape[0], n_values), dtype=np.int8)
    _codec.unpack(packed, LAYOUT_IDS[layout], codes, ISA_LEVELS[isa], n_threads)
    return codes


def unpack_values(packed, n_values, layout, scale, group_size, *, n_threads, isa):
    """Values of shape (R, n_values), of the dtype of `scale`."""
    step = step_of(scale, get_layout(layout).n_levels)
    values = np.empty((packed.shape[0], n_values), dtype=scale.dtype)
    _UNPACK_VALUES[scale.dtype.char](
        packed,
        LAYOUT_IDS[layout],
        step,
        group_size,
        values,
        ISA_LEVELS[isa],
        n_threads,
    )
    return values


def code_values(codes, scale, group_size, n_levels, *, n_threads, isa):
    """Values of codes, of the dtype of `scale`."""
    values = np.empty(codes.shape, dtype=scale.dtype)
    _CODE_VALUES[scale.dtype.char](
        codes, step_of(scale, n_levels), group_size, values, ISA_LEVELS[isa], n_threads
    )
    return values


def count_codes(packed, n_values, layout, *, n_threads, isa):
    """How often each code occurs, from the smallest: int64 of shape (n_levels,)."""
    n_levels = get_layout(layout).n_levels
    counts = np.zeros((n_threads, n_levels), dtype=np.int64)
    _codec.count_codes(
        packed,
        n_values,
        LAYOUT_IDS[layout],
        n_levels // 2,
        counts,
        ISA_LEVELS[isa],
        n_threads,
    )
    return counts.sum(axis=0)


def code_sums(packed, n_values, layout, group_size, *, n_threads, isa):
    """Sums of magnitudes and of squares of the codes of each group, and the largest."""
    groups = n_groups(n_values, group_size)
    sums = np.zeros((packed.shape[0], groups, 3), dtype=np.int64)
    _codec.code_sums(
        packed,
        n_values,
        LAYOUT_IDS[layout],
        group_size,
        sums,
        ISA_LEVELS[isa],
        n_threads,
    )
    return sums


def find_invalid(packed, layout, *, n_threads, isa):
    """Index of the first byte or unit (flat) that no codes pack to, or -1."""
    first = np.empty(n_threads, dtype=np.int64)
    _codec.find_invalid(packed, LAYOUT_IDS[layout], first, ISA_LEVELS[isa], n_threads)
    return next((int(i) for i in first if i >= 0), -1)
