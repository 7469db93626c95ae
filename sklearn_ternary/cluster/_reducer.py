"""ClusterReducer: centroids, with weights, in place of rows."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary._gpu.arrays import (
    from_device,
    like,
    namespace,
    on_its_device,
    take,
    to_host,
)
from sklearn_ternary._in_kind import HostPickles, validated
from sklearn_ternary._sklearn_compat import (
    Interval,
    StrOptions,
    _check_sample_weight,
    _fit_context,
)
from sklearn_ternary.cluster._clustered_kmeans import ClusteredKMeans


class ClusterReducer(
    HostPickles, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Replace rows by the centroids of their clusters.

    `transform` gives every row the centroid that is nearest to it: vector
    quantization. :meth:`fit_reduce` gives the centroids themselves, a smaller data
    set, with the number of rows that each stands for as its weight; an estimator
    that takes weights is trained on it in less time, at some cost of accuracy.

    Read more in the :ref:`user guide <cluster_reduction>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of centroids.
    init : {"k-means++", "random"}, callable or array-like of shape \
            (n_clusters, n_features), default="k-means++"
        Where k-means starts from, as in :class:`ClusteredKMeans`.
    n_init : "auto" or int, default="auto"
        Number of runs of k-means, the best of which counts.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        Relative tolerance of convergence, as in :class:`ClusteredKMeans`.
    random_state : int, RandomState instance or None, default=None
        Random numbers for the start of k-means.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centroids.
    sample_weight_ : ndarray of shape (n_clusters,)
        Number, or sum of the weights, of the rows that each stands for; 0 of a
        centroid without rows, as duplicates may leave it.
    labels_ : ndarray of shape (n_samples,)
        Index of the centroid of each row given to `fit`.
    reduction_ratio_ : float
        Rows over centroids.
    inertia_ : float
        Weighted sum of the squared distances of the rows to their centroids.
    n_iter_ : int
        Iterations of k-means, of the class that took most.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    ClusteredKMeans : Labels and distances.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_ternary.cluster import ClusterReducer
    >>> X, y = make_blobs(1000, centers=4, random_state=0)
    >>> reducer = ClusterReducer(40, random_state=0)
    >>> X_small, y_small, weight = reducer.fit_reduce(X, y)
    >>> X_small.shape, weight.sum(), reducer.reduction_ratio_
    ((40, 2), np.float64(1000.0), 25.0)
    >>> small = LogisticRegression().fit(X_small, y_small, sample_weight=weight)
    >>> whole = LogisticRegression().fit(X, y)
    >>> bool(small.score(X, y) > whole.score(X, y) - 0.01)
    True
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "n_init": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        init="k-means++",
        n_init="auto",
        max_iter=300,
        tol=1e-4,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the centroids.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored; :meth:`fit_reduce` uses targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not below 0; None is 1 for each.

        Returns
        -------
        self : ClusterReducer
        """
        X = validated(self, X, reset=True, order="C")
        weight = _checked_weight(sample_weight, X)
        return self._fit_groups(X, weight, [np.arange(X.shape[0])], [self.n_clusters])

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_reduce(self, X, y=None, sample_weight=None):
        """Find the centroids and return them as a smaller data set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets. Rows of different classes get different centroids, each class a
            number of them in proportion to the weight of its rows and at least one.
            Targets that are no classes by
            :func:`sklearn.utils.multiclass.type_of_target` are averaged.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not below 0; None is 1 for each.

        Returns
        -------
        X_reduced : ndarray of shape (n_clusters, n_features)
            The centroids.
        y_reduced : ndarray of shape (n_clusters,) or (n_clusters, n_outputs)
            Their targets; only if `y` is given.
        weight : ndarray of shape (n_clusters,)
            Number, or sum of the weights, of the rows that each stands for.

        Raises
        ------
        ValueError
            If there are more classes than `n_clusters`.
        """
        if y is None:
            self.fit(X, sample_weight=sample_weight)
            return self.cluster_centers_, self.sample_weight_
        given = y = from_device(y)
        X = validated(self, X, reset=True, order="C")
        y = check_array(to_host(y), dtype=None, ensure_2d=False, input_name="y")
        check_consistent_length(X, y)
        weight = _checked_weight(sample_weight, X)
        if type_of_target(y) not in ("binary", "multiclass"):
            self._fit_groups(X, weight, [np.arange(X.shape[0])], [self.n_clusters])
            means = like(self._means(y, weight), given)
            return self.cluster_centers_, means, self.sample_weight_
        y = np.ravel(y)
        classes, codes = np.unique(y, return_inverse=True)
        groups = [np.flatnonzero(codes == i) for i in range(len(classes))]
        shares = np.array(
            [len(rows) if weight is None else weight[rows].sum() for rows in groups]
        )
        sizes = np.array([len(rows) for rows in groups])
        counts = _in_proportion(self.n_clusters, shares, sizes)
        self._fit_groups(X, weight, groups, counts)
        return (
            self.cluster_centers_,
            like(np.repeat(classes, counts), given),
            self.sample_weight_,
        )

    def _fit_groups(self, X, weight, groups, counts):
        """Cluster each group of rows by itself."""
        random_state = check_random_state(self.random_state)
        labels = np.empty(X.shape[0], dtype=np.int32)
        self.inertia_, self.n_iter_ = 0.0, 0
        centers, first = [], 0
        for rows, n_clusters in zip(groups, counts, strict=True):
            kmeans = ClusteredKMeans(
                int(n_clusters),
                init=self.init,
                n_init=self.n_init,
                max_iter=self.max_iter,
                tol=self.tol,
                random_state=random_state,
            )
            part = X if len(groups) == 1 else take(X, rows)
            own = None if weight is None else weight[rows]
            # A class without weight still gets its centroids, of the weight 0.
            kmeans.fit(part, sample_weight=own if np.any(own) else None)
            labels[rows] = first + to_host(kmeans.labels_)
            self.inertia_ += kmeans.inertia_
            self.n_iter_ = max(self.n_iter_, kmeans.n_iter_)
            centers.append(kmeans.cluster_centers_)
            first += n_clusters
        self.cluster_centers_ = namespace(X).concatenate(centers)
        totals = np.bincount(labels, weights=weight, minlength=first)
        self.sample_weight_ = like(totals.astype(np.float64), X)
        self.labels_ = like(labels, X)
        self.reduction_ratio_ = X.shape[0] / len(self.cluster_centers_)
        return self

    def _means(self, y, weight):
        """Weighted mean target of each cluster; of those without weight, of all."""
        columns = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        weight = np.ones(len(y)) if weight is None else weight.astype(np.float64)
        labels, totals = to_host(self.labels_), to_host(self.sample_weight_)
        sums = [
            np.bincount(labels, weight * column, len(totals)) for column in columns.T
        ]
        full = totals > 0
        of_all = np.average(columns, axis=0, weights=weight)
        means = np.tile(of_all, (len(full), 1))
        means[full] = np.transpose(sums)[full] / totals[full, None]
        return means[:, 0] if y.ndim == 1 else means

    @on_its_device
    def transform(self, X):
        """Replace each row by the centroid nearest to it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        X = validated(self, X, reset=False, order="C")
        kmeans = ClusteredKMeans(len(self.cluster_centers_))
        kmeans.cluster_centers_ = centers = like(self.cluster_centers_, X)
        return centers[kmeans.predict(X)].astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _checked_weight(sample_weight, X):
    if sample_weight is None:
        return None
    return _check_sample_weight(
        to_host(from_device(sample_weight)),
        np.broadcast_to(X.dtype.type(0), X.shape),
        dtype=X.dtype,
        ensure_non_negative=True,
    )


def _in_proportion(n, shares, sizes):
    """Divide n in proportion to `shares`: each part from 1 to its size.

    Seats by Sainte-Lague: each goes to the part with the greatest
    ``share / (2 * seats + 1)``.
    """
    if n < len(shares):
        raise ValueError(f"n_clusters={n} is less than the {len(shares)} classes of y")
    if n > sizes.sum():
        raise ValueError(f"n_samples={sizes.sum()} should be >= n_clusters={n}.")
    seats = np.ones(len(shares), dtype=np.int64)
    for _ in range(n - len(shares)):
        claims = np.where(seats < sizes, shares / (2 * seats + 1), -1)
        seats[claims.argmax()] += 1
    return seats
