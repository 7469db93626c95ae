"""Rows on a device and the sums of their clusters: the steps of k-means."""

import numpy as np

from sklearn_ternary._gpu.device import runs_kernels
from sklearn_ternary._gpu.expressions import clusters
from sklearn_ternary._gpu.kernels import launch, macros_of, n_blocks
from sklearn_ternary._gpu.lloyd import (
    Centers,
    CoarseLook,
    Whole,
    find_labels,
    frame_on_device,
    split_bytes,
    split_rows,
)
from sklearn_ternary._gpu.memory import free_bytes
from sklearn_ternary._gpu.transfer import row_by_row
from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS
from sklearn_ternary._reference.lloyd import potentials as defined_potentials

_CANDIDATES = 4
# Bits of a value in the sums, and of the sums.
_MOST_BITS = 52
_SUM_BITS = 62
# Distances are found for so many bytes of float64 at a time.
_PANEL_BYTES = 2**27
# Parts of the rows are kept if they take no more than this part of what is free.
_KEPT = 0.5


def label_distances(X, centers, labels, *, device=None):
    """Squared distance of each row to the centre of its label, float64."""
    return _label_distances(X, Whole(centers), labels, device=device)


@row_by_row
def _label_distances(cupy, X, whole, labels):
    (centers,) = whole.held
    n, d = X.shape
    distances = cupy.empty(n, np.float64)
    args = (X, cupy.asarray(centers), np.int64(n), np.int32(d), labels, distances)
    grid = n_blocks(cupy, n, 32)
    launch(cupy, "clusters", "label_distances", grid, args, macros=macros_of(X.dtype))
    return distances


def make_block(lane, X):
    """The `Block` of rows, as their device can work on them."""
    with lane.active() as cupy:
        return (Block if runs_kernels(cupy) else ExpressedBlock)(lane, X)


class Block:
    """Rows of one device, in the lane where all is done with them.

    Parameters
    ----------
    lane : Lane
    X : ndarray of shape (n, d)
        C-contiguous, on the device of the lane.
    """

    def __init__(self, lane, X):
        self.lane = lane
        self.X = X
        self._frame = None
        self._split = None
        self._look = CoarseLook()

    def set_frame(self, frame):
        """Rows become ``x * scale - shift`` from here on."""
        with self.lane.active() as cupy:
            self._frame = frame_on_device(cupy, frame, self.X)
            self._split = None

    def keep_split(self):
        """Keep what labels are found with, if there is room for it."""
        with self.lane.active() as cupy:
            if split_bytes(*self.X.shape) <= _KEPT * free_bytes(cupy):
                self._split = split_rows(cupy, self.X, self._frame)

    def nearest(self, centers):
        """Labels, int32."""
        with self.lane.active() as cupy:
            ready = Centers(cupy, self.lane.put(centers), self._frame)
            args = self.X, ready, self._frame, self._split, self._look
            return find_labels(cupy, *args)

    def label_distances(self, centers, labels):
        """Squared distances to the centres of the labels, float64."""
        with self.lane.active():
            args = self.lane.put(centers), self.lane.put(labels)
            return label_distances(self.X, *args)

    def distances(self, centers, squared=False):
        """Distances to all centres, found in float64."""
        with self.lane.active() as cupy:
            origin = self._frame.shift / self._frame.scale
            centers = self.lane.put(centers).astype(np.float64) - origin
            norms = (centers * centers).sum(axis=1)
            found = cupy.empty((len(self.X), len(centers)), self.X.dtype)
            step = max(1, _PANEL_BYTES // (8 * (len(centers) + self.X.shape[1])))
            for first in range(0, len(self.X), step):
                rows = slice(first, first + step)
                X = self.X[rows].astype(np.float64) - origin
                squares = (X * X).sum(axis=1)[:, None] + norms - 2 * (X @ centers.T)
                squares = cupy.maximum(squares, 0)
                found[rows] = squares if squared else cupy.sqrt(squares)
            return found

    def extremes(self):
        """Largest magnitude of each column in the frame, float64 of the host."""
        with self.lane.active():
            scale = float(self._frame.scale)
            shift = self._frame.shift.get().astype(np.float64)
            ends = self.X.min(axis=0).get(), self.X.max(axis=0).get()
        return np.maximum(*(np.abs(end * scale - shift) for end in ends))

    def potentials(self, candidates, closest, weight, *, keep=False):
        """`_reference.potentials` for candidates, (m, d); (runs, m).

        With `keep`, of a single candidate, `closest` becomes what it is then.
        """
        with self.lane.active() as cupy:
            n, d = self.X.shape
            m = len(candidates)
            shift, scale = self._frame
            there = self.lane.put(candidates) * scale - shift
            runs = -(-n // POTENTIAL_ROWS)
            sums = cupy.empty((runs, m), np.float64)
            weighted = weight is not None
            head = (self.X, np.int64(n), np.int32(d), shift, scale)
            tail = (closest, weight if weighted else self.X, np.int32(weighted))
            tail = (*tail, np.int32(keep))
            for c in range(0, m, _CANDIDATES):
                few = np.int32(min(_CANDIDATES, m - c))
                args = (*head, there[c:], few, np.int32(m), *tail, sums.ravel()[c:])
                macros = macros_of(self.X.dtype)
                launch(cupy, "clusters", "potentials", runs, args, macros=macros)
            return sums

    def move(self, weight, old_labels, labels, sums):
        """Move rows between clusters, in the `FixedSums` of the lane."""
        with self.lane.active() as cupy:
            n, d = self.X.shape
            weighted = weight is not None
            lanes = min(5, (d - 1).bit_length())
            scale = np.float64(self._frame.scale)
            args = (self.X, np.int64(n), np.int32(d), self._frame.shift, scale)
            args = (*args, sums.factors, weight if weighted else self.X)
            args = (*args, np.int32(weighted), sums.unit, sums.one)
            args = (*args, old_labels, labels, np.int32(lanes), *sums.arrays)
            grid, macros = n_blocks(cupy, n, 256 >> lanes), macros_of(self.X.dtype)
            launch(cupy, "clusters", "move_rows", grid, args, macros=macros)


class ExpressedBlock(Block):
    """A `Block` whose steps are expressions of CuPy."""

    def keep_split(self):
        """Nothing is kept of the rows."""

    def nearest(self, centers):
        """Labels, int32."""
        with self.lane.active() as cupy:
            there = self.lane.put(centers)
            return clusters.nearest_centers(cupy, self.X, there, self._frame)

    def potentials(self, candidates, closest, weight, *, keep=False):
        """`_reference.potentials` for candidates."""
        with self.lane.active():
            there = self.lane.put(candidates)
            minima = closest[None] if keep else None
            args = self.X, self._frame, None, there, closest, weight, minima
            return defined_potentials(*args)

    def move(self, weight, old_labels, labels, sums):
        """Move rows between clusters, in the `FixedSums` of the lane."""
        with self.lane.active() as cupy:
            args = self.X, self._frame, weight, old_labels, labels, sums
            clusters.move_rows(cupy, *args)


class FixedSums:
    """Sums of clusters in whole numbers, which no order of additions changes.

    Parameters
    ----------
    lane : Lane
    n_clusters : int
    n_rows : int
        Of all blocks together.
    extremes : ndarray of shape (d,), float64
        Largest magnitude of each column, of all rows.
    largest_weight : float or None
        None if rows count 1 each.
    """

    def __init__(self, lane, n_clusters, n_rows, extremes, largest_weight):
        self.lane = lane
        bits = min(_MOST_BITS, _SUM_BITS - int(n_rows).bit_length())
        exponent = 0 if largest_weight is None else int(np.frexp(largest_weight)[1])
        self.unit = np.ldexp(1.0, -exponent)
        self.one = np.float64(2.0**bits)
        exponents = np.where(extremes > 0, bits - np.frexp(extremes)[1], 0)
        exponents = np.minimum(exponents, np.finfo(np.float64).maxexp - 1)
        with lane.active() as cupy:
            self.factors = cupy.asarray(np.ldexp(1.0, exponents))
            self.sums = cupy.zeros((n_clusters, len(extremes)), np.int64)
            self.totals = cupy.zeros(n_clusters, np.int64)
            self.counts = cupy.zeros(n_clusters, np.int64)
            self.n_changed = cupy.zeros(1, np.int64)

    @property
    def arrays(self):
        """What rows are moved in: sums, totals, counts and changed labels."""
        return self.sums, self.totals, self.counts, self.n_changed

    @classmethod
    def added(cls, lane, several):
        """Copies of sums of several lanes, added up in one."""
        first, *others = several
        result = object.__new__(cls)
        result.__dict__.update(first.__dict__)
        with lane.active():
            arrays = [lane.put(array).copy() for array in first.arrays]
            for other in others:
                for array, part in zip(arrays, other.arrays, strict=True):
                    array += lane.put(part)
            result.factors = lane.put(first.factors)
        result.lane = lane
        result.sums, result.totals, result.counts, result.n_changed = arrays
        return result

    def forget_changes(self):
        """Changed labels are counted from here on."""
        with self.lane.active():
            self.n_changed[...] = 0

    def means(self, frame):
        """Means of the clusters, float64; NaN for those without rows."""
        with self.lane.active() as cupy:
            totals = cupy.where(self.counts > 0, self.totals / self.one, np.nan)
            means = self.sums / self.factors / totals[:, None]
            shift = self.lane.put(frame.shift).astype(np.float64)
            return (means + shift) / np.float64(frame.scale)
