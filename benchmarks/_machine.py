"""What has to be said beside every measured figure."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata

from sklearn_ternary._crossovers import cpu_model

_PACKAGES = ("sklearn-ternary", "numpy", "gguf")


def describe_machine():
    """Return processor, system, versions and date, JSON-able."""
    return {
        "cpu": cpu_model(),
        "n_cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"Python": platform.python_version(), **_versions()},
    }


def _versions():
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
