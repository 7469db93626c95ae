"""Backends beside each other, crossovers, devices."""

from gpu_sections.sizes import FULL, all_work
from result_tables._parts import RESULTS, Table, conditions, count, duration, results


def backends():
    """Time per operation, size and backend; float64 is in the JSON file."""
    data = results("backends")
    header = (
        "operation",
        "dtype",
        "values",
        "NumPy definition",
        "1 thread",
        count(data["n_threads"], "thread"),
    )
    rows = [
        (
            f"`{row['operation']}`",
            row["dtype"],
            f"{row['size']:,}",
            duration(row["numpy"]),
            duration(row["cpu"]),
            duration(row["threads"]),
        )
        for row in data["timings"]
        if row["dtype"] != "float64"
    ]
    caption = conditions(data, f"Kernels: {data['isa']}.")
    return Table(header, rows, caption, words=(0, 1))


def crossovers():
    """From which size on a backend pays."""
    data = results("backends")
    header = ("operation", "dtype", "kernels from", "threads from")
    rows = [
        (
            f"`{row['operation']}`",
            row["dtype"],
            _from(row["min_size_cpu"]),
            _from(row["min_size_threads"]),
        )
        for row in data["crossovers"]
    ]
    caption = conditions(data, f"Kernels: {data['isa']}.")
    return Table(header, rows, caption, words=(0, 1))


def _from(size):
    if size is None:
        return "never"
    return f"{size:,}" if size else "always"


def _ratios(row):
    return [(name, ratio) for name, ratio in row["vs"].items() if ratio]


def gpu():
    """Work on a device; "not measured" until benchmarks/gpu.py has run on one."""
    header = ("work", "time", "spread", "of the limit", "others take")
    if not (RESULTS / "gpu.json").exists():
        rows = [(work, *["not measured"] * 4) for work in all_work(FULL)]
        caption = "No device has run `benchmarks/gpu.py` yet."
        return Table(header, rows, caption, words=(0, 4))
    data = results("gpu")
    rows = [
        (
            row["work"],
            duration(row["seconds"]),
            f"{row['spread']:.0%}",
            f"{row['of_limit']:.0%}" if row["of_limit"] else "",
            ", ".join(f"{name} {ratio:.2g}×" for name, ratio in _ratios(row)),
        )
        for row in data["results"]
    ]
    caption = conditions(
        data,
        f"{data['device']['name']}, CuPy {data['device']['cupy']}; medians by events "
        "of the device, and the spread from the 10th to the 90th percentile; limits: "
        "copying memory and multiplying matrices, measured in the same run.",
    )
    return Table(header, rows, caption, words=(0, 4))
