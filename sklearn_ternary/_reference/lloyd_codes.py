"""Rows of k-means as codes of 8 bits.

Rows in the frame are rotated, so that no column is much larger than the others, and
rounded to multiples of one step. Products of codes are integers, and a bound of what
the codes miss tells which centres may be the nearest; see the kernel's
`lloyd_screen.h` for the bound.
"""

from typing import NamedTuple

import numpy as np

from sklearn_ternary._reference.lloyd import TILE, row_tiles


class Codes(NamedTuple):
    """Rows as codes, or just the first ones: others are found when they are wanted.

    Parameters
    ----------
    step : scalar of the dtype of the rows
    codes : ndarray of shape (tiles, ceil(d / 4), 32, 4), uint8, or None
        Multiples of the step, plus 128: of four columns together, of 32 rows. There
        may be fewer tiles than the rows would fill.
    lengths : ndarray of shape (tiles, 3, 32), or None
        Lengths of the rows in the frame, of what the codes stand for, and of what
        they miss, each rounded up.
    share : float, default=1.0
        Of the bound of what codes miss, what is allowed for: less than all of it
        leaves fewer rows open, and some labels wrong.
    """

    step: np.floating
    codes: np.ndarray | None
    lengths: np.ndarray | None
    share: float = 1.0


def rotated(tiles):
    """Tiles, as of `row_tiles`, with their rows rotated.

    Twice, first for the first values and then for the last, of whose number the
    greatest power of two is taken: signs change by a hash of the column, then comes
    a Hadamard matrix. The second is left out where the number is a power of two.
    """
    tiles = tiles.copy()
    d = tiles.shape[1] - 1
    size = 1 << (d.bit_length() - 1)
    for turn in range(1 + (size < d)):
        hashes = (2 * np.arange(d, dtype=np.uint64) + turn + 1) * 2654435769
        tiles[:, :d][:, (hashes & 2**31) > 0] *= -1
        first = d - size if turn else 0
        values = tiles[:, first : first + size]
        half = 1
        while half < size:
            pairs = values.reshape(len(tiles), -1, 2, half, TILE)
            a, b = pairs[:, :, 0], pairs[:, :, 1]
            values = np.stack([a + b, a - b], axis=2).reshape(values.shape)
            half *= 2
        values = values * tiles.dtype.type(1 / np.sqrt(float(size)))
        tiles[:, first : first + size] = values
    return tiles


def encoded(tiles, step):
    """`Codes` of the rows of rotated tiles."""
    d = tiles.shape[1] - 1
    values = tiles[:, :d]
    cut = np.clip(values * (tiles.dtype.type(1) / step), -127, 127)
    kept = np.rint(cut) * step
    missed = values - kept
    sums = np.zeros((len(tiles), 2, TILE), dtype=tiles.dtype)
    for t in range(d):
        sums[:, 0] += kept[:, t] * kept[:, t]
        sums[:, 1] += missed[:, t] * missed[:, t]
    padded = np.full((len(tiles), -(-d // 4) * 4, TILE), 128, dtype=np.uint8)
    padded[:, :d] = np.rint(cut) + 128
    codes = padded.reshape(len(tiles), -1, 4, TILE).transpose(0, 1, 3, 2)
    squares = np.stack([tiles[:, d], sums[:, 0], sums[:, 1]], axis=1)
    up = 1 + (d + 8) * np.finfo(tiles.dtype).eps
    lengths = np.sqrt(squares) * tiles.dtype.type(up)
    return Codes(step, np.ascontiguousarray(codes), lengths)


def row_codes(X, frame, step):
    """`Codes` of the rows."""
    return encoded(rotated(row_tiles(X, frame)), step)
