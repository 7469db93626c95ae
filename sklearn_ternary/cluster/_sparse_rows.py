"""Rows of a CSR matrix."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS, n_slices, squared_norms
from sklearn_ternary.cluster._distances import row_parts
from sklearn_ternary.cluster._measured_rows import distances_to
from sklearn_ternary.cluster._seeding import Seeding


class SparseRows:
    """Rows of a CSR matrix."""

    # Whether rows are of length 1 and centres become so.
    directions = False

    def __init__(self, X, config):
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        self.X = X
        self.parts = X.data, X.indices, X.indptr
        self.config = config
        self.shape = X.shape
        self.dtype = X.dtype
        self._squares = None

    def blocks(self):
        """Slices and the rows there: all."""
        yield slice(0, self.shape[0]), self

    def measure(self):
        """Nothing: sparse rows need no frame."""

    def total_variance(self):
        """Sum of the squared distances to the mean."""
        n, d = self.shape
        data = self.X.data.astype(np.float64)
        mean = np.bincount(self.X.indices, weights=data, minlength=d) / n
        # Those that are 0 and those that are not, so that nothing cancels.
        n_zeros = n - np.bincount(self.X.indices, minlength=d)
        differences = data - mean[self.X.indices]
        return float((differences**2).sum() + (n_zeros * mean**2).sum())

    def n_slices(self, n_clusters):
        """Slices of rows with sums of their own.

        These are dense: all have fewer values than an eighth of those that X stores.
        """
        d = self.shape[1]
        return n_slices(self.X.nnz // d, n_clusters, d)

    def keep_tiles(self):
        """Nothing is kept of sparse rows."""

    def leave_tiles(self):
        """Nothing is kept of sparse rows."""

    def keep_codes(self, share, n_clusters):
        """Nothing is kept of sparse rows."""

    def nearest(self, centers):
        """Labels."""
        return _dispatch.nearest_centers_csr(*self.parts, centers, config=self.config)

    def label_distances(self, centers, labels):
        """Squared distances to the centres of the labels."""
        return _dispatch.label_distances_csr(
            *self.parts, centers, labels, config=self.config
        )

    def distance_parts(self, centers, labels):
        """Slices, and `label_distances` there."""
        data, indices, indptr = self.parts
        for part in row_parts(len(labels)):
            ends = indptr[part.start : part.stop + 1]
            yield (
                part,
                _dispatch.label_distances_csr(
                    data, indices, ends, centers, labels[part], config=self.config
                ),
            )

    def move(self, weight, old_labels, labels, sums, totals, counts):
        """Move rows between clusters."""
        _dispatch.move_rows_csr(
            *self.parts,
            weight,
            old_labels,
            labels,
            sums,
            totals,
            counts,
            config=self.config,
        )

    def take(self, indices):
        """Some rows, dense."""
        return self.X[indices].toarray()

    def part(self, indices):
        """Some rows, as rows."""
        part = SparseRows(self.X[indices], self.config)
        part.directions = self.directions
        return part

    def distances(self, centers):
        """Distances to all centres."""
        return distances_to(self, centers)

    def start_seeding(self, weight, n_trials):
        """Squared distances before there is a centre."""
        return Seeding(self, np.full(self.shape[0], np.inf), weight, n_trials)

    def potentials(self, indices, closest, weight, minima=None):
        """Potentials with each of these rows as a further centre: partial sums."""
        found = self.squared_distances(self.take(indices))
        lower = np.minimum(found, closest[:, None])
        if minima is not None:
            minima[:] = lower.T
        return _run_sums(lower, weight)

    def squared_distances(self, centers):
        """Squared distances to all centres, (n, k)."""
        if self._squares is None:
            origin = np.zeros((1, self.shape[1]), dtype=self.dtype)
            labels = np.zeros(self.shape[0], dtype=np.int32)
            self._squares = self.label_distances(origin, labels)
        centers = centers.astype(np.float64)
        both = self._squares[:, None] + squared_norms(centers)
        distances = both - 2 * (self.X @ centers.T)
        # What rounding leaves of equal rows is none.
        distances[distances <= 16 * np.finfo(np.float64).eps * both] = 0
        return distances


def _run_sums(minima, weight):
    """Weighted sums over runs of rows, (runs, m)."""
    terms = minima if weight is None else minima * weight[:, None].astype(np.float64)
    return np.add.reduceat(terms, range(0, len(terms), POTENTIAL_ROWS), axis=0)
