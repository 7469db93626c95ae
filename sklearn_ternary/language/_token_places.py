"""Which place of which sequence each token of a call takes."""

import numpy as np

from sklearn_ternary._reference.language import Batch
from sklearn_ternary.language._kv_cache import KVCache


def places(tokens, cache, sequences, config):
    """Check tokens against a model and its cache, and give each a place.

    Parameters
    ----------
    tokens : array-like of shape (n_tokens,), int
    cache : KVCache
        Unchanged.
    sequences : int or array-like of shape (n_tokens,), int
    config : LanguageConfig

    Returns
    -------
    tokens, sequences, positions : array of shape (n_tokens,), int64
    lengths : array of shape (n_sequences,), int64
        Of the sequences of the cache with these tokens.

    Raises
    ------
    ValueError
        If a token is not in the vocabulary, or a sequence gets too long.
    """
    c = config
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


def _integers(values, name):
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, not {array.dtype}")
    return array.astype(np.int64, copy=False)


def last_of_each(sequences):
    """Index of the last token of each sequence, by its first token."""
    if len(sequences) == 1 or (sequences == sequences[0]).all():
        return np.array([len(sequences) - 1])
    _, first = np.unique(sequences, return_index=True)
    _, back = np.unique(sequences[::-1], return_index=True)
    return (len(sequences) - 1 - back)[np.argsort(first)]


def batch_of(sequences, positions):
    """Runs of neighbours in a sequence, which attention takes together."""
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
