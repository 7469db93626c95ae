"""Files: what is written is read again, or refused; nothing in between."""

import ast
import contextlib
import errno
import gc
import io
import itertools
import json
import os
import pathlib
import random
import signal
import struct
import time
import tracemalloc
import types
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

import sklearn_ternary.persistence as package
from sklearn_ternary.persistence import (
    ContainerReader,
    ContainerWriter,
    _atomic,
    atomic_file,
    read_container,
    write_container,
)
from sklearn_ternary.persistence._formats import open_tensors, tensor_writer
from sklearn_ternary.persistence._input import InputFile
from sklearn_ternary.persistence._safetensors import SafetensorsReader

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


def sample(generation, n=5):
    """Tensors and content that tell which save they come from."""
    tensors = {f"t{i}": np.full((3, i + 1), generation, "<i4") for i in range(n)}
    return tensors, {"generation": generation}


def generation_of(path):
    """Which save a file holds; fails if it is a mixture."""
    tensors, content = read_container(path)
    seen = {int(v) for a in tensors.values() for v in a.ravel()}
    assert seen == {content["generation"]}
    return content["generation"]


# -- atomic_file -----------------------------------------------------------


def write_text(path, text):
    with atomic_file(path) as file:
        file.write(text.encode())


def test_atomic_writes_and_replaces(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")
    write_text(path, "new, longer")
    assert path.read_text() == "new, longer"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_exception_keeps_the_old_file(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")
    for error in (RuntimeError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), atomic_file(path) as file:
            file.write(b"half")
            raise error
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["a"]


def test_atomic_is_invisible_until_the_end(tmp_path):
    with atomic_file(tmp_path / "a") as file:
        file.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_atomic_mode_is_that_of_open(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "ours", "")
        (tmp_path / "theirs").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_atomic_keeps_the_mode_of_an_existing_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("")
    path.chmod(0o640)
    write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_atomic_follows_links_and_refuses_what_is_no_file(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        write_text(tmp_path / "pipe", "")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "a", "")


@pytest.mark.parametrize("name", ["a", "a b\n[c]*", "ü" * 120, "x" * 255])
def test_atomic_removes_orphans_of_the_same_name_only(tmp_path, name):
    path = tmp_path / name
    pid = os.fork()
    if pid == 0:
        with atomic_file(path) as file:
            file.write(b"half")
            os._exit(0)
    os.waitpid(pid, 0)
    (orphan,) = os.listdir(tmp_path)
    assert orphan != name
    write_text(tmp_path / "other", "")
    assert orphan in os.listdir(tmp_path)
    write_text(path, "")
    assert sorted(os.listdir(tmp_path)) == sorted(["other", name])


def test_atomic_leaves_a_living_writer_alone(tmp_path):
    path = tmp_path / "a"
    with atomic_file(path) as first:
        first.write(b"first")
        write_text(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_file_is_a_file(tmp_path):
    with atomic_file(tmp_path / "a") as file:
        file.write(b"0123456789")
        file.write_at(2, b"xy")
        assert file.tell() == 10
        file.seek(1)
        assert file.read(3) == b"1xy"
        file.truncate(5)
    assert (tmp_path / "a").read_bytes() == b"01xy4"


# -- crashes ---------------------------------------------------------------


class Shim(types.SimpleNamespace):
    """`os`, with the calls that reach the disk passed through `hook`."""

    CALLS = ("open", "write", "pwrite", "fsync", "replace", "unlink", "ftruncate")

    def __init__(self, hook):
        names = {n: getattr(os, n) for n in dir(os) if not n.startswith("_")}
        super().__init__(**names)
        for name in self.CALLS:
            setattr(self, name, self._wrap(name, hook))

    @staticmethod
    def _wrap(name, hook):
        real = getattr(os, name)
        return lambda *args, **kwargs: hook(name, real, *args, **kwargs)


def save_in_parts(path, generation):
    tensors, content = sample(generation)
    declared = [(k, a.dtype, a.shape) for k, a in tensors.items()]
    with ContainerWriter(path, declared, content) as writer:
        for name, array in tensors.items():
            for row in array:
                writer.write(name, row)


def record(monkeypatch, path, with_fsync=True):
    """Events of one save that reach the disk, in order."""
    events, names = [], {}

    def hook(call, real, *args, **kwargs):
        if call == "fsync" and not with_fsync:
            return None
        result = real(*args, **kwargs)
        if call == "open":
            names[result] = os.path.basename(args[0])
            if args[1] & os.O_CREAT:
                events.append(("create", names[result]))
        elif call == "pwrite":
            fd, data, offset = args
            events.append(("write", names[fd], bytes(data), offset))
        elif call == "fsync":
            events.append(("fsync", names[args[0]]))
        elif call == "replace":
            events.append(("rename", *map(os.path.basename, args)))
        else:
            events.append((call, *args))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(_atomic, "os", Shim(hook))
        save_in_parts(path, 2)
    return events


def apply_writes(writes):
    data = bytearray()
    for part, offset in writes:
        data.extend(bytes(max(0, offset + len(part) - len(data))))
        data[offset : offset + len(part)] = part
    return bytes(data)


def disk_states(events, folder_name, target, old):
    """Everything a disk may hold after a crash behind any of the events.

    What was not flushed may be there, missing, zeros, torn, or out of order;
    a rename that was not flushed may have happened or not.
    """
    for n_done in range(len(events) + 1):
        done = events[:n_done]
        (temporary,) = {e[1] for e in events if e[0] == "create"}
        writes = [e[2:] for e in done if e[0] == "write"]
        flushed = [i for i, e in enumerate(done) if e == ("fsync", temporary)]
        n_safe = sum(e[0] == "write" for e in done[: flushed[-1]]) if flushed else 0
        safe, loose = writes[:n_safe], writes[n_safe:]
        contents = {apply_writes(writes), apply_writes(safe)}
        if loose:
            part, offset = loose[-1]
            torn = (part[: len(part) // 2], offset)
            size = len(apply_writes(writes))
            contents |= {
                apply_writes([*safe, *loose[:-1], torn]),
                apply_writes([*safe, loose[-1]]),
                apply_writes(safe) + bytes(size - len(apply_writes(safe))),
            }
        renamed = any(e[0] == "rename" for e in done)
        synced = done[-1:] == [("fsync", folder_name)]
        for content in contents:
            if renamed:
                yield {target: content}
            if not synced:
                yield {target: old, temporary: content}
                yield {target: old}


def check_states(tmp_path, events, folder_name, old):
    seen, bad = [], 0
    for i, files in enumerate(disk_states(events, folder_name, "a", old)):
        folder = tmp_path / f"state{i}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            seen.append(generation_of(folder / "a"))
        except ValueError:
            bad += 1
            continue
        save_in_parts(folder / "a", 3)
        assert os.listdir(folder) == ["a"]
        assert generation_of(folder / "a") == 3
    return seen, bad


def test_every_crash_state_is_old_or_new(tmp_path, monkeypatch):
    folder = tmp_path / "disk"
    folder.mkdir()
    save_in_parts(folder / "a", 1)
    old = (folder / "a").read_bytes()
    events = record(monkeypatch, folder / "a")
    seen, bad = check_states(tmp_path, events, "disk", old)
    assert bad == 0
    assert set(seen) == {1, 2}
    assert len(seen) > 100


def test_the_crash_states_find_a_missing_fsync(tmp_path, monkeypatch):
    """The check above can fail."""
    folder = tmp_path / "disk"
    folder.mkdir()
    save_in_parts(folder / "a", 1)
    old = (folder / "a").read_bytes()
    events = record(monkeypatch, folder / "a", with_fsync=False)
    _, bad = check_states(tmp_path, events, "disk", old)
    assert bad > 0


FAULTS = {
    "ENOSPC": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "EIO": lambda: OSError(errno.EIO, "Input/output error"),
    "EACCES": lambda: PermissionError(errno.EACCES, "Permission denied"),
    "Ctrl-C": KeyboardInterrupt,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_call_leaves_old_or_new(tmp_path, monkeypatch, fault):
    path = tmp_path / "a"
    outcomes = []
    for k in itertools.count():
        save_in_parts(path, 1)
        counter = itertools.count()

        def hook(call, real, *args, counter=counter, k=k, **kwargs):
            if next(counter) == k:
                raise FAULTS[fault]()
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(_atomic, "os", Shim(hook))
            try:
                save_in_parts(path, 2)
            except (OSError, KeyboardInterrupt):
                outcomes.append(generation_of(path))
            else:
                break
        assert os.listdir(tmp_path) == ["a"]
    assert generation_of(path) == 2
    # Only flushing the folder comes after the rename: opening it and fsync.
    assert outcomes[-2:] == [2, 2]
    assert set(outcomes[:-2]) == {1}
    assert len(outcomes) > 15


def test_short_and_interrupted_writes_are_continued(tmp_path, monkeypatch):
    def hook(call, real, *args, **kwargs):
        if call == "pwrite":
            fd, data, offset = args
            return real(fd, data[: max(1, len(data) // 3)], offset)
        return real(*args, **kwargs)

    monkeypatch.setattr(_atomic, "os", Shim(hook))
    save_in_parts(tmp_path / "a", 7)
    assert generation_of(tmp_path / "a") == 7


def test_a_write_that_writes_nothing_is_an_error(tmp_path, monkeypatch):
    def hook(call, real, *args, **kwargs):
        return 0 if call == "pwrite" else real(*args, **kwargs)

    monkeypatch.setattr(_atomic, "os", Shim(hook))
    with pytest.raises(OSError, match="wrote nothing"):
        save_in_parts(tmp_path / "a", 7)
    assert os.listdir(tmp_path) == []


@contextlib.contextmanager
def forked(function):
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            function()
            status = 0
        os._exit(status)
    yield pid
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def test_kill_9_loses_nothing(tmp_path):
    path = tmp_path / "a"
    write_container(path, *sample(0))
    rng = random.Random(0)

    def save_for_ever(start):
        big = np.zeros((1 << 16,), np.int64)
        for generation in itertools.count(start):
            tensors, content = sample(generation)
            write_container(path, tensors | {"big": big + generation}, content)

    last, orphans = 0, 0
    for _ in range(20):
        with forked(lambda start=last: save_for_ever(start)) as pid:
            time.sleep(rng.uniform(0.005, 0.05))
            os.kill(pid, signal.SIGKILL)
        assert generation_of(path) >= last
        last = generation_of(path)
        orphans = max(orphans, len(os.listdir(tmp_path)) - 1)
    assert last > 0
    assert orphans <= 1  # each start removes what the one before left
    write_container(path, *sample(0))
    assert os.listdir(tmp_path) == ["a"]


def test_two_writers_never_mix(tmp_path):
    path = tmp_path / "a"
    write_container(path, *sample(0))

    def save(generations):
        for generation in generations:
            write_container(path, *sample(generation))

    with forked(lambda: save(range(1, 200))), forked(lambda: save(range(1000, 1200))):
        for _ in range(100):
            generation_of(path)
    assert generation_of(path) in (199, 1199)
    assert os.listdir(tmp_path) == ["a"]


# -- the container ---------------------------------------------------------


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


@pytest.fixture
def small_file(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "weight.packed": rng.integers(0, 243, (40, 20), dtype=np.uint8),
        "weight.scale": rng.random((40, 1), dtype=np.float32),
        "bias": rng.normal(size=100),
    }
    path = tmp_path / "small"
    write_container(path, tensors, {"shape": [40, 100], "layout": "t5"})
    return path


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


# -- hostile safetensors files ---------------------------------------------


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


# -- foreign files ---------------------------------------------------------


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
def test_tensor_writer_on_a_full_disk(tmp_path, monkeypatch, ending):
    def hook(call, real, *args, **kwargs):
        if call in ("write", "pwrite"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(_atomic, "os", Shim(hook))
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


# -- no code is executed ---------------------------------------------------

FORBIDDEN_MODULES = {
    "ctypes", "dill", "importlib", "joblib", "marshal", "pickle", "runpy", "shelve",
    "socket", "subprocess", "yaml",
}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "getattr", "load"}


def loader_sources():
    folder = pathlib.Path(package.__file__).parent
    return [*sorted(folder.glob("*.py")), folder.parent / "_files.py"]


def test_loaders_have_no_way_to_execute_code():
    for path in loader_sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, (path, node.lineno)
                continue
            elif isinstance(node, ast.keyword):
                assert node.arg != "allow_pickle", path
                continue
            else:
                continue
            assert not {n.split(".")[0] for n in names} & FORBIDDEN_MODULES, path
    assert len(loader_sources()) >= 8
