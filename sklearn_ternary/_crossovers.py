"""Crossovers: from which size on a backend, or more than one thread, pays.

Shipped defaults, and the file in the user's cache folder that replaces them on
the machine where `calibrate` wrote it.
"""

import math
import platform
import warnings
from dataclasses import asdict, dataclass
from hashlib import sha256

import numpy as np

from sklearn_ternary import __version__
from sklearn_ternary._cache import cache_folder, check, read_json, write_json

MAX_SIZE = 2**62  # larger sizes in a file are an error, "never" is null
FORMAT = "sklearn-ternary calibration 1"

_FLOATS = ("float32", "float64")
# The operations of `_dispatch`, and the dtypes that each is told apart by.
OPERATIONS = {
    "absmean_pack": _FLOATS,
    "group_scale": _FLOATS,
    "column_abs_sum": _FLOATS,
    "column_abs_max": _FLOATS,
    "columns": _FLOATS,
    "quantize_codes": _FLOATS,
    "quantize_pack": _FLOATS,
    "quantize_values": _FLOATS,
    "code_values": _FLOATS,
    "pack": ("int8",),
    "unpack": ("uint8",),
    "unpack_values": _FLOATS,
    "count_codes": ("uint8",),
    "code_sums": ("uint8",),
    "encode_codes": ("int8",),
    "decode_codes": ("uint8",),
    "find_invalid": ("uint8",),
    "find_nonfinite": _FLOATS,
    "affine_codes": _FLOATS,
    "affine_values": _FLOATS,
    "multiply_float": _FLOATS,
    "multiply_int8": ("float32",),
    "row_tiles": _FLOATS,
    "row_codes": _FLOATS,
    "nearest_centers": _FLOATS,
    "update_labels": _FLOATS,
    "iterate": _FLOATS,
    "label_distances": _FLOATS,
    "move_rows": _FLOATS,
    "potentials": _FLOATS,
    "cheapest": _FLOATS,
    "follow_paths": _FLOATS,
    "nearest_centers_csr": _FLOATS,
    "label_distances_csr": _FLOATS,
    "move_rows_csr": _FLOATS,
}


@dataclass(frozen=True)
class Crossover:
    """From how many values on something pays; infinity means never.

    Parameters
    ----------
    min_size_cpu : int or inf
        The ``cpu`` backend, over ``numpy``.
    min_size_threads : int or inf
        All threads, over one.
    """

    min_size_cpu: float
    min_size_threads: float


DEFAULT_CROSSOVER = Crossover(min_size_cpu=0, min_size_threads=131_072)

# "table": {(operation, dtype.char): Crossover}, once it was looked for.
_loaded = {}


def find_crossover(operation, dtype):
    """The `Crossover` of an operation: the user's calibration or the default."""
    table = _loaded.get("table")
    if table is None:
        table = _load_table()
    return table.get((operation, dtype.char), DEFAULT_CROSSOVER)


def cpu_model():
    """Name of the processor's model."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def default_path():
    """Where the calibration of this machine and version is looked for."""
    model = sha256(cpu_model().encode()).hexdigest()[:12]
    return cache_folder() / f"calibration-{__version__}-{model}.json"


def crossover_rows(crossovers):
    """JSON-able rows of ``{(operation, dtype name): Crossover}``."""
    return [
        {
            "operation": operation,
            "dtype": dtype,
            **{k: None if v == math.inf else v for k, v in asdict(crossover).items()},
        }
        for (operation, dtype), crossover in crossovers.items()
    ]


def write_crossovers(crossovers, path):
    """Write a file that `read_crossovers` reads, atomically."""
    content = {
        "format": FORMAT,
        "cpu": cpu_model(),
        "version": __version__,
        "crossovers": crossover_rows(crossovers),
    }
    write_json(content, path)


def forget():
    """Have the user's file looked for anew."""
    _loaded.clear()


def _load_table():
    """Read the user's file, if there is one, and make it the table in use."""
    table, problem = {}, None
    try:
        path = folder = cache_folder()
        if folder.is_dir():
            path = default_path()
            table = read_crossovers(path)
    except FileNotFoundError:
        pass  # nothing saved
    except RuntimeError:
        pass  # no home, so nothing saved
    except (OSError, ValueError) as error:
        problem = f"the calibration {path} is ignored ({error}); {_REMEDY}"
    in_use = _loaded.setdefault("table", table)
    # Of the threads that come here together one warns.
    if problem and in_use is table:
        warnings.warn(problem, RuntimeWarning, stacklevel=4)
    return in_use


_REMEDY = "remove it, or write a new one with calibrate(save=True)"
_TOP_KEYS = {"format", "cpu", "version", "crossovers"}
_ROW_KEYS = {"operation", "dtype", "min_size_cpu", "min_size_threads"}


def read_crossovers(path):
    """Read a file of `calibrate` as ``{(operation, dtype.char): Crossover}``.

    Raises
    ------
    FileNotFoundError, OSError
        If it cannot be read.
    ValueError
        If it is not a file of this machine and version, or malformed. The file
        is not trusted: at most 64 KiB are read, and every value is checked.
    """
    content = read_json(path)
    check(isinstance(content, dict) and content.keys() == _TOP_KEYS, "keys")
    check(content["format"] == FORMAT, "format")
    for key, here in (("cpu", cpu_model()), ("version", __version__)):
        if content[key] != here:
            raise ValueError(f"{key} is {content[key]!r:.100}, not {here!r}")
    check(isinstance(content["crossovers"], list), "crossovers")
    table = {}
    for row in content["crossovers"]:
        check(isinstance(row, dict) and row.keys() == _ROW_KEYS, "crossovers: keys")
        operation = row["operation"]
        check(isinstance(operation, str) and operation in OPERATIONS, "operation")
        check(row["dtype"] in OPERATIONS[operation], "dtype")
        key = (operation, np.dtype(row["dtype"]).char)
        check(key not in table, "crossovers: duplicate")
        table[key] = Crossover(
            _size(row, "min_size_cpu"), _size(row, "min_size_threads")
        )
    return table


def _size(row, key):
    size = row[key]
    if size is None:
        return math.inf
    check(type(size) is int and 0 <= size <= MAX_SIZE, key)
    return size
