"""Integer codes with a zero point."""

import numpy as np

from sklearn_ternary._cpu.by_dtype import by_dtype
from sklearn_ternary._kernels import _affine
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS

_AFFINE_CODES = by_dtype(_affine.affine_codes)
_AFFINE_VALUES = by_dtype(_affine.affine_values)


def affine_codes(X, scale, zero_point, group_size, lowest, highest, *, n_threads, isa):
    """Codes ``clip(rint(x / scale) + zero_point, lowest, highest)``, int8."""
    codes = np.empty(X.shape, dtype=np.int8)
    _AFFINE_CODES[X.dtype.char](
        X,
        scale,
        zero_point,
        group_size,
        lowest,
        highest,
        codes,
        ISA_LEVELS[isa],
        n_threads,
    )
    return codes


def affine_values(codes, scale, zero_point, group_size, *, n_threads, isa):
    """Values ``(codes - zero_point) * scale``, of the dtype of `scale`."""
    values = np.empty(codes.shape, dtype=scale.dtype)
    _AFFINE_VALUES[scale.dtype.char](
        codes, scale, zero_point, group_size, values, ISA_LEVELS[isa], n_threads
    )
    return values
