"""k-means of many rows: by their number, where they are, and in mini-batches.

    python benchmarks/peers/kmeans_scale.py
    python benchmarks/peers/kmeans_scale.py --rows 100000 1000000 --threads 1 2

"rows" is the time of an iteration, the difference of two fits of different length,
for rows in memory, in a memory-mapped file, and from a function that returns an
iterator of chunks. "fit" is a whole fit by mini-batches and "partial_fit" one pass of
batches, beside scikit-learn's MiniBatchKMeans; both take turns in one process, and
each keeps its shortest time and the mean of its inertia over the seeds.
"""

import argparse
import math
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from sklearn_ternary import ClusteredKMeans, config_context

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

N_FEATURES = 16
N_CLUSTERS = 64
ROWS = (100_000, 1_000_000, 10_000_000)
BATCHES = (1024, 10_000)
# Rows of which mini-batches are drawn, and MiB for the blocks of rows in files.
N_BATCHED = 1_000_000
WORKING_MEMORY = 64
_CHUNK = 65536
_ROWS_TIMED = 4_000_000
OURS, THEIRS = "ours", "scikit-learn"


def write_rows(path, n):
    """Write rows about as many points as there are clusters, and map them."""
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, N_FEATURES))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(N_CLUSTERS, N_FEATURES)).astype(np.float32)
    for start in range(0, n, _CHUNK):
        part = X[start : start + _CHUNK]
        noise = rng.standard_normal(part.shape, dtype=np.float32)
        part[:] = points[rng.integers(N_CLUSTERS, size=len(part))] + 0.7 * noise
    X.flush()
    return np.load(path, mmap_mode="r")


def measure_rows(mapped, numbers, n_iter, rounds):
    """Seconds of an iteration on the first rows, in each place."""
    found = []
    for n in numbers:
        places = {
            "memory": np.array(mapped[:n]),
            "memory-mapped file": mapped[:n],
            "chunks": lambda n=n: (
                mapped[i : min(n, i + _CHUNK)] for i in range(0, n, _CHUNK)
            ),
        }
        start = np.array(mapped[:N_CLUSTERS])
        # Short fits of few rows are longer, or they would drown in what else there is.
        lengths = 2, 2 + max(n_iter, _ROWS_TIMED // n)
        seconds = {place: [math.inf, math.inf] for place in places}
        for _ in range(rounds):
            for place, X in places.items():
                for i, length in enumerate(lengths):
                    kmeans = ClusteredKMeans(N_CLUSTERS, init=start, tol=0)
                    kmeans.set_params(max_iter=length)
                    with config_context(working_memory=WORKING_MEMORY):
                        time = _seconds(kmeans.fit, X)
                    seconds[place][i] = min(seconds[place][i], time)
        found += [
            {
                "task": "rows",
                "n": n,
                "place": place,
                "seconds": (long - short) / (lengths[1] - lengths[0]),
            }
            for place, (short, long) in seconds.items()
        ]
    return found


def measure_batches(X, sizes, rounds):
    """Whole fits by mini-batches, and passes of `partial_fit`, beside scikit-learn."""
    found = []
    for size in sizes:
        for task in ("fit", "partial_fit"):
            rows = {
                name: {
                    "task": task,
                    "n": len(X),
                    "batch_size": size,
                    "contestant": name,
                    "seconds": math.inf,
                    "inertia": 0.0,
                }
                for name in (OURS, THEIRS)
            }
            for seed in range(rounds):
                for name, row in rows.items():
                    kmeans = _contestant(name, size, seed)
                    work = kmeans.fit if task == "fit" else _passing(kmeans, size)
                    row["seconds"] = min(row["seconds"], _seconds(work, X))
                    row["inertia"] -= kmeans.score(X) / rounds
            for row in rows.values():
                row["ratio"] = row["seconds"] / rows[OURS]["seconds"]
                row["inertia_ratio"] = row["inertia"] / rows[OURS]["inertia"]
            found += rows.values()
    return found


def _contestant(name, size, seed):
    if name == OURS:
        return ClusteredKMeans(N_CLUSTERS, batch_size=size, random_state=seed)
    return MiniBatchKMeans(N_CLUSTERS, batch_size=size, n_init=1, random_state=seed)


def _passing(kmeans, size):
    def work(X):
        for start in range(0, len(X), size):
            kmeans.partial_fit(X[start : start + size])

    return work


def _seconds(work, X):
    start = perf_counter()
    work(X)
    return perf_counter() - start


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['system']}, "
        f"{machine['date']}; {N_FEATURES} columns, {N_CLUSTERS} clusters, float32"
    ]
    for row in results["results"]:
        head = f"{row['n_threads']} threads, {row['n']:>10,} rows, {row['task']:<12}"
        if row["task"] == "rows":
            each = row["seconds"] / row["n"] * 1e9
            lines.append(
                f"{head}{row['place']:<19} {row['seconds'] * 1e3:>9.2f} ms an "
                f"iteration, {each:.1f} ns a row"
            )
        else:
            lines.append(
                f"{head}{row['batch_size']:>6} {row['contestant']:<12} "
                f"{row['seconds'] * 1e3:>9.1f} ms, {row['ratio']:.2f} times ours, "
                f"inertia {row['inertia_ratio']:.4f} times ours"
            )
    return lines


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    if any(n < 1 for n in [arguments.rounds, *arguments.threads]):
        parser.error("--rounds and --threads must be positive")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        mapped = write_rows(Path(folder) / "X.npy", max([*arguments.rows, N_BATCHED]))
        X = np.array(mapped[:N_BATCHED])
        for n in arguments.threads:
            with threadpool_limits(n), config_context(n_threads=n):
                found = measure_rows(
                    mapped, arguments.rows, arguments.iterations, arguments.rounds
                )
                found += measure_batches(X, arguments.batches, arguments.rounds)
            rows += [{"n_threads": n, **row} for row in found]
    machine = describe_machine()
    machine["versions"]["scikit-learn"] = metadata.version("scikit-learn")
    results = {
        "format": "sklearn-ternary peers kmeans scale 1",
        "machine": machine,
        "columns": N_FEATURES,
        "clusters": N_CLUSTERS,
        "rounds": arguments.rounds,
        "results": rows,
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
