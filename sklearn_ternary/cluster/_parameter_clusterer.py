"""ParameterClusterer: parameters that share values."""

import os
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary._gpu.arrays import (
    device_of,
    like,
    on_its_device,
    to_host,
)
from sklearn_ternary._in_kind import HostPickles, validated
from sklearn_ternary._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_ternary.cluster._clustered_kmeans import ClusteredKMeans
from sklearn_ternary.persistence import load_tensors, save_tensors

_PART = "parameters"


class ParameterClusterer(
    HostPickles, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Parameters in clusters that share values: a codebook and indices.

    k-means of the values of a weight matrix [1]_, or of its rows, replaces each by
    the mean of its cluster. Stored are the means, the *codebook*, and for each value
    or row the number of its cluster in ⌈log₂ k⌉ bits. ``labels_`` are also the
    groups in which an optimizer may share its state.

    Read more in the :ref:`user guide <parameter_clusters>`.

    Parameters
    ----------
    n_clusters : int, default=16
        Number of clusters.
    on : {"values", "rows"}, default="values"
        What is clustered.
    max_iter : int, default=300
        Most iterations of k-means.
    tol : float, default=1e-4
        Relative tolerance of convergence, as in :class:`ClusteredKMeans`.
    random_state : int, RandomState instance or None, default=None
        Random numbers for the start of k-means.

    Attributes
    ----------
    codebook_ : ndarray of shape (n_clusters,) or (n_clusters, n_features)
        The shared values, ascending, or the shared rows.
    labels_ : ndarray of shape (n_samples, n_features) or (n_samples,)
        Index into the codebook of each value or row given to `fit`, of the smallest
        unsigned dtype that holds it.
    inertia_ : float
        Sum of the squared differences of the parameters and their replacements.
    n_iter_ : int
        Iterations of k-means.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    sklearn_ternary.ternarize : Three levels and scales instead of a codebook.

    References
    ----------
    .. [1] S. Han, H. Mao and W. J. Dally, "Deep compression: compressing deep neural
       networks with pruning, trained quantization and Huffman coding", ICLR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary.cluster import ParameterClusterer
    >>> W = np.random.default_rng(0).normal(size=(64, 100)).astype(np.float32)
    >>> shared = ParameterClusterer(16, random_state=0).fit(W)
    >>> len(np.unique(shared.toarray()))
    16
    >>> W.nbytes, shared.nbytes, round(shared.bits_per_value, 2)
    (25600, 3264, 4.08)
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "on": [StrOptions({"values", "rows"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters=16,
        *,
        on="values",
        max_iter=300,
        tol=1e-4,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.on = on
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Cluster parameters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The weight matrix. Of other parameters, ``p.reshape(-1, 1)``.
        y : None
            Ignored.

        Returns
        -------
        self : ParameterClusterer

        Raises
        ------
        ValueError
            If there are fewer values or rows than `n_clusters`.
        """
        X = validated(self, X, reset=True, order="C")
        points = X.reshape(-1, 1) if self.on == "values" else X
        if len(points) < self.n_clusters:
            raise ValueError(
                f"n_clusters={self.n_clusters} is more than the {len(points)} "
                f"{self.on} of X, n_samples={X.shape[0]}"
            )
        kmeans = ClusteredKMeans(
            self.n_clusters,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=check_random_state(self.random_state),
        ).fit(points)
        centers, labels = to_host(kmeans.cluster_centers_), kmeans.labels_
        if self.on == "values":
            order = np.argsort(centers[:, 0], kind="stable")
            ranks = np.empty_like(order)
            ranks[order] = np.arange(len(order))
            centers, labels = centers[order, 0], like(ranks, X)[labels].reshape(X.shape)
        self.codebook_ = like(centers, X)
        self.labels_ = labels.astype(_smallest_dtype(len(centers)))
        self.inertia_, self.n_iter_ = kmeans.inertia_, kmeans.n_iter_
        return self

    @on_its_device
    def transform(self, X):
        """Replace parameters by the nearest ones of the codebook.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        X = validated(self, X, reset=False, order="C")
        codebook = like(self.codebook_, X)
        kmeans = ClusteredKMeans(len(codebook))
        kmeans.cluster_centers_ = codebook.reshape(len(codebook), -1)
        labels = kmeans.predict(X.reshape(-1, 1) if codebook.ndim == 1 else X)
        return codebook[labels].reshape(X.shape).astype(X.dtype, copy=False)

    def toarray(self):
        """Return what replaces the parameters given to `fit`.

        Returns
        -------
        array : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        with device_of(self.codebook_):
            return self.codebook_[self.labels_]

    @property
    def nbytes(self):
        """Bytes of the codebook and the packed indices, as `save` stores them."""
        check_is_fitted(self)
        bits = _index_bits(len(self.codebook_)) * self.labels_.size
        return self.codebook_.nbytes + -(-bits // 8)

    @property
    def bits_per_value(self):
        """Stored bits per parameter."""
        check_is_fitted(self)
        n_values = self.labels_.shape[0] * self.n_features_in_
        return 8 * self.nbytes / n_values

    def save(self, path):
        """Write codebook and packed indices to a file.

        The file is a safetensors file with checksums; it appears when it is
        complete.

        Parameters
        ----------
        path : str or path-like
        """
        check_is_fitted(self)
        tensors = {
            "codebook": to_host(self.codebook_),
            "indices": _packed(to_host(self.labels_), len(self.codebook_)),
        }
        info = {
            "class": type(self).__name__,
            "shape": list(self.labels_.shape),
            "inertia": float(self.inertia_).hex(),
            "n_iter": int(self.n_iter_),
        }
        save_tensors(path, {_PART: (tensors, info)})

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        clusterer : ParameterClusterer
            Fitted, with the codebook and the labels that were saved.

        Raises
        ------
        ValueError
            If the file is damaged or of another kind.
        """
        parts = load_tensors(path)
        try:
            tensors, info = parts[_PART]
            codebook, labels = _checked_parts(cls.__name__, tensors, info)
            inertia, n_iter = float.fromhex(info["inertia"]), int(info["n_iter"])
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"{os.fsdecode(path)}: holds no ParameterClusterer ({error})"
            ) from None
        on = "values" if codebook.ndim == 1 else "rows"
        clusterer = cls(len(codebook), on=on)
        clusterer.codebook_, clusterer.labels_ = codebook, labels
        clusterer.inertia_, clusterer.n_iter_ = inertia, n_iter
        clusterer.n_features_in_ = (codebook if on == "rows" else labels).shape[1]
        return clusterer

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _smallest_dtype(n_clusters):
    return np.min_scalar_type(n_clusters - 1)


def _index_bits(n_clusters):
    return (n_clusters - 1).bit_length()


def _packed(labels, n_clusters):
    """Pack the lowest bits of each label, lowest first, without gaps."""
    n_bits = _index_bits(n_clusters)
    wide = labels.reshape(-1, 1).astype("<u4").view(np.uint8)
    bits = np.unpackbits(wide, axis=1, count=n_bits, bitorder="little")
    return np.packbits(bits, bitorder="little")


def _unpacked(data, n_labels, n_clusters):
    n_bits = _index_bits(n_clusters)
    bits = np.unpackbits(data, count=n_labels * n_bits, bitorder="little")
    bits = bits.reshape(n_labels, n_bits)
    wide = np.packbits(
        np.pad(bits, ((0, 0), (0, 32 - n_bits))), axis=1, bitorder="little"
    )
    return wide.view("<u4").ravel()


def _checked_parts(name, tensors, info):
    """Return codebook and labels; an exception if they do not fit."""
    if info["class"] != name or set(tensors) != {"codebook", "indices"}:
        raise ValueError("it describes something else")
    codebook, data, shape = tensors["codebook"], tensors["indices"], info["shape"]
    if codebook.dtype not in (np.float32, np.float64) or data.dtype != np.uint8:
        raise ValueError("dtypes")
    if not isinstance(shape, list) or not all(
        type(n) is int and 0 < n < 2**48 for n in shape
    ):
        raise ValueError("shape")
    if not codebook.size or codebook.ndim + len(shape) != 3:
        raise ValueError("shape")
    n_clusters = len(codebook)
    n_labels = int(np.prod(shape, dtype=object))
    if data.shape != (-(-n_labels * _index_bits(n_clusters) // 8),):
        raise ValueError("number of indices")
    labels = _unpacked(data, n_labels, n_clusters)
    if labels.max() >= n_clusters:
        raise ValueError("an index beyond the codebook")
    labels = labels.astype(_smallest_dtype(n_clusters)).reshape(shape)
    return codebook, labels
