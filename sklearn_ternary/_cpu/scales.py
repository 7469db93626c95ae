"""Scales and thresholds of groups."""

import numpy as np

from sklearn_ternary import _reference
from sklearn_ternary._cpu import large_groups
from sklearn_ternary._cpu.by_dtype import by_dtype
from sklearn_ternary._kernels import _reduce
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._reference.groups import n_groups

# In the order of `enum stern_scale`.
SCALE_IDS = {
    name: i for i, name in enumerate(("absmean", "twn", "mse", "absmax", "norm"))
}
_SEARCHED = ("mse", "norm")
# Scales for which nothing on the way can have left the range; as in scales.c.
_SAFE = {np.dtype(np.float32): (1e-30, 1e25), np.dtype(np.float64): (1e-130, 1e130)}
_GROUP_SCALE = by_dtype(_reduce.group_scale)


def group_scale(X, group_size, scale, n_levels, *, n_threads, isa):
    """Scale and threshold of every group, each of shape (R, G)."""
    n_rows, n_columns = X.shape
    group_size = min(group_size, n_columns or 1)
    shape = (n_rows, n_groups(n_columns, group_size))
    level = ISA_LEVELS[isa]
    if _is_shared(shape[0] * shape[1], group_size, scale, n_threads):
        scales, thresholds = large_groups.group_scale(
            X, group_size, scale, n_levels, shape, level, n_threads
        )
        low, high = _SAFE[X.dtype]
        doubtful = not ((scales >= low) & (scales <= high)).all()
    else:
        scales = np.empty(shape, dtype=X.dtype)
        thresholds = np.empty(shape, dtype=X.dtype)
        room = group_size * (n_levels // 2) if scale in _SEARCHED else 0
        scratch = np.empty((n_threads, room), dtype=X.dtype)
        doubtful = _GROUP_SCALE[X.dtype.char](
            X,
            group_size,
            SCALE_IDS[scale],
            n_levels,
            scratch,
            scales,
            thresholds,
            level,
            n_threads,
        )
    if doubtful:
        _repair(X, group_size, scale, n_levels, scales, thresholds, level, n_threads)
    return scales, thresholds


def _is_shared(n_all_groups, group_size, scale, n_threads):
    """Whether the threads work on the same group, not each on its own."""
    if scale in _SEARCHED and group_size > large_groups.COPIED:
        return True
    return (
        n_threads > 1
        and group_size > _reduce.SUM_CHUNK
        and n_all_groups < 4 * n_threads
    )


def _repair(X, group_size, scale, n_levels, scales, thresholds, level, n_threads):
    """Take groups with extreme or non-finite values from the definition.

    The definition rescales groups whose sums and squares could leave the range
    of float64, and the search for the least squared error sums in the dtype of X.
    """
    largest = large_groups.largest(X, group_size, scales.shape, level, n_threads)
    nonfinite = ~np.isfinite(largest)
    scales[nonfinite] = thresholds[nonfinite] = np.nan
    low, high = (1e-140, 1e140) if X.dtype == np.float64 else (1e-30, 1e30)
    if X.dtype == np.float32 and scale not in _SEARCHED:
        return
    extreme = ~nonfinite & (largest > 0) & ((largest <= low) | (largest >= high))
    for r, g in zip(*np.nonzero(extreme), strict=True):
        x = X[r : r + 1, g * group_size : (g + 1) * group_size]
        found = _reference.group_scale(x, x.shape[1], scale, n_levels)
        scales[r, g], thresholds[r, g] = found[0][0, 0], found[1][0, 0]
