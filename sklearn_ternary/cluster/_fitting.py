"""Fits of ClusteredKMeans: of all rows at once, and of mini-batches."""

import warnings
from typing import NamedTuple

import numpy as np

from sklearn_ternary._dispatch.clustering import codes_are_fast, makes_tiles
from sklearn_ternary._gpu.arrays import namespace
from sklearn_ternary.cluster._balanced import BalancedLabels, size_limits
from sklearn_ternary.cluster._device_iterations import DeviceIterations
from sklearn_ternary.cluster._device_rows import DeviceRows
from sklearn_ternary.cluster._distances import count_labels, row_parts
from sklearn_ternary.cluster._iterations import start_iterations
from sklearn_ternary.cluster._lloyd import inertia_of, run_lloyd
from sklearn_ternary.cluster._minibatch import run_minibatch, sample_to_start
from sklearn_ternary.cluster._reading import check_measured
from sklearn_ternary.cluster._report import Report
from sklearn_ternary.cluster._sparse_rows import SparseRows
from sklearn_ternary.cluster._starts import parted

# Products per row from which on "auto" keeps bounds, and for few clusters.
_BOUNDS_FROM = 4096
_BOUNDS_OF_FEW_FROM = 512
_FEW = 32
# Clusters and columns from which on screening rows by codes pays.
_CODES_FROM = 128, 32
# Up to so many columns the tile unit is as fast with products of floats.
_CODES_BEYOND = 64
# What codes miss of a row and of a centre is rounding, spread evenly over d columns by
# the rotation: its product with another vector is about 1 / sqrt(d) of the bound.
# With so many times that, about one label in 10,000 that codes leave open is wrong.
_DEVIATIONS = 2.0


class Found(NamedTuple):
    """What a fit found, of rows as they are scaled."""

    centers: np.ndarray
    labels: np.ndarray
    inertia: float
    n_iter: int
    n_steps: int | None
    counts: np.ndarray
    converged: bool


def fit_all(estimator, rows, weights, start, context, passed):
    """Lloyd's algorithm on all rows, the best of all runs.

    Parameters
    ----------
    estimator : ClusteredKMeans
    rows : DenseRows, SparseRows, BlockedRows or DeviceRows
    weights : Weights
    start : Start
    context : CallbackContext or None
        None without callbacks.
    passed : dict
        What callbacks are given.

    Returns
    -------
    found : Found
    """
    n_clusters = estimator.n_clusters
    bounded = _is_bounded(estimator, rows)
    approximate = estimator.precision == "int8"
    limits = size_limits(
        n_clusters,
        weights.n_counted,
        estimator.min_cluster_size,
        estimator.max_cluster_size,
    )
    if approximate and limits:
        raise ValueError(
            "precision='int8' cannot be combined with min_cluster_size and "
            "max_cluster_size"
        )
    rows.measure()
    check_measured(estimator, rows)
    if approximate:
        share = min(1.0, _DEVIATIONS / np.sqrt(rows.shape[1]))
        rows.keep_codes(share, n_clusters)
    elif _is_screened(estimator, rows):
        rows.keep_codes(1.0, n_clusters)
    bounded = bounded and rows.groups_that_fit(n_clusters) > 0
    tol = _absolute_tol(estimator, rows)
    best = None
    for _ in range(estimator._n_init):
        if start.is_drawn or isinstance(rows, DeviceRows):
            rows.keep_tiles()
        centers = start.draw_from(rows, weights.of_fit)
        if start.is_drawn:
            centers = parted(centers)
        if estimator.verbose:
            print("Initialization complete")
        report = Report(
            estimator, context, passed, start.data.exponent, estimator.max_iter
        )
        labelling = limits and BalancedLabels(rows, weights.of_fit, *limits)
        if isinstance(rows, DeviceRows):
            steps = DeviceIterations(rows, weights.of_fit, n_clusters, labelling)
        else:
            steps = start_iterations(
                rows,
                weights.of_fit,
                n_clusters,
                bounded=bounded,
                approximate=approximate and not isinstance(rows, SparseRows),
                labelling=labelling,
                watched=estimator.verbose or report.wanted,
            )
        run = run_lloyd(
            steps,
            centers,
            max_iter=estimator.max_iter,
            tol=tol,
            verbose=estimator.verbose,
            after=report.after_iteration if report.wanted else None,
        )
        # Rounding may lower the inertia of the same clusters a little.
        if best is None or (
            run.inertia < best.inertia
            and not _same_clusters(run.labels, best.labels, n_clusters)
        ):
            best = run
        if report.wanted and report.end(run):
            break
    return Found(
        best.centers,
        best.labels,
        best.inertia,
        best.n_iter,
        None,
        count_labels(best.labels, n_clusters, weights.of_fit),
        best.converged,
    )


def fit_batches(estimator, rows, weights, start, context, passed):
    """Mini-batches of rows, from the best of the starts; as `fit_all`."""
    tol = 0
    if estimator.tol > 0:
        rows.measure()
        tol = _absolute_tol(estimator, rows)
    sample, sample_weight = sample_to_start(
        rows,
        weights.of_fit,
        estimator.batch_size,
        estimator.n_clusters,
        start.random_state,
    )
    sample.measure()
    best = None
    for _ in range(estimator._n_init):
        centers = start.draw_from(sample, sample_weight)
        inertia = inertia_of(sample, sample_weight, centers, sample.nearest(centers))
        if best is None or inertia < best[0]:
            best = inertia, centers
    if estimator.verbose:
        print("Initialization complete")
    n_steps = -(-rows.shape[0] // estimator.batch_size) * estimator.max_iter
    report = Report(estimator, context, passed, start.data.exponent, n_steps)
    run = run_minibatch(
        rows,
        weights.of_fit,
        best[1],
        batch_size=estimator.batch_size,
        max_iter=estimator.max_iter,
        tol=tol,
        max_no_improvement=estimator.max_no_improvement,
        reassignment_ratio=estimator.reassignment_ratio,
        random_state=start.random_state,
        verbose=estimator.verbose,
        after=report.after_iteration if report.wanted else None,
    )
    if report.wanted:
        report.end(run)
    labels = rows.nearest(run.centers)
    inertia = inertia_of(rows, weights.of_fit, run.centers, labels)
    passes, counts = run.n_iter, run.counts
    return Found(run.centers, labels, inertia, passes, run.n_steps, counts, True)


def _absolute_tol(estimator, rows):
    """`tol` times the mean variance of the columns of measured rows."""
    if estimator.tol == 0:
        return 0
    return estimator.tol * rows.total_variance() / (rows.shape[0] * rows.shape[1])


def _is_bounded(estimator, rows):
    """Whether bounds are kept."""
    algorithm, n_clusters = estimator.algorithm, estimator.n_clusters
    if algorithm == "elkan" and n_clusters == 1:
        warnings.warn(
            "algorithm='elkan' doesn't make sense for a single cluster. Using "
            "'lloyd' instead.",
            RuntimeWarning,
            stacklevel=6,
        )
        algorithm = "lloyd"
    if isinstance(rows, SparseRows) or algorithm == "lloyd":
        return False
    if algorithm == "auto":
        least = _BOUNDS_OF_FEW_FROM if n_clusters <= _FEW else _BOUNDS_FROM
        return n_clusters * rows.shape[1] >= least
    return True


def _is_screened(estimator, rows):
    """Whether codes of 8 bits screen the centres for each row."""
    if estimator.precision == "float" or isinstance(rows, SparseRows):
        return False
    clusters, columns = _CODES_FROM
    d, config = rows.shape[1], rows.config
    if d <= _CODES_BEYOND and makes_tiles(d, rows.dtype, config=config):
        return False
    large = estimator.n_clusters >= clusters and d >= columns
    return large and codes_are_fast(config=config)


def _same_clusters(labels, others, n_clusters):
    """Whether two labellings differ by their numbering alone."""
    xp = namespace(labels)
    names = xp.zeros(n_clusters, dtype=others.dtype)
    for part in row_parts(len(labels)):
        names[labels[part]] = others[part]
    return all(
        bool(xp.array_equal(names[labels[part]], others[part]))
        for part in row_parts(len(labels))
    )
