"""Silhouettes from sums of distances."""

import numpy as np


def silhouettes_of(sums, labels, own):
    """Silhouettes of some rows.

    Parameters
    ----------
    sums : ndarray of shape (m, n_clusters), float64
        Sums of the distances of these rows to the rows of each cluster.
    labels : ndarray of shape (n,)
        Of all rows; each number from 0 on occurs.
    own : ndarray of shape (m,)
        Of these rows.

    Returns
    -------
    silhouettes : ndarray of shape (m,), float64
        0 for rows that are alone in their cluster, and where all rows are equal.
    """
    sizes = np.bincount(labels, minlength=sums.shape[1])
    others = sizes[own] - 1
    mine = own[:, None] == np.cumsum(sizes * 0 + 1) - 1
    within = np.where(mine, sums, 0).sum(axis=1) / np.maximum(others, 1)
    between = np.where(mine, np.inf, sums / sizes).min(axis=1)
    largest = np.maximum(between, within)
    some = (others > 0) & (largest > 0)
    # Infinite where there is one cluster, which has no score.
    with np.errstate(invalid="ignore"):
        return np.where(some, (between - within) / np.where(some, largest, 1), 0)
