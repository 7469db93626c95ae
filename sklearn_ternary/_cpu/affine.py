"""Integer codes with a zero point."""

import numpy as np

from sklearn_ternary._kernels import _affine


def affine_codes(X, scale, zero_point, group_size, lowest, highest, *, n_threads, isa):
    """Codes, int8; one build of this loop serves every `isa`."""
    codes = np.empty(X.shape, dtype=np.int8)
    _affine.affine_codes(
        X, scale, zero_point, group_size, lowest, highest, codes, n_threads
    )
    return codes


def affine_values(codes, scale, zero_point, group_size, *, n_threads, isa):
    """Values of codes; one build of this loop serves every `isa`."""
    values = np.empty(codes.shape, dtype=scale.dtype)
    _affine.affine_values(codes, scale, zero_point, group_size, values, n_threads)
    return values
