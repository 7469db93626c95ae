"""Precisions of ClusteredKMeans: screened, and approximate by codes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from small_kmeans import bits, blobs, fitted

from sklearn_ternary import ClusteredKMeans, config_context
from sklearn_ternary.cluster import kmeans_plusplus


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
