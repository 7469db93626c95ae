"""Crossovers: from which size on a backend, or more than one thread, pays.

Shipped defaults, what `calibrate` measures in their place, and the file in the
user's cache folder that keeps it.
"""

import json
import math
import os
import platform
import stat
import warnings
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np

from sklearn_ternary import __version__
from sklearn_ternary._config import choose_isa, current_config

MAX_FILE_BYTES = 64 * 1024
MAX_SIZE = 2**62  # larger sizes in a file are an error, "never" is null
FORMAT = "sklearn-ternary calibration 1"
DEFAULT_SIZES = tuple(4**k for k in range(4, 11))  # 256 to 1 Mi values
THREAD_GAIN = 1.1  # threads are used where they save at least a tenth

_N_COLUMNS = 256
_FLOATS = ("float32", "float64")


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


@dataclass(frozen=True)
class Timing:
    """Best of a few runs of one operation at one size, in seconds; None: not run."""

    operation: str
    dtype: str
    size: int
    numpy: float | None
    cpu: float
    threads: float | None


@dataclass(frozen=True)
class Calibration:
    """What :func:`calibrate` returns. Prints as a table.

    Parameters
    ----------
    cpu : str
        Model of the processor.
    version : str
        Version of this package.
    isa : str
        Instruction set that was measured.
    n_threads : int
        Threads of the column "threads".
    timings : tuple of Timing
    crossovers : dict of (operation, dtype name) to Crossover
    path : pathlib.Path or None
        Where it was saved.
    """

    cpu: str
    version: str
    isa: str
    n_threads: int
    timings: tuple
    crossovers: dict
    path: Path | None = None

    def to_dict(self):
        """Return JSON-able dictionaries; None stands for "never"."""
        return {
            "cpu": self.cpu,
            "version": self.version,
            "isa": self.isa,
            "n_threads": self.n_threads,
            "timings": [asdict(timing) for timing in self.timings],
            "crossovers": _crossover_rows(self.crossovers),
            "path": None if self.path is None else str(self.path),
        }

    def __str__(self):
        lines = [
            f"{self.cpu}, {self.isa}, {self.n_threads} threads",
            f"{'operation':<16} {'dtype':<8} {'cpu from':>10} {'threads from':>12}",
        ]
        lines += [
            f"{row['operation']:<16} {row['dtype']:<8} "
            f"{_size_text(row['min_size_cpu']):>10} "
            f"{_size_text(row['min_size_threads']):>12}"
            for row in _crossover_rows(self.crossovers)
        ]
        return "\n".join(lines)


def calibrate(*, operations=None, sizes=None, save=False, path=None, verbose=False):
    """Measure from which size on the compiled kernels and their threads pay.

    Times every operation with NumPy, with the kernels on one thread, and on as
    many as the configuration allows. A few seconds by default, on an otherwise
    idle machine. NumPy is not timed beyond a size where it took four times as
    long as the kernels.

    Parameters
    ----------
    operations : list of str, default=None
        Names of operations, as :func:`dispatch_report` shows them; None is all.
    sizes : list of int, default=None
        Numbers of values, multiples of 256; None is 256 to 1,048,576.
    save : bool, default=False
        Keep the crossovers in the user's cache folder, from where this and
        later processes on this model of processor and with this version of the
        package use them. Without it nothing changes. Removing the file undoes it.
    path : str or path-like, default=None
        With ``save=True``: write there instead. Only the file in the cache
        folder is looked for; this one is to keep or to copy.
    verbose : bool, default=False
        Print a line for every operation.

    Returns
    -------
    calibration : Calibration
        Has ``crossovers``, ``timings`` and ``to_dict()``, and prints as a table.

    Raises
    ------
    ImportError
        If the compiled kernels are missing.
    OSError
        If the file cannot be written.
    ValueError
        If an argument is not allowed, or `path` is given without ``save=True``.

    Notes
    -----
    The file is JSON below ``$XDG_CACHE_HOME/sklearn_ternary`` (``~/.cache``
    where that is not set), readable by its owner only. Operations that were not
    calibrated keep the defaults. A file that is malformed or of another machine
    or version is ignored with a warning.

    Examples
    --------
    >>> from sklearn_ternary import calibrate
    >>> calibration = calibrate(operations=["pack"], sizes=[256, 4096])
    >>> calibration.crossovers["pack", "int8"]
    Crossover(min_size_cpu=..., min_size_threads=...)
    """
    if path is not None and not save:
        raise ValueError(f"path={os.fspath(path)!r} has no meaning without save=True")
    operations = _check_operations(operations)
    sizes = _check_sizes(sizes)
    calibration = _measure(operations, sizes, verbose)
    if not save:
        return calibration
    target = default_path() if path is None else Path(path)
    _write(calibration, target)
    if path is None:
        _loaded.clear()  # to be read from the file
    return Calibration(**{**vars(calibration), "path": target})


def _check_operations(operations):
    if operations is None:
        return tuple(_OPERATIONS)
    operations = tuple(operations)
    for operation in operations:
        if operation not in _OPERATIONS:
            raise ValueError(
                f"operations has {operation!r}; choose from {list(_OPERATIONS)}"
            )
    return operations


def _check_sizes(sizes):
    if sizes is None:
        return DEFAULT_SIZES
    sizes = tuple(sizes)
    for size in sizes:
        if not isinstance(size, int) or size < _N_COLUMNS or size % _N_COLUMNS:
            raise ValueError(
                f"sizes has {size!r}; use positive multiples of {_N_COLUMNS}"
            )
    if not sizes:
        raise ValueError("sizes is empty; give at least one number of values")
    return tuple(sorted(set(sizes)))


# Measuring


@dataclass(frozen=True)
class _Operation:
    """The dtypes to measure, and the arguments made from a `_data`."""

    dtypes: tuple
    arguments: object


_OPERATIONS = {
    "group_scale": _Operation(_FLOATS, lambda d: (d.X, _N_COLUMNS, "absmean", 3)),
    "column_abs_sum": _Operation(_FLOATS, lambda d: (d.X, d.sums)),
    "column_abs_max": _Operation(_FLOATS, lambda d: (d.X, d.largest)),
    "quantize_codes": _Operation(_FLOATS, lambda d: (d.X, d.half, _N_COLUMNS, 3)),
    "quantize_pack": _Operation(_FLOATS, lambda d: (d.X, d.half, _N_COLUMNS, 3, "t5")),
    "quantize_values": _Operation(
        _FLOATS, lambda d: (d.X, d.half, d.scale, _N_COLUMNS, 3)
    ),
    "code_values": _Operation(_FLOATS, lambda d: (d.codes, d.scale, _N_COLUMNS, 3)),
    "pack": _Operation(("int8",), lambda d: (d.codes, "t5")),
    "unpack": _Operation(("uint8",), lambda d: (d.packed, _N_COLUMNS, "t5")),
    "unpack_values": _Operation(
        _FLOATS, lambda d: (d.packed, _N_COLUMNS, "t5", d.scale, _N_COLUMNS)
    ),
    "count_codes": _Operation(("uint8",), lambda d: (d.packed, _N_COLUMNS, "t5")),
    "find_invalid": _Operation(("uint8",), lambda d: (d.bytes, "t5")),
    "find_nonfinite": _Operation(_FLOATS, lambda d: (d.X,)),
    "affine_codes": _Operation(
        _FLOATS, lambda d: (d.X, d.scale, d.zero, _N_COLUMNS, -127, 127)
    ),
    "affine_values": _Operation(
        _FLOATS, lambda d: (d.codes, d.scale, d.zero, _N_COLUMNS)
    ),
}


def _data(dtype, size):
    """Inputs of `size` values; parameters are float64 where `dtype` is an integer."""
    floating = dtype if dtype in _FLOATS else "float64"
    n_rows = size // _N_COLUMNS
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, _N_COLUMNS)).astype(floating)
    return SimpleNamespace(
        X=X,
        half=np.full((n_rows, 1), 0.5, dtype=floating),
        scale=np.ones((n_rows, 1), dtype=floating),
        zero=np.zeros((n_rows, 1), dtype=floating),
        sums=np.zeros(_N_COLUMNS),
        largest=np.zeros(_N_COLUMNS, dtype=floating),
        codes=rng.integers(-1, 2, X.shape, dtype=np.int8),
        packed=rng.integers(0, 243, (n_rows, -(-_N_COLUMNS // 5)), dtype=np.uint8),
        bytes=rng.integers(0, 243, X.shape, dtype=np.uint8),
    )


def _measure(operations, sizes, verbose):
    from sklearn_ternary import _cpu, _reference
    from sklearn_ternary._kernels._cpu_features import supported_isas
    from sklearn_ternary._kernels._openmp import effective_n_threads

    config = current_config()
    isa = choose_isa(config.isa, supported_isas())
    n_threads = effective_n_threads(config.n_threads)
    timings, crossovers = [], {}
    for name in operations:
        definition, kernel = getattr(_reference, name), getattr(_cpu, name)
        for dtype in _OPERATIONS[name].dtypes:
            rows = []
            for size in sizes:
                args = _OPERATIONS[name].arguments(_data(dtype, size))
                one = _seconds(kernel, args, n_threads=1, isa=isa)
                threads = None
                if n_threads > 1:
                    threads = _seconds(kernel, args, n_threads=n_threads, isa=isa)
                by_numpy = None
                if not rows or _is_close(rows[-1]):
                    by_numpy = _seconds(definition, args)
                rows.append(Timing(name, dtype, size, by_numpy, one, threads))
            timings += rows
            crossovers[name, dtype] = derive_crossover(rows)
            if verbose:
                print(f"{name} {dtype}: {crossovers[name, dtype]}")
    return Calibration(
        cpu_model(), __version__, isa, n_threads, tuple(timings), crossovers
    )


def _is_close(timing):
    """Whether NumPy may still win at the next size."""
    return timing.numpy is not None and timing.numpy < 4 * timing.cpu


def _seconds(function, args, **options):
    """Best of 3 to 20 runs, about 2 ms of them."""
    best, total, n_runs = math.inf, 0.0, 0
    while n_runs < 3 or (n_runs < 20 and total < 2e-3):
        start = perf_counter()
        function(*args, **options)
        elapsed = perf_counter() - start
        best = min(best, elapsed)
        total += elapsed
        n_runs += 1
    return best


def derive_crossover(timings):
    """The `Crossover` that timings of one operation, by rising size, lead to."""
    sizes = [t.size for t in timings]
    cpu = _best_threshold(
        sizes, [math.inf if t.numpy is None else t.numpy / t.cpu for t in timings]
    )
    if any(t.threads is None for t in timings):
        # One thread was allowed here; another process may have more.
        return Crossover(cpu, DEFAULT_CROSSOVER.min_size_threads)
    threads = _best_threshold(sizes, [t.cpu / t.threads / THREAD_GAIN for t in timings])
    return Crossover(cpu, threads)


def _best_threshold(sizes, gains):
    """Size from which on to use something, given its gain at each: 0, a size or inf.

    The one that loses least over all sizes, in factors of time. A factor
    counts as 2 at most, so that one disturbed timing does not decide.
    """
    logs = [math.log2(min(max(gain, 0.5), 2)) for gain in gains]
    missed = [sum(max(x, 0) for x in logs[:i]) for i in range(len(logs) + 1)]
    wasted = [sum(max(-x, 0) for x in logs[i:]) for i in range(len(logs) + 1)]
    losses = [m + w for m, w in zip(missed, wasted, strict=True)]
    return [0, *sizes[1:], math.inf][losses.index(min(losses))]


# The file


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


def _folder():
    """The cache folder. Raises RuntimeError if the user has no home."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    root = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return root / "sklearn_ternary"


def default_path():
    """Where the calibration of this machine and version is looked for."""
    model = sha256(cpu_model().encode()).hexdigest()[:12]
    return _folder() / f"calibration-{__version__}-{model}.json"


def _size_text(size):
    return "never" if size is None else f"{size:,}"


def _crossover_rows(crossovers):
    return [
        {
            "operation": operation,
            "dtype": dtype,
            **{k: None if v == math.inf else v for k, v in asdict(crossover).items()},
        }
        for (operation, dtype), crossover in crossovers.items()
    ]


def _write(calibration, path):
    from sklearn_ternary.persistence._atomic import atomic_file

    content = {
        "format": FORMAT,
        "cpu": calibration.cpu,
        "version": calibration.version,
        "crossovers": _crossover_rows(calibration.crossovers),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_file(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(content, indent=1).encode())


def _load_table():
    """Read the user's file, if there is one, and make it the table in use."""
    table, problem = {}, None
    try:
        path = folder = _folder()
        if folder.is_dir():
            path = default_path()
            table = read_calibration(path)
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


def read_calibration(path):
    """Read a file of `calibrate` as ``{(operation, dtype.char): Crossover}``.

    Raises
    ------
    FileNotFoundError, OSError
        If it cannot be read.
    ValueError
        If it is not a file of this machine and version, or malformed. The file
        is not trusted: at most 64 KiB are read, and every value is checked.
    """
    content = _parse(_read_bytes(path))
    _check(isinstance(content, dict) and content.keys() == _TOP_KEYS, "keys")
    _check(content["format"] == FORMAT, "format")
    for key, here in (("cpu", cpu_model()), ("version", __version__)):
        if content[key] != here:
            raise ValueError(f"{key} is {content[key]!r:.100}, not {here!r}")
    _check(isinstance(content["crossovers"], list), "crossovers")
    table = {}
    for row in content["crossovers"]:
        _check(isinstance(row, dict) and row.keys() == _ROW_KEYS, "crossovers: keys")
        operation = row["operation"]
        _check(isinstance(operation, str) and operation in _OPERATIONS, "operation")
        _check(row["dtype"] in _OPERATIONS[operation].dtypes, "dtype")
        key = (operation, np.dtype(row["dtype"]).char)
        _check(key not in table, "crossovers: duplicate")
        table[key] = Crossover(
            _size(row, "min_size_cpu"), _size(row, "min_size_threads")
        )
    return table


def _check(condition, field):
    if not condition:
        raise ValueError(f"malformed: {field}")


def _size(row, key):
    size = row[key]
    if size is None:
        return math.inf
    _check(type(size) is int and 0 <= size <= MAX_SIZE, key)
    return size


def _read_bytes(path):
    # A FIFO in its place must not block.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        _check(stat.S_ISREG(os.fstat(fd).st_mode), "not a regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    _check(len(data) <= MAX_FILE_BYTES, f"more than {MAX_FILE_BYTES} bytes")
    return data


def _parse(data):
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=lambda name: _check(False, name),
        )
    except RecursionError:
        raise ValueError("malformed: nested too deeply") from None


def _unique(pairs):
    row = dict(pairs)
    _check(len(row) == len(pairs), "duplicate key")
    return row
