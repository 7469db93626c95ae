"""Comparison with the CPU on ragged shapes of fresh random input."""

import contextlib

import numpy as np

from sklearn_ternary import (
    ClusteredKMeans,
    ConstrainedTrainer,
    _gpu,
    _reference,
    config_context,
    ternarize,
)
from sklearn_ternary._gpu import products
from sklearn_ternary._gpu.device import runs_kernels
from sklearn_ternary._gpu.memory import fits

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


def large_parity(bench):
    """Codes of as many values as are measured, and of more than 32 bits can number."""
    x = bench.rng.standard_normal(bench.sizes.values, dtype=np.float32)
    bench.check(f"{x.size} values", lambda: _same_packed(bench, x))
    n = bench.sizes.many_values
    what = f"{n} values"
    # Codes, their bytes, and both again; as many for comparisons.
    if not fits(4 * n, 1.0):
        bench.skip(what, "the device's memory does not suffice")
    elif bench.in_time(what):
        bench.check(what, lambda: _same_beyond_32_bits(bench, n))


def _same_packed(bench, x):
    expected = ternarize(x, layout="t2")
    with config_context(strict=True):
        found = ternarize(bench.cupy.asarray(x), layout="t2")
    return {"codes and scales": expected == found}


def _same_beyond_32_bits(bench, n):
    """Codes that repeat, after a number of them that divides no power of two."""
    cupy = bench.cupy
    length = 4 * (251 if bench.tiny else 250_007)
    codes = bench.rng.integers(-1, 2, (1, length)).astype(np.int8)
    there = _repeated(cupy, codes[0], n)
    packed = _gpu.pack(there, "t2")
    wanted = _repeated(cupy, _reference.pack(codes, "t2")[0], n // 4)
    same = cupy.array_equal(packed[:, : n // 4], wanted)
    return {
        "bytes": bool(same),
        "codes": bool(cupy.array_equal(_gpu.unpack(packed, n, "t2"), there)),
    }


def _repeated(cupy, values, n):
    block, found = cupy.asarray(values), cupy.empty((1, n), values.dtype)
    for start in range(0, n, len(block)):
        part = found[0, start : start + len(block)]
        part[...] = block[: len(part)]
    return found


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
    with config_context(strict=True), _launched() as names:
        A = ternarize(cupy.asarray(X), **options)
        got = A.matmul(cupy.asarray(V), activations="int8").get()
    # On devices that have them.
    wanted = runs_kernels(cupy) and V.shape[1] > products.GEMV_ROWS
    return {
        "product": np.array_equal(got, expected.matmul(V, activations="int8")),
        f"tensor cores ({names})": wanted == any("gemm" in name for name in names),
    }


@contextlib.contextmanager
def _launched():
    """Names of the kernels that products launch."""
    names, launch = set(), products.launch

    def noted(cupy, file, name, *args, **options):
        names.add(name)
        launch(cupy, file, name, *args, **options)

    products.launch = noted
    try:
        yield names
    finally:
        products.launch = launch


def clustering_parity(bench):
    """Equal labels, and centres within 1e-6; the same bits each time."""
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
    for _ in range(2 if bench.tiny else 20):
        on_device = kmeans.fit(bench.cupy.asarray(X))
        found.append((on_device.labels_.get(), on_device.cluster_centers_.get()))
    (got, middles), *again = found
    far = np.abs(middles - centers).max() / np.abs(X - X.mean(axis=0)).max()
    return {
        "labels": np.array_equal(got, labels),
        f"centres ({far:.1e} off)": far <= 1e-6,
        f"{len(again)} times again": all(
            np.array_equal(one, other)
            for repeated in again
            for one, other in zip(found[0], repeated, strict=True)
        ),
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
