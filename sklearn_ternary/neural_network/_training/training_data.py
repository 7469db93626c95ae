"""The samples of a run, ready for batches."""

import numpy as np
from scipy import sparse

from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import is_device_array, like, take, to_host
from sklearn_ternary._gpu.memory import fits

# Up to so many rows, equal ones are merged.
_MERGED_ROWS = 1000


class TrainingData:
    """Scaled samples, encoded targets and weights.

    Parameters
    ----------
    X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)
        float32.
    targets : ndarray
    weight : ndarray of shape (n_samples,) or None
    """

    def __init__(self, X, targets, weight):
        self.X = X
        self.targets = targets
        self.weight = self.mean_weight = None
        if weight is not None:
            self.weight = weight.astype(np.float32)
            self.mean_weight = float(np.mean(self.weight, dtype=np.float64))

    def __len__(self):
        return self.X.shape[0]

    def move(self, reference):
        """Move the samples to the device of an array, if it is on one and they fit.

        Batches are then put together there. Others are moved one at a time.
        """
        if not is_device_array(reference) or sparse.issparse(self.X):
            return
        fraction = get_config()["max_device_fraction"]
        if fits(self.X.nbytes + self.targets.nbytes, fraction):
            self.X = like(self.X, reference)
            self.targets = like(self.targets, reference)

    def batch(self, chosen):
        """Samples, targets, weights, and their mean weight over that of all."""
        X, targets = take(self.X, chosen), take(self.targets, chosen)
        if self.weight is None:
            return X, targets, None, 1.0
        weight = self.weight[chosen]
        share = float(np.mean(weight, dtype=np.float64)) / self.mean_weight
        return X, targets, weight, share


def merge_equal_rows(X, y, weight):
    """Leave out rows of weight 0, and make equal rows of a small set one.

    Then a weight of n and n equal rows are the same to the bit, and the order of the
    rows is of no importance. Only sets of at most 1,000 rows are merged.

    Parameters
    ----------
    X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Numbers.
    weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    chosen : ndarray of int
        Rows that remain.
    weight : ndarray of shape (n_chosen,) or None
        Sums of their weights; None where all are 1.
    """
    n = X.shape[0]
    chosen = np.arange(n)
    if weight is not None:
        chosen = np.flatnonzero(weight)
    if len(chosen) > _MERGED_ROWS or len(chosen) == 0:
        return chosen, None if weight is None else weight[chosen]
    rows = to_host(take(X, chosen))
    rows = rows.toarray() if sparse.issparse(rows) else rows
    table = np.hstack([rows, y[chosen].reshape(len(chosen), -1)]).astype(np.float64)
    table += 0.0  # -0 is 0
    _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    each = np.ones(len(chosen)) if weight is None else weight[chosen]
    sums = np.bincount(inverse.ravel(), each, len(first))
    if (sums == 1).all():
        sums = None
    return chosen[first], sums
