"""What is said about the system, the build and the processor."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

import sklearn_ternary
from sklearn_ternary import _show_versions
from sklearn_ternary._config import config_context
from sklearn_ternary._show_versions import (
    collect_versions,
    cpu_features,
    show_versions,
)

needs_kernels = pytest.mark.skipif(
    importlib.util.find_spec("sklearn_ternary._kernels._openmp") is None,
    reason="the compiled kernels are not built",
)


def test_versions_are_those_of_the_packages():
    versions = collect_versions()["versions"]
    assert versions["numpy"] == np.__version__
    assert versions["sklearn-ternary"] == sklearn_ternary.__version__
    assert {"scikit-learn", "scipy", "joblib", "threadpoolctl"} <= versions.keys()


def test_package_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(_show_versions, "_DEPENDENCIES", ("no-such-package-here",))
    assert collect_versions()["versions"]["no-such-package-here"] is None
    show_versions()
    assert "no-such-package-here: not installed" in capsys.readouterr().out


def test_everything_is_printed_and_json(capsys):
    show_versions()
    printed = capsys.readouterr().out
    collected = json.loads(json.dumps(collect_versions()))
    for title, rows in collected.items():
        assert f"{title}:\n" in printed
        for name in rows:
            assert f"{name}:" in printed


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from sklearn_ternary._show_versions import show_versions\n"
        "show_versions()\n"
        "heavy = {'sklearn', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "kernels:" in done.stdout


def test_missing_kernels_are_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn_ternary._kernels._openmp", None)
    rows = collect_versions()["kernels"]
    assert rows["built"] is False and "sklearn_ternary._kernels" in rows["reason"]


def test_missing_kernels_have_no_features(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn_ternary._kernels._cpu_features", None)
    # The package may hold the module it was already asked for.
    package = sys.modules.get("sklearn_ternary._kernels")
    monkeypatch.delattr(package, "_cpu_features", raising=False)
    with pytest.raises(ImportError):
        cpu_features()


@needs_kernels
def test_features():
    features = cpu_features()
    assert features
    assert {type(name) for name in features} == {str}
    assert {type(has) for has in features.values()} == {bool}


@needs_kernels
def test_features_are_those_of_the_system():
    """Linux lists under "flags" what the processor has and the kernel allows."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next(s.split(":")[1] for s in file if s.startswith("flags"))
    except (OSError, StopIteration):
        pytest.skip("no flags in /proc/cpuinfo")
    flags = {flag.replace("_", "") for flag in flags.split()}
    for name, has in cpu_features().items():
        assert has == (name.replace("_", "") in flags), name


@needs_kernels
def test_kernels_follow_the_configuration():
    with config_context(isa="generic", n_threads=1):
        rows = collect_versions()["kernels"]
    assert rows["built"] is True
    assert (rows["isa"], rows["threads"]) == ("generic", 1)
    assert "generic" in rows["isas"]


@needs_kernels
def test_impossible_configuration_is_reported(monkeypatch):
    from sklearn_ternary._kernels import _cpu_features

    monkeypatch.setattr(_cpu_features, "supported_isas", lambda: ["generic"])
    with config_context(isa="avx512"):
        rows = collect_versions()["kernels"]
    assert "isa='avx512'" in rows["configuration"]
    assert rows["built"] is True
