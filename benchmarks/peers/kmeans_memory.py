"""Memory that k-means takes beyond its rows, and that training takes with clusters.

    python benchmarks/peers/kmeans_memory.py

Each figure is of a process of its own: the most resident memory from just before to
the end of a fit, less what was resident before. "fit" is three iterations from a
given start, beside scikit-learn. "training" is an epoch of a network, the rows
included, of all rows and of the centroids that ClusterReducer puts in their place.
Linux tells the peak of a part of a process; other systems do not.
"""

import argparse
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from sklearn_ternary import ClusteredKMeans, ConstrainedTrainer
from sklearn_ternary.cluster import ClusterReducer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

SHAPES = (
    (10_000, 100, 100),
    (100_000, 64, 256),
    (1_000_000, 16, 64),
    (50_000, 784, 10),
    (50_000, 384, 1000),
    (100_000, 384, 1000),
    (10_000_000, 8, 16),
)
# Rows and columns that a network is trained on, and numbers of centroids; 0 is none.
TRAINED = 100_000, 64
CENTROIDS = (0, 5, 20, 200)
OURS, THEIRS = "ours", "scikit-learn"


def limit(shape):
    """Most that a fit may take."""
    return 64 * 2**20 + 8 * shape[0]


def rows_of(n, d):
    """Rows of float32 around a few points."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((20, d), dtype=np.float32)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X += points[rng.integers(20, size=n)]
    return X


def fit(contestant, shape):
    """Bytes that a fit takes beyond the rows."""
    n, d, k = shape
    X = rows_of(n, d)
    start = X[:k].copy()
    kind = {OURS: ClusteredKMeans, THEIRS: KMeans}[contestant]
    kmeans = kind(k, init=start, n_init=1, max_iter=3, tol=0)
    # What is loaded with the first fit is not of this one.
    kind(2, n_init=1, random_state=0).fit(X[:100])
    before = _start_of_peak()
    kmeans.fit(X)
    return _memory("VmHWM") - before


def train(n_centroids):
    """Bytes that an epoch takes, rows included."""
    n, d = TRAINED
    trainer = ConstrainedTrainer((256,), max_iter=1, tol=0, random_state=0)
    few = rows_of(200, d)
    ClusterReducer(5, random_state=0).fit_reduce(few, few[:, 0] > 0)
    trainer.fit(few, few[:, 0] > 0)
    before = _memory("VmRSS")
    X = rows_of(n, d)
    y, weight = X[:, 0] > 0, None
    if n_centroids:
        reducer = ClusterReducer(n_centroids, init="random", n_init=1)
        X, y, weight = reducer.fit_reduce(X, y)
    _start_of_peak()
    trainer.fit(X, y, sample_weight=weight)
    return max(0, _memory("VmHWM") - before)


def _start_of_peak():
    """Have the peak start from here; what is resident here."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _memory("VmRSS")


def _memory(field):
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith(field)]
    return int(line.split()[1]) * 1024


def _in_a_process(task, *args):
    command = [sys.executable, __file__, "--one", json.dumps([task, *args])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def measure(shapes, centroids):
    """Rows of the table, each from processes of their own."""
    found = []
    for shape in shapes:
        row = {"task": "fit", "shape": shape, "limit": limit(shape)}
        row |= {name: _in_a_process("fit", name, shape) for name in (OURS, THEIRS)}
        found.append(row)
    for n in centroids:
        taken = _in_a_process("train", n)
        found.append({"task": "training", "centroids": n, "peak": taken})
    return found


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['date']}; MiB"]
    for row in results["results"]:
        if row["task"] == "fit":
            shape = "x".join(map(str, row["shape"]))
            ours, theirs, most = (row[name] / 2**20 for name in (OURS, THEIRS, "limit"))
            lines.append(
                f"fit {shape:<16} {OURS} {ours:7.1f}  {THEIRS} {theirs:7.1f}  "
                f"limit {most:6.1f}"
            )
        else:
            what = f"{row['centroids']} centroids" if row["centroids"] else "all rows"
            lines.append(f"training on {what:<16} {row['peak'] / 2**20:7.1f}")
    return lines


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        task, *args = json.loads(arguments.one)
        print({"fit": fit, "train": train}[task](*args))
        return
    machine = describe_machine()
    machine["versions"]["scikit-learn"] = metadata.version("scikit-learn")
    results = {
        "format": "sklearn-ternary peers kmeans memory 1",
        "machine": machine,
        "trained": TRAINED,
        "results": measure(SHAPES, CENTROIDS),
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
