"""Clustering on devices: the labels of the CPU, and centres within 1e-6 of its."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from sklearn_ternary import ClusteredKMeans, _gpu, _reference, config_context
from sklearn_ternary._gpu import lanes, sparse_rows

N, D, K = 1100, 5, 6


def make(dtype=np.float32, shift=0.0):
    rng = np.random.default_rng(0)
    middles = rng.uniform(-5, 5, (K, D))
    X = middles[rng.integers(0, K, N)] + rng.standard_normal((N, D)) + shift
    return X.astype(dtype), rng.uniform(0, 2, N)


def check_same(got, expected, X, to_host=lambda a: a):
    """Fitted estimators agree."""
    np.testing.assert_array_equal(to_host(got.labels_), expected.labels_)
    scale = np.abs(X - X.mean(axis=0)).max()
    centers = to_host(got.cluster_centers_)
    assert centers.dtype == expected.cluster_centers_.dtype
    assert np.abs(centers - expected.cluster_centers_).max() <= 1e-6 * scale
    assert got.inertia_ == pytest.approx(expected.inertia_, rel=1e-6)
    assert got.n_iter_ == expected.n_iter_


@pytest.mark.parametrize(
    ("dtype", "shift", "weighted"), [(np.float32, 100, True), (np.float64, 1e4, False)]
)
def test_as_on_the_cpu(cupy, dtype, shift, weighted):
    X, weight = make(dtype, shift)
    weight[::7] = 0
    options = {"n_clusters": K, "random_state": 3, "n_init": 2, "max_iter": 4}
    fit = {"sample_weight": weight if weighted else None}
    expected = ClusteredKMeans(**options).fit(X, **fit)
    with cupy.cuda.Device(1):
        on_device = cupy.asarray(X)
        if weighted:
            fit["sample_weight"] = cupy.asarray(weight)
    got = ClusteredKMeans(**options).fit(on_device, **fit)
    for name in ("labels_", "cluster_centers_"):
        assert getattr(got, name).device.id == 1
    check_same(got, expected, X, lambda a: a.get())
    labels = got.predict(on_device)
    np.testing.assert_array_equal(labels.get(), got.labels_.get())
    distances = got.transform(on_device)
    assert distances.dtype == dtype
    np.testing.assert_allclose(distances.get(), expected.transform(X), rtol=1e-4)
    assert got.score(on_device) == pytest.approx(expected.score(X), rel=1e-6)
    # Data decide where; what is stored is NumPy's.
    again = pickle.loads(pickle.dumps(got))
    assert not any(isinstance(v, cupy.ndarray) for v in vars(again).values())
    for fitted in (again, got):
        np.testing.assert_array_equal(fitted.predict(X), got.labels_.get())


@pytest.mark.parametrize("backend", ["cuda:1", "cuda:0,1", "cuda:1,1,1"])
def test_from_the_host(cupy, backend):
    """On one device, on several, and on several streams of one: the same bits."""
    X, weight = make()
    options = {"n_clusters": K, "random_state": 0, "max_iter": 4}
    expected = ClusteredKMeans(**options).fit(X, sample_weight=weight)
    alone = ClusteredKMeans(**options).fit(cupy.asarray(X), sample_weight=weight)
    with config_context(backend=backend, strict=True):
        got = ClusteredKMeans(**options).fit(X, sample_weight=weight)
        assert isinstance(got.transform(X), np.ndarray)
        np.testing.assert_array_equal(got.predict(X), got.labels_)
    assert not any(isinstance(v, cupy.ndarray) for v in vars(got).values())
    check_same(got, expected, X)
    np.testing.assert_array_equal(got.cluster_centers_, alone.cluster_centers_.get())
    held = X.nbytes + weight.nbytes + alone.labels_.nbytes
    assert cupy.get_default_memory_pool().used_bytes() < held


@pytest.mark.parametrize("backend", ["cuda:0,1"])
def test_larger_than_the_device(cupy, backend, monkeypatch):
    """Rows go by in pieces, with the same bits."""
    X, weight = make()
    options = {"n_clusters": K, "random_state": 0, "max_iter": 4}
    alone = ClusteredKMeans(**options).fit(cupy.asarray(X), sample_weight=weight)
    monkeypatch.setattr(lanes, "_fits", lambda *args: False)
    monkeypatch.setattr("sklearn_ternary._gpu.memory.PIECE_BYTES", 1024 * X[0].nbytes)
    with config_context(backend=backend, strict=True):
        got = ClusteredKMeans(**options).fit(X, sample_weight=weight)
        np.testing.assert_array_equal(got.predict(X), got.labels_)
    np.testing.assert_array_equal(got.labels_, alone.labels_.get())
    np.testing.assert_array_equal(got.cluster_centers_, alone.cluster_centers_.get())


def test_a_single_piece_that_does_not_stay(cupy, monkeypatch):
    """Its stream waits for what was done at home, and home for it."""
    X, _ = make()
    monkeypatch.setattr(lanes, "_fits", lambda *args: False)
    home = cupy.cuda.Stream(non_blocking=True)
    with home:
        ((part, block),) = lanes.Pieces(X, (0,), 0.8).blocks()
        with block.lane.active():
            there = cupy.cuda.get_current_stream()
    assert part == slice(0, N)
    assert there is not home
    assert home.n_waits == there.n_waits == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows(cupy, dtype, monkeypatch):
    """The bits of the CPU: in panels, with ties, rows of nothing and huge values."""
    rng = np.random.default_rng(0)
    X = sparse.random_array((90, 40), density=0.1, rng=rng, format="csr", dtype=dtype)
    X = sparse.vstack([X, X[:20], sparse.csr_array((3, 40), dtype=dtype)]).tocsr()
    csr = X.data, X.indices, X.indptr
    centers = X[[5, 8, 95, 5]].toarray()
    labels = rng.integers(0, 4, X.shape[0]).astype(np.int32)
    for scale in (1, 1e35, np.finfo(dtype).tiny):
        args = (X.data * dtype(scale), *csr[1:], centers * dtype(scale))
        with np.errstate(over="ignore", invalid="ignore"):
            expected = _reference.nearest_centers_csr(*args)
            distances = _reference.label_distances_csr(*args, labels)
        for panel in (300, 2**20):
            monkeypatch.setattr(sparse_rows, "_PANEL", panel)
            np.testing.assert_array_equal(_gpu.nearest_centers_csr(*args), expected)
            found = _gpu.label_distances_csr(*args, labels)
            np.testing.assert_array_equal(found, distances)
    kmeans = ClusteredKMeans(4, random_state=0, max_iter=50, min_cluster_size=5)
    expected = clone(kmeans).fit(X)
    for backend in ("cuda", "cuda:1,0"):
        with config_context(backend=backend, strict=True):
            kmeans.fit(X)
            np.testing.assert_array_equal(kmeans.predict(X), expected.predict(X))
            np.testing.assert_array_equal(kmeans.labels_, expected.labels_)
        centers = kmeans.cluster_centers_
        np.testing.assert_array_equal(centers, expected.cluster_centers_)
        assert kmeans.inertia_ == expected.inertia_


def test_auto_moves_nothing(cupy):
    X, _ = make()
    ClusteredKMeans(n_clusters=2, random_state=0).fit(X)
    assert cupy.get_default_memory_pool().used_bytes() == 0


def test_repeats_bit_by_bit(cupy):
    cupy.order = "shuffled"
    X, weight = make()
    fitted = []
    for cupy.seed in (1, 2):
        kmeans = ClusteredKMeans(n_clusters=K, random_state=1, max_iter=3)
        fitted.append(kmeans.fit(cupy.asarray(X), sample_weight=weight))
    for name in ("labels_", "cluster_centers_"):
        one, two = (getattr(kmeans, name).get() for kmeans in fitted)
        np.testing.assert_array_equal(one, two)
    assert fitted[0].inertia_ == fitted[1].inertia_


def test_columns_of_tiny_numbers(cupy):
    """They count as much as on the CPU, beside columns of ordinary ones."""
    X, _ = make(np.float64)
    X[:, 1] *= 1e-306
    options = {"n_clusters": K, "random_state": 0, "max_iter": 3}
    expected = ClusteredKMeans(**options).fit(X).cluster_centers_
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        got = ClusteredKMeans(**options).fit(cupy.asarray(X)).cluster_centers_.get()
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_empty_clusters(cupy):
    """They move to the farthest rows; with too few different rows, to the heaviest."""
    X, _ = make()
    init = np.vstack([X[:3], np.full((2, D), 1e6, np.float32), X[7:8]])
    for rows, options in (
        (X, {"init": init, "n_clusters": 6, "n_init": 1, "max_iter": 3}),
        (np.repeat(X[:3], 5, axis=0), {"n_clusters": 5, "random_state": 0}),
    ):
        expected = ClusteredKMeans(**options)
        got = ClusteredKMeans(**options)
        if len(rows) < N:
            with pytest.warns(Warning, match=r"distinct clusters \(3\)"):
                expected.fit(rows)
            with pytest.warns(Warning, match=r"distinct clusters \(3\)"):
                got.fit(cupy.asarray(rows))
        else:
            expected.fit(rows)
            got.fit(cupy.asarray(rows))
        check_same(got, expected, X, lambda a: a.get())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_batches(cupy, metric):
    """They go on from what was counted before, wherever that was."""
    X, weight = make(np.float64, 3)
    X[:20] = 0  # without direction
    if metric == "cosine":
        X[20:40] *= 1e200  # squares beyond the range
    for given in (None, weight):
        fitted = []
        for rows in (X, cupy.asarray(X)):
            kmeans = ClusteredKMeans(K, metric=metric, random_state=0, max_iter=2)
            kmeans.fit(rows[:600], sample_weight=None if given is None else given[:600])
            for start in (600, 850):
                part = slice(start, start + 250)
                own = None if given is None else given[part]
                kmeans.partial_fit(rows[part], sample_weight=own)
            fitted.append(kmeans)
        expected, got = fitted
        np.testing.assert_array_equal(got.labels_.get(), expected.labels_)
        np.testing.assert_allclose(got._counts, expected._counts, rtol=1e-6)
        centers = got.cluster_centers_.get()
        atol = 1e-6 * np.abs(expected.cluster_centers_).max()
        np.testing.assert_allclose(centers, expected.cluster_centers_, atol=atol)
        assert got.inertia_ == pytest.approx(expected.inertia_, rel=1e-6)
        distances = got.transform(cupy.asarray(X[:50])).get()
        np.testing.assert_allclose(distances, expected.transform(X[:50]), atol=1e-6)


def test_starts(cupy):
    """Arrays of the device, functions, and a warm start."""
    X, _ = make()
    on_device = cupy.asarray(X)
    expected = ClusteredKMeans(K, init=X[:K], n_init=1, max_iter=3).fit(X)
    from_array = ClusteredKMeans(K, init=cupy.asarray(X[:K]), n_init=1, max_iter=3)
    check_same(from_array.fit(on_device), expected, X, lambda a: a.get())

    def first(X, n_clusters, random_state):
        return X[:n_clusters]

    called = ClusteredKMeans(K, init=first, n_init=1, max_iter=3).fit(on_device)
    check_same(called, expected, X, lambda a: a.get())
    again = from_array.set_params(warm_start=True).fit(on_device)
    check_same(again, expected.set_params(warm_start=True).fit(X), X, lambda a: a.get())


def test_errors(cupy):
    X, _ = make()
    kmeans = ClusteredKMeans(n_clusters=2, random_state=0)
    bad = X.copy()
    bad[7, 2] = np.nan
    with pytest.raises(ValueError, match="NaN: the first is at row 7, column 2"):
        kmeans.fit(cupy.asarray(bad))
    with pytest.raises(ValueError, match="should be >= n_clusters"):
        kmeans.fit(cupy.asarray(X[:1]))
    kmeans.fit(X)
    with pytest.raises(ValueError, match="4 features"):
        kmeans.predict(cupy.asarray(X[:, 1:]))
    with config_context(backend="cpu"), pytest.raises(TypeError, match="CuPy"):
        kmeans.fit(cupy.asarray(X))
