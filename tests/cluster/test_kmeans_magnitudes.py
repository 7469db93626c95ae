"""ClusteredKMeans on very small, large and mixed numbers."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from small_kmeans import blobs

from sklearn_ternary import ClusteredKMeans


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
