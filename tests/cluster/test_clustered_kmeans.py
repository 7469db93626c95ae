"""ClusteredKMeans: results, extremes, threads, callbacks."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ternary import ClusteredKMeans, config_context
from sklearn_ternary.cluster import k_means, kmeans_plusplus

DTYPES = [np.float32, np.float64]


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


@pytest.fixture(params=DTYPES, ids=lambda t: t.__name__)
def dtype(request):
    return request.param


@pytest.fixture(params=["lloyd", "hamerly"])
def algorithm(request):
    return request.param


def blobs(n=400, d=5, k=6, dtype=np.float64, seed=0, std=1.0):
    X, y = make_blobs(n, d, centers=k, cluster_std=std, random_state=seed)
    return X.astype(dtype), y


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


def fitted(X, weight=None, **options):
    kmeans = ClusteredKMeans(12, random_state=0, **options)
    return kmeans.fit(X, sample_weight=weight)


def bits(kmeans):
    return (
        kmeans.labels_.tobytes(),
        kmeans.cluster_centers_.tobytes(),
        kmeans.inertia_,
        kmeans.n_iter_,
    )


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


@pytest.mark.backends
def test_precisions(dtype, isa):
    """Screening gives the bits of "float", and "int8" comes near."""
    X, _ = blobs(3000, 33, 130, dtype, std=4.0)
    X[0] *= 30
    with config_context(isa=isa, backend="cpu"):
        exact, screened, coarse = (
            ClusteredKMeans(130, random_state=0, precision=name, max_iter=15).fit(X)
            for name in ("float", "auto", "int8")
        )
    assert bits(exact) == bits(screened)
    assert coarse.inertia_ == pytest.approx(exact.inertia_, rel=0.01)
    np.testing.assert_array_equal(coarse.predict(X), coarse.labels_)


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


def embeddings(n, d, k):
    """Directions of topics of very different size."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, k + 1)
    X = rng.normal(size=(k, d))[rng.choice(k, n, p=share / share.sum())]
    X += 0.7 * rng.normal(size=X.shape)
    return X / np.linalg.norm(X, axis=1)[:, None]


@pytest.mark.parametrize(
    ("make", "k"),
    [
        (lambda: load_digits().data, 10),
        (lambda: load_digits().data, 50),
        (lambda: load_iris().data, 3),
        (lambda: blobs(5000, 2, 5)[0], 5),
        (lambda: blobs(5000, 32, 64, std=4.0)[0], 64),
        (lambda: embeddings(5000, 80, 100), 100),
    ],
    ids=["digits-10", "digits-50", "iris", "blobs-2", "blobs-32", "embeddings"],
)
def test_int8_is_within_a_hundredth(make, k, algorithm):
    """Centres and inertia where both end, from the same starts."""
    X = make().astype(np.float32)
    for seed in range(2):
        start, _ = kmeans_plusplus(X, k, random_state=seed)
        exact, coarse = (
            ClusteredKMeans(k, init=start, precision=name, algorithm=algorithm).fit(X)
            for name in ("float", "int8")
        )
        assert coarse.inertia_ == pytest.approx(exact.inertia_, rel=0.01)
        centers = exact.cluster_centers_
        apart = np.linalg.norm(coarse.cluster_centers_ - centers)
        assert apart <= 0.01 * np.linalg.norm(centers - centers.mean(axis=0))


def test_approximate_labels_keep_no_limits():
    X, _ = blobs(100)
    kmeans = ClusteredKMeans(4, precision="int8", min_cluster_size=5)
    with pytest.raises(ValueError, match="precision='int8' cannot be combined"):
        kmeans.fit(X)


@pytest.mark.parametrize("n_kept", [0, 64, 1056])
def test_codes_of_many_rows_are_found_when_wanted(
    dtype, algorithm, n_kept, monkeypatch
):
    from sklearn_ternary.cluster import _dense_rows, _fitting, _measured_rows

    X, _ = blobs(1500, 9, 30, dtype, std=4.0)
    monkeypatch.setattr(_fitting, "codes_are_fast", lambda config: True)
    monkeypatch.setattr(_fitting, "_CODES_FROM", (1, 1))
    monkeypatch.setattr(_measured_rows, "_GROUPS_FROM", 1)
    kept = bits(fitted(X, algorithm=algorithm))
    row = 12 + 3 * np.dtype(dtype).itemsize
    share = 1.01 * n_kept * row / _measured_rows.WORK_BYTES
    monkeypatch.setattr(_dense_rows, "CODES_SHARE", share)
    lengths, row_codes = [], _dense_rows._dispatch.row_codes

    def counted(X, *args, **options):
        lengths.append(len(X))
        return row_codes(X, *args, **options)

    monkeypatch.setattr(_dense_rows._dispatch, "row_codes", counted)
    assert bits(fitted(X, algorithm=algorithm)) == kept
    assert lengths == ([n_kept] if n_kept else [])
    assert bits(fitted(X, algorithm=algorithm, precision="float")) == kept


@pytest.mark.memory
@pytest.mark.parametrize("place", ["memory", "float64", "csr", "file", "chunks"])
@pytest.mark.parametrize("shape", [(100_000, 16, 130), (30_000, 384, 150)], ids=str)
def test_peak_memory_beyond_the_data(shape, place, tmp_path):
    n, d, k = shape
    rng = np.random.default_rng(0)
    X = rng.random((n, d), dtype=np.float64 if place == "float64" else np.float32)
    start = X[:k].copy()
    if place == "csr":
        X = sparse.random_array((n, d), density=0.05, rng=rng, format="csr")
    elif place in ("file", "chunks"):
        np.save(tmp_path / "X.npy", X)
        X = tmp_path / "X.npy"
        X = np.load(X, mmap_mode="r") if place == "file" else [X]
    kmeans = ClusteredKMeans(k, init=start, max_iter=2)
    tracemalloc.start()
    with config_context(working_memory=16):
        kmeans.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 64 * 2**20 + 8 * n


@pytest.mark.memory
def test_peak_memory_of_codes_and_bounds():
    n, d, k = 50_000, 384, 1000
    X = np.random.default_rng(0).random((n, d), dtype=np.float32)
    kmeans = ClusteredKMeans(k, init=X[:k].copy(), max_iter=1, tol=0)
    tracemalloc.start()
    kmeans.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 64 * 2**20 + 8 * n


@pytest.mark.memory
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_peak_memory_for_each_row(init):
    # Too many rows to keep them transposed.
    n = 3_000_000
    X = np.random.default_rng(0).random((n, 2), dtype=np.float32)
    weight = np.full(n, 2, dtype=np.float32)
    kmeans = ClusteredKMeans(2, init=init, n_init=2, max_iter=1, tol=0)
    tracemalloc.start()
    kmeans.fit(X, sample_weight=weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # At 10**7 rows this is 64 MiB and 8 bytes a row.
    assert peak <= 14 * n


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_rows_that_come_in_parts_give_the_same_bits(container, dtype, monkeypatch):
    from sklearn_ternary.cluster import _distances

    X, _ = blobs(5000, dtype=dtype, std=4.0)
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(dtype)
    # Two centres that no row is near.
    start = np.r_[X[:10], np.full((2, X.shape[1]), 1e6)]
    start = start.astype(dtype)
    options = {"init": lambda *args, random_state: start, "n_init": 1}
    whole = fitted(container(X), weight, **options)
    monkeypatch.setattr(_distances, "ROWS", 1024)
    parts = fitted(container(X), weight, **options)
    assert bits(parts) == bits(whole)
    assert parts.score(container(X), sample_weight=weight) == -parts.inertia_
    options = {"init": "random", "n_init": 2}
    drawn = fitted(container(X), weight, **options)
    monkeypatch.undo()
    assert bits(drawn) == bits(fitted(container(X), weight, **options))


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


def test_columns_of_zeros_stay_zeros(algorithm):
    X = np.random.default_rng(0).random((2000, 6))
    X[:, 2] = 0
    X[X[:, 0] > 0.5, 3] = 0
    for container in (np.asarray, sparse.csr_array):
        kmeans = fitted(container(X), algorithm=algorithm, tol=0)
        assert (kmeans.cluster_centers_[:, 2] == 0).all()
        assert (kmeans.cluster_centers_ >= 0).all()


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


# Weights and duplicates


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


# Empty clusters


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


@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_bad_weights(weight):
    X, _ = blobs(20, 2, 2)
    with pytest.raises(ValueError, match=r"sample_weight|NaN"):
        ClusteredKMeans(2).fit(X, sample_weight=np.full(20, weight))


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


# Magnitudes


@pytest.mark.edge
def test_denormal_single_precision():
    X = np.array([[1e-44], [1e-44], [9e-44], [9e-44]], dtype=np.float32)
    kmeans = ClusteredKMeans(2, random_state=0).fit(X)
    a, b, c, d = kmeans.labels_
    assert a == b != c == d
    np.testing.assert_array_equal(kmeans.cluster_centers_[kmeans.labels_], X)
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)


@pytest.mark.edge
@pytest.mark.parametrize(
    "scale", [5e-323, 1e-308, 1e-200, 1e-160, 1e-80, 1e80, 1e150, 1e200, 1e307]
)
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_any_magnitude_of_double_precision(scale, container):
    labels = np.arange(60) % 3
    X = np.array([[1.0, 0], [3.0, 3.0], [0, 9.0]])[labels]
    rounded = X * scale
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        kmeans = ClusteredKMeans(3, random_state=0, n_init=3).fit(container(rounded))
    found = kmeans.labels_
    assert len({*zip(found, labels, strict=True)}) == 3
    np.testing.assert_allclose(kmeans.cluster_centers_[found], rounded)
    np.testing.assert_array_equal(kmeans.predict(container(rounded)), found)
    assert np.isfinite(kmeans.transform(rounded)).all()


@pytest.mark.edge
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30, 3e37])
def test_any_magnitude_of_single_precision(scale, algorithm):
    labels = np.arange(60) % 3
    X = (np.array([[1.0, 0], [3.0, 3.0], [0, 9.0]])[labels] * scale).astype(np.float32)
    kmeans = ClusteredKMeans(3, random_state=0, n_init=3, algorithm=algorithm).fit(X)
    found = kmeans.labels_
    assert len({*zip(found, labels, strict=True)}) == 3
    np.testing.assert_array_equal(kmeans.cluster_centers_[found], X)
    np.testing.assert_array_equal(kmeans.predict(X), found)


@pytest.mark.edge
def test_the_largest_numbers_are_clustered_with_a_warning():
    X = np.array([[1e308], [-1e308], [1e308], [-1e308], [0.9e308]])
    with pytest.warns(RuntimeWarning, match="inertia_ exceeds the range"):
        kmeans = ClusteredKMeans(2, random_state=0).fit(X)
    a, b, c, d, e = kmeans.labels_
    assert a == c == e != b == d
    assert np.isfinite(kmeans.cluster_centers_).all()


@pytest.mark.edge
@pytest.mark.parametrize(
    ("dtype", "value"), [(np.float32, 3e38), (np.float64, 1.5e308)]
)
def test_distances_beyond_the_range_are_infinite_with_a_warning(dtype, value):
    X = np.array([[value], [-value]] * 3, dtype=dtype)
    kmeans = ClusteredKMeans(2, init=X[:2]).fit(X)
    np.testing.assert_array_equal(kmeans.labels_, [0, 1] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="distances exceed the range")
        np.testing.assert_array_equal(
            kmeans.transform(X[:2]), [[0, np.inf], [np.inf, 0]]
        )
    with pytest.warns(RuntimeWarning, match="distances exceed the range of float"):
        kmeans.transform(X)


@pytest.mark.edge
@pytest.mark.parametrize("offset", [1e4, 1e7, 1e12])
def test_far_from_the_origin(offset):
    X, y = blobs(300, 3, 4, std=0.3)
    X = X + offset
    kmeans = ClusteredKMeans(4, random_state=0, n_init=5).fit(X)
    assert len({*zip(kmeans.labels_, y, strict=True)}) == 4


@pytest.mark.edge
def test_columns_of_very_different_size(dtype):
    X = np.stack([np.full(40, 2.0**90), np.arange(40) % 2 * 1e-3], axis=1).astype(dtype)
    kmeans = ClusteredKMeans(2, random_state=0).fit(X)
    assert len(set(kmeans.labels_[::2])) == len(set(kmeans.labels_[1::2])) == 1
    assert kmeans.labels_[0] != kmeans.labels_[1]


@pytest.mark.edge
def test_one_outlier_does_not_hide_the_rest(dtype):
    X, y = blobs(300, 3, 4, std=0.3)
    X = np.vstack([X, np.full((1, 3), 1e15)]).astype(dtype)
    kmeans = ClusteredKMeans(5, random_state=0, n_init=5).fit(X)
    assert len({*zip(kmeans.labels_[:-1], y, strict=True)}) == 4


def test_data_is_left_alone(dtype):
    X, _ = blobs(100, 4, 3, dtype)
    before = X.copy()
    X.flags.writeable = False
    for copy_x in (True, False):
        ClusteredKMeans(3, random_state=0, copy_x=copy_x).fit(X)
    np.testing.assert_array_equal(X, before)


def test_memory_mapped(tmp_path, dtype):
    X, _ = blobs(500, 4, 5, dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert bits(fitted(mapped)) == bits(fitted(X))


# Starts


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


def test_zero_weights_are_not_drawn():
    X, _ = blobs(200, 3, 4)
    weight = np.ones(200)
    weight[::2] = 0
    _, indices = kmeans_plusplus(X, 50, sample_weight=weight, random_state=0)
    assert (indices % 2 == 1).all()
    assert len(set(indices)) == 50


def test_k_means_function_returns_what_the_class_does():
    X, _ = blobs(200, 3, 4)
    kmeans = ClusteredKMeans(4, random_state=0).fit(X)
    centers, labels, inertia, n_iter = k_means(X, 4, random_state=0, return_n_iter=True)
    np.testing.assert_array_equal(centers, kmeans.cluster_centers_)
    np.testing.assert_array_equal(labels, kmeans.labels_)
    assert (inertia, n_iter) == (kmeans.inertia_, kmeans.n_iter_)
    assert len(k_means(X, 4)) == 3


# Callbacks


class Recorder:
    """Notes the tasks, and ends the runs or iterations it is told to."""

    def __init__(self, stop_at=None, stop_runs=False):
        self.tasks = []
        self.inertia = []
        self.stop_at = stop_at
        self.stop_runs = stop_runs

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def teardown(self, estimator, context):
        self.tasks.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.tasks.append(context.task_name)
        if context.task_name == "iteration":
            self.inertia.append(-fitted_estimator.score(X))
            return context.task_id == self.stop_at
        return context.task_name == "run" and self.stop_runs


def test_callbacks_see_runs_and_iterations(algorithm):
    X, _ = blobs(500, 4, 5, std=5.0)
    recorder = Recorder()
    kmeans = ClusteredKMeans(
        5, init="random", n_init=3, random_state=0, algorithm=algorithm, tol=0
    )
    plain = bits(kmeans.fit(X))
    kmeans.set_callbacks(recorder).fit(X)
    assert bits(kmeans) == plain
    assert recorder.tasks[0] == "setup"
    assert recorder.tasks[-2:] == ["fit", "teardown"]
    assert recorder.tasks.count("run") == 3
    assert recorder.tasks.count("iteration") >= kmeans.n_iter_ - 1
    assert min(recorder.inertia) == pytest.approx(kmeans.inertia_)


def test_callbacks_end_runs():
    X, _ = blobs(500, 4, 5, std=5.0)
    recorder = Recorder(stop_at=1, stop_runs=True)
    kmeans = ClusteredKMeans(5, init="random", n_init=3, random_state=0, tol=0)
    kmeans.set_callbacks(recorder).fit(X)
    assert kmeans.n_iter_ == 2
    assert recorder.tasks.count("run") == 1
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)


def test_progress_bar(capsys):
    from sklearn.callback import ProgressBar

    X, _ = blobs(200, 4, 5)
    kmeans = ClusteredKMeans(5, random_state=0).set_callbacks(ProgressBar())
    kmeans.fit(X)
    assert "ClusteredKMeans - fit" in capsys.readouterr().out


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


# Warm starts


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


def test_parameters_of_the_class_itself_are_validated_too():
    class Ours(ClusteredKMeans):
        def __init__(self, n_clusters=8, *, tol=-1, max_iter=300):
            super().__init__(n_clusters, tol=tol, max_iter=max_iter)

    with pytest.raises(ValueError, match="'tol' parameter of Ours"):
        Ours().fit(np.eye(9))
    with pytest.raises(ValueError, match="'max_iter' parameter of Ours"):
        Ours(tol=0, max_iter=0).fit(np.eye(9))
    Ours(tol=0.5).fit(np.eye(9))
