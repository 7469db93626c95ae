"""Iterations of k-means on one thread and on two, beside what the machine gives.

    python benchmarks/peers/kmeans_threads.py

Two processors of a virtual machine may be two threads of one core, or share the way
to memory with others: then nothing is twice as fast on both. So each round times, one
right after another, the same fit on one thread and on two, a loop of multiply-adds of
the kind that fits make most (by the tile unit where there is one), and reading of
memory. What counts is the shortest time of each. There is no peer: benchmarks/peers/
kmeans.py has them.
"""

import argparse
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_ternary import ClusteredKMeans, config_context
from sklearn_ternary._cpu.aligned_memory import allocate
from sklearn_ternary._cpu.product_levels import int8_level, vector_level
from sklearn_ternary._kernels import _matmul
from sklearn_ternary._kernels._cpu_features import supported_isas

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results
from peers.kmeans import SHAPES, TURN_SECONDS, embeddings

THREADS = 1, 2
# Multiply-adds of the loop take about 10 ms; memory is as large as a million rows of
# 16 columns.
_REPEATS = 400_000
_READ_BYTES = 2**26
# Rounds beyond those asked for, while they take less than so long.
MOST_ROUNDS, WHILE_SECONDS = 15, 3


def compute(n_threads, repeats=_REPEATS):
    """Each thread repeats the widest product of a step that fits go by."""
    level = int8_level(supported_isas()[0], 512)
    if n_threads == 1:
        _matmul.int8_peak(repeats, level)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda _: _matmul.int8_peak(repeats, level), range(n_threads)))


def read(memory, n_threads):
    """All threads together read it once."""
    _matmul.read(memory, vector_level(supported_isas()[0]), n_threads)


def fit(X, start, n_iter, n_threads):
    """The fit that kmeans.py times; threads are limited already."""
    ClusteredKMeans(len(start), init=start, n_init=1, max_iter=n_iter, tol=0).fit(X)


def _shortest(function, n_threads):
    """Seconds of the shortest of the calls of a turn: the first ones are cold."""
    walls = []
    with threadpool_limits(n_threads), config_context(n_threads=n_threads):
        while not walls or sum(walls) < TURN_SECONDS:
            started = perf_counter()
            function(n_threads=n_threads)
            walls.append(perf_counter() - started)
    return min(walls)


def measure(shapes, rounds, read_bytes=_READ_BYTES, repeats=_REPEATS):
    """Rows of results: how many times as fast two threads are, and the machine is."""
    memory = allocate(read_bytes)
    memory[:] = 1
    rows = []
    for shape, n_iter in shapes.items():
        X = embeddings(*shape, np.float32)
        chosen = np.random.default_rng(1).choice(len(X), shape[2], replace=False)
        tasks = {
            "fit": partial(fit, X, X[chosen], n_iter),
            "compute": partial(compute, repeats=repeats),
            "memory": partial(read, memory),
        }
        best = dict.fromkeys(((name, n) for name in tasks for n in THREADS), math.inf)
        started = perf_counter()
        for i in range(MOST_ROUNDS):
            if i >= rounds and perf_counter() - started > WHILE_SECONDS:
                break
            for (name, n), least in best.items():
                best[name, n] = min(least, _shortest(tasks[name], n))
        one, two = THREADS
        gains = {name: best[name, one] / best[name, two] for name in tasks}
        # Both threads make the whole loop.
        gains["compute"] *= two
        rows.append(
            {
                "shape": list(shape),
                "dtype": "float32",
                "seconds": [best["fit", n] for n in THREADS],
                "gain": gains["fit"],
                "compute_gain": gains["compute"],
                "memory_gain": gains["memory"],
            }
        )
    return rows


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['date']}",
        f"{'shape':<16} {'1 thread':>10} {'2':>10} ms  gain   of multiply-adds, memory",
    ]
    for row in results["results"]:
        one, two = (f"{seconds * 1e3:10.2f}" for seconds in row["seconds"])
        lines.append(
            f"{'x'.join(map(str, row['shape'])):<16} {one} {two}    {row['gain']:5.2f}"
            f"   {row['compute_gain']:5.2f} {row['memory_gain']:5.2f}"
        )
    return lines


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = {
        "format": "sklearn-ternary peers kmeans threads 1",
        "machine": describe_machine(),
        "rounds": arguments.rounds,
        "results": measure(SHAPES, arguments.rounds),
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
