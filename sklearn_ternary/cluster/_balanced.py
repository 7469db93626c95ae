"""Labels of least cost with no cluster too small or too large."""

import numpy as np

from sklearn_ternary._gpu.arrays import to_host
from sklearn_ternary.cluster._dense_rows import DenseRows
from sklearn_ternary.cluster._device_rows import DeviceRows
from sklearn_ternary.cluster._transport import assign

# Rows whose costs are found at a time, where that takes more than the costs do.
_FOUND = 65536


def size_limits(n_clusters, n_rows, min_cluster_size, max_cluster_size):
    """Smallest and largest number of rows of a cluster, or None without limits.

    Raises
    ------
    ValueError
        If `n_rows` cannot be parted so.
    """
    if min_cluster_size is None and max_cluster_size is None:
        return None
    smallest = 0 if min_cluster_size is None else min_cluster_size
    largest = n_rows if max_cluster_size is None else max_cluster_size
    if smallest > largest:
        raise ValueError(
            f"min_cluster_size={min_cluster_size} exceeds "
            f"max_cluster_size={max_cluster_size}"
        )
    if smallest * n_clusters > n_rows:
        raise ValueError(
            f"min_cluster_size={min_cluster_size} needs {smallest * n_clusters} rows "
            f"in n_clusters={n_clusters} clusters, and {n_rows} have weight"
        )
    if largest * n_clusters < n_rows:
        raise ValueError(
            f"max_cluster_size={max_cluster_size} leaves room for "
            f"{largest * n_clusters} rows in n_clusters={n_clusters} clusters, and "
            f"{n_rows} have weight"
        )
    return smallest, largest


class BalancedLabels:
    """Finds the labels of rows for centres, within limits of the sizes.

    Parameters
    ----------
    rows : DenseRows, SparseRows, BlockedRows or DeviceRows
        Of the latter, distances are found on the device, and prices of the host.
    weight : ndarray of shape (n,) or None
        Rows of weight 0 do not count and get the nearest centre.
    smallest, largest : int
        Rows of each cluster.
    """

    def __init__(self, rows, weight, smallest, largest):
        self.rows = rows
        self.weight = weight
        self.smallest = smallest
        self.largest = largest
        self.prices = None
        self.labels = None

    def begin(self, centers):
        """Find the labels; prices are kept for the next centres, which are similar."""
        labels = to_host(self.rows.nearest(centers))
        counted = slice(None)
        if self.weight is not None:
            counted = np.flatnonzero(self.weight > 0)
        self.labels = labels
        sizes = np.bincount(labels[counted], minlength=len(centers))
        if self.smallest <= sizes.min() and sizes.max() <= self.largest:
            return
        costs = self._costs(centers)
        if self.weight is not None:
            costs = costs.take(counted, axis=1) * self.weight[counted]
        limits = self.smallest, self.largest
        labels[counted], self.prices = assign(
            costs, *limits, self.prices, config=self.rows.config
        )

    def _costs(self, centers):
        """Squared distances, of the scale that rows are compared in, of the host."""
        if isinstance(self.rows, (DenseRows, DeviceRows)):
            return np.ascontiguousarray(self.rows.squared_distances(centers).T)
        costs = np.empty((len(centers), self.rows.shape[0]), dtype=self.rows.dtype)
        for part, block in self.rows.blocks():
            for start in range(0, part.stop - part.start, _FOUND):
                here = slice(
                    part.start + start, min(part.stop, part.start + start + _FOUND)
                )
                rows = block.part(slice(start, start + _FOUND))
                costs[:, here] = rows.squared_distances(centers).T
        return costs

    def of(self, part, block):
        """Labels of the rows in a slice."""
        return self.labels[part]
