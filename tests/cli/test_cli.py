"""The command line: what it writes, prints and answers."""

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from sklearn_ternary import (
    TernaryArray,
    __version__,
    _dispatch,
    config_context,
    load,
    save,
    ternarize,
)
from sklearn_ternary._crossovers import OPERATIONS
from sklearn_ternary._reference.sums import ordered_sum
from sklearn_ternary.cli import _bench_quantize, _bench_turns, _streaming, main
from sklearn_ternary.cli import doctor as doctor_command
from sklearn_ternary.cli._bench_turns import Rounds
from sklearn_ternary.persistence import _atomic, read_container, write_container

COMMANDS = [
    "demo",
    "train",
    "predict",
    "quantize",
    "dequantize",
    "cluster",
    "generate",
    "convert",
    "requantize",
    "inspect",
    "doctor",
    "bench",
    "bench-lm",
    "profile",
]
AXES = {"tensor": None, "row": 1, "column": 0}


def invoke(*args, code=0):
    result = CliRunner().invoke(main, [str(a) for a in args])
    if result.exit_code != code:
        raise AssertionError(f"{result.exit_code}: {result.output}") from (
            result.exception
        )
    return result


def shell(*args, **options):
    return subprocess.run(
        [sys.executable, "-P", "-m", "sklearn_ternary", *map(str, args)],
        capture_output=True,
        timeout=120,
        **options,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder):
    rng = np.random.default_rng(0)
    arrays = {
        "layers.0.weight": rng.normal(size=(40, 100)).astype(np.float32),
        "layers.0.bias": rng.normal(size=40).astype(np.float32),
        "layers.1.weight": 9 * rng.normal(size=(10, 40)),
        "conv": rng.normal(size=(6, 3, 2, 2)).astype(np.float16),
        "steps": np.arange(12).reshape(3, 4),
        "empty": np.empty((0, 4), np.float32),
        "long": rng.normal(size=70_000).astype(np.float32),
    }
    np.savez(folder / "model.npz", **arrays)
    save_file(arrays, folder / "model.safetensors")
    return arrays


# -- help, version, start ----------------------------------------------------


def test_help_lists_every_command():
    output = invoke("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in output
    assert set(main.list_commands(None)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_fits(name):
    output = invoke(name, "--help").output
    assert "Usage:" in output
    assert all(len(line) <= 88 for line in output.splitlines())
    assert invoke(name, "-h").output == output


def test_version():
    assert __version__ in invoke("--version").output


@pytest.mark.parametrize(
    "args",
    [["--help"], ["inspect", "a.npy"], ["quantize", "a.npy", "-o", "b.safetensors"],
     ["doctor"], ["--version"]],
    ids=lambda args: args[0],
)  # fmt: skip
def test_starts_without_scikit_learn(run_python, folder, args):
    np.save("a.npy", np.eye(8))
    code = """
import os, sys
os.chdir(sys.argv[1])
from sklearn_ternary.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    assert end.code in (0, 1), end.code
light = sys.argv[2].startswith("--")
heavy = {"sklearn", "scipy", "pandas", "matplotlib", "cupy", "gguf"}
if light:
    heavy |= {"numpy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run_python(code, str(folder), *args)


# -- quantize and dequantize -------------------------------------------------


@pytest.mark.parametrize("working_memory", [1024, 0.01])
@pytest.mark.parametrize("granularity", ["tensor", "row", "column", "block"])
@pytest.mark.parametrize("levels", [3, 5])
@pytest.mark.parametrize("scale", ["absmean", "absmax", "mse", "norm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantize_is_ternarize(
    folder, dtype, scale, levels, granularity, working_memory
):
    W = np.random.default_rng(0).normal(size=(90, 71)).astype(dtype)
    np.save("w.npy", W)
    options = ["--scale", scale, "--levels", levels, "--granularity", granularity]
    if granularity == "block":
        options += ["--block-size", 16]
        expected = ternarize(W, scale=scale, n_levels=levels, block_size=16)
    else:
        expected = ternarize(W, scale=scale, n_levels=levels, axis=AXES[granularity])
    with config_context(working_memory=working_memory):
        invoke("quantize", "w.npy", "-o", "q.safetensors", *options)
        packed = load("q.safetensors")
        assert type(packed) is TernaryArray
        assert packed == expected
        assert packed.dtype == expected.dtype
        assert packed.layout == expected.layout
        invoke("dequantize", "q.safetensors", "-o", "back.npy")
    back = np.load("back.npy")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, expected.toarray())
    assert TernaryArray.load("q.safetensors") == expected


def test_small_panels_are_really_used(folder, monkeypatch):
    np.save("w.npy", np.random.default_rng(0).normal(size=(90, 71)))
    seen = []
    real = _streaming._read

    def spy(reader, name, rows, *rest):
        seen.append(rows)
        return real(reader, name, rows, *rest)

    monkeypatch.setattr(_streaming, "_read", spy)
    with config_context(working_memory=0.01):
        invoke("quantize", "w.npy", "-o", "q.safetensors")
    assert len(seen) > 10
    assert [r.start for r in seen[1:]] == [r.stop for r in seen[:-1]]


@pytest.mark.parametrize("source", ["model.npz", "model.safetensors"])
def test_quantize_a_model(model, source):
    report = json.loads(
        invoke("quantize", source, "-o", "q.safetensors", "--json").output
    )
    packed = load("q.safetensors")
    assert set(packed) == set(model)
    quantized = {"layers.0.weight", "layers.1.weight", "conv", "long"}
    for name, W in model.items():
        row = next(r for r in report["tensors"] if r["name"] == name)
        assert row["quantized"] == (name in quantized)
        assert row["shape"] == list(W.shape)
        if name not in quantized:
            np.testing.assert_array_equal(packed[name], W)
            assert packed[name].dtype == W.dtype
            continue
        axis = tuple(range(1, W.ndim)) if W.ndim > 1 else None
        expected = ternarize(W, scale="mse", axis=axis)
        assert packed[name] == expected
        wide = W.astype(np.float64)
        error = wide - expected.toarray()
        snr = 10 * np.log10(np.sum(wide**2) / np.sum(error**2))
        assert row["snr_db"] == pytest.approx(snr)
        assert row["bytes"] == expected.nbytes
        assert row["bits_per_value"] == pytest.approx(expected.bits_per_value)
        assert row["ratio"] == pytest.approx(expected.compression_ratio)
    total = report["total"]
    assert total["n_tensors"] == 7
    assert total["n_quantized"] == 4
    assert total["input_bytes"] == os.path.getsize(source)
    assert total["output_bytes"] == os.path.getsize("q.safetensors")


@pytest.mark.parametrize("target", ["back.npz", "back.safetensors"])
def test_dequantize_a_model(model, target):
    invoke("quantize", "model.npz", "-o", "q.safetensors")
    with config_context(working_memory=0.001):
        invoke("dequantize", "q.safetensors", "-o", target)
    back = np.load(target) if target.endswith("z") else load_file(target)
    packed = load("q.safetensors")
    assert set(back) == set(packed)
    for name, value in packed.items():
        np.testing.assert_array_equal(back[name], np.asarray(value))


@pytest.mark.parametrize("options", [(), ("--target-bits", "3"), ("--levels", "5")])
def test_entropy_coded_files(model, options):
    """They hold what the others hold, in fewer bytes; nothing else is left behind."""
    invoke("quantize", "model.npz", "-o", "plain.safetensors", *options)
    args = "model.npz", "-o", "coded.safetensors", *options, "--entropy-code"
    before = set(os.listdir())
    report = json.loads(invoke("quantize", *args, "--json").output)
    assert set(os.listdir()) == before | {"coded.safetensors"}
    packed, coded = load("plain.safetensors"), load("coded.safetensors")
    assert list(packed) == list(coded)
    for name, value in packed.items():
        if isinstance(value, TernaryArray):
            assert coded[name] == value
        else:
            np.testing.assert_array_equal(coded[name], value)
    inspected = json.loads(invoke("inspect", "coded.safetensors", "--json").output)
    assert inspected["checksums"] == "ok"
    for row, shown in zip(report["tensors"], inspected["tensors"], strict=True):
        assert row["entropy_coded"] == row["quantized"]
        assert row["entropy_coded"] == shown["kind"].endswith(", entropy coded")
        assert (row["name"], row["bytes"]) == (shown["name"], shown["bytes"])
    size, plain = map(os.path.getsize, ("coded.safetensors", "plain.safetensors"))
    assert report["total"]["output_bytes"] == size
    assert size < plain or "--target-bits" in options
    for source in ("plain", "coded"):
        invoke("dequantize", f"{source}.safetensors", "-o", f"{source}.npz")
    with np.load("plain.npz") as one, np.load("coded.npz") as two:
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])


def test_an_entropy_coded_array_of_its_own(folder):
    W = np.random.default_rng(0).normal(size=(300, 400))
    np.save("w.npy", W)
    shown = invoke("quantize", "w.npy", "-o", "q.safetensors", "--entropy-code")
    assert "t5, entropy coded" in " ".join(shown.output.split())
    assert load("q.safetensors") == ternarize(W, scale="mse", axis=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dequantize_to_a_dtype(folder, dtype):
    A = ternarize(np.random.default_rng(0).normal(size=(5, 7)))
    save({"a": A, "n": np.arange(3)}, "q.safetensors")
    invoke("dequantize", "q.safetensors", "-o", "b.npz", "--dtype", dtype)
    back = np.load("b.npz")
    np.testing.assert_array_equal(back["a"], A.toarray(dtype))
    assert back["a"].dtype == dtype
    assert back["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("options", "quantized"),
    [
        (["--include", "layers.*"],
         {"layers.0.weight", "layers.0.bias", "layers.1.weight"}),
        (["--include", "*.weight", "--include", "conv"],
         {"layers.0.weight", "layers.1.weight", "conv"}),
        (["--exclude", "layers.*"], {"conv", "long"}),
        (["--include", "*", "--exclude", "long"],
         {"layers.0.weight", "layers.0.bias", "layers.1.weight", "conv"}),
    ],
)  # fmt: skip
def test_patterns_choose_tensors(model, options, quantized):
    invoke("quantize", "model.npz", "-o", "q.safetensors", *options)
    packed = load("q.safetensors")
    chosen = {n for n, value in packed.items() if isinstance(value, TernaryArray)}
    assert chosen == quantized


@pytest.mark.parametrize("layout", ["t2", "t5", "q3"])
def test_layouts(folder, layout):
    np.save("w.npy", np.eye(9))
    invoke("quantize", "w.npy", "-o", "q.safetensors", "--layout", layout)
    assert load("q.safetensors").layout == layout


@pytest.mark.parametrize("target", [2.0, 3.0, 5.0])
def test_target_bits_are_met(model, target):
    report = json.loads(
        invoke(
            "quantize", "model.npz", "-o", "q.safetensors",
            "--target-bits", target, "--exclude", "conv", "--json",
        ).output
    )  # fmt: skip
    assert report["total"]["bits_per_value"] <= target
    packed = load("q.safetensors")
    values = [v for v in packed.values() if isinstance(v, TernaryArray)]
    bits = 8 * sum(v.nbytes for v in values) / sum(v.size for v in values)
    assert report["total"]["bits_per_value"] == pytest.approx(bits)


def test_an_unreachable_target_names_the_minimum(model):
    result = invoke(
        "quantize", "model.npz", "-o", "q.safetensors", "--target-bits", 1, code=2
    )
    assert "minimum" in result.output
    assert not os.path.exists("q.safetensors")


@pytest.mark.parametrize("working_memory", [1024, 0.001])
@pytest.mark.parametrize("granularity", ["tensor", "row", "column", "block"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_are_named(folder, bad, granularity, working_memory):
    W = np.random.default_rng(0).normal(size=(50, 12))
    W[31, 7] = bad
    np.save("w.npy", W)
    args = ["quantize", "w.npy", "-o", "q.safetensors", "--granularity", granularity]
    args += ["--scale", "absmean"]
    with config_context(working_memory=working_memory):
        result = invoke(*args, code=2)
        assert "row 31, column 7" in result.output
        assert os.listdir(folder) == ["w.npy"]
        block = (
            {"block_size": 256}
            if granularity == "block"
            else {"axis": AXES[granularity]}
        )
        for choice in ("zero", "propagate"):
            invoke(*args, "--on-nonfinite", choice, "--force")
            expected = ternarize(W, on_nonfinite=choice, **block)
            assert load("q.safetensors") == expected


def test_bfloat16_and_float16_are_quantized_as_float32(folder):
    values = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    half = values.astype(np.float16)
    np.savez("w.npz", a=half)
    invoke("quantize", "w.npz", "-o", "q.safetensors")
    expected = ternarize(half.astype(np.float32), scale="mse", axis=1)
    assert load("q.safetensors")["a"] == expected


def test_a_dtype_that_cannot_be_read_is_named(folder):
    fields = {"a": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}}
    header = json.dumps(fields).encode()
    length = len(header).to_bytes(8, "little")
    (folder / "a.safetensors").write_bytes(length + header + bytes(4))
    assert "F8_E4M3" in invoke("inspect", "a.safetensors").output
    args = ["quantize", "a.safetensors", "-o", "b.safetensors"]
    assert "'a' has dtype F8_E4M3" in invoke(*args, code=2).output


def test_a_large_file_needs_little_memory(folder):
    n_rows, n_columns = 2048, 4096  # 32 MiB
    array = np.lib.format.open_memmap("w.npy", "w+", np.float32, (n_rows, n_columns))
    array[:] = np.linspace(-1, 1, n_columns, dtype=np.float32)
    del array
    tracemalloc.start()
    try:
        with config_context(working_memory=2):
            invoke("quantize", "w.npy", "-o", "q.safetensors", "--scale", "absmean")
            invoke("dequantize", "q.safetensors", "-o", "b.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
    np.testing.assert_array_equal(
        np.load("b.npy", mmap_mode="r")[-1],
        ternarize(np.linspace(-1, 1, n_columns, dtype=np.float32)).toarray(),
    )


@settings(max_examples=50, deadline=None)
@given(
    size=st.integers(0, 20_000),
    cuts=st.lists(st.integers(0, 20_000), max_size=6),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_running_sum_has_the_bits_of_the_whole(size, cuts, dtype):
    x = np.random.default_rng(size).exponential(size=size).astype(dtype)
    running = _streaming.RunningSum()
    for part in np.split(x, sorted(min(c, size) for c in cuts)):
        running.add(part)
    assert running.value() == ordered_sum(x)


def test_existing_files_are_kept_unless_forced(folder):
    np.save("w.npy", np.eye(3))
    target = folder / "q.safetensors"
    target.write_text("precious")
    assert "--force" in invoke("quantize", "w.npy", "-o", target, code=2).output
    assert target.read_text() == "precious"
    invoke("quantize", "w.npy", "-o", target, "--force")
    assert load(target).shape == (3, 3)


def test_a_file_can_replace_its_input(model):
    expected = ternarize(model["layers.0.weight"], scale="mse", axis=1)
    invoke("quantize", "model.safetensors", "-o", "model.safetensors", "--force")
    assert load("model.safetensors")["layers.0.weight"] == expected


def test_pipes(folder):
    W = np.random.default_rng(0).normal(size=(20, 30))
    np.save("w.npy", W)
    packed = shell("quantize", "-", "-o", "-", input=(folder / "w.npy").read_bytes())
    assert packed.returncode == 0, packed.stderr
    assert b"SNR" in packed.stderr
    back = shell("dequantize", "-", "-o", "-", input=packed.stdout)
    assert back.returncode == 0, back.stderr
    (folder / "b.npy").write_bytes(back.stdout)
    expected = ternarize(W, scale="mse", axis=1).toarray()
    np.testing.assert_array_equal(np.load("b.npy"), expected)
    listed = shell("inspect", "-", "--json", input=packed.stdout)
    assert json.loads(listed.stdout)["checksums"] == "ok"


# -- errors ------------------------------------------------------------------

ERRORS = {
    "no file": (["quantize", "no.npy", "-o", "q.safetensors"], "No such file"),
    "no folder": (["quantize", "w.npy", "-o", "no/q.safetensors"], "No such file"),
    "folder in": (["inspect", "."], "Is a directory"),
    "folder out": (["dequantize", "q.safetensors", "-o", "dir.npz"], "Is a directory"),
    "not an array": (["inspect", "text.txt"], "not known here"),
    "pickle": (["inspect", "a.pickle"], "is a pickle"),
    "empty": (["quantize", "empty", "-o", "b.safetensors"], "an empty file"),
    "wrong ending": (["dequantize", "q.safetensors", "-o", "b.txt"], "supported are"),
    "ending of quantize": (["quantize", "w.npy", "-o", "b.npz"], ".safetensors"),
    "packed twice": (["quantize", "q.safetensors", "-o", "b.safetensors"], "already"),
    "not packed": (["dequantize", "w.npy", "-o", "b.npy"], "not a packed file"),
    "only integers": (["quantize", "i.npy", "-o", "b.safetensors"], "no tensor"),
    "no match": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--include", "x"],
        "no tensor",
    ),
    "block size alone": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--block-size", "3"],
        "--granularity block",
    ),
    "layout and levels": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--layout", "t2", "--levels", "5"],
        "does not store 5 levels",
    ),
    "twn of 5": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--scale", "twn", "--levels", "5"],
        "3 levels only",
    ),
    "bits and levels": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "2",
         "--levels", "5"],
        "--levels",
    ),
    "bits and layout": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "2",
         "--layout", "t2"],
        "--layout",
    ),
    "bits and NaN": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "2",
         "--on-nonfinite", "propagate"],
        "finite",
    ),
    "bits NaN": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--target-bits", "nan"],
        "target_bits",
    ),
    "unknown scale": (
        ["quantize", "w.npy", "-o", "b.safetensors", "--scale", "max"],
        "absmean",
    ),
    "no output": (["quantize", "w.npy"], "Missing option"),
    "no input": (["inspect"], "Missing argument"),
    "unknown command": (["pack"], "No such command"),
    "unknown option": (["doctor", "--cure"], "No such option"),
    "bench size": (["bench", "--sizes", "0"], "'0' is not"),
    "bench sizes": (["bench", "--sizes", "8,x"], "'x' is not"),
    "bench what": (["bench", "--what", "pack"], "'pack' is not"),
    "bench shape": (["bench", "--shapes", "8"], "'8' is not"),
    "bench rows": (["bench", "--rows", "0"], "'0' is not"),
    "bench isa": (["bench", "--isa", "mmx"], "'mmx' is not"),
    "bench threads": (["bench", "--threads", "1,-1"], "'-1' is not"),
    "bench iterations": (["bench", "--iterations", "0"], "iterations"),
    "epochs": (["demo", "--epochs", "0"], "epochs"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_use_is_2_and_says_why(folder, case):
    np.save("w.npy", np.eye(3))
    np.save("i.npy", np.arange(9).reshape(3, 3))
    save(ternarize(np.eye(3)), "q.safetensors")
    (folder / "text.txt").write_text("hello")
    (folder / "a.pickle").write_bytes(b"\x80\x04\x95")
    (folder / "empty").write_text("")
    (folder / "dir.npz").mkdir()
    before = sorted(os.listdir(folder))
    args, message = ERRORS[case]
    result = invoke(*args, code=2)
    assert message in result.output
    assert "Traceback" not in result.output
    assert sorted(os.listdir(folder)) == before


def test_no_permission_is_2(folder):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    np.save("w.npy", np.eye(3))
    os.chmod("w.npy", 0)
    assert "Permission" in invoke("inspect", "w.npy", code=2).output


def test_a_full_disk_is_1(folder, monkeypatch):
    np.save("w.npy", np.eye(3))

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_atomic.os, "pwrite", full)
    result = invoke("quantize", "w.npy", "-o", "q.safetensors", code=1)
    assert "No space left" in result.output
    assert os.listdir(folder) == ["w.npy"]


def test_running_out_of_memory_is_1(folder, monkeypatch):
    np.save("w.npy", np.eye(3))

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(_streaming, "ternarize", fail)
    result = invoke("quantize", "w.npy", "-o", "q.safetensors", code=1)
    assert "not enough memory" in result.output


def test_ctrl_c_is_130_and_leaves_nothing(folder, monkeypatch):
    np.save("w.npy", np.eye(3))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_streaming, "ternarize", interrupt)
    result = invoke("quantize", "w.npy", "-o", "q.safetensors", code=130)
    assert "interrupted" in result.output
    assert os.listdir(folder) == ["w.npy"]


def test_a_real_ctrl_c(folder):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sklearn_ternary", "quantize", "-", "-o", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # It reads stdin once it has started; more than a pipe holds shows that.
    process.stdin.write(bytes(1 << 20))
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.decode().strip() == "Error: interrupted"


def test_a_closed_pipe_ends_quietly(folder):
    np.savez("m.npz", **{f"tensor {i}": np.eye(2) for i in range(3000)})
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sklearn_ternary", "inspect", "m.npz"],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_a_wrong_environment_is_2(folder):
    np.save("w.npy", np.eye(3))
    environment = os.environ | {"SKLEARN_TERNARY_BACKEND": "abacus"}
    done = shell("quantize", "w.npy", "-o", "q.safetensors", env=environment)
    assert done.returncode == 2
    assert b"SKLEARN_TERNARY_BACKEND='abacus'" in done.stderr
    assert b"Traceback" not in done.stderr


# -- inspect -----------------------------------------------------------------


def test_inspect_a_packed_file(model):
    invoke("quantize", "model.npz", "-o", "q.safetensors")
    report = json.loads(invoke("inspect", "q.safetensors", "--json").output)
    packed = load("q.safetensors")
    assert report["format"] == "sklearn-ternary"
    assert report["checksums"] == "ok"
    assert report["bytes"] == os.path.getsize("q.safetensors")
    assert [row["name"] for row in report["tensors"]] == list(packed)
    for row in report["tensors"]:
        value = packed[row["name"]]
        assert row["shape"] == list(value.shape)
        assert row["bytes"] == value.nbytes
        if isinstance(value, TernaryArray):
            assert row["kind"] == value.layout
            assert row["levels"] == value.n_levels
    text = invoke("inspect", "q.safetensors").output
    assert "checksums: ok" in text
    assert "layers.0.weight" in text


@pytest.mark.parametrize(
    ("source", "kind"), [("model.npz", "npz"), ("model.safetensors", "safetensors")]
)
def test_inspect_plain_files(model, source, kind):
    report = json.loads(invoke("inspect", source, "--json").output)
    assert report["format"] == kind
    shapes = {row["name"]: tuple(row["shape"]) for row in report["tensors"]}
    assert shapes == {name: array.shape for name, array in model.items()}
    for row in report["tensors"]:
        assert row["bytes"] == model[row["name"]].nbytes


def test_inspect_finds_damage(model):
    invoke("quantize", "model.npz", "-o", "q.safetensors")
    with open("q.safetensors", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    result = invoke("inspect", "q.safetensors", "--json", code=1)
    report = json.loads(result.output)
    assert report["checksums"] == "damaged"
    assert len(report["damaged"]) == 1
    assert "damaged:" in invoke("inspect", "q.safetensors", code=1).output
    assert "not compared" in invoke("inspect", "q.safetensors", "--no-verify").output
    invoke("dequantize", "q.safetensors", "-o", "b.npz", code=2)
    assert not os.path.exists("b.npz")
    os.truncate("q.safetensors", 100)
    invoke("inspect", "q.safetensors", code=2)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2, 6]},
        {"shape": [2**62, 0]},
        {"shape": [-1]},
        {"shape": None},
        {"shape": [2, 5] + [1] * 40},
        {"layout": "zip"},
        {"layout": None},
        {"group_size": 0},
        {"group_size": "5"},
        {"more": 1},
    ],
    ids=str,
)
def test_hostile_descriptions_are_refused(folder, change):
    tensors = {"p": np.zeros((2, 1), np.uint8), "s": np.ones((2, 1), np.float32)}
    info = {"shape": [2, 5], "layout": "t5", "group_size": 5}
    part = {"tensors": {"packed": "p", "scale": "s"}, "info": info}
    write_container("good.safetensors", tensors, {"parts": {"a": part}})
    part["info"] = info | change
    write_container("bad.safetensors", tensors, {"parts": {"a": part}})
    invoke("dequantize", "good.safetensors", "-o", "b.npy")
    np.testing.assert_array_equal(np.load("b.npy"), -np.ones((2, 5)))
    result = invoke("dequantize", "bad.safetensors", "-o", "c.npy", code=2)
    assert "Error" in result.output
    assert not os.path.exists("c.npy")


def test_empty_rows_without_end_take_no_time(folder):
    tensors = {"p": np.zeros((2**60, 0), np.uint8), "s": np.zeros((1, 0), np.float32)}
    info = {"shape": [2**60, 0], "layout": "t5", "group_size": 1}
    part = {"tensors": {"packed": "p", "scale": "s"}, "info": info}
    write_container("q.safetensors", tensors, {"parts": {"a": part}})
    invoke("dequantize", "q.safetensors", "-o", "b.npy")
    assert np.load("b.npy").shape == (2**60, 0)


def test_names_cannot_command_the_terminal(folder):
    name = "\x1b[2Jevil[red]\u202e\n"
    np.savez("m.npz", **{name: np.eye(3)})
    for args in (
        ["inspect", "m.npz"],
        ["quantize", "m.npz", "-o", "q.safetensors"],
        ["inspect", "q.safetensors"],
    ):
        output = invoke(*args).output
        assert "\x1b" not in output
        assert "\u202e" not in output
        assert r"\x1b[2Jevil[red]\u202e\n" in output
    assert list(load("q.safetensors")) == [name]


# -- how it prints -----------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["quantize", "model.npz", "-o", "q.safetensors", "--force"],
        ["inspect", "model.npz"],
        ["doctor"],
        [
            "bench",
            "--sizes",
            "4096",
            "--shapes",
            "64x64",
            "--iterations",
            "1",
            "--isa",
            "numpy,generic",
        ],
        ["demo", "--epochs", "1"],
    ],
    ids=lambda args: args[0],
)
def test_in_a_pipe_there_are_80_columns_and_no_colours(model, args):
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = shell(*args, env=environment)
    assert done.returncode == (0 if args[0] != "doctor" else done.returncode)
    text = done.stdout.decode()
    assert "\x1b" not in text + done.stderr.decode()
    assert text.count("\n") > 3
    assert max(len(line) for line in text.splitlines()) <= 80


# -- doctor ------------------------------------------------------------------


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
def test_doctor_is_content_with_the_kernels():
    report = json.loads(invoke("doctor", "--json").output)
    checked = [c["name"] for c in report["checks"] if c["name"].startswith("self")]
    assert checked == [f"self-check {isa}" for isa in _bench_turns.available_isas()]


@pytest.mark.skipif(not built(), reason="the kernels are not built")
def test_doctor_finds_a_wrong_kernel(monkeypatch):
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


def test_doctor_fails_without_kernels(monkeypatch):
    versions = doctor_command.collect_versions()
    versions["kernels"] = {"built": False, "reason": "no such module"}
    monkeypatch.setattr(doctor_command, "collect_versions", lambda: versions)
    result = invoke("doctor", code=1)
    assert "no such module" in result.output
    assert "broken" in result.output


def test_doctor_lists_where_operations_run():
    with config_context(backend="numpy"):
        assert "quantize_pack" in invoke("doctor", "--operations").output
        output = invoke("doctor", "--operations", "--json").output
    rows = json.loads(output)["operations"]
    assert {row["operation"] for row in rows} == set(OPERATIONS)
    choices = [choice for row in rows for choice in row["choices"].values()]
    assert all(choice["backend"] == "numpy" for choice in choices)


@pytest.mark.skipif(not built(), reason="the kernels are not built")
def test_doctor_lists_what_is_chosen():
    rows = json.loads(invoke("doctor", "--operations", "--json").output)["operations"]
    for row in rows:
        for size, choice in row["choices"].items():
            chosen = _dispatch.choose(row["operation"], int(size), row["dtype"])
            assert tuple(choice.values()) == chosen


def test_doctor_fails_with_a_wrong_environment():
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


# -- bench -------------------------------------------------------------------


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


def test_bench_of_levels_without_kernels(folder):
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


def test_bench_products(folder):
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


def test_bench_writes_json(folder):
    args = ["bench", "--what", "quantize", "--sizes", "256,512", "--iterations", 1]
    args += ["--isa", "numpy"]
    output = invoke(*args, "-o", "bench.json").output
    assert "np.clip(np.rint(x/np.abs(x).mean()), -1, 1)" in output
    with open("bench.json") as file:
        report = json.load(file)
    assert report["schema"] == "sklearn-ternary-bench/2"
    assert {row["size"] for row in report["results"]} == {256, 512}
    assert report["baselines"]["numpy"] == _bench_quantize.NUMPY_EXPRESSION
    assert json.loads(invoke(*args, "--json").output)["schema"] == report["schema"]


def test_bench_prints_json(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    common = ("--what", "quantize", "--sizes", "64", "--iterations", "1", "--no-peers")
    report = json.loads(invoke("bench", *common, "--output", "json").output)
    assert report["results"]
    assert not list(tmp_path.iterdir())


def test_bench_compares_reports(folder):
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


# -- demo --------------------------------------------------------------------


def test_demo():
    report = json.loads(invoke("demo", "--epochs", 8, "--json").output)
    rows = report["variants"]
    floats, rounded, twin, ternary = rows
    assert all(row["equal_after_load"] for row in rows)
    assert floats["bits_per_weight"] == twin["bits_per_weight"] == 32
    assert ternary["accuracy"] > 0.93
    assert ternary["accuracy"] > rounded["accuracy"] - 0.01
    for row in rows:
        assert 0.5 < row["accuracy"] <= 1
        assert row["training_seconds"] > 0
        assert row["seconds_per_image"] > 0
        assert row["size_ratio"] == floats["file_bytes"] / row["file_bytes"]
    # 25,856 weights of log2(3) bits, and what else is stored.
    assert report["model"]["n_weights"] == 25_856
    for row in (rounded, ternary):
        assert row["file_bytes"] > 25_856 * np.log2(3) / 8
        assert 1.6 < row["bits_per_weight"] < 2.1
    assert report["data"]["n_train"] + report["data"]["n_test"] == 1797


def test_demo_depends_on_the_seed_only():
    def accuracies(seed):
        output = invoke("demo", "--epochs", 1, "--seed", seed, "--json").output
        return [row["accuracy"] for row in json.loads(output)["variants"]]

    assert accuracies(0) == accuracies(0)
    assert accuracies(0) != accuracies(1)


def test_demo_prints_the_table():
    output = invoke("demo", "--epochs", 1).output
    assert "\n ternary " in output
    assert output.count("  equal") == 4


def test_content_of_a_packed_file_is_documented_json(folder):
    np.save("w.npy", np.eye(5))
    invoke("quantize", "w.npy", "-o", "q.safetensors")
    _, content = read_container("q.safetensors")
    assert content == {
        "parts": {
            "": {
                "tensors": {"packed": "packed", "scale": "scale"},
                "info": {"shape": [5, 5], "layout": "t5", "group_size": 5},
            }
        }
    }
