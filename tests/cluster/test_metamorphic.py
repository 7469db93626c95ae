"""What must not change a clustering, and what must change it in a known way."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from sklearn import cluster as theirs

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary.cluster import kmeans_plusplus


@st.composite
def problems(draw):
    """Rows, centres to start from, and options; rows may be few, equal or in groups."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d = draw(st.integers(12, 300)), draw(st.integers(1, 20))
    k = draw(st.integers(1, 9))
    X = rng.normal(size=(n, d)) + 3 * rng.integers(0, 3, (n, 1))
    if draw(st.booleans()):
        X = X.round()
    X = X.astype(draw(st.sampled_from([np.float32, np.float64])))
    options = {
        "algorithm": draw(st.sampled_from(["lloyd", "hamerly"])),
        "precision": draw(st.sampled_from(["float", "auto"])),
        "metric": draw(st.sampled_from(["euclidean", "cosine"])),
    }
    start = X[rng.choice(n, k, replace=False)]
    if options["metric"] == "cosine":
        start = start + X.dtype.type(0.01)
    return X, start, options, rng


def fit(X, start, options, weight=None, max_iter=3):
    """A few iterations, so that near ties have no time to lead far apart."""
    kmeans = ClusteredKMeans(len(start), init=start, max_iter=max_iter, tol=0)
    return kmeans.set_params(**options).fit(X, sample_weight=weight)


def nearest(X, start, metric):
    """Labels by cosines or distances, in double precision."""
    X, start = X.astype(np.float64), start.astype(np.float64)
    if metric == "cosine":
        X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
        start = start / np.linalg.norm(start, axis=1, keepdims=True)
    return ((X[:, None] - start) ** 2).sum(axis=2).argmin(axis=1)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_repeated_rows_are_weights_and_order_does_not_count(problem):
    X, start, options, rng = problem
    weight = rng.integers(0, 4, len(X))
    # Empty clusters take the farthest rows, of which repeated ones are several.
    counts = np.bincount(
        nearest(X, start, options["metric"])[weight > 0], minlength=len(start)
    )
    assume(counts.all())
    repeated = rng.permutation(np.repeat(np.arange(len(X)), weight))
    weighted = fit(X, start, options, weight, max_iter=1)
    alone = fit(X[repeated], start, options, max_iter=1)
    rtol = 1e-4 if X.dtype == np.float32 else 1e-9
    np.testing.assert_allclose(
        alone.cluster_centers_, weighted.cluster_centers_, rtol=rtol, atol=rtol
    )
    # Which of equally near centres rounding prefers costs nothing.
    assert alone.inertia_ == pytest.approx(weighted.inertia_, rel=rtol, abs=rtol)
    np.testing.assert_array_equal(alone.predict(X)[repeated], alone.labels_)


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(-60, 60))
def test_a_power_of_two_changes_no_bit(problem, exponent):
    X, start, options, _ = problem
    factor = X.dtype.type(2.0**exponent)
    here, there = fit(X, start, options), fit(X * factor, start * factor, options)
    if options["metric"] == "cosine":
        factor = X.dtype.type(1)
    np.testing.assert_array_equal(there.labels_, here.labels_)
    np.testing.assert_array_equal(
        there.cluster_centers_, here.cluster_centers_ * factor
    )
    assert there.inertia_ == here.inertia_ * float(factor) ** 2
    assert there.n_iter_ == here.n_iter_


@settings(max_examples=25, deadline=None)
@given(problems())
def test_shifts_and_rotations_move_the_centres_along(problem):
    X, start, options, rng = problem
    options["metric"] = "euclidean"
    X, start = X.astype(np.float64), start.astype(np.float64)
    d = X.shape[1]
    turn = ortho_group.rvs(d, random_state=rng) if d > 1 else -np.eye(1)
    shift = rng.normal(size=d) * 10
    # Of rows on a grid, which of equally near centres counts is left to rounding.
    X = X + 1e-3 * rng.normal(size=X.shape)
    start = start + 1e-3 * rng.normal(size=start.shape)
    here = fit(X, start, options)
    there = fit(X @ turn + shift, start @ turn + shift, options)
    np.testing.assert_array_equal(there.labels_, here.labels_)
    np.testing.assert_allclose(
        there.cluster_centers_, here.cluster_centers_ @ turn + shift, atol=1e-9
    )
    assert there.inertia_ == pytest.approx(here.inertia_, rel=1e-9, abs=1e-9)


def test_draws_cannot_be_scikit_learns_and_free_of_the_order():
    """Why two checks of estimators fail where a start is drawn.

    They ask that weights and repeated rows, shuffled, give the same result under one
    `random_state`. So would then any two orders of the same rows. scikit-learn draws
    different rows for two orders, and ours are the rows that scikit-learn draws.
    """
    X = np.random.default_rng(0).normal(size=(60, 3))
    order = np.random.default_rng(1).permutation(60)
    drawn = []
    for rows in (X, X[order]):
        ours, _ = kmeans_plusplus(rows, 3, random_state=0)
        expected, _ = theirs.kmeans_plusplus(rows, 3, random_state=0)
        np.testing.assert_array_equal(ours, expected)
        drawn.append({row.tobytes() for row in ours})
    assert drawn[0] != drawn[1]
