"""A transformer of the LLaMA family with ternary matrices, in compiled loops."""

import numpy as np

from sklearn_ternary._cpu.aligned_memory import allocate
from sklearn_ternary._cpu.matmul import PackedMatrix, blocks_of
from sklearn_ternary._cpu.product_levels import int8_level, vector_level
from sklearn_ternary._kernels import _language, _matmul
from sklearn_ternary._reference import language as _reference

STEPS = _language.STEPS
# Rows of a pass: more are cut up by the model.
MAX_TOKENS = 512
_NO_FORM = (1, 1, 1, 0)  # of matrices that are not ternary


class Linear:
    """A matrix laid out for multiplication.

    Parameters
    ----------
    stored : StoredLinear
    format : {"t2", "t5"}
        How ternary codes lie.
    room : Room or None
        Where to lay it.
    n_threads : int
    isa : str
    """

    def __init__(self, stored, format, room=None, *, n_threads, isa):
        self.shape, self.kind = stored.shape, stored.kind
        room = room or Room(packed_bytes(stored, format))
        n_rows, n_columns = stored.shape
        scale = None
        if stored.kind == "ternary":
            pack = self._from_ggml if stored.ggml else self._from_codes
            weights, form, scale = pack(stored, format, room, n_threads, isa)
        elif stored.kind in ("q6", "q8"):
            form = (n_rows, n_columns, *_NO_FORM)
            weights = _block_bytes(stored, room, n_threads, isa)
        else:
            form = (n_rows, n_columns, *_NO_FORM)
            values = np.ascontiguousarray(stored.data)
            weights = values.reshape(-1).view(np.uint8)
            if stored.kind == "i2_s":
                scale = stored.scale.reshape(-1)
        bias = stored.bias
        if bias is not None:
            bias = np.ascontiguousarray(bias, dtype=np.float32)
        self.parts = (_language.KINDS[stored.kind], weights, form, scale, bias)

    @property
    def nbytes(self):
        """Bytes that are held for the products."""
        return sum(part.nbytes for part in self.parts if hasattr(part, "nbytes"))

    def _from_codes(self, stored, format, room, n_threads, isa):
        scale = np.broadcast_to(stored.scale, (stored.shape[0], stored.scale.shape[1]))
        packed = PackedMatrix(
            stored.data,
            stored.shape[1],
            stored.layout,
            scale,
            stored.group_size,
            format=format,
            n_threads=n_threads,
            isa=isa,
        )
        (part,) = packed._parts
        return part.weights, part.form, part.scale(np.dtype(np.float32)).reshape(-1)

    def _from_ggml(self, stored, format, room, n_threads, isa):
        n_rows, n_columns = stored.shape
        group_blocks, n_blocks = _form_blocks(stored, format)
        form = (
            n_rows,
            n_columns,
            stored.group_size,
            group_blocks,
            n_blocks,
            _matmul.FORMATS[format],
        )
        weights = room.take(packed_bytes(stored, format))
        source = _language.SOURCES[stored.layout]
        level = vector_level(isa)
        if _language.pack_ternary(stored.data, source, weights, form, level, n_threads):
            raise ValueError(f"holds a code that is none of layout {stored.layout!r}")
        padded = -(-n_rows // _matmul.PANEL) * _matmul.PANEL
        scale = np.zeros((stored.scale.shape[1], padded), dtype=np.float32)
        scale[:, :n_rows] = stored.scale.T
        return weights, form, scale.reshape(-1)

    def rows(self, rows):
        """Rows of a matrix that is not ternary, float32."""
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        _language.rows_of(self.parts, np.asarray(rows, dtype=np.int64), out)
        return out


class Room:
    """Memory for several matrices: what is large lies in huge pages.

    Parameters
    ----------
    n_bytes : int
        Sum of `packed_bytes`.
    """

    def __init__(self, n_bytes):
        self._memory, self._used = allocate(n_bytes), 0

    def take(self, n_bytes):
        """Some of it that was not taken yet, on a line of the cache."""
        start = self._used
        self._used = -(-(start + n_bytes) // 64) * 64
        return self._memory[start : start + n_bytes]


def packed_bytes(stored, format):
    """Bytes that a matrix of a file needs, in whole lines of the cache."""
    n_rows, n_columns = stored.shape
    groups = -(-n_rows // 16)
    if stored.kind == "q6":
        return groups * (n_columns // 256) * _language.Q6_BYTES
    if stored.kind == "q8":
        return groups * -(-n_columns // 64) * _language.Q8_BYTES
    if stored.kind != "ternary" or not stored.ggml:
        return 0
    _, n_blocks = _form_blocks(stored, format)
    return groups * (n_blocks if format == "t2" else n_blocks // 5 * 4) * 64


def _form_blocks(stored, format):
    """Blocks of a scale group, and of a row."""
    unit = 5 if format == "t5" else 1
    full, rest = divmod(stored.shape[1], stored.group_size)
    group_blocks = blocks_of(stored.group_size, unit)
    return group_blocks, full * group_blocks + blocks_of(rest, unit)


def _block_bytes(stored, room, n_threads, isa):
    """Rows of Q6_K or Q8_0, interleaved."""
    n_rows, n_columns = stored.shape
    weights = room.take(packed_bytes(stored, None))
    kind = _language.KINDS[stored.kind]
    columns = n_columns if stored.kind == "q6" else -(-n_columns // 32) * 32
    _language.pack_blocks(
        stored.data, kind, n_rows, columns, weights, vector_level(isa), n_threads
    )
    return weights


class LayerStack:
    """The layers and the head.

    Parameters
    ----------
    config : StackConfig
    n_layers : int
    """

    # Whether it takes matrices as a file holds them: "tq2_0", "i2_s" and "q6_k".
    takes_stored = True

    def __init__(self, config, n_layers):
        self.config = config
        activation = _language.ACTIVATIONS[config.activation]
        numbers = (*config[:7], activation, _language.ROPES[config.rope])
        self._program = _language.Program(n_layers, numbers)
        self._layers = [None] * n_layers
        self._head = None
        self._spaces = {}  # number of threads to work spaces that are not in use

    def make_room(self, matrices):
        """Memory for matrices, pairs of a `StoredLinear` and a format."""
        return Room(sum(packed_bytes(*matrix) for matrix in matrices))

    def make_linear(self, stored, format=None, room=None, *, n_threads, isa):
        """What `set_layer` and `set_head` take for a `StoredLinear`."""
        return Linear(stored, format, room, n_threads=n_threads, isa=isa)

    def set_layer(self, i, norms, linears):
        """Norm weights of attention, its result, the network, its result; `LINEARS`.

        None in place of both takes the layer away.
        """
        if norms is None:
            self._layers[i] = None
            return
        parts = [linear.parts for linear in linears]
        self._program.set_layer(i, norms, parts)
        self._layers[i] = norms, parts

    def set_head(self, norm, linear):
        """Weight of the last norm, and the output matrix."""
        self._program.set_head(norm, linear.parts)
        self._head = norm, linear.parts

    def run(
        self,
        first,
        last,
        x,
        batch,
        cache,
        tables,
        *,
        out_rows=None,
        hidden=None,
        logits=None,
        times=None,
        n_threads,
        isa,
    ):
        """Layers `first` to `last` on x, and the head on some of its rows.

        The parameters of `sklearn_ternary._reference.language.LayerStack.run`, and:

        Parameters
        ----------
        times : ndarray of shape (n, 4), int64, default=None
            Where to write what the steps of the first thread took: index in `STEPS`,
            layer, start and end in nanoseconds.
        n_threads : int
        isa : str

        Returns
        -------
        n_times : int
            Rows of `times` that are written; -1, with no results, if a matrix as the
            file holds it has to be laid out first.
        """
        free = self._spaces.setdefault(n_threads, [])
        try:
            space = free.pop()
        except IndexError:
            space = self._work_space(n_threads)
        try:
            return self._program.run(
                first,
                last,
                x,
                batch.positions,
                batch.sequences,
                batch.spans,
                cache.form,
                *cache.addresses,
                *tables,
                out_rows,
                hidden,
                logits,
                times,
                space,
                (vector_level(isa), int8_level(isa, 1), int8_level(isa, MAX_TOKENS)),
                n_threads,
            )
        finally:
            free.append(space)

    def _work_space(self, n_threads):
        """Pages of it are taken when they are first written."""
        c, n = self.config, MAX_TOKENS
        attended = c.n_heads * c.head_dim
        most = max(c.n_embd, c.n_ff, attended)
        kv = c.n_kv_heads * c.head_dim
        padded = -(-most // 80) * 80
        blocks = -(-most // _language.BLOCK)
        scratch_bytes = self._program.scratch_bytes(most)
        segments = -(-most // 256) + 1

        def floats(width):
            return np.empty(n * width, dtype=np.float32)

        return _language.WorkSpace(
            floats(most),
            floats(attended),
            floats(kv),
            floats(kv),
            floats(c.n_embd),
            floats(c.n_ff),
            floats(c.n_ff),
            _lines((n + 32 * (n_threads + 2)) * (padded + 64)),
            np.empty(n * blocks * _language.BLOCK, dtype=np.int8),
            np.empty(n * segments, dtype=np.int32),
            np.empty(n * blocks * 16, dtype=np.int32),
            floats(1),
            floats(blocks),
            _lines(n_threads * scratch_bytes),
            scratch_bytes,
        )


def _lines(n_bytes):
    """Int8 array on a line of the cache."""
    memory = np.empty(n_bytes + 64, dtype=np.int8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes]


# Names that both backends have.
Batch = _reference.Batch
StackConfig = _reference.StackConfig
StoredLinear = _reference.StoredLinear
