"""Scales and thresholds of groups, and statistics of columns."""

import numpy as np

from sklearn_ternary._gpu.kernels import launch, macros_of, n_blocks
from sklearn_ternary._gpu.searches import search
from sklearn_ternary._gpu.transfer import accumulating, row_by_row
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.sums import CHUNK

_ABSMEAN, _TWN_THRESHOLD, _TWN_SCALE, _ABSMAX = map(np.int32, range(4))
# Groups of more chunks are added by a block each, in parallel.
_FEW_CHUNKS = 64
_ROWS_PER_BLOCK = 512


def group_scale(X, group_size, scale, n_levels, *, device=None):
    """Scale and threshold of every group, each of shape (R, G)."""
    found = _searched_scale if scale in ("mse", "norm") else _group_scale
    return found(X, group_size, scale, n_levels, device=device)


@row_by_row
def _group_scale(cupy, X, group_size, scale, n_levels):
    groups = _empty_groups(cupy, X, group_size, n_levels)
    if groups.scales.size:
        groups.find(scale)
    return groups.scales, groups.thresholds


@row_by_row
def _searched_scale(cupy, X, group_size, scale, n_levels):
    groups = _empty_groups(cupy, X, group_size, n_levels)
    if groups.scales.size:
        search(groups, keep_norm=scale == "norm")
    return groups.scales, groups.thresholds


def _empty_groups(cupy, X, group_size, n_levels):
    """`Groups` with new arrays for what is found."""
    n_rows, n_columns = X.shape
    group_size = min(group_size, n_columns or 1)
    shape = (n_rows, n_groups(n_columns, group_size))
    scales, thresholds = cupy.empty(shape, X.dtype), cupy.empty(shape, X.dtype)
    return Groups(cupy, X, group_size, n_levels, scales, thresholds)


class Groups:
    """The groups of X, with memory for the sums and maxima of their chunks.

    Parameters
    ----------
    cupy : module
    X : ndarray of shape (R, K)
    group_size : int
        At most K.
    n_levels : int
    scales, thresholds : ndarray of shape (R, G)
        Where what is found goes.
    """

    def __init__(self, cupy, X, group_size, n_levels, scales, thresholds):
        self.cupy, self.X = cupy, X
        self.macros = macros_of(X.dtype)
        self.n_levels = np.int32(n_levels)
        self.scales, self.thresholds = scales, thresholds
        self.chunks = -(-group_size // CHUNK)
        self.n_items = scales.size * self.chunks
        columns, per_row = X.shape[1], scales.shape[1]
        self.grouping = tuple(map(np.int64, (columns, group_size, per_row)))
        self.sums = cupy.empty(self.n_items, np.float64)
        self.maxima = cupy.empty(self.n_items, X.dtype)
        self.largest = cupy.empty(scales.size, X.dtype)
        self._counts = None

    def find(self, scale):
        """Write "absmean", "absmax" or "twn" scales of what X holds now.

        Only the first call takes memory.
        """
        self._sum("abs_sums", self.sums, self.maxima)
        if scale == "twn":
            self._finish(_TWN_THRESHOLD)
            self._finish(_TWN_SCALE, self._counts_above())
        else:
            self._finish(_ABSMEAN if scale == "absmean" else _ABSMAX)

    def largest_magnitudes(self):
        """Find the largest magnitude of each group."""
        self._sum("abs_sums", self.sums, self.maxima)
        self._finish(_ABSMAX)
        return self.largest

    def sums_above(self, cuts, weight=1):
        """Sums of the chunks over what is above `weight` cuts, and how much that is."""
        cupy = self.cupy
        sums = cupy.empty(self.n_items, np.float64)
        counts = cupy.empty(self.n_items, np.int64)
        self._sum("abs_sums_above", cuts, self.X.dtype.type(weight), sums, counts)
        return sums, counts

    def _sum(self, name, *args, file="scales"):
        grid = n_blocks(self.cupy, self.n_items, 8)
        items = map(np.int64, (self.chunks, self.n_items))
        args = (self.X, *self.grouping, *items, *args)
        launch(self.cupy, file, name, grid, args, macros=self.macros)

    def square_sums(self):
        """Sums of the squares of the chunks."""
        sums = self.cupy.empty(self.n_items, np.float64)
        self._sum("square_sums", sums, file="searches")
        return sums

    def _counts_above(self):
        """Make the sums those above the thresholds, and count their values."""
        if self._counts is None:
            self._counts = self.cupy.empty(self.n_items, np.int64)
        one = self.X.dtype.type(1)
        self._sum("abs_sums_above", self.thresholds, one, self.sums, self._counts)
        return self._counts

    def _finish(self, kind, counts=None):
        """Scales and thresholds from the sums of the chunks."""
        n_all = self.scales.size
        head = (kind, self.n_levels, *self.grouping)
        sizes = (np.int64(self.chunks), np.int64(n_all))
        args = (self.sums, counts, self.maxima, self.largest)
        args = (*args, self.scales, self.thresholds)
        if self.chunks <= _FEW_CHUNKS:
            grid = n_blocks(self.cupy, n_all, 256)
            args = (*head, *sizes, *args)
            launch(self.cupy, "scales", "few_chunks", grid, args, macros=self.macros)
        else:
            # Twice what the errors of both sums can add up to.
            slack = np.float64(self.chunks * 2.0**-51)
            grid = n_blocks(self.cupy, n_all, 1)
            args = (*head, *sizes, slack, *args)
            launch(self.cupy, "scales", "many_chunks", grid, args, macros=self.macros)
        if self.macros and kind != _TWN_THRESHOLD:
            grid = n_blocks(self.cupy, n_all, 4)
            args = (kind, self.n_levels, self.X, *self.grouping, np.int64(n_all))
            args = (*args, self.largest, self.scales, self.thresholds)
            launch(
                self.cupy,
                "scales",
                "extreme_groups",
                grid,
                args,
                block=128,
                macros=self.macros,
            )


@accumulating
def column_abs_sum(cupy, X, total):
    """Add the magnitudes of the rows of X to the float64 `total`, row by row."""
    if not X.size:
        return
    args = (X, *map(np.int64, X.shape), total)
    grid = -(-X.shape[1] // 128)
    macros = macros_of(X.dtype)
    launch(cupy, "scales", "column_abs_sum", grid, args, block=128, macros=macros)


@accumulating
def column_abs_max(cupy, X, largest):
    """Raise `largest`, of shape (K,), to the largest magnitude of each column."""
    if not X.size:
        return
    # At most 65535 blocks along the second axis of a grid.
    rows = max(_ROWS_PER_BLOCK, -(-X.shape[0] // 65535))
    args = (X, *map(np.int64, X.shape), np.int64(rows), largest)
    grid = (-(-X.shape[1] // 128), -(-X.shape[0] // rows))
    macros = macros_of(X.dtype)
    launch(cupy, "scales", "column_abs_max", grid, args, block=128, macros=macros)
