"""What a model will take, before it is loaded."""

from dataclasses import dataclass

from sklearn_ternary.language._kv_cache import PASS_TOKENS, KVCache

# Bits of a code, and what the columns of a matrix are filled up to.
_LAYOUTS = {"t5": (1.6, 80), "t2": (2.0, 16)}
# Bits of a value, with the scales of its block.
_HEAD_BITS = {"F32": 32.0, "F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.5625}


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a model takes while it runs.

    Attributes
    ----------
    layers : int
        Ternary matrices, laid out to multiply.
    head : int
        The output matrix, and the embedding if that is another.
    cache : int
        Keys and values.
    activations : int
        Of one pass of at most 512 tokens.

    Examples
    --------
    >>> from sklearn_ternary.language import MemoryEstimate
    >>> MemoryEstimate(400, 500, 90, 10).total
    1000
    """

    layers: int
    head: int
    cache: int
    activations: int

    @property
    def total(self):
        """The sum of all."""
        return self.layers + self.head + self.cache + self.activations


def estimate_memory(
    config,
    *,
    n_ctx=None,
    n_sequences=1,
    cache_dtype="float16",
    layout="t5",
    head="F16",
    tied=True,
):
    """Return the bytes that a model of ternary layers will take.

    Parameters
    ----------
    config : LanguageConfig
    n_ctx : int, default=None
        Most tokens of a sequence; None is the context of the model.
    n_sequences : int, default=1
    cache_dtype : {"float32", "float16", "int8"}, default="float16"
    layout : {"t5", "t2"}, default="t5"
        Of the ternary codes.
    head : {"F32", "F16", "Q8_0", "Q6_K"}, default="F16"
        Type of the output matrix.
    tied : bool, default=True
        Whether the embedding is the output matrix.

    Returns
    -------
    estimate : MemoryEstimate

    Raises
    ------
    ValueError
        If an option is not one of these.

    Examples
    --------
    >>> from sklearn_ternary.language import LanguageConfig, estimate_memory
    >>> sizes = {"block_count": 30, "embedding_length": 2560, "vocab_size": 128256,
    ...          "feed_forward_length": 6912, "context_length": 4096,
    ...          "attention.head_count": 20, "attention.head_count_kv": 5,
    ...          "attention.layer_norm_rms_epsilon": 1e-5}
    >>> metadata = {f"bitnet-b1.58.{key}": value for key, value in sizes.items()}
    >>> metadata["general.architecture"] = "bitnet-b1.58"
    >>> config = LanguageConfig.from_metadata(metadata)
    >>> round(estimate_memory(config, head="Q6_K", n_ctx=1024).total / 2**20)
    806
    """
    for name, value, allowed in (
        ("layout", layout, _LAYOUTS),
        ("head", head, _HEAD_BITS),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} must be one of {list(allowed)}")
    c = config
    attended, kv = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    bits, unit = _LAYOUTS[layout]
    layer = sum(
        n_rows * (-(-n_columns // unit) * unit * bits / 8 + 4)  # and a scale
        for n_rows, n_columns in (
            (attended + 2 * kv + 2 * c.n_ff, c.n_embd),
            (c.n_embd, attended),
            (c.n_embd, c.n_ff),
        )
    )
    matrix = c.n_vocab * c.n_embd * _HEAD_BITS[head] / 8
    n_ctx = c.n_ctx if n_ctx is None else n_ctx
    # Pages are taken when they are written, so that this costs nothing.
    cache = KVCache(
        c.n_layers,
        c.n_kv_heads,
        c.head_dim,
        n_ctx=n_ctx,
        n_sequences=n_sequences,
        dtype=cache_dtype,
        window=c.window,
    )
    width = 4 * c.n_embd + 2 * attended + 2 * kv + 3 * c.n_ff
    activations = 4 * (min(n_ctx, PASS_TOKENS) * width + n_sequences * c.n_vocab)
    return MemoryEstimate(
        round(c.n_layers * layer),
        round(matrix if tied else 2 * matrix),
        cache.nbytes,
        activations,
    )
