"""What is given to `fit`, checked."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_X_y, validate_data

from sklearn_ternary._gpu.arrays import from_device, is_device_array, take, to_host
from sklearn_ternary._sklearn_compat import _check_sample_weight
from sklearn_ternary._validation import check_finite, validated_on_device
from sklearn_ternary.neural_network._training.targets import ClassTargets, NumberTargets

_DTYPES = [np.float64, np.float32]
# Up to so many rows, equal ones are merged.
_MERGED_ROWS = 1000


class Samples(NamedTuple):
    """Checked samples.

    Parameters
    ----------
    X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)
        As it was given, not scaled.
    y : ndarray
        What losses of classes take, or numbers that are not scaled.
    weight : ndarray of shape (n_samples,) or None
        Above 0.
    """

    X: object
    y: np.ndarray
    weight: np.ndarray | None

    def of_rows(self, rows):
        """Some of the samples."""
        weight = None if self.weight is None else self.weight[rows]
        return Samples(take(self.X, rows), self.y[rows], weight)


def check_samples(estimator, X, y, sample_weight, *, reset, classes=None):
    """Check samples and weights, and turn classes into numbers.

    Parameters
    ----------
    estimator : ConstrainedTrainer
        Learns features, targets and classes from the samples where `reset`.
    X, y, sample_weight : array-like
    reset : bool
    classes : array-like, default=None
        All classes that will come.

    Returns
    -------
    samples : Samples
        Without those of weight 0; equal ones of a small set are one.
    """
    is_classifier = estimator.loss == "log_loss"
    X, y, rows = _checked(estimator, X, y, reset, not is_classifier)
    weight = None
    if sample_weight is not None:
        weight = _check_sample_weight(
            to_host(from_device(sample_weight)),
            rows,
            dtype=np.float64,
            ensure_non_negative=True,
        )
        if not weight.any():
            raise ValueError("sample_weight has no value above 0")
    if is_classifier:
        if reset:
            used = y if weight is None else y[weight > 0]
            estimator._targets = ClassTargets.of(used, classes)
            estimator.classes_ = estimator._targets.classes
        if estimator.class_weight is not None:
            extra = compute_sample_weight(estimator.class_weight, y)
            weight = extra if weight is None else weight * extra
        if weight is not None:  # classes of weight 0 may be unknown
            X, y, weight = Samples(X, y, weight).of_rows(np.flatnonzero(weight > 0))
        y = estimator._targets.encode(y)
    else:
        y = y.astype(np.float64)
    samples = _merged(X, y, weight)
    if not is_classifier and reset:
        estimator._targets = NumberTargets.of(samples.y, samples.weight, estimator.loss)
    return samples


def _checked(estimator, X, y, reset, numeric):
    """X, y, and an array of the host with as many rows."""
    y = to_host(from_device(y))
    options = {"multi_output": True, "y_numeric": numeric}
    if is_device_array(X):
        X = validated_on_device(estimator, X, reset)
        check_finite(X, "X")
        rows, y = check_X_y(np.zeros((len(X), 1)), y, **options)
    else:
        X, y = validate_data(
            estimator,
            X,
            y,
            accept_sparse="csr",
            dtype=_DTYPES,
            reset=reset,
            accept_large_sparse=False,
            **options,
        )
        rows = X
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return X, y, rows


def _merged(X, y, weight):
    """Samples without rows of weight 0, and equal rows of a small set made one.

    Then a weight of n and n equal rows are the same to the bit, and the order of the
    rows is of no importance.
    """
    samples = Samples(X, y, weight)
    if weight is not None:
        samples = samples.of_rows(np.flatnonzero(weight))
    n = len(samples.y)
    if not 0 < n <= _MERGED_ROWS:
        return samples
    rows = to_host(samples.X)
    rows = rows.toarray() if sparse.issparse(rows) else rows
    table = np.hstack([rows, samples.y.reshape(n, -1)]).astype(np.float64)
    table += 0.0  # -0 is 0
    _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    sums = np.bincount(inverse.ravel(), samples.weight, len(first)).astype(np.float64)
    merged = samples.of_rows(first)
    return merged._replace(weight=None if (sums == 1).all() else sums)
