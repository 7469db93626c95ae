"""The step of least squared error between clipping and rounding.

Values x become ``step * clip(rint(x / step), -negative, positive)``. A small
step rounds finely and clips the large values; a large one clips nothing and
rounds coarsely. The search is over all steps up to the one that clips nothing.

Below, values are magnitudes x with a `limit` each, the largest code on their
side of zero. For codes c, with D = sum(c x) and S = sum(c^2), the error of a
step s is ``sum(x^2) - 2 s D + s^2 S``, and a code c - 1 becomes c where the step
falls to x / (c - 1/2). Between two such *events* the codes are constant and the
best step is D / S, so visiting the events in order finds the optimum, exactly.
Two facts bound the work:

- a step cannot be best if its clipping alone, which only grows as the step
  falls, costs more than the best error known;
- where a group has too many events to sort, D and S are counted at the edges of
  bins. D and S grow as the step falls, so between edges a > b the slope
  ``2 (s S(s) - D(s))`` of the error is at most ``2 (a S(b) - D(a))``, which
  bounds the error in the bin from below. Bins are refined until the best edge is
  within `TOLERANCE` of the bound.
"""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import to_host
from sklearn_ternary._reference.groups import batches_of

MAX_EVENTS = 2**20  # Sorted at once, about 100 bytes each.
BATCH_VALUES = 2**12  # Of small groups searched together: MAX_EVENTS at 255 levels.
CHUNK_VALUES = 2**15  # Of a large group looked at together.
FIRST_BINS, LAST_BINS = 2**16, 2**22
TOLERANCE = 1e-4  # Of the squared error of groups with more than MAX_EVENTS.
SHRINK = 0.8  # Ratio of successive steps tried while bracketing.
SMALLEST = 2.0**-500  # Of a step, where the largest magnitude is about 1.


def best_step(values, starts, negative, positive):
    """Find the steps of least squared error.

    Parameters
    ----------
    values : ndarray of shape (n_values,), float32 or float64, finite
        The groups, one after another; a CuPy array is searched on its device.
    starts : ndarray of shape (n_groups,), int
        Where each group starts; none is empty.
    negative, positive : int or ndarray of shape (n_groups,)
        Number of steps below and above zero that have codes.

    Returns
    -------
    step : ndarray of shape (n_groups,), of the dtype of `values`
        0 where no value can have another code than 0. So small that all levels
        are finite.
    """
    step, exponent = _in_batches(values, starts, _step, negative, positive)
    step = round_step(step, exponent, values.dtype)
    finite = np.finfo(values.dtype)
    most = np.maximum(np.maximum(negative, positive), 1).astype(values.dtype)
    return np.minimum(step, finite.max / most * (1 - 4 * finite.eps))


def best_zero_point(values, starts, lowest, highest, first_guess):
    """Find steps and zero points of least squared error.

    For each zero point the step is the best there is. Zero points are tried 16
    apart, then 8, 4, 2 and 1 around the best so far: all of them with 16 codes;
    with 256 codes the one returned is at least as good as `first_guess` and as
    its neighbours.

    Parameters
    ----------
    values, starts
        As for :func:`best_step`.
    lowest, highest : int
        Codes run from `lowest` to `highest`.
    first_guess : ndarray of shape (n_groups,), int
        Zero points tried first.

    Returns
    -------
    step : ndarray of shape (n_groups,), of the dtype of `values`
    zero_point : ndarray of shape (n_groups,), int64
    """

    def search(groups, best):
        best = best.copy()
        step, error = _search(groups, best - lowest, highest - best)

        def attempt(zero_point):
            zero_point = np.clip(zero_point, lowest, highest)
            limits = zero_point - lowest, highest - zero_point
            other, its_error = _search(groups, *limits, error)
            better = its_error < error
            best[better] = zero_point[better]
            step[better] = other[better]
            error[better] = its_error[better]

        stride = max(1, (highest + 1 - lowest) // 16)
        for zero_point in range(lowest, highest + 1, stride):
            attempt(np.full(best.shape, zero_point))
        while stride > 1:
            stride //= 2
            center = best.copy()
            attempt(center - stride)
            attempt(center + stride)
        return step, best, groups.exponent

    first_guess = np.asarray(first_guess, dtype=np.int64)
    step, best, exponent = _in_batches(values, starts, search, first_guess)
    return round_step(step, exponent, values.dtype), best


def round_step(step, exponent, dtype):
    """Round ``step * 2**exponent`` to `dtype`, and up where it is subnormal.

    A subnormal step has few digits; rounded down it would clip much.

    Parameters
    ----------
    step : ndarray of float64
    exponent : ndarray of int
    dtype : float32 or float64

    Returns
    -------
    step : ndarray of `dtype`
    """
    with np.errstate(under="ignore", over="ignore"):
        rounded = np.ldexp(step, exponent).astype(dtype)
        shortened = np.ldexp(rounded.astype(np.float64), -exponent) < step
        subnormal = rounded < np.finfo(dtype).tiny
        up = np.nextafter(rounded, np.inf, dtype=dtype)
        return np.where(subnormal & shortened, up, rounded)


def _step(groups, negative, positive):
    step, _ = _search(groups, negative, positive)
    return step, groups.exponent


def _in_batches(values, starts, search, *parameters):
    """What ``search(groups, *parameters)`` finds for each group, as arrays.

    Values are taken to a device if one is asked for.
    """
    bounds = np.append(starts, len(values))
    n_groups = len(starts)
    parameters = [np.broadcast_to(p, n_groups) for p in parameters]
    found = _dispatch.search_groups(values, bounds, search, parameters)
    if found is None:
        values = to_host(values)
        found = []
        for first, last in batches_of(bounds, BATCH_VALUES):
            part = values[bounds[first] : bounds[last]]
            groups = _Groups(part, np.diff(bounds[first : last + 1]))
            found.append(search(groups, *(p[first:last] for p in parameters)))
    return tuple(map(np.concatenate, zip(*found, strict=True)))


class _Groups:
    """Groups of values, as magnitudes, limits and group numbers, piece by piece.

    Several groups are one piece, as they are small. `SortedGroups` finds the same
    sums on a device.

    Parameters
    ----------
    values : ndarray
        The groups, one after another.
    sizes : ndarray of shape (n_groups,)
    """

    def __init__(self, values, sizes):
        self.values = values
        self.sizes = sizes
        self.n_groups = len(sizes)
        self.may_be_large = len(sizes) == 1
        starts = np.cumsum(sizes) - sizes
        largest = np.maximum(
            np.maximum.reduceat(values, starts), -np.minimum.reduceat(values, starts)
        )
        self.exponent = np.frexp(largest.astype(np.float64))[1]

    def set_limits(self, negative, positive):
        """The largest codes below and above zero, each of shape (n_groups,)."""
        self.negative = np.asarray(negative, dtype=np.float64)
        self.positive = np.asarray(positive, dtype=np.float64)
        (self.squares,) = self._total(lambda x, limit, group: (x * x,))

    def __iter__(self):
        if self.n_groups > 1:
            yield self._piece(
                self.values, np.repeat(np.arange(self.n_groups), self.sizes)
            )
            return
        for start in range(0, len(self.values), CHUNK_VALUES):
            part = self.values[start : start + CHUNK_VALUES]
            yield self._piece(part, np.zeros(len(part), dtype=np.intp))

    def _piece(self, values, group):
        x = np.abs(np.ldexp(values.astype(np.float64), -self.exponent[group]))
        limit = np.where(values < 0, self.negative[group], self.positive[group])
        return x, limit, group

    def _total(self, function):
        """Sums over each group of what `function` returns per value."""
        sums = 0.0
        for x, limit, group in self:
            parts = function(x, limit, group)
            sums = sums + np.array(
                [np.bincount(group, part, self.n_groups) for part in parts]
            )
        return sums

    def largest_step(self):
        """The smallest step of each group that clips no value that has codes."""
        steps = np.zeros(self.n_groups)
        for x, limit, group in self:
            some = limit > 0
            np.maximum.at(steps, group[some], x[some] / limit[some])
        return steps

    def tried(self, step):
        """Squared error of each group, and that of what is clipped."""

        def errors(x, limit, group):
            clipped = np.maximum(x - limit * step[group], 0)
            return _residual(x, limit, group, step) ** 2, clipped**2

        return self._total(errors)

    def error(self, step):
        """Squared error of each group."""
        return self._total(lambda *piece: (_residual(*piece, step) ** 2,))[0]

    def dots(self, step):
        """D and S of each group."""

        def dots(x, limit, group):
            codes = _codes(x, limit, step[group])
            return codes * x, codes * codes

        return self._total(dots)

    def n_events(self, top, lowest):
        """How often codes rise as the step falls."""

        def rises(x, limit, group):
            return (_codes(x, limit, lowest[group]) - _codes(x, limit, top[group]),)

        return self._total(rises)[0]

    def edge_sums(self, group, edges):
        """D and S of the only group at falling steps, evenly apart in 1 / step."""
        n_bins, top, lowest = len(edges) - 1, edges[:1], edges[-1:]
        D, S = np.zeros(n_bins + 1), np.zeros(n_bins + 1)
        D[0], S[0] = self.dots(top)[:, 0]
        for piece in self:
            step, dot, square, _ = _events(*piece, top, lowest)
            place = (1 / step - 1 / top) * (n_bins / (1 / lowest - 1 / top))
            place = np.clip(place, 0, n_bins - 1).astype(np.intp)
            D[1:] += np.bincount(place, dot, n_bins)
            S[1:] += np.bincount(place, square, n_bins)
        return np.cumsum(D), np.cumsum(S)

    def sweep(self, top, lowest):
        """Best step of each group, from all events in order."""
        n_groups = self.n_groups
        parts = [_events(*piece, top, lowest) for piece in self]
        step, dot, square, group = (np.concatenate(p) for p in zip(*parts, strict=True))
        order = np.argsort(-step)
        if n_groups > 1:
            order = order[np.argsort(group[order], kind="stable")]
        dots, dot_squares = self.dots(top)

        # Each group is its state at `top` and then its events.
        sizes = 1 + np.bincount(group, minlength=n_groups)
        heads = np.cumsum(sizes) - sizes
        member = np.repeat(np.arange(n_groups), sizes)
        is_event = np.ones(len(member), dtype=bool)
        is_event[heads] = False

        def running(first, rises):
            out = np.empty(len(member))
            out[is_event] = rises[order]
            out[heads] = first
            totals = np.add.reduceat(out, heads)
            out[heads[1:]] -= totals[:-1]
            return np.cumsum(out)

        D, S = running(dots, dot), running(dot_squares, square)
        upper = np.empty(len(member))
        upper[is_event], upper[heads] = step[order], top
        lower = np.empty(len(member))
        lower[:-1] = upper[1:]
        lower[heads + sizes - 1] = lowest
        best = np.clip(D / np.maximum(S, 1), lower, upper)  # S = 0 if idle.
        error = best * (best * S - 2 * D)
        is_least = error == np.minimum.reduceat(error, heads)[member]
        _, where = np.unique(member[is_least], return_index=True)
        where = np.flatnonzero(is_least)[where]
        return best[where]


def _codes(x, limit, step):
    return np.minimum(np.floor(x / step + 0.5), limit)


def _residual(x, limit, group, step):
    return x - step[group] * _codes(x, limit, step[group])


def _events(x, limit, group, top, lowest):
    """Where codes rise as the step falls from `top` to `lowest`.

    Returns
    -------
    step, dot, square, group : ndarray of shape (n_events,)
        The steps, and by how much D and S rise there.
    """
    first = _codes(x, limit, top[group])
    count = (_codes(x, limit, lowest[group]) - first).astype(np.intp)
    owner = np.repeat(np.arange(len(x)), count)
    ends = np.cumsum(count)
    nth = np.arange(len(owner)) - np.repeat(ends - count, count)
    code = first[owner] + 1 + nth
    dot = x[owner]
    return dot / (code - 0.5), dot, 2 * code - 1, group[owner]


@np.errstate(all="ignore")  # Underflow, and 0 / 0 of idle groups.
def _search(groups, negative, positive, known=np.inf):
    """Step and error of each group divided by ``2**exponent``.

    The error may not be the least where it is not below `known`.
    """
    groups.set_limits(negative, positive)
    top = groups.largest_step()
    idle = top < SMALLEST
    top = np.where(idle, 1.0, top)
    lowest, step, error = _bracket(groups, top, idle, known)
    large = np.zeros(top.shape, dtype=bool)
    if groups.may_be_large:
        large = groups.n_events(top, lowest) > MAX_EVENTS
    found = top.copy()
    if not large.all():
        found = groups.sweep(top, np.where(large, top, lowest))
    for group in np.flatnonzero(large):
        found[group] = _count(groups, group, top[group], lowest[group])
    # The best step of the codes found, from sums that depend on the group alone.
    D, S = groups.dots(found)
    found = np.minimum(D / np.maximum(S, 1), top)
    its_error = groups.error(found)
    better = its_error < error
    step, error = np.where(better, found, step), np.where(better, its_error, error)
    return np.where(idle, 0.0, step), np.where(idle, groups.squares, error)


def _bracket(groups, top, idle, known):
    """Lower end of the steps to search, and the best of the steps tried."""
    step, lowest = top.copy(), top.copy()
    error = np.full(top.shape, np.inf)
    active = ~idle
    while active.any():
        its_error, clipping = groups.tried(lowest)
        better = active & (its_error < error)
        step[better], error[better] = lowest[better], its_error[better]
        active &= clipping < np.minimum(error, known)
        lowest[active] *= SHRINK
    return lowest, step, error


def _count(groups, group, top, lowest):
    """Best step of one group, from D and S at the edges of bins."""
    squares = groups.squares[group]
    n_bins = FIRST_BINS
    while True:
        edges = 1 / np.linspace(1 / top, 1 / lowest, n_bins + 1)
        edges[0], edges[-1] = top, lowest
        D, S = groups.edge_sums(group, edges)
        error = squares + edges * (edges * S - 2 * D)
        width = edges[:-1] - edges[1:]
        falling = 2 * np.maximum(edges[:-1] * S[1:] - D[:-1], 0)
        rising = 2 * np.maximum(D[1:] - edges[1:] * S[:-1], 0)
        bound = np.maximum(error[:-1] - falling * width, error[1:] - rising * width)
        best = np.argmin(error)
        if error[best] - bound.min() <= TOLERANCE * error[best] or n_bins >= LAST_BINS:
            return edges[best]
        n_bins *= 8
