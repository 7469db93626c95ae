"""ClusteredKMeans on weights, repeated rows, ties and empty clusters."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from small_kmeans import blobs, fitted

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary.cluster import kmeans_plusplus


def test_zero_weight_is_absence(algorithm):
    X, _ = blobs(300, 4, 4)
    weight = np.ones(300)
    weight[::3] = 0
    start = X[1::3][:5]
    options = {"init": start, "algorithm": algorithm, "tol": 0}
    a = ClusteredKMeans(5, **options).fit(X, sample_weight=weight)
    b = ClusteredKMeans(5, **options).fit(X[weight > 0])
    np.testing.assert_allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-12)


def test_whole_weights_are_repetitions(algorithm):
    X, _ = blobs(200, 4, 4)
    weight = np.random.default_rng(0).integers(1, 4, 200)
    options = {"init": X[:5], "algorithm": algorithm, "tol": 0}
    a = ClusteredKMeans(5, **options).fit(X, sample_weight=weight)
    b = ClusteredKMeans(5, **options).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-12)
    assert a.inertia_ == pytest.approx(b.inertia_, rel=1e-12)


@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_bad_weights(weight):
    X, _ = blobs(20, 2, 2)
    with pytest.raises(ValueError, match=r"sample_weight|NaN"):
        ClusteredKMeans(2).fit(X, sample_weight=np.full(20, weight))


def starts_with_empty_clusters(X, k, seed):
    """Rows as they come, one row again and again, and centres far from all rows."""
    rows = X[np.random.default_rng(seed).choice(len(X), k, replace=False)]
    away = rows.copy()
    away[k // 3 :] += 1000
    return rows, np.repeat(rows[:1], k, axis=0), away


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_empty_clusters_move_as_in_scikit_learn(container, algorithm):
    for seed in range(3):
        X, _ = blobs(200, 4, 20, seed=seed, std=2.0)
        X = X[np.random.default_rng(seed).integers(0, 200, 1000)]
        for start in starts_with_empty_clusters(X, 20, seed):
            options = {"init": start, "n_init": 1, "tol": 0}
            ours = ClusteredKMeans(20, algorithm=algorithm, **options)
            ours.fit(container(X))
            theirs = KMeans(20, **options).fit(container(X))
            assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
            assert ours.n_iter_ == theirs.n_iter_


def test_of_equally_far_rows_the_most_frequent_are_taken():
    """Rows of categories, of which the definition tells what is left."""
    counts = np.array([90, 5, 60, 80, 10, 70, 20])
    X = np.repeat(np.eye(7), counts, axis=0)
    weight = np.full(len(X), 0.5)
    kmeans = ClusteredKMeans(4, init=np.eye(7)[[1] * 4], n_init=1, tol=0)
    for container in (np.asarray, sparse.csr_array):
        for rows, w in ((X, None), (X[::-1].copy(), weight)):
            kmeans.fit(container(rows), sample_weight=w)
            rest = X[np.isin(X.argmax(axis=1), [1, 2, 4, 6])]
            least = ((rest - rest.mean(axis=0)) ** 2).sum() * (1 if w is None else 0.5)
            assert kmeans.inertia_ == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_categories_are_clustered_no_worse_than_by_scikit_learn(container):
    share = 1 / np.arange(1, 51)
    ours, theirs = np.zeros(3), np.zeros(3)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = np.eye(50)[rng.choice(50, 1000, p=share / share.sum())]
        for i, start in enumerate(starts_with_empty_clusters(X, 20, seed)):
            options = {"n_clusters": 20, "init": start, "n_init": 1, "tol": 0}
            ours[i] += ClusteredKMeans(**options).fit(container(X)).inertia_
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                theirs[i] += KMeans(**options).fit(container(X)).inertia_
    assert (ours <= theirs).all()


def test_rows_as_near_to_one_centre_as_to_another():
    """Columns of zeros and ones, against scikit-learn: the same start, and drawn."""
    k, ours, theirs = 30, [], []
    for seed in range(12):
        X = (np.random.default_rng(seed).random((2000, 8)) < 0.2).astype(float)
        start, _ = kmeans_plusplus(X, k, random_state=seed)
        options = {"n_clusters": k, "init": start, "n_init": 1, "tol": 0}
        # Of dense rows it decides by rounding.
        expected = KMeans(**options).fit(sparse.csr_array(X)).inertia_
        for data in (X, sparse.csr_array(X)):
            found = ClusteredKMeans(**options).fit(data).inertia_
            assert found == pytest.approx(expected, rel=1e-12)
        ours.append(ClusteredKMeans(k, random_state=seed).fit(X).inertia_)
        theirs.append(KMeans(k, random_state=seed).fit(X).inertia_)
    assert np.mean(ours) < 1.01 * np.mean(theirs)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_duplicates_all_found(container, algorithm):
    X = np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 20, axis=0)
    kmeans = ClusteredKMeans(6, random_state=0, algorithm=algorithm)
    kmeans.fit(container(X))
    assert len(set(kmeans.labels_)) == 6
    assert kmeans.inertia_ < 1e-12


def test_fewer_rows_than_clusters_among_duplicates(algorithm):
    X = np.repeat([[0.0, 1.0], [2.0, 3.0]], 10, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
        kmeans = ClusteredKMeans(4, random_state=0, algorithm=algorithm).fit(X)
    assert kmeans.inertia_ == 0
    assert np.isfinite(kmeans.cluster_centers_).all()


def test_constant_data(dtype):
    X = np.full((20, 3), 7.25, dtype=dtype)
    with pytest.warns(ConvergenceWarning):
        kmeans = ClusteredKMeans(3, random_state=0).fit(X)
    np.testing.assert_array_equal(kmeans.cluster_centers_, X[:3])
    assert set(kmeans.labels_) == {0}


def test_columns_of_zeros_stay_zeros(algorithm):
    X = np.random.default_rng(0).random((2000, 6))
    X[:, 2] = 0
    X[X[:, 0] > 0.5, 3] = 0
    for container in (np.asarray, sparse.csr_array):
        kmeans = fitted(container(X), algorithm=algorithm, tol=0)
        assert (kmeans.cluster_centers_[:, 2] == 0).all()
        assert (kmeans.cluster_centers_ >= 0).all()
