"""Rows of an array, with what is kept of them between steps."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._reference.lloyd import TILE, TILES_BYTES
from sklearn_ternary.cluster._distances import row_parts
from sklearn_ternary.cluster._frame import frame_of_centers
from sklearn_ternary.cluster._measured_rows import MeasuredRows

# Part of the memory for what is kept of the rows that goes to codes; bounds take the
# rest. Codes of further rows are found when wanted.
CODES_SHARE = 2 / 3


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
        if self.tiles is None and self._tile_bytes():
            self.tiles = _dispatch.row_tiles(self.X, self.frame, config=self.config)

    def leave_tiles(self):
        """Keep tiles for steps, or none where those take others."""
        if _dispatch.makes_tiles(self.shape[1], self.dtype, config=self.config):
            self.tiles = None
        else:
            self.keep_tiles()

    def _tile_bytes(self):
        """Bytes of tiles, 0 where they would be too many."""
        n, d = self.shape
        size = n * (d + 1) * self.dtype.itemsize
        return size if size <= TILES_BYTES else 0

    def keep_codes(self, share, n_clusters):
        """Find codes of as many rows as there is memory for."""
        super().keep_codes(share, n_clusters)
        d = self.shape[1]
        tile = TILE * (-(-d // 4) * 4 + 3 * self.dtype.itemsize)
        fit = int(CODES_SHARE * self.free_bytes(n_clusters)) // tile * TILE
        if self.codes is not None and fit > 0:
            found = _dispatch.row_codes(
                self.X[:fit], self.frame, self.codes.step, config=self.config
            )
            self.codes = found._replace(share=share)

    def kept_bytes(self):
        """Bytes of what is kept of the rows."""
        size = self._tile_bytes()
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

    def distance_parts(self, centers, labels):
        """Slices, and `label_distances` there."""
        for part in row_parts(len(labels)):
            yield (
                part,
                _dispatch.label_distances(
                    self.X[part], centers, labels[part], config=self.config
                ),
            )

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
