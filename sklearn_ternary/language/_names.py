"""The names of a BitNet model's tensors and settings, here and at Hugging Face."""

import math
import re

# Below one layer: GGUF name, then the names that checkpoints use.
_IN_LAYER = {
    "attn_norm": ("input_layernorm",),
    "attn_q": ("self_attn.q_proj",),
    "attn_k": ("self_attn.k_proj",),
    "attn_v": ("self_attn.v_proj",),
    "attn_sub_norm": ("self_attn.attn_sub_norm", "self_attn.inner_attn_ln"),
    "attn_output": ("self_attn.o_proj",),
    "ffn_norm": ("post_attention_layernorm",),
    "ffn_gate": ("mlp.gate_proj",),
    "ffn_up": ("mlp.up_proj",),
    "ffn_sub_norm": ("mlp.ffn_sub_norm", "mlp.ffn_layernorm"),
    "ffn_down": ("mlp.down_proj",),
}
_OUTSIDE = {
    "token_embd": ("model.embed_tokens",),
    "output_norm": ("model.norm",),
    "output": ("lm_head",),
}
_FROM_CHECKPOINT = {
    name: ours for ours, names in (_IN_LAYER | _OUTSIDE).items() for name in names
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")

# Setting of a config.json, its key in GGUF and the type there.
_SETTINGS = (
    ("vocab_size", "vocab_size", int),
    ("max_position_embeddings", "context_length", int),
    ("hidden_size", "embedding_length", int),
    ("num_hidden_layers", "block_count", int),
    ("intermediate_size", "feed_forward_length", int),
    ("num_attention_heads", "attention.head_count", int),
    ("num_key_value_heads", "attention.head_count_kv", int),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon", float),
    ("rope_theta", "rope.freq_base", float),
)
_ACTIVATIONS = {"relu2": "bitnet-b1.58", "silu": "bitnet"}


def gguf_name(name):
    """Return the GGUF name of a checkpoint's tensor; None if it has none.

    >>> gguf_name("model.layers.3.mlp.up_proj.weight")
    'blk.3.ffn_up.weight'
    """
    match = _LAYER.fullmatch(name)
    prefix, rest = (f"blk.{match[1]}.", match[2]) if match else ("", name)
    stem, _, what = rest.rpartition(".")
    known = _FROM_CHECKPOINT.get(stem)
    if known is None or what not in ("weight", "bias"):
        return None
    return f"{prefix}{known}.{what}" if (known in _IN_LAYER) == bool(match) else None


def checkpoint_name(name):
    """Return the name of a GGUF tensor in a checkpoint; None if it has none.

    >>> checkpoint_name("blk.3.ffn_up.weight")
    'model.layers.3.mlp.up_proj.weight'
    """
    match = _BLOCK.fullmatch(name)
    prefix, rest = (f"model.layers.{match[1]}.", match[2]) if match else ("", name)
    stem, _, what = rest.rpartition(".")
    names = (_IN_LAYER if match else _OUTSIDE).get(stem)
    return f"{prefix}{names[0]}.{what}" if names else None


def in_order(names):
    """Return GGUF names as they follow each other in a model.

    >>> in_order(["blk.10.ffn_up.weight", "blk.2.attn_q.weight", "output.weight"])
    ['output.weight', 'blk.2.attn_q.weight', 'blk.10.ffn_up.weight']
    """
    places = [*_OUTSIDE, *_IN_LAYER]

    def place(name):
        match = _BLOCK.fullmatch(name)
        stem, _, what = (match[2] if match else name).rpartition(".")
        return int(match[1]) if match else -1, places.index(stem), what

    return sorted(names, key=place)


def metadata_of(config):
    """Return the GGUF metadata of a checkpoint's settings.

    Parameters
    ----------
    config : dict
        A ``config.json`` of the architecture BitNet.

    Returns
    -------
    metadata : dict

    Raises
    ------
    ValueError
        If it is of another architecture, or a setting is missing or wrong.
    """
    if not isinstance(config, dict) or config.get("model_type") != "bitnet":
        kind = config.get("model_type") if isinstance(config, dict) else config
        raise ValueError(
            f"model_type is {kind!r}; checkpoints of 'bitnet' are converted"
        )
    activation = config.get("hidden_act", "relu2")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"hidden_act is {activation!r}; supported are {list(_ACTIVATIONS)}"
        )
    name = _ACTIVATIONS[activation]
    metadata = {"general.architecture": name, "general.quantization_version": 2}
    config = {"num_key_value_heads": config.get("num_attention_heads")} | config
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" not in config:
        config = config | {"rope_theta": rope.get("rope_theta")}
    for setting, key, kind in _SETTINGS:
        metadata[f"{name}.{key}"] = kind(_positive(setting, config.get(setting), kind))
    heads = metadata[f"{name}.attention.head_count"]
    width = config.get("head_dim") or metadata[f"{name}.embedding_length"] // heads
    metadata[f"{name}.rope.dimension_count"] = _positive("head_dim", width, int)
    return metadata


def _positive(name, value, kind):
    """The value of a setting, if it is a number above 0 that a GGUF file can hold."""
    number = int if kind is int else (int, float)
    most = 2**32 if kind is int else math.inf
    if isinstance(value, bool) or not isinstance(value, number) or not 0 < value < most:
        raise ValueError(f"{name} is {value!r}; a number above 0 is required")
    return value


def config_of(metadata):
    """Return the settings of a checkpoint from GGUF metadata.

    Raises
    ------
    ValueError
        If it is not a BitNet model, or a key is missing.
    """
    name = metadata.get("general.architecture")
    if name not in ("bitnet", "bitnet-b1.58", "bitnet-25"):
        raise ValueError(
            f"general.architecture is {name!r}; models of 'bitnet', 'bitnet-b1.58' and "
            "'bitnet-25' are converted"
        )
    config = {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_act": "silu" if name == "bitnet" else "relu2",
    }
    for setting, key, kind in _SETTINGS:
        value = metadata.get(f"{name}.{key}")
        if setting == "vocab_size" and value is None:
            tokens = metadata.get("tokenizer.ggml.tokens", ())
            value = len(tokens) if hasattr(tokens, "__len__") else None
        if value is None:
            raise ValueError(f"metadata lacks {name}.{key}")
        config[setting] = kind(_positive(f"{name}.{key}", value, kind))
    return config
