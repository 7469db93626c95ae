"""benchmarks/gpu.py runs, writes what it measured, and notices a wrong result."""

import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from sklearn_ternary import _gpu

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def script(monkeypatch):
    """The script as a module; those beside it are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location("benchmark_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in set(sys.modules) - before:
        if name.startswith(("gpu_sections", "result_tables")):
            del sys.modules[name]


@pytest.fixture
def benchmark(cupy, script, tmp_path, monkeypatch):
    """Run the script in small; returns its exit code and its report."""

    def run(*options):
        path = tmp_path / "gpu.json"
        arguments = ["gpu.py", "--tiny", "-o", str(path), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        code = 0
        try:
            script.main()
        except SystemExit as ended:
            code = ended.code
        return code, json.loads(path.read_text())

    return run


def test_it_runs(benchmark):
    from gpu_sections.sizes import TINY, all_work

    code, report = benchmark("--seed", "3")
    assert code == 0 and report["failed"] == report["skipped"] == []
    assert report["parity"] == {"cases": 29, "differences": []}
    assert report["seed"] == "3"
    assert report["limits"].keys() == {"bytes", "float16"}
    assert [row["work"] for row in report["results"]] == all_work(TINY)
    vs = {row["work"]: list(row["vs"]) for row in report["results"]}
    assert list(vs.values()) == [
        ["CuPy expressions"],
        ["NumPy", "CuPy expressions"],
        ["CuPy expressions"],
        ["CuPy expressions"],
        ["cuBLAS float16"],
        ["cuBLAS float16"],
        ["CuPy GEMM+argmin"],
        ["CuPy GEMM+argmin", "scikit-learn (CPU)"],
        [],
    ]
    work = report["memory"]["work"].values()
    assert all(sizes["besides"] > 0 for sizes in work) and len(work) == 2
    assert report["host_to_host"]["seconds"].keys() == {"cpu", "cuda, copies included"}


def test_the_table_of_the_documentation(script, monkeypatch, tmp_path):
    """It names the work that is measured, and shows what a run has found."""
    from gpu_sections.sizes import FULL, all_work

    backends = importlib.import_module("result_tables.backends")
    monkeypatch.setattr(backends, "RESULTS", tmp_path)
    table = backends.gpu()
    assert [row[0] for row in table.rows] == all_work(FULL)
    assert all(set(row[1:]) == {"not measured"} for row in table.rows)
    row = {"work": "something", "seconds": 0.002, "spread": 0.1, "of_limit": None}
    report = {
        "machine": script.describe_machine(),
        "device": {"name": "a device", "cupy": "14"},
        "results": [row | {"vs": {"torch": 2.0, "CuPy": None}}],
    }
    (tmp_path / "gpu.json").write_text(json.dumps(report))
    monkeypatch.setattr(backends, "results", lambda name: report)
    (cells,) = backends.gpu().rows
    assert cells[0] == "something" and cells[-1] == "torch 2×"


def test_what_differs_or_fails_is_exit_code_1(benchmark, monkeypatch, script):
    """All other sections run on, and what fails is named."""
    right = _gpu.quantize_pack

    def wrong(*args, **options):
        return right(*args, **options) ^ 1

    def breaks(bench):
        bench.cupy.no_such_thing()

    monkeypatch.setattr(_gpu, "quantize_pack", wrong)
    monkeypatch.setitem(script.SECTIONS, "training", (breaks, 1))
    peers = sys.modules["gpu_sections.products"]
    monkeypatch.setattr(peers, "_half", lambda *args: breaks)
    code, report = benchmark()
    assert code == 1
    differences = report["parity"]["differences"]
    assert any("codes and scales" in name for name in differences)
    assert len(report["failed"]) == 1 and "training" in report["failed"][0]
    assert any("cuBLAS float16" in what for what in report["skipped"])
    assert len(report["results"]) == 8
    assert "host_to_host" in report


@pytest.mark.parametrize("deadline, n_results", [(2**40, 2), (0, 0)])
def test_one_section(script, cupy, tmp_path, monkeypatch, deadline, n_results):
    """As the processes of the sections run it; after its time it ends."""
    part = tmp_path / "part.json"
    given = {"tiny": True, "deadline": deadline, "seed": [3, 4], "limits": {"bytes": 1}}
    part.write_text(json.dumps(given))
    arguments = ["gpu.py", "--section", "products", "--part", str(part)]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    found = json.loads(part.read_text())
    assert len(found["results"]) == n_results and found["limits"] == {"bytes": 1}
    assert all("no time is left" in what for what in found["skipped"])
    assert len(found["skipped"]) == (2 if not n_results else 0)


def test_a_section_that_dies_or_hangs(script, monkeypatch, tmp_path):
    """It is named, and what it had found is kept."""
    part = tmp_path / "part.json"
    part.write_text(json.dumps({"limits": {}, "results": [{"work": "done"}]}))
    child = tmp_path / "child.py"
    monkeypatch.setattr(script, "__file__", str(child))
    child.write_text("import os; os.abort()")
    assert "exit code -6" in script.run_apart("quantizing", part, 2**40)
    child.write_text("raise SystemExit")
    assert script.run_apart("quantizing", part, 2**40) is None

    def late(command, env, timeout):
        raise subprocess.TimeoutExpired(command, timeout)

    fake = types.SimpleNamespace(run=late, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(script, "subprocess", fake)
    assert "too long" in script.run_apart("quantizing", part, 2**40)


def test_without_a_device(script, clean, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    first, *targets = capsys.readouterr().out.splitlines()
    assert "no device: CuPy is not installed" in first
    assert len(targets) == 5
    assert all(line.startswith("not measured: ") for line in targets)


def test_targets_are_judged(script, capsys):
    from gpu_sections.sizes import FULL, all_work

    rows = [{"work": work, "seconds": 2e-4, "of_limit": 0.6} for work in all_work(FULL)]
    script.show_targets([row | {"vs": {"CuPy expressions": 6.0}} for row in rows])
    found = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert found == ["met", "met", "met", "unmet", "met"]
