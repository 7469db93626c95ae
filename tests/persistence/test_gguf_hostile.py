"""GGUF files that lie: a ValueError that names the file, and little memory."""

import os
import struct
import tracemalloc

import numpy as np
import pytest

from sklearn_ternary.persistence._gguf_codecs import DECODE
from sklearn_ternary.persistence.gguf import GGUFReader, GGUFWriter

U64 = 2**64


def u32(n):
    return struct.pack("<I", n % 2**32)


def u64(n):
    return struct.pack("<Q", n % U64)


def string(data, length=None):
    data = data.encode() if isinstance(data, str) else data
    return u64(len(data) if length is None else length) + data


def key(name, number, value):
    return string(name) + u32(number) + value


def array(name, number, n, data=b""):
    return key(name, 9, u32(number) + u64(n) + data)


def tensor(name="t", sides=(8,), number=0, offset=0, n_axes=None):
    sides = list(sides)
    return (
        string(name)
        + u32(len(sides) if n_axes is None else n_axes)
        + b"".join(map(u64, sides))
        + u32(number)
        + u64(offset)
    )


ARCHITECTURE = key("general.architecture", 8, string("llama"))
ALIGNMENT = "general.alignment"


def file(keys=(ARCHITECTURE,), tensors=(), data=b"", **header):
    keys, tensors = list(keys), list(tensors)
    head = (
        header.get("magic", b"GGUF")
        + u32(header.get("version", 3))
        + u64(header.get("n_tensors", len(tensors)))
        + u64(header.get("n_keys", len(keys)))
        + b"".join(keys)
        + b"".join(tensors)
    )
    return head + bytes(-len(head) % 32) + data


def one(data=bytes(32), **changes):
    return file(tensors=[tensor(**changes)], data=data)


def two(offset, name="u", data=bytes(64), sides=(8,)):
    return file(tensors=[tensor(), tensor(name, sides, 0, offset)], data=data)


ZEROS = bytes(4096)
GOOD = {
    "nothing in it": file([]),
    "header alone": file([])[:24],
    "keys and no padding": file()[: 24 + len(ARCHITECTURE)],
    "one tensor": one(),
    "data without padding": one(data=bytes(4), sides=(1,)),
    "empty tensor": one(data=b"", sides=(0,)),
    "four axes": one(sides=(2, 1, 2, 2)),
    "two tensors": two(32),
    "version 2": file(version=2),
    "alignment 64": file([key(ALIGNMENT, 4, u32(64))], [tensor()], ZEROS)[: 128 + 64],
    "empty array": file([array("a", 8, 0)]),
    "bitnet.cpp's type": file(
        [key("general.architecture", 8, string("bitnet-b1.58"))],
        [tensor(sides=(128,), number=36)],
        bytes(64),
    ),
}

BAD = {
    # -- header
    "empty": b"",
    **{f"{n} bytes": file()[:n] for n in (1, 4, 8, 12, 16, 23)},
    "magic": file(magic=b"GGUE"),
    "magic swapped": file(magic=b"FUGG"),
    "magic of zeros": file(magic=bytes(4)),
    **{f"version {n}": file(version=n) for n in (0, 1, 4, 5, 2**32 - 1)},
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    **{f"n_tensors {n}": file(n_tensors=n) for n in (-1, 1, 2**16 + 1, 2**31, 2**40)},
    **{f"n_keys {n}": file(n_keys=n) for n in (-1, 2, 4097, 2**31, 2**40, 2**60)},
    "header and zeros": file([]) + ZEROS,
    "keys and zeros": file() + ZEROS,
    # -- keys
    **{
        f"key of {n} bytes": file([string("a", n) + u32(4) + u32(1)])
        for n in (-1, 0, 2**16, 2**40, 2**63)
    },
    "long key": file([key("a" * 65_536, 4, u32(1))]),
    "key not UTF-8": file([key(b"\xff\xfe", 4, u32(1))]),
    "key with NUL": file([key("a\0b", 4, u32(1))]),
    "key of a surrogate": file([key(b"\xed\xa0\x80", 4, u32(1))]),
    "key twice": file([ARCHITECTURE, ARCHITECTURE]),
    # -- values
    **{f"value type {n}": file([key("a", n, ZEROS)]) for n in (13, 255, -1, 2**31)},
    **{
        f"string of {n} bytes": file([key("a", 8, string("abc", n))])
        for n in (-1, 400, 2**20 + 1, 2**31, 2**62, 2**63)
    },
    "string not UTF-8": file([key("a", 8, string(b"\x80"))]),
    "bool 2": file([key("a", 7, b"\2")]),
    "value cut": file([key("a", 10, b"")])[:40],
    # -- arrays
    "array of arrays": file([array("a", 9, 1, u32(4) + u64(1) + u32(0))]),
    "arrays 5000 deep": file([key("a", 9, (u32(9) + u64(1)) * 5000)]),
    **{f"array of type {n}": file([array("a", n, 1, ZEROS)]) for n in (13, -1)},
    **{
        f"array {name} of {n}": file([array("a", number, n, ZEROS)])
        for name, number in (("uint8", 0), ("uint64", 10), ("string", 8))
        for n in (2**24 + 1, 2**33, 2**60, 2**61 + 1, -1)
    },
    "array longer than the file": file([array("a", 4, 5000, ZEROS)]),
    "strings more than fit": file([array("a", 8, 5000, ZEROS)]),
    "strings with a bad length": file(
        [array("a", 8, 3, string("x") + string("y", 2**40) + string("z"))]
    ),
    "strings above the end": file([array("a", 8, 2, string("x") + u64(4000))]),
    "array bool 2": file([array("a", 7, 2, b"\1\2")]),
    # -- alignment
    **{
        f"alignment {n}": file([key(ALIGNMENT, 4, u32(n))])
        for n in (0, 13, 33, 2**17, 2**31, 2**32 - 1)
    },
    "alignment int32": file([key(ALIGNMENT, 5, u32(32))]),
    "alignment uint64": file([key(ALIGNMENT, 10, u64(32))]),
    "alignment text": file([key(ALIGNMENT, 8, string("32"))]),
    "alignment a list": file([array(ALIGNMENT, 4, 1, u32(32))]),
    "alignment twice": file([key(ALIGNMENT, 4, u32(32)), key(ALIGNMENT, 4, u32(64))]),
    "alignment of another file": file([key(ALIGNMENT, 4, u32(64))])
    + two(32)[len(file([])) :],
    # -- names
    **{
        f"name of {n} bytes": one(name="t") if n is None else one(name="x" * n)
        for n in (0, 64, 4096)
    },
    "name of -1 bytes": file(tensors=[string("t", -1) + ZEROS]),
    "name not UTF-8": one(name=b"\xc3\x28"),
    "name with NUL": one(name="a\0"),
    "name with a line end": one(name="a\n"),
    "name twice": two(32, name="t"),
    # -- shapes
    **{f"{n} axes": one(n_axes=n) for n in (0, 5, 6, 2**31, -1)},
    **{
        f"sides {sides}": one(sides=sides)
        for sides in (
            (-1,),
            (2**63 - 1,),
            (2**62,),
            (2**33, 2**33),
            (2**32, 2**32),
            (2**31, 2**31, 4),
            (0, 2**63),
            (2**40, 2**40, 2**40, 2**40),
            (9,),
            (8, 3),
        )
    },
    "sides that wrap in I8": one(sides=(2**63 - 1, 2), number=24),
    "bytes that wrap in F64": one(sides=(2**61 + 1,), number=28),
    "padding that wraps": one(sides=(2**62 - 1,), number=24),
    # -- types
    **{
        f"type {n}": one(number=n, sides=(256,), data=bytes(1024))
        for n in (-1, 4, 5, 31, 32, 33, 36, 37, 38, 42, 9999)
    },
    **{
        f"bitnet.cpp's type {n}": file(
            [key("general.architecture", 8, string("bitnet"))],
            [tensor(sides=(256,), number=n)],
            ZEROS,
        )
        for n in (38, 39)
    },
    **{
        f"row of {sides[0]} in type {n}": one(number=n, sides=sides, data=ZEROS)
        for n, sides in ((2, (33,)), (14, (128, 2)), (34, (255,)), (35, (64, 4)))
    },
    # -- places
    **{
        f"offset {n}": one(offset=n)
        for n in (1, 16, 32, 2**40, 2**63, U64 - 64, U64 - 1)
    },
    **{f"second at {n}": two(n) for n in (0, 8, 31, 33, 64, 2**63, U64 - 32)},
    "second in the header": two(U64 - 64),
    "tensors in another order": file(
        tensors=[tensor("t", offset=32), tensor("u", offset=0)], data=bytes(64)
    ),
    "with a hole": two(64, data=bytes(96)),
    "sum of sizes": two(32, sides=(2**61,)),
    # -- data
    "no data": one(data=b""),
    "a byte short": one(data=bytes(31)),
    "second cut": two(32, data=bytes(63)),
    "bytes behind": one(data=bytes(33)),
    "pages behind": one(data=ZEROS),
}


@pytest.fixture
def path(tmp_path):
    return os.fspath(tmp_path / "file.gguf")


def write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def read_all(path):
    """Shapes of everything in a file, each tensor read."""
    with GGUFReader(path) as reader:
        for name, known in reader.tensors.items():
            assert reader.raw(name).size == known.n_bytes
            if known.type in DECODE:
                assert reader.read(name).shape == known.shape
        return [known.shape for known in reader.tensors.values()]


def test_there_are_enough_kinds():
    assert len(BAD) >= 130
    assert len(set(BAD.values())) >= len(BAD) - 1


@pytest.mark.parametrize("kind", GOOD)
def test_good_files_load(path, kind):
    write(path, GOOD[kind])
    read_all(path)


def test_strings_that_are_no_text_are_refused_when_read(path):
    write(path, file([array("a", 8, 2, string("x") + string(b"\xff"))]))
    with GGUFReader(path) as reader:
        found = reader.metadata["a"]
        assert found[0] == "x"
        with pytest.raises(ValueError, match=r"file\.gguf: a\[1\] is not UTF-8"):
            list(found)


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused(path, kind):
    write(path, BAD[kind])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"file\.gguf: "):
            GGUFReader(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (8 << 20) + 4 * len(BAD[kind])


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    for name in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(ValueError, match="not a regular file"):
            GGUFReader(name)
    for name in (tmp_path, tmp_path / "loop", tmp_path / "missing"):
        with pytest.raises(OSError):
            GGUFReader(name)


@pytest.fixture
def small(tmp_path):
    """A file of many kinds of fields, whose tensors fill their places."""
    path = tmp_path / "small.gguf"
    metadata = {
        "general.architecture": "bitnet-b1.58",
        "a.list": [1, 2, 3],
        "a.tokens": ["<s>", "x", "日"],
        "a.flag": True,
        "a.number": 1.5,
    }
    tensors = [("a", "F32", (8,)), ("b", "Q8_0", (2, 16 * 32)), ("c", "I2_S", (1, 128))]
    with GGUFWriter(path, tensors, metadata) as writer:
        writer.write("a", np.arange(8))
        writer.write("b", np.ones((2, 512)))
        writer.write("c", np.ones((1, 128)))
    data = path.read_bytes()
    end_of_header = data.index(np.arange(8, dtype="<f4").tobytes())
    return data, end_of_header, read_all(path)


def test_every_truncation_is_refused(path, small):
    data, _, shapes = small
    for n in range(len(data)):
        write(path, data[:n])
        with pytest.raises(ValueError, match=r"file\.gguf"):
            read_all(path)
    write(path, data)
    assert read_all(path) == shapes


def test_every_flipped_bit_is_refused_or_changes_no_shape(path, small):
    data, end, shapes = small
    refused = 0
    for i in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[i] ^= 1 << bit
            write(path, changed)
            try:
                found = read_all(path)
            except ValueError as error:
                assert "file.gguf" in str(error)
                refused += 1
            else:
                assert found == shapes, (i, bit)
    assert refused > 8 * end / 2


def test_spliced_files_are_refused_or_load(path, small):
    rng = np.random.default_rng(0)
    sources = [small[0], *GOOD.values(), BAD["strings with a bad length"]]
    for _ in range(2000):
        a, b = (sources[i] for i in rng.integers(0, len(sources), 2))
        i, j = rng.integers(0, len(a) + 1), rng.integers(0, len(b) + 1)
        write(path, a[:i] + b[j:])
        try:
            read_all(path)
        except ValueError as error:
            assert "file.gguf" in str(error)
