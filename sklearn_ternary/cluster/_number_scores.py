"""Scores of numbers of clusters: silhouettes, the elbow and the gap statistic."""

import numpy as np
from scipy import sparse
from sklearn.metrics import pairwise_distances_chunked

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import is_device_array, like, take, to_host
from sklearn_ternary._reference.silhouettes import silhouettes_of

# Metrics whose distances devices find.
_DEVICE_METRICS = ("euclidean", "cosine")


def silhouettes(X, labelings, metric, sample_size, random_state):
    """Mean silhouette of each labelling, the distances found once for all."""
    if sample_size is not None and sample_size < X.shape[0]:
        rows = random_state.permutation(X.shape[0])[:sample_size]
        X, labelings = take(X, rows), [labels[rows] for labels in labelings]
    # Clusters without rows do not count.
    numbered = [np.unique(labels, return_inverse=True)[1] for labels in labelings]
    totals = None
    if is_device_array(X) and metric in _DEVICE_METRICS:
        totals = _dispatch.silhouette_sums(X, numbered, metric == "cosine")
    if totals is None:
        totals = _sums_on_host(to_host(X), numbered, metric)
    scores = totals / X.shape[0]
    for i, labels in enumerate(numbered):
        if not 1 <= labels.max() < X.shape[0] - 1:
            scores[i] = np.nan
    return scores


def _sums_on_host(X, numbered, metric):
    """Sum of the silhouettes of each labelling."""
    members = [_indicator(labels) for labels in numbered]
    totals = np.zeros(len(numbered))

    def add(distances, start):
        for i, (labels, member) in enumerate(zip(numbered, members, strict=True)):
            own = labels[start : start + len(distances)]
            totals[i] += silhouettes_of((member @ distances.T).T, labels, own).sum()

    for _ in pairwise_distances_chunked(X, metric=metric, reduce_func=add):
        pass
    return totals


def _indicator(labels):
    """Matrix of the shape (n_clusters, n) that sums the rows of each cluster."""
    n = len(labels)
    return sparse.csr_array((np.ones(n), (labels, np.arange(n))))


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
    """Draws data like X without clusters: even in a box around it, where X is."""

    def __init__(self, X, random_state):
        self.random_state = random_state
        self.X = X
        self.mean = X.mean(axis=0, dtype=np.float64)
        centered = X - self.mean
        self._set_box(centered, np.eye(X.shape[1]))
        sides = self.high - self.low
        # Components of data without directions are no better than any axes.
        self._set_box(centered, np.linalg.eigh(to_host(centered.T @ centered))[1])
        if (sides**2).sum() < ((self.high - self.low) ** 2).sum():
            self._set_box(centered, np.eye(X.shape[1]))

    def _set_box(self, centered, axes):
        self.axes = like(axes, self.X)
        along = centered @ self.axes
        self.low, self.high = to_host(along.min(axis=0)), to_host(along.max(axis=0))

    def draw(self):
        """Draw one data set."""
        along = self.random_state.uniform(self.low, self.high, size=self.X.shape)
        drawn = like(along, self.X) @ self.axes.T + self.mean
        return drawn.astype(self.X.dtype)
