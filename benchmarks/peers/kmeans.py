"""k-means beside scikit-learn, scikit-learn-intelex and faiss.

    python benchmarks/peers/kmeans.py
    python benchmarks/peers/kmeans.py --tasks fit reach --threads 2
    python benchmarks/peers/kmeans.py --tasks iterations --shapes 100000x64x256

All contestants run in one process and take turns, round after round. What takes
milliseconds is run several times in a turn: in the first run, caches are as the
contestant before left them, and its threads may still wait for work on the processors.
Each keeps its shortest wall time and the shortest processor time of a turn, the mean
of its runs; on one thread that is what a busy machine disturbs least. The tasks, each
on the shapes of `PLAN`:

iterations  The same start, the same number of iterations, no tolerance.
sparse      The same, of sparse rows like texts.
seeding     Greedy k-means++ alone, where there is a function for it; its inertia is
            what one iteration from the rows drawn makes of them.
fit         Whole fits with drawn starts, the mean of five with other random numbers;
            faiss, which knows no tolerance, makes its own number of iterations.
reach       Fits of as many iterations as a contestant needs to come within 0.1 % of
            the inertia at which scikit-learn ends, from the same start, drawn by
            k-means++; the mean of five starts.
int8        Iterations of precision="float" beside those of "auto" and "int8".

Ratios are the peer's time over ours, and `of_sgemm` is the rate of products that
comparing all rows with all centres in every iteration, and once more at the end, would
have needed, as a share of the rate of NumPy's product of single precision matrices.
"""

import argparse
import math
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from scipy import sparse
from sklearn import cluster
from threadpoolctl import threadpool_limits

from sklearn_ternary import ClusteredKMeans, config_context
from sklearn_ternary.cluster import kmeans_plusplus

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

# Shape (rows, columns, clusters) and iterations.
SHAPES = {
    (10_000, 100, 10): 50,
    (10_000, 100, 100): 20,
    (100_000, 64, 100): 20,
    (100_000, 64, 256): 20,
    (1_000_000, 16, 64): 20,
    (50_000, 784, 10): 20,
    (100_000, 384, 1000): 5,
}
# What is measured when nothing is said of it: task, dtype, shapes, threads.
SMALL, WIDE, MANY = (10_000, 100, 10), (10_000, 100, 100), (100_000, 64, 256)
PLAN = [
    ("iterations", "float32", list(SHAPES), (1, 2)),
    ("iterations", "float64", [WIDE, MANY], (1, 2)),
    ("sparse", "float32", [(10_000, 5_000, 20)], (1, 2)),
    ("seeding", "float32", [WIDE, MANY], (1, 2)),
    ("fit", "float32", [SMALL, WIDE, (50_000, 32, 64)], (2,)),
    ("reach", "float32", [SMALL, WIDE, (50_000, 32, 64)], (2,)),
    ("int8", "float32", [WIDE, MANY, (50_000, 784, 10), (100_000, 384, 1000)], (2,)),
]
TASKS = tuple(dict.fromkeys(task for task, *_ in PLAN))
# Rounds beyond those asked for, while they take less than so long.
MOST_ROUNDS, WHILE_SECONDS = 15, 2
# In a turn a contestant runs again while it has had less than so long.
TURN_SECONDS = 0.05
# Iterations tried for a given inertia, and how near it must be.
LADDER = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 300)
WITHIN = 1.001
SEEDS = 5
OURS, AUTO, INT8 = "ours", "ours, auto", "ours, int8"
INSTALL = {
    "scikit-learn-intelex": "pip install scikit-learn-intelex",
    "faiss": "pip install faiss-cpu",
}


def embeddings(n, d, k, dtype, seed=0):
    """Rows like embeddings: unit length, topics of very different size."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -0.5
    share = 1 / np.arange(1, k + 1)
    topics = (rng.normal(size=(k, d)) * spectrum).astype(dtype)
    X = topics[rng.choice(k, n, p=share / share.sum())]
    for start in range(0, n, 65536):
        part = X[start : start + 65536]
        part += 0.7 * rng.normal(size=part.shape) * spectrum
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return X


def bags_of_words(n, d, k, dtype, seed=0):
    """Sparse rows like texts: unit length, some words in all and some of a topic."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, d + 1)
    share /= share.sum()
    # About 1 % of the columns; of few columns enough that rows differ.
    n_words = max(20, d // 100)
    columns = rng.choice(d, (n, n_words), p=share)
    order = np.stack([rng.permutation(d) for _ in range(k)])
    topic = np.broadcast_to(rng.integers(k, size=n)[:, None], columns.shape)
    own = rng.random(columns.shape) < 0.5
    columns[own] = order[topic[own], columns[own]]
    indptr = np.arange(n + 1, dtype=np.int32) * n_words
    parts = np.ones(columns.size, dtype), columns.ravel().astype(np.int32), indptr
    X = sparse.csr_array(parts, shape=(n, d))
    X.sum_duplicates()
    norms = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    X.data /= np.repeat(norms, np.diff(X.indptr)).astype(dtype)
    return X


def contestants():
    """Return {name: function} and {name: how to install it} of what is missing.

    A function takes X, the start (an array, None to draw one and no more, or the seed
    of a whole fit), the number of clusters and of iterations. It returns the inertia
    (the start, where it drew one) and the number of iterations, or None if it cannot
    do it.
    """
    found = {
        OURS: _with(ClusteredKMeans, kmeans_plusplus),
        "scikit-learn": _with(cluster.KMeans, cluster.kmeans_plusplus),
    }
    missing = {}
    try:
        from sklearnex.cluster import KMeans as IntelKMeans

        found["scikit-learn-intelex"] = _with(IntelKMeans, None)
    except ImportError:
        missing["scikit-learn-intelex"] = INSTALL["scikit-learn-intelex"]
    try:
        import faiss

        found["faiss"] = _with_faiss(faiss)
    except ImportError:
        missing["faiss"] = INSTALL["faiss"]
    return found, missing


def _with(estimator, seeding):
    def run(X, start, k, n_iter):
        if isinstance(start, int):
            kmeans = estimator(k, n_init=1, random_state=start).fit(X)
            return float(kmeans.inertia_), kmeans.n_iter_
        if start is None:
            if seeding is None:
                return None
            return seeding(X, k, random_state=0)[0], 0
        kmeans = estimator(k, init=start, n_init=1, max_iter=n_iter, tol=0).fit(X)
        return float(kmeans.inertia_), kmeans.n_iter_

    return run


def _with_faiss(faiss):
    def run(X, start, k, n_iter):
        if start is None or sparse.issparse(X) or X.dtype != np.float32:
            return None
        drawn = isinstance(start, int)
        options = {"seed": start} if drawn else {"niter": n_iter}
        kmeans = faiss.Kmeans(
            X.shape[1],
            k,
            min_points_per_centroid=1,
            max_points_per_centroid=len(X),
            **options,
        )
        kmeans.train(X, init_centroids=None if drawn else start)
        if drawn:
            return float(kmeans.index.search(X, 1)[0].sum()), len(kmeans.obj)
        return float(kmeans.obj[-1]), n_iter

    return run


def measure(plan, rounds, n_iter=None):
    """Measure everything; `plan` is as `PLAN`. Returns a list of rows."""
    rows = []
    for task, dtype, shapes, threads in plan:
        for shape in shapes:
            make = bags_of_words if task == "sparse" else embeddings
            X = make(*shape, np.dtype(dtype).type)
            for n_threads in threads:
                case = {
                    "task": task,
                    "shape": list(shape),
                    "dtype": dtype,
                    "n_threads": n_threads,
                }
                most = n_iter or SHAPES.get(shape, 20)
                rows += _turns(case, X, shape[2], most, rounds)
    return rows


def _turns(case, X, k, n_iter, rounds):
    task, n_threads = case["task"], case["n_threads"]
    runs = _precisions() if task == "int8" else contestants()[0]
    given = {name: _given(task, name, run, X, k, n_iter) for name, run in runs.items()}
    rows = {}
    sgemm = _sgemm_rate(n_threads)
    started = perf_counter()
    # What takes milliseconds is repeated for a while: its first rounds are cold.
    for turn in range(MOST_ROUNDS):
        if turn >= rounds and perf_counter() - started > WHILE_SECONDS:
            break
        for name, run in runs.items():
            times = [
                _timed(run, n_threads, X, start, k, most) for start, most in given[name]
            ]
            if not times or times[0][2] is None:
                continue
            row = rows.setdefault(
                name,
                {
                    **case,
                    "contestant": name,
                    "seconds": math.inf,
                    "cpu_seconds": math.inf,
                },
            )
            wall, cpu, found = zip(*times, strict=True)
            row["seconds"] = min(row["seconds"], sum(wall) / len(wall))
            row["cpu_seconds"] = min(row["cpu_seconds"], sum(cpu) / len(cpu))
            if task == "seeding":
                drawn = ClusteredKMeans(k, init=found[0][0], max_iter=1, tol=0)
                found = [(drawn.fit(X).inertia_, 0)]
            row["inertia"], row["n_iter"] = map(float, np.mean(found, axis=0))
    for row in rows.values():
        if task == "iterations":
            products = 2 * math.prod(row["shape"]) * (row["n_iter"] + 1)
            row["of_sgemm"] = products / row["seconds"] / sgemm
        for key in ("seconds", "cpu_seconds"):
            row["ratio_" + key] = row[key] / rows[OURS][key]
    if task == "int8":
        _compare_codes(rows, X, *given[OURS][0], k)
    return list(rows.values())


def _given(task, name, run, X, k, n_iter):
    """What a contestant is given in a round: pairs of a start and iterations."""
    if task == "seeding":
        return [(None, n_iter)]
    if task == "fit":
        return [(seed, n_iter) for seed in range(SEEDS)]
    if task != "reach":
        chosen = np.random.default_rng(1).choice(X.shape[0], k, replace=False)
        start = X[chosen].toarray() if sparse.issparse(X) else X[chosen]
        return [(start, n_iter)]
    pairs = []
    for seed in range(SEEDS):
        start, _ = cluster.kmeans_plusplus(X, k, random_state=seed)
        last = cluster.KMeans(k, init=start, n_init=1).fit(X).inertia_
        for most in LADDER:
            found = run(X, start, k, most)
            if found is None:
                return []
            if found[0] <= WITHIN * last:
                break
        pairs.append((start, most))
    return pairs


def _precisions():
    """Contestants of the task that compares precisions."""
    return {
        name: _with(partial(ClusteredKMeans, precision=precision), None)
        for name, precision in ((OURS, "float"), (AUTO, "auto"), (INT8, "int8"))
    }


def _compare_codes(rows, X, start, n_iter, k):
    """Add bytes of a row as it is compared, and how far centres are from each other.

    The root mean square of that distance is relative to the one of the centres from
    their mean.
    """
    d = X.shape[1]
    # Four columns are in a word of codes, and three lengths go with them.
    sizes = {OURS: d * X.itemsize, INT8: -(-d // 4) * 4 + 3 * X.itemsize}
    exact, coarse = (
        ClusteredKMeans(k, init=start, max_iter=n_iter, tol=0, precision=precision)
        .fit(X)
        .cluster_centers_
        for precision in ("float", "int8")
    )
    apart = np.linalg.norm(exact - coarse) / np.linalg.norm(exact - exact.mean(axis=0))
    rows[INT8]["centers_apart"] = float(apart)
    for name, size in sizes.items():
        rows[name]["bytes_per_row"] = size


def _sgemm_rate(n_threads, size=1024):
    """Operations of NumPy's product of matrices in a second."""
    A = np.ones((size, size), dtype=np.float32)
    shortest = min(_timed(np.dot, n_threads, A, A)[0] for _ in range(5))
    return 2 * size**3 / shortest


def _timed(run, n_threads, *args):
    """The shortest wall time of a turn, the mean processor time, and what was found."""
    walls = []
    with threadpool_limits(n_threads), config_context(n_threads=n_threads):
        # That of other threads is only known to some milliseconds.
        cpu = process_time()
        while sum(walls) < TURN_SECONDS:
            started = perf_counter()
            result = run(*args)
            walls.append(perf_counter() - started)
        return min(walls), (process_time() - cpu) / len(walls), result


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['system']}, "
        f"{machine['date']}",
        ", ".join(f"{name} {v}" for name, v in machine["versions"].items()),
        f"shortest of {results['rounds']} rounds; ratios are peer / ours, wall time "
        "and processor time",
    ]
    lines += [f"{name} is missing: {how}" for name, how in results["missing"].items()]
    lines += [
        "",
        f"{'task':<11} {'shape':<16} {'dtype':<8} {'threads':>7} {'contestant':<21}"
        f"{'ms':>10} {'cpu ms':>10} {'iter':>5} {'inertia':>13}  ratios",
    ]
    for row in results["results"]:
        shape = "x".join(map(str, row["shape"]))
        ratios = ""
        if row["contestant"] != OURS:
            ratios = f"{row['ratio_seconds']:.2f} {row['ratio_cpu_seconds']:.2f}"
        if "centers_apart" in row:
            ratios += f", centres apart {row['centers_apart']:.2g}"
        lines.append(
            f"{row['task']:<11} {shape:<16} {row['dtype']:<8} {row['n_threads']:>7} "
            f"{row['contestant']:<21}{row['seconds'] * 1e3:>10.2f} "
            f"{row['cpu_seconds'] * 1e3:>10.2f} {row['n_iter']:>5.4g} "
            f"{row['inertia']:>13.6g}  {ratios}".rstrip()
        )
    return lines


def _versions():
    found = {}
    for name in ("scikit-learn", "scikit-learn-intelex", "faiss-cpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _shape(text):
    return tuple(int(part) for part in text.split("x"))


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--shapes", type=_shape, nargs="+", help="as 100000x64x256")
    parser.add_argument("--iterations", type=int, help="instead of those of a shape")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", help="instead of those")
    parser.add_argument("--dtypes", nargs="+", help="those, of what is planned")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    arguments = parser.parse_args()
    if any(n < 1 for n in [arguments.rounds, *(arguments.threads or ())]):
        parser.error("--rounds and --threads must be positive")
    plan = [
        (task, dtype, arguments.shapes or shapes, arguments.threads or threads)
        for task, dtype, shapes, threads in PLAN
        if task in arguments.tasks and dtype in (arguments.dtypes or [dtype])
    ]
    rows = measure(plan, arguments.rounds, arguments.iterations)
    machine = describe_machine()
    machine["versions"] |= _versions()
    results = {
        "format": "sklearn-ternary peers kmeans 1",
        "machine": machine,
        "rounds": arguments.rounds,
        "missing": contestants()[1],
        "results": rows,
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
