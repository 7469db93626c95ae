"""The frame in which scores are computed: near the data, of a convenient size."""

import math

import numpy as np

from sklearn_ternary._reference.lloyd import Frame

# Radius of the data in the frame: squares and their sums stay far from both ends
# of single precision.
_RADIUS_EXPONENT = 40
# No coordinate of the frame's origin exceeds this power of two.
_ORIGIN_EXPONENT = 100


def make_frame(origin, radius, dtype):
    """Frame with its origin at `origin`, where `radius` becomes about 2**40.

    Parameters
    ----------
    origin : ndarray of shape (d,)
    radius : float
        Largest distance of what matters from the origin; 0 where all is equal.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    frame : Frame
    """
    exponent = 0
    if 0 < radius < np.inf:
        exponent = _RADIUS_EXPONENT - math.frexp(radius)[1]
        farthest = float(np.abs(origin).max()) + radius
        exponent = min(exponent, _ORIGIN_EXPONENT - math.frexp(farthest)[1])
        info = np.finfo(dtype)
        exponent = max(info.minexp, min(exponent, info.maxexp - 1))
    scale = dtype.type(math.ldexp(1.0, exponent))
    shift = np.ascontiguousarray(origin.astype(dtype) * scale)
    return Frame(shift, scale)


def frame_of_centers(centers):
    """Frame for rows of which nothing is known but the centres."""
    wide = centers.astype(np.float64)
    mean = wide.mean(axis=0)
    with np.errstate(over="ignore"):
        radius = np.sqrt(((wide - mean) ** 2).sum(axis=1).max())
    return make_frame(mean, radius, centers.dtype)
