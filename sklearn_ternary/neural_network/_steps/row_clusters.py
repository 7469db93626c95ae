"""Clusters of rows whose gradients and weights are alike."""

import numpy as np

from sklearn_ternary._config import config_context, current_config
from sklearn_ternary.neural_network._steps.numbers import Number, Numbers

# Steps at which clusters are found anew, besides the start of every epoch.
_REFIT_STEPS = (1, 5, 20, 60)
_TINY = 1e-20


class RowClusters(Numbers):
    """Rows put together by :class:`~sklearn_ternary.ClusteredKMeans`.

    The features of a row are the logarithms of the running mean of its squared
    gradients, and of the size of its weights. Clusters are found anew at steps 1, 5,
    20, 60 and with each epoch, from the centres of the last time.

    Parameters
    ----------
    lengths : ndarray of shape (n_rows,)
        Values of each row.
    n_clusters : int
        At most the number of rows.
    keep : float
        Decay of the running means.
    random_state : int

    Attributes
    ----------
    labels : ndarray of shape (n_rows,), int32
        The cluster of each row; all are in the first until clusters are found.
    refit_pending : bool
        Whether to find them anew at the next step.
    """

    NUMBERS = "n_seen", "refit_pending"
    n_seen = Number(int)
    refit_pending = Number(bool)

    def __init__(self, lengths, n_clusters, keep, random_state):
        super().__init__()
        self.lengths = lengths
        self.n_clusters = min(n_clusters, len(lengths))
        self.keep = keep
        self.random_state = random_state
        self.labels = np.zeros(len(lengths), dtype=np.int32)
        self.centers = np.zeros((0, 2))
        self.row_means = np.zeros(len(lengths))

    def observe(self, squares):
        """Take in a gradient.

        Parameters
        ----------
        squares : array-like of shape (n_rows,)
            Sums of the squares of its rows.

        Returns
        -------
        is_due : bool
            Whether clusters are to be found now.
        """
        self.n_seen += 1
        means = squares / self.lengths
        share = 1 if self.n_seen == 1 else 1 - self.keep
        self.row_means += (means - self.row_means) * share
        return self.refit_pending or self.n_seen in _REFIT_STEPS

    def find(self, sizes):
        """Find the clusters anew.

        Parameters
        ----------
        sizes : ndarray of shape (n_rows,)
            Typical magnitude of the weights of each row.
        """
        from sklearn_ternary.cluster import ClusteredKMeans

        features = np.log(np.stack([self.row_means + _TINY, sizes + _TINY], axis=1))
        n_distinct = len(np.unique(features, axis=0))
        k = min(self.n_clusters, n_distinct)
        init = self.centers if len(self.centers) == k else "k-means++"
        kmeans = ClusteredKMeans(k, init=init, n_init=1, random_state=self.random_state)
        # Two numbers for each row: nothing for a device.
        backend = current_config().backend
        with config_context(backend="auto" if "cuda" in backend else backend):
            kmeans.fit(features)
        self.centers = kmeans.cluster_centers_
        self.labels = np.asarray(kmeans.labels_, dtype=np.int32)
        self.refit_pending = False

    @property
    def state(self):
        return super().state | {
            "labels": self.labels,
            "centers": self.centers,
            "row_means": self.row_means,
        }

    @state.setter
    def state(self, state):
        Numbers.state.fset(self, state)
        self.labels = np.array(state["labels"], dtype=np.int32)
        self.centers = np.array(state["centers"], dtype=np.float64).reshape(-1, 2)
        self.row_means[:] = state["row_means"]
