"""Scales of least squared error, and those that keep the norm, of sorted groups."""

import numpy as np

from sklearn_ternary._gpu.kernels import launch, n_blocks
from sklearn_ternary._gpu.memory import free_bytes

_EVENTS = 4096
# Values that are sorted at a time, and numbers of 64 bits that each of them takes.
_SORTED_VALUES = 2**25
_NUMBERS = 5


def search(groups, *, keep_norm):
    """Write the scales and thresholds of `Groups`, as "mse" or "norm" has them."""
    cupy, n_all = groups.cupy, groups.scales.size
    n_levels, five_levels = groups.n_levels, groups.n_levels == 5
    largest = groups.largest_magnitudes()
    cuts = [cupy.empty(n_all, groups.X.dtype) for _ in range(2)]
    size = int(groups.grouping[1])
    step = max(1, _SORTED_VALUES // size)
    for first in range(0, n_all, step):
        _find_cuts(groups, first, min(step, n_all - first), cuts)
    found = groups.sums_above(cuts[0])
    more = groups.sums_above(cuts[1]) if five_levels else (None, None)
    sizes = n_levels, np.int64(groups.chunks), np.int64(n_all)
    out = largest, groups.scales, groups.thresholds
    grid = n_blocks(cupy, n_all, 256)
    args = *sizes, *found, *more, *out
    _launch(groups, "least_squares", grid, args)
    if keep_norm:
        _, ones = groups.sums_above(groups.thresholds)
        twos = groups.sums_above(groups.thresholds, 3)[1] if five_levels else None
        args = *sizes, groups.square_sums(), ones, twos, *out
        _launch(groups, "kept_norms", grid, args)
    if groups.macros:
        head = np.int32(keep_norm), n_levels, groups.X, *groups.grouping
        args = *head, np.int64(n_all), largest, *cuts, *out[1:]
        grid = n_blocks(cupy, n_all, 4)
        _launch(groups, "extreme_searches", grid, args, block=128)


def _find_cuts(groups, first, n, cuts):
    """The largest magnitudes of code 0, and of codes up to 1, of some groups."""
    cupy, size = groups.cupy, int(groups.grouping[1])
    n_bytes = 8 * _NUMBERS * n * size
    if n_bytes > free_bytes(cupy):
        raise RuntimeError(f"no memory to sort magnitudes: {n_bytes} bytes")
    some, largest = slice(first, first + n), groups.largest[first : first + n]
    rows, turned = (cupy.empty((n, size), t) for t in (groups.X.dtype, np.float64))
    grid = n_blocks(cupy, n * size, 1024)
    args = groups.X, *groups.grouping, np.int64(first), np.int64(n), rows
    _launch(groups, "group_magnitudes", grid, args)
    # CuPy takes more memory to sort in two dimensions.
    (rows.ravel() if n == 1 else rows).sort()
    args = rows, largest, np.int64(size), np.int64(n), turned
    _launch(groups, "descending", grid, args)
    sums = cupy.cumsum(turned, axis=1)
    five_levels = int(groups.n_levels == 5)
    chunks = -(-(size << five_levels) // _EVENTS)
    scores = cupy.empty(n * chunks, np.float64)
    places = cupy.empty((n * chunks, 2), np.int64)
    args = rows, sums, largest, np.int64(size), np.int32(five_levels)
    args = *args, np.int64(chunks), np.int64(n * chunks), scores, places
    _launch(groups, "summits", n_blocks(cupy, n * chunks, 8), args)
    args = rows, np.int64(size), np.int64(chunks), np.int64(n), scores, places
    args = *args, *(cut[some] for cut in cuts)
    _launch(groups, "cuts", n_blocks(cupy, n, 8), args)


def _launch(groups, name, grid, args, block=256):
    launch(groups.cupy, "searches", name, grid, args, block=block, macros=groups.macros)
