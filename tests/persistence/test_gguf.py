"""GGUF files: the same bytes and values as those of the gguf package."""

import os
import struct

import numpy as np
import pytest

from sklearn_ternary.persistence._gguf_codecs import DECODE, ENCODE
from sklearn_ternary.persistence._gguf_types import TYPES
from sklearn_ternary.persistence.gguf import GGUFLimits, GGUFReader, GGUFWriter
from sklearn_ternary.quantization import from_ggml, to_ggml

gguf = pytest.importorskip("gguf", reason="pip install gguf")

PLAIN = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
}
BLOCKS = ["BF16", "Q4_0", "Q8_0", "Q4_K", "Q6_K", "TQ1_0", "TQ2_0"]
ENCODED = ["F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0"]


def peer_type(name):
    return gguf.GGMLQuantizationType[name]


@pytest.fixture
def path(tmp_path):
    return os.fspath(tmp_path / "file.gguf")


# ---- types ------------------------------------------------------------------


def test_the_table_of_types_is_that_of_the_format():
    theirs = {
        t.name: (t.value, *size)
        for t, size in gguf.GGML_QUANT_SIZES.items()
        if t.name in TYPES
    }
    ours = {
        row.name: (row.number, row.block_values, row.block_bytes)
        for row in TYPES.values()
        if row.name not in ("I2_S", "I8_S")
    }
    assert {name: ours[name] for name in theirs} == theirs
    assert set(ours) - set(theirs) <= {"NVFP4", "Q1_0"}, "newer than the peer"


@pytest.mark.parametrize("kind", BLOCKS)
def test_random_blocks_decode_as_theirs(kind):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (300, TYPES[kind].block_bytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        ours = DECODE[kind](data)
        theirs = gguf.quants.dequantize(data, peer_type(kind))
    np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))


@pytest.mark.parametrize("kind", ENCODED)
def test_values_encode_to_their_bytes(kind):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 256)).astype(np.float32)
    x[3] = 0
    x[4] *= np.float32(1e-3)
    x[5] = rng.integers(-1, 2, 256) * np.float32(0.5)
    x[6, :128] = 0.25  # halves of the scale: ties
    x[6, 128:] = 0.5
    ours = ENCODE[kind](x.reshape(-1, TYPES[kind].block_values))
    theirs = gguf.quants.quantize(x, peer_type(kind)).view(np.uint8)
    np.testing.assert_array_equal(ours.ravel(), theirs.ravel())


def test_q6_k_is_as_close_as_six_bits_allow():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 256)).astype(np.float32)
    x[0] = 0
    x[1] = np.repeat([3.0, -2.0, 0, 1e-3], 64)
    back = DECODE["Q6_K"](ENCODE["Q6_K"](x))
    error = back - x
    # A step and a half: the range has 64 levels, and one end is cut by one.
    assert (np.abs(error) <= np.abs(x).max(axis=1, keepdims=True) / 20).all()
    assert (error[2:] ** 2).mean() / (x[2:] ** 2).mean() < 4.0e-4
    assert not back[0].any()
    np.testing.assert_allclose(back[1, :128], x[1, :128], rtol=0.02)


@pytest.mark.parametrize("order", ["x86", "arm"])
@pytest.mark.parametrize("kind", ["TQ1_0", "TQ2_0", "I2_S"])
def test_ternary_tensors_are_the_packed_arrays_of_their_layout(path, kind, order):
    rng = np.random.default_rng(3)
    W = rng.integers(-1, 2, (6, 512)) * np.float32(0.75)
    layout = f"i2_s_{order}" if kind == "I2_S" else kind.lower()
    metadata = {"general.architecture": "bitnet-b1.58"}
    tensors = [("w", kind, W.shape)]
    with GGUFWriter(path, tensors, metadata, i2_s_order=order) as writer:
        writer.write("w", W)
    with GGUFReader(path) as reader:
        A = from_ggml(reader.raw("w"), reader.shape("w"), layout)
        np.testing.assert_array_equal(A.toarray(), W)
        np.testing.assert_array_equal(reader.read("w", i2_s_order=order), W)
        np.testing.assert_array_equal(
            reader.read_rows("w", 2, 5, i2_s_order=order), W[2:5]
        )
        np.testing.assert_array_equal(to_ggml(A, layout).ravel(), reader.raw("w"))


# ---- whole files ------------------------------------------------------------


def test_version_2_and_types_that_are_not_decoded(path):
    writer = gguf.GGUFWriter(path, "x")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[4] = 2
    blocks = np.arange(84 * 2, dtype=np.uint8)
    with open(path, "wb") as file:
        file.write(data)
    with GGUFReader(path) as reader:
        assert reader.version == 2
    with GGUFWriter(path, [("a", "Q2_K", (2, 256))], {}) as writer:
        writer.write_raw("a", blocks)
    with GGUFReader(path) as reader:
        np.testing.assert_array_equal(reader.raw("a"), blocks)
        with pytest.raises(ValueError, match=r"'a' is Q2_K, which is not decoded"):
            reader.read("a")
        with pytest.raises(ValueError, match="no tensor 'b'"):
            reader.raw("b")


def test_a_tensor_is_written_and_read_in_parts(path):
    x = np.random.default_rng(0).normal(size=(40, 2, 256)).astype(np.float32)
    with GGUFWriter(path, [("a", "F16", x.shape), ("b", "F32", (7,))], {}) as writer:
        writer.write("b", np.arange(3))
        for i in range(0, 40, 9):
            writer.write("a", x[i : i + 9])
        writer.write("b", np.arange(3, 7))
    with GGUFReader(path) as reader:
        expected = x.astype(np.float16)
        np.testing.assert_array_equal(reader.read_rows("a", 3, 33), expected[3:33])
        np.testing.assert_array_equal(reader.read("b"), np.arange(7))
        view = reader.raw("a")
        with pytest.raises(ValueError):
            view[0] = 1
    assert view[0] == expected.view(np.uint8).flat[0]  # the map outlives the reader


# ---- what cannot be written -------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "shape", "values", "problem"),
    [
        ("TQ2_0", (2, 100), None, "multiple of 256"),
        ("TQ1_0", (256,), np.full(256, np.inf), r"value inf at \(0,\)"),
        ("TQ1_0", (2, 256), np.eye(2, 256) * NAN, "not finite"),
        ("F16", (2,), np.array([1, 1e6]), r"value 1000000.0 at \(1,\)"),
        ("F32", (2,), np.array([1, 1e39]), "too large"),
        ("F32", (2,), np.zeros(3), "longer than declared"),
        ("F32", (4, 2), np.zeros((2, 4)), "not whole rows"),
        ("F32", (2,), np.zeros(1), "lacks 4 bytes"),
        ("Q4_0", (32,), np.zeros(32), "not encoded"),
        ("I32", (2,), np.zeros(2), "float64 was given"),
        ("I2_S", (2, 128), np.zeros((2, 128)), "of bitnet.cpp"),
        ("X", (2,), None, "type 'X' is not one of"),
        ("F32", (1, 1, 1, 1, 1), None, "1 to 4 axes"),
        ("F32", (), None, "1 to 4 axes"),
        ("F32", (2,), np.array(["a", "b"]), "not numeric"),
    ],
)
def test_what_cannot_be_written_is_named(path, kind, shape, values, problem):
    with (
        pytest.raises(ValueError, match=problem),
        GGUFWriter(path, [("t", kind, shape)], {}) as writer,
    ):
        writer.write("t", values)
    assert os.listdir(os.path.dirname(path)) == []


@pytest.mark.parametrize(
    ("metadata", "types"),
    [
        ({"": 1}, {}),
        ({"a": object()}, {}),
        ({"a": []}, {}),
        ({"a": [1, "b"]}, {}),
        ({"a": 2**70}, {}),
        ({"a": 300}, {"a": "uint8"}),
        ({"a": 1.5}, {"a": "uint8"}),
        ({"a": 1}, {"a": "string"}),
        ({"a": 1}, {"a": "complex"}),
        ({"a": [1]}, {"a": "[array]"}),
        ({"a": [300]}, {"a": "[uint8]"}),
        ({"a": [1.5]}, {"a": "[uint8]"}),
        ({"a": np.array([1.5])}, {"a": "[uint8]"}),
        ({"a": [2**64 - 1, -1]}, {}),
        ({"a": [1]}, {"a": "[bool]"}),
        ({"a": "\ud800"}, {}),
        ({"a": 1e39}, {}),
        ({"a": [1.0, 1e39]}, {}),
        ({"a": np.array([1, 1e39])}, {"a": "[float32]"}),
        ({"general.alignment": 33}, {}),
    ],
)
def test_metadata_that_cannot_be_written(path, metadata, types):
    with pytest.raises(ValueError):
        GGUFWriter(path, [], metadata, metadata_types=types)


def test_names_are_declared_once_and_short(path):
    for names in (["a", "a"], ["x" * 64], [""], ["a\n"]):
        with pytest.raises(ValueError, match="tensor"):
            GGUFWriter(path, [(name, "F32", (1,)) for name in names], {})


# ---- the limits, at each and one above --------------------------------------


@pytest.mark.parametrize(
    ("metadata", "limit", "at"),
    [
        ({"a": 1, "b": 2}, "max_metadata", 2),
        ({"abc": 1}, "max_key_bytes", 3),
        ({"a": "xyz"}, "max_string_bytes", 3),
        ({"a": ["xyz"]}, "max_string_bytes", 3),
        ({"a": [1, 2, 3]}, "max_array_length", 3),
        ({"a": [1, 2, 3]}, "max_array_bytes", 12),
        ({"a": ["x", "y"]}, "max_array_bytes", 18),
        ({}, "max_tensors", 1),
        ({}, "max_name_bytes", 4),
    ],
)
def test_limits(path, metadata, limit, at):
    with GGUFWriter(path, [("name", "F32", (1,))], metadata) as writer:
        writer.write("name", np.zeros(1))
    GGUFReader(path, limits=GGUFLimits(**{limit: at})).close()
    with pytest.raises(ValueError, match=r"limit of|limit is|more than"):
        GGUFReader(path, limits=GGUFLimits(**{limit: at - 1}))


def test_a_file_cut_while_it_is_open(path):
    with GGUFWriter(path, [("a", "F32", (4096,))], {}) as writer:
        writer.write("a", np.zeros(4096))
    with GGUFReader(path) as reader:
        os.truncate(path, 4096)
        with pytest.raises(ValueError, match="has become shorter"):
            reader.raw("a")


def test_big_endian_files_are_named(path):
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    with pytest.raises(ValueError, match="big-endian"):
        GGUFReader(path)
