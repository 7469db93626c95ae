"""Dense rows that are measured, and what is found from their measure."""

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from sklearn_ternary._reference.lloyd import PANEL, group_size, n_slices, row_tiles
from sklearn_ternary._reference.lloyd_codes import Codes, rotated
from sklearn_ternary.cluster._distances import distance_sums
from sklearn_ternary.cluster._frame import make_frame
from sklearn_ternary.cluster._seeding import Seeding

_SAMPLE_ROWS = 63
_CODED_ROWS = 256
# Of all that is kept but two numbers for each row.
WORK_BYTES = 60 * 2**20
# Values for each one of the centres that a step has at the same time: them as they
# are, were, become and are packed, and their sums.
_CENTER_VALUES = 13
# Bounds are kept for groups of centres from so many centres on.
_GROUPS_FROM = 64


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
        total, largest = distance_sums(self, None, center[None], labels)
        self.set_frame(make_frame(center, np.sqrt(largest), self.dtype))
        self.center, self.about_center = center, total

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

    def free_bytes(self, n_clusters):
        """Bytes that may still be kept of the rows."""
        values = n_clusters * self.shape[1]
        sums = self.n_slices(n_clusters) * values * 8
        centers = _CENTER_VALUES * values * self.dtype.itemsize
        return WORK_BYTES - sums - centers - self.kept_bytes()

    def groups_that_fit(self, n_clusters):
        """How many groups of centres bounds are kept for; 0 where memory forbids any.

        With bounds a row has five more numbers in all than it has without, and one
        for each further group.
        """
        fit = self.free_bytes(n_clusters) // (4 * self.shape[0]) - 4
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

    def keep_tiles(self):
        """Nothing is kept of most kinds of rows."""

    def leave_tiles(self):
        """Nothing is kept of most kinds of rows."""

    def kept_bytes(self):
        """Bytes of what is kept of the rows."""
        return 0

    def keep_codes(self, share, n_clusters):
        """Find the step of codes of the rows."""
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
