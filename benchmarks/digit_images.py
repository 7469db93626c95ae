"""Images of digits before a network sees them: upright, and moved by a little.

Both are as old as MNIST: its authors' table has classifiers with deskewed images and
with distorted copies (LeCun et al., "Gradient-based learning applied to document
recognition", Proceedings of the IEEE, 1998). The bends are those of Simard et al.,
"Best practices for convolutional neural networks applied to visual document analysis",
ICDAR 2003.
"""

import numpy as np

_SIDE = 28
# The most that an image is turned (radians), scaled (its logarithm), shifted (pixels).
_ANGLE, _SIZE, _SHIFT = 0.08, 0.08, 0.7
# Root mean square of how far bends move a pixel, and over how many they are smooth.
_BEND, _REACH = 0.7, 4.0


def upright(X):
    """Images sheared until the columns of their ink do not depend on its rows.

    Each row is moved along itself, about the row of the mean, by linear
    interpolation. What becomes of an image depends on no other.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 784), float32
        Ink of the pixels, row after row, not below 0.

    Returns
    -------
    sheared : ndarray of the shape of X, float32
    """
    images = X.reshape(-1, _SIDE, _SIDE)
    place = np.arange(_SIDE, dtype=np.float32)
    all_ink = np.maximum(images.sum(axis=(1, 2)), 1e-6)[:, None]
    rows, columns = (
        place - images.sum(axis=axis) @ place[:, None] / all_ink for axis in (2, 1)
    )
    common = np.einsum("nij,ni,nj->n", images, rows, columns, optimize=True)
    spread = np.einsum("nij,ni->n", images, rows**2, optimize=True)
    slant = common / np.maximum(spread, 1e-6)
    sources = place + (slant[:, None] * rows)[:, :, None]
    left = np.floor(sources).astype(np.int32)
    share = (sources - left).astype(np.float32)
    found = (1 - share) * _taken(images, left) + share * _taken(images, left + 1)
    return found.reshape(X.shape)


def moved(X, random_state):
    """Images shifted, turned, scaled and bent at random, by bilinear interpolation.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 784)
        Ink of the pixels, row after row.
    random_state : RandomState

    Returns
    -------
    copies : ndarray of the shape of X, float32
    """
    n, wide = len(X), _SIDE + 2
    ink = np.zeros((n, wide, wide), dtype=np.float32)  # a pixel of nothing around
    ink[:, 1:-1, 1:-1] = X.reshape(n, _SIDE, _SIDE)
    row, column = (
        np.clip(v, 0, wide - 1.001).astype(np.float32)
        for v in _sources(n, random_state)
    )
    top, left = row.astype(np.int32), column.astype(np.int32)
    row -= top
    column -= left
    at = top * wide + left + (wide**2 * np.arange(n))[:, None, None]
    flat = ink.ravel()
    above = flat[at] * (1 - column) + flat[at + 1] * column
    below = flat[at + wide] * (1 - column) + flat[at + wide + 1] * column
    return (above * (1 - row) + below * row).reshape(n, -1)


def _taken(images, columns):
    """Pixels of the given columns; beyond the edges there is no ink."""
    values = np.take_along_axis(images, np.clip(columns, 0, _SIDE - 1), axis=2)
    return np.where((columns >= 0) & (columns < _SIDE), values, np.float32(0))


def _sources(n, random_state):
    """Row and column that each pixel of n images comes from, the border counted."""
    angle, log_size, *shift = random_state.uniform(-1, 1, (4, n, 1, 1))
    size = np.exp(_SIZE * log_size)
    along, across = size * np.cos(_ANGLE * angle), size * np.sin(_ANGLE * angle)
    place = np.arange(_SIDE) - (_SIDE - 1) / 2
    down, right = place[:, None], place
    bends = random_state.uniform(-1, 1, (2, n, _SIDE, _SIDE)).astype(np.float32)
    bends = _BLUR @ bends @ _BLUR
    middle = (_SIDE + 1) / 2
    row = along * down - across * right + bends[0] + _SHIFT * shift[0] + middle
    column = across * down + along * right + bends[1] + _SHIFT * shift[1] + middle
    return row, column


def _blur():
    """What makes noise between -1 and 1 smooth, from both sides."""
    place = np.arange(_SIDE)
    weights = np.exp(-0.5 * ((place[:, None] - place) / _REACH) ** 2)
    middle = (weights[_SIDE // 2] ** 2).sum() / 3**0.5
    return (weights * (_BEND / middle) ** 0.5).astype(np.float32)


_BLUR = _blur()
