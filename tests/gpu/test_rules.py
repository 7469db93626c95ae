"""The rules of devices, for every estimator and function: see `Case`."""

import pickle
import sys
import types
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import silhouette_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_ternary import (
    AdaptiveQuantizer,
    AffineQuantizer,
    ClusteredKMeans,
    TernaryArray,
    TernaryQuantizer,
    compress,
    config_context,
    load,
    metrics,
    plotting,
    save,
    ternarize,
)
from sklearn_ternary import cluster as clusters
from sklearn_ternary import quantization as q
from sklearn_ternary._gpu import silhouettes
from sklearn_ternary.cluster import _number_scores
from sklearn_ternary.exceptions import BackendFallbackWarning
from sklearn_ternary.neural_network import AuxiliaryStepPredictor

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((60, 12)) * np.linspace(0.5, 3, 12)).astype(np.float32)
X[::3] += 4
Y = (X[:, 0] > 1).astype(np.int64)


class Case:
    """An estimator, and what is called of it once it is fitted.

    Parameters
    ----------
    estimator : estimator
    *calls : str
        Methods that are given X.
    fit : str
        The method that fits.
    on_host : bool
        Whether some of the work has no kernels and is done on the host.
    """

    def __init__(self, estimator, *calls, fit="fit", on_host=False):
        self.estimator, self.calls, self.fit = estimator, calls, fit
        self.on_host = on_host

    def fitted(self, X):
        """Fit a clone."""
        estimator = clone(self.estimator)
        getattr(estimator, self.fit)(X)
        return estimator

    def results(self, fitted, X):
        """What the methods return."""
        found = [getattr(fitted, name)(X) for name in self.calls]
        if isinstance(fitted, clusters.ClusterBatchSampler):
            found += list(fitted.set_epoch(0))
        return found


def kmeans(**options):
    return ClusteredKMeans(**{"n_clusters": 3, "random_state": 0, **options})


KMEANS = ("predict", "transform", "score")
CASES = {
    "ternary": Case(TernaryQuantizer(), "transform"),
    "ternary, batches": Case(TernaryQuantizer(), "transform", fit="partial_fit"),
    "ternary, codes": Case(TernaryQuantizer(output="codes"), "transform"),
    "ternary, packed": Case(TernaryQuantizer(output="packed"), "transform"),
    "ternary, norm": Case(TernaryQuantizer(5, scale="norm"), "transform"),
    "five levels": Case(TernaryQuantizer(5, output="packed"), "transform"),
    "affine": Case(AffineQuantizer(), "transform", "inverse_transform"),
    "affine, codes": Case(
        AffineQuantizer(4, scheme="affine", output="codes"), "transform"
    ),
    "affine, batches": Case(
        AffineQuantizer(granularity="block", block_size=5),
        "transform",
        fit="partial_fit",
    ),
    "affine, percentile": Case(AffineQuantizer(calibration="percentile"), "transform"),
    "affine, mse": Case(AffineQuantizer(4, calibration="mse"), "transform"),
    "affine, mse with zero points": Case(
        AffineQuantizer(4, scheme="affine", calibration="mse"), "transform"
    ),
    "adaptive": Case(AdaptiveQuantizer(4), "transform"),
    "adaptive, blocks": Case(
        AdaptiveQuantizer(4, granularity="block", block_size=5), "transform"
    ),
    "k-means": Case(kmeans(), *KMEANS),
    "k-means, cosine": Case(kmeans(metric="cosine"), *KMEANS),
    "k-means, mini-batches": Case(kmeans(batch_size=20, max_iter=2), *KMEANS),
    "k-means, directions in batches": Case(
        kmeans(batch_size=20, metric="cosine", max_iter=2), *KMEANS
    ),
    "k-means, partial_fit": Case(kmeans(), *KMEANS, fit="partial_fit"),
    "k-means, balanced": Case(kmeans(min_cluster_size=15), *KMEANS),
    "k-means, balanced directions": Case(
        kmeans(max_cluster_size=21, metric="cosine"), *KMEANS
    ),
    "reducer": Case(clusters.ClusterReducer(4, random_state=0), "transform"),
    "parameters": Case(clusters.ParameterClusterer(5, random_state=0), "transform"),
    "parameters, rows": Case(
        clusters.ParameterClusterer(5, on="rows", random_state=0), "transform"
    ),
    "batches": Case(
        clusters.ClusterBatchSampler(3, 9, random_state=0), "variance_ratio"
    ),
}


def arrays_of(estimator):
    """Learned public attributes that are arrays."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and hasattr(value, "dtype") and getattr(value, "ndim", 0)
    }


def parts_of(result):
    """The arrays that a result consists of, or itself."""
    if isinstance(result, TernaryArray):
        return [result.packed, result.scale]
    if isinstance(result, (list, tuple)):
        return [part for one in result for part in parts_of(one)]
    return [result]


def check_equal(got, expected, to_host=lambda a: a):
    """Integers are the same, floats within 1e-6 of the largest."""
    for one, other in zip(parts_of(got), parts_of(expected), strict=True):
        one = np.asarray(to_host(one) if hasattr(one, "dtype") else one)
        assert one.dtype == np.asarray(other).dtype
        if one.dtype.kind in "iub":
            np.testing.assert_array_equal(one, other)
        else:
            atol = 1e-6 * np.abs(other).max(initial=1)
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=atol)


def check_all_on(cupy, number, found):
    """All arrays are CuPy's, on a device; with None, all are NumPy's."""
    for part in parts_of(list(found)):
        if number is None:
            assert not isinstance(part, cupy.ndarray)
        elif getattr(part, "ndim", 0):
            assert isinstance(part, cupy.ndarray)
            assert part.device.id == number


def on_device(cupy, number, X):
    with cupy.cuda.Device(number):
        return cupy.asarray(X)


def get(array):
    return array.get() if hasattr(array, "get") else array


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::sklearn_ternary.exceptions.BackendFallbackWarning")
def test_estimator(cupy, name):
    case = CASES[name]
    expected = case.fitted(X)
    results = case.results(expected, X)
    # auto moves nothing.
    assert cupy.get_default_memory_pool().used_bytes() == 0
    assert not expected.__sklearn_tags__().array_api_support
    # CuPy in, CuPy out and CuPy attributes, on the device of X.
    there = on_device(cupy, 1, X)
    got = case.fitted(there)
    attributes = arrays_of(got)
    assert attributes.keys() == arrays_of(expected).keys()
    check_all_on(cupy, 1, attributes.values())
    for key, value in arrays_of(expected).items():
        check_equal(attributes[key], value, get)
    found = case.results(got, there)
    check_all_on(cupy, 1, found)
    check_equal(found, results, get)
    # Data decide where, whatever is fitted where; pickles hold NumPy.
    again = pickle.loads(pickle.dumps(got))
    check_all_on(cupy, None, vars(again).values())
    for fitted in (again, got):
        found = case.results(fitted, X)
        if name != "batches":  # its results are those of `fit`
            check_all_on(cupy, None, found)
        check_equal(found, results, get)
    for fitted in (again, expected):
        found = case.results(fitted, on_device(cupy, 0, X))
        if name != "batches":
            check_all_on(cupy, 0, found)
        check_equal(found, results, get)
    # Arrays of other libraries that lie on a device.
    held = cupy.asarray(X)
    interface = held.__cuda_array_interface__
    other = types.SimpleNamespace(__cuda_array_interface__=interface)
    check_all_on(cupy, 0, arrays_of(case.fitted(other)).values())
    # NumPy in, and computed on a device: NumPy out.
    with config_context(backend="cuda:1", strict=not case.on_host):
        moved = case.fitted(X)
        found = case.results(moved, X)
    check_all_on(cupy, None, [*vars(moved).values(), *found])
    check_equal(found, results)
    del there, got, fitted, attributes, moved
    if not case.on_host:
        with config_context(backend="cpu"), pytest.raises(TypeError, match="CuPy"):
            case.fitted(cupy.asarray(X))


def test_current_stream(cupy, monkeypatch):
    """CuPy arrays are worked on there and nowhere else, and nothing waits for it."""

    def refused(*args, **options):
        raise AssertionError("a stream or device of its own, or a wait")

    monkeypatch.setattr(cupy.cuda, "Stream", refused)
    for waiting in (cupy.Stream, cupy.Device, cupy.Event):
        monkeypatch.setattr(waiting, "synchronize", refused)
    there = on_device(cupy, 1, X)
    for name in ("ternary", "affine", "k-means", "k-means, mini-batches", "reducer"):
        case = CASES[name]
        case.results(case.fitted(there), there)


@pytest.mark.parametrize("name", CASES)
def test_estimator_without_a_device(clean, monkeypatch, name):
    """One warning and the CPU, or an error."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    case = CASES[name]
    expected = case.results(case.fitted(X), X)
    with config_context(backend="cuda"), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = case.results(case.fitted(X), X)
    assert [w.category for w in told] == [BackendFallbackWarning]
    check_equal(found, expected)
    strict = config_context(backend="cuda", strict=True)
    with strict, pytest.raises(RuntimeError, match="CuPy is not installed"):
        case.fitted(X)


def report(X):
    found = metrics.quantization_report(X, ternarize(X, axis=0))
    return [found.cosine, found.norm_ratio, found.l1_ratio, found.snr_db, found.mse]


def layouts(X):
    A = ternarize(X, axis=1)
    names = ("t2", "tq1_0", "tq2_0", "i2_s_x86", "i2_s_arm")
    return [A.to_layout(name) for name in names] + [A.to_layout("tq1_0").codes()]


FUNCTIONS = {
    "ternarize": lambda X: ternarize(X, axis=0),
    "layouts": layouts,
    "five levels": lambda X: ternarize(X, n_levels=5, axis=1),
    "products": lambda X: (X[:5] @ ternarize(X).T, ternarize(X, n_levels=5) @ X.T),
    "quantization_report": report,
    "k_means": lambda X: clusters.k_means(X, 3, random_state=0),
    "kmeans_plusplus": lambda X: clusters.kmeans_plusplus(
        X, 3, random_state=0, sample_weight=Y + 1
    ),
    "fit_reduce": lambda X: clusters.ClusterReducer(4, random_state=0).fit_reduce(X),
    "quantize_arrays": lambda X: list(
        q.quantize_arrays({"a": X, "b": X[:9]}, 3).values()
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore::sklearn_ternary.exceptions.BackendFallbackWarning")
def test_function(cupy, name):
    function = FUNCTIONS[name]
    expected = function(X)
    assert cupy.get_default_memory_pool().used_bytes() == 0
    found = function(on_device(cupy, 1, X))
    check_all_on(cupy, 1, found if isinstance(found, (list, tuple)) else [found])
    check_equal(found, expected, get)
    with config_context(backend="cuda"):
        moved = function(X)
    check_all_on(cupy, None, [moved])
    check_equal(moved, expected)


SUGGESTED = {
    "silhouette": {"sample_size": 40},
    "silhouette of directions": {"estimator": kmeans(metric="cosine")},
    "elbow": {},
    "gap": {"n_references": 1},
}


@pytest.mark.parametrize("name", SUGGESTED)
def test_suggestions(cupy, name, monkeypatch):
    """They are numbers, of the host; the distances are found on the device."""
    options = {"method": name.split()[0], "random_state": 0, **SUGGESTED[name]}
    expected = clusters.suggest_n_clusters(X, range(2, 5), **options)

    def refused(*args, **options):
        raise AssertionError("distances found on the host")

    monkeypatch.setattr(_number_scores, "pairwise_distances_chunked", refused)
    # One row is equal to another, and one cluster may be a single row.
    there = on_device(cupy, 1, X)
    several = [clusters.suggest_n_clusters(there, range(2, 5), **options)]
    for backend in ("cuda", "cuda:0,1"):
        with config_context(backend=backend, strict=True):
            several.append(clusters.suggest_n_clusters(X, range(2, 5), **options))
    for found in several:
        assert found.n_clusters == expected.n_clusters
        assert isinstance(found.scores, np.ndarray)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_silhouettes_in_panels(cupy, monkeypatch):
    """As scikit-learn finds them, whatever number of rows there is memory for."""
    labels = [Y, np.arange(len(X)) // 59, np.zeros(len(X), int)]
    labels[2][:2] = 1, 2
    rows = X.copy()
    rows[5:9] = rows[4]
    monkeypatch.setattr(silhouettes, "free_bytes", lambda cupy: 8 * 4 * 7 * len(X))
    for metric in ("euclidean", "cosine"):
        sums = silhouettes.silhouette_sums(
            cupy.asarray(rows), labels, metric == "cosine", 1.0
        )
        wanted = [silhouette_score(rows, one, metric=metric) for one in labels]
        np.testing.assert_allclose(sums / len(X), wanted, atol=1e-6)
    monkeypatch.setattr(cupy, "memory_limit", 9000)
    args = cupy.asarray(rows), labels, "euclidean", None, None
    with pytest.warns(BackendFallbackWarning, match="silhouette_sums"):
        scores = _number_scores.silhouettes(*args)
    wanted = [silhouette_score(rows, one) for one in labels]
    np.testing.assert_allclose(scores, wanted, atol=1e-6)


def test_silhouettes_take_no_more_than_their_part(cupy, monkeypatch):
    """However many labellings there are."""
    labels = [np.arange(len(X)) % k for k in range(2, 30)]
    there = cupy.asarray(X)
    wanted = silhouettes.silhouette_sums(there, labels, False, 1.0)
    taken = []

    class Watched(cupy._Block):
        def __init__(self, nbytes):
            super().__init__(nbytes)
            taken.append(cupy._state.used)

    monkeypatch.setattr(cupy, "_Block", Watched)
    monkeypatch.setattr(cupy, "memory_limit", 200_000)
    cupy.get_default_memory_pool().free_all_blocks()
    sums = silhouettes.silhouette_sums(there, labels, False, 0.5)
    np.testing.assert_allclose(sums, wanted, rtol=1e-9)
    assert max(taken) <= there.nbytes + 0.5 * 200_000


def test_precision_is_suggested(cupy):
    there = on_device(cupy, 1, X)
    assert q.suggest_precision(there, 15, scale="absmean") == q.suggest_precision(
        X, 15, scale="absmean"
    )


COMPRESSED = {
    "linear": LogisticRegression(),
    "under conditions": SGDClassifier(loss="log_loss", random_state=0),
    "network": MLPClassifier((4, 3), max_iter=3, random_state=0),
    "network, logistic": MLPClassifier(
        4, activation="logistic", max_iter=3, random_state=0
    ),
    "regression": Ridge(),
    "network, regression": MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=3, random_state=0
    ),
    "discriminant": LinearDiscriminantAnalysis(),
    "projection": PCA(3),
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_compressed(cupy, name, monkeypatch):
    """Products are of the device; what scikit-learn makes of them goes back."""
    target = Y if name != "network" else Y + (X[:, 1] > 0)
    original = COMPRESSED[name].fit(X, target)
    expected = compress(original, X)
    there = on_device(cupy, 1, X)
    got = compress(original, there)
    assert cupy.get_default_memory_pool().used_bytes() == there.nbytes
    again = clone(got).fit(there, on_device(cupy, 1, target))
    assert type(again) is type(got)
    names = ("predict", "predict_proba", "decision_function", "transform")
    # Samples do not leave the device: fewer outputs than features are copied.
    copied = []
    get_host = cupy.ndarray.get
    monkeypatch.setattr(
        cupy.ndarray, "get", lambda a: copied.append(a.shape) or get_host(a)
    )
    called = [method for method in names if hasattr(expected, method)]
    assert called
    for method in called:
        wanted = getattr(expected, method)(X)
        copied.clear()
        found = getattr(got, method)(there)
        assert X.shape not in copied
        check_all_on(cupy, 1, [found, getattr(again, method)(there)])
        check_equal(found, wanted, get)
        with config_context(backend="cuda", strict=True):
            moved = getattr(got, method)(X)
        check_all_on(cupy, None, [moved])
        check_equal(moved, wanted)
    if hasattr(expected, "inverse_transform"):
        codes, copied[:] = expected.transform(X), []
        found = got.inverse_transform(on_device(cupy, 1, codes))
        assert codes.shape not in copied
        check_all_on(cupy, 1, [found])
        check_equal(found, expected.inverse_transform(codes), get)
        with pytest.raises(ValueError, match="2D"):
            got.inverse_transform(found[0])
    if hasattr(expected, "score"):
        scores = got.score(there, on_device(cupy, 1, target)), expected.score(X, target)
        assert scores[0] == pytest.approx(scores[1])
    assert not hasattr(compress(SGDClassifier().fit(X, Y)), "predict_proba")


def test_where_the_host_is_the_place(cupy, tmp_path):
    """Files, their bytes, and plots."""
    there = on_device(cupy, 1, X)
    wide = np.tile(X[:4], (1, 64))
    A, expected = ternarize(on_device(cupy, 1, wide)), ternarize(wide)
    data = q.to_ggml(A, "tq2_0", round_scale=True)
    np.testing.assert_array_equal(data, q.to_ggml(expected, "tq2_0", round_scale=True))
    back = q.from_ggml(on_device(cupy, 1, data), (4, 768), "tq2_0")
    assert isinstance(back.packed, np.ndarray)
    save({"A": A, "X": there}, tmp_path / "file")
    found = load(tmp_path / "file")
    assert found["A"] == expected
    np.testing.assert_array_equal(found["X"], X)
    clusterer = clusters.ParameterClusterer(5, max_iter=2, random_state=0).fit(there)
    clusterer.save(tmp_path / "parameters")
    loaded = clusters.ParameterClusterer.load(tmp_path / "parameters")
    np.testing.assert_array_equal(loaded.labels_, clusterer.labels_.get())
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    quantizer = TernaryQuantizer().fit(there)
    display = plotting.QuantizationErrorDisplay.from_estimator(quantizer, there)
    assert isinstance(display.values, np.ndarray)


def test_step_predictor(cupy):
    """A network of the host, for arrays of either side."""
    states, y = X[:, :6], X[:, 6:8]
    expected = AuxiliaryStepPredictor(max_iter=3, random_state=0).fit(states, y)
    there = on_device(cupy, 1, states)
    got = clone(expected).fit(there, on_device(cupy, 1, y))
    steps = {"learning_rate": 0.1, "radius": 2.0}
    found = [got.predict(there), *got.predict_step(there, **steps)]
    check_all_on(cupy, 1, found)
    check_equal(
        found, [expected.predict(states), *expected.predict_step(states, **steps)], get
    )
    assert got.score(there, on_device(cupy, 1, y)) == expected.score(states, y)
    for parts, wanted in (
        (got.coefs_, expected.coefs_),
        (got.intercepts_, expected.intercepts_),
    ):
        check_all_on(cupy, 1, parts)
        check_equal(parts, wanted, get)
    # Data decide where, and pickles hold NumPy.
    for fitted in (pickle.loads(pickle.dumps(got)), got.partial_fit(states, y)):
        check_all_on(cupy, None, [*fitted.coefs_, *fitted.intercepts_])


def test_targets_of_reductions(cupy):
    """They are where the targets given are; strings stay on the host."""
    there = on_device(cupy, 1, X)
    for y in (Y, X[:, 1], np.array(["no", "yes"])[Y]):
        expected = clusters.ClusterReducer(4, random_state=0).fit_reduce(X, y)
        given = on_device(cupy, 1, y) if y.dtype.kind != "U" else y
        found = clusters.ClusterReducer(4, random_state=0).fit_reduce(there, given)
        assert isinstance(found[1], type(given))
        for one, other in zip(found, expected, strict=True):
            if other.dtype.kind == "U":
                np.testing.assert_array_equal(one, other)
            else:
                check_equal(one, other, get)
