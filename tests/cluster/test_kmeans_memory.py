"""Memory that ClusteredKMeans takes, and rows that come in parts."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from small_kmeans import bits, blobs, fitted

from sklearn_ternary import ClusteredKMeans, config_context


@pytest.mark.memory
@pytest.mark.parametrize(
    "place", ["memory", "cosine", "float64", "csr", "file", "chunks"]
)
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
    metric = "cosine" if place == "cosine" else "euclidean"
    kmeans = ClusteredKMeans(k, init=start, max_iter=2, metric=metric)
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
