"""Distances of rows to the centres of their labels, a few at a time."""

import numpy as np

from sklearn_ternary._gpu.arrays import is_device_array, like, to_host
from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS

# Rows of which distances are in memory at the same time.
ROWS = 2**18


def row_parts(n):
    """Slices of so many rows at most."""
    return (slice(i, min(i + ROWS, n)) for i in range(0, n, ROWS))


def distance_sums(rows, weight, centers, labels):
    """Sum of the squared distances to the centres of the labels, and the largest.

    The sum is that of sums of 1024 rows, whatever parts the rows come in.

    Parameters
    ----------
    rows : DenseRows, SparseRows, BlockedRows or DeviceRows
    weight : ndarray of shape (n,) or None
        For the sum; the largest distance is without.
    centers : ndarray of shape (k, d)
    labels : ndarray of shape (n,)

    Returns
    -------
    total, largest : float
    """
    sums, largest = [], 0.0
    for part, distances in rows.distance_parts(centers, labels):
        # Not a number stays one.
        largest = np.maximum(largest, float(distances.max()))
        if weight is not None:
            distances *= like(weight[part], distances)
        if is_device_array(distances):
            sums.append([float(distances.sum())])
        else:
            starts = range(0, len(distances), POTENTIAL_ROWS)
            sums.append(np.add.reduceat(distances, starts))
    return float(np.concatenate(sums).sum()), float(largest)


def count_labels(labels, n_clusters, weight=None):
    """Rows of each cluster, or the sums of their weights, as floats of the host."""
    counts = np.zeros(n_clusters)
    for part in row_parts(len(labels)):
        weights = None if weight is None else weight[part]
        counts += np.bincount(to_host(labels[part]), weights, n_clusters)
    return counts
