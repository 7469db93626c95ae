"""Keys and values of the tokens that sequences have so far."""

import math
import mmap
from numbers import Integral

import numpy as np

# Tokens that are written in one pass, at most.
PASS_TOKENS = 512
DTYPES = ("float32", "float16", "int8")
_CODES = {"float32": 0, "float16": 1, "int8": 2}
_BLOCK = 64


class KVCache:
    """Keys and values of several sequences, in memory taken beforehand.

    Pages of it are used when they are first written. Every sequence has a length,
    which :meth:`Model.forward` advances.

    Parameters
    ----------
    n_layers, n_kv_heads, head_dim : int
        Of the model.
    n_ctx : int
        Most tokens of a sequence.
    n_sequences : int, default=1
    dtype : {"float32", "float16", "int8"}, default="float16"
        How numbers are kept; int8 has a step for each token and head. Values beyond
        the range of float16 are kept as its largest.
    window : int, default=0
        Tokens that a token sees, itself included; 0 is all. With a window the cache
        holds the last tokens only, however long the sequence is.

    Attributes
    ----------
    lengths : ndarray of shape (n_sequences,), int64
        Tokens of each sequence. Change it by :meth:`truncate` and :meth:`copy`.
    n_ctx, n_sequences, window : int
    capacity : int
        Tokens of a sequence that are held.
    nbytes : int

    Examples
    --------
    >>> from sklearn_ternary.language import KVCache
    >>> cache = KVCache(2, n_kv_heads=4, head_dim=64, n_ctx=128)
    >>> cache.lengths, cache.nbytes
    (array([0]), 262144)
    """

    def __init__(
        self,
        n_layers,
        n_kv_heads,
        head_dim,
        *,
        n_ctx,
        n_sequences=1,
        dtype="float16",
        window=0,
    ):
        for name, value, least in (
            ("n_layers", n_layers, 0),
            ("n_kv_heads", n_kv_heads, 1),
            ("head_dim", head_dim, 1),
            ("n_ctx", n_ctx, 1),
            ("n_sequences", n_sequences, 1),
            ("window", window, 0),
        ):
            if (
                not isinstance(value, Integral)
                or isinstance(value, bool)
                or not least <= value < 2**40
            ):
                raise ValueError(f"{name}={value!r} must be an integer >= {least}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r} must be one of {list(DTYPES)}")
        self.n_ctx, self.n_sequences = int(n_ctx), int(n_sequences)
        self.dtype, self.window = dtype, int(window)
        held = self.n_ctx
        if self.window:
            held = min(held, self.window + PASS_TOKENS)
        self.capacity = -(-held // _BLOCK) * _BLOCK
        self.head_dim = int(head_dim)
        width = -(-self.head_dim // 16) * 16
        heads = (int(n_layers), self.n_sequences, int(n_kv_heads))
        # 16 positions of a key are interleaved, as src/language.h describes it.
        self._keys = _zeros((*heads, self.capacity // 16, width, 16), dtype)
        self._values = _zeros((*heads, self.capacity, width), dtype)
        scales = (*heads, self.capacity if dtype == "int8" else 0)
        self._key_scale = _zeros(scales, "float32")
        self._value_scale = _zeros(scales, "float32")
        self.lengths = np.zeros(self.n_sequences, dtype=np.int64)
        self.form = (_CODES[dtype], self.n_sequences, self.capacity, self.window)
        self.addresses = tuple(array.ctypes.data for array in self._arrays)

    @property
    def _arrays(self):
        return self._keys, self._values, self._key_scale, self._value_scale

    @property
    def nbytes(self):
        """Bytes that are reserved."""
        return sum(array.nbytes for array in self._arrays)

    def fits(self, n_layers, n_kv_heads, head_dim):
        """Return whether the cache is one for a model of these sizes.

        Parameters
        ----------
        n_layers, n_kv_heads, head_dim : int

        Returns
        -------
        fits : bool
        """
        heads = self._values.shape[0], self._values.shape[2], self.head_dim
        return heads == (n_layers, n_kv_heads, head_dim)

    def room(self, sequence):
        """Return how many tokens a sequence can still take.

        Parameters
        ----------
        sequence : int

        Returns
        -------
        n_tokens : int
        """
        return self.n_ctx - int(self.lengths[self._checked(sequence)])

    def truncate(self, sequence, length=0):
        """Forget all but the first tokens of a sequence.

        Parameters
        ----------
        sequence : int
        length : int, default=0

        Raises
        ------
        ValueError
            If the sequence is shorter, or the window has moved on too far.
        """
        sequence = self._checked(sequence)
        now = int(self.lengths[sequence])
        if not isinstance(length, Integral) or not 0 <= length <= now:
            raise ValueError(
                f"length={length!r} must be an integer from 0 to {now}, the length of "
                f"sequence {sequence}"
            )
        lost = now - self.capacity
        if self.window and length and lost > 0 and length < lost + self.window:
            raise ValueError(
                f"length={length} is too short: the cache has a window of "
                f"{self.window}, and tokens before {lost} are gone"
            )
        self.lengths[sequence] = length

    def copy(self, source, target, length=None):
        """Make a sequence begin with the tokens of another.

        Parameters
        ----------
        source, target : int
        length : int, default=None
            How many of them; None is all. With a window only all can be copied.

        Raises
        ------
        ValueError
            If the source is shorter.
        """
        source, target = self._checked(source), self._checked(target)
        now = int(self.lengths[source])
        if length is None:
            length = now
        if not isinstance(length, Integral) or not 0 <= length <= now:
            raise ValueError(
                f"length={length!r} must be an integer from 0 to {now}, the length of "
                f"sequence {source}"
            )
        if source != target:
            held = self.capacity if self.window else length
            for array, per in zip(self._arrays, (16, 1, 1, 1), strict=True):
                n = -(-held // per)
                array[:, target, :, :n] = array[:, source, :, :n]
            self.lengths[target] = now
        self.truncate(target, length)

    def _checked(self, sequence):
        if (
            not isinstance(sequence, Integral)
            or isinstance(sequence, bool)
            or not 0 <= sequence < self.n_sequences
        ):
            raise ValueError(
                f"sequence={sequence!r} must be an integer from 0 to "
                f"{self.n_sequences - 1}"
            )
        return int(sequence)

    def store(self, layer, sequences, positions, keys, values):
        """Write keys and values of a layer; the NumPy backend does it so.

        Parameters
        ----------
        layer : int
        sequences, positions : ndarray of shape (n_tokens,), int64
        keys, values : ndarray of shape (n_tokens, n_kv_heads, head_dim)
        """
        slots = positions % self.capacity
        d = np.arange(self.head_dim)
        for array, scale, new in (
            (self._keys, self._key_scale, keys),
            (self._values, self._value_scale, values),
        ):
            new = new.transpose(1, 0, 2)
            if self.dtype == "int8":
                step = np.abs(new).max(axis=2) / 127
                scale[layer, sequences, :, slots] = step.T
                new = np.rint(new / np.where(step > 0, step, 1)[..., None])
            for h, of_head in enumerate(new):
                if array is self._keys:
                    at = (slots // 16)[:, None], d, (slots % 16)[:, None]
                else:
                    at = slots[:, None], d
                array[(layer, sequences[:, None], h, *at)] = of_head

    def load(self, layer, sequence, positions):
        """Read keys and values of a layer; the NumPy backend does it so.

        Parameters
        ----------
        layer, sequence : int
        positions : ndarray of shape (n_positions,), int64

        Returns
        -------
        keys, values : ndarray of shape (n_positions, n_kv_heads, head_dim), float64
        """
        slots = positions % self.capacity
        keys = self._keys[layer, sequence].transpose(0, 1, 3, 2)
        keys = keys.reshape(keys.shape[0], self.capacity, -1)
        result = []
        for array, scale in (
            (keys, self._key_scale),
            (self._values[layer, sequence], self._value_scale),
        ):
            found = array[:, slots, : self.head_dim].astype(np.float64)
            if self.dtype == "int8":
                found *= scale[layer, sequence][:, slots, None]
            result.append(found.transpose(1, 0, 2))
        return result


def _zeros(shape, dtype):
    """Zeros whose memory is taken a small page at a time, as it is written.

    NumPy asks for huge pages, and the tokens of a sequence lie far apart.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if not n_bytes or not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(shape, dtype=dtype)
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype=dtype).reshape(shape)
