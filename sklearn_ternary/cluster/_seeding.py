"""Greedy k-means++."""

import numpy as np

from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS

# Squared distances to all candidates are kept up to this size; beyond, those to the
# one that becomes a centre are found again.
MINIMA_BYTES = 8 * 2**20


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
    indices[0] = _draw_first(random_state.random_sample(), weight, n)
    closest = rows.start_seeding()
    runs = rows.potentials(indices[:1], closest, weight, closest[None])[:, 0]
    keep = n_local_trials * closest.nbytes <= MINIMA_BYTES
    minima = np.empty((n_local_trials, n), dtype=closest.dtype) if keep else None
    for c in range(1, n_clusters):
        uniform = random_state.uniform(size=n_local_trials)
        candidates = _draw(uniform, runs, closest, weight)
        sums = rows.potentials(candidates, closest, weight, minima)
        best = sums.sum(axis=0).argmin()
        indices[c] = candidates[best]
        if keep:
            closest[:] = minima[best]
            runs = np.ascontiguousarray(sums[:, best])
        else:
            chosen = candidates[best : best + 1]
            runs = rows.potentials(chosen, closest, weight, closest[None])[:, 0]
    return indices


def _draw_first(uniform, weight, n):
    """Row by weight alone, as ``RandomState.choice`` finds it."""
    if weight is None:
        return min(int(uniform * n), n - 1)
    ends = np.cumsum(probabilities(weight, n))
    return np.searchsorted(ends / ends[-1], uniform, side="right")


def probabilities(weight, n):
    """Probabilities of the rows by their weights."""
    if weight is None:
        return np.full(n, 1 / n)
    weight = weight.astype(np.float64)
    # Scaled first: a sum of weights may leave the range.
    weight = np.ldexp(weight, -int(np.frexp(weight.max())[1]))
    return weight / weight.sum()


def _draw(uniform, runs, closest, weight):
    """Rows whose cumulated terms first exceed `uniform` times their sum."""
    ends = np.cumsum(runs)
    if ends[-1] == 0:
        # Every row is a centre already; any of positive weight will do.
        first = 0 if weight is None else int(np.argmax(weight > 0))
        return np.full(len(uniform), first)
    last_run = np.flatnonzero(runs)[-1]
    found = np.empty(len(uniform), dtype=int)
    for i, target in enumerate(uniform * ends[-1]):
        run = min(np.searchsorted(ends, target, side="right"), last_run)
        part = slice(run * POTENTIAL_ROWS, (run + 1) * POTENTIAL_ROWS)
        terms = closest[part].astype(np.float64)
        if weight is not None:
            terms *= weight[part]
        before = ends[run - 1] if run else 0.0
        within = np.searchsorted(np.cumsum(terms), target - before, side="right")
        # Rounding must not lead past the last row that can be drawn.
        found[i] = part.start + min(within, np.flatnonzero(terms)[-1])
    return found
