"""Programs of steps of networks."""

import importlib
from dataclasses import replace

import numpy as np

from sklearn_ternary._config import current_config
from sklearn_ternary._dispatch._choice import (
    _MODULES,
    _device_number,
    choose,
)
from sklearn_ternary._gpu.arrays import is_device_array


def choose_program(size, dtype, *, config=None):
    """Choose where a network is computed, once for all its steps.

    Parameters
    ----------
    size : int
        Values of a step.
    dtype : dtype
        The ``cpu`` and ``cuda`` backends are for float32; float64 is computed by
        ``numpy``.
    config : Config, default=None

    Returns
    -------
    make : callable
        Returns a new, empty `Program`.
    """
    if np.dtype(dtype) != np.float32:
        return lambda: _programs("numpy").Program(dtype)
    # Products are most of a step.
    config = config or current_config()
    backend, *_ = choice = choose("multiply_float", size, dtype, config=config)
    program = _programs(backend).Program
    options = {}
    if backend == "cpu":
        options = {"n_threads": choice.n_threads, "isa": choice.isa}
    elif backend == "cuda":
        options = {"device": _device_number(config)}
    return lambda: program(dtype, **options)


def config_of_rows(X, config=None):
    """The configuration for a network of these rows, which decide before it does.

    Parameters
    ----------
    X : {ndarray, CuPy array, CSR matrix}
    config : Config, default=None

    Raises
    ------
    TypeError
        For a CuPy array where another backend is wanted.
    """
    config = config or current_config()
    if is_device_array(X):
        if config.backend in ("cpu", "numpy"):
            raise TypeError(
                f"backend={config.backend!r} does not work on CuPy arrays; use "
                "backend='auto' or 'cuda', or copy them with their method get()"
            )
        return replace(config, backend=f"cuda:{X.device.id}")
    return config


def _programs(backend):
    return importlib.import_module(f"{_MODULES[backend]}.programs")
