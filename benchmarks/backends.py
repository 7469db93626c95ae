"""Measure every operation on every backend, for "Choosing a backend" in the docs.

    python benchmarks/backends.py -o benchmarks/results/backends.json

Runs `sklearn_ternary.calibrate`, which times the NumPy definitions and the
kernels on one thread and on all, and adds the NumPy times that it leaves out
where the kernels are far ahead. A few minutes on an otherwise idle machine.
"""

import argparse
from dataclasses import asdict

from sklearn_ternary import calibrate

SIZES = (256, 4096, 65_536, 1_048_576)


def measure(sizes=SIZES):
    """Return what the JSON file holds."""
    # asv imports this file too, but not as a script.
    from _machine import describe_machine

    from sklearn_ternary import _reference
    from sklearn_ternary._calibration import arguments, best_seconds

    calibration = calibrate(sizes=list(sizes), verbose=True)
    timings = []
    for timing in calibration.timings:
        row = asdict(timing)
        if row["numpy"] is None:
            definition = getattr(_reference, timing.operation)
            args = arguments(timing.operation, timing.dtype, timing.size)
            row["numpy"] = best_seconds(definition, args)
        timings.append(row)
    return {
        "format": "sklearn-ternary backends 1",
        "machine": describe_machine(),
        "isa": calibration.isa,
        "n_threads": calibration.n_threads,
        "timings": timings,
        "crossovers": calibration.to_dict()["crossovers"],
    }


def main():
    """Run as a script."""
    from _results import write_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, help="JSON file to write")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="multiples of 256"
    )
    arguments = parser.parse_args()
    results = measure(arguments.sizes)
    write_results(arguments.output, results)


if __name__ == "__main__":
    main()
