"""k-means by small batches of rows."""

from typing import NamedTuple

import numpy as np

from sklearn_ternary.cluster._chunks import Stream
from sklearn_ternary.cluster._cluster_sums import ClusterSums
from sklearn_ternary.cluster._device_iterations import DeviceIterations
from sklearn_ternary.cluster._device_rows import DeviceRows
from sklearn_ternary.cluster._directions import unit_centers
from sklearn_ternary.cluster._lloyd import inertia_of
from sklearn_ternary.cluster._seeding import moderate

# Starved centres are looked for after so many rows for each cluster.
_ROWS_BETWEEN = 10
# Of a batch, no more than this part become new centres.
_REASSIGNED = 0.5
# Rows that starts are drawn from, in batches and for each cluster.
_SAMPLED = 3


class MiniBatchRun(NamedTuple):
    """What mini-batches found."""

    centers: np.ndarray
    counts: np.ndarray
    n_iter: int
    n_steps: int


class Centers:
    """Centres that batches of rows move.

    Each is the mean of all rows it was ever given, by their weights [1]_.

    Parameters
    ----------
    centers : ndarray of shape (k, d)
    counts : ndarray of shape (k,), float64
        Weight of the rows of each so far.
    reassignment_ratio : float
    random_state : RandomState
    rows_since : int, default=0
        Rows since starved centres were last looked for.

    References
    ----------
    .. [1] D. Sculley, "Web-scale k-means clustering", WWW 2010.
    """

    def __init__(self, centers, counts, reassignment_ratio, random_state, rows_since=0):
        self.centers = centers
        self.counts = counts
        self.reassignment_ratio = reassignment_ratio
        self.random_state = random_state
        self.rows_since = rows_since

    def move(self, rows, weight):
        """Move the centres by a batch; its inertia before that."""
        labels, totals, pull = _pulled(rows, weight, self.centers)
        inertia = inertia_of(rows, weight, self.centers, labels)
        seen = totals > 0
        before = self.centers[seen].astype(np.float64)
        counts = self.counts.copy()
        counts[seen] += totals[seen]
        # The mean of old and new rows, found without large sums.
        means = before + pull[seen] / counts[seen, None]
        if rows.directions:
            means = unit_centers(means, before)
        centers = self.centers.copy()
        centers[seen] = means
        self.centers, self.counts = centers, counts
        self._reassign(rows, weight)
        return inertia

    def _reassign(self, rows, weight):
        """Replace centres that get few rows by rows of the batch."""
        n, k = rows.shape[0], len(self.centers)
        self.rows_since += n
        if self.rows_since < _ROWS_BETWEEN * k and self.counts.all():
            return
        self.rows_since = 0
        starved = self.counts < self.reassignment_ratio * self.counts.max()
        possible = np.arange(n) if weight is None else np.flatnonzero(weight > 0)
        most = int(_REASSIGNED * len(possible))
        order = np.argsort(self.counts, kind="stable")
        which = order[: min(np.count_nonzero(starved), most)]
        if not len(which):
            return
        chosen = self.random_state.choice(possible, size=len(which), replace=False)
        self.centers[which] = rows.take(chosen)
        # As many as the least of the others, or they would starve at once again.
        self.counts[which] = np.delete(self.counts, which).min()


def _pulled(rows, weight, centers):
    """Labels, and of each cluster the weight and the sum of weighted differences."""
    k = len(centers)
    wide = centers.astype(np.float64)
    if isinstance(rows, DeviceRows):
        rows.ready_for(centers)
        steps = DeviceIterations(rows, weight, k)
        steps.assign(centers)
        return steps.labels, *steps.pull(wide)
    labels = rows.nearest(centers)
    sums = ClusterSums(rows, k)
    sums.renew(rows, weight, labels)
    totals = sums.totals.sum(axis=0)
    return labels, totals, sums.sums.sum(axis=0) - totals[:, None] * wide


def sample_to_start(rows, weight, batch_size, n_clusters, random_state):
    """Some rows that starts are drawn from, and their weights."""
    n = rows.shape[0]
    size = _SAMPLED * max(min(batch_size, n), n_clusters)
    if size < n:
        found = np.unique(_Draws(weight, n, random_state)(size))
        if len(found) >= n_clusters:
            return rows.part(found), None
    return rows, weight


def run_minibatch(
    rows,
    weight,
    centers,
    *,
    batch_size,
    max_iter,
    tol,
    max_no_improvement,
    reassignment_ratio,
    random_state,
    verbose=False,
    after=None,
):
    """Move centres by batches until that ends.

    Parameters
    ----------
    rows : DenseRows, SparseRows, BlockedRows or DeviceRows
        Of a stream, batches are consecutive rows; else they are drawn.
    weight : ndarray of shape (n,) or None
    centers : ndarray of shape (k, d)
    batch_size : int
    max_iter : int
        Most passes over as many rows as there are.
    tol : float
        Ends when the squares of what the centres moved in a pass sum up to no more.
    max_no_improvement : int or None
        Ends when so many batches did not lower the smoothed inertia.
    reassignment_ratio : float
    random_state : RandomState
    verbose : bool, default=False
        Print the inertia of every batch.
    after : callable, default=None
        ``after(i, centers)`` ends the run where it is true.

    Returns
    -------
    run : MiniBatchRun
    """
    n, k = rows.shape[0], len(centers)
    batch_size = min(batch_size, n)
    state = Centers(centers, np.zeros(k), reassignment_ratio, random_state)
    smooth = _Smoothed(min(1.0, 2 * batch_size / (n + 1)), max_no_improvement)
    n_seen, n_steps, start_of_pass = 0, 0, state.centers
    n_passes = 1
    for batch, batch_weight in _batches(rows, weight, batch_size, random_state):
        inertia = state.move(batch, batch_weight)
        n_seen += batch.shape[0]
        n_steps += 1
        total = batch.shape[0] if batch_weight is None else float(batch_weight.sum())
        mean = inertia / total if total else 0.0
        if verbose:
            print(f"Batch {n_steps}, mean inertia {mean}.")
        # The first is that of the start.
        if n_steps > 1 and smooth.is_enough(mean):
            if verbose:
                print(f"Converged at batch {n_steps}: no improvement.")
            break
        if after is not None and after(n_steps - 1, state.centers):
            break
        if n_seen >= n_passes * n:
            moved = state.centers.astype(np.float64) - start_of_pass
            shift = float((moved**2).sum())
            start_of_pass = state.centers
            if shift <= tol:
                if verbose:
                    print(
                        f"Converged after pass {n_passes}: center shift {shift} "
                        f"within tolerance {tol}."
                    )
                break
            if n_passes == max_iter:
                break
            n_passes += 1
    return MiniBatchRun(state.centers, state.counts, n_passes, n_steps)


class _Smoothed:
    """Exponentially weighted mean of the inertia, and for how long it did not fall."""

    def __init__(self, alpha, patience):
        self.alpha = alpha
        self.patience = patience
        self.mean = None
        self.least = np.inf
        self.n_worse = 0

    def is_enough(self, value):
        """Whether it did not fall for too long, with this further value."""
        if self.mean is None:
            self.mean = value
        self.mean += self.alpha * (value - self.mean)
        self.n_worse = 0 if self.mean < self.least else self.n_worse + 1
        self.least = min(self.least, self.mean)
        return self.patience is not None and self.n_worse >= self.patience


class _Draws:
    """Draws rows with probabilities ∝ their weights, with replacement."""

    def __init__(self, weight, n, random_state):
        self.n = n
        self.random_state = random_state
        self.ends = None
        if weight is not None:
            self.ends = np.cumsum(moderate(weight))
            self.ends /= self.ends[-1]

    def __call__(self, size):
        if self.ends is None:
            return self.random_state.randint(0, self.n, size)
        uniform = self.random_state.random_sample(size)
        return np.searchsorted(self.ends, uniform, side="right")


def _batches(rows, weight, batch_size, random_state):
    """Batches of rows and their weights, without end."""
    if isinstance(getattr(rows, "chunks", None), Stream):
        while True:
            for part, block in rows.blocks():
                for start in range(part.start, part.stop, batch_size):
                    stop = min(part.stop, start + batch_size)
                    here = np.arange(start - part.start, stop - part.start)
                    w = None if weight is None else weight[start:stop]
                    yield block.part(here), w
    draws = _Draws(weight, rows.shape[0], random_state)
    while True:
        # In order, so that a file is read in one direction.
        yield rows.part(np.sort(draws(batch_size))), None
