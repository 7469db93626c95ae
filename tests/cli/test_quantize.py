"""`quantize` and `dequantize`: what they write."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from sklearn_ternary import (
    TernaryArray,
    config_context,
    load,
    save,
    ternarize,
)
from sklearn_ternary._reference.sums import ordered_sum
from sklearn_ternary.cli import _streaming
from sklearn_ternary.persistence import read_container

AXES = {"tensor": None, "row": 1, "column": 0}


@pytest.mark.parametrize("working_memory", [1024, 0.01])
@pytest.mark.parametrize("granularity", ["tensor", "row", "column", "block"])
@pytest.mark.parametrize("levels", [3, 5])
@pytest.mark.parametrize("scale", ["absmean", "absmax", "mse", "norm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantize_is_ternarize(
    invoke, folder, dtype, scale, levels, granularity, working_memory
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


def test_small_panels_are_really_used(invoke, folder, monkeypatch):
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
def test_quantize_a_model(invoke, model, source):
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
def test_dequantize_a_model(invoke, model, target):
    invoke("quantize", "model.npz", "-o", "q.safetensors")
    with config_context(working_memory=0.001):
        invoke("dequantize", "q.safetensors", "-o", target)
    back = np.load(target) if target.endswith("z") else load_file(target)
    packed = load("q.safetensors")
    assert set(back) == set(packed)
    for name, value in packed.items():
        np.testing.assert_array_equal(back[name], np.asarray(value))


@pytest.mark.parametrize("options", [(), ("--target-bits", "3"), ("--levels", "5")])
def test_entropy_coded_files(invoke, model, options):
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


def test_an_entropy_coded_array_of_its_own(invoke, folder):
    W = np.random.default_rng(0).normal(size=(300, 400))
    np.save("w.npy", W)
    shown = invoke("quantize", "w.npy", "-o", "q.safetensors", "--entropy-code")
    assert "t5, entropy coded" in " ".join(shown.output.split())
    assert load("q.safetensors") == ternarize(W, scale="mse", axis=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dequantize_to_a_dtype(invoke, folder, dtype):
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
def test_patterns_choose_tensors(invoke, model, options, quantized):
    invoke("quantize", "model.npz", "-o", "q.safetensors", *options)
    packed = load("q.safetensors")
    chosen = {n for n, value in packed.items() if isinstance(value, TernaryArray)}
    assert chosen == quantized


@pytest.mark.parametrize("layout", ["t2", "t5", "q3"])
def test_layouts(invoke, folder, layout):
    np.save("w.npy", np.eye(9))
    invoke("quantize", "w.npy", "-o", "q.safetensors", "--layout", layout)
    assert load("q.safetensors").layout == layout


@pytest.mark.parametrize("target", [2.0, 3.0, 5.0])
def test_target_bits_are_met(invoke, model, target):
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


def test_an_unreachable_target_names_the_minimum(invoke, model):
    result = invoke(
        "quantize", "model.npz", "-o", "q.safetensors", "--target-bits", 1, code=2
    )
    assert "minimum" in result.output
    assert not os.path.exists("q.safetensors")


@pytest.mark.parametrize("working_memory", [1024, 0.001])
@pytest.mark.parametrize("granularity", ["tensor", "row", "column", "block"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_are_named(invoke, folder, bad, granularity, working_memory):
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


def test_bfloat16_and_float16_are_quantized_as_float32(invoke, folder):
    values = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    half = values.astype(np.float16)
    np.savez("w.npz", a=half)
    invoke("quantize", "w.npz", "-o", "q.safetensors")
    expected = ternarize(half.astype(np.float32), scale="mse", axis=1)
    assert load("q.safetensors")["a"] == expected


def test_a_dtype_that_cannot_be_read_is_named(invoke, folder):
    fields = {"a": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]}}
    header = json.dumps(fields).encode()
    length = len(header).to_bytes(8, "little")
    (folder / "a.safetensors").write_bytes(length + header + bytes(4))
    assert "F8_E4M3" in invoke("inspect", "a.safetensors").output
    args = ["quantize", "a.safetensors", "-o", "b.safetensors"]
    assert "'a' has dtype F8_E4M3" in invoke(*args, code=2).output


def test_a_large_file_needs_little_memory(invoke, folder):
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


def test_existing_files_are_kept_unless_forced(invoke, folder):
    np.save("w.npy", np.eye(3))
    target = folder / "q.safetensors"
    target.write_text("precious")
    assert "--force" in invoke("quantize", "w.npy", "-o", target, code=2).output
    assert target.read_text() == "precious"
    invoke("quantize", "w.npy", "-o", target, "--force")
    assert load(target).shape == (3, 3)


def test_a_file_can_replace_its_input(invoke, model):
    expected = ternarize(model["layers.0.weight"], scale="mse", axis=1)
    invoke("quantize", "model.safetensors", "-o", "model.safetensors", "--force")
    assert load("model.safetensors")["layers.0.weight"] == expected


def test_pipes(shell, folder):
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


def test_content_of_a_packed_file_is_documented_json(invoke, folder):
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
