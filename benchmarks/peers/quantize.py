"""Quantizing beside NumPy, gguf-py and the speed of copying and filling memory.

    python benchmarks/peers/quantize.py
    python benchmarks/peers/quantize.py --large -o benchmarks/results/quantize.json

All contestants run in one process and take turns, round after round. In its turn
each is called several times: the first call finds what the others left in the
caches, the following ones find its own data. Both are kept, each as the shortest of
all rounds; ratios are those of the shortest call. What is measured is that of
``sklearn-ternary bench``; here are more peers, 100 Mi values (--large, 3 GiB of
memory), and what unpacking is to be compared with. Ratios name the expression they
are measured against.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary.cli._bench_quantize import (
    MEMCPY,
    NUMPY_EXPRESSION,
    _numpy_expression,
    _tasks,
    available_isas,
)
from sklearn_ternary.cli._bench_turns import Configured, seconds_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _machine import describe_machine
from _results import write_results

CALLS = 12  # in each turn: the first ones find the caches as others left them
FULL = "np.full(x.shape, 1, np.float32)"
FILL = "y.fill(1)"
GGUF_TYPES = ("TQ2_0", "TQ1_0")
READ = "all values looked at once for NaN, the fastest loop over them"
BASELINES = {
    "copy": MEMCPY,
    "read": READ,
    "numpy": NUMPY_EXPRESSION,
    "full": FULL,
    "fill": FILL,
    **{
        f"gguf {kind}": f"gguf.quants.quantize(x, gguf.GGMLQuantizationType.{kind})"
        for kind in GGUF_TYPES
    },
}
OURS = {
    "quantize absmean": 'ternarize(x, scale="absmean", layout="t2")',
    "quantize mse": 'ternarize(x, scale="mse", layout="t2")',
    "pack": "codes to bytes, layout t2",
    "unpack": "A.toarray()",
}
INSTALL_GGUF = "gguf is not installed: pip install gguf, or the extra [benchmark]"


def measure(size, rounds, isas, threads, gguf=True):
    """Measure on `size` float32 values from a normal distribution.

    Returns
    -------
    rows : list of dict
        ``operation``, ``isa``, ``n_threads``, ``size``, ``seconds`` (shortest
        call) and ``seconds_first`` (shortest first call of a turn). These are None
        where it cannot run, with the reason in ``note``.
    """
    x = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    y = np.empty_like(x)
    rows, tasks = [], []

    def add(operation, function, isa=None, n_threads=1, note=None):
        rows.append(
            {
                "operation": operation,
                "isa": isa,
                "n_threads": n_threads,
                "size": size,
                "seconds": None,
                "seconds_first": None,
                "note": note,
            }
        )
        tasks.append(function)

    add("copy", lambda: np.copyto(y, x))
    add("read", _read(x) if isas else None, note=None if isas else "no kernels")
    add("numpy", lambda: _numpy_expression(x))
    add("full", lambda: np.full(x.shape, 1, np.float32))
    add("fill", lambda: y.fill(1))
    if gguf:
        for kind in GGUF_TYPES:
            function = _gguf(x, kind)
            note = None if function else INSTALL_GGUF
            add(f"gguf {kind}", function, note=note)
    for isa in isas:
        for n_threads in threads:
            for operation, function in _tasks(x, isa, n_threads):
                add(operation, function, isa, n_threads)
    _take_turns(rows, tasks, rounds)
    return rows


def _take_turns(rows, tasks, rounds):
    running = [(r, t) for r, t in zip(rows, tasks, strict=True) if t is not None]
    for row, task in running:
        task()
        row["seconds"] = row["seconds_first"] = math.inf
    for _ in range(rounds):
        for row, task in running:
            times = [seconds_of(task) for _ in range(CALLS)]
            row["seconds"] = min(row["seconds"], *times)
            row["seconds_first"] = min(row["seconds_first"], times[0])


def _read(x):
    options = {"backend": "cpu", "n_threads": 1, "strict": True}
    return Configured(lambda: _dispatch.find_nonfinite(x.reshape(1, -1)), options)


def _gguf(x, kind):
    try:
        from gguf import GGMLQuantizationType
        from gguf.quants import quantize
    except ImportError:
        return None
    kind = GGMLQuantizationType[kind]
    return lambda: quantize(x, kind)


def add_ratios(rows):
    """Put the ratios to the baselines of the same size into the rows.

    ``vs_numpy``, ``vs_gguf_tq2_0``: how many times faster. ``vs_copy``: how many
    times as long as copying the input; ``copy_bandwidth`` is its inverse, the
    input read per second as a fraction of what a copy reads. ``reading``: how much of
    the time reading the input on one thread takes alone. ``vs_full`` and
    ``vs_fill``, for unpacking: the fraction of the speed of writing as much, to
    new memory and to memory in use.
    """
    for row in rows:
        base = {
            other["operation"]: other["seconds"]
            for other in rows
            if other["size"] == row["size"] and other["operation"] in BASELINES
        }
        seconds = row["seconds"]
        if seconds is None or row["operation"] in BASELINES:
            continue
        if row["operation"] == "quantize absmean":
            # The baselines sort nothing: they are no measure of ``mse``.
            row["vs_numpy"] = base["numpy"] / seconds
            if base.get("gguf TQ2_0"):
                row["vs_gguf_tq2_0"] = base["gguf TQ2_0"] / seconds
        if row["operation"].startswith("quantize"):
            row["vs_copy"] = seconds / base["copy"]
            row["copy_bandwidth"] = base["copy"] / seconds
            if base.get("read"):
                row["reading"] = base["read"] / seconds
        if row["operation"] == "unpack":
            row["vs_full"] = base["full"] / seconds
            row["vs_fill"] = base["fill"] / seconds
    _add_mse_ratio(rows)


def _add_mse_ratio(rows):
    """``vs_absmean``: how many times as long ``mse`` takes, all else equal."""

    def key(row):
        return row["size"], row["isa"], row["n_threads"]

    absmean = {key(r): r["seconds"] for r in rows if r["operation"].endswith("absmean")}
    for row in rows:
        if row["operation"] == "quantize mse" and row["seconds"]:
            row["vs_absmean"] = row["seconds"] / absmean[key(row)]


def report(results):
    """Return the lines that say what was found."""
    machine = results["machine"]
    lines = [
        f"{machine['cpu']}, {machine['n_cpus']} CPUs, {machine['system']}, "
        f"{machine['date']}",
        ", ".join(f"{name} {v}" for name, v in machine["versions"].items()),
        f"shortest of {results['rounds']} rounds ({results['rounds_large']} of 100 Mi "
        f"values), in turns of {results['calls']} calls; first: shortest first call",
        "",
        f"{'operation':<17} {'ISA':<8} {'threads':>7} {'values':>12} {'ms':>9} "
        f"{'first ms':>9}  ratios",
    ]
    for row in results["results"]:
        times = [
            "n/a" if seconds is None else f"{seconds * 1e3:.3f}"
            for seconds in (row["seconds"], row["seconds_first"])
        ]
        lines.append(
            f"{row['operation']:<17} {row['isa'] or '':<8} {row['n_threads']:>7} "
            f"{row['size']:>12,} {times[0]:>9} {times[1]:>9}  {_ratios(row)}".rstrip()
        )
    lines += ["", "x is float32. Baselines:"]
    lines += [f"  {name:<11} {text}" for name, text in results["baselines"].items()]
    lines += ["Ours:"]
    lines += [f"  {name:<17} {text}" for name, text in results["ours"].items()]
    return lines


def _ratios(row):
    parts = []
    for key, text in (
        ("vs_numpy", "{:.1f}x numpy"),
        ("vs_gguf_tq2_0", "{:.1f}x gguf TQ2_0"),
        ("vs_copy", "{:.2f} times the copy"),
        ("copy_bandwidth", "{:.0%} of copy bandwidth"),
        ("reading", "{:.0%} of it reading"),
        ("vs_absmean", "{:.1f} times absmean"),
        ("vs_full", "{:.0%} of full"),
        ("vs_fill", "{:.0%} of fill"),
    ):
        if key in row:
            parts.append(text.format(row[key]))
    return ", ".join(parts) or (row["note"] or "")


def main():
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", help="JSON file to write")
    parser.add_argument("--large", action="store_true", help="also 100 Mi values")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    isas = available_isas()
    if not isas:
        parser.error("the compiled kernels are missing")
    if any(n < 1 for n in [arguments.rounds, *arguments.threads]):
        parser.error("--rounds and --threads must be positive")
    rounds_large = max(2, arguments.rounds // 8)
    rows = measure(2**20, arguments.rounds, isas, arguments.threads)
    if arguments.large:
        # gguf-py would need many times the memory of its input.
        best = isas[:1]
        rows += measure(100 * 2**20, rounds_large, best, arguments.threads, gguf=False)
    add_ratios(rows)
    results = {
        "format": "sklearn-ternary peers quantize 1",
        "machine": describe_machine(),
        "rounds": arguments.rounds,
        "rounds_large": rounds_large,
        "calls": CALLS,
        "baselines": BASELINES,
        "ours": OURS,
        "results": rows,
    }
    print("\n".join(report(results)))
    if arguments.output:
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
