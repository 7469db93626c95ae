"""calibrate: measure the crossovers of this machine."""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np

from sklearn_ternary import __version__, _crossovers
from sklearn_ternary._config import choose_isa, current_config
from sklearn_ternary._crossovers import (
    DEFAULT_CROSSOVER,
    OPERATIONS,
    Crossover,
    cpu_model,
    crossover_rows,
    default_path,
    write_crossovers,
)
from sklearn_ternary._reference.products import StoredMatrix

DEFAULT_SIZES = tuple(4**k for k in range(4, 11))  # 256 to 1 Mi values
THREAD_GAIN = 1.1  # threads are used where they save at least a tenth

_N_COLUMNS = 256


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
            "crossovers": crossover_rows(self.crossovers),
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
            for row in crossover_rows(self.crossovers)
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
    write_crossovers(calibration.crossovers, target)
    if path is None:
        _crossovers.forget()  # to be read from the file
    return Calibration(**{**vars(calibration), "path": target})


def _check_operations(operations):
    if operations is None:
        return tuple(OPERATIONS)
    operations = tuple(operations)
    for operation in operations:
        if operation not in OPERATIONS:
            raise ValueError(
                f"operations has {operation!r}; choose from {list(OPERATIONS)}"
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


# The arguments of each operation, made from a `_data`.
_ARGUMENTS = {
    "absmean_pack": lambda d: (d.X, 3, "t5"),
    "group_scale": lambda d: (d.X, _N_COLUMNS, "absmean", 3),
    "column_abs_sum": lambda d: (d.X, d.sums),
    "column_abs_max": lambda d: (d.X, d.largest),
    "columns": lambda d: (d.X, 0, _N_COLUMNS),
    "quantize_codes": lambda d: (d.X, d.half, _N_COLUMNS, 3),
    "quantize_pack": lambda d: (d.X, d.half, _N_COLUMNS, 3, "t5"),
    "quantize_values": lambda d: (d.X, d.half, d.scale, _N_COLUMNS, 3),
    "code_values": lambda d: (d.codes, d.scale, _N_COLUMNS, 3),
    "pack": lambda d: (d.codes, "t5"),
    "unpack": lambda d: (d.packed, _N_COLUMNS, "t5"),
    "unpack_values": lambda d: (d.packed, _N_COLUMNS, "t5", d.scale, _N_COLUMNS),
    "count_codes": lambda d: (d.packed, _N_COLUMNS, "t5"),
    "code_sums": lambda d: (d.packed, _N_COLUMNS, "t5", _N_COLUMNS),
    "encode_codes": lambda d: (d.codes.ravel(), d.frequencies),
    "decode_codes": lambda d: (d.coded, d.codes.size, d.frequencies),
    "find_invalid": lambda d: (d.bytes, "t5"),
    "find_nonfinite": lambda d: (d.X,),
    "affine_codes": lambda d: (d.X, d.scale, d.zero, _N_COLUMNS, -127, 127),
    "affine_values": lambda d: (d.codes, d.scale, d.zero, _N_COLUMNS),
    "row_tiles": lambda d: (d.X, d.frame),
    "nearest_centers": lambda d: (d.X, d.centers, d.frame),
    "row_codes": lambda d: (d.X, d.frame, d.step),
    "update_labels": lambda d: (
        *(d.X, d.centers, d.frame, None, d.labels),
        *(d.upper, d.lower, d.moves),
    ),
    "iterate": lambda d: (
        *(d.X, None, d.centers, None, d.frame, None, d.labels),
        *(d.upper, d.lower, *d.cluster_sums, 2, 0.0),
    ),
    "label_distances": lambda d: (d.X, d.centers, d.labels),
    "move_rows": lambda d: (d.X, None, d.unlabelled, d.labels, *d.cluster_sums),
    "potentials": lambda d: (d.X, d.frame, None, d.centers[:4], d.closest, None),
    "cheapest": lambda d: (d.X.reshape(16, -1), d.prices),
    "follow_paths": lambda d: (
        *(d.X.reshape(16, -1), d.going, np.zeros(16, dtype=np.int64)),
        *(np.zeros(17, dtype=np.int64), 0, d.X.size, 0.0),
    ),
    "nearest_centers_csr": lambda d: (*d.csr, d.centers),
    "label_distances_csr": lambda d: (*d.csr, d.centers, d.labels),
    "move_rows_csr": lambda d: (*d.csr, None, d.unlabelled, d.labels, *d.cluster_sums),
    "multiply_float": lambda d: (d.matrix, d.activations),
    "multiply_int8": lambda d: (d.matrix, d.activations),
}


def arguments(operation, dtype, size):
    """Arguments to time an operation with, of `size` values."""
    return _ARGUMENTS[operation](_data(dtype, size))


def _data(dtype, size):
    """Inputs of `size` values; parameters are float64 where `dtype` is an integer."""
    floating = dtype if dtype in ("float32", "float64") else "float64"
    n_rows = size // _N_COLUMNS
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, _N_COLUMNS)).astype(floating)
    packed = rng.integers(0, 243, (n_rows, -(-_N_COLUMNS // 5)), dtype=np.uint8)
    scale = np.ones((n_rows, 1), dtype=floating)
    from sklearn_ternary._cpu import encode_codes  # the kernels may be missing

    codes = rng.integers(-1, 2, X.shape, dtype=np.int8)
    frequencies = np.array([5000, 6384, 5000])
    return SimpleNamespace(
        X=X,
        half=np.full((n_rows, 1), 0.5, dtype=floating),
        scale=scale,
        zero=np.zeros((n_rows, 1), dtype=floating),
        sums=np.zeros(_N_COLUMNS),
        largest=np.zeros(_N_COLUMNS, dtype=floating),
        codes=codes,
        frequencies=frequencies,
        coded=encode_codes(codes.ravel(), frequencies, n_threads=1, isa="generic"),
        packed=packed,
        # Sixteen rows of it: a product of such a size counts as `size` values.
        matrix=StoredMatrix(packed, _N_COLUMNS, "t5", scale, _N_COLUMNS, False),
        activations=rng.standard_normal((16, _N_COLUMNS)).astype(floating),
        bytes=rng.integers(0, 243, X.shape, dtype=np.uint8),
        **_clusters(rng, X),
    )


def _clusters(rng, X):
    """Centres, labels and sums of k-means with 16 clusters."""
    from sklearn_ternary._reference.lloyd import Frame

    n, d, k = *X.shape, 16
    zeros = np.zeros(d, dtype=X.dtype)
    indices = np.tile(np.arange(d, dtype=np.int32), n)
    return {
        "frame": Frame(zeros, X.dtype.type(1)),
        "centers": rng.standard_normal((k, d)).astype(X.dtype),
        "labels": rng.integers(0, k, n, dtype=np.int32),
        "prices": np.zeros(k),
        "going": rng.integers(0, k, n * d // k, dtype=np.int32),
        "unlabelled": np.full(n, -1, dtype=np.int32),
        "closest": np.full(n, np.inf, dtype=X.dtype),
        "step": X.dtype.type(1 / 32),
        "upper": np.full(n, 1, dtype=np.float32),
        "lower": np.zeros((-(-k // 16), n), dtype=np.float32),
        "moves": np.full(k, 1e9, dtype=np.float32),
        "cluster_sums": (
            np.zeros((1, k, d)),
            np.zeros((1, k)),
            np.zeros((1, k), dtype=np.int64),
        ),
        "csr": (X.ravel(), indices, np.arange(0, X.size + 1, d, dtype=np.int32)),
    }


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
        for dtype in OPERATIONS[name]:
            rows = []
            for size in sizes:
                args = arguments(name, dtype, size)
                one = best_seconds(kernel, args, n_threads=1, isa=isa)
                threads = None
                if n_threads > 1:
                    threads = best_seconds(kernel, args, n_threads=n_threads, isa=isa)
                by_numpy = None
                if not rows or _is_close(rows[-1]):
                    by_numpy = best_seconds(definition, args)
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


def best_seconds(function, args, **options):
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


def _size_text(size):
    return "never" if size is None else f"{size:,}"
