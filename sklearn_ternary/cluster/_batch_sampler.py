"""ClusterBatchSampler: batches that are small pictures of the whole."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_ternary._gpu.arrays import from_device, like, on_its_device, to_host
from sklearn_ternary._in_kind import HostPickles, validated
from sklearn_ternary._sklearn_compat import Interval, _fit_context
from sklearn_ternary.cluster._clustered_kmeans import ClusteredKMeans

# Batches of each kind whose means `fit` compares, at most; those of eight epochs, or
# more of few rows, of so many values in all.
_N_MEASURED, _VALUES_MEASURED = 2048, 2**24


def stratified_order(strata, rng):
    """Order the rows so that any stretch holds each stratum in proportion.

    The rows of a stratum of the size s, shuffled, get the keys (i + u) / s for
    i = 0, ..., s - 1, with one u in [0, 1) for the stratum, and all are sorted by
    their keys: systematic sampling without end.

    Parameters
    ----------
    strata : ndarray of shape (n,), int
        Number of the stratum of each row, not below 0.
    rng : numpy.random.Generator

    Returns
    -------
    order : ndarray of shape (n,), int
        Each row once, uniform in each place.
    """
    shuffled = rng.permutation(len(strata))
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    sizes = np.bincount(strata)
    starts = np.cumsum(sizes) - sizes
    own = strata[by_stratum]
    rank = np.arange(len(strata)) - starts[own]
    keys = (rank + rng.random(len(sizes))[own]) / sizes[own]
    # Equal keys, of strata of equal size, would always come in the same order.
    ties = rng.random(len(strata))
    return by_stratum[np.lexsort((ties, keys))]


class ClusterBatchSampler(HostPickles, BaseEstimator):
    """Batches of indices in which each cluster has its share.

    k-means clusters the rows; an epoch deals the rows of every cluster evenly over
    the batches. So the mean of a batch, of whatever is alike within a cluster, is
    nearer to that of all rows than with batches drawn at random [1]_. Each index
    occurs exactly once in an epoch, and has the same chances in every place.

    It is a batch sampler as loaders of other libraries take it, with ``__iter__``
    and ``__len__``, and imports none of them. Each iteration is another epoch, with
    an order of its own that depends on `random_state` and the number of the epoch
    alone.

    Read more in the :ref:`user guide <cluster_batches>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    batch_size : int, default=32
        Rows of a batch; the last may be smaller.
    drop_last : bool, default=False
        Leave out the last batch of an epoch if it is smaller.
    random_state : int, RandomState instance or None, default=None
        Random numbers for k-means and for the order of the rows.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each row.
    epoch_ : int
        Number of the next epoch, from 0 on.
    batch_variance_ratio_ : float
        Mean squared distance of the mean row of a batch to that of all, over the
        same for batches drawn at random, measured on the rows given to `fit`.
        Below 1, clusters help.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    References
    ----------
    .. [1] P. Zhao and T. Zhang, "Accelerating minibatch stochastic gradient descent
       using stratified sampling", arXiv:1405.3080, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_ternary.cluster import ClusterBatchSampler
    >>> X, _ = make_blobs(90, centers=3, cluster_std=0.3, random_state=0)
    >>> sampler = ClusterBatchSampler(3, batch_size=9, random_state=0).fit(X)
    >>> len(sampler)
    10
    >>> [np.bincount(sampler.labels_[batch]).tolist() for batch in sampler][:2]
    [[3, 3, 3], [3, 3, 3]]
    >>> sampler.batch_variance_ratio_ < 0.3
    True
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "drop_last": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_clusters=8, batch_size=32, *, drop_last=False, random_state=None
    ):
        self.n_clusters = n_clusters
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.random_state = random_state

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Cluster the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows that are to be drawn in batches.
        y : None
            Ignored.

        Returns
        -------
        self : ClusterBatchSampler
        """
        X = validated(
            self, X, reset=True, accept_sparse="csr", order="C", ensure_all_finite=True
        )
        random_state = check_random_state(self.random_state)
        kmeans = ClusteredKMeans(self.n_clusters, random_state=random_state).fit(X)
        self.labels_ = kmeans.labels_
        self._seed = int(random_state.randint(2**31 - 1))
        self.epoch_ = 0
        self.batch_variance_ratio_ = self.variance_ratio(X)
        return self

    def set_epoch(self, epoch):
        """Go to an epoch, such as that of a checkpoint.

        Parameters
        ----------
        epoch : int
            Number of the epoch that the next iteration gives.

        Returns
        -------
        self : ClusterBatchSampler
        """
        check_is_fitted(self)
        if isinstance(epoch, bool) or not isinstance(epoch, Integral) or epoch < 0:
            raise ValueError(f"epoch={epoch!r} must be a whole number, not below 0")
        self.epoch_ = int(epoch)
        return self

    def __len__(self):
        check_is_fitted(self)
        n, size = len(self.labels_), self.batch_size
        return n // size if self.drop_last else -(-n // size)

    def __iter__(self):
        check_is_fitted(self)
        epoch, self.epoch_ = self.epoch_, self.epoch_ + 1
        rng = np.random.default_rng([self._seed, epoch])
        order = like(stratified_order(to_host(self.labels_), rng), self.labels_)
        for i in range(len(self)):
            yield order[i * self.batch_size : (i + 1) * self.batch_size]

    def variance_ratio(self, values):
        """Variance of the means of batches, over that of batches drawn at random.

        Parameters
        ----------
        values : {array-like, sparse matrix} of shape (n_samples, n_values) or \
                (n_samples,)
            What is averaged in a batch: features, losses or gradients of the rows
            given to `fit`.

        Returns
        -------
        ratio : float
            1 where the values do not vary or a batch holds all rows.
        """
        check_is_fitted(self)
        values = check_array(
            to_host(from_device(values)),
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_2d=False,
        )
        n = values.shape[0]
        if n != len(self.labels_):
            raise ValueError(
                f"values has {n} rows, and fit was given {len(self.labels_)}"
            )
        if values.ndim == 1:
            values = values[:, None]
        full = n // self.batch_size
        if n <= self.batch_size:
            return 1.0
        rng = np.random.default_rng([self._seed, 2**32])
        labels = to_host(self.labels_)
        mean = _mean(values)
        ours = theirs = 0.0
        done = 0
        fit = _VALUES_MEASURED // (self.batch_size * values.shape[1])
        most = min(_N_MEASURED, max(8 * full, fit))
        while done < most:
            few = min(full, most - done)
            ours += self._spread(values, mean, stratified_order(labels, rng), few)
            theirs += self._spread(values, mean, rng.permutation(n), few)
            done += few
        # Of a batch that holds all, rounding is left.
        tiny = done * (np.finfo(values.dtype).eps * np.abs(mean).max()) ** 2
        return float(ours / theirs) if theirs > tiny else 1.0

    def _spread(self, values, mean, order, n_batches):
        """Sum of the squared distances of the means of some batches to the mean."""
        size = self.batch_size
        return sum(
            float(((_mean(values[order[i * size : (i + 1) * size]]) - mean) ** 2).sum())
            for i in range(n_batches)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _mean(rows):
    """Mean row, in double precision."""
    if sparse.issparse(rows):
        return np.asarray(rows.sum(axis=0, dtype=np.float64)).ravel() / rows.shape[0]
    return rows.mean(axis=0, dtype=np.float64)
