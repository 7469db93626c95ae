"""Malformed safetensors files and containers are refused, and by name."""

import json
import struct
import tracemalloc

import numpy as np
import pytest

from sklearn_ternary.persistence import (
    read_container,
)
from sklearn_ternary.persistence._formats import open_tensors
from sklearn_ternary.persistence._safetensors import SafetensorsReader


def tensor_file(fields, data=b"", header=None, length=None):
    header = json.dumps(fields).encode() if header is None else header
    length = len(header) if length is None else length
    return struct.pack("<Q", length) + header + data


def field(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets} | more


MALFORMED = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "length only": b"\0" * 8,
    "length beyond the file": tensor_file({}, length=100),
    "length 2**63": tensor_file({}, length=2**63),
    "length above the limit": tensor_file({}, length=(64 << 20) + 1),
    "not JSON": tensor_file(None, header=b"{nonsense"),
    "not UTF-8": tensor_file(None, header=b'{"\xff": 1}'),
    "a list": tensor_file([]),
    "a number": tensor_file(7),
    "space before the brace": tensor_file(None, header=b' {"a": {}}'),
    "no fields": tensor_file({"a": {}}),
    "unknown field": tensor_file({"a": field(x=1)}, bytes(8)),
    "unknown dtype": tensor_file({"a": field("F33")}, bytes(8)),
    "dtype a number": tensor_file({"a": field(4)}, bytes(8)),
    "negative side": tensor_file({"a": field(shape=(-2,))}, bytes(8)),
    "side not whole": tensor_file({"a": field(shape=(2.0,))}, bytes(8)),
    "side a boolean": tensor_file({"a": field(shape=(True, 2))}, bytes(8)),
    "shape a number": tensor_file({"a": field(shape=2)}, bytes(8)),
    "product overflows": tensor_file({"a": field(shape=(2**33, 2**33))}, bytes(8)),
    "product wraps to eight": tensor_file(
        {"a": field(shape=(2**32, 2**32, 2))}, bytes(8)
    ),
    "shape larger than offsets": tensor_file({"a": field(shape=(3,))}, bytes(8)),
    "offsets beyond the end": tensor_file({"a": field(offsets=(0, 8))}, bytes(4)),
    "offsets reversed": tensor_file({"a": field(offsets=(8, 0))}, bytes(8)),
    "offsets negative": tensor_file({"a": field(offsets=(-8, 0))}, bytes(8)),
    "three offsets": tensor_file({"a": field(offsets=(0, 8, 8))}, bytes(8)),
    "offset 2**64": tensor_file({"a": field(offsets=(2**64, 2**64 + 8))}, bytes(8)),
    "hole at the start": tensor_file({"a": field(offsets=(4, 12))}, bytes(12)),
    "hole in the middle": tensor_file(
        {"a": field(), "b": field(offsets=(12, 20))}, bytes(20)
    ),
    "overlap": tensor_file({"a": field(), "b": field(offsets=(4, 12))}, bytes(12)),
    "same place twice": tensor_file({"a": field(), "b": field()}, bytes(8)),
    "bytes behind the end": tensor_file({"a": field()}, bytes(9)),
    "bytes behind no tensors": tensor_file({}, bytes(1)),
    "name twice": tensor_file(
        None,
        bytes(8),
        header=b'{"a": %s, "a": %s}' % ((json.dumps(field()).encode(),) * 2),
    ),
    "metadata twice": tensor_file(
        None, header=b'{"__metadata__": {"x": "1"}, "__metadata__": {"x": "2"}}'
    ),
    "metadata entry twice": tensor_file(
        None, header=b'{"__metadata__": {"x": "1", "x": "2"}}'
    ),
    "metadata not text": tensor_file({"__metadata__": {"format": 1}}),
    "metadata a list": tensor_file({"__metadata__": []}),
    "NaN": tensor_file({"a": field(shape=(float("nan"),))}, bytes(8)),
    "100 000 brackets": tensor_file(None, header=b'{"a":' + b"[" * 100_000),
    "3 million lists": tensor_file(
        None, header=b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"
    ),
    "2 million metadata": tensor_file(
        None,
        header=b'{"__metadata__":{'
        + b",".join(b'"%d":""' % i for i in range(700_000))
        + b"}}",
    ),
    "33 dimensions": tensor_file({"a": field("U8", (1,) * 33, (0, 1))}, bytes(1)),
    "empty name": tensor_file({"": field()}, bytes(8)),
    "lone surrogate": tensor_file(
        None, bytes(8), header=b'{"\\ud800": %s}' % json.dumps(field()).encode()
    ),
    "boolean of value 2": tensor_file({"a": field("BOOL", (1,), (0, 1))}, b"\2"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_safetensors(tmp_path, case):
    path = tmp_path / "bad file"
    path.write_bytes(MALFORMED[case])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="bad file"), SafetensorsReader(path) as r:
            for name in r.names:
                r.read(name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(MALFORMED[case]) + (4 << 20)


def test_malformed_cases_are_not_all_of_one_kind(tmp_path):
    """The file the cases are made from is valid."""
    path = tmp_path / "good"
    path.write_bytes(tensor_file({"a": field()}, struct.pack("<2f", 1, 2)))
    with SafetensorsReader(path) as reader:
        assert reader.read("a").tolist() == [1, 2]


def signed(fields, content, data=b"", **metadata):
    """A container whose checksums are right, whatever it says."""
    import hashlib

    metadata = {
        "format": "sklearn-ternary",
        "version": "1",
        "checksum": "0" * 64,
        "content": content,
        "sha256": json.dumps(
            {
                name: hashlib.sha256(data[slice(*f["data_offsets"])]).hexdigest()
                for name, f in fields.items()
            }
        ),
    } | metadata
    metadata = {k: v for k, v in metadata.items() if v is not None}
    header = json.dumps({"__metadata__": metadata} | fields)
    if "checksum" in metadata:
        digest = hashlib.sha256(header.encode()).hexdigest()
        header = header.replace("0" * 64, digest, 1)
    return tensor_file(None, data, header=header.encode())


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (signed({}, "{"), "content is not valid JSON"),
        (signed({}, '{"a": 1, "a": 2}'), "appears twice"),
        (signed({}, "[NaN]"), "not JSON"),
        (signed({}, "[" * 33 + "]" * 33), "32 deep"),
        (signed({}, "[" * 100_000), "not valid JSON"),
        (signed({}, "9" * 5000), "not valid JSON"),
        (signed({}, "1" + " " * (1 << 20)), "content is above"),
        (signed({}, "1", version="2"), "version '2'"),
        (signed({}, "1", version=None), "version None"),
        (signed({}, "1", format="pt"), "another program"),
        (signed({}, "1", checksum=None), "lacks"),
        (signed({}, "1", checksum="f" * 64), "checksum"),
        (signed({}, "1", checksum=""), "checksum"),
        (signed({}, "1", sha256="[]"), "sha256"),
        (signed({}, "1", sha256='{"a": ""}'), "sha256"),
        (signed({"a": field()}, "1", bytes(8), sha256='{"a": 1}'), "checksum"),
    ],
)
def test_malformed_container(tmp_path, file, problem):
    path = tmp_path / "bad file"
    path.write_bytes(file)
    with pytest.raises(ValueError, match=f"bad file.*{problem}"):
        read_container(path)


def test_malformed_containers_are_made_from_a_valid_one(tmp_path):
    data = struct.pack("<2f", 1, 2)
    (tmp_path / "good").write_bytes(signed({"a": field()}, "[1]", data))
    tensors, content = read_container(tmp_path / "good")
    assert tensors["a"].tolist() == [1, 2]
    assert content == [1]


def test_bfloat16_is_read_as_float32(tmp_path):
    values = np.array([[1.0, -2.5, 0.0], [3e38, 1e-40, np.inf]], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    path = tmp_path / "a"
    path.write_bytes(
        tensor_file({"a": field("BF16", (2, 3), (0, 12))}, upper.tobytes())
    )
    with open_tensors(path) as reader:
        expected = (upper.astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(reader.read("a"), expected)
        np.testing.assert_array_equal(reader.read_rows("a", 1, 2), expected[1:])
        np.testing.assert_allclose(expected[0], values[0], rtol=2**-8)
        with pytest.raises(ValueError, match="bfloat16"):
            reader.memory_map("a")


def test_an_unreadable_dtype_is_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(tensor_file({"a": field("F8_E4M3", (4,), (0, 4))}, bytes(4)))
    with open_tensors(path) as reader:
        assert reader.shape("a") == (4,)
        with pytest.raises(ValueError, match="'a' has dtype F8_E4M3"):
            reader.read("a")
