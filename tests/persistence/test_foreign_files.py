"""Arrays in files of NumPy and safetensors: read, written or refused."""

import contextlib
import errno
import gc
import io
import itertools
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sklearn_ternary.persistence import (
    _atomic,
)
from sklearn_ternary.persistence._formats import open_tensors, tensor_writer
from sklearn_ternary.persistence._input import InputFile


def arrays(rng):
    return {
        "matrix": rng.normal(size=(7, 5)).astype(np.float32),
        "half": rng.normal(size=(3, 2, 4)).astype(np.float16),
        "fortran": np.asfortranarray(rng.normal(size=(4, 6))),
        "cube": np.asfortranarray(rng.normal(size=(4, 3, 2))),
        "vector": rng.integers(-9, 9, 11),
        "number": np.array(2.5),
        "empty": np.empty((0, 3)),
        "none": np.empty((3, 0), np.float32),
        "truth": rng.random((2, 3)) < 0.5,
        "big-endian": rng.normal(size=(3, 3)).astype(">f4"),
    }


def as_rows(array):
    n_rows = array.shape[0] if array.ndim > 1 else 1
    return array.reshape(
        n_rows, np.prod(array.shape[1:], dtype=int) if array.ndim > 1 else array.size
    )


def check_reader(reader, expected):
    assert set(reader.names) == set(expected)
    for name, array in expected.items():
        read = reader.read(name)
        assert reader.shape(name) == array.shape == read.shape
        assert reader.dtype(name) == read.dtype == array.dtype.newbyteorder("=")
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, array)
        rows = as_rows(array)
        for start, stop in itertools.combinations_with_replacement(
            range(len(rows) + 1), 2
        ):
            part = reader.read_rows(name, start, stop)
            np.testing.assert_array_equal(part, rows[start:stop])


def test_npy_reader(tmp_path):
    for name, array in arrays(np.random.default_rng(0)).items():
        np.save(tmp_path / "a.npy", array)
        with open_tensors(tmp_path / "a.npy") as reader:
            assert reader.kind == "npy"
            assert reader.streams_rows("array") == (name not in ("fortran", "cube"))
            check_reader(reader, {"array": array})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_reader(tmp_path, save):
    expected = arrays(np.random.default_rng(0))
    save(tmp_path / "a.npz", **expected)
    with open_tensors(tmp_path / "a.npz") as reader:
        assert reader.kind == "npz"
        check_reader(reader, expected)


def test_safetensors_reader(tmp_path):
    expected = {
        name: np.ascontiguousarray(a).reshape(a.shape)
        for name, a in arrays(np.random.default_rng(0)).items()
        if name != "big-endian"
    }
    save_file(expected, tmp_path / "a.safetensors")
    with open_tensors(tmp_path / "a.safetensors") as reader:
        assert reader.kind == "safetensors"
        check_reader(reader, expected)


def npy(array=None, **change):
    stream = io.BytesIO()
    np.save(stream, np.arange(6.0) if array is None else array)
    return stream.getvalue()


def npy_with(descr="'<f8'", shape="(6,)", order="False", n_bytes=48, text=None):
    text = (
        f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
        if text is None
        else text
    ).encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(n_bytes)


class Payload:
    """Unpickling it calls os._exit."""

    def __reduce__(self):
        return os._exit, (9,)


MALFORMED_NPY = {
    "magic only": b"\x93NUMPY",
    "truncated": npy()[:-1],
    "trailing": npy() + b"x",
    "version 4": b"\x93NUMPY\4\0" + npy()[8:],
    "header beyond the end": b"\x93NUMPY\1\0\xff\xff" + bytes(50),
    "header of 4 GiB": b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(50),
    "pickled objects": npy(np.array([Payload()], object)),
    "text": npy(np.array(["a"])),
    "complex": npy(np.array([1j])),
    "long double": npy(np.ones(2, np.longdouble)),
    "structured": npy(np.zeros(2, "f4,i4")),
    "dates": npy(np.array(["2020-01-01"], "M8[D]")),
    "negative side": npy_with(shape="(-6,)"),
    "negative sides": npy_with(shape="(-2, -3)"),
    "2**62 empty rows": npy_with(shape=f"({2**62}, {2**62}, 0)", n_bytes=0),
    "product overflows": npy_with(shape=f"({2**33}, {2**33})"),
    "product wraps": npy_with(shape=f"({2**61}, 6)"),
    "shape of booleans": npy_with(shape="(True, 6)"),
    "shape of floats": npy_with(shape="(6.0,)"),
    "33 dimensions": npy_with(shape="(6," + "1," * 32 + ")"),
    "code": npy_with(text="__import__('os')._exit(9)"),
    "nested": npy_with(text="(" * 9000),
    "minus signs": npy_with(text="-" * 9000 + "1"),
    "not a dict": npy_with(text="[1, 2]"),
    "NUL": npy_with(text="\0" * 64),
    "huge item": npy_with(descr="'<f999999999'"),
    "boolean of value 2": npy_with(descr="'|b1'", shape="(1,)", n_bytes=0) + b"\2",
}


@pytest.mark.parametrize("case", MALFORMED_NPY)
def test_malformed_npy(tmp_path, case):
    path = tmp_path / "bad file"
    path.write_bytes(MALFORMED_NPY[case])
    with pytest.raises(ValueError, match="bad file"), open_tensors(path) as reader:
        reader.read("array")


def zipped(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(stream.getvalue())


def declared_size(data, n_bytes, offset=24):
    """Change a field of the only entry of the directory (24: its full size)."""
    at = data.index(b"PK\1\2") + offset
    data[at : at + 4] = struct.pack("<I", n_bytes)
    return data


def shifted(data):
    """Say that the directory lies 46 bytes farther: members begin as much earlier."""
    at = data.rindex(b"PK\5\6") + 16
    data[at : at + 4] = struct.pack("<I", data.index(b"PK\1\2") + 46)
    return data


def damaged(data):
    data[len(npy()) // 2 + 30] ^= 1
    return data


DEFLATED = zipfile.ZIP_DEFLATED
MALFORMED_NPZ = {
    "cut": zipped([("a.npy", npy())])[:-30],
    "no directory": zipped([("a.npy", npy())])[:100],
    "not an array": zipped([("a.txt", b"hello")]),
    "wrong magic": zipped([("a.npy", b"hello" * 10)]),
    "truncated array": zipped([("a.npy", npy()[:-1])]),
    "trailing bytes": zipped([("a.npy", npy() + b"x")]),
    "objects": zipped([("a.npy", npy(np.array([Payload()], object)))]),
    "declares more": declared_size(zipped([("a.npy", npy())], DEFLATED), 200),
    "declares 4 GB": declared_size(zipped([("a.npy", npy())], DEFLATED), 2**32 - 2),
    "declares less": declared_size(zipped([("a.npy", npy())], DEFLATED), 100),
    "header lies": zipped([("a.npy", npy_with(shape="(1000000000,)"))], DEFLATED),
    "begins before the file": shifted(zipped([("a.npy", npy())])),
    "bzip2": zipped([("a.npy", npy())], zipfile.ZIP_BZIP2),
    "encrypted": declared_size(zipped([("a.npy", npy())]), 1 | 0 << 16, 8),
    "CRC": damaged(zipped([("a.npy", npy())])),
    "damaged deflate": damaged(zipped([("a.npy", npy())], DEFLATED)),
}


@pytest.mark.parametrize("case", MALFORMED_NPZ)
def test_malformed_npz(tmp_path, case):
    path = tmp_path / "bad file"
    path.write_bytes(MALFORMED_NPZ[case])
    with pytest.raises(ValueError, match="bad file"), open_tensors(path) as reader:
        for name in reader.names:
            reader.read(name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_npz_with_a_name_twice(tmp_path):
    (tmp_path / "bad").write_bytes(zipped([("a.npy", npy()), ("a.npy", npy())]))
    with pytest.raises(ValueError, match="twice"):
        open_tensors(tmp_path / "bad")


def test_npz_in_rows_needs_little_memory(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((1024, 8192), np.float32))
    tracemalloc.start()
    try:
        with open_tensors(tmp_path / "a.npz") as reader:
            for i in range(0, 1024, 16):
                assert not reader.read_rows("a", i, i + 16).any()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


FOREIGN = {
    "GGUF": b"GGUF\3\0\0\0",
    "a pickle": b"\x80\x04\x95",
    "a gzip file": b"\x1f\x8b\x08\0",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "an empty file": b"",
    "not known": b"hello, world",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_kinds_are_named(tmp_path, kind):
    (tmp_path / "what").write_bytes(FOREIGN[kind])
    with pytest.raises(ValueError, match=rf"what is .*{kind}.*supported are \.npy"):
        open_tensors(tmp_path / "what")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match="not a regular file"):
        open_tensors(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        open_tensors("/dev/zero")
    with pytest.raises(IsADirectoryError):
        open_tensors(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_tensors(tmp_path / "missing")
    with pytest.raises(OSError, match="loop"):
        open_tensors(tmp_path / "loop")


def test_refusing_leaves_no_descriptors_open(small_file, tmp_path):
    good = small_file.read_bytes()
    before = len(os.listdir("/proc/self/fd"))
    for n in range(0, len(good), 50):
        small_file.write_bytes(good[:n])
        with contextlib.suppress(ValueError):
            open_tensors(small_file)
    with pytest.raises(IsADirectoryError):
        InputFile(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
def test_tensor_writer_is_read_by_the_others(tmp_path, ending):
    expected = {
        name: np.ascontiguousarray(a).reshape(a.shape)
        for name, a in arrays(np.random.default_rng(0)).items()
        if name != "big-endian"
    }
    path = tmp_path / f"a{ending}"
    groups = [{n: a} for n, a in expected.items()] if ending == ".npy" else [expected]
    for group in groups:
        declared = [(n, a.dtype, a.shape) for n, a in group.items()]
        with tensor_writer(path, declared) as writer:
            for name, array in group.items():
                rows = as_rows(array)
                for row in rows:
                    writer.write(name, row)
                if not len(rows):
                    writer.write(name, rows)
        if ending == ".npy":
            read = {n: np.load(path) for n in group}
        else:
            read = load_file(path) if ending == ".safetensors" else np.load(path)
        assert set(read) == set(group)
        for name, array in group.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
def test_tensor_writer_refuses_incomplete_arrays(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with (
        pytest.raises(ValueError),
        tensor_writer(path, [("a", np.float32, (2, 3))]) as writer,
    ):
        writer.write("a", np.zeros(3, np.float32))
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ending", [".npy", ".npz", ".safetensors"])
def test_tensor_writer_on_a_full_disk(tmp_path, monkeypatch, shim, ending):
    def hook(call, real, *args, **kwargs):
        if call in ("write", "pwrite"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(_atomic, "os", shim(hook))
    array = np.zeros((2, 3), np.float32)
    with (
        pytest.raises(OSError, match="No space left"),
        tensor_writer(
            tmp_path / f"a{ending}", [("a", array.dtype, array.shape)]
        ) as writer,
    ):
        writer.write("a", array)
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_tensor_writer_refuses_other_endings(tmp_path):
    with (
        pytest.raises(ValueError, match=r"ends in '\.txt'"),
        tensor_writer(tmp_path / "a.txt", []),
    ):
        pass
    with (
        pytest.raises(ValueError, match="one array"),
        tensor_writer(tmp_path / "a.npy", [("a", "f4", (1,)), ("b", "f4", (1,))]),
    ):
        pass
