"""Labels and whole iterations of k-means on rows of the device."""

import time

import numpy as np
from gpu_sections.sizes import clustering_work

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary._gpu.blocks import Block
from sklearn_ternary._gpu.lanes import Lane
from sklearn_ternary.cluster._frame import frame_of_centers

# Peers take so many rows at a time: all distances would be 4 GB.
_PANEL = 65536
_FEW, _MANY = 2, 12
# scikit-learn gets a part of the rows; an iteration takes as much longer for all.
_CPU_ROWS = 100_000


def clustering(bench):
    """Measure them beside products with the smallest entry of each row."""
    cupy = bench.cupy
    n, d, k = bench.sizes.clustering
    host = bench.rng.standard_normal((n, d), dtype=np.float32)
    X = cupy.asarray(host)
    centers = X[:k].copy()
    torch = bench.torch()
    # At best one product in bfloat16 tells all rows.
    products = bench.seconds_for(2 * n * d * k, "bfloat16")
    _measure_labels(bench, X, centers, host[:k], products, torch)
    work = clustering_work(bench.sizes, "an iteration")
    if not bench.in_time(work):
        return
    options = {"n_clusters": k, "init": host[:k], "n_init": 1, "tol": 0}
    seconds = _iteration(bench, lambda m: ClusteredKMeans(max_iter=m, **options).fit(X))
    found = {
        "CuPy GEMM+argmin": lambda: lambda: _update(cupy, X, centers),
        "scikit-learn (CPU)": lambda: _on_the_cpu(bench, host, k),
    }
    if torch:
        found["torch"] = lambda: _torch_update(torch, X, centers)
    limit = products and products + 4 * n * d / bench.limits["bytes"]
    # What a fit takes longer with more iterations, instead of calls of one.
    bench.measure(work, seconds, limit, found)


def _measure_labels(bench, X, centers, middles, limit, torch):
    cupy = bench.cupy
    block = Block(Lane(cupy, cupy.cuda.runtime.getDevice()), X)
    block.set_frame(frame_of_centers(middles))
    block.keep_split()
    others = {"CuPy GEMM+argmin": lambda: lambda: _labels(cupy, X, centers)}
    if torch:
        others |= _in_torch(torch, X, centers)
    work = clustering_work(bench.sizes, "labels")
    bench.measure(work, lambda: block.nearest(centers), limit, others)


def _iteration(bench, fit):
    """Seconds of an iteration: what more iterations of a fit take longer."""
    taken, n_iter = [], []
    fit(1)
    for m in (_FEW, _MANY):
        bench.cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        n_iter.append(fit(m).n_iter_)
        bench.cupy.cuda.Device().synchronize()
        taken.append(time.perf_counter() - start)
    return max(taken[1] - taken[0], 0.0) / max(1, n_iter[1] - n_iter[0])


def _on_the_cpu(bench, host, k):
    from sklearn.cluster import KMeans

    rows = host[:_CPU_ROWS]
    options = {"init": host[:k], "n_init": 1, "tol": 0, "algorithm": "lloyd"}

    def fit(max_iter):
        return KMeans(k, max_iter=max_iter, **options).fit(rows)

    return _iteration(bench, fit) * len(host) / len(rows)


def _labels(cupy, X, centers):
    half = 0.5 * (centers * centers).sum(axis=1)
    parts = range(0, len(X), _PANEL)
    scores = ((half - X[r : r + _PANEL] @ centers.T) for r in parts)
    return cupy.concatenate([s.argmin(axis=1) for s in scores])


def _update(cupy, X, centers):
    labels = _labels(cupy, X, centers)
    sums = cupy.zeros_like(centers)
    cupy.add.at(sums, labels, X)
    return sums / cupy.bincount(labels, minlength=len(centers))[:, None]


def _torch_labels(torch, X, centers):
    half = 0.5 * (centers * centers).sum(1)
    parts = torch.split(X, _PANEL)
    return torch.cat(
        [torch.addmm(half, p, centers.t(), alpha=-1).argmin(1) for p in parts]
    )


def _torch_update(torch, X, centers):
    X, centers = (torch.as_tensor(a, device="cuda") for a in (X, centers))

    def update():
        labels = _torch_labels(torch, X, centers)
        sums = torch.zeros_like(centers).index_add_(0, labels, X)
        return sums / torch.bincount(labels, minlength=len(centers))[:, None]

    return update


def _in_torch(torch, X, centers):
    X, centers = (torch.as_tensor(a, device="cuda") for a in (X, centers))

    def with_tf32():
        def labels():
            torch.backends.cuda.matmul.allow_tf32 = True
            try:
                return _torch_labels(torch, X, centers)
            finally:
                torch.backends.cuda.matmul.allow_tf32 = False

        return labels

    def compiled():
        labels = torch.compile(lambda X, centers: _torch_labels(torch, X, centers))
        return lambda: labels(X, centers)

    return {
        "torch GEMM+argmin": lambda: lambda: _torch_labels(torch, X, centers),
        "torch.compile": compiled,
        "torch GEMM+argmin, TF32": with_tf32,
    }
