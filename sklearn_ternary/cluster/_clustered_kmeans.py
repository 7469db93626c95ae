"""ClusteredKMeans: the estimator."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from sklearn_ternary._config import effective_config
from sklearn_ternary._gpu.arrays import like, on_its_device, to_host
from sklearn_ternary._in_kind import HostPickles
from sklearn_ternary._parameters import QuickValidation
from sklearn_ternary._sklearn_compat import (
    Interval,
    StrOptions,
    _fit_context,
)
from sklearn_ternary.cluster._centers import CentersMixin
from sklearn_ternary.cluster._chunks import chunks_of
from sklearn_ternary.cluster._distances import count_labels
from sklearn_ternary.cluster._fitting import fit_all, fit_batches
from sklearn_ternary.cluster._lloyd import inertia_of
from sklearn_ternary.cluster._magnitude import times_power, times_square
from sklearn_ternary.cluster._minibatch import Centers
from sklearn_ternary.cluster._reading import make_rows, read
from sklearn_ternary.cluster._starts import (
    Start,
    draw,
    given_centers,
    number_of_runs,
)
from sklearn_ternary.cluster._weights import Weights

# From `_warn` through `fit` and its decorators to who called it.
_CALLER = 5


def _size_limit(estimator):
    """The first limit of sizes that is set, as text, or None."""
    for name in ("min_cluster_size", "max_cluster_size"):
        if getattr(estimator, name) is not None:
            return f"{name}={getattr(estimator, name)}"
    return None


def _takes_batches(estimator):
    """Whether `estimator` has `partial_fit`, which cannot keep sizes."""
    return _size_limit(estimator) is None


class ClusteredKMeans(
    HostPickles, QuickValidation, CallbackSupportMixin, CentersMixin, BaseEstimator
):
    """Exact k-means, with the parameters of scikit-learn's ``KMeans``.

    Finds centres with a small *inertia*, the weighted sum of the squared distances
    of the rows to the nearest centre, by Lloyd's algorithm [1]_: on all rows, on
    mini-batches, or on rows that are read in chunks.

    The label of a row is the index of its nearest centre by squared distances in
    double precision, whatever the dtype of the data, and of equally near ones the
    first. It depends neither on the number of threads nor on the instruction set,
    and ``labels_`` is what `predict` gives for the same data.

    Read more in the :ref:`user guide <clustering>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    init : {"k-means++", "random"}, callable or array-like of shape \
            (n_clusters, n_features), default="k-means++"
        Where to start from:

        - ``"k-means++"``: rows drawn by greedy k-means++ [2]_.
        - ``"random"``: different rows, with probabilities ∝ their weights.
        - an array of centres.
        - a function of `X`, `n_clusters` and ``random_state=`` that returns one.
    n_init : "auto" or int, default="auto"
        Number of runs, of which the one of least inertia counts. ``"auto"`` is 10
        for a random start or a function, else 1.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        A run ends when no label changes, or when the sum of the squares of what
        the centres moved is at most `tol` times the mean variance of the columns.
        Above 0, there is a ``ConvergenceWarning`` where `max_iter` ends it before.
    precision : {"auto", "float", "int8"}, default="auto"
        What rows and centres are compared in:

        - ``"float"``: the precision of the data, and double precision for what that
          leaves open.
        - ``"auto"``: the same labels. Where it is faster, codes of 8 bits tell first
          which centres may be the nearest.
        - ``"int8"``: codes of 8 bits, with an allowance for their rounding that is
          nearly always enough rather than proved, until the last labels. Centres
          and inertia are within 1 % of those of ``"float"`` from the same start.
          Sparse rows have no codes, and mini-batches use none.
    algorithm : {"auto", "lloyd", "hamerly", "elkan"}, default="auto"
        How the nearest centres are found; the result is the same:

        - ``"lloyd"`` compares every row with every centre in each iteration.
        - ``"hamerly"`` keeps two bounds of distances for each row and compares
          those rows that may have another nearest centre [3]_. Sparse rows are all
          compared.
        - ``"elkan"`` is for code written for scikit-learn: as ``"hamerly"``, whose
          bounds take less memory.
        - ``"auto"`` is ``"hamerly"`` where comparing a row takes much longer than
          its bounds do, else ``"lloyd"``.
    metric : {"euclidean", "cosine"}, default="euclidean"
        ``"cosine"`` clusters directions [4]_: rows are divided by their norms, and
        so are the centres, which are the mean directions. Inertia and `transform`
        are in cosine distances, 1 - cos. Rows of zeros are at distance 1 from every
        centre, get label 0 and move none.
    batch_size : int, default=None
        None takes all rows in each iteration. A number takes mini-batches of so many
        rows [5]_, drawn with probabilities ∝ their weights, as scikit-learn's
        ``MiniBatchKMeans``: each centre is the mean of all rows it was given. Then
        `max_iter` counts passes over as many rows as there are, and `tol` is
        compared with what the centres moved in a pass.
    max_no_improvement : int or None, default=10
        Mini-batches end after so many in a row that do not lower the exponentially
        weighted mean of the inertia of batches; None is never.
    reassignment_ratio : float, default=0.01
        In mini-batches and `partial_fit`, a centre of less than this part of the
        weight of the heaviest becomes a row of the batch.
    min_cluster_size, max_cluster_size : int or None, default=None
        Fewest and most rows of a cluster, of those whose weight is not 0: labels
        are then the cheapest ones within these limits [6]_, rather than the nearest
        centres. `predict` still gives the nearest centre. Not for mini-batches.
    warm_start : bool, default=False
        Start from ``cluster_centers_``, where there are any, in place of `init`.
    verbose : int, default=0
        Above 0, print the inertia of every iteration.
    random_state : int, RandomState instance or None, default=None
        Random numbers for the start.
    copy_x : bool, default=True
        Here for code that sets it: the data is never changed, and copied only
        where it is neither a C-contiguous array nor a CSR matrix of float32 or
        float64.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centres, of the dtype of the data. Where the last run did not converge
        strictly, they are not quite the means of the clusters.
    labels_ : ndarray of shape (n_samples,)
        Index of the nearest centre of each row; after `partial_fit`, of the batch.
    inertia_ : float
        Weighted sum of the squared distances to the nearest centre, each found and
        all added in double precision; with ``metric="cosine"`` of the cosine
        distances.
    n_iter_ : int
        Iterations of the best run; with `batch_size`, passes, the last perhaps
        unfinished.
    n_steps_ : int
        Batches, with `batch_size` or after `partial_fit`.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    k_means : The same as a function.
    kmeans_plusplus : The start alone.

    Notes
    -----
    Fitting takes, beyond the data, 8 bytes for each row, 12 where there are several
    runs, and at most 60 MiB, unless the centres and sums of the clusters in double
    precision alone are larger. ``metric="cosine"`` takes a copy of the rows besides, of
    at most ``working_memory``.

    `X` may also be a sequence of chunks that are never all in memory: a list of
    ``.npy`` files or of arrays, an object that yields arrays of rows whenever it is
    iterated, or a function that returns such an iterator. ``fit``, ``predict``,
    ``transform`` and ``score`` then work within ``working_memory`` and the same
    bytes for each row, and labels, centres and inertia are, bit for bit, those of
    the rows in memory. See the :ref:`user guide <clustering_chunks>`.

    CuPy arrays are clustered where they are, with CuPy arrays as attributes, and
    arrays of NumPy on a device under ``backend="cuda"``: labels for given centres
    are the same. See the :ref:`user guide <gpu_kmeans>`; clusters of given sizes are
    found on the host.

    Callbacks of scikit-learn (``sklearn.callback``) see a task for each run and in
    it one for each iteration, and end the runs or the run where they ask for it.

    References
    ----------
    .. [1] S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on
       Information Theory 28(2), 1982.
    .. [2] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful
       seeding", SODA 2007.
    .. [3] G. Hamerly, "Making k-means even faster", SDM 2010.
    .. [4] I. Dhillon and D. Modha, "Concept decompositions for large sparse text
       data using clustering", Machine Learning 42, 2001.
    .. [5] D. Sculley, "Web-scale k-means clustering", WWW 2010.
    .. [6] P. Bradley, K. Bennett and A. Demiriz, "Constrained k-means clustering",
       Microsoft Research TR-2000-65, 2000.

    Examples
    --------
    >>> from sklearn_ternary import ClusteredKMeans
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> kmeans = ClusteredKMeans(n_clusters=2, random_state=0).fit(X)
    >>> kmeans.labels_
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> kmeans.predict([[0, 0], [12, 3]])
    array([1, 0], dtype=int32)
    >>> kmeans.cluster_centers_
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> batches = ClusteredKMeans(n_clusters=2, init=[[0, 0], [9, 9]])
    >>> for batch in (X[::2], X[1::2]):
    ...     batches = batches.partial_fit(batch)
    >>> batches.cluster_centers_
    array([[ 1.,  2.],
           [10.,  2.]])
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
        "precision": [StrOptions({"auto", "float", "int8"})],
        "algorithm": [StrOptions({"auto", "lloyd", "hamerly", "elkan"})],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_no_improvement": [Interval(Integral, 1, None, closed="left"), None],
        "reassignment_ratio": [Interval(Real, 0, 1, closed="both")],
        "min_cluster_size": [Interval(Integral, 0, None, closed="left"), None],
        "max_cluster_size": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "copy_x": ["boolean"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        init="k-means++",
        n_init="auto",
        max_iter=300,
        tol=1e-4,
        precision="auto",
        algorithm="auto",
        metric="euclidean",
        batch_size=None,
        max_no_improvement=10,
        reassignment_ratio=0.01,
        min_cluster_size=None,
        max_cluster_size=None,
        warm_start=False,
        verbose=0,
        random_state=None,
        copy_x=True,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.precision = precision
        self.algorithm = algorithm
        self.metric = metric
        self.batch_size = batch_size
        self.max_no_improvement = max_no_improvement
        self.reassignment_ratio = reassignment_ratio
        self.min_cluster_size = min_cluster_size
        self.max_cluster_size = max_cluster_size
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x

    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the centres.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                sequence of chunks
            The rows to cluster.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not below 0; None is 1 for each. Starts that are
            drawn follow them.

        Returns
        -------
        self : ClusteredKMeans
        """
        config = effective_config()
        if self.batch_size is not None and _size_limit(self):
            raise ValueError(
                f"{_size_limit(self)} does not go with batch_size={self.batch_size}"
            )
        given = given_centers(self)
        data = read(
            self,
            X,
            config,
            reset=True,
            centers=given,
            measured=self.batch_size is None,
        )
        self._check_rows(data)
        weights = Weights(sample_weight, data)
        random_state = check_random_state(self.random_state)
        self._n_init = number_of_runs(self, given)
        start = Start(self, data, given, random_state)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        passed = {"estimator": self, "X": data.X, "metadata": metadata}
        context = None
        if getattr(self, "_skl_callbacks", None):
            context = self._init_callback_context(max_subtasks=self._n_init)
            context.call_on_fit_task_begin(**passed)
        fit = fit_all if self.batch_size is None else fit_batches
        found = fit(self, data.rows, weights, start, context, passed)
        self._forget_batches()
        self._set_centers(found.centers, data.exponent, X)
        self._set_labels(found.labels, found.inertia, data, weights, X)
        self.n_iter_, self._counts = found.n_iter, found.counts
        if found.n_steps is not None:
            self.n_steps_ = found.n_steps
        counted = self.batch_size is None and weights.of_fit is None
        self._warn(found.converged, found.counts if counted else None)
        if context is not None:
            context.call_on_fit_task_end(**passed, reconstruction_attributes={})
        return self

    def _forget_batches(self):
        """Forget what `partial_fit` was given."""
        for name in ("n_steps_", "_rows_since", "_batch_random_state"):
            self.__dict__.pop(name, None)

    def _set_centers(self, centers, exponent, X):
        self.cluster_centers_ = like(times_power(centers, exponent), X)
        self._n_features_out = len(centers)

    def _set_labels(self, labels, inertia, data, weights, X):
        """Keep labels and inertia, given those of the rows as they are scaled."""
        if data.zero is not None:
            labels[like(data.zero, labels)] = 0
        self.labels_ = like(labels, X)
        self.inertia_ = times_square(inertia, data.exponent) + weights.of_zero_rows

    def _warn(self, converged, counts):
        """Say what the user should know; `counts` of the rows of clusters, or None."""
        # With tol=0, max_iter often is the number of iterations that is wanted.
        if not converged and self.tol > 0:
            warnings.warn(
                f"k-means did not converge in max_iter={self.max_iter} iterations; "
                "raise max_iter or tol, or set tol=0 for so many iterations",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )
        if counts is None:
            counts = count_labels(self.labels_, self.n_clusters)
        found = np.count_nonzero(counts)
        if found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than "
                f"n_clusters ({self.n_clusters}). Possibly due to duplicate points "
                "in X.",
                ConvergenceWarning,
                stacklevel=_CALLER,
            )
        if not np.isfinite(self.inertia_):
            warnings.warn(
                "inertia_ exceeds the range of float64 and is infinite; scale X down",
                RuntimeWarning,
                stacklevel=_CALLER,
            )

    @available_if(_takes_batches)
    @on_its_device
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Move the centres by one batch of rows.

        Every centre is the mean of all rows it was ever given, those of `fit`
        included. Centres that get few rows are replaced as in mini-batches of `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The batch. The first is what the start is drawn from, and has at least
            `n_clusters` rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : ClusteredKMeans
            ``labels_`` and ``inertia_`` are those of the batch.
        """
        config = effective_config()
        if chunks_of(X) is not None:
            raise ValueError("partial_fit takes one batch; call it for each chunk of X")
        fitted = hasattr(self, "cluster_centers_")
        given = to_host(self.cluster_centers_) if fitted else given_centers(self)
        dtype = given.dtype if fitted else None
        data = read(
            self,
            X,
            config,
            reset=not fitted,
            centers=given,
            dtype=dtype,
        )
        rows, weights = data.rows, Weights(sample_weight, data)
        if not hasattr(self, "_batch_random_state"):
            self._batch_random_state = check_random_state(self.random_state)
        if fitted:
            centers = times_power(given, -data.exponent)
        else:
            self._check_rows(data)
            self._counts = np.zeros(self.n_clusters)
            rows.measure()
            start = Start(self, data, given, self._batch_random_state)
            centers = start.draw_from(rows, weights.of_fit)
        state = Centers(
            centers,
            getattr(self, "_counts", np.zeros(len(centers))),
            self.reassignment_ratio,
            self._batch_random_state,
            getattr(self, "_rows_since", 0),
        )
        state.move(rows, weights.of_fit)
        self._set_centers(state.centers, data.exponent, X)
        self._counts, self._rows_since = state.counts, state.rows_since
        self.n_steps_ = getattr(self, "n_steps_", 0) + 1
        labels = rows.nearest(state.centers)
        inertia = inertia_of(rows, weights.of_fit, state.centers, labels)
        self._set_labels(labels, inertia, data, weights, X)
        return self

    def _check_rows(self, data):
        """Raise ValueError where there is nothing to start from."""
        n = data.rows.shape[0]
        if n < self.n_clusters:
            raise ValueError(
                f"n_samples={n} should be >= n_clusters={self.n_clusters}."
            )
        if data.zero is not None and data.zero.all():
            raise ValueError(
                "every row of X is zero and has no direction, as metric='cosine' needs"
            )

    def _init_centroids(
        self,
        X,
        x_squared_norms,
        init,
        random_state,
        sample_weight,
        n_centroids=None,
    ):
        """Drawn centres, by the signature that scikit-learn's own tests call."""
        rows = make_rows(X, effective_config())
        rows.measure()
        n_clusters = self.n_clusters if n_centroids is None else n_centroids
        return rows.take(draw(rows, init, n_clusters, random_state, sample_weight))
