"""Batches by clusters, centroids in place of rows, shared parameters."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary.cluster import (
    ClusterBatchSampler,
    ClusterReducer,
    ParameterClusterer,
)
from sklearn_ternary.persistence import load_tensors, save_tensors


def fixed_start(X, n_clusters, random_state):
    """A start that is the same for repeated and for shuffled rows."""
    return np.linspace(-1, 1, n_clusters)[:, None] * np.ones(X.shape[1])


@pytest.mark.estimator_checks
@parametrize_with_checks(
    [
        ClusterBatchSampler(2, 5),
        ClusterReducer(3, init=fixed_start),
        ParameterClusterer(2),
        ParameterClusterer(2, on="rows"),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


# -- ClusterBatchSampler -------------------------------------------------------


@pytest.fixture
def blobs():
    X, y = make_blobs([300, 100, 50, 53], n_features=3, centers=None, random_state=2)
    return X, y


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, 100, 503, 600])
def test_every_index_once(blobs, batch_size, drop_last):
    X, _ = blobs
    sampler = ClusterBatchSampler(
        4, batch_size, drop_last=drop_last, random_state=0
    ).fit(X)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    sizes = [len(batch) for batch in batches]
    whole, rest = divmod(len(X), batch_size)
    last = [rest] if rest and not drop_last else []
    assert sizes == [batch_size] * whole + last
    drawn = np.concatenate(batches) if batches else []
    assert len(np.unique(drawn)) == len(drawn) == sum(sizes)


def test_every_cluster_has_its_share(blobs):
    X, _ = blobs
    sampler = ClusterBatchSampler(4, 50, drop_last=True, random_state=0).fit(X)
    shares = np.bincount(sampler.labels_) * 50 / len(X)
    for _ in range(3):
        for batch in sampler:
            counts = np.bincount(sampler.labels_[batch], minlength=4)
            assert np.abs(counts - shares).max() < 2


def test_every_row_has_the_same_chances():
    X = np.repeat([[0.0], [10.0], [20.0]], [2, 3, 7], axis=0)
    sampler = ClusterBatchSampler(3, 4, random_state=0).fit(X)
    n_epochs = 3000
    first = sum(np.bincount(next(iter(sampler)), minlength=12) for _ in range(n_epochs))
    # Binomial, 4 of 12 rows: five deviations.
    assert np.abs(first / n_epochs - 1 / 3).max() < 5 * np.sqrt(2 / 9 / n_epochs)


def test_epochs_differ_and_can_be_repeated(blobs):
    X, _ = blobs
    one, other = (ClusterBatchSampler(4, 20, random_state=7).fit(X) for _ in range(2))
    epochs = [np.concatenate(list(one)) for _ in range(3)]
    assert not np.array_equal(epochs[0], epochs[1])
    assert one.epoch_ == 3
    np.testing.assert_array_equal(np.concatenate(list(other.set_epoch(2))), epochs[2])
    with pytest.raises(ValueError, match="epoch=-1"):
        one.set_epoch(-1)


def test_variance_ratio(blobs):
    X, _ = blobs
    sampler = ClusterBatchSampler(4, 20, random_state=0).fit(X)
    labels = sampler.labels_
    means = np.array([X[labels == i].mean(axis=0) for i in range(4)])
    # Of strata that are dealt in proportion the spread within them is left; parts of
    # rows cannot be dealt.
    within = ((X - means[labels]) ** 2).sum()
    expected = within / ((X - X.mean(axis=0)) ** 2).sum()
    assert sampler.batch_variance_ratio_ == pytest.approx(expected, rel=0.35)
    noise = np.random.default_rng(0).normal(size=len(X))
    assert sampler.variance_ratio(noise) == pytest.approx(1, abs=0.3)
    assert sampler.variance_ratio(np.ones(len(X))) == 1
    csr = ClusterBatchSampler(4, 20, random_state=0).fit(sparse.csr_matrix(X))
    np.testing.assert_array_equal(csr.labels_, labels)
    assert csr.batch_variance_ratio_ == pytest.approx(sampler.batch_variance_ratio_)
    for size in (len(X), 999):
        assert ClusterBatchSampler(2, size).fit(X).batch_variance_ratio_ == 1
    with pytest.raises(ValueError, match="503"):
        sampler.variance_ratio(noise[1:])


# -- ClusterReducer ------------------------------------------------------------


def test_centroids_are_means_and_weights_are_counts(blobs):
    X, _ = blobs
    reducer = ClusterReducer(20, random_state=0)
    centers, weight = reducer.fit_reduce(X)
    assert centers.shape == (20, 3)
    np.testing.assert_array_equal(weight, np.bincount(reducer.labels_))
    assert reducer.reduction_ratio_ == len(X) / 20
    np.testing.assert_allclose(
        np.average(centers, axis=0, weights=weight), X.mean(axis=0), atol=1e-2
    )
    np.testing.assert_array_equal(reducer.transform(X), centers[reducer.labels_])
    assert reducer.transform(X.astype(np.float32)).dtype == np.float32


def test_classes_get_centroids_of_their_own(blobs):
    X, y = blobs
    names = np.array(["a", "b", "c", "d"])[y]
    reducer = ClusterReducer(20, random_state=0)
    centers, classes, weight = reducer.fit_reduce(X, names)
    assert weight.sum() == len(X)
    # Sainte-Lague's shares of 300, 100, 50 and 53.
    assert [np.sum(classes == name) for name in "abcd"] == [12, 4, 2, 2]
    for name in "abcd":
        own = classes == name
        assert weight[own].sum() == np.sum(names == name)
        np.testing.assert_allclose(
            np.average(centers[own], axis=0, weights=weight[own]),
            X[names == name].mean(axis=0),
            atol=1e-2,
        )
    with pytest.raises(ValueError, match="n_clusters=3 is less than the 4 classes"):
        ClusterReducer(3).fit_reduce(X, names)


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_other_targets_are_averaged(blobs, n_outputs):
    X, _ = blobs
    rng = np.random.default_rng(0)
    y = rng.normal(size=len(X) if n_outputs is None else (len(X), n_outputs))
    sample_weight = rng.uniform(0.5, 2, len(X))
    reducer = ClusterReducer(9, random_state=0)
    _, means, weight = reducer.fit_reduce(X, y, sample_weight)
    for i in range(9):
        own = reducer.labels_ == i
        assert weight[i] == pytest.approx(sample_weight[own].sum())
        np.testing.assert_allclose(
            means[i], np.average(y[own], axis=0, weights=sample_weight[own])
        )
    assert means.shape == ((9,) if n_outputs is None else (9, 2))


@pytest.mark.edge
def test_classes_without_weight(blobs):
    X, y = blobs
    sample_weight = (y != 1).astype(float)
    reducer = ClusterReducer(12, random_state=0)
    _, classes, weight = reducer.fit_reduce(X, y, sample_weight)
    assert set(classes) == {0, 1, 2, 3}
    assert weight[classes == 1].sum() == 0
    assert weight.sum() == np.sum(y != 1)


# -- ParameterClusterer --------------------------------------------------------


@pytest.fixture(params=[np.float32, np.float64], ids=lambda t: t.__name__)
def weights(request):
    return np.random.default_rng(0).normal(size=(40, 30)).astype(request.param)


def test_values_share_a_codebook(weights):
    shared = ParameterClusterer(8, random_state=0).fit(weights)
    assert shared.codebook_.shape == (8,)
    assert (np.diff(shared.codebook_) > 0).all()
    assert shared.labels_.shape == weights.shape
    assert shared.labels_.dtype == np.uint8
    replaced = shared.toarray()
    np.testing.assert_array_equal(replaced, shared.codebook_[shared.labels_])
    np.testing.assert_array_equal(shared.transform(weights), replaced)
    # Each value has the nearest one, and each entry is the mean of its values.
    distances = np.abs(weights[..., None].astype(float) - shared.codebook_)
    np.testing.assert_array_equal(distances.argmin(axis=-1), shared.labels_)
    for i, value in enumerate(shared.codebook_):
        assert weights[shared.labels_ == i].mean() == pytest.approx(value, abs=2e-2)
    error = ((weights.astype(float) - replaced) ** 2).sum()
    assert shared.inertia_ == pytest.approx(error, rel=1e-5)
    assert replaced.dtype == weights.dtype
    assert shared.nbytes == 8 * weights.itemsize + 40 * 30 * 3 // 8
    assert shared.bits_per_value == 8 * shared.nbytes / 1200


def test_rows_are_shared(weights):
    shared = ParameterClusterer(6, on="rows", random_state=0).fit(weights)
    kmeans = ClusteredKMeans(6, random_state=0).fit(weights)
    np.testing.assert_array_equal(shared.labels_, kmeans.labels_)
    np.testing.assert_array_equal(
        shared.toarray(), kmeans.cluster_centers_[kmeans.labels_]
    )
    assert shared.nbytes == 6 * 30 * weights.itemsize + 40 * 3 // 8
    assert np.bincount(shared.labels_).sum() == 40


@pytest.mark.parametrize("on", ["values", "rows"])
@pytest.mark.parametrize("n_clusters", [1, 2, 5, 16, 40])
def test_save_and_load(weights, tmp_path, on, n_clusters):
    shared = ParameterClusterer(n_clusters, on=on, random_state=0).fit(weights)
    path = tmp_path / "shared.safetensors"
    shared.save(path)
    tensors, _ = load_tensors(path)["parameters"]
    assert sum(array.nbytes for array in tensors.values()) == shared.nbytes
    loaded = ParameterClusterer.load(path)
    assert (loaded.on, loaded.n_clusters) == (on, n_clusters)
    for name in ("codebook_", "labels_", "inertia_", "n_iter_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(shared, name))
    assert loaded.labels_.dtype == shared.labels_.dtype
    np.testing.assert_array_equal(loaded.transform(weights), shared.transform(weights))


def test_more_clusters_than_a_byte_counts(tmp_path):
    X = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    shared = ParameterClusterer(300, random_state=0).fit(X)
    assert shared.labels_.dtype == np.uint16
    shared.save(tmp_path / "a")
    np.testing.assert_array_equal(
        ParameterClusterer.load(tmp_path / "a").toarray(), shared.toarray()
    )
    with pytest.raises(ValueError, match="n_clusters=601 is more than the 600 values"):
        ParameterClusterer(601).fit(X)


CHANGES = {
    "class": lambda tensors, info: info.update({"class": "Other"}),
    "no class": lambda tensors, info: info.pop("class"),
    "no info": lambda tensors, info: info.clear(),
    "shape": lambda tensors, info: info.update(shape=[40, 31]),
    "huge shape": lambda tensors, info: info.update(shape=[2**47, 2**47]),
    "negative shape": lambda tensors, info: info.update(shape=[-40, -30]),
    "no list": lambda tensors, info: info.update(shape=7),
    "rows": lambda tensors, info: info.update(shape=[1200]),
    "inertia": lambda tensors, info: info.update(inertia="0x1p99999"),
    "n_iter": lambda tensors, info: info.update(n_iter=None),
    "index": lambda tensors, info: tensors["indices"].fill(255),
    "few indices": lambda t, info: t.update(indices=t["indices"][:-1]),
    "dtype": lambda t, info: t.update(indices=t["indices"].view(np.int8)),
    "codebook": lambda t, info: t.update(codebook=np.empty(0, np.float32)),
    "missing": lambda tensors, info: tensors.pop("codebook"),
    "more": lambda tensors, info: tensors.update(more=np.ones(3)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_hostile_files_are_refused(tmp_path, change):
    W = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    ParameterClusterer(5, random_state=0).fit(W).save(tmp_path / "a")
    tensors, info = load_tensors(tmp_path / "a")["parameters"]
    CHANGES[change](tensors, info)
    save_tensors(tmp_path / "a", {"parameters": (tensors, info)})
    with pytest.raises(ValueError, match="holds no ParameterClusterer"):
        ParameterClusterer.load(tmp_path / "a")
    save_tensors(tmp_path / "a", {"other": ({"array": np.ones(3)}, None)})
    with pytest.raises(ValueError, match="holds no ParameterClusterer"):
        ParameterClusterer.load(tmp_path / "a")
