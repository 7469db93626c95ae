"""k-means as functions."""

from numbers import Integral

from scipy import sparse
from sklearn.utils import check_array, check_random_state

from sklearn_ternary._config import effective_config
from sklearn_ternary._gpu.arrays import from_device, like, on_its_device, take, to_host
from sklearn_ternary._sklearn_compat import Interval, validate_params
from sklearn_ternary.cluster._clustered_kmeans import ClusteredKMeans
from sklearn_ternary.cluster._reading import read
from sklearn_ternary.cluster._seeding import draw_seeds
from sklearn_ternary.cluster._weights import Weights


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "sample_weight": ["array-like", None],
        "return_n_iter": [bool],
    },
    prefer_skip_nested_validation=False,
)
def k_means(
    X,
    n_clusters,
    *,
    sample_weight=None,
    init="k-means++",
    n_init="auto",
    max_iter=300,
    verbose=False,
    tol=1e-4,
    random_state=None,
    copy_x=True,
    precision="auto",
    algorithm="auto",
    return_n_iter=False,
):
    """Cluster by k-means: :class:`ClusteredKMeans` as a function.

    Read more in the :ref:`user guide <clustering>`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows to cluster.
    n_clusters : int
        Number of clusters.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows; None is 1 for each.
    init : {"k-means++", "random"}, callable or array-like of shape \
            (n_clusters, n_features), default="k-means++"
        Where to start from.
    n_init : "auto" or int, default="auto"
        Number of runs.
    max_iter : int, default=300
        Most iterations of a run.
    verbose : bool, default=False
        Print the inertia of every iteration.
    tol : float, default=1e-4
        Relative tolerance of convergence.
    random_state : int, RandomState instance or None, default=None
        Random numbers for the start.
    copy_x : bool, default=True
        As in :class:`ClusteredKMeans`: `X` is never changed.
    precision : {"auto", "float", "int8"}, default="auto"
        What rows and centres are compared in.
    algorithm : {"auto", "lloyd", "hamerly", "elkan"}, default="auto"
        How the nearest centres are found.
    return_n_iter : bool, default=False
        Return the number of iterations as well.

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features)
        Centres.
    label : ndarray of shape (n_samples,)
        Index of the nearest centre of each row.
    inertia : float
        Weighted sum of squared distances to the nearest centres.
    best_n_iter : int
        Iterations of the best run, with ``return_n_iter=True``.

    Examples
    --------
    >>> from sklearn_ternary.cluster import k_means
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> centroid, label, inertia = k_means(X, n_clusters=2, random_state=0)
    >>> centroid
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> label
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> inertia
    16.0
    """
    fitted = ClusteredKMeans(
        n_clusters=n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        copy_x=copy_x,
        precision=precision,
        algorithm=algorithm,
    ).fit(X, sample_weight=sample_weight)
    result = fitted.cluster_centers_, fitted.labels_, fitted.inertia_
    return (*result, fitted.n_iter_) if return_n_iter else result


@on_its_device
@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "sample_weight": ["array-like", None],
        "x_squared_norms": ["array-like", None],
        "random_state": ["random_state"],
        "n_local_trials": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def kmeans_plusplus(
    X,
    n_clusters,
    *,
    sample_weight=None,
    x_squared_norms=None,
    random_state=None,
    n_local_trials=None,
):
    """Draw rows to start k-means from by greedy k-means++ [1]_.

    Each row is drawn with a probability proportional to its weight and to its
    squared distance to the nearest of those there are.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows to draw from.
    n_clusters : int
        Number of rows to draw.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows; None is 1 for each.
    x_squared_norms : array-like of shape (n_samples,), default=None
        Squared norms of the rows, as scikit-learn's function takes them. Its
        length is checked; distances are found without it.
    random_state : int, RandomState instance or None, default=None
        Random numbers, taken in the order in which scikit-learn takes them.
    n_local_trials : int, default=None
        Rows drawn for each centre but the first, the best of which is kept; 1 is
        k-means++ without greed, None is ``2 + int(log(n_clusters))``.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        The rows drawn.
    indices : ndarray of shape (n_clusters,)
        Where they are in `X`.

    References
    ----------
    .. [1] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful
       seeding", SODA 2007.

    Examples
    --------
    >>> from sklearn_ternary.cluster import kmeans_plusplus
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> centers, indices = kmeans_plusplus(X, n_clusters=2, random_state=0)
    >>> centers
    array([[10.,  2.],
           [ 1.,  0.]])
    >>> indices
    array([3, 2])
    """
    data = read(ClusteredKMeans(n_clusters), X, effective_config(), reset=True)
    rows, X = data.rows, data.X
    n_samples = rows.shape[0]
    if n_samples < n_clusters:
        raise ValueError(f"n_samples={n_samples} should be >= n_clusters={n_clusters}.")
    if x_squared_norms is not None:
        _check_norms(x_squared_norms, rows)
    rows.measure()
    rows.keep_tiles()
    indices = draw_seeds(
        rows,
        n_clusters,
        Weights(sample_weight, data).of_fit,
        check_random_state(random_state),
        n_local_trials,
    )
    centers = take(X, indices)
    if sparse.issparse(centers):
        centers = centers.toarray()
    return centers, like(indices, X)


def _check_norms(x_squared_norms, rows):
    """Raise ValueError unless there are as many norms as rows."""
    norms = to_host(from_device(x_squared_norms))
    norms = check_array(norms, dtype=rows.dtype, ensure_2d=False)
    if norms.shape[0] != rows.shape[0]:
        raise ValueError(
            f"The length of x_squared_norms {norms.shape[0]} should "
            f"be equal to the length of n_samples {rows.shape[0]}."
        )
