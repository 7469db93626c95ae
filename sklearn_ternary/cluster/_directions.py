"""Rows and centres of length 1, for clusters of directions."""

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import namespace
from sklearn_ternary._reference.lloyd import squared_distances

# Squares of float64 between these stay within its range.
_LARGE = 1e140
_SMALL = 1e-140
# Values that are divided at a time, in double precision.
_VALUES = 2**20


def unit_rows(X, config):
    """Rows divided by their norms, and where they are zero and stay so.

    The norms are those of float64 whatever the dtype, and a row does not depend on
    the others.

    Parameters
    ----------
    X : C-contiguous ndarray, of NumPy or CuPy, or csr_matrix of shape (n, d)
        Of float32 or float64, finite.
    config : Config

    Returns
    -------
    unit : ndarray or csr_matrix of shape (n, d)
        Of the dtype of X.
    zero : ndarray of shape (n,), bool
    """
    X = _moderate(X)
    n, d = X.shape
    xp = namespace(X)
    origin = xp.zeros((1, d), dtype=X.dtype)
    labels = xp.zeros(n, dtype=np.int32)
    if sparse.issparse(X):
        norms = _dispatch.label_distances_csr(
            X.data, X.indices, X.indptr, origin, labels, config=config
        )
    else:
        norms = _dispatch.label_distances(X, origin, labels, config=config)
    zero = norms == 0
    norms = np.sqrt(norms)
    norms[zero] = 1
    if sparse.issparse(X):
        unit = X.copy()
        lengths = np.diff(X.indptr)
        unit.data = (X.data / np.repeat(norms, lengths)).astype(X.dtype)
    else:
        unit = xp.empty_like(X)
        for rows in gen_batches(n, max(1, _VALUES // d)):
            unit[rows] = X[rows] / norms[rows, None]
    return unit, zero


def _moderate(X):
    """X with rows of extreme magnitude, whose squares leave float64, scaled."""
    if X.dtype != np.float64 or X.size == 0:
        return X
    if sparse.issparse(X):
        largest = abs(X).max(axis=1)
        largest = largest.toarray().ravel()
    else:
        largest = np.maximum(X.max(axis=1), -X.min(axis=1))
    extreme = (largest > 0) & ((largest > _LARGE) | (largest < _SMALL))
    if not extreme.any():
        return X
    xp = namespace(largest)
    exponents = xp.where(extreme, -xp.frexp(largest)[1], 0)
    scaled = X.copy()
    if sparse.issparse(X):
        scaled.data = np.ldexp(X.data, np.repeat(exponents, np.diff(X.indptr)))
    else:
        scaled[extreme] = xp.ldexp(X[extreme], exponents[extreme, None])
    return scaled


def unit_centers(means, previous):
    """Means divided by their norms; one without direction stays where it was.

    Parameters
    ----------
    means : ndarray of shape (k, d), float64
    previous : ndarray of shape (k, d)
        Centres of length 1.

    Returns
    -------
    centers : ndarray of shape (k, d), float64
    """
    norms = np.sqrt(squared_distances(means, np.zeros(means.shape[1])))
    lost = norms == 0
    norms[lost] = 1
    centers = means / norms[:, None]
    centers[lost] = previous[lost]
    return centers
