"""What callers give as prompts: texts or token ids, one or several."""

import numpy as np


def listed(prompts):
    """Return whether it is a single prompt, and the prompts with their numbers."""
    single = isinstance(prompts, str) or not _holds_prompts(prompts)
    return single, list(enumerate([prompts] if single else prompts))


def _holds_prompts(values):
    """Whether a sequence holds texts or sequences, not numbers."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.ndim > 1
    return all(isinstance(v, (str, list, tuple, np.ndarray)) for v in values)


def token_ids(prompt, tokenizer, n_vocab, name):
    """Return the token ids of a prompt, checked.

    Parameters
    ----------
    prompt : str or sequence of int
    tokenizer : callable
        Returns the tokenizer, or raises ValueError if there is none.
    n_vocab : int
    name : str
        What errors call the prompt.

    Returns
    -------
    tokens : list of int

    Raises
    ------
    ValueError
        If the prompt is empty or not of that kind, or an id is no token.
    """
    if isinstance(prompt, str):
        tokenizer = tokenizer()
        begins = tokenizer.adds_bos and tokenizer.bos_id is not None
        tokens = tokenizer.encode(prompt, add_bos=begins)
    else:
        array = np.asarray(prompt)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(f"{name} must be a text or a sequence of token ids")
        tokens = array.tolist()
    if not tokens:
        raise ValueError(f"{name} is empty")
    if min(tokens) < 0 or max(tokens) >= n_vocab:
        wrong = next(i for i in tokens if not 0 <= i < n_vocab)
        raise ValueError(f"{name} has token {wrong}; ids are 0 to {n_vocab - 1}")
    return tokens


def fitting(tokens, n_ctx, name):
    """Return the tokens of a prompt, if they leave room for an answer."""
    if len(tokens) >= n_ctx:
        raise ValueError(
            f"{name} has {len(tokens)} tokens; with n_ctx={n_ctx} at most {n_ctx - 1} "
            "leave room for an answer"
        )
    return tokens
