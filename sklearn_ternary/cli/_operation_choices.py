"""Where each operation would run, for ``doctor --operations``."""

from sklearn_ternary import _dispatch
from sklearn_ternary._crossovers import OPERATIONS
from sklearn_ternary.cli._console import table

SIZES = (1_000, 100_000, 10_000_000)


def operation_choices():
    """One row an operation and dtype: the backend for some numbers of values.

    Nothing runs: these are the rules by which calls are handed out, with the
    configuration of the environment and the calibration of this machine, if any.
    """
    return [
        {
            "operation": operation,
            "dtype": dtype,
            "choices": {size: _choice(operation, size, dtype) for size in SIZES},
        }
        for operation, dtypes in OPERATIONS.items()
        for dtype in dtypes
    ]


def _choice(operation, size, dtype):
    choice = _dispatch.choose(operation, size, dtype)
    return {"backend": choice.backend, "n_threads": choice.n_threads, "isa": choice.isa}


def choices_table(rows):
    """The rows as a table, with dtypes where an operation differs between them."""
    lines = {}
    for row in rows:
        cells = tuple(map(_text, row["choices"].values()))
        lines.setdefault((row["operation"], cells), []).append(row["dtype"])
    shown = table("Number of values", ["operation", *(f"{n:,}" for n in SIZES)])
    for (operation, cells), dtypes in lines.items():
        all_of_them = len(dtypes) == len(OPERATIONS[operation])
        name = operation if all_of_them else f"{operation} ({', '.join(dtypes)})"
        shown.add_row(name, *cells)
    return shown


def _text(choice):
    # The instruction set is the same for all, and stands among the checks.
    if choice["n_threads"] is None:
        return choice["backend"]
    threads = choice["n_threads"]
    return f"{choice['backend']}, {threads} thread{'s' if threads > 1 else ''}"
