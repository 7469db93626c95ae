"""Open and read files whose every byte may be hostile."""

import errno
import os
import stat

import numpy as np

CHUNK_BYTES = 1 << 20


class InputFile:
    """A regular file, read at given positions, never beyond its end.

    Parameters
    ----------
    path : str or os.PathLike
    label : str, optional
        What error messages call it instead of its path.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder.
    ValueError
        If it is not a regular file: a pipe or a device has no size to check
        against.
    """

    def __init__(self, path, label=None):
        self.path = os.fsdecode(path)
        self.label = self.path if label is None else label
        # Opening a pipe for reading waits for a writer unless told not to.
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(
                    errno.EISDIR, os.strerror(errno.EISDIR), self.path
                )
            raise self.error("not a regular file")
        self.raw = os.fdopen(fd, "rb", buffering=0)
        self.size = status.st_size

    def error(self, problem):
        """Return a ValueError that names the file."""
        return ValueError(f"{self.label}: {problem}")

    def read_into(self, buffer, offset):
        """Fill the writable `buffer` from `offset`; ValueError if it ends before."""
        view = memoryview(buffer).cast("B")
        if offset < 0 or offset + len(view) > self.size:
            raise self.error(f"ends at byte {self.size}, inside its data")
        self.raw.seek(offset)
        done = 0
        while done < len(view):
            n_bytes = self.raw.readinto(view[done:])
            if not n_bytes:
                raise self.error(f"ended at byte {offset + done} while being read")
            done += n_bytes

    def read(self, offset, n_bytes):
        """Return `n_bytes` bytes from `offset`."""
        if offset + n_bytes > self.size:
            raise self.error(f"ends at byte {self.size}, inside its header")
        buffer = bytearray(n_bytes)
        self.read_into(buffer, offset)
        return bytes(buffer)

    def read_array(self, offset, dtype, shape):
        """Return a new array of `dtype` and `shape` stored at `offset`, C order."""
        array = np.empty(shape, dtype=dtype)
        self.read_into(array.reshape(-1).view(np.uint8), offset)
        return array

    def chunks(self, offset, n_bytes):
        """Yield the bytes from `offset` in views of a buffer that is used again."""
        buffer = memoryview(bytearray(min(CHUNK_BYTES, n_bytes)))
        for start in range(offset, offset + n_bytes, CHUNK_BYTES):
            view = buffer[: min(CHUNK_BYTES, offset + n_bytes - start)]
            self.read_into(view, start)
            yield view

    def close(self):
        """Close the file."""
        self.raw.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def row_shape(shape):
    """Return the shape as a matrix: `shape[0]` rows if there are two axes or more."""
    n_rows = shape[0] if len(shape) >= 2 else 1
    n_columns = 1
    for n in shape[1:] if len(shape) >= 2 else shape:
        n_columns *= n
    return n_rows, n_columns
