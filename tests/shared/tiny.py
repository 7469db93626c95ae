"""A tiny model with random weights, and a vocabulary of bytes."""

import numpy as np

from sklearn_ternary.language import ByteTokenizer
from sklearn_ternary.persistence import GGUFWriter

N_EMBD, N_FF, N_HEADS, N_CTX = 32, 64, 2, 192


def metadata(n_layers=2, architecture="bitnet-b1.58", n_ctx=N_CTX):
    a = architecture
    return {
        "general.architecture": a,
        f"{a}.vocab_size": 258,
        f"{a}.context_length": n_ctx,
        f"{a}.embedding_length": N_EMBD,
        f"{a}.block_count": n_layers,
        f"{a}.feed_forward_length": N_FF,
        f"{a}.attention.head_count": N_HEADS,
        f"{a}.attention.head_count_kv": 1,
        f"{a}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{a}.rope.freq_base": 10000.0,
    }


def tensors(n_layers=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"token_embd": (258, N_EMBD), "output_norm": (N_EMBD,)}
    half = N_EMBD // 2
    for i in range(n_layers):
        for name, shape in (
            ("attn_norm", (N_EMBD,)),
            ("attn_q", (N_EMBD, N_EMBD)),
            ("attn_k", (half, N_EMBD)),
            ("attn_v", (half, N_EMBD)),
            ("attn_sub_norm", (N_EMBD,)),
            ("attn_output", (N_EMBD, N_EMBD)),
            ("ffn_norm", (N_EMBD,)),
            ("ffn_gate", (N_FF, N_EMBD)),
            ("ffn_up", (N_FF, N_EMBD)),
            ("ffn_sub_norm", (N_FF,)),
            ("ffn_down", (N_EMBD, N_FF)),
        ):
            shapes[f"blk.{i}.{name}"] = shape
    return {
        f"{name}.weight": rng.normal(size=shape).astype(np.float32)
        if len(shape) == 2
        else rng.normal(1, 0.1, size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(path, n_layers=2, seed=0, vocabulary=True, **changes):
    """Write such a model; return its path."""
    arrays = tensors(n_layers, seed)
    keys = metadata(n_layers) | (ByteTokenizer.metadata() if vocabulary else {})
    declared = [(name, "F32", a.shape) for name, a in arrays.items()]
    with GGUFWriter(path, declared, keys | changes) as writer:
        for name, a in arrays.items():
            writer.write(name, a)
    return path
