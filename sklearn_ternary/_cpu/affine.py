"""Integer codes with a zero point."""

import numpy as np

from sklearn_ternary._kernels import _affine
from sklearn_ternary._kernels._cpu_features import ISA_LEVELS


def affine_codes(X, scale, zero_point, group_size, lowest, highest, *, n_threads, isa):
    """Codes ``clip(rint(x / scale) + zero_point, lowest, highest)``, int8."""
    codes = np.empty(X.shape, dtype=np.int8)
    _affine.affine_codes(
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
    _affine.affine_values(
        codes, scale, zero_point, group_size, values, ISA_LEVELS[isa], n_threads
    )
    return values
