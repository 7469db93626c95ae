"""What stands in front of the data of GGUF files."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sklearn_ternary.persistence._gguf_types import may_be_bitnet_cpp, tensor_type

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 16

# Metadata types by number: name and NumPy dtype.
VALUE_TYPES = {
    0: ("uint8", np.dtype(np.uint8)),
    1: ("int8", np.dtype(np.int8)),
    2: ("uint16", np.dtype("<u2")),
    3: ("int16", np.dtype("<i2")),
    4: ("uint32", np.dtype("<u4")),
    5: ("int32", np.dtype("<i4")),
    6: ("float32", np.dtype("<f4")),
    7: ("bool", np.dtype(np.bool_)),
    8: ("string", None),
    9: ("array", None),
    10: ("uint64", np.dtype("<u8")),
    11: ("int64", np.dtype("<i8")),
    12: ("float64", np.dtype("<f8")),
}
_STRING, _ARRAY, _BOOL = 8, 9, 7


@dataclass(frozen=True)
class GGUFLimits:
    """What a reader takes of a GGUF file before it refuses it.

    Attributes
    ----------
    max_metadata : int, default=4096
        Keys.
    max_tensors : int, default=65536
    max_key_bytes : int, default=65535
    max_name_bytes : int, default=63
        Of a tensor's name; what ggml itself can hold.
    max_string_bytes : int, default=1048576
        Of one string.
    max_array_length : int, default=16777216
        Entries of one array.
    max_array_bytes : int, default=67108864
        Of one array, such as the list of tokens.

    Examples
    --------
    >>> from sklearn_ternary.persistence import GGUFLimits
    >>> GGUFLimits(max_tensors=1000).max_tensors
    1000
    """

    max_metadata: int = 4096
    max_tensors: int = 65_536
    max_key_bytes: int = 65_535
    max_name_bytes: int = 63
    max_string_bytes: int = 1 << 20
    max_array_length: int = 1 << 24
    max_array_bytes: int = 64 << 20


@dataclass(frozen=True)
class GGUFTensor:
    """One tensor of a file.

    Attributes
    ----------
    name : str
    type : str
        Such as ``"TQ2_0"``.
    shape : tuple of int
        In NumPy's order: the last axis is contiguous.
    offset : int
        Where it starts in the file.
    n_bytes : int

    Examples
    --------
    >>> from sklearn_ternary.persistence import GGUFTensor
    >>> GGUFTensor("output_norm.weight", "F32", (2560,), 4096, 10240).shape
    (2560,)
    """

    name: str
    type: str
    shape: tuple
    offset: int
    n_bytes: int


class StringArray(Sequence):
    """The strings of a metadata array, decoded when they are asked for."""

    def __init__(self, data, starts, lengths, what):
        self._data = data
        self._starts = starts
        self._lengths = lengths
        self._what = what

    def __len__(self):
        return len(self._starts)

    def raw(self, i):
        """Return the bytes of entry `i`."""
        start = self._starts[i]
        return bytes(self._data[start : start + self._lengths[i]])

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        try:
            return self.raw(i).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._what}[{i}] is not UTF-8 ({error})") from None

    def __eq__(self, other):
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None

    def __repr__(self):
        return f"<StringArray of {len(self)} strings>"


class Header:
    """Everything in front of the data, checked before memory is taken."""

    def __init__(self, file, limits):
        self._file = file
        self._limits = limits
        self._data = bytearray()
        self._at = 0
        self._read()

    # -- bytes -------------------------------------------------------------

    def _need(self, n_bytes, what):
        """Make sure that so many bytes follow the position."""
        end = self._at + n_bytes
        if end > self._file.size:
            raise self._file.error(
                f"ends at byte {self._file.size}, inside {what}, which ends at {end}"
            )
        missing = end - len(self._data)
        if missing > 0:
            start = len(self._data)
            # Growing by the half keeps the copies few.
            more = min(max(missing, 65_536, start // 2), self._file.size - start)
            self._data += self._file.read(start, more)

    def _number(self, form, what):
        self._need(struct.calcsize(form), what)
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def _string(self, limit, what):
        n_bytes = self._number("<Q", f"the length of {what}")
        if n_bytes > limit:
            raise self._file.error(f"{what} has {n_bytes} bytes; the limit is {limit}")
        self._need(n_bytes, what)
        data = bytes(self._data[self._at : self._at + n_bytes])
        self._at += n_bytes
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self._file.error(f"{what} is not UTF-8 ({error})") from None

    # -- fields ------------------------------------------------------------

    def _read(self):
        file, limits = self._file, self._limits
        self._need(8, "the magic and the version")
        if self._data[:4] != MAGIC:
            raise file.error(f"not a GGUF file: it starts with {bytes(self._data[:4])}")
        self._at = 4
        self.version = self._number("<I", "the version")
        if self.version not in (2, 3):
            if self.version.to_bytes(4, "little")[3] in (2, 3):
                raise file.error("a big-endian GGUF file, which is not read")
            raise file.error(
                f"GGUF version {self.version} cannot be read; versions 2 and 3 can"
            )
        n_tensors = self._number("<Q", "the number of tensors")
        n_metadata = self._number("<Q", "the number of metadata keys")
        # The least that a key or a tensor takes.
        self._check_count(n_metadata, limits.max_metadata, 14, "metadata keys")
        self._check_count(n_tensors, limits.max_tensors, 33, "tensors")
        self.metadata, self.metadata_types = {}, {}
        for i in range(n_metadata):
            self._read_key(i)
        self._check_alignment()
        bitnet_cpp = may_be_bitnet_cpp(self.metadata)
        entries = {}
        for i in range(n_tensors):
            self._read_tensor(i, entries, bitnet_cpp)
        self._place(entries)
        del self._data

    def _check_count(self, n, limit, least_bytes, what):
        if n > limit:
            raise self._file.error(f"{n} {what} are more than the limit of {limit}")
        if n * least_bytes > self._file.size:
            raise self._file.error(
                f"{n} {what} do not fit in the file's {self._file.size} bytes"
            )

    def _read_key(self, i):
        key = self._string(self._limits.max_key_bytes, f"metadata key {i}")
        if not key or "\0" in key:
            raise self._file.error(f"metadata key {i} is empty or holds a NUL")
        if key in self.metadata:
            raise self._file.error(f"metadata key {key!r} appears twice")
        number = self._number("<I", f"the type of {key!r}")
        if number == _ARRAY:
            number = self._number("<I", f"the type of the entries of {key!r}")
            self.metadata[key] = self._array(number, key)
            self.metadata_types[key] = f"[{VALUE_TYPES[number][0]}]"
        else:
            self.metadata[key] = self._value(number, key)
            self.metadata_types[key] = VALUE_TYPES[number][0]

    def _value(self, number, key):
        if number == _STRING:
            return self._string(self._limits.max_string_bytes, f"the value of {key!r}")
        dtype = self._dtype(number, key)
        self._need(dtype.itemsize, f"the value of {key!r}")
        data = self._data[self._at : self._at + dtype.itemsize]
        self._at += dtype.itemsize
        if number == _BOOL and data[0] > 1:
            raise self._file.error(f"{key!r} has the value {data[0]}, which is no bool")
        return np.frombuffer(bytes(data), dtype=dtype)[0].item()

    def _dtype(self, number, key):
        if number not in VALUE_TYPES:
            raise self._file.error(f"{key!r} has type {number}, which is not known")
        return VALUE_TYPES[number][1]

    def _array(self, number, key):
        n = self._number("<Q", f"the length of {key!r}")
        if number == _ARRAY:
            raise self._file.error(f"{key!r} is an array of arrays")
        dtype = self._dtype(number, key)
        if n > self._limits.max_array_length:
            raise self._file.error(
                f"{key!r} has {n} entries; the limit is {self._limits.max_array_length}"
            )
        if number == _STRING:
            return self._strings(n, key)
        n_bytes = n * dtype.itemsize
        if n_bytes > self._limits.max_array_bytes:
            raise self._file.error(
                f"{key!r} takes {n_bytes} bytes; the limit is "
                f"{self._limits.max_array_bytes}"
            )
        self._need(n_bytes, f"the values of {key!r}")
        values = np.frombuffer(
            bytes(self._data[self._at : self._at + n_bytes]), dtype=dtype
        )
        self._at += n_bytes
        if number == _BOOL and (values.view(np.uint8) > 1).any():
            raise self._file.error(f"{key!r} has entries that are no bool")
        return values

    def _strings(self, n, key):
        file, limits = self._file, self._limits
        if 8 * n > file.size - self._at:
            raise file.error(f"{key!r} has {n} strings, more than fit in the file")
        first = at = self._at
        starts, lengths = [], []
        filled, length_at = len(self._data), struct.Struct("<Q").unpack_from
        for i in range(n):
            if at + 8 > filled:
                self._at = at
                self._need(8, f"{key!r}[{i}]")
                filled = len(self._data)
            n_bytes = length_at(self._data, at)[0]
            at += 8
            if n_bytes > limits.max_string_bytes:
                raise file.error(
                    f"{key!r}[{i}] has {n_bytes} bytes; the limit is "
                    f"{limits.max_string_bytes}"
                )
            starts.append(at - first)
            lengths.append(n_bytes)
            at += n_bytes
            if at > filled:
                self._at = at - n_bytes
                self._need(n_bytes, f"{key!r}[{i}]")
                filled = len(self._data)
            if at - first > limits.max_array_bytes:
                raise file.error(
                    f"{key!r} takes more than {limits.max_array_bytes} bytes"
                )
        self._at = at
        data = bytes(self._data[first:at])
        return StringArray(data, starts, lengths, f"{file.label}: {key}")

    def _check_alignment(self):
        key = "general.alignment"
        self.alignment = self.metadata.get(key, DEFAULT_ALIGNMENT)
        if key in self.metadata and self.metadata_types[key] != "uint32":
            raise self._file.error(
                f"{key!r} is {self.metadata_types[key]}; uint32 is required"
            )
        n = self.alignment
        if not 0 < n <= MAX_ALIGNMENT or n & (n - 1):
            raise self._file.error(
                f"{key!r} is {n}; a power of two up to {MAX_ALIGNMENT} is required"
            )

    def _read_tensor(self, i, entries, bitnet_cpp):
        file = self._file
        name = self._string(self._limits.max_name_bytes, f"the name of tensor {i}")
        if not name or not name.isprintable():
            raise file.error(f"the name {name!r} of tensor {i} is empty or no text")
        if name in entries:
            raise file.error(f"tensor {name!r} appears twice")
        n_axes = self._number("<I", f"the number of axes of {name!r}")
        if not 1 <= n_axes <= 4:
            raise file.error(f"tensor {name!r} has {n_axes} axes; 1 to 4 are allowed")
        sides = [self._number("<Q", f"the shape of {name!r}") for _ in range(n_axes)]
        if math.prod(max(n, 1) for n in sides) >= 2**62:
            raise file.error(f"tensor {name!r} has shape {sides}, which is too large")
        number = self._number("<I", f"the type of {name!r}")
        offset = self._number("<Q", f"the offset of {name!r}")
        shape = tuple(reversed(sides))
        try:
            row = tensor_type(number, bitnet_cpp)
            n_bytes = row.n_bytes(shape)
        except ValueError as error:
            raise file.error(f"tensor {name!r}: {error}") from None
        entries[name] = row.name, shape, offset, n_bytes

    def _place(self, entries):
        """Check that the tensors fill the rest of the file, one after another."""
        file, alignment = self._file, self.alignment
        start = _aligned(self._at, alignment)
        end = self._at if not entries else start
        expected = 0
        self.tensors = {}
        for name, (kind, shape, offset, n_bytes) in entries.items():
            if offset != expected:
                raise file.error(
                    f"tensor {name!r} is at offset {offset} of the data; after the "
                    f"tensor before it, {expected} is required"
                )
            end = start + offset + n_bytes
            if end > file.size:
                raise file.error(
                    f"ends at byte {file.size}, inside tensor {name!r}, which ends at "
                    f"{end}"
                )
            self.tensors[name] = GGUFTensor(name, kind, shape, start + offset, n_bytes)
            expected = _aligned(offset + n_bytes, alignment)
        if file.size > _aligned(end, alignment):
            raise file.error(
                f"{file.size - end} bytes follow the last tensor, which ends at {end}"
            )


def _aligned(n, alignment):
    return -(-n // alignment) * alignment
