"""Labels of k-means."""

from typing import NamedTuple

import numpy as np

from sklearn_ternary._gpu.device import current_info
from sklearn_ternary._gpu.kernels import launch, macros_of, n_blocks
from sklearn_ternary._gpu.transfer import row_by_row
from sklearn_ternary._reference.lloyd import Frame

_SLAB = 64
_SLAB_BYTES = 16384
_STAGES = 4
# Shared memory that the kernels declare by themselves.
_OWN_SHARED = 2048
_MOST_UNITS = 3
_TILE = 128
# A coarse look costs a third; it pays where it leaves fewer rows open than these.
_MOST_OPEN = 0.6
# Parts of rows that are not kept are found for so many bytes at a time.
SPLIT_BYTES = 2**28


class Split(NamedTuple):
    """Rows of the frame, each value in two parts, and half their squared norms.

    Parameters
    ----------
    high, low : ndarray of shape (n, slabs * 64), uint16
    half_norms : ndarray of shape (n,), float32
    """

    high: object
    low: object
    half_norms: object


class Centers:
    """Centres on the current device, made ready for the labels of many rows."""

    def __init__(self, cupy, centers, frame):
        self.values = centers
        self.transposed = cupy.ascontiguousarray(centers.T)
        self.split = split_rows(cupy, centers, frame)
        self.largest = self.split.half_norms.max().reshape(1)


class CoarseLook:
    """Whether to look at the high parts alone first: no labels depend on it.

    The first look says whether it pays for rows like these.
    """

    def __init__(self):
        self._found = None
        self._pays = True

    def pays(self):
        """Whether to do it; waits for the first one at the second call."""
        if self._found:
            n_open, n_rows = self._found
            self._pays = int(n_open.get()[0]) <= _MOST_OPEN * n_rows
            self._found = ()
        return self._pays

    def done(self, n_open, n_rows):
        """Take in how many rows, in an array of the device, it has left open."""
        if self._found is None:
            self._found = n_open, n_rows


class Whole:
    """What all pieces of the rows need whole."""

    def __init__(self, *held):
        self.held = held


def nearest_centers(X, centers, frame, tiles=None, codes=None, *, device=None):
    """Label of each row: its nearest centre, the first of equally near ones.

    Neither `frame`, `tiles` nor `codes` changes labels; without a frame the origin
    is its.
    """
    return _nearest(X, Whole(centers, frame), device=device)


@row_by_row
def _nearest(cupy, X, whole):
    centers, frame = whole.held
    frame = frame_on_device(cupy, frame, X)
    return find_labels(cupy, X, Centers(cupy, cupy.asarray(centers), frame), frame)


def frame_on_device(cupy, frame, X):
    """`frame`, for rows like X, with its shift on the current device."""
    if frame is None:
        return Frame(cupy.zeros(X.shape[1], X.dtype), X.dtype.type(1))
    return Frame(cupy.asarray(frame.shift), frame.scale)


def split_rows(cupy, X, frame):
    """The `Split` of rows."""
    n, d = X.shape
    width = _slabs(d) * _SLAB
    high = cupy.empty((n, width), np.uint16)
    split = Split(high, cupy.empty_like(high), cupy.empty(n, np.float32))
    sizes = np.int64(n), np.int32(d), np.int32(width)
    args = (X, *sizes, frame.shift, np.float64(frame.scale), *split)
    grid = n_blocks(cupy, n, 8)
    launch(cupy, "clusters", "split_rows", grid, args, macros=macros_of(X.dtype))
    return split


def split_bytes(n, d):
    """Bytes of the `Split` of rows."""
    return n * (4 * _slabs(d) * _SLAB + 4)


def _slabs(d):
    return max(1, -(-d // _SLAB))


def find_labels(cupy, X, centers, frame, split=None, look=None):
    """Labels of rows of the current device.

    Parameters
    ----------
    cupy : module
    X : ndarray of shape (n, d), float32 or float64
    centers : Centers
    frame : Frame
    split : Split, default=None
        Of the rows, where it was kept.
    look : CoarseLook, default=None
        What is known of rows like these.
    """
    n, d = X.shape
    look = CoarseLook() if look is None else look
    labels = cupy.empty(n, np.int32)
    step = max(_TILE, SPLIT_BYTES // split_bytes(1, d)) if split is None else n
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        parts = split_rows(cupy, X[rows], frame) if split is None else split
        still_open = cupy.empty(rows.stop - first, np.int64)
        n_open = cupy.zeros(1, np.uint64)
        args = centers, labels[rows], still_open, n_open, look
        _find_by_products(cupy, parts, d, *args)
        _find_exactly(cupy, X[rows], centers, still_open, n_open, labels[rows])
    return labels


def _find_by_products(cupy, split, d, centers, labels, still_open, n_open, look):
    """Labels by the products of parts; those they leave open go on a list."""
    n, slabs = np.int64(len(labels)), _slabs(d)
    k, grid = np.int32(len(centers.values)), -(-len(labels) // _TILE)
    x_high, _, x_half = split
    c_high, _, c_half = centers.split
    # Two scores differ by less than this part of the norms, by rounding: that of
    # products of `slabs * 64` values added in float32, of values in 8 or 16 bits.
    rounding = slabs * _SLAB * 2.0**-23
    coarse = np.float32(2 * (rounding + 2.0**-8 + 2.0**-17))
    error = np.float32(2 * (3 * rounding + 3 * 2.0**-18))
    found = labels, still_open, n_open
    args = (*split, n, *centers.split, k, centers.largest, error, *found)
    most = current_info(cupy).shared_memory - _OWN_SHARED
    shared = (2 * slabs + _STAGES) * _SLAB_BYTES
    if shared <= most:
        macros, some = (f"DS={slabs}",), (None, None)
        if look.pays():
            some = cupy.empty(len(labels), np.int64), cupy.zeros(1, np.uint64)
            first = (x_high, x_half, n, c_high, c_half, k, centers.largest, coarse)
            first, memory = (*first, labels, *some), (slabs + _STAGES) * _SLAB_BYTES
            name = "assign_coarsely"
            launch(cupy, "lloyd", name, grid, first, macros=macros, shared=memory)
            look.done(some[1], len(labels))
        args = (*some, *args)
        launch(cupy, "lloyd", "assign", grid, args, macros=macros, shared=shared)
        return
    units = max(1, min(most // (4 * _SLAB_BYTES), _MOST_UNITS))
    macros, shared = (f"UNITS={units}",), units * 4 * _SLAB_BYTES
    args = (*args, np.int32(slabs))
    launch(cupy, "lloyd_wide", "assign_wide", grid, args, macros=macros, shared=shared)


def _find_exactly(cupy, X, centers, still_open, n_open, labels):
    """Labels of the rows on the list, by the definition."""
    sizes = np.int32(X.shape[1]), np.int32(len(centers.values))
    args = (X, centers.transposed, *sizes, still_open, n_open, labels)
    grid, macros = n_blocks(cupy, len(X), 1), macros_of(X.dtype)
    launch(cupy, "clusters", "assign_exactly", grid, args, macros=macros)
