"""Starts of ClusteredKMeans: drawn, given and warm."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from small_kmeans import bits, blobs

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary.cluster import kmeans_plusplus


def test_callable_init_sees_the_data_and_is_used():
    X, _ = blobs(100, 4, 3)
    seen = []

    def init(data, n_clusters, random_state):
        seen.append(data)
        return data[:n_clusters]

    a = ClusteredKMeans(3, init=init, n_init=1).fit(X)
    b = ClusteredKMeans(3, init=X[:3]).fit(X)
    np.testing.assert_array_equal(seen[0], X)
    assert bits(a) == bits(b)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_seeds_are_those_of_scikit_learn(container):
    from sklearn.cluster import kmeans_plusplus as theirs

    X, _ = blobs(3000, 6, 20, std=3.0)
    weight = np.random.default_rng(0).random(len(X))
    for seed in range(5):
        a = kmeans_plusplus(container(X), 15, sample_weight=weight, random_state=seed)
        b = theirs(container(X), 15, sample_weight=weight, random_state=seed)
        np.testing.assert_array_equal(a[1], b[1])
        np.testing.assert_array_equal(a[0], X[a[1]])


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_seeds_do_not_depend_on_what_is_kept(container, monkeypatch):
    from sklearn_ternary.cluster import _seeding

    X, _ = blobs(3000, 6, 20, std=3.0)
    kept = kmeans_plusplus(container(X), 15, random_state=0)[1]
    monkeypatch.setattr(_seeding, "MINIMA_BYTES", 0)
    again = kmeans_plusplus(container(X), 15, random_state=0)[1]
    np.testing.assert_array_equal(kept, again)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_sampling_law(container):
    """Second seeds by D² weighting: Pearson's chi-squared below its 99.99 % point."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 2))
    weight = rng.random(12)
    n_trials = 4000
    counts = np.zeros((12, 12))
    state = np.random.RandomState(0)
    for _ in range(n_trials):
        _, (i, j) = kmeans_plusplus(
            container(X),
            2,
            sample_weight=weight,
            random_state=state,
            n_local_trials=1,
        )
        counts[i, j] += 1
    squares = ((X[:, None] - X) ** 2).sum(axis=2) * weight
    expected = n_trials * (weight / weight.sum())[:, None]
    expected = expected * squares / squares.sum(axis=1, keepdims=True)
    assert counts[np.eye(12, dtype=bool)].sum() == 0
    often = expected > 5
    rest = ~often & ~np.eye(12, dtype=bool)
    statistic = ((counts - expected)[often] ** 2 / expected[often]).sum()
    statistic += (counts[rest].sum() - expected[rest].sum()) ** 2 / expected[rest].sum()
    from scipy.stats import chi2

    assert statistic < chi2.ppf(0.9999, often.sum())


def test_weights_are_repetitions_in_distribution():
    """First centres by weight and of repeated rows, by Pearson's test at 0.001."""
    X = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 30.0]])
    weight = np.array([1, 2, 5])
    counts = np.zeros((2, 3))
    for seed in range(400):
        for i, (rows, w) in enumerate(
            [(X, weight), (np.repeat(X, weight, axis=0), None)]
        ):
            drawn, _ = kmeans_plusplus(
                rows, 1, sample_weight=w, random_state=seed, n_local_trials=1
            )
            counts[i, np.flatnonzero((drawn == X).all(axis=1))[0]] += 1
    expected = 400 * weight / weight.sum()
    assert (((counts - expected) ** 2 / expected).sum(axis=1) < 13.8).all()


def test_greedy_seeds_are_better():
    X, _ = blobs(1000, 4, 30)

    def mean_inertia(trials):
        return np.mean(
            [
                ClusteredKMeans(30, init=kmeans_plusplus(
                    X, 30, random_state=seed, n_local_trials=trials
                )[0], max_iter=1).fit(X).inertia_
                for seed in range(20)
            ]
        )  # fmt: skip

    assert mean_inertia(None) < mean_inertia(1)


@pytest.mark.edge
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_weights_of_any_magnitude_draw_the_same(container):
    X, _ = blobs(500, 4, 6)
    weight = np.random.default_rng(0).random(len(X))
    seeds = [
        kmeans_plusplus(container(X), 9, sample_weight=weight * scale, random_state=0)
        for scale in (1.0, 2.0**1000, 2.0**-1000)
    ]
    for _, indices in seeds[1:]:
        np.testing.assert_array_equal(indices, seeds[0][1])


def test_zero_weights_are_not_drawn():
    X, _ = blobs(200, 3, 4)
    weight = np.ones(200)
    weight[::2] = 0
    _, indices = kmeans_plusplus(X, 50, sample_weight=weight, random_state=0)
    assert (indices % 2 == 1).all()
    assert len(set(indices)) == 50


@pytest.mark.parametrize("weighted", [False, True])
def test_random_starts_are_those_of_choice(weighted, monkeypatch):
    from sklearn_ternary.cluster import _distances, _seeding

    monkeypatch.setattr(_distances, "ROWS", 64)
    rng = np.random.default_rng(0)
    n, weight, p = 300, None, np.full(300, 1 / 300)
    if weighted:
        weight = rng.integers(0, 3, n).astype(float)
        p = weight / weight.sum()
    for size in (1, 20, 150):
        ours, theirs = np.random.RandomState(size), np.random.RandomState(size)
        found = _seeding.draw_different(size, weight, n, ours)
        expected = theirs.choice(n, size, replace=False, p=p)
        np.testing.assert_array_equal(found, expected)
        assert ours.random_sample() == theirs.random_sample()
    with pytest.raises(ValueError, match="have a weight above 0"):
        _seeding.draw_different(2, np.eye(1, n)[0], n, ours)


def test_warm_start_goes_on_where_the_last_fit_ended():
    X, _ = blobs(500, 4, 5, std=5.0)
    options = {"init": X[:5], "tol": 0}
    whole = ClusteredKMeans(5, max_iter=6, **options).fit(X)
    warm = ClusteredKMeans(5, max_iter=3, n_init=4, warm_start=True, **options)
    warm.set_params(init="k-means++", random_state=0)
    warm.fit(X)
    warm.cluster_centers_ = (
        ClusteredKMeans(5, max_iter=3, **options).fit(X).cluster_centers_
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warm.fit(X)
    np.testing.assert_allclose(warm.cluster_centers_, whole.cluster_centers_)
    np.testing.assert_array_equal(warm.labels_, whole.labels_)
    assert warm.fit(X[:300]).labels_.shape == (300,)
    with pytest.raises(ValueError, match=r"initial centers \(5, 4\).*clusters 6"):
        warm.set_params(n_clusters=6).fit(X)
    with pytest.raises(ValueError, match=r"initial centers \(5, 4\).*features"):
        warm.set_params(n_clusters=5).fit(X[:, :3])
