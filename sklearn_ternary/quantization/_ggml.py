"""Packed arrays to and from the bytes of ggml's and bitnet.cpp's tensors.

The codes are those of our layouts of the same names. A TQ1_0 or TQ2_0 block holds
256 codes and then their scale as float16; an I2_S tensor holds all codes, then one
float32 scale and 28 bytes of padding.
"""

import math

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import from_device, to_host
from sklearn_ternary._layouts import get_layout
from sklearn_ternary.quantization._array import TernaryArray
from sklearn_ternary.quantization._groups import checked_shape, matrix_shape

# Where the scales are: one after the codes of each block, or one after all codes.
_IN_BLOCKS = ("tq1_0", "tq2_0")
_AT_THE_END = ("i2_s_x86", "i2_s_arm")
_F16, _F32 = np.dtype("<f2"), np.dtype("<f4")
_TAIL = 32


def to_ggml(A, layout, *, round_scale=False):
    """Return the bytes of a tensor as ggml or bitnet.cpp stores it.

    Parameters
    ----------
    A : TernaryArray
        On three levels and of one dimension or more. Rows, of the last axis, are
        whole units: a multiple of 256 values for TQ1_0 and TQ2_0, of 128 for I2_S
        in the order of x86, of 64 in that of Arm.
    layout : {"tq1_0", "tq2_0", "i2_s_x86", "i2_s_arm"}
        What the tensor is. I2_S has two orders, and a file does not say which it
        has: it is that of the machine that reads it.
    round_scale : bool, default=False
        Round scales that the format cannot hold (float16 in TQ1_0 and TQ2_0,
        float32 in I2_S) to the nearest it can.

    Returns
    -------
    data : ndarray, uint8
        Of shape ``(*A.shape[:-1], row_bytes)`` for TQ1_0 and TQ2_0, and of shape
        ``(A.size / 4 + 32,)`` for I2_S.

    Raises
    ------
    ValueError
        If the format cannot hold the array. TQ1_0 and TQ2_0 need a scale for the
        array, for each row, or for blocks of a multiple of 256 values; I2_S has one
        scale for the tensor.

    See Also
    --------
    from_ggml : The inverse.

    Notes
    -----
    The bytes are of the host, wherever the array is.

    As in ggml's own quantization, a TQ1_0 or TQ2_0 block of zeros has scale 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ternary import ternarize
    >>> from sklearn_ternary.quantization import from_ggml, to_ggml
    >>> W = np.random.default_rng(0).normal(size=(4, 512))
    >>> A = ternarize(W, scale=0.5)
    >>> data = to_ggml(A, "tq2_0")
    >>> data.shape
    (4, 132)
    >>> np.array_equal(from_ggml(data, (4, 512), "tq2_0").toarray(), A.toarray())
    True
    """
    row = _ggml_layout(layout)
    if not isinstance(A, TernaryArray):
        raise ValueError(f"A is a {type(A).__name__}; a TernaryArray is required")
    A = A.get()
    if A.n_levels != 3:
        raise ValueError(f"A has {A.n_levels} levels; layout {layout!r} has 3")
    _check_rows(A.shape, row)
    if layout in _AT_THE_END:
        scale = _to_float(_one_scale(A, layout), _F32, round_scale, layout)
        packed = A.to_layout(layout).packed.ravel()
        tail = np.zeros(_TAIL - _F32.itemsize, dtype=np.uint8)
        return np.concatenate([packed, scale.view(np.uint8), tail])
    scale = _block_scales(A, row)
    codes = A.to_layout(layout).packed.reshape(scale.size, row.unit_bytes)
    scale = np.where(_is_zero(codes, layout), scale.dtype.type(0), scale.ravel())
    scale = _to_float(scale, _F16, round_scale, layout)
    blocks = np.hstack([codes, scale.view(np.uint8).reshape(-1, _F16.itemsize)])
    row_bytes = A.shape[-1] // row.unit_values * blocks.shape[1]
    return blocks.reshape(*A.shape[:-1], row_bytes)


def from_ggml(data, shape, layout):
    """Return the array that ggml or bitnet.cpp stores as these bytes.

    Parameters
    ----------
    data : bytes-like or ndarray of uint8
        A whole tensor, as :func:`to_ggml` returns it.
    shape : tuple of int
        Shape of the array; the last axis is the contiguous one.
    layout : {"tq1_0", "tq2_0", "i2_s_x86", "i2_s_arm"}
        What the tensor is. For I2_S the order has to be known: files do not say
        it, and bytes of one order are valid, and wrong, in the other.

    Returns
    -------
    A : TernaryArray
        Of this layout, with float32 scales. Where blocks of TQ1_0 and TQ2_0 share a
        scale over rows or over the whole array, so does the array; blocks of
        zeros take any scale.

    Raises
    ------
    ValueError
        If the number of bytes does not fit the shape, if bytes are no codes, or if
        a scale is negative or not finite.

    See Also
    --------
    to_ggml : The inverse, with an example.
    """
    row = _ggml_layout(layout)
    shape = checked_shape(shape)
    _check_rows(shape, row)
    data = _as_bytes(to_host(from_device(data)))
    n_units = math.prod(shape) // row.unit_values
    unit_bytes, tail = row.unit_bytes, _TAIL
    if layout in _IN_BLOCKS:
        unit_bytes, tail = unit_bytes + _F16.itemsize, 0
    if data.size != n_units * unit_bytes + tail:
        raise ValueError(
            f"data has {data.size} bytes; layout {layout!r} stores shape {shape} in "
            f"{n_units * unit_bytes + tail}"
        )
    n_rows, n_values = matrix_shape(shape)
    units = data[: n_units * unit_bytes].reshape(n_units, unit_bytes)
    codes = np.ascontiguousarray(units[:, : row.unit_bytes])
    group_size = max(n_values, 1)
    if layout in _IN_BLOCKS:
        scale = _from_float(units[:, row.unit_bytes :], _F16)
        blocks = (n_rows, n_values // row.unit_values)
        zero = _is_zero(codes, layout).reshape(blocks)
        scale = _shared(scale.reshape(blocks), zero)
        if scale.shape[1] > 1:
            group_size = row.unit_values
    else:
        scale = _from_float(data[codes.size :][: _F32.itemsize], _F32).reshape(1, 1)
    if not n_values:
        scale = scale[:, :0]
    packed = codes.reshape(n_rows, row.row_bytes(n_values))
    return TernaryArray(packed, scale, shape, layout, group_size=group_size)


def _ggml_layout(name):
    row = get_layout(name)
    allowed = [*_IN_BLOCKS, *_AT_THE_END]
    if name not in allowed:
        raise ValueError(f"layout={name!r} is not one of ggml; choose one of {allowed}")
    return row


def _check_rows(shape, row):
    if not shape or shape[-1] % row.unit_values:
        raise ValueError(
            f"shape {shape} does not fit layout {row.name!r}: the last axis must be a "
            f"multiple of {row.unit_values}"
        )


def _as_bytes(data):
    if not isinstance(data, np.ndarray):
        return np.frombuffer(data, dtype=np.uint8)
    if data.dtype != np.uint8:
        raise ValueError(f"data is {data.dtype}; uint8 is required")
    return data.reshape(-1)


def _is_zero(units, layout):
    """Whether all codes of a unit are 0."""
    zeros = np.zeros((1, get_layout(layout).unit_values), dtype=np.int8)
    return (units == _dispatch.pack(zeros, layout)).all(axis=1)


def _block_scales(A, row):
    """Scale of each block, of shape (R, blocks of a row)."""
    n_rows, n_values = matrix_shape(A.shape)
    n_blocks, size = n_values // row.unit_values, A.group_size
    scale = A.scale
    if scale.shape[1] <= 1:
        size = n_values
    if size % row.unit_values:
        raise ValueError(
            f"A has scales for groups of {size} values; layout {row.name!r} needs one "
            f"scale, one per row, or groups of a multiple of {row.unit_values}"
        )
    scale = np.repeat(scale, size // row.unit_values, axis=1)[:, :n_blocks]
    return np.broadcast_to(scale, (n_rows, n_blocks))


def _one_scale(A, layout):
    scales = np.unique(A.scale)
    if scales.size > 1:
        raise ValueError(
            f"A has {scales.size} different scales; layout {layout!r} stores one"
        )
    return scales if scales.size else np.zeros(1, dtype=A.dtype)


def _to_float(scale, dtype, round_scale, layout):
    """Scales as the file holds them."""
    with np.errstate(over="ignore", under="ignore"):
        stored = scale.astype(dtype)
    held = np.isfinite(stored) & ((stored == 0) == (scale == 0))
    if not held.all():
        raise ValueError(
            f"A has scale {scale[~held][0]}, which layout {layout!r} cannot hold: its "
            f"scales are float{8 * dtype.itemsize}"
        )
    changed = stored != scale
    if changed.any() and not round_scale:
        raise ValueError(
            f"A has scale {scale[changed][0]}, which float{8 * dtype.itemsize} of "
            f"layout {layout!r} does not hold exactly; round_scale=True rounds it"
        )
    return stored


def _from_float(data, dtype):
    """Scales that the file holds, as float32."""
    scale = np.ascontiguousarray(data).view(dtype).ravel().astype(np.float32)
    wrong = ~(np.isfinite(scale) & (scale >= 0))
    if wrong.any():
        first = np.argmax(wrong)
        raise ValueError(
            f"data has scale {scale[first]} in block {first}; a scale is finite and "
            "not negative"
        )
    return scale


def _shared(scale, zero):
    """Scales of all, of each row, or of each block: the first that fits.

    Parameters
    ----------
    scale, zero : ndarray of shape (R, blocks of a row)
        The scale of each block, and whether its codes are all 0.

    Returns
    -------
    scale : ndarray of shape (1, 1), (R, 1) or (R, blocks of a row)
    """
    used = np.where(zero, np.float32(0), scale)
    for axes in ((0, 1), 1):
        largest = used.max(axis=axes, keepdims=True, initial=0)
        if (zero | (scale == largest)).all():
            return largest
    return scale
