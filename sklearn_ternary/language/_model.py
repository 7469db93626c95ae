"""The transformer: token ids in, logits out."""

from numbers import Integral

import numpy as np

from sklearn_ternary._reference.language import rope_tables
from sklearn_ternary.language._config import LanguageConfig
from sklearn_ternary.language._kv_cache import PASS_TOKENS, KVCache
from sklearn_ternary.language._loaded_layers import LoadedLayers
from sklearn_ternary.language._token_places import batch_of, last_of_each, places
from sklearn_ternary.language._weights import ArraySource, Weights

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
        self.config = config
        self._weights = weights
        self._layers = LoadedLayers(config, weights, strategy, max_layers)
        self.backend = self._layers.backend
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
            `max_layers` of them kept. Of a file of TQ2_0 or I2_S (x86) with an output
            matrix of Q6_K or F16, prompts of up to 32 tokens, and the tokens after
            them, are computed as it lies until the layers have been laid out, one
            after another.
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
        try:
            config = LanguageConfig.from_metadata(
                file.metadata, n_vocab=_n_vocab(file), activation=activation
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
        config = LanguageConfig.from_metadata(
            metadata, n_vocab=_n_vocab(source), activation=activation
        )
        weights = Weights(source, config, layout=layout, head=head)
        return cls(config, weights)

    def load(self):
        """Make everything ready that is not yet, as the strategy allows.

        Returns
        -------
        self : Model
        """
        self._layers.load()
        return self

    @property
    def n_layers_held(self):
        """Layers that are ready in memory."""
        return len(self._layers)

    @property
    def nbytes(self):
        """Bytes of the weights that are ready in memory."""
        return self._layers.nbytes

    def _after_fork(self):
        self._layers.after_fork()

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
        tokens, sequences, positions, lengths = places(
            tokens, cache, sequences, self.config
        )
        if all_logits:
            wanted = np.arange(len(tokens))
        else:
            wanted = last_of_each(sequences)
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
        tokens, sequences, positions, lengths = places(
            tokens, cache, sequences, self.config
        )
        wanted = np.arange(len(tokens))
        out = np.empty((len(tokens), self.config.n_embd), dtype=np.float32)
        self._passes(tokens, sequences, positions, cache, wanted, out, None, None)
        cache.lengths[:] = lengths
        return out

    def _passes(
        self, tokens, sequences, positions, cache, wanted, hidden, logits, trace
    ):
        last = int(positions.max())
        if last >= len(self._tables[0]):
            self._tables = self._make_tables(min(self.config.n_ctx, 2 * last + 1))
        for start in range(0, len(tokens), PASS_TOKENS):
            end = min(start + PASS_TOKENS, len(tokens))
            part = slice(start, end)
            batch = batch_of(sequences[part], positions[part])
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
            self._layers.run(tokens[part], batch, cache, self._tables, outputs, trace)


def _n_vocab(source):
    """Rows of the table of tokens, or None where there is no such table."""
    table = source.tensors.get("token_embd.weight")
    return table.shape[0] if table is not None and len(table.shape) == 2 else None
