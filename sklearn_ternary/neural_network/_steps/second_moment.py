"""Second moments that rows, tensors or clusters of rows share."""

import numpy as np

from sklearn_ternary._config import config_context, current_config

# Steps at which clusters are found anew, besides the start of every epoch.
_REFIT_STEPS = (1, 5, 20, 60)


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
        - ``"cluster"``: rows with alike gradients and weights, found by
          :class:`~sklearn_ternary.ClusteredKMeans` on the logarithms of both. They
          are found anew at steps 1, 5, 20, 60 and with each epoch, from the centres
          of the last time, and then start from the means of the moments of their
          rows.
    beta_2 : float
    n_clusters : int
    random_state : int

    Attributes
    ----------
    values : ndarray of shape (n_groups,), float64
        The moments.
    groups : ndarray of shape (n_rows,), int32
        The group of each row.

    References
    ----------
    .. [1] Y. Zhang et al., "Adam-mini: use fewer learning rates to gain more",
       ICLR 2025, https://arxiv.org/abs/2406.16793
    """

    def __init__(self, segments, operations, kind, beta_2, n_clusters, random_state):
        self.segments = segments
        self.operations = operations
        self.kind = kind
        self.beta_2 = beta_2
        self.random_state = random_state
        self.lengths = np.diff(segments.row_bounds)
        n = len(self.lengths)
        self.n_clusters = min(n_clusters, n)
        self.centers = np.zeros((0, 2))
        self.row_means = np.zeros(n if kind == "cluster" else 0)
        self.refit_pending = False
        if kind == "row":
            groups = np.arange(n)
        elif kind == "tensor":
            groups = segments.of_rows(np.arange(len(segments)))
        else:
            groups = np.zeros(n)
        self.set_groups(groups)
        self.values = np.zeros(self.n_groups)

    def set_groups(self, groups):
        """Which row belongs where; the moments stay as they are."""
        self.groups = np.asarray(groups, dtype=np.int32)
        is_cluster = self.kind == "cluster"
        self.n_groups = self.n_clusters if is_cluster else int(self.groups.max()) + 1
        self.counts = np.bincount(self.groups, self.lengths, self.n_groups)

    def update(self, squares, parameters, step):
        """Take in a gradient.

        Parameters
        ----------
        squares : ndarray of shape (n_rows,)
            Sums of the squares of its rows.
        parameters : ndarray of shape (n,)
        step : int
            From 1 on.
        """
        if self.kind == "cluster":
            means = squares / self.lengths
            new = 1 - self.beta_2
            self.row_means += (means - self.row_means) * (1 if step == 1 else new)
            if step in _REFIT_STEPS or self.refit_pending:
                self._refit(parameters, step)
                self.refit_pending = False
        sums = np.bincount(self.groups, squares, self.n_groups)
        full = self.counts > 0
        means = np.divide(sums, self.counts, out=np.zeros_like(sums), where=full)
        # An empty group keeps its moment.
        self.values += np.where(full, (1 - self.beta_2) * (means - self.values), 0)

    def of_rows(self):
        """Moment of each row."""
        return self.values[self.groups]

    def _refit(self, parameters, step):
        from sklearn_ternary.cluster import ClusteredKMeans

        sizes = self.operations.abs_sums(parameters, self.segments.row_bounds)
        sizes /= self.lengths
        tiny = 1e-20
        features = np.log(np.stack([self.row_means + tiny, sizes + tiny], axis=1))
        n_distinct = len(np.unique(features, axis=0))
        k = min(self.n_clusters, n_distinct)
        init = self.centers if len(self.centers) == k else "k-means++"
        kmeans = ClusteredKMeans(k, init=init, n_init=1, random_state=self.random_state)
        # Two numbers for each row: nothing for a device.
        backend = current_config().backend
        with config_context(backend="auto" if "cuda" in backend else backend):
            kmeans.fit(features)
        self.centers = kmeans.cluster_centers_
        moments = self.of_rows() * self.lengths
        self.set_groups(kmeans.labels_)
        sums = np.bincount(self.groups, moments, self.n_groups)
        full = self.counts > 0
        np.divide(sums, self.counts, out=self.values, where=full)

    @property
    def state(self):
        state = {"second": self.values}
        if self.kind == "cluster":
            state |= {
                "groups": self.groups,
                "centers": self.centers,
                "row_means": self.row_means,
                "refit_pending": self.refit_pending,
            }
        return state

    @state.setter
    def state(self, state):
        self.values = np.array(state["second"], dtype=np.float64)
        if self.kind == "cluster":
            self.centers = np.array(state["centers"], dtype=np.float64).reshape(-1, 2)
            self.row_means = np.array(state["row_means"], dtype=np.float64)
            self.refit_pending = bool(state["refit_pending"])
            self.set_groups(state["groups"])
