"""The steps of k-means."""

import numpy as np

from sklearn_ternary._gpu.expressions.numbers import wide
from sklearn_ternary._gpu.expressions.panels import panels
from sklearn_ternary._reference.lloyd import LANES, squared_distances

# Of scores in float32, times the number of features and what comes on top.
_ROUNDING = 2.0**-24
# Squared norms up to which no score is beyond the range.
_MOST = 1e38
_FLUSHED = 2.0**-120


def nearest(cupy, X, whole):
    """Label of each row, for centres and a frame, which may be None."""
    centers, frame = whole.held
    return nearest_centers(cupy, X, cupy.asarray(centers), frame)


def nearest_centers(cupy, X, centers, frame):
    """Label of each row: its nearest centre, the first of equally near ones.

    Products of float32 find it, but where what rounding may change leaves several.
    These rows are done by the definition. Waits.
    """
    n, d = X.shape
    labels = cupy.empty(n, np.int32)
    c = _in_frame(centers, frame)
    half = (c * c).sum(axis=1) / 2
    c, half = (a.astype(np.float32) for a in (c.T, half))
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in panels(n, max(len(centers), d)):
            x = _in_frame(X[rows], frame)
            squares = (x * x).sum(axis=1)
            scores = half - x.astype(np.float32) @ c
            found = may_be_nearest(cupy, scores, squares / 2, half, d)
            labels[rows], is_open = found
            still_open = cupy.flatnonzero(is_open)
            if still_open.size:
                found = _by_definition(cupy, X[rows][still_open], centers)
                labels[rows][still_open] = found
    return labels


def may_be_nearest(cupy, scores, halves, center_halves, n_terms):
    """Centres that products of float32 find nearest, and whether others may be.

    Parameters
    ----------
    cupy : module
    scores : ndarray of shape (n, k), float32
        Half the squared norms of the centres less the products with the rows.
    halves : ndarray of shape (n,)
        Half the squared norms of the rows.
    center_halves : ndarray of shape (k,), float32
    n_terms : int
        Terms of a product that are not 0, at most.

    Returns
    -------
    labels : ndarray of shape (n,)
    is_open : ndarray of shape (n,), bool
    """
    # A product is off by a part of the norms, by rounding its factors and sums.
    size = halves.astype(np.float32) + center_halves.max()
    error = np.float32(4 * (n_terms + 8) * _ROUNDING)
    limit = scores.min(axis=1) + (error * size + np.float32(n_terms * _FLUSHED))
    n_near = (scores <= limit[:, None]).sum(axis=1)
    return scores.argmin(axis=1), (n_near != 1) | ~(size < np.float32(_MOST))


def _by_definition(cupy, X, centers):
    labels = cupy.empty(len(X), np.int32)
    x, centers = wide(X), wide(centers)
    for rows in panels(len(X), len(centers) * LANES):
        labels[rows] = squared_distances(x[rows, None], centers).argmin(axis=1)
    return labels


def _in_frame(X, frame):
    """Rows of the frame, float64."""
    x = wide(X)
    return x if frame is None else x * float(frame.scale) - wide(frame.shift)


def label_distances(cupy, X, whole, labels):
    """Squared distance of each row to the centre of its label, float64."""
    centers = wide(cupy.asarray(whole.held[0]))
    found = cupy.empty(len(X), np.float64)
    for rows in panels(*X.shape):
        found[rows] = squared_distances(wide(X[rows]), centers[labels[rows]])
    return found


def move_rows(cupy, X, frame, weight, old_labels, labels, sums):
    """Move rows between clusters, in `FixedSums`."""
    several, totals, counts = (a.view(np.uint64) for a in sums.arrays[:3])
    changed = old_labels != labels
    sums.n_changed[...] += cupy.count_nonzero(changed)
    w = changed.astype(np.float64)
    if weight is not None:
        w *= wide(weight) * sums.unit
    for rows in panels(*X.shape):
        x = _in_frame(X[rows], frame) * w[rows, None] * sums.factors
        x, total = _whole(cupy, x), _whole(cupy, w[rows] * sums.one)
        one = (w[rows] != 0).astype(np.uint64)
        for to, sign in ((labels[rows], 1), (old_labels[rows], -1)):
            # Label -1 is none.
            is_some, to = to >= 0, cupy.maximum(to, 0)
            for array, part in ((several, x), (totals, total), (counts, one)):
                part = part if sign > 0 else ~part + np.uint64(1)
                mask = is_some[:, None] if part.ndim == 2 else is_some
                cupy.add.at(array, to, part * mask.astype(np.uint64))


def _whole(cupy, x):
    """Rounded to whole numbers of 64 bits, those below zero in two's complement."""
    return cupy.rint(x).astype(np.int64).view(np.uint64)
