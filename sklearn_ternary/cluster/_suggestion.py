"""How many clusters: k-means for several k, and a score of each."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import check_array, check_random_state

from sklearn_ternary import _dispatch
from sklearn_ternary._config import effective_config
from sklearn_ternary._gpu.arrays import (
    device_of,
    from_device,
    is_device_array,
    to_host,
)
from sklearn_ternary._in_kind import validated
from sklearn_ternary._sklearn_compat import Interval, StrOptions, validate_params
from sklearn_ternary.cluster._clustered_kmeans import ClusteredKMeans
from sklearn_ternary.cluster._magnitude import (
    exponent_for,
    largest_of,
    times_power,
    times_square,
)
from sklearn_ternary.cluster._number_scores import (
    below_the_chord,
    gaps,
    silhouettes,
)

_LARGEST_SEED = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class ClusterSuggestion:
    """What :func:`suggest_n_clusters` found.

    Attributes
    ----------
    n_clusters : int
        The number of clusters that is suggested.
    method : {"silhouette", "elbow", "gap"}
        What `scores` are.
    k_range : ndarray of shape (n_candidates,)
        Numbers of clusters that were tried, ascending.
    scores : ndarray of shape (n_candidates,)
        Score of each, NaN where there is none. The greatest is suggested, by
        ``"gap"`` the first that the next does not surpass by its error.
    errors : ndarray of shape (n_candidates,) or None
        Standard errors of the scores, of ``"gap"`` only.
    inertias : ndarray of shape (n_candidates,)
        Inertia of each k-means.
    """

    n_clusters: int
    method: str
    k_range: np.ndarray
    scores: np.ndarray
    errors: np.ndarray | None
    inertias: np.ndarray


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "k_range": ["array-like"],
        "method": [StrOptions({"silhouette", "elbow", "gap"})],
        "estimator": [None, object],
        "n_references": [Interval(Integral, 1, None, closed="left")],
        "sample_size": [None, Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def suggest_n_clusters(
    X,
    k_range=range(2, 11),
    *,
    method="silhouette",
    estimator=None,
    n_references=10,
    sample_size=None,
    random_state=None,
):
    """Suggest a number of clusters.

    Fits k-means for each number in `k_range` and scores it.

    Read more in the :ref:`user guide <n_clusters>`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows to cluster.
    k_range : sequence of int, default=range(2, 11)
        Numbers of clusters to try.
    method : {"silhouette", "elbow", "gap"}, default="silhouette"
        What is scored:

        - ``"silhouette"``: how much nearer rows are to those of their own cluster
          than to those of the next one, from -1 to 1 [1]_. Takes the distances
          between all rows, once for all of `k_range`.
        - ``"elbow"``: how far the logarithm of the inertia lies below the straight
          line from its first to its last value, both axes scaled to 1: the knee of
          [2]_. Needs three numbers of clusters, and depends on where they begin
          and end.
        - ``"gap"``: how far the logarithm of the inertia lies below that of data
          without clusters, drawn evenly from a box around `X`, along its features or
          its principal components, whichever is smaller [3]_. The least k whose
          score reaches that of the next minus its standard error is suggested, and
          the best where there is none. The only one that can suggest 1; dense data
          only.
    estimator : estimator, default=None
        A k-means, of which clones are fitted: any with the parameter `n_clusters`
        and the attributes ``labels_`` and ``inertia_``. None is
        ``ClusteredKMeans()``. Silhouettes use its `metric`, if it has one.
    n_references : int, default=10
        Number of reference data sets of ``"gap"``.
    sample_size : int, default=None
        Number of rows, drawn at random, among which silhouettes are found; None is
        all. The clusters are those of all rows.
    random_state : int, RandomState instance or None, default=None
        Random numbers for the fits, the references and the sample.

    Returns
    -------
    suggestion : ClusterSuggestion
        The choice, with the scores it rests on.

    Raises
    ------
    ValueError
        If `k_range` holds something else than numbers of clusters for which
        `method` is defined, or if no score is defined.

    See Also
    --------
    sklearn_ternary.plotting.ClusterSuggestionDisplay : The scores as a plot.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and
       validation of cluster analysis", Journal of Computational and Applied
       Mathematics 20, 1987.
    .. [2] V. Satopaa, J. Albrecht, D. Irwin and B. Raghavan, "Finding a 'Kneedle'
       in a haystack: detecting knee points in system behavior", ICDCSW 2011.
    .. [3] R. Tibshirani, G. Walther and T. Hastie, "Estimating the number of
       clusters in a data set via the gap statistic", Journal of the Royal
       Statistical Society B 63(2), 2001.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn_ternary.cluster import suggest_n_clusters
    >>> X, _ = make_blobs(500, centers=4, random_state=6)
    >>> suggestion = suggest_n_clusters(X, range(2, 8), random_state=0)
    >>> suggestion.n_clusters
    4
    >>> suggestion.scores.round(2)
    array([0.61, 0.67, 0.75, 0.62, 0.55, 0.45])
    """
    estimator = ClusteredKMeans() if estimator is None else estimator
    X = _checked(X, estimator)
    with device_of(X):
        return _suggestion(
            X, k_range, method, estimator, n_references, sample_size, random_state
        )


def _suggestion(X, k_range, method, estimator, n_references, sample_size, random_state):
    candidates = _checked_range(k_range, method, X)
    # No score depends on the scale.
    exponent = exponent_for(largest_of(X), X.dtype)
    X = times_power(X, -exponent)
    random_state = check_random_state(random_state)
    kmeans = _Fits(estimator, random_state)
    fitted = [kmeans.fit(X, k) for k in candidates]
    inertias = np.array([one.inertia_ for one in fitted], dtype=np.float64)
    errors = None
    if method == "silhouette":
        metric = getattr(kmeans.estimator, "metric", "euclidean")
        labels = [to_host(one.labels_) for one in fitted]
        scores = silhouettes(X, labels, metric, sample_size, random_state)
        best = _argmax(scores)
    elif method == "elbow":
        scores = below_the_chord(candidates, inertias)
        best = _argmax(scores)
    else:
        scores, errors = gaps(
            X,
            candidates,
            inertias,
            lambda reference, k: kmeans.fit(reference, k).inertia_,
            n_references,
            random_state,
        )
        reached = scores[:-1] >= scores[1:] - errors[1:]
        best = int(reached.argmax()) if reached.any() else _argmax(scores)
    return ClusterSuggestion(
        n_clusters=int(candidates[best]),
        method=method,
        k_range=candidates,
        scores=scores,
        errors=errors,
        inertias=np.array([times_square(inertia, exponent) for inertia in inertias]),
    )


def _checked(X, estimator):
    """Data of the host, or, where a k-means of ours is fitted, of a device."""
    X = from_device(X)
    if not isinstance(estimator, ClusteredKMeans):
        X = to_host(X)
    if is_device_array(X):
        return validated(ClusteredKMeans(), X, reset=True)
    # Sums of the largest numbers, which validation takes, may be none.
    with np.errstate(invalid="ignore"):
        X = check_array(
            X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C"
        )
    if isinstance(estimator, ClusteredKMeans) and not sparse.issparse(X):
        X = _dispatch.placed(X, config=effective_config())
    return X


def _checked_range(k_range, method, X):
    """Return the candidates, ascending."""
    values = np.asarray(k_range)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "iu":
        raise ValueError(f"k_range={k_range!r} is no sequence of whole numbers")
    candidates = np.unique(values)
    least = 2 if method == "silhouette" else 1
    most = len(candidates) and X.shape[0] - (method == "silhouette")
    if candidates[0] < least or candidates[-1] > most:
        raise ValueError(
            f"k_range={k_range!r} must lie within [{least}, {most}] for "
            f"method={method!r} and n_samples={X.shape[0]}"
        )
    if method == "elbow" and len(candidates) < 3:
        raise ValueError(
            f"k_range={k_range!r} has {len(candidates)} numbers of clusters; "
            "method='elbow' needs three"
        )
    if method == "gap" and sparse.issparse(X):
        raise ValueError(
            "method='gap' draws its references from a box and needs a dense X"
        )
    return candidates


class _Fits:
    """Fits clones of an estimator, each with random numbers of its own."""

    def __init__(self, estimator, random_state):
        self.estimator = estimator
        self.random_state = random_state
        self.is_random = "random_state" in estimator.get_params()

    def fit(self, X, n_clusters):
        """Fit a clone with this many clusters."""
        params = {"n_clusters": int(n_clusters)}
        if self.is_random:
            params["random_state"] = self.random_state.randint(_LARGEST_SEED)
        return clone(self.estimator).set_params(**params).fit(X)


def _argmax(scores):
    if np.isnan(scores).all():
        raise ValueError(
            "no number of clusters in k_range has a score: X has too few different rows"
        )
    return int(np.nanargmax(scores))
