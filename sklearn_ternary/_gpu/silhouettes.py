"""Silhouettes of rows of a device: distances of float64 between all of them."""

import numpy as np

from sklearn_ternary._gpu.device import require
from sklearn_ternary._gpu.memory import free_bytes, halving
from sklearn_ternary._reference.silhouettes import silhouettes_of

# Arrays as large as the distances of a panel that there are at a time.
_ARRAYS = 4


def silhouette_sums(X, labelings, directions, fraction):
    """Sum of the silhouettes of each labelling.

    Parameters
    ----------
    X : cupy.ndarray of shape (n, d)
    labelings : sequence of ndarray of shape (n,)
        Of the host, numbers from 0 on, all of which occur.
    directions : bool
        Distances are cosine distances.
    fraction : float
        Largest part of what is free of the device's memory that may be taken.

    Returns
    -------
    sums : ndarray of shape (n_labelings,), float64
        Of the host.
    """
    cupy = require()
    with X.device:

        def work(rows):
            return _in_panels(cupy, X, labelings, directions, rows)

        most = max(int(labels.max()) + 1 for labels in labelings)
        held = 8 * len(X) * (2 * X.shape[1] + most)
        budget = (fraction * free_bytes(cupy) - held) / (8 * _ARRAYS * len(X))
        return halving(cupy, max(1, min(len(X), int(budget))), work)


def _in_panels(cupy, X, labelings, directions, rows):
    """Sums over panels of so many rows."""
    X = X.astype(np.float64)
    if directions:
        lengths = cupy.sqrt((X * X).sum(axis=1))
        X /= cupy.where(lengths > 0, lengths, 1)[:, None]
    else:
        X -= X.mean(axis=0)
    squares = (X * X).sum(axis=1)
    labels = [cupy.asarray(one) for one in labelings]
    totals = np.zeros(len(labels))
    for start in range(0, len(X), rows):
        part = slice(start, min(start + rows, len(X)))
        between = _distances(cupy, X, squares, part, directions)
        for i, one in enumerate(labels):
            found = silhouettes_of(between @ _members(cupy, one), one, one[part])
            totals[i] += float(found.sum())
    return totals


def _members(cupy, labels):
    """Matrix of the shape (n, n_clusters) that sums the rows of each cluster."""
    member = cupy.zeros((len(labels), int(labels.max()) + 1), np.float64)
    member[cupy.arange(len(labels)), labels] = 1
    return member


def _distances(cupy, X, squares, part, directions):
    """Distances of some rows to all; of rows of length 1, cosine distances."""
    found = X[part] @ X.T
    if directions:
        found *= -1
        found += 1
    else:
        found *= -2
        found += squares[part, None]
        found += squares
    found = cupy.maximum(found, 0)
    if not directions:
        found = cupy.sqrt(found)
    # Of a row to itself, whatever rounding makes of it.
    rows = cupy.arange(part.start, part.stop)
    found[rows - part.start, rows] = 0
    return found
