"""The parts of a packed array: whether they fit each other, and how files hold them.

They are its packed codes, its scales, its shape, its layout and how many values of a
row share a scale.
"""

import numpy as np

from sklearn_ternary import _dispatch
from sklearn_ternary._gpu.arrays import as_array, contiguous, is_device_array
from sklearn_ternary._layouts import get_layout
from sklearn_ternary._reference.groups import n_groups
from sklearn_ternary.quantization._entropy_coding import entropy_coded, entropy_decoded
from sklearn_ternary.quantization._groups import (
    checked_shape,
    is_integer,
    matrix_shape,
)

_TENSORS = ("packed", "scale")
_INFO = ("shape", "layout", "group_size")


def checked_parts(packed, scale, shape, layout, group_size):
    """The parts of an array, where they fit each other; nothing is copied.

    Raises
    ------
    ValueError
        If they do not, or `packed` holds bytes that no codes pack to.
    """
    shape = checked_shape(shape)
    row = get_layout(layout)
    n_rows, n_values = matrix_shape(shape)
    if not is_integer(group_size) or group_size < 1:
        raise ValueError(f"group_size={group_size!r} must be a positive integer")
    packed, scale = as_array(packed), as_array(scale)
    expected = (n_rows, row.row_bytes(n_values))
    if packed.dtype != np.uint8 or packed.shape != expected:
        raise ValueError(
            f"packed is {packed.dtype} of shape {packed.shape}; layout {layout!r} "
            f"stores shape {shape} as uint8 of shape {expected}"
        )
    if is_device_array(packed) != is_device_array(scale):
        raise ValueError("packed and scale are not both on a device")
    groups = n_groups(n_values, group_size)
    if scale.dtype not in (np.float32, np.float64):
        raise ValueError(f"scale is {scale.dtype}; float32 or float64 is required")
    if scale.shape not in ((n_rows, groups), (1, groups)):
        raise ValueError(
            f"scale has shape {scale.shape}; {(n_rows, groups)} or {(1, groups)} "
            f"is required"
        )
    if np.isinf(scale).any() or (scale < 0).any():
        raise ValueError("scale has infinite or negative values")
    invalid = _dispatch.find_invalid(contiguous(packed), layout)
    if invalid >= 0:
        raise ValueError(
            f"packed holds bytes that are no codes of layout {layout!r}, "
            f"the first at unit {invalid}"
        )
    group_size = min(int(group_size), max(n_values, 1))
    return packed, scale, shape, layout, group_size


def for_files(parts, entropy_code):
    """Tensors and a description that JSON can hold, of parts by name."""
    tensors = {name: parts[name] for name in _TENSORS}
    info = {name: parts[name] for name in _INFO} | {"shape": list(parts["shape"])}
    return entropy_coded(tensors, info) if entropy_code else (tensors, info)


def of_files(tensors, info):
    """Invert `for_files`. The codes may be entropy coded.

    Raises
    ------
    ValueError
        For anything that does not fit.
    """
    if not isinstance(info, dict) or not isinstance(info.get("layout", ""), str):
        raise ValueError(f"the description {info!r} has no layout that is text")
    if set(tensors) == {"coded", "scale"} and set(info) == {*_INFO, "frequencies"}:
        tensors, info = entropy_decoded(tensors, info)
    if set(info) != {*_INFO}:
        raise ValueError("a packed array needs shape, layout and group_size")
    if set(tensors) != {*_TENSORS}:
        raise ValueError("a packed array needs the tensors packed and scale")
    return {**tensors, **info}
