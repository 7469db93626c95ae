"""Parts of a packed array, selected along its first axis.

The parts of an array are its packed codes, its scales, its shape, its layout and
how many values of a row share a scale, in this order.
"""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import contiguous, is_device_array, like
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import spread
from sklearn_ternary.quantization._groups import matrix_shape


def select(packed, scale, shape, layout, group_size, key):
    """Select by an integer, a slice, a mask or indices.

    Returns
    -------
    selected : tuple or scalar
        Parts of the array that is selected, or a single value.

    Raises
    ------
    IndexError
        If `key` is something else, or out of range.
    """
    key = _first_key(key)
    if isinstance(key, np.ndarray) or is_device_array(key):
        key = like(key, packed)
    if not shape:
        raise IndexError("a TernaryArray without dimensions cannot be indexed")
    if len(shape) == 1:
        return _values_at(packed, scale, shape, layout, group_size, key)
    selected = packed[key]
    shared = scale.shape[0] == 1 and shape[0] != 1
    scales = scale if shared else scale[key]
    if selected.ndim > 2:
        raise IndexError("a TernaryArray is indexed by one index, slice or list")
    if selected.ndim == 1:
        parts = selected[None], scales.reshape(1, -1), shape, layout, group_size
        return _row(*parts)
    return selected, scales, (selected.shape[0], *shape[1:]), layout, group_size


def _first_key(key):
    if isinstance(key, tuple):
        if not key or not all(_selects_all(k) for k in key[1:]):
            raise IndexError(
                f"only the first axis of a TernaryArray can be indexed, got {key!r}"
            )
        key = key[0]
    if key is Ellipsis or key is None:
        raise IndexError(f"a TernaryArray cannot be indexed by {key!r}")
    return key


def _selects_all(key):
    return key is Ellipsis or (isinstance(key, slice) and key == slice(None))


def _values_at(packed, scale, shape, layout, group_size, key):
    """Select from the only row, whose bytes have to be packed anew."""
    codes = _dispatch.unpack(packed, shape[0], layout)[0][key]
    scales = spread(scale, shape[0], group_size)[0][key]
    if codes.ndim == 0:
        return codes * scales / scale.dtype.type(get_layout(layout).n_levels // 2)
    if scale.size > 1:
        return packed_parts(codes, scales[None], 1, codes.shape, layout)
    return packed_parts(codes, scale, max(codes.size, 1), codes.shape, layout)


def _row(packed, scale, shape, layout, size):
    """Array of one dimension less from the bytes of one row."""
    _, n_values = matrix_shape(shape)
    shape = shape[1:]
    if len(shape) == 1:
        return packed, scale, shape, layout, size
    # The row becomes several: its bytes and its groups are cut anew.
    codes = _dispatch.unpack(packed, n_values, layout).reshape(shape)
    n_rows, n_columns = matrix_shape(shape)
    if n_columns and size % n_columns == 0:
        owner = np.arange(n_rows) * n_columns // size
        scale, size = scale[0, like(owner, scale)][:, None], n_columns
    elif n_columns and n_columns % size == 0:
        scale = scale.reshape(n_rows, n_columns // size)
    else:
        scale, size = spread(scale, n_values, size).reshape(n_rows, n_columns), 1
    return packed_parts(codes, scale, size, shape, layout)


def packed_parts(codes, scale, group_size, shape, layout):
    """Parts of an array of int8 codes that are known to be within its levels."""
    packed = _dispatch.pack(contiguous(codes).reshape(matrix_shape(shape)), layout)
    scale = contiguous(scale)
    if not scale.flags.owndata:
        scale = scale.copy()
    return packed, scale, tuple(shape), layout, group_size
