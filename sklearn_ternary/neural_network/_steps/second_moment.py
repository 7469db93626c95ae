"""Second moments that rows, tensors or clusters of rows share."""

import numpy as np

from sklearn_ternary.neural_network._steps.row_clusters import RowClusters


class SharedSecondMoment:
    """One second moment for each group of rows: the rule of Adam-mini [1]_.

    The moment of a group moves towards the mean of the squared gradients of its
    values. With groups of one value it is Adam's, with a single group the step is
    momentum of normalised length.

    Parameters
    ----------
    segments : Segments
    operations : module or namespace
        The functions of `sklearn_ternary._reference.steps`.
    kind : {"row", "tensor", "cluster"}
        - ``"row"``: each row of a matrix (an output) is a group, each vector one.
        - ``"tensor"``: each tensor is a group.
        - ``"cluster"``: each of `RowClusters`, the size of a row being the mean
          magnitude of its weights; new clusters start from the means of the moments
          of their rows.
    beta_2 : float
    n_clusters : int
    random_state : int

    Attributes
    ----------
    values : ndarray of shape (n_groups,), float64
        The moments.
    groups : ndarray of shape (n_rows,), int32
        The group of each row.
    clusters : RowClusters or None

    References
    ----------
    .. [1] Y. Zhang et al., "Adam-mini: use fewer learning rates to gain more",
       ICLR 2025, https://arxiv.org/abs/2406.16793
    """

    def __init__(self, segments, operations, kind, beta_2, n_clusters, random_state):
        self.segments = segments
        self.operations = operations
        self.beta_2 = beta_2
        self.lengths = np.diff(segments.row_bounds)
        self.clusters = None
        if kind == "cluster":
            self.clusters = RowClusters(self.lengths, n_clusters, beta_2, random_state)
            groups = self.clusters.labels
        elif kind == "row":
            groups = np.arange(len(self.lengths))
        else:
            groups = segments.tensor_of_rows
        self.set_groups(groups)
        self.values = np.zeros(self.n_groups)

    def set_groups(self, groups):
        """Which row belongs where; the moments stay as they are."""
        self.groups = np.asarray(groups, dtype=np.int32)
        if self.clusters is None:
            self.n_groups = int(self.groups.max()) + 1
        else:
            self.n_groups = self.clusters.n_clusters
        self.counts = np.bincount(self.groups, self.lengths, self.n_groups)

    def update(self, squares, parameters):
        """Take in a gradient.

        Parameters
        ----------
        squares : ndarray of shape (n_rows,)
            Sums of the squares of its rows.
        parameters : ndarray of shape (n,)
        """
        if self.clusters is not None and self.clusters.observe(squares):
            self._refit(parameters)
        # An empty group keeps its moment.
        means = self._group_means(squares, self.values)
        self.values += (1 - self.beta_2) * (means - self.values)

    def of_rows(self):
        """Moment of each row."""
        return self.values[self.groups]

    def _refit(self, parameters):
        bounds = self.segments.row_bounds
        self.clusters.find(self.operations.abs_sums(parameters, bounds) / self.lengths)
        sums = self.of_rows() * self.lengths
        self.set_groups(self.clusters.labels)
        self.values = self._group_means(sums, self.values)

    def _group_means(self, sums, of_empty):
        """Sums of rows over the values of their groups."""
        sums = np.bincount(self.groups, sums, self.n_groups)
        return np.divide(sums, self.counts, out=of_empty.copy(), where=self.counts > 0)

    @property
    def state(self):
        state = {"second": self.values}
        if self.clusters is not None:
            found = self.clusters.state
            state |= {f"clusters.{name}": value for name, value in found.items()}
        return state

    @state.setter
    def state(self, state):
        self.values = np.array(state["second"], dtype=np.float64)
        if self.clusters is not None:
            names = self.clusters.state
            self.clusters.state = {name: state[f"clusters.{name}"] for name in names}
            self.set_groups(self.clusters.labels)
