"""Batches that a function of the user has changed."""

import numpy as np
from sklearn.utils import check_array

from sklearn_ternary._gpu.arrays import is_device_array
from sklearn_ternary._validation import as_float_array, check_finite

_NAME = "augment(X, random_state)"


class Augmentation:
    """What a run trains on instead of its samples: changed, then scaled.

    Parameters
    ----------
    augment : callable
        From rows and a RandomState to rows.
    standardization : Standardization
    """

    def __init__(self, augment, standardization):
        self.augment = augment
        self.standardization = standardization

    def apply(self, X, random_state):
        """Scaled rows.

        Parameters
        ----------
        X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)
            A copy that may be changed.
        random_state : RandomState

        Raises
        ------
        ValueError
            If they are not as many numbers as before, or not all finite.
        """
        shape = X.shape
        X = self.augment(X, random_state)
        if is_device_array(X):
            X = as_float_array(X, _NAME)
            check_finite(X, _NAME)
        else:
            X = check_array(
                X,
                accept_sparse="csr",
                dtype=[np.float64, np.float32],
                input_name=_NAME,
            )
        if X.shape != shape:
            raise ValueError(f"{_NAME} has shape {X.shape}, and X has {shape}")
        return self.standardization.apply(X)
