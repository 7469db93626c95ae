"""TernaryLM: text in, text out."""

import os
import weakref
from numbers import Integral, Real

import numpy as np

from sklearn_ternary.language._batch import Batch
from sklearn_ternary.language._generation_config import config_of
from sklearn_ternary.language._model import Model
from sklearn_ternary.language._prefill import Prefill
from sklearn_ternary.language._prompts import fitting, listed, token_ids
from sklearn_ternary.language._request import Request
from sklearn_ternary.language._sampling import Workspace
from sklearn_ternary.language._score import score_of
from sklearn_ternary.language._slots import Slots, sequences_in
from sklearn_ternary.language._speculation import speculate
from sklearn_ternary.language._stream import TextStream
from sklearn_ternary.language._tokenizer import tokenizer_of
from sklearn_ternary.persistence.gguf import GGUFReader

MAX_PROMPTS = 16_384


class TernaryLM:
    """A language model with its tokenizer: text in, text out.

    Made by :meth:`from_gguf`. Several threads may use one model; a child process
    after a fork may go on using it.

    Parameters
    ----------
    model : Model
    tokenizer : Tokenizer, default=None
        None for a model that is used with token ids alone.
    max_batch_size : int, default=8
        Sequences that are generated together.
    n_ctx : int, default=None
        Most tokens of a sequence; None is the context of the model, or 4096 if
        that is longer.
    cache_dtype : {"float32", "float16", "int8"}, default="float16"
        Of keys and values.
    cache_bytes : int, default=None
        Most bytes of keys and values, of running sequences and of earlier ones that
        are kept for prompts that begin alike. Those used longest ago give way.
        None is what `max_batch_size` sequences take.

    Attributes
    ----------
    model : Model
    tokenizer : Tokenizer or None
    config : LanguageConfig
    n_ctx, max_batch_size : int

    See Also
    --------
    GenerationConfig : How tokens are drawn.
    TextEmbedder : The vectors of texts, as a scikit-learn transformer.

    Examples
    --------
    A model of random numbers, in place of one from a file:

    >>> import numpy as np
    >>> from sklearn_ternary import TernaryLM
    >>> from sklearn_ternary.language import ByteTokenizer, Model
    >>> sizes = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 32,
    ...          "context_length": 64, "attention.head_count": 2,
    ...          "attention.layer_norm_rms_epsilon": 1e-5}
    >>> metadata = {f"llama.{key}": value for key, value in sizes.items()}
    >>> metadata["general.architecture"] = "llama"
    >>> names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up",
    ...          "ffn_down"]
    >>> rng = np.random.default_rng(0)
    >>> tensors = {f"blk.0.{name}.weight": rng.normal(size=(32, 32)) for name in names}
    >>> tensors["token_embd.weight"] = rng.normal(size=(258, 32))
    >>> for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
    ...     tensors[f"{name}.weight"] = np.ones(32)
    >>> lm = TernaryLM(Model.from_arrays(metadata, tensors), ByteTokenizer())
    >>> len(lm.generate("hello", 4, ignore_end=True).tokens)
    4
    >>> "".join(lm.stream("hello", 4)) == lm.generate("hello", 4).text
    True
    """

    def __init__(
        self,
        model,
        tokenizer=None,
        *,
        max_batch_size=8,
        n_ctx=None,
        cache_dtype="float16",
        cache_bytes=None,
    ):
        config = model.config
        if tokenizer is not None and tokenizer.vocab_size > config.n_vocab:
            raise ValueError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, and the model "
                f"{config.n_vocab}"
            )
        n_ctx = min(config.n_ctx, 4096) if n_ctx is None else n_ctx
        for name, value in (("max_batch_size", max_batch_size), ("n_ctx", n_ctx)):
            if not _is_integer(value) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer")
        if n_ctx > config.n_ctx:
            raise ValueError(
                f"n_ctx={n_ctx} is longer than the context of the model, {config.n_ctx}"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.config = config
        self.n_ctx = int(n_ctx)
        self.max_batch_size = int(max_batch_size)
        if cache_bytes is not None:
            each = model.new_cache(1, self.n_ctx, cache_dtype).nbytes
            n = sequences_in(cache_bytes, each, self.n_ctx)
            self.max_batch_size = min(self.max_batch_size, n)
        self._cache_dtype = cache_dtype
        self._slots = None
        self._prefill = Prefill(model)
        self._origin = None
        _ALIVE.add(self)

    @classmethod
    def from_gguf(
        cls,
        path,
        *,
        strategy="mmap",
        max_layers=None,
        activation=None,
        layout="auto",
        i2_s_order="x86",
        head="stored",
        tokenizer=None,
        max_batch_size=8,
        n_ctx=None,
        cache_dtype="float16",
        cache_bytes=None,
    ):
        """Open a model.

        Parameters
        ----------
        path : str or path-like
            A GGUF file of the architecture ``bitnet-b1.58``, ``bitnet-25``,
            ``bitnet`` or ``llama``. Nothing is downloaded.
        strategy : {"mmap", "preload", "lazy"}, default="mmap"
            When weights are laid out to multiply: at the first use, all at once, or
            each layer at each use with at most `max_layers` kept. Of a file of TQ2_0
            or I2_S (x86) with an output matrix of Q6_K or F16, prompts of up to 32
            tokens, and the tokens after them, are computed as it lies until the
            layers have been laid out, one after another.
        max_layers : int, default=None
            Layers that ``"lazy"`` keeps; None is 8.
        activation : {"silu", "relu2"}, default=None
            Instead of what the file says.
        layout : {"auto", "t2", "t5"}, default="auto"
            How ternary codes lie in memory. Results do not depend on it.
        i2_s_order : {"x86", "arm"}, default="x86"
            Which machine wrote I2_S tensors; files do not say it.
        head : {"stored", "int8"}, default="stored"
            int8 rounds a float output matrix to 8 bits.
        tokenizer : Tokenizer, default=None
            Instead of the one of the file.
        max_batch_size, n_ctx, cache_dtype, cache_bytes
            As for the class.

        Returns
        -------
        lm : TernaryLM

        Raises
        ------
        ValueError
            If the file is damaged, or the model or its tokenizer is not supported.
        """
        options = {
            "strategy": strategy,
            "max_layers": max_layers,
            "activation": activation,
            "layout": layout,
            "i2_s_order": i2_s_order,
            "head": head,
        }
        own = {
            "max_batch_size": max_batch_size,
            "n_ctx": n_ctx,
            "cache_dtype": cache_dtype,
            "cache_bytes": cache_bytes,
        }
        reader = GGUFReader(path)
        model = Model.from_gguf(reader, **options)
        found = tokenizer_of(reader) if tokenizer is None else tokenizer
        try:
            self = cls(model, found, **own)
        except ValueError as error:
            raise reader.error(error) from None
        self._origin = reader.path, options | own | {"tokenizer": tokenizer}
        return self

    # -- text and tokens ---------------------------------------------------

    def encode(self, text, add_bos=False, parse_special=False):
        """Return the token ids of a text.

        Parameters
        ----------
        text : str
        add_bos, parse_special : bool, default=False
            As for :meth:`Tokenizer.encode`.

        Returns
        -------
        ids : list of int
        """
        return self._tokenizer().encode(text, add_bos, parse_special)

    def decode(self, ids):
        """Return the text of token ids.

        Parameters
        ----------
        ids : iterable of int

        Returns
        -------
        text : str
        """
        return self._tokenizer().decode(ids)

    def encode_chat(self, messages, template=None):
        """Return the token ids of a conversation, up to where the model answers.

        Parameters
        ----------
        messages : list of dict
            With ``"role"`` and ``"content"``.
        template : str, default=None
            A Jinja template; None takes the one of the file.

        Returns
        -------
        ids : list of int
        """
        tokenizer = self._tokenizer()
        text = tokenizer.apply_chat_template(messages, template=template)
        ids = tokenizer.encode(text, parse_special=True)
        bos = tokenizer.bos_id
        if tokenizer.adds_bos and bos is not None and ids[:1] != [bos]:
            ids.insert(0, bos)
        return ids

    def _tokenizer(self):
        if self.tokenizer is None:
            raise ValueError(
                "the model has no vocabulary; give token ids, or from_gguf a tokenizer"
            )
        return self.tokenizer

    def _prompt(self, prompt, name="prompt"):
        """Token ids of a prompt, checked."""
        return token_ids(prompt, self._tokenizer, self.config.n_vocab, name)

    def _requests(self, prompts, config, options):
        """Requests for prompts with their names, checked."""
        config = config_of(config, options, self.config.n_vocab)
        workspace = Workspace(self.config.n_vocab, self.model.backend)
        return [
            Request(
                fitting(self._prompt(prompt, name), self.n_ctx, name),
                config,
                self.tokenizer,
                self.n_ctx,
                workspace,
            )
            for name, prompt in prompts
        ]

    # -- generation --------------------------------------------------------

    def generate(
        self,
        prompts,
        max_new_tokens=None,
        config=None,
        *,
        draft=None,
        n_draft=4,
        **options,
    ):
        """Write answers to prompts.

        Prompts of different lengths are generated together, `max_batch_size` at a
        time, the longest first; another joins as soon as one has ended. There is no
        padding: every result is, to the last bit, what the prompt gives alone.

        Parameters
        ----------
        prompts : str, sequence of int, or list of those
            Texts or token ids. Texts begin with the model's first token if it was
            trained so; names of control tokens in them are plain text.
        max_new_tokens : int, default=None
            None is what `config` says.
        config : GenerationConfig, default=None
            None is greedy, 128 tokens.
        draft : {None, "ngram"} or TernaryLM, default=None
            What guesses the next tokens, which the model then checks in one pass
            [1]_: earlier places in the text with the same last tokens, or a smaller
            model of the same vocabulary. Greedy results do not change; with a
            temperature the distribution does not. Prompts are then generated one
            after another.
        n_draft : int, default=4
            Most tokens that are guessed at once.
        **options
            Attributes of :class:`GenerationConfig`, such as ``temperature=0.7``.

        Returns
        -------
        completions : Completion or list of Completion
            One for a single prompt, and in the order of `prompts` otherwise.

        Raises
        ------
        ValueError
            If a prompt is empty or too long, a token is not in the vocabulary, or
            an option is out of range.

        References
        ----------
        .. [1] Y. Leviathan, M. Kalman and Y. Matias, "Fast Inference from
           Transformers via Speculative Decoding", ICML 2023.
        """
        single, prompts = listed(prompts)
        named = [("prompts" if single else f"prompts[{i}]", p) for i, p in prompts]
        if len(named) > MAX_PROMPTS:
            raise ValueError(f"{len(named)} prompts are above {MAX_PROMPTS}")
        options |= {"max_new_tokens": max_new_tokens}
        requests = self._requests(named, config, options)
        if draft is not None:
            speculate(self, requests, draft, n_draft)
        else:
            self._run(requests)
        done = [request.completion() for request in requests]
        return done[0] if single else done

    def _run(self, requests):
        batch = Batch(self)
        try:
            for request in sorted(requests, key=lambda r: -len(r.prompt)):
                batch._submit(request)
            while batch.active:
                batch.step()
        finally:
            batch.close()

    def stream(
        self,
        prompt,
        max_new_tokens=None,
        config=None,
        *,
        buffer_size=1,
        flush_interval=None,
        token_timeout=None,
        **options,
    ):
        """Write an answer piece by piece.

        Parameters
        ----------
        prompt : str or sequence of int
        max_new_tokens : int, default=None
        config : GenerationConfig, default=None
            As for :meth:`generate`.
        buffer_size : int, default=1
            Tokens whose text is gathered to a piece.
        flush_interval : float, default=None
            Seconds after which a token ends its piece anyway.
        token_timeout : float, default=None
            Seconds to wait for a place in the cache, and that a token after the first
            may take; then there is a TimeoutError.
        **options
            As for :meth:`generate`.

        Returns
        -------
        stream : TextStream
            An iterator of str, also for ``async for``. Its method ``close`` ends the
            answer, as leaving a ``with`` block does; an interrupt ends it within a
            token.
        """
        if not _is_integer(buffer_size) or buffer_size < 1:
            raise ValueError(f"buffer_size={buffer_size!r} must be a positive integer")
        pace = {"flush_interval": flush_interval, "token_timeout": token_timeout}
        for name, value in pace.items():
            if value is not None and not (isinstance(value, Real) and value >= 0):
                raise ValueError(f"{name}={value!r} must be seconds, or None")
        (request,) = self._requests(
            [("prompt", prompt)], config, options | {"max_new_tokens": max_new_tokens}
        )
        return TextStream(self, request, buffer_size=buffer_size, **pace)

    def batch(self):
        """Return an empty batch, which requests join and leave at any token.

        Returns
        -------
        batch : Batch
        """
        return Batch(self)

    def _take_slots(self):
        if self._slots is None:
            cache = self.model.new_cache(
                self.max_batch_size, self.n_ctx, self._cache_dtype
            )
            slots = Slots(cache)
            if self._slots is None:
                self._slots = slots
        return self._slots

    # -- what the model computes -------------------------------------------

    def logits(self, tokens):
        """Return the logits after each token.

        Parameters
        ----------
        tokens : str or sequence of int

        Returns
        -------
        logits : ndarray of shape (n_tokens, n_vocab), float32
        """
        tokens = self._prompt(tokens, "tokens")
        cache = self._own_cache(len(tokens))
        return self.model.forward(tokens, cache, all_logits=True)

    def _own_cache(self, n_tokens):
        if n_tokens > self.config.n_ctx:
            raise ValueError(
                f"{n_tokens} tokens are above the context of the model, "
                f"{self.config.n_ctx}"
            )
        return self.model.new_cache(1, n_tokens, self._cache_dtype)

    def score(self, texts):
        """Return how likely texts are.

        Parameters
        ----------
        texts : str, sequence of int, or list of those

        Returns
        -------
        scores : Score or list of Score
        """
        single, texts = listed(texts)
        scores = []
        for i, text in texts:
            tokens = self._prompt(text, f"texts[{i}]")
            scores.append(score_of(self.model, tokens, self._own_cache(len(tokens))))
        return scores[0] if single else scores

    def embed(self, texts, *, pooling="mean", normalize=True):
        """Return a vector for each text.

        Parameters
        ----------
        texts : str, sequence of int, or list of those
        pooling : {"mean", "last"}, default="mean"
            Of the vectors that the model has for the tokens, before its output
            matrix.
        normalize : bool, default=True
            Whether vectors get length 1.

        Returns
        -------
        vectors : ndarray of shape (n_texts, n_embd) or (n_embd,), float32
        """
        if pooling not in ("mean", "last"):
            raise ValueError(f"pooling={pooling!r} must be 'mean' or 'last'")
        single, texts = listed(texts)
        vectors = np.empty((len(texts), self.config.n_embd), dtype=np.float32)
        for i, text in texts:
            tokens = self._prompt(text, f"texts[{i}]")
            hidden = self.model.hidden(tokens, self._own_cache(len(tokens)))
            v = hidden[-1] if pooling == "last" else hidden.mean(axis=0, dtype=float)
            if normalize:
                v = v / max(np.linalg.norm(v.astype(float)), np.finfo(float).tiny)
            vectors[i] = v
        return vectors[0] if single else vectors

    # -- copies and processes ----------------------------------------------

    def __reduce__(self):
        if self._origin is None:
            raise TypeError("only a TernaryLM of from_gguf can be pickled")
        path, options = self._origin
        return _open, (path, options)

    def _after_fork(self):
        self.model._after_fork()
        # Streams that are open go on with the old cache.
        if self._slots is not None and not self._slots.after_fork():
            self._slots = None

    def __repr__(self):
        c = self.config
        return (
            f"<TernaryLM of {c.n_layers} layers, {c.n_embd} values wide, "
            f"{c.n_vocab} tokens, architecture {c.architecture!r}>"
        )


def _is_integer(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _open(path, options):
    return TernaryLM.from_gguf(path, **options)


# After a fork the locks of other threads would stay locked for ever.
_ALIVE = weakref.WeakSet()


def _after_fork_in_child():
    for lm in list(_ALIVE):
        lm._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
