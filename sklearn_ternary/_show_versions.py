"""What a bug report needs: system, versions, build and processor."""

import os
import platform
import sys
from importlib import metadata

from sklearn_ternary import __version__
from sklearn_ternary._config import choose_isa, current_config

_DEPENDENCIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "joblib",
    "threadpoolctl",
    "safetensors",
    "click",
    "rich",
    "matplotlib",
)


def cpu_features():
    """Return which instruction set extensions this processor has.

    Returns
    -------
    features : dict of str to bool
        Those that the kernels ask for, as the processor and the operating
        system support them; ``config_context(isa=...)`` does not change it.

    Raises
    ------
    ImportError
        If the compiled kernels are missing.

    Examples
    --------
    >>> from sklearn_ternary import cpu_features
    >>> set(cpu_features().values()) <= {True, False}
    True
    """
    from sklearn_ternary._kernels import _cpu_features

    return _cpu_features.cpu_features()


def collect_versions():
    """Return what :func:`show_versions` prints, as JSON-able dictionaries.

    Imports none of the packages it names.
    """
    return {
        "system": {
            "python": sys.version.replace("\n", " "),
            "executable": sys.executable,
            "machine": platform.platform(),
            "cpus": os.cpu_count(),
        },
        "versions": {"sklearn-ternary": __version__}
        | {name: _version(name) for name in _DEPENDENCIES},
        "kernels": _kernels(),
    }


def show_versions():
    """Print system, versions, build options and processor, for a bug report.

    See Also
    --------
    cpu_features : The processor's part, as a dict.

    Examples
    --------
    >>> from sklearn_ternary import show_versions
    >>> show_versions()  # doctest: +SKIP
    """
    for title, rows in collect_versions().items():
        print(f"{title}:")
        for name, value in rows.items():
            print(f"{name:>16}: {_text(value)}")
        print()


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _kernels():
    """The build, what it chose here, or why there is none."""
    try:
        from sklearn_ternary._kernels._cpu_features import (
            build_options,
            supported_isas,
        )
        from sklearn_ternary._kernels._openmp import (
            effective_n_threads,
            openmp_enabled,
        )
    except ImportError as error:
        return {"built": False, "reason": str(error)}
    supported = supported_isas()
    rows = {
        "built": True,
        "openmp": openmp_enabled(),
        "build options": [f"{k}={v}" for k, v in build_options().items()],
        "isas": supported,
        "cpu features": [name for name, has in cpu_features().items() if has],
    }
    try:
        config = current_config()
        rows["isa"] = choose_isa(config.isa, supported)
        rows["threads"] = effective_n_threads(config.n_threads)
    except ValueError as error:
        # Who asks for the versions may be looking for just this.
        rows["configuration"] = str(error)
    return rows


def _text(value):
    if isinstance(value, list):
        return " ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not installed" if value is None else value
