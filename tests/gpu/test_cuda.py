"""Devices that are there, and the reasons where they are not."""

import json
import sys
import types

import numpy as np
import pytest
from click.testing import CliRunner

from sklearn_ternary import TernaryQuantizer, config_context, cuda, ternarize
from sklearn_ternary._gpu import device, grids, kernels, tuning
from sklearn_ternary.cli import main
from sklearn_ternary.cli._bench_cuda import cuda_product, cuda_tasks
from sklearn_ternary.cluster import ClusteredKMeans


def fake_cupy(**parts):
    found = types.ModuleType("cupy")
    found.__spec__ = types.SimpleNamespace(name="cupy")
    found.__version__ = "14"
    found.cuda = types.SimpleNamespace(**parts)
    return found


def fails(*_):
    raise RuntimeError("cudaErrorInsufficientDriver")


CAUSES = {
    "CuPy is not installed": (None, None),
    "no NVIDIA driver is loaded": (
        fake_cupy(is_available=lambda: False),
        "/nowhere",
    ),
    "does not fit the CUDA version of CuPy": (
        fake_cupy(
            is_available=lambda: False,
            runtime=types.SimpleNamespace(getDeviceCount=fails),
        ),
        "/proc",
    ),
    "CuPy finds no compiler": (
        fake_cupy(
            is_available=lambda: True,
            nvrtc=types.SimpleNamespace(getVersion=fails),
        ),
        "/proc",
    ),
}


@pytest.mark.parametrize("reason", CAUSES)
def test_reasons(monkeypatch, clean, reason):
    module, driver = CAUSES[reason]
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(device, "_DRIVER", driver)
    assert not cuda.is_available()
    info = cuda.device_info()
    assert reason in info["reason"]
    assert info["devices"] == []
    assert cuda.memory_info() is None
    cuda.free_all_blocks()
    result = CliRunner().invoke(main, ["doctor", "--gpu", "--json"])
    assert result.exit_code == 1
    details = {c["name"]: c["detail"] for c in json.loads(result.output)["checks"]}
    assert reason in details["GPU"]


def test_nobody_imports_cupy_unasked(run_python):
    code = """
import sys
import numpy as np
import sklearn_ternary as st
import sklearn_ternary.cuda
from sklearn_ternary.cluster import ClusteredKMeans
X = np.random.default_rng(0).normal(size=(50, 4))
st.ternarize(X) @ X.T
ClusteredKMeans(2).fit(X)
st.TernaryQuantizer().fit_transform(X)
assert not [name for name in sys.modules if name.startswith("cupy")]
"""
    run_python(code)


def test_devices(cupy):
    assert cuda.is_available()
    info = cuda.device_info()
    assert info["reason"] is None
    assert [row["number"] for row in info["devices"]] == [0, 1]
    assert info["devices"][0]["capability"] == (9, 0)
    assert info["devices"][0]["tensor_cores"]
    cuda.free_all_blocks()
    before = cuda.memory_info()
    held = cupy.zeros(1000, np.float32)
    after = cuda.memory_info(0)
    assert before["free"] - after["free"] == held.nbytes == after["used"]
    assert cuda.memory_info(5) is None


def test_memory_is_given_back(any_cupy):
    """Used bytes return to the baseline, and the pool's to the device."""
    cuda.free_all_blocks()
    before = cuda.memory_info()
    X = np.random.default_rng(0).standard_normal((300, 40), dtype=np.float32)
    with config_context(backend="cuda", strict=True):
        TernaryQuantizer().fit_transform(X)
        ClusteredKMeans(3, random_state=0).fit(X)
        packed = ternarize(any_cupy.asarray(X), axis=1)
    held = cuda.memory_info()
    assert held["used"] == before["used"] + packed.nbytes
    assert held["pooled"] > before["pooled"] and held["free"] < before["free"]
    del packed
    cuda.free_all_blocks()
    assert cuda.memory_info() == before


def test_doctor_compares_devices_with_definitions(cupy, without_kernels):
    def checks():
        result = CliRunner().invoke(main, ["doctor", "--gpu", "--json"])
        return {c["name"]: c for c in json.loads(result.output)["checks"]}

    found = checks()
    assert found["self-check cuda:0"]["status"] == "ok"
    assert found["GPU 1"]["detail"] == "stand-in, compute capability 9.0, 9 GB"
    without_kernels(cupy)
    found = checks()
    assert found["self-check cuda:0"]["status"] == "ok"
    assert "7.5, 9 GB; before 8.0 operations are" in found["GPU 1"]["detail"]


def test_bench_of_a_device(cupy):
    command = ["bench", "--device", "cuda", "--what", "quantize", "--sizes", "4096"]
    command += ["--iterations", "1", "--no-peers", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)["results"]
    measured = [row["isa"] for row in rows if (row["isa"] or "").startswith("cuda")]
    assert measured == ["cuda", "cuda", "cuda, copies", "cuda, copies"]
    assert all(row["seconds"] > 0 for row in rows)


def test_bench_of_batch_sizes_on_a_device(cupy, monkeypatch):
    command = ["bench", "--device", "cuda", "--what", "multiply", "--shapes", "64x256"]
    command += ["--batch-sizes", "1,4,1000", "--iterations", "1", "--isa", "numpy"]
    total = cuda.memory_info()["total"]
    monkeypatch.setattr(cuda, "memory_info", _memory_of(cuda.memory_info, 2**20))
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)["products"]
    rows = [row for row in rows if row["isa"] == "cuda"]
    assert [row["n_rows"] for row in rows] == [1, 1, 4, 4, 1000, 1000]
    for row in rows[:4]:
        least = 64 * 256 // 4 + 4 * row["n_rows"] * 256
        assert row["seconds"] > 0 and least <= row["device_bytes"] < total
    for row in rows[4:]:
        assert row["seconds"] is None and "80% of the memory" in row["note"]
    shown = CliRunner().invoke(main, command).output
    assert "memory" in shown and "n/a: 1000 rows" in shown


def _memory_of(function, total):
    return lambda: function() | {"total": total}


def test_bench_without_a_device(clean, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    rows = list(cuda_tasks(np.ones(8, np.float32)))
    assert {note for _, _, _, note in rows} == {cuda.device_info()["reason"]}
    assert not any(function for _, _, function, _ in rows)
    W = np.ones((4, 8), np.float32)
    assert cuda_product(W, W, "int8") == (None, None, cuda.device_info()["reason"])
    command = ["bench", "--device", "cuda", "--what", "multiply", "--shapes", "4x8"]
    result = CliRunner().invoke(main, [*command, "--iterations", "1", "--json"])
    assert result.exit_code == 1
    assert "n/a" not in result.stdout and json.loads(result.stdout)["products"]
    assert f"on a device: {cuda.device_info()['reason']}" in result.stderr


@pytest.mark.parametrize("largest", [1, 31, 32, 100, 200])
@pytest.mark.parametrize("by", ["error", "utilization"])
def test_batch_sizes(cupy, largest, by, monkeypatch):
    """The exact maximum in few tries, whether memory runs out or fills up."""
    batches = largest if by == "error" else 1000
    monkeypatch.setattr(cupy, "memory_limit", 100 * 8 * batches)
    tried = []

    def step(batch_size):
        tried.append(batch_size)
        cupy.zeros(100 * batch_size)

    utilization = 1 if by == "error" else largest / 1000
    assert cuda.find_batch_size(step, max_utilization=utilization) == largest
    assert len(tried) == len(set(tried)) <= 12


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache folder of its own, and nothing read of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(grids, "_loaded", {})
    monkeypatch.setattr(tuning, "_ROWS", 8)
    monkeypatch.setattr(tuning, "_COLUMNS", 96)


def test_tune(cupy, cache, monkeypatch):
    """The best of all numbers is kept by the name of the device."""

    def milliseconds(start, end):
        blocks = grids.blocks_per_multiprocessor("stand-in")
        return times[blocks]

    monkeypatch.setattr(cupy.cuda, "get_elapsed_time", milliseconds)
    # What does not save enough is left.
    times = {blocks: 1.0 if blocks == 16 else 0.99 for blocks in grids.CANDIDATES}
    assert cuda.tune()["blocks_per_multiprocessor"] == 16
    times = {blocks: abs(blocks - 4) + 1.0 for blocks in grids.CANDIDATES}
    tuned = cuda.tune(1, save=True)
    assert tuned["device"] == "stand-in"
    assert tuned["blocks_per_multiprocessor"] == 4
    assert tuned["milliseconds"] == pytest.approx(times)
    assert kernels.n_blocks(cupy, 10**6, 1) == 4 * 2
    grids._loaded.clear()
    assert kernels.n_blocks(cupy, 10**6, 1) == 4 * 2


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": "x", "blocks": {}}', '{"blocks": 1}', "{" * 9]
)
def test_grids_that_are_malformed(cupy, cache, text):
    grids.save("stand-in", 4)
    grids.default_path().write_text(text)
    with pytest.warns(RuntimeWarning, match="are ignored"):
        assert grids.blocks_per_multiprocessor("stand-in") == 16
    with pytest.raises(ValueError, match=r"malformed|Expecting"):
        grids.read_grids(grids.default_path())


def test_tune_without_a_device(clean, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match="CuPy is not installed"):
        cuda.tune()


def test_batch_sizes_without_a_device():
    def step(batch_size):
        raise MemoryError

    with pytest.raises(MemoryError, match="batch of 1"):
        cuda.find_batch_size(step)
    for wrong in ({"start": 0}, {"start": 1.5}, {"max_utilization": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            cuda.find_batch_size(step, **wrong)
