"""NumPy's ``.npy`` and ``.npz``: readers that trust nothing, writers that stream.

``np.load`` reads whole arrays, and the members of a ``.npz`` without comparing
their declared sizes. These readers do not unpickle, check every size before
they allocate, and read rows.
"""

import contextlib
import errno
import io
import math
import zipfile
import zlib

import numpy as np

from sklearn_ternary.persistence._input import CHUNK_BYTES, InputFile, row_shape

MAX_MEMBERS = 65_536
_MAX_HEADER_BYTES = 10_000  # NumPy's own limit
# Deflate cannot do better than this.
_MAX_DEFLATE_RATIO = 1032
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class _Header:
    """`dtype`, `shape`, `fortran_order` of an array, and its own size `n_bytes`."""

    def __init__(self, stream, n_available):
        prefix = stream.read(12)
        if len(prefix) < 12 or prefix[:6] != b"\x93NUMPY":
            raise ValueError("not a .npy array")
        version = prefix[6], prefix[7]
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f".npy version {version} cannot be read")
        width = 2 if version == (1, 0) else 4
        n_text = int.from_bytes(prefix[8 : 8 + width], "little")
        self.n_bytes = 8 + width + n_text
        if n_text > _MAX_HEADER_BYTES or self.n_bytes > n_available:
            raise ValueError(f"the .npy header length {n_text} is too large")
        text = prefix[8 + width :] + stream.read(self.n_bytes - 12)
        parse = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        try:
            self.shape, self.fortran_order, self.dtype = parse(
                io.BytesIO(prefix[8 : 8 + width] + text),
                max_header_size=_MAX_HEADER_BYTES,
            )
        except Exception as error:  # NumPy lets those of Python's parser through
            problem = str(error).splitlines()[0][:200] if str(error) else "unreadable"
            raise ValueError(f"the .npy header is not valid ({problem})") from None
        if self.dtype.hasobject:
            raise ValueError("the array holds Python objects, which are not read")
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8:
            raise ValueError(f"dtype {self.dtype} cannot be read")
        if len(self.shape) > 32 or any(
            isinstance(n, bool) or n < 0 for n in self.shape
        ):
            raise ValueError(f"shape {self.shape} is not valid")
        if math.prod(max(n, 1) for n in self.shape) * self.dtype.itemsize >= 2**63:
            raise ValueError(f"shape {self.shape} is too large")
        self.n_data_bytes = math.prod(self.shape) * self.dtype.itemsize
        if self.n_bytes + self.n_data_bytes != n_available:
            raise ValueError(
                f"the array needs {self.n_data_bytes} bytes and there are "
                f"{n_available - self.n_bytes}"
            )


class _NumpyReader:
    """What the readers of both files share; `_headers` maps names to headers."""

    def shape(self, name):
        """Shape of an array."""
        return self._headers[name].shape

    def dtype(self, name):
        """Return the dtype an array is read as: the native one."""
        return self._headers[name].dtype.newbyteorder("=")

    def stored_dtype(self, name):
        """Name of the dtype in the file."""
        return self._headers[name].dtype.str

    def stored_bytes(self, name):
        """Bytes of the values of an array, before compression."""
        return self._headers[name].n_data_bytes

    def streams_rows(self, name):
        """Whether ``read_rows`` reads no more than the rows it returns."""
        return not self._headers[name].fortran_order

    def maps(self, name):
        """Whether there is ``memory_map``: not in an archive."""
        return False

    def read(self, name):
        """Return an array as a new array, C-contiguous."""
        header = self._headers[name]
        if header.fortran_order:
            stored = self._read_values(name, 0, math.prod(header.shape))
            return np.ascontiguousarray(stored.reshape(header.shape[::-1]).T)
        n_rows = row_shape(header.shape)[0]
        return self.read_rows(name, 0, n_rows).reshape(header.shape)

    def read_rows(self, name, start, stop):
        """Return rows of an array as a new matrix.

        The array is seen as a matrix of ``shape[0]`` rows; one with less than
        two axes is one row.
        """
        header = self._headers[name]
        n_rows, n_columns = row_shape(header.shape)
        if header.fortran_order:
            return self.read(name).reshape(n_rows, n_columns)[start:stop]
        values = self._read_values(name, start * n_columns, (stop - start) * n_columns)
        return values.reshape(stop - start, n_columns)

    def _read_values(self, name, start, n_values):
        dtype = self._headers[name].dtype
        array = np.empty(n_values, dtype)
        self._fill(name, array.view(np.uint8), start * dtype.itemsize)
        if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
            raise self.error(f"array {name!r} has a byte that is no boolean")
        return array.astype(dtype.newbyteorder("="), copy=False)

    def error(self, problem):
        """Return a ValueError that names the file."""
        return self._file.error(problem)

    def close(self):
        """Close the file."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class NpyReader(_NumpyReader):
    """The one array of a ``.npy`` file, called ``"array"``.

    Parameters
    ----------
    path : str or os.PathLike
    label : str, optional
        What error messages call the file instead of its path.

    Raises
    ------
    ValueError
        If the file is not valid, or holds what is not numbers.
    """

    kind = "npy"
    names = ["array"]

    def __init__(self, path, label=None):
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(InputFile(path, label))
            try:
                header = _Header(self._file.raw, self._file.size)
            except ValueError as error:
                raise self._file.error(error) from None
            stack.pop_all()
        self._headers = {"array": header}
        self.n_bytes = self._file.size

    def maps(self, name):
        """Whether ``memory_map`` returns what ``read`` does."""
        return self._headers[name].dtype.kind != "b"

    def memory_map(self, name):
        """Return the array as a read-only view of the file.

        The file must not be shortened while the view is in use.
        """
        header = self._headers[name]
        if not header.n_data_bytes:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran_order else "C"
        return np.memmap(
            self._file.path, header.dtype, "r", header.n_bytes, header.shape, order
        )

    def _fill(self, name, buffer, offset):
        self._file.read_into(buffer, self._headers[name].n_bytes + offset)


class NpzReader(_NumpyReader):
    """The arrays of a ``.npz`` file.

    Parameters
    ----------
    path : str or os.PathLike
    label : str, optional
        What error messages call the file instead of its path.

    Raises
    ------
    ValueError
        If the file is not valid, or a member's declared size is not that of its
        array.
    """

    kind = "npz"

    def __init__(self, path, label=None):
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(InputFile(path, label))
            with _named(self._file, "not a valid .npz file"):
                self._zip = stack.enter_context(zipfile.ZipFile(self._file.raw))
                self._members = _members(self._zip)
            self._headers = {}
            for name, info in self._members.items():
                with (
                    _named(self._file, f"array {name!r} is not valid"),
                    self._zip.open(info) as stream,
                ):
                    self._headers[name] = _Header(stream, info.file_size)
            stack.pop_all()
        self.names = list(self._members)
        self.n_bytes = self._file.size
        self._open_name = self._stream = None

    def _fill(self, name, buffer, offset):
        with _named(self._file, f"array {name!r} is damaged"):
            if self._open_name != name:
                self._close_member()
                self._stream = self._zip.open(self._members[name])
                self._open_name = name
            self._stream.seek(self._headers[name].n_bytes + offset)
            for start in range(0, len(buffer), CHUNK_BYTES):
                part = buffer[start : start + CHUNK_BYTES]
                data = self._stream.read(len(part))
                if len(data) < len(part):
                    raise EOFError("it ends too early")
                part[:] = np.frombuffer(data, np.uint8)
            if offset + len(buffer) == self._headers[name].n_data_bytes:
                self._stream.read(1)  # the end: compares the CRC

    def _close_member(self):
        if self._stream is not None:
            self._stream.close()
            self._open_name = self._stream = None

    def close(self):
        """Close the file."""
        self._close_member()
        self._zip.close()
        super().close()


@contextlib.contextmanager
def _named(file, problem):
    """Make a ValueError that names the file of what zipfile raises for its bytes."""
    try:
        yield
    except _ZIP_ERRORS as error:
        raise file.error(f"{problem} ({error})") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a place before the file
            raise
        raise file.error(f"{problem} ({error})") from None


def _members(archive):
    """Members by array name; ValueError where one cannot be what it says."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise ValueError(f"{len(infos)} members are more than {MAX_MEMBERS}")
    members = {}
    for info in infos:
        name = info.filename
        if not name.endswith(".npy") or info.is_dir():
            raise ValueError(f"member {name!r} is not a .npy array")
        if name[:-4] in members:
            raise ValueError(f"member {name!r} appears twice")
        if info.flag_bits & 1:
            raise ValueError(f"member {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member {name!r} has an unknown compression")
        ratio = 1 if info.compress_type == zipfile.ZIP_STORED else _MAX_DEFLATE_RATIO
        if info.file_size > ratio * info.compress_size + _MAX_DEFLATE_RATIO:
            raise ValueError(f"member {name!r} cannot hold {info.file_size} bytes")
        members[name[:-4]] = info
    return members


def npy_header(dtype, shape):
    """Return the bytes before the data of a C-ordered ``.npy`` array."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream,
        {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": tuple(shape),
        },
    )
    return stream.getvalue()


class NpyWriter:
    """Write one ``.npy`` array into an open file, part after part.

    Parameters
    ----------
    file : io.RawIOBase
    tensors : iterable of (name, dtype, shape)
        Exactly one.
    """

    def __init__(self, file, tensors):
        tensors = list(tensors)
        if len(tensors) != 1:
            raise ValueError(
                f"a .npy file holds one array, and there are {len(tensors)}; "
                "write .npz or .safetensors"
            )
        _, self._dtype, shape = tensors[0]
        self._file = file
        self._missing = math.prod(shape) * np.dtype(self._dtype).itemsize
        file.write(npy_header(self._dtype, shape))

    def write(self, name, array):
        """Append the values of `array`, in C order."""
        data = np.ascontiguousarray(array, self._dtype).reshape(-1).view(np.uint8)
        self._missing -= data.size
        self._file.write(memoryview(data))

    def finish(self):
        """Raise ValueError if the array is not complete."""
        if self._missing:
            raise ValueError(f"the array is {self._missing} bytes short")

    def close(self):
        """Do nothing: there is nothing besides the file."""


class NpzWriter:
    """Write a ``.npz`` file into an open file, one array after another.

    Parameters
    ----------
    file : io.RawIOBase
    tensors : iterable of (name, dtype, shape)
    """

    def __init__(self, file, tensors):
        self._tensors = {name: (dtype, shape) for name, dtype, shape in tensors}
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._open_name = self._stream = None
        self._missing = 0

    def write(self, name, array):
        """Append the values of `array`, in C order, to the array `name`."""
        if name != self._open_name:
            self._finish_member()
            dtype, shape = self._tensors.pop(name)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.external_attr = 0o600 << 16
            self._stream = self._zip.open(info, "w", force_zip64=True)
            self._open_name = name
            self._dtype = dtype
            self._missing = math.prod(shape) * np.dtype(dtype).itemsize
            self._stream.write(npy_header(dtype, shape))
        data = np.ascontiguousarray(array, self._dtype).reshape(-1).view(np.uint8)
        self._missing -= data.size
        self._stream.write(memoryview(data))

    def _finish_member(self):
        if self._stream is not None:
            self._stream.close()
            if self._missing:
                raise ValueError(
                    f"array {self._open_name!r} is {self._missing} bytes short"
                )

    def finish(self):
        """Write the table of contents; ValueError if something is missing."""
        self._finish_member()
        if self._tensors:
            raise ValueError(f"arrays are missing: {sorted(self._tensors)}")
        self._zip.close()

    def close(self):
        """Let go of the file, after an error too, when it will be thrown away."""
        for part in (self._stream, self._zip):
            with contextlib.suppress(OSError, ValueError):
                if part is not None:
                    part.close()
