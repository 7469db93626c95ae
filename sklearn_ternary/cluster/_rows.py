"""Rows to cluster, dense or sparse, with what is kept of them between steps."""

import numpy as np
from scipy import sparse
from sklearn.metrics.pairwise import euclidean_distances

from sklearn_ternary import _dispatch
from sklearn_ternary._reference.lloyd import (
    PANEL,
    POTENTIAL_ROWS,
    group_size,
    n_slices,
    row_tiles,
    slice_rows,
    squared_norms,
)
from sklearn_ternary._reference.lloyd_codes import Codes, rotated
from sklearn_ternary.cluster._frame import frame_of_centers, make_frame
from sklearn_ternary.cluster._seeding import Seeding

# Rows are kept transposed from step to step up to this size; beyond, each step
# transposes them anew, tile by tile.
TILES_BYTES = 32 * 2**20
_SAMPLE_ROWS = 63
# Codes are kept up to this size, tiles included; beyond, they are found when wanted.
CODES_BYTES = 40 * 2**20
_CODED_ROWS = 256
# Of all that is kept but two numbers for each row.
WORK_BYTES = 60 * 2**20
# Bounds are kept for groups of centres from so many centres on.
_GROUPS_FROM = 64


def make_rows(X, config):
    """The `DenseRows` or `SparseRows` of validated data."""
    return SparseRows(X, config) if sparse.issparse(X) else DenseRows(X, config)


class MeasuredRows:
    """Dense rows, in memory or not, of which a first look finds the frame."""

    # Whether rows are of length 1 and centres become so.
    directions = False
    codes = None

    def measure(self):
        """Find the frame: around the median of some rows, as large as all."""
        n = self.shape[0]
        sample = self.take(np.arange(0, n, -(-n // _SAMPLE_ROWS)))
        middle = len(sample) // 2
        center = np.partition(sample, middle, axis=0)[middle]
        labels = np.zeros(n, dtype=np.int32)
        distances = self.label_distances(center[None], labels)
        self.set_frame(make_frame(center, np.sqrt(float(distances.max())), self.dtype))
        self.center, self.about_center = center, float(distances.sum())

    def set_frame(self, frame):
        """Rows become ``x * scale - shift`` from here on."""
        self.frame = frame

    def total_variance(self):
        """Sum of the squared distances to the mean, of measured rows."""
        n, d = self.shape
        slices = n_slices(n, 1, d)
        sums, totals = np.zeros((slices, 1, d)), np.zeros((slices, 1))
        counts = np.zeros((slices, 1), dtype=np.int64)
        none = np.full(n, -1, dtype=np.int32)
        self.move(None, none, np.zeros_like(none), sums, totals, counts)
        mean = sums.sum(axis=0)[0] / n
        aside = float(((mean - self.center) ** 2).sum())
        return max(0.0, self.about_center - n * aside)

    def n_slices(self, n_clusters):
        """Slices of rows with sums of their own."""
        n, d = self.shape
        return n_slices(n, n_clusters, d)

    def groups_that_fit(self, n_clusters):
        """How many groups of centres bounds are kept for; 0 where memory forbids any.

        With bounds a row has five more numbers in all than it has without, and one
        for each further group.
        """
        n, d = self.shape
        sums = self.n_slices(n_clusters) * n_clusters * d * 8
        fit = (WORK_BYTES - sums - self.kept_bytes()) // (4 * n) - 4
        if fit < 1:
            return 0
        groups = 1
        if n_clusters >= _GROUPS_FROM:
            groups = min(-(-n_clusters // PANEL), fit)
        return -(-n_clusters // group_size(n_clusters, groups))

    def start_bounds(self, n_clusters):
        """Labels and bounds before anything is known, for `nearest_bounded`."""
        n, groups = self.shape[0], max(1, self.groups_that_fit(n_clusters))
        upper = np.full(n, np.inf, dtype=np.float32)
        lower = np.zeros((groups, n), dtype=np.float32)
        return np.zeros(n, dtype=np.int32), upper, lower

    def distances(self, centers):
        """Distances to all centres."""
        return distances_to(self, centers)

    def start_seeding(self, weight, n_trials):
        """Squared distances before there is a centre."""
        closest = np.full(self.shape[0], np.inf, dtype=self.dtype)
        return Seeding(self, closest, weight, n_trials)

    def kept_bytes(self):
        """Bytes of what is kept of the rows."""
        return 0

    def keep_codes(self, share):
        """Find codes of the rows, or where those would be too many, their step."""
        n, d = self.shape
        sample = self.take(np.arange(0, n, -(-n // _CODED_ROWS)))
        tiles = rotated(row_tiles(sample, self.frame))
        largest = np.abs(tiles[:, :d]).max(axis=1).ravel()[: len(sample)]
        # A few rows are cut off, so that one of unusual size spoils no other.
        step = self.dtype.type(np.quantile(largest, 0.95) / 127)
        if step > 0 and np.isfinite(1 / step):
            self.codes = Codes(step, None, None, share)


def distances_to(rows, centers):
    """Distances of rows of the host to all centres, of one block after another.

    Those of directions are cosine distances.
    """
    distances = np.empty((rows.shape[0], len(centers)), dtype=rows.dtype)
    for part, block in rows.blocks():
        found = euclidean_distances(block.X, centers, squared=rows.directions)
        distances[part] = found / 2 if rows.directions else found
    return distances


class DenseRows(MeasuredRows):
    """Rows of a C-contiguous array."""

    def __init__(self, X, config):
        self.X = X
        self.config = config
        self.shape = X.shape
        self.dtype = X.dtype
        self.frame = None
        self.tiles = None

    def blocks(self):
        """Slices and the rows there: all."""
        yield slice(0, self.shape[0]), self

    def keep_tiles(self):
        """Transpose the rows once and for all, if they are few enough."""
        n, d = self.shape
        if n * (d + 1) * self.dtype.itemsize <= TILES_BYTES:
            self.tiles = _dispatch.row_tiles(self.X, self.frame, config=self.config)

    def keep_codes(self, share):
        """Find codes of the rows, or where those would be too many, their step."""
        super().keep_codes(share)
        n, d = self.shape
        size = n * (-(-d // 4) * 4 + 3 * self.dtype.itemsize)
        if self.codes is not None and size + self.kept_bytes() <= CODES_BYTES:
            found = _dispatch.row_codes(
                self.X, self.frame, self.codes.step, config=self.config
            )
            self.codes = found._replace(share=share)

    def kept_bytes(self):
        """Bytes of what is kept of the rows."""
        size = 0 if self.tiles is None else self.tiles.nbytes
        if self.codes is not None and self.codes.codes is not None:
            size += self.codes.codes.nbytes + self.codes.lengths.nbytes
        return size

    def nearest(self, centers):
        """Labels."""
        frame = frame_of_centers(centers) if self.frame is None else self.frame
        codes = None if self.codes is None else self.codes._replace(share=1.0)
        return _dispatch.nearest_centers(
            self.X, centers, frame, self.tiles, codes, config=self.config
        )

    def nearest_by_codes(self, centers):
        """Labels, of which some may be wrong where codes have a share below 1."""
        return _dispatch.nearest_centers(
            self.X, centers, self.frame, self.tiles, self.codes, config=self.config
        )

    def nearest_bounded(self, centers, previous, labels, upper, lower):
        """Labels, given those for the previous centres and bounds, which change."""
        _dispatch.update_labels(
            self.X,
            centers,
            self.frame,
            self.tiles,
            labels,
            upper,
            lower,
            moves(previous, centers, self.frame),
            self.codes,
            config=self.config,
        )
        return labels

    def iterate(self, weight, centers, previous, state, sums, max_iter, tol):
        """Iterations of Lloyd's algorithm: see `_reference.iterate`."""
        return _dispatch.iterate(
            *(self.X, weight, centers, previous, self.frame, self.tiles),
            *(*state, *sums, max_iter, tol, self.codes),
            config=self.config,
        )

    def label_distances(self, centers, labels):
        """Squared distances to the centres of the labels."""
        return _dispatch.label_distances(self.X, centers, labels, config=self.config)

    def move(self, weight, old_labels, labels, sums, totals, counts):
        """Move rows between clusters."""
        _dispatch.move_rows(
            self.X,
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
        return self.X[indices]

    def part(self, indices):
        """Some rows, as rows."""
        return part_of(self, self.X[indices])

    def squared_distances(self, centers):
        """Squared distances to all centres in the frame, (n, k), of measured rows."""
        distances = np.empty((len(centers), self.shape[0]), dtype=self.dtype)
        closest = np.full(self.shape[0], np.inf, dtype=self.dtype)
        self.potentials_of(centers, closest, None, distances)
        return distances.T

    def potentials(self, indices, closest, weight, minima=None):
        """Potentials with each of these rows as a further centre: partial sums.

        With `minima`, (len(indices), n), what `closest` would be with each of them.
        """
        return self.potentials_of(self.X[indices], closest, weight, minima)

    def potentials_of(self, candidates, closest, weight, minima):
        """`potentials` with rows from elsewhere."""
        return _dispatch.potentials(
            self.X,
            self.frame,
            self.tiles,
            candidates,
            closest,
            weight,
            minima,
            config=self.config,
        )


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


def part_of(rows, X):
    """Rows X of dense `rows`, as rows."""
    part = DenseRows(X, rows.config)
    part.directions, part.frame = rows.directions, rows.frame
    if rows.codes is not None:
        part.codes = rows.codes._replace(codes=None, lengths=None)
    return part


def moves(previous, centers, frame):
    """How far each centre moved, in the frame, rounded up to float32."""
    steps = centers.astype(np.float64) - previous
    distances = np.sqrt(np.einsum("ij,ij->i", steps, steps))
    distances = (distances * float(frame.scale) * (1 + 1e-5)).astype(np.float32)
    return np.nextafter(distances, np.float32(np.inf))


def no_bounds():
    """Bounds where none are kept."""
    nothing = np.empty(0, dtype=np.float32)
    return nothing, nothing[None]


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

    def keep_codes(self, share):
        """Nothing is kept of sparse rows."""

    def nearest(self, centers):
        """Labels."""
        return _dispatch.nearest_centers_csr(*self.parts, centers, config=self.config)

    def label_distances(self, centers, labels):
        """Squared distances to the centres of the labels."""
        return _dispatch.label_distances_csr(
            *self.parts, centers, labels, config=self.config
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
