"""Convert models between checkpoints, packed containers and GGUF files."""

import json
import math
import os
from dataclasses import dataclass

import numpy as np

from sklearn_ternary.language._names import checkpoint_name, config_of
from sklearn_ternary.language._states import METADATA, metadata_json, open_state
from sklearn_ternary.persistence import ContainerWriter, atomic_file
from sklearn_ternary.persistence._formats import tensor_writer
from sklearn_ternary.persistence._gguf_types import named_type
from sklearn_ternary.persistence._parts import PLAIN, declare_parts
from sklearn_ternary.persistence.gguf import GGUFReader, GGUFWriter
from sklearn_ternary.quantization import TernaryArray, ternarize, to_ggml

# Types that weights can be written as, and what general.file_type says of them.
FILE_TYPES = {
    "TQ1_0": 36,
    "TQ2_0": 37,
    "I2_S": 40,
    "F32": 0,
    "F16": 1,
    "BF16": 32,
    "Q8_0": 7,
    "Q6_K": 18,
}
TERNARY_TYPES = ("TQ1_0", "TQ2_0", "I2_S")
EMBEDDING_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q6_K")
FORMATS = ("gguf", "container", "checkpoint")
_EMBEDDINGS = ("token_embd.weight", "output.weight")
_PANEL_BYTES = 16 << 20


@dataclass(frozen=True)
class ConvertedTensor:
    """What became of one tensor.

    Attributes
    ----------
    name : str
        In the file that was written.
    shape : tuple of int
    source_type, type : str
        How it was stored, and how it is.
    n_bytes : int
        That it takes now.
    sparsity : float or None
        Fraction of zero codes of a ternary tensor.
    snr_db : float or None
        Signal to noise of ternary codes that were rounded from floats; infinite
        where the floats were ternary already; None where nothing was rounded to
        codes.

    Examples
    --------
    >>> from sklearn_ternary.language import ConvertedTensor
    >>> ConvertedTensor("output_norm.weight", (8,), "F32", "F32", 32).n_bytes
    32
    """

    name: str
    shape: tuple
    source_type: str
    type: str
    n_bytes: int
    sparsity: float | None = None
    snr_db: float | None = None


def convert_model(
    source,
    target,
    *,
    to=None,
    weight_type=None,
    embedding_type=None,
    scale="absmean",
    config=None,
    vocabulary=None,
    i2_s_order="x86",
    progress=None,
):
    """Convert a BitNet model from one format to another.

    Parameters
    ----------
    source : str or path-like
        A GGUF file, a packed container that this function wrote, or a checkpoint
        with the names of Hugging Face's BitNet (``.safetensors``, ``.npz``, or a
        folder of ``.safetensors`` files): float weights or its own packed ones.
    target : str or path-like
        File to write; one that exists is replaced when the new one is complete.
    to : {"gguf", "container", "checkpoint"}, default=None
        Format of `target`. None takes ``"gguf"`` for names in ``.gguf`` and
        ``"container"`` otherwise. A checkpoint holds float32 weights and gets a
        ``config.json`` beside it.
    weight_type : {"TQ1_0", "TQ2_0", "I2_S", "F32", "F16", "BF16", "Q8_0", "Q6_K"}, \
            default=None
        How the matrices of the layers are stored in a GGUF file. None keeps the
        types of a GGUF file and takes ``"TQ2_0"`` otherwise.
    embedding_type : {"F32", "F16", "BF16", "Q8_0", "Q6_K"}, default=None
        How ``token_embd`` and ``output`` are stored in a GGUF file. None keeps the
        types of a GGUF file and takes ``"F16"`` otherwise.
    scale : str, default="absmean"
        How float weights are rounded to ternary ones, as in
        :func:`~sklearn_ternary.ternarize`. Weights that are ternary already keep
        their codes and their scale.
    config : dict, default=None
        Settings of a checkpoint; None reads ``config.json`` beside it.
    vocabulary : str or path-like, default=None
        A GGUF file whose tokenizer is copied. None keeps that of `source`: of a
        checkpoint, the byte-level BPE in ``tokenizer.json`` beside it, and the chat
        template in ``tokenizer_config.json``.
    i2_s_order : {"x86", "arm"}, default="x86"
        Order of the codes of I2_S tensors, in `source` and `target`.
    progress : callable, default=None
        Called with the number of values after each tensor.

    Returns
    -------
    report : list of ConvertedTensor

    Raises
    ------
    ValueError
        If a file is damaged, not a BitNet model, lacks a setting, or a tensor does
        not fit its type.

    See Also
    --------
    sklearn_ternary.persistence.GGUFReader : What is in a GGUF file.

    Notes
    -----
    TQ1_0 and TQ2_0 hold scales as float16: those of float32 are rounded.
    """
    target = os.fsdecode(target)
    if to is None:
        to = "gguf" if target.endswith(".gguf") else "container"
    if to not in FORMATS:
        raise ValueError(f"to={to!r} must be one of {list(FORMATS)}")
    _check_type("weight_type", weight_type, tuple(FILE_TYPES))
    _check_type("embedding_type", embedding_type, EMBEDDING_TYPES)
    if to != "gguf" and (weight_type or embedding_type):
        raise ValueError(f"weight_type and embedding_type are for GGUF, not for {to}")
    with open_state(source, config=config, i2_s_order=i2_s_order) as state:
        metadata, types = dict(state.metadata), dict(state.metadata_types)
        # Other architectures have other names; none is guessed.
        try:
            config_of(metadata)
        except ValueError as error:
            raise state.error(error) from None
        if vocabulary is not None:
            _copy_vocabulary(vocabulary, metadata, types)
        job = _Job(state, metadata, types, scale, progress or (lambda n: None))
        if to == "gguf":
            return job.write_gguf(target, weight_type, embedding_type, i2_s_order)
        if to == "container":
            return job.write_container(target)
        return job.write_checkpoint(target)


def _check_type(name, value, allowed):
    if value is not None and value not in allowed:
        raise ValueError(f"{name}={value!r} must be one of {list(allowed)}")


def _copy_vocabulary(path, metadata, types):
    with GGUFReader(path) as reader:
        keys = [key for key in reader.metadata if key.startswith("tokenizer.")]
        if "tokenizer.ggml.tokens" not in keys:
            raise reader.error("there is no vocabulary to copy")
        n = len(reader.metadata["tokenizer.ggml.tokens"])
        size = metadata.get(f"{metadata['general.architecture']}.vocab_size", n)
        if n > size:
            raise reader.error(f"{n} tokens for a model of {size}")
        for key in [key for key in metadata if key.startswith("tokenizer.")]:
            del metadata[key]
        for key in keys:
            metadata[key] = reader.metadata[key]
            types[key] = reader.metadata_types[key]


class _Job:
    """One conversion: what is read, and what it becomes."""

    def __init__(self, state, metadata, types, scale, progress):
        self._state = state
        self._metadata = metadata
        self._types = types
        self._scale = scale
        self._progress = progress

    def _is_weight(self, name):
        return len(self._state.shapes[name]) == 2 and name.startswith("blk.")

    # -- GGUF --------------------------------------------------------------

    def write_gguf(self, target, weight_type, embedding_type, order):
        state = self._state
        keep = state.format == "gguf"
        if not keep:
            weight_type = weight_type or "TQ2_0"
            embedding_type = embedding_type or "F16"
        kinds = {}
        for name, shape in state.shapes.items():
            if len(shape) < 2:
                kind = None if keep else "F32"
            else:
                kind = weight_type if self._is_weight(name) else embedding_type
            kinds[name] = kind or state.kind(name)
        metadata, types = self._metadata, self._types
        if weight_type:
            metadata["general.file_type"] = FILE_TYPES[weight_type]
            types["general.file_type"] = "uint32"
        declared = [(name, kinds[name], state.shapes[name]) for name in kinds]
        report = []
        with GGUFWriter(
            target, declared, metadata, metadata_types=types, i2_s_order=order
        ) as writer:
            for name, kind in kinds.items():
                report.append(self._write_tensor(writer, name, kind, order))
                self._progress(math.prod(state.shapes[name]))
        return report

    def _write_tensor(self, writer, name, kind, order):
        state = self._state
        shape, was = state.shapes[name], state.kind(name)
        sparsity = snr = None
        if kind == was and state.format == "gguf":
            data = state.raw(name)
            writer.write_raw(name, data)
            n_bytes = data.size
        elif kind in TERNARY_TYPES:
            A, snr = self._ternary(name)
            layout = f"i2_s_{order}" if kind == "I2_S" else kind.lower()
            try:
                data = to_ggml(A, layout, round_scale=True)
            except ValueError as error:
                raise state.error(f"tensor {name!r}: {error}") from None
            writer.write_raw(name, data.reshape(-1))
            sparsity, n_bytes = A.sparsity, data.size
        else:
            for rows in self._panels(name):
                writer.write(name, rows)
            n_bytes = named_type(kind).n_bytes(shape)
        return ConvertedTensor(name, shape, was, kind, n_bytes, sparsity, snr)

    def _panels(self, name):
        shape = self._state.shapes[name]
        if len(shape) < 2:
            values = self._state.read(name)
            yield values.toarray() if isinstance(values, TernaryArray) else values
            return
        step = max(1, _PANEL_BYTES // (4 * max(1, math.prod(shape[1:]))))
        for start in range(0, shape[0], step):
            yield self._state.rows(name, start, min(start + step, shape[0]))

    def _ternary(self, name):
        """The packed array of a tensor, and how near it is to the floats."""
        W = self._state.read(name)
        if isinstance(W, TernaryArray):
            return W, None
        largest = np.abs(W).max(initial=0)
        if not np.isfinite(largest):
            raise self._state.error(f"tensor {name!r} holds NaN or infinite values")
        A = ternarize(W, scale=float(largest), layout="tq2_0")
        values = A.toarray()
        if np.array_equal(values, W):
            return A, math.inf
        A = ternarize(W, scale=self._scale, layout="tq2_0")
        error = np.sum((A.toarray() - W) ** 2, dtype=np.float64)
        signal = np.sum(W**2, dtype=np.float64)
        return A, float(10 * np.log10(signal / error))

    # -- our container -----------------------------------------------------

    def write_container(self, target):
        state = self._state
        description = metadata_json(self._metadata, self._all_types())
        parts, snr = {METADATA: ({PLAIN: description}, None)}, {}
        declared = {METADATA: ({PLAIN: (np.uint8, description.shape)}, None)}
        for name, shape in state.shapes.items():
            if not self._is_weight(name):
                declared[name] = {PLAIN: (np.dtype(np.float32), shape)}, None
                continue
            A, snr[name] = self._ternary(name)
            tensors, info = A.to_layout("t5")._to_parts()
            parts[name] = tensors, info
            declared[name] = (
                {part: (a.dtype, a.shape) for part, a in tensors.items()},
                info,
            )
        fields, content, keys = declare_parts(declared)
        report = []
        with ContainerWriter(target, fields, content) as writer:
            writer.write(keys[METADATA, PLAIN], description)
            for name, shape in state.shapes.items():
                sparsity, n_bytes = None, 4 * math.prod(shape)
                if name in snr:
                    tensors, info = parts.pop(name)
                    for part, array in tensors.items():
                        writer.write(keys[name, part], array)
                    A = TernaryArray._from_parts(tensors, info)
                    sparsity, n_bytes = A.sparsity, A.nbytes
                else:
                    for rows in self._panels(name):
                        writer.write(keys[name, PLAIN], rows)
                kind = "t5" if name in snr else "float32"
                report.append(
                    ConvertedTensor(
                        name,
                        shape,
                        state.kind(name),
                        kind,
                        n_bytes,
                        sparsity,
                        snr.get(name),
                    )
                )
                self._progress(math.prod(shape))
        return report

    def _all_types(self):
        """The GGUF type of every key, also of those without one so far."""
        return {key: self._types[key] for key in self._metadata if key in self._types}

    # -- checkpoint --------------------------------------------------------

    def write_checkpoint(self, target):
        state = self._state
        if os.path.splitext(target)[1] not in (".safetensors", ".npz"):
            raise ValueError(f"{target} must end in .safetensors or .npz")
        config = config_of(self._metadata)
        names = {}
        for name in state.shapes:
            known = checkpoint_name(name)
            if known is None or not known.endswith((".weight", ".bias")):
                raise state.error(f"tensor {name!r} has no name in a checkpoint")
            names[name] = known
        config["tie_word_embeddings"] = "output.weight" not in names
        declared = [
            (known, np.dtype(np.float32), state.shapes[name])
            for name, known in names.items()
        ]
        report = []
        with tensor_writer(target, declared) as writer:
            for name, known in names.items():
                for rows in self._panels(name):
                    writer.write(known, rows)
                shape = state.shapes[name]
                n_bytes = 4 * math.prod(shape)
                report.append(
                    ConvertedTensor(known, shape, state.kind(name), "float32", n_bytes)
                )
                self._progress(math.prod(shape))
        path = os.path.join(os.path.dirname(target), "config.json")
        with atomic_file(path) as file:
            file.write(json.dumps(config, indent=2).encode() + b"\n")
        return report
