"""Iterations of Lloyd's algorithm on rows of the host."""

from typing import NamedTuple

import numpy as np

from sklearn_ternary._dispatch import iterates
from sklearn_ternary.cluster._cluster_sums import ClusterSums
from sklearn_ternary.cluster._dense_rows import DenseRows, no_bounds


def start_iterations(
    rows,
    weight,
    n_clusters,
    *,
    bounded=False,
    approximate=False,
    labelling=None,
    watched=False,
):
    """What a run keeps from iteration to iteration: labels and sums of clusters.

    Parameters
    ----------
    rows : DenseRows, SparseRows or BlockedRows
    weight : ndarray of shape (n,) or None
    n_clusters : int
    bounded : bool, default=False
        Keep bounds of the distances from iteration to iteration and look only at
        rows whose label they leave open: `rows` are dense and measured.
    approximate : bool, default=False
        Codes of the rows may lead to wrong labels, but for the last ones.
    labelling : BalancedLabels, default=None
        Finds the labels for centres; None finds the nearest ones.
    watched : bool, default=False
        Whether something happens after each iteration.
    """
    if labelling is None:
        if bounded:
            labelling = _Bounded(rows, n_clusters)
        else:
            labelling = (_Coded if approximate else _Nearest)()
    alone = not watched and _iterates_alone(rows, labelling)
    kind = _Alone if alone else _OneByOne
    return kind(rows, weight, labelling, n_clusters, approximate)


class Step(NamedTuple):
    """One or more iterations: the centres `means` follow the `previous` ones."""

    means: np.ndarray
    previous: np.ndarray
    n_iter: int
    strict: bool
    shift: float


class _OneByOne:
    """Iterations one after another."""

    def __init__(self, rows, weight, labelling, n_clusters, approximate):
        self.rows, self.weight, self.labelling = rows, weight, labelling
        rows.leave_tiles()
        self.approximate = approximate
        self.labels = np.full(rows.shape[0], -1, dtype=np.int32)
        self.sums = ClusterSums(rows, n_clusters)

    def advance(self, centers, max_iter, tol):
        """An iteration."""
        n = self.rows.shape[0]
        found = np.empty(n, dtype=np.int32)
        self.labelling.begin(centers)
        # Rows that are not all in memory are read once.
        for part, block in self.rows.blocks():
            found[part] = self.labelling.of(part, block)
            self.sums.move_part(block, part, n, self.weight, self.labels, found)
        self.sums.settle()
        strict = np.array_equal(found, self.labels)
        self.labels = found
        return self._end(centers, 1, strict)

    def finish(self, centers, previous, shift):
        """The labels and the centres that a run ends with.

        Parameters
        ----------
        centers : ndarray of shape (k, d)
            Those of the last step.
        previous : ndarray of shape (k, d)
            Those before, which the labels are for.
        shift : float
            Sum of the squares of what the last step moved them.
        """
        labels = self.labels
        # What rows that came and went left in the sums is rounding: once more, of
        # the rows that there are.
        self.sums.renew(self.rows, self.weight, labels)
        means = self.sums.means(self.rows, self.weight, previous, labels)
        if self.approximate or shift > 0 or not np.array_equal(means, centers):
            centers = means
            labelling = _Nearest() if self.approximate else self.labelling
            labelling.begin(centers)
            for part, block in self.rows.blocks():
                labels[part] = labelling.of(part, block)
        return labels, centers

    def shown(self, centers):
        """Centres as users see them."""
        return centers

    def _end(self, centers, n_iter, strict):
        means = self.sums.means(self.rows, self.weight, centers, self.labels)
        shift = float(((means.astype(np.float64) - centers) ** 2).sum())
        return Step(means, centers, n_iter, strict, shift)


class _Alone(_OneByOne):
    """As many iterations at once as there are without empty clusters."""

    def __init__(self, rows, weight, labelling, n_clusters, approximate):
        super().__init__(rows, weight, labelling, n_clusters, approximate)
        self.previous = None
        self.state = self.labels, *no_bounds()
        if isinstance(labelling, _Bounded):
            self.state = labelling.state
        self.labels = self.state[0]

    def advance(self, centers, max_iter, tol):
        """Iterations up to the last, or to one that leaves a cluster empty."""
        sums = self.sums.sums, self.sums.totals, self.sums.counts
        step = Step(
            *self.rows.iterate(
                *(self.weight, centers, self.previous, self.state, sums, max_iter, tol)
            )
        )
        # Bounds are of these.
        self.previous = self.labelling.centers = step.previous
        if step.means is not None:
            return step
        return self._end(step.previous, step.n_iter, step.strict)


def _iterates_alone(rows, labelling):
    """Whether nothing has to be done between iterations."""
    return (
        isinstance(rows, DenseRows)
        and not rows.directions
        and rows.frame is not None
        and isinstance(labelling, (_Nearest, _Bounded))
        and iterates(config=rows.config)
    )


class _Nearest:
    """Finds the nearest centres, of one block of rows after another."""

    def begin(self, centers):
        """Labels for these centres are asked for next."""
        self.centers = centers

    def of(self, part, block):
        """Labels of the rows in a slice."""
        return block.nearest(self.centers)


class _Bounded:
    """Finds them by means of those of the centres before."""

    def __init__(self, rows, n_clusters):
        self.state = rows.start_bounds(n_clusters)
        self.centers = None

    def begin(self, centers):
        """Labels for these centres are asked for next."""
        self.previous = centers if self.centers is None else self.centers
        self.centers = centers

    def of(self, part, block):
        """Labels of the rows in a slice."""
        state = (array[..., part] for array in self.state)
        return block.nearest_bounded(self.centers, self.previous, *state)


class _Coded(_Nearest):
    """Finds nearly the nearest ones by codes."""

    def of(self, part, block):
        """Labels of the rows in a slice."""
        return block.nearest_by_codes(self.centers)
