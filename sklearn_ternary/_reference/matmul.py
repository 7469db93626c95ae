"""Products with a ternary matrix: what they are.

A matrix of codes -1, 0, 1 multiplies rows of activations: with weights of shape
(M, K), activations X of shape (N, K) give ``X @ weights.T`` of shape (N, M). The
*transposed* product contracts over the rows: X of shape (N, M) gives
``X @ weights`` of shape (N, K).

Where scales differ along the contraction and are the same for all results, they
are multiplied into the activations beforehand, rounded to their dtype, and so come
before any quantization of the activations.
"""

from typing import NamedTuple

import numpy as np

from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import n_groups, spread
from sklearn_ternary._reference.pack import unpack

# Values of codes that are unpacked at a time.
_PANEL_VALUES = 2**20


def quantize_activations(X):
    """Round each row of X to 8 bits, as BitNet b1.58 does.

    With m the largest magnitude of a row, at least 1e-5, a value x becomes
    ``clip(rint(x * (127 / m)), -128, 127)``, in float32 arithmetic.

    Parameters
    ----------
    X : ndarray of shape (N, K), float32

    Returns
    -------
    q : ndarray of shape (N, K), int8
    step : ndarray of shape (N,), float32
        ``m / 127``: x is about ``q * step``. NaN for a row with a NaN or an
        infinity, whose q is 0.

    References
    ----------
    Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits",
    2024, https://arxiv.org/abs/2402.17764
    """
    most = largest_magnitudes(X)
    finite = np.isfinite(most)
    most = np.where(finite, np.maximum(most, np.float32(1e-5)), np.float32(np.nan))
    factor = np.float32(127) / most
    with np.errstate(invalid="ignore"):
        steps = np.rint(X * factor[:, None])
    steps[~finite] = 0
    return np.clip(steps, -128, 127).astype(np.int8), most / np.float32(127)


def largest_magnitudes(X):
    """Largest magnitude of each row; 0 where there is none."""
    return np.abs(X).max(axis=1) if X.shape[1] else np.zeros_like(X, shape=len(X))


def matmul_int8(codes, scale, group_size, q, step):
    """Products of codes and 8-bit activations, exact but for the scales.

    The products of each group are added as integers and converted to float32
    (nearest, ties to even). Then, in float32,
    ``y = (((0 + scale_0 * dot_0) + scale_1 * dot_1) + ...) * step``.

    Parameters
    ----------
    codes : ndarray of shape (M, K), int8
    scale : ndarray of shape (M or 1, G), float32
    group_size : int
    q : ndarray of shape (N, K), int8
    step : ndarray of shape (N,), float32

    Returns
    -------
    y : ndarray of shape (N, M), float32
    """
    total = np.zeros_like(q, shape=(len(q), len(codes)), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for g in range(n_groups(codes.shape[1], group_size)):
            columns = slice(g * group_size, (g + 1) * group_size)
            dot = integer_product(q[:, columns], codes[:, columns])
            total += scale[:, g] * dot.astype(np.float32)
        return total * step[:, None]


def integer_product(q, codes):
    """``q @ codes.T`` in int64.

    In floats, which is exact: no sum exceeds 2**24 for up to 2**17 values, nor 2**53
    for fewer than 2**46.
    """
    dtype = np.float32 if q.shape[1] <= 2**17 else np.float64
    return (q.astype(dtype) @ codes.astype(dtype).T).astype(np.int64)


def matmul_float(codes, scale, group_size, X):
    """Products of codes and float activations, in float64.

    Returns
    -------
    y : ndarray of shape (N, M), of the dtype of X
    """
    with np.errstate(over="ignore", invalid="ignore"):
        weights = codes * spread(scale, codes.shape[1], group_size).astype(np.float64)
        return (X.astype(np.float64) @ weights.T).astype(X.dtype)


class Part(NamedTuple):
    """Results that are computed together.

    Parameters
    ----------
    results : slice
        Which results.
    fold : ndarray of shape (number of activations,) or None
        What the activations are multiplied by beforehand.
    scale : ndarray of shape (number of results or 1, G)
    group_size : int
        Consecutive activations that share a scale.
    """

    results: slice
    fold: object
    scale: object
    group_size: int


def split_scale(scale, shape, group_size, transposed):
    """What to do with the scales of a matrix of `shape`.

    Returns
    -------
    parts : list of Part
        One, but for the transposed product by a matrix whose scales differ both
        along and across its rows: there one for each group.
    """
    M, K = shape
    one = np.ones_like(scale, shape=(1, 1))
    if not transposed:
        if scale.shape[0] == 1 and scale.shape[1] > 1:
            return [Part(slice(0, M), spread(scale, K, group_size)[0], one, max(K, 1))]
        if scale.shape[1] == 0:
            scale = one
        return [Part(slice(0, M), None, scale, max(min(group_size, K), 1))]
    if scale.shape[0] == 1 and M != 1:
        each = scale if scale.shape[1] == 1 else spread(scale, K, group_size).T
        return [Part(slice(0, K), None, each, max(M, 1))]
    if scale.shape[1] == 1:
        return [Part(slice(0, K), scale[:, 0].copy(), one, max(M, 1))]
    if M == 1:
        return [Part(slice(0, K), None, spread(scale, K, group_size).T, 1)]
    return [
        Part(
            slice(g * group_size, min((g + 1) * group_size, K)),
            scale[:, g].copy(),
            one,
            max(M, 1),
        )
        for g in range(scale.shape[1])
    ]


class PackedMatrix:
    """A ternary matrix made ready to multiply activations.

    Parameters
    ----------
    packed : ndarray of shape (R, row_bytes), uint8
    n_values : int
        Number of codes of a row.
    layout : str
        A layout of three levels.
    scale : ndarray of shape (R or 1, G)
    group_size : int
    transposed : bool, default=False
        Whether to contract over the rows.

    Attributes
    ----------
    shape : tuple of int
        Number of results and number of activations of a product.

    Raises
    ------
    ValueError
        If the layout does not have three levels.
    """

    def __init__(self, packed, n_values, layout, scale, group_size, transposed=False):
        get_layout(layout, 3)
        self._packed, self._n_values, self._layout = packed, n_values, layout
        self._transposed = transposed
        stored = (packed.shape[0], n_values)
        self.shape = stored[::-1] if transposed else stored
        self._parts = split_scale(scale, stored, group_size, transposed)

    @property
    def nbytes(self):
        """Bytes that are held for the products; here the packed form itself."""
        return self._packed.nbytes

    @property
    def needs_float(self):
        """Whether scales have to be multiplied into the activations first."""
        return any(part.fold is not None for part in self._parts)

    def matmul_float(self, X):
        """Multiply float activations of shape (N, number of activations).

        Returns
        -------
        y : ndarray of shape (N, number of results), of the dtype of X
        """
        y = np.zeros_like(X, shape=(len(X), self.shape[0]))
        for part in self._parts:
            folded = folded_into(X, part.fold)
            for results, codes, scale in self._panels(part):
                y[:, results] = matmul_float(codes, scale, part.group_size, folded)
        return y

    def matmul_int8(self, X):
        """Multiply float32 activations, rounded to 8 bits first.

        Returns
        -------
        y : ndarray of shape (N, number of results), float32
        """
        y = np.zeros_like(X, shape=(len(X), self.shape[0]))
        for part in self._parts:
            q, step = quantize_activations(folded_into(X, part.fold))
            self._multiply(part, q, step, y)
        return y

    def matmul_quantized(self, q, step):
        """Multiply activations that are rounded to 8 bits already.

        Parameters
        ----------
        q : ndarray of shape (N, number of activations), int8
        step : ndarray of shape (N,), float32

        Raises
        ------
        ValueError
            If scales have to be multiplied into the activations first.
        """
        if self.needs_float:
            raise ValueError(
                "the scales of this matrix differ along the activations; give the "
                "activations as float"
            )
        y = np.zeros_like(q, shape=(len(q), self.shape[0]), dtype=np.float32)
        for part in self._parts:
            self._multiply(part, q, step, y)
        return y

    def _multiply(self, part, q, step, y):
        for results, codes, scale in self._panels(part):
            scale = scale.astype(np.float32, copy=False)
            y[:, results] = matmul_int8(codes, scale, part.group_size, q, step)

    def _panels(self, part):
        """Codes of some results at a time: (results, codes, scale)."""
        start, stop = part.results.start, part.results.stop
        size = max(1, _PANEL_VALUES // max(self.shape[1], 1))
        for first in range(start, stop, size):
            results = slice(first, min(first + size, stop))
            if self._transposed:
                codes = self._columns(results)
            else:
                codes = unpack(self._packed[results], self._n_values, self._layout)
            shared = part.scale.shape[0] == 1
            within = slice(results.start - start, results.stop - start)
            yield results, codes, part.scale if shared else part.scale[within]

    def _columns(self, columns):
        """Codes of some columns, as rows."""
        size = max(1, _PANEL_VALUES // max(self._n_values, 1))
        shape = columns.stop - columns.start, self.shape[1]
        codes = np.empty_like(self._packed, shape=shape, dtype=np.int8)
        for r in range(0, self.shape[1], size):
            rows = unpack(self._packed[r : r + size], self._n_values, self._layout)
            codes[:, r : r + size] = rows[:, columns].T
        return codes


def folded_into(X, fold):
    """Activations with the scales of a `Part` multiplied into them."""
    if fold is None:
        return X
    with np.errstate(over="ignore", invalid="ignore"):
        return X * fold.astype(X.dtype, copy=False)
