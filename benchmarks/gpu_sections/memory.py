"""Memory of the device that work takes, beside what CUDA itself does."""

from gpu_sections.sizes import MEBI, clustering_work, quantize_work

from sklearn_ternary import ClusteredKMeans
from sklearn_ternary._gpu import quantize


def memory(bench):
    """Bytes of the arrays given, and of what is taken besides; and of the context."""
    cupy = bench.cupy
    pool = cupy.get_default_memory_pool()
    n, (rows, d, k) = bench.sizes.few_values, bench.sizes.clustering
    x = bench.normal(1, n)
    found = {quantize_work(n, "one scale"): _taken(pool, x, _quantize)}
    if bench.in_time("memory of k-means"):
        x = bench.normal(rows, d)
        kmeans = ClusteredKMeans(k, init=x[:k].get(), n_init=1, max_iter=2, tol=0)
        found[clustering_work(bench.sizes, "a fit")] = _taken(pool, x, kmeans.fit)
    free, total = cupy.cuda.runtime.memGetInfo()
    # Kernels, libraries, and what other processes have.
    context = total - free - pool.total_bytes()
    bench.found["memory"] = {"context": int(context), "work": found}
    for work, sizes in found.items():
        print(f"memory of {work}:", _shown(sizes), flush=True)
    print("memory of the context:", _shown({"bytes": int(context)}), flush=True)


def _quantize(x):
    return quantize.absmean_pack(x, 3, "t2")


def _taken(pool, x, function):
    function(x)
    pool.free_all_blocks()
    before = pool.total_bytes()
    result = function(x)
    # The pool keeps what was taken at a time.
    taken = pool.total_bytes() - before
    del result
    return {"arrays": int(x.nbytes), "besides": int(taken)}


def _shown(sizes):
    return ", ".join(f"{name} {n / MEBI:.1f} MiB" for name, n in sizes.items())
