"""The vocabulary of a checkpoint's folder, as the metadata of a GGUF file."""

import os

from sklearn_ternary.language._vocabulary import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
)
from sklearn_ternary.persistence._safetensors import parse_json

_MAX_BYTES = 64 << 20
_MAX_TOKENS = 1 << 24
_MAX_UNUSED = 1 << 18  # ids below the largest that no token has


def vocabulary_of(folder, config):
    """Return metadata ``tokenizer...`` of a folder; empty if it has none.

    Parameters
    ----------
    folder : str
        With ``tokenizer.json``, and perhaps ``tokenizer_config.json``.
    config : dict
        The settings in ``config.json``.

    Raises
    ------
    ValueError
        If the tokenizer is not byte-level BPE of a known way of cutting.
    """
    path = os.path.join(folder, "tokenizer.json")
    tokenizer = read_json(path)
    if tokenizer is None:
        return {}
    try:
        metadata = _metadata(tokenizer, config)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not as expected ({error!r})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    more = read_json(os.path.join(folder, "tokenizer_config.json"))
    template = more.get("chat_template") if isinstance(more, dict) else None
    if isinstance(template, str):
        metadata["tokenizer.chat_template"] = template
    return metadata


def read_json(path, limit=_MAX_BYTES):
    """Return what a JSON file holds; None if there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    if len(data) > limit:
        raise ValueError(f"{path} is above {limit} bytes")
    return parse_json(data, path)


def _metadata(tokenizer, config):
    model = tokenizer["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise ValueError(
            f"model is {model.get('type')!r}; byte-level 'BPE' is converted. A GGUF "
            "file with the vocabulary can be given instead"
        )
    pre = _cutting(tokenizer.get("pre_tokenizer"))
    texts = {i: (text, NORMAL) for text, i in model["vocab"].items()}
    for token in tokenizer.get("added_tokens", ()):
        kind = CONTROL if token.get("special") else USER_DEFINED
        texts[token["id"]] = token["content"], kind
    if not all(type(i) is int and 0 <= i < _MAX_TOKENS for i in texts):
        raise ValueError(f"token ids are not whole numbers below {_MAX_TOKENS}")
    n = max(texts, default=-1) + 1
    if n - len(texts) > _MAX_UNUSED:
        raise ValueError(f"{len(texts)} tokens have ids up to {n - 1}")
    tokens = [texts.get(i) or (f"[unused{i}]", UNUSED) for i in range(n)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    if not all(isinstance(text, str) for text, _ in tokens):
        raise ValueError("a token is no text")
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [text for text, _ in tokens],
        "tokenizer.ggml.token_type": [kind for _, kind in tokens],
        "tokenizer.ggml.add_bos_token": pre == "llama-bpe",
    }
    if merges:
        metadata["tokenizer.ggml.merges"] = merges
    for name in ("bos", "eos"):
        value = config.get(f"{name}_token_id")
        value = value[0] if isinstance(value, list) and value else value
        if type(value) is int and 0 <= value < n:
            metadata[f"tokenizer.ggml.{name}_token_id"] = value
    return metadata


def _cutting(step):
    """The name that GGUF files have for a way of cutting text."""
    steps = step.get("pretokenizers", [step]) if isinstance(step, dict) else []
    patterns = [
        s["pattern"].get("Regex", "") for s in steps if s.get("type") == "Split"
    ]
    if len(patterns) == 1 and r"\p{N}{1,3}" in patterns[0]:
        return "llama-bpe"
    cut = [
        s for s in steps if s.get("type") == "ByteLevel" and s.get("use_regex", True)
    ]
    if not patterns and len(cut) == 1 and not cut[0].get("add_prefix_space", True):
        return "gpt-2"
    raise ValueError("pre_tokenizer is neither that of Llama 3 nor that of GPT-2")
