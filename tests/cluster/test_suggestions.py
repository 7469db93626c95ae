"""Suggested numbers of clusters and of levels, and their plot."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_score

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary.cluster import suggest_n_clusters
from sklearn_ternary.metrics import quantization_report
from sklearn_ternary.quantization import quantize_arrays, suggest_precision


def separated_blobs(seed, n_features=4, distance=10):
    """Blobs of unit width whose centres keep a distance, and how many they are."""
    rng = np.random.default_rng(seed)
    n_clusters = int(rng.integers(3, 8))
    centers = []
    while len(centers) < n_clusters:
        new = rng.uniform(-15, 15, n_features)
        if all(np.linalg.norm(new - old) >= distance for old in centers):
            centers.append(new)
    X, _ = make_blobs(250, centers=np.array(centers), random_state=seed)
    return X, n_clusters


@pytest.mark.parametrize("method", ["silhouette", "elbow", "gap"])
def test_the_true_number_is_found(method):
    k_range = range(2 if method == "silhouette" else 1, 11)
    found = 0
    for seed in range(50):
        X, n_clusters = separated_blobs(seed)
        suggestion = suggest_n_clusters(
            X, k_range, method=method, n_references=4, random_state=seed
        )
        found += suggestion.n_clusters == n_clusters
    assert found >= 45


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("as_csr", [False, True])
def test_silhouettes_are_those_of_scikit_learn(metric, as_csr):
    class Labelled(KMeans):
        pass

    Labelled.metric = metric
    X, _ = separated_blobs(3)
    X = np.maximum(X, 0)
    given = sparse.csr_matrix(X) if as_csr else X
    suggestion = suggest_n_clusters(
        given, [5, 2, 9], estimator=Labelled(), random_state=1
    )
    assert suggestion.k_range.tolist() == [2, 5, 9]
    random_state = np.random.RandomState(1)
    for k, score, inertia in zip(
        suggestion.k_range, suggestion.scores, suggestion.inertias, strict=True
    ):
        kmeans = KMeans(k, random_state=random_state.randint(2**31 - 1)).fit(given)
        expected = silhouette_score(given, kmeans.labels_, metric=metric)
        assert score == pytest.approx(expected, rel=1e-12)
        assert inertia == kmeans.inertia_


def test_a_sample_of_the_silhouettes():
    X, n_clusters = separated_blobs(0)
    whole = suggest_n_clusters(X, random_state=0)
    sample = suggest_n_clusters(X, sample_size=100, random_state=0)
    assert sample.n_clusters == whole.n_clusters == n_clusters
    assert np.abs(sample.scores - whole.scores).max() < 0.15
    assert (sample.scores != whole.scores).any()


def test_gap_by_its_definition():
    X, _ = separated_blobs(5, n_features=2)
    found = suggest_n_clusters(
        X, [1, 2, 5], method="gap", n_references=6, random_state=0
    )
    # One cluster: its inertia is the total variance, and so is the reference's, of
    # even data in the smaller box.
    centered = X - X.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2]
    sides = min(
        (np.ptp(centered @ A.T, axis=0) for A in (np.eye(2), axes)),
        key=lambda sides: (sides**2).sum(),
    )
    expected = np.log((sides**2).sum() / 12 * len(X)) - np.log((centered**2).sum())
    assert found.scores[0] == pytest.approx(expected, abs=0.1)
    assert found.errors.shape == (3,)
    assert (found.errors > 0).all()


def test_gap_says_that_there_are_no_clusters():
    none = 0
    for seed in range(10):
        even = np.random.default_rng(seed).uniform(size=(200, 4))
        found = suggest_n_clusters(even, range(1, 6), method="gap", random_state=seed)
        none += found.n_clusters == 1
    assert none >= 8


def test_elbow_by_its_definition():
    X, _ = separated_blobs(7)
    found = suggest_n_clusters(X, [1, 3, 4, 8], method="elbow", random_state=0)
    logs = np.log(found.inertias)
    chord = logs[0] + (logs[-1] - logs[0]) * np.array([0, 2, 3, 7]) / 7
    np.testing.assert_allclose(found.scores, (chord - logs) / (logs[0] - logs[-1]))
    assert found.errors is None


@pytest.mark.edge
@pytest.mark.filterwarnings("error:.*encountered")
@pytest.mark.parametrize("method", ["silhouette", "elbow", "gap"])
@pytest.mark.parametrize(
    ("dtype", "exponent"),
    [(np.float64, 1018), (np.float64, -1040), (np.float32, 122), (np.float32, -130)],
)
def test_no_scale_changes_what_is_suggested(method, dtype, exponent):
    """Whole numbers, which no power of two rounds."""
    X, _ = make_blobs(120, 3, centers=4, cluster_std=0.5, random_state=6)
    X = np.round(X * 4).astype(dtype)
    plain, scaled = (
        suggest_n_clusters(
            rows, range(1 + (method == "silhouette"), 7), method=method, random_state=0
        )
        for rows in (X, np.ldexp(X, exponent))
    )
    assert scaled.n_clusters == plain.n_clusters == 4
    np.testing.assert_allclose(scaled.scores, plain.scores, rtol=1e-5, atol=1e-12)


@pytest.mark.edge
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_few_different_rows():
    X = np.repeat([[0.0, 0], [1, 1], [5, 0]], 5, axis=0)
    for method in ("silhouette", "elbow", "gap"):
        found = suggest_n_clusters(
            X, range(2, 6), method=method, n_references=2, random_state=0
        )
        assert found.n_clusters == 3, method
    constant = np.ones((9, 2))
    with pytest.raises(ValueError, match="too few different rows"):
        suggest_n_clusters(constant, range(2, 5))
    assert suggest_n_clusters(constant, range(1, 4), method="elbow").n_clusters == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_range": [1, 2]}, r"within \[2, 19\]"),
        ({"k_range": [2, 20]}, r"within \[2, 19\]"),
        ({"k_range": [0, 2], "method": "gap"}, r"within \[1, 20\]"),
        ({"k_range": []}, "k_range"),
        ({"k_range": [2.5]}, "k_range"),
        ({"k_range": [2, 3], "method": "elbow"}, "needs three"),
        ({"k_range": [2], "method": "knee"}, "method"),
        ({"k_range": [2], "sample_size": 1}, "sample_size"),
    ],
)
def test_bad_arguments(options, message):
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=message):
        suggest_n_clusters(X, **options)
    with pytest.raises(ValueError, match="dense"):
        suggest_n_clusters(sparse.csr_matrix(X), method="gap")


# -- levels --------------------------------------------------------------------


def test_the_fewest_levels_that_reach_the_target():
    X = np.random.default_rng(0).normal(size=(80, 300)).astype(np.float32)
    half, other = X[:40], X[40:]
    packed = {
        n: quantize_arrays({"": half}, 99, levels=[n], axis=1)[""]
        for n in (3, 5, 15, 255)
    }
    snr = {n: quantization_report(half, A).snr_db for n, A in packed.items()}
    last = 0
    for target in [-5, *(s - 0.5 for s in snr.values())]:
        found = suggest_precision(half, target, axis=1)
        assert found.snr_db == snr[found.n_levels] >= target
        assert all(s < target for n, s in snr.items() if n < found.n_levels)
        assert found.bits == 8 * packed[found.n_levels].nbytes / half.size
        assert found.layout == packed[found.n_levels].layout
        assert found.n_levels >= last
        last = found.n_levels
        # On rows it has not seen.
        again = quantize_arrays({"": other}, 99, levels=[found.n_levels], axis=1)[""]
        assert quantization_report(other, again).snr_db >= target
    assert last == 255


@pytest.mark.parametrize("n_columns", [1, 8, 20, 200])
def test_bits_grow_with_the_target(n_columns):
    """Also where a layout fills up its blocks and more levels take fewer bits."""
    X = np.random.default_rng(0).normal(size=(400, n_columns))
    found = [suggest_precision(X, target) for target in range(0, 40, 2)]
    assert np.all(np.diff([one.bits for one in found]) >= 0)
    assert all(one.snr_db >= 2 * i for i, one in enumerate(found))


def test_unreachable_precision_names_the_best():
    X = np.random.default_rng(0).normal(size=(30, 40))
    with pytest.raises(ValueError, match=r"best is \d+\.\d\d dB, with 255 levels"):
        suggest_precision(X, 90)
    with pytest.raises(ValueError, match="with 5 levels"):
        suggest_precision(X, 20, levels=[3, 5])
    assert suggest_precision(np.zeros((2, 3)), 90).n_levels == 3


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        ([[1.0]], {"target_snr_db": np.nan}, "target_snr_db"),
        ([[1.0]], {"target_snr_db": "10"}, "target_snr_db"),
        ([[1.0]], {"target_snr_db": 10, "levels": [4]}, "levels"),
        ([[np.nan]], {"target_snr_db": 10}, "NaN"),
        (np.empty((0, 3)), {"target_snr_db": 10}, "no values"),
    ],
)
def test_bad_arguments_of_precision(X, options, message):
    with pytest.raises(ValueError, match=message):
        suggest_precision(X, **options)


# -- plot ----------------------------------------------------------------------


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib", reason="pip install matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.mark.parametrize("method", ["silhouette", "elbow", "gap"])
def test_display(plt, method):
    from sklearn_ternary.plotting import ClusterSuggestionDisplay

    X, n_clusters = separated_blobs(1)
    display = ClusterSuggestionDisplay.from_estimator(
        ClusteredKMeans(), X, method=method, random_state=0, n_references=3
    )
    found = display.suggestion
    assert found.n_clusters == n_clusters
    np.testing.assert_array_equal(display.line_.get_xdata(), found.k_range)
    np.testing.assert_array_equal(display.line_.get_ydata(), found.scores)
    assert display.choice_.get_xdata()[0] == n_clusters
    assert (display.errorbar_ is not None) == (method == "gap")
    assert (display.inertia_line_ is not None) == (method == "elbow")
    figure, ax = plt.subplots()
    again = ClusterSuggestionDisplay.from_suggestion(
        found, ax=ax, line_kwargs={"color": "red"}
    )
    assert again.figure_ is figure
    assert again.line_.get_color() == "red"
    figure.canvas.draw()
