"""Write GGUF files, tensor by tensor or in parts."""

import contextlib
import math
import struct
from numbers import Integral, Real

import numpy as np

from sklearn_ternary.persistence._atomic import atomic_file
from sklearn_ternary.persistence._gguf_codecs import (
    DECODE,
    ENCODE,
    I2_S_WIDTH,
    encode_i2_s,
)
from sklearn_ternary.persistence._gguf_header import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_ALIGNMENT,
    VALUE_TYPES,
    GGUFLimits,
    StringArray,
)
from sklearn_ternary.persistence._gguf_types import (
    BITNET_CPP,
    may_be_bitnet_cpp,
    named_type,
)

_NUMBERS = {name: number for number, (name, _) in VALUE_TYPES.items()}
_DTYPES = {name: dtype for name, dtype in VALUE_TYPES.values() if dtype is not None}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
# Types that hold what NumPy holds.
_PLAIN = {
    "F64": np.dtype("<f8"),
    "I8": np.dtype(np.int8),
    "I8_S": np.dtype(np.int8),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
}


class GGUFWriter:
    """Write a GGUF file of version 3; a context manager.

    The file appears under `path` when the ``with`` block ends without an
    exception and every tensor is complete, and not at all otherwise.

    Parameters
    ----------
    path : str or os.PathLike
    tensors : iterable of (name, type, shape)
        Everything that will be written, in this order. Types are named as in the
        format, such as ``"TQ2_0"``; the last axis of a shape is contiguous.
    metadata : dict
        Key to bool, int, float, str, or an array or list of those.
    metadata_types : dict, optional
        Key to the type it is stored as, such as ``"uint64"`` or ``"[string]"``.
        Without an entry, Python's int, float and str become the first of uint32,
        uint64, int32 and int64 that holds them, float32 and string, and NumPy's
        values keep their type.
    alignment : int, default=32
        Tensors start at multiples of so many bytes.
    i2_s_order : {"x86", "arm"}, default="x86"
        Order of the codes of I2_S tensors.

    Raises
    ------
    ValueError
        If names, types, shapes or values do not fit the format; from the end of
        the block, if a tensor is not complete.

    See Also
    --------
    GGUFReader : Read such a file.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from sklearn_ternary.persistence.gguf import GGUFReader, GGUFWriter
    >>> path = os.path.join(tempfile.mkdtemp(), "two.gguf")
    >>> tensors = [("a.weight", "TQ2_0", (2, 256)), ("b.bias", "F32", (3,))]
    >>> with GGUFWriter(path, tensors, {"general.architecture": "x"}) as writer:
    ...     writer.write("a.weight", np.full((2, 256), 0.5))
    ...     writer.write("b.bias", np.arange(3))
    >>> with GGUFReader(path) as reader:
    ...     print(reader.metadata, reader.read("b.bias"))
    {'general.architecture': 'x'} [0. 1. 2.]
    """

    def __init__(
        self,
        path,
        tensors,
        metadata,
        *,
        metadata_types=None,
        alignment=DEFAULT_ALIGNMENT,
        i2_s_order="x86",
    ):
        self._path = path
        if i2_s_order not in I2_S_WIDTH:
            raise ValueError(
                f"i2_s_order={i2_s_order!r} must be one of {list(I2_S_WIDTH)}"
            )
        self._order = i2_s_order
        metadata = dict(metadata)
        types = dict(metadata_types or {})
        key = "general.alignment"
        alignment = metadata.get(key, alignment)
        if (
            not isinstance(alignment, Integral)
            or not 0 < alignment <= MAX_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            raise ValueError(
                f"alignment={alignment!r} must be a power of two up to {MAX_ALIGNMENT}"
            )
        if alignment != DEFAULT_ALIGNMENT:
            metadata[key] = int(alignment)
            types[key] = "uint32"
        self._alignment = alignment
        fields = b"".join(
            _format_key(key, value, types.get(key)) for key, value in metadata.items()
        )
        infos = self._lay_out(tensors)
        self._check_bitnet_cpp(metadata)
        self._header = (
            MAGIC
            + struct.pack("<IQQ", 3, len(self._entries), len(metadata))
            + fields
            + infos
        )
        self._header += bytes(-len(self._header) % alignment)

    def _lay_out(self, tensors):
        """Place the tensors; return their descriptions."""
        self._entries = {}
        infos, offset = [], 0
        for name, kind, shape in tensors:
            row, shape = named_type(kind), tuple(map(int, shape))
            if name in self._entries:
                raise ValueError(f"tensor {name!r} is declared twice")
            limit = GGUFLimits.max_name_bytes
            if not name or not name.isprintable() or len(name.encode()) > limit:
                raise ValueError(
                    f"tensor name {name!r} must be text of 1 to {limit} bytes"
                )
            if not 1 <= len(shape) <= 4 or min(shape) < 0:
                raise ValueError(
                    f"tensor {name!r} has shape {shape}; 1 to 4 axes are allowed"
                )
            if kind == "I2_S" and shape[-1] % (4 * I2_S_WIDTH[self._order]):
                raise ValueError(
                    f"tensor {name!r} has rows of {shape[-1]} values; I2_S in the "
                    f"order of {self._order} needs a multiple of "
                    f"{4 * I2_S_WIDTH[self._order]}"
                )
            try:
                n_bytes = row.n_bytes(shape)
            except ValueError as error:
                raise ValueError(f"tensor {name!r}: {error}") from None
            self._entries[name] = _Entry(row, shape, offset, n_bytes)
            infos.append(
                _format_string(name)
                + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
                + struct.pack("<IQ", row.number, offset)
            )
            offset += -(-n_bytes // self._alignment) * self._alignment
        return b"".join(infos)

    def _check_bitnet_cpp(self, metadata):
        for name, entry in self._entries.items():
            if entry.type.number in BITNET_CPP and not may_be_bitnet_cpp(metadata):
                raise ValueError(
                    f"tensor {name!r} is {entry.type.name}, a type of bitnet.cpp, and "
                    "general.architecture is none of BitNet: no program would read it"
                )

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(atomic_file(self._path))
            self._file.write_at(0, self._header)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, error, traceback):
        if kind is not None:
            return self._stack.__exit__(kind, error, traceback)
        with self._stack:
            for name, entry in self._entries.items():
                if entry.done != entry.n_bytes:
                    raise ValueError(
                        f"tensor {name!r} lacks {entry.n_bytes - entry.done} bytes"
                    )
            # The padding of the last tensor belongs to the file too.
            end = max((e.offset + e.n_bytes for e in self._entries.values()), default=0)
            end = -(-end // self._alignment) * self._alignment
            self._file.truncate(len(self._header) + end)
        return False

    def write(self, name, values):
        """Append rows of values to the tensor `name`, encoded as its type.

        Parameters
        ----------
        name : str
        values : array-like
            Whole rows, or for a tensor of one axis whole blocks, in C order.
            float32 and float64 are rounded to what the type holds. A tensor of
            type I2_S has one scale and is written in one call; tensors of whole
            numbers take arrays of their own dtype.

        Raises
        ------
        ValueError
            If it was not declared, is longer than declared, cannot be encoded, or
            holds values that are not finite or too large for the type.
        """
        entry = self._entry(name)
        kind = entry.type.name
        values = np.asarray(values)
        if kind in _PLAIN:
            if values.dtype.newbyteorder("<") != _PLAIN[kind]:
                raise ValueError(
                    f"tensor {name!r} is {kind}, and {values.dtype} was given"
                )
            self._append(name, entry, np.ascontiguousarray(values, _PLAIN[kind]))
            return
        if kind not in ENCODE and kind != "I2_S":
            raise ValueError(
                f"tensor {name!r} is {kind}, which is not encoded here; "
                f"supported are {', '.join([*ENCODE, *_PLAIN, 'I2_S'])}"
            )
        if values.dtype.kind not in "fiub":
            raise ValueError(f"tensor {name!r}: {values.dtype} is not numeric")
        with np.errstate(over="ignore"):
            x = np.ascontiguousarray(values, dtype=np.float32)
        _check_finite(name, values, x)
        multiple = entry.type.block_values
        if x.size % multiple or (x.ndim > 1 and x.shape[-1] != entry.shape[-1]):
            raise ValueError(
                f"tensor {name!r}: values of shape {values.shape} are not whole rows "
                f"of {entry.shape[-1]}"
            )
        if kind == "I2_S":
            if x.size != math.prod(entry.shape):
                raise ValueError(f"tensor {name!r} is I2_S, written in one call")
            self._append(name, entry, encode_i2_s(x, self._order))
            return
        with np.errstate(over="ignore"):
            data = ENCODE[kind](x.reshape(-1, multiple))
        if kind == "F16":
            _check_finite(name, values, data.view("<f2"))
        elif kind == "BF16":
            _check_finite(name, values, DECODE["BF16"](data))
        self._append(name, entry, data)

    def write_raw(self, name, data):
        """Append stored bytes to the tensor `name`.

        Parameters
        ----------
        name : str
        data : bytes-like or ndarray of uint8

        Raises
        ------
        ValueError
            If it was not declared, or is longer than declared.
        """
        self._append(name, self._entry(name), np.asarray(memoryview(data)))

    def _entry(self, name):
        if name not in self._entries:
            raise ValueError(f"tensor {name!r} was not declared")
        return self._entries[name]

    def _append(self, name, entry, data):
        if entry.done + data.nbytes > entry.n_bytes:
            raise ValueError(f"tensor {name!r} is longer than declared")
        data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        at = len(self._header) + entry.offset + entry.done
        self._file.write_at(at, memoryview(data))
        entry.done += data.nbytes


class _Entry:
    """Type, shape and place of a tensor, and how much of it is written."""

    def __init__(self, row, shape, offset, n_bytes):
        self.type = row
        self.shape = shape
        self.offset = offset
        self.n_bytes = n_bytes
        self.done = 0


def _check_finite(name, values, stored):
    if not np.isfinite(stored).all():
        at = np.unravel_index(
            np.argmin(np.isfinite(stored).reshape(-1)), np.shape(values)
        )
        raise ValueError(
            f"tensor {name!r}: value {values[at]} at {tuple(map(int, at))} is not "
            "finite, or too large for its type"
        )


def _format_string(text):
    try:
        data = text.encode() if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is not valid text ({error})") from None
    return struct.pack("<Q", len(data)) + data


def _format_key(key, value, kind):
    if not isinstance(key, str) or not key or "\0" in key:
        raise ValueError(f"metadata key {key!r} must be text that is not empty")
    if len(key.encode()) > GGUFLimits.max_key_bytes:
        raise ValueError(f"metadata key {key[:40]!r}... is too long")
    if kind is None:
        kind = _kind_of(key, value)
    try:
        if kind.startswith("["):
            number, data = _format_array(key, value, kind[1:-1])
            return _format_string(key) + struct.pack("<I", 9) + number + data
        if kind not in _NUMBERS or kind == "array":
            raise ValueError(f"type {kind!r} is not one of {list(_NUMBERS)}")
        return (
            _format_string(key)
            + struct.pack("<I", _NUMBERS[kind])
            + _format_value(value, kind)
        )
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"metadata {key!r}: {error}") from None


def _format_value(value, kind):
    if kind == "string":
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
        return _format_string(value)
    return _rounded(_number(value, kind), kind).tobytes()


def _rounded(numbers, kind):
    """Numbers of this kind; ValueError for finite ones that are beyond its range."""
    with np.errstate(over="ignore"):
        stored = np.array(numbers, dtype=_DTYPES[kind])
    if stored.dtype.kind == "f":
        beyond = np.isinf(stored) & np.isfinite(np.asarray(numbers, np.float64))
        if beyond.any():
            first = np.atleast_1d(numbers)[np.argmax(np.atleast_1d(beyond))]
            raise ValueError(f"{first} is too large for {kind}")
    return stored


def _number(value, kind):
    """The value, if it is a number of this kind."""
    if kind == "bool" and not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{value!r} is no bool")
    if kind.startswith(("int", "uint")) and not isinstance(value, Integral):
        raise ValueError(f"{value!r} is no whole number")
    return value


def _format_array(key, values, kind):
    if kind not in _NUMBERS or kind == "array":
        raise ValueError(f"type '[{kind}]' is not a list of {list(_DTYPES)} or string")
    head = struct.pack("<IQ", _NUMBERS[kind], len(values))
    if kind == "string":
        if isinstance(values, StringArray):
            entries = (values.raw(i) for i in range(len(values)))
        else:
            entries = values
        return head, b"".join(map(_format_string, entries))
    dtype = _DTYPES[kind]
    if not isinstance(values, np.ndarray):
        values = [_number(v, kind) for v in values]
        return head, _rounded(values, kind).tobytes()
    stored = _rounded(values, kind)
    exact = dtype.kind in "iub"  # floats may be rounded
    if values.ndim != 1 or (exact and (stored != values).any()):
        raise ValueError(f"values do not fit a list of {kind}")
    return head, stored.tobytes()


def _kind_of(key, value):
    """The type that a value is stored as without being told."""
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, np.generic) and value.dtype.newbyteorder("<") in _NAMES:
        return _NAMES[value.dtype.newbyteorder("<")]
    if isinstance(value, Integral):
        for name in ("uint32", "uint64", "int32", "int64"):
            info = np.iinfo(name)
            if info.min <= value <= info.max:
                return name
    elif isinstance(value, Real):
        return "float32"
    elif isinstance(value, str):
        return "string"
    elif isinstance(value, StringArray):
        return "[string]"
    elif isinstance(value, np.ndarray):
        if value.dtype.newbyteorder("<") in _NAMES:
            return f"[{_NAMES[value.dtype.newbyteorder('<')]}]"
    elif isinstance(value, (list, tuple)) and value:
        if all(isinstance(v, str) for v in value):
            return "[string]"
        if all(isinstance(v, (bool, np.bool_)) for v in value):
            return "[bool]"
        if all(isinstance(v, Integral) for v in value):
            for name in ("int32", "int64", "uint64"):
                info = np.iinfo(name)
                if info.min <= min(value) and max(value) <= info.max:
                    return f"[{name}]"
        elif all(isinstance(v, Real) for v in value):
            return "[float32]"
    raise ValueError(f"metadata {key!r}: {value!r} cannot be stored")
