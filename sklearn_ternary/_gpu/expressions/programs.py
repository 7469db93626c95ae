"""Steps of networks."""

from functools import partial

import numpy as np

from sklearn_ternary._gpu.device import require
from sklearn_ternary._gpu.expressions.codes import quantize_codes
from sklearn_ternary._gpu.expressions.scales import group_scale
from sklearn_ternary._reference import layers
from sklearn_ternary._reference.programs import OPERATIONS as DEFINITIONS


def ternary_weights(latent, kind, codes, scale, flips):
    """Round weights to three levels, codes times a scale."""
    cupy, one = require(), (latent.reshape(1, -1), latent.size)
    found, threshold = group_scale(cupy, *one, kind, 3)
    new = quantize_codes(cupy, one[0], threshold, latent.size, 3).reshape(codes.shape)
    flips += np.count_nonzero(new != codes)
    codes[...] = new
    scale[...] = found[0]


def multiply_codes(q, step, form, scale, out):
    """``out = ((q @ codes.T) * scale) * step``; of floats, whose sums are exact."""
    dot = q.astype(form.dtype) @ form.T
    np.multiply(dot.astype(out.dtype) * scale, step[:, None], out=out)


def column_sum(X, out):
    """Sums over the rows."""
    out[...] = X.sum(axis=0)


OPERATIONS = {
    **{name: f for name, f in DEFINITIONS.items() if not name.endswith("_csr")},
    "column_sum": column_sum,
    "multiply_codes": multiply_codes,
    "rms_norm_gradient": partial(layers.rms_norm_gradient, column_sum=column_sum),
    "ternary_weights": ternary_weights,
}
