"""Scales of groups so large that threads share one, or that are not copied."""

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

    def mean_above(self, thresholds):
        """Means of the magnitudes above, (R, G), and their counts."""
        total, count = self.sums(_ABS_ABOVE, np.ascontiguousarray(thresholds))
        return np.where(count, total / np.maximum(count, 1), 0), count

    def best_thresholds(self):
        """Thresholds of least squared error on three levels, (R, G)."""
        out = np.empty(self.shape, dtype=self.X.dtype)
        for (r, g), most in np.ndenumerate(self.largest()):
            x = self.X[r, g * self.size : (g + 1) * self.size]
            out[r, g] = _best_threshold(x, most, self.level, self.n_threads)
        return out


def _best_threshold(x, most, level, n_threads):
    """Best threshold of one group, whose largest magnitude is `most`.

    Passes over the data narrow the bracket (low, high] of the threshold until
    what lies in it can be copied; a sample says where to look first.
    """
    dtype = x.dtype.type
    if not np.isfinite(most):
        return dtype(np.nan)
    if x.size <= COPIED:
        return _reduce.group_threshold(x, np.empty_like(x), level)
    low, high = dtype(0), most / dtype(2)
    sample = np.ascontiguousarray(x[:: x.size // _SAMPLE])
    thresholds = _chain(sample, low, high)
    room = max(2 * COPIED, x.size // _COPIED_PART)
    while True:
        sums, counts = _sums_above(x, thresholds, level, n_threads)
        low, high, narrower = _reduce.narrow(
            thresholds, sums, counts.sum(axis=0), low, high
        )
        low, high = dtype(low), dtype(high)
        above_low = counts[:, np.flatnonzero(thresholds <= low)[-1]]
        above_high = counts[:, np.flatnonzero(thresholds >= high)[0]]
        most_inside = above_low - above_high
        if most_inside.sum() <= room or not narrower:
            break
        thresholds = np.linspace(low, high, _reduce.N_ABOVE, dtype=dtype)
    inside = np.empty((n_threads, most_inside.max()), dtype=dtype)
    found = np.empty(n_threads, dtype=np.int64)
    _reduce.gather(x, low, high, inside, found, level, n_threads)
    inside = np.concatenate([part[:n] for part, n in zip(inside, found, strict=True)])
    groups = _Groups(x[None], x.size, (1, 1), level, n_threads)
    total, count = groups.sums(_ABS_ABOVE, np.array([[high]], dtype=dtype))
    return _reduce.best_threshold_within(
        inside, low, high, total[0, 0], count[0, 0], level
    )


def _chain(sample, low, high):
    """Ascending thresholds from low to high, for the first pass.

    With m(t) the mean above t, iterating m(t) / 2 from below and from above leads
    to the solutions. The iterates of the sample, a little outside, are where the
    sums of all values narrow the bracket as far.
    """
    ascending = np.sort(np.abs(sample))
    above = np.append(np.cumsum(ascending[::-1], dtype=np.float64)[::-1], 0)
    means = above / np.maximum(np.arange(len(ascending), -1, -1), 1)
    ladder = np.empty(_reduce.N_ABOVE, dtype=type(low))
    half = _reduce.N_ABOVE // 2
    ladder[0], ladder[-1] = low, high
    for k in range(1, half):
        for here, before, outside in (
            (k, k - 1, 1 - _OUTSIDE),
            (-1 - k, -k, 1 + _OUTSIDE),
        ):
            mean = means[np.searchsorted(ascending, ladder[before], side="right")]
            ladder[here] = mean / 2 * outside if mean else ladder[before]
    return np.sort(np.clip(ladder, low, high))


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
    means_above, _ = groups.mean_above(thresholds)
    return means_above.astype(groups.X.dtype), thresholds


def _mse(groups, n_levels):
    means, _ = groups.mean_above(groups.best_thresholds())
    scales = means.astype(groups.X.dtype)
    return scales, threshold_of(scales, n_levels)


def _norm(groups, n_levels):
    _, thresholds = _mse(groups, n_levels)
    _, count = groups.mean_above(thresholds)
    squares = groups.sums(_SQUARE)
    scales = np.where(count, np.sqrt(squares / np.maximum(count, 1)), 0)
    return scales.astype(groups.X.dtype), thresholds


_SCALES = {
    "absmean": _absmean,
    "twn": _twn,
    "mse": _mse,
    "absmax": _absmax,
    "norm": _norm,
}
