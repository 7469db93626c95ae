"""The choice of a backend for an operation: the one place that chooses.

A missing backend, and one that raises ``RuntimeError``, ``OSError`` or
``ImportError``, hands over to the next of cuda, cpu, numpy, or raises under
``strict=True``. Everything else goes through: a ``ValueError`` or ``TypeError``
is about the arguments, and after a ``MemoryError`` NumPy, which needs more
memory, would be the wrong help.

Data decide before the configuration: CuPy arrays are worked on where they are, and
``auto`` moves nothing to a device. Where another backend has to help, they are
copied to the host and the result back.
"""

import importlib
import sys
import warnings
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import numpy as np

from sklearn_ternary._config import choose_isa, current_config
from sklearn_ternary._crossovers import find_crossover
from sklearn_ternary._gpu.arrays import (
    contiguous,
    is_device_array,
    namespace,
    to_host,
)
from sklearn_ternary._gpu.device import Devices, numbers_of
from sklearn_ternary._measurements import record
from sklearn_ternary._reference.products import StoredMatrix
from sklearn_ternary.exceptions import BackendFallbackWarning

_MODULES = {
    "numpy": "sklearn_ternary._reference",
    "cpu": "sklearn_ternary._cpu",
    "cuda": "sklearn_ternary._gpu",
}
_NEXT_BACKEND = {"cuda": "cpu", "cpu": "numpy"}
_ACCUMULATING = ("column_abs_sum", "column_abs_max")
_HAND_OVER = (ImportError, OSError, RuntimeError)


class Choice(NamedTuple):
    """Where an operation runs; `n_threads` and `isa` are None but for ``cpu``."""

    backend: str
    n_threads: int | None
    isa: str | None


def choose(operation, size, dtype, *, config=None, on_device=False):
    """Return the `Choice` for an operation on `size` values, without running it.

    Raises
    ------
    ValueError
        If the configured instruction set is not one of this machine.
    RuntimeError
        If the backend is missing and the configuration is strict.
    TypeError
        If the data are `on_device` and another backend is configured.
    """
    config = config or current_config()
    crossover = find_crossover(operation, np.dtype(dtype))
    backend = _wanted_backend(config, size, crossover, on_device)
    while True:
        try:
            _function(backend, operation)
            if backend == "cuda":
                _require_device(config)
            if backend != "cpu":
                return Choice(backend, None, None)
            return Choice(backend, **_cpu_options(config, size, crossover))
        except _HAND_OVER as error:
            backend = _next_backend(backend, operation, error, config)


def ready(array):
    """The array itself or a copy that is C-contiguous, aligned and native-endian."""
    if not isinstance(array, np.ndarray):
        return contiguous(array)
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _all_or_nothing(function):
    """Make an operation that adds to its last argument add to a copy of it first.

    A backend that fails half-way has then added nothing, and the next one
    starts from the same sums. It also makes the sums `ready`.
    """

    def on_a_copy(X, result, **options):
        work = np.array(result, result.dtype.newbyteorder("="), order="C")
        function(X, work, **options)
        result[...] = work

    return on_a_copy


def run(operation, size, dtype, args, config):
    """Choose a backend, call it, and go on to the next one where it fails."""
    if config is None:
        config = current_config()
    crossover = find_crossover(operation, dtype)
    on_device = "cupy" in sys.modules and any(map(is_device_array, args))
    backend = _wanted_backend(config, size, crossover, on_device)
    while True:
        try:
            function = _functions.get((backend, operation)) or _function(
                backend, operation
            )
            options = {}
            if backend == "cpu":
                options = _cpu_options(config, size, crossover)
            elif backend == "cuda":
                numbers = numbers_of(_device(config))
                options = {"device": Devices(numbers, config.max_device_fraction)}
            if on_device and backend != "cuda":
                function = _for_device_arrays(function)
            if config.collect_metrics:
                return _measured(operation, backend, size, function, args, options)
            return function(*args, **options)
        except _HAND_OVER as error:
            backend = _next_backend(backend, operation, error, config)


def _for_device_arrays(function):
    """Make a function of NumPy arrays take CuPy arrays, and give such back."""

    def on_copies(*args, **options):
        owner = next(a for a in args if is_device_array(a))
        xp = namespace(owner)
        copies = [_host_copy(a) for a in args]
        result = function(*copies, **options)
        with owner.device:
            # What a function changes is its last argument.
            if result is None:
                args[-1][...] = xp.asarray(copies[-1])
                return None
            if isinstance(result, tuple):
                return tuple(map(xp.asarray, result))
            return xp.asarray(result) if isinstance(result, np.ndarray) else result

    return on_copies


def _host_copy(argument):
    if isinstance(argument, StoredMatrix):
        return argument.on_host()
    return to_host(argument)


def _measured(operation, backend, size, function, args, options):
    start = perf_counter()
    failed = True
    try:
        result = function(*args, **options)
        if backend == "cuda":
            # The device works on after a call returns.
            importlib.import_module(_MODULES["cuda"]).synchronize()
        failed = False
    finally:
        record(operation, backend, size, perf_counter() - start, failed)
    return result


def _wanted_backend(config, size, crossover, on_device=False):
    backend = config.backend
    if on_device:
        if backend in ("cpu", "numpy"):
            raise TypeError(
                f"backend={backend!r} does not work on CuPy arrays; use backend='auto' "
                "or 'cuda', or copy them to the host with their method get()"
            )
        return "cuda"
    if backend == "auto":
        return "cpu" if size >= crossover.min_size_cpu else "numpy"
    return "cuda" if wants_device(config) else backend


def wants_device(config):
    """Whether the configuration asks for the ``cuda`` backend."""
    return config.backend.startswith("cuda")


def on_host(config):
    """The configuration for what is always done on the host."""
    config = config or current_config()
    return replace(config, backend="auto") if wants_device(config) else config


def _device_number(config):
    """N of ``cuda:N``, the first of several, or None for the current device."""
    device = _device(config)
    return device[0] if isinstance(device, tuple) else device


def _device(config):
    """N of ``cuda:N``, a tuple for several of them, or None for the current one."""
    numbers = config.backend.partition(":")[2]
    if not numbers:
        return None
    several = tuple(map(int, numbers.split(",")))
    return several[0] if len(several) == 1 else several


def device_numbers(config):
    """Numbers of the devices that arrays of the host go to."""
    device = _device(config)
    if device is None:
        cupy = importlib.import_module(_MODULES["cuda"]).require()
        return (cupy.cuda.runtime.getDevice(),)
    return device if isinstance(device, tuple) else (device,)


def _require_device(config):
    """Raise RuntimeError if the configured device is not there."""
    module = importlib.import_module(_MODULES["cuda"])
    module.require(_device(config))


def _cpu_options(config, size, crossover):
    """The keywords of the functions of `sklearn_ternary._cpu`."""
    kernels = _kernels or _load_kernels()
    n_threads, isa = 1, config.isa
    if isa not in kernels.isas:
        isa = choose_isa(isa, kernels.isas)
    if size >= crossover.min_size_threads:
        n_threads = kernels.effective_n_threads(config.n_threads)
    return {"n_threads": n_threads, "isa": isa}


def cpu_level(config=None):
    """The instruction set of the ``cpu`` backend; None if another backend is wanted."""
    config = current_config() if config is None else config
    if config.backend not in ("auto", "cpu"):
        return None
    try:
        return choose_isa(config.isa, (_kernels or _load_kernels()).isas)
    except ImportError:
        return None


def try_device(operation, function, config):
    """What a function of devices returns, or None where the host has to help.

    Raises
    ------
    RuntimeError
        If it fails and the configuration is strict.
    """
    try:
        return function()
    except _HAND_OVER as error:
        _next_backend("cuda", operation, error, config or current_config())
    return None


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
        if backend == "cuda":
            module.require()
        if backend == "cpu" and _kernels is None:
            _load_kernels()
    except _HAND_OVER as error:
        _missing[backend] = str(error)
        raise ImportError(_missing[backend]) from error
    function = getattr(module, operation, None)
    if function is None:
        raise ImportError(f"the {backend!r} backend has no {operation}")
    if operation in _ACCUMULATING and backend != "cuda":
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
