"""Predictions of compressed linear models for one sample beside scikit-learn's.

    python benchmarks/peers/compressed.py -o benchmarks/results/compressed.json

Models of 10^5 and 10^6 features with random weights of float64, for 2 and for 20
classes; samples of float64, of float32, and sparse ones (CSR) of 100 and of 1000
entries. Both sides run `predict` of the same model on the same sample in turns; the
time of each is the shortest. About half a minute.
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sklearn_ternary import compress, config_context

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

ENTRIES = (100, 1000)


def model(n_features, n_classes):
    """A fitted classifier with random weights."""
    rng = np.random.default_rng(0)
    n_outputs = 1 if n_classes == 2 else n_classes
    fitted = LogisticRegression()
    fitted.coef_ = rng.standard_normal((n_outputs, n_features))
    fitted.intercept_ = np.zeros(n_outputs)
    fitted.classes_ = np.arange(n_classes)
    fitted.n_features_in_ = n_features
    return fitted


def samples(n_features):
    """One sample of each kind."""
    dense = np.random.default_rng(1).standard_normal((1, n_features))
    found = {"float64": dense, "float32": dense.astype(np.float32)}
    for entries in ENTRIES:
        found[f"CSR, {entries} entries"] = sparse.random(
            1, n_features, density=entries / n_features, format="csr", random_state=0
        )
    return found


def measure(features, classes, rounds):
    """Return one row for each model and sample."""
    rows = []
    for n_features in features:
        for n_classes in classes:
            original = model(n_features, n_classes)
            sides = {"scikit-learn": original, "compressed": compress(original)}
            for name, X in samples(n_features).items():
                seconds = _shortest(sides, X, rounds)
                rows.append(
                    {
                        "n_features": n_features,
                        "n_classes": n_classes,
                        "sample": name,
                        "seconds": seconds,
                        "speedup": seconds["scikit-learn"] / seconds["compressed"],
                    }
                )
    return rows


def _shortest(sides, X, rounds):
    best = dict.fromkeys(sides, np.inf)
    for _ in range(rounds):
        for name, side in sides.items():
            side.predict(X)
            for _ in range(5):
                start = perf_counter()
                side.predict(X)
                best[name] = min(best[name], perf_counter() - start)
    return best


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--features", type=int, nargs="+", default=[10**5, 10**6])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 20])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    n_threads = arguments.threads
    with threadpool_limits(n_threads), config_context(n_threads=n_threads):
        rows = measure(arguments.features, arguments.classes, arguments.rounds)
    for row in rows:
        times = ", ".join(f"{k} {v * 1e6:.0f} us" for k, v in row["seconds"].items())
        print(
            f"{row['n_features']:>8} features, {row['n_classes']:>2} classes, "
            f"{row['sample']:<18} {times}: {row['speedup']:.1f}x"
        )
    if arguments.output:
        content = {
            "format": "sklearn-ternary peers compressed 1",
            "machine": describe_machine(),
            "n_threads": n_threads,
            "results": rows,
        }
        write_results(arguments.output, content)


if __name__ == "__main__":
    main()
