"""What k-means does with rows once there are centres."""

import warnings

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary._config import effective_config
from sklearn_ternary._gpu.arrays import like, on_its_device, to_host
from sklearn_ternary.cluster._lloyd import inertia_of
from sklearn_ternary.cluster._magnitude import times_power, times_square
from sklearn_ternary.cluster._reading import read
from sklearn_ternary.cluster._weights import Weights


class CentersMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin):
    """Labels, distances and scores of rows, by the centres of a fit."""

    def fit_predict(self, X, y=None, sample_weight=None):
        """Find the centres and return ``labels_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                sequence of chunks
            The rows to cluster.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Index of the nearest centre of each row.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X, y=None, sample_weight=None):
        """Find the centres and return the distances to them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                sequence of chunks
            The rows to cluster.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Distances.
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    @on_its_device
    def predict(self, X):
        """Index of the nearest centre of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                sequence of chunks
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
        """
        check_is_fitted(self)
        data, centers = self._read(X)
        labels = data.rows.nearest(centers)
        if data.zero is not None:
            labels[like(data.zero, labels)] = 0
        return like(labels, X)

    @on_its_device
    def transform(self, X):
        """Distance of each row to each centre.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                sequence of chunks
            Rows.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Euclidean distances, or with ``metric="cosine"`` cosine distances.
        """
        check_is_fitted(self)
        data, centers = self._read(X)
        with np.errstate(over="ignore"):
            distances = times_power(data.rows.distances(centers), data.exponent)
        if data.zero is not None:
            distances[like(data.zero, distances)] = 1
        if distances.size and not np.isfinite(float(distances.max())):
            warnings.warn(
                f"distances exceed the range of {distances.dtype} and are infinite; "
                "scale X down",
                RuntimeWarning,
                stacklevel=2,
            )
        return like(distances, X)

    @on_its_device
    def score(self, X, y=None, sample_weight=None):
        """Inertia of the rows, with a minus sign.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                sequence of chunks
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Minus the weighted sum of the squared distances to the nearest centre,
            or with ``metric="cosine"`` of the cosine distances.
        """
        check_is_fitted(self)
        data, centers = self._read(X)
        weights = Weights(sample_weight, data)
        labels = data.rows.nearest(centers)
        inertia = inertia_of(data.rows, weights.of_fit, centers, labels)
        return -(times_square(inertia, data.exponent) + weights.of_zero_rows)

    def _read(self, X):
        """Data and centres of one dtype and scale."""
        config = effective_config()
        centers = np.ascontiguousarray(to_host(self.cluster_centers_))
        data = read(
            self,
            X,
            config,
            reset=False,
            centers=centers,
            widen=True,
        )
        centers = centers.astype(data.rows.dtype, copy=False)
        return data, times_power(centers, -data.exponent)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
