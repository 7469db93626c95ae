"""Integer codes with a zero point: the definition of affine quantization."""

import numpy as np

from sklearn_ternary._reference.groups import spread


def affine_codes(X, scale, zero_point, group_size, lowest, highest):
    """Codes ``clip(rint(x / scale) + zero_point, lowest, highest)``, int8.

    `scale` and `zero_point` have shape (R or 1, G) and the dtype of X. Where
    the scale is 0 the code is the zero point.
    """
    s = spread(scale, X.shape[1], group_size)
    z = spread(zero_point, X.shape[1], group_size)
    with np.errstate(all="ignore"):
        steps = np.where(s == 0, 0, np.rint(X / s))
        return np.clip(steps + z, lowest, highest).astype(np.int8)


def affine_values(codes, scale, zero_point, group_size):
    """Values ``(codes - zero_point) * scale``, of the dtype of `scale`."""
    s = spread(scale, codes.shape[1], group_size)
    z = spread(zero_point, codes.shape[1], group_size)
    with np.errstate(over="ignore", under="ignore"):
        return (codes.astype(scale.dtype) - z) * s
