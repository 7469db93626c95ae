"""Comparison with the CPU on ragged shapes of fresh random input."""

import numpy as np

from sklearn_ternary import (
    ClusteredKMeans,
    ConstrainedTrainer,
    config_context,
    ternarize,
)

_OPTIONS = (
    {"axis": 1, "scale": "twn"},
    {"block_size": 64, "layout": "t2"},
    {"scale": "absmax"},
    {},
)


def _shapes(bench):
    if bench.tiny:
        return [(3, 70)]
    columns = bench.rng.integers(1, 5000, 4)
    shapes = [(int(bench.rng.integers(2, 900)), int(k)) for k in columns]
    return [*shapes, (1, int(bench.rng.integers(1_000_000, 3_000_000)))]


def quantizing_parity(bench):
    """Codes, scales and values, of all magnitudes that there are."""
    for dtype in (np.float32, np.float64):
        for shape in _shapes(bench):
            X = bench.rng.standard_normal(shape).astype(dtype)
            smallest = X * np.finfo(dtype).smallest_normal
            for options in _OPTIONS:
                for name, values in (("", X), ("smallest numbers, ", smallest)):
                    what = f"{name}{X.dtype} {shape} {options}"
                    bench.check(what, lambda v=values, o=options: _same(bench, v, o))


def _same(bench, X, options):
    cupy, expected = bench.cupy, ternarize(X, **options)
    with config_context(strict=True):
        A = ternarize(cupy.asarray(X), **options)
        return {
            "codes and scales": expected == A,
            "a second time": ternarize(cupy.asarray(X), **options) == A,
            "values": np.array_equal(A.toarray().get(), expected.toarray()),
        }


def product_parity(bench):
    """Products with activations of 8 bits, to the bit."""
    for shape in _shapes(bench):
        X = bench.rng.standard_normal(shape).astype(np.float32)
        for options in _OPTIONS:
            for n in (1, 130):
                V = bench.rng.standard_normal((shape[1], n)).astype(np.float32)
                args = bench, X, V, options
                what = f"int8 product of {n}, {shape} {options}"
                bench.check(what, lambda args=args: _same_product(*args))


def _same_product(bench, X, V, options):
    cupy, expected = bench.cupy, ternarize(X, **options)
    with config_context(strict=True):
        A = ternarize(cupy.asarray(X), **options)
        got = A.matmul(cupy.asarray(V), activations="int8").get()
    return {"product": np.array_equal(got, expected.matmul(V, activations="int8"))}


def clustering_parity(bench):
    """Equal labels, and centres within 1e-6; the same bits a second time."""
    shapes = [(200, 5, 3)]
    if not bench.tiny:
        rng = bench.rng
        wide = int(rng.integers(330, 1500))
        shapes = [
            (int(rng.integers(2000, 9000)), d, k)
            for d, k in (
                (2, 7),
                (128, 300),
                (int(rng.integers(3, 320)), 65),
                (wide, 40),
            )
        ]
    for n, d, k in shapes:
        for dtype in (np.float32, np.float64):
            middles = bench.rng.uniform(-3, 3, (k, d))
            X = middles[bench.rng.integers(0, k, n)]
            X = (X + bench.rng.standard_normal((n, d)) + 10).astype(dtype)
            what = f"k-means of {X.dtype} {X.shape}, {k} clusters"
            bench.check(what, lambda X=X, k=k: _same_clusters(bench, X, k))


def _same_clusters(bench, X, k):
    kmeans = ClusteredKMeans(k, init=X[:k], n_init=1, max_iter=4)
    expected = kmeans.fit(X)
    labels, centers = expected.labels_, expected.cluster_centers_
    found = []
    for _ in range(2):
        on_device = kmeans.fit(bench.cupy.asarray(X))
        found.append((on_device.labels_.get(), on_device.cluster_centers_.get()))
    (got, middles), again = found
    far = np.abs(middles - centers).max() / np.abs(X - X.mean(axis=0)).max()
    return {
        "labels": np.array_equal(got, labels),
        f"centres ({far:.1e} off)": far <= 1e-6,
        "a second time": all(map(np.array_equal, found[0], again)),
    }


def training_parity(bench):
    """The same steps of training, up to rounding, and the same bits again."""
    X = bench.rng.standard_normal((300, 40)).astype(np.float32)
    y = X[:, :5].argmax(axis=1)

    def fitted(backend):
        model = ConstrainedTrainer((48, 33), max_iter=1, random_state=0)
        with config_context(backend=backend, strict=True):
            return model.fit(X, y).parameters_

    def case():
        expected, found, again = map(fitted, ("cpu", "cuda", "cuda"))
        # A rounding to 8 bits that falls the other way shows in a few of them.
        far = np.abs(found - expected) > 2e-4 * np.abs(expected).max()
        return {
            f"parameters ({far.sum()} far off)": far.mean() <= 0.02,
            "a second time": np.array_equal(found, again),
        }

    bench.check("training", case)
