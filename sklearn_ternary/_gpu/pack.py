"""Codes to bytes and back."""

import numpy as np

from sklearn_ternary._gpu.expressions import codes as expressions
from sklearn_ternary._gpu.kernels import launch, macros_of, n_blocks, reads_whole
from sklearn_ternary._gpu.quantize import (
    LAYOUTS,
    parameters,
    run,
    sizes,
    step_of,
)
from sklearn_ternary._gpu.transfer import (
    first_found,
    row_by_row,
    summed,
    widening,
)
from sklearn_ternary._layouts import get_layout

NOT_FOUND = np.uint64(2**64 - 1)


@row_by_row
def pack(cupy, codes, layout):
    """Pack int8 codes of shape (R, K) to uint8 of shape (R, row_bytes)."""
    if layout not in LAYOUTS:
        return expressions.pack(cupy, codes, layout)
    row_bytes = get_layout(layout).row_bytes(codes.shape[1])
    packed = cupy.empty((codes.shape[0], row_bytes), np.uint8)
    args = (codes, *sizes(codes), packed)
    run(cupy, f"pack_{layout}", codes.shape, args, file="codec")
    return packed


@widening(lambda packed, n_values, layout: n_values)
def unpack(cupy, packed, n_values, layout):
    """Codes, int8 of shape (R, n_values)."""
    if layout not in LAYOUTS:
        return expressions.unpack(cupy, packed, n_values, layout)
    codes = cupy.empty((packed.shape[0], n_values), np.int8)
    args = (packed, *sizes(codes), reads_whole(n_values, codes), codes)
    run(cupy, f"unpack_{layout}", codes.shape, args, file="codec")
    return codes


@widening(lambda packed, n_values, layout, scale, *_: n_values * scale.itemsize)
def unpack_values(cupy, packed, n_values, layout, scale, group_size):
    """Values of shape (R, n_values), of the dtype of `scale`."""
    if layout not in LAYOUTS:
        codes = expressions.unpack(cupy, packed, n_values, layout)
        n_levels = get_layout(layout).n_levels
        return _code_values(cupy, codes, scale, group_size, n_levels)
    values = cupy.empty((packed.shape[0], n_values), scale.dtype)
    args = (packed, *sizes(values), *parameters(scale, group_size))
    args = (*args, reads_whole(n_values, values), values)
    name = f"unpack_values_{layout}"
    run(cupy, name, values.shape, args, macros=macros_of(scale.dtype))
    return values


@widening(lambda codes, scale, *_: codes.shape[1] * scale.itemsize)
def code_values(cupy, codes, scale, group_size, n_levels):
    """Values of codes, of the dtype of `scale`."""
    return _code_values(cupy, codes, scale, group_size, n_levels)


def _code_values(cupy, codes, scale, group_size, n_levels):
    values = cupy.empty(codes.shape, scale.dtype)
    step = step_of(cupy, scale, n_levels)
    args = (codes, *sizes(codes), *parameters(step, group_size))
    args = (*args, reads_whole(codes.shape[1], values), values)
    run(cupy, "code_values", codes.shape, args, macros=macros_of(scale.dtype))
    return values


@summed
def count_codes(cupy, packed, n_values, layout):
    """How often each code occurs, from the smallest: int64 of shape (n_levels,)."""
    if layout not in LAYOUTS:
        return expressions.count_codes(cupy, packed, n_values, layout)
    counts = cupy.zeros(3, np.int64)
    args = (packed, np.int64(packed.shape[0]), np.int64(n_values), counts)
    shape = (packed.shape[0], n_values)
    run(cupy, f"count_codes_{layout}", shape, args, file="codec")
    return counts


@row_by_row
def code_sums(cupy, packed, n_values, layout, group_size):
    """Sums of magnitudes and of squares of the codes of each group, and the largest."""
    return expressions.code_sums(cupy, packed, n_values, layout, group_size)


def find_invalid(packed, layout, *, device=None):
    """Index of the first byte or unit (flat) that no codes pack to, or -1."""
    unit_bytes = get_layout(layout).unit_bytes
    units = packed.reshape(len(packed), packed.shape[1] // unit_bytes, unit_bytes)
    return _find_invalid(units, layout, device=device)


@first_found
def _find_invalid(cupy, units, layout):
    if layout not in LAYOUTS:
        return expressions.find_invalid(cupy, units, layout)
    return find(cupy, "codec", f"find_invalid_{layout}", units, ())


def find(cupy, file, name, X, macros):
    """What a kernel that looks for the first of something finds, or -1. Waits."""
    if not X.size:
        return -1
    first = cupy.full(1, NOT_FOUND, np.uint64)
    grid = n_blocks(cupy, X.size, 4096)
    launch(cupy, file, name, grid, (X, np.int64(X.size), first), macros=macros)
    found = first.get()[0]
    return -1 if found == NOT_FOUND else int(found)
