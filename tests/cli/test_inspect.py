"""`inspect`: what it lists, and the damage it finds."""

import json
import os

import numpy as np
import pytest

from sklearn_ternary import (
    TernaryArray,
    load,
)
from sklearn_ternary.persistence import write_container


def test_inspect_a_packed_file(invoke, model):
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
def test_inspect_plain_files(invoke, model, source, kind):
    report = json.loads(invoke("inspect", source, "--json").output)
    assert report["format"] == kind
    shapes = {row["name"]: tuple(row["shape"]) for row in report["tensors"]}
    assert shapes == {name: array.shape for name, array in model.items()}
    for row in report["tensors"]:
        assert row["bytes"] == model[row["name"]].nbytes


def test_inspect_finds_damage(invoke, model):
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
def test_hostile_descriptions_are_refused(invoke, folder, change):
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


def test_empty_rows_without_end_take_no_time(invoke, folder):
    tensors = {"p": np.zeros((2**60, 0), np.uint8), "s": np.zeros((1, 0), np.float32)}
    info = {"shape": [2**60, 0], "layout": "t5", "group_size": 1}
    part = {"tensors": {"packed": "p", "scale": "s"}, "info": info}
    write_container("q.safetensors", tensors, {"parts": {"a": part}})
    invoke("dequantize", "q.safetensors", "-o", "b.npy")
    assert np.load("b.npy").shape == (2**60, 0)


def test_names_cannot_command_the_terminal(invoke, folder):
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
