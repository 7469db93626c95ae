"""Reports of benchmarks: written as JSON, and two of them compared."""

import json
import os

from sklearn_ternary._show_versions import collect_versions
from sklearn_ternary.cli._console import console, seconds_text, table
from sklearn_ternary.persistence import atomic_file

MAX_REPORT_BYTES = 16 << 20


def write_report(path, report):
    """Write a report to a file, if there is a name; return it with versions."""
    report = report | collect_versions()
    if path is not None:
        with atomic_file(path) as file:
            file.write((json.dumps(report, indent=2) + "\n").encode())
    return report


def compared(before, after, schema, rows_of, keys):
    """Return rows that two reports have, and how many times as fast the second is.

    Parameters
    ----------
    before, after : str
        Paths.
    schema : str
        What both say they are.
    rows_of : callable
        Takes a report and returns its rows.
    keys : sequence of str
        What a row is known by.

    Returns
    -------
    rows : list of dict
        With ``"before"`` and ``"after"``, in seconds, and ``"speedup"``.

    Raises
    ------
    ValueError
        If a file is not such a report.
    """
    before, after = (_times(path, schema, rows_of, keys) for path in (before, after))
    return [
        dict(zip(keys, key, strict=True))
        | {"before": before[key], "after": after[key]}
        | {"speedup": before[key] / after[key] if after[key] > 0 else None}
        for key in before
        if key in after
    ]


def _times(path, schema, rows_of, keys):
    if os.path.getsize(path) > MAX_REPORT_BYTES:
        raise ValueError(f"{path} is too large for a report of a benchmark")
    with open(path, "rb") as file:
        data = file.read(MAX_REPORT_BYTES)
    try:
        report = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not a report of {schema}: it is no JSON") from None
    try:
        if report["schema"] != schema:
            raise ValueError(report["schema"])
        return {
            tuple(_hashable(row[key]) for key in keys): float(row["seconds"])
            for row in rows_of(report)
            if row["seconds"] is not None
        }
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a report of {schema} ({error!r})") from None


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def print_comparison(rows, columns, cells_of):
    """Print what `compared` returns, with the cells that name each row first."""
    lines = table("Before and after", [*columns, "before>", "after>", "speed-up>"])
    for row in rows:
        lines.add_row(
            *cells_of(row),
            seconds_text(row["before"]),
            seconds_text(row["after"]),
            "" if row["speedup"] is None else f"{row['speedup']:.2f}x",
        )
    console().print(lines)
