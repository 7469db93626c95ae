"""Sums of the rows of each cluster, and the means that they make."""

import numpy as np

from sklearn_ternary._gpu.arrays import to_host
from sklearn_ternary._reference.lloyd import slice_rows
from sklearn_ternary.cluster._dense_rows import part_of
from sklearn_ternary.cluster._directions import unit_centers

# Of more rows that are equally far about so many are looked at.
_TIED_ROWS = 2**16


class ClusterSums:
    """Sums of the rows of each cluster, kept up to date as rows move.

    Each slice of rows has sums of its own, whatever the number of threads, and
    they are added in order.

    Parameters
    ----------
    rows : DenseRows, SparseRows or BlockedRows
        All of them.
    n_clusters : int
    """

    def __init__(self, rows, n_clusters):
        shape = rows.n_slices(n_clusters), n_clusters
        self.sums = np.zeros((*shape, rows.shape[1]))
        self.totals = np.zeros(shape)
        self.counts = np.zeros(shape, dtype=np.int64)

    def renew(self, rows, weight, labels):
        """Add up the rows of each cluster anew."""
        for array in (self.sums, self.totals, self.counts):
            array.fill(0)
        n, none = rows.shape[0], np.full_like(labels, -1)
        for part, block in rows.blocks():
            self.move_part(block, part, n, weight, none, labels)

    def move_part(self, block, part, n_rows, weight, old_labels, labels):
        """Move rows of the slice `part` of all, given the labels of all."""
        sums = self.sums, self.totals, self.counts
        move_part(block, part, n_rows, weight, old_labels, labels, sums)

    def settle(self):
        """What rounding leaves of a cluster without rows is none."""
        if not self.counts.all():
            empty = self.counts == 0
            self.sums[empty] = 0
            self.totals[empty] = 0

    def means(self, rows, weight, centers, labels):
        """Weighted means of the clusters; empty ones move to the farthest rows."""
        sums, totals = self.sums.sum(axis=0), self.totals.sum(axis=0)
        counts = self.counts.sum(axis=0)
        if not counts.all():
            _relocate(rows, weight, centers, labels, sums, totals, counts)
        if counts.all():
            means = sums / totals[:, None]
            if rows.directions:
                means = unit_centers(means, centers)
            return means.astype(rows.dtype)
        # As in scikit-learn, what stays empty goes where the heaviest cluster is.
        full = counts > 0
        means = np.empty_like(sums)
        means[full] = sums[full] / totals[full, None]
        if rows.directions:
            means[full] = unit_centers(means[full], centers[full])
        means[~full] = means[np.where(full, totals, -1).argmax()]
        return means.astype(rows.dtype)


def move_part(block, part, n_rows, weight, old_labels, labels, sums):
    """Move the rows of a block between clusters.

    Parameters
    ----------
    block : DenseRows or SparseRows
        The rows of the slice `part` of all.
    part : slice
    n_rows : int
        Rows in all.
    weight, old_labels, labels : ndarray of shape (n_rows,)
        Of all rows; `weight` may be None.
    sums : tuple of ndarray
        Sums, totals and counts, each of shape (slices, ...): slices of all rows have
        sums of their own.
    """
    if part.stop - part.start == n_rows:
        block.move(weight, old_labels, labels, *sums)
        return
    size = slice_rows(n_rows, len(sums[0]))
    for s in range(part.start // size, -(-part.stop // size)):
        here = slice(max(part.start, s * size), min(part.stop, (s + 1) * size))
        rows = part_of(block, block.X[here.start - part.start : here.stop - part.start])
        rows.move(
            None if weight is None else weight[here],
            old_labels[here],
            labels[here],
            *(array[s : s + 1] for array in sums),
        )


def _relocate(rows, weight, centers, labels, sums, totals, counts):
    """Take the rows farthest from their centres as means of the empty clusters."""
    empty = np.flatnonzero(counts == 0)
    far = farthest_rows(rows, weight, centers, labels, len(empty))
    for new, row, old in zip(empty, far, labels[far], strict=False):
        w = 1.0 if weight is None else float(weight[row])
        moved = w * rows.take([row])[0].astype(np.float64)
        sums[old] -= moved
        totals[old] -= w
        counts[old] -= 1
        sums[new], totals[new], counts[new] = moved, w, 1


def farthest_rows(rows, weight, centers, labels, n_wanted):
    """Indices of the rows farthest from their centres, at most `n_wanted`.

    Of rows equally far, different ones come before a second of equal ones, and those
    before others that are equal to rows of more weight in all.
    """
    largest = np.empty(0)
    for _, distances in _counted_distances(rows, weight, centers, labels):
        largest = np.r_[largest, distances]
        if len(largest) > n_wanted:
            largest = np.partition(largest, -n_wanted)[-n_wanted:]
    least = largest.min()
    far, how_far = [], []
    for part, distances in _counted_distances(rows, weight, centers, labels):
        here = np.flatnonzero((distances >= least) & (distances > 0))
        far.append(part.start + here)
        how_far.append(distances[here])
    far, how_far = np.concatenate(far), np.concatenate(how_far)
    order = np.argsort(-how_far, kind="stable")
    if len(far) <= n_wanted:
        return far[order]
    tied = far[how_far == least]
    tied = tied[:: max(1, len(tied) // max(_TIED_ROWS, n_wanted))]
    # Equal rows are equally far from a point at random, different ones are not.
    point = np.random.default_rng(0).standard_normal(rows.shape[1])
    point = centers.mean(axis=0) + point * np.sqrt(least / rows.shape[1])
    none = np.zeros(rows.shape[0], dtype=np.int32)
    marks, point = [], point[None].astype(rows.dtype)
    for part, distances in _counted_distances(rows, None, point, none):
        first, end = np.searchsorted(tied, (part.start, part.stop))
        marks.append(distances[tied[first:end] - part.start])
    _, group = np.unique(np.concatenate(marks), return_inverse=True)
    mass = np.bincount(group, None if weight is None else weight[tied])
    # Equal rows are numbered: all first ones go before all second ones.
    together = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[together], np.arange(len(mass)))
    number = np.empty(len(tied), dtype=np.intp)
    number[together] = np.arange(len(tied)) - starts[group[together]]
    tied = tied[np.lexsort((-mass[group], number))]
    farther = order[how_far[order] > least]
    return np.r_[far[farther], tied][:n_wanted]


def _counted_distances(rows, weight, centers, labels):
    """Slices, and the distances there of the host; 0 for rows of weight 0."""
    for part, distances in rows.distance_parts(centers, labels):
        distances = to_host(distances)
        if weight is not None:
            distances[weight[part] == 0] = 0
        yield part, distances
