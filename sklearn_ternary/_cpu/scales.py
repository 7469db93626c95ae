"""Scales and thresholds of groups."""

import numpy as np

from sklearn_ternary import _reference
from sklearn_ternary._kernels import _reduce
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary._reference.quantize import TWN_RATIO, threshold_of

# Magnitudes that a thread may copy aside: at most 256 KiB.
ROOM = 32768
_ABS, _ABS_ABOVE, _SQUARE = range(3)


def group_scale(X, group_size, scale, n_levels, *, n_threads, isa):
    """Scale and threshold of every group, each of shape (R, G)."""
    shape = (X.shape[0], n_groups(X.shape[1], group_size))
    group_size = min(group_size, max(X.shape[1], 1))
    groups = _Groups(X, group_size, shape, n_threads, ISA_LEVELS[isa])
    if n_levels != 3 and scale in ("mse", "norm"):
        return _reference.group_scale(X, group_size, scale, n_levels)
    with np.errstate(all="ignore"):
        scales, thresholds = _SCALES[scale](groups, n_levels)
    thresholds[scales == 0] = np.inf
    if X.dtype == np.float64 or not np.isfinite(scales).all():
        _repair(groups, scale, n_levels, scales, thresholds)
    return scales, thresholds


class _Groups:
    """The groups of X, and what is summed over each."""

    def __init__(self, X, size, shape, n_threads, level):
        self.X = X
        self.size = size
        self.shape = shape
        self.n_threads = n_threads
        self.level = level
        counts = np.full(shape[1], size)
        if shape[1]:
            counts[-1] = X.shape[1] - (shape[1] - 1) * size
        self.counts = counts

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
        """Largest magnitudes, (R, G); NaN where there is one."""
        chunks = max(1, -(-self.size // _reduce.SUM_CHUNK))
        partial = np.empty((*self.shape, chunks), dtype=self.X.dtype)
        _reduce.chunk_max(self.X, self.size, partial, self.level, self.n_threads)
        return partial.max(axis=2, initial=0)

    def mean_above(self, thresholds):
        """Means of the magnitudes above, (R, G), and their counts."""
        total, count = self.sums(_ABS_ABOVE, np.ascontiguousarray(thresholds))
        return np.where(count, total / np.maximum(count, 1), 0), count

    def best_thresholds(self):
        """Thresholds of least squared error on three levels, (R, G)."""
        X = self.X
        out = np.empty(self.shape, dtype=X.dtype)
        if self.size <= ROOM:
            scratch = np.empty((self.n_threads, self.size), dtype=X.dtype)
            _reduce.best_thresholds(
                X, self.size, scratch, out, self.level, self.n_threads
            )
            return out
        for r, g in np.ndindex(*self.shape):
            x = X[r, g * self.size : (g + 1) * self.size]
            out[r, g] = _best_threshold(x, self.n_threads, self.level)
        return out


def _best_threshold(x, n_threads, level):
    """Best threshold of one group too large to copy.

    Passes over the data narrow the bracket of all solutions until what lies in
    it can be copied; a sample says where to look first.
    """
    dtype = x.dtype
    sample = np.abs(x[:: x.size // 4096])
    high = _max(x, n_threads, level) / dtype.type(2)
    low = dtype.type(0)
    if not np.isfinite(high):
        return dtype.type(np.nan)
    guess = float(
        _reduce.best_threshold_within(
            sample[sample > 0], low, dtype.type(np.inf), 0.0, 0, level
        )
    )
    fine = True
    while True:
        buffer = np.empty((n_threads, ROOM), dtype=dtype)
        inside = None
        if not fine:
            found = np.empty(n_threads, dtype=np.int64)
            _reduce.gather(x, low, high, buffer, found, level, n_threads)
            if (found < ROOM).all():
                inside = np.concatenate(
                    [part[:n] for part, n in zip(buffer, found, strict=True)]
                )
        if inside is not None:
            break
        thresholds = _ladder(low, high, guess, fine).astype(dtype)
        sums = np.zeros((n_threads, _reduce.N_ABOVE))
        counts = np.zeros((n_threads, _reduce.N_ABOVE), dtype=np.int64)
        _reduce.sums_above(x, thresholds, sums, counts, level, n_threads)
        low, high, narrower = _reduce.narrow(
            thresholds, sums.sum(axis=0), counts.sum(axis=0), low, high
        )
        low, high = dtype.type(low), dtype.type(high)
        if not fine and not narrower:
            inside = np.sort(np.abs(x[(np.abs(x) > low) & (np.abs(x) <= high)]))
            break
        fine = False
    groups = _Groups(x[None], x.size, (1, 1), n_threads, level)
    total, count = groups.sums(_ABS_ABOVE, np.array([[high]], dtype=dtype))
    return _reduce.best_threshold_within(
        inside, low, high, total[0, 0], count[0, 0], level
    )


def _ladder(low, high, guess, first):
    """Ascending thresholds from low to high; at first, dense around the guess."""
    if first and low < guess < high:
        factors = np.array([0.75, 0.92, 0.97, 1.03, 1.09, 1.35])
        middle = np.clip(guess * factors, low, high)
        return np.concatenate(([low], middle, [high]))
    return np.linspace(float(low), float(high), _reduce.N_ABOVE)


def _max(x, n_threads, level):
    return _Groups(x[None], x.size, (1, 1), n_threads, level).largest()[0, 0]


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


def _repair(groups, scale, n_levels, scales, thresholds):
    """Take groups with extreme or non-finite values from the definition.

    The definition rescales float64 groups whose sums and squares could leave
    the range, and these loops do not.
    """
    largest = groups.largest()
    unusual = ~np.isfinite(largest)
    if groups.X.dtype == np.float64:
        unusual |= (largest >= 1e140) | ((largest <= 1e-140) & (largest > 0))
    for r, g in zip(*np.nonzero(unusual), strict=True):
        x = groups.X[r : r + 1, g * groups.size : (g + 1) * groups.size]
        found = _reference.group_scale(x, x.shape[1], scale, n_levels)
        scales[r, g], thresholds[r, g] = found[0][0, 0], found[1][0, 0]
