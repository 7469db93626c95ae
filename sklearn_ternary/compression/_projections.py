"""Projections on components: principal component analysis, truncated SVD."""

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_ternary._gpu.arrays import device_of, is_device_array, like
from sklearn_ternary._validation import check_finite, matrix_on_device
from sklearn_ternary.compression._classes import (
    CompressedEstimator,
    compressed_class,
    get_feature_names_out,
    state_without,
    with_state,
)
from sklearn_ternary.compression._linear import samples
from sklearn_ternary.compression._products import rows_times
from sklearn_ternary.compression._rows import pack_rows
from sklearn_ternary.compression._samples import checked_product

_FLOATS = [np.float64, np.float32]


def _transform(self, X):
    """Project samples on the packed components.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)

    Returns
    -------
    X_new : ndarray of shape (n_samples, n_components)
    """
    check_is_fitted(self)

    def project(X):
        X_new = rows_times(X, self.components_, self._compression.activations)
        dtype = np.result_type(X.dtype, self._offset.dtype)
        return X_new.astype(dtype, copy=False) + like(self._offset, X_new)

    options = {} if isinstance(self, TruncatedSVD) else {"dtype": _FLOATS}
    X_new = checked_product(self, X, project, accept_sparse=["csr", "csc"], **options)
    deviations = _deviations(self)
    return X_new if deviations is None else X_new / deviations


def _inverse_transform(self, X):
    """Return samples in the space of the features, from the packed components.

    The packed components are only nearly orthonormal, and nothing is fitted for
    this direction.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_components)

    Returns
    -------
    X_original : ndarray of shape (n_samples, n_features)
    """
    check_is_fitted(self)
    if is_device_array(X):
        X = matrix_on_device(self, X)
        check_finite(X, "X")
    else:
        X = check_array(X, input_name="X", dtype=_FLOATS)
    deviations = _deviations(self)
    with device_of(X):
        if deviations is not None:
            X = X * like(deviations, X)
        X = X.astype(np.float32)
        mean = np.asarray(getattr(self, "mean_", 0.0))
        return rows_times(X, self.components_.T, "float32") + like(mean, X)


def _fit_transform(self, X, y=None):
    """Fit, compress, and project the same samples.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : None
        Ignored.

    Returns
    -------
    X_new : ndarray of shape (n_samples, n_components)
    """
    return self.fit(X, y).transform(X)


def _deviations(estimator):
    """Standard deviations that whitening divides by; None without whitening."""
    if not getattr(estimator, "whiten", False):
        return None
    variance = estimator.explained_variance_
    deviations = np.sqrt(variance)
    # As scikit-learn does for components without variance.
    return np.maximum(deviations, np.finfo(deviations.dtype).eps)


class _CompressedProjection(CompressedEstimator):
    """`components_` packed; the centre is subtracted after the projection."""

    public_methods = {
        "transform": _transform,
        "inverse_transform": _inverse_transform,
        "fit_transform": _fit_transform,
        "get_feature_names_out": get_feature_names_out,
    }
    of_outputs = ("transform", "inverse_transform")

    @classmethod
    def compress_part(cls, estimator, job):
        check_is_fitted(estimator)
        W = np.asarray(estimator.components_)
        center = getattr(estimator, "mean_", None)
        inputs = outputs = None
        if job.X is not None:
            X, inputs = samples(estimator, job)
            outputs = np.asarray(X @ W.T, dtype=np.float64)
            if center is not None:
                outputs -= center @ W.T
        rows = pack_rows(W, np.zeros(len(W)), job.options)
        if center is not None:
            # The packed components see a centre of their own.
            shift = -rows_times(center[None], rows.weights, "float32")[0]
            rows = rows._replace(bias=shift.astype(np.float64))
        if inputs is not None:
            rows = pack_rows(W, rows.bias, job.options, inputs, outputs)
        state = state_without(estimator, "components_")
        state |= {
            "components_": rows.weights,
            "_offset": rows.bias.astype(W.dtype),
            "_compression": job.local_options(),
        }
        centers = () if center is None else (center,)
        job.report(
            job.name("components_"),
            (W, *centers),
            rows.weights,
            (state["_offset"], *centers),
            rows.r2,
        )
        return with_state(compressed_class(type(estimator), cls), state)

    def get_covariance(self):
        """Covariance of the model of the original class with these components."""
        return self._unpacked().get_covariance()

    def get_precision(self):
        """Inverse of the covariance."""
        return self._unpacked().get_precision()

    def _unpacked(self):
        dense = object.__new__(self._original_class)
        vars(dense).update(vars(self))
        dense.components_ = self.components_.toarray()
        return dense


def families():
    """Return pairs of classes and what differs in the compressed ones."""
    return [(cls, _CompressedProjection) for cls in (PCA, IncrementalPCA, TruncatedSVD)]
