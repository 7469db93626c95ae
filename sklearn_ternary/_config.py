"""Thread-local configuration, after scikit-learn's.

A setting is looked up as: argument of a function, then ``config_context``, then
``set_config``, then the environment, then the automatic value.
"""

import math
import os
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

ISA_NAMES = ("generic", "avx2", "avx512")

# The OpenMP runtime ends the process where it cannot create a thread.
MAX_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Config:
    """One value for every key. The defaults are the automatic values."""

    backend: str = "auto"
    n_threads: int | None = None
    isa: str | None = None
    strict: bool = False
    collect_metrics: bool = False
    working_memory: float = 1024
    max_device_fraction: float = 0.8


class _Unchanged:
    """Default of the arguments for which None has a meaning of its own."""

    def __repr__(self):
        return "<unchanged>"


_UNCHANGED = _Unchanged()


def _is_backend(value):
    pattern = "auto|numpy|cpu|cuda(:[0-9]{1,4}(,[0-9]{1,4})*)?"
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_thread_count(value):
    return value is None or (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and 1 <= abs(value) <= MAX_THREADS
    )


def _is_isa(value):
    return value is None or (isinstance(value, str) and value in ISA_NAMES)


def _is_bool(value):
    return isinstance(value, bool)


def _is_memory(value):
    return (
        isinstance(value, Real) and not isinstance(value, bool) and 0 < value < math.inf
    )


def _is_fraction(value):
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < value <= 1


def _identity(value):
    return value


def _plain_number(value):
    """The Python number of a NumPy scalar."""
    if value is None:
        return None
    return int(value) if isinstance(value, Integral) else float(value)


def _number_from_text(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


def _bool_from_text(text):
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    return words.get(text.lower())


@dataclass(frozen=True)
class _Key:
    variable: str
    allowed: str
    is_valid: Callable[[Any], bool]
    normalize: Callable[[Any], Any]
    from_text: Callable[[str], Any]


_KEYS = {
    "backend": _Key(
        "SKLEARN_TERNARY_BACKEND",
        "'auto', 'numpy', 'cpu', 'cuda', 'cuda:N' with a device number N or "
        "'cuda:N,M' with several",
        _is_backend,
        str,
        str,
    ),
    "n_threads": _Key(
        "SKLEARN_TERNARY_NUM_THREADS",
        f"None, or an integer from 1 to {MAX_THREADS} or from -1 to -{MAX_THREADS}",
        _is_thread_count,
        _plain_number,
        int,
    ),
    "isa": _Key(
        "SKLEARN_TERNARY_ISA",
        f"None or one of {list(ISA_NAMES)}",
        _is_isa,
        _identity,
        str,
    ),
    "strict": _Key(
        "SKLEARN_TERNARY_STRICT", "True or False", _is_bool, bool, _bool_from_text
    ),
    "collect_metrics": _Key(
        "SKLEARN_TERNARY_COLLECT_METRICS",
        "True or False",
        _is_bool,
        bool,
        _bool_from_text,
    ),
    "working_memory": _Key(
        "SKLEARN_TERNARY_WORKING_MEMORY",
        "a finite number of MiB above 0",
        _is_memory,
        _plain_number,
        _number_from_text,
    ),
    "max_device_fraction": _Key(
        "SKLEARN_TERNARY_MAX_DEVICE_FRACTION",
        "a number above 0, at most 1",
        _is_fraction,
        _plain_number,
        _number_from_text,
    ),
}


def _validate(key, value):
    row = _KEYS[key]
    if not row.is_valid(value):
        raise ValueError(f"{key}={value!r} is not allowed; use {row.allowed}")
    return row.normalize(value)


# What the environment says, read at the first use: {key: value}.
_environment = None


def _read_environment():
    global _environment
    if _environment is None:
        found = {}
        for key, row in _KEYS.items():
            text = os.environ.get(row.variable, "").strip()
            if not text:
                continue
            try:
                found[key] = _validate(key, row.from_text(text))
            except ValueError:
                raise ValueError(
                    f"environment variable {row.variable}={text!r} is not allowed; "
                    f"{key} is {row.allowed}"
                ) from None
        _environment = found
    return _environment


# What set_config said in the main thread: where new threads start from.
_process_settings = {}


class _ThreadState(threading.local):
    def __init__(self):
        self.settings = _process_settings
        self.n_contexts = 0
        self.config = None  # a Config once looked up

    def change(self, settings):
        self.settings = settings
        self.config = None


_thread = _ThreadState()


def current_config():
    """The `Config` in force in this thread. Raises ValueError for the environment."""
    config = _thread.config
    if config is None:
        config = Config(**(_read_environment() | _thread.settings))
        _thread.config = config
    return config


def effective_config(**arguments):
    """The `Config` of this thread with the arguments that are not None on top.

    What a public function calls once, at its start, to pass the result down:
    a worker thread has a configuration of its own and must not be asked.

    Raises
    ------
    ValueError
        If an argument has a value that the key does not allow.
    """
    given = {k: _validate(k, v) for k, v in arguments.items() if v is not None}
    config = current_config()
    return replace(config, **given) if given else config


def choose_isa(isa, supported):
    """`isa`, or for None the first of those `supported` by machine and build.

    Raises
    ------
    ValueError
        If it is not supported. No backend would make that right.
    """
    if isa is None:
        return supported[0]
    if isa not in supported:
        raise ValueError(
            f"isa={isa!r} is not supported by this machine and build; "
            f"use None or one of {list(supported)}"
        )
    return isa


def get_config():
    """Return the configuration in force in this thread.

    Returns
    -------
    config : dict
        The keys of :func:`config_context` and their values, those of the
        environment included. Changing it changes nothing.

    Raises
    ------
    ValueError
        If an environment variable has a value that its key does not allow.

    Examples
    --------
    >>> from sklearn_ternary import get_config
    >>> get_config()["backend"]
    'auto'
    """
    config = current_config()
    return {key: getattr(config, key) for key in _KEYS}


def _with_changes(settings, arguments):
    """`settings` and those of the arguments that say something, validated."""
    changes = {
        key: _validate(key, value)
        for key, value in arguments.items()
        if value is not _UNCHANGED
        and (value is not None or key in ("n_threads", "isa"))
    }
    return settings | changes


def set_config(
    *,
    backend=None,
    n_threads=_UNCHANGED,
    isa=_UNCHANGED,
    strict=None,
    collect_metrics=None,
    working_memory=None,
    max_device_fraction=None,
):
    """Change the configuration of this thread.

    As in scikit-learn, the configuration belongs to a thread, and a change
    inside a :func:`config_context` ends with it. Beyond scikit-learn, a change
    made in the main thread outside of any context is also what threads that
    start later begin with. Other processes see the environment only.

    Parameters are those of :func:`config_context`.

    Parameters
    ----------
    backend : str, default=None
    n_threads : int or None, default=unchanged
    isa : str or None, default=unchanged
    strict : bool, default=None
    collect_metrics : bool, default=None
    working_memory : float, default=None
    max_device_fraction : float, default=None

    Raises
    ------
    ValueError
        If a value is not allowed; nothing is changed then.

    See Also
    --------
    config_context : The same for the length of a ``with`` block.
    get_config : The values in force.

    Examples
    --------
    >>> from sklearn_ternary import get_config, set_config
    >>> set_config(n_threads=1)
    >>> get_config()["n_threads"]
    1
    >>> set_config(n_threads=None)
    """
    global _process_settings
    arguments = {
        "backend": backend,
        "n_threads": n_threads,
        "isa": isa,
        "strict": strict,
        "collect_metrics": collect_metrics,
        "working_memory": working_memory,
        "max_device_fraction": max_device_fraction,
    }
    _thread.change(_with_changes(_thread.settings, arguments))
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and not _thread.n_contexts:
        _process_settings = _thread.settings


@contextmanager
def config_context(
    *,
    backend=None,
    n_threads=_UNCHANGED,
    isa=_UNCHANGED,
    strict=None,
    collect_metrics=None,
    working_memory=None,
    max_device_fraction=None,
):
    """Change the configuration of this thread for the length of a ``with`` block.

    An argument that is not given leaves its key as it is, and so does None,
    except for `n_threads` and `isa`, where None is the automatic value. A
    value given here wins over the environment, the automatic ones included.

    Parameters
    ----------
    backend : {"auto", "numpy", "cpu", "cuda", "cuda:N", "cuda:N,M"}, default=None
        What computes. ``"auto"`` chooses by operation, dtype and size, and
        never looks for a GPU; ``"cuda:0,1"`` shares arrays of the host out to
        several. Environment: ``SKLEARN_TERNARY_BACKEND``.
    n_threads : int or None, default=unchanged
        The most threads an operation may use; small inputs use one. Negative
        values count from all, as in joblib: -1 is all, -2 all but one. None
        is all that ``OMP_NUM_THREADS``, threadpoolctl and the container
        allow. Results do not depend on it.
        Environment: ``SKLEARN_TERNARY_NUM_THREADS``.
    isa : {"generic", "avx2", "avx512"} or None, default=unchanged
        Instruction set of the ``cpu`` backend. None is the best of this
        machine; one that it lacks is a ``ValueError`` when it is first used.
        Environment: ``SKLEARN_TERNARY_ISA``.
    strict : bool, default=None
        Raise ``RuntimeError`` where a backend is missing or fails, in place of
        a :class:`~sklearn_ternary.exceptions.BackendFallbackWarning`.
        Environment: ``SKLEARN_TERNARY_STRICT`` (0 or 1).
    collect_metrics : bool, default=None
        Count and time every operation for :func:`dispatch_report`.
        Environment: ``SKLEARN_TERNARY_COLLECT_METRICS`` (0 or 1).
    working_memory : float, default=None
        Temporary arrays aim to stay below this many MiB.
        Environment: ``SKLEARN_TERNARY_WORKING_MEMORY``.
    max_device_fraction : float, default=None
        Largest part of what is free of a device's memory that arrays of the host,
        with what is computed of them, may take there. CuPy's own pool is not limited.
        Environment: ``SKLEARN_TERNARY_MAX_DEVICE_FRACTION``.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If a value is not allowed.

    See Also
    --------
    set_config : The same without an end.
    get_config : The values in force.

    Examples
    --------
    >>> from sklearn_ternary import config_context, get_config
    >>> with config_context(backend="numpy"):
    ...     get_config()["backend"]
    'numpy'
    """
    arguments = {
        "backend": backend,
        "n_threads": n_threads,
        "isa": isa,
        "strict": strict,
        "collect_metrics": collect_metrics,
        "working_memory": working_memory,
        "max_device_fraction": max_device_fraction,
    }
    before, config = _thread.settings, _thread.config
    _thread.change(_with_changes(before, arguments))
    _thread.n_contexts += 1
    try:
        # Made here, so that the first operation inside is not the slow one.
        current_config()
        yield
    finally:
        _thread.n_contexts -= 1
        _thread.settings, _thread.config = before, config
