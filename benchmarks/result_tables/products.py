"""Products with packed matrices, and compressed estimators."""

from result_tables._parts import Table, conditions, count, duration, results


def products():
    """Products with packed matrices beside NumPy and llama.cpp."""
    data = results("matmul")
    best = next(row["isa"] for row in data["results"] if row["isa"])
    names = {
        "int8 t2": "int8",
        "int8 t5": "int8, weights in 1.6 bits",
        "float t2": "float32",
    }
    rivals = ("numpy", "ggml TQ2_0", "ggml TQ1_0", "ggml Q4_K")
    rows = [
        (
            "×".join(map(str, row["shape"])),
            str(row["n"]),
            row["where"],
            names[row["name"]],
            duration(row["seconds"]),
            *(f"{row['speedup'][rival]:.2g}×" for rival in rivals),
            f"{100 * row['of_peak']:.0f}%",
        )
        for row in data["results"]
        if row["name"] in names and row["isa"] == best and row["n_threads"] == 1
        # As products choose, see sklearn_ternary/_cpu/products.py.
        if row["name"] != "int8 t5" or row["where"] == "memory" or _is_large(row)
    ]
    header = (
        "weights",
        "rows of X",
        "from",
        "activations",
        "time",
        "sgemm takes",
        "TQ2_0 takes",
        "TQ1_0 takes",
        "Q4_K takes",
        "of peak",
    )
    limits = data["limits"]
    caption = conditions(
        data,
        f"One thread, kernels {best}, weights in 2 bits; `X @ A.T`, the rounding of "
        "activations included; the shortest of several rounds, in turns, in one "
        "process. “Memory” rotates through 256 MiB of matrices. TQ2_0, TQ1_0 and "
        "Q4_K are those of llama.cpp (`ggml_mul_mat`). Peak: "
        f"{limits[f'int8_peak {best}'] / 1e9:.0f} GOP/s of int8 and "
        f"{limits[f'float_peak {best}'] / 1e9:.0f} GFLOP/s of float32 in vectors "
        f"({_tile_peak(limits, best)}), measured in the same run, as the "
        f"{limits['memory 1'] / 1e9:.0f} GB/s that one thread reads from memory. "
        f"{_memory_limit(data)} {_float_limit(data, best)}",
    )
    return Table(header, rows, caption, words=(0, 2, 3))


def _is_large(row):
    return row["n"] == 1 and row["shape"][0] * row["shape"][1] > 2**23


def _tile_peak(limits, isa):
    tiles = limits[f"int8_tile_peak {isa}"]
    if tiles < 2 * limits[f"int8_peak {isa}"]:
        return "there is no tile unit"
    return f"{tiles / 1e9:.0f} GOP/s of int8 in the tile unit, from 8 rows on"


def _memory_limit(data):
    """How far the rate of the memory lets a product be ahead of TQ1_0."""
    rate = data["limits"]["memory 1"]
    rows = _tq1_0(data, "memory")
    if not rows:
        return ""
    found = [
        f"{row['seconds'] * rate / (row['shape'][0] * row['shape'][1] * bits / 8):.2g}×"
        for row in rows
        for bits in (2, 1.6)
    ]
    return (
        "At that rate, and with no time for anything else, weights in 2 and in 1.6 "
        f"bits could be {' and '.join(found[:2])} as fast as TQ1_0 from memory, whose "
        "1.6875 bits a weight are no fewer bytes to bring: a single vector cannot be "
        f"ahead of it by as much as many are.{_memory_limit_of_two(data)}"
    )


def _memory_limit_of_two(data):
    """The same of two threads, and what is measured."""
    rate = data["limits"].get("memory 2")
    rivals = {tuple(row["shape"]): row for row in _tq1_0(data, "memory", 2)}
    ours = _of_one_vector(data, "int8 t5", "memory", 2)
    if not (rate and rivals and ours):
        return ""
    could = [
        rivals[m, k]["seconds"] * rate / (m * k * 1.6 / 8)
        for m, k in (row["shape"] for row in ours)
    ]
    found = [row["speedup"]["ggml TQ1_0"] for row in ours]
    return (
        " Two threads, which double what TQ1_0 decodes and bring "
        f"{rate / data['limits']['memory 1']:.2g} times the bytes, could in 1.6 bits "
        f"be {_listed(could)} as fast as it, and are {_listed(found)}."
    )


def _listed(ratios):
    return " and ".join(f"{ratio:.2g}×" for ratio in ratios)


def _float_limit(data, isa):
    """The same of their multiply-adds for activations of float32."""
    rate = data["limits"][f"float_peak {isa}"]
    found = [
        row["seconds"] * rate / (2 * row["shape"][0] * row["shape"][1])
        for row in _tq1_0(data, "cache")
    ]
    if not found:
        return ""
    return (
        "Products with float32 have to multiply floats: all at their peak, one vector "
        f"from the caches could be {max(found):.2g}× as fast as TQ1_0, which rounds "
        "it to 8 bits."
    )


def _tq1_0(data, where, n_threads=1):
    """What TQ1_0 takes for one vector."""
    return _of_one_vector(data, "ggml TQ1_0", where, n_threads, None)


def _of_one_vector(data, name, where, n_threads, isa="avx512"):
    return [
        row
        for row in data["results"]
        if row["name"] == name and row["where"] == where
        if row["n"] == 1 and row["n_threads"] == n_threads and row["isa"] == isa
    ]


def compression():
    """What compressing costs: scores before, and changes after."""
    data = results("compression")
    names = list(dict.fromkeys(row["data"] for row in data["results"]))
    cells = {(row["model"], row["data"]): row for row in data["results"]}
    rows = []
    for model in dict.fromkeys(row["model"] for row in data["results"]):
        found = [cells[model, name] for name in names]
        measure = "accuracy" if found[0]["classifier"] else "R²"
        rows.append((model, measure, *(_change(row) for row in found)))
    caption = conditions(
        data,
        f"Means over {data['n_splits']} random splits, 70 % to train and to calibrate. "
        "Each cell: score of the float model on the other 30 %, change by rounding "
        "alone, change with calibration. Regressors predict the number of the class "
        "where there are classes; classifiers on diabetes tell the upper half.",
    )
    return Table(("model", "score", *names), rows, caption, words=(0, 1))


def one_sample():
    """Predictions of compressed linear models for one sample at a time."""
    data = results("compressed")
    rows = [
        (
            f"{row['n_features']:,}",
            str(row["n_classes"]),
            row["sample"],
            duration(row["seconds"]["scikit-learn"]),
            duration(row["seconds"]["compressed"]),
            f"{row['speedup']:.2g}×",
        )
        for row in data["results"]
    ]
    header = (
        "features",
        "classes",
        "sample",
        "scikit-learn",
        "compressed",
        "times as fast",
    )
    caption = conditions(
        data,
        "`predict` of a `LogisticRegression` with weights of float64 and of the "
        f"compressed one, {count(data['n_threads'], 'thread')}; the shortest of "
        "several rounds, in turns, in one process.",
    )
    return Table(header, rows, caption, words=(2,))


def _change(row):
    changes = (row[key] - row["float"] for key in ("rounded", "calibrated"))
    return " / ".join([f"{row['float']:.3f}", *(f"{c:+.3f}" for c in changes)])
