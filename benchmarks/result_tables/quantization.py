"""Quantizing, unpacking, and the layouts."""

from result_tables._parts import (
    NO_BREAK,
    Table,
    conditions,
    count,
    duration,
    results,
    share,
    times,
    values,
)


def layouts():
    """Every packed format, from the table in the package."""
    from sklearn_ternary._layouts import LAYOUTS

    header = ("layout", "levels", "bits a code", "against float32", "stored as")
    rows = [
        (
            f"`{row.name}`",
            str(row.n_levels),
            f"{row.bits:.3f}",
            f"{32 / row.bits:.2f}×",
            f"{count(row.unit_values, 'code')} in {count(row.unit_bytes, 'byte')}: "
            f"{row.description}",
        )
        for row in LAYOUTS.values()
    ]
    caption = "Codes alone; scales and padding come on top."
    return Table(header, rows, caption, words=(0, 4))


def quantize():
    """Quantizing beside NumPy, gguf-py and copying: the best instruction set."""
    data = results("quantize")
    best = next(row["isa"] for row in data["results"] if row["isa"])
    return _quantize_table(data, lambda row: row["isa"] in (None, best))


def quantize_all():
    """The same with every instruction set."""
    return _quantize_table(results("quantize"), lambda row: True)


def _quantize_table(data, wanted):
    header = (
        "",
        "kernels",
        "values",
        "threads",
        "time",
        "NumPy takes",
        "TQ2_0 takes",
        "copying takes",
        "reading takes",
    )
    rows = [
        (
            _QUANTIZE_ROWS[row["operation"]] + _against_absmean(row),
            row["isa"] or "",
            values(row["size"]),
            str(row["n_threads"]),
            duration(row["seconds"]),
            times(row, "vs_numpy"),
            times(row, "vs_gguf_tq2_0"),
            share(row, "copy_bandwidth"),
            share(row, "reading"),
        )
        for row in data["results"]
        if row["seconds"] is not None
        and row["operation"] in _QUANTIZE_ROWS
        and wanted(row)
    ]
    caption = conditions(
        data,
        "float32 values from a normal distribution, one scale; the shortest call of "
        f"{data['rounds']} rounds ({data['rounds_large']} for 100 Mi values), in "
        f"turns of {data['calls']} calls in one process, so that what fits is in the "
        "caches. “NumPy takes” and “TQ2_0 takes” are multiples of our "
        "time; the last columns are what copying the input takes, and only reading "
        "it on one thread, as shares of our time. "
        f"NumPy: `{data['baselines']['numpy']}`; "
        f"TQ2_0: `{data['baselines']['gguf TQ2_0']}`; "
        f"copy: `{data['baselines']['copy']}`; "
        f"read: {data['baselines']['read']}.",
    )
    return Table(header, rows, caption, words=(0, 1))


_QUANTIZE_ROWS = {
    "copy": "copy",
    "read": "read",
    "numpy": "NumPy, to int8",
    "gguf TQ2_0": "gguf-py TQ2_0",
    "quantize absmean": "`absmean`, to 2 bits",
    "quantize mse": "`mse`, to 2 bits",
}


def _against_absmean(row):
    if "vs_absmean" not in row:
        return ""
    return f", {times(row, 'vs_absmean')}{NO_BREAK}`absmean`"


def unpack():
    """Unpacking beside writing as much memory."""
    data = results("quantize")
    header = ("", "kernels", "values", "threads", "time", "of `full`", "of `fill`")
    names = {"full": "`full`", "fill": "`fill`", "unpack": "`toarray`, from 2 bits"}
    rows = [
        (
            names[row["operation"]],
            row["isa"] or "",
            values(row["size"]),
            str(row["n_threads"]),
            duration(row["seconds"]),
            share(row, "vs_full"),
            share(row, "vs_fill"),
        )
        for row in data["results"]
        if row["seconds"] is not None and row["operation"] in names
    ]
    caption = conditions(
        data,
        f"`full`: `{data['baselines']['full']}`, new memory, which `toarray` writes "
        f"too; `fill`: `{data['baselines']['fill']}`, memory in use. The last columns "
        "are speeds as a share of theirs.",
    )
    return Table(header, rows, caption, words=(0, 1))
