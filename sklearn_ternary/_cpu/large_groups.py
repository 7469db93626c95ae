"""Scales of groups so large that threads share one, or that are not copied."""

from bisect import bisect_right

import numpy as np

from sklearn_ternary._kernels import _reduce
from sklearn_ternary._reference.quantize import TWN_RATIO, threshold_of

# The largest group that a thread copies aside, in values.
COPIED = 32768
# The part of a larger group that may be copied: one value in COPIED_PART.
_COPIED_PART = 32
_SAMPLE = 8192
# By how much thresholds of the first pass are outside those of the sample.
_OUTSIDE = 0.02
_ABS, _ABS_ABOVE, _SQUARE = range(3)


def group_scale(X, group_size, scale, n_levels, shape, level, n_threads):
    """Scales and thresholds, each of shape (R, G), right if nothing is extreme."""
    groups = _Groups(X, group_size, shape, level, n_threads)
    with np.errstate(all="ignore"):
        scales, thresholds = _SCALES[scale](groups, n_levels)
    thresholds[scales == 0] = np.inf
    return scales, thresholds


def largest(X, group_size, shape, level, n_threads):
    """Largest magnitude of each group, (R, G); NaN where there is one."""
    chunks = max(1, -(-group_size // _reduce.SUM_CHUNK))
    partial = np.empty((*shape, chunks), dtype=X.dtype)
    _reduce.chunk_max(X, group_size, partial, level, n_threads)
    return partial.max(axis=2, initial=0)


class _Groups:
    """The groups of X, and what is summed over each."""

    def __init__(self, X, size, shape, level, n_threads):
        self.X = X
        self.size = size
        self.shape = shape
        self.level = level
        self.n_threads = n_threads
        self.counts = np.full(shape[1], size)
        if shape[1]:
            self.counts[-1] = X.shape[1] - (shape[1] - 1) * size

    def sums(self, kind, thresholds=None):
        """Ordered sums of float64, (R, G); for _ABS_ABOVE the counts as well."""
        chunks = max(1, -(-self.size // _reduce.SUM_CHUNK))
        partial = np.empty((*self.shape, chunks))
        found = np.empty(partial.shape if thresholds is not None else (0, 0, 0), int)
        if thresholds is None:
            thresholds = np.empty((0, 0), dtype=self.X.dtype)
        _reduce.chunk_sums(
            self.X,
            self.size,
            kind,
            thresholds,
            partial,
            found,
            self.level,
            self.n_threads,
        )
        total, count = np.empty(self.shape), np.empty(self.shape, dtype=int)
        _reduce.add_chunks(partial, found, total, count)
        return (total, count) if kind == _ABS_ABOVE else total

    def largest(self):
        return largest(self.X, self.size, self.shape, self.level, self.n_threads)

    def above(self, thresholds):
        """What is above the thresholds of codes 1, 2, ..., each (R, G).

        Returns
        -------
        total, squares : ndarray of shape (R, G)
            Sums of codes times magnitudes, and of squared codes.
        largest_code : ndarray of shape (R, G)
        """
        total, squares, largest_code = 0.0, 0, 0
        for code, threshold in enumerate(thresholds, 1):
            sums, count = self.sums(_ABS_ABOVE, np.ascontiguousarray(threshold))
            total, squares = total + sums, squares + (2 * code - 1) * count
            largest_code = np.where(count, code, largest_code)
        return total, squares, largest_code

    def scale_above(self, thresholds):
        """Best scales for the codes of these thresholds, (R, G)."""
        total, squares, largest_code = self.above(thresholds)
        scales = total / np.maximum(squares, 1) * largest_code
        return np.where(squares, scales, 0).astype(self.X.dtype)

    def best_thresholds(self, n_levels):
        """Thresholds of least squared error of codes 1, 2, ..., each (R, G)."""
        out = np.empty((n_levels // 2, *self.shape), dtype=self.X.dtype)
        for (r, g), most in np.ndenumerate(self.largest()):
            x = self.X[r, g * self.size : (g + 1) * self.size]
            _find_thresholds(x, most, out[:, r, g], self.level, self.n_threads)
        return out


def _find_thresholds(x, most, out, level, n_threads):
    """Best thresholds of one group, whose largest magnitude is `most`.

    Passes over the data narrow the bracket (low, high] of the first threshold until
    what lies in it can be copied; a sample says where to look first. Code c is
    reached at 2c - 1 times the first threshold, its `weight`.
    """
    dtype = x.dtype.type
    found = np.full(len(out), np.nan, dtype=dtype)
    weights = dtype([1, 3])[: len(out)]
    if x.size <= COPIED and np.isfinite(most):
        scratch = np.empty(len(out) * x.size, dtype=dtype)
        _reduce.group_thresholds(x, scratch, found, level)
    elif np.isfinite(most):
        low, high = dtype(0), most / dtype(2)
        sample = np.ascontiguousarray(x[:: x.size // _SAMPLE])
        thresholds = _chain(sample, weights, low, high)
        room = max(2 * COPIED, x.size // _COPIED_PART)
        while True:
            above = [_sums_above(x, w * thresholds, level, n_threads) for w in weights]
            sums = sum(found_sums for found_sums, _ in above)
            counts = [n for _, n in above]
            squares = sum((2 * c + 1) * n.sum(axis=0) for c, n in enumerate(counts))
            low, high, narrower = _reduce.narrow(thresholds, sums, squares, low, high)
            low, high = dtype(low), dtype(high)
            first = thresholds.searchsorted(low, side="right") - 1
            last = thresholds.searchsorted(high)
            most_inside = [n[:, first] - n[:, last] for n in counts]
            if sum(n.sum() for n in most_inside) <= room or not narrower:
                break
            thresholds = np.linspace(low, high, _reduce.N_ABOVE, dtype=dtype)
        inside = [
            _gather(x, w * low, w * high, n, level)
            for w, n in zip(weights, most_inside, strict=True)
        ]
        inside.append(np.empty(0, dtype=dtype))
        groups = _Groups(x[None], x.size, (1, 1), level, n_threads)
        total, squares, _ = groups.above(weights[:, None, None] * high)
        _reduce.best_thresholds_within(
            inside[0], inside[1], low, high, total[0, 0], squares[0, 0], found, level
        )
    out[:] = found


def _gather(x, low, high, most, level):
    """Magnitudes in (low, high], of which each thread finds at most so many."""
    inside = np.empty((len(most), most.max()), dtype=x.dtype)
    found = np.empty(len(most), dtype=np.int64)
    _reduce.gather(x, low, high, inside, found, level, len(most))
    return np.concatenate([part[:n] for part, n in zip(inside, found, strict=True)])


def _chain(sample, weights, low, high):
    """Ascending thresholds from low to high, for the first pass.

    With m(t) the weighted mean above t, iterating m(t) / 2 from below and from above
    leads to the solutions. The iterates of the sample, a little outside, are where
    the sums of all values narrow the bracket as far.
    """
    magnitudes = np.sort(np.abs(sample))
    # Items of memoryviews are Python's numbers, which are faster one by one. They
    # know no dtypes that name the order of bytes, as those of files do.
    ascending = memoryview(magnitudes.view(type(low)))
    sums = memoryview(np.cumsum(magnitudes, dtype=np.float64))

    def mean_above(threshold):
        total = count = 0.0
        for weight in weights.tolist():
            rank = bisect_right(ascending, weight * threshold)
            total += sums[-1] - (sums[rank - 1] if rank else 0.0)
            count += weight * (len(sums) - rank)
        return total / max(count, 1.0)

    from_below, from_above = [float(low)], [float(high)]
    for _ in range(_reduce.N_ABOVE // 2 - 1):
        for ladder, outside in (
            (from_below, 1 - _OUTSIDE),
            (from_above, 1 + _OUTSIDE),
        ):
            mean = mean_above(ladder[-1])
            ladder.append(mean / 2 * outside if mean else ladder[-1])
    thresholds = np.array(from_below + from_above, dtype=type(low))
    return np.sort(np.clip(thresholds, low, high))


def _sums_above(x, thresholds, level, n_threads):
    """Sums above each threshold, and the counts of each thread's part of x."""
    sums = np.zeros((n_threads, _reduce.N_ABOVE))
    counts = np.zeros((n_threads, _reduce.N_ABOVE), dtype=np.int64)
    _reduce.sums_above(x, thresholds, sums, counts, level, n_threads)
    return sums.sum(axis=0), counts


def _absmean(groups, n_levels):
    scales = (groups.sums(_ABS) / groups.counts).astype(groups.X.dtype)
    return scales, threshold_of(scales, n_levels)


def _absmax(groups, n_levels):
    scales = groups.largest()
    return scales, threshold_of(scales, n_levels)


def _twn(groups, n_levels):
    means = groups.sums(_ABS) / groups.counts
    thresholds = (TWN_RATIO * means).astype(groups.X.dtype)
    return groups.scale_above([thresholds]), thresholds


def _mse(groups, n_levels):
    scales = groups.scale_above(groups.best_thresholds(n_levels))
    return scales, threshold_of(scales, n_levels)


def _norm(groups, n_levels):
    _, thresholds = _mse(groups, n_levels)
    weights = groups.X.dtype.type([1, 3])[: n_levels // 2]
    _, squares, _ = groups.above([w * thresholds for w in weights])
    norms = np.sqrt(groups.sums(_SQUARE) / np.maximum(squares, 1))
    scales = np.where(squares, norms * (n_levels // 2), 0)
    return scales.astype(groups.X.dtype), thresholds


_SCALES = {
    "absmean": _absmean,
    "twn": _twn,
    "mse": _mse,
    "absmax": _absmax,
    "norm": _norm,
}
