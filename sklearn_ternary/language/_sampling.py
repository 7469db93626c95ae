"""From logits to the next token, without arrays of their own for each."""

import math

import numpy as np

from sklearn_ternary._dispatch.language import sampling_operations


class Workspace:
    """Memory to draw tokens in, which samplers of one thread can share.

    Parameters
    ----------
    n_vocab : int
    backend : {"cpu", "numpy"}, default="cpu"
    """

    def __init__(self, n_vocab, backend="cpu"):
        # Pages that nothing is written to take no memory.
        self.values, self.sorted, self.sums = np.empty((3, n_vocab))
        self.ids, self._all_ids = np.empty(n_vocab, dtype=np.int64), None
        self._above = np.empty(n_vocab, dtype=bool)
        self._penalized = np.empty((2, 0))
        self._keep = sampling_operations(backend).keep

    def penalties(self, n):
        """Two rows for the penalized logits of `n` tokens."""
        if n > self._penalized.shape[1]:
            self._penalized = np.empty((2, max(2 * n, 256)))
        return self._penalized[:, :n]

    def start(self, values):
        """Take values of all tokens over; return them."""
        if self._all_ids is None:
            self._all_ids = np.arange(len(self.ids))
        self.values[:] = values
        self.ids[:] = self._all_ids
        return self.values

    def keep_largest(self, x, k):
        """Return the k largest values, in the order of their tokens.

        Of equals the first are kept. `x` is what `start` or another of these
        methods has returned.
        """
        if k >= len(x):
            return x
        largest = self.largest(x, k)
        above = np.greater(largest, largest[0], out=self._above[:k])
        return self.keep(x, largest[0], k - np.count_nonzero(above))

    def keep(self, x, threshold, n_equal):
        """Return values above the threshold, and the first that equal it."""
        ids = self.ids[: len(x)]
        return self.values[: self._keep(x, ids, threshold, n_equal)]

    def largest(self, x, k):
        """Return the k largest values; the first is the least of them."""
        values = self.sorted[: len(x)]
        values[:] = x
        values.partition(len(x) - k)
        return values[len(x) - k :]


class Sampler:
    """Draws tokens for one sequence.

    Parameters
    ----------
    config : GenerationConfig
    workspace : Workspace
    """

    def __init__(self, config, workspace):
        self.config = config
        self.workspace = workspace
        self._rng = np.random.default_rng(config.random_state)

    def draw(self, logits, history):
        """Return the next token.

        Parameters
        ----------
        logits : ndarray of shape (n_vocab,), float32
        history : array-like of int
            Tokens so far.
        """
        if self.config.greedy:
            return int(self.penalized(logits, history).argmax())
        return self.pick(*self.distribution(logits, history))

    def pick(self, ids, p):
        """Return one of `ids`, with probabilities `p` that sum up to anything."""
        sums = np.cumsum(p, out=self.workspace.sums[: len(p)])
        at = int(sums.searchsorted(self._rng.random() * sums[-1], "right"))
        # Rounding can lead behind the last token that is possible.
        return int(ids[at if at < len(p) else sums.searchsorted(sums[-1])])

    def chance(self):
        """Return a number from 0 to 1."""
        return self._rng.random()

    def penalized(self, logits, history):
        """Return the logits after the penalty of tokens that have occurred.

        The array is valid until the next call.
        """
        # Of numbers that are not finite, one is the least or the largest.
        if not (math.isfinite(logits.min()) and math.isfinite(logits.max())):
            raise ValueError("the model has returned logits that are not finite")
        penalty = self.config.repetition_penalty
        if penalty == 1 or not len(history):
            return logits
        room = self.workspace
        values = room.values
        values[:] = logits
        # A token that has occurred twice gets the same value twice.
        seen = np.asarray(history)
        more, less = room.penalties(len(seen))
        values.take(seen, out=less, mode="clip")
        np.multiply(less, penalty, out=more)
        np.divide(less, penalty, out=less)
        # Positive ones are divided, and negative ones multiplied.
        (np.minimum if penalty > 1 else np.maximum)(less, more, out=less)
        values[seen] = less
        return values

    def distribution(self, logits, history):
        """Return the tokens that can come next, in order, and their probabilities.

        The arrays are valid until the next call.
        """
        config, room = self.config, self.workspace
        p = room.start(self.penalized(logits, history))
        if config.greedy:
            p = room.keep(p, p.max(), 1)
            p[:] = 1
            return room.ids[:1], p
        p /= config.temperature
        if config.top_k:
            p = room.keep_largest(p, config.top_k)
        p -= p.max()
        np.exp(p, out=p)
        p /= p.sum()
        if config.top_p < 1:
            p = room.keep_largest(p, _enough(p, config.top_p, room))
        if config.min_p > 0:
            p = room.keep(p, config.min_p * p.max(), len(p))
        p /= p.sum()
        return room.ids[: len(p)], p


_FEW = 256


def _enough(p, top_p, room):
    """How many of the largest probabilities sum up to `top_p`."""
    k = min(_FEW, len(p))
    while True:
        likely = room.largest(p, k)
        likely.sort()
        sums = np.cumsum(likely[::-1], out=room.sums[:k])
        if k == len(p) or sums[-1] >= top_p:
            return min(int(sums.searchsorted(top_p)) + 1, k)
        k = min(8 * k, len(p))
