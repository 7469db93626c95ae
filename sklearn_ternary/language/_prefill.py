"""Prompts into the cache, a part at a time."""

import time

# Seconds that a pass over a part should take: an interrupt waits for it.
_PASS_SECONDS = 0.25
_FIRST_PASS, _LEAST_PASS, _MOST_PASS = 64, 16, 512


class Prefill:
    """Appends tokens to sequences in passes that an interrupt can wait for.

    How many tokens such a pass has is learned from the time that earlier ones took.

    Parameters
    ----------
    model : Model
    """

    def __init__(self, model):
        self._model = model
        self._size = _FIRST_PASS

    def __call__(self, slots, slot, tokens, out):
        """Append tokens to a sequence; return the logits after the last one.

        Parameters
        ----------
        slots : Slots
        slot : int
        tokens : array of int64
        out : ndarray of shape (1, n_vocab), float32
            Where the logits are written.

        Returns
        -------
        logits : ndarray of shape (n_vocab,), float32
        """
        done = 0
        while True:
            part = tokens[done : done + self._size]
            start = time.perf_counter()
            with slots.lock:
                self._model.forward(part, slots.cache, slot, out=out)
                slots.extend(slot, part)
            done += len(part)
            if done >= len(tokens):
                return out[0]
            if len(part) == self._size:
                fits = len(part) * _PASS_SECONDS / (time.perf_counter() - start)
                fits = int(min(max(fits, _LEAST_PASS), _MOST_PASS))
                self._size = fits // 16 * 16
