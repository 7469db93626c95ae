"""Steps of a network: what the layers of `neural_network` are made of.

Every function writes its result into an array it is given, so that a `Program` can
hold them. Rows of X are samples. Weights have shape (outputs, inputs). A gradient
is that of the loss by the array of the same shape.
"""

import numpy as np

from sklearn_ternary._reference.matmul import integer_product, largest_magnitudes
from sklearn_ternary._reference.quantize import group_scale, quantize_codes

EPSILON = 1e-6  # under the root of RMSNorm
LANES = 32  # partial sums along a row, in the dtype of the row


def ternary_weights(latent, kind, codes, scale, flips):
    """Round weights to three levels, codes times a scale.

    Scale and codes are those of `ternarize` with one scale for the whole array.

    Parameters
    ----------
    latent : ndarray of shape (M, K)
    kind : {"absmean", "twn"}
    codes : ndarray of shape (M, K), int8
        Comes with the codes of the last time.
    scale : ndarray of shape (1,)
    flips : ndarray of shape (1,), int64
        Grows by the number of codes that changed.
    """
    one_row = latent.reshape(1, -1)
    found, threshold = group_scale(one_row, one_row.size, kind, 3)
    new = quantize_codes(one_row, threshold, one_row.size, 3).reshape(codes.shape)
    flips += np.count_nonzero(new != codes)
    codes[...] = new
    scale[...] = found[0]


def scaled_codes(codes, scale, out):
    """``out = scale * codes``."""
    np.multiply(codes, scale, out=out, dtype=out.dtype)


def pack_weights(codes, form):
    """Codes in the form in which `multiply_codes` takes them."""
    form[...] = codes


def round_rows(X, rounded, q, step):
    """Round rows to 8 bits: ``rounded = q * step``, which may be None.

    See `quantize_activations` in `sklearn_ternary._reference.matmul`.
    """
    one = X.dtype.type
    most = largest_magnitudes(X)
    finite = np.isfinite(most)
    most = np.where(finite, np.maximum(most, one(1e-5)), one(np.nan))
    with np.errstate(invalid="ignore"):
        steps = np.rint(X * (one(127) / most)[:, None])
    steps[~finite] = 0
    q[...] = np.clip(steps, -128, 127)
    step[...] = most / one(127)
    if rounded is not None:
        np.multiply(q, step[:, None], out=rounded, dtype=rounded.dtype)


def multiply_codes(q, step, form, scale, out):
    """``out = ((q @ codes.T) * scale) * step``; the sums are exact."""
    dot = integer_product(q, form).astype(out.dtype)
    np.multiply(dot * scale, step[:, None], out=out)


def multiply_rows(A, B, out):
    """``out = A @ B.T``."""
    np.matmul(A, B.T, out=out)


def multiply_weights(A, B, out):
    """``out = A @ B``."""
    np.matmul(A, B, out=out)


def multiply_columns(A, B, out):
    """``out = A.T @ B``."""
    np.matmul(A.T, B, out=out)


def add_rows(X, row, out):
    """``out = X + row``, the same row for each."""
    np.add(X, row, out=out)


def add(X, Y, out):
    """``out = X + Y``."""
    np.add(X, Y, out=out)


def column_sum(X, out):
    """Sums over the rows, in their order."""
    out[...] = 0
    for row in X:
        out += row


def relu(X, out):
    """``out = max(X, 0)``; NaN stays."""
    np.copyto(out, np.where(X < 0, 0, X))


def relu_gradient(Y, dY, dX):
    """Gradient by X from the result Y of `relu`; 0 where Y is 0."""
    np.copyto(dX, np.where(Y == 0, 0, dY))


def squared_relu(X, out):
    """``out = max(X, 0) ** 2``."""
    positive = np.where(X < 0, 0, X)
    np.multiply(positive, positive, out=out)


def squared_relu_gradient(X, dY, dX):
    """``dX = 2 max(X, 0) dY``."""
    positive = np.where(X < 0, 0, X)
    np.multiply(positive + positive, dY, out=dX)


def row_sum(X):
    """Sum of each row: `LANES` partial sums along it, folded in halves."""
    n, d = X.shape
    padded = np.zeros_like(X, shape=(n, -(-d // LANES) * LANES))
    padded[:, :d] = X
    lanes = np.zeros_like(X, shape=(n, LANES))
    for i in range(0, padded.shape[1], LANES):
        lanes += padded[:, i : i + LANES]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes[:, 0]


def rms_norm(X, gain, out, inverse):
    """``out = (X * inverse) * gain``, inverse being 1 / root mean square of a row.

    References
    ----------
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019,
    https://arxiv.org/abs/1910.07467
    """
    one = X.dtype.type
    mean = row_sum(X * X) / one(X.shape[1])
    inverse[...] = one(1) / np.sqrt(mean + one(EPSILON))
    np.multiply(X * inverse[:, None], gain, out=out)


def rms_norm_gradient(X, gain, inverse, dY, dX, dgain, column_sum=column_sum):
    """Gradients of `rms_norm` by X and by the gain."""
    unit = X * inverse[:, None]
    column_sum(dY * unit, dgain)
    inner = dY * gain
    mean = row_sum(inner * unit) / X.dtype.type(X.shape[1])
    np.multiply(inner - unit * mean[:, None], inverse[:, None], out=dX)


def dropout(X, key, rate, out):
    """Zero values with probability `rate`, and divide the others by ``1 - rate``.

    Which ones depends on the key and the place of a value alone, so that the
    gradient is the same function of the gradient.

    Parameters
    ----------
    key : ndarray of shape (2,), uint32
    """
    keep = _random_words(key, X.size).reshape(X.shape) >= np.uint32(rate * 2**32)
    np.copyto(out, np.where(keep, X * X.dtype.type(1 / (1 - rate)), 0))


def _random_words(key, n):
    """32 random bits for each place: a counter, mixed twice (MurmurHash3's mixer)."""
    words = np.arange(n, dtype=np.uint32, like=key) ^ key[0]
    for constant in (key[1], np.uint32(0x9E3779B9)):
        words ^= words >> np.uint32(16)
        words *= np.uint32(0x85EBCA6B)
        words ^= words >> np.uint32(13)
        words *= np.uint32(0xC2B2AE35)
        words ^= words >> np.uint32(16)
        words += constant
    return words


def round_rows_csr(data, indices, indptr, rounded):
    """Round the values of sparse rows to 8 bits, as `round_rows` does."""
    for i in range(len(indptr) - 1):
        row = slice(indptr[i], indptr[i + 1])
        x = data[row][None]
        q, step = np.empty(x.shape, np.int8), np.empty(1, x.dtype)
        round_rows(x, rounded[row][None], q, step)


def multiply_csr(data, indices, indptr, weights, out):
    """``out = X @ weights.T`` for sparse rows X."""
    for i in range(len(indptr) - 1):
        out[i] = 0
        for j in range(indptr[i], indptr[i + 1]):
            out[i] += data[j] * weights[:, indices[j]]


def multiply_columns_csr(A, data, indices, indptr, out):
    """``out = A.T @ X`` for sparse rows X."""
    out[...] = 0
    for i in range(len(indptr) - 1):
        for j in range(indptr[i], indptr[i + 1]):
            out[:, indices[j]] += data[j] * A[i]
