"""The samples of a run, ready for batches."""

import numpy as np
from scipy import sparse

from sklearn_ternary._config import get_config
from sklearn_ternary._gpu.arrays import is_device_array, like, take
from sklearn_ternary._gpu.memory import fits


class TrainingData:
    """Samples, encoded targets and weights.

    Parameters
    ----------
    X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)
        Scaled, float32; with `augmentation` as they are.
    targets : ndarray
    weight : ndarray of shape (n_samples,) or None
    augmentation : Augmentation, default=None
        Makes batches of samples.
    """

    def __init__(self, X, targets, weight, augmentation=None):
        self.X = X
        self.augmentation = augmentation
        self.targets = targets
        self.weight = self.mean_weight = None
        if weight is not None:
            self.weight = weight.astype(np.float32)
            self.mean_weight = float(np.mean(self.weight, dtype=np.float64))

    def __len__(self):
        return self.X.shape[0]

    def move(self, reference):
        """Move the samples to the device of an array, if it is on one and they fit.

        Batches are then put together there. Others are moved one at a time, and those
        of an augmentation after it: its function gets what the user has.
        """
        if not is_device_array(reference) or sparse.issparse(self.X):
            return
        if self.augmentation is not None:
            return
        fraction = get_config()["max_device_fraction"]
        if fits(self.X.nbytes + self.targets.nbytes, fraction):
            self.X = like(self.X, reference)
            self.targets = like(self.targets, reference)

    def batch(self, chosen, random_state=None):
        """Samples, targets, weights, and their mean weight over that of all."""
        X, targets = take(self.X, chosen), take(self.targets, chosen)
        if self.augmentation is not None:
            X = self.augmentation.apply(X, random_state)
        if self.weight is None:
            return X, targets, None, 1.0
        weight = self.weight[chosen]
        share = float(np.mean(weight, dtype=np.float64)) / self.mean_weight
        return X, targets, weight, share
