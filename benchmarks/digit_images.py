"""Images of digits before any network sees them: upright, and moved a little.

Deskewing and distorted copies are the oldest preprocessings of MNIST; the table of its
authors has networks with and without them (LeCun et al., "Gradient-based learning
applied to document recognition", Proceedings of the IEEE, 1998).
"""

import numpy as np

_ROWS = 1000  # images that are moved together


def deskew(X, side=28):
    """Shear images upright.

    The rows of an image are moved along themselves, by linear interpolation, until
    their ink is uncorrelated with their height.

    Parameters
    ----------
    X : ndarray of shape (n_samples, side**2)
        Ink of the pixels, row after row, not below 0.
    side : int, default=28
        Pixels of a row.

    Returns
    -------
    sheared : ndarray of the shape of X, float32
    """
    images = np.asarray(X, dtype=np.float32).reshape(-1, side, side)
    place = np.arange(side, dtype=np.float32)
    ink = np.maximum(images.sum(axis=(1, 2)), 1e-6)
    rows, columns = (
        place - (images.sum(axis=axis) @ place / ink)[:, None] for axis in (2, 1)
    )
    by_row = np.einsum("nij,nj->ni", images, columns)
    slant = (by_row * rows).sum(axis=1)
    spread = (images.sum(axis=2) * rows**2).sum(axis=1)
    slant /= np.maximum(spread, 1e-6)
    # Where each pixel comes from in its row.
    source = place + (slant[:, None] * rows)[:, :, None]
    left = np.floor(source).astype(np.intp)
    share = (source - left).astype(np.float32)
    found = (1 - share) * _taken(images, left) + share * _taken(images, left + 1)
    return found.reshape(len(images), -1)


def moved(X, seed, side=28):
    """Copy of images, each shifted, turned and scaled by a little.

    Up to 0.7 pixels down and across, 0.08 radians and 8 percent, drawn evenly, by
    bilinear interpolation.

    Parameters
    ----------
    X : ndarray of shape (n_samples, side**2)
    seed : int
    side : int, default=28

    Returns
    -------
    copies : ndarray of the shape of X, float32
    """
    rng = np.random.default_rng(seed)
    out = np.empty(X.shape, dtype=np.float32)
    for start in range(0, len(X), _ROWS):
        rows = X[start : start + _ROWS]
        out[start : start + _ROWS] = _moved(rows, rng, side)
    return out


def _moved(X, rng, side):
    n, wide = len(X), side + 2
    ink = np.zeros((n, wide, wide), dtype=np.float32)  # a pixel of nothing around
    ink[:, 1:-1, 1:-1] = X.reshape(n, side, side)
    angle, log_size = rng.uniform(-0.08, 0.08, (2, n))
    shift = rng.uniform(-0.7, 0.7, (2, n)) + (side + 1) / 2
    along, across = np.exp(log_size) * [np.cos(angle), np.sin(angle)]
    place = np.arange(side) - (side - 1) / 2
    down, right = place[:, None], place
    each = (slice(None), None, None)
    row = along[each] * down - across[each] * right + shift[0][each]
    column = across[each] * down + along[each] * right + shift[1][each]
    row, column = (
        np.clip(v, 0, wide - 1.001).astype(np.float32) for v in (row, column)
    )
    top, left = row.astype(np.intp), column.astype(np.intp)
    row -= top
    column -= left
    at = top * wide + left + (wide**2 * np.arange(n))[each]
    flat = ink.ravel()
    above = flat[at] * (1 - column) + flat[at + 1] * column
    below = flat[at + wide] * (1 - column) + flat[at + wide + 1] * column
    return (above * (1 - row) + below * row).reshape(n, -1)


def _taken(images, columns):
    """Pixels of the given columns, 0 beyond the edges."""
    last = images.shape[2] - 1
    values = np.take_along_axis(images, np.clip(columns, 0, last), axis=2)
    return np.where((columns >= 0) & (columns <= last), values, np.float32(0))
