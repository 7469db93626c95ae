"""Greedy k-means++."""

import numpy as np

from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS
from sklearn_ternary.cluster._distances import row_parts
from sklearn_ternary.cluster._magnitude import exponent_for, largest_of, times_power

# Squared distances to all candidates are kept up to this size; beyond, those to the
# one that becomes a centre are found again.
MINIMA_BYTES = 8 * 2**20
_NONE = np.empty(0, dtype=int)


def draw_seeds(rows, n_clusters, weight, random_state, n_local_trials=None):
    """Draw rows to start from, each with probability ∝ weight · squared distance.

    Several rows are drawn for each centre but the first, and the one that lowers
    the potential most becomes it. Random numbers are taken from `random_state` in
    the order in which scikit-learn takes them.

    Parameters
    ----------
    rows : DenseRows or SparseRows
        Measured.
    n_clusters : int
    weight : ndarray of shape (n,) or None
    random_state : RandomState
    n_local_trials : int, default=None
        Rows drawn for each centre; None is ``2 + int(log(n_clusters))``.

    Returns
    -------
    indices : ndarray of shape (n_clusters,)
    """
    n = rows.shape[0]
    if n_local_trials is None:
        n_local_trials = 2 + int(np.log(n_clusters))
    indices = np.empty(n_clusters, dtype=int)
    if weight is not None:
        # Products with squared distances have to stay within the range.
        weight = times_power(weight, -exponent_for(largest_of(weight)))
    indices[0] = _draw_first(random_state.random_sample(), weight, n)
    seeding = rows.start_seeding(weight, n_local_trials)
    runs = seeding.choose(indices[:1])
    for c in range(1, n_clusters):
        uniform = random_state.uniform(size=n_local_trials)
        candidates = _draw(uniform, runs, seeding)
        sums = seeding.attempt(candidates)
        best = sums.sum(axis=0).argmin()
        indices[c] = candidates[best]
        runs = seeding.choose_attempted(candidates, best, sums)
    return indices


class Seeding:
    """The squared distances of rows of the host to the nearest of those drawn.

    Parameters
    ----------
    rows : DenseRows, SparseRows or BlockedRows
        Measured.
    closest : ndarray of shape (n,)
        Infinite, of the dtype that distances have.
    weight : ndarray of shape (n,) or None
    n_trials : int
    """

    def __init__(self, rows, closest, weight, n_trials):
        self.rows, self.closest, self.weight = rows, closest, weight
        self.minima = None
        if n_trials * closest.nbytes <= MINIMA_BYTES:
            self.minima = np.empty((n_trials, len(closest)), dtype=closest.dtype)

    def attempt(self, candidates):
        """Potentials with each candidate as a further centre: sums of runs of rows."""
        return self.rows.potentials(candidates, self.closest, self.weight, self.minima)

    def choose(self, row):
        """Make one row, in an array, a centre; the sums of the runs after that."""
        here = self.closest[None]
        return self.rows.potentials(row, self.closest, self.weight, here)[:, 0]

    def choose_attempted(self, candidates, best, sums):
        """`choose` one of the candidates that were attempted last."""
        if self.minima is None:
            return self.choose(candidates[best : best + 1])
        self.closest[:] = self.minima[best]
        return np.ascontiguousarray(sums[:, best])

    def terms(self, run):
        """Weight times squared distance for the rows of a run."""
        part = slice(run * POTENTIAL_ROWS, (run + 1) * POTENTIAL_ROWS)
        terms = self.closest[part].astype(np.float64)
        if self.weight is not None:
            terms *= self.weight[part]
        return terms


def _draw_first(uniform, weight, n):
    """Row by weight alone, as ``RandomState.choice`` finds it."""
    if weight is None:
        return min(int(uniform * n), n - 1)
    return _found_by_weight(np.array([uniform]), weight, n, _NONE)[0]


def draw_different(size, weight, n, random_state):
    """Different rows by weight, those of ``RandomState.choice`` in little memory."""
    if weight is not None and np.count_nonzero(weight) < size:
        raise ValueError(
            f"n_clusters={size} different rows cannot be drawn: "
            f"{np.count_nonzero(weight)} have a weight above 0"
        )
    found = _NONE
    while len(found) < size:
        uniform = random_state.random_sample(size - len(found))
        new = _found_by_weight(uniform, weight, n, found)
        _, first = np.unique(new, return_index=True)
        found = np.r_[found, new[np.sort(first)]]
    return found


def _found_by_weight(uniform, weight, n, without):
    """Rows whose cumulated weights first exceed `uniform` times their sum."""
    for _, ends in _cumulated(weight, n, without):
        total = ends[-1]
    found, before = np.empty(len(uniform), dtype=int), 0.0
    for start, ends in _cumulated(weight, n, without):
        ends = ends / total
        here = (before <= uniform) & (uniform < ends[-1])
        found[here] = start + np.searchsorted(ends, uniform[here], side="right")
        before = ends[-1]
    return found


def _cumulated(weight, n, without):
    """Starts of parts of the rows, and sums of all weights up to each row there."""
    without, before = np.sort(without), 0.0
    for part in row_parts(n):
        size = part.stop - part.start
        terms = np.full(size, 1 / n) if weight is None else moderate(weight, part)
        first, end = np.searchsorted(without, (part.start, part.stop))
        terms[without[first:end] - part.start] = 0
        terms[0] += before
        ends = np.cumsum(terms)
        yield part.start, ends
        before = ends[-1]


def moderate(weight, part=slice(None)):
    """Weights of a part of the rows, scaled: a sum of them may leave the range."""
    return np.ldexp(weight[part].astype(np.float64), -int(np.frexp(weight.max())[1]))


def _draw(uniform, runs, seeding):
    """Rows whose cumulated terms first exceed `uniform` times their sum."""
    ends = np.cumsum(runs)
    if ends[-1] == 0:
        # Every row is a centre already; any of positive weight will do.
        first = 0 if seeding.weight is None else int(np.argmax(seeding.weight > 0))
        return np.full(len(uniform), first)
    last_run = np.flatnonzero(runs)[-1]
    found = np.empty(len(uniform), dtype=int)
    for i, target in enumerate(uniform * ends[-1]):
        run = min(np.searchsorted(ends, target, side="right"), last_run)
        terms = seeding.terms(run)
        before = ends[run - 1] if run else 0.0
        within = np.searchsorted(np.cumsum(terms), target - before, side="right")
        # Rounding must not lead past the last row that can be drawn.
        found[i] = run * POTENTIAL_ROWS + min(within, np.flatnonzero(terms)[-1])
    return found
