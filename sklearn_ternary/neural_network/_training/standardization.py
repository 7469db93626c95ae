"""Fixed scaling of inputs and targets, from the data."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_ternary._gpu.arrays import like, namespace, to_host

# Standardized values are clipped to this: one outlier must not decide the step of
# all 8-bit activations of its row.
LIMIT = 10.0


class Standardization(NamedTuple):
    """``clip((X - mean) / scale, -10, 10)``; a sparse X is not shifted.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_features,) or (1,), float64
    """

    mean: np.ndarray
    scale: np.ndarray

    def apply(self, X):
        """Scaled rows.

        Parameters
        ----------
        X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        X : {ndarray, CuPy array, CSR matrix}, float32
            Dense if a mean is taken away.
        """
        if type(X) is np.ndarray:  # one row takes no longer than need be
            return self._scaled(X, self.mean, self.scale, np)
        if not sparse.issparse(X):
            parts = like(self.mean, X), like(self.scale, X)
            return self._scaled(X, *parts, namespace(X))
        if self.mean.any():
            return self._scaled(X.toarray(), self.mean, self.scale, np)
        scale = np.broadcast_to(self.scale, X.shape[1:])
        data = np.clip(X.data / scale[X.indices], -LIMIT, LIMIT)
        parts = data.astype(np.float32), X.indices, X.indptr
        return sparse.csr_array(parts, shape=X.shape)

    @staticmethod
    def _scaled(X, mean, scale, xp):
        with np.errstate(over="ignore"):
            scaled = X - mean
            scaled /= scale
        scaled.clip(-LIMIT, LIMIT, out=scaled)
        return xp.ascontiguousarray(scaled, dtype=np.float32)


def find_standardization(X, weight, kind):
    """Weighted mean and standard deviation.

    Parameters
    ----------
    X : {ndarray, CuPy array, CSR matrix} of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
    kind : {"feature", "global", None}
        Of each feature, of all together, or none. Sparse features have no mean, and
        the root mean square as scale.

    Returns
    -------
    standardization : Standardization
    """
    if kind is None:
        return Standardization(np.zeros(1), np.ones(1))
    is_sparse = sparse.issparse(X)
    share = np.full(X.shape[0], 1.0) if weight is None else np.asarray(weight, float)
    share = share / share.sum()
    # Exponents first: squares of large values do not overflow, nor small ones vanish.
    values = X.data if is_sparse else X
    largest = np.abs(values).max() if values.size else 0
    unit = 2.0 ** np.frexp(float(largest))[1] if largest > 0 else 1.0
    X = X.astype(np.float64) / unit
    if is_sparse:
        mean = np.zeros(X.shape[1])
        variance = np.asarray(X.multiply(X).T @ share).ravel()
    else:
        share = like(share, X)
        mean = share @ X
        variance = to_host(share @ np.square(X - mean))
        mean = to_host(mean)
    if kind == "global":
        whole = mean.mean()
        variance = np.atleast_1d((variance + np.square(mean - whole)).mean())
        mean = np.atleast_1d(whole)
    # A constant feature keeps the rounding of its mean as deviation.
    scale = np.sqrt(variance)
    scale[scale <= 1e-12 * np.maximum(np.abs(mean), 1e-150)] = 1 / unit
    return Standardization(mean * unit, scale * unit)
