"""`doctor`: what it checks and says."""

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

from sklearn_ternary import (
    _dispatch,
    config_context,
)
from sklearn_ternary._crossovers import OPERATIONS
from sklearn_ternary.cli import _bench_turns, main
from sklearn_ternary.cli import doctor as doctor_command


def test_doctor_reports(monkeypatch):
    result = CliRunner().invoke(main, ["doctor", "--json"])
    report = json.loads(result.output)
    assert result.exit_code == (0 if report["ok"] else 1)
    names = {check["name"] for check in report["checks"]}
    assert {"configuration", "kernels", "OpenMP runtimes", "GPU"} <= names
    assert report["versions"]["numpy"] == np.__version__
    assert report["ok"] == all(c["status"] != "failed" for c in report["checks"])


def built():
    try:
        import sklearn_ternary._kernels._cpu_features  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.skipif(not built(), reason="the kernels are not built")
def test_doctor_is_content_with_the_kernels(invoke):
    report = json.loads(invoke("doctor", "--json").output)
    checked = [c["name"] for c in report["checks"] if c["name"].startswith("self")]
    assert checked == [f"self-check {isa}" for isa in _bench_turns.available_isas()]


@pytest.mark.skipif(not built(), reason="the kernels are not built")
def test_doctor_finds_a_wrong_kernel(invoke, monkeypatch):
    real = _dispatch.unpack

    def wrong(*args, **options):
        codes = real(*args, **options)
        codes[-1, -1] = -codes[-1, -1] or 1
        return codes

    monkeypatch.setattr(_dispatch, "unpack", wrong)
    output = invoke("doctor", "--json", code=1).output
    failed = [c for c in json.loads(output)["checks"] if c["status"] == "failed"]
    assert {c["detail"] for c in failed} == {
        "differs from NumPy in " + ", ".join(["unpack"] * 6)
    }


def test_doctor_fails_without_kernels(invoke, monkeypatch):
    versions = doctor_command.collect_versions()
    versions["kernels"] = {"built": False, "reason": "no such module"}
    monkeypatch.setattr(doctor_command, "collect_versions", lambda: versions)
    result = invoke("doctor", code=1)
    assert "no such module" in result.output
    assert "broken" in result.output


def test_doctor_lists_where_operations_run(invoke):
    with config_context(backend="numpy"):
        assert "quantize_pack" in invoke("doctor", "--operations").output
        output = invoke("doctor", "--operations", "--json").output
    rows = json.loads(output)["operations"]
    assert {row["operation"] for row in rows} == set(OPERATIONS)
    choices = [choice for row in rows for choice in row["choices"].values()]
    assert all(choice["backend"] == "numpy" for choice in choices)


@pytest.mark.skipif(not built(), reason="the kernels are not built")
def test_doctor_lists_what_is_chosen(invoke):
    rows = json.loads(invoke("doctor", "--operations", "--json").output)["operations"]
    for row in rows:
        for size, choice in row["choices"].items():
            chosen = _dispatch.choose(row["operation"], int(size), row["dtype"])
            assert tuple(choice.values()) == chosen


def test_doctor_fails_with_a_wrong_environment(shell):
    done = shell("doctor", env=os.environ | {"SKLEARN_TERNARY_NUM_THREADS": "0"})
    assert done.returncode == 1
    assert b"SKLEARN_TERNARY_NUM_THREADS" in done.stdout


def test_doctor_looks_further_when_asked():
    checks = json.loads(
        CliRunner().invoke(main, ["doctor", "--full", "--gpu", "--json"]).output
    )["checks"]
    details = {check["name"]: check["detail"] for check in checks}
    assert "after importing scikit-learn" in details["OpenMP runtimes"]
    assert "CuPy" in details["GPU"]


def test_doctor_warns_of_two_runtimes(monkeypatch):
    import threadpoolctl

    runtimes = [
        {"user_api": "openmp", "filepath": path, "num_threads": 2} for path in "ab"
    ]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: runtimes)
    check = doctor_command._openmp(full=False)
    assert check["status"] == "warning"
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: runtimes[:1])
    assert doctor_command._openmp(full=False)["status"] == "ok"
