"""Centres to start from."""

import warnings

import numpy as np
from sklearn.utils import check_array

from sklearn_ternary._gpu.arrays import from_device, to_host
from sklearn_ternary._sklearn_compat import _is_arraylike_not_scalar
from sklearn_ternary.cluster._directions import unit_rows
from sklearn_ternary.cluster._magnitude import times_power
from sklearn_ternary.cluster._reading import is_checked
from sklearn_ternary.cluster._seeding import draw_different, draw_seeds

# Runs of random and callable starts under n_init="auto".
_N_RANDOM_RUNS = 10
# What tells a drawn centre apart for rows equally near to several, in units of the
# rounding of its largest value.
_APART = 16


def given_centers(estimator):
    """Array that `estimator` starts from, of float64 or float32, or None."""
    if estimator.warm_start and hasattr(estimator, "cluster_centers_"):
        return to_host(estimator.cluster_centers_)
    if _is_arraylike_not_scalar(estimator.init):
        init = to_host(from_device(estimator.init))
        if is_checked(init) and np.isfinite(init).all():
            return init
        return check_array(
            init, dtype=[np.float64, np.float32], order="C", input_name="init"
        )
    return None


def number_of_runs(estimator, given):
    """Runs by `n_init`; `given` is what `given_centers` found."""
    n_init, init = estimator.n_init, estimator.init
    if n_init == "auto":
        drawn_once = isinstance(init, str) and init == "k-means++"
        return 1 if drawn_once or given is not None else _N_RANDOM_RUNS
    if given is not None and n_init != 1:
        # Who asks for a warm start expects it to be the only one.
        if not (estimator.warm_start and hasattr(estimator, "cluster_centers_")):
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(estimator).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=5,
            )
        return 1
    return n_init


def _check_shape(centers, n_clusters, n_features):
    """Raise ValueError unless there are as many centres, and as long, as needed."""
    if centers.shape[0] != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not "
            f"match the number of clusters {n_clusters}."
        )
    if centers.shape[1] != n_features:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not "
            f"match the number of features of the data {n_features}."
        )


class Start:
    """Draws centres to start from.

    Parameters
    ----------
    estimator : ClusteredKMeans
        Its `init` and `n_clusters` say how.
    data : Data
    given : ndarray of shape (k, d) or None
        What `given_centers` found.
    random_state : RandomState
    """

    def __init__(self, estimator, data, given, random_state):
        self.estimator = estimator
        self.data = data
        self.given = given
        self.random_state = random_state

    @property
    def is_drawn(self):
        """Whether centres are rows drawn, rather than what somebody gave."""
        return self.given is None and not callable(self.estimator.init)

    def draw_from(self, sample, weight):
        """Centres, as the rows of the data are: scaled, or of length 1.

        Parameters
        ----------
        sample : DenseRows, SparseRows, BlockedRows or DeviceRows
            Measured rows, all of the data or some.
        weight : ndarray or None
            Their weights.
        """
        init, n_clusters = self.estimator.init, self.estimator.n_clusters
        rows, centers = self.data.rows, self.given
        if self.is_drawn:
            return sample.take(
                draw(sample, init, n_clusters, self.random_state, weight)
            )
        if centers is None:
            centers = init(self.data.X, n_clusters, random_state=self.random_state)
            centers = check_array(
                to_host(centers), dtype=rows.dtype, order="C", input_name="init"
            )
        centers = np.ascontiguousarray(centers, dtype=rows.dtype)
        _check_shape(centers, n_clusters, rows.shape[1])
        if not rows.directions:
            return times_power(centers, -self.data.exponent)
        centers, zero = unit_rows(centers, rows.config)
        if zero.any():
            raise ValueError(
                f"center {zero.argmax()} of init is zero and has no direction, as "
                "metric='cosine' needs"
            )
        return centers


def parted(centers):
    """Drawn centres, moved by so little that it matters to equally near ones alone.

    Of rows of a few values, many are as near to one centre as to another. If all of
    them went to the first, a run would end at a larger inertia.
    """
    steps = np.random.default_rng(0).standard_normal(centers.shape)
    steps *= _APART * np.finfo(centers.dtype).eps
    steps *= np.abs(centers).max(axis=1, keepdims=True)
    return (centers + steps).astype(centers.dtype)


def draw(rows, init, n_clusters, random_state, weight):
    """Indices of rows to start from."""
    if init == "k-means++":
        return draw_seeds(rows, n_clusters, weight, random_state)
    return draw_different(n_clusters, weight, rows.shape[0], random_state)
