"""Random files: theirs and ours have the same bytes, and each reads the other's."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest

from sklearn_ternary.persistence import GGUFReader, GGUFWriter, atomic_file
from sklearn_ternary.persistence._gguf_types import TYPES
from sklearn_ternary.persistence._safetensors import (
    SafetensorsReader,
    safetensors_writer,
)

gguf = pytest.importorskip("gguf", reason="pip install gguf")

# SKLEARN_TERNARY_TEST_EXAMPLES=100000 is for a long, thorough run.
N_FILES = int(os.environ.get("SKLEARN_TERNARY_TEST_EXAMPLES", 200))
PLAIN = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
}
ENCODED = ["F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0"]


def random_file(seed):
    """Metadata with types, and tensors with values, as both writers take them."""
    rng = np.random.default_rng(seed)
    numbers = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
    metadata, types = {"general.architecture": "any"}, {}
    for i in range(rng.integers(0, 12)):
        key = f"{'abc'[i % 3]}.key-{i}.é"
        choice = rng.integers(0, 5)
        if choice == 0:
            types[key] = numbers[rng.integers(len(numbers))]
            info = np.iinfo(types[key])
            value = int(rng.integers(info.min, info.max, dtype=types[key]))
        elif choice == 1:
            types[key] = ["float32", "float64"][rng.integers(2)]
            value = float(np.dtype(types[key]).type(rng.normal()))
        elif choice == 2:
            value, types[key] = bool(rng.integers(2)), "bool"
        elif choice == 3:
            n = rng.integers(0, 30)
            value = "".join(map(chr, rng.integers(32, 0xD000, n)))
            types[key] = "string"
        else:
            kind = ["float32", "float64", "bool", "string", *numbers][rng.integers(12)]
            n = int(rng.integers(1, 9))
            if kind == "string":
                value = ["x" * int(rng.integers(0, 9)) + "日" for _ in range(n)]
            elif kind in numbers:
                info = np.iinfo(kind)
                value = rng.integers(info.min, info.max, n, dtype=kind).tolist()
            else:
                value = rng.normal(size=n).astype(kind).tolist()
            types[key] = f"[{kind}]"
        metadata[key] = value
    tensors = {}
    for i in range(rng.integers(0, 8)):
        kind = [*PLAIN, *ENCODED][rng.integers(len(PLAIN) + len(ENCODED))]
        shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 5)))
        shape = (*shape[:-1], shape[-1] * TYPES[kind].block_values)
        values = rng.normal(size=shape).astype(np.float32)
        if kind in PLAIN:
            values = (values * 10).astype(PLAIN[kind])
        tensors[f"blk.{i}.{kind}"] = kind, values
    alignment = int(rng.choice([8, 32, 64, 256]))
    return metadata, types, tensors, alignment


def write_ours(path, metadata, types, tensors, alignment):
    declared = [(name, kind, values.shape) for name, (kind, values) in tensors.items()]
    with GGUFWriter(
        path, declared, metadata, metadata_types=types, alignment=alignment
    ) as writer:
        for name, (_, values) in tensors.items():
            writer.write(name, values)


def write_theirs(path, metadata, types, tensors, alignment):
    writer = gguf.GGUFWriter(path, metadata["general.architecture"])
    for key, value in list(metadata.items())[1:]:
        kind = types[key]
        number = gguf.GGUFValueType[kind.strip("[]").upper()]
        if kind.startswith("["):
            writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, number)
        else:
            writer.add_key_value(key, value, number)
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    for name, (kind, values) in tensors.items():
        if kind in PLAIN:
            writer.add_tensor(name, values)
        else:
            data = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
            writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_gguf_package(tmp_path):
    ours, theirs, again = (tmp_path / name for name in ("ours", "theirs", "again"))
    for seed in range(N_FILES):
        contents = random_file(seed)
        write_ours(ours, *contents)
        write_theirs(theirs, *contents)
        data = ours.read_bytes()
        assert data == theirs.read_bytes(), seed
        compare_with_theirs(ours, theirs, contents)
        copy(theirs, again)
        assert data == again.read_bytes(), seed


def compare_with_theirs(ours, theirs, contents):
    peer = gguf.GGUFReader(ours)
    metadata, types, tensors, alignment = contents
    with GGUFReader(theirs) as reader:
        assert reader.alignment == alignment
        assert [t.name for t in peer.tensors] == list(tensors) == reader.names
        for tensor in peer.tensors:
            data = tensor.data.reshape(-1).view(np.uint8)
            np.testing.assert_array_equal(reader.raw(tensor.name), data)
            if tensor.tensor_type.name in ENCODED:
                values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                np.testing.assert_array_equal(
                    reader.read(tensor.name).ravel(), values.ravel()
                )
        for key, value in metadata.items():
            found = reader.metadata[key]
            if isinstance(value, list):
                assert len(found) == len(value)
                found = list(found)
            else:
                assert type(found) is type(value)
            assert found == value
            assert reader.metadata_types[key] == types.get(key, "string")


def copy(source, target):
    """Write what we read of a file."""
    with GGUFReader(source) as reader:
        declared = [(t.name, t.type, t.shape) for t in reader.tensors.values()]
        with GGUFWriter(
            target, declared, reader.metadata, metadata_types=reader.metadata_types
        ) as writer:
            for name in reader.names:
                writer.write_raw(name, reader.raw(name))


class _Parameters(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


@pytest.fixture(scope="module")
def ggml():
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="pip install llama-cpp-python", exc_type=ImportError
    )
    folder = Path(llama_cpp.__file__).parent / "lib"
    found = sorted(folder.glob("libggml-base.so*"))
    if not found:
        pytest.skip("llama_cpp has no libggml-base.so")
    library = ctypes.CDLL(os.fspath(found[0]))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, *arguments in (
        ("gguf_init_from_file", pointer, text, _Parameters),
        ("gguf_init_empty", pointer),
        ("gguf_set_kv", None, pointer, pointer),
        ("gguf_add_tensor", None, pointer, pointer),
        ("gguf_write_to_file", ctypes.c_bool, pointer, text, ctypes.c_bool),
        ("gguf_free", None, pointer),
        ("ggml_get_tensor", pointer, pointer, text),
        ("ggml_free", None, pointer),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def test_llama_cpp(tmp_path, ggml):
    """It writes what it has read of our file, and we what we read of that."""
    ours, theirs, again = (tmp_path / name for name in ("ours", "theirs", "again"))
    for seed in range(N_FILES):
        metadata, types, arrays, _ = random_file(seed)
        # Their writer knows one alignment, and no axes of one before others.
        for name, (kind, values) in arrays.items():
            while values.ndim > 1 and len(values) == 1:
                values = values[0]
            arrays[name] = kind, values
        contents = metadata, types, arrays, 32
        write_ours(ours, *contents)
        tensors = ctypes.c_void_p()
        parameters = _Parameters(False, ctypes.addressof(tensors))
        read = ggml.gguf_init_from_file(os.fsencode(ours), parameters)
        assert read, seed
        written = ggml.gguf_init_empty()
        ggml.gguf_set_kv(written, read)
        for name in contents[2]:
            tensor = ggml.ggml_get_tensor(tensors, name.encode())
            ggml.gguf_add_tensor(written, tensor)
        assert ggml.gguf_write_to_file(written, os.fsencode(theirs), False)
        for handle in (read, written):
            ggml.gguf_free(handle)
        ggml.ggml_free(tensors)
        assert ours.read_bytes() == theirs.read_bytes(), seed
        copy(theirs, again)
        assert ours.read_bytes() == again.read_bytes(), seed


def test_safetensors(tmp_path):
    from safetensors.numpy import load_file, save_file

    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    dtypes = [np.dtype(f"{kind}{n}") for kind in "iu" for n in (1, 2, 4, 8)]
    dtypes += [np.dtype(name) for name in ("bool", "float16", "float32", "float64")]
    for seed in range(N_FILES):
        rng = np.random.default_rng(seed)
        arrays = {}
        for i in range(rng.integers(1, 8)):
            shape = tuple(rng.integers(0, 5, rng.integers(0, 5)))
            dtype = dtypes[rng.integers(len(dtypes))]
            values = rng.integers(0, 128, shape)
            arrays[f"{'abc'[i % 3]}.é.{i}"] = np.asarray(values, dtype)
        declared = [(name, a.dtype, a.shape) for name, a in arrays.items()]
        with atomic_file(ours) as file, safetensors_writer(file, declared) as writer:
            for name, a in arrays.items():
                writer.write(name, a)
        save_file(arrays, theirs)
        found = load_file(ours)
        with SafetensorsReader(theirs) as reader:
            assert set(found) == set(reader.names) == set(arrays), seed
            for name, a in arrays.items():
                for read in (found[name], reader.read(name)):
                    assert read.dtype == a.dtype and read.shape == a.shape
                    assert read.tobytes() == a.tobytes(), (seed, name)
