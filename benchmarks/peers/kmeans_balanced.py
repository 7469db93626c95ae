"""k-means with clusters of equal sizes, beside plain k-means and k-means-constrained.

    python benchmarks/peers/kmeans_balanced.py

All take the same number of iterations from the same start; without limits and with
them take turns in one process, and each keeps its shortest time. k-means-constrained,
which solves the same problem by a general algorithm for flows of least cost, is
measured once, on one thread, which it has for a run, and only for so many rows and
clusters that it takes seconds.
"""

import argparse
import math
import sys
import warnings
from importlib import metadata
from pathlib import Path
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_ternary import ClusteredKMeans, config_context

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

SHAPES = ((5_000, 16, 16), (20_000, 16, 32), (100_000, 16, 64), (100_000, 64, 64))
# Distances of the largest problem that the peer is given.
MOST = 1_000_000
N_ITERATIONS = 10
THEIRS = "k-means-constrained"
INSTALL = "pip install k-means-constrained"


def rows_of(n, d, k):
    """Rows around points of very different weight, of float32, and a start."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, k + 1)
    points = 1.5 * rng.normal(size=(k, d))
    X = points[rng.choice(k, n, p=share / share.sum())] + rng.normal(size=(n, d))
    X = X.astype(np.float32)
    return X, X[:k].copy()


def peer():
    """The class of k-means-constrained, or None where it is not installed."""
    try:
        from k_means_constrained import KMeansConstrained
    except ImportError:
        return None
    return KMeansConstrained


def measure(shapes, threads, n_iter, rounds, most=MOST):
    """Seconds of fits, one row for each shape and number of threads."""
    found, theirs = [], peer()
    for shape in shapes:
        n, d, k = shape
        X, start = rows_of(n, d, k)
        sizes = {"size_min": n // k, "size_max": -(-n // k)}
        options = {"init": start, "n_init": 1, "max_iter": n_iter, "tol": 0}
        limits = {"min_cluster_size": n // k, "max_cluster_size": -(-n // k)}
        for n_threads in threads:
            row = {"shape": shape, "n_threads": n_threads}
            row |= {"plain": math.inf, "ours": math.inf}
            with threadpool_limits(n_threads), config_context(n_threads=n_threads):
                for _ in range(rounds):
                    for name, more in (("plain", {}), ("ours", limits)):
                        kmeans = ClusteredKMeans(k, **options, **more)
                        row[name] = min(row[name], _seconds(kmeans, X))
                row["inertia"] = kmeans.inertia_
                if theirs and n_threads == 1 and n * k <= most:
                    row[THEIRS] = _seconds(theirs(k, **sizes, **options), X)
            found.append(row)
    return found


def _seconds(kmeans, X):
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kmeans.fit(X)
    return perf_counter() - start


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['date']}"]
    if results["missing"]:
        lines.append(f"{THEIRS} is missing: {INSTALL}")
    for row in results["results"]:
        shape = "x".join(map(str, row["shape"]))
        line = (
            f"{shape:<14} {row['n_threads']} threads: plain {row['plain'] * 1e3:8.1f} "
            f"ms, equal sizes {row['ours'] * 1e3:8.1f} ms, "
            f"{row['ours'] / row['plain']:.1f} times as long"
        )
        if THEIRS in row:
            line += f"; {THEIRS} {row[THEIRS] / row['ours']:.1f} times ours"
        lines.append(line)
    return lines


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if any(n < 1 for n in [arguments.rounds, *arguments.threads]):
        parser.error("--rounds and --threads must be positive")
    machine = describe_machine()
    if peer():
        machine["versions"][THEIRS] = metadata.version(THEIRS)
    results = {
        "format": "sklearn-ternary peers kmeans balanced 1",
        "machine": machine,
        "iterations": N_ITERATIONS,
        "rounds": arguments.rounds,
        "missing": peer() is None,
        "results": measure(SHAPES, arguments.threads, N_ITERATIONS, arguments.rounds),
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
