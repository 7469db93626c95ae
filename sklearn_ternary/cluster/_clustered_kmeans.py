"""ClusteredKMeans: the estimator."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_ternary._config import effective_config
from sklearn_ternary._sklearn_compat import (
    Interval,
    StrOptions,
    _check_sample_weight,
    _fit_context,
    _is_arraylike_not_scalar,
)
from sklearn_ternary.cluster._lloyd import inertia_of, run_lloyd
from sklearn_ternary.cluster._magnitude import exponent_of, times_power
from sklearn_ternary.cluster._rows import make_rows
from sklearn_ternary.cluster._seeding import draw_seeds, probabilities

_DTYPES = [np.float64, np.float32]
# Runs of random and callable starts under n_init="auto".
_N_RANDOM_RUNS = 10
# Products per row from which on "auto" keeps bounds.
_BOUNDS_FROM = 4096


class ClusteredKMeans(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Exact k-means, with the parameters of scikit-learn's ``KMeans``.

    Finds centres with a small *inertia*, the weighted sum of the squared distances
    of the rows to the nearest centre, by Lloyd's algorithm [1]_.

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
        Index of the nearest centre of each row.
    inertia_ : float
        Weighted sum of the squared distances to the nearest centre.
    n_iter_ : int
        Iterations of the best run.
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
    Fitting takes, beyond the data, about 20 bytes for each row, sums of the clusters
    in double precision and, of data up to 32 MiB, a transposed copy.

    Callbacks of scikit-learn (``sklearn.callback``) see a task for each run and in
    it one for each iteration, and end the runs or the run where they ask for it.

    References
    ----------
    .. [1] S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on
       Information Theory 28(2), 1982.
    .. [2] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful
       seeding", SODA 2007.
    .. [3] G. Hamerly, "Making k-means even faster", SDM 2010.

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
        "algorithm": [StrOptions({"auto", "lloyd", "hamerly", "elkan"})],
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
        algorithm="auto",
        verbose=0,
        random_state=None,
        copy_x=True,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.algorithm = algorithm
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the centres.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        X = self._validated(X, reset=True)
        weight = _checked_weight(sample_weight, X)
        if X.shape[0] < self.n_clusters:
            raise ValueError(
                f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}."
            )
        random_state = check_random_state(self.random_state)
        init = self.init
        if _is_arraylike_not_scalar(init):
            init = check_array(init, dtype=X.dtype, copy=True, order="C")
            self._check_centers(init, X, self.n_clusters)
        self._n_init = self._number_of_runs()
        bounded = self._is_bounded(X)

        exponent = exponent_of(X, init if isinstance(init, np.ndarray) else X)
        rows = make_rows(times_power(X, -exponent), config)
        rows.measure()
        rows.keep_tiles()
        tol = 0
        if self.tol > 0:
            tol = self.tol * rows.total_variance() / (X.shape[0] * X.shape[1])

        context = self._init_callback_context(max_subtasks=self._n_init)
        metadata = None if weight is None else {"sample_weight": sample_weight}
        given = {"estimator": self, "X": X, "metadata": metadata}
        context.call_on_fit_task_begin(**given)
        best = None
        for _ in range(self._n_init):
            start = self._starting_centers(
                X, rows, exponent, init, random_state, weight
            )
            if self.verbose:
                print("Initialization complete")
            report = _Report(self, context, given, exponent)
            run = run_lloyd(
                rows,
                weight,
                start,
                max_iter=self.max_iter,
                tol=tol,
                bounded=bounded,
                verbose=self.verbose,
                after=report.after_iteration if report.wanted else None,
            )
            # Rounding may lower the inertia of the same clusters a little.
            if best is None or (
                run.inertia < best.inertia
                and not _same_clusters(run.labels, best.labels, self.n_clusters)
            ):
                best = run
            if report.wanted and report.end(run):
                break

        found = np.count_nonzero(np.bincount(best.labels, minlength=self.n_clusters))
        if found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than "
                f"n_clusters ({self.n_clusters}). Possibly due to duplicate points "
                "in X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.cluster_centers_ = times_power(best.centers, exponent)
        self._n_features_out = self.n_clusters
        self.labels_ = best.labels
        self.inertia_ = _times_square(best.inertia, exponent)
        self.n_iter_ = best.n_iter
        if not np.isfinite(self.inertia_):
            warnings.warn(
                "inertia_ exceeds the range of float64 and is infinite; scale X down",
                RuntimeWarning,
                stacklevel=2,
            )
        context.call_on_fit_task_end(**given, reconstruction_attributes={})
        return self

    def fit_predict(self, X, y=None, sample_weight=None):
        """Find the centres and return ``labels_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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

    def predict(self, X):
        """Index of the nearest centre of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
        """
        check_is_fitted(self)
        rows, centers, _ = self._rows_and_centers(X)
        return rows.nearest(centers)

    def transform(self, X):
        """Distance of each row to each centre.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
        """
        check_is_fitted(self)
        rows, centers, exponent = self._rows_and_centers(X)
        return times_power(euclidean_distances(rows.X, centers), exponent)

    def score(self, X, y=None, sample_weight=None):
        """Inertia of the rows, with a minus sign.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Minus the weighted sum of the squared distances to the nearest centre.
        """
        check_is_fitted(self)
        rows, centers, exponent = self._rows_and_centers(X)
        weight = _checked_weight(sample_weight, rows.X)
        inertia = inertia_of(rows, weight, centers, rows.nearest(centers))
        return -_times_square(inertia, exponent)

    def _validated(self, X, reset):
        return validate_data(
            self,
            X,
            accept_sparse="csr",
            reset=reset,
            dtype=_DTYPES,
            order="C",
            accept_large_sparse=False,
        )

    def _rows_and_centers(self, X):
        """Rows and centres of one dtype, scaled by 2**-exponent, and the exponent."""
        config = effective_config()
        X = self._validated(X, reset=False)
        centers = np.ascontiguousarray(self.cluster_centers_)
        if X.dtype != centers.dtype:
            X, centers = X.astype(np.float64), centers.astype(np.float64)
        exponent = exponent_of(X, centers)
        rows = make_rows(times_power(X, -exponent), config)
        return rows, times_power(centers, -exponent), exponent

    def _number_of_runs(self):
        is_array = _is_arraylike_not_scalar(self.init)
        if self.n_init == "auto":
            drawn_once = isinstance(self.init, str) and self.init == "k-means++"
            return 1 if drawn_once or is_array else _N_RANDOM_RUNS
        if is_array and self.n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={self.n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
            return 1
        return self.n_init

    def _is_bounded(self, X):
        """Whether bounds are kept."""
        algorithm = self.algorithm
        if algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using "
                "'lloyd' instead.",
                RuntimeWarning,
                stacklevel=3,
            )
            algorithm = "lloyd"
        if sparse.issparse(X) or algorithm == "lloyd":
            return False
        if algorithm == "auto":
            return self.n_clusters * X.shape[1] >= _BOUNDS_FROM
        return True

    def _check_centers(self, centers, X, n_clusters):
        if centers.shape[0] != n_clusters:
            raise ValueError(
                f"The shape of the initial centers {centers.shape} does not "
                f"match the number of clusters {n_clusters}."
            )
        if centers.shape[1] != X.shape[1]:
            raise ValueError(
                f"The shape of the initial centers {centers.shape} does not "
                f"match the number of features of the data {X.shape[1]}."
            )

    def _starting_centers(self, X, rows, exponent, init, random_state, weight):
        """Centres of a start, scaled by 2**-exponent as `rows` are."""
        if isinstance(init, np.ndarray):
            return times_power(init, -exponent)
        if callable(init):
            centers = init(X, self.n_clusters, random_state=random_state)
            centers = check_array(centers, dtype=X.dtype, order="C")
            self._check_centers(centers, X, self.n_clusters)
            return times_power(centers, -exponent)
        return rows.take(_draw(rows, init, self.n_clusters, random_state, weight))

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
        return rows.take(_draw(rows, init, n_clusters, random_state, sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _Report:
    """Tells the callbacks of a run what happens in it."""

    def __init__(self, estimator, context, given, exponent):
        self.estimator = estimator
        self.given = given
        self.exponent = exponent
        self.wanted = bool(getattr(estimator, "_skl_callbacks", None))
        if self.wanted:
            self.context = context.subcontext(
                task_name="run", max_subtasks=estimator.max_iter
            )
            self.context.call_on_fit_task_begin(**given)

    def after_iteration(self, i, centers, labels):
        """Whether a callback wants the run to end."""
        task = self.context.subcontext(task_name="iteration")
        task.call_on_fit_task_begin(**self.given)
        return task.call_on_fit_task_end(
            **self.given,
            reconstruction_attributes=lambda: self._fitted(centers, i + 1),
        )

    def end(self, run):
        """Whether a callback wants no further run."""
        return self.context.call_on_fit_task_end(
            **self.given,
            reconstruction_attributes=lambda: self._fitted(run.centers, run.n_iter),
        )

    def _fitted(self, centers, n_iter):
        return {
            "cluster_centers_": times_power(centers, self.exponent),
            "n_iter_": n_iter,
            "_n_features_out": len(centers),
        }


def _checked_weight(sample_weight, X):
    if sample_weight is None:
        return None
    return _check_sample_weight(
        sample_weight, X, dtype=X.dtype, ensure_non_negative=True
    )


def _draw(rows, init, n_clusters, random_state, weight):
    """Rows to start from."""
    if init == "k-means++":
        return draw_seeds(rows, n_clusters, weight, random_state)
    n = rows.shape[0]
    return random_state.choice(
        n, size=n_clusters, replace=False, p=probabilities(weight, n)
    )


def _same_clusters(labels, others, n_clusters):
    """Whether two labellings differ by their numbering alone."""
    names = np.zeros(n_clusters, dtype=others.dtype)
    names[labels] = others
    return np.array_equal(names[labels], others)


def _times_square(inertia, exponent):
    """`inertia` of data scaled by 2**-exponent."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(inertia, 2 * exponent))
