"""The operations, each on the backend chosen for it: the one place that chooses.

Every function has the arguments of its namesake in `sklearn_ternary._reference`
and takes a `Config` besides: what `effective_config` returned to a public
function, which passes it down. Without it the configuration of the calling
thread counts.

A missing backend, and one that raises ``RuntimeError``, ``OSError`` or
``ImportError``, hands over to the next of cuda, cpu, numpy, or raises under
``strict=True``. Everything else goes through: a ``ValueError`` or ``TypeError``
is about the arguments, and after a ``MemoryError`` NumPy, which needs more
memory, would be the wrong help.
"""

import importlib
import warnings
from time import perf_counter
from typing import NamedTuple

import numpy as np

from sklearn_ternary._config import choose_isa, current_config
from sklearn_ternary._crossovers import find_crossover
from sklearn_ternary._measurements import record
from sklearn_ternary.exceptions import BackendFallbackWarning

_MODULES = {"numpy": "sklearn_ternary._reference", "cpu": "sklearn_ternary._cpu"}
_NEXT_BACKEND = {"cuda": "cpu", "cpu": "numpy"}
_ACCUMULATING = ("column_abs_sum", "column_abs_max")
_HAND_OVER = (ImportError, OSError, RuntimeError)


def group_scale(X, group_size, scale, n_levels, *, config=None):
    """Scale and threshold of every group of X."""
    args = _ready(X), group_size, scale, n_levels
    return _run("group_scale", X.size, X.dtype, args, config)


def column_abs_sum(X, total, *, config=None):
    """Add the magnitudes of the rows of X to `total`; all of it or, on error, none."""
    _run("column_abs_sum", X.size, X.dtype, (_ready(X), total), config)


def column_abs_max(X, largest, *, config=None):
    """Raise `largest` to the largest magnitudes of X; all of it or, on error, none."""
    _run("column_abs_max", X.size, X.dtype, (_ready(X), largest), config)


def quantize_codes(X, threshold, group_size, n_levels, *, config=None):
    """Codes of X."""
    args = _ready(X), _ready(threshold), group_size, n_levels
    return _run("quantize_codes", X.size, X.dtype, args, config)


def quantize_pack(X, threshold, group_size, n_levels, layout, *, config=None):
    """Codes of X, packed."""
    args = _ready(X), _ready(threshold), group_size, n_levels, layout
    return _run("quantize_pack", X.size, X.dtype, args, config)


def quantize_values(X, threshold, scale, group_size, n_levels, *, config=None):
    """X rounded to its levels."""
    args = _ready(X), _ready(threshold), _ready(scale), group_size, n_levels
    return _run("quantize_values", X.size, X.dtype, args, config)


def code_values(codes, scale, group_size, n_levels, *, config=None):
    """Values of codes."""
    args = _ready(codes), _ready(scale), group_size, n_levels
    return _run("code_values", codes.size, scale.dtype, args, config)


def pack(codes, layout, *, config=None):
    """Codes, packed."""
    return _run("pack", codes.size, codes.dtype, (_ready(codes), layout), config)


def unpack(packed, n_values, layout, *, config=None):
    """Codes of packed bytes."""
    args = _ready(packed), n_values, layout
    return _run("unpack", len(packed) * n_values, packed.dtype, args, config)


def unpack_values(packed, n_values, layout, scale, group_size, *, config=None):
    """Values of packed bytes."""
    args = _ready(packed), n_values, layout, _ready(scale), group_size
    return _run("unpack_values", len(packed) * n_values, scale.dtype, args, config)


def count_codes(packed, n_values, layout, *, config=None):
    """How often each code occurs in packed bytes."""
    args = _ready(packed), n_values, layout
    return _run("count_codes", len(packed) * n_values, packed.dtype, args, config)


def find_invalid(packed, layout, *, config=None):
    """Index of the first byte or unit that no codes pack to, or -1."""
    args = _ready(packed), layout
    return _run("find_invalid", packed.size, packed.dtype, args, config)


def find_nonfinite(X, *, config=None):
    """Flat index of the first NaN or infinity of X, or -1."""
    return _run("find_nonfinite", X.size, X.dtype, (_ready(X),), config)


def affine_codes(X, scale, zero_point, group_size, lowest, highest, *, config=None):
    """Integer codes of X with a zero point."""
    args = _ready(X), _ready(scale), _ready(zero_point), group_size, lowest, highest
    return _run("affine_codes", X.size, X.dtype, args, config)


def affine_values(codes, scale, zero_point, group_size, *, config=None):
    """Values of integer codes with a zero point."""
    args = _ready(codes), _ready(scale), _ready(zero_point), group_size
    return _run("affine_values", codes.size, scale.dtype, args, config)


def multiply_float(matrix, X, *, config=None):
    """Rows of floats times a `StoredMatrix`."""
    args = matrix, _ready(X)
    return _run("multiply_float", _product_size(matrix, X), X.dtype, args, config)


def multiply_int8(matrix, X, *, config=None):
    """The same for float32 rows that are rounded to 8 bits first."""
    args = matrix, _ready(X)
    return _run("multiply_int8", _product_size(matrix, X), X.dtype, args, config)


def _product_size(matrix, X):
    """Values elsewhere take about as long as 16 multiplications and additions."""
    return len(X) * len(matrix.packed) * matrix.n_values // 16


# k-means. Rows and frame are `_ready`, the estimator made them; the work of a step
# with k centres counts as k / 16 values each.


def row_tiles(X, frame, *, config=None):
    """Rows in the frame, transposed in tiles."""
    return _run("row_tiles", X.size, X.dtype, (X, frame), config)


def nearest_centers(X, centers, frame, tiles=None, *, config=None):
    """Label of each row."""
    args = X, _ready(centers), frame, tiles
    return _run("nearest_centers", _steps(X.size, centers), X.dtype, args, config)


def update_labels(
    X, centers, frame, tiles, labels, bounds, moved, others, *, config=None
):
    """Find the labels of the rows anew where bounds leave them open."""
    args = X, _ready(centers), frame, tiles, labels, bounds, moved, others
    _run("update_labels", _steps(X.size, centers), X.dtype, args, config)


def label_distances(X, centers, labels, *, config=None):
    """Squared distance of each row to the centre of its label."""
    args = X, _ready(centers), labels
    return _run("label_distances", X.size, X.dtype, args, config)


def move_rows(X, weight, old_labels, labels, sums, totals, counts, *, config=None):
    """Move rows between clusters, in their sums."""
    args = X, weight, old_labels, labels, sums, totals, counts
    _run("move_rows", X.size, X.dtype, args, config)


def potentials(
    X, frame, tiles, candidates, closest, weight, minima=None, *, config=None
):
    """Partial sums of the potential with each candidate as a further centre."""
    args = X, frame, tiles, candidates, closest, weight, minima
    return _run("potentials", X.size, X.dtype, args, config)


def nearest_centers_csr(data, indices, indptr, centers, *, config=None):
    """Label of each sparse row."""
    args = data, indices, indptr, _ready(centers)
    size = _steps(data.size, centers)
    return _run("nearest_centers_csr", size, data.dtype, args, config)


def label_distances_csr(data, indices, indptr, centers, labels, *, config=None):
    """Squared distance of each sparse row to the centre of its label."""
    args = data, indices, indptr, _ready(centers), labels
    return _run("label_distances_csr", data.size, data.dtype, args, config)


def move_rows_csr(
    data,
    indices,
    indptr,
    weight,
    old_labels,
    labels,
    sums,
    totals,
    counts,
    *,
    config=None,
):
    """Move sparse rows between clusters, in their sums."""
    args = data, indices, indptr, weight, old_labels, labels, sums, totals, counts
    _run("move_rows_csr", data.size, data.dtype, args, config)


def _steps(size, centers):
    return size * len(centers) // 16


class Choice(NamedTuple):
    """Where an operation runs; `n_threads` and `isa` are None but for ``cpu``."""

    backend: str
    n_threads: int | None
    isa: str | None


def choose(operation, size, dtype, *, config=None):
    """Return the `Choice` for an operation on `size` values, without running it.

    Raises
    ------
    ValueError
        If the configured instruction set is not one of this machine.
    RuntimeError
        If the backend is missing and the configuration is strict.
    """
    config = config or current_config()
    crossover = find_crossover(operation, np.dtype(dtype))
    backend = _wanted_backend(config, size, crossover)
    while True:
        try:
            _function(backend, operation)
            if backend != "cpu":
                return Choice(backend, None, None)
            return Choice(backend, **_cpu_options(config, size, crossover))
        except _HAND_OVER as error:
            backend = _next_backend(backend, operation, error, config)


def _ready(array):
    """The array itself or a copy that is C-contiguous, aligned and native-endian."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _all_or_nothing(function):
    """Make an operation that adds to its last argument add to a copy of it first.

    A backend that fails half-way has then added nothing, and the next one
    starts from the same sums. It also makes the sums `_ready`.
    """

    def on_a_copy(X, result, **options):
        work = np.array(result, result.dtype.newbyteorder("="), order="C")
        function(X, work, **options)
        result[...] = work

    return on_a_copy


def _run(operation, size, dtype, args, config):
    """Choose a backend, call it, and go on to the next one where it fails."""
    if config is None:
        config = current_config()
    crossover = find_crossover(operation, dtype)
    backend = _wanted_backend(config, size, crossover)
    while True:
        try:
            function = _functions.get((backend, operation)) or _function(
                backend, operation
            )
            options = _cpu_options(config, size, crossover) if backend == "cpu" else {}
            if config.collect_metrics:
                return _measured(operation, backend, size, function, args, options)
            return function(*args, **options)
        except _HAND_OVER as error:
            backend = _next_backend(backend, operation, error, config)


def _measured(operation, backend, size, function, args, options):
    start = perf_counter()
    failed = True
    try:
        result = function(*args, **options)
        failed = False
    finally:
        record(operation, backend, size, perf_counter() - start, failed)
    return result


def _wanted_backend(config, size, crossover):
    backend = config.backend
    if backend == "auto":
        return "cpu" if size >= crossover.min_size_cpu else "numpy"
    return "cuda" if backend.startswith("cuda") else backend


def _cpu_options(config, size, crossover):
    """The keywords of the functions of `sklearn_ternary._cpu`."""
    kernels = _kernels or _load_kernels()
    isa = choose_isa(config.isa, kernels.isas)
    if size < crossover.min_size_threads:
        return {"n_threads": 1, "isa": isa}
    return {"n_threads": kernels.effective_n_threads(config.n_threads), "isa": isa}


class _Kernels(NamedTuple):
    effective_n_threads: object
    isas: tuple


# Filled at the first use of a backend: importing it may be slow, or fail.
_kernels = None
_functions = {}  # {(backend, operation): function}
_missing = {}  # {backend: why}


def _load_kernels():
    global _kernels
    from sklearn_ternary._kernels._cpu_features import supported_isas
    from sklearn_ternary._kernels._openmp import effective_n_threads

    _kernels = _Kernels(effective_n_threads, tuple(supported_isas()))
    return _kernels


def _function(backend, operation):
    """The function of a backend. Raises ImportError if there is none."""
    if backend in _missing:
        raise ImportError(_missing[backend])
    try:
        if backend not in _MODULES:
            raise ImportError(f"this version has no {backend!r} backend")
        module = importlib.import_module(_MODULES[backend])
        if backend == "cpu" and _kernels is None:
            _load_kernels()
    except _HAND_OVER as error:
        _missing[backend] = str(error)
        raise ImportError(_missing[backend]) from error
    function = getattr(module, operation, None)
    if function is None:
        raise ImportError(f"the {backend!r} backend has no {operation}")
    if operation in _ACCUMULATING:
        function = _all_or_nothing(function)
    _functions[backend, operation] = function
    return function


_warned = {}  # causes that were told; setdefault tells one thread only


def _next_backend(backend, operation, error, config):
    """Warn, once for a backend and kind of error, and name the next backend."""
    following = _NEXT_BACKEND.get(backend)
    if following is None:
        raise error
    reason = f"{type(error).__name__}: {error}"
    if config.strict:
        raise RuntimeError(
            f"backend {backend!r} cannot run {operation} ({reason}), and strict=True "
            "forbids another backend"
        ) from error
    this_call = object()
    if _warned.setdefault((backend, type(error)), this_call) is this_call:
        warnings.warn(
            f"backend {backend!r} cannot run {operation} ({reason}); "
            f"{following!r} is used instead. This is said once.",
            BackendFallbackWarning,
            stacklevel=4,
        )
    return following
