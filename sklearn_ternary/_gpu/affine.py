"""Integer codes with a zero point."""

import numpy as np

from sklearn_ternary._gpu.kernels import macros_of
from sklearn_ternary._gpu.quantize import parameters, run, sizes
from sklearn_ternary._gpu.transfer import row_by_row, widening


@row_by_row
def affine_codes(cupy, X, scale, zero_point, group_size, lowest, highest):
    """Integer codes of X with a zero point, int8."""
    codes = cupy.empty(X.shape, np.int8)
    args = X, *sizes(X), zero_point, *parameters(scale, group_size)
    args = *args, np.int32(lowest), np.int32(highest), codes
    macros = macros_of(X.dtype)
    run(cupy, "affine_codes", X.shape, args, file="affine", macros=macros)
    return codes


@widening(lambda codes, scale, *_: codes.shape[1] * scale.itemsize)
def affine_values(cupy, codes, scale, zero_point, group_size):
    """Values of integer codes with a zero point, of the dtype of `scale`."""
    values = cupy.empty(codes.shape, scale.dtype)
    args = codes, *sizes(codes), zero_point, *parameters(scale, group_size), values
    macros = macros_of(scale.dtype)
    run(cupy, "affine_values", codes.shape, args, file="affine", macros=macros)
    return values
