"""The tensors of a model: checked, and made ready to multiply."""

import mmap
import re
from dataclasses import dataclass, replace

import numpy as np

from sklearn_ternary._layouts import LAYOUTS
from sklearn_ternary._reference.language import (
    LINEARS,
    StoredLinear,
    encode_q8,
)

_NAMES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
_NORMS = ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")
# Matrices that multiply the same activations.
_TOGETHER = (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))
_GGML_LAYOUTS = {"TQ1_0": "tq1_0", "TQ2_0": "tq2_0"}
_GGML_BYTES = {"tq1_0": 54, "tq2_0": 66}
_BLOCK_KINDS = {"Q6_K": ("q6", 210), "Q8_0": ("q8", 34)}
# Decoded, and rounded to Q8_0.
_REQUANTIZED = ("Q4_0", "Q4_K")
SUPPORTED = ("F32", "F16", "BF16", *_REQUANTIZED, *_BLOCK_KINDS, *_GGML_LAYOUTS, "I2_S")
_SCALE_TAIL = 32
_F16 = np.dtype("<f2")


@dataclass(frozen=True)
class ArrayTensor:
    """What `ArraySource` says about an array."""

    type: str
    shape: tuple


class ArraySource:
    """Arrays in memory in place of a file.

    Parameters
    ----------
    tensors : mapping of str to ndarray or TernaryArray
    """

    def __init__(self, tensors):
        self._arrays = dict(tensors)
        self.tensors = {}
        for name, array in self._arrays.items():
            if hasattr(array, "packed"):
                kind = "ternary"
            elif not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                raise ValueError(
                    f"tensor {name!r} must be a TernaryArray or an array of floats"
                )
            else:
                kind = "F16" if array.dtype == np.float16 else "F32"
            self.tensors[name] = ArrayTensor(kind, tuple(array.shape))

    def array(self, name):
        """The array itself."""
        return self._arrays[name]

    def raw(self, name):
        """Bytes of an array of floats."""
        dtype = np.float16 if self.tensors[name].type == "F16" else np.float32
        array = np.ascontiguousarray(self._arrays[name], dtype=dtype)
        return array.reshape(-1).view(np.uint8)

    def read(self, name):
        """Values as float32."""
        array = self._arrays[name]
        if not isinstance(array, np.ndarray):
            array = array.toarray()
        return np.ascontiguousarray(array, dtype=np.float32)

    def read_rows(self, name, start, stop):
        """Rows as float32."""
        return self.read(name)[start:stop]

    def error(self, problem):
        """An error with the words of a file's."""
        return ValueError(problem)


class Weights:
    """Tensors of one model, found in a source.

    Parameters
    ----------
    source : GGUFReader or ArraySource
    config : LanguageConfig
    layout : {"auto", "t2", "t5"}
        How ternary codes lie while they are multiplied.
    i2_s_order : {"x86", "arm"}
    head : {"stored", "int8"}
        Whether to round float output matrices to 8 bits.

    Raises
    ------
    ValueError
        If a tensor is missing, unknown, of the wrong shape, or not supported.
    """

    def __init__(
        self, source, config, *, layout="auto", i2_s_order="x86", head="stored"
    ):
        for name, value, allowed in (
            ("layout", layout, ("auto", "t2", "t5")),
            ("i2_s_order", i2_s_order, ("x86", "arm")),
            ("head", head, ("stored", "int8")),
        ):
            if value not in allowed:
                raise ValueError(f"{name}={value!r} must be one of {list(allowed)}")
        self._source, self._config = source, config
        self._layout, self._order, self._head = layout, i2_s_order, head
        self._shapes = self._expected()
        self._check()
        self.tied = "output.weight" not in source.tensors

    def _expected(self):
        """Name to shape, and whether the tensor has to be there."""
        c = self._config
        attended, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
        matrices = {
            "q": (attended, c.n_embd),
            "k": (kv, c.n_embd),
            "v": (kv, c.n_embd),
            "o": (c.n_embd, attended),
            "gate": (c.n_ff, c.n_embd),
            "up": (c.n_ff, c.n_embd),
            "down": (c.n_embd, c.n_ff),
        }
        widths = dict(zip(_NORMS, (c.n_embd, attended, c.n_embd, c.n_ff), strict=True))
        shapes = {
            "token_embd.weight": ((c.n_vocab, c.n_embd), True),
            "output_norm.weight": ((c.n_embd,), True),
            "output.weight": ((c.n_vocab, c.n_embd), False),
            "rope_freqs.weight": ((c.rope_dim // 2,), False),
        }
        for i in range(c.n_layers):
            for norm, width in widths.items():
                needed = c.sub_norms or "sub" not in norm
                shapes[f"blk.{i}.{norm}.weight"] = (width,), needed
            for linear, shape in matrices.items():
                name = f"blk.{i}.{_NAMES[linear]}"
                shapes[f"{name}.weight"] = shape, True
                shapes[f"{name}.bias"] = shape[:1], False
                shapes[f"{name}.scale"] = (1,), False
        return shapes

    def _check(self):
        source, arch = self._source, self._config.architecture
        for name, (shape, needed) in self._shapes.items():
            if name not in source.tensors:
                if needed:
                    raise source.error(f"tensor {name!r} is missing: {arch} needs it")
                continue
            found = tuple(source.tensors[name].shape)
            if found != shape:
                raise source.error(
                    f"tensor {name!r} has shape {found}; {arch} with these sizes needs "
                    f"{shape}"
                )
            kind = source.tensors[name].type
            floats = ("F32", "F16", "BF16")
            matrix = len(shape) == 2
            allowed = (*SUPPORTED, "ternary") if matrix else floats
            if kind not in allowed:
                raise source.error(
                    f"tensor {name!r} is {kind}; supported are {', '.join(allowed)}"
                )
            ternary = kind in ("ternary", "I2_S", *_GGML_LAYOUTS)
            if ternary and not name.startswith("blk."):
                raise source.error(
                    f"tensor {name!r} is {kind}; ternary embeddings are not supported"
                )
        for name in source.tensors:
            if name not in self._shapes:
                what = re.sub(r"^blk\.\d+\.", "blk.N.", name)
                raise source.error(
                    f"tensor {name!r} has no place in {arch}: {what} is not supported "
                    f"for {self._config.n_layers} layers"
                )

    def _vector(self, name):
        if name not in self._source.tensors:
            return None
        values = np.ascontiguousarray(self._source.read(name), dtype=np.float32)
        if not np.isfinite(values).all():
            raise self._source.error(f"tensor {name!r} has values that are not finite")
        # A copy: nothing of the file has to stay mapped for it.
        return values.reshape(-1).copy()

    def rope_factors(self):
        """Divisors of the angles, or None."""
        return self._vector("rope_freqs.weight")

    def norms(self, i):
        """The four norm weights of a layer, None where there is none."""
        return tuple(self._vector(f"blk.{i}.{name}.weight") for name in _NORMS)

    def linears(self, i):
        """Name, stored matrix and format of each, in the order of `LINEARS`."""
        found = {name: self._linear(i, name) for name in LINEARS}
        formats = dict.fromkeys(LINEARS)
        for names in _TOGETHER:
            ternary = [n for n in names if found[n].kind == "ternary"]
            grouped = [n for n in ternary if found[n].group_size < found[n].shape[1]]
            size = min((found[n].group_size for n in grouped), default=None)
            for name in ternary:
                if size is not None:
                    found[name] = _regroup(found[name], size)
                one = size is None
                auto = "t5" if one else "t2"
                formats[name] = auto if self._layout == "auto" else self._layout
                if formats[name] == "t5" and not one:
                    formats[name] = "t2"
        return [
            (f"blk.{i}.{_NAMES[name]}.weight", found[name], formats[name])
            for name in LINEARS
        ]

    def stored_linears(self, i):
        """The matrices of a layer as the file holds them, with nothing looked at.

        None unless all are TQ2_0 or I2_S (x86) without a scale of the layer's.
        """
        found = []
        for linear in LINEARS:
            name = f"blk.{i}.{_NAMES[linear]}"
            stored = self._stored_ternary(f"{name}.weight")
            if stored is None or f"{name}.scale" in self._source.tensors:
                return None
            found.append(replace(stored, bias=self._vector(f"{name}.bias")))
        return found

    def _stored_ternary(self, name):
        kind, shape = self._source.tensors[name].type, self._shapes[name][0]
        if kind == "TQ2_0":
            return StoredLinear("tq2_0", shape, self._source.raw(name))
        if kind == "I2_S" and self._order == "x86" and shape[1] % 256 == 0:
            return replace(self._from_i2_s(name, shape), kind="i2_s")
        return None

    def stored_head(self):
        """The output matrix likewise, and its norm; None unless it is Q6_K or F16."""
        name = self._head_name()
        kind, shape = self._source.tensors[name].type, self._shapes[name][0]
        if kind == "Q6_K":
            stored = StoredLinear("q6_k", shape, self._source.raw(name))
        elif kind == "F16" and self._head == "stored":
            stored = self._halves(name)
        else:
            return None
        return stored, self._vector("output_norm.weight")

    def _halves(self, name):
        shape = self._shapes[name][0]
        data = self._source.raw(name).view(_F16).reshape(shape)
        return StoredLinear("float16", shape, data)

    def error(self, name, problem):
        """An error about a tensor."""
        return self._source.error(f"tensor {name!r}: {problem}")

    def _linear(self, i, linear):
        name = f"blk.{i}.{_NAMES[linear]}"
        stored = self._matrix(f"{name}.weight")
        bias, scale = self._vector(f"{name}.bias"), self._vector(f"{name}.scale")
        if scale is not None:
            stored = self._scaled(stored, scale[0], name)
        return replace(stored, bias=bias)

    def _scaled(self, stored, scale, name):
        """What `blk.N.*.scale` says: results are multiplied by it."""
        if stored.kind == "ternary":
            return replace(stored, scale=stored.scale * scale)
        if stored.kind in ("float32", "float16"):
            values = stored.data.astype(np.float32) * scale
            return replace(stored, kind="float32", data=values)
        raise self._source.error(
            f"tensor {name + '.scale'!r} scales a matrix of blocks, which is not "
            "supported"
        )

    def _matrix(self, name):
        source = self._source
        kind, shape = source.tensors[name].type, self._shapes[name][0]
        if kind == "ternary":
            return _from_ternary_array(source.array(name), name)
        if kind in _GGML_LAYOUTS:
            return self._from_blocks(name, _GGML_LAYOUTS[kind], shape)
        if kind == "I2_S":
            return self._from_i2_s(name, shape)
        if kind in _BLOCK_KINDS:
            kind, size = _BLOCK_KINDS[kind]
            data = source.raw(name)
            at = size - 2 if kind == "q6" else 0
            scales = data.reshape(-1, size)[:, at : at + 2]
            _finite(np.ascontiguousarray(scales).view(_F16), source, name)
            return StoredLinear(kind, shape, data)
        if kind in _REQUANTIZED:
            data = encode_q8(_finite(source.read(name), source, name))
            return StoredLinear("q8", shape, data)
        if kind == "F16":
            stored = self._halves(name)
            _finite(stored.data, source, name)
            return stored
        if kind == "F32":
            data = source.raw(name).view("<f4").reshape(shape)
            return StoredLinear("float32", shape, _finite(data, source, name))
        return StoredLinear("float32", shape, _finite(source.read(name), source, name))

    def _from_blocks(self, name, layout, shape):
        n_rows, n_columns = shape
        data = self._source.raw(name)
        size = _GGML_BYTES[layout]
        blocks = data.reshape(n_rows, n_columns // 256, size)
        scale = np.ascontiguousarray(blocks[:, :, -2:]).view(_F16)[..., 0]
        scale = _finite(scale.astype(np.float32), self._source, name)
        scale = _shared(scale, blocks, layout)
        group_size = n_columns if scale.shape[1] == 1 else 256
        rows = data.reshape(n_rows, -1)
        return StoredLinear("ternary", shape, rows, layout, True, scale, group_size)

    def _from_i2_s(self, name, shape):
        n_rows, n_columns = shape
        layout = f"i2_s_{self._order}"
        multiple = LAYOUTS[layout].unit_values
        if n_columns % multiple:
            raise self._source.error(
                f"tensor {name!r} has rows of {n_columns} values; I2_S in the order of "
                f"{self._order} needs a multiple of {multiple}"
            )
        data = self._source.raw(name)
        rows = data[:-_SCALE_TAIL].reshape(n_rows, n_columns // 4)
        tail = np.ascontiguousarray(data[-_SCALE_TAIL:][:4])
        scale = _finite(tail.view("<f4").reshape(1, 1), self._source, name)
        scale = scale.astype(np.float32)
        return StoredLinear("ternary", shape, rows, layout, True, scale, n_columns)

    def _head_name(self):
        return "token_embd.weight" if self.tied else "output.weight"

    def head(self):
        """The stored output matrix, and the weight of the norm before it."""
        stored = self._matrix(self._head_name())
        if self._head == "int8" and stored.kind in ("float32", "float16"):
            stored = StoredLinear("q8", stored.shape, encode_q8(stored.data))
        return stored, self._vector("output_norm.weight")

    def embedding(self, *, checked=True):
        """A function of token ids that returns their rows, float32; or None.

        None where the output matrix is tied and holds the rows as they are. Halves are
        looked at for values that are not finite only if `checked`.
        """
        name = "token_embd.weight"
        kind = self._source.tensors[name].type
        if kind in ("F16", "F32"):
            look = self._halves if kind == "F16" and not checked else self._matrix
            table = look(name).data
            return lambda tokens: table[tokens].astype(np.float32)
        if self.tied and kind in _BLOCK_KINDS:
            return None
        rows = self._source.read_rows
        return lambda tokens: np.concatenate(
            [rows(name, int(t), int(t) + 1) for t in tokens]
        )


def _finite(values, source, name):
    """The values, if all are finite. Halves are looked at as integers."""
    if values.dtype == _F16:
        bits = values.view(np.uint16)
        wrong = any(
            ((part & 0x7C00) == 0x7C00).any() for part in _chunks(bits.reshape(-1))
        )
    else:
        wrong = any(not np.isfinite(part).all() for part in _chunks(values.reshape(-1)))
    if wrong:
        raise source.error(f"tensor {name!r} has values that are not finite")
    return values


def _chunks(values, size=2**20):
    return (values[i : i + size] for i in range(0, len(values), size))


def _shared(scale, blocks, layout):
    """Scales of blocks, or one for each row or for all where they are the same.

    Blocks of zeros may have any scale.
    """
    if (scale == scale[0, 0]).all():
        return scale[:1, :1]
    if (scale == scale[:, :1]).all():
        return scale[:, :1]
    from sklearn_ternary.quantization._ggml import _is_zero
    from sklearn_ternary.quantization._ggml import _shared as shared

    codes = LAYOUTS[layout].unit_bytes
    zero = np.zeros(scale.shape, dtype=bool)
    unused = scale == 0
    zero[unused] = _is_zero(np.ascontiguousarray(blocks[unused][:, :codes]), layout)
    if zero.any() and (scale >= 0).all():
        return shared(scale, zero)
    return scale


def release(stored):
    """Tell the system that mapped pages of a matrix that was copied may go.

    They stay in the cache of the system, and are mapped again if they are read.
    """
    copied = stored.kind in ("q6", "q8") or (stored.kind == "ternary" and stored.ggml)
    base = stored.data
    while isinstance(base, np.ndarray):
        base = base.base
    if not copied or not isinstance(base, mmap.mmap):
        return
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    whole = np.frombuffer(base, dtype=np.uint8)
    start = stored.data.ctypes.data - whole.ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + stored.data.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        base.madvise(mmap.MADV_DONTNEED, first, last - first)


def _regroup(stored, group_size):
    """The same scales for shorter groups."""
    n_columns = stored.shape[1]
    n_groups = -(-n_columns // group_size)
    if stored.group_size == group_size:
        return stored
    owner = np.arange(n_groups) * group_size // stored.group_size
    return replace(stored, scale=stored.scale[:, owner], group_size=group_size)


def _from_ternary_array(array, name):
    if array.n_levels != 3:
        raise ValueError(
            f"tensor {name!r} has {array.n_levels} levels; 3 are supported"
        )
    size = min(array.group_size, array.shape[1])
    if size < array.shape[1] and size % 16:
        raise ValueError(
            f"tensor {name!r} has groups of {size} values; a multiple of 16 or whole "
            "rows are supported"
        )
    scale = np.asarray(array.scale, dtype=np.float32)
    return StoredLinear(
        "ternary", array.shape, array.packed, array.layout, False, scale, size
    )
