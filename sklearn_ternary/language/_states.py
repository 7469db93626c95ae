"""Where the tensors of a model come from: checkpoints, our containers, GGUF files.

Each source has a ``format``, ``metadata`` and ``metadata_types`` as a GGUF file has
them, ``shapes`` (name to shape, in GGUF's names), ``kind(name)`` for a report,
``read(name)``, which returns a TernaryArray or a float32 array, and
``rows(name, start, stop)``, which returns float32.
"""

import contextlib
import json
import os

import numpy as np

from sklearn_ternary.language._names import gguf_name, in_order, metadata_of
from sklearn_ternary.language._tokenizer_files import read_json, vocabulary_of
from sklearn_ternary.persistence import ContainerReader
from sklearn_ternary.persistence._formats import file_kind, open_tensors
from sklearn_ternary.persistence._parts import PLAIN, parts_of
from sklearn_ternary.persistence._safetensors import parse_json
from sklearn_ternary.persistence.gguf import GGUFReader
from sklearn_ternary.quantization import TernaryArray, from_ggml

# The array of a container that holds the metadata, as JSON.
METADATA = "gguf.metadata"
_TERNARY = {"TQ1_0": "tq1_0", "TQ2_0": "tq2_0", "I2_S": "i2_s_{}"}
_MAX_CONFIG_BYTES = 1 << 20
_SCALE = ".weight_scale"


@contextlib.contextmanager
def open_state(source, *, config=None, i2_s_order="x86"):
    """Open a model.

    Parameters
    ----------
    source : str or os.PathLike
        A GGUF file, a container of ours, or a checkpoint: a ``.safetensors`` or
        ``.npz`` file, or a folder of ``.safetensors`` files.
    config : dict, optional
        Settings of a checkpoint; None reads ``config.json`` beside it.
    i2_s_order : {"x86", "arm"}

    Yields
    ------
    state : object
    """
    source = os.fsdecode(source)
    with contextlib.ExitStack() as stack:
        if os.path.isdir(source):
            yield _Checkpoint(stack, _shards(source), source, config)
            return
        kind = file_kind(source)
        if kind == "a GGUF file":
            reader = stack.enter_context(GGUFReader(source))
            yield _GGUF(reader, i2_s_order)
        elif kind == "container":
            yield _Container(stack.enter_context(ContainerReader(source)))
        elif kind in ("safetensors", "npz"):
            yield _Checkpoint(stack, [source], os.path.dirname(source), config)
        else:
            raise ValueError(
                f"{source} is {kind}; a GGUF file, a .safetensors or .npz file, or a "
                "folder of .safetensors files is required"
            )


def _shards(folder):
    paths = sorted(
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.endswith(".safetensors")
    )
    if not paths:
        raise ValueError(f"{folder} holds no .safetensors file")
    return paths


class _GGUF:
    format = "gguf"

    def __init__(self, reader, order):
        self._reader = reader
        self._order = order
        self.error = reader.error
        self.metadata = reader.metadata
        self.metadata_types = reader.metadata_types
        self.shapes = {name: t.shape for name, t in reader.tensors.items()}

    def kind(self, name):
        return self._reader.stored_dtype(name)

    def read(self, name):
        kind = self.kind(name)
        if kind not in _TERNARY:
            return self._reader.read(name)
        layout = _TERNARY[kind].format(self._order)
        return _named(
            self, name, from_ggml, self._reader.raw(name), self.shapes[name], layout
        )

    def rows(self, name, start, stop):
        return self._reader.read_rows(name, start, stop, i2_s_order=self._order)

    def raw(self, name):
        """Stored bytes, for tensors that are copied as they are."""
        return self._reader.raw(name)


class _Container:
    format = "container"

    def __init__(self, reader):
        self._reader = reader
        self.error = reader.error
        self._parts = parts_of(reader)
        self.metadata, self.metadata_types = self._read_metadata()
        self.shapes, self._kinds = {}, {}
        for name, (keys, info) in self._parts.items():
            if name == METADATA:
                continue
            if info is None and set(keys) == {PLAIN}:
                self.shapes[name] = reader.shape(keys[PLAIN])
                self._kinds[name] = str(reader.dtype(keys[PLAIN]))
            else:
                A = self.read(name)
                self.shapes[name], self._kinds[name] = A.shape, A.layout

    def _read_metadata(self):
        if METADATA not in self._parts:
            raise self.error(f"no model: it has no array {METADATA!r}")
        keys, _ = self._parts[METADATA]
        if set(keys) != {PLAIN} or self._reader.dtype(keys[PLAIN]) != np.uint8:
            raise self.error(f"{METADATA!r} is no array of bytes")
        text = self._reader.read(keys[PLAIN]).tobytes()
        try:
            value = parse_json(text, METADATA)
        except ValueError as error:
            raise self.error(error) from None
        value = value if isinstance(value, dict) else {}
        parts = [value.get(key) for key in ("values", "types")]
        if not all(isinstance(part, dict) for part in parts):
            raise self.error(f"{METADATA!r} lacks values and types")
        return parts[0], parts[1]

    def kind(self, name):
        return self._kinds[name]

    def read(self, name):
        keys, info = self._parts[name]
        if info is None and set(keys) == {PLAIN}:
            return self._reader.read(keys[PLAIN]).astype(np.float32, copy=False)
        tensors = {part: self._reader.read(key) for part, key in keys.items()}
        return _named(self, name, TernaryArray._from_parts, tensors, info)

    def rows(self, name, start, stop):
        keys, info = self._parts[name]
        if info is None and set(keys) == {PLAIN}:
            rows = self._reader.read_rows(keys[PLAIN], start, stop)
            return rows.astype(np.float32, copy=False)
        return self.read(name)[start:stop].toarray()


class _Checkpoint:
    """Float weights, or the packed ones that BitNet checkpoints may hold."""

    format = "checkpoint"

    def __init__(self, stack, paths, folder, config):
        self._label = paths[0]
        self._readers = {}
        for path in paths:
            reader = stack.enter_context(open_tensors(path))
            if reader.kind == "npy":
                raise reader.error("a single array is no model")
            for name in reader.names:
                if name in self._readers:
                    raise reader.error(f"tensor {name!r} is in two files")
                self._readers[name] = reader
        config = _read_config(folder) if config is None else config
        try:
            self.metadata = metadata_of(config)
        except ValueError as error:
            path = os.path.join(folder, "config.json")
            raise ValueError(f"{path}: {error}") from None
        self.metadata |= vocabulary_of(folder, config)
        self.metadata_types = {}
        self._inverted = _scale_is_inverted(config)
        self._stored, self.shapes = {}, {}
        tied = config.get("tie_word_embeddings", False)
        for stored, reader in self._readers.items():
            if stored.endswith(_SCALE):
                continue
            name = gguf_name(stored)
            if name is None:
                raise reader.error(
                    f"tensor {stored!r} is none of a BitNet model's "
                    "(model.layers.N.self_attn.q_proj.weight and so on)"
                )
            if name == "output.weight" and tied:
                continue
            shape = reader.shape(stored)
            if reader.dtype(stored) == np.uint8:
                if not shape:
                    raise reader.error(f"packed tensor {stored!r} has no rows")
                shape = (4 * shape[0], *shape[1:])
            self._stored[name], self.shapes[name] = stored, shape
        self.shapes = {name: self.shapes[name] for name in in_order(self.shapes)}

    def error(self, problem):
        return ValueError(f"{self._label}: {problem}")

    def kind(self, name):
        reader = self._readers[self._stored[name]]
        return reader.stored_dtype(self._stored[name])

    def read(self, name):
        stored = self._stored[name]
        reader = self._readers[stored]
        values = reader.read(stored)
        if values.dtype != np.uint8:
            if values.dtype.kind != "f":
                raise reader.error(f"tensor {stored!r} is {values.dtype}, not floats")
            return values.astype(np.float32, copy=False)
        return _unpack(values, self._packed_scale(stored), stored, reader.error)

    def rows(self, name, start, stop):
        stored = self._stored[name]
        reader = self._readers[stored]
        if reader.dtype(stored).kind != "f" or not reader.streams_rows(stored):
            return self.read(name).reshape(self.shapes[name])[start:stop]
        return reader.read_rows(stored, start, stop).astype(np.float32, copy=False)

    def _packed_scale(self, stored):
        name = stored.removesuffix(".weight") + _SCALE
        reader = self._readers.get(name)
        if reader is None or int(np.prod(reader.shape(name))) != 1:
            raise self.error(f"packed tensor {stored!r} has no scale {name!r}")
        scale = np.float32(reader.read(name).reshape(-1)[0])
        if not np.isfinite(scale) or scale <= 0:
            raise self.error(f"{name!r} is {scale}; a scale above 0 is required")
        return np.float32(1) / scale if self._inverted else scale


def _unpack(packed, scale, stored, error):
    """Packed rows of a checkpoint: row ``i * n + j`` in bits 2i of byte row j."""
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None, None]
    digits = (packed[None] >> shifts & 3).reshape(-1, packed.shape[-1])
    if (digits == 3).any():
        raise error(f"packed tensor {stored!r} holds codes that are none")
    return (digits.astype(np.float32) - 1) * scale


def _scale_is_inverted(config):
    """Whether weights are codes divided by the stored scale, or times it."""
    settings = config.get("quantization_config")
    kind = settings.get("linear_class") if isinstance(settings, dict) else None
    return kind == "bitlinear"


def _read_config(folder):
    path = os.path.join(folder, "config.json")
    config = read_json(path, _MAX_CONFIG_BYTES)
    if config is None:
        raise ValueError(
            f"{path} is missing: it holds the number of heads and other settings"
        )
    return config


def _named(state, name, function, *arguments):
    try:
        return function(*arguments)
    except ValueError as error:
        raise state.error(f"tensor {name!r}: {error}") from None


def metadata_json(metadata, types):
    """Return the bytes of metadata and its types, as a container holds them."""
    values = {}
    for key, value in metadata.items():
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif not isinstance(value, (bool, int, float, str)):
            value = list(value)
        values[key] = value
    everything = {"values": values, "types": types}
    text = json.dumps(everything, separators=(",", ":"), allow_nan=False)
    return np.frombuffer(text.encode(), dtype=np.uint8)
