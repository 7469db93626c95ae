"""`bench`: what it measures, prints and writes."""

import json

import numpy as np
import pytest

from sklearn_ternary.cli import _bench_quantize, _bench_turns
from sklearn_ternary.cli._bench_turns import Rounds
from sklearn_ternary.cli._clock import clock_mhz


def test_bench_rows():
    levels = ["numpy", *_bench_turns.available_isas()[:1]]
    rows = _bench_quantize.run_quantize_benchmark(1024, Rounds(2), levels, [1, 2])
    operations = ["quantize absmean", "quantize mse", "pack", "unpack"]
    # The numpy backend has one thread, the kernels have two numbers of them.
    expected = ["memcpy", "numpy", "gguf-py", *operations * (2 * len(levels) - 1)]
    assert [r["operation"] for r in rows] == expected
    base = {row["operation"]: row["seconds"] for row in rows[:2]}
    for row in rows:
        assert row["size"] == 1024
        if row["note"]:
            assert row["seconds"] is row["vs_numpy"] is row["vs_memcpy"] is None
            continue
        assert row["seconds"] > 0
        assert row["vs_numpy"] == base["numpy"] / row["seconds"]
        assert row["vs_memcpy"] == row["seconds"] / base["memcpy"]


def test_bench_without_peers_and_with_missing_levels(monkeypatch):
    monkeypatch.setattr(_bench_quantize, "available_isas", list)
    rows = _bench_quantize.run_quantize_benchmark(
        100, Rounds(1), ["avx2"], [1], peers=False
    )
    assert [r["operation"] for r in rows[:2]] == ["memcpy", "numpy"]
    assert len(rows) == 6
    for row in rows[2:]:
        assert row["seconds"] is None
        assert row["note"] == "avx2 is not available here"


def test_bench_of_levels_without_kernels(invoke, folder):
    args = ["bench", "--sizes", "64", "--shapes", "8x8", "--rows", 1, "--no-peers"]
    args += ["--iterations", 1, "--simd-level", "sse4.2,numpy"]
    text = invoke(*args).output
    lines = [line.split() for line in text.splitlines() if "sse4.2  " in line]
    assert len(lines) == 6 and all("n/a" in words for words in lines)
    assert text.count("n/a: sse4.2 is not available here") == 2


def test_bench_baseline_is_what_it_says():
    x = np.random.default_rng(0).normal(size=999).astype(np.float32)
    expected = eval(_bench_quantize.NUMPY_EXPRESSION, {"np": np, "x": x})
    result = _bench_quantize._numpy_expression(x)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.int8


def test_bench_products(invoke, folder):
    args = ["bench", "--what", "multiply", "--shapes", "33x70,8x8", "--rows", "1,9"]
    output = invoke(*args, "--threads", "1,2", "--iterations", 1, "--json").output
    report = json.loads(output)
    assert report["results"] == []
    rows = report["products"]
    assert {(*row["shape"], row["n_rows"]) for row in rows} == {
        (33, 70, 1), (33, 70, 9), (8, 8, 1), (8, 8, 9)
    }  # fmt: skip
    for row in rows:
        assert row["seconds"] > 0 and row["vs_numpy"] > 0
        operations = 2 * np.prod(row["shape"]) * row["n_rows"]
        assert row["operations_per_second"] == pytest.approx(
            operations / row["seconds"]
        )
    assert {r["n_threads"] for r in rows if r["operation"] == "numpy"} == {1, 2}
    keys = ("shape", "n_rows", "operation", "isa")
    alone = {
        str([r[k] for k in keys]): r["seconds"] for r in rows if r["n_threads"] == 1
    }
    for row in rows:
        expected = alone[str([row[k] for k in keys])] / row["seconds"]
        assert row["efficiency"] == pytest.approx(expected / row["n_threads"])
    text = invoke(*args, "--iterations", 1, "--isa", "numpy").output
    assert "33 x 70" in text and "multiply int8" in text
    assert "efficiency" not in text
    assert "100%" in invoke(*args, "--iterations", 1, "--threads", "1,2").output


def test_bench_writes_json(invoke, folder):
    args = ["bench", "--what", "quantize", "--sizes", "256,512", "--iterations", 1]
    args += ["--isa", "numpy"]
    output = invoke(*args, "-o", "bench.json").output
    assert "np.clip(np.rint(x/np.abs(x).mean()), -1, 1)" in output
    with open("bench.json") as file:
        report = json.load(file)
    assert report["schema"] == "sklearn-ternary-bench/2"
    assert {row["size"] for row in report["results"]} == {256, 512}
    assert report["baselines"]["numpy"] == _bench_quantize.NUMPY_EXPRESSION
    assert report["clock_mhz"].keys() == {"before", "after"}
    assert json.loads(invoke(*args, "--json").output)["schema"] == report["schema"]


@pytest.mark.parametrize(
    ("text", "mhz"),
    [
        ("processor\t: 0\ncpu MHz\t\t: 2000.5\n\ncpu MHz : 3000.5\n", 2500.5),
        ("processor\t: 0\nBogoMIPS\t: 48.00\n", None),
        ("cpu MHz\t: unknown\n", None),
    ],
)
def test_clock(tmp_path, text, mhz):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert clock_mhz(path) == mhz
    assert clock_mhz(tmp_path / "none") is None


def test_bench_prints_json(invoke, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    common = ("--what", "quantize", "--sizes", "64", "--iterations", "1", "--no-peers")
    report = json.loads(invoke("bench", *common, "--output", "json").output)
    assert report["results"]
    assert not list(tmp_path.iterdir())


def test_bench_compares_reports(invoke, folder):
    args = ["bench", "--sizes", "256", "--shapes", "8x8", "--rows", "1"]
    invoke(*args, "--iterations", 1, "--warmup", 0, "--isa", "numpy", "-o", "a.json")
    with open("a.json") as file:
        report = json.load(file)
    assert (report["iterations"], report["warmup"]) == (1, 0)
    measured = report["results"] + report["products"]
    for row in measured:
        row["seconds"] = row["seconds"] and row["seconds"] / 2
    with open("b.json", "w") as file:
        json.dump(report, file)
    rows = json.loads(invoke("bench", "--compare", "a.json", "b.json", "--json").output)
    assert len(rows) == sum(row["seconds"] is not None for row in measured)
    assert all(row["speedup"] == 2 for row in rows)
    text = invoke("bench", "--compare", "a.json", "b.json").output
    assert "8 x 8" in text and "2.00x" in text
