"""Room for running sequences, and what is left of earlier ones for new prompts."""

import threading
import time
from array import array
from numbers import Integral


class Slots:
    """Sequences of one cache: each is free or taken, and keeps its tokens.

    A new prompt takes over the longest beginning that it shares with any sequence,
    so that it is not computed again. Among free sequences the one that was used
    longest ago is overwritten.

    Parameters
    ----------
    cache : KVCache

    Attributes
    ----------
    lock : threading.Condition
        To be held while the cache is changed, here or by a forward pass: a pass
        writes the lengths of all sequences.
    """

    def __init__(self, cache):
        self.cache = cache
        n = cache.n_sequences
        self._tokens = [array("q") for _ in range(n)]
        self._owner = [None] * n  # a thread, while a sequence is taken
        self._used = [0] * n
        self._clock = 0
        self.lock = threading.Condition(threading.RLock())

    def __len__(self):
        return len(self._tokens)

    def take(self, tokens, timeout=None):
        """Take a sequence for a prompt.

        Parameters
        ----------
        tokens : array of int64
        timeout : float, default=None
            Seconds to wait for one while other threads hold all.

        Returns
        -------
        slot : int
        n_reused : int
            Tokens of the prompt that it holds already; always less than all, as
            the last one's logits are wanted.

        Raises
        ------
        RuntimeError
            If this thread itself holds all, which would wait forever.
        TimeoutError
        """
        me = threading.get_ident()
        end = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            while None not in self._owner:
                if all(owner == me for owner in self._owner):
                    raise RuntimeError(
                        f"all {len(self)} sequences are taken by streams of this "
                        "thread; close one, or raise max_batch_size"
                    )
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("no sequence became free in time")
                self.lock.wait(left)
            return self._take(tokens, me)

    def take_if_free(self, tokens):
        """Like `take`, but return None where it would wait."""
        with self.lock:
            if None not in self._owner:
                return None
            return self._take(tokens, threading.get_ident())

    def _take(self, tokens, me):
        common = [_common(known, tokens) for known in self._tokens]
        common = [min(n, len(tokens) - 1) for n in common]
        best = max(range(len(self)), key=lambda i: (common[i], self._owner[i] is None))
        n = common[best]
        free = [i for i, owner in enumerate(self._owner) if owner is None]
        oldest = min(free, key=lambda i: (len(self._tokens[i]) > 0, self._used[i]))
        # What ends where the prompt goes on is continued; what goes on otherwise is
        # kept for others, if there is room elsewhere.
        continued = n == len(self._tokens[best]) or n == 0
        slot = best if best in free and (continued or oldest == best) else oldest
        try:
            if slot != best and n:
                self.cache.copy(best, slot, n)
            else:
                self.cache.truncate(slot, n if slot == best else 0)
        except ValueError:  # a window has moved on
            n = 0
            self.cache.truncate(slot, 0)
        if slot != best and not n:
            self.cache.truncate(slot, 0)
        self._tokens[slot] = tokens[:n]
        self._owner[slot] = me
        self._touch(slot)
        return slot, n

    def extend(self, slot, tokens):
        """Note tokens that have been appended to a sequence."""
        self._tokens[slot].extend(tokens)

    def cut(self, slot, length):
        """Forget all but the first tokens of a sequence; return how many are left."""
        with self.lock:
            try:
                self.cache.truncate(slot, length)
            except ValueError:  # a window has moved on
                self.cache.truncate(slot, length := 0)
            del self._tokens[slot][length:]
        return length

    def release(self, slot):
        """Free a sequence; its tokens stay for prompts that begin like it."""
        with self.lock:
            # An interrupt can fall between a pass and the note of its tokens.
            n = min(len(self._tokens[slot]), int(self.cache.lengths[slot]))
            self.cut(slot, n)
            self._owner[slot] = None
            self._touch(slot)
            self.lock.notify()

    def _touch(self, slot):
        self._clock += 1
        self._used[slot] = self._clock

    def after_fork(self):
        """Make the lock anew; return whether nothing was taken or under way.

        Threads of the parent are not here, and what they have taken stays so.
        """
        idle = self.lock.acquire(blocking=False) and not any(self._owner)
        self.lock = threading.Condition(threading.RLock())
        return idle


def _common(a, b):
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])


def sequences_in(cache_bytes, each, n_ctx):
    """Return how many sequences of `each` bytes there is room for.

    Raises
    ------
    ValueError
        If there is none for one, or `cache_bytes` is not a positive integer.
    """
    whole = isinstance(cache_bytes, Integral) and not isinstance(cache_bytes, bool)
    if not whole or cache_bytes < 1:
        raise ValueError(f"cache_bytes={cache_bytes!r} must be a positive integer")
    if cache_bytes < each:
        raise ValueError(
            f"cache_bytes={cache_bytes} is less than one sequence of n_ctx={n_ctx} "
            f"tokens takes, {each}"
        )
    return int(cache_bytes // each)
