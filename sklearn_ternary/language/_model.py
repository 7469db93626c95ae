"""The transformer: token ids in, logits out."""

import threading
from collections import OrderedDict
from numbers import Integral

import numpy as np

from sklearn_ternary._dispatch.language import layer_stack_options, make_layer_stack
from sklearn_ternary._reference.language import Batch, rope_tables
from sklearn_ternary.language._config import LanguageConfig
from sklearn_ternary.language._kv_cache import PASS_TOKENS, KVCache
from sklearn_ternary.language._weights import ArraySource, Weights, release

STRATEGIES = ("mmap", "preload", "lazy")
# Passes after which all layers are laid out, if each has at most so many tokens: for
# more of them it is faster to wait for that.
_STORED_PASSES = 16
_STORED_TOKENS = 32
_FIRST_POSITIONS = 256  # whose angles are known from the start


class Model:
    """A language model that computes logits; it knows token ids only.

    Made by :meth:`from_gguf` or :meth:`from_arrays`. Several threads may call
    :meth:`forward` at a time, with a cache each.

    Parameters
    ----------
    config : LanguageConfig
    weights : mapping of str to tensors
        What :meth:`from_gguf` or :meth:`from_arrays` found.
    strategy : {"mmap", "preload", "lazy"}, default="mmap"
        See :meth:`from_gguf`.
    max_layers : int, default=None
        Most layers that are held at a time with ``strategy="lazy"``; None is 8.

    Attributes
    ----------
    config : LanguageConfig
    backend : {"cpu", "numpy"}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary.language import LanguageConfig, Model
    >>> rng = np.random.default_rng(0)
    >>> keys = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 64,
    ...         "context_length": 16, "attention.head_count": 2,
    ...         "attention.layer_norm_rms_epsilon": 1e-5}
    >>> metadata = {f"llama.{key}": value for key, value in keys.items()}
    >>> metadata["general.architecture"] = "llama"
    >>> shapes = {"token_embd": (10, 32), "output_norm": (32,)}
    >>> for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
    ...     shapes[f"blk.0.{name}"] = (32, 32)
    >>> shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    >>> shapes |= {"blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32)}
    >>> shapes |= {"blk.0.ffn_down": (32, 64)}
    >>> tensors = {f"{name}.weight": rng.normal(size=shape).astype("float32")
    ...            for name, shape in shapes.items()}
    >>> model = Model.from_arrays(metadata, tensors)
    >>> cache = model.new_cache()
    >>> model.forward([1, 2, 3], cache).shape
    (1, 10)
    >>> cache.lengths
    array([3])
    """

    def __init__(self, config, weights, *, strategy="mmap", max_layers=None):
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy={strategy!r} must be one of {list(STRATEGIES)}")
        if max_layers is None:
            max_layers = 8
        elif strategy != "lazy":
            raise ValueError(
                f"max_layers={max_layers!r} goes with strategy='lazy' only"
            )
        if (
            not isinstance(max_layers, Integral)
            or isinstance(max_layers, bool)
            or max_layers < 1
        ):
            raise ValueError(f"max_layers={max_layers!r} must be a positive integer")
        self.config, self._weights = config, weights
        self.strategy, self.max_layers = strategy, max_layers
        self._stack, self.backend = make_layer_stack(config.stack, config.n_layers)
        self._held = OrderedDict()  # layers that are ready, the last used at the end
        self._ready = False  # all layers and the head
        self._stored = None  # layers and head as the file holds them
        self._head = self._embedding = None
        self._lock = threading.RLock()
        self._tables = self._make_tables(min(config.n_ctx, _FIRST_POSITIONS))
        if strategy == "preload":
            self.load()

    @classmethod
    def from_gguf(
        cls,
        file,
        *,
        strategy="mmap",
        max_layers=None,
        activation=None,
        layout="auto",
        i2_s_order="x86",
        head="stored",
    ):
        """Open a model in a GGUF file.

        Parameters
        ----------
        file : str, path-like or GGUFReader
        strategy : {"mmap", "preload", "lazy"}, default="mmap"
            When the tensors are laid out to multiply, which copies the ternary ones:
            at the first use; at once; or each layer at each use, with only
            `max_layers` of them kept. The first single tokens of a file of TQ2_0
            with an output matrix of Q6_K are computed from the file as it is, while
            the layers are laid out one after another.
        max_layers : int, default=None
            Layers that ``"lazy"`` keeps; None is 8.
        activation : {"silu", "relu2"}, default=None
            Instead of what the file says.
        layout : {"auto", "t2", "t5"}, default="auto"
            Bits of a ternary code in memory, 2 or 1.6. Results do not depend on
            it. Auto is t5 unless scales differ within rows.
        i2_s_order : {"x86", "arm"}, default="x86"
            Which machine wrote I2_S tensors; files do not say it.
        head : {"stored", "int8"}, default="stored"
            int8 rounds a float output matrix to 8 bits: half the memory of
            float16, and not quite the same logits.

        Returns
        -------
        model : Model

        Raises
        ------
        ValueError
            If the file is damaged or the model is not supported; it names what.
        """
        if not hasattr(file, "raw"):
            from sklearn_ternary.persistence import GGUFReader

            file = GGUFReader(file)
        shape = file.tensors.get("token_embd.weight")
        n_vocab = (
            shape.shape[0] if shape is not None and len(shape.shape) == 2 else None
        )
        try:
            config = LanguageConfig.from_metadata(
                file.metadata, n_vocab=n_vocab, activation=activation
            )
        except ValueError as error:
            raise file.error(str(error)) from None
        weights = Weights(file, config, layout=layout, i2_s_order=i2_s_order, head=head)
        return cls(config, weights, strategy=strategy, max_layers=max_layers)

    @classmethod
    def from_arrays(
        cls, metadata, tensors, *, activation=None, layout="auto", head="stored"
    ):
        """Make a model of arrays in memory.

        Parameters
        ----------
        metadata : mapping
            Keys and values as in a GGUF file.
        tensors : mapping of str to ndarray or TernaryArray
            The names of a GGUF file.
        activation, layout, head
            As for :meth:`from_gguf`.

        Returns
        -------
        model : Model
        """
        source = ArraySource(tensors)
        table = source.tensors.get("token_embd.weight")
        n_vocab = (
            table.shape[0] if table is not None and len(table.shape) == 2 else None
        )
        config = LanguageConfig.from_metadata(
            metadata, n_vocab=n_vocab, activation=activation
        )
        weights = Weights(source, config, layout=layout, head=head)
        return cls(config, weights)

    def load(self):
        """Make everything ready that is not yet, as the strategy allows.

        Returns
        -------
        self : Model
        """
        with self._lock:
            if self._head is None:
                self._load_head()
            if self.strategy != "lazy":
                for i in range(self.config.n_layers):
                    self._load_layer(i)
                self._ready = True
                self._stored = None
        return self

    @property
    def n_layers_held(self):
        """Layers that are ready in memory."""
        return len(self._held)

    @property
    def nbytes(self):
        """Bytes of the weights that are ready in memory."""
        layers = sum(linear.nbytes for layer in self._held.values() for linear in layer)
        return layers + (self._head.nbytes if self._head is not None else 0)

    def _after_fork(self):
        """Forget that a thread of the parent was loading; it is not here."""
        self._lock = threading.RLock()

    def _load_layer(self, i):
        if i in self._held:
            self._held.move_to_end(i)
            return
        if self.strategy == "lazy":
            while len(self._held) >= self.max_layers:
                oldest, _ = self._held.popitem(last=False)
                self._stack.set_layer(oldest, None, None)
        options = layer_stack_options(self.backend)
        found = self._weights.linears(i)
        room = self._stack.make_room([matrix[1:] for matrix in found])
        linears = []
        for name, stored, format in found:
            try:
                linear = self._stack.make_linear(stored, format, room, **options)
            except ValueError as error:
                raise self._weights.error(name, error) from None
            linears.append(linear)
            release(stored)
        self._stack.set_layer(i, self._weights.norms(i), linears)
        self._held[i] = linears

    def _load_head(self):
        stored, norm = self._weights.head()
        options = layer_stack_options(self.backend)
        head = self._stack.make_linear(stored, **options)
        release(stored)
        self._stack.set_head(norm, head)
        self._embedding = self._weights.embedding() or head.rows
        self._head = head

    def _make_tables(self, n_positions):
        c = self.config
        factors = self._weights.rope_factors()
        return rope_tables(n_positions, c.rope_dim, c.rope_base, c.rope_scale, factors)

    def new_cache(self, n_sequences=1, n_ctx=None, dtype="float16", *, window=None):
        """Make room for the keys and values of sequences.

        Parameters
        ----------
        n_sequences : int, default=1
        n_ctx : int, default=None
            Most tokens of a sequence; None is the context of the model.
        dtype : {"float32", "float16", "int8"}, default="float16"
        window : int, default=None
            Tokens that a token sees; None is what the model says, 0 is all.

        Returns
        -------
        cache : KVCache

        Raises
        ------
        ValueError
            If `n_ctx` is longer than the context of the model.
        """
        c = self.config
        if n_ctx is None:
            n_ctx = c.n_ctx
        if isinstance(n_ctx, Integral) and n_ctx > c.n_ctx:
            raise ValueError(
                f"n_ctx={n_ctx} is longer than the context of the model, {c.n_ctx}"
            )
        return KVCache(
            c.n_layers,
            c.n_kv_heads,
            c.head_dim,
            n_ctx=n_ctx,
            n_sequences=n_sequences,
            dtype=dtype,
            window=c.window if window is None else window,
        )

    def forward(
        self, tokens, cache, sequences=0, *, all_logits=False, out=None, trace=None
    ):
        """Append tokens to sequences and return logits.

        Parameters
        ----------
        tokens : array-like of shape (n_tokens,), int
        cache : KVCache
            Of :meth:`new_cache`; the lengths of the sequences grow.
        sequences : int or array-like of shape (n_tokens,), int, default=0
            Which sequence of the cache each token goes to. Tokens of one sequence
            follow each other, whatever stands between them.
        all_logits : bool, default=False
            Return a row for each token, and not only for the last of each sequence.
        out : ndarray, float32, default=None
            Where to write the logits.
        trace : list, default=None
            Gets a tuple (step, layer, start, end) for each step, in nanoseconds.

        Returns
        -------
        logits : ndarray of shape (n_tokens or n_sequences, n_vocab), float32
            Rows for sequences are in the order in which these first occur. A row
            does not depend on the other sequences, nor on how the tokens are
            divided among calls.

        Raises
        ------
        ValueError
            If a token is not in the vocabulary, or a sequence gets too long. The
            cache is unchanged then.
        """
        tokens, sequences, positions, lengths = self._checked(tokens, cache, sequences)
        if all_logits:
            wanted = np.arange(len(tokens))
        else:
            wanted = _last_of_each(sequences)
        shape = (len(wanted), self.config.n_vocab)
        if out is None:
            out = np.empty(shape, dtype=np.float32)
        elif (
            out.shape != shape
            or out.dtype != np.float32
            or not out.flags.c_contiguous
            or not out.flags.writeable
        ):
            raise ValueError(
                f"out must be a writeable float32 array of shape {shape}, in C order"
            )
        order = np.argsort(wanted)
        in_order = bool((order[1:] > order[:-1]).all())
        logits = out if in_order else np.empty_like(out)
        self._passes(
            tokens, sequences, positions, cache, wanted[order], None, logits, trace
        )
        if not in_order:
            out[order] = logits
        cache.lengths[:] = lengths
        return out

    def hidden(self, tokens, cache, sequences=0):
        """Append tokens to sequences and return what the output matrix would get.

        Parameters
        ----------
        tokens, cache, sequences
            As for :meth:`forward`.

        Returns
        -------
        hidden : ndarray of shape (n_tokens, n_embd), float32
        """
        tokens, sequences, positions, lengths = self._checked(tokens, cache, sequences)
        wanted = np.arange(len(tokens))
        out = np.empty((len(tokens), self.config.n_embd), dtype=np.float32)
        self._passes(tokens, sequences, positions, cache, wanted, out, None, None)
        cache.lengths[:] = lengths
        return out

    def _checked(self, tokens, cache, sequences):
        """Arrays, positions, and the lengths of the sequences afterwards."""
        c = self.config
        if not isinstance(cache, KVCache) or not cache.fits(
            c.n_layers, c.n_kv_heads, c.head_dim
        ):
            raise ValueError("cache must be a KVCache of this model's new_cache")
        if np.ndim(tokens) != 1 or not len(tokens):
            raise ValueError("tokens must be a sequence of at least one token id")
        tokens = _integers(tokens, "tokens")
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= c.n_vocab:
            wrong = low if low < 0 else high
            raise ValueError(
                f"token {wrong} is not in the vocabulary: ids are 0 to {c.n_vocab - 1}"
            )
        sequences = _integers(sequences, "sequences")
        n = len(tokens)
        if sequences.ndim == 0:
            sequence = cache._checked(int(sequences))
            length = int(cache.lengths[sequence])
            positions = np.arange(length, length + n)
            lengths = cache.lengths.copy()
            lengths[sequence] += n
            sequences = np.full(n, sequence, dtype=np.int64)
        else:
            if sequences.shape != tokens.shape:
                raise ValueError(
                    f"sequences has shape {sequences.shape}; one for each of the {n} "
                    "tokens is needed"
                )
            for sequence in (int(sequences.min()), int(sequences.max())):
                cache._checked(sequence)
            # Which token of its sequence each one is.
            order = np.argsort(sequences, kind="stable")
            counts = np.bincount(sequences, minlength=cache.n_sequences)
            starts = np.cumsum(counts) - counts
            positions = np.empty(n, dtype=np.int64)
            rank = np.arange(n) - starts[sequences[order]]
            positions[order] = rank + cache.lengths[sequences[order]]
            lengths = cache.lengths + counts
        if lengths.max() > cache.n_ctx:
            sequence = int(lengths.argmax())
            raise ValueError(
                f"sequence {sequence} would have {lengths[sequence]} tokens; the cache "
                f"has room for {cache.n_ctx}"
            )
        return tokens, sequences, positions, lengths

    def _passes(
        self, tokens, sequences, positions, cache, wanted, hidden, logits, trace
    ):
        options = layer_stack_options(self.backend)
        last = int(positions.max())
        if last >= len(self._tables[0]):
            self._tables = self._make_tables(min(self.config.n_ctx, 2 * last + 1))
        for start in range(0, len(tokens), PASS_TOKENS):
            end = min(start + PASS_TOKENS, len(tokens))
            part = slice(start, end)
            batch = _batch(sequences[part], positions[part])
            first, stop = np.searchsorted(wanted, [start, end])
            rows = (wanted[first:stop] - start) if stop > first else None
            outputs = {
                "out_rows": rows,
                "hidden": None
                if hidden is None or rows is None
                else hidden[first:stop],
                "logits": None
                if logits is None or rows is None
                else logits[first:stop],
            }
            if trace is not None:
                times = np.empty((self.config.n_layers * 10 + 4, 4), dtype=np.int64)
                outputs["times"] = times
            self._run(tokens[part], batch, cache, outputs, options, trace)

    def _run(self, tokens, batch, cache, outputs, options, trace):
        run = (tokens, batch, cache, outputs, options, trace)
        if self._ready:
            self._run_all(*run)
            return
        with self._lock:
            if self.strategy == "lazy":
                self._run_layers(*run)
            elif self._ready or not self._run_stored(*run):
                self.load()
                self._run_all(*run)

    def _run_all(self, tokens, *run):
        n_layers = self.config.n_layers
        return self._stacked(0, n_layers, self._embedding(tokens), *run)

    def _run_stored(self, tokens, batch, cache, outputs, *run):
        """Compute while not all is laid out; return whether that could be."""
        first = self._stored is None
        if len(tokens) > _STORED_TOKENS or not self._attach():
            return False
        if not first:
            waiting = [i for i in range(self.config.n_layers) if i not in self._held]
            for i in waiting[: -(-self.config.n_layers // _STORED_PASSES)]:
                self._load_layer(i)
            if not waiting:
                return False
        # What is wrong there is told where it is laid out, or needs other scales only.
        return self._run_all(tokens, batch, cache, outputs, *run) and all(
            rows is None or np.isfinite(rows).all()
            for rows in (outputs["hidden"], outputs["logits"])
        )

    def _attach(self):
        """Take all matrices as the file holds them; return whether it goes."""
        if self._stored is None:
            self._stored = []
            layers = range(self.config.n_layers)
            if self.strategy != "mmap" or not self._stack.takes_stored or self._held:
                return False
            head = self._weights.stored_head()
            found = [self._weights.stored_linears(i) for i in layers]
            if head is None or None in found:
                return False
            options = layer_stack_options(self.backend)
            for i in layers:
                linears = [self._stack.make_linear(m, **options) for m in found[i]]
                self._stack.set_layer(i, self._weights.norms(i), linears)
            linear = self._stack.make_linear(head[0], **options)
            self._stack.set_head(head[1], linear)
            self._embedding = self._weights.embedding(checked=False) or linear.rows
            self._stored = found, head
        return bool(self._stored)

    def _run_layers(self, tokens, batch, cache, outputs, options, trace):
        """Compute with some layers at a time."""
        if self._head is None:
            self._load_head()
        x = self._embedding(tokens)
        n_layers = self.config.n_layers
        silent = outputs | {"out_rows": None, "hidden": None, "logits": None}
        for i in range(n_layers):
            self._load_layer(i)
            self._stacked(i, i + 1, x, batch, cache, silent, options, trace)
        if outputs["out_rows"] is not None:
            self._stacked(n_layers, n_layers, x, batch, cache, outputs, options, trace)

    def _stacked(self, first, last, x, batch, cache, outputs, options, trace):
        n = self._stack.run(
            first, last, x, batch, cache, self._tables, **outputs, **options
        )
        if trace is not None and n > 0:
            trace.extend(map(tuple, outputs["times"][:n].tolist()))
        return n >= 0


def _integers(values, name):
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, not {array.dtype}")
    return array.astype(np.int64, copy=False)


def _last_of_each(sequences):
    """Index of the last token of each sequence, by its first token."""
    if len(sequences) == 1 or (sequences == sequences[0]).all():
        return np.array([len(sequences) - 1])
    _, first = np.unique(sequences, return_index=True)
    _, back = np.unique(sequences[::-1], return_index=True)
    return (len(sequences) - 1 - back)[np.argsort(first)]


def _batch(sequences, positions):
    n = len(sequences)
    if n == 1:
        spans = np.array([[sequences[0], 0, 1, positions[0]]])
    else:
        new = (np.diff(sequences) != 0) | (np.diff(positions) != 1)
        start = np.concatenate([[0], np.flatnonzero(new) + 1])
        count = np.diff(np.append(start, n))
        spans = np.stack([sequences[start], start, count, positions[start]], axis=1)
    return Batch(
        np.ascontiguousarray(positions),
        np.ascontiguousarray(sequences),
        np.ascontiguousarray(spans, dtype=np.int64),
    )
