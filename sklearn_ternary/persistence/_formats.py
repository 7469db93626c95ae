"""Which format a file has, by its first bytes; and writers by ending."""

import contextlib
import os

from sklearn_ternary.persistence._atomic import atomic_file
from sklearn_ternary.persistence._container import FORMAT, ContainerReader
from sklearn_ternary.persistence._input import InputFile
from sklearn_ternary.persistence._numpy_files import (
    NpyReader,
    NpyWriter,
    NpzReader,
    NpzWriter,
)
from sklearn_ternary.persistence._safetensors import (
    SafetensorsReader,
    safetensors_writer,
)

ENDINGS = (".npy", ".npz", ".safetensors")

# What else a file may be, so that an error can say so. None of it is read.
_FOREIGN = (
    (b"GGUF", "a GGUF file"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
)


def file_kind(path, label=None):
    """Return what a file is.

    Returns
    -------
    kind : str
        ``"npy"``, ``"npz"``, ``"safetensors"``, ``"container"`` (ours), or the
        name of what it is instead, for a message.
    """
    with InputFile(path, label) as file:
        head = file.read(0, min(16, file.size))
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    if not head:
        return "an empty file"
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return what
    if head[8:9] == b"{":
        with SafetensorsReader(path, label) as reader:
            return (
                "container" if reader.metadata.get("format") == FORMAT else reader.kind
            )
    return "a file of a kind that is not known here"


_READERS = {
    "npy": NpyReader,
    "npz": NpzReader,
    "safetensors": SafetensorsReader,
    "container": ContainerReader,
}


def open_tensors(path, label=None):
    """Open a ``.npy``, ``.npz`` or ``.safetensors`` file, or a container of ours.

    The kind is told from the bytes, whatever the ending.

    Parameters
    ----------
    path : str or os.PathLike
    label : str, optional
        What error messages call the file instead of its path.

    Returns
    -------
    reader : object
        A context manager with ``names``, ``shape(name)``, ``dtype(name)``,
        ``read(name)`` and ``read_rows(name, start, stop)``. A ContainerReader
        for our own files.

    Raises
    ------
    ValueError
        If it is something else, or damaged.
    """
    kind = file_kind(path, label)
    if kind not in _READERS:
        label = os.fsdecode(path) if label is None else label
        raise ValueError(f"{label} is {kind}; supported are {', '.join(ENDINGS)} files")
    return _READERS[kind](path, label=label)


@contextlib.contextmanager
def tensor_writer(path, tensors, ending=None):
    """Write arrays to a file that appears when all are complete.

    Parameters
    ----------
    path : str or os.PathLike
    tensors : iterable of (name, dtype, shape)
        Arrays are written in this order.
    ending : {".npy", ".npz", ".safetensors"}, optional
        The format; None takes the ending of `path`.

    Yields
    ------
    writer : object
        With ``write(name, rows)``, which appends.
    """
    path = os.fsdecode(path)
    ending = os.path.splitext(path)[1] if ending is None else ending
    if ending not in ENDINGS:
        raise ValueError(
            f"{path} ends in {ending!r}; supported are {', '.join(ENDINGS)}"
        )
    tensors = list(tensors)
    with atomic_file(path) as file:
        if ending == ".safetensors":
            with safetensors_writer(file, tensors) as writer:
                yield writer
        else:
            writer = (NpyWriter if ending == ".npy" else NpzWriter)(file, tensors)
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
