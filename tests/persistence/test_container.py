"""The container: what is written is read again, or refused."""

import json
import os
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

from sklearn_ternary.persistence import (
    ContainerReader,
    ContainerWriter,
    read_container,
    write_container,
)

DTYPES = [
    "?",
    "u1",
    "i1",
    "<u2",
    "<i2",
    "<u4",
    "<i4",
    "<u8",
    "<i8",
    "<f2",
    "<f4",
    "<f8",
]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_container_round_trip(tmp_path_factory, data):
    names = st.text(
        st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8
    ).filter(lambda n: n != "__metadata__")
    arrays = hnp.arrays(
        st.sampled_from(DTYPES),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
    tensors = data.draw(st.dictionaries(names, arrays, max_size=5))
    content = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
            lambda c: st.lists(c, max_size=3) | st.dictionaries(names, c, max_size=3),
            max_leaves=8,
        ).filter(lambda c: "\\ud" not in json.dumps(c).lower())
    )
    path = tmp_path_factory.mktemp("round") / "a"
    write_container(path, tensors, content)
    read, content_read = read_container(path)
    theirs = load_file(path)
    assert content_read == content
    assert set(read) == set(theirs) == set(tensors)
    for name, array in tensors.items():
        for other in (read[name], theirs[name]):
            assert other.dtype == array.dtype
            assert other.shape == array.shape
            assert other.tobytes() == array.tobytes()
        assert read[name].flags.writeable


def test_container_bytes_do_not_depend_on_parts_or_order(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(10, 7)), rng.integers(0, 255, 33, np.uint8)
    write_container(tmp_path / "whole", {"a": a, "b": b}, None)
    declared = [("a", a.dtype, a.shape), ("b", b.dtype, b.shape)]
    with ContainerWriter(tmp_path / "parts", declared, None) as writer:
        for i in range(11):
            writer.write("b", b[3 * i : 3 * i + 3])
            writer.write("a", a[i : i + 1])
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()


def test_container_tensors_are_aligned(tmp_path):
    tensors = {"a": np.ones(3, np.uint8), "b": np.ones(2), "c": np.ones(5, np.float32)}
    write_container(tmp_path / "a", tensors, None)
    with ContainerReader(tmp_path / "a") as reader:
        for name, array in tensors.items():
            view = reader.memory_map(name)
            assert view.flags.aligned
            assert not view.flags.writeable
            np.testing.assert_array_equal(view, array)


@pytest.mark.parametrize(
    ("declared", "written", "problem"),
    [
        ({"a": (2, 3)}, {}, "lacks 24 bytes"),
        ({"a": (2, 3)}, {"a": (1, 3)}, "lacks 12 bytes"),
        ({"a": (2, 3)}, {"a": (3, 3)}, "longer than declared"),
        ({"a": (2, 3)}, {"a": (2, 3), "b": (1,)}, "not declared"),
    ],
)
def test_container_incomplete_is_not_published(tmp_path, declared, written, problem):
    tensors = [(name, np.float32, shape) for name, shape in declared.items()]
    with (
        pytest.raises(ValueError, match=problem),
        ContainerWriter(tmp_path / "a", tensors, None) as writer,
    ):
        for name, shape in written.items():
            writer.write(name, np.zeros(shape, np.float32))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("tensors", "content", "problem"),
    [
        ([("a", "f4", (1,)), ("a", "f4", (1,))], None, "declared twice"),
        ([("", "f4", (1,))], None, "name"),
        ([("__metadata__", "f4", (1,))], None, "__metadata__"),
        ([("a", object, (1,))], None, "dtype object"),
        ([("a", "U3", (1,))], None, "dtype <U3"),
        ([("a", "c16", (1,))], None, "dtype complex128"),
        ([("a", "f4", (-1,))], None, "shape"),
        ([("a", "f4", (2**40, 2**40))], None, "too large"),
        ([("a", "f4", (2**62, 2**62, 0))], None, "too large"),
        ([("\ud800", "f4", (1,))], None, "not valid text"),
        ([], {1, 2}, "JSON"),
        ([], float("nan"), "JSON"),
        ([], "x" * (1 << 20), "limit"),
    ],
)
def test_container_writer_refuses(tmp_path, tensors, content, problem):
    with (
        pytest.raises(ValueError, match=problem),
        ContainerWriter(tmp_path / "a", tensors, content),
    ):
        pass
    assert os.listdir(tmp_path) == []


def test_container_writer_refuses_another_dtype(tmp_path):
    with (
        pytest.raises(ValueError, match="declared float32"),
        ContainerWriter(tmp_path / "a", [("a", "f4", (1,))], None) as writer,
    ):
        writer.write("a", np.zeros(1))


def test_container_big_endian_arrays_are_stored_little(tmp_path):
    array = np.arange(5, dtype=">i4")
    write_container(tmp_path / "a", {"a": array}, None)
    np.testing.assert_array_equal(load_file(tmp_path / "a")["a"], array)


def test_every_changed_byte_is_found(small_file):
    good = small_file.read_bytes()
    assert 2000 < len(good) < 4096
    rng = random.Random(0)
    for i in range(len(good)):
        bad = bytearray(good)
        bad[i] ^= 1 << rng.randrange(8)
        small_file.write_bytes(bad)
        with pytest.raises(ValueError, match="small"):
            read_container(small_file)


def test_every_truncation_is_found(small_file):
    good = small_file.read_bytes()
    for n in range(len(good) - 1, -1, -1):
        os.truncate(small_file, n)
        with pytest.raises(ValueError, match="small"):
            read_container(small_file)


def test_trailing_bytes_are_found(small_file):
    with small_file.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="small"):
        read_container(small_file)


def test_checksums_can_be_left_out_and_checked_later(small_file):
    good = small_file.read_bytes()
    small_file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with ContainerReader(small_file, verify=False) as reader:
        last = reader.names[-1]
        reader.read(last)
        with pytest.raises(ValueError, match=f"{last}.*checksum"):
            reader.check(last)
        for name in reader.names[:-1]:
            reader.check(name)


def test_a_file_that_shrinks_while_open_is_an_error(small_file):
    with ContainerReader(small_file) as reader:
        os.truncate(small_file, 1200)
        with pytest.raises(ValueError, match="ended at byte 1200"):
            for name in reader.names:
                reader.read(name)


def test_reading_and_writing_need_little_memory(tmp_path):
    n_rows, n_columns = 512, 1 << 14  # 32 MiB of float32
    row = np.ones((1, n_columns), np.float32)
    tracemalloc.start()
    try:
        declared = [("a", np.float32, (n_rows, n_columns))]
        with ContainerWriter(tmp_path / "a", declared, None) as writer:
            for _ in range(n_rows):
                writer.write("a", row)
        with ContainerReader(tmp_path / "a") as reader:
            reader.check("a")
            total = sum(reader.read_rows("a", i, i + 1).sum() for i in range(n_rows))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == n_rows * n_columns
    assert peak < 8 << 20
