"""k-means by the number of rows, beside scikit-learn and two versions in NumPy.

    python benchmarks/peers/kmeans_grid.py
    python benchmarks/peers/kmeans_grid.py --tasks kmeans_10k_100_k10_100it

grid                      Iterations from the same start on shapes of `GRID`.
kmeans_10k_100_k10_100it  A hundred iterations on 10,000 rows of 100 columns, 10
                          clusters: `tol=0`, `init="random"`, `n_init=1`.

One version in NumPy takes the differences of all rows and all centres, which is
done five times and where they fit 256 MiB; the other one a matrix product for the
distances and another for the sums of the clusters. All contestants run in one process
and take turns; each keeps its shortest time.
"""

import argparse
import itertools
import math
import sys
import warnings
from importlib import metadata
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn import cluster
from threadpoolctl import threadpool_limits

from sklearn_ternary import ClusteredKMeans, config_context

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

# Rows, columns and clusters.
GRID = tuple(
    itertools.product((1_000, 10_000, 100_000, 1_000_000), (8, 100), (10, 100))
)
# Products of rows and centres in all iterations of a fit, about, and iterations.
PRODUCTS, FEWEST, MOST = 5e8, 4, 100
PINNED, PINNED_SHAPE, PINNED_ITERATIONS = (
    "kmeans_10k_100_k10_100it",
    (10_000, 100, 10),
    100,
)
TASKS = "grid", PINNED
OURS, THEIRS = "ours", "scikit-learn"
BY_PRODUCTS, BY_DIFFERENCES = "NumPy, products", "NumPy, differences"
MOST_BYTES, MOST_DIFFERENCES = 2**28, 5
# In a turn a contestant runs again while it has had less than so long: threads of the
# one before may still wait for work on the processors.
TURN_SECONDS = 0.2


def rows_of(n, d):
    """Rows of float32 without clusters, so that no fit ends before its time."""
    return np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)


def by_products(X, centers):
    """Centres after an iteration: two matrix products."""
    norms = np.einsum("ij,ij->i", centers, centers)
    labels = (norms - 2 * (X @ centers.T)).argmin(axis=1)
    members = np.zeros((len(X), len(centers)), dtype=X.dtype)
    members[np.arange(len(X)), labels] = 1
    return members.T @ X / members.sum(axis=0)[:, None]


def by_differences(X, centers):
    """Centres after an iteration: every row less every centre."""
    differences = X[:, None] - centers
    labels = (differences * differences).sum(axis=2).argmin(axis=1)
    return np.stack([X[labels == j].mean(axis=0) for j in range(len(centers))])


def contestants(shape):
    """Return {name: function of the rows, the start and iterations}."""
    n, d, k = shape

    def fit(kind):
        def run(X, start, n_iter):
            kmeans = kind(k, init=start, n_init=1, max_iter=n_iter, tol=0)
            return kmeans.fit(X).n_iter_

        return run

    def iterate(step):
        def run(X, start, n_iter):
            centers = start
            for _ in range(n_iter):
                centers = step(X, centers)
            return n_iter

        return run

    found = {
        OURS: fit(ClusteredKMeans),
        THEIRS: fit(cluster.KMeans),
        BY_PRODUCTS: iterate(by_products),
    }
    if n * d * k * 4 <= MOST_BYTES:
        found[BY_DIFFERENCES] = iterate(by_differences)
    return found


def measure(task, shape, n_threads, n_iter, rounds):
    """A row of the results: seconds of an iteration of each contestant."""
    n, d, k = shape
    X = rows_of(n, d)
    # The rows that `init="random"` draws, here and in scikit-learn.
    start = X[np.random.RandomState(0).choice(n, k, replace=False)]
    seconds = {}
    with threadpool_limits(n_threads), config_context(n_threads=n_threads):
        for turn, (name, run) in itertools.product(
            range(rounds), contestants(shape).items()
        ):
            few = name == BY_DIFFERENCES
            if turn and few:
                continue
            taken = _turn(run, X, start, MOST_DIFFERENCES if few else n_iter)
            seconds[name] = min(taken, seconds.get(name, math.inf))
    return {
        "task": task,
        "shape": list(shape),
        "n": n,
        "n_threads": n_threads,
        "n_iter": n_iter,
        "seconds": seconds,
        "fit_seconds": n_iter * seconds[OURS],
        "vs": {name: taken / seconds[OURS] for name, taken in seconds.items()},
    }


def _turn(run, X, start, n_iter):
    """Seconds of an iteration, of the fastest fit in a turn."""
    least, begun = math.inf, perf_counter()
    while least == math.inf or perf_counter() - begun < TURN_SECONDS:
        started = perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = run(X, start, n_iter)
        least = min(least, (perf_counter() - started) / made)
    return least


def iterations_of(shape):
    """Iterations in a fit: many where they take little time."""
    return int(np.clip(PRODUCTS / math.prod(shape), FEWEST, MOST))


def measure_all(tasks, grid, n_threads, rounds):
    """Rows of the table."""
    found = []
    if "grid" in tasks:
        found += [
            measure("grid", shape, n_threads, iterations_of(shape), rounds)
            for shape in grid
        ]
    if PINNED in tasks:
        found += [
            measure(PINNED, PINNED_SHAPE, n, PINNED_ITERATIONS, rounds)
            for n in dict.fromkeys((1, n_threads))
        ]
    return found


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['date']}"]
    for row in results["results"]:
        shape = "x".join(map(str, row["shape"]))
        others = (f"{name} {r:.1f}x" for name, r in row["vs"].items() if name != OURS)
        lines.append(
            f"{row['task']:<25} {shape:<15} {row['n_threads']} threads, an iteration "
            f"{row['seconds'][OURS] * 1e3:8.3f} ms; {', '.join(others)}"
        )
    return lines


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.threads) < 1:
        parser.error("--rounds and --threads must be positive")
    machine = describe_machine()
    machine["versions"][THEIRS] = metadata.version(THEIRS)
    results = {
        "format": "sklearn-ternary peers kmeans grid 1",
        "machine": machine,
        "rounds": arguments.rounds,
        "results": measure_all(
            arguments.tasks, GRID, arguments.threads, arguments.rounds
        ),
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
