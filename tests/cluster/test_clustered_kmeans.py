"""ClusteredKMeans: results, instruction sets and threads."""

import itertools
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_kmeans import bits, blobs, fitted

from sklearn_ternary import ClusteredKMeans, config_context
from sklearn_ternary.cluster import k_means


def fixed_start(X, n_clusters, random_state):
    """A start that is the same for repeated and for shuffled rows."""
    return np.linspace(-1, 1, n_clusters)[:, None] * np.ones(X.shape[1])


@pytest.mark.estimator_checks
@parametrize_with_checks(
    [
        ClusteredKMeans(n_clusters=3, init=fixed_start, n_init=1),
        ClusteredKMeans(n_clusters=3, init=fixed_start, n_init=1, algorithm="hamerly"),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.estimator_checks
@parametrize_with_checks(
    [
        ClusteredKMeans(n_clusters=3),
        ClusteredKMeans(n_clusters=2, init="random", n_init=2),
    ],
    expected_failed_checks=lambda estimator: dict.fromkeys(
        [
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ],
        # Draws are those of scikit-learn, which expects the same two to fail for its
        # KMeans (PER_ESTIMATOR_XFAIL_CHECKS). They cannot be both those and what the
        # checks want: see test_draws_cannot_be_scikit_learns_and_free_of_the_order.
        # From a start that is given the checks pass, above, and draws are equivalent
        # in distribution: test_weights_are_repetitions_in_distribution.
        "the same rows in another order start differently, as scikit-learn's do",
    ),
)
def test_estimator_checks_of_random_starts(estimator, check):
    check(estimator)


def lloyd(X, weight, centers, max_iter):
    """Lloyd's algorithm in plain NumPy, for data whose clusters stay occupied."""
    X = X.astype(np.float64)
    for _ in range(max_iter):
        distances = ((X[:, None] - centers) ** 2).sum(axis=2)
        labels = distances.argmin(axis=1)
        new = np.stack(
            [
                np.average(X[labels == j], axis=0, weights=weight[labels == j])
                for j in range(len(centers))
            ]
        )
        if np.array_equal(new, centers):
            break
        centers = new
    distances = ((X[:, None] - centers) ** 2).sum(axis=2)
    return centers, distances.argmin(axis=1), (weight * distances.min(axis=1)).sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_iter", [1, 3, 50])
def test_against_numpy(dtype, algorithm, weighted, max_iter):
    X, _ = blobs(dtype=dtype, std=4.0)
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    weight = weight.astype(dtype)
    start = X[rng.choice(len(X), 6, replace=False)]
    kmeans = ClusteredKMeans(
        6, init=start, n_init=1, max_iter=max_iter, tol=0, algorithm=algorithm
    ).fit(X, sample_weight=weight if weighted else None)
    centers, labels, inertia = lloyd(X, weight, start.astype(np.float64), max_iter)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(kmeans.cluster_centers_, centers, rtol=tolerance)
    np.testing.assert_array_equal(kmeans.labels_, labels)
    assert kmeans.inertia_ == pytest.approx(inertia, rel=tolerance)
    assert kmeans.cluster_centers_.dtype == dtype
    assert kmeans.score(X, sample_weight=weight) == -kmeans.inertia_


def partitions(n, k):
    """Labels of all rows, in every way that uses all k."""
    for labels in itertools.product(range(k), repeat=n):
        if len(set(labels)) == k:
            yield np.array(labels)


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_best_of_tiny_problems(seed):
    X = np.random.default_rng(seed).normal(size=(8, 2)).round(2)
    least = min(
        sum(((X[p == j] - X[p == j].mean(axis=0)) ** 2).sum() for j in range(3))
        for p in partitions(8, 3)
    )
    kmeans = ClusteredKMeans(3, n_init=40, random_state=seed, tol=0).fit(X)
    assert kmeans.inertia_ == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_same_clusters_as_scikit_learn(init, container):
    X, _ = blobs(600, 8, 9, seed=3, std=2.0)
    X[X < 0] = 0
    weight = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    options = {"n_clusters": 9, "init": init, "n_init": 2, "random_state": 5}
    ours = ClusteredKMeans(**options).fit(container(X), sample_weight=weight)
    theirs = KMeans(**options).fit(container(X), sample_weight=weight)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(
        ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12
    )
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X))


@pytest.mark.parametrize("seed", range(5))
def test_inertia_does_not_rise(seed):
    X, _ = blobs(300, 4, 5, seed=seed, std=5.0)
    start = X[:7]
    inertia = [
        ClusteredKMeans(7, init=start, max_iter=i, tol=0).fit(X).inertia_
        for i in range(1, 12)
    ]
    assert (np.diff(inertia) <= 1e-9 * inertia[0]).all()


@pytest.mark.threads
@pytest.mark.parametrize("is_sparse", [False, True])
def test_threads_do_not_change_a_bit(dtype, algorithm, is_sparse, n_threads):
    X = np.random.default_rng(0).normal(size=(20_000, 17)).astype(dtype)
    weight = np.random.default_rng(1).random(len(X))
    if is_sparse:
        X[X < 1] = 0
        X = sparse.csr_array(X)
    results = []
    for n in (1, n_threads):
        with config_context(n_threads=n, backend="cpu"):
            results.append(bits(fitted(X, weight, algorithm=algorithm, max_iter=5)))
    assert results[0] == results[1]


@pytest.mark.backends
def test_instruction_sets_and_backends_agree(dtype, algorithm, isa):
    X = np.random.default_rng(0).normal(size=(700, 19)).astype(dtype)
    with config_context(backend="numpy"):
        expected = bits(fitted(X, algorithm="lloyd"))
    with config_context(backend="cpu", isa=isa):
        assert bits(fitted(X, algorithm=algorithm)) == expected


def test_algorithms_agree(dtype):
    X, _ = blobs(3000, 6, 12, dtype, std=3.0)
    results = {
        bits(fitted(X, algorithm=name, tol=tol))
        for name in ("auto", "lloyd", "hamerly", "elkan")
        for tol in (0,)
    }
    assert len(results) == 1


@pytest.mark.parametrize("max_iter", [3, 300])
@pytest.mark.parametrize("tol", [0, 1e-4])
def test_runs_that_max_iter_ends(max_iter, tol):
    """A warning of them, unless no tolerance asks for so many iterations."""
    kmeans = ClusteredKMeans(10, random_state=0, max_iter=max_iter, tol=tol)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kmeans.fit(load_digits().data)
    expected = ["max_iter=3 "] if (max_iter, tol) == (3, 1e-4) else []
    assert len(caught) == len(expected)
    for warning, text in zip(caught, expected, strict=True):
        assert warning.category is ConvergenceWarning
        assert text in str(warning.message)
        assert warning.filename == __file__


@pytest.mark.parametrize(
    "options",
    [
        {"n_clusters": 3, "init": np.eye(3, 5), "n_init": 2},
        {"n_clusters": 1, "algorithm": "elkan"},
        {"n_clusters": 30, "init": "random", "n_init": 1, "max_iter": 1},
    ],
    ids=["n_init", "elkan", "max_iter"],
)
def test_warnings_name_the_line_of_the_caller(options):
    X, _ = blobs(std=9.0)
    with pytest.warns((RuntimeWarning, ConvergenceWarning)) as found:
        ClusteredKMeans(random_state=0, **options).fit(X)
    assert {warning.filename for warning in found} == {__file__}


def test_labels_are_those_of_predict(dtype, algorithm):
    X, _ = blobs(1000, 5, 6, dtype, std=6.0)
    for max_iter in (1, 2, 100):
        kmeans = fitted(X, algorithm=algorithm, max_iter=max_iter)
        np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)
        np.testing.assert_array_equal(
            kmeans.transform(X.astype(np.float64)).argmin(axis=1), kmeans.labels_
        )


def test_rows_do_not_depend_on_each_other(dtype):
    X, _ = blobs(500, 5, 6, dtype, std=6.0)
    kmeans = fitted(X)
    one_by_one = [kmeans.predict(X[i : i + 1])[0] for i in range(60)]
    np.testing.assert_array_equal(one_by_one, kmeans.labels_[:60])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("algorithm", "full"),
        ("n_clusters", 0),
        ("tol", -1.0),
        ("init", "kmeans||"),
    ],
)
def test_refused_values(name, value):
    X, _ = blobs(20, 2, 2)
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        ClusteredKMeans(**{name: value}).fit(X)


def test_k_means_function_returns_what_the_class_does():
    X, _ = blobs(200, 3, 4)
    kmeans = ClusteredKMeans(4, random_state=0).fit(X)
    centers, labels, inertia, n_iter = k_means(X, 4, random_state=0, return_n_iter=True)
    np.testing.assert_array_equal(centers, kmeans.cluster_centers_)
    np.testing.assert_array_equal(labels, kmeans.labels_)
    assert (inertia, n_iter) == (kmeans.inertia_, kmeans.n_iter_)
    assert len(k_means(X, 4)) == 3


@pytest.mark.fork
def test_fit_in_a_forked_child(run_python):
    code = """
import os, signal
import numpy as np
from sklearn_ternary import ClusteredKMeans, config_context

X = np.random.default_rng(0).normal(size=(20000, 16)).astype(np.float32)
with config_context(n_threads=2, backend="cpu"):
    labels = ClusteredKMeans(8, random_state=0, max_iter=3).fit(X).labels_
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            again = ClusteredKMeans(8, random_state=0, max_iter=3).fit(X).labels_
            os._exit(0 if (again == labels).all() else 1)
        assert os.waitpid(pid, 0)[1] == 0
print("all came back")
"""
    assert "all came back" in run_python(code)


def test_parameters_of_the_class_itself_are_validated_too():
    class Ours(ClusteredKMeans):
        def __init__(self, n_clusters=8, *, tol=-1, max_iter=300):
            super().__init__(n_clusters, tol=tol, max_iter=max_iter)

    with pytest.raises(ValueError, match="'tol' parameter of Ours"):
        Ours().fit(np.eye(9))
    with pytest.raises(ValueError, match="'max_iter' parameter of Ours"):
        Ours(tol=0, max_iter=0).fit(np.eye(9))
    Ours(tol=0.5).fit(np.eye(9))


def test_equal_values_of_other_types_are_validated():
    X = np.arange(8.0).reshape(4, 2)
    for _ in range(2):
        ClusteredKMeans(2, max_iter=7, tol=1).fit(X)
    for wrong in ({"n_clusters": 2.0}, {"max_iter": 7.0}, {"n_init": 0}):
        for _ in range(2):
            with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter"):
                ClusteredKMeans(**{"n_clusters": 2, **wrong}).fit(X)
