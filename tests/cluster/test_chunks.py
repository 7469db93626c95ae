"""ClusteredKMeans of rows that are never all in memory."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from small_kmeans import bits

from sklearn_ternary import ClusteredKMeans, config_context
from sklearn_ternary.cluster._chunks import aligned_blocks

N = 18_000


class Chunks:
    """Rows in chunks of various sizes, and how often they were read."""

    def __init__(self, X, sizes=(700, 1, 0, 1024, 2500, 30)):
        self.X = X
        self.sizes = sizes
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        start, i = 0, 0
        while start < len(self.X):
            size = self.sizes[i % len(self.sizes)]
            yield self.X[start : start + size]
            start, i = start + size, i + 1


def files(X, tmp_path):
    paths = []
    for i, part in enumerate(np.array_split(X, 3)):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], part)
    return paths


def memmap(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


FORMS = {
    "iterable": lambda X, _: Chunks(X),
    "callable": lambda X, _: lambda: (X[i : i + 1500] for i in range(0, len(X), 1500)),
    "arrays": lambda X, _: [X[:100], X[100:5000], X[5000:]],
    "files": files,
    "memmap": memmap,
    "memmap in another order": lambda X, p: memmap(np.asfortranarray(X), p),
}


def rows(dtype=np.float64, n=N, d=7):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)).astype(dtype) + rng.integers(3, size=(n, 1)) * 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_as_in_memory(form, dtype, tmp_path):
    X = rows(dtype)
    weight = np.random.default_rng(1).random(N)
    chunks = FORMS[form](X, tmp_path)
    for options in (
        {"init": "random", "n_init": 2, "max_iter": 6},
        {"algorithm": "hamerly", "max_iter": 12},
        {"metric": "cosine", "max_iter": 6},
    ):
        kmeans = ClusteredKMeans(9, random_state=0, **options)
        expected = kmeans.fit(X, sample_weight=weight)
        score, distances = expected.score(X), expected.transform(X)
        expected = bits(expected)
        with config_context(working_memory=0.5):
            kmeans.fit(chunks, sample_weight=weight)
            assert bits(kmeans) == expected
            assert kmeans.n_features_in_ == 7
            assert kmeans.predict(chunks).tobytes() == expected[0]
            assert kmeans.score(chunks) == score
            np.testing.assert_allclose(kmeans.transform(chunks), distances, rtol=1e-5)


def test_passes():
    """Each iteration reads the rows once; beside them are a fixed number of passes."""
    X = rows(np.float32)
    passes = []
    for n_iter in (2, 7):
        chunks = Chunks(X)
        kmeans = ClusteredKMeans(9, init=X[:9], max_iter=n_iter, tol=0)
        assert kmeans.fit(chunks).n_iter_ == n_iter
        passes.append(chunks.passes - n_iter)
    assert passes[0] == passes[1] <= 8


def test_values_that_must_be_scaled(tmp_path):
    X = rows() * 1e200
    with pytest.warns(RuntimeWarning, match="inertia_ exceeds"):
        expected = bits(ClusteredKMeans(4, random_state=0).fit(X))
    with pytest.warns(RuntimeWarning, match="inertia_ exceeds"):
        assert bits(ClusteredKMeans(4, random_state=0).fit(Chunks(X))) == expected


def test_integers_and_half_precision_are_converted_block_by_block():
    X = np.random.default_rng(0).integers(-100, 100, (N, 5)).astype(np.int8)
    expected = bits(ClusteredKMeans(5, random_state=0).fit(X))
    assert bits(ClusteredKMeans(5, random_state=0).fit(Chunks(X))) == expected
    with config_context(working_memory=0.01):
        assert bits(ClusteredKMeans(5, random_state=0).fit(X)) == expected


@pytest.mark.parametrize("form", FORMS)
def test_mini_batches(form, tmp_path):
    X = rows(np.float32)
    kmeans = ClusteredKMeans(5, batch_size=500, random_state=0)
    inertia = kmeans.fit(X).inertia_
    in_memory = bits(kmeans)
    with config_context(working_memory=0.5):
        kmeans.fit(FORMS[form](X, tmp_path))
    assert kmeans.labels_.shape == (N,)
    if form in ("iterable", "callable"):
        assert kmeans.inertia_ == pytest.approx(inertia, rel=0.1)
    else:
        assert bits(kmeans) == in_memory


def test_frames_name_the_features():
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    X = rows(n=300, d=3)
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    kmeans = ClusteredKMeans(3, random_state=0)
    expected = bits(kmeans.fit(X))
    kmeans.fit(lambda: (frame.iloc[i : i + 100] for i in range(0, 300, 100)))
    assert bits(kmeans) == expected
    assert list(kmeans.feature_names_in_) == ["a", "b", "c"]


def test_callbacks_pickles_and_output():
    pytest.importorskip("pandas", reason="pip install pandas")
    X = rows(n=3000, d=3)
    seen = []

    class Inertia:
        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            if context.task_name == "iteration":
                seen.append(-fitted_estimator.score(X))
                return len(seen) == 3

    chunks = Chunks(X)
    kmeans = ClusteredKMeans(4, random_state=0, tol=0).set_callbacks(Inertia())
    assert kmeans.fit(chunks).n_iter_ == 3
    assert seen[0] > seen[1] > seen[2]
    copy = pickle.loads(pickle.dumps(kmeans.set_callbacks()))
    np.testing.assert_array_equal(copy.predict(chunks), kmeans.labels_)
    frame = copy.set_output(transform="pandas").transform(chunks)
    assert list(frame.columns) == [f"clusteredkmeans{j}" for j in range(4)]
    assert clone(kmeans).fit_predict(chunks).shape == (3000,)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ((part for part in [rows()]), "is an iterator, which can be read once"),
        (lambda: iter([]), "Found no rows"),
        (lambda: [rows(), rows(d=3)], "chunk 1 of X: X has 3 features"),
        (lambda: [rows(), rows() * np.nan], "chunk 1 of X: Input X contains NaN"),
        (lambda: [rows()[0]], "chunk 0 of X: Expected 2D array"),
        ([rows(), rows() + np.inf], "chunk 1 of X: Input X contains infinity"),
    ],
)
def test_refused_chunks(X, message):
    with pytest.raises(ValueError, match=message):
        ClusteredKMeans(3).fit(X)


@pytest.mark.parametrize("n_later", [500, 1500])
def test_chunks_that_change_are_refused(n_later):
    lengths = iter([1000, 1000, *[n_later] * 99])
    X = rows()
    with pytest.raises(ValueError, match="must be the same in every pass"):
        ClusteredKMeans(3, init=X[:3]).fit(lambda: [X[: next(lengths)]])


@pytest.mark.parametrize("sizes", [(1,), (1024,), (5000,), (1000, 24, 3000), (1023, 2)])
def test_blocks_are_aligned(sizes):
    X = np.arange(5000.0)[:, None]
    stop = 0
    for start, block in aligned_blocks(Chunks(X, sizes), 2048, 1, X.dtype):
        assert start == stop
        assert start % 1024 == 0
        stop = start + len(block)
        assert stop == len(X) or len(block) in (1024, 2048)
        np.testing.assert_array_equal(block, X[start:stop])
    assert stop == len(X)


@pytest.mark.memory
def test_peak_memory(run_python):
    """102 MB of rows in chunks of 1 MB: 20 bytes for each row and little else."""
    run_python(
        """
import resource
import numpy as np
from sklearn_ternary import ClusteredKMeans, set_config

set_config(n_threads=2, working_memory=8)
n, d, size = 400_000, 64, 4000

def chunks():
    for i in range(0, n, size):
        rng = np.random.Generator(np.random.PCG64(i))
        yield rng.random((size, d), dtype=np.float32)

def fit(chunks, **options):
    kmeans = ClusteredKMeans(4, init="random", n_init=1, random_state=0, **options)
    return kmeans.fit(chunks)

fit([next(chunks()).copy()], max_iter=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kmeans = fit(chunks, max_iter=1)
kmeans.predict(chunks)
used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert used < 20 * n / 2**20 + 2 * 8 + 8, used
"""
    )
