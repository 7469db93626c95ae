"""Scores of numbers of clusters: silhouettes, the elbow and the gap statistic."""

import numpy as np
from scipy import sparse
from sklearn.metrics import pairwise_distances_chunked


def silhouettes(X, labelings, metric, sample_size, random_state):
    """Mean silhouette of each labelling, the distances found once for all."""
    if sample_size is not None and sample_size < X.shape[0]:
        rows = random_state.permutation(X.shape[0])[:sample_size]
        X, labelings = X[rows], [labels[rows] for labels in labelings]
    # Clusters without rows do not count.
    numbered = [np.unique(labels, return_inverse=True)[1] for labels in labelings]
    members = [_indicator(labels) for labels in numbered]
    totals = np.zeros(len(labelings))

    def add(distances, start):
        for i, (labels, member) in enumerate(zip(numbered, members, strict=True)):
            own = labels[start : start + len(distances)]
            totals[i] += _silhouette_sum(distances, own, member)

    for _ in pairwise_distances_chunked(X, metric=metric, reduce_func=add):
        pass
    scores = totals / X.shape[0]
    for i, member in enumerate(members):
        if not 2 <= member.shape[0] < X.shape[0]:
            scores[i] = np.nan
    return scores


def _indicator(labels):
    """Matrix of the shape (n_clusters, n) that sums the rows of each cluster."""
    n = len(labels)
    return sparse.csr_array((np.ones(n), (labels, np.arange(n))))


def _silhouette_sum(distances, own, member):
    """Sum of the silhouettes of some rows, given their distances to all."""
    sums = (member @ distances.T).T
    sizes = member.sum(axis=1)
    rows = np.arange(len(own))
    alone = sizes[own] == 1
    within = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    between = means.min(axis=1)
    with np.errstate(invalid="ignore"):
        silhouettes = (between - within) / np.maximum(between, within)
    # By definition, of a row that is alone; of rows that are all equal.
    silhouettes[alone | np.isnan(silhouettes)] = 0
    return float(silhouettes.sum())


def below_the_chord(candidates, inertias):
    """How far each log inertia lies below the line from the first to the last."""
    # What is below rounding is as good as none.
    floor = np.finfo(np.float64).eps * inertias.max()
    if not floor > 0:
        return np.zeros(len(candidates))
    logs = np.log(np.maximum(inertias, floor))
    width, height = candidates[-1] - candidates[0], logs[0] - logs[-1]
    if not height > 0:
        return np.zeros(len(candidates))
    along = (candidates - candidates[0]) / width
    return 1 - along - (logs - logs[-1]) / height


def gaps(X, candidates, inertias, inertia_of, n_references, random_state):
    """How far the log of the inertia lies below that of references, and errors.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    candidates : ndarray of shape (n_candidates,)
    inertias : ndarray of shape (n_candidates,)
        Of X.
    inertia_of : callable
        ``inertia_of(reference, k)`` of data like X.
    n_references : int
    random_state : RandomState

    Returns
    -------
    scores, errors : ndarray of shape (n_candidates,)
    """
    references = _References(X, random_state)
    logs = np.array(
        [
            [_log(inertia_of(reference, k)) for k in candidates]
            for reference in (references.draw() for _ in range(n_references))
        ]
    )
    with np.errstate(invalid="ignore"):
        scores = logs.mean(axis=0) - [_log(inertia) for inertia in inertias]
        errors = logs.std(axis=0) * np.sqrt(1 + 1 / n_references)
    return scores, errors


def _log(inertia):
    return np.log(inertia) if inertia > 0 else -np.inf


class _References:
    """Draws data like X without clusters: even in a box around it."""

    def __init__(self, X, random_state):
        self.random_state = random_state
        self.dtype, self.n = X.dtype, X.shape[0]
        self.mean = X.mean(axis=0, dtype=np.float64)
        centered = X - self.mean
        self._set_box(centered, np.eye(X.shape[1]))
        sides = self.high - self.low
        # Components of data without directions are no better than any axes.
        self._set_box(centered, np.linalg.eigh(centered.T @ centered)[1])
        if (sides**2).sum() < ((self.high - self.low) ** 2).sum():
            self._set_box(centered, np.eye(X.shape[1]))

    def _set_box(self, centered, axes):
        along = centered @ axes
        self.axes, self.low, self.high = axes, along.min(axis=0), along.max(axis=0)

    def draw(self):
        """Draw one data set."""
        shape = self.n, len(self.mean)
        along = self.random_state.uniform(self.low, self.high, size=shape)
        return (along @ self.axes.T + self.mean).astype(self.dtype)
