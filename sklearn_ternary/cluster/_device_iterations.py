"""What k-means keeps of rows on devices from step to step."""

import numpy as np

from sklearn_ternary._gpu.arrays import to_host
from sklearn_ternary._gpu.blocks import FixedSums, make_block
from sklearn_ternary._reference.lloyd import POTENTIAL_ROWS
from sklearn_ternary.cluster._cluster_sums import farthest_rows
from sklearn_ternary.cluster._directions import unit_centers
from sklearn_ternary.cluster._iterations import Step


def _cut(rows, array):
    """Parts of an array of the host, each where the block of these rows is."""
    cut = []
    for lane, part in zip(rows.pieces.lanes, rows.pieces.parts, strict=True):
        with lane.active():
            cut.append(None if array is None else lane.put(array[part]))
    return cut


class DeviceIterations:
    """Labels of the rows, and the sums of the clusters kept up to date with them.

    Each lane has sums of its own, in whole numbers: added up they are the same
    however many lanes there are, and rows that come and go leave nothing behind.

    Parameters
    ----------
    rows : DeviceRows
        Measured.
    weight : ndarray of shape (n,) or None
        Of the host.
    n_clusters : int
    labelling : BalancedLabels, default=None
        Finds the labels for centres; None finds the nearest ones.
    """

    def __init__(self, rows, weight, n_clusters, labelling=None):
        self.rows, self.weight, self.labelling = rows, weight, labelling
        none = np.full(rows.shape[0], -1, dtype=np.int32)
        self._weights, self._labels = _cut(rows, weight), _cut(rows, none)
        extremes = [block.extremes() for _, block in rows.blocks()]
        largest_weight = None if weight is None else float(weight.max())
        options = n_clusters, rows.shape[0], np.max(extremes, axis=0), largest_weight
        self._sums = {
            lane: FixedSums(lane, *options) for lane in dict.fromkeys(rows.pieces.lanes)
        }
        self._total = None

    @property
    def labels(self):
        """Labels of all rows."""
        return self.rows.gathered(self._labels)

    def advance(self, centers, max_iter, tol):
        """An iteration."""
        strict = self.assign(centers)
        means = self.means(centers)
        home = self.rows.pieces.home
        with home.active():
            shift = ((means.astype(np.float64) - home.put(centers)) ** 2).sum()
        return Step(means, centers, 1, strict, float(shift))

    def assign(self, centers):
        """Find the labels for these centres; whether they are those of before."""
        for sums in self._sums.values():
            sums.forget_changes()
        if self.labelling is not None:
            self.labelling.begin(centers)
        for i, (part, block) in enumerate(self.rows.blocks()):
            if self.labelling is None:
                found = block.nearest(centers)
            else:
                with block.lane.active():
                    found = block.lane.put(self.labelling.of(part, block))
            sums = self._sums[block.lane]
            block.move(self._weights[i], self._labels[i], found, sums)
            self._labels[i] = found
        self._total = FixedSums.added(self.rows.pieces.home, self._sums.values())
        return int(self._total.n_changed[0]) == 0

    def means(self, centers):
        """Means of the clusters; empty ones of `centers` move to the farthest rows."""
        total, counts = self._total, self._total.counts.get()
        if not counts.all():
            total = self._relocated(total, centers, counts)
            counts = total.counts.get()
        means = total.means(self.rows.frame)
        if self.rows.directions:
            means = unit_centers(to_host(means), to_host(centers))
            with total.lane.active():
                means = total.lane.put(means)
        if not counts.all():
            # As in scikit-learn, what stays empty goes where the heaviest cluster is.
            heaviest = np.where(counts > 0, total.totals.get(), -1).argmax()
            with total.lane.active():
                means[total.lane.put(counts == 0)] = means[int(heaviest)]
        with total.lane.active():
            return means.astype(self.rows.dtype)

    def pull(self, centers):
        """Weight of the rows of each cluster, and the sum of their differences.

        The differences are those to these centres, times the weights; of the host.
        """
        total = self._total
        weights = total.totals.get() / (total.one * total.unit)
        means = to_host(total.means(self.rows.frame))
        differences = weights[:, None] * (means - centers)
        return weights, np.where(weights[:, None] > 0, differences, 0)

    def finish(self, centers, previous, shift):
        """The labels and the centres that a run ends with."""
        if shift > 0:
            self.assign(centers)
        return self.labels, centers

    def shown(self, centers):
        """Centres as users see them."""
        return to_host(centers) if self.rows.on_host else centers

    def _relocated(self, total, centers, counts):
        """Sums with the rows farthest from their centres in the empty clusters."""
        empty, labels = np.flatnonzero(counts == 0), to_host(self.labels)
        rows = farthest_rows(
            self.rows, self.weight, to_host(centers), labels, len(empty)
        )
        total = FixedSums.added(total.lane, [total])
        if not len(rows):
            return total
        with total.lane.active():
            block = make_block(total.lane, total.lane.put(self.rows.take(rows)))
            block.set_frame(self.rows.frame)
            weight = None if self.weight is None else total.lane.put(self.weight[rows])
            new = empty[: len(rows)].astype(np.int32)
            block.move(weight, total.lane.put(labels[rows]), total.lane.put(new), total)
        return total


class DeviceSeeding:
    """The squared distances of rows on devices to the nearest of those drawn.

    Parameters
    ----------
    rows : DeviceRows
        Measured.
    weight : ndarray of shape (n,) or None
        Of the host.
    """

    def __init__(self, rows, weight):
        self.rows, self.weight = rows, weight
        self._weights = _cut(rows, weight)
        self._closest = _cut(rows, np.full(rows.shape[0], np.inf, rows.dtype))

    def attempt(self, candidates):
        """Potentials with each candidate as a further centre: sums of runs of rows."""
        return self._potentials(self.rows.take(candidates), keep=False)

    def choose(self, row):
        """Make one row, in an array, a centre; the sums of the runs after that."""
        return self._potentials(self.rows.take(row), keep=True)[:, 0]

    def choose_attempted(self, candidates, best, sums):
        """`choose` one of the candidates that were attempted last."""
        return self.choose(candidates[best : best + 1])

    def _potentials(self, candidates, keep):
        found = [
            block.potentials(candidates, self._closest[i], self._weights[i], keep=keep)
            for i, (_, block) in enumerate(self.rows.blocks())
        ]
        return np.concatenate([sums.get() for sums in found])

    def terms(self, run):
        """Weight times squared distance for the rows of a run."""
        start = run * POTENTIAL_ROWS
        ends = [part.stop for part in self.rows.pieces.parts]
        i = int(np.searchsorted(ends, start, side="right"))
        start -= self.rows.pieces.parts[i].start
        part = slice(start, start + POTENTIAL_ROWS)
        terms = self._closest[i][part].get().astype(np.float64)
        if self.weight is not None:
            terms *= self._weights[i][part].get()
        return terms
