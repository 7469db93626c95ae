"""Packed arrays in files, in as few bits as the frequencies of their codes allow."""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.entropy import MOST, TOTAL
from sklearn_ternary.quantization._groups import checked_shape, matrix_shape


def entropy_coded(tensors, info):
    """Tensors and description of a packed array, with its codes entropy coded.

    ``coded`` takes the place of ``packed``, and the description has ``frequencies``.
    """
    _, n_values = matrix_shape(tuple(info["shape"]))
    packed, layout = tensors["packed"], info["layout"]
    counts = _dispatch.count_codes(packed, n_values, layout)
    frequencies = whole_frequencies(counts)
    codes = _dispatch.unpack(packed, n_values, layout).ravel()
    coded = _dispatch.encode_codes(codes, frequencies)
    rest = {name: array for name, array in tensors.items() if name != "packed"}
    return {"coded": coded, **rest}, {**info, "frequencies": frequencies.tolist()}


def entropy_decoded(tensors, info):
    """Invert `entropy_coded`.

    Raises
    ------
    ValueError
        For anything that does not fit.
    """
    coded, layout = tensors["coded"], get_layout(info["layout"])
    if coded.dtype != np.uint8 or coded.ndim != 1:
        raise ValueError(f"coded is {coded.dtype} of {coded.ndim} dimensions")
    frequencies = _checked_frequencies(info["frequencies"], layout.n_levels)
    n_rows, n_values = matrix_shape(checked_shape(info["shape"]))
    codes = _dispatch.decode_codes(coded, n_rows * n_values, frequencies)
    codes = codes.reshape(n_rows, n_values)
    rest = {name: array for name, array in tensors.items() if name != "coded"}
    packed = _dispatch.pack(codes, layout.name)
    kept = {key: value for key, value in info.items() if key != "frequencies"}
    return {"packed": packed, **rest}, kept


def whole_frequencies(counts):
    """Whole frequencies about proportional to `counts`, as entropy coding has them.

    Each code that occurs has one of at least 1, none has more than `MOST`, and they
    add up to `TOTAL`.
    """
    shares = counts * (TOTAL / max(int(counts.sum()), 1))
    frequencies = np.maximum(np.floor(shares).astype(np.int64), counts > 0)
    # What is missing goes to those that were cut most. Codes that occur rarely got
    # more than their share: the most frequent ones pay for it.
    for _ in range(TOTAL - int(frequencies.sum())):
        frequencies[np.argmax(shares - frequencies)] += 1
    for _ in range(int(frequencies.sum()) - TOTAL):
        frequencies[np.argmax(frequencies)] -= 1
    largest = int(np.argmax(frequencies))
    excess = max(int(frequencies[largest]) - MOST, 0)
    frequencies[largest] -= excess
    frequencies[largest - 1] += excess  # the one before it, or the last
    return frequencies


def _checked_frequencies(frequencies, n_levels):
    if (
        not isinstance(frequencies, list)
        or len(frequencies) != n_levels
        or not all(type(f) is int and 0 <= f <= MOST for f in frequencies)
        or sum(frequencies) != TOTAL
    ):
        raise ValueError(
            f"frequencies must be {n_levels} whole numbers from 0 to {MOST} that add "
            f"up to {TOTAL}"
        )
    return np.array(frequencies, dtype=np.int64)
