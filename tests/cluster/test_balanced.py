"""ClusteredKMeans with limits of the sizes of clusters."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment, linprog
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ternary import ClusteredKMeans, _reference, config_context
from sklearn_ternary.cluster._transport import assign


def start_of(X, n_clusters, random_state):
    """A start that is the same for shuffled rows."""
    return np.sin(np.arange(1, 1 + n_clusters * X.shape[1]).reshape(n_clusters, -1))


@pytest.mark.estimator_checks
@parametrize_with_checks(
    [ClusteredKMeans(3, init=start_of, n_init=1, max_cluster_size=10**6)]
)
def test_estimator_checks(estimator, check):
    check(estimator)


def least_cost(costs, smallest, largest):
    """The optimum of the transportation problem, by linear programming."""
    k, n = costs.shape
    of_row = sparse.kron(np.ones((1, k)), sparse.eye(n))
    of_cluster = sparse.kron(sparse.eye(k), np.ones((1, n)))
    return linprog(
        costs.ravel(),
        A_eq=of_row,
        b_eq=np.ones(n),
        A_ub=sparse.vstack([of_cluster, -of_cluster]),
        b_ub=np.r_[np.full(k, largest), np.full(k, -smallest)],
    ).fun


@pytest.mark.parametrize("seed", range(60))
def test_assignment_is_the_cheapest(seed):
    rng = np.random.default_rng(seed)
    k = rng.integers(1, 7)
    n = rng.integers(k, 40)
    smallest, largest = rng.integers(0, n // k + 1), rng.integers(-(-n // k), n + 1)
    # Some are full of ties, some far from balanced.
    X = rng.normal(size=(n, 2)).round(rng.integers(0, 4))
    centers = rng.normal(size=(k, 2)).round(1) * (0.01 if seed % 3 == 0 else 1)
    costs = ((X - centers[:, None]) ** 2).sum(axis=2)
    prices = rng.normal(size=k) if seed % 2 else np.zeros(k)
    labels, _ = assign(costs, smallest, largest, prices)
    sizes = np.bincount(labels, minlength=k)
    assert smallest <= sizes.min() <= sizes.max() <= largest
    found = costs[labels, np.arange(n)].sum()
    assert found == pytest.approx(least_cost(costs, smallest, largest), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(20))
def test_paths_are_those_of_the_definition(seed, dtype):
    cpu = pytest.importorskip("sklearn_ternary._cpu", reason="no kernels are built")
    rng = np.random.default_rng(seed)
    k, n = rng.integers(1, 8), rng.integers(8, 300)
    smallest, largest = rng.integers(0, n // k + 1), rng.integers(-(-n // k), n + 1)
    # Of a few values, so that many paths are equally long, or of many.
    costs = rng.integers(0, 5, (k, n)) if seed % 2 else rng.random((k, n))
    costs = costs.astype(dtype)
    labels = costs.argmin(axis=0).astype(np.int32)
    sizes = np.bincount(labels, minlength=k)
    given = np.clip(sizes, smallest, largest)
    surplus = np.append(sizes - given, given.sum() - n)
    found = []
    for follow_paths in (
        _reference.follow_paths,
        lambda *args: cpu.follow_paths(*args, n_threads=2, isa="generic"),
    ):
        changed = labels.copy(), given.copy(), surplus.copy()
        lengths = follow_paths(costs, *changed, smallest, largest, 1e-12)
        assert not changed[2].any()
        np.testing.assert_array_equal(np.bincount(changed[0], minlength=k), changed[1])
        found.append((*changed, lengths))
    for expected, ours in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_rows_that_few_paths_did_not_look_at_are_looked_at(monkeypatch):
    """Whatever the paths are found among first, the cost is the least."""
    from sklearn_ternary.cluster import _transport

    X, _ = make_blobs(3000, 3, centers=8, cluster_std=2, random_state=0)
    costs = ((X - X[:8, None]) ** 2).sum(axis=2)
    rows = np.arange(3000)
    expected = None
    for part in (1, 1 / 16, 0):
        monkeypatch.setattr(_transport, "_OPEN", part)
        monkeypatch.setattr(_transport, "_AT_BORDERS", 30 if part else 1)
        labels, prices = assign(costs, 350, 400)
        cost = costs[labels, rows].sum()
        expected = expected or cost
        assert cost == pytest.approx(expected, rel=1e-13)
        # No row is better off elsewhere at these prices: a proof by duality.
        paid = costs[labels, rows] + prices[labels]
        assert (paid <= (costs + prices[:, None]).min(axis=0) + 1e-9).all()
        sizes = np.bincount(labels)
        assert ((prices <= 0) | (sizes == 400)).all()
        assert ((prices >= 0) | (sizes == 350)).all()


def test_larger_assignment_is_the_cheapest():
    X, _ = make_blobs(1500, 4, centers=10, cluster_std=3, random_state=0)
    costs = ((X - X[:10, None]) ** 2).sum(axis=2)
    labels, prices = assign(costs, 150, 150, np.zeros(10))
    repeated = np.repeat(costs, 150, axis=0)
    expected = repeated[linear_sum_assignment(repeated)].sum()
    assert costs[labels, np.arange(1500)].sum() == pytest.approx(expected, rel=1e-12)
    again, _ = assign(costs, 150, 150, prices)
    np.testing.assert_array_equal(again, labels)


def test_many_rows_cost_no_more_than_the_dual_says():
    """Any prices give a lower bound, and those that are returned a tight one."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 21)
    points = rng.normal(size=(20, 6))
    X = points[rng.choice(20, 20_000, p=share / share.sum())]
    X = X + 0.7 * rng.normal(size=X.shape)
    costs = ((X - X[:20, None]) ** 2).sum(axis=2)
    for smallest, largest in ((1000, 1000), (0, 1200), (900, 20_000)):
        labels, prices = assign(costs, smallest, largest, np.zeros(20))
        sizes = np.bincount(labels)
        assert smallest <= sizes.min() <= sizes.max() <= largest
        paid = np.where(prices > 0, largest * prices, smallest * prices).sum()
        bound = (costs + prices[:, None]).min(axis=0).sum() - paid
        cost = costs[labels, np.arange(20_000)].sum()
        assert bound <= cost * (1 + 1e-12)
        assert cost - bound < 1e-12 * cost


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_sizes_and_optimality_of_a_fit(container, metric):
    X, _ = make_blobs(600, 5, centers=4, cluster_std=4, random_state=1)
    weight = np.random.default_rng(0).uniform(0.5, 2, 600)
    weight[::10] = 0
    counted = weight > 0
    kmeans = ClusteredKMeans(
        6, metric=metric, min_cluster_size=80, max_cluster_size=95, random_state=0
    ).fit(container(X), sample_weight=weight)
    labels, centers = kmeans.labels_, kmeans.cluster_centers_
    sizes = np.bincount(labels[counted], minlength=6)
    assert 80 <= sizes.min() <= sizes.max() <= 95
    costs = kmeans.transform(X).T
    costs = costs**2 if metric == "euclidean" else costs
    np.testing.assert_array_equal(labels[~counted], kmeans.predict(X)[~counted])
    costs = (weight * costs)[:, counted]
    assert kmeans.inertia_ == pytest.approx(least_cost(costs, 80, 95), rel=1e-9)
    for j in range(6):
        if metric == "euclidean":
            mean = np.average(X[labels == j], axis=0, weights=weight[labels == j])
            np.testing.assert_allclose(centers[j], mean, rtol=0.2, atol=0.1)


def test_inertia_does_not_rise_and_limits_that_do_not_bind_change_nothing():
    X, _ = make_blobs(400, 3, centers=4, cluster_std=4, random_state=0)
    options = {"init": X[:5], "tol": 0}
    inertia = [
        ClusteredKMeans(5, max_iter=i, max_cluster_size=80, **options).fit(X).inertia_
        for i in range(1, 9)
    ]
    assert (np.diff(inertia) <= 1e-9 * inertia[0]).all()
    free = ClusteredKMeans(5, **options).fit(X)
    loose = ClusteredKMeans(5, max_cluster_size=400, **options).fit(X)
    np.testing.assert_array_equal(loose.labels_, free.labels_)
    assert loose.inertia_ == free.inertia_


def test_chunks_and_threads_give_the_same_bits():
    X, _ = make_blobs(6000, 3, centers=4, cluster_std=4, random_state=0)
    results = set()
    for data, n in ((X, 1), (X, 2), ([X[:100], X[100:]], 2)):
        with config_context(n_threads=n, backend="cpu"):
            kmeans = ClusteredKMeans(4, min_cluster_size=1500, random_state=0).fit(data)
        assert set(np.bincount(kmeans.labels_)) == {1500}
        results.add((kmeans.labels_.tobytes(), kmeans.inertia_))
    assert len(results) == 1


def test_duplicates_are_parted():
    X = np.ones((10, 2))
    kmeans = ClusteredKMeans(5, max_cluster_size=2, random_state=0).fit(X)
    assert set(np.bincount(kmeans.labels_)) == {2}
    assert kmeans.inertia_ == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_cluster_size": 6}, "min_cluster_size=6 needs 24 rows.*20 have weight"),
        ({"max_cluster_size": 4}, "max_cluster_size=4 leaves room for 16 rows.*20"),
        (
            {"min_cluster_size": 9, "max_cluster_size": 8},
            "min_cluster_size=9 exceeds max_cluster_size=8",
        ),
        ({"min_cluster_size": 2, "batch_size": 5}, "not go with batch_size=5"),
    ],
)
def test_infeasible_sizes(options, message):
    X, _ = make_blobs(21, 2, random_state=0)
    weight = np.ones(21)
    weight[3] = 0
    with pytest.raises(ValueError, match=message):
        ClusteredKMeans(4, **options).fit(X, sample_weight=weight)


def test_partial_fit_is_not_there():
    assert not hasattr(ClusteredKMeans(4, min_cluster_size=2), "partial_fit")
    assert hasattr(ClusteredKMeans(4), "partial_fit")
